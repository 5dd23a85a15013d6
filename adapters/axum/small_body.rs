//! The small JSON objects of the admin routes.

use serde::de::DeserializeOwned;

use super::problem::Detail;
use super::request::{Object, readable};

/// The object in `body`, or what is wrong with it.
pub(super) fn object<T: DeserializeOwned>(body: &[u8]) -> Result<T, Detail> {
    let invalid = |why: String| Detail::new("", "invalid_json", format!("Invalid JSON: {why}"));
    let text = readable(body).map_err(invalid)?;
    let read: Result<Object<T>, _> = serde_json::from_str(text);
    read.map(|Object(read)| read).map_err(|error| invalid(error.to_string()))
}
