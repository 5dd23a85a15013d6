//! The tables: making them, bringing them up to date, and leaving alone what is newer.

use std::time::Duration;

use sqlx::postgres::{PgConnection, PgPool, Postgres};
use sqlx::{AssertSqlSafe, Executor, Transaction};

use super::error::{COMPONENT, failed};
use super::query;
use crate::schema::Fingerprint;
use crate::{Error, ErrorKind};

/// What opening does to the tables of a database.
///
/// Whatever it is: tables of a newer release are left alone, and opening them is
/// [`NotSupported`](ErrorKind::NotSupported).
///
/// ```
/// use pmmds::postgres::Migrate;
/// assert_eq!(Migrate::default(), Migrate::Fresh);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Migrate {
    /// Makes the tables where there are none, and refuses those of an older release: replicas that
    /// still run it would not understand the new ones.
    #[default]
    Fresh,
    /// Brings the tables of an older release up to date too.
    Older,
    /// Changes no table: somebody else has to.
    Never,
}

/// A step from one version of the tables to the next.
#[derive(Debug, Clone, Copy)]
pub(super) struct Migration {
    pub(super) version: i32,
    pub(super) sql: &'static str,
}

impl Migration {
    fn checksum(&self) -> Fingerprint {
        Fingerprint::of_bytes(self.sql.as_bytes())
    }
}

/// In the order of their versions.
pub(super) const MIGRATIONS: &[Migration] = &[
    Migration { version: 1, sql: include_str!("migrations/0001_tables.sql") },
    Migration { version: 2, sql: include_str!("migrations/0002_requests_and_upkeep.sql") },
    Migration { version: 3, sql: include_str!("migrations/0003_correlation.sql") },
];

/// Locks of transactions, which PgBouncer knows to keep on one connection. "pmmds" and a number.
pub(super) const MIGRATION_LOCK: i64 = 0x70_6d6d_6473_0001;
pub(super) const PARTITION_LOCK: i64 = 0x70_6d6d_6473_0002;
pub(super) const ROLL_UP_LOCK: i64 = 0x70_6d6d_6473_0003;

/// Longest wait for another process that migrates.
const WAIT: &str = "BEGIN; SET LOCAL lock_timeout = '5min'; SET LOCAL statement_timeout = 0";

/// What is to be done, by the versions that are there.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Nothing,
    /// From this one on.
    Make(usize),
}

struct Tables<'m> {
    name: &'m str,
    migrations: &'m [Migration],
    migrate: Migrate,
}

impl Tables<'_> {
    fn refuse(&self, kind: ErrorKind, why: String) -> Error {
        Error::new(kind, COMPONENT, format!("{}: {why}", self.name))
    }

    fn step(&self, found: &[(i32, Vec<u8>)]) -> Result<Step, Error> {
        let known = self.migrations.last().map_or(0, |migration| migration.version);
        let last = found.last().map_or(0, |(version, _)| *version);
        if last > known {
            return Err(self.refuse(
                ErrorKind::NotSupported,
                format!("it has schema {last}, and this release knows up to {known}"),
            ));
        }
        for ((version, checksum), migration) in found.iter().zip(self.migrations) {
            if *version != migration.version || checksum != migration.checksum().as_bytes() {
                return Err(self.refuse(
                    ErrorKind::NotSupported,
                    format!("migration {version} is not the one that this release knows"),
                ));
            }
        }
        let step = if last == known { Step::Nothing } else { Step::Make(found.len()) };
        match (self.migrate, &step) {
            (_, Step::Nothing) | (Migrate::Older, _) => Ok(step),
            (Migrate::Fresh, Step::Make(0)) => Ok(step),
            (migrate, _) => {
                let what =
                    if last == 0 { "no tables".to_owned() } else { format!("schema {last}") };
                Err(self.refuse(
                    ErrorKind::NotSupported,
                    format!(
                        "it has {what}, this release needs schema {known}, and Migrate::{migrate:?} \
                         does not make it"
                    ),
                ))
            }
        }
    }
}

/// Brings the tables up to date, as far as `migrate` allows; the first write comes after the check.
pub(super) async fn run(
    pool: &PgPool,
    name: &str,
    migrations: &[Migration],
    migrate: Migrate,
    bucket: Duration,
) -> Result<(), Error> {
    let context = || format!("{name}: cannot migrate");
    let tables = Tables { name, migrations, migrate };
    let mut look = pool.begin().await.map_err(|e| failed(context(), e))?;
    let found = versions(&mut look).await.map_err(|e| failed(context(), e))?;
    look.rollback().await.map_err(|e| failed(context(), e))?;
    if tables.step(&found)? == Step::Nothing {
        return Ok(());
    }
    // One transaction: of several processes one makes all of it, and a killed one nothing.
    let mut transaction = pool.begin_with(WAIT).await.map_err(|e| failed(context(), e))?;
    lock(&mut transaction, MIGRATION_LOCK).await.map_err(|e| failed(context(), e))?;
    let found = versions(&mut transaction).await.map_err(|e| failed(context(), e))?;
    let Step::Make(first) = tables.step(&found)? else { return Ok(()) };
    let made = make(&mut transaction, &migrations[first..], bucket).await;
    made.map_err(|e| failed(context(), e))?;
    transaction.commit().await.map_err(|e| failed(context(), e))
}

/// Waits until no other transaction holds `lock`, and holds it to the end of this one.
pub(super) async fn lock(
    transaction: &mut Transaction<'_, Postgres>,
    lock: i64,
) -> sqlx::Result<()> {
    query("SELECT pg_advisory_xact_lock($1)").bind(lock).execute(&mut **transaction).await?;
    Ok(())
}

async fn versions(connection: &mut PgConnection) -> sqlx::Result<Vec<(i32, Vec<u8>)>> {
    // By a query and not by to_regclass, which in a transaction may still not see what was made
    // while it waited for a lock.
    let there = sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE n.nspname = 'pmmds_store' AND c.relname = 'migrations')",
    );
    let there: bool = there.persistent(false).fetch_one(&mut *connection).await?;
    if !there {
        return Ok(Vec::new());
    }
    sqlx::query_as("SELECT version, checksum FROM pmmds_store.migrations ORDER BY version")
        .persistent(false)
        .fetch_all(&mut *connection)
        .await
}

async fn make(
    transaction: &mut Transaction<'_, Postgres>,
    migrations: &[Migration],
    bucket: Duration,
) -> sqlx::Result<()> {
    // Not IF NOT EXISTS, which asks for the right to make one also where it is there.
    let there = sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = 'pmmds_store')",
    );
    if !there.persistent(false).fetch_one(&mut **transaction).await? {
        transaction.execute(sqlx::raw_sql("CREATE SCHEMA pmmds_store")).await?;
    }
    transaction
        .execute(sqlx::raw_sql(
            "CREATE TABLE IF NOT EXISTS pmmds_store.migrations (
                version integer PRIMARY KEY,
                checksum bytea NOT NULL,
                applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
            )",
        ))
        .await?;
    for migration in migrations {
        transaction.execute(sqlx::raw_sql(AssertSqlSafe(migration.sql.to_owned()))).await?;
        query("INSERT INTO pmmds_store.migrations (version, checksum) VALUES ($1, $2)")
            .bind(migration.version)
            .bind(&migration.checksum().as_bytes()[..])
            .execute(&mut **transaction)
            .await?;
    }
    query("INSERT INTO pmmds_store.settings (bucket_us) VALUES ($1) ON CONFLICT DO NOTHING")
        .bind(i64::try_from(bucket.as_micros()).unwrap_or(i64::MAX))
        .execute(&mut **transaction)
        .await?;
    Ok(())
}
