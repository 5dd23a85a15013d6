//! What windows count.

use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use super::given::{
    SECOND, Traffic, at, ever, id, same_rows, same_summaries, scan, version, write,
};
use crate::drift::{Counts, Profile};
use crate::log::{BatchId, EventBatch, InferenceEvent, InferenceLog};
use crate::registry::{ModelName, VersionId};
use crate::{Timestamp, Window};

/// In random windows the counts are those of the codes that a scan returns, summaries and
/// rejections those of the batches that lie inside, and adjacent windows add up to the whole.
///
/// # Panics
///
/// When the clause is broken.
pub async fn random_windows(log: &dyn InferenceLog, model: &ModelName, batches: u32, seed: u64) {
    const HOUR: u64 = 3_600_000_000;
    let traffic = Traffic::new(model);
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut written = Vec::new();
    let mut next = 0;
    for number in 0..u64::from(batches) {
        // Short stretches, so that some batches lie in a window and some across its ends; a
        // coarse grid, so that many events fall on the same microsecond.
        let start = random.next_u64() % HOUR;
        let length = 1 + random.next_u64() % (HOUR / 20);
        let size = random.next_u64() % 40;
        let events = (next..next + size).map(|n| {
            let moment = start + random.next_u64() % length;
            (n, i64::try_from(moment - moment % 250_000).expect("an hour"))
        });
        let mut batch = traffic.batch(number, events.collect::<Vec<_>>());
        next += size;
        if number.is_multiple_of(4) && size > 0 {
            traffic.refuse(&mut batch);
        }
        if !batch.is_empty() {
            write(log, &batch).await;
            written.push(batch);
        }
    }
    let events: Vec<&InferenceEvent> = written.iter().flat_map(EventBatch::events).collect();
    let mut moments: Vec<Timestamp> = events.iter().map(|event| event.at).collect();
    moments.sort_unstable();
    let whole = (at(0), at(2 * i64::try_from(HOUR).expect("an hour")));
    for _ in 0..60 {
        // Ends on an event, a microsecond beside one, or anywhere.
        let mut end = || {
            let moment = moments[usize::try_from(random.next_u64() % 1_000_000_000)
                .expect("a small number")
                % moments.len()];
            match random.next_u64() % 3 {
                0 => moment,
                1 => moment.saturating_add(Duration::from_micros(1)),
                _ => whole.0.saturating_add(Duration::from_micros(random.next_u64() % HOUR)),
            }
        };
        let (a, b) = (end(), end());
        let (a, b) = (a.min(b), a.max(b).saturating_add(Duration::from_micros(1)));
        let mut parts = Counts::empty(&traffic.profile);
        for (start, end) in [(whole.0, a), (a, b), (b, whole.1)] {
            let Ok(window) = Window::new(start, end) else { continue };
            let what = window.to_string();
            let found = log.counts(model, VersionId::FIRST, window, &traffic.profile).await;
            let found = found.expect("counts");
            assert_eq!(found.foreign_rows, 0);

            let mut expected = Counts::empty(&traffic.profile);
            let inside = events.iter().filter(|event| window.contains(event.at));
            inside.for_each(|event| expected.observe_codes(&event.codes));
            same_rows(&found.counts, &expected, &traffic.profile, &what);
            let mut scanned = Counts::empty(&traffic.profile);
            for logged in scan(log, model, window, 97).await {
                scanned.observe_codes(&logged.event.codes);
            }
            same_rows(&found.counts, &scanned, &traffic.profile, &what);

            for batch in &written {
                if batch.events().iter().all(|event| window.contains(event.at)) {
                    expected.merge_summaries(batch.counts()).expect("one profile");
                }
            }
            same_summaries(&found.counts, &expected, &what);
            parts.merge(&found.counts).expect("one profile");
        }
        let window = Window::new(whole.0, whole.1).expect("two hours");
        let all = log.counts(model, VersionId::FIRST, window, &traffic.profile).await.unwrap();
        same_rows(&all.counts, &parts, &traffic.profile, "the parts add up");
        assert_eq!(all.counts.rows(), events.len() as u64);
    }
}

/// Models, versions and profiles are counted apart; rows of another profile are counted as such.
///
/// # Panics
///
/// When the clause is broken.
pub async fn apart(log: &dyn InferenceLog, model: &ModelName) {
    let traffic = Traffic::new(model);
    let stranger = ModelName::new(format!("{model}-2")).expect("a longer name");
    let mut next = 0;
    let mut batch = |model: &ModelName, version, profile: &Profile, size: u64| {
        let id = BatchId(id(traffic.model, "batch", next));
        let mut batch = EventBatch::new(id, model.clone(), version, profile);
        for number in next..next + size {
            let row = traffic.row(number);
            batch.push(profile, &row, traffic.event(profile, &row, number, at(SECOND)));
        }
        next += size;
        traffic.refuse(&mut batch);
        batch
    };
    let (one, two) = (version(1), version(12));
    write(log, &batch(model, one, &traffic.profile, 2)).await;
    write(log, &batch(model, one, &traffic.other, 3)).await;
    write(log, &batch(model, two, &traffic.profile, 5)).await;
    write(log, &batch(&stranger, one, &traffic.profile, 7)).await;

    let cases = [
        (model, one, &traffic.profile, 2, 3),
        (model, one, &traffic.other, 3, 2),
        (model, two, &traffic.profile, 5, 0),
        (model, two, &traffic.other, 0, 5),
        (model, version(2), &traffic.profile, 0, 0),
        (&stranger, one, &traffic.profile, 7, 0),
        (&stranger, two, &traffic.profile, 0, 0),
    ];
    for (model, version, profile, rows, foreign) in cases {
        let found = log.counts(model, version, ever(), profile).await.expect("counts");
        let what = format!("{model} version {version} profile {}", profile.fingerprint().short());
        assert_eq!(found.counts.profile(), profile.fingerprint(), "{what}");
        assert_eq!(found.counts.rows(), rows, "{what}");
        assert_eq!(found.counts.summarised(), rows, "{what}");
        assert_eq!(found.counts.rejected_requests(), u64::from(rows > 0), "{what}");
        assert_eq!(found.foreign_rows, foreign, "{what}");
    }
    let scanned = scan(log, model, ever(), 100).await;
    assert_eq!(scanned.len(), 10, "all versions of the model, and no other model");
    for logged in scanned {
        let ours = logged.profile == traffic.profile.fingerprint();
        assert!(ours || (logged.profile, logged.version) == (traffic.other.fingerprint(), one));
    }
    assert_eq!(scan(log, &stranger, ever(), 100).await.len(), 7);
}

/// Refused requests of a batch without events count when the batch was written.
///
/// # Panics
///
/// When the clause is broken.
pub async fn rejections_alone(log: &dyn InferenceLog, model: &ModelName, deferred: bool) {
    let traffic = Traffic::new(model);
    let mut batch = traffic.empty(1);
    traffic.refuse(&mut batch);
    traffic.refuse(&mut batch);
    let before = log.now().await.expect("now");
    write(log, &batch).await;
    if deferred {
        // Written is what a read finds.
        assert_eq!(scan(log, model, ever(), 1).await, []);
    }
    let after = log.now().await.expect("now").saturating_add(Duration::from_micros(1));

    let rejected = async |start, end| {
        let window = Window::new(start, end).expect("start before end");
        let found = log.counts(model, VersionId::FIRST, window, &traffic.profile).await.unwrap();
        assert_eq!(found.counts.rows(), 0);
        found.counts
    };
    let now = rejected(before, after).await;
    same_summaries(&now, batch.counts(), "written in this window");
    assert_eq!(now.rejected().iter().map(|r| r.count).sum::<u64>(), 4, "{:?}", now.rejected());
    assert_eq!(
        rejected(before.saturating_sub(Duration::from_secs(1)), before).await.rejected_requests(),
        0
    );
    assert_eq!(
        rejected(after, after.saturating_add(Duration::from_secs(1))).await.rejected_requests(),
        0
    );
}
