//! Training and scoring with [linfa](https://docs.rs/linfa).
//!
//! | item | what it is |
//! |---|---|
//! | [`LogisticRegression`] | a [`Trainer`](crate::model::Trainer): L2-regularised logistic regression |
//! | [`AdaBoost`] | a [`Trainer`](crate::model::Trainer): boosted stumps, calibrated |
//! | [`RidgeRegression`] | a [`Trainer`](crate::model::Trainer) of numbers: L2-regularised linear regression |
//! | [`LinearModel`] | the [`Model`](crate::model::Model) of both regressions: a sum of table look-ups |
//! | [`StepModel`] | the [`Model`](crate::model::Model) of the stumps: a step function per feature |
//! | [`LinearFormat`], [`LinearRegressionFormat`], [`StepFormat`] | the [`ModelFormat`]s that rebuild such models from documents |
//! | [`onnx`] | models as graphs that Python and others score with |
//! | [`formats`] | every format of this module, for whoever loads models |
//!
//! Every trainer here reads a data set the same way, and no value is refused for being rare:
//!
//! * A numeric feature becomes its distance from the mean in standard deviations, both of the
//!   training rows that have a value. A missing value stands at the mean; if training had rows
//!   without the value, a second column marks them. A feature that is the same in all rows is
//!   left out.
//! * A categorical feature becomes a column for every level that training saw, and one each for
//!   *other* and *missing* if training saw those. What training never saw adds nothing, as if the
//!   feature were not there. A feature with a single level in training is left out.
//!
//! linfa wants the columns as one dense array: 8 bytes for every row and column.
//!
//! # Known limits of linfa 0.8.1
//!
//! The first five have a test that fails once linfa has got better; the last two were read in its
//! source.
//!
//! * A leaf of a linfa-trees tree keeps its most frequent class and no share, so a tree gives no
//!   probability. [`AdaBoost`] adds up votes and calibrates their sum.
//! * Where both classes are equally frequent in a leaf, the tree answers either, differently from
//!   run to run. The classes of a stump are counted here, and a tie is class 0.
//! * Below its root a tree skips valid splits: it compares a row's value with that of the next row
//!   of the whole data, in this part of the tree or not. On indicators of 0 and 1 a tree of depth 2
//!   misses combinations that it could part, so trees here are stumps.
//! * Values closer than 1e-5 are one to a tree. Numbers are scaled to standard deviations first.
//! * linfa-ensemble's boosting stops without a word when a stump is no better than chance.
//!   `stumps_found` is on record.
//! * Trees count rows in single precision: exact up to 16,777,216 rows, and more are refused.
//! * The `serde` feature of linfa-ensemble gives its boosted learners no serialisation. Models are
//!   rebuilt from their public parts into a document of our own.
//!
//! ```
//! use std::sync::Arc;
//! use pmmds::linfa::LogisticRegression;
//! use pmmds::model::{Model, Trainer};
//! use pmmds::record::{Dataset, Row, Table, Value};
//! use pmmds::schema::{Feature, FeatureSchema};
//! use pmmds::validate::Violations;
//!
//! let table = Table::from_rows(
//!     ["tenure", "contract", "churn"],
//!     [["1", "Monthly", "Yes"], ["2", "Monthly", "Yes"], ["40", "Yearly", "No"], ["3", "Yearly", "No"]],
//! )?;
//! let schema = Arc::new(FeatureSchema::new([
//!     Feature::integer("tenure"),
//!     Feature::categorical("contract", ["Monthly", "Yearly"]),
//! ])?);
//! let data = Dataset::from_table(&schema, &table, "churn", "Yes", None, &mut Violations::new())?;
//!
//! let trained = LogisticRegression::default().fit(&data, &())?;
//! let scores = trained.model.score_batch(&data.columns().batch());
//! assert!(scores[0] > 0.5 && scores[2] < 0.5);
//!
//! // What was trained is data: it can be stored, sent, and rebuilt elsewhere.
//! let format = pmmds::linfa::formats().into_iter().find(|f| f.name() == trained.format).unwrap();
//! let rebuilt = format.load(&trained.document, &schema)?;
//! assert_eq!(rebuilt.score_batch(&data.columns().batch()), scores);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod adaboost;
mod boosted;
mod document;
mod encoding;
mod linear;
mod linear_format;
mod logistic_regression;
pub mod onnx;
mod ridge_regression;
mod step;
mod step_format;
mod stump;
mod sum;

#[cfg(all(test, feature = "csv"))]
mod telco;

use std::sync::Arc;

pub use adaboost::{AdaBoost, AdaBoostBuilder};
pub use linear::LinearModel;
pub use linear_format::{LinearFormat, LinearRegressionFormat};
pub use logistic_regression::{LogisticRegression, LogisticRegressionBuilder, SettingError};
pub use ridge_regression::RidgeRegression;
pub use step::StepModel;
pub use step_format::StepFormat;

use crate::model::ModelFormat;
use crate::record::{Dataset, Target};
use crate::{Error, ErrorKind};

/// Every format that this module writes or ever wrote.
///
/// ```
/// let names: Vec<String> =
///     pmmds::linfa::formats().iter().map(|format| format.name().to_owned()).collect();
/// assert_eq!(names, ["pmmds.linear.v1", "pmmds.linear_regression.v1", "pmmds.steps.v1"]);
/// ```
#[must_use]
pub fn formats() -> Vec<Arc<dyn ModelFormat>> {
    vec![Arc::new(LinearFormat), Arc::new(LinearRegressionFormat), Arc::new(StepFormat)]
}

fn error(kind: ErrorKind, context: impl Into<String>) -> Error {
    Error::new(kind, "linfa", context)
}

fn invalid(context: impl Into<String>) -> Error {
    error(ErrorKind::InvalidInput, context)
}

/// Refuses rows that are none, or whose labels are of another kind than `expected`.
fn check_target(data: &Dataset, expected: Target) -> Result<(), Error> {
    if data.rows() == 0 {
        return Err(invalid("cannot train on 0 rows"));
    }
    if data.target() != expected {
        return Err(invalid(format!("the labels are {}, expected {expected}", data.target())));
    }
    Ok(())
}

/// The labels as classes, if there is something to learn from them.
fn classes(data: &Dataset) -> Result<Vec<bool>, Error> {
    check_target(data, Target::Binary)?;
    let class = |(row, label): (usize, &f64)| {
        if *label == 0.0 {
            Ok(false)
        } else if label.total_cmp(&1.0).is_eq() {
            Ok(true)
        } else {
            Err(invalid(format!("label {label} in row {row} is neither 0 nor 1")))
        }
    };
    let classes: Vec<bool> =
        data.labels().iter().enumerate().map(class).collect::<Result<_, _>>()?;
    let positive = classes.iter().filter(|class| **class).count();
    if positive == 0 || positive == classes.len() {
        let only = u8::from(positive > 0);
        let rows = classes.len();
        return Err(invalid(format!("all {rows} rows have label {only}, both classes are needed")));
    }
    Ok(classes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Trainer;
    use crate::record::Row;
    use crate::schema::{Feature, FeatureSchema};

    fn labelled(labels: &[f64]) -> Dataset {
        let schema = Arc::new(FeatureSchema::new([Feature::numeric("x")]).unwrap());
        let mut data = Dataset::new(Arc::clone(&schema));
        for (row, label) in labels.iter().enumerate() {
            data.push(&Row::missing(&schema), *label, row.to_string());
        }
        data
    }

    #[test]
    fn a_trainer_of_classes_learns_no_numbers_and_the_other_way_round() {
        let classes = labelled(&[0.0, 1.0]);
        let mut numbers = Dataset::with_target(Arc::clone(classes.schema()), Target::Number);
        numbers.push(&classes.columns().row(0), 1.0, "0");
        let refused = [
            (LogisticRegression::default().fit(&numbers, &()), "a finite number, expected 0 or 1"),
            (AdaBoost::default().fit(&numbers, &()), "a finite number, expected 0 or 1"),
            (RidgeRegression::default().fit(&classes, &()), "0 or 1, expected a finite number"),
        ];
        for (result, message) in refused {
            let error = result.unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("linfa: invalid input: the labels are {message}")
            );
        }
    }

    #[test]
    fn what_cannot_be_learned_from_is_refused_with_the_reason() {
        for (labels, message) in [
            (&[][..], "cannot train on 0 rows"),
            (&[0.0, 0.0], "all 2 rows have label 0, both classes are needed"),
            (&[1.0, 1.0, 1.0], "all 3 rows have label 1, both classes are needed"),
            (&[0.0, 1.0, 2.0], "label 2 in row 2 is neither 0 nor 1"),
            (&[0.0, f64::NAN], "label NaN in row 1 is neither 0 nor 1"),
            (&[0.0, 1.0], "no feature takes two different values in the 2 training rows"),
        ] {
            let error = LogisticRegression::default().fit(&labelled(labels), &()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert_eq!(error.to_string(), format!("linfa: invalid input: {message}"));
        }
    }
}
