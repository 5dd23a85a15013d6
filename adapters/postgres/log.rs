//! The inference log in PostgreSQL.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::PoisonError;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::postgres::{PgRow, Postgres};
use sqlx::{Row, Transaction};
use uuid::Uuid;

use super::error::{COMPONENT, with_retries};
use super::moment::Moment;
use super::{PostgresStore, query, rows, scalar};
use crate::drift::{Codes, Counts, Profile};
use crate::log::{
    Appended, CorrelationId, Cursor, EventBatch, InferenceEvent, InferenceLog, LabelledEvent,
    LoggedEvent, Outcome, OutcomeReceipt, OutcomeStep, Page, Purged, Rules, Summaries,
    WindowCounts, extent,
};
use crate::model::Prediction;
use crate::registry::{ModelName, VersionId};
use crate::schema::Fingerprint;
use crate::{Error, ErrorKind, Timestamp, Window};

pub(super) const RULES: Rules = Rules::new(COMPONENT);

/// Rows of one INSERT: more of them only take longer.
const ROWS_AT_ONCE: usize = 1_000;

/// Events that a page looks through at first; few in tests, so that these get to every seam.
const LOOK_AT_FIRST: i64 = if cfg!(test) { 3 } else { 1_000 };

/// [`prediction_logs.flags`](super): raw features were kept.
const HAS_FEATURES: i16 = 1;

const INSERT_BATCH: &str = "
    INSERT INTO pmmds_store.ingest_batches (batch_id, model_version, events, first_at, last_at,
        written_at, bucket, counts, summary)
    VALUES ($1, $2, $3, $4, $5, coalesce($6, clock_timestamp()), $7, $8, $9::json)
    ON CONFLICT (batch_id) DO NOTHING
    RETURNING (SELECT unique_request_ids FROM pmmds_store.settings)";

/// A batch that was written without some of its events.
const THIN_BATCH: &str = "
    UPDATE pmmds_store.ingest_batches
    SET events = $2, counts = CASE WHEN counts IS NOT NULL THEN $3 END, summary = $4::json
    WHERE batch_id = $1";

// The arrays are unnested in the list and not in FROM, where the server would first put all of their
// rows aside. They are of one length.

const INSERT_EVENTS: &str = "
    INSERT INTO pmmds_store.prediction_logs (model_version, at, id, score, latency_us, request_id,
        prediction, flags, codes, correlation_id)
    SELECT $1, unnest($2::timestamptz[]), unnest($3::uuid[]), unnest($4::float8[]),
        unnest($5::bigint[]), unnest($6::uuid[]), unnest($7::smallint[]), unnest($8::smallint[]),
        unnest($9::bytea[]), unnest($10::text[])";

const INSERT_FEATURES: &str = "
    INSERT INTO pmmds_store.prediction_features (model_version, request_id, at, id, features)
    SELECT $1, unnest($2::uuid[]), unnest($3::timestamptz[]), unnest($4::uuid[]), unnest($5::text[])";

const INSERT_HISTOGRAM: &str = "
    INSERT INTO pmmds_store.feature_histograms (model_version, bucket, events, counts)
    VALUES ($1, $2, $3, $4)";

pub(super) const SCAN: &str = "
    SELECT e.at, e.id, coalesce(e.request_id, e.id), e.score, e.prediction, e.latency_us, e.flags,
        e.codes, f.features, v.version, v.profile,
        e.at < (SELECT features_from FROM pmmds_store.settings), e.correlation_id
    FROM pmmds_store.prediction_logs e
    JOIN pmmds_store.model_versions v ON v.id = e.model_version
    LEFT JOIN pmmds_store.prediction_features f ON e.flags & 1 <> 0
        AND f.request_id = coalesce(e.request_id, e.id) AND f.at = e.at AND f.id = e.id
    WHERE v.model = $1 AND e.at >= $2 AND e.at < $3 AND ($4::uuid IS NULL OR (e.at, e.id) > ($2, $4))
    ORDER BY e.at, e.id LIMIT $5";

pub(super) const LABELLED: &str = "
    SELECT e.at, e.id, coalesce(e.request_id, e.id), e.score, e.prediction, e.latency_us, e.flags,
        e.codes, f.features, v.version, v.profile, false, e.correlation_id, o.outcome
    FROM pmmds_store.prediction_logs e
    JOIN pmmds_store.model_versions v ON v.id = e.model_version
    JOIN pmmds_store.prediction_features f ON f.request_id = coalesce(e.request_id, e.id)
        AND f.at = e.at AND f.id = e.id
    JOIN pmmds_store.outcomes o ON o.request_id = coalesce(e.request_id, e.id)
    WHERE v.model = $1 AND e.at >= $2 AND e.at < $3 AND ($4::uuid IS NULL OR (e.at, e.id) > ($2, $4))
        AND e.flags & 1 <> 0
        AND NOT EXISTS (SELECT FROM pmmds_store.prediction_features earlier
            JOIN pmmds_store.model_versions w ON w.id = earlier.model_version
            WHERE earlier.request_id = f.request_id AND w.model = $1
                AND (earlier.at, earlier.id) < (e.at, e.id))
    ORDER BY e.at, e.id LIMIT $5";

/// How far the batches reach that hold the next $4 events: the latest moment of theirs, and whether
/// there are more batches behind them.
pub(super) const REACH: &str = "
    SELECT max(last_at), coalesce(sum(events), 0)::bigint >= $4 OR count(*) >= $4 FROM (
        SELECT last_at, events, sum(events) OVER (ORDER BY first_at, batch_id) - events AS before
        FROM (SELECT batch_id, first_at, last_at, events FROM pmmds_store.ingest_batches
            WHERE model_version = ANY($1) AND first_at >= $2 AND first_at < $3
            ORDER BY first_at, batch_id LIMIT $4) b) b
    WHERE before < $4";

/// The columns of a batch as they are sent, so that a second attempt sends the same.
struct Columns<'b> {
    at: Vec<Moment>,
    ids: Vec<Uuid>,
    scores: Vec<f64>,
    latencies: Vec<i64>,
    requests: Vec<Option<Uuid>>,
    predictions: Vec<Option<i16>>,
    flags: Vec<i16>,
    codes: Vec<&'b [u8]>,
    correlation_ids: Vec<Option<&'b str>>,
    // of the events that have some
    features: Features<'b>,
}

#[derive(Default)]
struct Features<'b> {
    requests: Vec<Uuid>,
    at: Vec<Moment>,
    ids: Vec<Uuid>,
    texts: Vec<&'b str>,
}

impl<'b> Columns<'b> {
    fn of(events: &'b [InferenceEvent]) -> Self {
        let mut features = Features::default();
        for event in events {
            if let Some(text) = &event.features {
                features.requests.push(event.request_id);
                features.at.push(event.at.into());
                features.ids.push(event.id);
                features.texts.push(text);
            }
        }
        let request = |event: &InferenceEvent| Some(event.request_id).filter(|id| *id != event.id);
        let flags = |event: &InferenceEvent| match event.features {
            Some(_) => HAS_FEATURES,
            None => 0,
        };
        Self {
            at: events.iter().map(|event| event.at.into()).collect(),
            ids: events.iter().map(|event| event.id).collect(),
            scores: events.iter().map(|event| event.prediction.score()).collect(),
            latencies: events.iter().map(|event| micros(event.latency)).collect(),
            requests: events.iter().map(request).collect(),
            predictions: events.iter().map(|e| e.prediction.label().map(i16::from)).collect(),
            flags: events.iter().map(flags).collect(),
            codes: events.iter().map(|event| event.codes.as_bytes()).collect(),
            correlation_ids: events
                .iter()
                .map(|event| event.correlation_id.as_ref().map(CorrelationId::as_str))
                .collect(),
            features,
        }
    }
}

/// So many rows at a time.
pub(super) fn lots(rows: usize) -> impl Iterator<Item = Range<usize>> {
    (0..rows).step_by(ROWS_AT_ONCE).map(move |from| from..rows.min(from + ROWS_AT_ONCE))
}

/// As PostgreSQL keeps counts.
fn stored(counts: &Counts) -> Vec<i64> {
    counts.flat_slots().map(|count| i64::try_from(count).unwrap_or(i64::MAX)).collect()
}

/// As PostgreSQL keeps numbers; an event is made with no more.
fn micros(latency: Duration) -> i64 {
    i64::try_from(latency.as_micros()).unwrap_or(i64::MAX)
}

fn refused(batch: &EventBatch, why: &str) -> Error {
    let context = format!("cannot append batch {}: {why}", batch.id());
    Error::new(ErrorKind::InvalidInput, COMPONENT, context)
}

fn summary_of(batch: &EventBatch) -> Result<String, Error> {
    let summary = Summaries::document(batch.counts());
    summary.map_err(|e| refused(batch, "it has no summary").with_source(e))
}

fn one_more(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1)
}

impl PostgresStore {
    /// The number that stands for a model, version and profile; it is made where there is none, in
    /// a transaction of its own, so that it can be kept in mind.
    async fn model_version(&self, batch: &EventBatch) -> Result<i32, Error> {
        let key = (batch.model().clone(), batch.version(), batch.profile());
        let known = || self.inner.model_versions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(id) = known().get(&key) {
            return Ok(*id);
        }
        let what = format!("name version {} of {}", batch.version(), batch.model());
        let failed = |cause| self.failed(&what, cause);
        let (version, print) = (self.number(batch.version())?, batch.profile());
        let select = "SELECT id FROM pmmds_store.model_versions
            WHERE model = $1 AND version = $2 AND profile = $3";
        let insert = "INSERT INTO pmmds_store.model_versions (model, version, profile)
            VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
        let mut transaction = self.write(&what).await?;
        let find = || {
            let bound = scalar::<i32>(select).bind(batch.model().as_str().to_owned());
            bound.bind(version).bind(print.as_bytes().to_vec())
        };
        let mut found = find().fetch_optional(&mut *transaction).await.map_err(failed)?;
        if found.is_none() {
            query(insert)
                .bind(batch.model().as_str())
                .bind(version)
                .bind(&print.as_bytes()[..])
                .execute(&mut *transaction)
                .await
                .map_err(failed)?;
            found = find().fetch_optional(&mut *transaction).await.map_err(failed)?;
        }
        transaction.commit().await.map_err(failed)?;
        let id = found.ok_or_else(|| self.corrupt(format_args!("cannot {what}: it is gone")))?;
        known().insert(key, id);
        Ok(id)
    }

    /// The numbers of all versions and profiles of `model`.
    async fn model_versions(
        &self,
        transaction: &mut Transaction<'_, Postgres>,
        model: &ModelName,
    ) -> Result<Vec<i32>, Error> {
        scalar("SELECT id FROM pmmds_store.model_versions WHERE model = $1")
            .bind(model.as_str())
            .fetch_all(&mut **transaction)
            .await
            .map_err(|e| self.failed(format_args!("look up {model}"), e))
    }

    async fn append_once(
        &self,
        batch: &EventBatch,
        columns: &Columns<'_>,
        summary: &str,
    ) -> Result<Appended, Error> {
        let what = format!("append batch {}", batch.id());
        let failed = |cause| self.failed(&what, cause);
        let model_version = self.model_version(batch).await?;
        let mut transaction = self.write(&what).await?;
        // Who has events need not ask for the time.
        let written = match batch.events() {
            [] => Some(self.clock(&mut transaction).await?),
            _ => None,
        };
        let (first, last) = extent(batch, written.unwrap_or(Timestamp::EPOCH));
        let width = self.bucket_width(&mut transaction).await?;
        let of = |at: Timestamp| at.as_micros().div_euclid(width) * width;
        let one = of(first) == of(last);
        let counts = match batch.events() {
            [] => Some(Vec::new()),
            _ => one.then(|| stored(batch.counts())),
        };
        let inserted: Option<bool> = scalar(INSERT_BATCH)
            .bind(batch.id().0)
            .bind(model_version)
            .bind(i32::try_from(batch.events().len()).unwrap_or(i32::MAX))
            .bind(Moment::from(first))
            .bind(Moment::from(last))
            .bind(written.map(Moment::from))
            .bind(one.then(|| Moment(of(first))))
            .bind(counts)
            .bind(summary)
            .fetch_optional(&mut *transaction)
            .await
            .map_err(failed)?;
        let Some(unique) = inserted else {
            transaction.rollback().await.map_err(failed)?;
            return Ok(Appended::AlreadyThere);
        };
        let all = batch.events().len();
        let left = match unique {
            true => self.without_duplicates(&mut transaction, batch).await?,
            false => None,
        };
        let (batch, thinned) = match &left {
            None => (batch, None),
            Some(left) => (left, Some(Columns::of(left.events()))),
        };
        let columns = thinned.as_ref().unwrap_or(columns);
        if left.is_some() {
            query(THIN_BATCH)
                .bind(batch.id().0)
                .bind(i32::try_from(batch.events().len()).unwrap_or(i32::MAX))
                .bind(if batch.events().is_empty() { Vec::new() } else { stored(batch.counts()) })
                .bind(summary_of(batch)?)
                .execute(&mut *transaction)
                .await
                .map_err(failed)?;
        }
        for lot in lots(batch.events().len()) {
            query(INSERT_EVENTS)
                .bind(model_version)
                .bind(&columns.at[lot.clone()])
                .bind(&columns.ids[lot.clone()])
                .bind(&columns.scores[lot.clone()])
                .bind(&columns.latencies[lot.clone()])
                .bind(&columns.requests[lot.clone()])
                .bind(&columns.predictions[lot.clone()])
                .bind(&columns.flags[lot.clone()])
                .bind(&columns.codes[lot.clone()])
                .bind(&columns.correlation_ids[lot])
                .execute(&mut *transaction)
                .await
                .map_err(failed)?;
        }
        let features = &columns.features;
        for lot in lots(features.ids.len()) {
            query(INSERT_FEATURES)
                .bind(model_version)
                .bind(&features.requests[lot.clone()])
                .bind(&features.at[lot.clone()])
                .bind(&features.ids[lot.clone()])
                .bind(&features.texts[lot])
                .execute(&mut *transaction)
                .await
                .map_err(failed)?;
        }
        if !one {
            let mut buckets: BTreeMap<i64, Counts> = BTreeMap::new();
            for event in batch.events() {
                let counts = buckets.entry(of(event.at));
                counts.or_insert_with(|| batch.counts().cleared()).observe_codes(&event.codes);
            }
            for (bucket, counts) in buckets {
                query(INSERT_HISTOGRAM)
                    .bind(model_version)
                    .bind(Moment(bucket))
                    .bind(i64::try_from(counts.rows()).unwrap_or(i64::MAX))
                    .bind(stored(&counts))
                    .execute(&mut *transaction)
                    .await
                    .map_err(failed)?;
            }
        }
        transaction.commit().await.map_err(failed)?;
        match all - batch.events().len() {
            0 => Ok(Appended::Written),
            left_out => Ok(Appended::WithoutDuplicates { duplicates: left_out as u64 }),
        }
    }

    async fn record_outcomes_once(&self, outcomes: &[Outcome]) -> Result<OutcomeReceipt, Error> {
        let what = format!("record {} outcomes", outcomes.len());
        let failed = |cause| self.failed(&what, cause);
        let mut transaction = self.write(&what).await?;
        let now = self.clock(&mut transaction).await?;
        let observed = |outcome: &Outcome| Moment::from(outcome.observed_at.unwrap_or(now));
        // The first of each request, in one order for all callers: no two wait for each other.
        let mut first: BTreeMap<Uuid, &Outcome> = BTreeMap::new();
        for outcome in outcomes {
            first.entry(outcome.request_id).or_insert(outcome);
        }
        let requests: Vec<Uuid> = first.keys().copied().collect();
        let new: Vec<Uuid> = scalar(
            "INSERT INTO pmmds_store.outcomes (request_id, outcome, observed_at)
            SELECT * FROM unnest($1::uuid[], $2::float8[], $3::timestamptz[])
            ON CONFLICT (request_id) DO NOTHING RETURNING request_id",
        )
        .bind(&requests)
        .bind(first.values().map(|outcome| outcome.outcome).collect::<Vec<_>>())
        .bind(first.values().map(|outcome| observed(outcome)).collect::<Vec<_>>())
        .fetch_all(&mut *transaction)
        .await
        .map_err(failed)?;
        let known: Vec<(Uuid, f64)> = rows(
            "SELECT request_id, outcome FROM pmmds_store.outcomes
            WHERE request_id = ANY($1) AND NOT request_id = ANY($2)
            ORDER BY request_id FOR UPDATE",
        )
        .bind(&requests)
        .bind(&new)
        .fetch_all(&mut *transaction)
        .await
        .map_err(failed)?;
        let mut known: HashMap<Uuid, f64> = known.into_iter().collect();
        let mut receipt = OutcomeReceipt::default();
        let mut corrected: BTreeMap<Uuid, &Outcome> = BTreeMap::new();
        for outcome in outcomes {
            let found = known.get(&outcome.request_id).copied();
            let step = OutcomeStep::of(found, outcome.outcome);
            receipt.add(step);
            if step != OutcomeStep::Keep {
                known.insert(outcome.request_id, outcome.outcome);
            }
            if step == OutcomeStep::Correct {
                corrected.insert(outcome.request_id, outcome);
            }
        }
        if !corrected.is_empty() {
            query(
                "UPDATE pmmds_store.outcomes o SET outcome = n.outcome, observed_at = n.observed_at
                FROM unnest($1::uuid[], $2::float8[], $3::timestamptz[])
                    AS n (request_id, outcome, observed_at)
                WHERE o.request_id = n.request_id",
            )
            .bind(corrected.keys().copied().collect::<Vec<_>>())
            .bind(corrected.values().map(|outcome| outcome.outcome).collect::<Vec<_>>())
            .bind(corrected.values().map(|outcome| observed(outcome)).collect::<Vec<_>>())
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        }
        transaction.commit().await.map_err(failed)?;
        Ok(receipt)
    }

    /// Rows of `statement` in `window` after `after`, at most one more than `limit`.
    ///
    /// There is no index in the order of time and id, which would be larger than the log: stretches
    /// are sorted that hold about as many events as are looked for, more at each step.
    async fn in_order(
        &self,
        statement: &'static str,
        model: &ModelName,
        window: Window,
        after: Option<Cursor>,
        limit: usize,
        what: &str,
    ) -> Result<Vec<PgRow>, Error> {
        let failed = |cause| self.failed(what, cause);
        let (mut from, end) = Moment::ends(window);
        let mut id = None;
        if let Some(after) = after.filter(|after| after.at >= window.start()) {
            (from, id) = (Moment::bound(after.at), Some(after.id));
        }
        let limit = one_more(limit);
        let mut transaction = self.read(what).await?;
        let versions = self.model_versions(&mut transaction, model).await?;
        let (mut found, mut events) = (Vec::new(), LOOK_AT_FIRST);
        while from < end {
            let left = limit - i64::try_from(found.len()).unwrap_or(i64::MAX);
            if left <= 0 {
                break;
            }
            events = events.max(left);
            let (last, more): (Option<Moment>, bool) = rows(REACH)
                .bind(&versions)
                .bind(from)
                .bind(end)
                .bind(events)
                .fetch_one(&mut *transaction)
                .await
                .map_err(failed)?;
            let to = match last {
                Some(last) if more => end.min(Moment(last.0.saturating_add(1))),
                _ => end,
            };
            let some = query(statement)
                .bind(model.as_str())
                .bind(from)
                .bind(to)
                .bind(id)
                .bind(left)
                .fetch_all(&mut *transaction)
                .await
                .map_err(failed)?;
            found.extend(some);
            if to <= from {
                // Damage: to go on would be to go round.
                return Err(self.corrupt(format_args!("batches in {window} are out of order")));
            }
            (from, id) = (to, None);
            events = events.saturating_mul(4);
        }
        Ok(found)
    }

    /// The event in a row of [`SCAN`] or [`LABELLED`].
    fn event(&self, row: &PgRow) -> Result<LoggedEvent, Error> {
        let column = |cause| self.failed("read an event", cause);
        let id: Uuid = row.try_get(1).map_err(column)?;
        let impossible = |what: &str| self.corrupt(format_args!("event {id} has no {what}"));
        let score = row.try_get(3).map_err(column)?;
        let label: Option<i16> = row.try_get(4).map_err(column)?;
        let label = label.map(u8::try_from).transpose().map_err(|_| impossible("label"))?;
        let latency = row.try_get::<i64, _>(5).map_err(column)?;
        let latency = u64::try_from(latency).map_err(|_| impossible("latency"))?;
        let event = InferenceEvent::new(
            id,
            row.try_get(2).map_err(column)?,
            self.time(row.try_get(0).map_err(column)?)?,
            Prediction::from_stored(score, label).ok_or_else(|| impossible("prediction"))?,
            Duration::from_micros(latency),
            Codes::from_bytes(row.try_get::<&[u8], _>(7).map_err(column)?),
        );
        let kept = row.try_get::<i16, _>(6).map_err(column)? & HAS_FEATURES != 0;
        let features: Option<String> = row.try_get(8).map_err(column)?;
        let event = match features {
            Some(features) => event.with_features(features),
            None if kept && !row.try_get::<bool, _>(11).map_err(column)? => {
                return Err(impossible("raw features, though they were kept"));
            }
            None => event,
        };
        let event =
            match row.try_get::<Option<&str>, _>(12).map_err(column)?.map(CorrelationId::new) {
                Some(Ok(correlation_id)) => event.with_correlation_id(correlation_id),
                Some(Err(why)) => return Err(self.corrupt(format_args!("event {id}: {why}"))),
                None => event,
            };
        let version = row.try_get::<i64, _>(9).map_err(column)?;
        let version = u64::try_from(version).ok().and_then(VersionId::new);
        let profile = row.try_get::<&[u8], _>(10).map_err(column)?.try_into().ok();
        Ok(LoggedEvent {
            event,
            version: version.ok_or_else(|| impossible("version"))?,
            profile: Fingerprint::from_bytes(profile.ok_or_else(|| impossible("profile"))?),
        })
    }
}

#[async_trait]
impl InferenceLog for PostgresStore {
    async fn append(&self, batch: &EventBatch) -> Result<Appended, Error> {
        RULES.batch(batch)?;
        let nul = |e: &&InferenceEvent| e.features.as_ref().is_some_and(|f| f.contains('\0'));
        if let Some(event) = batch.events().iter().find(nul) {
            return Err(refused(batch, &format!("the features of event {} hold a NUL", event.id)));
        }
        let summary = summary_of(batch)?;
        self.keep_partitions_ahead(batch).await;
        let columns = Columns::of(batch.events());
        let answer = with_retries!(self.append_once(batch, &columns, &summary));
        if answer.is_err() {
            // The number may be of a database that is no more.
            let known = &self.inner.model_versions;
            known.lock().unwrap_or_else(PoisonError::into_inner).clear();
            self.inner.bucket_width.store(0, Relaxed);
        } else {
            self.maintain_in_time();
        }
        answer
    }

    async fn record_outcomes(&self, outcomes: &[Outcome]) -> Result<OutcomeReceipt, Error> {
        RULES.outcomes(outcomes)?;
        with_retries!(self.record_outcomes_once(outcomes))
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
        let what = format!("scan {model} in {window}");
        let rows = self.in_order(SCAN, model, window, after, limit, &what).await?;
        let items = rows.iter().map(|row| self.event(row)).collect::<Result<Vec<_>, Error>>()?;
        Ok(Page::first(items, limit, |logged| logged.event.place()))
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
        let rows = self.in_order(LABELLED, model, window, after, limit, &what).await?;
        let labelled = |row: &PgRow| {
            let LoggedEvent { event, version, .. } = self.event(row)?;
            let outcome: f64 = row.try_get(13).map_err(|e| self.failed(&what, e))?;
            if !outcome.is_finite() {
                return Err(self
                    .corrupt(format_args!("request {} has outcome {outcome}", event.request_id)));
            }
            Ok(LabelledEvent { event, version, outcome })
        };
        let items = rows.iter().map(labelled).collect::<Result<Vec<_>, Error>>()?;
        Ok(Page::first(items, limit, |labelled| labelled.event.place()))
    }

    async fn purge(&self, before: Timestamp) -> Result<Purged, Error> {
        self.purge_before(before).await
    }

    async fn now(&self) -> Result<Timestamp, Error> {
        let mut transaction = self.read("ask for the time").await?;
        self.clock(&mut transaction).await
    }
}
