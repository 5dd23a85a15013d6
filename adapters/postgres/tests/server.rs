//! A fresh database for each test, on the server of `PMMDS_TEST_POSTGRES`.

use std::io::Write;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use super::super::{PostgresStore, PostgresStoreBuilder};

const VARIABLE: &str = "PMMDS_TEST_POSTGRES";

/// A database of its own, gone when it is dropped.
#[derive(Debug)]
pub(super) struct Database {
    server: String,
    pub(super) url: String,
    name: String,
}

/// The server that tests use; without one they say aloud that they test nothing.
pub(super) fn server() -> Option<String> {
    let url = std::env::var(VARIABLE).ok();
    if url.is_none() {
        // Past the capture of the test harness, which would keep it to itself.
        let note = format!("SKIPPED: no PostgreSQL; set {VARIABLE}, see scripts/services\n");
        let _ = std::io::stderr().write_all(note.as_bytes());
    }
    url
}

/// A database for one test, if there is a server.
pub(super) async fn database() -> Option<Database> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let server = server()?;
    let name = format!("pmmds_test_{}_{}", std::process::id(), NUMBER.fetch_add(1, SeqCst));
    run(&server, &format!("CREATE DATABASE {name}")).await;
    let (base, _) = server.rsplit_once('/').unwrap();
    let url = format!("{base}/{name}");
    Some(Database { server, url, name })
}

/// Runs one statement outside the contract.
pub(super) async fn run(url: &str, statement: &str) {
    let mut connection = PgConnection::connect(url).await.unwrap();
    connection.execute(sqlx::raw_sql(AssertSqlSafe(statement.to_owned()))).await.unwrap();
    connection.close().await.unwrap();
}

impl Database {
    pub(super) fn builder(&self) -> PostgresStoreBuilder {
        PostgresStore::builder(&self.url)
    }

    pub(super) async fn store(&self) -> PostgresStore {
        self.builder().open().await.unwrap()
    }

    pub(super) async fn run(&self, statement: &str) {
        run(&self.url, statement).await;
    }

    /// The single value of a query.
    pub(super) async fn value<T>(&self, query: &str) -> T
    where
        T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres> + Send + Unpin,
    {
        let mut connection = PgConnection::connect(&self.url).await.unwrap();
        let query = sqlx::query_scalar(AssertSqlSafe(query.to_owned()));
        query.fetch_one(&mut connection).await.unwrap()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let (server, name) = (self.server.clone(), self.name.clone());
        let drop = async move {
            run(&server, &format!("DROP DATABASE {name} WITH (FORCE)")).await;
        };
        // A thread of its own: this one is in a runtime, and a test that fails drops too.
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(drop);
        });
        let _ = thread.join();
    }
}
