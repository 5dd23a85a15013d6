//! A sum of one term per feature: what linear models and boosted stumps are.

use std::ops::Range;

use crate::record::{Batch, Column, Row, Value};
use crate::schema::{FeatureKind, FeatureSchema, LevelId};

/// Largest magnitude of a weight and of an intercept. Their products with a distance that is no
/// larger, and the sum over every feature of a schema, stay finite.
pub(super) const LARGEST: f64 = 1e100;

/// Rows that are summed together: their sums stay in the fastest cache.
pub(super) const BLOCK: usize = 1_024;

/// What a numeric feature adds to the sum.
pub(super) trait Curve {
    /// The term of `x`; of NaN, that of a missing value.
    fn at(&self, x: f64) -> f64;

    /// The numbers that terms are made of.
    fn weights(&self) -> impl Iterator<Item = f64>;

    /// What is wrong with it, but for the size of its weights.
    fn check(&self) -> Result<(), String>;
}

/// What one feature adds to the sum.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Term<C> {
    Number(C),
    /// One weight per slot: the levels of the schema, then other, then missing; each at most
    /// LARGEST either way.
    Slots(Box<[f64]>),
}

/// The slot of `level` among `levels` levels of the schema: their own, then other, then missing.
pub(super) fn slot(level: LevelId, levels: usize) -> usize {
    if level == LevelId::MISSING {
        return levels + 1;
    }
    level.index().filter(|index| *index < levels).unwrap_or(levels)
}

fn of_level(weights: &[f64], level: LevelId) -> f64 {
    weights[slot(level, weights.len() - 2)]
}

impl<C: Curve> Term<C> {
    fn missing(&self) -> f64 {
        match self {
            Self::Number(curve) => curve.at(f64::NAN),
            Self::Slots(weights) => weights[weights.len() - 1],
        }
    }

    fn of(&self, value: Value) -> f64 {
        match (self, value) {
            (Self::Number(curve), Value::Number(x)) => curve.at(x),
            (Self::Slots(weights), Value::Level(level)) => of_level(weights, level),
            _ => self.missing(),
        }
    }

    /// Adds the term of each of `rows` of `column` to its sum.
    pub(super) fn add(&self, column: &Column<'_>, rows: Range<usize>, sums: &mut [f64]) {
        match (self, column) {
            (Self::Number(curve), Column::Numbers(numbers)) => {
                for (sum, x) in sums.iter_mut().zip(&numbers[rows]) {
                    *sum += curve.at(*x);
                }
            }
            (Self::Slots(weights), Column::Levels(levels)) => {
                for (sum, level) in sums.iter_mut().zip(&levels[rows]) {
                    *sum += of_level(weights, *level);
                }
            }
            _ => sums.iter_mut().for_each(|sum| *sum += self.missing()),
        }
    }
}

/// Why numbers are no such sum over the features of a schema.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(super) enum NotASum {
    #[error("threshold {threshold} is not between 0 and 1")]
    Threshold { threshold: f64 },
    #[error("intercept {intercept:e} is not between -1e100 and 1e100")]
    Intercept { intercept: f64 },
    #[error("{found} features, the schema has {expected}")]
    FeatureCount { expected: usize, found: usize },
    #[error("feature {feature:?} must be {expected}")]
    Kind { feature: String, expected: &'static str },
    #[error("feature {feature:?}: {found} slots, expected {expected}")]
    SlotCount { feature: String, expected: usize, found: usize },
    #[error("feature {feature:?}: {why}")]
    Curve { feature: String, why: String },
    #[error("feature {feature:?}: weight {weight:e} is not between -1e100 and 1e100")]
    Weight { feature: String, weight: f64 },
}

/// The `threshold` of a classifier, if it can be one.
pub(super) fn threshold(threshold: f64) -> Result<f64, NotASum> {
    let is_one = (0.0..=1.0).contains(&threshold);
    if is_one { Ok(threshold) } else { Err(NotASum::Threshold { threshold }) }
}

/// An intercept and one term per feature, added in the order of the schema: every row sees the same
/// additions, alone and in a batch.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sum<C> {
    // at most LARGEST either way
    intercept: f64,
    // one per feature, of its kind and with as many slots
    terms: Box<[Term<C>]>,
}

impl<C: Curve> Sum<C> {
    /// The sum of these `terms`, one per feature of `schema`.
    pub(super) fn new(
        schema: &FeatureSchema,
        intercept: f64,
        terms: Vec<Term<C>>,
    ) -> Result<Self, NotASum> {
        let bounded = |x: f64| x.abs() <= LARGEST;
        if !bounded(intercept) {
            return Err(NotASum::Intercept { intercept });
        }
        if terms.len() != schema.len() {
            return Err(NotASum::FeatureCount { expected: schema.len(), found: terms.len() });
        }
        for (feature, term) in schema.features().iter().zip(&terms) {
            let name = || feature.name().to_owned();
            let numeric = matches!(feature.kind(), FeatureKind::Numeric { .. });
            let large = match term {
                Term::Number(curve) if numeric => {
                    curve.check().map_err(|why| NotASum::Curve { feature: name(), why })?;
                    curve.weights().find(|weight| !bounded(*weight))
                }
                Term::Slots(weights) if !numeric => {
                    let (expected, found) = (feature.levels().len() + 2, weights.len());
                    if found != expected {
                        return Err(NotASum::SlotCount { feature: name(), expected, found });
                    }
                    weights.iter().copied().find(|weight| !bounded(*weight))
                }
                _ => {
                    let expected = if numeric { "numeric" } else { "categorical" };
                    return Err(NotASum::Kind { feature: name(), expected });
                }
            };
            if let Some(weight) = large {
                return Err(NotASum::Weight { feature: name(), weight });
            }
        }
        Ok(Self { intercept, terms: terms.into() })
    }

    pub(super) fn intercept(&self) -> f64 {
        self.intercept
    }

    /// In the order of the schema.
    pub(super) fn terms(&self) -> &[Term<C>] {
        &self.terms
    }

    /// The sum of one row.
    pub(super) fn of(&self, row: &Row) -> f64 {
        let mut sum = self.intercept;
        for (term, value) in self.terms.iter().zip(row.values()) {
            sum += term.of(*value);
        }
        sum
    }

    /// What `then` makes of the sum of each row, column by column.
    pub(super) fn of_batch(&self, batch: &Batch<'_>, then: impl Fn(f64) -> f64) -> Vec<f64> {
        let mut sums = vec![self.intercept; batch.rows()];
        for (block, sums) in sums.chunks_mut(BLOCK).enumerate() {
            let rows = block * BLOCK..block * BLOCK + sums.len();
            for (term, column) in self.terms.iter().zip(batch.columns()) {
                term.add(column, rows.clone(), sums);
            }
            sums.iter_mut().for_each(|sum| *sum = then(*sum));
        }
        sums
    }
}

/// The probability whose log-odds are `log_odds`.
pub(super) fn logistic(log_odds: f64) -> f64 {
    1.0 / (1.0 + (-log_odds).exp())
}
