//! The files of a version: names and bytes, within limits.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::names::is_plain;
use crate::schema::{Fingerprint, Hasher};

/// Most files of one artifact.
///
/// ```
/// use pmmds::registry::{ArtifactFiles, MAX_ARTIFACT_FILES};
/// let mut files = ArtifactFiles::new();
/// for number in 0..MAX_ARTIFACT_FILES {
///     files.insert(format!("part-{number}"), Vec::new())?;
/// }
/// assert!(files.insert("one-more", Vec::new()).is_err());
/// # Ok::<(), pmmds::registry::ArtifactError>(())
/// ```
pub const MAX_ARTIFACT_FILES: usize = 1_000;

/// Most bytes of one artifact, all files together: 1 GiB.
///
/// ```
/// assert_eq!(pmmds::registry::MAX_ARTIFACT_BYTES, 1 << 30);
/// ```
pub const MAX_ARTIFACT_BYTES: u64 = 1 << 30;

/// The files of a model version: names and bytes, nothing that runs.
///
/// Names are relative paths of at most four parts, each of plain characters, so that no
/// implementation can be led outside its folder. Two names that differ only in case are refused,
/// and so is a file below another file (`a` and `a/b`). Clones share the bytes.
///
/// ```
/// use pmmds::registry::ArtifactFiles;
/// let mut files = ArtifactFiles::new();
/// files.insert("model.json", b"{}".to_vec())?;
/// assert_eq!(files.get("model.json"), Some(&b"{}"[..]));
/// assert!(files.insert("../model.json", Vec::new()).is_err());
/// # Ok::<(), pmmds::registry::ArtifactError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ArtifactFiles {
    // names as described above; at most MAX_ARTIFACT_FILES and MAX_ARTIFACT_BYTES
    files: BTreeMap<String, Arc<Vec<u8>>>,
}

impl ArtifactFiles {
    /// No files.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a file.
    ///
    /// # Errors
    ///
    /// When the name cannot be used or is there already, or a limit is reached.
    pub fn insert(&mut self, name: impl Into<String>, bytes: Vec<u8>) -> Result<(), ArtifactError> {
        let name = name.into();
        let parts = name.split('/');
        if name.len() > 256 || parts.clone().count() > 4 || !parts.clone().all(|p| is_plain(p, 128))
        {
            return Err(ArtifactError::Name { name: name.chars().take(64).collect() });
        }
        if self.files.keys().any(|known| known.eq_ignore_ascii_case(&name)) {
            return Err(ArtifactError::Duplicate { name });
        }
        if let Some(other) = self.files.keys().find(|k| is_below(k, &name) || is_below(&name, k)) {
            return Err(ArtifactError::Nested { other: other.clone(), name });
        }
        let total = self.total_bytes().saturating_add(bytes.len() as u64);
        if self.files.len() >= MAX_ARTIFACT_FILES || total > MAX_ARTIFACT_BYTES {
            return Err(ArtifactError::TooLarge { files: self.files.len() + 1, bytes: total });
        }
        self.files.insert(name, Arc::new(bytes));
        Ok(())
    }

    /// The bytes of a file.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.files.get(name).map(|bytes| bytes.as_slice())
    }

    /// All files by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &[u8])> {
        self.files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice()))
    }

    /// Bytes of all files together.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        self.files.values().map(|bytes| bytes.len() as u64).sum()
    }

    /// The hash over every name and byte that names this artifact.
    ///
    /// ```
    /// use pmmds::registry::ArtifactFiles;
    /// let mut files = ArtifactFiles::new();
    /// files.insert("model.json", b"{}".to_vec())?;
    /// files.insert("notes/why.txt", b"because".to_vec())?;
    /// assert_eq!(files.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["model.json", "notes/why.txt"]);
    /// assert_eq!(files.total_bytes(), 9);
    /// assert_eq!(files.digest(), files.clone().digest());
    /// # Ok::<(), pmmds::registry::ArtifactError>(())
    /// ```
    #[must_use]
    pub fn digest(&self) -> Fingerprint {
        let mut hasher = Hasher::new("pmmds artifact 1");
        hasher.count(self.files.len());
        for (name, bytes) in &self.files {
            hasher.text(name).bytes(bytes);
        }
        hasher.finish()
    }
}

/// Whether `name` would lie in the folder `folder`, whatever the letter case.
fn is_below(name: &str, folder: &str) -> bool {
    let start = name.as_bytes().get(..folder.len());
    start.is_some_and(|start| start.eq_ignore_ascii_case(folder.as_bytes()))
        && name.as_bytes().get(folder.len()) == Some(&b'/')
}

/// Why a file cannot be part of an artifact.
///
/// ```
/// use pmmds::registry::ArtifactFiles;
/// let mut files = ArtifactFiles::new();
/// files.insert("model", Vec::new())?;
/// assert_eq!(
///     files.insert("model/weights.bin", Vec::new()).unwrap_err().to_string(),
///     "artifact files \"model/weights.bin\" and \"model\" exclude each other: one would be a folder",
/// );
/// # Ok::<(), pmmds::registry::ArtifactError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ArtifactError {
    /// The name could lead outside, or holds other characters.
    #[error(
        "artifact file {name:?} cannot be used: expected at most 4 parts of letters, digits, '.', '_' or '-', each beginning with a letter or digit"
    )]
    Name {
        /// its first 64 characters
        name: String,
    },
    /// The name is there already, at most with other letter case.
    #[error("artifact file {name:?} stands twice")]
    Duplicate {
        /// the name
        name: String,
    },
    /// One name would be both a file and a folder.
    #[error("artifact files {name:?} and {other:?} exclude each other: one would be a folder")]
    Nested {
        /// the name
        name: String,
        /// the name that is there
        other: String,
    },
    /// Too many files or bytes.
    #[error(
        "artifact of {files} files and {bytes} bytes is too large: at most {MAX_ARTIFACT_FILES} files and {MAX_ARTIFACT_BYTES} bytes"
    )]
    TooLarge {
        /// files it would have
        files: usize,
        /// bytes it would have
        bytes: u64,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_are_refused() {
        for name in
            ["", "/etc/x", "../x", "a/../x", "C:\\x", "a//b", "%2e%2e/x", "a\0", "a/b/c/d/e"]
        {
            assert!(ArtifactFiles::new().insert(name, Vec::new()).is_err(), "{name:?}");
        }
    }

    #[test]
    fn a_file_stands_once_whatever_its_case() {
        let mut files = ArtifactFiles::new();
        files.insert("model.json", vec![1]).unwrap();
        assert_eq!(
            files.insert("Model.JSON", vec![2]).unwrap_err().to_string(),
            "artifact file \"Model.JSON\" stands twice"
        );
    }

    #[test]
    fn a_file_is_no_folder() {
        for (first, second) in [("a", "a/b"), ("a/b", "a"), ("A/b/c", "a/B")] {
            let mut files = ArtifactFiles::new();
            files.insert(first, Vec::new()).unwrap();
            assert_eq!(
                files.insert(second, Vec::new()).unwrap_err().to_string(),
                format!(
                    "artifact files {second:?} and {first:?} exclude each other: one would be a folder"
                )
            );
        }
        let mut files = ArtifactFiles::new();
        ["ab", "a/b", "a/c", "a.b"].iter().for_each(|n| files.insert(*n, Vec::new()).unwrap());
    }

    #[test]
    fn the_digest_covers_names_and_bytes() {
        let of = |files: &[(&str, &[u8])]| {
            let mut all = ArtifactFiles::new();
            files.iter().for_each(|(name, bytes)| all.insert(*name, bytes.to_vec()).unwrap());
            all.digest()
        };
        let base = of(&[("a", b"1"), ("b", b"2")]);
        assert_eq!(base, of(&[("b", b"2"), ("a", b"1")]));
        assert_ne!(base, of(&[("a", b"12"), ("b", b"")]));
        assert_ne!(base, of(&[("a", b"1"), ("c", b"2")]));
    }
}
