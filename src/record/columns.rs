//! Many rows, column by column: owned [`Columns`] and borrowed [`Batch`].

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

use ndarray::{ArrayView2, Axis};

use super::{Row, Table, Value};
use crate::schema::{FeatureId, FeatureKind, FeatureSchema, LevelId, Unlisted};
use crate::validate::{Rule, Violation, Violations};

/// One column of a [`Batch`].
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Column<'a> {
    /// A numeric feature; NaN is missing.
    Numbers(Cow<'a, [f64]>),
    /// A categorical feature.
    Levels(&'a [LevelId]),
}

impl Column<'_> {
    fn len(&self) -> usize {
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
    // cells that were refused and reported when the columns were read
    refused: Option<&'a HashSet<(FeatureId, usize)>>,
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
        Ok(Self { schema, columns, rows, refused: None })
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

    /// The row at `index`.
    ///
    /// # Panics
    ///
    /// When `index` is not below [`rows`](Self::rows).
    #[must_use]
    pub fn row(&self, index: usize) -> Row {
        Row::from_values(self.columns.iter().map(|column| column.value(index)).collect())
    }

    /// Whether the cell was refused, and reported, when the columns were read.
    pub(crate) fn is_refused(&self, feature: FeatureId, row: usize) -> bool {
        self.refused.is_some_and(|refused| refused.contains(&(feature, row)))
    }
}

/// Why columns do not make a batch.
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

#[derive(Debug, Clone, PartialEq)]
enum OwnedColumn {
    Numbers(Vec<f64>),
    Levels(Vec<LevelId>),
}

/// Owned columns of equal length, one per feature: what a file, or many rows, become.
///
/// ```
/// use std::sync::Arc;
/// use pmmds::record::{Columns, Table};
/// use pmmds::schema::{Feature, FeatureSchema};
/// use pmmds::validate::Violations;
///
/// let table = Table::from_rows(["tenure", "plan"], [["12", "basic"], ["x", "gold"]])?;
/// let schema = Arc::new(FeatureSchema::new([
///     Feature::integer("tenure"),
///     Feature::categorical("plan", ["basic", "gold"]),
/// ])?);
/// let mut violations = Violations::new();
/// let columns = Columns::from_table(&schema, &table, &mut violations)?;
/// assert_eq!(columns.rows(), 2);
/// let error = violations.errors().next().unwrap().to_string();
/// assert_eq!(error, "Row 1: Invalid value for tenure: 'x'. Must be a number");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Columns {
    schema: Arc<FeatureSchema>,
    // one per feature, kinds as in the schema, each `rows` long
    columns: Vec<OwnedColumn>,
    rows: usize,
    // cells that were refused and reported; they stand as missing or other in `columns`
    refused: HashSet<(FeatureId, usize)>,
}

impl Columns {
    /// No rows yet.
    #[must_use]
    pub fn new(schema: Arc<FeatureSchema>) -> Self {
        let columns = schema
            .features()
            .iter()
            .map(|feature| match feature.kind() {
                FeatureKind::Numeric { .. } => OwnedColumn::Numbers(Vec::new()),
                FeatureKind::Categorical { .. } => OwnedColumn::Levels(Vec::new()),
            })
            .collect();
        Self { schema, columns, rows: 0, refused: HashSet::new() }
    }

    /// Reads the columns that `schema` names out of a text table; other columns are left alone.
    /// Cells that cannot be read are reported to `out` with their row, and stand as missing.
    ///
    /// # Errors
    ///
    /// [`BatchError::MissingColumns`] when the table lacks a feature.
    pub fn from_table(
        schema: &Arc<FeatureSchema>,
        table: &Table,
        out: &mut Violations,
    ) -> Result<Self, BatchError> {
        let mut sources = Vec::with_capacity(schema.len());
        let mut absent = Vec::new();
        for feature in schema.features() {
            match table.column(feature.name()) {
                Some(column) => sources.push(column),
                None => absent.push(feature.name().to_owned()),
            }
        }
        if !absent.is_empty() {
            return Err(BatchError::MissingColumns { features: absent });
        }
        let mut columns = Self::new(Arc::clone(schema));
        columns.rows = table.rows();
        for ((id, feature), source) in schema.ids().zip(schema.features()).zip(sources) {
            let mut refuse = |row: usize, rule: Rule, text: &str| {
                columns.refused.insert((id, row));
                let quoted = format!("'{text}'");
                let violation = || Violation::of(rule, feature, Some(&quoted)).at_row(row);
                out.push(Some(id), violation, rule);
            };
            // Each distinct text is read once, however many cells hold it.
            columns.columns[id.index()] = match feature.kind() {
                FeatureKind::Numeric { .. } => {
                    let read: Vec<Option<f64>> = source.texts().map(read_number).collect();
                    let number = |(row, index): (usize, usize)| match read[index] {
                        Some(number) => number,
                        None => {
                            refuse(row, Rule::NotANumber, source.text(index));
                            f64::NAN
                        }
                    };
                    OwnedColumn::Numbers(source.indices().enumerate().map(number).collect())
                }
                FeatureKind::Categorical { unlisted, .. } => {
                    let read: Vec<LevelId> = source
                        .texts()
                        .map(|text| match feature.level(text) {
                            LevelId::OTHER if Table::is_null(text) => LevelId::MISSING,
                            level => level,
                        })
                        .collect();
                    let level = |(row, index): (usize, usize)| {
                        if read[index] == LevelId::OTHER && *unlisted == Unlisted::Reject {
                            refuse(row, Rule::InvalidCategory, source.text(index));
                        }
                        read[index]
                    };
                    OwnedColumn::Levels(source.indices().enumerate().map(level).collect())
                }
            };
        }
        Ok(columns)
    }

    /// Adds one row of the same schema. Values of the wrong kind stand as missing.
    pub fn push(&mut self, row: &Row) {
        for (column, value) in self.columns.iter_mut().zip(row.values()) {
            match (column, value) {
                (OwnedColumn::Numbers(numbers), Value::Number(number)) => numbers.push(*number),
                (OwnedColumn::Numbers(numbers), _) => numbers.push(f64::NAN),
                (OwnedColumn::Levels(levels), Value::Level(level)) => levels.push(*level),
                (OwnedColumn::Levels(levels), _) => levels.push(LevelId::MISSING),
            }
        }
        self.rows += 1;
    }

    /// The rows at `indices`, in that order.
    ///
    /// # Panics
    ///
    /// When an index is not below [`rows`](Self::rows).
    #[must_use]
    pub fn select(&self, indices: &[usize]) -> Self {
        let columns = self
            .columns
            .iter()
            .map(|column| match column {
                OwnedColumn::Numbers(x) => {
                    OwnedColumn::Numbers(indices.iter().map(|row| x[*row]).collect())
                }
                OwnedColumn::Levels(x) => {
                    OwnedColumn::Levels(indices.iter().map(|row| x[*row]).collect())
                }
            })
            .collect();
        let mut refused = HashSet::new();
        if !self.refused.is_empty() {
            for (to, from) in indices.iter().enumerate() {
                refused.extend(
                    self.schema
                        .ids()
                        .filter(|id| self.refused.contains(&(*id, *from)))
                        .map(|id| (id, to)),
                );
            }
        }
        Self { schema: Arc::clone(&self.schema), columns, rows: indices.len(), refused }
    }

    /// The schema of the rows.
    #[must_use]
    pub fn schema(&self) -> &Arc<FeatureSchema> {
        &self.schema
    }

    /// Number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The same rows, borrowed.
    #[must_use]
    pub fn batch(&self) -> Batch<'_> {
        let columns = self
            .columns
            .iter()
            .map(|column| match column {
                OwnedColumn::Numbers(numbers) => Column::Numbers(Cow::Borrowed(numbers)),
                OwnedColumn::Levels(levels) => Column::Levels(levels),
            })
            .collect();
        Batch { schema: &self.schema, columns, rows: self.rows, refused: Some(&self.refused) }
    }

    /// The row at `index`.
    ///
    /// # Panics
    ///
    /// When `index` is not below [`rows`](Self::rows).
    #[must_use]
    pub fn row(&self, index: usize) -> Row {
        let value = |column: &OwnedColumn| match column {
            OwnedColumn::Numbers(x) if x[index].is_nan() => Value::Missing,
            OwnedColumn::Numbers(x) => Value::Number(x[index]),
            OwnedColumn::Levels(x) if x[index] == LevelId::MISSING => Value::Missing,
            OwnedColumn::Levels(x) => Value::Level(x[index]),
        };
        Row::from_values(self.columns.iter().map(value).collect())
    }
}

/// The number in `text`: NaN for an empty cell, `None` for what is not a finite number.
fn read_number(text: &str) -> Option<f64> {
    if Table::is_null(text) {
        return Some(f64::NAN);
    }
    text.trim().parse::<f64>().ok().filter(|number| number.is_finite())
}
