//! What waits on its way to the store, in order, each group until it is there.

use std::io;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use tokio::time::{Instant, timeout_at};

use super::disk::{read_part, unavailable};
use super::folder::{segment_name, write_cursor};
use super::frame;
use super::quarantine::Quarantine;
use super::state::{Core, Ended, Group};
use crate::log::{EventBatch, is_final};
use crate::{Error, ErrorKind};

/// First and longest pause before a group is sent again.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How often the same trouble is logged.
const SAID_AGAIN: Duration = Duration::from_secs(3_600);

/// How often the disk is asked for a group before what it does not give back counts as lost: about
/// half a minute.
const READS: u32 = 14;

/// How often the place is noted in front of which the store has everything.
const NOTE: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Drain {
    core: Arc<Core>,
    quarantine: Option<Quarantine>,
    noted: Instant,
    // whether the store has more since then
    is_behind: bool,
    said: Said,
}

/// What it has logged to be in the way since it went on.
#[derive(Debug, Default)]
struct Said(Vec<(&'static str, ErrorKind, Instant)>);

impl Said {
    /// Whether trouble with `what` is to be logged `now`; it counts as logged then.
    fn is_news(&mut self, what: &'static str, kind: ErrorKind, now: Instant) -> bool {
        self.0.retain(|(_, _, at)| now.duration_since(*at) < SAID_AGAIN);
        let is_news = !self.0.iter().any(|(of, which, _)| (*of, *which) == (what, kind));
        if is_news {
            self.0.push((what, kind, now));
        }
        is_news
    }
}

/// Runs work on a thread that may block.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    // None when it panicked, or the runtime ends: then nobody waits for it either.
    tokio::task::spawn_blocking(work).await.ok()
}

fn pauses() -> impl Iterator<Item = Duration> {
    let pauses = ExponentialBuilder::default().with_min_delay(FIRST_PAUSE);
    pauses.with_max_delay(LONGEST_PAUSE).with_jitter().without_max_times().build()
}

impl Drain {
    pub(super) fn new(core: Arc<Core>, quarantine: Quarantine) -> Self {
        let quarantine = Some(quarantine);
        let said = Said::default();
        Self { core, quarantine, noted: Instant::now(), is_behind: false, said }
    }

    pub(super) async fn run(mut self) {
        loop {
            let group = self.next().await;
            let (batches, unreadable) = self.read(&group).await;
            let mut ended = Ended { quarantined: 0, unreadable };
            for batch in batches {
                ended.quarantined += self.deliver(batch).await;
            }
            // Also from what no answer of the store has ended.
            self.goes_on();
            let last = self.core.state().finish(ended);
            self.core.drained.send_replace(last);
            self.is_behind = true;
            if self.noted.elapsed() >= NOTE {
                self.note().await;
            }
        }
    }

    async fn note(&mut self) {
        (self.noted, self.is_behind) = (Instant::now(), false);
        let core = Arc::clone(&self.core);
        blocking(move || note(&core)).await;
    }

    /// The next group, once all of it is on the disk.
    async fn next(&mut self) -> Group {
        loop {
            if let Some(group) = self.core.state().first() {
                return group;
            }
            let core = Arc::clone(&self.core);
            let work = core.work.notified();
            if !self.is_behind {
                work.await;
            } else if timeout_at(self.noted + NOTE, work).await.is_err() {
                // Nothing more may come for a long time, and others read how far it is.
                self.note().await;
            }
        }
    }

    /// What is to be sent, and how many events the disk does not give back. What it does not give
    /// back now it may give back later; but what is behind does not wait for ever.
    async fn read(&mut self, group: &Group) -> (Vec<EventBatch>, u64) {
        for (attempt, pause) in (1..).zip(pauses()) {
            let (core, group) = (Arc::clone(&self.core), group.clone());
            match blocking(move || read(&core, &group, attempt)).await {
                Some(Ok(read)) => return read,
                Some(Err(error)) => self.waits("a batch cannot be read", &error),
                None if attempt >= READS => break,
                None => {}
            }
            tokio::time::sleep(pause).await;
        }
        (Vec::new(), group.events)
    }

    /// Brings `batch` to the store; what the store can never take goes into quarantine. How many
    /// events that were.
    async fn deliver(&mut self, batch: EventBatch) -> u64 {
        let (mut left, mut quarantined) = (vec![Arc::new(batch)], 0);
        while let Some(batch) = left.pop() {
            let Err(refused) = self.send(&batch).await else { continue };
            match batch.halves() {
                Some([first, second]) => left.extend([Arc::new(second), Arc::new(first)]),
                None => {
                    quarantined += batch.events().len() as u64;
                    self.keep(&batch, refused).await;
                }
            }
        }
        quarantined
    }

    /// Sends `batch` until the store has it, or says that it never will.
    async fn send(&mut self, batch: &Arc<EventBatch>) -> Result<(), Error> {
        let limit = self.core.options.append_timeout;
        for pause in pauses() {
            // In a task of its own, so that a store that panics does not take the drain along.
            let (log, sent) = (Arc::clone(&self.core.inner), Arc::clone(batch));
            let mut attempt = tokio::spawn(async move { log.append(&sent).await });
            let error = match tokio::time::timeout(limit, &mut attempt).await {
                Ok(Ok(Ok(_))) => {
                    self.goes_on();
                    return Ok(());
                }
                Ok(Ok(Err(error))) => error,
                Ok(Err(_)) => Error::new(ErrorKind::Other, super::COMPONENT, "the store panicked"),
                Err(_) => {
                    attempt.abort();
                    let context = format!("the store did not answer within {limit:?}");
                    Error::new(ErrorKind::Unavailable, super::COMPONENT, context)
                }
            };
            if is_final(&error) {
                // It answers, and that is what it says.
                self.goes_on();
                return Err(error);
            }
            self.waits("the store does not take a batch", &error);
            tokio::time::sleep(pause).await;
        }
        Ok(())
    }

    /// Puts `batch`, which is one event or refused requests alone, where a person finds it.
    async fn keep(&mut self, batch: &Arc<EventBatch>, refused: Error) {
        let (id, events, error) = (batch.id(), batch.events().len(), refused.chain());
        tracing::error!(batch = %id, events, error, "the store refuses this for ever");
        let refused = Arc::new(refused);
        for pause in pauses() {
            let (quarantine, core) = (self.quarantine.take(), Arc::clone(&self.core));
            let (batch, refused) = (Arc::clone(batch), Arc::clone(&refused));
            let kept = blocking(move || {
                // It is gone after a panic, and read again then.
                let opened =
                    quarantine.map_or_else(|| Quarantine::open(&core.folder, &core.disk), Ok);
                let mut quarantine = opened?;
                quarantine.keep(&batch, &refused).map(|()| quarantine)
            });
            match kept.await {
                Some(Ok(quarantine)) => {
                    self.quarantine = Some(quarantine);
                    return;
                }
                Some(Err(error)) => self.waits("the quarantine cannot be written", &error),
                None => {
                    let error =
                        Error::new(ErrorKind::Other, super::COMPONENT, "file work was ended");
                    self.waits("the quarantine cannot be written", &error);
                }
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Takes note of trouble, which is logged once until it goes on, and now and then while it lasts.
    fn waits(&mut self, what: &'static str, error: &Error) {
        // Everybody may read it: what names hosts, databases and paths is for our own log.
        let told = format!("{}: {}", error.component(), error.kind());
        self.core.state().totals.trouble = Some(told);
        if self.said.is_news(what, error.kind(), Instant::now()) {
            tracing::warn!(error = error.chain(), "the spool waits: {what}");
        } else {
            tracing::debug!(error = error.chain(), "the spool waits: {what}");
        }
    }

    fn goes_on(&mut self) {
        self.said = Said::default();
        let (before, events) = {
            let mut state = self.core.state();
            (state.totals.trouble.take(), state.totals.events)
        };
        if let Some(before) = before {
            tracing::warn!(trouble = before, events, "the spool goes on");
        }
    }
}

/// The group as one batch, or as several if they do not fit together; and how many events are not
/// as they were written. An error as long as a disk that fails may be asked again: `attempt` says
/// how often it was.
fn read(core: &Core, group: &Group, attempt: u32) -> Result<(Vec<EventBatch>, u64), Error> {
    let (mut batches, mut unreadable): (Vec<EventBatch>, u64) = (Vec::new(), 0);
    for place in &group.places {
        let path = core.folder.join(segment_name(place.segment));
        let frame = read_part(&path, place.offset, place.head.frame_bytes());
        let opened = match frame {
            Ok(frame) => frame::open(&frame, &place.head),
            // A file that is gone or too short stays so.
            Err(error) if attempt < READS && !is_missing(&error) => {
                return Err(unavailable("read", &path, error));
            }
            Err(error) => Err(error.to_string()),
        };
        let batch = match opened {
            Ok(batch) => batch,
            Err(why) => {
                let (path, batch) = (path.display(), place.head.batch);
                tracing::error!(%path, %batch, why, "a batch of the spool is damaged");
                let mut state = core.state();
                state.totals.damaged += 1;
                state.spoiled.insert(place.segment);
                unreadable += u64::from(place.head.events);
                continue;
            }
        };
        match batches.last_mut().map(|whole| whole.merge(&batch)) {
            Some(Ok(())) => {}
            Some(Err(_)) => batches.push(batch),
            // Under the name of the group; one that is alone in it under its own, by which the
            // store knows it should it be appended once more. Which batches are in a group is on
            // the disk before it is sent, so that each start comes to the same.
            None if group.places.len() == 1 => batches.push(batch),
            None => batches.push(batch.with_id(group.id)),
        }
    }
    Ok((batches, unreadable))
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof)
}

/// Notes how far the store is, lastingly, and then removes what is no longer needed: what is kept
/// is behind the place that was noted, and not sent again.
pub(super) fn note(core: &Core) {
    let _alone = core.noting.lock().unwrap_or_else(PoisonError::into_inner);
    let place = core.state().cursor();
    if let Err(error) = write_cursor(&core.folder, &core.disk, place) {
        // The store is sent some of it again then, and knows it.
        tracing::warn!(error = error.chain(), "the spool could not note how far the store is");
    }
    core.tidy();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_that_take_turns_are_logged_once_each_and_again_while_they_last() {
        let (mut said, begun) = (Said::default(), Instant::now());
        let kinds = [ErrorKind::Unavailable, ErrorKind::Unauthorized];
        let mut logged = |seconds: std::ops::Range<u64>| {
            let mut is_news = |second: u64| {
                let now = begun + Duration::from_secs(second);
                said.is_news("a batch", kinds[usize::from(second % 2 == 1)], now)
            };
            seconds.filter(|second| is_news(*second)).collect::<Vec<_>>()
        };
        assert_eq!(logged(0..3_600), [0, 1]);
        assert_eq!(logged(3_600..7_200), [3_600, 3_601]);
        let now = begun + Duration::from_secs(7_199);
        assert!(said.is_news("a file", kinds[0], now), "something else of the same kind");
    }
}
