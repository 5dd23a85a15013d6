//! What every threshold of a classifier would give.

use super::EvaluationError;
use super::placement::Ranked;
use super::rows::Rows;
use crate::model::Task;

/// One threshold of a [`RocCurve`].
///
/// ```
/// use pmmds::promote::RocCurve;
/// let curve = RocCurve::of(&[0.9, 0.4, 0.6], &[1.0, 0.0, 0.0])?;
/// let point = curve.points()[1];
/// assert_eq!((point.threshold, point.false_positive_rate, point.true_positive_rate), (0.9, 0.0, 1.0));
/// # Ok::<(), pmmds::promote::EvaluationError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct RocPoint {
    /// the score at or above which rows are predicted positive; infinite at the start
    pub threshold: f64,
    /// share of the negatives that are
    pub false_positive_rate: f64,
    /// share of the positives that are
    pub true_positive_rate: f64,
}

/// The receiver operating characteristic: the errors of every threshold.
///
/// The points are those of every distinct score, from "nothing is positive" to "everything is"; no
/// point in between is left out. The area below is [`Metric::RocAuc`](super::Metric::RocAuc).
///
/// # Reference
///
/// T. Fawcett (2006), An introduction to ROC analysis, DOI 10.1016/j.patrec.2005.10.010.
///
/// ```
/// use pmmds::promote::RocCurve;
/// let curve = RocCurve::of(&[0.9, 0.6, 0.4, 0.1], &[1.0, 1.0, 0.0, 1.0])?;
/// assert_eq!(curve.points().len(), 5);
/// let best = curve.ks();
/// assert_eq!((best.threshold, best.true_positive_rate), (0.6, 2.0 / 3.0));
///
/// let error = RocCurve::of(&[0.9, 0.6], &[1.0, 1.0]).unwrap_err();
/// assert_eq!(error.to_string(), "all rows are of one class");
/// # Ok::<(), pmmds::promote::EvaluationError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct RocCurve {
    // thresholds fall, both rates grow from 0 to 1; at least two
    points: Vec<RocPoint>,
}

impl RocCurve {
    /// The curve of `scores` against the `labels` of the same rows.
    ///
    /// # Errors
    ///
    /// Those of [`Evaluation::of`](super::Evaluation::of), and [`EvaluationError::OneClass`].
    pub fn of(scores: &[f64], labels: &[f64]) -> Result<Self, EvaluationError> {
        Self::check(scores, labels, None)
    }

    /// The same for rows that do not count alike.
    ///
    /// # Errors
    ///
    /// Those of [`Evaluation::weighted`](super::Evaluation::weighted), and
    /// [`EvaluationError::OneClass`].
    ///
    /// ```
    /// use pmmds::promote::RocCurve;
    /// let curve = RocCurve::weighted(&[0.9, 0.6, 0.4], &[1.0, 0.0, 0.0], &[1.0, 3.0, 1.0])?;
    /// assert_eq!(curve.points()[2].false_positive_rate, 0.75);
    /// # Ok::<(), pmmds::promote::EvaluationError>(())
    /// ```
    pub fn weighted(
        scores: &[f64],
        labels: &[f64],
        weights: &[f64],
    ) -> Result<Self, EvaluationError> {
        Self::check(scores, labels, Some(weights))
    }

    fn check(
        scores: &[f64],
        labels: &[f64],
        weights: Option<&[f64]>,
    ) -> Result<Self, EvaluationError> {
        match Rows::check(Task::binary(), scores, labels, weights)? {
            Rows::Classified(ranked) => Self::of_rows(&ranked),
            Rows::Numbers(_) => Err(EvaluationError::OneClass),
        }
    }

    fn of_rows(ranked: &Ranked) -> Result<Self, EvaluationError> {
        let rows = ranked.rows();
        let nothing = (f64::INFINITY, [0.0; 2]);
        let sums: Vec<(f64, [f64; 2])> = std::iter::once(nothing)
            .chain(ranked.ties().rev().scan([0.0; 2], |sums, group| {
                for &row in group {
                    sums[usize::from(rows[row].positive)] += rows[row].weight;
                }
                Some((rows[group[0]].score, *sums))
            }))
            .collect();
        let [negatives, positives] = sums.last().map_or([0.0; 2], |(_, sums)| *sums);
        if !(negatives > 0.0 && positives > 0.0) {
            return Err(EvaluationError::OneClass);
        }
        let point = |(threshold, [false_positives, true_positives]): (f64, [f64; 2])| RocPoint {
            threshold,
            false_positive_rate: false_positives / negatives,
            true_positive_rate: true_positives / positives,
        };
        Ok(Self { points: sums.into_iter().map(point).collect() })
    }

    /// The points, from the highest threshold to the lowest.
    #[must_use]
    pub fn points(&self) -> &[RocPoint] {
        &self.points
    }

    /// The point at which the classes are furthest apart; the highest threshold of those.
    ///
    /// Its [`separation`](RocPoint::separation) is the statistic of Kolmogorov and Smirnov for the
    /// scores of positives above those of negatives, by which credit scoring ranks models, and
    /// Youden's index at its best. Chance adds to it: it is the largest of many differences.
    #[must_use]
    pub fn ks(&self) -> RocPoint {
        let first = self.points[0];
        let best = |best: RocPoint, point: &RocPoint| {
            if point.separation() > best.separation() { *point } else { best }
        };
        self.points.iter().fold(first, best)
    }
}

impl RocPoint {
    /// True positive rate less false positive rate, in `[-1, 1]`.
    ///
    /// # Reference
    ///
    /// W. J. Youden (1950), Index for rating diagnostic tests,
    /// DOI 10.1002/1097-0142(1950)3:1<32::AID-CNCR2820030106>3.0.CO;2-3.
    #[must_use]
    pub fn separation(&self) -> f64 {
        self.true_positive_rate - self.false_positive_rate
    }
}
