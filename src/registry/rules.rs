//! What every registry decides alike.

use super::names::is_plain;
use super::{Alias, ModelName, ModelVersion, NameError, VersionId};
use crate::schema::Fingerprint;
use crate::{Error, ErrorKind};

/// Most bytes of the value of a tag.
///
/// ```
/// use pmmds::registry::{MAX_TAG_BYTES, Rules};
/// let rules = Rules::new("mine");
/// assert!(rules.tag("note", &"x".repeat(MAX_TAG_BYTES)).is_ok());
/// assert!(rules.tag("note", &"x".repeat(MAX_TAG_BYTES + 1)).is_err());
/// ```
pub const MAX_TAG_BYTES: usize = 5_000;

/// What [`ModelRegistry::set_alias`](super::ModelRegistry::set_alias) has left to do: one or the
/// other, for ever, so that a `match` needs no third arm.
///
/// ```
/// use pmmds::registry::{Alias, AliasStep, ModelName, Rules, VersionId};
/// let (model, alias) = (ModelName::new("churn")?, Alias::production());
/// let step = Rules::new("mine").alias(&model, &alias, None, VersionId::FIRST, None)?;
/// assert_eq!(step, AliasStep::Move);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AliasStep {
    /// Nothing: the alias points there already.
    Keep,
    /// Write: the alias points at what was expected.
    Move,
}

/// The decisions of a registry, for who implements one: same question, same answer, same words,
/// whatever the store.
///
/// ```
/// use pmmds::registry::{Alias, AliasStep, ModelName, Rules, VersionId};
///
/// const RULES: Rules = Rules::new("my registry");
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (model, alias) = (ModelName::new("churn")?, Alias::production());
/// let (two, three) = ("2".parse()?, "3".parse()?);
/// let one = VersionId::FIRST;
/// assert_eq!(RULES.alias(&model, &alias, Some(one), two, Some(one))?, AliasStep::Move);
/// assert_eq!(RULES.alias(&model, &alias, Some(two), two, Some(one))?, AliasStep::Keep);
/// assert_eq!(
///     RULES.alias(&model, &alias, Some(three), two, Some(one)).unwrap_err().to_string(),
///     "my registry: conflict: alias production of churn points at version 3, expected version 1"
/// );
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    component: &'static str,
}

impl Rules {
    /// The rules of the registry that its errors call `component`.
    #[must_use]
    pub const fn new(component: &'static str) -> Self {
        Self { component }
    }

    /// Whether `run_id` can name a run: 1 to 128 letters, digits, `.`, `_` and `-`, the first a
    /// letter or digit.
    ///
    /// ```
    /// # use pmmds::registry::Rules;
    /// let rules = Rules::new("files");
    /// assert!(rules.run_id("2026-03-01-nightly").is_ok());
    /// assert!(rules.run_id("x' OR '1'='1").is_err());
    /// ```
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput) if it cannot.
    pub fn run_id(&self, run_id: &str) -> Result<(), Error> {
        self.plain("run id", run_id)
    }

    /// Whether a version can carry this tag: the key as a run id, the value without NUL and at
    /// most [`MAX_TAG_BYTES`] long.
    ///
    /// ```
    /// # use pmmds::registry::Rules;
    /// let error = Rules::new("files").tag("note", &"x".repeat(5_001)).unwrap_err();
    /// assert_eq!(error.to_string(),
    ///     "files: invalid input: value of tag note has 5001 bytes, more than 5000");
    /// ```
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput) if it cannot.
    pub fn tag(&self, key: &str, value: &str) -> Result<(), Error> {
        self.plain("tag", key)?;
        let problem = if value.len() > MAX_TAG_BYTES {
            format!("has {} bytes, more than {MAX_TAG_BYTES}", value.len())
        } else if value.contains('\0') {
            "holds a NUL".to_owned()
        } else {
            return Ok(());
        };
        let context = format!("value of tag {key} {problem}");
        Err(Error::new(ErrorKind::InvalidInput, self.component, context))
    }

    fn plain(&self, what: &'static str, text: &str) -> Result<(), Error> {
        if is_plain(text, 128) {
            return Ok(());
        }
        let expected =
            "1 to 128 letters, digits, '.', '_' or '-', beginning with a letter or digit";
        let problem = NameError::new(what, text, expected);
        Err(Error::new(ErrorKind::InvalidInput, self.component, problem.to_string()))
    }

    /// What is left to do to point `alias`, now `found`, at `version`.
    ///
    /// # Errors
    ///
    /// [`Conflict`](ErrorKind::Conflict) if it points neither at `version` nor at `expected`.
    pub fn alias(
        &self,
        model: &ModelName,
        alias: &Alias,
        found: Option<VersionId>,
        version: VersionId,
        expected: Option<VersionId>,
    ) -> Result<AliasStep, Error> {
        if found == Some(version) {
            return Ok(AliasStep::Keep);
        }
        if found == expected {
            return Ok(AliasStep::Move);
        }
        let name = |v: Option<VersionId>| v.map_or("nothing".into(), |v| format!("version {v}"));
        let context = format!(
            "alias {alias} of {model} points at {}, expected {}",
            name(found),
            name(expected)
        );
        Err(Error::new(ErrorKind::Conflict, self.component, context))
    }

    /// Whether a run that made `known` may be registered again with files of this digest.
    ///
    /// ```
    /// use pmmds::registry::{ArtifactFiles, ModelName, ModelVersion, Rules, VersionId};
    ///
    /// let rules = Rules::new("files");
    /// let files = ArtifactFiles::new();
    /// let at = "2026-03-01T12:00:00Z".parse()?;
    /// let model = ModelName::new("churn")?;
    /// let known = ModelVersion::new(model, VersionId::FIRST, "run-7", at, files.digest());
    /// assert!(rules.same_run(&known, files.digest()).is_ok());
    ///
    /// let mut other = files.clone();
    /// other.insert("model.json", b"{}".to_vec())?;
    /// assert_eq!(rules.same_run(&known, other.digest()).unwrap_err().to_string(), format!(
    ///     "files: conflict: run run-7 made version 1 of churn with digest {}, not {}",
    ///     files.digest().short(), other.digest().short()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Conflict`](ErrorKind::Conflict) if its files were others.
    pub fn same_run(&self, known: &ModelVersion, digest: Fingerprint) -> Result<(), Error> {
        if known.digest == digest {
            return Ok(());
        }
        let context = format!(
            "run {} made version {} of {} with digest {}, not {}",
            known.run_id,
            known.version,
            known.model,
            known.digest.short(),
            digest.short()
        );
        Err(Error::new(ErrorKind::Conflict, self.component, context))
    }

    /// The error that says that there is no such version.
    ///
    /// ```
    /// # use pmmds::registry::{ModelName, Rules, VersionId};
    /// let error = Rules::new("files").no_version(&ModelName::new("churn")?, VersionId::FIRST);
    /// assert_eq!(error.to_string(), "files: not found: churn has no version 1");
    /// # Ok::<(), pmmds::registry::NameError>(())
    /// ```
    #[must_use]
    pub fn no_version(&self, model: &ModelName, version: VersionId) -> Error {
        let context = format!("{model} has no version {version}");
        Error::new(ErrorKind::NotFound, self.component, context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alias_that_points_nowhere_is_said_so() {
        let (model, alias) = (ModelName::new("m").unwrap(), Alias::staging());
        let rules = Rules::new("test");
        let two = VersionId::new(2).unwrap();
        let step = |found, expected| rules.alias(&model, &alias, found, two, expected);
        assert_eq!(step(None, None).unwrap(), AliasStep::Move);
        assert_eq!(
            step(None, Some(VersionId::FIRST)).unwrap_err().to_string(),
            "test: conflict: alias staging of m points at nothing, expected version 1"
        );
        assert_eq!(
            step(Some(VersionId::FIRST), None).unwrap_err().to_string(),
            "test: conflict: alias staging of m points at version 1, expected nothing"
        );
    }

    #[test]
    fn hostile_run_ids_and_tags_are_refused() {
        let rules = Rules::new("test");
        for text in ["", "..", "a/b", "a b", "a\n", "'; DROP", &"x".repeat(129)] {
            assert_eq!(rules.run_id(text).unwrap_err().kind(), ErrorKind::InvalidInput);
            assert_eq!(rules.tag(text, "").unwrap_err().kind(), ErrorKind::InvalidInput);
        }
        assert!(rules.tag("note", "two\nlines, \"quotes\" and é").is_ok());
        assert!(rules.tag("note", "a\0b").is_err());
        assert!(rules.tag("note", &"x".repeat(MAX_TAG_BYTES)).is_ok());
    }
}
