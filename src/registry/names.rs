//! What models, aliases and versions may be called.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Why a name cannot be used.
///
/// ```
/// use pmmds::registry::ModelName;
/// assert_eq!(
///     ModelName::new("churn model").unwrap_err().to_string(),
///     "model name \"churn model\" cannot be used: expected 1 to 128 letters, digits, '.', '_' or \
///      '-', beginning with a letter or digit",
/// );
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {text:?} cannot be used: expected {expected}")]
pub struct NameError {
    what: &'static str,
    text: String,
    expected: &'static str,
}

impl NameError {
    pub(super) fn new(what: &'static str, text: &str, expected: &'static str) -> Self {
        Self { what, text: text.chars().take(64).collect(), expected }
    }
}

pub(super) fn is_plain(text: &str, longest: usize) -> bool {
    let allowed = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-');
    let first = text.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric);
    first && text.len() <= longest && text.bytes().all(allowed)
}

macro_rules! text_newtype {
    ($type:ident) => {
        impl $type {
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $type {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $type {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> Self {
                name.0
            }
        }
    };
}

/// Name of a registered model: letters, digits, `.`, `_` and `-`, at most 128, the first a letter
/// or digit.
///
/// ```
/// use pmmds::registry::ModelName;
/// let name: ModelName = "churn-classifier".parse()?;
/// assert_eq!(name.as_str(), "churn-classifier");
/// assert!(ModelName::new("../../etc").is_err());
/// # Ok::<(), pmmds::registry::NameError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ModelName(String);

impl ModelName {
    /// The model called `name`.
    ///
    /// # Errors
    ///
    /// When `name` holds other characters or is too long.
    pub fn new(name: impl Into<String>) -> Result<Self, NameError> {
        let name = name.into();
        let expected =
            "1 to 128 letters, digits, '.', '_' or '-', beginning with a letter or digit";
        if is_plain(&name, 128) {
            Ok(Self(name))
        } else {
            Err(NameError::new("model name", &name, expected))
        }
    }
}

text_newtype!(ModelName);

/// A movable name of one version, such as `production`.
///
/// At most 64 letters, digits, `.`, `_` and `-`. `latest` and names like `v3` are refused: they
/// read as versions, and MLflow reserves them.
///
/// ```
/// use pmmds::registry::Alias;
/// assert_eq!(Alias::production().as_str(), "production");
/// assert!(Alias::new("latest").is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Alias(String);

impl Alias {
    /// The alias called `name`.
    ///
    /// # Errors
    ///
    /// When `name` holds other characters, is too long or reserved.
    pub fn new(name: impl Into<String>) -> Result<Self, NameError> {
        let name = name.into();
        let like_a_version = name
            .strip_prefix(['v', 'V'])
            .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|c| c.is_ascii_digit()));
        let reserved = like_a_version || name.eq_ignore_ascii_case("latest");
        let expected =
            "1 to 64 letters, digits, '.', '_' or '-', not \"latest\" and not like \"v3\"";
        if is_plain(&name, 64) && !reserved {
            Ok(Self(name))
        } else {
            Err(NameError::new("alias", &name, expected))
        }
    }

    /// `production`: the champion, what is served.
    #[must_use]
    pub fn production() -> Self {
        Self("production".to_owned())
    }

    /// `staging`: the challenger while it is compared.
    ///
    /// ```
    /// use pmmds::registry::Alias;
    /// assert_eq!(Alias::staging(), "staging".parse()?);
    /// # Ok::<(), pmmds::registry::NameError>(())
    /// ```
    #[must_use]
    pub fn staging() -> Self {
        Self("staging".to_owned())
    }
}

text_newtype!(Alias);

/// Number of a version, from 1. Written as a string in JSON, compared as a number.
///
/// ```
/// use pmmds::registry::VersionId;
/// let (nine, ten): (VersionId, VersionId) = ("9".parse()?, "10".parse()?);
/// assert!(nine < ten);
/// assert_eq!("0010".parse::<VersionId>().unwrap_err().to_string(),
///     "version \"0010\" cannot be used: expected a whole number from 1, without leading zeros");
/// # Ok::<(), pmmds::registry::NameError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VersionId(NonZeroU64);

impl VersionId {
    /// Version 1.
    pub const FIRST: Self = Self(NonZeroU64::MIN);

    /// The version with this number; `None` for 0.
    #[must_use]
    pub fn new(number: u64) -> Option<Self> {
        NonZeroU64::new(number).map(Self)
    }

    /// The number, at least 1.
    ///
    /// ```
    /// use pmmds::registry::VersionId;
    /// assert_eq!(VersionId::FIRST.number(), 1);
    /// assert_eq!(VersionId::new(0), None);
    /// ```
    #[must_use]
    pub fn number(self) -> u64 {
        self.0.get()
    }
}

impl fmt::Display for VersionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl FromStr for VersionId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let canonical = text.bytes().all(|c| c.is_ascii_digit()) && !text.starts_with('0');
        match text.parse() {
            Ok(number) if canonical => Ok(Self(number)),
            _ => {
                Err(NameError::new("version", text, "a whole number from 1, without leading zeros"))
            }
        }
    }
}

impl TryFrom<String> for VersionId {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<VersionId> for String {
    fn from(version: VersionId) -> Self {
        version.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_are_refused() {
        for name in ["", ".", "..", "a/b", "-rf", "a b", "a\0", "é", &"x".repeat(129)] {
            assert!(ModelName::new(name).is_err(), "{name:?}");
            assert!(Alias::new(name).is_err(), "{name:?}");
        }
        for alias in ["latest", "LATEST", "v1", "V22"] {
            assert!(Alias::new(alias).is_err(), "{alias:?}");
        }
        assert!(Alias::new("v1-candidate").is_ok());
    }
}
