//! Columns with labels: what a model is trained and judged on.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use super::number::read_number;
use super::{BatchError, Column, Columns, Row, Table, TextColumn};
use crate::schema::{FeatureSchema, Fingerprint, Hasher, LevelId};
use crate::validate::{Rule, Violations};

/// What the labels of rows are, and so what can be learned from them.
///
/// ```
/// use pmmds::model::Task;
/// use pmmds::record::Target;
/// assert!(Target::Binary.accepts(1.0) && !Target::Binary.accepts(0.5));
/// assert!(Target::Number.accepts(0.5) && !Target::Number.accepts(f64::NAN));
/// assert_eq!(Task::Regression.target(), Target::Number);
/// assert_eq!(Target::Number.to_string(), "a finite number");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Target {
    /// One of two classes: 1 for the positive one, 0 for the other.
    #[default]
    Binary,
    /// Any finite number.
    Number,
}

impl Target {
    /// Whether `label` can be one.
    #[must_use]
    pub fn accepts(self, label: f64) -> bool {
        // + 0.0: the sign of a zero is none of a class.
        let is = |class: f64| class.total_cmp(&(label + 0.0)).is_eq();
        match self {
            Self::Binary => is(0.0) || is(1.0),
            Self::Number => label.is_finite(),
        }
    }
}

/// What a label can be, for a message: "0 or 1", "a finite number".
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Binary => "0 or 1",
            Self::Number => "a finite number",
        })
    }
}

/// Rows with their true outcome, and the entity (customer, account, device) each is about.
///
/// The entity decides on which side of a train/holdout split a row stands, for ever: see
/// [`Holdout`](crate::lifecycle::Holdout).
///
/// ```
/// use std::sync::Arc;
/// use pmmds::record::{Dataset, Table};
/// use pmmds::schema::{Feature, FeatureSchema};
/// use pmmds::validate::Violations;
///
/// let table = Table::from_rows(
///     ["customer", "tenure", "churn"],
///     [["c1", "12", "No"], ["c2", "1", "Yes"]],
/// )?;
/// let schema = Arc::new(FeatureSchema::new([Feature::integer("tenure")])?);
/// let mut out = Violations::new();
/// let data = Dataset::from_table(&schema, &table, "churn", "Yes", Some("customer"), &mut out)?;
/// assert_eq!(data.labels(), [0.0, 1.0]);
/// assert_eq!(data.entity(1), "c2");
///
/// // The same table, to learn a number from.
/// let schema = Arc::new(FeatureSchema::new([Feature::categorical("churn", ["No", "Yes"])])?);
/// let data = Dataset::from_table_numeric(&schema, &table, "tenure", Some("customer"), &mut out)?;
/// assert_eq!(data.labels(), [12.0, 1.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Dataset {
    columns: Columns,
    target: Target,
    // one per row: 1 and 0 for a binary target
    labels: Vec<f64>,
    // one per row
    entities: Vec<Box<str>>,
}

impl Dataset {
    /// No rows yet, with a binary target.
    #[must_use]
    pub fn new(schema: Arc<FeatureSchema>) -> Self {
        Self::with_target(schema, Target::Binary)
    }

    /// No rows yet, with labels of the kind that `target` says.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use pmmds::record::{Dataset, Row, Target};
    /// use pmmds::schema::{Feature, FeatureSchema};
    /// let schema = Arc::new(FeatureSchema::new([Feature::numeric("x")])?);
    /// let mut data = Dataset::with_target(Arc::clone(&schema), Target::Number);
    /// data.push(&Row::missing(&schema), 1_250.5, "customer 7");
    /// assert_eq!((data.target(), data.labels()), (Target::Number, &[1_250.5][..]));
    /// # Ok::<(), pmmds::schema::SchemaError>(())
    /// ```
    #[must_use]
    pub fn with_target(schema: Arc<FeatureSchema>, target: Target) -> Self {
        let columns = Columns::new(schema);
        Self { columns, target, labels: Vec::new(), entities: Vec::new() }
    }

    /// Reads features, a binary target and entity ids out of a text table. The label is 1 where
    /// the target column holds `positive`, else 0. Without an `entity` column every row is an
    /// entity of its own, named by its row number.
    ///
    /// # Errors
    ///
    /// When a column is absent, the target is one of the features, holds an empty cell, or holds
    /// anything but `positive` and one other text, or an entity has no id: rows without one would
    /// pass for one entity.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use pmmds::record::{Dataset, Table};
    /// use pmmds::schema::{Feature, FeatureSchema};
    /// use pmmds::validate::Violations;
    /// let schema = Arc::new(FeatureSchema::new([Feature::numeric("x")])?);
    /// let read = |rows: [[&str; 2]; 3]| {
    ///     let table = Table::from_rows(["x", "churn"], rows).unwrap();
    ///     Dataset::from_table(&schema, &table, "churn", "Yes", None, &mut Violations::new())
    /// };
    /// assert_eq!(read([["1", "Yes"], ["2", "No"], ["3", "No"]])?.labels(), [1.0, 0.0, 0.0]);
    /// assert_eq!(
    ///     read([["1", "Yes"], ["2", "No"], ["3", "Perhaps"]]).unwrap_err().to_string(),
    ///     "target \"churn\" holds \"No\" and \"Perhaps\" besides \"Yes\", expected two values",
    /// );
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn from_table(
        schema: &Arc<FeatureSchema>,
        table: &Table,
        target: &str,
        positive: &str,
        entity: Option<&str>,
        out: &mut Violations,
    ) -> Result<Self, DatasetError> {
        let source = target_column(schema, table, target)?;
        let mut others = source.texts().filter(|text| *text != positive);
        if let (Some(first), Some(second)) = (others.next(), others.next()) {
            return Err(DatasetError::NotBinary {
                target: target.to_owned(),
                positive: positive.to_owned(),
                others: [first.to_owned(), second.to_owned()],
            });
        }
        let labels = source.cells().map(|cell| f64::from(u8::from(cell == positive))).collect();
        Self::with_labels(schema, table, Target::Binary, labels, entity, out)
    }

    /// Reads features, a numeric target and entity ids out of a text table, as
    /// [`from_table`](Self::from_table) does with a binary one.
    ///
    /// # Errors
    ///
    /// When a column is absent, the target is one of the features, holds an empty cell or one that
    /// is no number that 64 bits can hold, or an entity has no id.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use pmmds::record::{Dataset, Table, Target};
    /// use pmmds::schema::{Feature, FeatureSchema};
    /// use pmmds::validate::Violations;
    /// let schema = Arc::new(FeatureSchema::new([Feature::numeric("tenure")])?);
    /// let read = |rows: [[&str; 2]; 2]| {
    ///     let table = Table::from_rows(["tenure", "charges"], rows).unwrap();
    ///     Dataset::from_table_numeric(&schema, &table, "charges", None, &mut Violations::new())
    /// };
    /// let data = read([["1", "29.85"], ["2", " -5 "]])?;
    /// assert_eq!((data.target(), data.labels()), (Target::Number, &[29.85, -5.0][..]));
    /// assert_eq!(
    ///     read([["1", "29.85"], ["2", "29,85"]]).unwrap_err().to_string(),
    ///     "target \"charges\" is \"29,85\" in row 1, expected a number",
    /// );
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn from_table_numeric(
        schema: &Arc<FeatureSchema>,
        table: &Table,
        target: &str,
        entity: Option<&str>,
        out: &mut Violations,
    ) -> Result<Self, DatasetError> {
        let source = target_column(schema, table, target)?;
        // Each distinct text is read once, however many rows hold it.
        let read: Vec<Result<f64, Rule>> =
            source.texts().map(|text| read_number(text.trim())).collect();
        let label = |(row, index): (usize, usize)| {
            // + 0.0: no store has to keep the sign of a zero.
            read[index].map(|number| number + 0.0).map_err(|rule| {
                let (target, text) = (target.to_owned(), source.text(index).to_owned());
                match rule {
                    Rule::OutOfRange => DatasetError::TooLarge { target, row, text },
                    _ => DatasetError::NotANumber { target, row, text },
                }
            })
        };
        let labels = source.indices().enumerate().map(label).collect::<Result<_, _>>()?;
        Self::with_labels(schema, table, Target::Number, labels, entity, out)
    }

    /// The features and entities of `table`, with `labels`, one per row.
    fn with_labels(
        schema: &Arc<FeatureSchema>,
        table: &Table,
        target: Target,
        labels: Vec<f64>,
        entity: Option<&str>,
        out: &mut Violations,
    ) -> Result<Self, DatasetError> {
        let entities = match entity {
            Some(name) => {
                let source = column(table, name)?;
                if let Some(row) = source.cells().position(|text| text.trim().is_empty()) {
                    return Err(DatasetError::NoEntity { entity: name.to_owned(), row });
                }
                source.cells().map(Into::into).collect()
            }
            None => (0..table.rows()).map(|row| row.to_string().into()).collect(),
        };
        let columns = Columns::from_table(schema, table, out)?;
        Ok(Self { columns, target, labels, entities })
    }

    /// Adds one row.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use pmmds::record::{Dataset, Row};
    /// use pmmds::schema::{Feature, FeatureSchema};
    /// let schema = Arc::new(FeatureSchema::new([Feature::numeric("x").nullable()])?);
    /// let mut data = Dataset::new(Arc::clone(&schema));
    /// data.push(&Row::missing(&schema), 1.0, "customer 7");
    /// data.push(&Row::missing(&schema), 0.0, "customer 7");
    /// assert_eq!((data.rows(), data.repeated_entities()), (2, 1));
    ///
    /// let first = data.select(&[0]);
    /// assert_ne!(first.fingerprint(), data.fingerprint());
    /// data.append(&first)?;
    /// assert_eq!(data.labels(), [1.0, 0.0, 1.0]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn push(&mut self, row: &Row, label: f64, entity: impl Into<Box<str>>) {
        self.columns.push(row);
        self.labels.push(label);
        self.entities.push(entity.into());
    }

    /// Adds every row of `other`, which must be of the same schema and have the same kind of
    /// target.
    ///
    /// # Errors
    ///
    /// [`DatasetError::Schema`] or [`DatasetError::Target`] when it is not.
    pub fn append(&mut self, other: &Self) -> Result<(), DatasetError> {
        if other.schema().fingerprint() != self.schema().fingerprint() {
            return Err(DatasetError::Schema);
        }
        if other.target != self.target {
            return Err(DatasetError::Target { expected: self.target, found: other.target });
        }
        for row in 0..other.rows() {
            self.push(&other.columns.row(row), other.labels[row], other.entities[row].clone());
        }
        Ok(())
    }

    /// The rows at `indices`, in that order.
    ///
    /// # Panics
    ///
    /// When an index is not below [`rows`](Self::rows).
    #[must_use]
    pub fn select(&self, indices: &[usize]) -> Self {
        Self {
            columns: self.columns.select(indices),
            target: self.target,
            labels: indices.iter().map(|row| self.labels[*row]).collect(),
            entities: indices.iter().map(|row| self.entities[*row].clone()).collect(),
        }
    }

    /// Number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.labels.len()
    }

    /// The schema of the features.
    #[must_use]
    pub fn schema(&self) -> &Arc<FeatureSchema> {
        self.columns.schema()
    }

    /// The features.
    #[must_use]
    pub fn columns(&self) -> &Columns {
        &self.columns
    }

    /// What the labels are.
    #[must_use]
    pub fn target(&self) -> Target {
        self.target
    }

    /// The true outcomes, one per row.
    #[must_use]
    pub fn labels(&self) -> &[f64] {
        &self.labels
    }

    /// The entity that the row at `row` is about.
    ///
    /// # Panics
    ///
    /// When `row` is not below [`rows`](Self::rows).
    #[must_use]
    pub fn entity(&self, row: usize) -> &str {
        &self.entities[row]
    }

    /// How many entities have more than one row, and are thus able to leak from training into a
    /// holdout that is not split by entity.
    #[must_use]
    pub fn repeated_entities(&self) -> usize {
        let mut rows: HashMap<&str, usize> = HashMap::new();
        for entity in &self.entities {
            *rows.entry(entity).or_default() += 1;
        }
        rows.values().filter(|count| **count > 1).count()
    }

    /// A hash of every value, label and entity in row order: two data sets with the same one train
    /// the same model.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        let mut hasher = Hasher::new("pmmds dataset 1");
        hasher.bytes(self.schema().fingerprint().as_bytes()).count(self.rows());
        for column in self.columns.batch().columns() {
            match column {
                Column::Numbers(numbers) => numbers.iter().for_each(|x| {
                    hasher.float(*x);
                }),
                Column::Levels(levels) => levels.iter().for_each(|level| {
                    hasher.number(match level.index() {
                        Some(index) => index as u64,
                        None if *level == LevelId::MISSING => 255,
                        None => 254,
                    });
                }),
            }
        }
        // Numbers that happen to be 0 and 1 are not classes.
        if self.target != Target::Binary {
            hasher.text(&self.target.to_string());
        }
        self.labels.iter().for_each(|label| {
            hasher.float(*label);
        });
        self.entities.iter().for_each(|entity| {
            hasher.text(entity);
        });
        hasher.finish()
    }
}

fn column<'t>(table: &'t Table, name: &str) -> Result<&'t TextColumn, DatasetError> {
    table.column(name).ok_or_else(|| DatasetError::NoColumn { name: name.to_owned() })
}

/// The column called `target`, which is no feature and has a value in every row.
fn target_column<'t>(
    schema: &FeatureSchema,
    table: &'t Table,
    target: &str,
) -> Result<&'t TextColumn, DatasetError> {
    if schema.id(target).is_some() {
        return Err(DatasetError::TargetIsAFeature { target: target.to_owned() });
    }
    let source = column(table, target)?;
    match source.cells().position(Table::is_null) {
        Some(row) => Err(DatasetError::NoLabel { target: target.to_owned(), row }),
        None => Ok(source),
    }
}

/// Why a table is not a data set.
///
/// ```
/// use std::sync::Arc;
/// use pmmds::record::{Dataset, DatasetError};
/// use pmmds::schema::{Feature, FeatureSchema};
/// let of = |name: &str| -> Result<Dataset, pmmds::schema::SchemaError> {
///     Ok(Dataset::new(Arc::new(FeatureSchema::new([Feature::numeric(name)])?)))
/// };
/// assert_eq!(of("x")?.append(&of("y")?), Err(DatasetError::Schema));
/// # Ok::<(), pmmds::schema::SchemaError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DatasetError {
    /// A column is absent.
    #[error("the table has no column {name:?}")]
    NoColumn {
        /// its name
        name: String,
    },
    /// The target would be an input of the model that predicts it.
    #[error("target {target:?} is also a feature")]
    TargetIsAFeature {
        /// name of the target
        target: String,
    },
    /// A row has no label.
    #[error("target {target:?} is empty in row {row}")]
    NoLabel {
        /// name of the target
        target: String,
        /// row number from 0
        row: usize,
    },
    /// A row has no entity id.
    #[error("entity {entity:?} is empty in row {row}")]
    NoEntity {
        /// name of the column
        entity: String,
        /// row number from 0
        row: usize,
    },
    /// The target has more than two values.
    #[error(
        "target {target:?} holds {:?} and {:?} besides {positive:?}, expected two values",
        others[0], others[1]
    )]
    NotBinary {
        /// name of the target
        target: String,
        /// the positive value
        positive: String,
        /// two others
        others: [String; 2],
    },
    /// A numeric target holds what is no number.
    #[error("target {target:?} is {text:?} in row {row}, expected a number")]
    NotANumber {
        /// name of the target
        target: String,
        /// row number from 0
        row: usize,
        /// what the cell holds
        text: String,
    },
    /// A numeric target holds a number that 64 bits do not hold.
    #[error(
        "target {target:?} is {text:?} in row {row}, expected at most 1.8e308, or 2^53 for a whole \
         number written out"
    )]
    TooLarge {
        /// name of the target
        target: String,
        /// row number from 0
        row: usize,
        /// what the cell holds
        text: String,
    },
    /// Rows of different schemas cannot be put together.
    #[error("the rows are of another schema")]
    Schema,
    /// Classes and numbers cannot be put together.
    #[error("the labels are {found}, expected {expected}")]
    Target {
        /// of the rows that are added to
        expected: Target,
        /// of the rows to add
        found: Target,
    },
    /// The features cannot be read.
    #[error(transparent)]
    Columns(#[from] BatchError),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Value;
    use crate::schema::{Feature, LevelId, Unlisted};

    #[test]
    fn the_fingerprint_tells_other_from_missing() {
        let feature = Feature::categorical("plan", ["basic"]).unlisted(Unlisted::Other).nullable();
        let schema = Arc::new(FeatureSchema::new([feature]).unwrap());
        let of = |value| {
            let mut row = Row::missing(&schema);
            row.set(schema.id("plan").unwrap(), value);
            let mut data = Dataset::new(Arc::clone(&schema));
            data.push(&row, 0.0, "c1");
            data.fingerprint()
        };
        let other = Value::Level(LevelId::OTHER);
        assert_eq!(of(Value::Missing), of(Value::Missing));
        assert_ne!(of(Value::Missing), of(other));
    }

    #[test]
    fn rows_without_an_entity_are_no_entity() {
        let table =
            Table::from_rows(["id", "x", "y"], [["a", "1", "No"], [" ", "2", "Yes"]]).unwrap();
        let schema = Arc::new(FeatureSchema::new([Feature::numeric("x")]).unwrap());
        let mut out = Violations::new();
        let error = Dataset::from_table(&schema, &table, "y", "Yes", Some("id"), &mut out);
        assert_eq!(error.unwrap_err().to_string(), "entity \"id\" is empty in row 1");
    }

    #[test]
    fn the_number_in_a_target_is_read_like_any_other() {
        let schema = Arc::new(FeatureSchema::new([Feature::numeric("x")]).unwrap());
        let read = |texts: &[&str]| {
            let table = Table::from_rows(["x", "y"], texts.iter().map(|text| ["1", text])).unwrap();
            Dataset::from_table_numeric(&schema, &table, "y", None, &mut Violations::new())
        };
        let data = read(&["-0.0", "1e300", " 12", "12"]).unwrap();
        let bits = |numbers: &[f64]| numbers.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(data.labels()), bits(&[0.0, 1e300, 12.0, 12.0]));
        for (texts, message) in [
            (["1", ""], "target \"y\" is empty in row 1"),
            (["NA", "1"], "target \"y\" is empty in row 0"),
            (["1", "inf"], "target \"y\" is \"inf\" in row 1, expected a number"),
            (["1", "1e400"], "target \"y\" is \"1e400\" in row 1, expected at most 1.8e308"),
            (["1", "9007199254740993"], "\"9007199254740993\" in row 1, expected at most 1.8e308"),
        ] {
            let error = read(&texts).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
        let of_itself = FeatureSchema::new([Feature::numeric("y")]).unwrap();
        let table = Table::from_rows(["y"], [["1"]]).unwrap();
        let error = Dataset::from_table_numeric(
            &Arc::new(of_itself),
            &table,
            "y",
            None,
            &mut Violations::new(),
        );
        assert_eq!(error.unwrap_err().to_string(), "target \"y\" is also a feature");
    }

    #[test]
    fn classes_and_numbers_are_not_put_together() {
        let schema = Arc::new(FeatureSchema::new([Feature::numeric("x")]).unwrap());
        let of = |target| {
            let mut data = Dataset::with_target(Arc::clone(&schema), target);
            data.push(&Row::missing(&schema), 1.0, "c1");
            data
        };
        let (mut classes, numbers) = (of(Target::Binary), of(Target::Number));
        assert_ne!(classes.fingerprint(), numbers.fingerprint());
        let error = classes.append(&numbers).unwrap_err();
        assert_eq!(error.to_string(), "the labels are a finite number, expected 0 or 1");
        assert_eq!(numbers.select(&[0, 0]).target(), Target::Number);
    }

    /// It is in the artifact of every version, and tells a run whether it has new data.
    #[test]
    fn the_fingerprint_of_classes_is_what_it_was() {
        let table = Table::from_rows(["x", "y"], [["", "No"], ["2.5", "Yes"]]).unwrap();
        let schema = Arc::new(FeatureSchema::new([Feature::numeric("x").nullable()]).unwrap());
        let mut out = Violations::new();
        let data = Dataset::from_table(&schema, &table, "y", "Yes", None, &mut out).unwrap();
        assert_eq!(
            data.fingerprint().to_string(),
            "d98ea6c0c50db7f75240981e389f725e10195f77a0af47031de42473e245d098"
        );
    }

    #[test]
    fn data_with_missing_values_equal_themselves() {
        let table = Table::from_rows(["x", "y"], [["", "No"], ["2", "Yes"]]).unwrap();
        let schema = Arc::new(FeatureSchema::new([Feature::numeric("x").nullable()]).unwrap());
        let mut out = Violations::new();
        let data = Dataset::from_table(&schema, &table, "y", "Yes", None, &mut out).unwrap();
        assert_eq!(data, data.clone());
    }
}
