//! What the module page promises, one by one.

use super::*;
use crate::model::Task;

/// Where the drain stands still, so that what it does is seen.
fn down() -> Arc<MemoryLog> {
    let store = memory();
    store.take_down();
    store
}

async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let waited = async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(LONG, waited).await.unwrap_or_else(|_| panic!("{what}"));
}

fn adds_up(backlog: &Backlog) -> bool {
    let ends = backlog.events + backlog.replayed + backlog.quarantined + backlog.unreadable;
    backlog.taken() == ends
}

#[tokio::test]
async fn an_outage_is_survived_and_a_restart_in_it() {
    let place = tempfile::tempdir().unwrap();
    let (traffic, store) = (Traffic::new(), down());
    for fsync in [Fsync::Each, Fsync::default()] {
        let folder = place.path().join(format!("{fsync:?}"));
        store.take_down();
        let spool = open(Arc::<MemoryLog>::clone(&store), &folder, fsync).await;
        let first = if fsync == Fsync::Each { 0 } else { 1_000 };
        for number in first..first + 50 {
            assert_eq!(spool.append(&traffic.batch(number, 3)).await.unwrap(), Appended::Written);
        }
        let left = spool.close(Duration::from_millis(50)).await;
        assert_eq!((left.events, left.replayed, left.recovered), (150, 0, 0), "{left:?}");
        assert!(adds_up(&left) && left.trouble.is_some(), "{left:?}");
        assert_eq!(left.oldest, Some(traffic.batch(first, 3).events()[0].at));

        let spool = open(Arc::<MemoryLog>::clone(&store), &folder, fsync).await;
        let found = spool.backlog().unwrap();
        assert_eq!((found.events, found.recovered), (150, 150), "{found:?}");
        store.bring_up();
        let before = if fsync == Fsync::Each { 0 } else { 150 };
        assert_eq!(traffic.rows(&spool).await, before + 150);
        let end = spool.close(LONG).await;
        assert_eq!((end.events, end.replayed, end.damaged), (0, 150, 0), "{end:?}");
        let left: Vec<_> = std::fs::read_dir(&folder).unwrap().collect();
        assert_eq!(left.len(), 2, "the lock and the cursor: {left:?}");
    }
}

#[tokio::test]
async fn a_read_does_not_claim_what_it_does_not_know() {
    let place = tempfile::tempdir().unwrap();
    let (traffic, store) = (Traffic::new(), down());
    let spool = SpooledLog::builder(Arc::<MemoryLog>::clone(&store), place.path());
    let spool = spool.patience(Duration::from_millis(500)).open().await.unwrap();
    spool.append(&traffic.batch(5, 3)).await.unwrap();
    let ever = crate::conformance::traffic::ever();
    let error = spool.scan(&traffic.model, ever, None, 10).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(
        error.to_string(),
        "spool: unavailable: 3 events since 1970-01-01T00:00:05Z still wait on disk: \
         memory log: unavailable"
    );
    store.bring_up();
    until("the store has them", || spool.backlog().unwrap().events == 0).await;
    assert_eq!(spool.scan(&traffic.model, ever, None, 10).await.unwrap().items.len(), 3);
    assert_eq!(spool.backlog().unwrap().trouble, None);
}

#[tokio::test]
async fn while_the_store_lags_batches_are_sent_together_and_again_as_the_same() {
    let place = tempfile::tempdir().unwrap();
    let (traffic, store) = (Traffic::new(), down());
    let spool = open(Arc::<MemoryLog>::clone(&store), place.path(), Fsync::Each).await;
    // All within a second, so that they may be one.
    let batches: Vec<_> = (0..400).map(|n| traffic.batch_from(n, 5, Timestamp::EPOCH)).collect();
    for batch in &batches {
        spool.append(batch).await.unwrap();
    }
    let groups: Vec<_> = spool.handle.core.state().groups.iter().cloned().collect();
    assert!(groups.len() < 20, "{} groups", groups.len());
    assert!(groups.iter().all(|group| group.events <= 1_000));
    drop(spool.close(Duration::ZERO).await);

    // Another process sends the same groups: the store was told about one of them already.
    let spool = open(Arc::<MemoryLog>::clone(&store), place.path(), Fsync::Each).await;
    let found: Vec<_> = spool.handle.core.state().groups.iter().cloned().collect();
    let shape = |groups: &[state::Group]| -> Vec<(BatchId, Vec<BatchId>)> {
        let of = |group: &state::Group| group.places.iter().map(|p| p.head.batch).collect();
        groups.iter().map(|group| (group.id, of(group))).collect()
    };
    assert_eq!(shape(&found), shape(&groups));
    let biggest = groups.iter().max_by_key(|group| group.places.len()).unwrap();
    let mut whole =
        batches.iter().filter(|b| biggest.places.iter().any(|p| p.head.batch == b.id()));
    let mut sent = whole.next().unwrap().clone().with_id(biggest.id);
    whole.for_each(|batch| sent.merge(batch).unwrap());
    store.bring_up();
    let _ = store.append(&sent).await.unwrap();
    assert_eq!(traffic.rows(&spool).await, 2_000);
    let end = spool.close(LONG).await;
    assert_eq!((end.events, end.replayed, end.quarantined), (0, 2_000, 0), "{end:?}");
}

#[tokio::test]
async fn batches_of_refused_requests_and_of_other_times_stay_apart() {
    let place = tempfile::tempdir().unwrap();
    let traffic = Traffic::new();
    let spool = open(down(), place.path(), Fsync::Each).await;
    for number in 0..40 {
        spool.append(&traffic.batch(2 * number, 5)).await.unwrap();
    }
    assert_eq!(spool.handle.core.state().groups.len(), 40, "two seconds apart");
}

/// A store that is down, and a batch of one event that it has.
async fn down_with_an_event(traffic: &Traffic) -> (Arc<MemoryLog>, EventBatch) {
    let (store, known) = (memory(), traffic.batch(7, 1));
    store.append(&known).await.unwrap();
    store.take_down();
    (store, known)
}

#[tokio::test]
async fn what_the_store_can_never_take_goes_into_quarantine_alone() {
    let place = tempfile::tempdir().unwrap();
    let traffic = Traffic::new();
    let (store, known) = down_with_an_event(&traffic).await;
    let spool = open(Arc::<MemoryLog>::clone(&store), place.path(), Fsync::Each).await;
    // Under another id, an event that the store has among 12 that it has not.
    let mut batch = traffic.batch(8, 12);
    batch.merge(&known).unwrap();
    spool.append(&batch).await.unwrap();
    spool.append(&traffic.batch(9, 4)).await.unwrap();
    store.bring_up();
    assert_eq!(traffic.rows(&spool).await, 1 + 12 + 4);
    let backlog = spool.close(LONG).await;
    assert_eq!((backlog.quarantined, backlog.replayed, backlog.events), (1, 16, 0));
    assert!(adds_up(&backlog));

    let text = std::fs::read_to_string(place.path().join("quarantine.jsonl")).unwrap();
    let line: serde_json::Value = serde_json::from_str(text.trim_end()).unwrap();
    assert_eq!(line["model"], "churn");
    assert_eq!(line["events"][0]["id"], known.events()[0].id.to_string());
    assert_eq!(line["events"][0]["features"], serde_json::json!({"x": 0.0}));
    assert!(line["error"].as_str().unwrap().ends_with("is there already"), "{line}");

    // A crash before the batch was done with: it is refused again, and kept once.
    let spool = open(store, place.path(), Fsync::Each).await;
    spool.append(&traffic.batch(10, 1)).await.unwrap();
    let mut quarantine = Quarantine::open(place.path(), &Disk::default()).unwrap();
    let half = |batch: &EventBatch| batch.halves().map(|[_, second]| second);
    let last = std::iter::successors(Some(batch), half).last().unwrap();
    let error = Error::new(ErrorKind::Conflict, "test", "again");
    quarantine.keep(&last, &error).unwrap();
    let again = std::fs::read_to_string(place.path().join("quarantine.jsonl")).unwrap();
    assert_eq!(again, text);
}

#[tokio::test]
async fn a_full_spool_says_so_until_there_is_room() {
    let place = tempfile::tempdir().unwrap();
    let (traffic, store) = (Traffic::new(), down());
    let spool =
        SpooledLog::builder(Arc::<MemoryLog>::clone(&store), place.path()).max_bytes(20_000);
    let spool = spool.segment_bytes(4_096).patience(LONG).open().await.unwrap();
    let mut taken = 0;
    let error = loop {
        match spool.append(&traffic.batch(taken, 10)).await {
            Ok(_) => taken += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(
        error.to_string().contains("is full: ") && error.to_string().contains(" of 20000 bytes")
    );
    let backlog = spool.backlog().unwrap();
    assert!(backlog.bytes <= 20_000 && !backlog.is_healthy(), "{backlog:?}");
    assert_eq!(backlog.events, 10 * taken);
    // One that can never be kept is the writer's to halve.
    let large = spool.append(&traffic.batch(10_000, 1_000)).await.unwrap_err();
    assert_eq!(large.kind(), ErrorKind::InvalidInput, "{large}");

    store.bring_up();
    assert_eq!(traffic.rows(&spool).await, 10 * taken);
    assert!(spool.backlog().unwrap().is_healthy());
    spool.append(&traffic.batch(taken, 10)).await.unwrap();
    assert_eq!(traffic.rows(&spool).await, 10 * (taken + 1));
    // Files go as soon as the store has what is in them.
    drop(spool.close(LONG).await);
    let files = std::fs::read_dir(place.path()).unwrap().count();
    assert_eq!(files, 2, "the lock and the cursor");
}

#[tokio::test]
async fn a_second_user_of_the_folder_is_turned_away() {
    let place = tempfile::tempdir().unwrap();
    let spool = open(memory(), place.path(), Fsync::Each).await;
    let error = SpooledLog::open(memory(), place.path()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.to_string().contains(&place.path().display().to_string()), "{error}");
    drop(spool.close(Duration::ZERO).await);
    drop(open(memory(), place.path(), Fsync::Each).await);
}

#[cfg(unix)]
#[tokio::test]
async fn folder_and_files_are_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("a/spool");
    let spool = open(down(), &folder, Fsync::Each).await;
    spool.append(&Traffic::new().batch(1, 1)).await.unwrap();
    drop(spool.close(Duration::ZERO).await);
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}

#[tokio::test]
async fn options_that_cannot_work_are_told() {
    let place = tempfile::tempdir().unwrap();
    let builder = SpooledLog::builder(memory(), place.path());
    let builder = builder.segment_bytes(0).fsync(Fsync::Within(Duration::ZERO));
    let error = builder.open().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "spool: invalid input: segment_bytes is 0, expected at least 4096; \
         fsync within is zero, expected a duration"
    );
}

#[tokio::test]
async fn an_empty_batch_is_refused_and_numbers_come_back() {
    let place = tempfile::tempdir().unwrap();
    let (traffic, store) = (Traffic::new(), memory());
    let spool = open(store, place.path(), Fsync::default()).await;
    let empty = spool.append(&traffic.batch(1, 0)).await.unwrap_err();
    assert_eq!(empty.kind(), ErrorKind::InvalidInput);
    let batch = traffic.predicting(3, 4, Task::Regression, -1.5e-300);
    spool.append(&batch).await.unwrap();
    let found: Vec<_> = traffic.events(&spool).await.into_iter().map(|l| l.event).collect();
    assert_eq!(found, batch.events());
}

#[tokio::test]
async fn answers_are_given_back_as_long_as_their_files_are_kept() {
    let place = tempfile::tempdir().unwrap();
    let (traffic, store) = (Traffic::new(), memory());
    let open = async |store: &Arc<MemoryLog>| {
        let spool =
            SpooledLog::builder(Arc::<MemoryLog>::clone(store), place.path()).patience(LONG);
        spool.segment_bytes(4_096).kept_bytes(20_000).open().await.unwrap()
    };
    for start in [0, 20, 40] {
        let spool = open(&store).await;
        for number in start..start + 20 {
            let said = [reply(number)];
            spool.append_answered(&traffic.batch(number, 1), &said).await.unwrap();
        }
        drop(spool.close(LONG).await);
    }
    let spool = open(&store).await;
    assert_eq!(spool.backlog().unwrap().recovered, 0, "the store has all");
    let found = spool.replies(1_000).await.unwrap();
    let numbers: Vec<u64> =
        found.iter().map(|r| u64::try_from(r.request_id.as_u128()).unwrap()).collect();
    assert!((10..40).contains(&numbers.len()), "{numbers:?}");
    assert!(numbers.iter().copied().eq(60 - numbers.len() as u64..60), "{numbers:?}");
    assert!(found.iter().all(|r| *r == reply(u64::try_from(r.request_id.as_u128()).unwrap())));
    assert_eq!(spool.replies(2).await.unwrap(), [reply(58), reply(59)]);
    // What the kept files hold is known when it is sent again.
    let again = spool.append(&traffic.batch(59, 1)).await.unwrap();
    assert_eq!(again, Appended::AlreadyThere);
    assert_eq!(traffic.rows(&spool).await, 60);
}

#[tokio::test]
async fn what_the_store_has_is_noted_though_nothing_more_comes() {
    let (place, traffic) = (tempfile::tempdir().unwrap(), Traffic::new());
    let spool = open(memory(), place.path(), Fsync::default()).await;
    spool.append(&traffic.batch(1, 30)).await.unwrap();
    // For another process, which has the files alone.
    let begun = std::time::Instant::now();
    while SpooledLog::waiting(place.path()).await.unwrap().events > 0 {
        assert!(begun.elapsed() < LONG, "it is never noted");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(spool.backlog().unwrap().events, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_store_has_is_not_sent_again_after_an_idle_start() {
    let place = tempfile::tempdir().unwrap();
    let (traffic, store) = (Traffic::new(), memory());
    let spool = open(Arc::<MemoryLog>::clone(&store), place.path(), Fsync::Each).await;
    for number in 0..3 {
        spool.append_answered(&traffic.batch(number, 2), &[reply(number)]).await.unwrap();
    }
    drop(spool.close(LONG).await);
    for start in 0..3 {
        let spool = open(Arc::<MemoryLog>::clone(&store), place.path(), Fsync::Each).await;
        assert_eq!(spool.replies(10).await.unwrap().len(), 3);
        let end = spool.close(LONG).await;
        assert_eq!(end.recovered, 0, "start {start}: {end:?}");
    }
}

#[tokio::test]
async fn a_batch_of_old_that_is_appended_again_takes_no_other_along() {
    let place = tempfile::tempdir().unwrap();
    let (traffic, store) = (Traffic::new(), memory());
    let old = traffic.batch_from(100, 2, Timestamp::EPOCH);
    store.append(&old).await.unwrap();
    store.take_down();
    let spool = open(Arc::<MemoryLog>::clone(&store), place.path(), Fsync::Each).await;
    // Of another second, so that nothing joins them, and then so that all do.
    for number in 0..state::LAG as u64 {
        spool.append(&traffic.batch(10 + 2 * number, 2)).await.unwrap();
    }
    spool.append(&old).await.unwrap();
    for number in 0..3 {
        spool.append(&traffic.batch_from(200 + number, 2, Timestamp::EPOCH)).await.unwrap();
    }
    let groups = spool.handle.core.state().groups.len();
    assert_eq!(groups, state::LAG + 1, "the old one and the three behind it are one");
    store.bring_up();
    assert_eq!(traffic.rows(&spool).await, 2 * (1 + state::LAG as u64 + 3));
    let end = spool.close(LONG).await;
    assert_eq!((end.quarantined, end.events), (2, 0), "{end:?}");
}

#[tokio::test]
async fn a_batch_of_old_that_is_sent_alone_is_known_to_the_store() {
    let place = tempfile::tempdir().unwrap();
    let (traffic, store) = (Traffic::new(), memory());
    store.append(&traffic.batch(100, 2)).await.unwrap();
    let spool = open(Arc::<MemoryLog>::clone(&store), place.path(), Fsync::Each).await;
    spool.append(&traffic.batch(100, 2)).await.unwrap();
    assert_eq!(traffic.rows(&spool).await, 2);
    assert_eq!(spool.close(LONG).await.quarantined, 0);
}

#[tokio::test]
async fn closing_twice_is_fine() {
    let place = tempfile::tempdir().unwrap();
    let spool = open(down(), place.path(), Fsync::Each).await;
    spool.append(&Traffic::new().batch(1, 2)).await.unwrap();
    let (one, other) = tokio::join!(spool.close(Duration::ZERO), spool.close(Duration::ZERO));
    assert_eq!((one.events, other.events), (2, 2));
    assert_eq!(spool.close(Duration::ZERO).await.events, 2);
}

#[tokio::test]
async fn a_purge_takes_the_answers_along() {
    let place = tempfile::tempdir().unwrap();
    let (traffic, store) = (Traffic::new(), memory());
    let spool = SpooledLog::builder(Arc::<MemoryLog>::clone(&store), place.path());
    let spool = spool.segment_bytes(4_096).patience(LONG).open().await.unwrap();
    for number in 0..40 {
        spool.append_answered(&traffic.batch(number, 1), &[reply(number)]).await.unwrap();
    }
    let before = traffic.batch(20, 1).events()[0].at;
    assert_eq!(spool.replies(100).await.unwrap().len(), 40);
    let _ = spool.purge(before).await.unwrap();
    let found = spool.replies(100).await.unwrap();
    assert!(found.contains(&reply(20)) && found.contains(&reply(39)));
    assert!(!found.contains(&reply(5)), "{} are left", found.len());
    assert!((20..35).contains(&found.len()), "{} are left", found.len());
}

#[tokio::test]
async fn files_without_answers_take_no_room_from_those_with_some() {
    let place = tempfile::tempdir().unwrap();
    let (traffic, store) = (Traffic::new(), memory());
    let spool = SpooledLog::builder(Arc::<MemoryLog>::clone(&store), place.path());
    let spool = spool.segment_bytes(4_096).kept_bytes(9_000).patience(LONG).open().await.unwrap();
    spool.append_answered(&traffic.batch(0, 20), &[reply(0)]).await.unwrap();
    for number in 1..60 {
        spool.append(&traffic.batch(number, 8)).await.unwrap();
    }
    assert_eq!(traffic.rows(&spool).await, 20 + 59 * 8);
    drop(spool.close(LONG).await);
    let spool = open(store, place.path(), Fsync::Each).await;
    assert_eq!(spool.replies(10).await.unwrap(), [reply(0)]);
}

#[tokio::test]
async fn refused_requests_alone_have_no_age() {
    let place = tempfile::tempdir().unwrap();
    let traffic = Traffic::new();
    let mut problems = crate::validate::Violations::new();
    let _ = crate::record::decode_row(&traffic.schema, br#"{"x": "one"}"#, &mut problems);
    let mut refused = traffic.batch(3, 0);
    refused.push_rejected(&traffic.schema, &problems);
    let spool = open(down(), place.path(), Fsync::Each).await;
    spool.append(&refused).await.unwrap();
    assert_eq!(spool.backlog().unwrap().oldest, None);
    let batch = traffic.batch(5, 3);
    spool.append(&batch).await.unwrap();
    assert_eq!(spool.backlog().unwrap().oldest, Some(batch.events()[0].at));
}

#[tokio::test]
async fn trouble_ends_with_the_last_group_also_in_quarantine() {
    let place = tempfile::tempdir().unwrap();
    let traffic = Traffic::new();
    let (store, known) = down_with_an_event(&traffic).await;
    let spool = open(Arc::<MemoryLog>::clone(&store), place.path(), Fsync::Each).await;
    let mut batch = traffic.batch(8, 1);
    batch.merge(&known).unwrap();
    spool.append(&batch).await.unwrap();
    until("it is told", || spool.backlog().unwrap().trouble.is_some()).await;
    store.bring_up();
    spool.settled().await.unwrap();
    let backlog = spool.backlog().unwrap();
    assert_eq!((backlog.quarantined, backlog.trouble), (1, None));
}

#[test]
fn a_quarantine_reads_the_end_of_its_file() {
    let place = tempfile::tempdir().unwrap();
    let (traffic, disk) = (Traffic::new(), Disk::default());
    let error = Error::new(ErrorKind::Conflict, "test", "never");
    let mut quarantine = Quarantine::open(place.path(), &disk).unwrap();
    quarantine.keep(&traffic.batch(1, 1), &error).unwrap();
    let path = place.path().join("quarantine.jsonl");
    let line = std::fs::read(&path).unwrap();
    let long = [line.repeat(5 << 20 >> 8), b"{\"batch\": \"cut".to_vec()].concat();
    std::fs::write(&path, &long).unwrap();
    let mut quarantine = Quarantine::open(place.path(), &disk).unwrap();
    quarantine.keep(&traffic.batch(1, 1), &error).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().len(), long.len() as u64, "it is there already");
    quarantine.keep(&traffic.batch(2, 1), &error).unwrap();
    assert!(std::fs::metadata(&path).unwrap().len() > long.len() as u64);
}
