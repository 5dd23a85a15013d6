//! One event per request, where the owner asks for it: a key table apart.

use std::collections::HashSet;

use sqlx::postgres::Postgres;
use sqlx::{Executor, Transaction};
use uuid::Uuid;

use super::log::lots;
use super::moment::Moment;
use super::{PostgresStore, query, scalar};
use crate::Error;
use crate::log::{BatchId, EventBatch};

/// In one order for all writers, so that no two wait for each other. A row comes back only where some
/// were there already: the new ones.
const CLAIM: &str = "
    WITH claimed AS (
        INSERT INTO pmmds_store.request_ids (request_id, model, at)
        SELECT request_id, $1, at
        FROM (SELECT unnest($2::uuid[]) AS request_id, unnest($3::timestamptz[]) AS at) r
        ORDER BY request_id
        ON CONFLICT DO NOTHING RETURNING request_id)
    SELECT array_agg(request_id) FROM claimed HAVING count(*) < cardinality($2)";

const TAKE_IN: &str = "
    INSERT INTO pmmds_store.request_ids (request_id, model, at)
    SELECT coalesce(e.request_id, e.id), v.model, max(e.at)
    FROM pmmds_store.prediction_logs e
    JOIN pmmds_store.model_versions v ON v.id = e.model_version
    GROUP BY 1, 2
    ON CONFLICT DO NOTHING";

impl PostgresStore {
    /// From now on every process that writes to the database keeps one event per request.
    pub(super) async fn make_request_ids_unique(&self) -> Result<(), Error> {
        let what = "keep one event per request id";
        let failed = |cause| self.failed(what, cause);
        let asked = "SELECT unique_request_ids FROM pmmds_store.settings";
        let mut transaction = self.read(what).await?;
        let is_on: bool = scalar(asked).fetch_one(&mut *transaction).await.map_err(failed)?;
        transaction.rollback().await.map_err(failed)?;
        if is_on {
            return Ok(());
        }
        let mut transaction = self.write(what).await?;
        // Whoever writes a batch has begun with its row there: those before are in the log when this
        // goes on, and those after see what has changed.
        let lock = "SET LOCAL statement_timeout = 0;
            LOCK TABLE pmmds_store.ingest_batches IN SHARE ROW EXCLUSIVE MODE";
        transaction.execute(sqlx::raw_sql(lock)).await.map_err(failed)?;
        query(TAKE_IN).execute(&mut *transaction).await.map_err(failed)?;
        query("UPDATE pmmds_store.settings SET unique_request_ids = true")
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        transaction.commit().await.map_err(failed)
    }

    /// What is left of `batch` without the events of requests that the log has already, or that are
    /// twice in it; `None` where there are none such.
    pub(super) async fn without_duplicates(
        &self,
        transaction: &mut Transaction<'_, Postgres>,
        batch: &EventBatch,
    ) -> Result<Option<EventBatch>, Error> {
        let failed = |cause| self.failed(format_args!("append batch {}", batch.id()), cause);
        let events = batch.events();
        let mut new: HashSet<Uuid> = HashSet::with_capacity(events.len());
        for lot in lots(events.len()) {
            let requests: Vec<Uuid> = events[lot.clone()].iter().map(|e| e.request_id).collect();
            let some: Option<Option<Vec<Uuid>>> = scalar(CLAIM)
                .bind(batch.model().as_str().to_owned())
                .bind(&requests)
                .bind(events[lot].iter().map(|e| Moment::from(e.at)).collect::<Vec<_>>())
                .fetch_optional(&mut **transaction)
                .await
                .map_err(failed)?;
            new.extend(some.map_or(requests, Option::unwrap_or_default));
        }
        if new.len() == events.len() {
            return Ok(None);
        }
        let mut left = batch.clone();
        left.take_out(BatchId(Uuid::nil()), |event| !new.remove(&event.request_id));
        Ok(Some(left))
    }
}
