//! What does a test of two raw samples cost, against sorting them?
//!
//! Two samples of the given size, without an order and without equal values:
//! * `sort`: making the two `Sample`s, the baseline that every test needs once;
//! * the others: each test on samples that are sorted, with the method that `Auto` chooses.
//!
//! `exact` has the largest samples that are still counted out. Time per element is time per pair of
//! values; at the end every time as a ratio to `sort` at the same size.

mod support;

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};
use pmmds::drift::two_sample::{
    Alternative, Method, Sample, anderson_darling, cramer_von_mises, energy_distance,
    kolmogorov_smirnov, mann_whitney, wasserstein_distance, welch,
};

use support::data::Random;

/// A test, and whether it gave a number.
type Test = fn(&Sample, &Sample) -> bool;

const TESTS: [(&str, Test); 7] = [
    ("kolmogorov_smirnov", |a, b| {
        kolmogorov_smirnov(a, b, Alternative::TwoSided, Method::Auto).p_value >= 0.0
    }),
    ("cramer_von_mises", |a, b| cramer_von_mises(a, b, Method::Auto).is_ok()),
    ("anderson_darling", |a, b| anderson_darling(a, b).is_ok()),
    ("mann_whitney", |a, b| mann_whitney(a, b, Alternative::TwoSided, Method::Auto).p_value >= 0.0),
    ("welch", |a, b| welch(a, b, Alternative::TwoSided).is_ok()),
    ("wasserstein", |a, b| wasserstein_distance(a, b).is_ok()),
    ("energy", |a, b| energy_distance(a, b).is_ok()),
];

/// So many numbers in `[0, 1)`.
fn numbers(seed: u64, many: usize) -> Vec<f64> {
    let mut random = Random(seed);
    std::iter::repeat_with(|| random.unit()).take(many).collect()
}

fn both(a: &[f64], b: &[f64]) -> (Sample, Sample) {
    (Sample::new(a).expect("numbers"), Sample::new(b).expect("numbers"))
}

fn main() {
    let mut criterion = Criterion::default().sample_size(10).configure_from_args();
    for size in [1_000, 100_000, 1_000_000] {
        let (a, b) = (numbers(1, size), numbers(2, size));
        let mut group = criterion.benchmark_group("two_sample");
        group.throughput(Throughput::Elements(size as u64));
        group.bench_function(BenchmarkId::new("sort", size), |bencher| {
            bencher.iter(|| both(black_box(&a), black_box(&b)));
        });
        let (x, y) = both(&a, &b);
        for (name, test) in TESTS {
            group.bench_function(BenchmarkId::new(name, size), |bencher| {
                bencher.iter(|| test(black_box(&x), black_box(&y)));
            });
        }
        group.finish();
    }
    let mut group = criterion.benchmark_group("exact");
    let (x, y) = both(&numbers(1, 10_000), &numbers(2, 9_999));
    group.bench_function("kolmogorov_smirnov/10000x9999", |bencher| {
        bencher.iter(|| kolmogorov_smirnov(&x, &y, Alternative::Higher, Method::Exact));
    });
    let (x, y) = both(&numbers(1, 20), &numbers(2, 19));
    group.bench_function("cramer_von_mises/20x19", |bencher| {
        bencher.iter(|| cramer_von_mises(&x, &y, Method::Exact).map(|test| test.p_value));
    });
    let (x, y) = both(&numbers(1, 100), &numbers(2, 100));
    group.bench_function("mann_whitney/100x100", |bencher| {
        bencher.iter(|| mann_whitney(&x, &y, Alternative::TwoSided, Method::Exact));
    });
    group.finish();
    criterion.final_summary();
    ratios();
}

/// Each test in turn with sorting both samples, which every one of them needs.
fn ratios() {
    for size in [1_000, 100_000, 1_000_000] {
        let (a, b) = (numbers(1, size), numbers(2, size));
        let (x, y) = both(&a, &b);
        for (name, test) in TESTS {
            let mut sort = || {
                black_box(both(&a, &b));
            };
            let mut run = || {
                black_box(test(&x, &y));
            };
            let [sort, run] = support::medians(5, [&mut sort, &mut run]);
            let what = format!("{name}, {size} values a side");
            support::ratio(&what, "sorting", run, sort, support::Limit::None);
        }
    }
}
