//! The measures that models are compared by.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A measure of how well scores agree with what came true.
///
/// In the formulas `y_i` is the label of row `i` (0 or 1), `s_i` its score, `d_i` the predicted
/// class (1 when `s_i >= threshold`), `n` the number of rows, and TP, FP, FN, TN count the rows
/// with `(d, y)` = (1, 1), (1, 0), (0, 1), (0, 0). A metric that does not exist for the rows at
/// hand, such as a precision without positive predictions, is `None` everywhere, never 0 or NaN.
///
/// ```
/// use pmmds::promote::Metric;
///
/// let metric: Metric = "roc_auc".parse()?;
/// assert_eq!(metric, Metric::RocAuc);
/// assert_eq!(Metric::LogLoss.to_string(), "log_loss");
/// assert_eq!(
///     "auc".parse::<Metric>().unwrap_err().to_string(),
///     "\"auc\" is no metric: expected one of roc_auc, log_loss, brier, f1, precision, recall, \
///      accuracy",
/// );
/// # Ok::<(), pmmds::promote::UnknownMetric>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Metric {
    /// Area under the receiver operating characteristic: the share of (positive, negative) pairs
    /// of rows in which the positive has the higher score.
    ///
    /// # Formula
    ///
    /// ```text
    /// sum over pairs (i, j) with y_i = 1, y_j = 0 of [s_i > s_j] + [s_i = s_j] / 2
    /// ----------------------------------------------------------------------------
    ///                     positives * negatives
    /// ```
    ///
    /// Range `[0, 1]`, 0.5 for scores that know nothing, higher is better. Pairs are counted as
    /// integers, so a tie is exactly a half and the order of the rows does not matter; the one
    /// rounding is the division. `None` when all rows are of one class. It ranks only: a model
    /// whose probabilities are all ten times too small keeps its area. Look at
    /// [`LogLoss`](Self::LogLoss) too when the probabilities themselves are used.
    ///
    /// # Reference
    ///
    /// J. A. Hanley, B. J. McNeil (1982), The meaning and use of the area under a receiver
    /// operating characteristic (ROC) curve, DOI 10.1148/radiology.143.1.7063747.
    RocAuc,
    /// Mean negative log likelihood of the labels, in nats.
    ///
    /// # Formula
    ///
    /// ```text
    /// -1/n * sum_i [ y_i ln(p_i) + (1 - y_i) ln(1 - p_i) ]
    /// ```
    ///
    /// where `p_i` is `s_i` clipped to `[e, 1 - e]` with `e = 2^-52`, scikit-learn's rule for
    /// 64-bit floats, so that one certain error costs 36.04 and not infinity. Range `[0, 36.05)`,
    /// ln 2 = 0.693 for a coin, lower is better. Exists for one class as for two. The sum runs in
    /// row order: other orders may differ in the last bits. A poor choice where a few confident
    /// errors are tolerable, since they dominate it.
    ///
    /// # Reference
    ///
    /// I. J. Good (1952), Rational decisions, DOI 10.1111/j.2517-6161.1952.tb00104.x.
    LogLoss,
    /// Mean squared error of the probabilities.
    ///
    /// # Formula
    ///
    /// ```text
    /// 1/n * sum_i (s_i - y_i)^2
    /// ```
    ///
    /// Range `[0, 1]`, 0.25 for a constant one half, lower is better. Exists for one class as for
    /// two. The sum runs in row order. With rare positives the constant base rate already scores
    /// close to 0: compare models, do not read the number alone.
    ///
    /// # Reference
    ///
    /// G. W. Brier (1950), Verification of forecasts expressed in terms of probability,
    /// DOI 10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2.
    Brier,
    /// Harmonic mean of precision and recall at the threshold.
    ///
    /// # Formula
    ///
    /// ```text
    /// 2 TP / (2 TP + FP + FN)
    /// ```
    ///
    /// Range `[0, 1]`, higher is better. 0 when there are positives or positive predictions and
    /// none of them meet; `None` when there are neither. Ignores TN, and depends on the threshold.
    ///
    /// # Reference
    ///
    /// N. Chinchor (1992), MUC-4 evaluation metrics, DOI 10.3115/1072064.1072067.
    F1,
    /// Share of the positive predictions that came true, at the threshold.
    ///
    /// # Formula
    ///
    /// ```text
    /// TP / (TP + FP)
    /// ```
    ///
    /// Range `[0, 1]`, higher is better. `None` without positive predictions. Alone it rewards a
    /// model that predicts one sure positive and nothing else.
    ///
    /// # Reference
    ///
    /// M. Sokolova, G. Lapalme (2009), A systematic analysis of performance measures for
    /// classification tasks, DOI 10.1016/j.ipm.2009.03.002.
    Precision,
    /// Share of the positives that were predicted, at the threshold.
    ///
    /// # Formula
    ///
    /// ```text
    /// TP / (TP + FN)
    /// ```
    ///
    /// Range `[0, 1]`, higher is better. `None` without positives. Alone it rewards a model that
    /// predicts nothing but positives.
    ///
    /// # Reference
    ///
    /// M. Sokolova, G. Lapalme (2009), A systematic analysis of performance measures for
    /// classification tasks, DOI 10.1016/j.ipm.2009.03.002.
    Recall,
    /// Share of the rows predicted correctly, at the threshold.
    ///
    /// # Formula
    ///
    /// ```text
    /// (TP + TN) / n
    /// ```
    ///
    /// Range `[0, 1]`, higher is better; exists for one class as for two. A poor choice for rare
    /// positives: with 1 % of them, predicting none is 99 % accurate.
    ///
    /// # Reference
    ///
    /// M. Sokolova, G. Lapalme (2009), A systematic analysis of performance measures for
    /// classification tasks, DOI 10.1016/j.ipm.2009.03.002.
    Accuracy,
}

impl Metric {
    /// Every metric, in the order in which tables show them.
    ///
    /// ```
    /// use pmmds::promote::Metric;
    /// assert!(Metric::all().contains(&Metric::Brier));
    /// ```
    #[must_use]
    pub fn all() -> &'static [Self] {
        &[
            Self::RocAuc,
            Self::LogLoss,
            Self::Brier,
            Self::F1,
            Self::Precision,
            Self::Recall,
            Self::Accuracy,
        ]
    }

    /// The stable name, such as `"roc_auc"`: it is stored, and read back by [`FromStr`].
    ///
    /// ```
    /// use pmmds::promote::Metric;
    /// assert_eq!(Metric::F1.name(), "f1");
    /// ```
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::RocAuc => "roc_auc",
            Self::LogLoss => "log_loss",
            Self::Brier => "brier",
            Self::F1 => "f1",
            Self::Precision => "precision",
            Self::Recall => "recall",
            Self::Accuracy => "accuracy",
        }
    }

    /// Whether a model with more of it is the better one.
    ///
    /// ```
    /// use pmmds::promote::Metric;
    /// assert!(Metric::Recall.higher_is_better());
    /// assert!(!Metric::LogLoss.higher_is_better());
    /// ```
    #[must_use]
    pub fn higher_is_better(self) -> bool {
        match self {
            Self::RocAuc | Self::F1 | Self::Precision | Self::Recall | Self::Accuracy => true,
            Self::LogLoss | Self::Brier => false,
        }
    }

    /// How much better the challenger is, in the unit of the metric: positive means better,
    /// whatever the direction of the metric.
    ///
    /// ```
    /// use pmmds::promote::Metric;
    /// assert_eq!(Metric::Accuracy.improvement(0.5, 0.75), 0.25);
    /// assert_eq!(Metric::LogLoss.improvement(0.5, 0.25), 0.25);
    /// ```
    #[must_use]
    pub fn improvement(self, champion: f64, challenger: f64) -> f64 {
        if self.higher_is_better() { challenger - champion } else { champion - challenger }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Metric {
    type Err = UnknownMetric;

    fn from_str(text: &str) -> Result<Self, UnknownMetric> {
        let found = Self::all().iter().find(|metric| metric.name() == text);
        found.copied().ok_or_else(|| UnknownMetric { text: text.chars().take(64).collect() })
    }
}

/// A text names no [`Metric`].
///
/// ```
/// use pmmds::promote::Metric;
/// assert!("gini".parse::<Metric>().unwrap_err().to_string().starts_with("\"gini\" is no metric"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no metric: expected one of {}", names())]
pub struct UnknownMetric {
    // the first 64 characters
    text: String,
}

fn names() -> String {
    Metric::all().iter().map(|metric| metric.name()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stored_name_is_the_name() {
        for metric in Metric::all() {
            assert_eq!(metric.name().parse(), Ok(*metric));
            let json = serde_json::to_string(metric).unwrap();
            assert_eq!(json, format!("{:?}", metric.name()));
            assert_eq!(serde_json::from_str::<Metric>(&json).unwrap(), *metric);
        }
    }

    #[test]
    fn an_endless_name_is_not_repeated() {
        let error = "x".repeat(1_000).parse::<Metric>().unwrap_err();
        assert!(error.to_string().len() < 200);
    }
}
