//! What predictions of one class out of several are worth.

use serde::{Deserialize, Serialize};

use super::confusion::ratio;
use super::rows::{float, mean};

/// Most classes of a [`ConfusionMatrix`].
const MAX_CLASSES: usize = 1_000;

/// How far a row of probabilities may sum from 1.
const PROBABILITY_SUM_SLACK: f64 = 1e-6;

/// Why predictions of classes cannot be evaluated.
///
/// ```
/// use pmmds::promote::{ConfusionMatrix, MulticlassError};
/// assert_eq!(ConfusionMatrix::of(2, &[], &[]), Err(MulticlassError::NoRows));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MulticlassError {
    /// Fewer than two classes, or more than a table of all pairs is for.
    #[error("{classes} classes, expected 2 to 1000")]
    Classes {
        /// classes asked for
        classes: usize,
    },
    /// Every prediction needs its label.
    #[error("{predictions} predictions for {labels} labels")]
    Lengths {
        /// predictions given
        predictions: usize,
        /// labels given
        labels: usize,
    },
    /// There is nothing to evaluate.
    #[error("no rows to evaluate")]
    NoRows,
    /// A class is none of those there are.
    #[error("row {row}: class {class} is not below {classes}")]
    UnknownClass {
        /// row number from 0
        row: usize,
        /// the class given
        class: usize,
        /// number of classes
        classes: usize,
    },
    /// A row's probabilities are none: one lies outside `[0, 1]`, or they do not sum to 1.
    #[error("row {row}: the probabilities are not between 0 and 1 with the sum 1")]
    InvalidProbabilities {
        /// row number from 0
        row: usize,
    },
    /// A stored table is not square, or its counts have no sum.
    #[error("the stored table contradicts itself: {what}")]
    Contradiction {
        /// what cannot be
        what: &'static str,
    },
}

/// How a value of every class becomes one.
///
/// ```
/// use pmmds::promote::{Average, ConfusionMatrix};
/// let table = ConfusionMatrix::of(2, &[0, 0, 0, 1], &[0, 0, 1, 1])?;
/// assert_eq!(table.recall(Average::Macro), Some(0.75));
/// assert_eq!(table.recall(Average::Micro), Some(0.75));
/// # Ok::<(), pmmds::promote::MulticlassError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Average {
    /// The mean over the classes, each counting alike however rare.
    Macro,
    /// From the counts of all classes together: where every row has one class, the accuracy.
    Micro,
    /// The mean over the classes by the number of their rows.
    Weighted,
}

/// Rows by true and predicted class, for any number of classes, with what follows from it.
///
/// A class that neither occurs nor is predicted takes part in no average. Where a value does not
/// exist for a class that does, such as the precision of a class that is never predicted, the
/// averages that need it are `None`, not lowered by a 0; [`f1`](Self::f1) is 0 there, and exists.
///
/// # Formula
///
/// With `C` the table, `t_k` the rows of class `k`, `p_k` those predicted to be and `n` all rows:
///
/// ```text
/// accuracy    sum_k C_kk / n
/// precision   C_kk / p_k          recall   C_kk / t_k          F1   2 C_kk / (t_k + p_k)
/// MCC         (n sum_k C_kk - sum_k t_k p_k) / sqrt( (n^2 - sum_k p_k^2) (n^2 - sum_k t_k^2) )
/// kappa       1 - sum_ij w_ij C_ij / ( sum_ij w_ij t_i p_j / n )
/// ```
///
/// where `w_ij` is 1 for different classes, and `(i - j)^2` in the quadratic form. Ranges as for two
/// classes: see [`Metric`](super::Metric).
///
/// # Reference
///
/// * Averages: M. Sokolova, G. Lapalme (2009), DOI 10.1016/j.ipm.2009.03.002.
/// * MCC: J. Gorodkin (2004), Comparing two K-category assignments by a K-category correlation
///   coefficient, DOI 10.1016/j.compbiolchem.2004.09.006.
/// * Kappa: J. Cohen (1960), DOI 10.1177/001316446002000104; weighted: J. Cohen (1968), Weighted
///   kappa, DOI 10.1037/h0026256.
///
/// ```
/// use pmmds::promote::{Average, ConfusionMatrix};
///
/// let (predicted, labels) = ([0, 1, 2, 2, 0], [0, 1, 2, 1, 0]);
/// let table = ConfusionMatrix::of(3, &predicted, &labels)?;
/// assert_eq!(table.accuracy(), 0.8);
/// assert_eq!(table.count(1, 2), Some(1), "a 1 that was taken for a 2");
/// assert_eq!(table.recall(Average::Macro), Some((1.0 + 0.5 + 1.0) / 3.0));
///
/// let error = ConfusionMatrix::of(2, &predicted, &labels).unwrap_err();
/// assert_eq!(error.to_string(), "row 2: class 2 is not below 2");
/// # Ok::<(), pmmds::promote::MulticlassError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Vec<Vec<u64>>", into = "Vec<Vec<u64>>")]
pub struct ConfusionMatrix {
    // 2 to MAX_CLASSES
    classes: usize,
    // classes^2 cells, one true class after the other; their sum is above 0 and fits into u64
    cells: Vec<u64>,
}

impl ConfusionMatrix {
    /// Counts `predicted` against the `labels` of the same rows, classes from 0 to `classes - 1`.
    ///
    /// # Errors
    ///
    /// See [`MulticlassError`].
    pub fn of(
        classes: usize,
        predicted: &[usize],
        labels: &[usize],
    ) -> Result<Self, MulticlassError> {
        if !(2..=MAX_CLASSES).contains(&classes) {
            return Err(MulticlassError::Classes { classes });
        }
        if predicted.len() != labels.len() {
            let (predictions, labels) = (predicted.len(), labels.len());
            return Err(MulticlassError::Lengths { predictions, labels });
        }
        if labels.is_empty() {
            return Err(MulticlassError::NoRows);
        }
        let mut cells = vec![0; classes * classes];
        for (row, (&predicted, &label)) in predicted.iter().zip(labels).enumerate() {
            let class = predicted.max(label);
            if class >= classes {
                return Err(MulticlassError::UnknownClass { row, class, classes });
            }
            cells[label * classes + predicted] += 1;
        }
        Ok(Self { classes, cells })
    }

    /// Number of classes.
    #[must_use]
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// All rows.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.cells.iter().sum()
    }

    /// Rows of class `label` that were predicted to be of class `predicted`; `None` for a class that
    /// there is not.
    #[must_use]
    pub fn count(&self, label: usize, predicted: usize) -> Option<u64> {
        let known = label < self.classes && predicted < self.classes;
        known.then(|| self.cells[label * self.classes + predicted])
    }

    /// Share of the rows predicted correctly.
    #[must_use]
    pub fn accuracy(&self) -> f64 {
        ratio(self.hits(), self.rows().into()).unwrap_or(0.0)
    }

    /// Precision of `class`; `None` where it is never predicted, or there is no such class.
    ///
    /// ```
    /// use pmmds::promote::ConfusionMatrix;
    /// let table = ConfusionMatrix::of(3, &[0, 0, 1], &[0, 1, 1])?;
    /// assert_eq!((table.precision_of(0), table.recall_of(1)), (Some(0.5), Some(0.5)));
    /// assert_eq!((table.precision_of(2), table.f1_of(2)), (None, None));
    /// # Ok::<(), pmmds::promote::MulticlassError>(())
    /// ```
    #[must_use]
    pub fn precision_of(&self, class: usize) -> Option<f64> {
        let [hits, _, predicted] = self.of_class(class)?;
        ratio(hits, predicted)
    }

    /// Recall of `class`; `None` where it does not occur, or there is no such class.
    #[must_use]
    pub fn recall_of(&self, class: usize) -> Option<f64> {
        let [hits, rows, _] = self.of_class(class)?;
        ratio(hits, rows)
    }

    /// F1 of `class`; `None` where it neither occurs nor is predicted, or there is no such class.
    #[must_use]
    pub fn f1_of(&self, class: usize) -> Option<f64> {
        let [hits, rows, predicted] = self.of_class(class)?;
        ratio(2 * hits, rows + predicted)
    }

    /// Precision of all classes as one number.
    #[must_use]
    pub fn precision(&self, average: Average) -> Option<f64> {
        self.average(average, Self::precision_of)
    }

    /// Recall of all classes as one number; as [`Average::Macro`] the balanced accuracy.
    #[must_use]
    pub fn recall(&self, average: Average) -> Option<f64> {
        self.average(average, Self::recall_of)
    }

    /// F1 of all classes as one number.
    #[must_use]
    pub fn f1(&self, average: Average) -> Option<f64> {
        self.average(average, Self::f1_of)
    }

    /// Correlation of true and predicted class; `None` when all rows are of one class, or all are
    /// predicted to be.
    ///
    /// ```
    /// use pmmds::promote::ConfusionMatrix;
    /// let table = ConfusionMatrix::of(3, &[0, 1, 2], &[0, 1, 2])?;
    /// assert_eq!((table.mcc(), table.kappa(), table.quadratic_kappa()), (Some(1.0), Some(1.0), Some(1.0)));
    /// assert_eq!(ConfusionMatrix::of(3, &[1, 1], &[0, 1])?.mcc(), None);
    /// # Ok::<(), pmmds::promote::MulticlassError>(())
    /// ```
    #[must_use]
    pub fn mcc(&self) -> Option<f64> {
        // As shares, so that no square is too large.
        let (labels, predictions) = self.shares();
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let spread = |shares: &[f64]| 1.0 - dot(shares, shares);
        let constant = |shares: &[f64]| shares.iter().any(|share| *share >= 1.0);
        if constant(&labels) || constant(&predictions) {
            return None;
        }
        let covered = self.accuracy() - dot(&labels, &predictions);
        let size = (spread(&labels) * spread(&predictions)).sqrt();
        Some((covered / size).clamp(-1.0, 1.0))
    }

    /// Agreement of true and predicted class beyond that of chance; `None` when all rows are of one
    /// class and predicted to be.
    #[must_use]
    pub fn kappa(&self) -> Option<f64> {
        self.agreement(|apart| f64::from(u8::from(apart > 0)))
    }

    /// The same for classes in an order, where an error costs the square of how far it is off.
    #[must_use]
    pub fn quadratic_kappa(&self) -> Option<f64> {
        self.agreement(|apart| float(apart) * float(apart))
    }

    fn agreement(&self, price: impl Fn(usize) -> f64) -> Option<f64> {
        let (labels, predictions) = self.shares();
        let rows = wide_float(self.rows().into());
        let (mut found, mut by_chance) = (0.0, 0.0);
        for (label, label_share) in labels.iter().enumerate() {
            for (predicted, predicted_share) in predictions.iter().enumerate() {
                let price = price(label.abs_diff(predicted));
                let share = wide_float(self.cells[label * self.classes + predicted].into()) / rows;
                found = f64::mul_add(price, share, found);
                by_chance = f64::mul_add(price, label_share * predicted_share, by_chance);
            }
        }
        (by_chance > 0.0).then(|| 1.0 - found / by_chance)
    }

    /// The shares of the true and of the predicted classes.
    fn shares(&self) -> (Vec<f64>, Vec<f64>) {
        let rows = self.rows().into();
        let share = |part: usize| {
            let of = move |class| self.of_class(class).and_then(|counts| ratio(counts[part], rows));
            (0..self.classes).map(move |class| of(class).unwrap_or(0.0)).collect()
        };
        (share(1), share(2))
    }

    fn average(
        &self,
        average: Average,
        of_class: impl Fn(&Self, usize) -> Option<f64>,
    ) -> Option<f64> {
        if average == Average::Micro {
            // Every row is once a true and once a predicted class, so all three are the same.
            return Some(self.accuracy());
        }
        let (mut sum, mut total) = (0.0, 0.0);
        for class in 0..self.classes {
            let [_, rows, predicted] = self.of_class(class)?;
            let weight = match average {
                Average::Weighted => wide_float(rows),
                _ => f64::from(u8::from(rows + predicted > 0)),
            };
            if weight > 0.0 {
                sum = of_class(self, class)?.mul_add(weight, sum);
                total += weight;
            }
        }
        (total > 0.0).then(|| sum / total)
    }

    fn hits(&self) -> u128 {
        self.cells.iter().step_by(self.classes + 1).map(|cell| u128::from(*cell)).sum()
    }

    /// Hits, rows and predictions of `class`.
    fn of_class(&self, class: usize) -> Option<[u128; 3]> {
        let hits = self.count(class, class)?;
        let line = &self.cells[class * self.classes..][..self.classes];
        let column = self.cells.iter().skip(class).step_by(self.classes);
        let wide = |sum: u128, cell: &u64| sum + u128::from(*cell);
        Some([hits.into(), line.iter().fold(0, wide), column.fold(0, wide)])
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts above 2^53 may lose their last digits")]
fn wide_float(count: u128) -> f64 {
    count as f64
}

impl TryFrom<Vec<Vec<u64>>> for ConfusionMatrix {
    type Error = MulticlassError;

    fn try_from(lines: Vec<Vec<u64>>) -> Result<Self, MulticlassError> {
        let classes = lines.len();
        if !(2..=MAX_CLASSES).contains(&classes) {
            return Err(MulticlassError::Classes { classes });
        }
        if lines.iter().any(|line| line.len() != classes) {
            return Err(MulticlassError::Contradiction { what: "it is not square" });
        }
        let cells = lines.concat();
        match cells.iter().try_fold(0_u64, |sum, cell| sum.checked_add(*cell)) {
            None => Err(MulticlassError::Contradiction { what: "more rows than can be counted" }),
            Some(0) => Err(MulticlassError::NoRows),
            Some(_) => Ok(Self { classes, cells }),
        }
    }
}

impl From<ConfusionMatrix> for Vec<Vec<u64>> {
    fn from(table: ConfusionMatrix) -> Self {
        table.cells.chunks(table.classes).map(<[u64]>::to_vec).collect()
    }
}

/// Mean negative log likelihood of the true classes, in nats: the log loss of several classes.
///
/// # Formula
///
/// ```text
/// -1/n * sum_i ln( p_i,y_i )
/// ```
///
/// where `p_i,k` is the probability of class `k` in row `i`, clipped to `[e, 1 - e]` with
/// `e = 2^-52` as in [`Metric::LogLoss`](super::Metric::LogLoss). `probabilities` holds one row
/// after the other, `classes` numbers each. Range `[0, 36.05)`, lower is better, `ln(classes)` for
/// even odds.
///
/// # Errors
///
/// When there are no rows, a label is no class, or the probabilities of a row lie outside `[0, 1]`
/// or sum to anything further than 1e-6 from 1.
///
/// # Reference
///
/// I. J. Good (1952), Rational decisions, DOI 10.1111/j.2517-6161.1952.tb00104.x.
///
/// ```
/// use pmmds::promote::multiclass_log_loss;
/// let probabilities = [0.5, 0.25, 0.25, 0.1, 0.1, 0.8];
/// let loss = multiclass_log_loss(3, &probabilities, &[0, 2])?;
/// assert!((loss + (0.5_f64.ln() + 0.8_f64.ln()) / 2.0).abs() < 1e-12);
///
/// let error = multiclass_log_loss(2, &[0.5, 0.6], &[0]).unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "row 0: the probabilities are not between 0 and 1 with the sum 1",
/// );
/// # Ok::<(), pmmds::promote::MulticlassError>(())
/// ```
pub fn multiclass_log_loss(
    classes: usize,
    probabilities: &[f64],
    labels: &[usize],
) -> Result<f64, MulticlassError> {
    if !(2..=MAX_CLASSES).contains(&classes) {
        return Err(MulticlassError::Classes { classes });
    }
    let rows = probabilities.chunks_exact(classes);
    if rows.len() != labels.len() || !rows.remainder().is_empty() {
        let predictions = probabilities.len().div_ceil(classes);
        return Err(MulticlassError::Lengths { predictions, labels: labels.len() });
    }
    if labels.is_empty() {
        return Err(MulticlassError::NoRows);
    }
    let mut losses = Vec::with_capacity(labels.len());
    for (row, (probabilities, &class)) in rows.zip(labels).enumerate() {
        let Some(probability) = probabilities.get(class) else {
            return Err(MulticlassError::UnknownClass { row, class, classes });
        };
        let possible = probabilities.iter().all(|share| (0.0..=1.0).contains(share))
            && (probabilities.iter().sum::<f64>() - 1.0).abs() <= PROBABILITY_SUM_SLACK;
        if !possible {
            return Err(MulticlassError::InvalidProbabilities { row });
        }
        losses.push(-probability.clamp(f64::EPSILON, 1.0 - f64::EPSILON).ln());
    }
    Ok(mean(losses.into_iter()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Task;
    use crate::promote::{Evaluation, Metric};
    use crate::tests::close;

    const RELATIVE: f64 = 1e-12;

    #[test]
    fn two_classes_are_the_binary_metrics() {
        let scores = [0.9, 0.8, 0.3, 0.6, 0.2, 0.55, 0.1];
        let labels = [1, 0, 1, 1, 0, 0, 0];
        let floats: Vec<f64> = labels.iter().map(|label| float(*label)).collect();
        let binary = Evaluation::of(Task::binary(), &scores, &floats).unwrap();
        let predicted: Vec<usize> = scores.iter().map(|s| usize::from(*s >= 0.5)).collect();
        let table = ConfusionMatrix::of(2, &predicted, &labels).unwrap();
        let pairs = [
            (Metric::Accuracy, Some(table.accuracy())),
            (Metric::Precision, table.precision_of(1)),
            (Metric::Recall, table.recall_of(1)),
            (Metric::F1, table.f1_of(1)),
            (Metric::BalancedAccuracy, table.recall(Average::Macro)),
            (Metric::Mcc, table.mcc()),
            (Metric::CohenKappa, table.kappa()),
            (Metric::CohenKappa, table.quadratic_kappa()),
            (
                Metric::LogLoss,
                multiclass_log_loss(
                    2,
                    &scores.iter().flat_map(|s| [1.0 - s, *s]).collect::<Vec<_>>(),
                    &labels,
                )
                .ok(),
            ),
        ];
        for (metric, found) in pairs {
            let want = binary.get(metric).unwrap();
            assert!(close(found.unwrap(), want, RELATIVE), "{metric}: {found:?} for {want}");
        }
    }

    #[test]
    fn a_class_that_is_not_there_lowers_nothing() {
        // Class 3 neither occurs nor is predicted; class 2 occurs and is never predicted.
        let table = ConfusionMatrix::of(4, &[0, 1, 1], &[0, 1, 2]).unwrap();
        assert_eq!(table.precision(Average::Macro), None);
        assert_eq!(table.precision(Average::Weighted), None);
        assert_eq!(table.recall(Average::Macro), Some(2.0 / 3.0));
        assert_eq!(table.f1(Average::Macro), Some((1.0 + 2.0 / 3.0) / 3.0));
        assert_eq!(table.recall(Average::Weighted), Some(2.0 / 3.0));
        assert_eq!(table.precision_of(4), None);
        assert_eq!(table.count(0, 4), None);
        // Class 0 is predicted and does not occur: no recall of it, and no weight.
        let table = ConfusionMatrix::of(2, &[0, 1], &[1, 1]).unwrap();
        assert_eq!(table.recall(Average::Macro), None);
        assert_eq!(table.recall(Average::Weighted), Some(0.5));
    }

    #[test]
    fn what_is_no_table_is_refused() {
        let of = |classes, predicted: &[usize], labels: &[usize]| {
            ConfusionMatrix::of(classes, predicted, labels).unwrap_err().to_string()
        };
        assert_eq!(of(1, &[0], &[0]), "1 classes, expected 2 to 1000");
        assert_eq!(
            of(usize::MAX, &[0], &[0]),
            format!("{} classes, expected 2 to 1000", usize::MAX)
        );
        assert_eq!(of(2, &[0], &[]), "1 predictions for 0 labels");
        assert_eq!(of(2, &[0], &[7]), "row 0: class 7 is not below 2");
        let loss = |probabilities: &[f64], labels: &[usize]| {
            multiclass_log_loss(2, probabilities, labels).unwrap_err().to_string()
        };
        assert_eq!(loss(&[0.5, 0.5, 1.0], &[0]), "2 predictions for 1 labels");
        assert_eq!(loss(&[0.5, 0.5], &[2]), "row 0: class 2 is not below 2");
        let none = "row 0: the probabilities are not between 0 and 1 with the sum 1";
        for bad in [[f64::NAN, 1.0], [-0.5, 1.5], [0.5, 0.4]] {
            assert_eq!(loss(&bad, &[0]), none);
        }
    }

    #[test]
    fn the_stored_table_round_trips_and_a_forged_one_is_refused() {
        let table = ConfusionMatrix::of(3, &[0, 1, 2, 2], &[0, 1, 2, 1]).unwrap();
        let json = serde_json::to_string(&table).unwrap();
        assert_eq!(json, "[[1,0,0],[0,1,1],[0,0,1]]");
        assert_eq!(serde_json::from_str::<ConfusionMatrix>(&json).unwrap(), table);
        let read =
            |json: &str| serde_json::from_str::<ConfusionMatrix>(json).unwrap_err().to_string();
        assert_eq!(read("[[1,0],[1]]"), "the stored table contradicts itself: it is not square");
        assert_eq!(read("[[0,0],[0,0]]"), "no rows to evaluate");
        assert_eq!(read("[[1]]"), "1 classes, expected 2 to 1000");
        let full = format!("[[{},0],[0,1]]", u64::MAX);
        assert_eq!(
            read(&full),
            "the stored table contradicts itself: more rows than can be counted"
        );
    }
}
