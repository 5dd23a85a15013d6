//! What a regression is worth: the stored half of an evaluation.

use serde::{Deserialize, Serialize};

use super::Metric;
use super::rows::{NumberRow, weighted_mean};

// An error is prediction - label. What a float cannot hold is None; all others are finite.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Regressed {
    // at least 1
    pub(super) rows: u64,
    // positive; None: every row counts alike
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) weight: Option<f64>,
    pub(super) mean_error: Option<f64>,
    // at least 0, as are all below
    error_variance: Option<f64>,
    mean_absolute_error: Option<f64>,
    median_absolute_error: Option<f64>,
    max_error: Option<f64>,
    // None also where a label is 0
    mean_relative_error: Option<f64>,
    // above 0; None also where all labels are the same
    pub(super) label_variance: Option<f64>,
}

impl Regressed {
    pub(super) fn measure(rows: &[NumberRow], weighted: bool) -> Self {
        let mean = |value: &dyn Fn(&NumberRow) -> f64| {
            weighted_mean(rows.iter().map(|row| (value(row), row.weight)))
        };
        let absolute = |row: &NumberRow| row.error().abs();
        let mean_error = mean(&NumberRow::error);
        Self {
            rows: rows.len() as u64,
            weight: weighted.then(|| rows.iter().map(|row| row.weight).sum()),
            mean_error: finite(mean_error),
            error_variance: finite(mean(&|row| square(row.error() - mean_error))),
            mean_absolute_error: finite(mean(&absolute)),
            median_absolute_error: finite(median(rows)),
            max_error: finite(rows.iter().map(absolute).fold(0.0, f64::max)),
            mean_relative_error: finite(mean(&relative_error)),
            label_variance: label_variance(rows).map(|(_, variance)| variance),
        }
    }

    pub(super) fn get(&self, metric: Metric) -> Option<f64> {
        match metric {
            Metric::Rmse => finite(self.mean_squared_error()?.sqrt()),
            Metric::Mae => self.mean_absolute_error,
            Metric::R2 => finite(1.0 - self.mean_squared_error()? / self.label_variance?),
            Metric::MedianAbsoluteError => self.median_absolute_error,
            Metric::MaxError => self.max_error,
            Metric::Mape => self.mean_relative_error,
            _ => None,
        }
    }

    /// The spread around the mean error, and the mean error: no digits are lost in a difference.
    fn mean_squared_error(&self) -> Option<f64> {
        let mean_error = self.mean_error?;
        finite(mean_error.mul_add(mean_error, self.error_variance?))
    }

    /// The shares of predictions that are too low and too high, priced `quantile` and `1 - quantile`.
    pub(super) fn pinball_loss(&self, quantile: f64) -> Option<f64> {
        if !(0.0..=1.0).contains(&quantile) {
            return None;
        }
        let (size, shift) = (self.mean_absolute_error?, self.mean_error?);
        let (too_low, too_high) = (f64::midpoint(size, -shift), f64::midpoint(size, shift));
        finite(quantile.mul_add(too_low, (1.0 - quantile) * too_high))
    }

    /// What cannot be, in a stored evaluation.
    pub(super) fn contradiction(&self) -> Option<&'static str> {
        let sizes = [
            self.error_variance,
            self.mean_absolute_error,
            self.median_absolute_error,
            self.max_error,
            self.mean_relative_error,
        ];
        let positive = |value: f64| value > 0.0 && value.is_finite();
        match self {
            _ if self.rows == 0 => Some("no rows"),
            _ if !self.weight.is_none_or(positive) => Some("a weight that is not above 0"),
            _ if !self.mean_error.is_none_or(f64::is_finite) => {
                Some("a mean error that is not finite")
            }
            _ if sizes.iter().flatten().any(|size| !(0.0..f64::INFINITY).contains(size)) => {
                Some("an error below 0 or not finite")
            }
            _ if !self.label_variance.is_none_or(positive) => {
                Some("labels with a spread that is not above 0")
            }
            _ => None,
        }
    }
}

/// Mean and variance of the labels; `None` where they are all the same, or as good as that.
pub(super) fn label_variance(rows: &[NumberRow]) -> Option<(f64, f64)> {
    let ends = rows.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), row| {
        (low.min(row.label), high.max(row.label))
    });
    if ends.0 >= ends.1 {
        return None;
    }
    let mean = weighted_mean(rows.iter().map(|row| (row.label, row.weight)));
    let variance = weighted_mean(rows.iter().map(|row| (square(row.label - mean), row.weight)));
    Some((mean, finite(variance).filter(|variance| *variance > 0.0)?))
}

/// What one row adds to [`Metric::Mape`]; not finite where the label is 0.
pub(super) fn relative_error(row: &NumberRow) -> f64 {
    row.error().abs() / row.label.abs()
}

pub(super) fn square(x: f64) -> f64 {
    x * x
}

fn finite(value: f64) -> Option<f64> {
    Some(value).filter(|value| value.is_finite())
}

/// The size of error that half of the weight stays below; midway where exactly half does.
fn median(rows: &[NumberRow]) -> f64 {
    let mut sizes: Vec<(f64, f64)> =
        rows.iter().map(|row| (row.error().abs(), row.weight)).collect();
    sizes.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let half = sizes.iter().map(|(_, weight)| weight).sum::<f64>() / 2.0;
    let mut below = 0.0;
    for (at, (size, weight)) in sizes.iter().enumerate() {
        below += weight;
        if below > half {
            return *size;
        }
        if below >= half {
            let next = sizes.get(at + 1).map_or(*size, |(next, _)| *next);
            return f64::midpoint(*size, next);
        }
    }
    // Only rounding of the sums gets here.
    sizes.last().map_or(f64::NAN, |(size, _)| *size)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(of: &[(f64, f64)]) -> Vec<NumberRow> {
        of.iter()
            .map(|&(size, weight)| NumberRow { prediction: size, label: 0.0, weight })
            .collect()
    }

    #[test]
    fn the_weighted_median_is_that_of_repeated_rows() {
        let is = |want: f64, of: &[(f64, f64)]| {
            let got = median(&rows(of));
            assert!((got - want).abs() < 1e-12, "{got} for {want}");
        };
        is(3.0, &[(3.0, 1.0)]);
        is(2.5, &[(1.0, 1.0), (4.0, 1.0)]);
        is(4.0, &[(9.0, 1.0), (-1.0, 1.0), (4.0, 1.0)]);
        // 1 1 1 5 9
        is(1.0, &[(9.0, 1.0), (1.0, 3.0), (5.0, 1.0)]);
        // 1 1 1 5 9 9
        is(3.0, &[(9.0, 2.0), (1.0, 3.0), (5.0, 1.0)]);
    }

    #[test]
    fn what_a_float_cannot_hold_is_unknown() {
        let row = |prediction, label| NumberRow { prediction, label, weight: 1.0 };
        let measured = Regressed::measure(&[row(1e308, -1e308), row(0.0, 1.0)], false);
        for metric in [Metric::Rmse, Metric::Mae, Metric::R2, Metric::MaxError] {
            assert_eq!(measured.get(metric), None, "{metric}");
        }
        assert_eq!(measured.contradiction(), None);
        let json = serde_json::to_string(&measured).unwrap();
        assert_eq!(serde_json::from_str::<Regressed>(&json).unwrap(), measured);
        // An error that fits, and a square that does not.
        let measured = Regressed::measure(&[row(1e200, 1.0), row(0.0, 2.0)], false);
        assert_eq!((measured.get(Metric::Mae), measured.get(Metric::Rmse)), (Some(5e199), None));
    }
}
