//! How the features of a data set become the columns of one array.

use ndarray::{Array2, ShapeBuilder};

use super::invalid;
use super::linear::Slope;
use super::sum::{Term, slot};
use crate::Error;
use crate::record::{Column, Dataset};

/// Smallest and largest standard deviation that can be scaled to 1 and back without losing digits.
const SPREADS: std::ops::RangeInclusive<f64> = 1e-90..=1e90;

/// Which columns a feature has.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Encoded {
    Number {
        // finite
        mean: f64,
        // in SPREADS
        std: f64,
        // None where the value is the same in all rows that have one
        value: Option<usize>,
        // None where no row, or every row, lacks the value
        missing: Option<usize>,
    },
    /// The column of each slot: the levels of the schema, then other, then missing. None for what
    /// training did not see.
    Slots(Box<[Option<usize>]>),
}

/// The columns of every feature.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Encoding {
    // one per feature, in schema order; columns numbered from 0 in that order
    features: Vec<Encoded>,
    // at least 1
    columns: usize,
}

impl Encoding {
    /// The columns that `data` needs.
    ///
    /// # Errors
    ///
    /// When a value is infinite, a feature's spread cannot be scaled, or no feature takes two
    /// values.
    pub(super) fn fit(data: &Dataset) -> Result<Self, Error> {
        let batch = data.columns().batch();
        let mut columns = 0;
        let mut next = || {
            columns += 1;
            columns - 1
        };
        let mut features = Vec::with_capacity(batch.columns().len());
        for (feature, column) in data.schema().features().iter().zip(batch.columns()) {
            if let Column::Levels(levels) = column {
                let mut seen = vec![false; feature.levels().len() + 2];
                levels.iter().for_each(|level| seen[slot(*level, feature.levels().len())] = true);
                let informs = seen.iter().filter(|seen| **seen).count() > 1;
                let column = |seen: bool| (seen && informs).then(&mut next);
                features.push(Encoded::Slots(seen.into_iter().map(column).collect()));
            } else if let Column::Numbers(numbers) = column {
                features.push(Encoded::number(feature.name(), numbers, &mut next)?);
            }
        }
        if columns == 0 {
            let rows = data.rows();
            return Err(invalid(format!(
                "no feature takes two different values in the {rows} training rows"
            )));
        }
        Ok(Self { features, columns })
    }

    /// What each feature adds to the sum of a model with these weights, one per column.
    pub(super) fn terms(&self, weight: impl Fn(usize) -> f64) -> Vec<Term<Slope>> {
        let weight = |column: Option<usize>| column.map_or(0.0, &weight);
        let term = |encoded: &Encoded| match encoded {
            Encoded::Number { mean, std, value, missing } => Term::Number(Slope {
                mean: *mean,
                weight: weight(*value) / std,
                missing: weight(*missing),
            }),
            Encoded::Slots(slots) => Term::Slots(slots.iter().map(|slot| weight(*slot)).collect()),
        };
        self.features.iter().map(term).collect()
    }

    /// The columns of each feature, in schema order.
    pub(super) fn features(&self) -> &[Encoded] {
        &self.features
    }

    /// Number of columns.
    pub(super) fn columns(&self) -> usize {
        self.columns
    }

    /// `data` as an array of rows by columns.
    pub(super) fn array(&self, data: &Dataset) -> Array2<f64> {
        let mut array = Array2::zeros((data.rows(), self.columns).f());
        for (encoded, column) in self.features.iter().zip(data.columns().batch().columns()) {
            match (encoded, column) {
                (Encoded::Slots(columns), Column::Levels(levels)) => {
                    for (row, level) in levels.iter().enumerate() {
                        if let Some(column) = columns[slot(*level, columns.len() - 2)] {
                            array[(row, column)] = 1.0;
                        }
                    }
                }
                (Encoded::Number { mean, std, value, missing }, Column::Numbers(numbers)) => {
                    for (row, x) in numbers.iter().enumerate() {
                        if let (Some(column), false) = (value, x.is_nan()) {
                            array[(row, *column)] = (x - mean) / std;
                        }
                        if let (Some(column), true) = (missing, x.is_nan()) {
                            array[(row, *column)] = 1.0;
                        }
                    }
                }
                // A data set's columns are of the kinds of its schema, and `fit` followed them.
                _ => {}
            }
        }
        array
    }
}

/// Where the numbers of a column lie, and how far they spread.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Scale {
    // finite
    pub(super) mean: f64,
    // in SPREADS; 1 where all numbers are the same
    pub(super) std: f64,
    pub(super) varies: bool,
}

impl Scale {
    /// The scale of those of `numbers` that are not NaN, none of them infinite.
    ///
    /// # Errors
    ///
    /// The reason, when they cannot be scaled.
    pub(super) fn of(numbers: &[f64]) -> Result<Self, String> {
        let present = || numbers.iter().copied().filter(|x| !x.is_nan());
        let lowest = present().fold(f64::INFINITY, f64::min);
        let highest = present().fold(f64::NEG_INFINITY, f64::max);
        #[expect(clippy::cast_precision_loss, reason = "rows in memory are far below 2^53")]
        let rows = present().count().max(1) as f64;
        let mean = present().sum::<f64>() / rows;
        let varies = lowest < highest;
        let std = if varies {
            (present().map(|x| (x - mean).powi(2)).sum::<f64>() / rows).sqrt()
        } else {
            1.0
        };
        if !mean.is_finite() || !SPREADS.contains(&std) {
            let (least, most) = (SPREADS.start(), SPREADS.end());
            return Err(format!(
                "mean {mean:e} and standard deviation {std:e} cannot be scaled, expected a \
                 deviation between {least:e} and {most:e}"
            ));
        }
        Ok(Self { mean, std, varies })
    }
}

impl Encoded {
    /// Number of columns.
    pub(super) fn columns(&self) -> usize {
        match self {
            Self::Number { value, missing, .. } => [value, missing].into_iter().flatten().count(),
            Self::Slots(columns) => columns.iter().flatten().count(),
        }
    }

    fn number(
        name: &str,
        numbers: &[f64],
        next: &mut impl FnMut() -> usize,
    ) -> Result<Self, Error> {
        if let Some(row) = numbers.iter().position(|x| x.is_infinite()) {
            let x = numbers[row];
            return Err(invalid(format!("feature {name:?}: {x} in row {row} is not finite")));
        }
        let count = numbers.iter().filter(|x| !x.is_nan()).count();
        let Scale { mean, std, varies } =
            Scale::of(numbers).map_err(|why| invalid(format!("feature {name:?}: {why}")))?;
        let value = varies.then(&mut *next);
        let missing = (count > 0 && count < numbers.len()).then(&mut *next);
        Ok(Self::Number { mean, std, value, missing })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ndarray::array;

    use super::*;
    use crate::record::{Row, Value};
    use crate::schema::{Feature, FeatureSchema, LevelId, Unlisted};

    fn data(features: Vec<Feature>, rows: &[Vec<Value>]) -> Dataset {
        let schema = Arc::new(FeatureSchema::new(features).unwrap());
        let mut data = Dataset::new(Arc::clone(&schema));
        for (number, values) in rows.iter().enumerate() {
            let mut row = Row::missing(&schema);
            for (id, value) in schema.ids().zip(values) {
                row.set(id, *value);
            }
            data.push(&row, 0.0, number.to_string());
        }
        data
    }

    fn numbers(values: &[f64]) -> Dataset {
        let rows: Vec<Vec<Value>> = values.iter().map(|x| vec![Value::Number(*x)]).collect();
        data(vec![Feature::numeric("x").nullable()], &rows)
    }

    #[test]
    fn columns_are_made_for_what_training_saw() {
        let level = |index| Value::Level(LevelId::new(index).unwrap());
        let other = Value::Level(LevelId::OTHER);
        let data = data(
            vec![
                Feature::numeric("x").nullable(),
                Feature::numeric("constant"),
                Feature::categorical("c", ["a", "b", "unseen"]).unlisted(Unlisted::Other),
                Feature::categorical("single", ["a", "b"]),
            ],
            &[
                vec![Value::Number(1.0), Value::Number(0.1), level(0), level(1)],
                vec![Value::Number(3.0), Value::Number(0.1), level(1), level(1)],
                vec![Value::Missing, Value::Number(0.1), other, level(1)],
            ],
        );
        let encoding = Encoding::fit(&data).unwrap();
        assert_eq!(
            encoding.features(),
            [
                Encoded::Number { mean: 2.0, std: 1.0, value: Some(0), missing: Some(1) },
                Encoded::Number {
                    mean: (0.1 + 0.1 + 0.1) / 3.0,
                    std: 1.0,
                    value: None,
                    missing: None
                },
                Encoded::Slots([Some(2), Some(3), None, Some(4), None].into()),
                Encoded::Slots([None; 4].into()),
            ]
        );
        assert_eq!(
            encoding.array(&data),
            array![
                [-1.0, 0.0, 1.0, 0.0, 0.0],
                [1.0, 0.0, 0.0, 1.0, 0.0],
                [0.0, 1.0, 0.0, 0.0, 1.0]
            ]
        );
    }

    #[test]
    fn what_is_missing_can_be_all_there_is_to_know() {
        let encoding = Encoding::fit(&numbers(&[5.0, f64::NAN, 5.0])).unwrap();
        let expected = Encoded::Number { mean: 5.0, std: 1.0, value: None, missing: Some(0) };
        assert_eq!(encoding.features(), [expected]);
        assert!(Encoding::fit(&numbers(&[f64::NAN, f64::NAN])).is_err());
    }

    #[test]
    fn numbers_that_cannot_be_scaled_are_named() {
        for (values, part) in [
            ([1.0, f64::INFINITY], "feature \"x\": inf in row 1 is not finite"),
            ([-1e300, 1e300], "standard deviation inf cannot be scaled"),
            ([0.0, 1e-200], "standard deviation 0e0 cannot be scaled"),
            ([f64::MAX, f64::MAX], "feature \"x\": mean inf"),
        ] {
            let message = Encoding::fit(&numbers(&values)).unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
    }
}
