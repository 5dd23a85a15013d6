//! The database: opening it, its connections, its clock.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions, Postgres};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Transaction};
use tokio::time::Instant;

use super::address;
use super::error::{COMPONENT, failed, is_refusal};
use super::later::Opening;
use super::maintain::LOOK;
use super::migrate::{self, MIGRATIONS, Migrate};
use super::moment::Moment;
use super::scalar;
use crate::registry::{ModelName, VersionId};
use crate::schema::Fingerprint;
use crate::{Error, ErrorKind, Timestamp};

/// Longest pause between two attempts to reach a server that does not answer.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Longest wait for a lock on the whole log.
const LOCK_OF_LOG: Duration = Duration::from_millis(200);

/// How wide roll-ups are. It is chosen when the tables are made, and holds for the database.
///
/// Whole buckets of a window are answered from roll-ups, the rows at its ends are counted one by
/// one: narrower buckets leave fewer of these and make more rows of the others.
///
/// ```
/// use pmmds::postgres::RollUp;
/// assert_eq!(RollUp::default(), RollUp::Hour);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum RollUp {
    /// An hour.
    #[default]
    Hour,
    /// 5 minutes.
    FiveMinutes,
}

impl RollUp {
    pub(super) fn width(self) -> Duration {
        match self {
            Self::Hour => Duration::from_secs(3_600),
            Self::FiveMinutes => Duration::from_secs(300),
        }
    }
}

/// Where the connections come from.
#[derive(Clone)]
enum Source {
    Url(String),
    Options(Box<PgConnectOptions>),
    Pool(PgPool),
}

/// How a [`PostgresStore`] is opened.
///
/// ```no_run
/// use std::time::Duration;
/// use pmmds::postgres::{Migrate, PostgresStore, RollUp};
///
/// # async fn open() -> Result<(), pmmds::Error> {
/// let store = PostgresStore::builder("postgres://pmmds:secret@localhost/pmmds")
///     .migrate(Migrate::Older)
///     .roll_up(RollUp::FiveMinutes)
///     .retention(Duration::from_secs(400 * 86_400))
///     .features_retention(Duration::from_secs(30 * 86_400))
///     .connections(4)
///     .wait(Duration::from_secs(5))
///     .open()
///     .await?;
/// # store.close().await; Ok(()) }
/// ```
#[derive(Clone)]
#[must_use]
pub struct PostgresStoreBuilder {
    source: Source,
    migrate: Migrate,
    roll_up: RollUp,
    unique_request_ids: bool,
    retention: Option<Duration>,
    features_retention: Option<Duration>,
    // at least 1
    connections: u32,
    wait: Duration,
    // whole milliseconds, at least 1
    statement_timeout: Duration,
    lock_timeout: Duration,
}

impl PostgresStoreBuilder {
    fn new(source: Source) -> Self {
        Self {
            source,
            migrate: Migrate::default(),
            roll_up: RollUp::default(),
            unique_request_ids: false,
            retention: None,
            features_retention: None,
            connections: 8,
            wait: Duration::from_secs(30),
            statement_timeout: Duration::from_secs(30),
            lock_timeout: Duration::from_secs(5),
        }
    }

    /// What opening does to the tables. Defaults to [`Migrate::Fresh`].
    pub fn migrate(mut self, migrate: Migrate) -> Self {
        self.migrate = migrate;
        self
    }

    /// How wide roll-ups are, where the tables are made now. Defaults to [`RollUp::Hour`].
    pub fn roll_up(mut self, roll_up: RollUp) -> Self {
        self.roll_up = roll_up;
        self
    }

    /// Keeps one event per request id and model, for owners whose requests are replayed from
    /// outside: [`append`](crate::log::InferenceLog::append) leaves out events of requests that the
    /// log has, and says [how many](crate::log::Appended::WithoutDuplicates). A request is known
    /// for as long as the log keeps its event.
    ///
    /// It is on for the database, whoever writes to it, and stays on. Where the log has events
    /// already they are taken in first; writers wait for that, each as long as its
    /// [`lock_timeout`](Self::lock_timeout), and are `Unavailable` after it: turn it on when it is
    /// quiet. Defaults to as it is there, which is off at first: batches that are sent again are
    /// known without it, and a row takes about half the bytes.
    pub fn unique_request_ids(mut self) -> Self {
        self.unique_request_ids = true;
        self
    }

    /// How long events and outcomes are kept; [`maintain`](PostgresStore::maintain) removes older
    /// ones. All processes that write should say the same. Defaults to for ever.
    pub fn retention(mut self, kept: Duration) -> Self {
        self.retention = Some(kept);
        self
    }

    /// How long raw features are kept, if shorter than their events:
    /// [`purge_features`](PostgresStore::purge_features). Defaults to as long as these.
    pub fn features_retention(mut self, kept: Duration) -> Self {
        self.features_retention = Some(kept);
        self
    }

    /// The most connections at a time, at least 1; a pool that was given keeps its own number.
    /// Defaults to 8.
    pub fn connections(mut self, connections: u32) -> Self {
        self.connections = connections.max(1);
        self
    }

    /// How long opening waits for a server that does not answer. Defaults to 30 seconds.
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    /// How long one statement may take before it is [`Unavailable`](ErrorKind::Unavailable), at
    /// least a millisecond. Defaults to 30 seconds.
    pub fn statement_timeout(mut self, timeout: Duration) -> Self {
        self.statement_timeout = timeout.max(Duration::from_millis(1));
        self
    }

    /// How long a statement waits for a lock of another before it is
    /// [`Unavailable`](ErrorKind::Unavailable), at least a millisecond. Defaults to 5 seconds.
    pub fn lock_timeout(mut self, timeout: Duration) -> Self {
        self.lock_timeout = timeout.max(Duration::from_millis(1));
        self
    }

    /// What messages call the database: host, port and name, neither user nor password. Nobody is
    /// asked for it.
    ///
    /// ```
    /// use pmmds::postgres::PostgresStore;
    /// let builder = PostgresStore::builder("postgres://pmmds:secret@db.internal/shop");
    /// assert_eq!(builder.target()?, "db.internal:5432/shop");
    /// # Ok::<(), pmmds::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput) for what is no URL, or has parameters that the
    /// driver does not know.
    pub fn target(&self) -> Result<String, Error> {
        Ok(address::name_of(&self.options()?))
    }

    /// Where the connections go, as they are made.
    pub(super) fn options(&self) -> Result<PgConnectOptions, Error> {
        let options = match &self.source {
            // What an application has is its own.
            Source::Pool(pool) => return Ok((*pool.connect_options()).clone()),
            Source::Options(options) => (**options).clone(),
            Source::Url(url) => address::of_url(url)?,
        };
        Ok(address::with_authority_checked(options))
    }

    /// Connects, makes the tables where that is asked for, and makes the partitions of the next
    /// days.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput) for what is no URL, or has parameters that the
    /// driver does not know, and for files of certificates that cannot be read.
    /// [`NotSupported`](ErrorKind::NotSupported) for a server before PostgreSQL 15, for tables of a
    /// newer release, and for those that [`Migrate`] does not allow to change; nothing is written
    /// then. [`Unavailable`](ErrorKind::Unavailable) if nobody answers.
    pub async fn open(self) -> Result<PostgresStore, Error> {
        let store = self.store()?;
        store.reached(self.wait).await?;
        self.set_up(&store).await?;
        Ok(store)
    }

    /// The same without waiting, for a process that has work to do while the database is away: it is
    /// opened in the background, however long that takes, as [`open`](Self::open) would, before
    /// anything is read or written. [`opened`](PostgresStore::opened) waits for it.
    ///
    /// Until then every call is [`Unavailable`](ErrorKind::Unavailable) at once, and says why. Where
    /// the database answers and will not do, because its tables are of a newer release, the
    /// credentials are refused or its certificate is, the log of the process says so as an error, and
    /// every ten seconds it is tried again; a call is [`NotSupported`](ErrorKind::NotSupported) or
    /// [`Unauthorized`](ErrorKind::Unauthorized) in the first two cases.
    ///
    /// ```
    /// use std::time::Duration;
    /// use pmmds::ErrorKind;
    /// use pmmds::log::InferenceLog;
    /// use pmmds::postgres::PostgresStore;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), pmmds::Error> {
    /// // Nobody listens there.
    /// let store = PostgresStore::builder("postgres://pmmds:secret@127.0.0.1:1/shop").open_later()?;
    /// assert_eq!(store.now().await.unwrap_err().kind(), ErrorKind::Unavailable);
    /// let error = store.opened(Duration::from_millis(500)).await.unwrap_err();
    /// assert!(error.to_string().contains("127.0.0.1:1/shop cannot be opened"), "{error}");
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput) for what is no URL, or has parameters that the
    /// driver does not know, and for files of certificates that cannot be read.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime, whose task opens it.
    pub fn open_later(self) -> Result<PostgresStore, Error> {
        let store = self.store()?;
        let opening = Some(Opening::begin(self, store.clone()));
        Ok(PostgresStore { opening, ..store })
    }

    /// One attempt to open `store`.
    pub(super) async fn attempt(&self, store: &PostgresStore) -> Result<(), Error> {
        store.reached(Duration::ZERO).await?;
        self.set_up(store).await
    }

    /// The store as it is before anybody is asked.
    fn store(&self) -> Result<PostgresStore, Error> {
        let options = self.options()?;
        let name = address::name_of(&options);
        let pool = match &self.source {
            Source::Pool(pool) => pool.clone(),
            Source::Url(_) | Source::Options(_) => {
                address::look_for_files(&options)?;
                PgPoolOptions::new()
                    .max_connections(self.connections)
                    .acquire_timeout(Duration::from_secs(10).min(self.wait.max(LONGEST_PAUSE)))
                    .connect_lazy_with(
                        options.application_name("pmmds").disable_statement_logging(),
                    )
            }
        };
        let limits = format!(
            "; SET LOCAL statement_timeout = {}; SET LOCAL lock_timeout = {}",
            self.statement_timeout.as_millis(),
            self.lock_timeout.as_millis()
        );
        // A lock on the whole log makes everybody wait who comes after whoever waits for it.
        let brief = LOCK_OF_LOG.min(self.lock_timeout).as_millis();
        Ok(PostgresStore {
            opening: None,
            inner: Arc::new(Inner {
                name,
                begin_write: format!("BEGIN{limits}").into(),
                begin_read: format!("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY{limits}")
                    .into(),
                begin_brief: format!("BEGIN{limits}; SET LOCAL lock_timeout = {brief}").into(),
                model_versions: Mutex::default(),
                partitions_until: AtomicI64::new(i64::MIN),
                bucket_width: AtomicI64::new(0),
                retention: self.retention,
                features_retention: self.features_retention,
                opened: Instant::now(),
                look_at: AtomicU64::new(LOOK),
                pool,
            }),
        })
    }

    /// Makes the tables of `store`, whose server answers, where that is asked for, and the
    /// partitions of the next days.
    async fn set_up(&self, store: &PostgresStore) -> Result<(), Error> {
        let Inner { pool, name, .. } = &*store.inner;
        migrate::run(pool, name, MIGRATIONS, self.migrate, self.roll_up.width()).await?;
        if self.unique_request_ids {
            store.make_request_ids_unique().await?;
        }
        store.make_partitions_ahead().await?;
        Ok(())
    }
}

/// Half of `pause` to all of it, so that replicas do not knock together.
pub(super) fn jittered(pause: Duration) -> Duration {
    let random = u32::try_from(RandomState::new().hash_one(0_u8) % 512).unwrap_or(0);
    pause / 2 + pause * random / 1_024
}

impl fmt::Debug for PostgresStoreBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // No URL: it has the password.
        f.debug_struct("PostgresStoreBuilder")
            .field("migrate", &self.migrate)
            .field("roll_up", &self.roll_up)
            .field("unique_request_ids", &self.unique_request_ids)
            .field("retention", &self.retention)
            .field("features_retention", &self.features_retention)
            .field("connections", &self.connections)
            .field("wait", &self.wait)
            .field("statement_timeout", &self.statement_timeout)
            .field("lock_timeout", &self.lock_timeout)
            .finish_non_exhaustive()
    }
}

/// Log and ledger on PostgreSQL: [`InferenceLog`](crate::log::InferenceLog) and
/// [`Ledger`](crate::ledger::Ledger).
///
/// A clone is another handle to the same connections. See the [module page](super).
#[derive(Clone)]
pub struct PostgresStore {
    pub(super) inner: Arc<Inner>,
    // None where there is nothing to wait for: the store was open before anybody had it, or this is
    // the handle by which it is being opened
    opening: Option<Opening>,
}

pub(super) struct Inner {
    // host, port and database, for messages; no password
    name: String,
    begin_write: Arc<str>,
    begin_read: Arc<str>,
    begin_brief: Arc<str>,
    pub(super) pool: PgPool,
    // the numbers that rows refer to; each was committed
    pub(super) model_versions: Mutex<HashMap<(ModelName, VersionId, Fingerprint), i32>>,
    // in microseconds since 1970; days before have a partition
    pub(super) partitions_until: AtomicI64,
    // in microseconds; 0: not asked for yet
    pub(super) bucket_width: AtomicI64,
    pub(super) retention: Option<Duration>,
    pub(super) features_retention: Option<Duration>,
    pub(super) opened: Instant,
    // seconds after `opened`: when it is asked next whether the log has to be seen to
    pub(super) look_at: AtomicU64,
}

impl PostgresStore {
    /// Opens the database at `url` with the usual options.
    ///
    /// ```no_run
    /// use pmmds::log::InferenceLog;
    /// use pmmds::postgres::PostgresStore;
    ///
    /// # async fn open() -> Result<(), pmmds::Error> {
    /// let store = PostgresStore::open("postgres://pmmds:secret@localhost/pmmds").await?;
    /// println!("the time there is {}", store.now().await?);
    /// # Ok(()) }
    /// ```
    ///
    /// A password is in no message:
    ///
    /// ```
    /// use pmmds::ErrorKind;
    /// use pmmds::postgres::PostgresStore;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let error = PostgresStore::open("postgres://pmmds:secret@localhost:port/").await.unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::InvalidInput);
    /// assert!(!error.chain().contains("secret"));
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`PostgresStoreBuilder::open`].
    pub async fn open(url: impl Into<String>) -> Result<Self, Error> {
        Self::builder(url).open().await
    }

    /// How the database at `url` is opened; see [`PostgresStoreBuilder`].
    pub fn builder(url: impl Into<String>) -> PostgresStoreBuilder {
        PostgresStoreBuilder::new(Source::Url(url.into()))
    }

    /// How the database that `options` name is opened: for a password that is kept apart, and so
    /// need not be written as a part of a URL.
    ///
    /// ```
    /// use pmmds::postgres::PostgresStore;
    /// use sqlx::postgres::PgConnectOptions;
    ///
    /// let options = PgConnectOptions::new_without_pgpass()
    ///     .host("db.internal")
    ///     .username("pmmds")
    ///     .password("p@ss:/?#%")
    ///     .database("shop");
    /// let builder = PostgresStore::builder_with(options);
    /// assert!(!format!("{builder:?}").contains("p@ss"));
    /// ```
    pub fn builder_with(options: PgConnectOptions) -> PostgresStoreBuilder {
        PostgresStoreBuilder::new(Source::Options(Box::new(options)))
    }

    /// How the database behind `pool` is opened, for an application that has one already.
    pub fn builder_on(pool: PgPool) -> PostgresStoreBuilder {
        PostgresStoreBuilder::new(Source::Pool(pool))
    }

    /// Waits for what is under way and closes the connections, also those of a pool that was given.
    /// Later calls are [`Unavailable`](ErrorKind::Unavailable).
    pub async fn close(&self) {
        self.inner.pool.close().await;
    }

    /// Waits until a store that is [opened later](PostgresStoreBuilder::open_later) is open, at most
    /// `wait`. Any other one is.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # async fn start(store: pmmds::postgres::PostgresStore) {
    /// if let Err(error) = store.opened(Duration::from_secs(5)).await {
    ///     eprintln!("going on without the database: {}", error.chain());
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Unavailable`](ErrorKind::Unavailable) if it is not open then, with what the last attempt
    /// met: nobody listens, no such host, no answer. What no waiting helps against
    /// ([`is_refusal`](Self::is_refusal)) as soon as it is known.
    pub async fn opened(&self, wait: Duration) -> Result<(), Error> {
        let Some(opening) = &self.opening else { return Ok(()) };
        let closed = || Err(self.failed("be opened", sqlx::Error::PoolClosed));
        if self.is_closed() {
            return closed();
        }
        match opening.wait(&self.inner.name, wait).await {
            Err(_) if self.is_closed() => closed(),
            answer => answer,
        }
    }

    /// Whether `error`, which opening a database came to, is that the server answered and will not
    /// do as things are, so that no waiting helps: it is of another kind than
    /// [`Unavailable`](ErrorKind::Unavailable), or its certificate is refused, or it cannot encrypt
    /// where that is asked for.
    ///
    /// ```
    /// use pmmds::postgres::PostgresStore;
    /// use pmmds::{Error, ErrorKind};
    ///
    /// let wrong_password = Error::new(ErrorKind::Unauthorized, "postgres", "cannot connect");
    /// assert!(PostgresStore::is_refusal(&wrong_password));
    /// let nobody_listens = Error::new(ErrorKind::Unavailable, "postgres", "cannot connect");
    /// assert!(!PostgresStore::is_refusal(&nobody_listens));
    /// ```
    #[must_use]
    pub fn is_refusal(error: &Error) -> bool {
        is_refusal(error)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.inner.pool.is_closed()
    }

    /// The error of `cause` while doing `what`, for example `append batch 7`.
    pub(super) fn failed(&self, what: impl fmt::Display, cause: sqlx::Error) -> Error {
        failed(format!("{}: cannot {what}", self.inner.name), cause)
    }

    /// The error that says that something stored is not what was written.
    pub(super) fn corrupt(&self, what: impl fmt::Display) -> Error {
        Error::new(ErrorKind::Corrupt, COMPONENT, format!("{}: {what}", self.inner.name))
    }

    /// A transaction that begins as `begin` says, once the tables are known to be as they should.
    async fn begin(
        &self,
        begin: &Arc<str>,
        what: &str,
    ) -> Result<Transaction<'static, Postgres>, Error> {
        // One that is closed says so by its pool.
        if let Some(opening) = &self.opening
            && !self.is_closed()
        {
            opening.check(&self.inner.name, what)?;
        }
        let begin = AssertSqlSafe(Arc::clone(begin));
        self.inner.pool.begin_with(begin).await.map_err(|e| self.failed(what, e))
    }

    /// A transaction that writes, with the limits on its statements.
    pub(super) async fn write(&self, what: &str) -> Result<Transaction<'static, Postgres>, Error> {
        self.begin(&self.inner.begin_write, what).await
    }

    /// A transaction that changes tables, and waits for their locks only briefly.
    pub(super) async fn write_briefly(
        &self,
        what: &str,
    ) -> Result<Transaction<'static, Postgres>, Error> {
        self.begin(&self.inner.begin_brief, what).await
    }

    /// A transaction that sees one state of the database.
    pub(super) async fn read(&self, what: &str) -> Result<Transaction<'static, Postgres>, Error> {
        self.begin(&self.inner.begin_read, what).await
    }

    /// The clock of the server, as it is now and not as it was when the transaction began.
    pub(super) async fn clock(
        &self,
        transaction: &mut Transaction<'_, Postgres>,
    ) -> Result<Timestamp, Error> {
        let now: Moment = scalar("SELECT clock_timestamp()")
            .fetch_one(&mut **transaction)
            .await
            .map_err(|e| self.failed("ask for the time", e))?;
        self.time(now)
    }

    /// A moment as it was stored.
    pub(super) fn time(&self, moment: Moment) -> Result<Timestamp, Error> {
        moment.try_into().map_err(|e: crate::time::TimeError| self.corrupt(e))
    }

    /// A version as PostgreSQL keeps numbers.
    pub(super) fn number(&self, version: VersionId) -> Result<i64, Error> {
        i64::try_from(version.number()).map_err(|_| {
            let context = format!("version {version} is beyond {}", i64::MAX);
            Error::new(ErrorKind::InvalidInput, COMPONENT, context)
        })
    }

    /// Asks the server for its version, again for as long as `wait` while it does not answer.
    async fn reached(&self, wait: Duration) -> Result<(), Error> {
        let deadline = Instant::now() + wait;
        let mut pause = Duration::from_millis(50);
        loop {
            match self.version_of_server().await {
                Ok(version) if version >= 150_000 => return Ok(()),
                Ok(version) => {
                    let name = &self.inner.name;
                    let context = format!(
                        "{name} is PostgreSQL {}, and 15 is the first that will do",
                        version / 10_000
                    );
                    return Err(Error::new(ErrorKind::NotSupported, COMPONENT, context));
                }
                Err(error) if is_refusal(&error) => return Err(error),
                Err(error) if Instant::now() + pause >= deadline => return Err(error),
                Err(error) => {
                    tracing::debug!(error = error.chain(), "the database does not answer yet");
                }
            }
            tokio::time::sleep(jittered(pause)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Not by the pool: while nobody listens that tries by itself for as long as it may, and then
    /// says no more than that it has tried for so long.
    async fn version_of_server(&self) -> Result<i32, Error> {
        let pool = &self.inner.pool;
        let ask = async {
            let mut connection = pool.connect_options().connect().await?;
            let version = scalar("SELECT current_setting('server_version_num')::int");
            let version = version.fetch_one(&mut connection).await?;
            // It has answered; what becomes of the connection is all the same.
            let _ = connection.close().await;
            Ok(version)
        };
        let limit = pool.options().get_acquire_timeout();
        let asked = tokio::time::timeout(limit, ask).await.unwrap_or_else(|_| {
            let late = std::io::Error::other(format!("no answer within {limit:?}"));
            Err(sqlx::Error::Io(late))
        });
        asked.map_err(|e| self.failed("connect", e))
    }
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore").field("database", &self.inner.name).finish_non_exhaustive()
    }
}
