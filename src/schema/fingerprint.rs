//! A stable hash that names a schema, a binning, a profile or a data set.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// SHA-256 over a canonical form: two things have the same fingerprint when, and only when, they
/// mean the same, on every machine and in every release.
///
/// ```
/// use pmmds::schema::Fingerprint;
///
/// let print = Fingerprint::of_bytes(b"abc");
/// assert_eq!(print.short(), "ba7816bf");
/// assert_eq!(print.to_string().parse(), Ok(print));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Plain SHA-256 of `bytes`.
    #[must_use]
    pub fn of_bytes(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The fingerprint whose 32 bytes are `bytes`.
    ///
    /// ```
    /// use pmmds::schema::Fingerprint;
    /// let print = Fingerprint::of_bytes(b"abc");
    /// assert_eq!(Fingerprint::from_bytes(*print.as_bytes()), print);
    /// ```
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// First 8 hexadecimal digits, for people.
    #[must_use]
    pub fn short(&self) -> String {
        self.0[..4].iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

/// The text is not 64 lower-case hexadecimal digits.
///
/// ```
/// use pmmds::schema::Fingerprint;
/// assert!("ba7816bf".parse::<Fingerprint>().is_err(), "only the short form");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a fingerprint: expected 64 lower-case hexadecimal digits")]
pub struct NotAFingerprint {
    text: String,
}

impl FromStr for Fingerprint {
    type Err = NotAFingerprint;

    fn from_str(text: &str) -> Result<Self, NotAFingerprint> {
        let refuse = || NotAFingerprint { text: text.chars().take(80).collect() };
        let digits = text.as_bytes();
        if digits.len() != 64 || !digits.iter().all(|d| matches!(d, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(refuse());
        }
        let mut bytes = [0_u8; 32];
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| refuse())?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| refuse())?;
        }
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for Fingerprint {
    type Error = NotAFingerprint;

    fn try_from(text: String) -> Result<Self, NotAFingerprint> {
        text.parse()
    }
}

impl From<Fingerprint> for String {
    fn from(print: Fingerprint) -> Self {
        print.to_string()
    }
}

/// Builds a [`Fingerprint`] from fields. Every field carries its length, so that two different
/// sequences of fields never feed the hash the same bytes.
#[derive(Debug, Clone)]
pub(crate) struct Hasher(Sha256);

impl Hasher {
    /// Starts a hash for one kind of thing; `domain` names the kind and the version of its form.
    pub(crate) fn new(domain: &str) -> Self {
        let mut hasher = Self(Sha256::new());
        hasher.text(domain);
        hasher
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.count(bytes.len());
        self.0.update(bytes);
        self
    }

    pub(crate) fn text(&mut self, text: &str) -> &mut Self {
        self.bytes(text.as_bytes())
    }

    pub(crate) fn number(&mut self, number: u64) -> &mut Self {
        self.0.update(number.to_le_bytes());
        self
    }

    pub(crate) fn count(&mut self, count: usize) -> &mut Self {
        self.number(count as u64)
    }

    /// The bits of `x`, with -0.0 as 0.0 and every NaN as one: what compares equal hashes equal.
    pub(crate) fn float(&mut self, x: f64) -> &mut Self {
        let x = if x.is_nan() { f64::NAN } else { x + 0.0 };
        self.number(x.to_bits())
    }

    pub(crate) fn finish(&self) -> Fingerprint {
        Fingerprint(self.0.clone().finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_do_not_run_together() {
        let one = Hasher::new("t").text("ab").text("c").finish();
        let two = Hasher::new("t").text("a").text("bc").finish();
        assert_ne!(one, two);
    }

    #[test]
    fn equal_floats_hash_equal() {
        let print = |x: f64| Hasher::new("t").float(x).finish();
        assert_eq!(print(0.0), print(-0.0));
        assert_eq!(print(f64::NAN), print(-f64::NAN));
        assert_ne!(print(1.0), print(1.0_f64.next_up()));
    }

    #[test]
    fn only_64_lower_case_digits_are_read() {
        let text = Fingerprint::of_bytes(b"").to_string();
        assert!(text.parse::<Fingerprint>().is_ok());
        assert!(text.to_uppercase().parse::<Fingerprint>().is_err());
        assert!(text[1..].parse::<Fingerprint>().is_err());
        assert!("é".repeat(32).parse::<Fingerprint>().is_err());
    }
}
