//! The short way through a document in which nothing is wrong.

use std::str;

use crate::record::number::{Scanned, read_number, scan_number};
use crate::record::{Row, Value};
use crate::schema::{Feature, FeatureId, FeatureKind, FeatureSchema, LevelId, Unlisted};

/// Reads `json`, all of it, into `row`, which must be one of `schema`, without allocating.
///
/// Says no where there is anything to report, or a text with escapes: the long way reads those,
/// from the beginning, and says what is wrong. Whatever this way takes, the long way would have
/// read to the same row and reported nothing.
pub(super) fn read_plain(schema: &FeatureSchema, json: &[u8], row: &mut Row) -> bool {
    // Marks what is still to come: no value of a clean document is `Invalid`.
    row.fill(Value::Invalid);
    let mut source = Source { json, at: 0 };
    source.object(schema, row).is_some() && source.white_space().is_none()
}

struct Source<'a> {
    json: &'a [u8],
    // of the next byte
    at: usize,
}

impl Source<'_> {
    /// The next byte that is no white space; it stays.
    fn white_space(&mut self) -> Option<u8> {
        loop {
            match self.json.get(self.at) {
                Some(b' ' | b'\n' | b'\t' | b'\r') => self.at += 1,
                byte => return byte.copied(),
            }
        }
    }

    /// Takes `byte`, after white space, or says no.
    fn take(&mut self, byte: u8) -> Option<()> {
        (self.white_space()? == byte).then(|| self.at += 1)
    }

    fn object(&mut self, schema: &FeatureSchema, row: &mut Row) -> Option<()> {
        self.take(b'{')?;
        // A schema has at least one feature.
        for next in 0..schema.len() {
            if next > 0 {
                self.take(b',')?;
            }
            self.take(b'"')?;
            let name = self.text()?;
            let features = schema.features();
            // Most senders keep the order of the schema.
            let id = if features[next].name().as_bytes() == name {
                FeatureId::new(next)?
            } else {
                schema.id_of_bytes(name)?
            };
            if row.values()[id.index()] != Value::Invalid {
                return None;
            }
            self.take(b':')?;
            row.set(id, self.value(&features[id.index()])?);
        }
        self.take(b'}')
    }

    fn value(&mut self, feature: &Feature) -> Option<Value> {
        match (self.white_space()?, feature.kind()) {
            (b'"', FeatureKind::Categorical { unlisted, .. }) => {
                self.at += 1;
                let text = self.text()?;
                let level = feature.level_of_bytes(text);
                let refused = level == LevelId::OTHER
                    && (*unlisted == Unlisted::Reject || str::from_utf8(text).is_err());
                (!refused).then_some(Value::Level(level))
            }
            (b'-' | b'0'..=b'9', FeatureKind::Numeric { .. }) => {
                let rest = &self.json[self.at..];
                let Scanned { end, exact } = scan_number(rest)?;
                self.at += end;
                let read = || read_number(str::from_utf8(&rest[..end]).ok()?).ok();
                Some(Value::Number(exact.or_else(read)?))
            }
            (b'n', _) => {
                let null = self.json[self.at..].starts_with(b"null");
                self.at += 4;
                null.then_some(Value::Missing)
            }
            _ => None,
        }
    }

    /// The bytes up to the quotation mark that ends a text, which is taken. Says no to escapes and
    /// control characters.
    fn text(&mut self) -> Option<&[u8]> {
        let rest = &self.json[self.at..];
        let length = text_length(rest)?;
        self.at += length + 1;
        (rest[length] == b'"').then_some(&rest[..length])
    }
}

/// Where the first quotation mark, backslash or control character is in `text`.
fn text_length(text: &[u8]) -> Option<usize> {
    /// A byte in each byte.
    const fn each(byte: u8) -> u64 {
        u64::from_ne_bytes([byte; 8])
    }
    let (words, rest) = text.as_chunks();
    for (index, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        // The top bit of a byte that is below 0x20, below 1 or below 1. Right up to the first such
        // byte, which is all that is asked for (A. Mycroft, 1987).
        let control = word.wrapping_sub(each(0x20)) & !word;
        let quote = word ^ each(b'"');
        let quote = quote.wrapping_sub(each(1)) & !quote;
        let backslash = word ^ each(b'\\');
        let backslash = backslash.wrapping_sub(each(1)) & !backslash;
        let found = (control | quote | backslash) & each(0x80);
        if found != 0 {
            return Some(8 * index + found.trailing_zeros() as usize / 8);
        }
    }
    let ends = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
    Some(8 * words.len() + rest.iter().position(ends)?)
}
