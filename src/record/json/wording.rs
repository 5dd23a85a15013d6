//! What is told of a document that cannot be read: its own words are no part of it.

use serde_json::error::Category;

use crate::validate::excerpt;

/// `error` by what it is about, line and column. As `serde_json` words it, it repeats whole values.
pub(super) fn worded(error: &serde_json::Error) -> String {
    let text = error.to_string();
    if error.classify() != Category::Data {
        // These are fixed texts.
        return text;
    }
    let place = format!(" at line {} column {}", error.line(), error.column());
    match text.strip_suffix(&place) {
        Some(text) => format!("{}{place}", of_data(text)),
        None => of_data(&text),
    }
}

/// The message of an error about data without the data.
fn of_data(text: &str) -> String {
    for about in ["invalid type", "invalid value", "invalid length", "unknown variant"] {
        let Some(found) = text.strip_prefix(about) else { continue };
        // `: string "...", expected a list`; the last of it is ours.
        let found = found.split(['"', '`', ',']).next().unwrap_or_default();
        let found = found.trim_end_matches(|c: char| ": ".contains(c) || c.is_ascii_digit());
        let expected = text.rsplit_once(", expected ").map(|(_, what)| what);
        let expected = expected.map(|what| format!(", expected {what}"));
        return format!("{about}{}{}", excerpt(found), expected.unwrap_or_default());
    }
    if let Some(name) = text.strip_prefix("unknown field `") {
        let name = name.split('`').next().unwrap_or_default();
        return format!("unknown field `{}`", excerpt(name));
    }
    // Of names that are ours, or were shortened where they were found.
    let names = ["missing field `", "duplicate field `", "duplicate key ", "too many "];
    if names.iter().any(|begin| text.starts_with(begin)) {
        return excerpt(text);
    }
    "a value that cannot be taken".to_owned()
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::Error;

    use super::worded;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only what cannot be read is looked at")]
    struct Sent {
        list: Vec<u64>,
        at: crate::Timestamp,
        which: Which,
    }

    #[derive(Debug, Deserialize)]
    enum Which {
        One,
    }

    fn told(json: &str) -> String {
        let error: Error = serde_json::from_str::<Sent>(json).unwrap_err();
        worded(&error)
    }

    #[test]
    fn no_value_is_repeated_and_no_name_at_length() {
        for (json, expected) in [
            (r#""canary""#, "invalid type: string, expected struct Sent"),
            (r#"{"list": "a, expected canary"}"#, "invalid type: string, expected a sequence"),
            (r#"{"list": ["c`anary"]}"#, "invalid type: string, expected u64"),
            (r#"{"list": [-7654]}"#, "invalid value: integer, expected u64"),
            (r#"{"list": [76.54]}"#, "invalid type: floating point, expected u64"),
            (r#"{"list": null}"#, "invalid type: null, expected a sequence"),
            (r#"{"at": "canary"}"#, "a value that cannot be taken"),
            (r#"{"which": "canary"}"#, "unknown variant, expected `One`"),
            (r#"{"list": [], "list": []}"#, "duplicate field `list`"),
            ("{}", "missing field `list`"),
            ("{", "EOF while parsing an object"),
            ("{canary", "key must be a string"),
        ] {
            let told = told(json);
            let (what, place) = told.split_once(" at line 1 column ").unwrap();
            assert_eq!(what, expected, "{json}");
            assert!(place.parse::<usize>().is_ok(), "{told}");
        }
        let long = told(&format!(r#"{{"{}": 1}}"#, "x".repeat(10_000)));
        assert!(long.starts_with("unknown field `xxx") && long.len() < 200, "{long}");
    }
}
