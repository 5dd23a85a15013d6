//! What does it cost to evaluate a model on many rows, against sorting its scores?
//!
//! Scores of `rows` rows, one in five of them positive, are
//! * `sort`: sorted, by number and nothing else: the baseline, which ROC-AUC cannot do without;
//! * `binary`, `weighted`: evaluated by every metric of a classifier;
//! * `regression`: evaluated by every metric of a regression;
//! * `difference/roc_auc`, `difference/average_precision`: compared with those of another model on
//!   the same rows, which were evaluated before.
//!
//! Time per element is time per row: what grows with `n log n` hardly moves from one size to the
//! next.

mod support;

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput};
use pmmds::model::Task;
use pmmds::promote::{Evaluation, Metric, PairedRows};

use support::data::Random;

const SIZES: [usize; 3] = [10_000, 100_000, 1_000_000];

fn sorted(scores: &[f64]) -> Vec<f64> {
    let mut scores = scores.to_vec();
    scores.sort_unstable_by(f64::total_cmp);
    scores
}

/// The shortest of several times that `work` takes.
fn shortest<T>(work: impl Fn() -> T) -> Duration {
    let time = |_| {
        let begun = Instant::now();
        black_box(work());
        begun.elapsed()
    };
    (0..5).map(time).min().unwrap_or_default()
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("evaluation");
    group.sample_size(10);
    for rows in SIZES {
        let mut random = Random(7);
        let mut column = || (0..rows).map(|_| random.unit()).collect::<Vec<f64>>();
        let (scores, others, weights) = (column(), column(), column());
        let labels: Vec<f64> =
            column().iter().map(|share| f64::from(u8::from(*share < 0.2))).collect();
        let task = Task::binary();
        let of = |task| Evaluation::of(task, black_box(&scores), &labels);
        let paired = PairedRows::new(task, &scores, &others, &labels).expect("valid rows");

        group.throughput(Throughput::Elements(rows as u64));
        let id = |name: &str| BenchmarkId::new(name, rows);
        group.bench_function(id("sort"), |bencher| bencher.iter(|| sorted(black_box(&scores))));
        group.bench_function(id("binary"), |bencher| bencher.iter(|| of(task)));
        group.bench_function(id("weighted"), |bencher| {
            bencher.iter(|| Evaluation::weighted(task, black_box(&scores), &labels, &weights));
        });
        group.bench_function(id("regression"), |bencher| bencher.iter(|| of(Task::Regression)));
        for metric in [Metric::RocAuc, Metric::AveragePrecision] {
            group.bench_function(id(&format!("difference/{metric}")), |bencher| {
                bencher.iter(|| paired.difference(black_box(metric), 0.95));
            });
        }
        let (baseline, binary) = (shortest(|| sorted(&scores)), shortest(|| of(task)));
        let ratio = binary.as_secs_f64() / baseline.as_secs_f64();
        println!("{rows} rows: all metrics take {ratio:.1} times as long as sorting the scores");
    }
    group.finish();
    criterion.final_summary();
}
