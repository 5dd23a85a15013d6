//! What does a drift report on 30 columns of a million rows a side cost per value, and how much memory
//! beyond the columns, which are borrowed?
//!
//! * `compare`: the profile is fitted to the one side and the other is counted by it;
//! * `frozen`: the profile is there already, as in a service, and one side is counted;
//! * each by one thread and by the threads of the machine; the plain sum of all columns for comparison.
//!
//! The columns are of the shapes that `profile_fit` has one by one.

mod support;

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use pmmds::drift::{Counts, DriftDetector, Profile, Serial, Workers};
use pmmds::rayon::Pool;
use pmmds::record::{Batch, Column};
use pmmds::schema::{Feature, FeatureSchema};
use support::data::Shape;
use support::{Limit, figure, measured, medians, ratio};

const COLUMNS: usize = 30;

fn shape(column: usize) -> Shape {
    match column % 10 {
        0..4 => Shape::Normal,
        4 => Shape::Skewed,
        5 => Shape::Cents,
        6 => Shape::Years,
        7 => Shape::Spike,
        8 => Shape::Counts,
        _ => Shape::Gaps,
    }
}

fn side(rows: usize, seed: u64, shift: f64) -> Vec<Vec<f64>> {
    let column = |at: usize| shape(at).column(rows, seed + at as u64, shift);
    (0..COLUMNS).map(column).collect()
}

fn batch<'a>(schema: &'a FeatureSchema, columns: &'a [Vec<f64>]) -> Batch<'a> {
    let columns = columns.iter().map(|column| Column::Numbers(column.into())).collect();
    Batch::new(schema, columns).expect("a batch")
}

/// Most memory that this process ever had, in MB; `None` where the system does not say.
fn peak() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kilobytes: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes / 1024.0)
}

fn main() {
    let rows = if measured() { 1_000_000 } else { 2_000 };
    let features = (0..COLUMNS).map(|at| {
        let name = format!("column {at}");
        let integer = shape(at).is_integer();
        (if integer { Feature::integer(name) } else { Feature::numeric(name) }).nullable()
    });
    let schema = FeatureSchema::new(features).expect("a schema");
    let (before, after) = (side(rows, 100, 0.0), side(rows, 200, 0.1));
    let (before, after) = (batch(&schema, &before), batch(&schema, &after));
    let detector = DriftDetector::default();
    let profile = Profile::fit(&before).expect("a profile");
    let input = peak();

    let compare = |workers: &dyn Workers| detector.compare_with(&before, &after, workers);
    let frozen = |workers: &dyn Workers| {
        let counts = Counts::of_with(&profile, &after, None, workers).expect("one schema");
        detector.detect(&profile, &counts)
    };
    let sum = || -> f64 {
        let columns = before.columns().iter().chain(after.columns());
        let sum = |column: &Column<'_>| match column {
            Column::Numbers(numbers) => {
                let (chunks, rest) = numbers.as_chunks::<16>();
                let mut sums = [0.0; 16];
                for chunk in chunks {
                    sums.iter_mut().zip(chunk).for_each(|(sum, x)| *sum += x);
                }
                sums.iter().chain(rest).sum::<f64>()
            }
            _ => 0.0,
        };
        columns.map(sum).sum()
    };

    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("report");
    group.sample_size(10);
    let bodies: [(&str, usize, &dyn Fn()); 4] = [
        ("compare, one thread", 2, &|| drop(black_box(compare(&Serial)))),
        ("compare, all threads", 2, &|| drop(black_box(compare(&Pool)))),
        ("frozen, one thread", 1, &|| drop(black_box(frozen(&Serial)))),
        ("frozen, all threads", 1, &|| drop(black_box(frozen(&Pool)))),
    ];
    for (name, sides, body) in bodies {
        group.throughput(Throughput::Elements((sides * COLUMNS * rows) as u64));
        group.bench_function(name, |bencher| bencher.iter(body));
    }
    group.finish();

    let [compare_one, compare_all, frozen_one, frozen_all, sum] = medians(
        9,
        [
            &mut || drop(black_box(compare(&Serial))),
            &mut || drop(black_box(compare(&Pool))),
            &mut || drop(black_box(frozen(&Serial))),
            &mut || drop(black_box(frozen(&Pool))),
            &mut || _ = black_box(sum()),
        ],
    );
    #[expect(clippy::cast_precision_loss, reason = "a number of values")]
    let per_value = |seconds: f64, sides: usize| seconds * 1e9 / (sides * COLUMNS * rows) as f64;
    let limit = Limit::AtMost(1.5);
    figure("compare, one thread", per_value(compare_one, 2), "ns/value", limit);
    figure("compare, all threads", per_value(compare_all, 2), "ns/value", limit);
    figure("frozen, one thread", per_value(frozen_one, 1), "ns/value", limit);
    figure("frozen, all threads", per_value(frozen_all, 1), "ns/value", limit);
    figure("plain sum of both sides", per_value(sum, 2), "ns/value", Limit::None);
    ratio("compare, one thread", "plain sum", compare_one, sum, Limit::None);
    if let Some((after, before)) = peak().zip(input) {
        figure("memory beyond the input", after - before, "MB", Limit::AtMost(50.0));
    }
    criterion.final_summary();
}
