//! A fresh database for each test, on the server of `PMMDS_TEST_POSTGRES`.

use std::io::Write;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use super::super::{PostgresStore, PostgresStoreBuilder};

const POSTGRES: &str = "PMMDS_TEST_POSTGRES";
const PGBOUNCER: &str = "PMMDS_TEST_PGBOUNCER";

/// A database of its own, gone when it is dropped.
#[derive(Debug)]
pub(super) struct Database {
    server: String,
    pub(super) url: String,
    name: String,
}

/// A server that tests use; without one they say aloud that they test nothing.
fn server(variable: &str) -> Option<String> {
    let url = std::env::var(variable).ok();
    if url.is_none() {
        // Past the capture of the test harness, which would keep it to itself.
        let note = format!("SKIPPED: no server; set {variable}, see scripts/services\n");
        let _ = std::io::stderr().write_all(note.as_bytes());
    }
    url
}

/// The URL of another database of the server at `url`.
pub(super) fn of(url: &str, name: &str) -> String {
    format!("{}/{name}", url.rsplit_once('/').unwrap().0)
}

/// A database for one test, if there is a server.
pub(super) async fn database() -> Option<Database> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let server = server(POSTGRES)?;
    let name = format!("pmmds_test_{}_{}", std::process::id(), NUMBER.fetch_add(1, SeqCst));
    run(&server, &format!("CREATE DATABASE {name}")).await;
    Some(Database { url: of(&server, &name), server, name })
}

/// The same, behind PgBouncer.
pub(super) async fn database_behind_pgbouncer() -> Option<Database> {
    let pgbouncer = server(PGBOUNCER)?;
    let mut database = database().await?;
    database.url = of(&pgbouncer, &database.name);
    Some(database)
}

/// Runs statements outside the contract.
pub(super) async fn run(url: &str, statements: &str) {
    let mut connection = PgConnection::connect(url).await.unwrap();
    connection.execute(sqlx::raw_sql(AssertSqlSafe(statements.to_owned()))).await.unwrap();
    connection.close().await.unwrap();
}

impl Database {
    pub(super) fn builder(&self) -> PostgresStoreBuilder {
        PostgresStore::builder(&self.url)
    }

    pub(super) async fn store(&self) -> PostgresStore {
        self.builder().open().await.unwrap()
    }

    pub(super) async fn run(&self, statements: &str) {
        run(&self.url, statements).await;
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

    /// Makes inserts into `table` run `action` first, in PL/pgSQL.
    pub(super) async fn on_insert(&self, table: &str, action: &str) {
        self.run(&format!(
            "CREATE OR REPLACE FUNCTION public.meddle() RETURNS trigger LANGUAGE plpgsql AS
                $$ BEGIN {action}; RETURN NEW; END $$;
            CREATE OR REPLACE TRIGGER meddle BEFORE INSERT ON pmmds_store.{table}
                FOR EACH ROW EXECUTE FUNCTION public.meddle()"
        ))
        .await;
    }

    pub(super) fn name(&self) -> &str {
        &self.name
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
