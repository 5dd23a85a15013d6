//! Production ML monitoring and drift detection. (The crate page follows.)

pub mod error;
pub mod model;
pub mod record;
pub mod registry;
pub mod schema;
pub mod time;
pub mod validate;

#[cfg(feature = "csv")]
#[path = "../adapters/csv/mod.rs"]
pub mod csv;

pub use error::{Error, ErrorKind};
pub use time::{Timestamp, Window};
