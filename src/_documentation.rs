//! What else there is to read; nothing to use.

/// What changed from release to release.
pub mod changelog {
    #![doc = include_str!("../CHANGELOG.md")]
}
