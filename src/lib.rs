//! Production ML monitoring and drift detection. (The crate page follows.)

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
pub mod error;
pub mod memory;
pub mod model;
pub mod record;
pub mod registry;
pub mod schema;
pub mod time;
pub mod validate;

#[cfg(feature = "files")]
#[path = "../adapters/files/mod.rs"]
pub mod files;

pub use error::{Error, ErrorKind};
pub use time::{Timestamp, Window};
