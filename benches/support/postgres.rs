//! A database on the server of `PMMDS_TEST_POSTGRES`, for one bench.

use pmmds::postgres::{PostgresStore, PostgresStoreBuilder};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

/// A database of its own.
#[derive(Debug)]
pub(crate) struct Database {
    server: String,
    url: String,
    name: String,
}

impl Database {
    /// `None`, said aloud, where no server is named.
    pub(crate) async fn make(bench: &str) -> Option<Self> {
        let Ok(server) = std::env::var("PMMDS_TEST_POSTGRES") else {
            eprintln!("SKIPPED: no PostgreSQL; set PMMDS_TEST_POSTGRES, see scripts/services");
            return None;
        };
        let name = format!("pmmds_bench_{bench}_{}", std::process::id());
        let url = format!("{}/{name}", server.rsplit_once('/').expect("a URL").0);
        let database = Self { server, url, name };
        database.on_server(&format!("CREATE DATABASE {}", database.name)).await;
        Some(database)
    }

    pub(crate) fn builder(&self, connections: u32) -> PostgresStoreBuilder {
        PostgresStore::builder(&self.url)
            .connections(connections)
            .statement_timeout(std::time::Duration::from_secs(600))
    }

    pub(crate) async fn store(&self, connections: u32) -> PostgresStore {
        self.builder(connections).open().await.expect("a store")
    }

    pub(crate) async fn connect(&self) -> PgConnection {
        PgConnection::connect(&self.url).await.expect("a connection")
    }

    async fn on_server(&self, statement: &str) {
        let mut connection = PgConnection::connect(&self.server).await.expect("a connection");
        let statement = sqlx::raw_sql(AssertSqlSafe(statement.to_owned()));
        connection.execute(statement).await.expect("a statement");
    }

    pub(crate) async fn run(&self, statements: &str) {
        let statements = sqlx::raw_sql(AssertSqlSafe(statements.to_owned()));
        self.connect().await.execute(statements).await.expect("statements");
    }

    pub(crate) async fn number(&self, query: &str) -> f64 {
        let query = sqlx::query_scalar(AssertSqlSafe(format!("SELECT ({query})::float8")));
        query.fetch_one(&mut self.connect().await).await.expect("a number")
    }

    /// Bytes of write-ahead log so far.
    pub(crate) async fn wal(&self) -> f64 {
        self.number("pg_current_wal_insert_lsn() - '0/0'").await
    }

    /// Bytes of the tables whose name is like `name`, and of their indexes.
    pub(crate) async fn sizes(&self, schema: &str, name: &str) -> (f64, f64) {
        let of = |function: &str| {
            format!(
                "SELECT coalesce(sum({function}(oid)), 0) FROM pg_class WHERE relkind = 'r'
                AND relnamespace = '{schema}'::regnamespace AND relname LIKE '{name}'"
            )
        };
        (self.number(&of("pg_table_size")).await, self.number(&of("pg_indexes_size")).await)
    }

    pub(crate) async fn remove(self) {
        self.on_server(&format!("DROP DATABASE {} WITH (FORCE)", self.name)).await;
    }
}
