//! A model that adds up one number per feature.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::sum::{Curve, LARGEST, NotASum, Sum, Term, logistic, threshold};
use crate::model::{Model, Task};
use crate::record::{Batch, Row};
use crate::schema::FeatureSchema;

/// What a numeric feature adds to the sum: a straight line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Slope {
    // finite; in the unit of the feature
    pub(super) mean: f64,
    // per unit of the feature; at most LARGEST either way
    pub(super) weight: f64,
    // instead of weight * (x - mean); at most LARGEST either way
    pub(super) missing: f64,
}

impl Curve for Slope {
    /// A distance from the mean is at most LARGEST, so that the product is finite.
    fn at(&self, x: f64) -> f64 {
        if x.is_nan() {
            self.missing
        } else {
            (x - self.mean).clamp(-LARGEST, LARGEST) * self.weight
        }
    }

    fn weights(&self) -> impl Iterator<Item = f64> {
        [self.weight, self.missing].into_iter()
    }

    fn check(&self) -> Result<(), String> {
        let Self { mean, .. } = self;
        if mean.is_finite() { Ok(()) } else { Err(format!("mean {mean} is not finite")) }
    }
}

/// What a sum becomes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Link {
    /// The sum is the log-odds of the positive class.
    Logistic {
        // in [0, 1]
        threshold: f64,
    },
    /// The sum is the predicted number.
    Identity,
}

/// Logistic regression, or linear regression, fitted: the score is a logistic function of a sum
/// over the features, or the sum itself.
///
/// # Formula
///
/// ```text
/// score = 1 / (1 + exp(-sum))       of a classifier: sum is the log-odds
/// score = sum                       of a regression
/// sum   = intercept + t_1 + ... + t_k
/// t_i   = weight_i (x_i - mean_i)   numeric, or missing_i where the value is missing
/// t_i   = weight_i[slot of x_i]     categorical: the levels, other, missing
/// ```
///
/// where the terms are added in schema order. One row costs one look-up or product per feature and
/// at most one `exp`, and allocates nothing. A batch is summed column by column; every row sees the same
/// additions in the same order, so its score is the same bit for bit.
///
/// Every row has a score, finite, and in `[0, 1]` of a classifier, whatever its values: NaN and a value of the wrong kind stand
/// as missing, an infinity counts as a very large number, and a level that is none of the schema's
/// as other. The weight of what training never saw is 0.
///
/// Made by [`LogisticRegression`](super::LogisticRegression),
/// [`RidgeRegression`](super::RidgeRegression), [`LinearFormat`](super::LinearFormat) and
/// [`LinearRegressionFormat`](super::LinearRegressionFormat).
///
/// ```
/// use std::sync::Arc;
/// use pmmds::linfa::LinearFormat;
/// use pmmds::model::ModelFormat;
/// use pmmds::record::{Row, Value};
/// use pmmds::schema::{Feature, FeatureSchema};
///
/// let schema = Arc::new(FeatureSchema::new([Feature::numeric("x").nullable()])?);
/// let document = br#"{"format":"pmmds.linear.v1","threshold":0.5,"intercept":-1.0,"features":[
///     {"kind":"numeric","name":"x","mean":10.0,"weight":0.5,"missing":3.0}]}"#;
/// let model = LinearFormat.load(document, &schema)?;
/// let mut row = Row::missing(&schema);
/// assert_eq!(model.score(&row), 1.0 / (1.0 + f64::exp(-2.0)));
/// row.set(schema.id("x").unwrap(), Value::Number(12.0));
/// assert_eq!(model.score(&row), 0.5);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct LinearModel {
    schema: Arc<FeatureSchema>,
    link: Link,
    // over the features of the schema
    sum: Sum<Slope>,
}

impl LinearModel {
    /// The model with these `terms`, one per feature of `schema`.
    pub(super) fn new(
        schema: &Arc<FeatureSchema>,
        link: Link,
        intercept: f64,
        terms: Vec<Term<Slope>>,
    ) -> Result<Self, NotASum> {
        if let Link::Logistic { threshold: limit } = link {
            threshold(limit)?;
        }
        let sum = Sum::new(schema, intercept, terms)?;
        Ok(Self { schema: Arc::clone(schema), link, sum })
    }

    /// The sum of a row whose every term is 0. See [`LinearFormat::read`] for an example.
    ///
    /// [`LinearFormat::read`]: super::LinearFormat::read
    #[must_use]
    pub fn intercept(&self) -> f64 {
        self.sum.intercept()
    }

    /// What the score is a function of. Finite: the log-odds of a classifier, positive when the
    /// positive class is more likely than not; the prediction itself of a regression.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use pmmds::linfa::LinearFormat;
    /// use pmmds::model::Model;
    /// use pmmds::record::Row;
    /// # use pmmds::schema::{Feature, FeatureSchema};
    /// # let schema = Arc::new(FeatureSchema::new([Feature::numeric("x")])?);
    /// # let document = br#"{"format":"pmmds.linear.v1","threshold":0.5,"intercept":-2.5,"features":[
    /// #     {"kind":"numeric","name":"x","mean":0.0,"weight":1.0,"missing":0.5}]}"#;
    /// let model = LinearFormat::read(document, &schema)?;
    /// let row = Row::missing(&schema);
    /// assert_eq!(model.sum(&row), -2.0);
    /// assert_eq!(model.score(&row), 1.0 / (1.0 + f64::exp(2.0)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn sum(&self, row: &Row) -> f64 {
        self.sum.of(row)
    }

    pub(super) fn link(&self) -> Link {
        self.link
    }

    /// What the score is a function of, term by term.
    pub(super) fn parts(&self) -> &Sum<Slope> {
        &self.sum
    }
}

impl Model for LinearModel {
    fn schema(&self) -> &Arc<FeatureSchema> {
        &self.schema
    }

    fn task(&self) -> Task {
        match self.link {
            Link::Logistic { threshold } => Task::BinaryClassification { threshold },
            Link::Identity => Task::Regression,
        }
    }

    fn score(&self, row: &Row) -> f64 {
        match self.link {
            Link::Logistic { .. } => logistic(self.sum(row)),
            Link::Identity => self.sum(row),
        }
    }

    fn score_batch(&self, batch: &Batch<'_>) -> Vec<f64> {
        match self.link {
            Link::Logistic { .. } => self.sum.of_batch(batch, logistic),
            Link::Identity => self.sum.of_batch(batch, |sum| sum),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::sum::BLOCK;
    use super::*;
    use crate::record::{Columns, Value};
    use crate::schema::{Feature, LevelId};

    fn schema() -> Arc<FeatureSchema> {
        Arc::new(
            FeatureSchema::new([
                Feature::numeric("x").nullable(),
                Feature::categorical("c", ["a", "b"]).nullable(),
                Feature::numeric("y").nullable(),
            ])
            .unwrap(),
        )
    }

    fn number(mean: f64, weight: f64, missing: f64) -> Term<Slope> {
        Term::Number(Slope { mean, weight, missing })
    }

    fn terms() -> Vec<Term<Slope>> {
        vec![
            number(1.5, 0.3, -0.7),
            Term::Slots([0.1, -0.2, 0.4, -0.8].into()),
            number(-1e-3, -7.0, 0.0),
        ]
    }

    const LOGISTIC: Link = Link::Logistic { threshold: 0.5 };

    fn model(link: Link) -> LinearModel {
        LinearModel::new(&schema(), link, 0.25, terms()).unwrap()
    }

    fn row(values: [Value; 3]) -> Row {
        let schema = schema();
        let mut row = Row::missing(&schema);
        schema.ids().zip(values).for_each(|(id, value)| row.set(id, value));
        row
    }

    #[test]
    fn the_terms_add_up() {
        let level = |index| Value::Level(LevelId::new(index).unwrap());
        let absent = Value::Missing;
        let odds = |x, c, y| model(LOGISTIC).sum(&row([x, c, y]));
        assert_eq!(odds(absent, absent, absent).to_bits(), (0.25 - 0.7 - 0.8 + 0.0_f64).to_bits());
        let x = Value::Number(2.5);
        assert_eq!(odds(x, level(1), absent).to_bits(), (0.25 + 0.3 - 0.2 + 0.0_f64).to_bits());
        for (same, as_) in [
            (Value::Level(LevelId::MISSING), absent),
            (level(2), Value::Level(LevelId::OTHER)),
            (Value::Invalid, absent),
            (Value::Number(1.0), absent),
        ] {
            assert_eq!(odds(x, same, x).to_bits(), odds(x, as_, x).to_bits(), "{same:?}");
        }
        let nan = odds(Value::Number(f64::NAN), absent, x);
        assert_eq!(nan.to_bits(), odds(level(0), absent, x).to_bits());
    }

    #[test]
    fn what_is_no_model_is_refused_by_name() {
        let replaced = |at: usize, term| {
            let mut terms = terms();
            terms[at] = term;
            LinearModel::new(&schema(), LOGISTIC, 0.0, terms).unwrap_err().to_string()
        };
        for (found, expected) in [
            (replaced(1, number(0.0, 0.0, 0.0)), "feature \"c\" must be categorical"),
            (replaced(0, Term::Slots([].into())), "feature \"x\" must be numeric"),
            (replaced(1, Term::Slots([].into())), "feature \"c\": 0 slots, expected 4"),
            (replaced(0, number(f64::NAN, 0.0, 0.0)), "feature \"x\": mean NaN is not finite"),
            (
                replaced(2, number(0.0, 1e101, 0.0)),
                "feature \"y\": weight 1e101 is not between -1e100 and 1e100",
            ),
            (
                replaced(2, number(0.0, 0.0, f64::NAN)),
                "feature \"y\": weight NaN is not between -1e100 and 1e100",
            ),
        ] {
            assert_eq!(found, expected);
        }
        let new = |threshold, intercept, terms| {
            let link = Link::Logistic { threshold };
            LinearModel::new(&schema(), link, intercept, terms).unwrap_err().to_string()
        };
        assert_eq!(new(1.5, 0.0, terms()), "threshold 1.5 is not between 0 and 1");
        assert_eq!(
            new(0.5, f64::INFINITY, terms()),
            "intercept inf is not between -1e100 and 1e100"
        );
        assert_eq!(new(0.5, 0.0, Vec::new()), "0 features, the schema has 3");
    }

    fn any_number() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(Value::Missing),
            any::<f64>().prop_map(Value::Number),
            (-100.0..100.0).prop_map(Value::Number),
        ]
    }

    fn any_level() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(Value::Missing),
            Just(Value::Level(LevelId::OTHER)),
            (0_usize..2).prop_map(|index| Value::Level(LevelId::new(index).unwrap())),
        ]
    }

    #[test]
    fn blocks_of_a_batch_meet() {
        let model = model(LOGISTIC);
        for rows in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 7] {
            let mut columns = Columns::new(schema());
            for i in 0..u16::try_from(rows).unwrap() {
                let level = LevelId::new(usize::from(i % 2)).unwrap();
                let x = if i % 11 == 0 { Value::Missing } else { Value::Number(f64::from(i)) };
                columns.push(&row([x, Value::Level(level), Value::Number(f64::from(i % 7))]));
            }
            let scores = model.score_batch(&columns.batch());
            assert_eq!(scores.len(), rows);
            for (at, score) in scores.into_iter().enumerate() {
                assert_eq!(model.score(&columns.row(at)).to_bits(), score.to_bits(), "row {at}");
            }
        }
    }

    proptest! {
        #[test]
        fn a_row_scores_the_same_alone_and_in_a_batch(
            rows in prop::collection::vec((any_number(), any_level(), any_number()), 0..40),
        ) {
            let mut columns = Columns::new(schema());
            let rows: Vec<Row> = rows.into_iter().map(|(x, c, y)| row([x, c, y])).collect();
            rows.iter().for_each(|row| columns.push(row));
            for link in [LOGISTIC, Link::Identity] {
                let model = model(link);
                let together = model.score_batch(&columns.batch());
                prop_assert_eq!(together.len(), rows.len());
                for (row, score) in rows.iter().zip(together) {
                    prop_assert_eq!(model.score(row).to_bits(), score.to_bits());
                    prop_assert!(model.task().prediction(score).is_ok(), "{}", score);
                }
            }
        }

        #[test]
        fn the_largest_weights_still_give_a_prediction(
            x in any::<f64>(), y in any::<f64>(), signs in any::<[bool; 3]>(),
        ) {
            let sign = |at: usize| if signs[at] { LARGEST } else { -LARGEST };
            let far = |at| number(f64::MAX, sign(at), sign(at));
            let terms = vec![far(0), Term::Slots([sign(1); 4].into()), far(2)];
            for link in [LOGISTIC, Link::Identity] {
                let model = LinearModel::new(&schema(), link, LARGEST, terms.clone()).unwrap();
                let score = model.score(&row([Value::Number(x), Value::Missing, Value::Number(y)]));
                prop_assert!(model.task().prediction(score).is_ok(), "{}", score);
            }
        }
    }
}
