//! The flows over the traits: serve, monitor, retrain, promote, roll back. No store is named here.
//!
//! | flow | type | steps |
//! |---|---|---|
//! | serve | [`load`] -> [`ServingModel`] | resolve alias, fetch by version, verify, swap |
//! | monitor | [`Monitor`] | window counts, detect, drift run on record, alert |
//! | retrain | [`Retraining`] | labelled traffic, validate, fit, register, compare, decide |
//! | promote | [`Promotion`] | intended, alias, read back, done; roll back; reconcile |
//!
//! All of them are safe to kill at any moment and to start again: leases keep others out, ids are
//! fixed before the first attempt, and what is on record tells where to go on. They take their
//! time and ids from the stores and an [`Environment`].

mod environment;
mod holdout;
mod monitor;
mod promote;
mod retrain;
mod serving;

pub use environment::Environment;
pub use holdout::{Holdout, Side};
pub use monitor::{AlertRules, Monitor, MonitorRun};
pub use promote::{PINNED_TAG, Promotion};
pub use retrain::{RetrainRequest, RetrainSettings, Retrained, Retraining};
pub use serving::{ServingModel, check_same_schema, load};
