//! The flows over the traits: serve, monitor, retrain, promote, roll back. No store is named here.
//!
//! | flow | type | steps |
//! |---|---|---|
//! | serve | [`load`] -> [`ServingModel`] | resolve alias, fetch by version, verify, swap |
//! | watch replicas | [`SkewRecord`] | one that serves another version than the alias names, alert |
//! | monitor | [`Monitor`] | window counts, detect, drift run on record, alert |
//! | deliver | [`Delivery`] | alerts that are on record and not told, receivers, what came of it on record |
//! | retrain | [`Retraining`] | labelled traffic, validate, fit, register, compare, decide |
//! | promote | [`Promotion`] | intended, alias, read back, done; roll back; reconcile |
//! | all of it | [`Cycle`] | monitor, and retrain and promote if that asks for it |
//!
//! All of them are safe to kill at any moment and to start again: leases keep others out, and what
//! is on record tells where to go on. They take their time and ids from the stores and an
//! [`Environment`].
//!
//! The registry is the truth for *what* is in production, the ledger for *why*. Whenever no flow
//! is under way, what is in production is the challenger of the last decision that is done and
//! changed it; [`Promotion::reconcile`] sees to that after a crash, and also records what somebody
//! else did to the alias.

mod alerts;
mod cycle;
mod deliver;
mod environment;
mod holdout;
mod monitor;
mod promote;
mod retrain;
mod serving;
mod shadow;
mod skew;
#[cfg(test)]
mod tests;
mod turn;

pub use alerts::{AlertRules, open_drift_alert};
pub use cycle::{Answer, Cycle, CycleLook, CycleRun, OnDrift};
pub use deliver::{AlertNotice, AlertSink, Delivery, Told};
pub use environment::Environment;
pub use holdout::{Holdout, Side, TrainedOn};
pub use monitor::{Monitor, MonitorRun};
pub use promote::{PINNED_TAG, Promotion};
pub use retrain::{RetrainRequest, RetrainSettings, Retrained, Retraining};
pub use serving::{ServingModel, check_same_schema, load, load_version, open_version};
pub use shadow::{ShadowComparison, ShadowStats};
pub use skew::{SkewRecord, VersionSkew};
