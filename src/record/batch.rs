//! Many rows, column by column, borrowed.

use std::borrow::Cow;
use std::cmp::Ordering;

use ndarray::{ArrayView2, Axis};

use super::marks::CellMarks;
use super::{Row, Value};
use crate::schema::{FeatureId, FeatureKind, FeatureSchema, LevelId};

/// One column of a [`Batch`].
///
/// ```
/// use pmmds::record::{Batch, Column};
/// use pmmds::schema::{Feature, FeatureSchema};
/// let schema = FeatureSchema::new([Feature::numeric("x"), Feature::categorical("plan", ["basic"])])?;
/// let plan = [schema.features()[1].level("basic")];
/// let batch = Batch::new(&schema, vec![Column::Numbers(vec![1.0].into()), Column::Levels(&plan)])?;
/// assert_eq!(batch.rows(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Column<'a> {
    /// A numeric feature; NaN is missing.
    Numbers(Cow<'a, [f64]>),
    /// A categorical feature.
    Levels(&'a [LevelId]),
}

impl Column<'_> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Numbers(numbers) => numbers.len(),
            Self::Levels(levels) => levels.len(),
        }
    }

    fn value(&self, row: usize) -> Value {
        match self {
            Self::Numbers(numbers) if numbers[row].is_nan() => Value::Missing,
            Self::Numbers(numbers) => Value::Number(numbers[row]),
            Self::Levels(levels) if levels[row] == LevelId::MISSING => Value::Missing,
            Self::Levels(levels) => Value::Level(levels[row]),
        }
    }
}

/// Two missing values are equal here, so that a column equals itself.
impl PartialEq for Column<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Numbers(a), Self::Numbers(b)) => {
                a.len() == b.len()
                    && a.iter().zip(b.iter()).all(|(a, b)| {
                        a.partial_cmp(b).is_some_and(Ordering::is_eq) || (a.is_nan() && b.is_nan())
                    })
            }
            (Self::Levels(a), Self::Levels(b)) => a == b,
            _ => false,
        }
    }
}

/// Borrowed columns of equal length, one per feature, in schema order.
///
/// ```
/// use ndarray::array;
/// use pmmds::record::Batch;
/// use pmmds::schema::{Feature, FeatureSchema};
///
/// let schema = FeatureSchema::new([Feature::numeric("x"), Feature::numeric("y")])?;
/// let data = array![[1.0, 10.0], [2.0, f64::NAN]];
/// let batch = Batch::from_array(&schema, data.view())?;
/// assert_eq!(batch.rows(), 2);
///
/// let error = Batch::from_array(&schema, array![[1.0]].view()).unwrap_err();
/// assert_eq!(error.to_string(), "1 columns given, the schema has 2 features");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Batch<'a> {
    schema: &'a FeatureSchema,
    // one per feature, kinds as in the schema, each `rows` long
    columns: Vec<Column<'a>>,
    rows: usize,
    // what was found about single cells when the columns were read; by feature, or empty
    marks: &'a [CellMarks],
}

impl<'a> Batch<'a> {
    /// A batch of `columns`, one per feature of `schema`, in its order.
    ///
    /// # Errors
    ///
    /// When the number of columns, their kinds or their lengths do not fit.
    pub fn new(schema: &'a FeatureSchema, columns: Vec<Column<'a>>) -> Result<Self, BatchError> {
        if columns.len() != schema.len() {
            return Err(BatchError::ColumnCount { expected: schema.len(), found: columns.len() });
        }
        let rows = columns.first().map_or(0, Column::len);
        for (feature, column) in schema.features().iter().zip(&columns) {
            let numeric = matches!(feature.kind(), FeatureKind::Numeric { .. });
            if numeric != matches!(column, Column::Numbers(_)) {
                return Err(BatchError::Kind {
                    feature: feature.name().to_owned(),
                    expected: if numeric { "numbers" } else { "levels" },
                });
            }
            if column.len() != rows {
                return Err(BatchError::Length {
                    feature: feature.name().to_owned(),
                    expected: rows,
                    found: column.len(),
                });
            }
            if let Column::Levels(levels) = column {
                let known = feature.levels().len();
                if let Some(level) =
                    levels.iter().find(|level| level.index().is_some_and(|index| index >= known))
                {
                    return Err(BatchError::Level {
                        feature: feature.name().to_owned(),
                        level: level.index().unwrap_or_default(),
                        known,
                    });
                }
            }
        }
        Ok(Self { schema, columns, rows, marks: &[] })
    }

    /// A batch of the columns of `array` (rows by features), for a schema of numeric features.
    /// Columns that lie in one piece are borrowed, others copied.
    ///
    /// # Errors
    ///
    /// When a feature is categorical or the number of columns differs from the schema's.
    pub fn from_array(
        schema: &'a FeatureSchema,
        array: ArrayView2<'a, f64>,
    ) -> Result<Self, BatchError> {
        let columns = (0..array.len_of(Axis(1)))
            .map(|index| {
                let column = array.index_axis_move(Axis(1), index);
                Column::Numbers(match column.to_slice() {
                    Some(slice) => Cow::Borrowed(slice),
                    None => Cow::Owned(column.to_vec()),
                })
            })
            .collect();
        Self::new(schema, columns)
    }

    /// The schema of the rows.
    #[must_use]
    pub fn schema(&self) -> &'a FeatureSchema {
        self.schema
    }

    /// Number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The columns, one per feature, in schema order.
    #[must_use]
    pub fn columns(&self) -> &[Column<'a>] {
        &self.columns
    }

    /// The row at `index`; cells that were refused when the columns were read are
    /// [`Value::Invalid`].
    ///
    /// # Panics
    ///
    /// When `index` is not below [`rows`](Self::rows).
    ///
    /// ```
    /// use ndarray::array;
    /// use pmmds::record::{Batch, Value};
    /// use pmmds::schema::{Feature, FeatureSchema};
    /// let schema = FeatureSchema::new([Feature::numeric("x")])?;
    /// let data = array![[1.0], [f64::NAN]];
    /// let batch = Batch::from_array(&schema, data.view())?;
    /// assert_eq!(batch.row(0).values(), [Value::Number(1.0)]);
    /// assert_eq!(batch.row(1).values(), [Value::Missing]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn row(&self, index: usize) -> Row {
        let value = |(id, column): (FeatureId, &Column<'_>)| {
            if self.is_refused(id, index) { Value::Invalid } else { column.value(index) }
        };
        Row::from_values(self.schema.ids().zip(&self.columns).map(value).collect())
    }

    /// A batch of columns that are known to fit; `marks` has one entry per feature.
    pub(super) fn of_columns(
        schema: &'a FeatureSchema,
        columns: Vec<Column<'a>>,
        rows: usize,
        marks: &'a [CellMarks],
    ) -> Self {
        Self { schema, columns, rows, marks }
    }

    /// Whether the cell was refused, and reported, when the columns were read.
    pub(crate) fn is_refused(&self, feature: FeatureId, row: usize) -> bool {
        self.marks.get(feature.index()).is_some_and(|marks| marks.is_refused(row))
    }

    /// The rows whose cell of the feature at `feature` was refused.
    pub(crate) fn refused_rows(&self, feature: usize) -> impl Iterator<Item = usize> {
        self.marks.get(feature).into_iter().flat_map(CellMarks::refused_rows)
    }

    /// The categories outside the levels of the feature at `feature` whose texts were kept, in the
    /// order of their rows.
    pub(crate) fn outside_texts(&self, feature: usize) -> impl Iterator<Item = &str> {
        self.marks.get(feature).into_iter().flat_map(CellMarks::outside_texts)
    }
}

/// Why columns do not make a batch.
///
/// ```
/// use pmmds::record::{Batch, Column};
/// use pmmds::schema::{Feature, FeatureSchema};
/// let schema = FeatureSchema::new([Feature::numeric("x")])?;
/// let error = Batch::new(&schema, vec![Column::Levels(&[])]).unwrap_err();
/// assert_eq!(error.to_string(), "column \"x\" must be numbers");
/// # Ok::<(), pmmds::schema::SchemaError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BatchError {
    /// Not one column per feature.
    #[error("{found} columns given, the schema has {expected} features")]
    ColumnCount {
        /// features of the schema
        expected: usize,
        /// columns given
        found: usize,
    },
    /// A column is not of the feature's kind.
    #[error("column {feature:?} must be {expected}")]
    Kind {
        /// name of the feature
        feature: String,
        /// what the schema asks for
        expected: &'static str,
    },
    /// A column is longer or shorter than the first.
    #[error("column {feature:?} has {found} rows, the first column has {expected}")]
    Length {
        /// name of the feature
        feature: String,
        /// rows of the first column
        expected: usize,
        /// rows of this column
        found: usize,
    },
    /// A column holds the id of a level that the schema does not have.
    #[error("column {feature:?} holds level {level}, the schema lists {known} levels")]
    Level {
        /// name of the feature
        feature: String,
        /// the level's index
        level: usize,
        /// levels of the feature
        known: usize,
    },
    /// A table lacks the columns of these features.
    #[error("the table has no column for: {}", features.join(", "))]
    MissingColumns {
        /// names of the features
        features: Vec<String>,
    },
}
