//! What can be wrong with a value, and the collector of everything that is.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use serde::{Deserialize, Serialize};

use crate::schema::{Feature, FeatureId, FeatureKind, FeatureSchema, is_deceptive};

/// Longest part of an offending value that is repeated to the caller, in characters.
const EXCERPT_CHARS: usize = 64;

/// What stands where a value would.
const NOT_SHOWN: &str = "(not shown)";

/// Most levels that a message lists.
const LISTED_LEVELS: usize = 20;

/// A rule that a value can break. [`code`](Self::code) is stable: it is stored, counted and sent.
///
/// ```
/// use pmmds::validate::Rule;
/// assert_eq!(Rule::OutOfRange.code(), "out_of_range");
/// assert!(Rule::UnknownFeature.is_warning());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Rule {
    /// The feature is not there.
    MissingFeature,
    /// The value is null, and the feature is not nullable.
    Null,
    /// A categorical value outside the levels.
    InvalidCategory,
    /// Not a number.
    NotANumber,
    /// Not a text, where one of the levels is expected.
    NotAString,
    /// A number with a fraction, where a whole one is expected.
    NotAnInteger,
    /// A number outside the allowed range, or too large to be held exactly.
    OutOfRange,
    /// The same feature twice in one row.
    DuplicateFeature,
    /// A feature that the schema does not know. A warning.
    UnknownFeature,
}

impl Rule {
    /// The stable name of the rule, such as `"out_of_range"`.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::MissingFeature => "missing_feature",
            Self::Null => "null",
            Self::InvalidCategory => "invalid_category",
            Self::NotANumber => "not_a_number",
            Self::NotAString => "not_a_string",
            Self::NotAnInteger => "not_an_integer",
            Self::OutOfRange => "out_of_range",
            Self::DuplicateFeature => "duplicate_feature",
            Self::UnknownFeature => "unknown_feature",
        }
    }

    /// Whether breaking the rule is only worth a warning.
    #[must_use]
    pub fn is_warning(self) -> bool {
        matches!(self, Self::UnknownFeature)
    }
}

/// One broken rule: which feature, which row, what the value was, what was expected.
///
/// ```
/// use pmmds::record::decode_row;
/// use pmmds::schema::{Feature, FeatureSchema};
/// use pmmds::validate::{Rule, Violations};
/// let schema = FeatureSchema::new([Feature::integer("tenure")])?;
/// let mut out = Violations::new();
/// decode_row(&schema, br#"{"tenure": "twelve"}"#, &mut out)?;
/// let violation = out.errors().next().unwrap();
/// assert_eq!((violation.rule(), violation.feature()), (Rule::NotANumber, "tenure"));
/// assert_eq!((violation.value(), violation.row()), (Some("'twelve'"), None));
/// assert_eq!(violation.message(), "Invalid value for tenure: 'twelve'. Must be a number");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    rule: Rule,
    // as the sender spelled it, at most EXCERPT_CHARS characters where the schema does not know it
    feature: String,
    // row number from 0, for a batch
    row: Option<u64>,
    // what the sender sent, shortened; absent for sensitive features
    value: Option<String>,
    message: String,
}

impl Violation {
    /// `feature` broke `rule` with `value` (as the sender wrote it, in quotes if it was a text).
    pub(crate) fn of(rule: Rule, feature: &Feature, value: Option<&dyn fmt::Display>) -> Self {
        let value = value.filter(|_| !feature.is_sensitive()).map(excerpt);
        let name = feature.name();
        let message = match rule {
            Rule::MissingFeature => format!("Missing required feature: {name}"),
            Rule::DuplicateFeature => format!("Duplicate feature: {name}"),
            _ => {
                let shown = value.as_deref().unwrap_or(NOT_SHOWN);
                format!("Invalid value for {name}: {shown}. {}", expectation(rule, feature))
            }
        };
        Self { rule, feature: name.to_owned(), row: None, value, message }
    }

    /// The schema knows no feature called `name`, which broke `rule`: unknown, or duplicate.
    pub(crate) fn unknown(rule: Rule, name: &str) -> Self {
        let feature = excerpt(name);
        let message = match rule {
            Rule::DuplicateFeature => format!("Duplicate feature: {feature}"),
            _ => format!("Unknown feature: {feature}"),
        };
        Self { rule, feature, row: None, value: None, message }
    }

    pub(crate) fn at_row(mut self, row: usize) -> Self {
        self.row = Some(row as u64);
        self
    }

    /// The rule.
    #[must_use]
    pub fn rule(&self) -> Rule {
        self.rule
    }

    /// Name of the feature.
    #[must_use]
    pub fn feature(&self) -> &str {
        &self.feature
    }

    /// Row number from 0 in a batch; `None` for a single row.
    #[must_use]
    pub fn row(&self) -> Option<u64> {
        self.row
    }

    /// The first 64 characters of the offending value, texts in quotes, control characters and
    /// others that change how text is shown written as escapes. `None` where there is none, or
    /// where the feature is sensitive.
    #[must_use]
    pub fn value(&self) -> Option<&str> {
        self.value.as_deref()
    }

    /// One sentence for a person, without the row number.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The same sentence without the value, for those who may not see what was sent.
    ///
    /// ```
    /// use pmmds::record::decode_row;
    /// use pmmds::schema::{Feature, FeatureSchema};
    /// use pmmds::validate::Violations;
    /// let schema = FeatureSchema::new([Feature::integer("tenure")])?;
    /// let mut out = Violations::new();
    /// decode_row(&schema, br#"{"tenure": "Jane Doe"}"#, &mut out)?;
    /// let message = out.errors().next().unwrap().message_without_value();
    /// assert_eq!(message, "Invalid value for tenure: (not shown). Must be a number");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn message_without_value(&self) -> Cow<'_, str> {
        let Some(value) = &self.value else { return Cow::Borrowed(&self.message) };
        let begin = format!("Invalid value for {}: ", self.feature);
        let rest = self.message.strip_prefix(&begin).and_then(|rest| rest.strip_prefix(&**value));
        match rest {
            Some(rest) => Cow::Owned(format!("{begin}{NOT_SHOWN}{rest}")),
            None => Cow::Borrowed(&self.message),
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.row {
            Some(row) => write!(f, "Row {row}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

/// `value` as it is repeated to people: shortened, with control characters escaped. However long
/// the value is, no more of it is copied than is shown.
pub(crate) fn excerpt(value: impl fmt::Display) -> String {
    struct Excerpt {
        text: String,
        // characters that still fit
        left: usize,
    }

    impl fmt::Write for Excerpt {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            for c in text.chars() {
                if self.left == 0 {
                    self.text.push('\u{2026}');
                    return Err(fmt::Error);
                }
                self.left -= 1;
                if is_deceptive(c) {
                    self.text.extend(c.escape_default());
                } else {
                    self.text.push(c);
                }
            }
            Ok(())
        }
    }

    let mut excerpt = Excerpt { text: String::new(), left: EXCERPT_CHARS };
    // The only error is the one above, which ends the copying.
    let _ = write!(excerpt, "{value}");
    excerpt.text
}

/// `number` in as few digits as say which it is; very large and very small ones with an exponent.
pub(crate) fn shown(number: f64) -> String {
    match number.abs() {
        size if size.is_finite() && (size >= 1e16 || (size > 0.0 && size < 1e-5)) => {
            format!("{number:e}")
        }
        _ => number.to_string(),
    }
}

fn expectation(rule: Rule, feature: &Feature) -> String {
    match feature.kind() {
        FeatureKind::Categorical { levels, .. } => {
            let mut text = String::from("Expected one of: ");
            text.push_str(&levels[..levels.len().min(LISTED_LEVELS)].join(", "));
            if levels.len() > LISTED_LEVELS {
                let _ = write!(text, ", ... ({} in all)", levels.len());
            }
            text
        }
        FeatureKind::Numeric { min, max, integer } => {
            let what = if *integer { "an integer" } else { "a number" };
            match (rule, min.map(shown), max.map(shown)) {
                (Rule::NotANumber | Rule::Null, ..) => "Must be a number".to_owned(),
                (Rule::NotAnInteger, ..) => "Must be an integer".to_owned(),
                (_, Some(min), Some(max)) => format!("Must be {what} between {min} and {max}"),
                (_, Some(min), None) => format!("Must be {what} of at least {min}"),
                (_, None, Some(max)) => format!("Must be {what} of at most {max}"),
                (_, None, None) => format!("Must be {what} between -2^53 and 2^53"),
            }
        }
    }
}

/// Everything that was wrong with one row or one batch.
///
/// Counts are exact; of the violations themselves the first [`limit`](Self::with_limit) errors and
/// as many warnings are kept, in the order in which they were found (of a batch: column by
/// column), so that hostile input cannot fill the memory. Nothing is allocated until something is
/// wrong.
///
/// ```
/// use pmmds::record::decode_row;
/// use pmmds::schema::{Feature, FeatureSchema};
/// use pmmds::validate::{Rule, Violations};
///
/// let schema = FeatureSchema::new([
///     Feature::integer("tenure"),
///     Feature::categorical("contract", ["Month-to-month", "One year", "Two year"]),
/// ])?;
/// let mut violations = Violations::new();
/// decode_row(&schema, br#"{"contract": "Annual"}"#, &mut violations)?;
/// let errors: Vec<&str> = violations.errors().map(|v| v.message()).collect();
/// assert_eq!(errors, [
///     "Missing required feature: tenure",
///     "Invalid value for contract: 'Annual'. Expected one of: Month-to-month, One year, Two year",
/// ]);
/// assert_eq!(violations.count(Rule::MissingFeature), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violations {
    // most errors and most warnings in the two lists below
    limit: usize,
    errors: Vec<Violation>,
    warnings: Vec<Violation>,
    // exact, by feature (None: unknown to the schema) and rule
    counts: BTreeMap<(Option<FeatureId>, Rule), u64>,
}

impl Violations {
    /// Most errors, and most warnings, that are kept unless told otherwise.
    pub const DEFAULT_LIMIT: usize = 1_000;

    /// An empty collector.
    #[must_use]
    pub fn new() -> Self {
        Self::with_limit(Self::DEFAULT_LIMIT)
    }

    /// An empty collector that keeps at most `limit` errors and `limit` warnings.
    ///
    /// ```
    /// use pmmds::record::decode_row;
    /// use pmmds::schema::{Feature, FeatureSchema};
    /// use pmmds::validate::Violations;
    /// let schema = FeatureSchema::new([Feature::numeric("x"), Feature::numeric("y")])?;
    /// let mut out = Violations::with_limit(1);
    /// decode_row(&schema, b"{}", &mut out)?;
    /// assert_eq!((out.errors().len(), out.error_count()), (1, 2));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn with_limit(limit: usize) -> Self {
        Self { limit, errors: Vec::new(), warnings: Vec::new(), counts: BTreeMap::new() }
    }

    pub(crate) fn push(
        &mut self,
        id: Option<FeatureId>,
        make: impl FnOnce() -> Violation,
        rule: Rule,
    ) {
        *self.counts.entry((id, rule)).or_default() += 1;
        let list = if rule.is_warning() { &mut self.warnings } else { &mut self.errors };
        if list.len() < self.limit {
            list.push(make());
        }
    }

    /// Puts errors into the order of rows and of the schema's features, so that the same row
    /// always gives the same list, whatever order its keys came in. Features that the schema does
    /// not know come last.
    pub(crate) fn sort_by_schema(&mut self, schema: &FeatureSchema) {
        let place = |feature: &str| schema.id(feature).map_or(usize::MAX, FeatureId::index);
        self.errors.sort_by_cached_key(|v| (v.row, place(&v.feature)));
    }

    /// Whether there are no errors. There may be warnings.
    ///
    /// ```
    /// use pmmds::record::decode_row;
    /// use pmmds::schema::{Feature, FeatureSchema};
    /// use pmmds::validate::Violations;
    /// let schema = FeatureSchema::new([Feature::numeric("x")])?;
    /// let mut out = Violations::new();
    /// decode_row(&schema, br#"{"x": 1, "colour": "red"}"#, &mut out)?;
    /// assert!(out.is_valid() && !out.is_clean());
    /// assert_eq!((out.error_count(), out.warning_count()), (0, 1));
    /// assert_eq!(out.counts().count(), 1);
    /// out.clear();
    /// assert!(out.is_clean());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.counts.keys().all(|(_, rule)| rule.is_warning())
    }

    /// Whether there are neither errors nor warnings.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.counts.is_empty()
    }

    /// The errors that were kept, by row and in schema order.
    pub fn errors(&self) -> impl ExactSizeIterator<Item = &Violation> {
        self.errors.iter()
    }

    /// The warnings that were kept, in the order in which they were found.
    pub fn warnings(&self) -> impl ExactSizeIterator<Item = &Violation> {
        self.warnings.iter()
    }

    /// How many times `rule` was broken, kept or not.
    #[must_use]
    pub fn count(&self, rule: Rule) -> u64 {
        self.counts.iter().filter(|((_, r), _)| *r == rule).map(|(_, n)| n).sum()
    }

    /// Exact counts by feature and rule; the feature is `None` where the schema knows none.
    pub fn counts(&self) -> impl Iterator<Item = (Option<FeatureId>, Rule, u64)> + '_ {
        self.counts.iter().map(|((id, rule), n)| (*id, *rule, *n))
    }

    /// Exact number of errors.
    #[must_use]
    pub fn error_count(&self) -> u64 {
        self.counts.iter().filter(|((_, rule), _)| !rule.is_warning()).map(|(_, n)| n).sum()
    }

    /// Exact number of warnings.
    #[must_use]
    pub fn warning_count(&self) -> u64 {
        self.counts.iter().filter(|((_, rule), _)| rule.is_warning()).map(|(_, n)| n).sum()
    }

    /// Forgets everything and keeps the memory, for the next row.
    pub fn clear(&mut self) {
        self.errors.clear();
        self.warnings.clear();
        self.counts.clear();
    }
}

impl Default for Violations {
    fn default() -> Self {
        Self::new()
    }
}
