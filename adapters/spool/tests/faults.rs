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

/// What is appended.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Load {
    /// Batches that are sent alone.
    Alone,
    /// Batches of one moment, with answers: most are sent together.
    Groups,
}

/// Appends, closes and opens with the steps from `step` on failing, `more` of them behind the
/// first; what was acknowledged must be in the store once in the end. Whether a step failed.
async fn one_fault(fsync: Fsync, step: u64, more: u64, load: Load) -> bool {
    let place = tempfile::tempdir().unwrap();
    let (traffic, store) = (Traffic::new(), memory());
    store.take_down();
    let batches: u64 = if load == Load::Groups { 20 } else { 6 };
    let disk = Disk::default();
    disk.fuse.set(step, more);
    let mut acknowledged = Vec::new();
    if let Ok(spool) = open_on(&store, place.path(), fsync, &disk).await {
        for number in 0..batches {
            let (batch, said) = match load {
                Load::Alone => (traffic.batch(number, 8), Vec::new()),
                Load::Groups => {
                    (traffic.batch_from(number, 8, Timestamp::EPOCH), vec![reply(number)])
                }
            };
            let mut answer = spool.append_answered(&batch, &said).await;
            if let Err(error) = &answer {
                assert_eq!(error.kind(), ErrorKind::Unavailable, "step {step}: {error}");
                assert!(error.chain().ends_with("the fuse"), "step {step}: {}", error.chain());
                // The caller sends the same again.
                answer = spool.append_answered(&batch, &said).await;
            }
            if answer.is_ok() {
                acknowledged.push(number);
            }
            if number == 2 {
                // Long enough for a sync on its own.
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        if load == Load::Groups && more == 0 {
            let groups = spool.handle.core.state().groups.len() as u64;
            assert!((state::LAG as u64..batches).contains(&groups), "{groups} groups");
        }
        if more == 0 {
            assert!(
                acknowledged.iter().copied().eq(0..batches),
                "one fault at step {step} costs nothing"
            );
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
    if load == Load::Groups {
        // The files are kept for their answers, and nothing in them waits.
        let spool = open_on(&store, place.path(), fsync, &disk).await.unwrap();
        assert_eq!(spool.backlog().unwrap().recovered, 0, "step {step}");
        let replies = spool.replies(1_000).await.unwrap();
        for number in &acknowledged {
            assert!(replies.contains(&reply(*number)), "step {step}: the answer of {number}");
        }
        drop(spool.close(LONG).await);
    }
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
        for load in [Load::Alone, Load::Groups] {
            let mut steps = 0;
            while one_fault(fsync, steps, 0, load).await {
                steps += 1;
            }
            assert!(steps > 20, "{fsync:?} takes {steps} steps");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fails_from_any_step_on_loses_nothing_that_was_acknowledged() {
    for fsync in [Fsync::Each, Fsync::Within(Duration::from_millis(2))] {
        for load in [Load::Alone, Load::Groups] {
            let mut step = 0;
            while one_fault(fsync, step, u64::MAX, load).await {
                step += 1;
            }
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
    let search = frame::Search::new(bytes);
    let second = search.next(0).unwrap();
    [0, second, search.next(second).unwrap()]
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

#[tokio::test]
async fn behind_an_unfinished_write_nothing_of_it_is_left() {
    let traffic = Traffic::new();
    let (place, file) = three(&traffic).await;
    let bytes = fs::read(&file).unwrap();
    let [_, _, last] = starts(&bytes);
    fs::write(&file, &bytes[..bytes.len() - 1]).unwrap();
    let store = memory();
    store.take_down();
    let spool = open(Arc::<MemoryLog>::clone(&store), place.path(), Fsync::Each).await;
    assert!(fs::read(&file).unwrap() == bytes[..last], "not as long as its whole frames");
    spool.append(&traffic.batch(4, 4)).await.unwrap();
    drop(spool.close(Duration::ZERO).await);
    // It is not the newest file any more, in which a rest would be damage.
    let spool = open(Arc::<MemoryLog>::clone(&store), place.path(), Fsync::Each).await;
    let backlog = spool.backlog().unwrap();
    assert_eq!((backlog.recovered, backlog.torn, backlog.damaged), (12, 0, 0), "{backlog:?}");
}

#[tokio::test]
async fn what_did_not_come_down_to_the_disk_is_taken_back() {
    let place = tempfile::tempdir().unwrap();
    let (traffic, store, disk) = (Traffic::new(), memory(), Disk::default());
    store.take_down();
    let spool = open_on(&store, place.path(), Fsync::Each, &disk).await.unwrap();
    spool.append(&traffic.batch(1, 4)).await.unwrap();
    let file = place.path().join(folder::segment_name(1));
    let kept = fs::read(&file).unwrap();
    // Two steps write it, the third brings it down.
    disk.fuse.set(2, 0);
    let error = spool.append(&traffic.batch(2, 4)).await.unwrap_err();
    assert!(error.chain().contains("sync"), "{}", error.chain());
    assert!(fs::read(&file).unwrap() == kept, "what was refused is still there");
    drop(spool.close(Duration::ZERO).await);
    // Nobody was told that it is kept, so the next start does not find it.
    let spool = open_on(&store, place.path(), Fsync::Each, &disk).await.unwrap();
    let backlog = spool.backlog().unwrap();
    assert_eq!((backlog.recovered, backlog.torn, backlog.damaged), (4, 0, 0), "{backlog:?}");
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
async fn a_file_that_is_gone_or_cut_costs_what_was_in_it() {
    for cut in [false, true] {
        let place = tempfile::tempdir().unwrap();
        let (traffic, store, disk) = (Traffic::new(), memory(), Disk::default());
        store.take_down();
        let spool = open_on(&store, place.path(), Fsync::Each, &disk).await.unwrap();
        // Files of 4,096 bytes; the first is on its way as soon as it is written.
        for number in 0..30 {
            spool.append(&traffic.batch(number, 8)).await.unwrap();
        }
        let file = place.path().join(folder::segment_name(2));
        if cut {
            fs::OpenOptions::new().write(true).open(&file).unwrap().set_len(10).unwrap();
        } else {
            fs::remove_file(&file).unwrap();
        }
        store.bring_up();
        spool.settled().await.unwrap();
        let end = spool.close(LONG).await;
        assert!(end.unreadable > 0 && end.events == 0 && end.trouble.is_none(), "{end:?}");
        assert_eq!(end.replayed + end.unreadable, 240, "{end:?}");
        assert_eq!(traffic.rows(&store).await, end.replayed);
        assert_eq!(place.path().join(folder::damaged_name(2)).exists(), cut);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_the_disk_does_not_give_back_at_the_start_is_set_aside() {
    let traffic = Traffic::new();
    let (place, file) = three(&traffic).await;
    let (store, disk, bytes) = (memory(), Disk::default(), fs::read(&file).unwrap());
    // Folders there are: the only step before is the one that makes them.
    disk.fuse.set(1, 3);
    let spool = open_on(&store, place.path(), Fsync::Each, &disk).await.unwrap();
    assert_eq!(spool.backlog().unwrap().damaged, 1);
    spool.append(&traffic.batch(9, 4)).await.unwrap();
    assert_eq!(traffic.rows(&spool).await, 4);
    assert_eq!(fs::read(place.path().join(folder::damaged_name(1))).unwrap(), bytes);
    drop(spool.close(LONG).await);
    // Three times it fails, and then not any more.
    let (place, _) = three(&traffic).await;
    disk.fuse.set(1, 2);
    let spool = open_on(&store, place.path(), Fsync::Each, &disk).await.unwrap();
    assert_eq!(spool.backlog().unwrap().recovered, 12);
}

#[tokio::test]
async fn what_is_not_the_spools_is_left_alone() {
    let traffic = Traffic::new();
    let (place, _) = three(&traffic).await;
    let others = ["18446744073709551615.seg", "notes.tmp", "1.seg"];
    for name in others {
        fs::write(place.path().join(name), "mine").unwrap();
    }
    let drafts = ["cursor.tmp", "00000000000000000001.tmp"];
    for name in drafts {
        fs::write(place.path().join(name), "half").unwrap();
    }
    let (found, backlog) = what_is_found(&traffic, place.path()).await;
    assert_eq!((found.len(), backlog.damaged), (3, 0));
    assert!(others.iter().all(|name| place.path().join(name).exists()));
    assert!(!drafts.iter().any(|name| place.path().join(name).exists()));
}

#[test]
fn a_lock_ends_though_a_child_process_has_a_copy_of_it() {
    let place = tempfile::tempdir().unwrap();
    let lock = disk::lock(place.path()).unwrap();
    assert_eq!(disk::lock(place.path()).unwrap_err().kind(), ErrorKind::Conflict);
    // As a fork makes one, until the child is another program.
    let copy = lock.0.try_clone().unwrap();
    drop(lock);
    disk::lock(place.path()).unwrap();
    drop(copy);
}

#[tokio::test]
async fn a_head_that_is_not_its_batchs_is_damage() {
    let traffic = Traffic::new();
    let mut frame = frame::Frame::new(&traffic.batch(1, 3), &[]).unwrap();
    frame.head.events = 4;
    let bytes = frame.seal(frame.head.group).to_vec();
    let frame::Found::Frame(head) = frame::look(&bytes) else { panic!() };
    let error = frame::open(&bytes, &head).unwrap_err();
    assert!(error.starts_with("3 events of "), "{error}");
}

#[tokio::test]
async fn a_wrong_cursor_costs_nothing() {
    let traffic = Traffic::new();
    let far =
        format!("18446744073709551615 0 {:08x}\n", crc32fast::hash(b"18446744073709551615 0"));
    for cursor in ["", "1 99 00000000\n", "garbage", "1 0\n", &far] {
        let (place, _) = three(&traffic).await;
        fs::write(place.path().join("cursor"), cursor).unwrap();
        let (found, _) = what_is_found(&traffic, place.path()).await;
        assert_eq!(found.len(), 3, "{cursor:?}");
    }
}
