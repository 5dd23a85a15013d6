//! Production ML monitoring and drift detection. (The crate page follows.)

#![deny(clippy::disallowed_methods)]

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
pub mod record;
pub mod registry;
pub mod schema;
pub mod time;
pub mod validate;

#[rustfmt::skip]
#[cfg(feature = "sqlite")] #[path = "../adapters/sqlite/mod.rs"] pub mod sqlite;

pub use error::{Error, ErrorKind};
pub use time::{Timestamp, Window};
