//! How sure the difference between two models is, measured on the same rows.
//!
//! Two models that are scored on the same rows share most of their luck: the interval of their
//! *difference* is far narrower than the two intervals apart. [`PairedRows`] holds the rows,
//! [`PairedDifference`] one metric's difference with its interval.

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, Normal};
use statrs::function::erf::erfc;

use super::influence::contributions;
use super::rows::{Rows, float, mean};
use super::{Evaluation, EvaluationError, McNemar, Metric};
use crate::model::Task;

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

/// The chance of a standard normal number at least as far from 0 as `z`.
pub(super) fn two_sided(z: f64) -> f64 {
    erfc(z.abs() / std::f64::consts::SQRT_2)
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
        self.z().map(two_sided)
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
mod tests {
    use proptest::prelude::*;
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::SeedableRng;
    use rand_distr::{Distribution, StandardNormal};

    use super::*;
    use crate::promote::oracles::Case;
    use crate::tests as oracle;

    const RELATIVE: f64 = 1e-12;
    const P_VALUE: f64 = 1e-9;
    const LEVEL: f64 = 0.95;
    const Z: f64 = 1.959_963_984_540_054;

    fn pair(champion: &[f64], challenger: &[f64], labels: &[f64]) -> PairedRows {
        PairedRows::new(Task::binary(), champion, challenger, labels).unwrap()
    }

    /// The metrics of `task` that have an interval.
    fn with_interval(task: Task) -> Vec<Metric> {
        let without = [Metric::Ece, Metric::MedianAbsoluteError, Metric::MaxError];
        Metric::of(task).iter().copied().filter(|metric| !without.contains(metric)).collect()
    }

    fn standard_error(difference: &PairedDifference) -> f64 {
        (difference.upper - difference.lower) / 2.0 / Z
    }

    /// The variance of one side's value, and the covariance of both.
    fn variances(rows: &PairedRows, metric: Metric) -> [f64; 3] {
        let parts = |side: &Side| {
            contributions(metric, &side.rows, side.evaluation.get(metric).unwrap()).unwrap()
        };
        let (first, second) = (parts(&rows.champion), parts(&rows.challenger));
        let both: Vec<f64> = first.iter().zip(&second).map(|(a, b)| a - b).collect();
        let [first, second, both] =
            [first, second, both].map(|parts| rows.variance(metric, &parts).unwrap());
        [first, second, (first + second - both) / 2.0]
    }

    #[test]
    fn delong_agrees_with_the_reference() {
        let file = oracle::read("paired_tests.json");
        let mut case = Case::of("delong", &file["delong"]);
        // Ranks survive the logistic function, which makes probabilities of the scores.
        let logistic = |s: f64| 1.0 / (1.0 + (-s).exp());
        let mut scores =
            |key: &str| case.numbers(key).into_iter().map(logistic).collect::<Vec<_>>();
        let (first, second) = (scores("score_1"), scores("score_2"));
        let rows = pair(&first, &second, &case.numbers("y"));
        let found = rows.difference(Metric::RocAuc, LEVEL).unwrap();
        let [first, second, covariance] = variances(&rows, Metric::RocAuc);
        let mut want = Case::of("delong.expected", case.value("expected"));
        want.is("auc_1", found.champion, RELATIVE);
        want.is("auc_2", found.challenger, RELATIVE);
        want.is("var_1", first, RELATIVE);
        want.is("var_2", second, RELATIVE);
        want.is("cov", covariance, RELATIVE);
        // Theirs is the first less the second.
        want.is("z", -found.z().unwrap(), RELATIVE);
        want.is("p_two_sided", found.p_value().unwrap(), P_VALUE);
        want.done();
        case.done();
    }

    #[test]
    fn means_are_the_paired_interval_of_the_textbook() {
        // Hits of the champion 1, 0, 0, 1, of the challenger 1, 1, 0, 1: d = 0, 1, 0, 0, whose mean
        // is 1/4 and whose variance is 1/4.
        let rows = pair(&[0.9, 0.9, 0.1, 0.1], &[0.9, 0.1, 0.1, 0.1], &[1.0, 0.0, 1.0, 0.0]);
        let accuracy = rows.difference(Metric::Accuracy, LEVEL).unwrap();
        assert!(oracle::close(accuracy.difference, 0.25, RELATIVE));
        assert!(oracle::close(standard_error(&accuracy), 0.25, RELATIVE));
        assert_eq!(accuracy.rows(), 4);
    }

    #[test]
    fn ratios_are_linearised() {
        // Four positives; recall goes from 1/4 to 3/4. The influence of a positive is
        // (hit - recall) / (4/6), of a negative 0, so d is -1/2, 1, 1, -1/2 of it, times 3/2.
        let labels = [1.0, 1.0, 1.0, 1.0, 0.0, 0.0];
        let rows = pair(&[0.9, 0.1, 0.1, 0.1, 0.1, 0.1], &[0.9, 0.9, 0.9, 0.1, 0.1, 0.1], &labels);
        let recall = rows.difference(Metric::Recall, LEVEL).unwrap();
        let squares = 4.0 * 0.25 * 1.5 * 1.5;
        assert!(oracle::close(recall.difference, 0.5, RELATIVE));
        assert!(oracle::close(standard_error(&recall), (squares / 5.0 / 6.0_f64).sqrt(), RELATIVE));
        // Precision of the champion 1/1, of the challenger 3/3: no influence, no spread.
        let precision = rows.difference(Metric::Precision, LEVEL).unwrap();
        assert!(precision.lower >= 0.0 && precision.upper <= 0.0);
        // F1 from 2/5 to 6/7, by the same formula written out.
        let f1 = rows.difference(Metric::F1, LEVEL).unwrap();
        let (before, after) = (0.4, 6.0 / 7.0);
        let influence = |hit: f64, predicted: f64, label: f64, value: f64, size: f64| {
            (2.0_f64.mul_add(hit, -(value * (predicted + label)))) / size
        };
        let first = |hit, predicted, label| influence(hit, predicted, label, before, 5.0 / 6.0);
        let second = |hit, predicted, label| influence(hit, predicted, label, after, 7.0 / 6.0);
        let change = second(1.0, 1.0, 1.0) - first(0.0, 0.0, 1.0);
        let stays_hit = second(1.0, 1.0, 1.0) - first(1.0, 1.0, 1.0);
        let stays_miss = second(0.0, 0.0, 1.0) - first(0.0, 0.0, 1.0);
        let squares =
            (2.0 * change).mul_add(change, stays_hit * stays_hit) + stays_miss * stays_miss;
        assert!(oracle::close(standard_error(&f1), (squares / 30.0).sqrt(), RELATIVE));
    }

    #[test]
    fn a_wider_level_is_a_wider_interval() {
        let rows = pair(&[0.6, 0.4, 0.7, 0.2], &[0.8, 0.3, 0.4, 0.3], &[1.0, 0.0, 1.0, 0.0]);
        let width = |level| {
            let found = rows.difference(Metric::Brier, level).unwrap();
            found.upper - found.lower
        };
        assert!(width(0.5) < width(0.95) && width(0.95) < width(0.99));
        assert!(oracle::close(quantile(LEVEL), Z, RELATIVE));
    }

    #[test]
    fn what_cannot_be_compared_says_why() {
        let labels = [1.0, 0.0, 0.0];
        let rows = pair(&[0.1, 0.2, 0.3], &[0.3, 0.2, 0.1], &labels);
        let error = |metric, level| rows.difference(metric, level).unwrap_err().to_string();
        assert_eq!(
            error(Metric::RocAuc, LEVEL),
            "1 positives are too few for an interval, 2 are the least"
        );
        assert_eq!(error(Metric::Precision, LEVEL), "precision does not exist for these rows");
        for level in [0.0, 1.0, f64::NAN] {
            assert_eq!(
                error(Metric::Brier, level),
                format!("level {level} is not between 0 and 1")
            );
        }
        let one = pair(&[0.1], &[0.2], &[0.0]);
        assert_eq!(
            one.difference(Metric::Brier, LEVEL).unwrap_err().to_string(),
            "1 rows are too few for an interval, 2 are the least"
        );
        let short = PairedRows::new(Task::binary(), &[0.1, 0.2], &[0.1], &[0.0, 1.0]);
        assert_eq!(short.unwrap_err().to_string(), "challenger: 1 scores for 2 labels");
    }

    /// Rows of a world in which the challenger sees more than the champion.
    fn simulated(rng: &mut ChaCha8Rng, rows: usize) -> PairedRows {
        let mut normal = || -> f64 { StandardNormal.sample(rng) };
        let mut scores = [Vec::new(), Vec::new()];
        let mut labels = Vec::new();
        for _ in 0..rows {
            let (truth, shared) = (normal(), normal());
            labels.push(f64::from(u8::from(truth + normal() > 0.5)));
            for (side, noise) in scores.iter_mut().zip([1.0, 0.6]) {
                let seen = 0.5_f64.mul_add(shared, normal()).mul_add(noise, truth - 0.3);
                side.push(1.0 / (1.0 + (-1.5 * seen).exp()));
            }
        }
        pair(&scores[0], &scores[1], &labels)
    }

    /// Checks that intervals of `rows` rows of the world `draw` hold its truth, within three
    /// standard errors of the share.
    fn covers(task: Task, rows: usize, draw: impl Fn(&mut ChaCha8Rng, usize) -> PairedRows) {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let world = draw(&mut rng, 200_000);
        let metrics = with_interval(task);
        let truth = |metric: &Metric| world.difference(*metric, LEVEL).unwrap().difference;
        let truth: Vec<f64> = metrics.iter().map(truth).collect();
        let repeats = 500;
        let mut covered = vec![0; truth.len()];
        for _ in 0..repeats {
            let sample = draw(&mut rng, rows);
            for ((&metric, truth), covered) in metrics.iter().zip(&truth).zip(&mut covered) {
                let found = sample.difference(metric, LEVEL).unwrap();
                *covered += u32::from(found.lower <= *truth && *truth <= found.upper);
            }
        }
        for (metric, covered) in metrics.iter().zip(covered) {
            let share = f64::from(covered) / f64::from(repeats);
            // sqrt(0.95 * 0.05 / 500) = 0.0097
            assert!((share - LEVEL).abs() < 0.03, "{metric}: {share}");
        }
    }

    #[test]
    fn the_interval_covers_the_truth_as_often_as_it_says() {
        covers(Task::binary(), 300, simulated);
    }

    #[test]
    fn the_interval_of_a_regression_covers_the_truth_too() {
        covers(Task::Regression, 300, |rng, rows| {
            let mut normal = || -> f64 { StandardNormal.sample(rng) };
            let mut scores = [Vec::new(), Vec::new()];
            let mut labels = Vec::new();
            for _ in 0..rows {
                let (truth, shared) = (normal(), normal());
                // Prices: positive, skewed, the noise grows with them.
                let price = (0.4 * truth).exp() * 100.0;
                labels.push(price);
                for (side, noise) in scores.iter_mut().zip([0.25, 0.2]) {
                    side.push(
                        price * (noise * (0.5_f64.mul_add(shared, normal()))).mul_add(1.0, 1.02),
                    );
                }
            }
            PairedRows::new(Task::Regression, &scores[0], &scores[1], &labels).unwrap()
        });
    }

    #[test]
    fn average_precision_moves_by_the_influence_of_each_row() {
        // What the metric loses when a row is left out is its influence over n - 1, to first order.
        let mut rng = ChaCha8Rng::seed_from_u64(11);
        let rows = simulated(&mut rng, 600);
        let Rows::Classified(ranked) = &rows.challenger.rows else { panic!("classes") };
        let all = ranked.rows();
        let value = rows.challenger.evaluation.get(Metric::AveragePrecision).unwrap();
        let parts = contributions(Metric::AveragePrecision, &rows.challenger.rows, value).unwrap();
        assert!(mean(parts.iter().copied()).abs() < 1e-12);
        let without = |left_out: usize| {
            let rest = || (0..all.len()).filter(|at| *at != left_out).map(|at| all[at]);
            let scores: Vec<f64> = rest().map(|row| row.score).collect();
            let labels: Vec<f64> = rest().map(|row| f64::from(u8::from(row.positive))).collect();
            let evaluation = Evaluation::of(Task::binary(), &scores, &labels).unwrap();
            evaluation.get(Metric::AveragePrecision).unwrap()
        };
        let jackknife: Vec<f64> =
            (0..all.len()).map(|at| (value - without(at)) * float(all.len() - 1)).collect();
        let [influence, jackknife] =
            [&parts, &jackknife].map(|parts| variance_of_mean(parts, "rows").unwrap());
        // The jackknife's is the larger by terms of the order 1 / n.
        assert!((jackknife / influence - 1.0).abs() < 0.05, "{influence} {jackknife}");
    }

    #[test]
    fn the_error_of_one_row_has_no_interval() {
        let rows =
            PairedRows::new(Task::Regression, &[1.0, 2.0], &[2.0, 2.0], &[1.0, 4.0]).unwrap();
        for metric in [Metric::MaxError, Metric::MedianAbsoluteError] {
            let error = rows.difference(metric, LEVEL).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("no interval of a difference in {metric} is known")
            );
        }
        assert_eq!(
            rows.difference(Metric::RocAuc, LEVEL).unwrap_err().to_string(),
            "roc_auc does not exist for these rows"
        );
        let binary = pair(&[0.1, 0.2], &[0.3, 0.2], &[0.0, 1.0]);
        assert!(matches!(
            binary.difference(Metric::Ece, LEVEL),
            Err(PairedError::NoInterval { metric: Metric::Ece })
        ));
        assert_eq!(
            binary.difference(Metric::AveragePrecision, LEVEL).unwrap_err().to_string(),
            "1 positives are too few for an interval, 2 are the least"
        );
        // Squares beyond the floats: unknown, not infinite.
        let huge = [1e160, -1e160];
        let rows = PairedRows::new(Task::Regression, &huge, &[1e150, 0.0], &[0.0, 1.0]).unwrap();
        assert!(rows.difference(Metric::Rmse, LEVEL).is_err());
        let spread = rows.difference(Metric::Mae, LEVEL);
        assert!(spread.is_err() || spread.unwrap().upper.is_finite());
    }

    #[test]
    fn the_textbook_interval_of_the_mean_absolute_error() {
        // |e| 1, 2, 3 against 2, 2, 5: d = 1, 0, 2, mean 1, variance 1.
        let labels = [0.0; 3];
        let rows = PairedRows::new(Task::Regression, &[1.0, -2.0, 3.0], &[2.0, 2.0, -5.0], &labels)
            .unwrap();
        let mae = rows.difference(Metric::Mae, LEVEL).unwrap();
        assert!(oracle::close(mae.difference, 1.0, RELATIVE));
        assert!(oracle::close(standard_error(&mae), (1.0_f64 / 3.0).sqrt(), RELATIVE));
        assert!(oracle::close(mae.improvement(), -1.0, RELATIVE));
        // e^2 / (2 RMSE): 1, 4, 9 over 2 sqrt(14/3), 4, 4, 25 over 2 sqrt(11).
        let rmse = rows.difference(Metric::Rmse, LEVEL).unwrap();
        let (before, after) = ((14.0_f64 / 3.0).sqrt() * 2.0, 11.0_f64.sqrt() * 2.0);
        let parts =
            [4.0 / after - 1.0 / before, 4.0 / after - 4.0 / before, 25.0 / after - 9.0 / before];
        let centre = parts.iter().sum::<f64>() / 3.0;
        let squares: f64 = parts.iter().map(|part| (part - centre) * (part - centre)).sum();
        assert!(oracle::close(standard_error(&rmse), (squares / 6.0).sqrt(), RELATIVE));
    }

    #[test]
    fn a_forged_level_does_not_panic() {
        let rows = pair(&[0.1, 0.6], &[0.3, 0.2], &[0.0, 1.0]);
        let mut forged = rows.difference(Metric::Brier, LEVEL).unwrap();
        assert!(forged.z().is_some());
        for level in [95.0, -1.0, 0.0, 1.0, f64::NAN] {
            forged.level = level;
            assert_eq!(forged.p_value(), None, "{level}");
        }
    }

    // (champion, challenger, labels) of equal length; scores on a coarse grid, so that they tie.
    fn scored_twice() -> impl Strategy<Value = (Vec<f64>, Vec<f64>, Vec<f64>)> {
        let cell = (0_u8..=20, 0_u8..=20, any::<bool>());
        prop::collection::vec(cell, 2..60).prop_map(|cells| {
            let grid = |twentieths: u8| f64::from(twentieths) / 20.0;
            (
                cells.iter().map(|cell| grid(cell.0)).collect(),
                cells.iter().map(|cell| grid(cell.1)).collect(),
                cells.iter().map(|cell| f64::from(u8::from(cell.2))).collect(),
            )
        })
    }

    fn mirrored(found: PairedDifference) -> PairedDifference {
        PairedDifference {
            champion: found.challenger,
            challenger: found.champion,
            difference: -found.difference,
            lower: -found.upper,
            upper: -found.lower,
            ..found
        }
    }

    proptest! {
        #[test]
        fn swapping_the_models_negates_bit_for_bit((a, b, labels) in scored_twice()) {
            for task in [Task::binary(), Task::Regression] {
                for &metric in Metric::of(task) {
                    let rows = |a, b| PairedRows::new(task, a, b, &labels).unwrap();
                    let there = rows(&a, &b).difference(metric, LEVEL);
                    let back = rows(&b, &a).difference(metric, LEVEL);
                    prop_assert_eq!(there, back.map(mirrored));
                }
            }
        }

        #[test]
        fn identical_models_differ_by_nothing((a, _, labels) in scored_twice()) {
            for task in [Task::binary(), Task::Regression] {
                for &metric in Metric::of(task) {
                    let rows = PairedRows::new(task, &a, &a, &labels).unwrap();
                    if let Ok(same) = rows.difference(metric, LEVEL) {
                        prop_assert_eq!((same.difference, same.lower, same.upper), (0.0, 0.0, 0.0));
                    }
                }
            }
        }

        #[test]
        fn the_interval_holds_the_improvement((a, b, labels) in scored_twice()) {
            for &metric in Metric::of(Task::binary()) {
                if let Ok(found) = pair(&a, &b, &labels).difference(metric, LEVEL) {
                    let (low, high) = found.improvement_interval();
                    prop_assert!(low <= found.improvement() && found.improvement() <= high);
                    let json = serde_json::to_string(&found).unwrap();
                    prop_assert_eq!(serde_json::from_str::<PairedDifference>(&json).unwrap(), found);
                }
            }
        }
    }
}
