//! Columns with labels: what a model is trained and judged on.

use std::collections::HashMap;
use std::sync::Arc;

use super::{BatchError, Column, Columns, Row, Table};
use crate::schema::{FeatureSchema, Fingerprint, Hasher, LevelId};
use crate::validate::Violations;

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
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Dataset {
    columns: Columns,
    // one per row: 1 and 0 for a binary target
    labels: Vec<f64>,
    // one per row
    entities: Vec<Box<str>>,
}

impl Dataset {
    /// No rows yet.
    #[must_use]
    pub fn new(schema: Arc<FeatureSchema>) -> Self {
        Self { columns: Columns::new(schema), labels: Vec::new(), entities: Vec::new() }
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
        if schema.id(target).is_some() {
            return Err(DatasetError::TargetIsAFeature { target: target.to_owned() });
        }
        let column = |name: &str| {
            table.column(name).ok_or_else(|| DatasetError::NoColumn { name: name.to_owned() })
        };
        let source = column(target)?;
        if let Some(row) = source.cells().position(Table::is_null) {
            return Err(DatasetError::NoLabel { target: target.to_owned(), row });
        }
        let mut others = source.texts().filter(|text| *text != positive);
        if let (Some(first), Some(second)) = (others.next(), others.next()) {
            return Err(DatasetError::NotBinary {
                target: target.to_owned(),
                positive: positive.to_owned(),
                others: [first.to_owned(), second.to_owned()],
            });
        }
        let labels = source.cells().map(|cell| f64::from(u8::from(cell == positive))).collect();
        let entities = match entity {
            Some(name) => {
                let source = column(name)?;
                if let Some(row) = source.cells().position(|text| text.trim().is_empty()) {
                    return Err(DatasetError::NoEntity { entity: name.to_owned(), row });
                }
                source.cells().map(Into::into).collect()
            }
            None => (0..table.rows()).map(|row| row.to_string().into()).collect(),
        };
        Ok(Self { columns: Columns::from_table(schema, table, out)?, labels, entities })
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

    /// Adds every row of `other`, which must be of the same schema.
    ///
    /// # Errors
    ///
    /// [`DatasetError::Schema`] when it is not.
    pub fn append(&mut self, other: &Self) -> Result<(), DatasetError> {
        if other.schema().fingerprint() != self.schema().fingerprint() {
            return Err(DatasetError::Schema);
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
        self.labels.iter().for_each(|label| {
            hasher.float(*label);
        });
        self.entities.iter().for_each(|entity| {
            hasher.text(entity);
        });
        hasher.finish()
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
    /// Rows of different schemas cannot be put together.
    #[error("the rows are of another schema")]
    Schema,
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
    fn data_with_missing_values_equal_themselves() {
        let table = Table::from_rows(["x", "y"], [["", "No"], ["2", "Yes"]]).unwrap();
        let schema = Arc::new(FeatureSchema::new([Feature::numeric("x").nullable()]).unwrap());
        let mut out = Violations::new();
        let data = Dataset::from_table(&schema, &table, "y", "Yes", None, &mut out).unwrap();
        assert_eq!(data, data.clone());
    }
}
