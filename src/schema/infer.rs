//! A schema proposed from data, for a person to review and keep.
//!
//! A file shows what came once, not what may come. So the proposal is wide where the file says
//! nothing (no ranges, unlisted categories count as *other*), leaves out what no model can use,
//! and says why. Read it, narrow it where you know better, and keep the
//! [TOML](FeatureSchema::to_toml) with the model.
//!
//! | known texts of a column | becomes |
//! |---|---|
//! | `0` and `1` | integer from 0 to 1 |
//! | all numbers, all written as whole ones | integer |
//! | all numbers | numeric |
//! | numbers with leading zeros, such as zip codes | as any other text |
//! | at most [`MAX_LEVELS`] different texts | categorical, levels sorted |
//! | no two alike, and no fractions: an identifier | left out |
//! | more texts, or none | left out |
//!
//! A column with [null](Table::is_null) cells becomes nullable.
//!
//! ```
//! use pmmds::record::Table;
//! use pmmds::schema::FeatureSchema;
//!
//! let table = Table::from_rows(
//!     ["customer", "tenure", "charges", "plan", "churn"],
//!     [["c1", "12", "20.5", "gold", "No"], ["c2", "3", "", "basic", "Yes"]],
//! )?;
//! let inferred = FeatureSchema::infer(&table).leave_out(["customer", "churn"]).build()?;
//! assert_eq!(
//!     inferred.to_string(),
//!     "3 features from 2 rows:\n  \
//!        tenure   integer\n  \
//!        charges  numeric, nullable (1 of 2 rows is null); every known value is 20.5\n  \
//!        plan     one of: basic, gold\n\
//!      left out:\n  \
//!        customer  as asked\n  \
//!        churn     as asked\n\
//!      Review it: one file shows what came, not what may come.\n",
//! );
//! let to_keep: String = inferred.schema().to_toml();
//!
//! let typo = FeatureSchema::infer(&table).leave_out(["custmer"]).build();
//! assert_eq!(typo.unwrap_err().to_string(), "the table has no column \"custmer\" to leave out");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod proposal;

use std::sync::Arc;

use super::feature::check_name;
use super::{Feature, FeatureSchema, MAX_LEVELS, Unlisted};
use crate::record::{Table, TextColumn, read_number};
use crate::validate::excerpt;

pub use proposal::{InferError, Inferred, LeftOut, Reason};
use proposal::{Note, Remark};

/// Fewest rows from which values that are all different are taken for an identifier.
const IDENTIFIER_ROWS: usize = 20;

impl FeatureSchema {
    /// Proposes a schema for `table`; see [the page](crate::schema::infer) for the rules and an example.
    pub fn infer(table: &Table) -> Infer<'_> {
        Infer {
            table,
            leave_out: Vec::new(),
            keep: Vec::new(),
            ranges: Ranges::None,
            unlisted: Unlisted::Other,
        }
    }
}

/// What ranges a proposal gives to numbers. Flags of 0 and 1 always get theirs.
///
/// ```
/// use pmmds::record::Table;
/// use pmmds::schema::{Feature, FeatureSchema, infer::Ranges};
/// let table = Table::from_rows(["age"], [["20"], ["70"]])?;
/// let observed = FeatureSchema::infer(&table).ranges(Ranges::Observed { margin: 0.0 }).build()?;
/// assert_eq!(observed.schema().features(), [Feature::integer("age").range(20.0, 70.0)]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub enum Ranges {
    /// None: a range seen once is no law.
    #[default]
    None,
    /// From the smallest to the largest value of the table, widened at either end.
    Observed {
        /// by how much, as a share of the distance between the two: 0.1 is a tenth
        margin: f64,
    },
}

/// How to propose a schema, made by [`FeatureSchema::infer`].
///
/// ```
/// use pmmds::record::Table;
/// use pmmds::schema::{FeatureSchema, Unlisted, infer::Ranges};
/// let table = Table::from_rows(["id", "plan", "churn"], [["1", "gold", "No"]])?;
/// let inferred = FeatureSchema::infer(&table)
///     .leave_out(["churn"])
///     .keep(["id"])
///     .ranges(Ranges::Observed { margin: 0.5 })
///     .unlisted(Unlisted::Reject)
///     .build()?;
/// assert_eq!(inferred.schema().len(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "call `build` to get the proposal"]
pub struct Infer<'t> {
    table: &'t Table,
    leave_out: Vec<String>,
    keep: Vec<String>,
    ranges: Ranges,
    unlisted: Unlisted,
}

impl Infer<'_> {
    /// Leaves out these columns: the target, ids, whatever the model must not see. Defaults to
    /// none.
    pub fn leave_out<N: Into<String>>(mut self, columns: impl IntoIterator<Item = N>) -> Self {
        self.leave_out.extend(columns.into_iter().map(Into::into));
        self
    }

    /// Keeps these columns though their values are all different, as those of an identifier are.
    /// Defaults to none.
    ///
    /// ```
    /// use pmmds::record::Table;
    /// use pmmds::schema::FeatureSchema;
    ///
    /// let rows = (0..100).map(|n| [(n * n).to_string(), (n % 7).to_string()]);
    /// let table = Table::from_rows(["distance", "day"], rows)?;
    /// let without = FeatureSchema::infer(&table).build()?;
    /// assert_eq!(
    ///     without.left_out()[0].to_string(),
    ///     "distance  100 different values in 100 rows: an identifier?",
    /// );
    /// let with = FeatureSchema::infer(&table).keep(["distance"]).build()?;
    /// assert_eq!(with.schema().len(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn keep<N: Into<String>>(mut self, columns: impl IntoIterator<Item = N>) -> Self {
        self.keep.extend(columns.into_iter().map(Into::into));
        self
    }

    /// What ranges numbers get. Defaults to [`Ranges::None`].
    ///
    /// ```
    /// use pmmds::record::Table;
    /// use pmmds::schema::{Feature, FeatureSchema, infer::Ranges};
    ///
    /// let table = Table::from_rows(["age"], [["20"], ["71"]])?;
    /// let inferred =
    ///     FeatureSchema::infer(&table).ranges(Ranges::Observed { margin: 0.1 }).build()?;
    /// assert_eq!(inferred.schema().features(), [Feature::integer("age").range(14.0, 77.0)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn ranges(mut self, ranges: Ranges) -> Self {
        self.ranges = ranges;
        self
    }

    /// What becomes of categories that the table does not hold. Defaults to [`Unlisted::Other`]:
    /// levels seen once are no law either, and a new one is drift to be measured.
    ///
    /// ```
    /// use pmmds::record::Table;
    /// use pmmds::schema::{Feature, FeatureSchema, Unlisted};
    ///
    /// let table = Table::from_rows(["plan"], [["gold"], ["basic"]])?;
    /// let strict = FeatureSchema::infer(&table).unlisted(Unlisted::Reject).build()?;
    /// assert_eq!(strict.schema().features(), [Feature::categorical("plan", ["basic", "gold"])]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn unlisted(mut self, unlisted: Unlisted) -> Self {
        self.unlisted = unlisted;
        self
    }

    /// The proposal.
    ///
    /// # Errors
    ///
    /// When the table has no rows, a column to leave out or to keep does not exist, the margin is
    /// negative or not finite, no column is left, or two names differ in letter case only.
    pub fn build(self) -> Result<Inferred, InferError> {
        let unknown = |names: &[String], why| {
            let absent = names.iter().find(|name| self.table.column(name).is_none());
            absent.map(|name| InferError::UnknownColumn { name: name.clone(), why })
        };
        if let Some(error) =
            unknown(&self.leave_out, "to leave out").or_else(|| unknown(&self.keep, "to keep"))
        {
            return Err(error);
        }
        if let Ranges::Observed { margin } = self.ranges
            && !(margin.is_finite() && margin >= 0.0)
        {
            return Err(InferError::Margin { margin });
        }
        if self.table.rows() == 0 {
            return Err(InferError::NoRows);
        }
        let (mut features, mut notes, mut left_out) = (Vec::new(), Vec::new(), Vec::new());
        for column in self.table.columns() {
            match self.feature(column) {
                Ok((feature, note)) => {
                    features.push(feature);
                    notes.push(note);
                }
                Err(reason) => left_out.push(LeftOut { column: column.name().to_owned(), reason }),
            }
        }
        if features.is_empty() {
            return Err(InferError::NothingLeft { left_out });
        }
        let schema = Arc::new(FeatureSchema::new(features)?);
        Ok(Inferred { schema, rows: self.table.rows(), notes, left_out })
    }

    fn feature(&self, column: &TextColumn) -> Result<(Feature, Note), Reason> {
        let name = column.name();
        if self.leave_out.iter().any(|left| left == name) {
            return Err(Reason::Asked);
        }
        check_name(name).map_err(|why| Reason::Name { why })?;
        let texts: Vec<&str> = column.texts().filter(|text| !Table::is_null(text)).collect();
        let Some(first) = texts.first() else {
            return Err(Reason::AllNull);
        };
        let nulls = column.null_count();
        let numbers = Numbers::of(&texts);
        let rows = self.table.rows();
        if texts.len() == rows
            && rows >= IDENTIFIER_ROWS
            && numbers.as_ref().is_none_or(|numbers| numbers.whole)
            && !self.keep.iter().any(|kept| kept == name)
        {
            return Err(Reason::Identifier { rows });
        }
        let mut remarks = Vec::new();
        if texts.len() == 1 {
            remarks.push(Remark::Constant { value: excerpt(first) });
        }
        let feature = match numbers {
            Some(numbers) => numbers.feature(name, self.ranges),
            None => {
                let other = other_texts(&texts);
                if texts.len() > MAX_LEVELS {
                    return Err(Reason::TooManyTexts {
                        count: texts.len(),
                        example: excerpt(other.unwrap_or(first)),
                        mostly_numbers: other.is_some(),
                    });
                }
                remarks.extend(other.map(|text| Remark::NotANumber { text: excerpt(text) }));
                for text in &texts {
                    check_name(text).map_err(|why| Reason::Level { level: excerpt(text), why })?;
                }
                let mut levels = texts;
                levels.sort_unstable();
                Feature::categorical(name, levels).unlisted(self.unlisted)
            }
        };
        let feature = if nulls > 0 { feature.nullable() } else { feature };
        Ok((feature, Note { nulls, remarks }))
    }
}

/// Texts that are all numbers.
struct Numbers {
    // finite
    min: f64,
    max: f64,
    // all written without a point and an exponent
    whole: bool,
    // "0" and "1" and nothing else
    flag: bool,
}

impl Numbers {
    fn of(texts: &[&str]) -> Option<Self> {
        let mut numbers = Self {
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
            whole: true,
            flag: texts.len() == 2,
        };
        for text in texts {
            let number = number(text)?;
            numbers.min = numbers.min.min(number);
            numbers.max = numbers.max.max(number);
            numbers.whole &= !text.contains(['.', 'e', 'E']);
            numbers.flag &= matches!(*text, "0" | "1");
        }
        Some(numbers)
    }

    fn feature(&self, name: &str, ranges: Ranges) -> Feature {
        let feature = if self.whole { Feature::integer(name) } else { Feature::numeric(name) };
        let margin = match ranges {
            _ if self.flag => return feature.range(0.0, 1.0),
            Ranges::None => return feature,
            Ranges::Observed { margin } => margin,
        };
        // The halves of the width are finite where the width is not.
        let step = (self.max / 2.0 - self.min / 2.0) * margin * 2.0;
        let (min, max) = (self.min - step, self.max + step);
        let (min, max) = if self.whole { (min.floor(), max.ceil()) } else { (min, max) };
        feature.range(min.clamp(f64::MIN, f64::MAX) + 0.0, max.clamp(f64::MIN, f64::MAX) + 0.0)
    }
}

/// The number that `text` stands for; `None` for codes that only look like one.
fn number(text: &str) -> Option<f64> {
    let text = text.trim();
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text).as_bytes();
    let code = matches!(digits, [b'0', b'0'..=b'9', ..]);
    if code { None } else { read_number(text).ok() }
}

/// Of texts that are mostly numbers the first that is none.
fn other_texts<'t>(texts: &[&'t str]) -> Option<&'t str> {
    let mut others = texts.iter().filter(|text| number(text).is_none());
    let first = others.next()?;
    let count = 1 + others.count();
    (count * 2 < texts.len()).then_some(*first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(name: &str, texts: &[&str]) -> Table {
        Table::from_rows([name], texts.iter().map(|text| [*text])).unwrap()
    }

    fn infer(texts: &[&str]) -> Feature {
        FeatureSchema::infer(&table("x", texts)).build().unwrap().schema().features()[0].clone()
    }

    fn reason(name: &str, texts: &[&str]) -> Reason {
        match FeatureSchema::infer(&table(name, texts)).build().unwrap_err() {
            InferError::NothingLeft { left_out } => left_out[0].reason().clone(),
            error => panic!("{error}"),
        }
    }

    #[test]
    fn kinds_follow_the_texts() {
        let levels = |levels: &[&str]| {
            Feature::categorical("x", levels.iter().copied()).unlisted(Unlisted::Other)
        };
        for (texts, feature) in [
            (&["0", "1", "1"][..], Feature::integer("x").range(0.0, 1.0)),
            (&["0", "1", "2"], Feature::integer("x")),
            (&["0", "0"], Feature::integer("x")),
            (&["1", "-2", "+3"], Feature::integer("x")),
            (&["1", " ", "NA", "null"], Feature::integer("x").nullable()),
            (&["1.0", "2.0"], Feature::numeric("x")),
            (&["1", "2.5"], Feature::numeric("x")),
            (&["1e3"], Feature::numeric("x")),
            (&["b", "a", "b"], levels(&["a", "b"])),
            (&["1", "a", ""], levels(&["1", "a"]).nullable()),
            (&["01234", "99999"], levels(&["01234", "99999"])),
            (&["1,5", "2,5"], levels(&["1,5", "2,5"])),
            (&["true", "false"], levels(&["false", "true"])),
            (&["inf", "1"], levels(&["1", "inf"])),
            (&["9007199254740993"], levels(&["9007199254740993"])),
        ] {
            assert_eq!(infer(texts), feature, "{texts:?}");
        }
    }

    #[test]
    fn what_cannot_be_a_feature_is_left_out_with_the_reason() {
        let ids: Vec<String> = (0..30).map(|n| format!("c{n}")).collect();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        assert_eq!(reason("x", &ids), Reason::Identifier { rows: 30 });
        let numbers: Vec<String> = (0..30).map(|n| n.to_string()).collect();
        let numbers: Vec<&str> = numbers.iter().map(String::as_str).collect();
        assert_eq!(reason("x", &numbers), Reason::Identifier { rows: 30 });
        assert_eq!(reason("x", &["", " ", "NaN"]), Reason::AllNull);
        assert_eq!(reason("x\u{7}", &["1"]), Reason::Name { why: "it holds a control character" });
        assert_eq!(
            reason("x", &["a\nb"]).to_string(),
            r"'a\nb' cannot be a level: it holds a control character"
        );

        let mut many: Vec<String> = (0..300).map(|n| format!("{}.5", n)).collect();
        many[7] = "1,5".to_owned();
        many.extend(many.clone());
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(
            reason("x", &many).to_string(),
            "300 different texts, more than 253, mostly numbers but not '1,5'"
        );
    }

    #[test]
    fn fractions_are_no_identifier_and_few_rows_prove_nothing() {
        let floats: Vec<String> = (0..30).map(|n| format!("{n}.25")).collect();
        let floats: Vec<&str> = floats.iter().map(String::as_str).collect();
        assert_eq!(infer(&floats), Feature::numeric("x"));
        assert_eq!(infer(&["31", "40"]), Feature::integer("x"));
    }

    #[test]
    fn observed_ranges_are_widened_and_stay_finite() {
        let range = |texts: &[&str], margin| {
            let table = table("x", texts);
            let infer = FeatureSchema::infer(&table).ranges(Ranges::Observed { margin });
            infer.build().unwrap().schema().features()[0].clone()
        };
        assert_eq!(range(&["1.5", "2.5"], 0.5), Feature::numeric("x").range(1.0, 3.0));
        assert_eq!(range(&["3", "14"], 0.1), Feature::integer("x").range(1.0, 16.0));
        assert_eq!(range(&["3"], 0.5), Feature::integer("x").range(3.0, 3.0));
        assert_eq!(range(&["0", "1"], 0.5), Feature::integer("x").range(0.0, 1.0));
        let wide = range(&["-1.7e308", "1.7e308"], 9.0);
        assert_eq!(wide, Feature::numeric("x").range(f64::MIN, f64::MAX));
    }

    #[test]
    fn errors_name_what_is_wrong() {
        let table = table("x", &["1"]);
        let infer = || FeatureSchema::infer(&table);
        let message = |infer: Infer<'_>| infer.build().unwrap_err().to_string();
        assert_eq!(message(infer().keep(["y"])), "the table has no column \"y\" to keep");
        let margin = Ranges::Observed { margin: -0.5 };
        let says = "margin -0.5 is not a finite number of at least 0";
        assert_eq!(message(infer().ranges(margin)), says);
        let says = "none of the 1 columns can be a feature: x (as asked)";
        assert_eq!(message(infer().leave_out(["x"])), says);
        let empty = Table::from_rows(["x"], [[""; 1]; 0]).unwrap();
        assert_eq!(message(FeatureSchema::infer(&empty)), "the table has no rows");
        let twice = Table::from_rows(["x", "X"], [["1", "1"]]).unwrap();
        assert!(message(FeatureSchema::infer(&twice)).contains("same name"));
    }

    #[test]
    fn a_proposal_reads_the_table_it_comes_from() {
        let rows = [["1", "a", "x"], ["", "b", "y"], ["2.5", "", "x"]];
        let table = Table::from_rows(["n", "c", "d"], rows).unwrap();
        let inferred = FeatureSchema::infer(&table).build().unwrap();
        let columns = crate::record::Columns::read(inferred.schema(), &table).unwrap();
        let mut out = crate::validate::Violations::new();
        let validator = crate::validate::SchemaValidator::new(Arc::clone(inferred.schema()));
        crate::validate::FeatureValidator::validate_batch(&validator, &columns.batch(), &mut out);
        assert!(out.is_clean());
    }
}
