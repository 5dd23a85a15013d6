//! Counting a window: codes row by row, summaries batch by batch.

use sqlx::{Sqlite, Transaction};

use super::SqliteStore;
use super::error::COMPONENT;
use crate::drift::{Codes, Counts, Profile};
use crate::log::{Rules, Summaries, WindowCounts};
use crate::registry::{ModelName, VersionId};
use crate::{Error, Window};

const RULES: Rules = Rules::new(COMPONENT);

/// Rows that are counted at a time; memory is bounded by it. Few in tests, so that these get to
/// every seam.
const ROWS_AT_ONCE: i64 = if cfg!(test) { 19 } else { 10_000 };

/// Batches whose summaries are added up at a time.
const BATCHES_AT_ONCE: i64 = if cfg!(test) { 3 } else { 10_000 };

// Codes travel as one text for thousands of rows: a row of its own costs ten times as much.
pub(super) const CODES: &str = "
    SELECT count(*) FILTER (WHERE e.profile <> ?7),
        group_concat(hex(e.codes)) FILTER (WHERE e.profile = ?7)
    FROM prediction_logs e
    WHERE e.model = ?1 AND (e.at, e.id) >= (?2, ?3) AND (e.at, e.id) < (?4, ?5)
        AND e.version = ?6";

/// Where the next stretch of rows begins.
pub(super) const NEXT: &str = "
    SELECT at, id FROM prediction_logs
    WHERE model = ?1 AND (at, id) >= (?2, ?3) AND at < ?4
    ORDER BY at, id LIMIT 1 OFFSET ?5";

/// The event whose codes are no codes.
const BAD_CODES: &str = "
    SELECT id FROM prediction_logs
    WHERE model = ?1 AND (at, id) >= (?2, ?3) AND (at, id) < (?4, ?5) AND version = ?6
        AND profile = ?7 AND hex(codes) = ?8
    LIMIT 1";

pub(super) const SUMMARIES: &str = "
    SELECT first_at, id, summary FROM ingest_batches
    WHERE model = ?1 AND version = ?2 AND profile = ?3 AND (first_at, id) > (?4, ?5)
        AND first_at < ?6 AND last_at < ?6 AND summary IS NOT NULL
    ORDER BY first_at, id LIMIT ?7";

/// What is counted, as the numbers that rows refer to.
struct Part {
    model: i64,
    version: i64,
    // 0, which is nobody's, if no event was encoded by it
    profile: i64,
    window: Window,
}

impl SqliteStore {
    /// [`InferenceLog::counts`](crate::log::InferenceLog::counts).
    pub(super) async fn count(
        &self,
        model: &ModelName,
        version: VersionId,
        window: Window,
        profile: &Profile,
    ) -> Result<WindowCounts, Error> {
        let what = format!("count the rows of {model} in {window}");
        let failed = |cause| self.failed(&what, cause);
        let mut found = WindowCounts { counts: Counts::empty(profile), foreign_rows: 0 };
        let version = self.number(version)?;
        // Rows and batches of one moment.
        let mut transaction = self.read(&what).await?;
        let numbers: Option<(i64, Option<i64>)> = sqlx::query_as(
            "SELECT id, (SELECT id FROM log_profiles WHERE fingerprint = ?2)
            FROM log_models WHERE name = ?1",
        )
        .bind(model.as_str())
        .bind(&profile.fingerprint().as_bytes()[..])
        .fetch_optional(&mut *transaction)
        .await
        .map_err(failed)?;
        let Some((model, number)) = numbers else { return Ok(found) };
        // 0 is nobody's number.
        let number = number.unwrap_or_default();

        let part = Part { model, version, profile: number, window };
        self.count_codes(&mut transaction, &part, profile, &mut found).await?;
        let sum = self.sum_summaries(&mut transaction, &part, profile).await?;
        let merged = found.counts.merge_summaries(sum.total());
        merged.map_err(|e| self.unreadable_summaries(window, e))?;
        Ok(found)
    }

    async fn count_codes(
        &self,
        transaction: &mut Transaction<'_, Sqlite>,
        part: &Part,
        profile: &Profile,
        found: &mut WindowCounts,
    ) -> Result<(), Error> {
        let failed = |cause| self.failed(format_args!("count the rows in {}", part.window), cause);
        // No id is as small as no bytes at all: these are before any row of their moment.
        let mut start = (part.window.start().as_micros(), Vec::new());
        loop {
            let next: Option<(i64, Vec<u8>)> = sqlx::query_as(NEXT)
                .bind(part.model)
                .bind(start.0)
                .bind(&start.1)
                .bind(part.window.end().as_micros())
                .bind(ROWS_AT_ONCE)
                .fetch_optional(&mut **transaction)
                .await
                .map_err(failed)?;
            let last = next.is_none();
            if next.as_ref().is_some_and(|next| *next <= start) {
                // Damage: to go on would be to go round.
                return Err(
                    self.corrupt(format_args!("events in {} are out of order", part.window))
                );
            }
            let end = next.unwrap_or((part.window.end().as_micros(), Vec::new()));
            let (foreign, codes): (i64, Option<String>) = sqlx::query_as(CODES)
                .bind(part.model)
                .bind(start.0)
                .bind(&start.1)
                .bind(end.0)
                .bind(&end.1)
                .bind(part.version)
                .bind(part.profile)
                .fetch_one(&mut **transaction)
                .await
                .map_err(failed)?;
            found.foreign_rows += foreign.unsigned_abs();
            for hex in codes.iter().flat_map(|codes| codes.split(',')) {
                let codes = Codes::from_bytes(bytes(hex));
                if profile.accepts(&codes) {
                    found.counts.observe_codes(&codes);
                    continue;
                }
                let event: Vec<u8> = sqlx::query_scalar(BAD_CODES)
                    .bind(part.model)
                    .bind(start.0)
                    .bind(&start.1)
                    .bind(end.0)
                    .bind(&end.1)
                    .bind(part.version)
                    .bind(part.profile)
                    .bind(hex)
                    .fetch_one(&mut **transaction)
                    .await
                    .map_err(failed)?;
                RULES.codes(profile, self.id(&event)?, &codes)?;
            }
            if last {
                return Ok(());
            }
            start = end;
        }
    }

    async fn sum_summaries(
        &self,
        transaction: &mut Transaction<'_, Sqlite>,
        part: &Part,
        profile: &Profile,
    ) -> Result<Summaries, Error> {
        let failed = |cause| self.failed(format_args!("add up {}", part.window), cause);
        let mut sum =
            Summaries::new(profile).map_err(|e| self.unreadable_summaries(part.window, e))?;
        let (mut first, mut id) = (part.window.start().as_micros(), 0_i64);
        loop {
            let batches: Vec<(i64, i64, String)> = sqlx::query_as(SUMMARIES)
                .bind(part.model)
                .bind(part.version)
                .bind(part.profile)
                .bind(first)
                .bind(id)
                .bind(part.window.end().as_micros())
                .bind(BATCHES_AT_ONCE)
                .fetch_all(&mut **transaction)
                .await
                .map_err(failed)?;
            for (.., summary) in &batches {
                sum.add(summary).map_err(|e| self.unreadable_summaries(part.window, e))?;
            }
            match batches.last().filter(|_| batches.len() as u64 == BATCHES_AT_ONCE.unsigned_abs())
            {
                None => return Ok(sum),
                // Damage may put the last before the first.
                Some(last) if (last.0, last.1) <= (first, id) => {
                    return Err(self.unreadable_summaries(part.window, "they are out of order"));
                }
                Some(last) => (first, id) = (last.0, last.1),
            }
        }
    }

    fn unreadable_summaries(
        &self,
        window: Window,
        cause: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Error {
        self.corrupt(format_args!("summaries in {window} cannot be added up")).with_source(cause)
    }
}

/// What SQLite's `hex` made a text of.
fn bytes(hex: &str) -> Vec<u8> {
    let digit = |digit: u8| match digit {
        b'0'..=b'9' => digit - b'0',
        _ => digit.wrapping_sub(b'A').wrapping_add(10),
    };
    hex.as_bytes()
        .chunks(2)
        .map(|pair| pair.iter().fold(0, |byte, c| byte << 4 | digit(*c)))
        .collect()
}
