//! Lets every step of the disk fail, and damages what is there.

use std::collections::BTreeMap;
use std::fs;

use super::*;

async fn open_on(
    store: &Arc<MemoryLog>,
    folder: &Path,
    fsync: Fsync,
    disk: &Disk,
) -> Result<SpooledLog, Error> {
    let builder =
        SpooledLog::builder(Arc::<MemoryLog>::clone(store), folder).fsync(fsync).patience(LONG);
    SpooledLog::start_on(builder.segment_bytes(4_096), disk.clone()).await
}

/// How often each event is in the store.
async fn events(traffic: &Traffic, store: &Arc<MemoryLog>) -> BTreeMap<u64, usize> {
    let mut found = BTreeMap::new();
    for logged in traffic.events(store).await {
        *found.entry(u64::try_from(logged.event.id.as_u128() >> 64).unwrap()).or_default() += 1;
    }
    found
}

/// Appends, closes and opens with the steps from `step` on failing, `more` of them behind the
/// first; what was acknowledged must be in the store once in the end. Whether a step failed.
async fn one_fault(fsync: Fsync, step: u64, more: u64) -> bool {
    let place = tempfile::tempdir().unwrap();
    let (traffic, store) = (Traffic::new(), memory());
    store.take_down();
    let disk = Disk::default();
    disk.fuse.set(step, more);
    let mut acknowledged = Vec::new();
    if let Ok(spool) = open_on(&store, place.path(), fsync, &disk).await {
        for number in 0..6 {
            let batch = traffic.batch(number, 8);
            let mut answer = spool.append(&batch).await;
            if let Err(error) = &answer {
                assert_eq!(error.kind(), ErrorKind::Unavailable, "step {step}: {error}");
                assert!(error.chain().ends_with("the fuse"), "step {step}: {}", error.chain());
                // The caller sends the same again.
                answer = spool.append(&batch).await;
            }
            if answer.is_ok() {
                acknowledged.push(number);
            }
            if number == 2 {
                // Long enough for a sync on its own.
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        if more == 0 {
            assert_eq!(acknowledged, [0, 1, 2, 3, 4, 5], "one fault at step {step} costs nothing");
        }
        if step.is_multiple_of(2) {
            store.bring_up();
        }
        drop(spool.close(Duration::from_millis(20)).await);
    }
    let burnt = disk.fuse.is_burnt();
    disk.fuse.clear();
    store.bring_up();
    let spool = open_on(&store, place.path(), fsync, &disk).await.unwrap();
    spool.settled().await.unwrap();
    let end = spool.close(LONG).await;
    assert_eq!((end.events, end.unreadable, end.damaged), (0, 0, 0), "step {step}: {end:?}");
    let found = events(&traffic, &store).await;
    for number in acknowledged {
        assert_eq!(found.get(&number), Some(&8), "step {step}: batch {number} in {found:?}");
    }
    assert!(found.values().all(|rows| *rows == 8), "step {step}: whole, once: {found:?}");
    burnt
}

#[tokio::test(flavor = "multi_thread")]
async fn one_error_at_any_step_costs_nothing() {
    for fsync in [Fsync::Each, Fsync::Within(Duration::from_millis(2))] {
        let mut steps = 0;
        while one_fault(fsync, steps, 0).await {
            steps += 1;
        }
        assert!(steps > 20, "{fsync:?} takes {steps} steps");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fails_from_any_step_on_loses_nothing_that_was_acknowledged() {
    for fsync in [Fsync::Each, Fsync::Within(Duration::from_millis(2))] {
        let mut step = 0;
        while one_fault(fsync, step, u64::MAX).await {
            step += 1;
        }
    }
}

#[tokio::test]
async fn a_disk_that_fails_is_seen_until_it_works_again() {
    let place = tempfile::tempdir().unwrap();
    let (traffic, store) = (Traffic::new(), memory());
    let disk = Disk::default();
    let spool = open_on(&store, place.path(), Fsync::Each, &disk).await.unwrap();
    spool.append(&traffic.batch(1, 2)).await.unwrap();
    disk.fuse.set(0, u64::MAX);
    spool.append(&traffic.batch(2, 2)).await.unwrap_err();
    let backlog = spool.backlog().unwrap();
    assert!(!backlog.is_healthy() && backlog.failed_writes == 1, "{backlog:?}");
    assert_eq!(backlog.refusing.unwrap(), "the disk did not take a batch");
    disk.fuse.clear();
    spool.append(&traffic.batch(2, 2)).await.unwrap();
    assert!(spool.backlog().unwrap().is_healthy());
    assert_eq!(traffic.rows(&spool).await, 4);
}

/// A folder with three batches in one file, and the file.
async fn three(traffic: &Traffic) -> (tempfile::TempDir, std::path::PathBuf) {
    let place = tempfile::tempdir().unwrap();
    let store = memory();
    store.take_down();
    let spool = open(store, place.path(), Fsync::Each).await;
    for number in 1..=3 {
        spool.append(&traffic.batch(number, 4)).await.unwrap();
    }
    drop(spool.close(Duration::ZERO).await);
    let file = place.path().join(folder::segment_name(1));
    (place, file)
}

/// Where the three begin.
fn starts(bytes: &[u8]) -> [usize; 3] {
    let second = frame::next(bytes).unwrap();
    [0, second, second + frame::next(&bytes[second..]).unwrap()]
}

async fn what_is_found(traffic: &Traffic, folder: &Path) -> (BTreeMap<u64, usize>, Backlog) {
    let store = memory();
    let spool = open(Arc::<MemoryLog>::clone(&store), folder, Fsync::Each).await;
    spool.settled().await.unwrap();
    let backlog = spool.close(LONG).await;
    (events(traffic, &store).await, backlog)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unfinished_write_is_cut_off_at_whatever_byte_it_stopped() {
    let traffic = Traffic::new();
    let (place, file) = three(&traffic).await;
    let bytes = fs::read(&file).unwrap();
    let [_, _, last] = starts(&bytes);
    let cursor = place.path().join("cursor");
    let noted = fs::read(&cursor).unwrap();
    for end in (last..bytes.len()).step_by(7) {
        fs::write(&file, &bytes[..end]).unwrap();
        fs::write(&cursor, &noted).unwrap();
        let (found, backlog) = what_is_found(&traffic, place.path()).await;
        assert_eq!(found, BTreeMap::from([(1, 4), (2, 4)]), "cut at {end}");
        let torn = u64::from(end > last);
        assert_eq!((backlog.torn, backlog.damaged), (torn, 0), "cut at {end}");
    }
    // The length was on the disk and the bytes were not.
    let mut blank = bytes.clone();
    blank[last..].fill(0);
    fs::write(&file, &blank).unwrap();
    fs::write(&cursor, &noted).unwrap();
    let (found, backlog) = what_is_found(&traffic, place.path()).await;
    assert_eq!((found.len(), backlog.torn, backlog.damaged), (2, 1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_is_set_aside_told_and_counted_and_the_rest_is_read() {
    let traffic = Traffic::new();
    let (place, file) = three(&traffic).await;
    let bytes = fs::read(&file).unwrap();
    let [_, second, third] = starts(&bytes);
    let cursor = place.path().join("cursor");
    let noted = fs::read(&cursor).unwrap();
    for (at, left) in
        [(0, [2, 3]), (20, [2, 3]), (5, [2, 3]), (second + 70, [1, 3]), (third + 99, [1, 2])]
    {
        let mut damaged = bytes.clone();
        damaged[at] ^= 4;
        fs::write(&file, &damaged).unwrap();
        fs::write(&cursor, &noted).unwrap();
        let (found, backlog) = what_is_found(&traffic, place.path()).await;
        assert_eq!(found.keys().copied().collect::<Vec<_>>(), left, "byte {at}");
        assert_eq!((backlog.damaged, backlog.torn, backlog.recovered), (1, 0, 8), "byte {at}");
        let aside = place.path().join(folder::damaged_name(1));
        assert_eq!(fs::read(&aside).unwrap(), damaged, "byte {at}: as it was found");
        fs::remove_file(aside).unwrap();
    }
}

#[tokio::test]
async fn what_is_damaged_while_it_waits_is_told_too() {
    let place = tempfile::tempdir().unwrap();
    let (traffic, store) = (Traffic::new(), memory());
    store.take_down();
    let spool = open(Arc::<MemoryLog>::clone(&store), place.path(), Fsync::Each).await;
    for number in 1..=3 {
        spool.append(&traffic.batch(number, 4)).await.unwrap();
    }
    let file = place.path().join(folder::segment_name(1));
    let mut bytes = fs::read(&file).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    fs::write(&file, &bytes).unwrap();
    store.bring_up();
    spool.settled().await.unwrap();
    let end = spool.close(LONG).await;
    assert_eq!((end.unreadable, end.damaged, end.replayed), (4, 1, 8), "{end:?}");
    assert_eq!(events(&traffic, &store).await.len(), 2);
    assert_eq!(fs::read(place.path().join(folder::damaged_name(1))).unwrap(), bytes);
}

#[tokio::test]
async fn a_wrong_cursor_costs_nothing() {
    let traffic = Traffic::new();
    for cursor in ["", "1 99 00000000\n", "garbage", "1 0\n", "18446744073709551615 0 00000000\n"] {
        let (place, _) = three(&traffic).await;
        fs::write(place.path().join("cursor"), cursor).unwrap();
        let (found, _) = what_is_found(&traffic, place.path()).await;
        assert_eq!(found.len(), 3, "{cursor:?}");
    }
}
