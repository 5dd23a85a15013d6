//! Just enough of a Rust reader for the layering rules: tokens with their lines, and the paths they form.
//!
//! It works on text, not on compiled code, because code behind a feature or a `cfg` that is off on
//! this machine has to keep the rules too.

use std::collections::BTreeSet;

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    Ident(String),
    /// A string literal, without its quotes.
    Str(String),
    /// `::` is one token, every other sign is one character.
    Sign(&'static str),
    Other(char),
}

#[derive(Debug, Clone)]
pub(crate) struct Token {
    pub(crate) line: usize,
    pub(crate) kind: Kind,
}

impl Token {
    pub(crate) fn ident(&self) -> Option<&str> {
        match &self.kind {
            Kind::Ident(name) => Some(name),
            _ => None,
        }
    }

    pub(crate) fn is(&self, sign: &str) -> bool {
        match &self.kind {
            Kind::Sign(s) => *s == sign,
            Kind::Other(c) => sign.chars().eq([*c]),
            Kind::Ident(name) => name == sign,
            Kind::Str(_) => false,
        }
    }
}

/// A path such as `std::fs::read`, also when it comes out of a `use a::{b, c}` group.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Path {
    pub(crate) line: usize,
    pub(crate) segments: Vec<String>,
    /// It stands in a `use` or `extern crate`, where one segment alone already names a crate.
    pub(crate) import: bool,
}

/// The tokens of a file; comments (doc comments too) are dropped.
pub(crate) fn tokens(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let at = |i: usize| chars.get(i).copied().unwrap_or('\0');
    let (mut out, mut i, mut line) = (Vec::new(), 0, 1);
    while i < chars.len() {
        let c = chars[i];
        let start = i;
        let kind = if c == '/' && at(i + 1) == '/' {
            while i < chars.len() && at(i) != '\n' {
                i += 1;
            }
            None
        } else if c == '/' && at(i + 1) == '*' {
            let mut depth = 0;
            loop {
                if at(i) == '/' && at(i + 1) == '*' {
                    (depth, i) = (depth + 1, i + 2);
                } else if at(i) == '*' && at(i + 1) == '/' {
                    (depth, i) = (depth - 1, i + 2);
                } else {
                    i += 1;
                }
                if depth == 0 || i >= chars.len() {
                    break;
                }
            }
            None
        } else if let Some((content, end)) = string_at(&chars, i) {
            i = end;
            Some(Kind::Str(content))
        } else if c.is_alphanumeric() || c == '_' {
            while at(i).is_alphanumeric() || at(i) == '_' {
                i += 1;
            }
            Some(Kind::Ident(chars[start..i].iter().collect()))
        } else if c == '\'' {
            // A character ('a', '\n', '"') or a lifetime ('a without a closing quote).
            if at(i + 1) == '\\' {
                i += 3;
                while i < chars.len() && at(i) != '\'' {
                    i += 1;
                }
                i += 1;
            } else if at(i + 2) == '\'' {
                i += 3;
            } else {
                i += 1;
            }
            None
        } else if c == ':' && at(i + 1) == ':' {
            i += 2;
            Some(Kind::Sign("::"))
        } else {
            i += 1;
            (!c.is_whitespace()).then_some(Kind::Other(c))
        };
        if let Some(kind) = kind {
            out.push(Token { line, kind });
        }
        line += chars[start..i.min(chars.len())].iter().filter(|&&c| c == '\n').count();
    }
    out
}

/// A plain, byte, C or raw string that starts at `i`: its content and the index behind it.
fn string_at(chars: &[char], i: usize) -> Option<(String, usize)> {
    let at = |i: usize| chars.get(i).copied().unwrap_or('\0');
    let mut open = i;
    if matches!(at(open), 'b' | 'c') {
        open += 1;
    }
    let raw = at(open) == 'r';
    if raw {
        open += 1;
    }
    let mut hashes = 0;
    while raw && at(open) == '#' {
        (hashes, open) = (hashes + 1, open + 1);
    }
    if at(open) != '"' {
        return None;
    }
    let mut end = open + 1;
    while end < chars.len() {
        if !raw && at(end) == '\\' {
            end += 2;
        } else if at(end) == '"' && (1..=hashes).all(|k| at(end + k) == '#') {
            break;
        } else {
            end += 1;
        }
    }
    let content = chars[open + 1..end.min(chars.len())].iter().collect();
    Some((content, (end + 1 + hashes).min(chars.len())))
}

/// The tokens without the items under `#[cfg(test)]` or `#[cfg(all(test, ..))]`.
pub(crate) fn without_tests(tokens: &[Token]) -> Vec<Token> {
    let mut out = Vec::new();
    let mut i = 0;
    while i < tokens.len() {
        let Some(end) = test_attribute(&tokens[i..]) else {
            out.push(tokens[i].clone());
            i += 1;
            continue;
        };
        i += end;
        while tokens.get(i).is_some_and(|t| t.is("#")) {
            i += 1 + group_len(&tokens[i + 1..]);
        }
        // The item ends with a `;`, or with its first group in braces.
        while let Some(token) = tokens.get(i) {
            let braces = token.is("{");
            i += group_len(&tokens[i..]);
            if braces || token.is(";") {
                break;
            }
        }
    }
    out
}

/// The length of a `#[cfg(test)]` that starts here.
fn test_attribute(tokens: &[Token]) -> Option<usize> {
    let starts = |signs: &[&str]| {
        tokens.len() > signs.len() && signs.iter().zip(tokens).all(|(s, t)| t.is(s))
    };
    let test = starts(&["#", "[", "cfg", "(", "test", ")"])
        || starts(&["#", "[", "cfg", "(", "all", "(", "test"]);
    test.then(|| 1 + group_len(&tokens[1..]))
}

/// The length of the bracketed group that starts here; 1 if none does.
fn group_len(tokens: &[Token]) -> usize {
    let mut depth = 0_usize;
    for (i, token) in tokens.iter().enumerate() {
        if ["(", "[", "{"].iter().any(|s| token.is(s)) {
            depth += 1;
        } else if [")", "]", "}"].iter().any(|s| token.is(s)) {
            depth = depth.saturating_sub(1);
        }
        if depth == 0 {
            return i + 1;
        }
    }
    tokens.len().max(1)
}

/// Every path of the code, with `use` groups spelled out.
pub(crate) fn paths(tokens: &[Token]) -> Vec<Path> {
    let mut out = Vec::new();
    let mut i = 0;
    while i < tokens.len() {
        let token = &tokens[i];
        if token.is("use") {
            i = import(tokens, i + 1, &[], &mut out);
        } else if token.is("extern") && tokens.get(i + 1).is_some_and(|t| t.is("crate")) {
            i = import(tokens, i + 2, &[], &mut out);
        } else if token.ident().is_some() {
            let (line, mut segments) = (token.line, Vec::new());
            while let Some(name) = tokens.get(i).and_then(Token::ident) {
                segments.push(name.to_owned());
                i += 1;
                let goes_on = tokens.get(i).is_some_and(|t| t.is("::"))
                    && tokens.get(i + 1).is_some_and(|t| t.ident().is_some());
                if !goes_on {
                    break;
                }
                i += 1;
            }
            out.push(Path { line, segments, import: false });
        } else {
            i += 1;
        }
    }
    out
}

/// One tree of a `use`, from `i`; gives the index behind it.
fn import(tokens: &[Token], mut i: usize, prefix: &[String], out: &mut Vec<Path>) -> usize {
    let mut segments = prefix.to_vec();
    let line = tokens.get(i).map_or(0, |t| t.line);
    while let Some(token) = tokens.get(i) {
        if token.is("{") {
            i += 1;
            while tokens.get(i).is_some_and(|t| !t.is("}")) {
                let before = i;
                i = import(tokens, i, &segments, out);
                if i == before || tokens.get(i).is_some_and(|t| t.is(",")) {
                    i += 1;
                }
            }
            return i + 1;
        }
        match token.ident() {
            Some("as") => i += 1, // the next token is only a new name
            Some(name) => segments.push(name.to_owned()),
            None if token.is("::") => {}
            None if token.is("*") => segments.push("*".to_owned()),
            None => break,
        }
        i += 1;
    }
    out.push(Path { line, segments, import: true });
    i
}

/// How many modules down from the crate root a file is: `src/lib.rs` 0, `src/log.rs` and
/// `src/drift/mod.rs` 1, `src/drift/psi.rs` 2; so many `super` lead to the root.
pub(crate) fn depth(file: &str) -> usize {
    let parts = file.split('/').count() - 1;
    match file.rsplit('/').next() {
        Some("lib.rs") => 0,
        Some("mod.rs") => parts - 1,
        _ => parts,
    }
}

/// The name that a path gives at the root of this crate: `drift` in `crate::drift::Psi`.
pub(crate) fn root_name(path: &Path, depth: usize) -> Option<&str> {
    let supers = path.segments.iter().take_while(|s| *s == "super").count();
    match path.segments.first()?.as_str() {
        "crate" | "pmmds" => path.segments.get(1).map(String::as_str),
        "super" if supers >= depth => path.segments.get(supers).map(String::as_str),
        "self" if depth == 0 => path.segments.get(1).map(String::as_str),
        name if depth == 0 && (path.import || path.segments.len() > 1) => Some(name),
        _ => None,
    }
}

/// The crate that a path may come from: its first segment, where it can be one.
pub(crate) fn crate_name<'a>(path: &'a Path, known: &BTreeSet<String>) -> Option<&'a str> {
    let first = path.segments.first()?;
    ((path.import || path.segments.len() > 1) && known.contains(first)).then_some(first.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(text: &str) -> Vec<String> {
        paths(&tokens(text)).into_iter().map(|p| p.segments.join("::")).collect()
    }

    #[test]
    fn comments_strings_and_characters_hide_no_code_and_are_none() {
        let text = "// a::b\n/* c /* d::e */ */ '\"' r#\"f::g \" \"#; \"h::\\\"i\"; '\\'' &'a j::k";
        assert_eq!(joined(text), ["a", "j::k"]);
        assert_eq!(tokens("/*\n\n*/ x \"\n\" y").last().map(|t| t.line), Some(4));
    }

    #[test]
    fn groups_are_spelled_out() {
        let text = "use std::{fs::{self, File}, io as f}; pub use {a, b::*,}; x";
        let want = ["std::fs::self", "std::fs::File", "std::io", "pub", "a", "b::*", "x"];
        assert_eq!(joined(text), want);
    }

    #[test]
    fn only_the_item_under_cfg_test_is_dropped() {
        let text = "#[cfg(test)] use a::b; #[cfg(test)] #[x] mod t { fn f() {} } c::d \
                    #[cfg(any(test, feature = \"y\"))] fn g() { e::f }";
        let left = paths(&without_tests(&tokens(text)));
        let left: Vec<_> = left.iter().filter(|p| p.segments.len() > 1).collect();
        assert_eq!(left.len(), 2);
        assert_eq!(left[0].segments, ["c", "d"]);
        assert_eq!(left[1].segments, ["e", "f"]);
    }

    #[test]
    fn depth_is_the_number_of_supers_to_the_root() {
        for (file, want) in [
            ("src/lib.rs", 0),
            ("src/log.rs", 1),
            ("src/drift/mod.rs", 1),
            ("src/drift/psi.rs", 2),
            ("adapters/csv/mod.rs", 1),
            ("adapters/csv/error.rs", 2),
        ] {
            assert_eq!(depth(file), want, "{file}");
        }
    }
}
