//! A model that adds up one look-up per feature.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::sum::{Curve, NotASum, Sum, Term, logistic, threshold};
use crate::model::{Model, Task};
use crate::record::{Batch, Row};
use crate::schema::FeatureSchema;

/// Most edges of one feature, and most stumps of a boosting.
pub(super) const MAX_STUMPS: usize = 4_096;

/// What a numeric feature adds to the log-odds: a step function.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Steps {
    // finite, strictly increasing, at most MAX_STUMPS; in the unit of the feature
    pub(super) edges: Box<[f64]>,
    // one more than edges: below the first, from each on; each at most LARGEST either way
    pub(super) weights: Box<[f64]>,
    // at most LARGEST either way
    pub(super) missing: f64,
}

impl Curve for Steps {
    fn at(&self, x: f64) -> f64 {
        if x.is_nan() {
            self.missing
        } else {
            self.weights[self.edges.partition_point(|edge| *edge <= x)]
        }
    }

    fn weights(&self) -> impl Iterator<Item = f64> {
        self.weights.iter().copied().chain([self.missing])
    }

    fn check(&self) -> Result<(), String> {
        let (edges, weights) = (self.edges.len(), self.weights.len());
        if edges > MAX_STUMPS {
            return Err(format!("{edges} edges, expected at most {MAX_STUMPS}"));
        }
        if weights != edges + 1 {
            return Err(format!("{weights} weights, expected {} for its edges", edges + 1));
        }
        let mut before = f64::NEG_INFINITY;
        for (at, edge) in self.edges.iter().copied().enumerate() {
            if !edge.is_finite() {
                return Err(format!("edge {at} ({edge}) is not finite"));
            }
            if edge <= before {
                let last = at - 1;
                return Err(format!(
                    "edge {at} ({edge}) is not greater than edge {last} ({before})"
                ));
            }
            before = edge;
        }
        Ok(())
    }
}

impl Term<Steps> {
    /// Every number that it may add.
    pub(super) fn weights_mut(&mut self) -> impl Iterator<Item = &mut f64> {
        let (weights, missing) = match self {
            Self::Number(Steps { weights, missing, .. }) => (weights, Some(missing)),
            Self::Slots(weights) => (weights, None),
        };
        weights.iter_mut().chain(missing)
    }
}

/// Boosted stumps, fitted: the score is a logistic function of a sum over the features.
///
/// # Formula
///
/// ```text
/// score    = 1 / (1 + exp(-log_odds))
/// log_odds = intercept + t_1 + ... + t_k
/// t_i      = weight_i[number of edges_i <= x_i]   numeric, or missing_i where the value is missing
/// t_i      = weight_i[slot of x_i]                categorical: the levels, other, missing
/// ```
///
/// where the terms are added in schema order. However many stumps ask about a feature, together
/// they are one step function of it; a bin of it holds its lower edge and not its upper one. One
/// row costs one look-up per feature (in a numeric one by halving) and one `exp`, and allocates
/// nothing. A batch is summed column by column; every row sees the same additions in the same
/// order, so its score is the same bit for bit.
///
/// Every row has a score in `[0, 1]`, whatever its values: NaN and a value of the wrong kind stand
/// as missing, an infinity lies beyond every edge, and a level that is none of the schema's counts
/// as other. The weight of what training never saw is 0.
///
/// Made by [`AdaBoost`](super::AdaBoost) and [`StepFormat`](super::StepFormat).
///
/// ```
/// use std::sync::Arc;
/// use pmmds::linfa::StepFormat;
/// use pmmds::model::ModelFormat;
/// use pmmds::record::{Row, Value};
/// use pmmds::schema::{Feature, FeatureSchema};
///
/// let schema = Arc::new(FeatureSchema::new([Feature::numeric("x").nullable()])?);
/// let document = br#"{"format":"pmmds.steps.v1","threshold":0.5,"intercept":-1.0,"features":[
///     {"kind":"numeric","name":"x","edges":[10.0],"weights":[0.5,1.0],"missing":3.0}]}"#;
/// let model = StepFormat.load(document, &schema)?;
/// let mut row = Row::missing(&schema);
/// assert_eq!(model.score(&row), 1.0 / (1.0 + f64::exp(-2.0)));
/// row.set(schema.id("x").unwrap(), Value::Number(10.0));
/// assert_eq!(model.score(&row), 0.5);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct StepModel {
    schema: Arc<FeatureSchema>,
    // in [0, 1]
    threshold: f64,
    // over the features of the schema
    sum: Sum<Steps>,
}

impl StepModel {
    /// The model with these `terms`, one per feature of `schema`.
    pub(super) fn new(
        schema: &Arc<FeatureSchema>,
        limit: f64,
        intercept: f64,
        terms: Vec<Term<Steps>>,
    ) -> Result<Self, NotASum> {
        let threshold = threshold(limit)?;
        let sum = Sum::new(schema, intercept, terms)?;
        Ok(Self { schema: Arc::clone(schema), threshold, sum })
    }

    /// The log-odds of a row whose every term is 0: as trained, the mean over the training rows.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use pmmds::linfa::StepFormat;
    /// # use pmmds::schema::{Feature, FeatureSchema};
    /// # let schema = Arc::new(FeatureSchema::new([Feature::numeric("x")])?);
    /// # let document = br#"{"format":"pmmds.steps.v1","threshold":0.5,"intercept":-2.5,"features":[
    /// #     {"kind":"numeric","name":"x","edges":[],"weights":[1.0],"missing":0.5}]}"#;
    /// assert_eq!(StepFormat::read(document, &schema)?.intercept(), -2.5);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn intercept(&self) -> f64 {
        self.sum.intercept()
    }

    /// What the score is a logistic function of: positive when the positive class is more likely
    /// than not. Finite.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use pmmds::linfa::StepFormat;
    /// use pmmds::model::Model;
    /// use pmmds::record::Row;
    /// # use pmmds::schema::{Feature, FeatureSchema};
    /// # let schema = Arc::new(FeatureSchema::new([Feature::numeric("x")])?);
    /// # let document = br#"{"format":"pmmds.steps.v1","threshold":0.5,"intercept":-2.5,"features":[
    /// #     {"kind":"numeric","name":"x","edges":[],"weights":[1.0],"missing":0.5}]}"#;
    /// let model = StepFormat::read(document, &schema)?;
    /// let row = Row::missing(&schema);
    /// assert_eq!(model.log_odds(&row), -2.0);
    /// assert_eq!(model.score(&row), 1.0 / (1.0 + f64::exp(2.0)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn log_odds(&self, row: &Row) -> f64 {
        self.sum.of(row)
    }

    pub(super) fn threshold(&self) -> f64 {
        self.threshold
    }

    /// What the score is a logistic function of, term by term.
    pub(super) fn parts(&self) -> &Sum<Steps> {
        &self.sum
    }
}

impl Model for StepModel {
    fn schema(&self) -> &Arc<FeatureSchema> {
        &self.schema
    }

    fn task(&self) -> Task {
        Task::BinaryClassification { threshold: self.threshold }
    }

    fn score(&self, row: &Row) -> f64 {
        logistic(self.log_odds(row))
    }

    fn score_batch(&self, batch: &Batch<'_>) -> Vec<f64> {
        self.sum.of_batch(batch, logistic)
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

    fn steps(edges: &[f64], weights: &[f64], missing: f64) -> Term<Steps> {
        Term::Number(Steps { edges: edges.into(), weights: weights.into(), missing })
    }

    fn terms() -> Vec<Term<Steps>> {
        vec![
            steps(&[-1.0, 2.5], &[0.3, -0.1, 0.7], -0.7),
            Term::Slots([0.1, -0.2, 0.4, -0.8].into()),
            steps(&[], &[0.6], 0.0),
        ]
    }

    fn model() -> StepModel {
        StepModel::new(&schema(), 0.5, 0.25, terms()).unwrap()
    }

    fn row(values: [Value; 3]) -> Row {
        let schema = schema();
        let mut row = Row::missing(&schema);
        schema.ids().zip(values).for_each(|(id, value)| row.set(id, value));
        row
    }

    #[test]
    fn a_bin_holds_its_lower_edge() {
        let absent = Value::Missing;
        let odds = |x: f64| model().log_odds(&row([Value::Number(x), absent, absent]));
        for (x, weight) in [
            (f64::NEG_INFINITY, 0.3),
            ((-1.0_f64).next_up(), -0.1),
            ((-1.0_f64).next_down(), 0.3),
            (-1.0, -0.1),
            (2.5, 0.7),
            (f64::INFINITY, 0.7),
            (f64::NAN, -0.7),
        ] {
            assert_eq!(odds(x).to_bits(), (0.25 + weight - 0.8 + 0.0_f64).to_bits(), "{x}");
        }
    }

    #[test]
    fn what_does_not_fit_stands_as_missing_or_other() {
        let level = |index| Value::Level(LevelId::new(index).unwrap());
        let odds = |c| model().log_odds(&row([Value::Missing, c, Value::Number(3.0)]));
        for (same, weight) in [
            (level(1), -0.2),
            (level(2), 0.4),
            (Value::Level(LevelId::OTHER), 0.4),
            (Value::Level(LevelId::MISSING), -0.8),
            (Value::Invalid, -0.8),
            (Value::Number(1.0), -0.8),
        ] {
            assert_eq!(odds(same).to_bits(), (0.25 - 0.7 + weight + 0.6_f64).to_bits(), "{same:?}");
        }
    }

    #[test]
    fn what_is_no_model_is_refused_by_name() {
        let replaced = |at: usize, term| {
            let mut terms = terms();
            terms[at] = term;
            StepModel::new(&schema(), 0.5, 0.0, terms).unwrap_err().to_string()
        };
        let many: Vec<f64> = (0..=4_096).map(f64::from).collect();
        for (found, expected) in [
            (replaced(1, steps(&[], &[0.0], 0.0)), "feature \"c\" must be categorical"),
            (replaced(0, Term::Slots([].into())), "feature \"x\" must be numeric"),
            (replaced(1, Term::Slots([].into())), "feature \"c\": 0 slots, expected 4"),
            (
                replaced(0, steps(&[1.0], &[0.0], 0.0)),
                "feature \"x\": 1 weights, expected 2 for its edges",
            ),
            (
                replaced(0, steps(&many, &[0.0; 4_098], 0.0)),
                "feature \"x\": 4097 edges, expected at most 4096",
            ),
            (
                replaced(2, steps(&[0.0, f64::NAN], &[0.0; 3], 0.0)),
                "feature \"y\": edge 1 (NaN) is not finite",
            ),
            (
                replaced(2, steps(&[f64::NEG_INFINITY], &[0.0; 2], 0.0)),
                "feature \"y\": edge 0 (-inf) is not finite",
            ),
            (
                replaced(2, steps(&[1.0, 1.0], &[0.0; 3], 0.0)),
                "feature \"y\": edge 1 (1) is not greater than edge 0 (1)",
            ),
            (
                replaced(2, steps(&[1.0], &[0.0, 1e101], 0.0)),
                "feature \"y\": weight 1e101 is not between -1e100 and 1e100",
            ),
            (
                replaced(2, steps(&[], &[0.0], f64::NAN)),
                "feature \"y\": weight NaN is not between -1e100 and 1e100",
            ),
        ] {
            assert_eq!(found, expected);
        }
        let new = |threshold, intercept, terms| {
            StepModel::new(&schema(), threshold, intercept, terms).unwrap_err().to_string()
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
            (-5.0..5.0).prop_map(Value::Number),
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
        let model = model();
        for rows in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 7] {
            let mut columns = Columns::new(schema());
            for i in 0..u16::try_from(rows).unwrap() {
                let level = LevelId::new(usize::from(i % 2)).unwrap();
                let x = if i % 11 == 0 { Value::Missing } else { Value::Number(f64::from(i % 5)) };
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
            let model = model();
            let mut columns = Columns::new(schema());
            let rows: Vec<Row> = rows.into_iter().map(|(x, c, y)| row([x, c, y])).collect();
            rows.iter().for_each(|row| columns.push(row));
            let together = model.score_batch(&columns.batch());
            prop_assert_eq!(together.len(), rows.len());
            for (row, score) in rows.iter().zip(together) {
                prop_assert_eq!(model.score(row).to_bits(), score.to_bits());
                prop_assert!((0.0..=1.0).contains(&score));
            }
        }
    }
}
