//! Production ML monitoring and drift detection. (The crate page follows.)

pub mod error;
pub mod model;
pub mod promote;
pub mod record;
pub mod registry;
pub mod schema;
pub mod time;
pub mod validate;

pub use error::{Error, ErrorKind};
pub use time::{Timestamp, Window};
