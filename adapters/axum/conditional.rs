//! Answers that need not be sent again to who has them: `ETag` and `If-None-Match`.

use ::axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderValue, IF_NONE_MATCH};
use ::axum::http::{HeaderMap, StatusCode};
use ::axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::problem::Problem;
use crate::schema::Fingerprint;

/// `value` as JSON under the hash of its bytes, or 304 for who has just these.
pub(super) fn json<T: Serialize>(headers: &HeaderMap, value: &T) -> Result<Response, Problem> {
    let body = serde_json::to_vec(value).map_err(|error| {
        tracing::error!(%error, "an answer is no JSON");
        Problem::internal("internal", "The answer could not be written")
    })?;
    let tag = format!("\"{}\"", Fingerprint::of_bytes(&body));
    let known = headers
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| matches(value, &tag));
    let mut response = if known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response()
    };
    // Digits and letters in quotes.
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(ETAG, tag);
    }
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(response)
}

/// Whether a value of `If-None-Match` names `tag`, compared weakly as RFC 9110 has it.
fn matches(value: &str, tag: &str) -> bool {
    let value = value.trim();
    // Our tags have no comma in them.
    value == "*" || value.split(',').any(|one| one.trim().trim_start_matches("W/") == tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_found_in_a_list() {
        for (value, found) in [
            ("\"a\"", true),
            (" W/\"a\" ", true),
            ("\"b\", \"a\"", true),
            ("*", true),
            ("a", false),
            ("\"A\"", false),
            ("", false),
        ] {
            assert_eq!(matches(value, "\"a\""), found, "{value}");
        }
    }
}
