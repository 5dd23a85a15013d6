//! Pages of a list, and the cursors between them.

use ::axum::extract::Query;
use ::axum::extract::rejection::QueryRejection;
use ::axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::super::problem::Problem;
use crate::Timestamp;
use crate::log::{Cursor, Page};

/// Items of a page unless asked otherwise, and at most.
const USUAL: usize = 50;
pub(in super::super) const MOST: usize = 500;

/// Added to a time, so that it is positive.
const SHIFT: i64 = 1 << 59;

/// Digits of a cursor: eight bytes of time, sixteen of an id.
const TIME_DIGITS: usize = 16;
const DIGITS: usize = TIME_DIGITS + 32;

/// What every cursor that can be read looks like: the first digits keep its time within the years
/// that there are.
pub(in super::super) const PATTERN: &str = "^0[3-9a][0-9a-f]{46}$";

/// The query of a list.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in super::super) struct Asked {
    limit: Option<String>,
    cursor: Option<String>,
    state: Option<String>,
}

/// The same, checked.
#[derive(Debug, PartialEq)]
pub(super) struct Wanted {
    pub(super) limit: usize,
    pub(super) before: Option<Cursor>,
    pub(super) open_only: bool,
}

pub(in super::super) type Sent = Result<Query<Asked>, QueryRejection>;

/// Reads the query of a list, or says what is wrong with it.
pub(super) fn wanted(sent: Sent) -> Result<Wanted, Problem> {
    let bad = |code, message: String| Problem::new(StatusCode::BAD_REQUEST, code, message);
    let Query(Asked { limit, cursor, state }) =
        sent.map_err(|error| bad("invalid_query", format!("The query: {}", error.body_text())))?;
    let limit = match limit.as_deref().map(str::parse) {
        None => USUAL,
        Some(Ok(limit)) if (1..=MOST).contains(&limit) => limit,
        Some(_) => {
            return Err(bad("invalid_limit", format!("limit must be a number from 1 to {MOST}")));
        }
    };
    let read = |text: String| {
        read_cursor(&text).ok_or_else(|| {
            let message = "cursor must be the next of another page, as it was given";
            bad("invalid_cursor", message.to_owned())
        })
    };
    let before = cursor.map(read).transpose()?;
    let open_only = match state.as_deref() {
        None | Some("all") => false,
        Some("open") => true,
        Some(_) => return Err(bad("invalid_state", "state must be open or all".to_owned())),
    };
    Ok(Wanted { limit, before, open_only })
}

/// A page as it is sent.
#[derive(Debug, Serialize)]
pub(super) struct Listed<T> {
    items: Vec<T>,
    // null at the end
    next: Option<String>,
}

impl<T> Listed<T> {
    pub(super) fn of<U>(page: Page<U>, shown: impl FnMut(U) -> T) -> Self {
        let next = page.next.map(write_cursor);
        Self { items: page.items.into_iter().map(shown).collect(), next }
    }
}

fn write_cursor(Cursor { at, id }: Cursor) -> String {
    let time = at.as_micros().saturating_add(SHIFT);
    format!("{time:0TIME_DIGITS$x}{}", id.simple())
}

fn read_cursor(text: &str) -> Option<Cursor> {
    let digit = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
    if text.len() != DIGITS || !text.bytes().all(digit) {
        return None;
    }
    let (time, id) = text.split_at(TIME_DIGITS);
    let micros = i64::from_str_radix(time, 16).ok()?.checked_sub(SHIFT)?;
    let at = Timestamp::from_micros(micros).ok()?;
    let id = Uuid::parse_str(id).ok()?;
    Some(Cursor { at, id })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(query: &str) -> Result<Wanted, Problem> {
        let uri = format!("/?{query}").parse().unwrap();
        wanted(Query::try_from_uri(&uri))
    }

    #[test]
    fn a_cursor_reads_back_and_nothing_else_does() {
        for at in ["1969-07-20T20:17:40Z", "2026-03-01T12:00:00.000001Z", "9999-12-30T00:00:00Z"] {
            let cursor = Cursor { at: at.parse().unwrap(), id: Uuid::from_u128(7) };
            let text = write_cursor(cursor);
            assert_eq!(read_cursor(&text), Some(cursor), "{text}");
            assert_eq!(read_cursor(&text.to_uppercase()), None, "one spelling");
            assert_eq!(read_cursor(&text[1..]), None);
        }
        // The pattern of the document keeps what it promises.
        for first in ["03", "0a"] {
            assert!(read_cursor(&format!("{first}{}", "0".repeat(46))).is_some());
            assert!(read_cursor(&format!("{first}{}", "f".repeat(46))).is_some());
        }
        let long = "0".repeat(1_000_000);
        for bad in ["", "' OR 1=1 --", "ü", &"f".repeat(48), &"+".repeat(48), long.as_str()] {
            assert_eq!(read_cursor(bad), None, "{}", bad.len());
        }
    }

    #[test]
    fn a_limit_is_a_number_within_bounds() {
        assert_eq!(asked("").unwrap().limit, USUAL);
        assert_eq!(asked("limit=500&state=open&other=1").unwrap().limit, 500);
        for bad in ["limit=0", "limit=501", "limit=-1", "limit=1e2", "limit=", "limit=1&limit=2"] {
            assert!(asked(bad).is_err(), "{bad}");
        }
        assert!(asked("state=closed").is_err() && asked("cursor=abc").is_err());
    }
}
