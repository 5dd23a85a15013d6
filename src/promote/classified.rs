//! What a classifier is worth: the stored half of an evaluation.

use serde::{Deserialize, Serialize};

use super::Metric;
use super::calibration::{Calibration, CalibrationBins};
use super::confusion::{Cells, Confusion, WeightedConfusion, ratio};
use super::placement::{Ranked, ScoredRow};
use super::rows::weighted_mean;

/// How far from 0 and 1 a probability is kept before its logarithm is taken: 2^-52, scikit-learn's
/// rule for 64-bit floats.
const LOG_LOSS_CLIP: f64 = f64::EPSILON;

/// Bins of [`Metric::Ece`].
const ECE_BINS: CalibrationBins = CalibrationBins::EqualWidth(10);

// What follows from the counts is not stored a second time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Classified {
    pub(super) threshold: f64,
    // at least one row
    pub(super) confusion: Confusion,
    // positive where the counts are, None: every row counts alike
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) weighted: Option<WeightedConfusion>,
    // in [0, 1]; None when all rows are of one class
    roc_auc: Option<f64>,
    // in [0, 1]; None without positives, or when the file was written before there was one
    #[serde(default)]
    average_precision: Option<f64>,
    // finite, at least 0
    log_loss: f64,
    // in [0, 1]
    brier: f64,
    // in [0, 1]; None when the file was written before there was one
    #[serde(default)]
    ece: Option<f64>,
}

impl Classified {
    pub(super) fn measure(threshold: f64, ranked: &Ranked, weighted: bool) -> Self {
        let rows = ranked.rows();
        let mut confusion = Confusion::default();
        let mut sums = WeightedConfusion::default();
        for row in rows {
            confusion.count(row.predicted, row.positive);
            sums.add(row.predicted, row.positive, row.weight);
        }
        let mean = |loss: fn(&ScoredRow) -> f64| {
            weighted_mean(rows.iter().map(|row| (loss(row), row.weight)))
        };
        Self {
            threshold,
            confusion,
            weighted: weighted.then_some(sums),
            roc_auc: if weighted { weighted_roc_auc(ranked) } else { roc_auc(ranked) },
            average_precision: average_precision(ranked),
            log_loss: mean(log_loss),
            brier: mean(squared_error),
            ece: Calibration::of_rows(ECE_BINS, rows).ok().map(|calibration| calibration.ece()),
        }
    }

    pub(super) fn get(&self, metric: Metric) -> Option<f64> {
        match metric {
            Metric::RocAuc => self.roc_auc,
            Metric::AveragePrecision => self.average_precision,
            Metric::LogLoss => Some(self.log_loss),
            Metric::Brier => Some(self.brier),
            Metric::Ece => self.ece,
            _ => self.cells().get(metric),
        }
    }

    pub(super) fn cells(&self) -> Cells {
        self.weighted.map_or_else(|| self.confusion.cells(), |sums| sums.cells())
    }

    pub(super) fn positives(&self) -> u64 {
        self.confusion.true_positives + self.confusion.false_negatives
    }

    /// What cannot be, in a stored evaluation.
    pub(super) fn contradiction(&self) -> Option<&'static str> {
        let in_range = |value: f64| (0.0..=1.0).contains(&value);
        let Some(rows) = self.confusion.rows() else {
            return Some("more rows than can be counted");
        };
        let positives = self.positives();
        let two_classes = positives > 0 && positives < rows;
        match self {
            _ if rows == 0 => Some("no rows"),
            _ if !in_range(self.threshold) => Some("threshold beyond 0 to 1"),
            _ if self.weighted.is_some_and(|sums| !sums.fits(&self.confusion)) => {
                Some("weights that do not belong to the counts")
            }
            _ if self.roc_auc.is_some() != two_classes => Some("roc_auc belongs to two classes"),
            _ if self.average_precision.is_some() && positives == 0 => {
                Some("average_precision belongs to positives")
            }
            _ if !self.roc_auc.is_none_or(in_range) => Some("roc_auc beyond 0 to 1"),
            _ if !self.average_precision.is_none_or(in_range) => {
                Some("average_precision beyond 0 to 1")
            }
            _ if !(0.0..f64::INFINITY).contains(&self.log_loss) => {
                Some("log_loss below 0 or not finite")
            }
            _ if !in_range(self.brier) => Some("brier beyond 0 to 1"),
            _ if !self.ece.is_none_or(in_range) => Some("ece beyond 0 to 1"),
            _ => None,
        }
    }
}

/// [`Metric::RocAuc`] from integer counts of pairs.
fn roc_auc(ranked: &Ranked) -> Option<f64> {
    let rows = ranked.rows();
    let positives = rows.iter().filter(|row| row.positive).count() as u128;
    let negatives = rows.len() as u128 - positives;
    let won = rows.iter().zip(ranked.doubled_wins()).filter(|(row, _)| row.positive);
    ratio(won.map(|(_, wins)| u128::from(wins)).sum(), 2 * positives * negatives)
}

/// [`Metric::RocAuc`] of rows that weigh what they do.
fn weighted_roc_auc(ranked: &Ranked) -> Option<f64> {
    let rows = ranked.rows();
    let [positives, negatives] = weights_of(rows);
    if !(positives > 0.0 && negatives > 0.0) {
        return None;
    }
    let (mut area, mut below) = (0.0, 0.0);
    for group in ranked.ties() {
        let [tied_positives, tied_negatives] = weights_of(group.iter().map(|&row| &rows[row]));
        let beaten = 0.5_f64.mul_add(tied_negatives, below) / negatives;
        area += tied_positives / positives * beaten;
        below += tied_negatives;
    }
    Some(f64::min(area, 1.0))
}

/// [`Metric::AveragePrecision`]; the sums run from the highest score to the lowest.
fn average_precision(ranked: &Ranked) -> Option<f64> {
    let rows = ranked.rows();
    let [positives, _] = weights_of(rows);
    let (mut sum, mut hits, mut taken) = (0.0, 0.0, 0.0);
    for group in ranked.ties().rev() {
        let [tied_positives, tied_negatives] = weights_of(group.iter().map(|&row| &rows[row]));
        hits += tied_positives;
        taken += tied_positives + tied_negatives;
        sum += tied_positives * (hits / taken);
    }
    (positives > 0.0).then(|| f64::min(sum / positives, 1.0))
}

/// The weight of the positive and of the negative rows.
fn weights_of<'a>(rows: impl IntoIterator<Item = &'a ScoredRow>) -> [f64; 2] {
    let add = |[positives, negatives]: [f64; 2], row: &ScoredRow| match row.positive {
        true => [positives + row.weight, negatives],
        false => [positives, negatives + row.weight],
    };
    rows.into_iter().fold([0.0; 2], add)
}

/// What one row adds to [`Metric::LogLoss`].
pub(super) fn log_loss(row: &ScoredRow) -> f64 {
    let probability = row.score.clamp(LOG_LOSS_CLIP, 1.0 - LOG_LOSS_CLIP);
    if row.positive { -probability.ln() } else { -(-probability).ln_1p() }
}

/// What one row adds to [`Metric::Brier`].
pub(super) fn squared_error(row: &ScoredRow) -> f64 {
    let error = row.score - f64::from(u8::from(row.positive));
    error * error
}
