//! What does it cost to count a row of 19 features and its score as it comes in, with 1 and with 2
//! threads, against a mutex round the counts and against one table of shared atomics?
//!
//! `live` and `mutex` do the same: rows, slots, and the summaries of the numbers, by
//! `LiveCounters::observe` and `Counts::observe`. `shared_atomics` counts the slots alone. Time is
//! that of one row on one thread; with 2 threads both count all the time. `snapshot` is a whole
//! window of 24 hours, 289 panes of two threads; `verdict` is the detector on it.

mod support;

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, criterion_group, criterion_main};
use pmmds::Timestamp;
use pmmds::drift::{
    Codes, Counts, DriftDetector, LiveCounters, LiveOptions, Profile, ProfileOptions,
};
use pmmds::record::{Columns, Row, Value};
use pmmds::schema::{Feature, FeatureSchema, LevelId};
use support::{Limit, figure, ratio};

const THREADS: [usize; 2] = [1, 2];
const ROWS: u64 = 1_024;
/// 2024-05-01T00:00:00Z.
const START: i64 = 1_714_521_600_000_000;

/// Rows shaped like Telco's: 3 numbers, 16 categories.
struct Traffic {
    profile: Profile,
    rows: Vec<(Timestamp, Row, Codes)>,
}

impl Traffic {
    fn new() -> Self {
        let numbers = (0..3).map(|n| Feature::numeric(format!("number_{n}")));
        let levels = (0..16).map(|n| Feature::categorical(format!("level_{n}"), ["a", "b", "c"]));
        let schema = Arc::new(FeatureSchema::new(numbers.chain(levels)).expect("19 features"));
        let rows: Vec<Row> = (0..ROWS).map(|number| row(&schema, number)).collect();
        let mut columns = Columns::new(Arc::clone(&schema));
        rows.iter().for_each(|row| columns.push(row));
        let scores: Vec<f64> = (0..ROWS).map(|number| small(number, 997) / 997.0).collect();
        let profile = ProfileOptions::new().scores(&scores).fit(&columns.batch());
        let profile = profile.expect("a profile");
        let coded = rows.into_iter().zip(&scores).zip(0..).map(|((row, score), number)| {
            let codes = profile.encode(&row, *score);
            (moment(number * 1_000), row, codes)
        });
        let rows = coded.collect();
        Self { profile, rows }
    }
}

fn moment(micros: i64) -> Timestamp {
    Timestamp::from_micros(START + micros).expect("a year of four digits")
}

fn small(number: u64, modulus: u64) -> f64 {
    f64::from(u32::try_from(number % modulus).expect("a small modulus"))
}

fn row(schema: &FeatureSchema, number: u64) -> Row {
    let mut row = Row::missing(schema);
    for (column, id) in (0..).zip(schema.ids()) {
        let mixed = number.wrapping_mul(6_364_136_223_846_793_005).rotate_left(column) >> 20;
        let value = match column {
            0..3 => Value::Number(small(mixed, 7_000) / 13.0),
            _ => Value::Level(LevelId::new(usize::from(mixed % 3 == 0)).expect("two levels")),
        };
        row.set(id, value);
    }
    row
}

/// The slots of every column in one table that all threads add to.
struct SharedAtomics {
    firsts: Vec<usize>,
    words: Vec<AtomicU64>,
}

impl SharedAtomics {
    fn new(profile: &Profile) -> Self {
        let mut next = 0;
        let firsts = profile.columns().map(|column| {
            next += column.binning().slots();
            next - column.binning().slots()
        });
        let firsts = firsts.collect();
        Self { firsts, words: (0..next).map(|_| AtomicU64::new(0)).collect() }
    }

    fn observe(&self, codes: &Codes) {
        for (first, code) in self.firsts.iter().zip(codes.as_bytes()) {
            self.words[first + usize::from(*code)].fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Time per row of one thread while as many threads as that count the whole time.
fn hammer(
    traffic: &Traffic,
    threads: usize,
    rows: u64,
    count: impl Fn(&(Timestamp, Row, Codes)) + Sync,
) -> Duration {
    let barrier = Barrier::new(threads);
    let work = || {
        let mut turn = traffic.rows.iter().cycle();
        barrier.wait();
        let start = Instant::now();
        for _ in 0..rows {
            count(black_box(turn.next().expect("an endless turn")));
        }
        let spent = start.elapsed();
        // Nobody has it for himself at the end.
        barrier.wait();
        spent
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let spent = workers.into_iter().map(|worker| worker.join().expect("a worker"));
        spent.max().unwrap_or_default()
    })
}

/// The fastest tenth, for the ratios at the end: what a machine with other work to do leaves alone.
#[derive(Default)]
struct Figures(Vec<(String, f64)>);

impl Figures {
    fn bench(
        &mut self,
        group: &mut BenchmarkGroup<'_, WallTime>,
        name: &str,
        threads: usize,
        mut measure: impl FnMut(u64) -> Duration,
    ) {
        let mut samples = Vec::new();
        group.bench_function(BenchmarkId::new(name, threads), |bencher| {
            bencher.iter_custom(|rows| {
                let spent = measure(rows);
                if rows > ROWS {
                    let rows = f64::from(u32::try_from(rows).unwrap_or(u32::MAX));
                    samples.push(spent.as_secs_f64() * 1e9 / rows);
                }
                spent
            });
        });
        samples.sort_unstable_by(f64::total_cmp);
        if let Some(nanos) = samples.get(samples.len() / 10) {
            self.0.push((format!("{name}/{threads}"), *nanos));
        }
    }

    fn print(&self) {
        for threads in THREADS {
            let of = |name: &str| {
                let name = format!("{name}/{threads}");
                self.0.iter().find(|(known, _)| *known == name).map(|(_, nanos)| *nanos)
            };
            let Some(live) = of("live") else { continue };
            let what = format!("live row, {threads} threads");
            figure(&what, live, "ns", Limit::AtMost(50.0));
            for baseline in ["mutex", "shared_atomics"] {
                if let Some(nanos) = of(baseline) {
                    ratio(&what, baseline, live, nanos, Limit::None);
                }
            }
        }
    }
}

fn live_row(criterion: &mut Criterion) {
    let traffic = Traffic::new();
    let profile = &traffic.profile;
    let mut figures = Figures::default();
    let mut group = criterion.benchmark_group("live_row");
    for threads in THREADS {
        let live = LiveCounters::new(profile, &LiveOptions::new(), moment(0)).expect("counters");
        figures.bench(&mut group, "live", threads, |rows| {
            hammer(&traffic, threads, rows, |(at, row, codes)| live.observe(*at, row, codes))
        });
        let counts = Mutex::new(Counts::empty(profile));
        figures.bench(&mut group, "mutex", threads, |rows| {
            hammer(&traffic, threads, rows, |(_, row, codes)| {
                counts.lock().expect("no panic").observe(profile, row, codes);
            })
        });
        let table = SharedAtomics::new(profile);
        figures.bench(&mut group, "shared_atomics", threads, |rows| {
            hammer(&traffic, threads, rows, |(_, _, codes)| table.observe(codes))
        });
    }
    group.finish();

    let live = LiveCounters::new(profile, &LiveOptions::new(), moment(0)).expect("counters");
    let day = 288;
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for pane in 0..=day {
                    let at = moment(pane * 300_000_000);
                    traffic.rows.iter().for_each(|(_, row, codes)| live.observe(at, row, codes));
                }
            });
        }
    });
    let now = moment(day * 300_000_000);
    let detector = DriftDetector::default();
    let mut group = criterion.benchmark_group("live_window");
    group.bench_function("snapshot", |bencher| bencher.iter(|| live.snapshot(black_box(now))));
    let counts = live.snapshot(now).counts;
    assert_eq!(counts.rows(), 288 * 2 * ROWS);
    group.bench_function("verdict", |bencher| bencher.iter(|| detector.detect(profile, &counts)));
    group.finish();
    figures.print();
}

criterion_group!(benches, live_row);
criterion_main!(benches);
