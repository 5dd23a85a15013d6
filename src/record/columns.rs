//! Many rows, column by column, owned.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use super::marks::CellMarks;
use super::number::read_number;
use super::{Batch, BatchError, Column, Row, Table, Value};
use crate::schema::{FeatureKind, FeatureSchema, LevelId, Unlisted};
use crate::validate::{Rule, Violation, Violations};

#[derive(Debug, Clone)]
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
#[derive(Debug, Clone)]
pub struct Columns {
    schema: Arc<FeatureSchema>,
    // one per feature, kinds as in the schema, each `rows` long
    columns: Vec<OwnedColumn>,
    rows: usize,
    // one per feature; refused cells stand as missing or other in `columns`
    marks: Vec<CellMarks>,
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
        let marks = vec![CellMarks::default(); schema.len()];
        Self { schema, columns, rows: 0, marks }
    }

    /// Reads the columns that `schema` names out of a text table, by name; other columns are left
    /// alone, and [`Table::columns_outside`] lists them. Cells that cannot be read are reported to
    /// `out` with their row and stand as missing, unlisted categories as
    /// [`LevelId::OTHER`]. Ranges and nulls are the
    /// [validator](crate::validate::FeatureValidator)'s.
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
            let mut marks = CellMarks::default();
            let mut refuse = |marks: &mut CellMarks, row: usize, rule: Rule, text: &str| {
                marks.refuse(row);
                let quoted = format!("'{text}'");
                let violation = || Violation::of(rule, feature, Some(&quoted)).at_row(row);
                out.push(Some(id), violation, rule);
            };
            // Each distinct text is read once, however many cells hold it.
            columns.columns[id.index()] = match feature.kind() {
                FeatureKind::Numeric { .. } => {
                    let read: Vec<Result<f64, Rule>> = source.texts().map(read_cell).collect();
                    let number = |(row, index): (usize, usize)| {
                        read[index].unwrap_or_else(|rule| {
                            refuse(&mut marks, row, rule, source.text(index));
                            f64::NAN
                        })
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
                    // Texts outside the levels are kept, so that a report can name them.
                    let outside: Vec<Option<Arc<str>>> = source
                        .texts()
                        .zip(&read)
                        .map(|(text, level)| {
                            let kept = *level == LevelId::OTHER && !feature.is_sensitive();
                            kept.then(|| text.into())
                        })
                        .collect();
                    let level = |(row, index): (usize, usize)| {
                        if let Some(text) = &outside[index] {
                            marks.keep_outside(row, Arc::clone(text));
                        }
                        if read[index] == LevelId::OTHER && *unlisted == Unlisted::Reject {
                            let rule = Rule::InvalidCategory;
                            refuse(&mut marks, row, rule, source.text(index));
                        }
                        read[index]
                    };
                    OwnedColumn::Levels(source.indices().enumerate().map(level).collect())
                }
            };
            columns.marks[id.index()] = marks;
        }
        Ok(columns)
    }

    /// Reads the columns that `schema` names out of a text table, like
    /// [`from_table`](Self::from_table), and takes nothing that it cannot read.
    ///
    /// # Errors
    ///
    /// When the table lacks a feature, or a cell cannot be read: no number where one is expected,
    /// or a category that the schema neither lists nor counts as
    /// [other](crate::schema::Unlisted::Other).
    ///
    /// ```
    /// use std::sync::Arc;
    /// use pmmds::record::{Columns, Table};
    /// use pmmds::schema::{Feature, FeatureSchema};
    ///
    /// let schema = Arc::new(FeatureSchema::new([Feature::integer("tenure")])?);
    /// let table = Table::from_rows(["tenure", "note"], [["12", "-"], ["", "-"]])?;
    /// assert_eq!(Columns::read(&schema, &table)?.rows(), 2);
    ///
    /// let table = Table::from_rows(["tenure"], [["12"], ["1,5"]])?;
    /// assert_eq!(
    ///     Columns::read(&schema, &table).unwrap_err().to_string(),
    ///     "1 cell cannot be read: Row 1: Invalid value for tenure: '1,5'. Must be a number",
    /// );
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn read(schema: &Arc<FeatureSchema>, table: &Table) -> Result<Self, ReadError> {
        let mut out = Violations::with_limit(SHOWN_CELLS);
        let columns = Self::from_table(schema, table, &mut out)?;
        if out.is_valid() {
            return Ok(columns);
        }
        out.sort_by_schema(schema);
        Err(ReadError::Cells { count: out.error_count(), first: out.errors().cloned().collect() })
    }

    /// Adds one row of the same schema. [`Value::Invalid`] stays what it is, a value of the wrong
    /// kind stands as missing.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use pmmds::record::{Columns, Row, Value};
    /// use pmmds::schema::{Feature, FeatureSchema};
    /// let schema = Arc::new(FeatureSchema::new([Feature::numeric("x")])?);
    /// let mut columns = Columns::new(Arc::clone(&schema));
    /// let mut row = Row::missing(&schema);
    /// row.set(schema.id("x").unwrap(), Value::Number(2.5));
    /// columns.push(&row);
    /// assert_eq!((columns.rows(), columns.row(0)), (1, row));
    /// assert_eq!(columns.select(&[0, 0]).rows(), 2);
    /// # Ok::<(), pmmds::schema::SchemaError>(())
    /// ```
    pub fn push(&mut self, row: &Row) {
        for (index, column) in self.columns.iter_mut().enumerate() {
            let value = row.values().get(index).copied().unwrap_or(Value::Missing);
            if value == Value::Invalid {
                self.marks[index].refuse(self.rows);
            }
            match column {
                OwnedColumn::Numbers(numbers) => numbers.push(match value {
                    Value::Number(number) => number,
                    _ => f64::NAN,
                }),
                OwnedColumn::Levels(levels) => levels.push(match value {
                    Value::Level(level) if self.schema.features()[index].has(level) => level,
                    _ => LevelId::MISSING,
                }),
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
        let marks = self.marks.iter().map(|marks| marks.select(indices)).collect();
        Self { schema: Arc::clone(&self.schema), columns, rows: indices.len(), marks }
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
        Batch::of_columns(&self.schema, columns, self.rows, &self.marks)
    }

    /// The row at `index`; cells that were refused when the columns were read are
    /// [`Value::Invalid`].
    ///
    /// # Panics
    ///
    /// When `index` is not below [`rows`](Self::rows).
    #[must_use]
    pub fn row(&self, index: usize) -> Row {
        let value = |(column, marks): (&OwnedColumn, &CellMarks)| match column {
            _ if marks.is_refused(index) => Value::Invalid,
            OwnedColumn::Numbers(x) if x[index].is_nan() => Value::Missing,
            OwnedColumn::Numbers(x) => Value::Number(x[index]),
            OwnedColumn::Levels(x) if x[index] == LevelId::MISSING => Value::Missing,
            OwnedColumn::Levels(x) => Value::Level(x[index]),
        };
        Row::from_values(self.columns.iter().zip(&self.marks).map(value).collect())
    }
}

/// Two missing values are equal here, so that columns equal themselves.
impl PartialEq for Columns {
    fn eq(&self, other: &Self) -> bool {
        self.schema == other.schema
            && self.batch().columns() == other.batch().columns()
            && self.marks == other.marks
    }
}

/// The number in a cell; NaN for an empty one.
fn read_cell(text: &str) -> Result<f64, Rule> {
    if Table::is_null(text) { Ok(f64::NAN) } else { read_number(text.trim()) }
}

/// Most unreadable cells that a [`ReadError`] shows.
const SHOWN_CELLS: usize = 10;

/// Why a table is not what the schema describes.
///
/// ```
/// use std::sync::Arc;
/// use pmmds::record::{Columns, ReadError, Table};
/// use pmmds::schema::{Feature, FeatureSchema};
/// let schema = Arc::new(FeatureSchema::new([Feature::numeric("x")])?);
/// let table = Table::from_rows(["y"], [["1"]])?;
/// let error = Columns::read(&schema, &table).unwrap_err();
/// assert!(matches!(error, ReadError::Columns(_)));
/// assert_eq!(error.to_string(), "the table has no column for: x");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReadError {
    /// The table lacks columns.
    Columns(BatchError),
    /// Cells cannot be read.
    Cells {
        /// how many
        count: u64,
        /// the first of them, at most 10
        first: Vec<Violation>,
    },
}

impl From<BatchError> for ReadError {
    fn from(error: BatchError) -> Self {
        Self::Columns(error)
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Columns(error) => error.fmt(f),
            Self::Cells { count, first } => {
                let cells = if *count == 1 { "cell" } else { "cells" };
                write!(f, "{count} {cells} cannot be read: ")?;
                for (index, violation) in first.iter().enumerate() {
                    write!(f, "{}{violation}", if index == 0 { "" } else { "; " })?;
                }
                if *count > first.len() as u64 { f.write_str("; ...") } else { Ok(()) }
            }
        }
    }
}

impl std::error::Error for ReadError {}
