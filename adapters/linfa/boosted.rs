//! The margin of a boosting: what its stumps say together, feature by feature.

use ::linfa::DatasetBase;
use ::linfa::traits::Fit;
use linfa_ensemble::AdaBoostParams;
use linfa_rng::ChaCha8Rng;
use linfa_rng::rand_core::SeedableRng;
use ndarray::Array1;

use super::encoding::{Encoded, Encoding};
use super::step::Steps;
use super::stump::{Stump, Stumps};
use super::sum::Term;
use super::{classes, error, invalid};
use crate::record::{Column, Dataset};
use crate::{Error, ErrorKind};

/// What a boosting says of a row: `intercept` and one term per feature, in votes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Margin {
    /// the mean over the training rows
    pub(super) intercept: f64,
    /// of mean 0 over the training rows
    pub(super) terms: Vec<Term<Steps>>,
    /// stumps that were found
    pub(super) stumps: usize,
    /// columns that they could ask about
    pub(super) columns: usize,
}

/// A stump with the weight of its vote.
pub(super) type Vote = (Stump, f64);

/// For a class or against it.
pub(super) fn vote(class: bool, weight: f64) -> f64 {
    if class { weight } else { -weight }
}

/// The sum of the votes on a row that has `x(column)` in each column.
fn poll<'v>(votes: impl IntoIterator<Item = &'v Vote>, x: impl Fn(usize) -> f64) -> f64 {
    votes.into_iter().map(|(stump, weight)| vote(stump.class(x(stump.column)), *weight)).sum()
}

impl Margin {
    /// Boosts on `data`.
    pub(super) fn fit(
        data: &Dataset,
        stumps: usize,
        learning_rate: f64,
        seed: u64,
    ) -> Result<Self, Error> {
        let classes = classes(data)?;
        if data.rows() > Stumps::MOST_ROWS {
            let (found, most) = (data.rows(), Stumps::MOST_ROWS);
            return Err(invalid(format!("{found} rows, boosting takes at most {most}")));
        }
        let encoding = Encoding::fit(data)?;
        let targets: Array1<usize> = classes.iter().map(|class| usize::from(*class)).collect();
        let columns = encoding.features().iter().map(Encoded::columns);
        let learner = Stumps::new(&encoding.array(data), columns);
        let boosted = AdaBoostParams::new_fixed_rng(&learner, ChaCha8Rng::seed_from_u64(seed))
            .n_estimators(stumps)
            .learning_rate(learning_rate)
            .fit(&DatasetBase::new(Stumps::rows(data.rows()), targets))
            .map_err(|e| error(ErrorKind::Other, "boosting found no stump").with_source(e))?;
        let stumps = boosted.models.iter().map(|fitted| fitted.stump);
        let votes: Vec<Vote> = stumps.zip(boosted.model_weights).collect();
        Ok(Self::of_votes(&votes, &encoding, data))
    }

    /// `votes`, gathered by feature.
    pub(super) fn of_votes(votes: &[Vote], encoding: &Encoding, data: &Dataset) -> Self {
        let batch = data.columns().batch();
        let constant = votes.iter().filter(|(stump, _)| stump.edge.is_infinite());
        let mut intercept: f64 = constant.map(|(stump, w)| vote(stump.above, *w)).sum();
        let asked = |column: Option<usize>| -> Vec<Vote> {
            let of = |vote: &&Vote| vote.0.edge.is_finite() && Some(vote.0.column) == column;
            votes.iter().filter(of).copied().collect()
        };
        let mut terms = Vec::with_capacity(encoding.features().len());
        for (encoded, column) in encoding.features().iter().zip(batch.columns()) {
            let mut term = match encoded {
                Encoded::Number { mean, std, value, missing } => {
                    number(*mean, *std, &asked(*value), &asked(*missing))
                }
                Encoded::Slots(columns) => {
                    let of: Vec<Vote> = columns.iter().flat_map(|column| asked(*column)).collect();
                    let slot = |slot: &Option<usize>| {
                        let indicator = |column| f64::from(u8::from(Some(column) == *slot));
                        poll(&of, indicator)
                    };
                    Term::Slots(columns.iter().map(slot).collect())
                }
            };
            let mean = mean(&term, column, data.rows());
            term.weights_mut().for_each(|weight| *weight -= mean);
            if let (Term::Slots(weights), Encoded::Slots(columns)) = (&mut term, encoded) {
                let unseen = weights.iter_mut().zip(columns).filter(|(_, seen)| seen.is_none());
                unseen.for_each(|(weight, _)| *weight = 0.0);
            }
            intercept += mean;
            terms.push(term);
        }
        Self { intercept, terms, stumps: votes.len(), columns: encoding.columns() }
    }

    /// The margin of every row of `data`.
    pub(super) fn of(&self, data: &Dataset) -> Vec<f64> {
        let mut sums = vec![self.intercept; data.rows()];
        for (term, column) in self.terms.iter().zip(data.columns().batch().columns()) {
            term.add(column, 0..data.rows(), &mut sums);
        }
        sums
    }
}

/// The term of a number, from the stumps that ask for its value and whether it is missing.
fn number(mean: f64, std: f64, value: &[Vote], missing: &[Vote]) -> Term<Steps> {
    let raw = |edge: f64| edge.mul_add(std, mean);
    let mut edges: Vec<f64> = value.iter().map(|(stump, _)| raw(stump.edge)).collect();
    edges.sort_by(f64::total_cmp);
    edges.dedup();
    let present = poll(missing, |_| 0.0);
    let from = |x: f64| {
        let votes = value.iter().map(|(stump, weight)| {
            vote(if x < raw(stump.edge) { stump.below } else { stump.above }, *weight)
        });
        votes.sum::<f64>() + present
    };
    let lowest = std::iter::once(f64::NEG_INFINITY);
    let weights = lowest.chain(edges.iter().copied()).map(from).collect();
    let missing = poll(value, |_| 0.0) + poll(missing, |_| 1.0);
    Term::Number(Steps { edges: edges.into(), weights, missing })
}

/// Mean of `term` over the rows of `column`.
fn mean(term: &Term<Steps>, column: &Column<'_>, rows: usize) -> f64 {
    let mut sums = vec![0.0; rows];
    term.add(column, 0..rows, &mut sums);
    #[expect(clippy::cast_precision_loss, reason = "rows in memory are far below 2^53")]
    let rows = rows as f64;
    sums.iter().sum::<f64>() / rows
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::record::{Row, Value};
    use crate::schema::{Feature, FeatureSchema, LevelId, Unlisted};

    /// How far the order of additions may move a sum of some ten votes.
    const SUM_TOLERANCE: f64 = 1e-12;

    fn data() -> Dataset {
        let schema = Arc::new(
            FeatureSchema::new([
                Feature::numeric("x").nullable(),
                Feature::categorical("c", ["a", "b", "unseen"]).unlisted(Unlisted::Other),
                Feature::numeric("constant"),
            ])
            .unwrap(),
        );
        let mut data = Dataset::new(Arc::clone(&schema));
        for i in 0..60_u16 {
            let mut row = Row::missing(&schema);
            let mut set = |name: &str, value| row.set(schema.id(name).unwrap(), value);
            if i % 5 != 0 {
                set("x", Value::Number(f64::from(i % 13) * 100.0 + 3.0));
            }
            let level = LevelId::new(usize::from(i % 3)).filter(|_| i % 3 < 2);
            set("c", Value::Level(level.unwrap_or(LevelId::OTHER)));
            set("constant", Value::Number(1.0));
            data.push(&row, f64::from(u8::from(i % 13 > 6 || i % 5 == 0)), i.to_string());
        }
        data
    }

    #[test]
    fn the_terms_say_what_the_stumps_say_one_by_one() {
        let data = data();
        let encoding = Encoding::fit(&data).unwrap();
        let array = encoding.array(&data);
        let stump = |column, edge, below| Stump { column, edge, below, above: !below };
        let constant = Stump { column: 3, edge: f64::NEG_INFINITY, below: false, above: false };
        let votes = [
            (stump(0, -0.5, true), 1.5),
            (constant, 0.75),
            (stump(1, 0.5, false), 0.25),
            (stump(0, 0.8, false), 0.625),
            (stump(2, 0.5, true), 0.1),
            (stump(4, 0.5, false), 0.3),
            (Stump { column: 3, edge: 0.5, below: true, above: true }, 0.01),
            (stump(0, -0.5, false), 0.2),
        ];
        let margin = Margin::of_votes(&votes, &encoding, &data);
        for (row, found) in array.rows().into_iter().zip(margin.of(&data)) {
            let walked: f64 =
                votes.iter().map(|(stump, w)| vote(stump.class(row[stump.column]), *w)).sum();
            assert!((walked - found).abs() <= SUM_TOLERANCE, "{walked} is not {found}");
        }
        let Term::Number(Steps { edges, .. }) = &margin.terms[0] else { panic!("x is a number") };
        assert_eq!(edges.len(), 2, "two stumps share an edge");
        assert!(
            (margin.of(&data).iter().sum::<f64>() / 60.0 - margin.intercept).abs() <= SUM_TOLERANCE
        );
    }

    #[test]
    fn boosting_is_the_same_twice_and_draws_by_its_seed() {
        let fit = |seed| Margin::fit(&data(), 20, 0.5, seed).unwrap();
        assert_eq!(fit(3), fit(3));
        assert_ne!(fit(3), fit(4));
    }
}
