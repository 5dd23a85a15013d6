//! Counting a window: whole buckets from roll-ups, the ends from codes.

use std::sync::atomic::Ordering::Relaxed;

use futures_util::TryStreamExt;
use sqlx::Transaction;
use sqlx::postgres::Postgres;
use uuid::Uuid;

use super::log::RULES;
use super::moment::Moment;
use super::{PostgresStore, rows, scalar};
use crate::drift::{Codes, Counts, Profile};
use crate::log::{Summaries, WindowCounts};
use crate::registry::{ModelName, VersionId};
use crate::{Error, Timestamp, Window};

/// Bytes of codes that are counted at a time; few in tests, so that these get to every seam.
const BYTES_AT_ONCE: usize = if cfg!(test) { 100 } else { 1 << 16 };

type Boxed = Box<dyn std::error::Error + Send + Sync>;

pub(super) const ROLLED_UP: &str = "
    SELECT events, counts, summary::text FROM pmmds_store.feature_histograms
    WHERE model_version = $1 AND bucket >= $2 AND bucket < $3";

pub(super) const BATCH_COUNTS: &str = "
    SELECT events::bigint, counts FROM pmmds_store.ingest_batches
    WHERE model_version = $1 AND first_at >= $2 AND first_at < $3
        AND counts IS NOT NULL AND events > 0";

/// Of the batches that lie in the window, but for those that a roll-up has ($4 to $5).
pub(super) const SUMMARIES: &str = "
    SELECT summary::text FROM pmmds_store.ingest_batches
    WHERE model_version = $1 AND first_at >= $2 AND first_at < $3 AND last_at < $3
        AND summary IS NOT NULL
        AND NOT (counts IS NULL AND bucket IS NOT NULL AND bucket >= $4 AND bucket < $5)
    ORDER BY first_at";

pub(super) const FOREIGN_ROLLED_UP: &str = "
    SELECT coalesce((SELECT sum(events) FROM pmmds_store.feature_histograms
            WHERE model_version = ANY($1) AND bucket >= $2 AND bucket < $3), 0)::bigint
        + coalesce((SELECT sum(events) FROM pmmds_store.ingest_batches
            WHERE model_version = ANY($1) AND first_at >= $2 AND first_at < $3
                AND counts IS NOT NULL), 0)::bigint";

pub(super) const FOREIGN: &str = "
    SELECT count(*) FROM pmmds_store.prediction_logs
    WHERE model_version = ANY($1) AND at >= $2 AND at < $3";

pub(super) const CODES: &str = "
    SELECT id, codes FROM pmmds_store.prediction_logs
    WHERE model_version = $1 AND at >= $2 AND at < $3";

/// What [`PostgresStore::verify`] found.
///
/// ```no_run
/// # async fn check(store: pmmds::postgres::PostgresStore, model: pmmds::registry::ModelName,
/// #     window: pmmds::Window, profile: pmmds::drift::Profile) -> Result<(), pmmds::Error> {
/// use pmmds::registry::VersionId;
/// let found = store.verify(&model, VersionId::FIRST, window, &profile).await?;
/// assert!(found.wrong.is_empty(), "{} buckets, {} rows", found.buckets, found.rows);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Verification {
    /// whole buckets that were compared
    pub buckets: u64,
    /// rows that were counted one by one
    pub rows: u64,
    /// beginnings of the buckets whose roll-up is not what counting their rows gives
    pub wrong: Vec<Timestamp>,
}

/// A stretch of time, as it is stored.
#[derive(Debug, Clone, Copy)]
struct Stretch {
    start: Moment,
    end: Moment,
}

/// What is counted, as the numbers that rows refer to.
struct Part {
    // 0, which is nobody's, if no event was encoded by the profile
    ours: i32,
    others: Vec<i32>,
}

impl PostgresStore {
    /// The width of buckets in microseconds, which never changes.
    pub(super) async fn bucket_width(
        &self,
        transaction: &mut Transaction<'_, Postgres>,
    ) -> Result<i64, Error> {
        let known = self.inner.bucket_width.load(Relaxed);
        if known > 0 {
            return Ok(known);
        }
        let (width, _) = self.settings(transaction).await?;
        self.inner.bucket_width.store(width, Relaxed);
        Ok(width)
    }

    /// The width of buckets, and the moment from which roll-ups hold.
    async fn settings(
        &self,
        transaction: &mut Transaction<'_, Postgres>,
    ) -> Result<(i64, Moment), Error> {
        let found: (i64, Moment) = rows("SELECT bucket_us, counted_from FROM pmmds_store.settings")
            .fetch_one(&mut **transaction)
            .await
            .map_err(|e| self.failed("read the settings", e))?;
        if found.0 <= 0 {
            return Err(self.corrupt(format_args!("buckets are {} microseconds wide", found.0)));
        }
        Ok(found)
    }

    async fn part(
        &self,
        transaction: &mut Transaction<'_, Postgres>,
        model: &ModelName,
        version: VersionId,
        profile: &Profile,
    ) -> Result<Part, Error> {
        let found: Vec<(i32, Vec<u8>)> = rows(
            "SELECT id, profile FROM pmmds_store.model_versions WHERE model = $1 AND version = $2",
        )
        .bind(model.as_str())
        .bind(self.number(version)?)
        .fetch_all(&mut **transaction)
        .await
        .map_err(|e| self.failed(format_args!("look up {model}"), e))?;
        let print = profile.fingerprint();
        let (ours, others): (Vec<_>, Vec<_>) =
            found.into_iter().partition(|(_, found)| found == print.as_bytes());
        let ours = ours.first().map_or(0, |(id, _)| *id);
        Ok(Part { ours, others: others.into_iter().map(|(id, _)| id).collect() })
    }

    /// [`InferenceLog::counts`](crate::log::InferenceLog::counts).
    pub(super) async fn count(
        &self,
        model: &ModelName,
        version: VersionId,
        window: Window,
        profile: &Profile,
    ) -> Result<WindowCounts, Error> {
        let what = format!("count the rows of {model} in {window}");
        let mut transaction = self.read(&what).await?;
        let part = self.part(&mut transaction, model, version, profile).await?;
        let mut counts = Counts::empty(profile);
        let mut sum = Summaries::new(profile).map_err(|e| self.unreadable(window, e))?;
        let (start, end) = Moment::ends(window);
        let (width, counted_from) = self.settings(&mut transaction).await?;
        let whole = whole_buckets(start.max(counted_from), end, width);
        let mut foreign = 0;
        let ends = match whole {
            None => vec![Stretch { start, end }],
            Some(whole) => {
                let found = self.count_rolled_up(&mut transaction, &part, whole, window);
                foreign += found
                    .await
                    .and_then(|found| found.add_to(self, &mut counts, &mut sum, window))?;
                vec![Stretch { start, end: whole.start }, Stretch { start: whole.end, end }]
            }
        };
        for stretch in ends.into_iter().filter(|stretch| stretch.start < stretch.end) {
            self.count_codes(&mut transaction, part.ours, stretch, profile, &mut counts).await?;
            if !part.others.is_empty() {
                let found: i64 = scalar(FOREIGN)
                    .bind(&part.others)
                    .bind(stretch.start)
                    .bind(stretch.end)
                    .fetch_one(&mut *transaction)
                    .await
                    .map_err(|e| self.failed(&what, e))?;
                foreign += found.unsigned_abs();
            }
        }
        let none = Stretch { start: Moment(0), end: Moment(0) };
        let rolled_up = whole.unwrap_or(none);
        let failed = |cause| self.failed(format_args!("add up {window}"), cause);
        let mut documents = scalar::<String>(SUMMARIES)
            .bind(part.ours)
            .bind(start)
            .bind(end)
            .bind(rolled_up.start)
            .bind(rolled_up.end)
            .fetch(&mut *transaction);
        while let Some(document) = documents.try_next().await.map_err(failed)? {
            sum.add(&document).map_err(|e| self.unreadable(window, e))?;
        }
        counts.merge_summaries(sum.total()).map_err(|e| self.unreadable(window, e))?;
        Ok(WindowCounts { counts, foreign_rows: foreign })
    }

    async fn count_rolled_up(
        &self,
        transaction: &mut Transaction<'_, Postgres>,
        part: &Part,
        whole: Stretch,
        window: Window,
    ) -> Result<RolledUp, Error> {
        let failed = |cause| self.failed(format_args!("add up {window}"), cause);
        let hours: Vec<(i64, Vec<i64>, Option<String>)> = rows(ROLLED_UP)
            .bind(part.ours)
            .bind(whole.start)
            .bind(whole.end)
            .fetch_all(&mut **transaction)
            .await
            .map_err(failed)?;
        let batches: Vec<(i64, Vec<i64>)> = rows(BATCH_COUNTS)
            .bind(part.ours)
            .bind(whole.start)
            .bind(whole.end)
            .fetch_all(&mut **transaction)
            .await
            .map_err(failed)?;
        let foreign: i64 = if part.others.is_empty() {
            0
        } else {
            scalar(FOREIGN_ROLLED_UP)
                .bind(&part.others)
                .bind(whole.start)
                .bind(whole.end)
                .fetch_one(&mut **transaction)
                .await
                .map_err(failed)?
        };
        Ok(RolledUp { hours, batches, foreign: foreign.unsigned_abs() })
    }

    /// Adds the rows of a stretch, one by one, in constant memory.
    async fn count_codes(
        &self,
        transaction: &mut Transaction<'_, Postgres>,
        model_version: i32,
        stretch: Stretch,
        profile: &Profile,
        counts: &mut Counts,
    ) -> Result<(), Error> {
        if model_version == 0 {
            return Ok(());
        }
        let failed = |cause| self.failed("count codes", cause);
        // COPY takes no parameters; these are numbers of ours.
        let statement = format!(
            "COPY (SELECT codes FROM pmmds_store.prediction_logs WHERE model_version = {model_version} \
             AND at >= {} AND at < {}) TO STDOUT (FORMAT binary)",
            stretch.start.literal(),
            stretch.end.literal()
        );
        let mut stream = transaction.copy_out_raw(&statement).await.map_err(failed)?;
        let columns = profile.columns().count();
        let mut reader = CopiedCodes::new(columns);
        let mut fits = true;
        while let Some(bytes) = stream.try_next().await.map_err(failed)? {
            fits = fits && reader.read(&bytes) && reader.count(counts, BYTES_AT_ONCE);
        }
        drop(stream);
        if fits && reader.is_at_end() && reader.count(counts, 1) {
            return Ok(());
        }
        // Some codes are no codes: whose?
        let mut events = rows::<(Uuid, Vec<u8>)>(CODES)
            .bind(model_version)
            .bind(stretch.start)
            .bind(stretch.end)
            .fetch(&mut **transaction);
        while let Some((id, codes)) = events.try_next().await.map_err(failed)? {
            RULES.codes(profile, id, &Codes::from_bytes(codes))?;
        }
        Err(self.corrupt("codes came in a form that is not known"))
    }

    fn unreadable(&self, window: Window, cause: impl Into<Boxed>) -> Error {
        self.corrupt(format_args!("counts in {window} cannot be added up")).with_source(cause)
    }

    /// Compares roll-ups with the rows that they stand for, bucket by bucket, over the whole buckets
    /// of `window`.
    ///
    /// # Errors
    ///
    /// As [`counts`](crate::log::InferenceLog::counts). A roll-up that is wrong is no error.
    pub async fn verify(
        &self,
        model: &ModelName,
        version: VersionId,
        window: Window,
        profile: &Profile,
    ) -> Result<Verification, Error> {
        let what = format!("verify the counts of {model} in {window}");
        let mut transaction = self.read(&what).await?;
        let part = self.part(&mut transaction, model, version, profile).await?;
        let (start, end) = Moment::ends(window);
        let (width, counted_from) = self.settings(&mut transaction).await?;
        let mut found = Verification::default();
        let Some(whole) = whole_buckets(start.max(counted_from), end, width) else {
            return Ok(found);
        };
        // Of the roll-ups and of the rows: none may have what the other has not.
        let buckets: Vec<Moment> = scalar(
            "SELECT DISTINCT b FROM (
                SELECT bucket AS b FROM pmmds_store.feature_histograms
                WHERE model_version = $1 AND bucket >= $2 AND bucket < $3
                UNION ALL SELECT bucket FROM pmmds_store.ingest_batches
                WHERE model_version = $1 AND first_at >= $2 AND first_at < $3
                    AND counts IS NOT NULL AND events > 0
                UNION ALL SELECT date_bin($4 * interval '1 microsecond', at, timestamptz 'epoch')
                FROM pmmds_store.prediction_logs WHERE model_version = $1 AND at >= $2 AND at < $3) b
            ORDER BY b",
        )
        .bind(part.ours)
        .bind(whole.start)
        .bind(whole.end)
        .bind(width)
        .fetch_all(&mut *transaction)
        .await
        .map_err(|e| self.failed(&what, e))?;
        for bucket in buckets {
            let stretch = Stretch { start: bucket, end: Moment(bucket.0.saturating_add(width)) };
            let mut counted = Counts::empty(profile);
            self.count_codes(&mut transaction, part.ours, stretch, profile, &mut counted).await?;
            let rolled_up = self.count_rolled_up(&mut transaction, &part, stretch, window).await?;
            let mut added = Counts::empty(profile);
            let readable = rolled_up.add_slots(&mut added).is_ok();
            found.buckets += 1;
            found.rows += counted.rows();
            if !readable || added != counted {
                found.wrong.push(self.time(bucket)?);
            }
        }
        Ok(found)
    }
}

/// The whole buckets of a stretch, if there are any.
fn whole_buckets(start: Moment, end: Moment, width: i64) -> Option<Stretch> {
    let first = start.0.saturating_add(width - 1).div_euclid(width).checked_mul(width)?;
    let last = end.0.div_euclid(width).checked_mul(width)?;
    (first < last).then_some(Stretch { start: Moment(first), end: Moment(last) })
}

/// Roll-ups as they were stored.
struct RolledUp {
    hours: Vec<(i64, Vec<i64>, Option<String>)>,
    batches: Vec<(i64, Vec<i64>)>,
    foreign: u64,
}

impl RolledUp {
    fn add_slots(&self, counts: &mut Counts) -> Result<(), Boxed> {
        let hours = self.hours.iter().map(|(events, slots, _)| (events, slots));
        let all = hours.chain(self.batches.iter().map(|(events, slots)| (events, slots)));
        // A bucket of refused requests alone has no slots.
        for (events, slots) in all.filter(|(events, slots)| **events != 0 || !slots.is_empty()) {
            let slots: Vec<u64> =
                slots.iter().map(|count| u64::try_from(*count)).collect::<Result<_, _>>()?;
            counts.merge_flat_slots(u64::try_from(*events)?, &slots)?;
        }
        Ok(())
    }

    /// Adds everything, and returns the rows of other profiles.
    fn add_to(
        &self,
        store: &PostgresStore,
        counts: &mut Counts,
        sum: &mut Summaries,
        window: Window,
    ) -> Result<u64, Error> {
        self.add_slots(counts).map_err(|e| store.unreadable(window, e))?;
        for document in self.hours.iter().filter_map(|(.., summary)| summary.as_ref()) {
            sum.add(document).map_err(|e| store.unreadable(window, e))?;
        }
        Ok(self.foreign)
    }
}

/// Reads the binary form of COPY, of which each row has one column: codes.
/// <https://www.postgresql.org/docs/current/sql-copy.html>, "Binary Format".
struct CopiedCodes {
    columns: usize,
    // what has come and was not read yet
    rest: Vec<u8>,
    // whole rows that were not counted yet
    codes: Vec<u8>,
    has_begun: bool,
    has_ended: bool,
}

impl CopiedCodes {
    /// Signature and flags; then the length of an extension of the header.
    const HEADER: usize = 15;

    fn new(columns: usize) -> Self {
        let (rest, codes) = (Vec::new(), Vec::new());
        Self { columns, rest, codes, has_begun: false, has_ended: false }
    }

    /// Takes what has come; false if it is not in that form, or a row is not of `columns` codes.
    fn read(&mut self, bytes: &[u8]) -> bool {
        self.rest.extend_from_slice(bytes);
        let mut at = 0;
        let long = |rest: &[u8], at: usize| -> Option<i32> {
            Some(i32::from_be_bytes(*rest.get(at..)?.first_chunk()?))
        };
        if !self.has_begun {
            let Some(extension) = long(&self.rest, Self::HEADER) else { return true };
            let Ok(extension) = usize::try_from(extension) else { return false };
            at = Self::HEADER + 4 + extension;
            if self.rest.len() < at {
                return true;
            }
            self.has_begun = true;
        }
        while let Some(fields) = self.rest.get(at..).and_then(|rest| rest.first_chunk()) {
            if self.has_ended {
                return false;
            }
            match i16::from_be_bytes(*fields) {
                -1 => {
                    self.has_ended = true;
                    at += 2;
                }
                1 => {
                    let Some(length) = long(&self.rest, at + 2) else { break };
                    if usize::try_from(length) != Ok(self.columns) {
                        return false;
                    }
                    let Some(codes) = self.rest.get(at + 6..at + 6 + self.columns) else { break };
                    self.codes.extend_from_slice(codes);
                    at += 6 + self.columns;
                }
                _ => return false,
            }
        }
        self.rest.drain(..at);
        true
    }

    /// Counts the rows that have come, if they are as many bytes as `enough`; false if there is a
    /// code that is none.
    fn count(&mut self, counts: &mut Counts, enough: usize) -> bool {
        if self.codes.len() < enough {
            return true;
        }
        let fits = counts.observe_code_rows(&self.codes).is_ok();
        self.codes.clear();
        fits
    }

    fn is_at_end(&self) -> bool {
        self.has_ended && self.rest.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_buckets_lie_in_the_stretch() {
        let whole = |start, end| {
            whole_buckets(Moment(start), Moment(end), 10).map(|s| (s.start.0, s.end.0))
        };
        assert_eq!(whole(0, 10), Some((0, 10)));
        assert_eq!(whole(1, 30), Some((10, 30)));
        assert_eq!(whole(1, 29), Some((10, 20)));
        assert_eq!(whole(-19, -1), None);
        assert_eq!(whole(-20, 1), Some((-20, 0)));
        assert_eq!(whole(1, 19), None);
        assert_eq!(whole(i64::MIN, i64::MIN + 1), None);
    }

    #[test]
    fn copied_codes_are_read_in_whatever_pieces_they_come() {
        let mut copied = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\x02ex".to_vec();
        for row in [[1, 2, 3], [4, 5, 6]] {
            copied.extend([0, 1, 0, 0, 0, 3]);
            copied.extend(row);
        }
        copied.extend([0xff, 0xff]);
        for size in 1..copied.len() {
            let mut reader = CopiedCodes::new(3);
            for piece in copied.chunks(size) {
                assert!(reader.read(piece));
            }
            assert!(reader.is_at_end());
            assert_eq!(reader.codes, [1, 2, 3, 4, 5, 6]);
        }
        assert!(!CopiedCodes::new(2).read(&copied), "rows of another length");
        let mut reader = CopiedCodes::new(3);
        assert!(reader.read(&copied[..copied.len() - 2]) && !reader.is_at_end(), "cut short");
        copied.extend([0, 1]);
        assert!(!CopiedCodes::new(3).read(&copied), "something behind the end");
    }
}
