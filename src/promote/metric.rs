//! The measures that models are compared by.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::model::Task;

/// A measure of how well scores agree with what came true.
///
/// In the formulas `y_i` is the label of row `i` (0 or 1 for a classifier), `s_i` its score, `d_i`
/// the predicted class (1 when `s_i >= threshold`), `n` the number of rows, and TP, FP, FN, TN
/// count the rows with `(d, y)` = (1, 1), (1, 0), (0, 1), (0, 0). Where rows have weights, a sum or
/// a count is that of the weights, and `n` their sum. A metric that does not exist for the rows at
/// hand, such as a precision without positive predictions, is `None` everywhere, never 0 or NaN.
///
/// Only the errors of a regression have a unit; the others are shares, nats or plain numbers. NaN,
/// infinities and rows without a label never reach a metric: [`Evaluation`](super::Evaluation)
/// refuses them, as it refuses no rows at all. Which of them describe a model depends on its task:
/// see [`Metric::of`].
///
/// # Which one?
///
/// | the question | metric |
/// |---|---|
/// | does it rank positives above negatives? | [`RocAuc`](Self::RocAuc); with rare positives [`AveragePrecision`](Self::AveragePrecision) |
/// | are the probabilities themselves used? | [`LogLoss`](Self::LogLoss) or [`Brier`](Self::Brier), with [`Ece`](Self::Ece) for the eye |
/// | one threshold, and both classes matter | [`Mcc`](Self::Mcc) or [`BalancedAccuracy`](Self::BalancedAccuracy) |
/// | one threshold, and the positives matter | [`Precision`](Self::Precision) with [`Recall`](Self::Recall), [`F1`](Self::F1) as one number |
/// | a number, and large errors are the worst | [`Rmse`](Self::Rmse); over the spread of the labels [`R2`](Self::R2) |
/// | a number, and outliers shall not decide | [`Mae`](Self::Mae), [`MedianAbsoluteError`](Self::MedianAbsoluteError) |
/// | a number, as a share of itself | [`Mape`](Self::Mape), where no label is near 0 |
///
/// ```
/// use pmmds::promote::Metric;
///
/// let metric: Metric = "roc_auc".parse()?;
/// assert_eq!(metric, Metric::RocAuc);
/// assert_eq!(Metric::LogLoss.to_string(), "log_loss");
/// assert_eq!(
///     "auc".parse::<Metric>().unwrap_err().to_string(),
///     "\"auc\" is no metric: expected one of roc_auc, average_precision, log_loss, brier, ece, f1, \
///      precision, recall, accuracy, balanced_accuracy, mcc, cohen_kappa, rmse, mae, r2, \
///      median_absolute_error, max_error, mape",
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
    /// The mean, over the positives, of the precision at the score of each: the area under the
    /// precision-recall curve, as steps.
    ///
    /// # Formula
    ///
    /// ```text
    /// sum_t (R_t - R_t-1) P_t
    /// ```
    ///
    /// where `t` runs through the distinct scores from the highest down and `P_t`, `R_t` are
    /// precision and recall of "positive at or above t". Range `(0, 1]`, higher is better; scores
    /// that know nothing have about the share of the positives, so values of different holdouts do
    /// not compare. `None` without positives. The better view than [`RocAuc`](Self::RocAuc) for
    /// rare positives, where the many easy negatives flatter. No straight lines are drawn between
    /// the points: they promise what no threshold delivers.
    ///
    /// # Reference
    ///
    /// J. Davis, M. Goadrich (2006), The relationship between precision-recall and ROC curves,
    /// DOI 10.1145/1143844.1143874.
    AveragePrecision,
    /// Expected calibration error in ten bins of equal width: how far probabilities are from the
    /// shares that came true.
    ///
    /// # Formula
    ///
    /// ```text
    /// sum_b n_b / n * | mean y in b - mean s in b |,    b = (0, 0.1], (0.1, 0.2], ... (0.9, 1]
    /// ```
    ///
    /// where a score of 0 is in the first bin. Range `[0, 1]`, lower is better. Exists for one class
    /// as for two. Chance adds to it and never takes away, so it has no interval of a difference:
    /// compare [`LogLoss`](Self::LogLoss) or [`Brier`](Self::Brier) for that. A model that answers
    /// the base rate for every row has an ECE near 0. Other bins, and the table:
    /// [`Calibration`](super::Calibration).
    ///
    /// # Reference
    ///
    /// M. P. Naeini, G. F. Cooper, M. Hauskrecht (2015), Obtaining well calibrated probabilities
    /// using Bayesian binning, DOI 10.1609/aaai.v29i1.9602.
    Ece,
    /// Mean of the recalls of both classes, at the threshold.
    ///
    /// # Formula
    ///
    /// ```text
    /// ( TP / (TP + FN) + TN / (TN + FP) ) / 2
    /// ```
    ///
    /// Range `[0, 1]`, 0.5 for predictions that know nothing, higher is better. `None` when all
    /// rows are of one class. Both classes weigh the same, however rare one is.
    ///
    /// # Reference
    ///
    /// K. H. Brodersen, C. S. Ong, K. E. Stephan, J. M. Buhmann (2010), The balanced accuracy and
    /// its posterior distribution, DOI 10.1109/ICPR.2010.764.
    BalancedAccuracy,
    /// Matthews' correlation coefficient of predicted and true class, at the threshold.
    ///
    /// # Formula
    ///
    /// ```text
    ///                      TP TN - FP FN
    /// -----------------------------------------------------
    /// sqrt( (TP + FP) (TP + FN) (TN + FP) (TN + FN) )
    /// ```
    ///
    /// Range `[-1, 1]`, 0 for predictions that know nothing, higher is better. `None` when all rows
    /// are of one class, or all are predicted to be. Uses all four cells, and so is hard to flatter.
    ///
    /// # Reference
    ///
    /// B. W. Matthews (1975), Comparison of the predicted and observed secondary structure of T4
    /// phage lysozyme, DOI 10.1016/0005-2795(75)90109-9.
    Mcc,
    /// Cohen's kappa: agreement of predicted and true class beyond that of chance, at the threshold.
    ///
    /// # Formula
    ///
    /// ```text
    /// ( p_o - p_e ) / ( 1 - p_e )
    /// ```
    ///
    /// where `p_o` is the accuracy and `p_e` that of independent classes with the same shares.
    /// Range `[-1, 1]`, higher is better. `None` when all rows are of one class and predicted to
    /// be. For the same skill it falls as the classes grow unequal.
    ///
    /// # Reference
    ///
    /// J. Cohen (1960), A coefficient of agreement for nominal scales,
    /// DOI 10.1177/001316446002000104.
    CohenKappa,
    /// Root mean squared error of a regression, in the unit of the label.
    ///
    /// # Formula
    ///
    /// ```text
    /// sqrt( 1/n * sum_i (s_i - y_i)^2 )
    /// ```
    ///
    /// Range `[0, inf)`, lower is better. Exists for every set of rows whose squares fit into a
    /// float. Large errors dominate it: one outlier can decide. The sum runs in row order.
    ///
    /// # Reference
    ///
    /// C. J. Willmott, K. Matsuura (2005), Advantages of the mean absolute error (MAE) over the
    /// root mean square error (RMSE), DOI 10.3354/cr030079.
    Rmse,
    /// Mean absolute error of a regression, in the unit of the label.
    ///
    /// # Formula
    ///
    /// ```text
    /// 1/n * sum_i |s_i - y_i|
    /// ```
    ///
    /// Range `[0, inf)`, lower is better. The error of the median, not of the mean, is the smallest
    /// by it: a model can improve it by leaning to the low side of skewed labels.
    ///
    /// # Reference
    ///
    /// C. J. Willmott, K. Matsuura (2005), DOI 10.3354/cr030079.
    Mae,
    /// Coefficient of determination: the share of the labels' variance that a regression explains.
    ///
    /// # Formula
    ///
    /// ```text
    /// 1 - sum_i (s_i - y_i)^2 / sum_i (y_i - mean y)^2
    /// ```
    ///
    /// Range `(-inf, 1]`, 0 for a model that answers the mean of these labels, higher is better.
    /// `None` when all labels are the same, as with one row. It has no unit, but depends on how
    /// far the labels of the holdout spread.
    ///
    /// # Reference
    ///
    /// D. Chicco, M. J. Warrens, G. Jurman (2021), The coefficient of determination R-squared is
    /// more informative than SMAPE, MAE, MAPE, MSE and RMSE in regression analysis evaluation,
    /// DOI 10.7717/peerj-cs.623.
    R2,
    /// The size of error that half of the rows stay below, in the unit of the label.
    ///
    /// # Formula
    ///
    /// ```text
    /// median_i |s_i - y_i|
    /// ```
    ///
    /// where the median of an even number of rows is midway between the two in the middle, and
    /// with weights the size below which half of the weight lies. Range `[0, inf)`, lower is better.
    /// No outlier moves it, and so it says nothing about them. It has no interval of a difference.
    ///
    /// # Reference
    ///
    /// P. J. Huber (1981), Robust statistics, DOI 10.1002/0471725250.
    MedianAbsoluteError,
    /// The largest error of a regression, in the unit of the label.
    ///
    /// # Formula
    ///
    /// ```text
    /// max_i |s_i - y_i|
    /// ```
    ///
    /// Range `[0, inf)`, lower is better; weights do not matter. It is one row's error and grows
    /// with the number of rows: compare on the same ones. It has no interval of a difference.
    ///
    /// # Reference
    ///
    /// By its definition.
    MaxError,
    /// Mean absolute error as a share of the label: 0.1 is 10 %.
    ///
    /// # Formula
    ///
    /// ```text
    /// 1/n * sum_i |s_i - y_i| / |y_i|
    /// ```
    ///
    /// Range `[0, inf)`, lower is better. `None` when a label is 0, of which no error is a share.
    /// Labels near 0 dominate it, and it prefers predictions that are too low.
    ///
    /// # Reference
    ///
    /// R. J. Hyndman, A. B. Koehler (2006), Another look at measures of forecast accuracy,
    /// DOI 10.1016/j.ijforecast.2006.03.001.
    Mape,
}

const ALL: [Metric; 18] = [
    Metric::RocAuc,
    Metric::AveragePrecision,
    Metric::LogLoss,
    Metric::Brier,
    Metric::Ece,
    Metric::F1,
    Metric::Precision,
    Metric::Recall,
    Metric::Accuracy,
    Metric::BalancedAccuracy,
    Metric::Mcc,
    Metric::CohenKappa,
    Metric::Rmse,
    Metric::Mae,
    Metric::R2,
    Metric::MedianAbsoluteError,
    Metric::MaxError,
    Metric::Mape,
];

/// How many of [`ALL`] are of a classifier.
const OF_CLASSIFIERS: usize = 12;

impl Metric {
    /// Every metric, those of classifiers first, in the order in which tables show them.
    ///
    /// ```
    /// use pmmds::promote::Metric;
    /// assert!(Metric::all().contains(&Metric::Brier));
    /// ```
    #[must_use]
    pub fn all() -> &'static [Self] {
        &ALL
    }

    /// The metrics of `task`, in the order in which tables show them.
    ///
    /// ```
    /// use pmmds::{model::Task, promote::Metric};
    /// assert_eq!(Metric::of(Task::binary())[0], Metric::RocAuc);
    /// assert_eq!(Metric::of(Task::Regression)[0], Metric::Rmse);
    /// assert!(!Metric::of(Task::Regression).contains(&Metric::RocAuc));
    /// ```
    #[must_use]
    pub fn of(task: Task) -> &'static [Self] {
        let (classified, regressed) = ALL.split_at(OF_CLASSIFIERS);
        match task {
            Task::BinaryClassification { .. } => classified,
            Task::Regression => regressed,
        }
    }

    /// The metric that decides first where nobody says otherwise: the first [of](Self::of) the
    /// task, ROC-AUC or RMSE.
    ///
    /// ```
    /// use pmmds::{model::Task, promote::Metric};
    /// assert_eq!(Metric::primary(Task::binary()), Metric::RocAuc);
    /// assert_eq!(Metric::primary(Task::Regression), Metric::Rmse);
    /// ```
    #[must_use]
    pub fn primary(task: Task) -> Self {
        match task {
            Task::BinaryClassification { .. } => Self::RocAuc,
            Task::Regression => Self::Rmse,
        }
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
            Self::AveragePrecision => "average_precision",
            Self::LogLoss => "log_loss",
            Self::Brier => "brier",
            Self::Ece => "ece",
            Self::F1 => "f1",
            Self::Precision => "precision",
            Self::Recall => "recall",
            Self::Accuracy => "accuracy",
            Self::BalancedAccuracy => "balanced_accuracy",
            Self::Mcc => "mcc",
            Self::CohenKappa => "cohen_kappa",
            Self::Rmse => "rmse",
            Self::Mae => "mae",
            Self::R2 => "r2",
            Self::MedianAbsoluteError => "median_absolute_error",
            Self::MaxError => "max_error",
            Self::Mape => "mape",
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
            Self::RocAuc
            | Self::AveragePrecision
            | Self::F1
            | Self::Precision
            | Self::Recall
            | Self::Accuracy
            | Self::BalancedAccuracy
            | Self::Mcc
            | Self::CohenKappa
            | Self::R2 => true,
            Self::LogLoss
            | Self::Brier
            | Self::Ece
            | Self::Rmse
            | Self::Mae
            | Self::MedianAbsoluteError
            | Self::MaxError
            | Self::Mape => false,
        }
    }

    /// The smallest and the largest value that it can have; infinite where there is no end.
    ///
    /// ```
    /// use pmmds::promote::Metric;
    /// assert_eq!(Metric::Mcc.range(), (-1.0, 1.0));
    /// assert_eq!(Metric::R2.range(), (f64::NEG_INFINITY, 1.0));
    /// ```
    #[must_use]
    pub fn range(self) -> (f64, f64) {
        match self {
            Self::RocAuc
            | Self::AveragePrecision
            | Self::Brier
            | Self::Ece
            | Self::F1
            | Self::Precision
            | Self::Recall
            | Self::Accuracy
            | Self::BalancedAccuracy => (0.0, 1.0),
            Self::Mcc | Self::CohenKappa => (-1.0, 1.0),
            Self::R2 => (f64::NEG_INFINITY, 1.0),
            Self::LogLoss
            | Self::Rmse
            | Self::Mae
            | Self::MedianAbsoluteError
            | Self::MaxError
            | Self::Mape => (0.0, f64::INFINITY),
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
        assert!(error.to_string().len() < 400);
    }
}
