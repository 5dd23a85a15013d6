//! The names of the columns.

use std::collections::HashMap;

use ::csv::StringRecord;

use super::Space;

/// Delimiters that are told apart.
const DELIMITERS: [char; 4] = [',', ';', '\t', '|'];

/// Longest part of a header that an error repeats, in characters.
const SHOWN_CHARS: usize = 60;

/// A name in small letters with underscores between its words.
///
/// ```
/// use pmmds::csv::snake_case;
/// for (name, snake) in [
///     ("SeniorCitizen", "senior_citizen"),
///     ("customerID", "customer_id"),
///     ("StreamingTV", "streaming_tv"),
///     ("HTTPStatus2xx", "http_status2xx"),
///     ("Monthly Charges ($)", "monthly_charges"),
///     ("hours-per.week", "hours_per_week"),
///     ("already_snake", "already_snake"),
/// ] {
///     assert_eq!(snake_case(name), snake);
/// }
/// ```
#[must_use]
pub fn snake_case(name: &str) -> String {
    let chars: Vec<char> = name.chars().collect();
    let mut snake = String::with_capacity(name.len() + 4);
    for (index, c) in chars.iter().enumerate() {
        let before = index.checked_sub(1).map(|before| chars[before]);
        let after = chars.get(index + 1);
        let begins_word = c.is_uppercase()
            && before.is_some_and(|before| {
                before.is_lowercase()
                    || before.is_numeric()
                    || (before.is_uppercase() && after.is_some_and(|after| after.is_lowercase()))
            });
        if (begins_word || !c.is_alphanumeric()) && !snake.is_empty() && !snake.ends_with('_') {
            snake.push('_');
        }
        if c.is_alphanumeric() {
            snake.extend(c.to_lowercase());
        }
    }
    snake.truncate(snake.trim_end_matches('_').len());
    snake
}

/// The names in the first row, if it is one of names.
pub(super) fn header(record: &StringRecord, delimiter: u8) -> Result<Vec<String>, String> {
    let names: Vec<String> = record.iter().map(str::to_owned).collect();
    if let [name] = names.as_slice() {
        let other = |c: &char| *c != char::from(delimiter) && name.contains(*c);
        if let Some(other) = DELIMITERS.iter().find(|c| other(c)) {
            let shown: String = name.chars().take(SHOWN_CHARS).collect();
            return Err(format!("the header is one column '{shown}': is the delimiter {other:?}?"));
        }
    }
    let number = |name: &String| name.trim().parse::<f64>().is_ok();
    // A table of numbers whose columns are numbered is one with a header all the same.
    let numbered = || names.iter().enumerate().all(|(index, name)| *name == index.to_string());
    if names.iter().all(number) && !numbered() {
        let first = &names[0];
        return Err(format!(
            "the first row is all numbers, beginning with {first}: is the header missing? \
             give the columns names with `Reader::names`"
        ));
    }
    Ok(names)
}

/// The names as the table has them: each there, and no two alike.
pub(super) fn columns(
    names: Vec<String>,
    space: Space,
    rename: Option<fn(&str) -> String>,
) -> Result<Vec<String>, String> {
    let mut columns: Vec<String> = Vec::with_capacity(names.len());
    let mut known: HashMap<String, usize> = HashMap::with_capacity(names.len());
    for (index, name) in names.iter().enumerate() {
        let column = match space {
            Space::Trim => name.trim(),
            Space::Keep => name,
        };
        let column = rename.map_or_else(|| column.to_owned(), |rename| rename(column));
        if column.is_empty() {
            return Err(format!(
                "column {index} has no name: an index that was written with the table? \
                 name it, or write the file without it"
            ));
        }
        if let Some(first) = known.insert(column.clone(), index) {
            let (one, two) = (&names[first], name);
            return Err(format!(
                "columns {first} and {index} are both called {column:?} (in the file {one:?} and {two:?})"
            ));
        }
        columns.push(column);
    }
    Ok(columns)
}
