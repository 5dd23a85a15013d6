//! The proposal, and what a reviewer should know of it.

use std::fmt;
use std::sync::Arc;

use crate::schema::{Feature, FeatureSchema, MAX_LEVELS, SchemaError};
use crate::validate::excerpt;

/// Most levels that a line of the proposal lists.
const LISTED_LEVELS: usize = 10;

/// A schema proposed by [`Infer::build`](super::Infer::build), with what a reviewer should know. Its `Display` is meant
/// to be read; see [the page](super) for one.
///
/// ```
/// use pmmds::record::Table;
/// use pmmds::schema::FeatureSchema;
/// let table = Table::from_rows(["plan", "note"], [["gold", ""], ["basic", ""]])?;
/// let inferred = FeatureSchema::infer(&table).build()?;
/// assert_eq!(inferred.schema().features()[0].name(), "plan");
/// assert_eq!(inferred.left_out()[0].column(), "note");
/// println!("{inferred}"); // for the reviewer
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Inferred {
    pub(super) schema: Arc<FeatureSchema>,
    // of the table, at least 1
    pub(super) rows: usize,
    // one per feature
    pub(super) notes: Vec<Note>,
    pub(super) left_out: Vec<LeftOut>,
}

impl Inferred {
    /// The proposed schema.
    #[must_use]
    pub fn schema(&self) -> &Arc<FeatureSchema> {
        &self.schema
    }

    /// The columns that are no feature, in order.
    #[must_use]
    pub fn left_out(&self) -> &[LeftOut] {
        &self.left_out
    }
}

impl fmt::Display for Inferred {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self.rows;
        let features = self.schema.features();
        let s = |count: usize| if count == 1 { "" } else { "s" };
        writeln!(f, "{} feature{} from {rows} row{}:", features.len(), s(features.len()), s(rows))?;
        let width = |names: &mut dyn Iterator<Item = &str>| {
            names.map(|name| name.chars().count()).max().unwrap_or(0)
        };
        let names = width(&mut features.iter().map(Feature::name));
        for (feature, note) in features.iter().zip(&self.notes) {
            write!(f, "  {:names$}  {}", feature.name(), Kind(feature))?;
            if note.nulls > 0 {
                let is = if note.nulls == 1 { "is" } else { "are" };
                write!(f, ", nullable ({} of {rows} rows {is} null)", note.nulls)?;
            }
            note.remarks.iter().try_for_each(|remark| write!(f, "; {remark}"))?;
            writeln!(f)?;
        }
        if !self.left_out.is_empty() {
            writeln!(f, "left out:")?;
        }
        let names = width(&mut self.left_out.iter().map(LeftOut::column));
        for LeftOut { column, reason } in &self.left_out {
            writeln!(f, "  {:names$}  {reason}", excerpt(column))?;
        }
        writeln!(f, "Review it: one file shows what came, not what may come.")
    }
}

/// What a feature takes, in a few words.
struct Kind<'a>(&'a Feature);

impl fmt::Display for Kind<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use crate::schema::FeatureKind::{Categorical, Numeric};
        match self.0.kind() {
            Numeric { min, max, integer } => {
                f.write_str(if *integer { "integer" } else { "numeric" })?;
                match (min, max) {
                    (Some(min), Some(max)) => write!(f, " from {min} to {max}"),
                    _ => Ok(()),
                }
            }
            Categorical { levels, .. } => {
                let listed = levels.iter().take(LISTED_LEVELS).map(excerpt).collect::<Vec<_>>();
                write!(f, "one of: {}", listed.join(", "))?;
                match levels.len() {
                    count if count > LISTED_LEVELS => write!(f, ", ... ({count} in all)"),
                    _ => Ok(()),
                }
            }
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Note {
    pub(super) nulls: usize,
    pub(super) remarks: Vec<Remark>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Remark {
    Constant { value: String },
    NotANumber { text: String },
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Constant { value } => write!(f, "every known value is {value}"),
            Self::NotANumber { text } => write!(f, "mostly numbers, but not '{text}'"),
        }
    }
}

/// A column that is no feature of the proposal.
///
/// ```
/// use pmmds::record::Table;
/// use pmmds::schema::{FeatureSchema, infer::Reason};
/// let table = Table::from_rows(["plan", "note"], [["gold", ""], ["basic", ""]])?;
/// let inferred = FeatureSchema::infer(&table).build()?;
/// let [note] = inferred.left_out() else { panic!() };
/// assert_eq!((note.column(), note.reason()), ("note", &Reason::AllNull));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    pub(super) column: String,
    pub(super) reason: Reason,
}

impl LeftOut {
    /// Name of the column.
    #[must_use]
    pub fn column(&self) -> &str {
        &self.column
    }

    /// Why it is no feature.
    #[must_use]
    pub fn reason(&self) -> &Reason {
        &self.reason
    }
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}  {}", excerpt(&self.column), self.reason)
    }
}

/// Why a column is no feature of a proposal.
///
/// ```
/// use pmmds::schema::infer::Reason;
/// let reason = Reason::Identifier { rows: 30 };
/// assert_eq!(reason.to_string(), "30 different values in 30 rows: an identifier?");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// The caller said so.
    #[error("as asked")]
    Asked,
    /// Every cell is null.
    #[error("every cell is null")]
    AllNull,
    /// Every row has a value of its own, and none has a fraction.
    #[error("{rows} different values in {rows} rows: an identifier?")]
    Identifier {
        /// rows of the table
        rows: usize,
    },
    /// More texts than a categorical feature can list.
    #[error(
        "{count} different texts, more than {MAX_LEVELS}, {} '{example}'",
        if *.mostly_numbers { "mostly numbers but not" } else { "such as" }
    )]
    TooManyTexts {
        /// how many
        count: usize,
        /// one of them: where most are numbers, the first that is none
        example: String,
        /// whether most of them are numbers
        mostly_numbers: bool,
    },
    /// The name cannot be that of a feature.
    #[error("its name cannot be used: {why}")]
    Name {
        /// what is wrong with it
        why: &'static str,
    },
    /// A text cannot be a level.
    #[error("'{level}' cannot be a level: {why}")]
    Level {
        /// its first 64 characters
        level: String,
        /// what is wrong with it
        why: &'static str,
    },
}

/// Why no schema can be proposed.
///
/// ```
/// use pmmds::record::Table;
/// use pmmds::schema::FeatureSchema;
/// let empty = Table::from_rows(["x"], [[""; 1]; 0])?;
/// let error = FeatureSchema::infer(&empty).build().unwrap_err();
/// assert_eq!(error.to_string(), "the table has no rows");
/// # Ok::<(), pmmds::record::TableError>(())
/// ```
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum InferError {
    /// A table without rows shows nothing.
    #[error("the table has no rows")]
    NoRows,
    /// An option names a column that does not exist.
    #[error("the table has no column {name:?} {why}")]
    UnknownColumn {
        /// the name given
        name: String,
        /// what was to be done with it
        why: &'static str,
    },
    /// The margin of [`Ranges::Observed`](super::Ranges::Observed) is negative or not finite.
    #[error("margin {margin} is not a finite number of at least 0")]
    Margin {
        /// the margin given
        margin: f64,
    },
    /// No column can be a feature.
    #[error("none of the {} columns can be a feature: {}", left_out.len(), list(left_out))]
    NothingLeft {
        /// the columns and why not
        left_out: Vec<LeftOut>,
    },
    /// The columns do not make a schema together.
    #[error(transparent)]
    Schema(#[from] SchemaError),
}

fn list(left_out: &[LeftOut]) -> String {
    let shown = left_out.iter().take(LISTED_LEVELS);
    let shown: Vec<String> =
        shown.map(|LeftOut { column, reason }| format!("{} ({reason})", excerpt(column))).collect();
    let more = if left_out.len() > LISTED_LEVELS { ", ..." } else { "" };
    format!("{}{more}", shown.join(", "))
}
