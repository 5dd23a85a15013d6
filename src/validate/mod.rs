//! Is this row one that the model was made for?
//!
//! The decoder ([`decode_row`](crate::record::decode_row)) reports what cannot be read, the
//! [`FeatureValidator`] what can be read and is not allowed; both report *all* problems into one
//! [`Violations`]. A [`ValidationReport`] is the same for a whole data set, kept with the model.
//!
//! ```
//! use pmmds::record::decode_row;
//! use pmmds::schema::{Feature, FeatureSchema};
//! use pmmds::validate::{FeatureValidator, SchemaValidator, Violations};
//!
//! let schema = FeatureSchema::new([Feature::integer("tenure").range(0.0, 100.0)])?;
//! let validator = SchemaValidator::new(schema);
//! let mut out = Violations::new();
//! let row = decode_row(validator.schema(), br#"{"tenure": 150}"#, &mut out)?;
//! validator.validate(&row, &mut out);
//! let message = out.errors().next().unwrap().message().to_owned();
//! assert_eq!(message, "Invalid value for tenure: 150. Must be an integer between 0 and 100");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod report;
mod schema_validator;
mod violation;

use std::fmt::Debug;
use std::sync::Arc;

pub use report::{RuleCount, ValidationReport};
pub use schema_validator::SchemaValidator;
pub(crate) use violation::excerpt;
pub use violation::{Rule, Violation, Violations};

use crate::record::{Batch, Row};
use crate::schema::FeatureSchema;

/// Judges rows of one schema.
///
/// # Contract
///
/// * Every problem is reported, not only the first; [`Value::Invalid`](crate::record::Value) and
///   cells that were refused on reading are already reported and stay silent.
/// * The same row gives the same violations in the same order.
/// * A clean row allocates nothing.
///
/// # Implementing
///
/// Wrap a [`SchemaValidator`] and add what it cannot know, here that a field is not the sum that
/// it should be. Violations that are no rule of pmmds cannot be made: refuse such rows where you
/// call the model.
///
/// ```
/// use pmmds::record::{Batch, Row};
/// use pmmds::schema::FeatureSchema;
/// use pmmds::validate::{FeatureValidator, SchemaValidator, Violations};
///
/// /// Validates every tenth row of a batch, for a data set that takes too long otherwise.
/// #[derive(Debug)]
/// struct Sampled(SchemaValidator);
///
/// impl FeatureValidator for Sampled {
///     fn schema(&self) -> &FeatureSchema {
///         self.0.schema()
///     }
///     fn validate(&self, row: &Row, out: &mut Violations) {
///         self.0.validate(row, out);
///     }
///     fn validate_batch(&self, batch: &Batch<'_>, out: &mut Violations) {
///         (0..batch.rows()).step_by(10).for_each(|row| self.0.validate(&batch.row(row), out));
///     }
/// }
/// ```
pub trait FeatureValidator: Debug + Send + Sync {
    /// The schema of the rows that it judges.
    fn schema(&self) -> &FeatureSchema;

    /// Reports everything that is wrong with `row`.
    fn validate(&self, row: &Row, out: &mut Violations);

    /// Reports everything that is wrong with the rows of `batch`, each with its row number.
    fn validate_batch(&self, batch: &Batch<'_>, out: &mut Violations);
}

macro_rules! forward {
    ($($wrapper:ty),+) => {$(
        #[deny(clippy::missing_trait_methods)]
        impl<V: FeatureValidator + ?Sized> FeatureValidator for $wrapper {
            fn schema(&self) -> &FeatureSchema {
                (**self).schema()
            }

            fn validate(&self, row: &Row, out: &mut Violations) {
                (**self).validate(row, out);
            }

            fn validate_batch(&self, batch: &Batch<'_>, out: &mut Violations) {
                (**self).validate_batch(batch, out);
            }
        }
    )+};
}

forward!(&V, Box<V>, Arc<V>);

const _: Option<&dyn FeatureValidator> = None;
