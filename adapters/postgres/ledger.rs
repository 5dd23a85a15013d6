//! The ledger in PostgreSQL.

use std::time::Duration;

use async_trait::async_trait;
use serde::de::DeserializeOwned;
use sqlx::Transaction;
use sqlx::postgres::Postgres;
use uuid::Uuid;

use super::error::{COMPONENT, with_retries};
use super::moment::Moment;
use super::{PostgresStore, query, rows, scalar};
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
    /// By id, kept from others who would change it.
    const ONE_TO_CHANGE: &'static str;
    /// By model, before a time and id, newest first.
    const LIST: &'static str;

    fn place(&self) -> Cursor;
}

macro_rules! stored {
    ($($record:ident is $what:literal in $table:literal by $time:ident),+) => {$(
        impl Stored for $record {
            const WHAT: &'static str = $what;
            const ONE: &'static str =
                concat!("SELECT record::text FROM pmmds_store.", $table, " WHERE id = $1");
            const ONE_TO_CHANGE: &'static str =
                concat!("SELECT record::text FROM pmmds_store.", $table, " WHERE id = $1 FOR UPDATE");
            const LIST: &'static str = concat!(
                "SELECT record::text, ", stringify!($time), ", id FROM pmmds_store.", $table,
                " WHERE model = $1 AND ($2::timestamptz IS NULL OR (",
                stringify!($time), ", id) < ($2, $3))",
                " ORDER BY ", stringify!($time), " DESC, id DESC LIMIT $4",
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

impl PostgresStore {
    /// The record with this id, if there is one, by `statement`.
    async fn find<T: Stored>(
        &self,
        transaction: &mut Transaction<'_, Postgres>,
        statement: &'static str,
        id: Uuid,
    ) -> Result<Option<T>, Error> {
        let record: Option<String> = scalar(statement)
            .bind(id)
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
        let mut transaction = self.read(&format!("read {} {id}", T::WHAT)).await?;
        let found = self.find(&mut transaction, T::ONE, id).await?;
        found.ok_or_else(|| RULES.not_found(T::WHAT, id))
    }

    async fn list<T: Stored>(
        &self,
        model: &ModelName,
        before: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<T>, Error> {
        RULES.limit(limit)?;
        let what = format!("list every {} of {model}", T::WHAT);
        let mut transaction = self.read(&what).await?;
        let found: Vec<(String, Moment, Uuid)> = rows(T::LIST)
            .bind(model.as_str())
            .bind(before.map(|before| Moment::bound(before.at)))
            .bind(before.map(|before| before.id))
            .bind(i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1))
            .fetch_all(&mut *transaction)
            .await
            .map_err(|e| self.failed(&what, e))?;
        let mut items = Vec::with_capacity(found.len());
        for (record, at, id) in found {
            let record: T = self.record(id, &record)?;
            if Moment::from(record.place().at) != at {
                // Going on from it would never end.
                return Err(self.corrupt(format_args!("{} {id} is filed elsewhere", T::WHAT)));
            }
            items.push(record);
        }
        Ok(Page::first(items, limit, Stored::place))
    }

    /// The last lease of this name. Nobody changes it before the transaction ends: a row is made
    /// where there is none, so that there is something to lock.
    async fn last_lease(
        &self,
        transaction: &mut Transaction<'_, Postgres>,
        name: &str,
    ) -> Result<Option<Lease>, Error> {
        let failed = |cause| self.failed(format_args!("read lease {name}"), cause);
        query(
            "INSERT INTO pmmds_store.leases (name, owner, token, expires_at)
            VALUES ($1, '', 0, timestamptz 'epoch') ON CONFLICT (name) DO NOTHING",
        )
        .bind(name)
        .execute(&mut **transaction)
        .await
        .map_err(failed)?;
        let found: Option<(String, i64, Moment)> = rows(
            "SELECT owner, token, expires_at FROM pmmds_store.leases WHERE name = $1 FOR UPDATE",
        )
        .bind(name)
        .fetch_optional(&mut **transaction)
        .await
        .map_err(failed)?;
        self.read_lease(name, found)
    }

    fn read_lease(
        &self,
        name: &str,
        found: Option<(String, i64, Moment)>,
    ) -> Result<Option<Lease>, Error> {
        let Some((owner, token, expires_at)) = found.filter(|(_, token, _)| *token != 0) else {
            return Ok(None);
        };
        let impossible = || self.corrupt(format_args!("lease {name} has an impossible value"));
        let token = u64::try_from(token).map_err(|_| impossible())?;
        let expires_at = self.time(expires_at)?;
        Ok(Some(Lease { name: name.to_owned(), owner, token, expires_at }))
    }

    async fn store_lease(
        &self,
        mut transaction: Transaction<'_, Postgres>,
        lease: &Lease,
    ) -> Result<(), Error> {
        let failed = |cause| self.failed(format_args!("store lease {}", lease.name), cause);
        query(
            "UPDATE pmmds_store.leases SET owner = $2, token = $3, expires_at = $4 WHERE name = $1",
        )
        .bind(&lease.name)
        .bind(&lease.owner)
        .bind(i64::try_from(lease.token).unwrap_or(i64::MAX))
        .bind(Moment::from(lease.expires_at))
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
        transaction.commit().await.map_err(failed)
    }

    /// Begins a write that counts only under `lease`, if there is one. Nobody takes the lease before
    /// the write is committed. The clock is asked under the lock, so that no wait for it makes a
    /// lease look alive.
    async fn write_under(
        &self,
        lease: Option<&Lease>,
        what: &str,
    ) -> Result<Transaction<'static, Postgres>, Error> {
        let mut transaction = self.write(what).await?;
        if let Some(lease) = lease {
            let found = self.last_lease(&mut transaction, &lease.name).await?;
            let now = self.clock(&mut transaction).await?;
            RULES.fence(lease, found.as_ref(), now)?;
        }
        Ok(transaction)
    }
}

#[async_trait]
impl DriftStore for PostgresStore {
    async fn record_drift_run(&self, run: &DriftRun) -> Result<DriftRun, Error> {
        let record = RULES.document(DriftRun::WHAT, run)?;
        with_retries!(self.record_drift_run_once(run, &record))
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
        query(
            "INSERT INTO pmmds_store.reference_datasets (name, model, created_at, record)
            VALUES ($1, $2, $3, $4::json)
            ON CONFLICT (name) DO UPDATE SET model = $2, created_at = $3, record = $4::json",
        )
        .bind(&reference.name)
        .bind(reference.model.as_str())
        .bind(Moment::from(reference.created_at))
        .bind(record)
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
        transaction.commit().await.map_err(failed)
    }

    async fn references(&self, model: &ModelName) -> Result<Vec<ReferenceDataset>, Error> {
        let what = format!("list the references of {model}");
        let mut transaction = self.read(&what).await?;
        let records: Vec<String> = scalar(
            "SELECT record::text FROM pmmds_store.reference_datasets WHERE model = $1
            ORDER BY created_at, name COLLATE \"C\"",
        )
        .bind(model.as_str())
        .fetch_all(&mut *transaction)
        .await
        .map_err(|e| self.failed(&what, e))?;
        records.iter().map(|record| RULES.record("reference", record)).collect()
    }
}

impl PostgresStore {
    async fn record_drift_run_once(&self, run: &DriftRun, record: &str) -> Result<DriftRun, Error> {
        let what = format!("record drift run {}", run.id);
        let failed = |cause| self.failed(&what, cause);
        let version = self.number(run.version)?;
        let mut transaction = self.write(&what).await?;
        let inserted = query(
            "INSERT INTO pmmds_store.drift_metrics (id, model, version, window_start, window_end,
                profile, created_at, record)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8::json) ON CONFLICT DO NOTHING",
        )
        .bind(run.id)
        .bind(run.model.as_str())
        .bind(version)
        .bind(Moment::from(run.window.start()))
        .bind(Moment::from(run.window.end()))
        .bind(&run.report.profile.as_bytes()[..])
        .bind(Moment::from(run.created_at))
        .bind(record)
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
        if inserted.rows_affected() == 1 {
            transaction.commit().await.map_err(failed)?;
            return Ok(run.clone());
        }
        if let Some(found) = self.find(&mut transaction, DriftRun::ONE, run.id).await? {
            return Ok(found);
        }
        let (id, record): (Uuid, String) = rows(
            "SELECT id, record::text FROM pmmds_store.drift_metrics WHERE model = $1 AND version = $2
            AND window_start = $3 AND window_end = $4 AND profile = $5",
        )
        .bind(run.model.as_str())
        .bind(version)
        .bind(Moment::from(run.window.start()))
        .bind(Moment::from(run.window.end()))
        .bind(&run.report.profile.as_bytes()[..])
        .fetch_one(&mut *transaction)
        .await
        .map_err(failed)?;
        self.record(id, &record)
    }

    /// Stores `alert`, which is known and locked.
    async fn store_alert(
        &self,
        mut transaction: Transaction<'_, Postgres>,
        alert: &Alert,
    ) -> Result<(), Error> {
        let failed = |cause| self.failed(format_args!("store alert {}", alert.id), cause);
        query(
            "UPDATE pmmds_store.drift_alerts SET resolved_at = $2, record = $3::json WHERE id = $1",
        )
        .bind(alert.id)
        .bind(alert.resolved_at.map(Moment::from))
        .bind(RULES.document(Alert::WHAT, alert)?)
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
        transaction.commit().await.map_err(failed)
    }

    /// `None` if the alert that stood in its way was resolved in the meantime.
    async fn open_alert_once(&self, alert: &Alert, record: &str) -> Result<Option<Alert>, Error> {
        let what = format!("open alert {}", alert.id);
        let failed = |cause| self.failed(&what, cause);
        let version = self.number(alert.version)?;
        let mut transaction = self.write(&what).await?;
        let inserted = query(
            "INSERT INTO pmmds_store.drift_alerts (id, model, version, key, opened_at, resolved_at,
                record)
            VALUES ($1, $2, $3, $4, $5, $6, $7::json) ON CONFLICT DO NOTHING",
        )
        .bind(alert.id)
        .bind(alert.model.as_str())
        .bind(version)
        .bind(&alert.key)
        .bind(Moment::from(alert.opened_at))
        .bind(alert.resolved_at.map(Moment::from))
        .bind(record)
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
        if inserted.rows_affected() == 1 {
            transaction.commit().await.map_err(failed)?;
            return Ok(Some(alert.clone()));
        }
        let known = self.find(&mut transaction, Alert::ONE, alert.id).await?;
        if known.is_some() {
            return Ok(known);
        }
        let open: Option<(Uuid, String)> = rows(
            "SELECT id, record::text FROM pmmds_store.drift_alerts
            WHERE model = $1 AND version = $2 AND key = $3 AND resolved_at IS NULL",
        )
        .bind(alert.model.as_str())
        .bind(version)
        .bind(&alert.key)
        .fetch_optional(&mut *transaction)
        .await
        .map_err(failed)?;
        open.map(|(id, record)| self.record(id, &record)).transpose()
    }

    async fn change_alert(
        &self,
        id: Uuid,
        what: &str,
        change: impl Fn(&Alert) -> Alert + Send,
    ) -> Result<Alert, Error> {
        let mut transaction = self.write(&format!("{what} alert {id}")).await?;
        let found = self.find(&mut transaction, Alert::ONE_TO_CHANGE, id).await?;
        let alert = change(&found.ok_or_else(|| RULES.not_found(Alert::WHAT, id))?);
        self.store_alert(transaction, &alert).await?;
        Ok(alert)
    }
}

#[async_trait]
impl AlertStore for PostgresStore {
    async fn open_alert(&self, alert: &Alert) -> Result<Alert, Error> {
        let record = RULES.document(Alert::WHAT, alert)?;
        loop {
            if let Some(alert) = with_retries!(self.open_alert_once(alert, &record))? {
                return Ok(alert);
            }
        }
    }

    async fn update_alert(&self, alert: &Alert) -> Result<(), Error> {
        let change = |found: &Alert| RULES.update_alert(found, alert);
        self.change_alert(alert.id, "update", change).await.map(drop)
    }

    async fn acknowledge_alert(
        &self,
        id: Uuid,
        action_taken: Option<&str>,
        at: Timestamp,
    ) -> Result<Alert, Error> {
        let change = |found: &Alert| RULES.acknowledge(found, action_taken, at);
        self.change_alert(id, "acknowledge", change).await
    }

    async fn alert(&self, id: Uuid) -> Result<Alert, Error> {
        self.get(id).await
    }

    async fn open_alerts(&self, model: &ModelName) -> Result<Vec<Alert>, Error> {
        let what = format!("list the open alerts of {model}");
        let mut transaction = self.read(&what).await?;
        let found: Vec<(Uuid, String)> = rows(
            "SELECT id, record::text FROM pmmds_store.drift_alerts
            WHERE model = $1 AND resolved_at IS NULL ORDER BY opened_at DESC, id DESC",
        )
        .bind(model.as_str())
        .fetch_all(&mut *transaction)
        .await
        .map_err(|e| self.failed(&what, e))?;
        found.iter().map(|(id, record)| self.record(*id, record)).collect()
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

impl PostgresStore {
    async fn record_decision_once(
        &self,
        decision: &PromotionDecision,
        lease: Option<&Lease>,
        record: &str,
    ) -> Result<(), Error> {
        let what = format!("record decision {}", decision.id);
        let failed = |cause| self.failed(&what, cause);
        let mut transaction = self.write_under(lease, &what).await?;
        // What is there is locked, and what is not is made: then it is there for all others.
        let inserted = query(
            "INSERT INTO pmmds_store.promotion_decisions (id, model, state, created_at, record)
            VALUES ($1, $2, $3, $4, $5::json) ON CONFLICT (id) DO NOTHING",
        )
        .bind(decision.id)
        .bind(decision.model.as_str())
        .bind(decision.state.as_str())
        .bind(Moment::from(decision.created_at))
        .bind(record)
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
        if inserted.rows_affected() == 0 {
            let find = PromotionDecision::ONE_TO_CHANGE;
            let found = self.find(&mut transaction, find, decision.id).await?;
            if RULES.decision(found.as_ref(), decision)? == DecisionStep::Keep {
                return Ok(());
            }
            query(
                "UPDATE pmmds_store.promotion_decisions
                SET model = $2, state = $3, created_at = $4, record = $5::json WHERE id = $1",
            )
            .bind(decision.id)
            .bind(decision.model.as_str())
            .bind(decision.state.as_str())
            .bind(Moment::from(decision.created_at))
            .bind(record)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        }
        transaction.commit().await.map_err(failed)
    }
}

#[async_trait]
impl DecisionStore for PostgresStore {
    async fn record_retraining_run(
        &self,
        run: &RetrainingRun,
        lease: Option<&Lease>,
    ) -> Result<(), Error> {
        let what = format!("record retraining run {}", run.id);
        let failed = |cause| self.failed(&what, cause);
        let record = RULES.document(RetrainingRun::WHAT, run)?;
        let mut transaction = self.write_under(lease, &what).await?;
        query(
            "INSERT INTO pmmds_store.retraining_runs (id, model, state, started_at, record)
            VALUES ($1, $2, $3, $4, $5::json)
            ON CONFLICT (id) DO UPDATE
                SET model = $2, state = $3, started_at = $4, record = $5::json",
        )
        .bind(run.id)
        .bind(run.model.as_str())
        .bind(run.state.as_str())
        .bind(Moment::from(run.started_at))
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
        let record = RULES.document(PromotionDecision::WHAT, decision)?;
        with_retries!(self.record_decision_once(decision, lease, &record))
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
impl LeaseStore for PostgresStore {
    async fn acquire_lease(
        &self,
        name: &str,
        owner: &str,
        length: Duration,
    ) -> Result<Option<Lease>, Error> {
        let mut transaction = self.write(&format!("acquire lease {name}")).await?;
        let found = self.last_lease(&mut transaction, name).await?;
        let now = self.clock(&mut transaction).await?;
        let lease = RULES.acquire(found.as_ref(), name, owner, now, length)?;
        if let Some(lease) = &lease {
            self.store_lease(transaction, lease).await?;
        }
        Ok(lease)
    }

    async fn lease(&self, name: &str) -> Result<Option<Lease>, Error> {
        let mut transaction = self.read(&format!("read lease {name}")).await?;
        let found: Option<(String, i64, Moment)> =
            rows("SELECT owner, token, expires_at FROM pmmds_store.leases WHERE name = $1")
                .bind(name)
                .fetch_optional(&mut *transaction)
                .await
                .map_err(|e| self.failed(format_args!("read lease {name}"), e))?;
        let now = self.clock(&mut transaction).await?;
        Ok(self.read_lease(name, found)?.filter(|lease| lease.expires_at > now))
    }

    async fn release_lease(&self, lease: &Lease) -> Result<(), Error> {
        let mut transaction = self.write(&format!("release lease {}", lease.name)).await?;
        let found = self.last_lease(&mut transaction, &lease.name).await?;
        let now = self.clock(&mut transaction).await?;
        match RULES.release(lease, found.as_ref(), now) {
            Some(returned) => self.store_lease(transaction, &returned).await,
            None => Ok(()),
        }
    }
}
