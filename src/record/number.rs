//! The number in a text: one rule for JSON and for tables.

use crate::validate::Rule;

/// Largest magnitude up to which every whole number has an `f64` of its own: 2^53.
const EXACT_INTEGERS: u64 = 1 << 53;

/// The number that `text` spells, or the rule that it breaks.
///
/// A whole number written out in digits beyond 2^53 is refused, as `f64` would silently hold
/// another number; `1e300` is a float and fine.
pub(crate) fn read_number(text: &str) -> Result<f64, Rule> {
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
