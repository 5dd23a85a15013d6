//! An [`InferenceLog`] that keeps what it is given on local disk until the store has it: predictions
//! go on while the database is down, and none is lost.
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//! # use pmmds::conformance::traffic::Traffic;
//! use pmmds::Timestamp;
//! use pmmds::log::InferenceLog;
//! use pmmds::memory::MemoryLog;
//! use pmmds::spool::SpooledLog;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("spool");
//! # let traffic = Traffic::new();
//! # let batch = traffic.batch(1, 30);
//! let store = Arc::new(MemoryLog::with_clock(|| Timestamp::EPOCH)); // yours: a database
//! let log = SpooledLog::open(store.clone(), &path).await?;
//!
//! store.take_down();
//! log.append(&batch).await?; // answered all the same
//! assert_eq!(log.backlog().unwrap().events, 30);
//! let left = log.close(Duration::ZERO).await;
//! assert_eq!(left.events, 30); // on disk, for the next process
//!
//! store.bring_up();
//! let log = SpooledLog::open(store, &path).await?;
//! assert_eq!(traffic.rows(&log).await, 30); // a read waits until the store has them
//! # Ok(())
//! # }
//! ```
//!
//! # The folder
//!
//! ```text
//! lock                              held by the process that uses the folder
//! 00000000000000000007.seg          batches in the order they came, each with a checksum
//! cursor                            in front of which the store has everything; a hint
//! quarantine.jsonl                  what the store refused for ever, one JSON object a line
//! damaged-00000000000000000003.seg  a file that was not as it was written, for a person
//! ```
//!
//! # What it promises
//!
//! * *Acknowledged is kept.* [`append`](InferenceLog::append) answers once the batch is in a file, as
//!   firmly as [`Fsync`] says. A process that is killed loses nothing.
//! * *Once.* A batch reaches the store under an id that is on the disk with it, as often as it takes,
//!   and the store recognises it. While the store lags behind, batches of one version and one second
//!   are sent together, up to 1,000 events, under an id of their own; which ones, and under which id,
//!   is on the disk too. The 65,536 latest batches are recognised when they are appended again; an
//!   older one is left to the store, which knows the batch if it was sent alone, and else refuses its
//!   events, which then go into the quarantine.
//! * *In order, and nothing is skipped.* What the store refuses for ever ([`is_final`]) is halved
//!   until the events are found that it cannot take; these go into the quarantine, those beside them
//!   are written. An unfinished write at the end is cut off: nobody was told that it is kept. Damage
//!   anywhere else is set aside under a name that says so, told and counted, and what is whole around
//!   it is sent. So is a file that the disk does not give back, after half a minute.
//! * *Bounded.* More than [`max_bytes`](SpoolBuilder::max_bytes) is refused as
//!   [`Unavailable`](crate::ErrorKind::Unavailable), and so is what the disk does not take. After a
//!   failed `fsync` a new file is begun, and what was acknowledged is written there again.
//! * *Reads know what they do not know.* Counts, pages and purges ask the store, after
//!   waiting until it has everything that was acknowledged before; where it does not within
//!   [`patience`](SpoolBuilder::patience), they are [`Unavailable`](crate::ErrorKind::Unavailable)
//!   and say how much is missing.
//!
//! * *The same answer again.* What clients were answered stands beside the events
//!   ([`append_answered`](InferenceLog::append_answered)), and
//!   [`replies`](InferenceLog::replies) gives it back: also after a restart, and after the store has
//!   the events, as long as the files that it is in are among the newest
//!   [`kept_bytes`](SpoolBuilder::kept_bytes).
//!
//! [`purge`](InferenceLog::purge) also removes the files that are kept for their answers, once all in
//! them is of before. What is for a person, the quarantine and what is damaged, is the person's to
//! remove.
//!
//! Requests that were refused, in a batch without events, count at the time the store has them.
//! Folder and files are for their owner alone (0700, 0600 on Unix). One process at a time uses the
//! folder: a lock sees to it.
//!
//! [`is_final`]: crate::log::is_final

mod disk;
mod drain;
mod folder;
mod frame;
mod options;
mod quarantine;
mod recent;
mod state;
#[cfg(test)]
mod tests;
mod writer;

use std::fmt;
use std::path::Path;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Mutex, Semaphore, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use crate::drift::Profile;
use crate::log::{
    Appended, Backlog, Cursor, EventBatch, InferenceLog, LabelledEvent, LoggedEvent, Outcome,
    OutcomeReceipt, Page, Purged, Reply, Rules, WindowCounts,
};
use crate::registry::{ModelName, VersionId};
use crate::{Error, ErrorKind, Timestamp, Window};
use disk::Disk;
use drain::Drain;
use frame::Frame;
pub use options::{Fsync, SpoolBuilder};
use quarantine::Quarantine;
use state::{Core, Key, Refusing};
use writer::{Answer, Order, Writer};

const COMPONENT: &str = "spool";
/// Most bytes that are on their way to the disk at a time.
const ON_THE_WAY: u32 = 64 << 20;

/// As good as for ever, and no overflow.
const A_YEAR: Duration = Duration::from_secs(365 * 86_400);

/// Time beyond that of its caller in which `close` brings everything down to the disk.
const FOR_THE_DISK: Duration = Duration::from_secs(5);

const RULES: Rules = Rules::new(COMPONENT);

/// An [`InferenceLog`] with a folder in front of it; see the [module](self) for its promises.
///
/// Clones use the same folder. [`close`](Self::close) ends it in good order; when the last clone is
/// dropped it ends too, a moment later.
#[derive(Clone)]
pub struct SpooledLog {
    handle: Arc<Handle>,
}

struct Handle {
    core: Arc<Core>,
    orders: Sender<Order>,
    // bytes that may be on their way to the writer
    room: Arc<Semaphore>,
    // until it is closed
    drain: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        // The writer ends by itself once nobody can ask it for anything.
        if let Some(drain) = self.drain.get_mut() {
            drain.abort();
        }
    }
}

impl fmt::Debug for SpooledLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let core = &self.handle.core;
        f.debug_struct("SpooledLog")
            .field("inner", &core.inner)
            .field("folder", &core.folder)
            .field("options", &core.options)
            .field("backlog", &core.backlog())
            .finish_non_exhaustive()
    }
}

impl SpooledLog {
    /// A log in front of `inner` that keeps its batches in `folder`, with the defaults of
    /// [`builder`](Self::builder).
    ///
    /// # Errors
    ///
    /// As for [`SpoolBuilder::open`].
    pub async fn open(
        inner: Arc<dyn InferenceLog>,
        folder: impl AsRef<Path>,
    ) -> Result<Self, Error> {
        Self::builder(inner, folder).open().await
    }

    /// The options of a log in front of `inner`.
    pub fn builder(inner: Arc<dyn InferenceLog>, folder: impl AsRef<Path>) -> SpoolBuilder {
        SpoolBuilder::new(inner, folder.as_ref().to_owned())
    }

    /// What waits in `folder`, at most, for a process that does not use it: how many events, their
    /// bytes and the oldest, read from the files alone. Whoever uses the folder is not disturbed, and
    /// may have sent some of it already: it notes about once a second how far it is. The other
    /// figures are of a process, and 0. Where there is no folder nothing waits.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use std::time::Duration;
    /// # use pmmds::{Timestamp, memory::MemoryLog, spool::SpooledLog};
    /// # use pmmds::{conformance::traffic::Traffic, log::InferenceLog};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// # let store = Arc::new(MemoryLog::with_clock(|| Timestamp::EPOCH));
    /// # let batch = Traffic::new().batch(1, 30);
    /// store.take_down();
    /// let log = SpooledLog::open(store, folder.path()).await?;
    /// log.append(&batch).await?;
    /// // In another process:
    /// assert_eq!(SpooledLog::waiting(folder.path()).await?.events, 30);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Unavailable`](ErrorKind::Unavailable) if it cannot be read.
    pub async fn waiting(folder: impl AsRef<Path>) -> Result<Backlog, Error> {
        let folder = folder.as_ref().to_owned();
        blocking(move || folder::waiting(&folder)).await
    }

    async fn start(builder: SpoolBuilder) -> Result<Self, Error> {
        Self::start_on(builder, Disk::default()).await
    }

    async fn start_on(builder: SpoolBuilder, disk: Disk) -> Result<Self, Error> {
        let SpoolBuilder { inner, folder, options } = builder;
        let opened = {
            let disk = disk.clone();
            blocking(move || {
                let opened = folder::open(&folder, &disk)?;
                let quarantine = Quarantine::open(&folder, &disk)?;
                Ok((folder, opened, quarantine))
            })
        };
        let (folder, opened, quarantine) = opened.await?;
        let recovered = opened.state.totals.recovered;
        if recovered > 0 {
            tracing::info!(events = recovered, folder = %folder.display(), "events wait on disk");
        }
        let next = opened.next;
        let core = Core::new(inner, folder, options, disk, opened.lock, opened.state);
        let core = Arc::new(core);
        let (orders, inbox) = mpsc::channel();
        let writer = Writer::new(Arc::clone(&core), inbox, next);
        let thread = std::thread::Builder::new().name("pmmds-spool".to_owned());
        thread.spawn(move || writer.run()).map_err(|error| {
            Error::new(ErrorKind::Unavailable, COMPONENT, "cannot start the thread that writes")
                .with_source(error)
        })?;
        let drain = tokio::spawn(Drain::new(Arc::clone(&core), quarantine).run());
        let room = Arc::new(Semaphore::new(ON_THE_WAY as usize));
        Ok(Self { handle: Arc::new(Handle { core, orders, room, drain: Mutex::new(Some(drain)) }) })
    }

    /// Takes nothing more in, brings everything down to the disk, goes on sending for at most
    /// `timeout`, and gives the folder back. What is left stays there, and is sent by the next
    /// process that opens it: [`Backlog::events`] says how much. A disk that hangs is given five
    /// seconds more. Closing twice is fine.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use std::time::Duration;
    /// # use pmmds::{ErrorKind, Timestamp, memory::MemoryLog, spool::SpooledLog};
    /// # use pmmds::{conformance::traffic::Traffic, log::InferenceLog};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// # let store = Arc::new(MemoryLog::with_clock(|| Timestamp::EPOCH));
    /// # let batch = Traffic::new().batch(1, 30);
    /// let log = SpooledLog::open(store, folder.path()).await?;
    /// log.append(&batch).await?;
    /// let left = log.close(Duration::from_secs(10)).await;
    /// assert_eq!((left.events, left.replayed), (0, 30));
    /// assert_eq!(log.append(&batch).await.unwrap_err().kind(), ErrorKind::Unavailable);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn close(&self, timeout: Duration) -> Backlog {
        let core = &self.handle.core;
        let until = Instant::now() + timeout.min(A_YEAR);
        core.state().refusing = Some(Refusing::Closed);
        if timeout_at(until + FOR_THE_DISK, self.end(until)).await.is_err() {
            // Its lock stays with this process, which may still write.
            tracing::error!(folder = %core.folder.display(), "the disk hangs: it is not closed");
        }
        let backlog = core.backlog();
        if backlog.events > 0 {
            let (events, folder) = (backlog.events, core.folder.display());
            tracing::warn!(events, %folder, "events stay on disk, for the next start");
        }
        backlog
    }

    async fn end(&self, until: Instant) {
        let core = &self.handle.core;
        // One that closes at the same time waits for the other, and finds nothing to do.
        let mut drain = self.handle.drain.lock().await;
        let (done, closed) = oneshot::channel();
        if self.handle.orders.send(Order::Close { done }).is_ok() {
            // It ends without a word only where it has ended before.
            let _ = closed.await;
        }
        let acked = core.state().acked;
        let mut drained = core.drained.subscribe();
        let _ = timeout_at(until, drained.wait_for(|last| *last >= acked)).await;
        if let Some(drain) = drain.take() {
            drain.abort();
            let _ = drain.await;
        }
        let lock = core.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(lock) = lock {
            let core = Arc::clone(core);
            let end = move || {
                drain::note(&core);
                drop(lock);
                Ok(())
            };
            // Nothing depends on it: see `drain::note`.
            let _ = blocking(end).await;
        }
    }

    /// Waits until the store has what was acknowledged so far.
    async fn settled(&self) -> Result<(), Error> {
        let core = &self.handle.core;
        let acked = core.state().acked;
        let mut drained = core.drained.subscribe();
        let settled = drained.wait_for(|last| *last >= acked);
        if tokio::time::timeout(core.options.patience, settled).await.is_ok_and(|r| r.is_ok()) {
            return Ok(());
        }
        let backlog = core.backlog();
        let since = backlog.oldest.map_or_else(String::new, |at| format!(" since {at}"));
        let trouble = backlog.trouble.map_or_else(String::new, |why| format!(": {why}"));
        let context = format!("{} events{since} still wait on disk{trouble}", backlog.events);
        Err(Error::new(ErrorKind::Unavailable, COMPONENT, context))
    }
}

/// Runs file work on a thread that may block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
        Err(Error::new(ErrorKind::Other, COMPONENT, "file work was ended").with_source(error))
    })
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl InferenceLog for SpooledLog {
    async fn append(&self, batch: &EventBatch) -> Result<Appended, Error> {
        self.append_answered(batch, &[]).await
    }

    async fn append_answered(
        &self,
        batch: &EventBatch,
        replies: &[Reply],
    ) -> Result<Appended, Error> {
        RULES.batch(batch)?;
        let (frame, key) = (Frame::new(batch, replies)?, Key::of(batch));
        // A disk that hangs does not take the memory too: who comes then waits here.
        let bytes = u32::try_from(frame.head.frame_bytes()).unwrap_or(ON_THE_WAY).min(ON_THE_WAY);
        let room = Arc::clone(&self.handle.room).acquire_many_owned(bytes).await;
        let room = room.map_err(|_| writer::closed())?;
        let (answer, answered) = oneshot::channel();
        let answer = Answer { answer, _room: room };
        let order = Order::Append { frame, key, answer };
        self.handle.orders.send(order).map_err(|_| writer::closed())?;
        answered.await.map_err(|_| writer::closed())?
    }

    async fn record_outcomes(&self, outcomes: &[Outcome]) -> Result<OutcomeReceipt, Error> {
        // They may come before their events.
        self.handle.core.inner.record_outcomes(outcomes).await
    }

    async fn counts(
        &self,
        model: &ModelName,
        version: VersionId,
        window: Window,
        profile: &Profile,
    ) -> Result<WindowCounts, Error> {
        self.settled().await?;
        self.handle.core.inner.counts(model, version, window, profile).await
    }

    async fn scan(
        &self,
        model: &ModelName,
        window: Window,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<LoggedEvent>, Error> {
        RULES.limit(limit)?;
        self.settled().await?;
        self.handle.core.inner.scan(model, window, after, limit).await
    }

    async fn labelled(
        &self,
        model: &ModelName,
        window: Window,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<LabelledEvent>, Error> {
        RULES.limit(limit)?;
        self.settled().await?;
        self.handle.core.inner.labelled(model, window, after, limit).await
    }

    async fn purge(&self, before: Timestamp) -> Result<Purged, Error> {
        self.settled().await?;
        let purged = self.handle.core.inner.purge(before).await?;
        let core = Arc::clone(&self.handle.core);
        {
            let mut state = core.state();
            state.purged = state.purged.max(Some(before));
        }
        let tidied = blocking(move || {
            drain::note(&core);
            Ok(())
        });
        tidied.await.map(|()| purged)
    }

    async fn now(&self) -> Result<Timestamp, Error> {
        self.handle.core.inner.now().await
    }

    async fn replies(&self, limit: usize) -> Result<Vec<Reply>, Error> {
        let core = Arc::clone(&self.handle.core);
        blocking(move || folder::replies(&core.folder, limit)).await
    }

    fn backlog(&self) -> Option<Backlog> {
        Some(self.handle.core.backlog())
    }
}
