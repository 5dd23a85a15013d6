//! A disk that is full, and has room again.

use std::fs::File;
use std::io::{ErrorKind as IoErrorKind, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use super::super::PostgresStore;
use super::outage::{Cluster, Progress, until, write};
use super::server::database;
use crate::ErrorKind;
use crate::conformance::traffic::Traffic;
use crate::log::InferenceLog;

/// Takes all the room that there is.
fn fill(file: &mut File) {
    loop {
        match file.write_all(&[0; 4_096]) {
            Ok(()) => {}
            Err(error) => {
                assert_eq!(error.kind(), IoErrorKind::StorageFull, "{error}");
                return;
            }
        }
    }
}

/// G4, with a disk that is full in truth.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_whose_disk_is_full_goes_on_when_there_is_room() {
    let Some(_database) = database().await else { return };
    let Some(cluster) = Cluster::on_a_small_disk(160) else { return };
    let url = cluster.up().await;
    let store = PostgresStore::builder(&url).connections(4).open().await.unwrap();
    let traffic = Arc::new(Traffic::new());
    let progress = Progress::default();
    write(&store, &traffic, 0..5, &progress).await;
    assert_eq!(progress.errors.load(SeqCst), 0);

    let ballast = cluster.file("ballast");
    fill(&mut File::create(&ballast).unwrap());
    let mut written = 5;
    let error = loop {
        match store.append(&traffic.batch(written, 40)).await {
            Ok(_) => written += 1,
            Err(error) => break error,
        }
        assert!(written < 10_000, "all that on a full disk");
    };
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{}", error.chain());
    assert!(error.chain().contains("No space left on device"), "{}", error.chain());

    let waiting = [1, 2, 3].map(|_| Arc::new(Progress::default()));
    let writers: Vec<_> = (1..4_u64)
        .zip(&waiting)
        .map(|(writer, progress)| {
            let (store, traffic) = (store.clone(), Arc::clone(&traffic));
            let (first, progress) = (1_000_000 * writer, Arc::clone(progress));
            tokio::spawn(
                async move { write(&store, &traffic, first..first + 100, &progress).await },
            )
        })
        .collect();
    let met = |progress: &Arc<Progress>| progress.errors.load(SeqCst) > 0;
    until("each meets the full disk", || waiting.iter().all(met)).await;
    assert!(writers.iter().all(|writer| !writer.is_finished()), "all of them wait");
    assert!(traffic.rows(&store).await >= written * 40, "what is there can be read");

    std::fs::remove_file(&ballast).unwrap();
    for writer in writers {
        writer.await.unwrap();
    }
    write(&store, &traffic, written..written + 1, &progress).await;
    let all = (written + 1 + 3 * 100) * 40;
    assert_eq!(traffic.rows(&store).await, all, "each batch once");
    assert_eq!(traffic.events(&store).await.len() as u64, all);
    store.close().await;
}
