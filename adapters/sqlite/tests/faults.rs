//! What is wrong with a file, a disk or a neighbour, and what is said about it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::Executor;

use super::super::{SqliteStore, Synchronous};
use crate::conformance::traffic::{self, Traffic};
use crate::ledger::LeaseStore;
use crate::log::{Appended, InferenceLog};
use crate::{Error, ErrorKind};

fn folder_and_file() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pmmds.db");
    (folder, file)
}

/// A store with 30 events, closed.
async fn written(file: &Path) {
    let store = SqliteStore::open(file).await.unwrap();
    store.append(&Traffic::new().batch(1, 30)).await.unwrap();
    store.close().await;
}

/// Runs one statement on the writing connection, outside the contract.
async fn meddle(store: &SqliteStore, statement: &'static str) {
    let mut transaction = store.write("meddle").await.unwrap();
    transaction.execute(statement).await.unwrap();
    transaction.commit().await.unwrap();
}

#[track_caller]
fn assert_names(error: &Error, kind: ErrorKind, file: &Path) {
    assert_eq!(error.kind(), kind, "{}", error.chain());
    let name = file.file_name().unwrap().to_str().unwrap();
    assert!(error.to_string().contains(name), "{error}");
}

#[tokio::test]
async fn a_folder_or_nothing_in_its_place_is_unavailable() {
    let (folder, file) = folder_and_file();
    let error = SqliteStore::open(folder.path()).await.unwrap_err();
    assert_names(&error, ErrorKind::Unavailable, folder.path());
    let nowhere = folder.path().join("missing").join("pmmds.db");
    let error = SqliteStore::open(&nowhere).await.unwrap_err();
    assert_names(&error, ErrorKind::Unavailable, &nowhere);
    std::fs::create_dir(&file).unwrap();
    let error = SqliteStore::open(&file).await.unwrap_err();
    assert_names(&error, ErrorKind::Unavailable, &file);
}

#[tokio::test]
async fn garbage_is_corrupt_and_left_alone() {
    let (_folder, file) = folder_and_file();
    let garbage = "not a database, ".repeat(1_000);
    std::fs::write(&file, &garbage).unwrap();
    let error = SqliteStore::open(&file).await.unwrap_err();
    assert_names(&error, ErrorKind::Corrupt, &file);
    assert_eq!(std::fs::read(&file).unwrap(), garbage.as_bytes());
}

#[tokio::test]
async fn a_file_cut_short_is_corrupt() {
    let (_folder, file) = folder_and_file();
    written(&file).await;
    let bytes = std::fs::read(&file).unwrap();
    std::fs::write(&file, &bytes[..bytes.len() / 8]).unwrap();
    let error = match SqliteStore::open(&file).await {
        Err(error) => error,
        Ok(store) => {
            let traffic = Traffic::new();
            let ever = traffic::ever();
            store.scan(&traffic.model, ever, None, 99).await.unwrap_err()
        }
    };
    assert_names(&error, ErrorKind::Corrupt, &file);
}

#[tokio::test]
async fn an_empty_file_is_a_new_store() {
    let (_folder, file) = folder_and_file();
    std::fs::write(&file, b"").unwrap();
    written(&file).await;
}

#[tokio::test]
async fn a_newer_schema_is_not_supported_and_left_alone() {
    let (_folder, file) = folder_and_file();
    written(&file).await;
    let store = SqliteStore::open(&file).await.unwrap();
    let newer =
        "INSERT INTO pmmds_migrations (version, description, success, checksum, execution_time)
        VALUES (99, 'from the future', TRUE, x'00', 0)";
    meddle(&store, newer).await;
    // A store that is open goes on; only opening looks.
    store.append(&Traffic::new().batch(2, 1)).await.unwrap();
    store.close().await;

    let before = std::fs::read(&file).unwrap();
    let error = SqliteStore::open(&file).await.unwrap_err();
    assert_names(&error, ErrorKind::NotSupported, &file);
    assert!(error.to_string().contains("has schema 99, and this release knows up to 4"), "{error}");
    assert_eq!(std::fs::read(&file).unwrap(), before);
}

#[tokio::test]
async fn a_schema_that_was_tampered_with_is_not_supported() {
    let (_folder, file) = folder_and_file();
    written(&file).await;
    let store = SqliteStore::open(&file).await.unwrap();
    meddle(&store, "UPDATE pmmds_migrations SET checksum = x'00'").await;
    store.close().await;
    let error = SqliteStore::open(&file).await.unwrap_err();
    assert_names(&error, ErrorKind::NotSupported, &file);
}

#[tokio::test]
async fn the_tables_of_others_are_left_alone() {
    let (_folder, file) = folder_and_file();
    let store = SqliteStore::open(&file).await.unwrap();
    meddle(&store, "CREATE TABLE _sqlx_migrations (theirs TEXT)").await;
    store.close().await;
    written(&file).await;
}

#[tokio::test]
async fn a_full_disk_is_unavailable_and_loses_nothing() {
    let (_folder, file) = folder_and_file();
    written(&file).await;
    let traffic = Traffic::new();
    let store = SqliteStore::open(&file).await.unwrap();
    // The limit is of the connection, and there is one.
    meddle(&store, "PRAGMA max_page_count = 1").await;
    let batch = traffic.batch(2, 5_000);
    let error = store.append(&batch).await.unwrap_err();
    assert_names(&error, ErrorKind::Unavailable, &file);
    assert!(error.chain().contains("full"), "{}", error.chain());
    assert_eq!(traffic.rows(&store).await, 30);

    meddle(&store, "PRAGMA max_page_count = 1000000").await;
    assert_eq!(store.append(&batch).await.unwrap(), Appended::Written);
    assert_eq!(traffic.rows(&store).await, 5_030);
}

#[tokio::test]
async fn a_file_that_may_not_be_written_is_unavailable() {
    let (_folder, file) = folder_and_file();
    written(&file).await;
    let store = SqliteStore::open(&file).await.unwrap();
    meddle(&store, "PRAGMA query_only = ON").await;
    let error = store.append(&Traffic::new().batch(2, 1)).await.unwrap_err();
    assert_names(&error, ErrorKind::Unavailable, &file);
    assert!(error.chain().contains("readonly"), "{}", error.chain());
    store.close().await;

    // From the file system; the administrator may write everywhere, and then there is no fault.
    let mut rights = std::fs::metadata(&file).unwrap().permissions();
    rights.set_readonly(true);
    std::fs::set_permissions(&file, rights).unwrap();
    if std::fs::OpenOptions::new().append(true).open(&file).is_ok() {
        println!("NOT TESTED as this user: a file without the right to write");
        return;
    }
    let error = SqliteStore::open(&file).await.unwrap_err();
    assert_names(&error, ErrorKind::Unavailable, &file);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_neighbour_that_holds_the_lock_makes_writes_unavailable_and_not_reads() {
    let (_folder, file) = folder_and_file();
    written(&file).await;
    let traffic = Traffic::new();
    let neighbour = SqliteStore::open(&file).await.unwrap();
    let lock = neighbour.write("hold the lock").await.unwrap();
    let short = SqliteStore::builder(&file).busy_timeout(Duration::from_millis(50));
    let error = short.clone().open().await.unwrap_err();
    assert_names(&error, ErrorKind::Unavailable, &file);
    // A drop would give the lock back some time later.
    lock.rollback().await.unwrap();
    let store = short.open().await.unwrap();
    let lock = neighbour.write("hold the lock").await.unwrap();
    let batch = traffic.batch(2, 3);
    let error = store.append(&batch).await.unwrap_err();
    assert_names(&error, ErrorKind::Unavailable, &file);
    assert!(error.to_string().contains(&batch.id().to_string()), "{error}");
    let minute = Duration::from_secs(60);
    let error = store.acquire_lease("turn", "a", minute).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(traffic.rows(&store).await, 30);
    assert_eq!(store.lease("turn").await.unwrap(), None);
    lock.rollback().await.unwrap();
    assert_eq!(store.append(&batch).await.unwrap(), Appended::Written);

    // One that waits long enough gets its turn.
    let patient = SqliteStore::open(&file).await.unwrap();
    let lock = neighbour.write("hold the lock").await.unwrap();
    let batch = traffic.batch(3, 3);
    let waiting = tokio::spawn(async move { patient.append(&batch).await });
    tokio::time::sleep(Duration::from_millis(200)).await;
    lock.rollback().await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap(), Appended::Written);
}

#[tokio::test]
async fn a_closed_store_is_unavailable() {
    let (_folder, file) = folder_and_file();
    let store = SqliteStore::builder(&file).synchronous(Synchronous::Normal).open().await.unwrap();
    store.close().await;
    let error = store.append(&Traffic::new().batch(1, 1)).await.unwrap_err();
    assert_names(&error, ErrorKind::Unavailable, &file);
    assert_eq!(store.lease("turn").await.unwrap_err().kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn a_table_that_was_dropped_is_named() {
    let (_folder, file) = folder_and_file();
    written(&file).await;
    let store = SqliteStore::open(&file).await.unwrap();
    meddle(&store, "DROP TABLE outcomes").await;
    let traffic = Traffic::new();
    let labelled = store.labelled(&traffic.model, traffic::ever(), None, 9).await;
    let error = labelled.unwrap_err();
    assert!(error.chain().contains("outcomes"), "{}", error.chain());
}

#[tokio::test]
async fn the_levels_are_what_sqlite_is_told() {
    for (level, expected) in [(Synchronous::Full, 2), (Synchronous::Normal, 1)] {
        let (_folder, file) = folder_and_file();
        let store = SqliteStore::builder(&file).synchronous(level).open().await.unwrap();
        let mut transaction = store.write("look").await.unwrap();
        let found: i64 =
            sqlx::query_scalar("PRAGMA synchronous").fetch_one(&mut *transaction).await.unwrap();
        assert_eq!(found, expected, "{level:?}");
        let mode: String =
            sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut *transaction).await.unwrap();
        assert_eq!(mode, "wal");
    }
}
