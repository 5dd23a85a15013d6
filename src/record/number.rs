//! The number in a text: one rule for JSON and for tables.

use crate::validate::Rule;

/// Largest magnitude up to which every whole number has an `f64` of its own: 2^53.
const EXACT_INTEGERS: u64 = 1 << 53;

/// The number that `text` spells, or the rule that it breaks.
///
/// A whole number written out in digits beyond 2^53 is refused, as `f64` would silently hold
/// another number; `1e300` is a float and fine.
pub(crate) fn read_number(text: &str) -> Result<f64, Rule> {
    if let Some(Scanned { end, exact: Some(number) }) = scan_number(text.as_bytes())
        && end == text.len()
    {
        return Ok(number);
    }
    let number: f64 = text.parse().map_err(|_| Rule::NotANumber)?;
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text).as_bytes();
    if !digits.iter().any(u8::is_ascii_digit) {
        // "inf" and "nan", which `parse` takes for numbers.
        Err(Rule::NotANumber)
    } else if !number.is_finite() || is_inexact(digits) {
        Err(Rule::OutOfRange)
    } else {
        Ok(number)
    }
}

/// Most digits of any value that a `u64` holds.
const MOST_DIGITS: usize = 19;

/// The powers of ten up to `MOST_DIGITS`. `f64` holds them exactly.
const POWERS: [f64; MOST_DIGITS + 1] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19,
];

/// A number of JSON at the beginning of a text.
pub(super) struct Scanned {
    /// the bytes that it takes
    pub(super) end: usize,
    /// what it is, if one division of two numbers that `f64` holds gives it correctly rounded
    /// (W. Clinger, 1990, <https://doi.org/10.1145/93548.93557>): few digits and no exponent
    pub(super) exact: Option<f64>,
}

/// The number of JSON at the beginning of `text`.
pub(super) fn scan_number(text: &[u8]) -> Option<Scanned> {
    let negative = text.first() == Some(&b'-');
    let start = usize::from(negative);
    let (whole, point) = digits(text, start, 0);
    if point == start || (text[start] == b'0' && point > start + 1) {
        return None;
    }
    let (whole, mut end, behind) = match text.get(point) {
        Some(b'.') => {
            let (whole, end) = digits(text, point + 1, whole);
            (whole, end, end - point - 1)
        }
        _ => (whole, point, 0),
    };
    if text[end - 1] == b'.' {
        return None;
    }
    let mut exact = None;
    if let Some(b'e' | b'E') = text.get(end) {
        let sign = usize::from(matches!(text.get(end + 1), Some(b'+' | b'-')));
        let power = end + 1 + sign;
        (_, end) = digits(text, power, 0);
        if end == power {
            return None;
        }
    } else if point - start + behind <= MOST_DIGITS && whole <= EXACT_INTEGERS {
        #[expect(clippy::cast_precision_loss, reason = "up to 2^53 nothing is lost")]
        let number = whole as f64 / POWERS[behind];
        exact = Some(if negative { -number } else { number });
    }
    Some(Scanned { end, exact })
}

/// The digits from `at` on appended to `number`, modulo 2^64, and where they end.
fn digits(text: &[u8], mut at: usize, mut number: u64) -> (u64, usize) {
    while let Some(digit @ b'0'..=b'9') = text.get(at) {
        number = number.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'));
        at += 1;
    }
    (number, at)
}

/// Whether `digits` are nothing but digits, of a number beyond 2^53.
fn is_inexact(digits: &[u8]) -> bool {
    digits.len() >= 16
        && digits.iter().all(u8::is_ascii_digit)
        && digits
            .iter()
            .try_fold(0_u64, |n, digit| n.checked_mul(10)?.checked_add(u64::from(digit - b'0')))
            .is_none_or(|n| n > EXACT_INTEGERS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_f64_holds_exactly_or_as_a_float_is_read() {
        let bits = |text| read_number(text).map(f64::to_bits);
        for (text, number) in [
            ("0", 0.0),
            ("-0", -0.0),
            ("-0.0", -0.0),
            ("12", 12.0),
            ("5.0", 5.0),
            ("1e-400", 0.0),
            ("5e-324", f64::from_bits(1)),
            ("1.7976931348623157e308", f64::MAX),
            ("9007199254740992", 9_007_199_254_740_992.0),
            ("-9007199254740992", -9_007_199_254_740_992.0),
            ("000000000000000000000012", 12.0),
            ("1180591620717411303424.0", 2_f64.powi(70)),
            ("1e21", 1e21),
        ] {
            assert_eq!(bits(text), Ok(number.to_bits()), "{text}");
        }
    }

    #[test]
    fn a_number_ends_where_json_ends_it() {
        for (text, end) in [
            ("0,", 1),
            ("-0.5}", 4),
            ("12 ", 2),
            ("1e5", 3),
            ("1E+05]", 5),
            ("1.25e-3x", 7),
            ("0x10", 1),
            ("1.5.5", 3),
            ("1-2", 1),
        ] {
            assert_eq!(
                scan_number(text.as_bytes()).map(|scanned| scanned.end),
                Some(end),
                "{text}"
            );
        }
        for text in
            ["", "-", "x", "+1", ".5", "5.", "5.,", "5.e1", "01", "-01", "00", "1e", "1e+", "-e1"]
        {
            assert!(scan_number(text.as_bytes()).is_none(), "{text}");
        }
    }

    #[test]
    fn few_digits_are_read_as_exactly_as_many() {
        let mut state = 1_u64;
        let mut next = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            usize::try_from(state >> 33).unwrap() % below
        };
        let mut exact = 0;
        for _ in 0..200_000 {
            let length = 1 + next(22);
            let digits: String = (0..length)
                .map(|_| ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"][next(10)])
                .collect();
            let point = next(digits.len() + 1);
            let (whole, fraction) = digits.split_at(point);
            let whole = match whole.trim_start_matches('0') {
                "" => "0",
                whole => whole,
            };
            let sign = ["", "-"][next(2)];
            let dot = if fraction.is_empty() { "" } else { "." };
            let text = format!("{sign}{whole}{dot}{fraction}");
            let scanned = scan_number(text.as_bytes()).unwrap();
            assert_eq!(scanned.end, text.len(), "{text}");
            if let Some(number) = scanned.exact {
                exact += 1;
                assert_eq!(number.to_bits(), text.parse::<f64>().unwrap().to_bits(), "{text}");
            }
        }
        assert!(exact > 100_000, "{exact}");
    }

    #[test]
    fn what_would_become_another_number_is_refused() {
        let long = "9".repeat(400);
        for text in ["9007199254740993", "-9007199254740993", "1180591620717411303424", "1e400"] {
            assert_eq!(read_number(text), Err(Rule::OutOfRange), "{text}");
        }
        assert_eq!(read_number(&long), Err(Rule::OutOfRange));
        for text in ["", "x", "1,5", "1_000", "$5", "inf", "-Infinity", "nan", "+NaN", "0x10", "-"]
        {
            assert_eq!(read_number(text), Err(Rule::NotANumber), "{text}");
        }
    }
}
