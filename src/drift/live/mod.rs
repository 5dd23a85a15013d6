//! Counters of the traffic of the last hours, in memory: the drift of this moment, without a store.

mod cells;
mod options;
mod refused;
mod shard;

#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

pub use self::options::LiveOptions;

use self::cells::{Layout, NO_PANE, Sum};
use self::refused::Refused;
use self::shard::{Panes, Shard};
use super::counts::Counts;
use super::profile::{Codes, Profile};
use super::settings::SettingsError;
use crate::record::Row;
use crate::schema::FeatureSchema;
use crate::validate::Violations;
use crate::{Timestamp, Window};

static THREADS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// The shard that this thread tries first: its own as long as there are enough. What is counted
    /// does not depend on it.
    static HOME: Cell<usize> = Cell::new(THREADS.fetch_add(1, Ordering::Relaxed));
}

/// What came in over the last hours, counted as it comes in, and read at any moment.
///
/// [`observe`](Self::observe) adds a row to the counters of its thread, [`snapshot`](Self::snapshot)
/// adds up what all threads have counted: the same [`Counts`], number by number, that
/// [`Counts::observe`] would give of the same rows, and so the same verdict. Only the means in the
/// summaries are float sums, which depend on their order.
///
/// # Windows
///
/// Time is cut into panes of one [`hop`](LiveOptions::hop), aligned to 1970-01-01T00:00:00Z, and a
/// window is as many whole panes as its [length](LiveOptions::window) has, `[start, end)`. The
/// window of a moment ends with the pane that the moment is in. Times are arguments; they need not
/// be in order:
///
/// | a row | where it goes |
/// |---|---|
/// | of the present pane, or of an older one that is still held | into its pane |
/// | of an older one | nowhere; it is counted as [`late`](LiveSnapshot::late) |
/// | of a later one, also by days | into its pane, whose place the oldest one gives up |
///
/// The panes of one window and two more are held. What is no longer held, or was before the
/// counters were made, is not in the window, and [`covered_from`](LiveSnapshot::covered_from) says
/// so: after a row from the far future that is the whole window, until time has caught up.
///
/// # Threads
///
/// A shard of counters has one writer at a time, which adds with a load and a store: no atomic
/// addition, and no cache line that two threads write. A thread keeps to its own shard while there
/// is one for each ([`shards`](LiveOptions::shards)); otherwise to any that is free. Readers take no
/// lock that writers take. They see whole rows: a sequence number tells them that a row came in
/// between, and a busy writer is sent to a second table while the first is read, so that neither
/// waits for the other.
///
/// # Memory
///
/// Per thread that counts, pane held and feature: 8 bytes for each slot and 56 for the summary; at
/// most twice that, in panes that were read while rows came in. A pane takes memory with its first
/// row. With the usual 290 panes a feature of 12 slots takes 44 kB per thread, and up to 88 kB.
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
/// use pmmds::Timestamp;
/// use pmmds::drift::{Counts, DriftDetector, LiveCounters, LiveOptions, Profile, Verdict};
/// use pmmds::record::Batch;
/// use pmmds::schema::{Feature, FeatureSchema};
///
/// let schema = FeatureSchema::new([Feature::numeric("x")])?;
/// let reference = ndarray::Array2::from_shape_fn((1000, 1), |(i, _)| i as f64);
/// let batch = Batch::from_array(&schema, reference.view())?;
/// let profile = Profile::fit(&batch)?;
///
/// let start: Timestamp = "2026-03-01T12:03:00Z".parse()?;
/// let options = LiveOptions::new().window(Duration::from_secs(3600));
/// let live = LiveCounters::new(&profile, &options, start)?;
/// std::thread::scope(|threads| {
///     for half in 0..2 {
///         let (live, profile, batch) = (&live, &profile, &batch);
///         threads.spawn(move || {
///             for i in (0..600).filter(|i| i % 2 == half) {
///                 let row = batch.row(i);
///                 let at = start.saturating_add(Duration::from_secs(i as u64));
///                 live.observe(at, &row, &profile.encode(&row, 0.5));
///             }
///         });
///     }
/// });
///
/// let now = start.saturating_add(Duration::from_secs(600));
/// let snapshot = live.snapshot(now);
/// assert_eq!(snapshot.counts.rows(), 600);
/// assert_eq!(snapshot.window.to_string(), "2026-03-01T11:15:00Z .. 2026-03-01T12:15:00Z");
/// assert!(!snapshot.is_whole() && snapshot.covered_from == start);
/// let report = DriftDetector::default().detect(&profile, &snapshot.counts);
/// assert_eq!(report.verdict, Verdict::Drift); // nothing above 600
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct LiveCounters {
    layout: Layout,
    panes: Panes,
    window: Duration,
    started: Timestamp,
    // counts of the profile, of nothing
    empty: Counts,
    // at least one
    shards: Box<[Shard]>,
    refused: Mutex<Refused>,
    // one reader at a time; its workspace
    reader: Mutex<Vec<u64>>,
}

impl LiveCounters {
    /// Counters for rows that `profile` encodes. They know of nothing before `started`.
    ///
    /// # Errors
    ///
    /// [`SettingsError`] when an option is outside its range.
    ///
    /// ```
    /// # let schema = pmmds::schema::FeatureSchema::new([pmmds::schema::Feature::numeric("x")])?;
    /// # let data = ndarray::array![[1.0], [2.0], [3.0], [4.0]];
    /// # let batch = pmmds::record::Batch::from_array(&schema, data.view())?;
    /// # let profile = pmmds::drift::Profile::fit(&batch)?;
    /// use std::time::Duration;
    /// use pmmds::Timestamp;
    /// use pmmds::drift::{LiveCounters, LiveOptions};
    /// let options = LiveOptions::new().hop(Duration::from_secs(7));
    /// let error = LiveCounters::new(&profile, &options, Timestamp::EPOCH).unwrap_err();
    /// assert_eq!(error.to_string(), "window is 86400s, expected 1 to 10,000 times the hop of 7s");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new(
        profile: &Profile,
        options: &LiveOptions,
        started: Timestamp,
    ) -> Result<Self, SettingsError> {
        let panes = options.panes()?;
        Ok(Self {
            layout: Layout::of(profile),
            panes,
            window: options.window,
            started,
            empty: Counts::empty(profile),
            shards: (0..options.shards).map(|_| Shard::new()).collect(),
            refused: Mutex::new(Refused::new(panes)),
            reader: Mutex::default(),
        })
    }

    /// Counts one accepted row that came in `at` this time. Does not wait for readers, nor for
    /// other threads while there are as many shards as threads.
    ///
    /// # Panics
    ///
    /// When the profile of these counters did not make `codes`, or `row` is of another schema.
    ///
    /// ```
    /// # let schema = pmmds::schema::FeatureSchema::new([pmmds::schema::Feature::numeric("x")])?;
    /// # let data = ndarray::array![[1.0], [2.0], [3.0], [4.0]];
    /// # let batch = pmmds::record::Batch::from_array(&schema, data.view())?;
    /// # let profile = pmmds::drift::Profile::fit(&batch)?;
    /// use pmmds::Timestamp;
    /// use pmmds::drift::{Counts, LiveCounters, LiveOptions};
    /// let noon: Timestamp = "2026-03-01T12:00:00Z".parse()?;
    /// let live = LiveCounters::new(&profile, &LiveOptions::new(), noon)?;
    /// let row = batch.row(3);
    /// live.observe(noon, &row, &profile.encode(&row, 0.4));
    ///
    /// let mut counts = Counts::empty(&profile);
    /// counts.observe(&profile, &row, &profile.encode(&row, 0.4));
    /// assert_eq!(live.snapshot(noon).counts, counts);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn observe(&self, at: Timestamp, row: &Row, codes: &Codes) {
        assert!(self.layout.accepts(row, codes), "row and codes of the profile of these counters");
        let home = Some(HOME.get()).filter(|home| *home < self.shards.len());
        let home = home.unwrap_or_else(|| HOME.get() % self.shards.len());
        let (before, after) = self.shards.split_at(home);
        for (shard, number) in after.iter().chain(before).zip(home..) {
            let Some(mut cursor) = shard.try_writer() else { continue };
            if number != home {
                // Somebody else is at home here.
                HOME.set(number % self.shards.len());
            }
            shard.observe(&mut cursor, self.panes, &self.layout, at.as_micros(), row, codes);
            return;
        }
        // More threads than shards, and all of them here at the same moment.
        let shard = &self.shards[home];
        let mut cursor = shard.writer();
        shard.observe(&mut cursor, self.panes, &self.layout, at.as_micros(), row, codes);
    }

    /// Counts one refused request by what was wrong with it, as [`Counts::observe_rejected`] does.
    ///
    /// Refused requests are rare, or cost more than this: they stand in one table behind a lock. Of
    /// values outside the levels at most 4,096 names are kept in all panes together, so that nobody
    /// can fill the memory with them; further ones are counted without.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use pmmds::Timestamp;
    /// use pmmds::drift::{LiveCounters, LiveOptions, Profile};
    /// use pmmds::record::{Columns, Table, decode_row};
    /// use pmmds::schema::{Feature, FeatureSchema};
    /// use pmmds::validate::Violations;
    ///
    /// let schema = Arc::new(FeatureSchema::new([Feature::categorical("plan", ["basic", "gold"])])?);
    /// let table = Table::from_rows(["plan"], [["basic"], ["gold"]])?;
    /// let profile = Profile::fit(&Columns::read(&schema, &table)?.batch())?;
    /// let noon: Timestamp = "2026-03-01T12:00:00Z".parse()?;
    /// let live = LiveCounters::new(&profile, &LiveOptions::new(), noon)?;
    ///
    /// let mut problems = Violations::new();
    /// decode_row(&schema, br#"{"plan": "silver"}"#, &mut problems)?;
    /// live.observe_rejected(noon, &schema, &problems);
    /// let counts = live.snapshot(noon).counts;
    /// assert_eq!((counts.rows(), counts.rejected_requests()), (0, 1));
    /// assert_eq!(counts.summaries()[0].unseen["silver"], 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn observe_rejected(&self, at: Timestamp, schema: &FeatureSchema, violations: &Violations) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.observe(at.as_micros(), &self.empty, schema, violations);
    }

    /// The window that ends with the pane of `now`, as far as it has been counted: every row of it
    /// that was counted before this call, whole, and perhaps some that come in meanwhile.
    ///
    /// For the last window that is over, ask for one hop earlier.
    ///
    /// ```
    /// # let schema = pmmds::schema::FeatureSchema::new([pmmds::schema::Feature::numeric("x")])?;
    /// # let data = ndarray::array![[1.0], [2.0], [3.0], [4.0]];
    /// # let batch = pmmds::record::Batch::from_array(&schema, data.view())?;
    /// # let profile = pmmds::drift::Profile::fit(&batch)?;
    /// use std::time::Duration;
    /// use pmmds::Timestamp;
    /// use pmmds::drift::{LiveCounters, LiveOptions};
    /// let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    /// let options = LiveOptions::new().window(minutes(10)).hop(minutes(5));
    /// let noon: Timestamp = "2026-03-01T12:00:00Z".parse()?;
    /// let live = LiveCounters::new(&profile, &options, noon)?;
    /// for minute in 0..17 {
    ///     let row = batch.row(0);
    ///     live.observe(noon.saturating_add(minutes(minute)), &row, &profile.encode(&row, 0.5));
    /// }
    /// let now = noon.saturating_add(minutes(17));
    /// let present = live.snapshot(now);
    /// assert_eq!(present.window.to_string(), "2026-03-01T12:10:00Z .. 2026-03-01T12:20:00Z");
    /// assert_eq!((present.counts.rows(), present.is_whole()), (7, true));
    /// let over = live.snapshot(now.saturating_sub(minutes(5)));
    /// assert_eq!(over.window.to_string(), "2026-03-01T12:05:00Z .. 2026-03-01T12:15:00Z");
    /// assert_eq!((over.counts.rows(), over.is_whole()), (10, true));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn snapshot(&self, now: Timestamp) -> LiveSnapshot {
        let last = self.panes.number(now.as_micros());
        let first = last + 1 - self.panes.of_window;
        let mut sum = Sum::new(&self.layout);
        {
            let mut copy = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
            for shard in &self.shards {
                for pane in first..=last {
                    shard.read(self.panes, &self.layout, pane, &mut copy, &mut sum);
                }
            }
        }
        let (rows, slots, summaries) = self.layout.parts(sum);
        let mut counts = Counts::of_parts(self.empty.profile(), rows, slots, summaries);
        // After the tables, so that what has taken the place of a pane is known.
        let mut newest = self.shards.iter().map(Shard::newest).fold(NO_PANE, i64::max);
        let mut late = self.shards.iter().map(Shard::late).sum();
        {
            let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
            refused.add(first..=last, &mut counts);
            newest = newest.max(refused.newest());
            late += refused.late();
        }
        let window = self.window_to(last);
        let held = match newest {
            NO_PANE => window.start(),
            newest => self.panes.start(newest + 1 - self.panes.held),
        };
        let covered_from = window.start().max(held).max(self.started);
        LiveSnapshot { counts, window, covered_from, late }
    }

    /// The window that ends with the pane `last`.
    fn window_to(&self, last: i64) -> Window {
        // Also where time ends: the end of a pane is after every moment in it, the first one too.
        Window::before(self.panes.start(last + 1), self.window).unwrap_or_else(|_| unreachable!())
    }
}

/// What [`LiveCounters`] know of a window.
///
/// ```
/// # let schema = pmmds::schema::FeatureSchema::new([pmmds::schema::Feature::numeric("x")])?;
/// # let data = ndarray::array![[1.0], [2.0], [3.0], [4.0]];
/// # let batch = pmmds::record::Batch::from_array(&schema, data.view())?;
/// # let profile = pmmds::drift::Profile::fit(&batch)?;
/// use pmmds::Timestamp;
/// use pmmds::drift::{LiveCounters, LiveOptions};
/// let noon: Timestamp = "2026-03-01T12:00:00Z".parse()?;
/// let live = LiveCounters::new(&profile, &LiveOptions::new(), noon)?;
/// let snapshot = live.snapshot(noon);
/// // Nothing has come in since noon; of the 24 hours before nothing is known.
/// assert_eq!((snapshot.counts.rows(), snapshot.covered_from), (0, noon));
/// assert!(!snapshot.is_whole());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct LiveSnapshot {
    /// what was counted in the window
    pub counts: Counts,
    /// the window; its end is in the future where it is the present one
    pub window: Window,
    /// from when on everything in the window was counted; its start where it is whole, its end or
    /// later where nothing can be said
    pub covered_from: Timestamp,
    /// rows and refused requests, since the counters were made, that came too late for their pane:
    /// they are in no window
    pub late: u64,
}

impl LiveSnapshot {
    /// Whether the window was counted from its start.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.covered_from <= self.window.start()
    }
}
