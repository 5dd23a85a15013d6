//! How sure the difference between two models is, measured on the same rows.
//!
//! Two models that are scored on the same rows share most of their luck: the interval of their
//! *difference* is far narrower than the two intervals apart. [`PairedRows`] holds the rows,
//! [`PairedDifference`] one metric's difference with its interval.

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, Normal};

use super::influence::contributions;
use super::rows::{Rows, float, mean};
use super::{Evaluation, EvaluationError, McNemar, Metric};
use crate::model::Task;
use crate::tails::normal_tails;

/// Why two models cannot be compared on rows.
///
/// ```
/// use pmmds::{model::Task, promote::{Metric, PairedError, PairedRows}};
/// let rows = PairedRows::new(Task::binary(), &[0.1, 0.9], &[0.2, 0.8], &[0.0, 1.0])?;
/// assert_eq!(rows.difference(Metric::Brier, 1.0), Err(PairedError::Level { level: 1.0 }));
/// # Ok::<(), PairedError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PairedError {
    /// The champion's scores cannot be evaluated.
    #[error("champion: {0}")]
    Champion(EvaluationError),
    /// The challenger's scores cannot be evaluated.
    #[error("challenger: {0}")]
    Challenger(EvaluationError),
    /// The level of an interval lies strictly between 0 and 1.
    #[error("level {level} is not between 0 and 1")]
    Level {
        /// the level given
        level: f64,
    },
    /// The metric does not exist for one of the models on these rows.
    #[error("{metric} does not exist for these rows")]
    Undefined {
        /// the metric asked for
        metric: Metric,
    },
    /// No interval of the metric's difference is known to hold what it says: it is the error of
    /// one row or two ([`Metric::MaxError`], [`Metric::MedianAbsoluteError`]), or chance moves it
    /// to one side ([`Metric::Ece`]). Also where a square of the errors is beyond the floats.
    #[error("no interval of a difference in {metric} is known")]
    NoInterval {
        /// the metric asked for
        metric: Metric,
    },
    /// The task has no classes, which the question is about.
    #[error("a regression has no classes")]
    NoClasses,
    /// A spread needs two rows; for [`Metric::RocAuc`] two of each class, for
    /// [`Metric::AveragePrecision`] two positives.
    #[error("{have} {what} are too few for an interval, 2 are the least")]
    TooFewRows {
        /// `"rows"`, `"positives"` or `"negatives"`
        what: &'static str,
        /// how many there are
        have: usize,
    },
}

/// The same labelled rows, scored by the champion and by the challenger.
///
/// ```
/// use pmmds::model::Task;
/// use pmmds::promote::{Metric, PairedRows};
///
/// let labels = [1.0, 1.0, 1.0, 0.0, 0.0, 0.0];
/// let champion = [0.9, 0.4, 0.3, 0.5, 0.2, 0.1];
/// let challenger = [0.9, 0.6, 0.4, 0.5, 0.2, 0.1];
/// let rows = PairedRows::new(Task::binary(), &champion, &challenger, &labels)?;
/// assert_eq!(rows.challenger().get(Metric::Accuracy), Some(4.0 / 6.0));
///
/// let auc = rows.difference(Metric::RocAuc, 0.95)?;
/// assert!((auc.improvement() - 1.0 / 9.0).abs() < 1e-12);
/// assert!(auc.lower() < 0.0 && auc.upper() > 0.2, "6 rows show nothing");
///
/// let error = PairedRows::new(Task::binary(), &[f64::NAN; 6], &challenger, &labels).unwrap_err();
/// assert_eq!(error.to_string(), "champion: row 0: score NaN is no probability between 0 and 1");
/// # Ok::<(), pmmds::promote::PairedError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct PairedRows {
    // as long as each other, the same labels in the same order
    champion: Side,
    challenger: Side,
}

#[derive(Debug, Clone, PartialEq)]
struct Side {
    rows: Rows,
    evaluation: Evaluation,
}

impl Side {
    fn of(task: Task, scores: &[f64], labels: &[f64]) -> Result<Self, EvaluationError> {
        let rows = Rows::check(task, scores, labels, None)?;
        let evaluation = Evaluation::of_rows(task, &rows, false);
        Ok(Self { rows, evaluation })
    }
}

impl PairedRows {
    /// The rows with the scores of both models and their labels, in one order.
    ///
    /// # Errors
    ///
    /// [`PairedError::Champion`] or [`PairedError::Challenger`] when those scores cannot be
    /// evaluated against the labels.
    pub fn new(
        task: Task,
        champion: &[f64],
        challenger: &[f64],
        labels: &[f64],
    ) -> Result<Self, PairedError> {
        Ok(Self {
            champion: Side::of(task, champion, labels).map_err(PairedError::Champion)?,
            challenger: Side::of(task, challenger, labels).map_err(PairedError::Challenger)?,
        })
    }

    /// What the champion is worth on these rows.
    #[must_use]
    pub fn champion(&self) -> &Evaluation {
        &self.champion.evaluation
    }

    /// What the challenger is worth on these rows.
    #[must_use]
    pub fn challenger(&self) -> &Evaluation {
        &self.challenger.evaluation
    }

    /// The difference of `metric` with its interval at `level`, such as 0.95.
    ///
    /// # Errors
    ///
    /// When `level` is not strictly between 0 and 1, the metric does not exist for both models on
    /// these rows, or there are too few rows for a spread.
    ///
    /// ```
    /// use pmmds::model::Task;
    /// use pmmds::promote::{Metric, PairedRows};
    /// let rows = PairedRows::new(Task::binary(), &[0.1, 0.2], &[0.2, 0.1], &[0.0, 0.0])?;
    /// let error = rows.difference(Metric::RocAuc, 0.95).unwrap_err();
    /// assert_eq!(error.to_string(), "roc_auc does not exist for these rows");
    /// let error = rows.difference(Metric::Brier, 95.0).unwrap_err();
    /// assert_eq!(error.to_string(), "level 95 is not between 0 and 1");
    /// # Ok::<(), pmmds::promote::PairedError>(())
    /// ```
    pub fn difference(&self, metric: Metric, level: f64) -> Result<PairedDifference, PairedError> {
        if !(level > 0.0 && level < 1.0) {
            return Err(PairedError::Level { level });
        }
        let value = |side: &Side| side.evaluation.get(metric);
        let (Some(champion), Some(challenger)) = (value(&self.champion), value(&self.challenger))
        else {
            return Err(PairedError::Undefined { metric });
        };
        let difference = challenger - champion;
        let parts = |side: &Side, value| contributions(metric, &side.rows, value);
        let (Some(before), Some(mut parts)) =
            (parts(&self.champion, champion), parts(&self.challenger, challenger))
        else {
            return Err(PairedError::NoInterval { metric });
        };
        parts.iter_mut().zip(before).for_each(|(part, champion)| *part -= champion);
        let half_width = quantile(level) * self.variance(metric, &parts)?.sqrt();
        if !half_width.is_finite() {
            return Err(PairedError::NoInterval { metric });
        }
        Ok(PairedDifference {
            metric,
            rows: self.champion.rows.len() as u64,
            champion,
            challenger,
            difference,
            lower: difference - half_width,
            upper: difference + half_width,
            level,
        })
    }

    /// On how many rows one model is right and the other wrong, at the threshold: the question of
    /// [`McNemar`]'s test.
    ///
    /// # Errors
    ///
    /// [`PairedError::NoClasses`] for a regression.
    ///
    /// ```
    /// use pmmds::model::Task;
    /// use pmmds::promote::PairedRows;
    /// let labels = [1.0, 1.0, 0.0, 0.0];
    /// let rows = PairedRows::new(Task::binary(), &[0.9, 0.2, 0.8, 0.1], &[0.9, 0.7, 0.1, 0.6], &labels)?;
    /// let test = rows.mcnemar()?;
    /// assert_eq!((test.champion_only(), test.challenger_only()), (1, 2));
    ///
    /// let numbers = PairedRows::new(Task::Regression, &[1.0], &[2.0], &[3.0])?;
    /// assert_eq!(numbers.mcnemar().unwrap_err().to_string(), "a regression has no classes");
    /// # Ok::<(), pmmds::promote::PairedError>(())
    /// ```
    pub fn mcnemar(&self) -> Result<McNemar, PairedError> {
        let (Rows::Classified(champion), Rows::Classified(challenger)) =
            (&self.champion.rows, &self.challenger.rows)
        else {
            return Err(PairedError::NoClasses);
        };
        let (mut champion_only, mut challenger_only) = (0, 0);
        for (before, after) in champion.rows().iter().zip(challenger.rows()) {
            let right = |predicted: bool| predicted == before.positive;
            champion_only += u64::from(right(before.predicted) && !right(after.predicted));
            challenger_only += u64::from(!right(before.predicted) && right(after.predicted));
        }
        Ok(McNemar::new(champion_only, challenger_only))
    }

    /// The variance of the difference whose `parts` the rows contribute: rows are drawn together,
    /// but for ROC-AUC, where positives and negatives are two samples (DeLong).
    fn variance(&self, metric: Metric, parts: &[f64]) -> Result<f64, PairedError> {
        let of_class = |positive: bool| -> Vec<f64> {
            match &self.champion.rows {
                Rows::Classified(ranked) => {
                    let rows = ranked.rows().iter().zip(parts);
                    rows.filter(|(row, _)| row.positive == positive)
                        .map(|(_, part)| *part)
                        .collect()
                }
                Rows::Numbers(_) => Vec::new(),
            }
        };
        match metric {
            Metric::RocAuc => Ok(variance_of_mean(&of_class(true), "positives")?
                + variance_of_mean(&of_class(false), "negatives")?),
            Metric::AveragePrecision => {
                variance_of_mean(&of_class(true), "positives")?;
                variance_of_mean(parts, "rows")
            }
            _ => variance_of_mean(parts, "rows"),
        }
    }
}

/// The unbiased variance of the mean of `values`, by two passes.
fn variance_of_mean(values: &[f64], what: &'static str) -> Result<f64, PairedError> {
    if values.len() < 2 {
        return Err(PairedError::TooFewRows { what, have: values.len() });
    }
    let centre = mean(values.iter().copied());
    let squares: f64 = values.iter().map(|value| (value - centre) * (value - centre)).sum();
    Ok(squares / float(values.len() - 1) / float(values.len()))
}

/// How many standard errors an interval of `level` reaches to each side.
pub(super) fn quantile(level: f64) -> f64 {
    -Normal::standard().inverse_cdf((1.0 - level) / 2.0)
}

/// The difference of one metric between two models on the same rows, with its interval.
///
/// # Formula
///
/// ```text
/// difference     = challenger - champion
/// lower, upper   = difference -/+ z * se,   z = normal quantile of (1 + level) / 2
/// ```
///
/// where `se` is the standard error of the paired difference:
///
/// ```text
/// ROC-AUC                      se^2 = var+(d) / positives + var-(d) / negatives
/// every other metric           se^2 = var(d) / n
/// ```
///
/// and `d` is, per row, the challenger's contribution less the champion's. A row contributes
///
/// * to ROC-AUC, the share of the other class that it wins against, a tie being half a win
///   (DeLong's structural components, found by sorting);
/// * to log loss, Brier score, MAE and MAPE, its own term of the mean;
/// * to every other metric `g(means)`, its influence: the derivative of `g` times what the row
///   adds to the means. Precision, for one, is a ratio `A / B`, and a row's influence on it
///   `(a - A/B * b) / mean(b)`; on RMSE it is `e^2 / (2 RMSE)`, and on average precision it counts
///   how the row moves the precision at every positive below it. This linearisation is preferred
///   to a bootstrap because it has no seed and costs one sort; both are large-sample methods.
///
/// [`Metric::Ece`], [`Metric::MedianAbsoluteError`] and [`Metric::MaxError`] have no interval.
///
/// Variances have `n - 1` below the line. Unit and range are those of the metric's difference; the
/// interval is not cut at the ends of that range. Swapping the models negates everything, bit for
/// bit, and identical scores have the interval `[0, 0]`.
///
/// # When it is a poor choice
///
/// With few rows: below about 30 of the rarer class (for precision, below about 30 positive
/// predictions) the normal interval is too narrow. In the extreme, a pair of models that both
/// separate the classes perfectly, or fail to in the same way on every row, shows no spread at all:
/// an interval without width around a difference other than 0 is no evidence, and
/// [`IntervalAboveZero`](super::IntervalAboveZero) does not take it for any. For RMSE and R2 the
/// rows must be many enough that no few of them make most of the squared error.
///
/// # Reference
///
/// * ROC-AUC: E. R. DeLong, D. M. DeLong, D. L. Clarke-Pearson (1988), Comparing the areas under
///   two or more correlated receiver operating characteristic curves, DOI 10.2307/2531595; by
///   ranks: X. Sun, W. Xu (2014), DOI 10.1109/LSP.2014.2337313.
/// * Ratios: R. S. Woodruff (1971), A simple method for approximating the variance of a complicated
///   estimate, DOI 10.1080/01621459.1971.10482279; for F1 also K. Takahashi et al. (2022),
///   DOI 10.1007/s10489-021-02635-5.
/// * The others: F. R. Hampel (1974), The influence curve and its role in robust estimation,
///   DOI 10.1080/01621459.1974.10482962.
///
/// ```
/// use pmmds::model::Task;
/// use pmmds::promote::{Metric, PairedRows};
///
/// let labels = [1.0, 0.0, 1.0, 0.0];
/// let rows = PairedRows::new(Task::binary(), &[0.5; 4], &[0.9, 0.1, 0.6, 0.2], &labels)?;
/// let brier = rows.difference(Metric::Brier, 0.95)?;
/// assert!(brier.difference() < 0.0, "lower");
/// assert!(brier.improvement() > 0.0, "which is better");
/// let (low, high) = brier.improvement_interval();
/// assert!(0.0 < low && high < 0.3);
/// # Ok::<(), pmmds::promote::PairedError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PairedDifference {
    metric: Metric,
    // at least 2
    rows: u64,
    // finite, as are all below
    champion: f64,
    challenger: f64,
    // challenger - champion
    difference: f64,
    // lower <= difference <= upper
    lower: f64,
    upper: f64,
    // strictly between 0 and 1
    level: f64,
}

impl PairedDifference {
    /// The metric.
    #[must_use]
    pub fn metric(&self) -> Metric {
        self.metric
    }

    /// Rows that both models scored.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The champion's value.
    #[must_use]
    pub fn champion(&self) -> f64 {
        self.champion
    }

    /// The challenger's value.
    #[must_use]
    pub fn challenger(&self) -> f64 {
        self.challenger
    }

    /// The challenger's value less the champion's, whichever is better.
    #[must_use]
    pub fn difference(&self) -> f64 {
        self.difference
    }

    /// Lower end of the interval of [`difference`](Self::difference).
    #[must_use]
    pub fn lower(&self) -> f64 {
        self.lower
    }

    /// Upper end of the interval of [`difference`](Self::difference).
    #[must_use]
    pub fn upper(&self) -> f64 {
        self.upper
    }

    /// The share of such intervals that hold the true difference, such as 0.95.
    #[must_use]
    pub fn level(&self) -> f64 {
        self.level
    }

    /// How many standard errors the difference is from 0; `None` for an interval without width,
    /// where the rows show no spread and prove nothing.
    ///
    /// ```
    /// use pmmds::model::Task;
    /// use pmmds::promote::{Metric, PairedRows};
    /// let labels = [1.0, 0.0, 1.0, 0.0];
    /// let rows = PairedRows::new(Task::binary(), &[0.5; 4], &[0.9, 0.1, 0.6, 0.2], &labels)?;
    /// let brier = rows.difference(Metric::Brier, 0.95)?;
    /// assert!((brier.z().unwrap() + 5.461).abs() < 0.001);
    /// assert!(brier.p_value().unwrap() < 1e-5);
    ///
    /// let same = PairedRows::new(Task::binary(), &[0.5; 4], &[0.5; 4], &labels)?;
    /// assert_eq!(same.difference(Metric::Brier, 0.95)?.p_value(), None);
    /// # Ok::<(), pmmds::promote::PairedError>(())
    /// ```
    #[must_use]
    pub fn z(&self) -> Option<f64> {
        // A stored level may be anything.
        let sure = self.level > 0.0 && self.level < 1.0;
        let half_width = (self.upper - self.lower) / 2.0;
        let errors = quantile(if sure { self.level } else { return None });
        Some(self.difference / (half_width / errors)).filter(|z| z.is_finite())
    }

    /// How likely a difference at least as large, to either side, is by chance alone when the
    /// models are worth the same; `None` where [`z`](Self::z) is.
    ///
    /// From the normal distribution: for ROC-AUC the test of DeLong. A policy that asks for an
    /// [`IntervalAboveZero`](super::IntervalAboveZero) at a level of 0.95 asks for a p-value below
    /// 0.05 and the right direction.
    #[must_use]
    pub fn p_value(&self) -> Option<f64> {
        self.z().map(normal_tails)
    }

    /// How much better the challenger is: positive is better, whatever the metric.
    #[must_use]
    pub fn improvement(&self) -> f64 {
        self.metric.improvement(self.champion, self.challenger)
    }

    /// The interval of [`improvement`](Self::improvement), lower end first.
    #[must_use]
    pub fn improvement_interval(&self) -> (f64, f64) {
        if self.metric.higher_is_better() {
            (self.lower, self.upper)
        } else {
            (-self.upper, -self.lower)
        }
    }
}

#[cfg(test)]
mod tests;
