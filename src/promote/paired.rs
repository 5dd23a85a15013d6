//! How sure the difference between two models is, measured on the same rows.
//!
//! Two models that are scored on the same rows share most of their luck: the interval of their
//! *difference* is far narrower than the two intervals apart. [`PairedRows`] holds the rows,
//! [`PairedDifference`] one metric's difference with its interval.

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, Normal};

use super::evaluation::{checked_rows, float, log_loss, mean, squared_error};
use super::placement::{ScoredRow, doubled_wins};
use super::{Evaluation, EvaluationError, Metric};
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
    /// A spread needs two rows; for [`Metric::RocAuc`] two of each class.
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
    rows: Vec<ScoredRow>,
    evaluation: Evaluation,
}

impl Side {
    fn of(task: Task, scores: &[f64], labels: &[f64]) -> Result<Self, EvaluationError> {
        let rows = checked_rows(task, scores, labels)?;
        let evaluation = Evaluation::of_rows(task, &rows)?;
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
        let champion_parts = contributions(metric, &self.champion.rows, champion);
        let mut parts = contributions(metric, &self.challenger.rows, challenger);
        parts.iter_mut().zip(champion_parts).for_each(|(part, champion)| *part -= champion);
        let half_width = quantile(level) * self.variance(metric, &parts)?.sqrt();
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

    /// The variance of the difference whose `parts` the rows contribute: rows are drawn together,
    /// but for ROC-AUC, where positives and negatives are two samples (DeLong).
    fn variance(&self, metric: Metric, parts: &[f64]) -> Result<f64, PairedError> {
        let of_class = |positive: bool| -> Vec<f64> {
            let rows = self.champion.rows.iter().zip(parts);
            rows.filter(|(row, _)| row.positive == positive).map(|(_, part)| *part).collect()
        };
        match metric {
            Metric::RocAuc => Ok(variance_of_mean(&of_class(true), "positives")?
                + variance_of_mean(&of_class(false), "negatives")?),
            Metric::LogLoss
            | Metric::Brier
            | Metric::F1
            | Metric::Precision
            | Metric::Recall
            | Metric::Accuracy => variance_of_mean(parts, "rows"),
        }
    }
}

/// What each row contributes to `metric`, whose value on `rows` is `value`, up to a constant: the
/// mean of the contributions moves as the metric does.
fn contributions(metric: Metric, rows: &[ScoredRow], value: f64) -> Vec<f64> {
    let indicator = |is: bool| f64::from(u8::from(is));
    let hit = |row: &ScoredRow| indicator(row.predicted && row.positive);
    match metric {
        Metric::RocAuc => placements(rows),
        Metric::LogLoss => rows.iter().map(log_loss).collect(),
        Metric::Brier => rows.iter().map(squared_error).collect(),
        Metric::Accuracy => {
            rows.iter().map(|row| indicator(row.predicted == row.positive)).collect()
        }
        Metric::F1 => linearised(rows, value, |row| {
            (2.0 * hit(row), indicator(row.predicted) + indicator(row.positive))
        }),
        Metric::Precision => linearised(rows, value, |row| (hit(row), indicator(row.predicted))),
        Metric::Recall => linearised(rows, value, |row| (hit(row), indicator(row.positive))),
    }
}

/// DeLong's structural components: the share of the other class that each row wins against.
fn placements(rows: &[ScoredRow]) -> Vec<f64> {
    let positives = float(rows.iter().filter(|row| row.positive).count());
    let negatives = float(rows.len()) - positives;
    let rivals = |row: &ScoredRow| if row.positive { negatives } else { positives };
    let share = |(row, wins): (&ScoredRow, u64)| halves(wins) / rivals(row);
    rows.iter().zip(doubled_wins(rows)).map(share).collect()
}

#[expect(clippy::cast_precision_loss, reason = "2^52 rows do not fit into memory")]
fn halves(doubled: u64) -> f64 {
    doubled as f64 / 2.0
}

/// The influence of each row on `value`, the ratio of the sums of `parts` (above, below the line).
fn linearised(
    rows: &[ScoredRow],
    value: f64,
    parts: impl Fn(&ScoredRow) -> (f64, f64),
) -> Vec<f64> {
    let size = mean(rows.iter().map(|row| parts(row).1));
    let influence = |row: &ScoredRow| {
        let (above, below) = parts(row);
        value.mul_add(-below, above) / size
    };
    rows.iter().map(influence).collect()
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
fn quantile(level: f64) -> f64 {
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
/// * to log loss, Brier score and accuracy, its own term of the mean;
/// * to precision, recall and F1, which are ratios `A / B` of sums, its influence
///   `(a - A/B * b) / mean(b)`. This linearisation is preferred to a bootstrap because it has no
///   seed and costs one pass; both are large-sample methods.
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
/// [`IntervalAboveZero`](super::IntervalAboveZero) does not take it for any.
///
/// # Reference
///
/// * ROC-AUC: E. R. DeLong, D. M. DeLong, D. L. Clarke-Pearson (1988), Comparing the areas under
///   two or more correlated receiver operating characteristic curves, DOI 10.2307/2531595; by
///   ranks: X. Sun, W. Xu (2014), DOI 10.1109/LSP.2014.2337313.
/// * Ratios: R. S. Woodruff (1971), A simple method for approximating the variance of a complicated
///   estimate, DOI 10.1080/01621459.1971.10482279; for F1 also K. Takahashi et al. (2022),
///   DOI 10.1007/s10489-021-02635-5.
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
    use crate::tests as oracle;

    const RELATIVE: f64 = 1e-12;
    const LEVEL: f64 = 0.95;
    const Z: f64 = 1.959_963_984_540_054;

    fn pair(champion: &[f64], challenger: &[f64], labels: &[f64]) -> PairedRows {
        PairedRows::new(Task::binary(), champion, challenger, labels).unwrap()
    }

    fn standard_error(difference: &PairedDifference) -> f64 {
        (difference.upper - difference.lower) / 2.0 / Z
    }

    #[test]
    fn delong_agrees_with_the_reference() {
        let case = &oracle::read("paired_tests.json")["delong"];
        // Ranks survive the logistic function, which makes probabilities of the scores.
        let logistic = |s: &f64| 1.0 / (1.0 + (-s).exp());
        let scores =
            |key: &str| oracle::numbers(&case[key]).iter().map(logistic).collect::<Vec<_>>();
        let rows = pair(&scores("score_1"), &scores("score_2"), &oracle::numbers(&case["y"]));
        let found = rows.difference(Metric::RocAuc, LEVEL).unwrap();
        let want = |key: &str| oracle::number(&case["expected"][key]);
        assert!(oracle::close(found.champion, want("auc_1"), RELATIVE));
        assert!(oracle::close(found.challenger, want("auc_2"), RELATIVE));
        let variance = want("cov").mul_add(-2.0, want("var_1") + want("var_2"));
        assert!(oracle::close(standard_error(&found), variance.sqrt(), RELATIVE));
        assert!(oracle::close(-found.difference / variance.sqrt(), want("z"), RELATIVE));
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

    #[test]
    fn the_interval_covers_the_truth_as_often_as_it_says() {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let world = simulated(&mut rng, 200_000);
        let truth: Vec<f64> = Metric::all()
            .iter()
            .map(|&metric| world.difference(metric, LEVEL).unwrap().difference)
            .collect();
        let repeats = 500;
        let mut covered = vec![0; truth.len()];
        for _ in 0..repeats {
            let sample = simulated(&mut rng, 300);
            for ((&metric, truth), covered) in Metric::all().iter().zip(&truth).zip(&mut covered) {
                let found = sample.difference(metric, LEVEL).unwrap();
                *covered += u32::from(found.lower <= *truth && *truth <= found.upper);
            }
        }
        for (metric, covered) in Metric::all().iter().zip(covered) {
            let share = f64::from(covered) / f64::from(repeats);
            // Three standard errors of the share, sqrt(0.95 * 0.05 / 500), are 0.029.
            assert!((share - LEVEL).abs() < 0.03, "{metric}: {share}");
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
            for &metric in Metric::all() {
                let there = pair(&a, &b, &labels).difference(metric, LEVEL);
                let back = pair(&b, &a, &labels).difference(metric, LEVEL);
                prop_assert_eq!(there, back.map(mirrored));
            }
        }

        #[test]
        fn identical_models_differ_by_nothing((a, _, labels) in scored_twice()) {
            for &metric in Metric::all() {
                if let Ok(same) = pair(&a, &a, &labels).difference(metric, LEVEL) {
                    prop_assert_eq!((same.difference, same.lower, same.upper), (0.0, 0.0, 0.0));
                }
            }
        }

        #[test]
        fn the_interval_holds_the_improvement((a, b, labels) in scored_twice()) {
            for &metric in Metric::all() {
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
