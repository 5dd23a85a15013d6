//! What each row contributes to a metric.

use super::Metric;
use super::classified::{log_loss, squared_error};
use super::confusion::{Cells, Confusion, cell_of};
use super::placement::Ranked;
use super::regressed::{label_variance, relative_error, square};
use super::rows::{NumberRow, Rows, float, mean};

/// What each row contributes to `metric`, whose value on `rows` is `value`, up to a constant: the
/// mean of the contributions moves as the metric does, for small moves. `None` for a metric that
/// has none, and for one of another task.
pub(super) fn contributions(metric: Metric, rows: &Rows, value: f64) -> Option<Vec<f64>> {
    match rows {
        Rows::Classified(ranked) => classified(metric, ranked, value),
        Rows::Numbers(rows) => regressed(metric, rows, value),
    }
}

fn classified(metric: Metric, ranked: &Ranked, value: f64) -> Option<Vec<f64>> {
    let rows = ranked.rows();
    match metric {
        Metric::RocAuc => Some(placements(ranked)),
        Metric::AveragePrecision => average_precision(ranked, value),
        Metric::LogLoss => Some(rows.iter().map(log_loss).collect()),
        Metric::Brier => Some(rows.iter().map(squared_error).collect()),
        _ => {
            let mut confusion = Confusion::default();
            rows.iter().for_each(|row| confusion.count(row.predicted, row.positive));
            let by_cell = Cells::influence(confusion.cells(), metric)?;
            Some(rows.iter().map(|row| by_cell[cell_of(row.predicted, row.positive)]).collect())
        }
    }
}

fn regressed(metric: Metric, rows: &[NumberRow], value: f64) -> Option<Vec<f64>> {
    let parts = |part: &dyn Fn(&NumberRow) -> f64| Some(rows.iter().map(part).collect());
    match metric {
        Metric::Mae => parts(&|row| row.error().abs()),
        Metric::Mape => parts(&relative_error),
        Metric::Rmse => {
            // Without an error there is nothing to differ in.
            let slope = if value > 0.0 { 0.5 / value } else { 0.0 };
            parts(&|row| square(row.error()) * slope)
        }
        Metric::R2 => {
            // 1 - m / v moves by -(dm - m/v dv) / v.
            let (centre, variance) = label_variance(rows)?;
            let unexplained = 1.0 - value;
            parts(&|row| {
                unexplained.mul_add(square(row.label - centre), -square(row.error())) / variance
            })
        }
        _ => None,
    }
}

/// DeLong's structural components: the share of the other class that each row wins against.
fn placements(ranked: &Ranked) -> Vec<f64> {
    let rows = ranked.rows();
    let positives = float(rows.iter().filter(|row| row.positive).count());
    let negatives = float(rows.len()) - positives;
    let share = |(at, wins): (usize, u64)| {
        halves(wins) / if rows[at].positive { negatives } else { positives }
    };
    ranked.doubled_wins().into_iter().enumerate().map(share).collect()
}

#[expect(clippy::cast_precision_loss, reason = "2^52 rows do not fit into memory")]
fn halves(doubled: u64) -> f64 {
    doubled as f64 / 2.0
}

/// The influence of each row on the average precision `value` = `mean(y P) / mean(y)`, where
/// `P = T / M` is the precision at the row's score, of shares `T` of positives and `M` of rows at
/// or above it.
///
/// A row adds its own `y P`, and moves the `P` of every positive at or below it by
/// `(y - P) / (n M)`.
fn average_precision(ranked: &Ranked, value: f64) -> Option<Vec<f64>> {
    let rows = ranked.rows();
    let count = float(rows.len());
    let share = mean(rows.iter().map(|row| f64::from(u8::from(row.positive))));
    if share <= 0.0 {
        return None;
    }
    let hits_of = |group: &[usize]| float(group.iter().filter(|&&row| rows[row].positive).count());
    let (mut hits, mut taken) = ((share * count).round(), count);
    // Over the positives so far, from the lowest score up: sums of 1 / (n M) and P / (n M).
    let (mut moved, mut held) = (0.0, 0.0);
    let mut parts = vec![0.0; rows.len()];
    for group in ranked.ties() {
        let tied_hits = hits_of(group);
        let precision = hits / taken;
        moved += tied_hits / taken;
        held = (tied_hits / taken).mul_add(precision, held);
        for &row in group {
            parts[row] = if rows[row].positive {
                (precision + moved - held - value) / share
            } else {
                -held / share
            };
        }
        hits -= tied_hits;
        taken -= float(group.len());
    }
    Some(parts)
}
