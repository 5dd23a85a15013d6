//! Live counters against the batch answer, on many inputs and under real threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::Value as Json;

use super::*;
use crate::drift::{DriftDetector, ProfileOptions, Verdict};
use crate::record::{Columns, Row, Value, decode_row};
use crate::schema::{Feature, FeatureSchema, LevelId, Unlisted};

/// Tolerance of a mean or a spread that was summed in another order, relative above 1.
const SUMMED: f64 = 1e-9;

const MINUTE: i64 = 60_000_000;
/// 2026-03-01T12:00:00Z in microseconds.
const NOON: i64 = 1_772_366_400_000_000;

fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(60 * minutes)
}

fn at(micros: i64) -> Timestamp {
    Timestamp::from_micros(micros).unwrap()
}

fn schema() -> Arc<FeatureSchema> {
    let features = [
        Feature::numeric("charges").nullable(),
        Feature::categorical("plan", ["basic", "gold"]).unlisted(Unlisted::Other),
        Feature::integer("tenure").range(0.0, 100.0),
        Feature::categorical("region", ["north", "south", "east"]),
    ];
    Arc::new(FeatureSchema::new(features).unwrap())
}

fn row(schema: &FeatureSchema, number: u64) -> Row {
    let mut row = Row::missing(schema);
    let small = |modulus: u64| f64::from(u32::try_from(number % modulus).unwrap());
    let level = |modulus: usize| LevelId::new(usize::try_from(number).unwrap() % modulus).unwrap();
    let values = [
        if number.is_multiple_of(11) { Value::Missing } else { Value::Number(small(97) / 3.0) },
        Value::Level(if number.is_multiple_of(13) { LevelId::OTHER } else { level(2) }),
        Value::Number(small(72)),
        Value::Level(level(3)),
    ];
    schema.ids().zip(values).for_each(|(id, value)| row.set(id, value));
    row
}

fn score(number: u64) -> f64 {
    f64::from(u32::try_from(number % 101).unwrap()) / 101.0
}

fn profile(schema: &Arc<FeatureSchema>) -> Profile {
    let mut columns = Columns::new(Arc::clone(schema));
    (0..500).for_each(|number| columns.push(&row(schema, number)));
    let scores: Vec<f64> = (0..500).map(score).collect();
    ProfileOptions::new().scores(&scores).fit(&columns.batch()).unwrap()
}

/// Ten minutes in panes of one.
fn options() -> LiveOptions {
    LiveOptions::new().window(minutes(10)).hop(minutes(1)).shards(3)
}

/// Counts as they are stored, without the float sums, and those sums.
fn ordered(counts: &Counts) -> (Json, Vec<f64>) {
    let mut json = serde_json::to_value(counts).unwrap();
    for summary in json["summaries"].as_array_mut().unwrap() {
        let moments = summary["moments"].as_object_mut().unwrap();
        moments.remove("mean");
        moments.remove("squares");
    }
    let sums = counts.summaries().iter().flat_map(|s| [s.moments.mean(), s.moments.std()]);
    (json, sums.map(|sum| sum.unwrap_or(-1.0)).collect())
}

#[track_caller]
fn assert_same(live: &Counts, batch: &Counts) {
    let ((live, sums), (batch, exact)) = (ordered(live), ordered(batch));
    assert_eq!(live, batch);
    for (sum, exact) in sums.iter().zip(&exact) {
        assert!((sum - exact).abs() <= SUMMED * exact.abs().max(1.0), "{sum} {exact}");
    }
}

#[derive(Debug, Clone)]
enum Sent {
    Row { values: [Value; 4], score: f64 },
    Refused(&'static str),
}

/// Any value for a feature, of the kind that it has.
fn sent() -> impl Strategy<Value = Sent> {
    let number = || {
        prop_oneof![
            6 => (-20_i32..130).prop_map(|x| Value::Number(f64::from(x) / 4.0)),
            1 => select(vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, 1e6, 1e-300])
                .prop_map(Value::Number),
            1 => Just(Value::Missing),
        ]
    };
    let level = |levels: usize| {
        prop_oneof![
            6 => (0..levels).prop_map(|level| Value::Level(LevelId::new(level).unwrap())),
            1 => Just(Value::Level(LevelId::OTHER)),
            1 => Just(Value::Missing),
            1 => Just(Value::Invalid),
        ]
    };
    let score = prop_oneof![9 => 0.0..1.0_f64, 1 => Just(f64::NAN)];
    let row = (number(), level(2), number(), level(3), score)
        .prop_map(|(a, b, c, d, score)| Sent::Row { values: [a, b, c, d], score });
    let refused = select(vec![
        r#"{"charges": 1, "plan": "silver", "tenure": 3, "region": "west"}"#,
        r#"{"charges": "x", "tenure": 3, "region": "moon"}"#,
        r#"{"tenure": 3.5, "region": "west", "colour": "red"}"#,
    ])
    .prop_map(Sent::Refused);
    prop_oneof![8 => row, 1 => refused]
}

proptest! {
    /// Whatever comes in, whenever: where a window is covered, live counts are those of its rows.
    #[test]
    fn a_snapshot_is_the_batch_answer(
        traffic in proptest::collection::vec((sent(), -3_i64 * MINUTE..18 * MINUTE), 0..300),
        in_order in any::<bool>(),
        asked in proptest::collection::vec(-5_i64 * MINUTE..30 * MINUTE, 1..4),
    ) {
        let schema = schema();
        let profile = profile(&schema);
        let mut traffic = traffic;
        if in_order {
            traffic.sort_by_key(|(_, offset)| *offset);
        }
        let started = at(NOON);
        let live = LiveCounters::new(&profile, &options(), started).unwrap();
        let (mut rows, mut refusals) = (Vec::new(), Vec::new());
        for (sent, offset) in &traffic {
            let moment = at(NOON + offset);
            match sent {
                Sent::Row { values, score } => {
                    let mut row = Row::missing(&schema);
                    schema.ids().zip(values).for_each(|(id, value)| row.set(id, *value));
                    let codes = profile.encode(&row, *score);
                    live.observe(moment, &row, &codes);
                    rows.push((moment, row, codes));
                }
                Sent::Refused(json) => {
                    let mut problems = Violations::new();
                    decode_row(&schema, json.as_bytes(), &mut problems).unwrap();
                    live.observe_rejected(moment, &schema, &problems);
                    refusals.push((moment, problems));
                }
            }
        }
        for asked in asked {
            let snapshot = live.snapshot(at(NOON + asked));
            let LiveSnapshot { counts, window, covered_from, .. } = &snapshot;
            prop_assert!(window.contains(at(NOON + asked)));
            prop_assert_eq!(window.start().as_micros() % MINUTE, 0);
            prop_assert!(*covered_from >= started.max(window.start()));
            let mut batch = Counts::empty(&profile);
            let mut earliest = window.end();
            for (moment, row, codes) in rows.iter().filter(|(moment, ..)| window.contains(*moment)) {
                batch.observe(&profile, row, codes);
                earliest = earliest.min(*moment);
            }
            for (moment, problems) in refusals.iter().filter(|(moment, _)| window.contains(*moment)) {
                batch.observe_rejected(&schema, problems);
                earliest = earliest.min(*moment);
            }
            if earliest < *covered_from {
                prop_assert!(!snapshot.is_whole());
                prop_assert!(counts.rows() <= batch.rows());
                continue;
            }
            assert_same(counts, &batch);
        }
    }
}

#[test]
fn the_verdict_of_any_moment_is_that_of_the_batch() {
    let schema = schema();
    let profile = profile(&schema);
    let live = LiveCounters::new(&profile, &options(), at(NOON)).unwrap();
    let detector = DriftDetector::default();
    let (mut sent, mut verdicts) = (Vec::new(), Vec::new());
    for number in 0..1_400 {
        // 40 rows a minute, and after ten minutes customers are all new.
        let moment = at(NOON + i64::try_from(number).unwrap() * MINUTE / 40);
        let mut row = row(&schema, number);
        if number > 400 {
            row.set(schema.id("tenure").unwrap(), Value::Number(-1.0));
            row.set(schema.id("plan").unwrap(), Value::Level(LevelId::OTHER));
        }
        let codes = profile.encode(&row, score(number));
        live.observe(moment, &row, &codes);
        sent.push((moment, row, codes));
        if number % 175 != 174 {
            continue;
        }
        let snapshot = live.snapshot(moment);
        let mut batch = Counts::empty(&profile);
        for (_, row, codes) in sent.iter().filter(|(at, ..)| snapshot.window.contains(*at)) {
            batch.observe(&profile, row, codes);
        }
        assert_same(&snapshot.counts, &batch);
        let (mut now, then) =
            (detector.detect(&profile, &snapshot.counts), detector.detect(&profile, &batch));
        // All but the means, which are float sums.
        for (now, then) in now.features.iter_mut().zip(&then.features) {
            now.current.clone_from(&then.current);
        }
        assert_eq!(now, then);
        verdicts.push(now.verdict);
    }
    assert_eq!(verdicts[0], Verdict::Stable);
    assert_eq!(verdicts[7], Verdict::FeatureDrift, "two of four");
}

/// Counts `number` of one row at each of the moments.
fn count(live: &LiveCounters, profile: &Profile, schema: &FeatureSchema, moments: &[i64]) {
    for (moment, number) in moments.iter().zip(0..) {
        let row = row(schema, number);
        live.observe(at(NOON + moment), &row, &profile.encode(&row, score(number)));
    }
}

/// Says when it is dropped that it is over: also when an assertion fails, so that threads end.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn writers_that_never_pause_are_read_whole() {
    let schema = schema();
    let profile = profile(&schema);
    let live = LiveCounters::new(&profile, &options(), at(NOON)).unwrap();
    // Two rows without a value in common: a torn row shows in every column.
    let (one, other) = (row(&schema, 2), row(&schema, 61));
    let coded = [&one, &other].map(|row| (row, profile.encode(row, row_score(row))));
    let slot_of_one = |column: usize| usize::from(coded[0].1.as_bytes()[column]);
    for column in 0..profile.columns().count() {
        assert_ne!(slot_of_one(column), usize::from(coded[1].1.as_bytes()[column]), "{column}");
    }
    let done = AtomicBool::new(false);
    let written = std::thread::scope(|threads| {
        let writers = [0, 1].map(|first| {
            let (live, coded, done) = (&live, &coded, &done);
            threads.spawn(move || {
                let mut written = 0_u64;
                while !done.load(Ordering::Relaxed) {
                    // Both rows in turn, over five panes.
                    let (row, codes) = &coded[usize::try_from(written / 3 + first).unwrap() % 2];
                    let pane = i64::try_from(written / 50_000 % 5).unwrap();
                    live.observe(at(NOON + pane * MINUTE), row, codes);
                    written += 1;
                }
                written
            })
        });
        let over = Over(&done);
        let mut before = 0;
        for _ in 0..300 {
            let counts = live.snapshot(at(NOON + 5 * MINUTE)).counts;
            let ones = counts.slots(0)[slot_of_one(0)];
            for column in 0..profile.columns().count() {
                let slots = counts.slots(column);
                assert_eq!(slots.iter().sum::<u64>(), counts.rows());
                assert_eq!(slots[slot_of_one(column)], ones, "of column {column}");
            }
            for summary in [&counts.summaries()[0], &counts.summaries()[2]] {
                assert_eq!(summary.moments.count(), counts.rows());
            }
            assert!(counts.rows() >= before, "nothing is forgotten");
            before = counts.rows();
        }
        drop(over);
        writers.map(|writer| writer.join().unwrap()).iter().sum::<u64>()
    });
    let snapshot = live.snapshot(at(NOON + 5 * MINUTE));
    assert_eq!((snapshot.counts.rows(), snapshot.late), (written, 0));
}

/// A score that tells the two rows of the test apart.
fn row_score(row: &Row) -> f64 {
    if row.values()[2] == Value::Number(2.0) { 0.05 } else { 0.95 }
}

#[test]
fn more_threads_than_shards_lose_nothing() {
    let schema = schema();
    let profile = profile(&schema);
    for shards in [1, 2, 7] {
        let live = LiveCounters::new(&profile, &options().shards(shards), at(NOON)).unwrap();
        std::thread::scope(|threads| {
            for _ in 0..5 {
                threads.spawn(|| count(&live, &profile, &schema, &[0; 2_000]));
            }
        });
        let mut once = Counts::empty(&profile);
        for number in 0..2_000 {
            once.observe_codes(&profile.encode(&row(&schema, number), score(number)));
        }
        let counts = live.snapshot(at(NOON)).counts;
        assert_eq!(counts.rows(), 10_000);
        for column in 0..profile.columns().count() {
            let five: Vec<u64> = once.slots(column).iter().map(|count| count * 5).collect();
            assert_eq!(counts.slots(column), five);
        }
    }
}

#[test]
fn a_row_on_a_boundary_is_in_one_of_two_windows() {
    let schema = schema();
    let profile = profile(&schema);
    let hop = options().window(minutes(1));
    let live = LiveCounters::new(&profile, &hop, at(NOON - 60 * MINUTE)).unwrap();
    count(&live, &profile, &schema, &[-1, 0, MINUTE - 1, MINUTE]);
    let rows = |moment| live.snapshot(at(NOON + moment)).counts.rows();
    assert_eq!([-1, 0, MINUTE - 1, MINUTE, 2 * MINUTE].map(rows), [1, 2, 2, 1, 0]);
    // Before 1970 panes are cut the same way.
    let live = LiveCounters::new(&profile, &hop, at(-10 * MINUTE)).unwrap();
    count(&live, &profile, &schema, &[-NOON - 1]);
    assert_eq!(live.snapshot(at(-MINUTE)).counts.rows(), 1);
    assert_eq!(live.snapshot(at(0)).counts.rows(), 0);
}

#[test]
fn late_rows_go_to_their_pane_or_are_told() {
    let schema = schema();
    let profile = profile(&schema);
    let live = LiveCounters::new(&profile, &options(), at(NOON - 60 * MINUTE)).unwrap();
    // A clock that goes back by less than is held, and then by more.
    count(&live, &profile, &schema, &[20 * MINUTE, 12 * MINUTE, 9 * MINUTE, 8 * MINUTE]);
    let mut problems = Violations::new();
    decode_row(&schema, br#"{"plan": "silver"}"#, &mut problems).unwrap();
    for moment in [20 * MINUTE, 9 * MINUTE, 8 * MINUTE] {
        live.observe_rejected(at(NOON + moment), &schema, &problems);
    }
    let snapshot = live.snapshot(at(NOON + 20 * MINUTE));
    assert_eq!(snapshot.counts.rows(), 2, "9 is held, and in no window of 20");
    assert_eq!(snapshot.counts.rejected_requests(), 1);
    assert!(snapshot.is_whole());
    assert_eq!(snapshot.late, 2, "a row and a refused request of 8");
    let before = live.snapshot(at(NOON + 18 * MINUTE));
    assert_eq!(before.counts.rows(), 2, "9 and 12");
    assert_eq!(before.counts.rejected_requests(), 1);
    assert!(before.is_whole());
    // Of a window that begins before all that is held nothing more is claimed.
    let earlier = live.snapshot(at(NOON + 17 * MINUTE));
    assert_eq!(earlier.covered_from, at(NOON + 9 * MINUTE));
    assert!(!earlier.is_whole());
}

#[test]
fn a_jump_by_days_leaves_nothing_and_says_so() {
    let schema = schema();
    let profile = profile(&schema);
    let live = LiveCounters::new(&profile, &options(), at(NOON - 60 * MINUTE)).unwrap();
    count(&live, &profile, &schema, &[0, MINUTE, 2 * MINUTE]);
    let days = 3 * 1_440 * MINUTE;
    // Idle for days: an empty window, known to be empty.
    let idle = live.snapshot(at(NOON + days));
    assert_eq!((idle.counts.rows(), idle.is_whole(), idle.late), (0, true, 0));
    let verdict = |snapshot: &LiveSnapshot| {
        DriftDetector::default().detect(&profile, &snapshot.counts).verdict
    };
    assert_eq!(verdict(&idle), Verdict::NoTraffic);
    count(&live, &profile, &schema, &[days, days + 1]);
    let after = live.snapshot(at(NOON + days));
    assert_eq!((after.counts.rows(), after.is_whole()), (2, true));
    assert_eq!(verdict(&after), Verdict::InsufficientData { have: 2, need: 100 });
    // Seen from before the jump, panes may be gone: nothing of the window is claimed.
    let before = live.snapshot(at(NOON + 2 * MINUTE));
    assert!(before.covered_from >= before.window.end());
    // The end of time is a moment like any other.
    for end in [Timestamp::EPOCH.saturating_add(Duration::MAX), at(0).saturating_sub(Duration::MAX)]
    {
        let missing = Row::missing(&schema);
        live.observe(end, &missing, &profile.encode(&missing, f64::NAN));
        live.observe_rejected(end, &schema, &Violations::new());
        assert!(live.snapshot(end).window.start() < live.snapshot(end).window.end());
    }
}

#[test]
fn a_window_is_whole_once_it_was_counted_from_its_start() {
    let schema = schema();
    let profile = profile(&schema);
    let live = LiveCounters::new(&profile, &options(), at(NOON + 30)).unwrap();
    let covered = |minute: i64| {
        count(&live, &profile, &schema, &[minute * MINUTE + 31]);
        let snapshot = live.snapshot(at(NOON + minute * MINUTE + 31));
        (snapshot.is_whole(), snapshot.covered_from, snapshot.counts.rows())
    };
    assert_eq!(covered(0), (false, at(NOON + 30), 1));
    assert_eq!(covered(9), (false, at(NOON + 30), 2));
    assert_eq!(covered(10), (true, at(NOON + MINUTE), 2));
    assert_eq!(covered(11), (true, at(NOON + 2 * MINUTE), 3));
    // The window before is still there.
    assert!(live.snapshot(at(NOON + 10 * MINUTE)).is_whole());
}

#[test]
fn names_of_unseen_values_are_bounded_in_all_panes_together() {
    let features = (0..400).map(|n| Feature::categorical(format!("f{n}"), ["a"]));
    let schema = Arc::new(FeatureSchema::new(features).unwrap());
    let mut columns = Columns::new(Arc::clone(&schema));
    columns.push(&Row::missing(&schema));
    let profile = Profile::fit(&columns.batch()).unwrap();
    let live = LiveCounters::new(&profile, &options(), at(NOON)).unwrap();
    let refuse = |name: &str, moment: i64| {
        let pairs = (0..400).map(|n| format!(r#""f{n}": "{name}{n}""#));
        let json = format!("{{{}}}", pairs.collect::<Vec<_>>().join(","));
        let mut problems = Violations::new();
        decode_row(&schema, json.as_bytes(), &mut problems).unwrap();
        live.observe_rejected(at(NOON + moment), &schema, &problems);
    };
    (0..40).for_each(|n| refuse(&format!("x{n}"), n % 10 * MINUTE));
    let counts = live.snapshot(at(NOON + 9 * MINUTE)).counts;
    let named: usize = counts.summaries().iter().map(|summary| summary.unseen.len()).sum();
    // The request that goes over the bound is still named.
    assert!((4_096..4_096 + 400).contains(&named), "{named}");
    assert!(counts.summaries().iter().all(|summary| summary.unseen_total() == 40));
    // Room comes back with time.
    refuse("late", 60 * MINUTE);
    let counts = live.snapshot(at(NOON + 60 * MINUTE)).counts;
    assert_eq!(counts.summaries()[0].unseen.get("late0"), Some(&1));
}

#[test]
#[should_panic(expected = "of the profile of these counters")]
fn codes_of_another_profile_are_refused() {
    let schema = schema();
    let profile = profile(&schema);
    let live = LiveCounters::new(&profile, &options(), at(NOON)).unwrap();
    let row = row(&schema, 1);
    let mut codes = profile.encode(&row, 0.5).as_bytes().to_vec();
    codes[1] = 4; // basic, gold, other, missing, and no more
    live.observe(at(NOON), &row, &Codes::from_bytes(codes));
}
