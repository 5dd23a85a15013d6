//! Production ML monitoring and drift detection. (The crate page follows.)

#![deny(clippy::disallowed_methods)]
#![cfg_attr(
    test,
    allow(
        clippy::cast_precision_loss,
        clippy::disallowed_methods,
        clippy::suboptimal_flops,
        reason = "tests read their data and write formulas as in the books"
    )
)]

pub mod artifact;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
pub mod drift;
pub mod error;
pub mod ledger;
pub mod lifecycle;
pub mod log;
pub mod memory;
pub mod model;
pub mod promote;
pub mod record;
pub mod registry;
pub mod schema;
pub mod time;
pub mod validate;

pub use error::{Error, ErrorKind};
pub use time::{Timestamp, Window};

#[cfg(test)]
mod tests;

// The adapters: a feature, a folder and a module of one name each, and the only lines of the core
// that name them.

#[cfg(feature = "axum")]
#[path = "../adapters/axum/mod.rs"]
pub mod axum;

#[cfg(feature = "csv")]
#[path = "../adapters/csv/mod.rs"]
pub mod csv;

#[cfg(feature = "files")]
#[path = "../adapters/files/mod.rs"]
pub mod files;

#[cfg(feature = "linfa")]
#[path = "../adapters/linfa/mod.rs"]
pub mod linfa;

#[cfg(feature = "sqlite")]
#[path = "../adapters/sqlite/mod.rs"]
pub mod sqlite;

#[cfg(feature = "system")]
#[path = "../adapters/system/mod.rs"]
pub mod system;
