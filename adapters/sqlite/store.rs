//! The file: opening it, its connections, its clock.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{
    Sqlite, SqliteConnectOptions, SqliteConnection, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection, SqlSafeStr, Transaction};
use uuid::Uuid;

use super::error::{COMPONENT, failed, migration_failed};
use crate::registry::VersionId;
use crate::{Error, ErrorKind, Timestamp};

/// The table that holds which migrations were made. Not sqlx's default name: the file may be
/// shared with an application that migrates its own tables.
const MIGRATIONS_TABLE: &str = "pmmds_migrations";

/// Longest wait for a connection of our own, on top of what the lock of another process takes.
const POOL_WAIT: Duration = Duration::from_secs(30);

fn migrator() -> Migrator {
    let migration = |version, name: &'static str, sql: &'static str| {
        let sql = sql.into_sql_str();
        Migration::new(version, name.into(), MigrationType::Simple, sql, false)
    };
    let mut migrator = Migrator::with_migrations(vec![
        migration(1, "tables", include_str!("migrations/0001_tables.sql")),
        migration(2, "label", include_str!("migrations/0002_label.sql")),
        migration(3, "jobs", include_str!("migrations/0003_jobs.sql")),
        migration(4, "correlation", include_str!("migrations/0004_correlation.sql")),
    ]);
    migrator.dangerous_set_table_name(MIGRATIONS_TABLE);
    migrator
}

/// When a written batch or record is safe from what.
///
/// Whatever the level, what was acknowledged survives the end of the process, `kill -9` included:
/// it is in the operating system's hands. The levels differ in what a crash of the *machine* takes,
/// and in what a commit costs: `Full` waits for the disk, about half a millisecond on a quick one,
/// `Normal` does not. In batches of 1,000 rows the difference is lost in the writing of the rows.
///
/// ```
/// use pmmds::sqlite::Synchronous;
/// assert_eq!(Synchronous::default(), Synchronous::Full);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Synchronous {
    /// Nothing is lost: the disk has confirmed every commit.
    #[default]
    Full,
    /// A crash of the machine may take the last commits, back to the last checkpoint of the
    /// write-ahead log; what is left is whole.
    Normal,
}

/// How a [`SqliteStore`] is opened.
///
/// ```
/// use std::time::Duration;
/// use pmmds::sqlite::{SqliteStore, Synchronous};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let folder = tempfile::tempdir()?;
/// let store = SqliteStore::builder(folder.path().join("pmmds.db"))
///     .synchronous(Synchronous::Normal)
///     .busy_timeout(Duration::from_secs(2))
///     .readers(2)
///     .open()
///     .await?;
/// # store.close().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct SqliteStoreBuilder {
    // `None`: in memory
    path: Option<PathBuf>,
    synchronous: Synchronous,
    busy_timeout: Duration,
    // at least 1
    readers: u32,
}

impl SqliteStoreBuilder {
    fn new(path: Option<PathBuf>) -> Self {
        let synchronous = Synchronous::default();
        Self { path, synchronous, busy_timeout: Duration::from_secs(5), readers: 4 }
    }

    /// What a crash of the machine may take. Defaults to [`Synchronous::Full`]: nothing.
    pub fn synchronous(mut self, synchronous: Synchronous) -> Self {
        self.synchronous = synchronous;
        self
    }

    /// How long a write waits for a write of another process, before it is
    /// [`Unavailable`](ErrorKind::Unavailable). Defaults to 5 seconds.
    pub fn busy_timeout(mut self, timeout: Duration) -> Self {
        self.busy_timeout = timeout;
        self
    }

    /// How many reads are made at a time, at least 1, beside the one write. Defaults to 4.
    pub fn readers(mut self, readers: u32) -> Self {
        self.readers = readers.max(1);
        self
    }

    /// Opens the file, creates it if it is not there, and brings its tables up to date. A file of
    /// schema 1 has its table of predictions copied, once: it takes the room of that table for as
    /// long, and writers of other processes wait.
    ///
    /// # Errors
    ///
    /// [`NotSupported`](ErrorKind::NotSupported) if a newer release has changed the tables; nothing
    /// is written then. [`Corrupt`](ErrorKind::Corrupt) if it is no database.
    /// [`Unavailable`](ErrorKind::Unavailable) if it cannot be opened or written.
    pub async fn open(self) -> Result<SqliteStore, Error> {
        let name: Arc<str> = match &self.path {
            Some(path) => path.display().to_string().into(),
            None => "(in memory)".into(),
        };
        let (writer, readers) = match &self.path {
            Some(path) => {
                let options = self.options(path);
                let mut connection = options
                    .connect()
                    .await
                    .map_err(|e| failed(format!("cannot open {name}"), e))?;
                // The first connection is not of the pool: it may end in an error at any point.
                prepare_file(&mut connection, &name, self.busy_timeout).await?;
                let closed = connection.close().await;
                closed.map_err(|e| failed(format!("cannot open {name}"), e))?;
                let writer = pool(1).connect_lazy_with(options.clone());
                (writer, pool(self.readers).connect_lazy_with(options.pragma("query_only", "ON")))
            }
            None => {
                let options = SqliteConnectOptions::from_str("sqlite::memory:");
                let options = options.map_err(|e| failed(format!("cannot open {name}"), e))?;
                let only = pool(1).connect_lazy_with(options.disable_statement_logging());
                let connection = only.acquire().await;
                let mut connection =
                    connection.map_err(|e| failed(format!("cannot open {name}"), e))?;
                migrate(&mut connection, &name).await?;
                (only.clone(), only)
            }
        };
        Ok(SqliteStore { name, writer, readers })
    }

    fn options(&self, path: &Path) -> SqliteConnectOptions {
        SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .busy_timeout(self.busy_timeout)
            .foreign_keys(true)
            .synchronous(match self.synchronous {
                Synchronous::Full => SqliteSynchronous::Full,
                Synchronous::Normal => SqliteSynchronous::Normal,
            })
            // After a burst the write-ahead log shrinks to this many bytes again.
            .pragma("journal_size_limit", "67108864")
            // Rows cross from SQLite's thread to ours: in lots, not one by one.
            .row_buffer_size(1_000)
            .disable_statement_logging()
    }
}

/// One connection holds the memory of an in-memory database, so none is ever given up.
fn pool(connections: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(POOL_WAIT)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
}

/// Everything that is done to a file before it is used; the first write comes after the check.
async fn prepare_file(
    connection: &mut SqliteConnection,
    name: &str,
    busy_timeout: Duration,
) -> Result<(), Error> {
    refuse_newer(connection, name).await?;
    write_ahead(connection, name, busy_timeout).await?;
    migrate(connection, name).await
}

async fn refuse_newer(connection: &mut SqliteConnection, name: &str) -> Result<(), Error> {
    let reading = |e| failed(format!("cannot read the schema of {name}"), e);
    let migrated: bool =
        sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = ?)")
            .bind(MIGRATIONS_TABLE)
            .fetch_one(&mut *connection)
            .await
            .map_err(reading)?;
    if !migrated {
        return Ok(());
    }
    let found: Option<i64> = sqlx::query_scalar("SELECT max(version) FROM pmmds_migrations")
        .fetch_one(&mut *connection)
        .await
        .map_err(reading)?;
    let known = migrator().iter().map(|migration| migration.version).max();
    if found > known {
        let context = format!(
            "{name} has schema {}, and this release knows up to {}",
            found.unwrap_or_default(),
            known.unwrap_or_default()
        );
        return Err(Error::new(ErrorKind::NotSupported, COMPONENT, context));
    }
    Ok(())
}

/// Switches the file to a write-ahead log, once for ever. SQLite does not wait for the lock that it
/// takes, so we do.
async fn write_ahead(
    connection: &mut SqliteConnection,
    name: &str,
    busy_timeout: Duration,
) -> Result<(), Error> {
    const STEP: Duration = Duration::from_millis(20);
    let mut waited = Duration::ZERO;
    loop {
        let mode = sqlx::query_scalar::<_, String>("PRAGMA journal_mode = WAL");
        match mode.fetch_one(&mut *connection).await {
            Ok(mode) if mode == "wal" => return Ok(()),
            Ok(mode) => {
                let context = format!("{name} has journal mode {mode} and cannot have a log");
                return Err(Error::new(ErrorKind::NotSupported, COMPONENT, context));
            }
            Err(error) => {
                let busy = matches!(&error, sqlx::Error::Database(e) if e.code().is_some_and(|c| c == "5"));
                if !busy || waited >= busy_timeout {
                    return Err(failed(format!("cannot open {name}"), error));
                }
            }
        }
        tokio::time::sleep(STEP).await;
        waited += STEP;
    }
}

/// All migrations that are missing, in one transaction, so that of several processes one makes
/// them and a killed one leaves none half made.
async fn migrate(connection: &mut SqliteConnection, name: &str) -> Result<(), Error> {
    let context = || format!("cannot migrate {name}");
    let mut transaction =
        connection.begin_with("BEGIN IMMEDIATE").await.map_err(|e| failed(context(), e))?;
    let done = migrator().run_direct(None, &mut *transaction, false).await;
    done.map_err(|e| migration_failed(context(), e))?;
    transaction.commit().await.map_err(|e| failed(context(), e))
}

/// Log and ledger in one SQLite file: [`InferenceLog`](crate::log::InferenceLog) and
/// [`Ledger`](crate::ledger::Ledger).
///
/// A clone is another handle to the same connections. See the [module page](super).
#[derive(Clone)]
pub struct SqliteStore {
    // the path, for messages
    name: Arc<str>,
    // one connection: SQLite has one writer at a time
    writer: SqlitePool,
    // the writer's for a store in memory
    readers: SqlitePool,
}

impl SqliteStore {
    /// Opens the file at `path` with the usual options.
    ///
    /// ```
    /// use pmmds::log::InferenceLog;
    /// use pmmds::sqlite::SqliteStore;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let folder = tempfile::tempdir()?;
    /// let store = SqliteStore::open(folder.path().join("pmmds.db")).await?;
    /// assert!(store.now().await? > pmmds::Timestamp::EPOCH);
    /// store.close().await;
    ///
    /// let error = SqliteStore::open(folder.path().join("missing/pmmds.db")).await.unwrap_err();
    /// assert_eq!(error.kind(), pmmds::ErrorKind::Unavailable);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`SqliteStoreBuilder::open`].
    pub async fn open(path: impl Into<PathBuf>) -> Result<Self, Error> {
        Self::builder(path).open().await
    }

    /// A store in memory, which is gone when the last handle is dropped.
    ///
    /// ```
    /// use pmmds::ledger::LeaseStore;
    /// use pmmds::sqlite::SqliteStore;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), pmmds::Error> {
    /// let store = SqliteStore::open_in_memory().await?;
    /// assert_eq!(store.lease("monitor").await?, None);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// When there is no memory.
    pub async fn open_in_memory() -> Result<Self, Error> {
        SqliteStoreBuilder::new(None).open().await
    }

    /// How the file at `path` is opened; see [`SqliteStoreBuilder`].
    pub fn builder(path: impl Into<PathBuf>) -> SqliteStoreBuilder {
        SqliteStoreBuilder::new(Some(path.into()))
    }

    /// Waits for what is under way, moves the write-ahead log into the file and closes it. Later
    /// calls are [`Unavailable`](ErrorKind::Unavailable). Dropping the last handle loses nothing
    /// either; the log then stays beside the file until the next opening.
    ///
    /// ```
    /// use pmmds::log::InferenceLog;
    /// use pmmds::sqlite::SqliteStore;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), pmmds::Error> {
    /// let store = SqliteStore::open_in_memory().await?;
    /// store.close().await;
    /// let error = store.purge(pmmds::Timestamp::EPOCH).await.unwrap_err();
    /// assert_eq!(error.kind(), pmmds::ErrorKind::Unavailable);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    /// The error of `cause` while doing `what`, for example `append batch 7`.
    pub(super) fn failed(&self, what: impl fmt::Display, cause: sqlx::Error) -> Error {
        failed(format!("{}: cannot {what}", self.name), cause)
    }

    /// The error that says that something stored is not what was written.
    pub(super) fn corrupt(&self, what: impl fmt::Display) -> Error {
        Error::new(ErrorKind::Corrupt, COMPONENT, format!("{}: {what}", self.name))
    }

    /// A transaction that holds the lock of the file: nobody else writes before it ends.
    pub(super) async fn write(&self, what: &str) -> Result<Transaction<'static, Sqlite>, Error> {
        self.writer.begin_with("BEGIN IMMEDIATE").await.map_err(|e| self.failed(what, e))
    }

    /// A transaction that sees one state of the file.
    pub(super) async fn read(&self, what: &str) -> Result<Transaction<'static, Sqlite>, Error> {
        self.readers.begin().await.map_err(|e| self.failed(what, e))
    }

    /// Where a single query reads.
    pub(super) fn reads(&self) -> &SqlitePool {
        &self.readers
    }

    /// The clock of the machine, which all processes on one file share.
    #[expect(clippy::disallowed_methods, reason = "the clock of the store is the machine's")]
    pub(super) fn clock(&self) -> Result<Timestamp, Error> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let micros = i64::try_from(since.as_micros()).unwrap_or(i64::MAX);
        Timestamp::from_micros(micros).map_err(|cause| {
            let context = "the clock of the machine cannot be used";
            Error::new(ErrorKind::Unavailable, COMPONENT, context).with_source(cause)
        })
    }

    /// An id as it was stored.
    pub(super) fn id(&self, bytes: &[u8]) -> Result<Uuid, Error> {
        Uuid::from_slice(bytes).map_err(|_| self.corrupt("an id has not 16 bytes"))
    }

    /// A version as SQLite keeps numbers.
    pub(super) fn number(&self, version: VersionId) -> Result<i64, Error> {
        i64::try_from(version.number()).map_err(|_| {
            let context = format!("version {version} is beyond {}", i64::MAX);
            Error::new(ErrorKind::InvalidInput, COMPONENT, context)
        })
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore").field("path", &self.name).finish_non_exhaustive()
    }
}
