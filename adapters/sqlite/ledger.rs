//! The ledger in SQLite.

use std::time::Duration;

use async_trait::async_trait;
use serde::de::DeserializeOwned;
use sqlx::{Sqlite, Transaction};
use uuid::Uuid;

use super::SqliteStore;
use super::error::COMPONENT;
use crate::ledger::{
    Alert, AlertStore, DecisionStep, DecisionStore, DriftRun, DriftStore, Lease, LeaseStore,
    PromotionDecision, ReferenceDataset, RetrainingRun, Rules,
};
use crate::log::{Cursor, Page};
use crate::registry::ModelName;
use crate::{Error, Timestamp};

const RULES: Rules = Rules::new(COMPONENT);

/// A kind of record, as one table keeps it.
trait Stored: DeserializeOwned {
    /// What a person calls it.
    const WHAT: &'static str;
    /// By id.
    const ONE: &'static str;
    /// By model, before a time and id, newest first.
    const LIST: &'static str;

    fn place(&self) -> Cursor;
}

macro_rules! stored {
    ($($record:ident is $what:literal in $table:literal by $time:ident),+) => {$(
        impl Stored for $record {
            const WHAT: &'static str = $what;
            const ONE: &'static str = concat!("SELECT record FROM ", $table, " WHERE id = ?");
            const LIST: &'static str = concat!(
                "SELECT record, ", stringify!($time), ", id FROM ", $table,
                " WHERE model = ?1 AND (", stringify!($time), ", id) < (?2, ?3)",
                " ORDER BY ", stringify!($time), " DESC, id DESC LIMIT ?4",
            );

            fn place(&self) -> Cursor {
                Cursor { at: self.$time, id: self.id }
            }
        }
    )+};
}

stored!(
    DriftRun is "drift run" in "drift_metrics" by created_at,
    Alert is "alert" in "drift_alerts" by opened_at,
    RetrainingRun is "retraining run" in "retraining_runs" by started_at,
    PromotionDecision is "decision" in "promotion_decisions" by created_at
);

/// The queries of all lists.
#[cfg(test)]
pub(super) fn lists() -> [&'static str; 4] {
    [DriftRun::LIST, Alert::LIST, RetrainingRun::LIST, PromotionDecision::LIST]
}

impl SqliteStore {
    /// The record with this id, if there is one.
    async fn find<T: Stored>(
        &self,
        transaction: &mut Transaction<'_, Sqlite>,
        id: Uuid,
    ) -> Result<Option<T>, Error> {
        let record: Option<String> = sqlx::query_scalar(T::ONE)
            .bind(&id.as_bytes()[..])
            .fetch_optional(&mut **transaction)
            .await
            .map_err(|e| self.failed(format_args!("read {} {id}", T::WHAT), e))?;
        record.map(|record| self.record(id, &record)).transpose()
    }

    fn record<T: Stored>(&self, id: Uuid, record: &str) -> Result<T, Error> {
        let record: T = RULES.record(&format!("{} {id}", T::WHAT), record)?;
        if record.place().id != id {
            return Err(self.corrupt(format_args!("{} {id} is another's record", T::WHAT)));
        }
        Ok(record)
    }

    async fn get<T: Stored>(&self, id: Uuid) -> Result<T, Error> {
        let what = format!("read {} {id}", T::WHAT);
        let mut transaction = self.read(&what).await?;
        let found = self.find(&mut transaction, id).await?;
        found.ok_or_else(|| RULES.not_found(T::WHAT, id))
    }

    async fn list<T: Stored>(
        &self,
        model: &ModelName,
        before: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<T>, Error> {
        RULES.limit(limit)?;
        let failed = |cause| self.failed(format_args!("list every {} of {model}", T::WHAT), cause);
        let (at, id) = match before {
            Some(Cursor { at, id }) => (at.as_micros(), id.as_bytes().to_vec()),
            None => (i64::MAX, Vec::new()),
        };
        let rows: Vec<(String, i64, Vec<u8>)> = sqlx::query_as(T::LIST)
            .bind(model.as_str())
            .bind(at)
            .bind(id)
            .bind(i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1))
            .fetch_all(self.reads())
            .await
            .map_err(failed)?;
        let mut items = Vec::with_capacity(rows.len());
        for (record, at, id) in rows {
            let id = self.id(&id)?;
            let record: T = self.record(id, &record)?;
            if record.place().at.as_micros() != at {
                // Going on from it would never end.
                return Err(self.corrupt(format_args!("{} {id} is filed elsewhere", T::WHAT)));
            }
            items.push(record);
        }
        Ok(Page::first(items, limit, Stored::place))
    }

    /// The last lease of this name.
    async fn last_lease(
        &self,
        transaction: &mut Transaction<'_, Sqlite>,
        name: &str,
    ) -> Result<Option<Lease>, Error> {
        let found: Option<(String, i64, i64)> =
            sqlx::query_as("SELECT owner, token, expires_at FROM leases WHERE name = ?")
                .bind(name)
                .fetch_optional(&mut **transaction)
                .await
                .map_err(|e| self.failed(format_args!("read lease {name}"), e))?;
        let Some((owner, token, expires_at)) = found else { return Ok(None) };
        let impossible = || self.corrupt(format_args!("lease {name} has an impossible value"));
        let token = u64::try_from(token).map_err(|_| impossible())?;
        let expires_at = Timestamp::from_micros(expires_at).map_err(|_| impossible())?;
        Ok(Some(Lease { name: name.to_owned(), owner, token, expires_at }))
    }

    async fn store_lease(
        &self,
        mut transaction: Transaction<'_, Sqlite>,
        lease: &Lease,
    ) -> Result<(), Error> {
        let failed = |cause| self.failed(format_args!("store lease {}", lease.name), cause);
        sqlx::query(
            "INSERT INTO leases (name, owner, token, expires_at) VALUES (?1, ?2, ?3, ?4)
            ON CONFLICT (name) DO UPDATE SET owner = ?2, token = ?3, expires_at = ?4",
        )
        .bind(&lease.name)
        .bind(&lease.owner)
        .bind(i64::try_from(lease.token).unwrap_or(i64::MAX))
        .bind(lease.expires_at.as_micros())
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
        transaction.commit().await.map_err(failed)
    }

    /// Begins a write that counts only under `lease`, if there is one. The clock is asked under the
    /// lock, so that no wait for it makes a lease look alive.
    async fn write_under(
        &self,
        lease: Option<&Lease>,
        what: &str,
    ) -> Result<Transaction<'static, Sqlite>, Error> {
        let mut transaction = self.write(what).await?;
        if let Some(lease) = lease {
            let found = self.last_lease(&mut transaction, &lease.name).await?;
            RULES.fence(lease, found.as_ref(), self.clock()?)?;
        }
        Ok(transaction)
    }
}

#[async_trait]
impl DriftStore for SqliteStore {
    async fn record_drift_run(&self, run: &DriftRun) -> Result<DriftRun, Error> {
        let what = format!("record drift run {}", run.id);
        let failed = |cause| self.failed(&what, cause);
        let record = RULES.document(DriftRun::WHAT, run)?;
        let version = self.number(run.version)?;
        let mut transaction = self.write(&what).await?;
        if let Some(found) = self.find(&mut transaction, run.id).await? {
            return Ok(found);
        }
        let same: Option<(Vec<u8>, String)> = sqlx::query_as(
            "SELECT id, record FROM drift_metrics WHERE model = ? AND version = ?
            AND window_start = ? AND window_end = ? AND profile = ?",
        )
        .bind(run.model.as_str())
        .bind(version)
        .bind(run.window.start().as_micros())
        .bind(run.window.end().as_micros())
        .bind(&run.report.profile.as_bytes()[..])
        .fetch_optional(&mut *transaction)
        .await
        .map_err(failed)?;
        if let Some((id, record)) = same {
            let id = self.id(&id)?;
            return self.record(id, &record);
        }
        sqlx::query(
            "INSERT INTO drift_metrics (id, model, version, window_start, window_end, profile,
                created_at, record)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(&run.id.as_bytes()[..])
        .bind(run.model.as_str())
        .bind(version)
        .bind(run.window.start().as_micros())
        .bind(run.window.end().as_micros())
        .bind(&run.report.profile.as_bytes()[..])
        .bind(run.created_at.as_micros())
        .bind(record)
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        Ok(run.clone())
    }

    async fn drift_run(&self, id: Uuid) -> Result<DriftRun, Error> {
        self.get(id).await
    }

    async fn drift_runs(
        &self,
        model: &ModelName,
        before: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<DriftRun>, Error> {
        self.list(model, before, limit).await
    }

    async fn record_reference(&self, reference: &ReferenceDataset) -> Result<(), Error> {
        let what = format!("record reference {}", reference.name);
        let failed = |cause| self.failed(&what, cause);
        let record = RULES.document("reference", reference)?;
        let mut transaction = self.write(&what).await?;
        sqlx::query(
            "INSERT INTO reference_datasets (name, model, created_at, record)
            VALUES (?1, ?2, ?3, ?4)
            ON CONFLICT (name) DO UPDATE SET model = ?2, created_at = ?3, record = ?4",
        )
        .bind(&reference.name)
        .bind(reference.model.as_str())
        .bind(reference.created_at.as_micros())
        .bind(record)
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
        transaction.commit().await.map_err(failed)
    }

    async fn references(&self, model: &ModelName) -> Result<Vec<ReferenceDataset>, Error> {
        let records: Vec<String> = sqlx::query_scalar(
            "SELECT record FROM reference_datasets WHERE model = ? ORDER BY created_at, name",
        )
        .bind(model.as_str())
        .fetch_all(self.reads())
        .await
        .map_err(|e| self.failed(format_args!("list the references of {model}"), e))?;
        records.iter().map(|record| RULES.record("reference", record)).collect()
    }
}

impl SqliteStore {
    async fn store_alert(
        &self,
        mut transaction: Transaction<'_, Sqlite>,
        alert: &Alert,
    ) -> Result<(), Error> {
        let what = format!("store alert {}", alert.id);
        let failed = |cause| self.failed(&what, cause);
        sqlx::query(
            "INSERT INTO drift_alerts (id, model, version, key, opened_at, resolved_at, record)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
            ON CONFLICT (id) DO UPDATE SET resolved_at = ?6, record = ?7",
        )
        .bind(&alert.id.as_bytes()[..])
        .bind(alert.model.as_str())
        .bind(self.number(alert.version)?)
        .bind(&alert.key)
        .bind(alert.opened_at.as_micros())
        .bind(alert.resolved_at.map(Timestamp::as_micros))
        .bind(RULES.document(Alert::WHAT, alert)?)
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
        transaction.commit().await.map_err(failed)
    }
}

#[async_trait]
impl AlertStore for SqliteStore {
    async fn open_alert(&self, alert: &Alert) -> Result<Alert, Error> {
        let what = format!("open alert {}", alert.id);
        let mut transaction = self.write(&what).await?;
        if let Some(found) = self.find(&mut transaction, alert.id).await? {
            return Ok(found);
        }
        let open: Option<(Vec<u8>, String)> = sqlx::query_as(
            "SELECT id, record FROM drift_alerts
            WHERE model = ? AND version = ? AND key = ? AND resolved_at IS NULL",
        )
        .bind(alert.model.as_str())
        .bind(self.number(alert.version)?)
        .bind(&alert.key)
        .fetch_optional(&mut *transaction)
        .await
        .map_err(|e| self.failed(&what, e))?;
        if let Some((id, record)) = open {
            let id = self.id(&id)?;
            return self.record(id, &record);
        }
        self.store_alert(transaction, alert).await?;
        Ok(alert.clone())
    }

    async fn update_alert(&self, alert: &Alert) -> Result<(), Error> {
        let mut transaction = self.write(&format!("update alert {}", alert.id)).await?;
        let found = self.find(&mut transaction, alert.id).await?;
        let found = found.ok_or_else(|| RULES.not_found(Alert::WHAT, alert.id))?;
        self.store_alert(transaction, &RULES.update_alert(&found, alert)).await
    }

    async fn acknowledge_alert(
        &self,
        id: Uuid,
        action_taken: Option<&str>,
        at: Timestamp,
    ) -> Result<Alert, Error> {
        let mut transaction = self.write(&format!("acknowledge alert {id}")).await?;
        let found = self.find(&mut transaction, id).await?;
        let found = found.ok_or_else(|| RULES.not_found(Alert::WHAT, id))?;
        let alert = RULES.acknowledge(&found, action_taken, at);
        self.store_alert(transaction, &alert).await?;
        Ok(alert)
    }

    async fn alert(&self, id: Uuid) -> Result<Alert, Error> {
        self.get(id).await
    }

    async fn open_alerts(&self, model: &ModelName) -> Result<Vec<Alert>, Error> {
        let rows: Vec<(Vec<u8>, String)> = sqlx::query_as(
            "SELECT id, record FROM drift_alerts WHERE model = ? AND resolved_at IS NULL
            ORDER BY opened_at DESC, id DESC",
        )
        .bind(model.as_str())
        .fetch_all(self.reads())
        .await
        .map_err(|e| self.failed(format_args!("list the open alerts of {model}"), e))?;
        let alert = |(id, record): &(Vec<u8>, String)| {
            let id = self.id(id)?;
            self.record(id, record)
        };
        rows.iter().map(alert).collect()
    }

    async fn alerts(
        &self,
        model: &ModelName,
        before: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<Alert>, Error> {
        self.list(model, before, limit).await
    }
}

#[async_trait]
impl DecisionStore for SqliteStore {
    async fn record_retraining_run(
        &self,
        run: &RetrainingRun,
        lease: Option<&Lease>,
    ) -> Result<(), Error> {
        let what = format!("record retraining run {}", run.id);
        let failed = |cause| self.failed(&what, cause);
        let record = RULES.document(RetrainingRun::WHAT, run)?;
        let mut transaction = self.write_under(lease, &what).await?;
        sqlx::query(
            "INSERT INTO retraining_runs (id, model, state, started_at, record)
            VALUES (?1, ?2, ?3, ?4, ?5)
            ON CONFLICT (id) DO UPDATE
                SET model = ?2, state = ?3, started_at = ?4, record = ?5",
        )
        .bind(&run.id.as_bytes()[..])
        .bind(run.model.as_str())
        .bind(run.state.as_str())
        .bind(run.started_at.as_micros())
        .bind(record)
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
        transaction.commit().await.map_err(failed)
    }

    async fn retraining_run(&self, id: Uuid) -> Result<RetrainingRun, Error> {
        self.get(id).await
    }

    async fn retraining_runs(
        &self,
        model: &ModelName,
        before: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<RetrainingRun>, Error> {
        self.list(model, before, limit).await
    }

    async fn record_decision(
        &self,
        decision: &PromotionDecision,
        lease: Option<&Lease>,
    ) -> Result<(), Error> {
        let what = format!("record decision {}", decision.id);
        let failed = |cause| self.failed(&what, cause);
        let record = RULES.document(PromotionDecision::WHAT, decision)?;
        let mut transaction = self.write_under(lease, &what).await?;
        let found = self.find(&mut transaction, decision.id).await?;
        if RULES.decision(found.as_ref(), decision)? == DecisionStep::Keep {
            return Ok(());
        }
        sqlx::query(
            "INSERT INTO promotion_decisions (id, model, state, created_at, record)
            VALUES (?1, ?2, ?3, ?4, ?5)
            ON CONFLICT (id) DO UPDATE
                SET model = ?2, state = ?3, created_at = ?4, record = ?5",
        )
        .bind(&decision.id.as_bytes()[..])
        .bind(decision.model.as_str())
        .bind(decision.state.as_str())
        .bind(decision.created_at.as_micros())
        .bind(record)
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
        transaction.commit().await.map_err(failed)
    }

    async fn decision(&self, id: Uuid) -> Result<PromotionDecision, Error> {
        self.get(id).await
    }

    async fn decisions(
        &self,
        model: &ModelName,
        before: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<PromotionDecision>, Error> {
        self.list(model, before, limit).await
    }
}

#[async_trait]
impl LeaseStore for SqliteStore {
    async fn acquire_lease(
        &self,
        name: &str,
        owner: &str,
        length: Duration,
    ) -> Result<Option<Lease>, Error> {
        let mut transaction = self.write(&format!("acquire lease {name}")).await?;
        let found = self.last_lease(&mut transaction, name).await?;
        let lease = RULES.acquire(found.as_ref(), name, owner, self.clock()?, length)?;
        if let Some(lease) = &lease {
            self.store_lease(transaction, lease).await?;
        }
        Ok(lease)
    }

    async fn lease(&self, name: &str) -> Result<Option<Lease>, Error> {
        let mut transaction = self.read(&format!("read lease {name}")).await?;
        let found = self.last_lease(&mut transaction, name).await?;
        let now = self.clock()?;
        Ok(found.filter(|lease| lease.expires_at > now))
    }

    async fn release_lease(&self, lease: &Lease) -> Result<(), Error> {
        let mut transaction = self.write(&format!("release lease {}", lease.name)).await?;
        let found = self.last_lease(&mut transaction, &lease.name).await?;
        match RULES.release(lease, found.as_ref(), self.clock()?) {
            Some(returned) => self.store_lease(transaction, &returned).await,
            None => Ok(()),
        }
    }
}
