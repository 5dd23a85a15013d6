//! The small JSON objects of the admin routes.

use serde::de::DeserializeOwned;

use super::problem::Detail;
use super::request::{Object, misshapen, readable};

/// The object in `body`, or what is wrong with it.
pub(super) fn object<T: DeserializeOwned>(body: &[u8]) -> Result<T, Detail> {
    let read: Result<Object<T>, _> = serde_json::from_str(readable(body)?);
    read.map(|Object(read)| read).map_err(|error| misshapen(&error))
}
