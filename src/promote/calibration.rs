//! Do probabilities mean what they say?

use super::EvaluationError;
use super::placement::ScoredRow;
use super::rows::Rows;
use crate::drift::quantile;
use crate::model::Task;

/// Most bins of a [`Calibration`].
const MAX_BINS: usize = 1_000;

/// How scores are gathered to be compared with what came true. Bins are `(lower, upper]`, and a
/// score of 0 falls in the first.
///
/// ```
/// use pmmds::promote::{Calibration, CalibrationBins};
/// let (scores, labels) = ([0.01, 0.02, 0.03, 0.9], [0.0, 0.0, 1.0, 1.0]);
/// let wide = Calibration::of(CalibrationBins::EqualWidth(2), &scores, &labels)?;
/// let equal = Calibration::of(CalibrationBins::Quantile(2), &scores, &labels)?;
/// assert_eq!(wide.bins().iter().map(|bin| bin.rows).collect::<Vec<_>>(), [3, 1]);
/// assert_eq!(equal.bins().iter().map(|bin| bin.rows).collect::<Vec<_>>(), [2, 2]);
/// # Ok::<(), pmmds::promote::EvaluationError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CalibrationBins {
    /// So many bins of the same width; ten are the usual.
    EqualWidth(usize),
    /// So many bins of about the same number of rows: edges at the quantiles of the scores (linear
    /// interpolation, numpy's default, without weights), equal ones only once. The better choice
    /// for rare positives, whose scores all fall in the first bins of equal width.
    Quantile(usize),
}

/// The rows whose scores fall in one bin.
///
/// ```
/// use pmmds::promote::{Calibration, CalibrationBins};
/// let calibration = Calibration::of(CalibrationBins::EqualWidth(10), &[0.25, 0.27], &[0.0, 1.0])?;
/// let bin = &calibration.bins()[0];
/// assert_eq!((bin.index, bin.rows, bin.mean_label, bin.mean_score), (2, 2, 0.5, 0.26));
/// # Ok::<(), pmmds::promote::EvaluationError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct CalibrationBin {
    /// number of the bin from 0
    pub index: usize,
    /// rows in it, at least 1
    pub rows: u64,
    /// their weight; the number of rows where they count alike
    pub weight: f64,
    /// share of them that came true
    pub mean_label: f64,
    /// mean of their scores
    pub mean_score: f64,
}

impl CalibrationBin {
    /// How far the scores are from what came true, at least 0.
    #[must_use]
    pub fn gap(&self) -> f64 {
        (self.mean_label - self.mean_score).abs()
    }
}

/// The reliability diagram of a binary classifier as a table: what came true beside what was said.
///
/// # Formula
///
/// ```text
/// ECE = sum_b w_b / W * |mean label_b - mean score_b|      MCE = max_b |mean label_b - mean score_b|
/// ```
///
/// where `w_b` is the weight of the rows in bin `b` (their number where rows count alike) and `W`
/// that of all. Both are in `[0, 1]`, 0 for scores that mean what they say, and both are biased
/// upwards by chance: with `n` rows in ten bins, perfect scores have an ECE of about
/// `sqrt(10 / n) / 3`. The bins decide: two models are compared by the same ones only.
///
/// # Reference
///
/// M. P. Naeini, G. F. Cooper, M. Hauskrecht (2015), Obtaining well calibrated probabilities using
/// Bayesian binning, DOI 10.1609/aaai.v29i1.9602.
///
/// ```
/// use pmmds::promote::{Calibration, CalibrationBins};
/// let ten = CalibrationBins::EqualWidth(10);
/// let calibration = Calibration::of(ten, &[0.25, 0.25, 0.75, 0.75], &[0.0, 0.0, 1.0, 0.0])?;
/// assert_eq!((calibration.ece(), calibration.mce()), (0.25, 0.25));
///
/// let error = Calibration::of(CalibrationBins::Quantile(0), &[0.5], &[1.0]).unwrap_err();
/// assert_eq!(error.to_string(), "0 bins, expected 1 to 1000");
/// # Ok::<(), pmmds::promote::EvaluationError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Calibration {
    // those with rows, at least one, lowest first
    bins: Vec<CalibrationBin>,
}

impl Calibration {
    /// Compares `scores` with the `labels` of the same rows.
    ///
    /// # Errors
    ///
    /// Those of [`Evaluation::of`](super::Evaluation::of), and
    /// [`EvaluationError::Bins`] unless there are 1 to 1000 bins.
    pub fn of(
        bins: CalibrationBins,
        scores: &[f64],
        labels: &[f64],
    ) -> Result<Self, EvaluationError> {
        Self::check(bins, scores, labels, None)
    }

    /// The same for rows that do not count alike.
    ///
    /// # Errors
    ///
    /// Those of [`Evaluation::weighted`](super::Evaluation::weighted), and
    /// [`EvaluationError::Bins`] unless there are 1 to 1000 bins.
    ///
    /// ```
    /// use pmmds::promote::{Calibration, CalibrationBins};
    /// let one = CalibrationBins::EqualWidth(1);
    /// let calibration = Calibration::weighted(one, &[0.5, 0.5], &[1.0, 0.0], &[3.0, 1.0])?;
    /// assert_eq!(calibration.ece(), 0.25);
    /// # Ok::<(), pmmds::promote::EvaluationError>(())
    /// ```
    pub fn weighted(
        bins: CalibrationBins,
        scores: &[f64],
        labels: &[f64],
        weights: &[f64],
    ) -> Result<Self, EvaluationError> {
        Self::check(bins, scores, labels, Some(weights))
    }

    fn check(
        bins: CalibrationBins,
        scores: &[f64],
        labels: &[f64],
        weights: Option<&[f64]>,
    ) -> Result<Self, EvaluationError> {
        match Rows::check(Task::binary(), scores, labels, weights)? {
            Rows::Classified(ranked) => Self::of_rows(bins, ranked.rows()),
            Rows::Numbers(_) => Err(EvaluationError::NoRows),
        }
    }

    /// The table of `rows`, at least one.
    pub(super) fn of_rows(
        bins: CalibrationBins,
        rows: &[ScoredRow],
    ) -> Result<Self, EvaluationError> {
        let edges = edges(bins, rows)?;
        let empty = Sums { rows: 0, weight: 0.0, labels: 0.0, scores: 0.0 };
        let mut sums = vec![empty; edges.len() + 1];
        for row in rows {
            let bin = &mut sums[edges.partition_point(|edge| *edge < row.score)];
            bin.rows += 1;
            bin.weight += row.weight;
            bin.labels += if row.positive { row.weight } else { 0.0 };
            bin.scores = row.weight.mul_add(row.score, bin.scores);
        }
        let used = sums.iter().enumerate().filter(|(_, bin)| bin.rows > 0);
        let bin = |(index, bin): (usize, &Sums)| CalibrationBin {
            index,
            rows: bin.rows,
            weight: bin.weight,
            mean_label: (bin.labels / bin.weight).min(1.0),
            mean_score: (bin.scores / bin.weight).min(1.0),
        };
        Ok(Self { bins: used.map(bin).collect() })
    }

    /// The bins that have rows, lowest scores first.
    #[must_use]
    pub fn bins(&self) -> &[CalibrationBin] {
        &self.bins
    }

    /// The expected calibration error: the mean gap, by weight.
    #[must_use]
    pub fn ece(&self) -> f64 {
        let total: f64 = self.bins.iter().map(|bin| bin.weight).sum();
        self.bins.iter().map(|bin| bin.weight / total * bin.gap()).sum::<f64>().min(1.0)
    }

    /// The maximum calibration error: the largest gap, however few rows it has.
    #[must_use]
    pub fn mce(&self) -> f64 {
        self.bins.iter().map(CalibrationBin::gap).fold(0.0, f64::max)
    }
}

#[derive(Clone)]
struct Sums {
    rows: u64,
    weight: f64,
    labels: f64,
    scores: f64,
}

/// The inner edges, strictly increasing.
#[expect(clippy::cast_precision_loss, reason = "at most 1000 bins")]
fn edges(bins: CalibrationBins, rows: &[ScoredRow]) -> Result<Vec<f64>, EvaluationError> {
    let (CalibrationBins::EqualWidth(count) | CalibrationBins::Quantile(count)) = bins;
    if !(1..=MAX_BINS).contains(&count) {
        return Err(EvaluationError::Bins { bins: count });
    }
    // A division, not a multiple of the width: 3 / 10 is the 0.3 that a score of 0.3 is.
    let shares = (1..count).map(|edge| edge as f64 / count as f64);
    match bins {
        CalibrationBins::EqualWidth(_) => Ok(shares.collect()),
        CalibrationBins::Quantile(_) => {
            let mut sorted: Vec<f64> = rows.iter().map(|row| row.score).collect();
            sorted.sort_unstable_by(f64::total_cmp);
            let mut edges: Vec<f64> = shares
                .filter_map(|share| quantile(sorted.len(), share, |at| sorted.get(at).copied()))
                .collect();
            // Ascending, so `>=` is equality.
            edges.dedup_by(|later, earlier| *earlier >= *later);
            Ok(edges)
        }
    }
}
