//! The inference log in SQLite.

use std::sync::LazyLock;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, Sqlite, Transaction};

use super::SqliteStore;
use super::error::COMPONENT;
use crate::drift::{Codes, Profile};
use crate::log::{
    Appended, CorrelationId, Cursor, EventBatch, InferenceEvent, InferenceLog, LabelledEvent,
    LoggedEvent, Outcome, OutcomeReceipt, OutcomeStep, Page, Purged, Rules, Summaries,
    WindowCounts, extent,
};
use crate::model::Prediction;
use crate::registry::{ModelName, VersionId};
use crate::schema::Fingerprint;
use crate::{Error, ErrorKind, Timestamp, Window};

const RULES: Rules = Rules::new(COMPONENT);

/// Rows that are deleted in one transaction, so that writers wait milliseconds. Few in tests, so
/// that these get to every seam.
const PURGED_AT_ONCE: i64 = if cfg!(test) { 2 } else { 5_000 };

impl SqliteStore {
    fn moment(&self, micros: i64) -> Result<Timestamp, Error> {
        Timestamp::from_micros(micros).map_err(|e| self.corrupt(e))
    }

    /// The event in a row of [`SCAN`] or [`LABELLED`], and its version.
    fn event(&self, row: &SqliteRow) -> Result<(InferenceEvent, VersionId), Error> {
        let column = |cause| self.failed("read an event", cause);
        let id = self.id(row.try_get::<&[u8], _>("id").map_err(column)?)?;
        let impossible = |what: &str| self.corrupt(format_args!("event {id} has no {what}"));
        let score = row.try_get("score").map_err(column)?;
        let label = row.try_get::<Option<i64>, _>("label").map_err(column)?;
        let label = label.map(u8::try_from).transpose().map_err(|_| impossible("label"))?;
        let latency = row.try_get::<i64, _>("latency_us").map_err(column)?;
        let latency = u64::try_from(latency).map_err(|_| impossible("latency"))?;
        let version = row.try_get::<i64, _>("version").map_err(column)?;
        let version = u64::try_from(version).ok().and_then(VersionId::new);
        let event = InferenceEvent::new(
            id,
            self.id(row.try_get("request_id").map_err(column)?)?,
            self.moment(row.try_get("at").map_err(column)?)?,
            Prediction::from_stored(score, label).ok_or_else(|| impossible("prediction"))?,
            Duration::from_micros(latency),
            Codes::from_bytes(row.try_get::<&[u8], _>("codes").map_err(column)?),
        );
        let features: Option<String> = row.try_get("features").map_err(column)?;
        let kept = row.try_get::<i64, _>("has_features").map_err(column)? != 0;
        let event = match features {
            Some(features) => event.with_features(features),
            None if kept => return Err(impossible("raw features, though they were kept")),
            None => event,
        };
        let named: Option<&str> = row.try_get("correlation_id").map_err(column)?;
        let event = match named.map(CorrelationId::new) {
            Some(Ok(correlation_id)) => event.with_correlation_id(correlation_id),
            Some(Err(why)) => return Err(self.corrupt(format_args!("event {id}: {why}"))),
            None => event,
        };
        Ok((event, version.ok_or_else(|| impossible("version"))?))
    }
}

/// The number that stands for a name or a fingerprint; it is made where there is none.
async fn number<'t>(
    transaction: &mut Transaction<'_, Sqlite>,
    select: &'static str,
    insert: &'static str,
    key: impl sqlx::Encode<'t, Sqlite> + sqlx::Type<Sqlite> + Copy + Send + 't,
) -> sqlx::Result<i64> {
    let found = sqlx::query_scalar(select).bind(key).fetch_optional(&mut **transaction).await?;
    match found {
        Some(number) => Ok(number),
        None => sqlx::query_scalar(insert).bind(key).fetch_one(&mut **transaction).await,
    }
}

/// What is just before the first event of a page, in the order of time and id: no id is as small as
/// no bytes at all.
fn just_before(window: Window, after: Option<Cursor>) -> (i64, Vec<u8>) {
    match after.filter(|after| after.at >= window.start()) {
        Some(Cursor { at, id }) => (at.as_micros(), id.as_bytes().to_vec()),
        None => (window.start().as_micros(), Vec::new()),
    }
}

fn one_more(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1)
}

/// The insertion of so many events at once: a round trip to the connection costs as much as five
/// rows. The sizes end with 1, so that every number of events is a sum of them.
static INSERT_EVENTS: LazyLock<[(usize, String); 3]> = LazyLock::new(|| {
    const INTO: &str = "INSERT INTO prediction_logs (model, at, id, request_id, batch, version,
        profile, score, label, latency_us, has_features, codes, correlation_id) VALUES ";
    const ROW: &str = "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    [100, 10, 1].map(|size| (size, INTO.to_owned() + &[ROW].repeat(size).join(", ")))
});

pub(super) const SCAN: &str = "
    SELECT e.at, e.id, e.request_id, e.version, e.score, e.label, e.latency_us, e.has_features,
        e.codes, e.correlation_id, p.fingerprint, f.features
    FROM prediction_logs e
    LEFT JOIN log_profiles p ON p.id = e.profile
    LEFT JOIN prediction_features f ON e.has_features <> 0 AND f.model = e.model
        AND f.request_id = e.request_id AND f.at = e.at AND f.id = e.id
    WHERE e.model = (SELECT id FROM log_models WHERE name = ?1)
        AND (e.at, e.id) > (?2, ?3) AND e.at < ?4
    ORDER BY e.at, e.id LIMIT ?5";

// CROSS JOIN: SQLite reads events in their order and looks the rest up.
pub(super) const LABELLED: &str = "
    SELECT e.at, e.id, e.request_id, e.version, e.score, e.label, e.latency_us, e.has_features,
        e.codes, e.correlation_id, f.features, o.outcome
    FROM prediction_logs e
    CROSS JOIN outcomes o ON o.request_id = e.request_id
    CROSS JOIN prediction_features f ON f.model = e.model
        AND f.request_id = e.request_id AND f.at = e.at AND f.id = e.id
    WHERE e.model = (SELECT id FROM log_models WHERE name = ?1)
        AND (e.at, e.id) > (?2, ?3) AND e.at < ?4 AND e.has_features <> 0
        AND NOT EXISTS (SELECT 1 FROM prediction_features earlier
            WHERE earlier.model = e.model AND earlier.request_id = e.request_id
                AND (earlier.at, earlier.id) < (e.at, e.id))
    ORDER BY e.at, e.id LIMIT ?5";

pub(super) const FORGET_SUMMARIES: &str = "
    UPDATE ingest_batches SET summary = NULL WHERE id IN (
        SELECT id FROM ingest_batches WHERE first_at < ?1 AND summary IS NOT NULL LIMIT ?2)";

pub(super) const DELETE_FEATURES: &str = "
    DELETE FROM prediction_features WHERE (model, request_id, at, id) IN (
        SELECT model, request_id, at, id FROM (
            SELECT model, request_id, at, id, has_features FROM prediction_logs
            WHERE model = ?3 AND at < ?1 ORDER BY at, id LIMIT ?2)
        WHERE has_features <> 0)";

pub(super) const DELETE_EVENTS: &str = "
    DELETE FROM prediction_logs WHERE (model, at, id) IN (
        SELECT model, at, id FROM prediction_logs
        WHERE model = ?3 AND at < ?1 ORDER BY at, id LIMIT ?2)";

pub(super) const DELETE_OUTCOMES: &str = "
    DELETE FROM outcomes WHERE request_id IN (
        SELECT request_id FROM outcomes WHERE observed_at < ?1 LIMIT ?2)";

pub(super) const FORGET_BATCHES: &str = "
    DELETE FROM ingest_batches WHERE id IN (
        SELECT id FROM ingest_batches
        WHERE first_at < ?1 AND last_at < ?1 AND written_at < ?1 LIMIT ?2)";

#[async_trait]
impl InferenceLog for SqliteStore {
    async fn append(&self, batch: &EventBatch) -> Result<Appended, Error> {
        RULES.batch(batch)?;
        let what = format!("append batch {}", batch.id());
        let failed = |cause| self.failed(&what, cause);
        let summary = Summaries::document(batch.counts()).map_err(|cause| {
            Error::new(ErrorKind::InvalidInput, COMPONENT, format!("cannot {what}"))
                .with_source(cause)
        })?;
        let version = self.number(batch.version())?;
        let mut transaction = self.write(&what).await?;
        let written = self.clock()?;
        let model = number(
            &mut transaction,
            "SELECT id FROM log_models WHERE name = ?",
            "INSERT INTO log_models (name) VALUES (?) RETURNING id",
            batch.model().as_str(),
        );
        let model = model.await.map_err(failed)?;
        let print = batch.profile();
        let profile = number(
            &mut transaction,
            "SELECT id FROM log_profiles WHERE fingerprint = ?",
            "INSERT INTO log_profiles (fingerprint) VALUES (?) RETURNING id",
            &print.as_bytes()[..],
        );
        let profile = profile.await.map_err(failed)?;
        let (first, last) = extent(batch, written);
        let row: Option<i64> = sqlx::query_scalar(
            "INSERT INTO ingest_batches (batch_id, model, version, profile, events, first_at,
                last_at, written_at, summary)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (batch_id) DO NOTHING RETURNING id",
        )
        .bind(&batch.id().0.as_bytes()[..])
        .bind(model)
        .bind(version)
        .bind(profile)
        .bind(i64::try_from(batch.events().len()).unwrap_or(i64::MAX))
        .bind(first.as_micros())
        .bind(last.as_micros())
        .bind(written.as_micros())
        .bind(summary)
        .fetch_optional(&mut *transaction)
        .await
        .map_err(failed)?;
        let Some(row) = row else {
            transaction.rollback().await.map_err(failed)?;
            return Ok(Appended::AlreadyThere);
        };
        let mut rest = batch.events();
        for (size, insert) in &*INSERT_EVENTS {
            while let Some((some, others)) = rest.split_at_checked(*size) {
                let mut query = sqlx::query(insert.as_str());
                for event in some {
                    query = query
                        .bind(model)
                        .bind(event.at.as_micros())
                        .bind(&event.id.as_bytes()[..])
                        .bind(&event.request_id.as_bytes()[..])
                        .bind(row)
                        .bind(version)
                        .bind(profile)
                        .bind(event.prediction.score())
                        .bind(event.prediction.label().map(i64::from))
                        .bind(micros(event.latency))
                        .bind(i64::from(event.features.is_some()))
                        .bind(event.codes.as_bytes())
                        .bind(event.correlation_id.as_ref().map(CorrelationId::as_str));
                }
                query.execute(&mut *transaction).await.map_err(failed)?;
                rest = others;
            }
        }
        for event in batch.events() {
            let Some(features) = &event.features else { continue };
            sqlx::query(
                "INSERT INTO prediction_features (model, request_id, at, id, features)
                VALUES (?, ?, ?, ?, ?)",
            )
            .bind(model)
            .bind(&event.request_id.as_bytes()[..])
            .bind(event.at.as_micros())
            .bind(&event.id.as_bytes()[..])
            .bind(features)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        }
        transaction.commit().await.map_err(failed)?;
        Ok(Appended::Written)
    }

    async fn record_outcomes(&self, outcomes: &[Outcome]) -> Result<OutcomeReceipt, Error> {
        RULES.outcomes(outcomes)?;
        let what = format!("record {} outcomes", outcomes.len());
        let failed = |cause| self.failed(&what, cause);
        let mut receipt = OutcomeReceipt::default();
        let mut transaction = self.write(&what).await?;
        let now = self.clock()?;
        for Outcome { request_id, outcome, observed_at } in outcomes {
            let found = sqlx::query_scalar("SELECT outcome FROM outcomes WHERE request_id = ?")
                .bind(&request_id.as_bytes()[..])
                .fetch_optional(&mut *transaction)
                .await
                .map_err(failed)?;
            let step = OutcomeStep::of(found, *outcome);
            receipt.add(step);
            if step == OutcomeStep::Keep {
                continue;
            }
            sqlx::query(
                "INSERT INTO outcomes (request_id, outcome, observed_at) VALUES (?1, ?2, ?3)
                ON CONFLICT (request_id) DO UPDATE SET outcome = ?2, observed_at = ?3",
            )
            .bind(&request_id.as_bytes()[..])
            .bind(outcome)
            .bind(observed_at.unwrap_or(now).as_micros())
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        }
        transaction.commit().await.map_err(failed)?;
        Ok(receipt)
    }

    async fn counts(
        &self,
        model: &ModelName,
        version: VersionId,
        window: Window,
        profile: &Profile,
    ) -> Result<WindowCounts, Error> {
        self.count(model, version, window, profile).await
    }

    async fn scan(
        &self,
        model: &ModelName,
        window: Window,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<LoggedEvent>, Error> {
        RULES.limit(limit)?;
        let failed = |cause| self.failed(format_args!("scan {model} in {window}"), cause);
        let (at, id) = just_before(window, after);
        let rows = sqlx::query(SCAN)
            .bind(model.as_str())
            .bind(at)
            .bind(id)
            .bind(window.end().as_micros())
            .bind(one_more(limit))
            .fetch_all(self.reads())
            .await
            .map_err(failed)?;
        let logged = |row: &SqliteRow| {
            let (event, version) = self.event(row)?;
            let print: Option<&[u8]> = row.try_get("fingerprint").map_err(failed)?;
            let print = print.and_then(|print| print.try_into().ok());
            let nameless = || self.corrupt(format_args!("event {} has no profile", event.id));
            let profile = Fingerprint::from_bytes(print.ok_or_else(nameless)?);
            Ok(LoggedEvent { event, version, profile })
        };
        let items = rows.iter().map(logged).collect::<Result<Vec<_>, Error>>()?;
        Ok(Page::first(items, limit, |logged: &LoggedEvent| logged.event.place()))
    }

    async fn labelled(
        &self,
        model: &ModelName,
        window: Window,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<LabelledEvent>, Error> {
        RULES.limit(limit)?;
        let what = format!("read labelled events of {model} in {window}");
        let failed = |cause| self.failed(&what, cause);
        let (at, id) = just_before(window, after);
        let rows = sqlx::query(LABELLED)
            .bind(model.as_str())
            .bind(at)
            .bind(id)
            .bind(window.end().as_micros())
            .bind(one_more(limit))
            .fetch_all(self.reads())
            .await
            .map_err(failed)?;
        let labelled = |row: &SqliteRow| {
            let (event, version) = self.event(row)?;
            let outcome: f64 = row.try_get("outcome").map_err(failed)?;
            if !outcome.is_finite() {
                return Err(self
                    .corrupt(format_args!("request {} has outcome {outcome}", event.request_id)));
            }
            Ok(LabelledEvent { event, version, outcome })
        };
        let items = rows.iter().map(labelled).collect::<Result<Vec<_>, Error>>()?;
        Ok(Page::first(items, limit, |labelled: &LabelledEvent| labelled.event.place()))
    }

    async fn purge(&self, before: Timestamp) -> Result<Purged, Error> {
        let what = format!("purge what is from before {before}");
        let failed = |cause| self.failed(&what, cause);
        // Summaries first: none may tell of events that are gone.
        self.in_steps(&[FORGET_SUMMARIES], before, None, &what).await?;
        let models: Vec<i64> = sqlx::query_scalar("SELECT id FROM log_models")
            .fetch_all(self.reads())
            .await
            .map_err(failed)?;
        let mut purged = Purged::default();
        for model in models {
            let delete = [DELETE_FEATURES, DELETE_EVENTS];
            purged.events += self.in_steps(&delete, before, Some(model), &what).await?;
        }
        purged.outcomes = self.in_steps(&[DELETE_OUTCOMES], before, None, &what).await?;
        self.in_steps(&[FORGET_BATCHES], before, None, &what).await?;
        Ok(purged)
    }

    async fn now(&self) -> Result<Timestamp, Error> {
        self.clock()
    }
}

impl SqliteStore {
    /// Repeats `statements`, together in one transaction, until the last of them finds nothing
    /// more; the number of rows that it found. ?1 is the time, ?2 how many at once, ?3 the model.
    async fn in_steps(
        &self,
        statements: &[&'static str],
        before: Timestamp,
        model: Option<i64>,
        what: &str,
    ) -> Result<u64, Error> {
        let mut all = 0;
        loop {
            let mut transaction = self.write(what).await?;
            let mut found = 0;
            for statement in statements {
                let mut query =
                    sqlx::query(*statement).bind(before.as_micros()).bind(PURGED_AT_ONCE);
                if let Some(model) = model {
                    query = query.bind(model);
                }
                let done = query.execute(&mut *transaction).await;
                found = done.map_err(|e| self.failed(what, e))?.rows_affected();
            }
            transaction.commit().await.map_err(|e| self.failed(what, e))?;
            all += found;
            if found == 0 {
                return Ok(all);
            }
        }
    }
}

/// As SQLite keeps numbers; an event is made with no more.
fn micros(latency: Duration) -> i64 {
    i64::try_from(latency.as_micros()).unwrap_or(i64::MAX)
}
