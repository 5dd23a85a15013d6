//! Fits a linear regression.

use std::sync::Arc;

use linfa_linalg::cholesky::SolveCInplace;
use ndarray::{Array2, Axis};

use super::encoding::{Encoding, Scale};
use super::linear::{LinearModel, Link};
use super::{SettingError, check_target, error, invalid, linear_format, onnx};
use crate::model::{Progress, TrainedModel, Trainer};
use crate::record::{Dataset, Target};
use crate::{Error, ErrorKind};

/// Trains a [`LinearModel`] that predicts a number, by L2-regularised least squares.
///
/// How features become columns is said on the [module page](super).
///
/// # Formula
///
/// ```text
/// minimise  sum over rows of (label - prediction)^2  +  alpha * sum of squared weights
/// ```
///
/// where the weights are those of the standardised columns, the intercept is not among them, and
/// `alpha` is scikit-learn's `Ridge(alpha)`. The minimum is computed, not approached: Cholesky's
/// method on the columns around their means, which takes 8 bytes for every pair of columns. The
/// same rows in the same order give the same model, bit for bit, on the same kind of processor.
///
/// A poor choice where one feature changes what another is worth: it adds up what each is worth
/// alone.
///
/// # On record
///
/// [`params`](TrainedModel::params) hold `alpha`, `rows` and `columns`.
///
/// # Reference
///
/// A. E. Hoerl and R. W. Kennard, *Ridge Regression: Biased Estimation for Nonorthogonal Problems*,
/// Technometrics 12 (1970), doi:10.1080/00401706.1970.10488634.
///
/// ```
/// use std::sync::Arc;
/// use pmmds::linfa::RidgeRegression;
/// use pmmds::model::Trainer;
/// use pmmds::record::{Dataset, Table};
/// use pmmds::schema::{Feature, FeatureSchema};
/// use pmmds::validate::Violations;
///
/// let table = Table::from_rows(
///     ["lines", "charges"],
///     [["1", "50"], ["2", "55"], ["3", "60"], ["4", "65"]],
/// )?;
/// let schema = Arc::new(FeatureSchema::new([Feature::integer("lines")])?);
/// let mut out = Violations::new();
/// let data = Dataset::from_table_numeric(&schema, &table, "charges", None, &mut out)?;
///
/// let trained = RidgeRegression::new(1e-9)?.fit(&data, &())?;
/// let scores = trained.model.score_batch(&data.columns().batch());
/// assert!((scores[3] - 65.0).abs() < 1e-6);
/// assert_eq!(trained.format, "pmmds.linear_regression.v1");
///
/// let error = RidgeRegression::new(0.0).unwrap_err();
/// assert_eq!(error.to_string(), "alpha 0 is not a positive number");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RidgeRegression {
    // positive, finite
    alpha: f64,
}

impl Default for RidgeRegression {
    /// An `alpha` of 1.
    fn default() -> Self {
        Self { alpha: 1.0 }
    }
}

impl RidgeRegression {
    /// How strongly weights are drawn to 0. Must be positive: without it nothing tells the levels
    /// of a feature from the intercept.
    ///
    /// # Errors
    ///
    /// [`SettingError::Alpha`] with the value and what it must be.
    pub fn new(alpha: f64) -> Result<Self, SettingError> {
        if alpha > 0.0 && alpha.is_finite() {
            Ok(Self { alpha })
        } else {
            Err(SettingError::Alpha { alpha })
        }
    }

    /// The weight of each column of `array`, whose columns have a mean of 0, for `labels` that do
    /// too.
    fn solve(&self, array: &Array2<f64>, labels: Vec<f64>) -> Result<Vec<f64>, Error> {
        let labels = ndarray::Array1::from(labels).insert_axis(Axis(1));
        let mut normal = array.t().dot(array);
        normal.diag_mut().iter_mut().for_each(|square| *square += self.alpha);
        let solved = normal.solvec_into(array.t().dot(&labels)).map_err(|e| {
            let columns = array.ncols();
            let alpha = self.alpha;
            invalid(format!("alpha {alpha:e} is too small to tell {columns} columns apart"))
                .with_source(e)
        })?;
        Ok(solved.into_iter().collect())
    }
}

/// The labels around their mean in standard deviations, if there is something to learn from them.
fn scaled(data: &Dataset) -> Result<(Scale, Vec<f64>), Error> {
    check_target(data, Target::Number)?;
    let labels = data.labels();
    if let Some(row) = labels.iter().position(|label| !label.is_finite()) {
        let label = labels[row];
        return Err(invalid(format!("label {label} in row {row} is not a finite number")));
    }
    let scale = Scale::of(labels).map_err(|why| invalid(format!("the labels: {why}")))?;
    if !scale.varies {
        let (rows, label) = (labels.len(), labels[0]);
        return Err(invalid(format!(
            "all {rows} rows have label {label}, two different ones are needed"
        )));
    }
    Ok((scale, labels.iter().map(|label| (label - scale.mean) / scale.std).collect()))
}

impl Trainer for RidgeRegression {
    fn name(&self) -> &str {
        "ridge_regression"
    }

    fn fit(&self, data: &Dataset, progress: &dyn Progress) -> Result<TrainedModel, Error> {
        progress.step(self.name(), 0, 1);
        let (scale, labels) = scaled(data)?;
        let encoding = Encoding::fit(data)?;
        let mut array = encoding.array(data);
        #[expect(clippy::cast_precision_loss, reason = "rows in memory are far below 2^53")]
        let means = array.sum_axis(Axis(0)) / data.rows() as f64;
        array -= &means;
        let weights = self.solve(&array, labels)?;
        // The labels had a mean of 0 and the columns too, so the intercept there is 0.
        let shift: f64 = weights.iter().zip(&means).map(|(weight, mean)| weight * mean).sum();
        let intercept = scale.std.mul_add(-shift, scale.mean);
        let terms = encoding.terms(|column| weights[column] * scale.std);
        let model = LinearModel::new(data.schema(), Link::Identity, intercept, terms)
            .map_err(|e| error(ErrorKind::Other, "the solver found no model").with_source(e))?;
        progress.step(self.name(), 1, 1);
        let (document, graph) = (model.to_document(), model.to_onnx());
        Ok(TrainedModel::new(Arc::new(model), linear_format::REGRESSION_NAME, document)
            .companion(onnx::FILE_NAME, graph)
            .param("trainer", self.name())
            .param("alpha", self.alpha)
            .param("rows", data.rows())
            .param("columns", encoding.columns()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linfa::LinearRegressionFormat;
    use crate::model::{Model, ModelFormat};
    use crate::record::{Row, Value};
    use crate::schema::{Feature, FeatureSchema, LevelId, Unlisted};

    /// Rounding of some thousand additions, relative to the size of the labels.
    const ROUNDING: f64 = 1e-9;

    fn schema() -> Arc<FeatureSchema> {
        Arc::new(
            FeatureSchema::new([
                Feature::numeric("x").nullable(),
                Feature::categorical("c", ["a", "b", "rare"]).unlisted(Unlisted::Other).nullable(),
            ])
            .unwrap(),
        )
    }

    fn row(x: Option<f64>, c: usize) -> Row {
        let schema = schema();
        let mut row = Row::missing(&schema);
        if let Some(x) = x {
            row.set(schema.id("x").unwrap(), Value::Number(x));
        }
        row.set(schema.id("c").unwrap(), Value::Level(LevelId::new(c).unwrap()));
        row
    }

    fn data(rows: impl IntoIterator<Item = (Row, f64)>) -> Dataset {
        let mut data = Dataset::with_target(schema(), Target::Number);
        for (number, (row, label)) in rows.into_iter().enumerate() {
            data.push(&row, label, number.to_string());
        }
        data
    }

    /// Some rows without x, two levels, and a label that is no linear function of them.
    fn uneven() -> Dataset {
        data((0..300_u16).map(|i| {
            let x = (i % 7 != 0).then(|| f64::from(i % 101 * (i % 3)));
            (
                row(x, usize::from(i % 2)),
                f64::from(i % 13).mul_add(1e6, f64::from(u32::from(i) * u32::from(i) % 17)),
            )
        }))
    }

    #[test]
    fn a_linear_function_is_found() {
        let truth = |x: f64, c: usize| 2.5_f64.mul_add(x, [-1_000.0, -960.0][c]);
        let rows = (0..60_u8).map(|i| {
            let (x, c) = (f64::from(i) * 3.0, usize::from(i % 2));
            (row(Some(x), c), truth(x, c))
        });
        let model = RidgeRegression::new(1e-9).unwrap().fit(&data(rows), &()).unwrap().model;
        for (x, c) in [(0.0, 0), (7.5, 1), (-1_000.0, 0), (1e6, 1)] {
            let (found, expected) = (model.score(&row(Some(x), c)), truth(x, c));
            assert!((found - expected).abs() <= ROUNDING * 1e7, "{found} is not {expected}");
        }
        assert_eq!(model.task(), crate::model::Task::Regression);
    }

    #[test]
    fn two_rows_by_hand() {
        // One column, -1 and 1; labels around their mean, -1 and 1, of a deviation of 5:
        // weight = 2 / (2 + alpha), half of what it takes, so half of the way from the mean.
        let two = data([(row(Some(10.0), 0), 20.0), (row(Some(30.0), 0), 30.0)]);
        let model = RidgeRegression::new(2.0).unwrap().fit(&two, &()).unwrap().model;
        for (x, expected) in [(10.0, 22.5), (20.0, 25.0), (30.0, 27.5), (50.0, 32.5)] {
            let found = model.score(&row(Some(x), 0));
            assert!((found - expected).abs() <= ROUNDING, "{found} is not {expected}");
        }
        // What has no value, and what training never saw, stands where nothing is known.
        let nothing = model.score(&row(Some(20.0), 0));
        assert_eq!(model.score(&Row::missing(&schema())).to_bits(), nothing.to_bits());
        assert_eq!(model.score(&row(Some(20.0), 2)).to_bits(), nothing.to_bits());
    }

    #[test]
    fn at_the_minimum_the_residuals_balance_the_weights() {
        let data = uneven();
        for alpha in [1e-3, 1.0, 50.0] {
            let trained = RidgeRegression::new(alpha).unwrap().fit(&data, &()).unwrap();
            let encoding = Encoding::fit(&data).unwrap();
            let array = encoding.array(&data);
            let scores = trained.model.score_batch(&data.columns().batch());
            let residuals: Vec<f64> =
                data.labels().iter().zip(&scores).map(|(label, score)| label - score).collect();
            let size: f64 = data.labels().iter().map(|label| label.abs()).sum();
            let sum: f64 = residuals.iter().sum();
            assert!(sum.abs() <= ROUNDING * size, "the intercept is free: {sum}");
            let (scale, labels) = scaled(&data).unwrap();
            let means = array.sum_axis(Axis(0)) / 300.0;
            let weights = RidgeRegression { alpha }.solve(&(&array - &means), labels).unwrap();
            for (column, weight) in array.columns().into_iter().zip(&weights) {
                let slope: f64 = column.iter().zip(&residuals).map(|(x, r)| x * r).sum();
                let pull = alpha * weight * scale.std;
                assert!((slope - pull).abs() <= ROUNDING * size, "{slope} against {pull}");
            }
        }
    }

    #[test]
    fn the_unit_of_the_label_does_not_matter() {
        let data = uneven();
        let mut thousands = Dataset::with_target(schema(), Target::Number);
        for (at, label) in data.labels().iter().enumerate() {
            thousands.push(&data.columns().row(at), label * 1_024.0, data.entity(at));
        }
        let score = |data: &Dataset| {
            RidgeRegression::default().fit(data, &()).unwrap().model.score(&row(Some(5.0), 1))
        };
        let (one, other) = (score(&data), score(&thousands) / 1_024.0);
        assert!((one - other).abs() <= ROUNDING * one.abs(), "{one} {other}");
    }

    #[test]
    fn the_same_data_gives_the_same_model_and_the_document_rebuilds_it() {
        let data = uneven();
        let trained = RidgeRegression::default().fit(&data, &()).unwrap();
        let again = RidgeRegression::default().fit(&data, &()).unwrap();
        assert_eq!(again.document, trained.document);
        let loaded = LinearRegressionFormat.load(&trained.document, data.schema()).unwrap();
        let bits = |model: &dyn Model| -> Vec<u64> {
            model.score_batch(&data.columns().batch()).into_iter().map(f64::to_bits).collect()
        };
        assert_eq!(bits(&*loaded), bits(&*trained.model));
        assert_eq!(trained.params["columns"], "4");
    }

    #[test]
    fn what_cannot_be_learned_from_is_refused_with_the_reason() {
        let of = |labels: &[f64]| {
            data(labels.iter().enumerate().map(|(i, label)| (row(Some(i as f64), 0), *label)))
        };
        for (data, message) in [
            (of(&[]), "cannot train on 0 rows"),
            (of(&[2.5, 2.5]), "all 2 rows have label 2.5, two different ones are needed"),
            (of(&[2.5, f64::NAN]), "label NaN in row 1 is not a finite number"),
            (
                of(&[-1e308, 1e308]),
                "the labels: mean 0e0 and standard deviation inf cannot be scaled",
            ),
            (
                data([(row(None, 0), 1.0), (row(None, 0), 2.0)]),
                "no feature takes two different values in the 2 training rows",
            ),
        ] {
            let error = RidgeRegression::default().fit(&data, &()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.to_string().contains(message), "{error}");
        }
        for alpha in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(RidgeRegression::new(alpha).is_err(), "{alpha}");
        }
        let faint = RidgeRegression::new(1e-300).unwrap();
        match faint.fit(&uneven(), &()) {
            Ok(trained) => assert!(trained.model.score(&row(None, 0)).is_finite()),
            Err(error) => assert!(error.to_string().contains("too small to tell"), "{error}"),
        }
    }
}
