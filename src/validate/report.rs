//! The verdict on a whole data set, kept with the model that was trained on it.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{FeatureValidator, Rule, Violation, Violations};
use crate::record::Columns;

/// How often one feature broke one rule.
///
/// ```
/// use std::sync::Arc;
/// use pmmds::record::{Columns, Table};
/// use pmmds::schema::{Feature, FeatureSchema};
/// use pmmds::validate::{Rule, SchemaValidator, ValidationReport, Violations};
/// let schema = Arc::new(FeatureSchema::new([Feature::integer("tenure").at_least(0.0)])?);
/// let columns = Columns::read(&schema, &Table::from_rows(["tenure"], [["-1"], ["-2"]])?)?;
/// let report = ValidationReport::of(&SchemaValidator::new(schema), &columns, Violations::new());
/// let [count] = report.counts() else { panic!() };
/// assert_eq!((count.feature.as_deref(), count.rule, count.count), (Some("tenure"), Rule::OutOfRange, 2));
/// assert_eq!((report.rows(), report.errors(), report.warnings()), (2, 2, 0));
/// assert_eq!(report.examples()[0].row(), Some(0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleCount {
    /// name of the feature; `None` for features that the schema does not know
    pub feature: Option<String>,
    /// the rule
    pub rule: Rule,
    /// how many cells broke it, at least 1
    pub count: u64,
}

/// What validation found in a data set: exact counts and the first examples.
///
/// ```
/// use std::sync::Arc;
/// use pmmds::record::{Columns, Table};
/// use pmmds::schema::{Feature, FeatureSchema};
/// use pmmds::validate::{SchemaValidator, ValidationReport, Violations};
///
/// let table = Table::from_rows(["tenure"], [["12"], ["-1"]])?;
/// let schema = Arc::new(FeatureSchema::new([Feature::integer("tenure").range(0.0, 100.0)])?);
/// let mut out = Violations::with_limit(20);
/// let columns = Columns::from_table(&schema, &table, &mut out)?;
/// let report = ValidationReport::of(&SchemaValidator::new(schema), &columns, out);
/// assert!(!report.passed());
/// assert_eq!(
///     report.to_string(),
///     "validation failed: 1 error in 2 rows\n  tenure out_of_range: 1\n  \
///      Row 1: Invalid value for tenure: -1. Must be an integer between 0 and 100\n",
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValidationReport {
    rows: u64,
    errors: u64,
    warnings: u64,
    counts: Vec<RuleCount>,
    examples: Vec<Violation>,
}

impl ValidationReport {
    /// Validates `columns`; `found` holds what was reported while they were read.
    pub fn of(validator: &dyn FeatureValidator, columns: &Columns, mut found: Violations) -> Self {
        validator.validate_batch(&columns.batch(), &mut found);
        let name = |id| validator.schema().get(id).map(|feature| feature.name().to_owned());
        Self {
            rows: columns.rows() as u64,
            errors: found.error_count(),
            warnings: found.warning_count(),
            counts: found
                .counts()
                .map(|(id, rule, count)| RuleCount { feature: id.and_then(name), rule, count })
                .collect(),
            examples: found.errors().cloned().collect(),
        }
    }

    /// Whether there was no error.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.errors == 0
    }

    /// Rows that were looked at.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Exact number of errors.
    #[must_use]
    pub fn errors(&self) -> u64 {
        self.errors
    }

    /// Exact number of warnings.
    #[must_use]
    pub fn warnings(&self) -> u64 {
        self.warnings
    }

    /// Exact counts by feature and rule, in schema order.
    #[must_use]
    pub fn counts(&self) -> &[RuleCount] {
        &self.counts
    }

    /// The first errors.
    #[must_use]
    pub fn examples(&self) -> &[Violation] {
        &self.examples
    }
}

impl fmt::Display for ValidationReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.passed() { "passed" } else { "failed" };
        let s = |count: u64| if count == 1 { "" } else { "s" };
        let Self { errors, warnings, rows, .. } = self;
        write!(f, "validation {verdict}: {errors} error{}", s(*errors))?;
        if *warnings > 0 {
            write!(f, " and {warnings} warning{}", s(*warnings))?;
        }
        writeln!(f, " in {rows} row{}", s(*rows))?;
        for RuleCount { feature, rule, count } in &self.counts {
            let feature = feature.as_deref().unwrap_or("(unknown features)");
            writeln!(f, "  {feature} {}: {count}", rule.code())?;
        }
        self.examples.iter().try_for_each(|example| writeln!(f, "  {example}"))
    }
}
