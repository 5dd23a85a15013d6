//! Production ML monitoring and drift detection. (The crate page follows.)

#![deny(clippy::disallowed_methods)]

pub mod artifact;
pub mod drift;
pub mod error;
pub mod ledger;
pub mod lifecycle;
pub mod log;
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

#[cfg(feature = "axum")]
#[path = "../adapters/axum/mod.rs"]
pub mod axum;

#[cfg(feature = "linfa")]
#[path = "../adapters/linfa/mod.rs"]
pub mod linfa;
