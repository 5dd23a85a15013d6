//! What the owner of a spool decides.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::{COMPONENT, SpooledLog};
use crate::log::InferenceLog;
use crate::{Error, ErrorKind};

/// When a batch counts as kept, and so what a crash can lose.
///
/// ```
/// use std::time::Duration;
/// use pmmds::spool::Fsync;
/// assert_eq!(Fsync::default(), Fsync::Within(Duration::from_millis(50)));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fsync {
    /// On the disk before it is acknowledged; those that come at the same time share one
    /// `fdatasync`. Nothing is lost, also when the machine loses power.
    Each,
    /// Handed to the operating system before it is acknowledged, and on the disk so much later at
    /// the latest. A process that is killed loses nothing; a machine that loses power loses what was
    /// acknowledged in this time.
    Within(Duration),
}

impl Default for Fsync {
    fn default() -> Self {
        Self::Within(Duration::from_millis(50))
    }
}

/// What a [`SpooledLog`] is made of.
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
/// use pmmds::Timestamp;
/// use pmmds::log::InferenceLog;
/// use pmmds::memory::MemoryLog;
/// use pmmds::spool::{Fsync, SpooledLog};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("spool");
/// let store = Arc::new(MemoryLog::with_clock(|| Timestamp::EPOCH)); // yours: a database
/// let log = SpooledLog::builder(store, path)
///     .fsync(Fsync::Each)
///     .max_bytes(4 << 30)
///     .segment_bytes(32 << 20)
///     .kept_bytes(16 << 20)
///     .patience(Duration::from_secs(2))
///     .append_timeout(Duration::from_secs(5))
///     .open()
///     .await?;
/// assert_eq!(log.backlog().unwrap().capacity, 4 << 30);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use]
pub struct SpoolBuilder {
    pub(super) inner: Arc<dyn InferenceLog>,
    pub(super) folder: PathBuf,
    pub(super) options: Options,
}

#[derive(Debug, Clone)]
pub(super) struct Options {
    pub(super) fsync: Fsync,
    pub(super) segment_bytes: u64,
    pub(super) max_bytes: u64,
    pub(super) kept_bytes: u64,
    pub(super) patience: Duration,
    pub(super) append_timeout: Duration,
}

impl fmt::Debug for SpoolBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpoolBuilder")
            .field("inner", &self.inner)
            .field("folder", &self.folder)
            .field("options", &self.options)
            .finish()
    }
}

impl SpoolBuilder {
    pub(super) fn new(inner: Arc<dyn InferenceLog>, folder: PathBuf) -> Self {
        let options = Options {
            fsync: Fsync::default(),
            segment_bytes: 16 << 20,
            max_bytes: 1 << 30,
            kept_bytes: 64 << 20,
            patience: Duration::from_secs(5),
            append_timeout: Duration::from_secs(10),
        };
        Self { inner, folder, options }
    }

    /// When a batch counts as kept. Defaults to [`Fsync::Within`] 50 ms.
    pub fn fsync(mut self, fsync: Fsync) -> Self {
        self.options.fsync = fsync;
        self
    }

    /// Size from which a new file is begun. A file goes when the store has everything in it.
    /// Defaults to 16 MiB.
    pub fn segment_bytes(mut self, bytes: u64) -> Self {
        self.options.segment_bytes = bytes;
        self
    }

    /// Most bytes that wait; beyond them batches are refused as
    /// [`Unavailable`](ErrorKind::Unavailable). Defaults to 1 GiB.
    ///
    /// Beside what waits the folder holds what the store has of a file in which something still
    /// waits (at most [`segment_bytes`](Self::segment_bytes) and what is written at one moment),
    /// files that are kept for their answers ([`kept_bytes`](Self::kept_bytes)), a second copy of
    /// what had to be written again, and what is for a person, without a bound: the quarantine and
    /// damaged files.
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.options.max_bytes = bytes;
        self
    }

    /// Bytes of files that are kept after the store has everything in them, for the answers that
    /// stand beside the events. 0 keeps none; files without answers go at once. Defaults to 64 MiB.
    pub fn kept_bytes(mut self, bytes: u64) -> Self {
        self.options.kept_bytes = bytes;
        self
    }

    /// How long a read waits until the store has what was acknowledged before. Defaults to 5 s.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.options.patience = patience;
        self
    }

    /// Time for one attempt to bring a batch to the store; then it is tried again. Defaults to 10 s.
    pub fn append_timeout(mut self, timeout: Duration) -> Self {
        self.options.append_timeout = timeout;
        self
    }

    /// Opens the folder, which is made if it is not there, and begins to send what it holds.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput) with every option that cannot work,
    /// [`Conflict`](ErrorKind::Conflict) if the folder is in use,
    /// [`NotSupported`](ErrorKind::NotSupported) if its file system has no locks,
    /// [`Unavailable`](ErrorKind::Unavailable) if it cannot be made, read or written.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub async fn open(self) -> Result<SpooledLog, Error> {
        let problems = self.options.problems();
        if !problems.is_empty() {
            return Err(Error::new(ErrorKind::InvalidInput, COMPONENT, problems.join("; ")));
        }
        SpooledLog::start(self).await
    }
}

impl Options {
    /// What cannot work, in words.
    fn problems(&self) -> Vec<String> {
        const LEAST: u64 = 4096;
        let sizes = [("segment_bytes", self.segment_bytes), ("max_bytes", self.max_bytes)];
        let small = sizes.iter().filter(|(_, bytes)| *bytes < LEAST);
        let mut problems: Vec<String> = small
            .map(|(name, bytes)| format!("{name} is {bytes}, expected at least {LEAST}"))
            .collect();
        let mut times = vec![("append_timeout", self.append_timeout)];
        if let Fsync::Within(within) = self.fsync {
            times.push(("fsync within", within));
        }
        let zero = times.iter().filter(|(_, time)| time.is_zero());
        problems.extend(zero.map(|(name, _)| format!("{name} is zero, expected a duration")));
        problems
    }
}
