//! What does counting numbers into bins cost, against the plain sum of the same numbers and against
//! a binary search per number?
//!
//! * `10 bins` in the cache (16,384 numbers), at 1,000,000, and from memory (80 MB);
//! * `100 bins`, where a table says where to begin;
//! * `levels`: a byte per row.
//!
//! The code that the compiler makes of these loops is fragile: a change that looks like nothing can
//! cost a factor of two to ten. This bench is the watch over it; `make instructions` is the same in
//! instructions, where the machine is too noisy for times.

mod support;

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput};
use multiversion::multiversion;
use pmmds::drift::{Binning, Closed, NumericBinning};
use pmmds::record::Column;
use pmmds::schema::LevelId;
use support::data::{Random, Shape};
use support::{Limit, figure, measured, medians, ratio};

/// The baseline: nothing can be told of numbers without reading them. In lanes, and with the same
/// instructions as the kernel.
#[multiversion(targets("x86_64+avx2"))]
fn plain_sum(values: &[f64]) -> f64 {
    let mut sums = [0.0; 16];
    let (chunks, rest) = values.as_chunks::<16>();
    for chunk in chunks {
        sums.iter_mut().zip(chunk).for_each(|(sum, x)| *sum += x);
    }
    sums.iter().chain(rest).sum()
}

/// The naive twin.
fn one_by_one(binning: &NumericBinning, values: &[f64]) -> Vec<u64> {
    let mut counts = vec![0; binning.bins() + 1];
    values.iter().for_each(|x| counts[binning.bin(*x).unwrap_or(binning.bins())] += 1);
    counts
}

fn quantile_bins(bins: u32, closed: Closed) -> NumericBinning {
    let mut sample = Shape::Normal.column(10_000, 1, 0.0);
    sample.sort_unstable_by(f64::total_cmp);
    let edge = |k: u32| sample[k as usize * sample.len() / bins as usize];
    NumericBinning::closed((1..bins).map(edge).collect::<Vec<_>>(), closed).expect("edges")
}

fn per_value(seconds: f64, values: usize, turns: u32) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a number of rows")]
    let values = values as f64;
    seconds * 1e9 / values / f64::from(turns)
}

fn times(turns: u32, mut body: impl FnMut()) -> impl FnMut() {
    move || (0..turns).for_each(|_| body())
}

/// What `make instructions` counts one by one: functions with a name, called once.
mod instructions {
    use std::hint::black_box;

    use pmmds::drift::{Closed, NumericBinning};

    use super::{Shape, quantile_bins};

    /// The values of each call, which the Makefile divides by.
    const VALUES: usize = 65_536;

    #[inline(never)]
    fn plain_sum(values: &[f64]) -> f64 {
        super::plain_sum(values)
    }

    #[inline(never)]
    fn kernel(binning: &NumericBinning, values: &[f64]) -> Vec<u64> {
        binning.count(values)
    }

    #[inline(never)]
    fn binary_search(binning: &NumericBinning, values: &[f64]) -> Vec<u64> {
        super::one_by_one(binning, values)
    }

    pub(super) fn run() {
        let (binning, values) =
            (quantile_bins(10, Closed::Right), Shape::Normal.column(VALUES, 2, 0.1));
        black_box(plain_sum(black_box(&values)));
        assert_eq!(kernel(&binning, black_box(&values)), binary_search(&binning, &values));
    }
}

fn main() {
    if std::env::args().any(|argument| argument == "--instructions") {
        return instructions::run();
    }
    let [ten, hundred] = [10, 100].map(|bins| quantile_bins(bins, Closed::Right));
    let left = quantile_bins(10, Closed::Left);
    let mut criterion = Criterion::default().configure_from_args();
    let sizes: &[(usize, u32, &str)] = if measured() {
        &[(16_384, 200, "in cache"), (1_000_000, 4, "1M"), (10_000_000, 1, "from memory")]
    } else {
        &[(1_000, 1, "small")]
    };
    for &(rows, turns, place) in sizes {
        let values = Shape::Normal.column(rows, 2, 0.1);
        let mut group = criterion.benchmark_group(format!("kernel_count/{place}"));
        group.throughput(Throughput::Elements(rows as u64)).sample_size(20);
        group.measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(500));
        let mut bench = |name: &str, body: &dyn Fn(&[f64]) -> u64| {
            group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
                bencher.iter(|| body(black_box(&values)));
            });
        };
        bench("plain sum", &|values| plain_sum(values).to_bits());
        bench("10 bins", &|values| ten.count(values)[0]);
        bench("10 bins, closed left", &|values| left.count(values)[0]);
        bench("10 bins, binary search", &|values| one_by_one(&ten, values)[0]);
        bench("100 bins", &|values| hundred.count(values)[0]);
        group.finish();

        let [sum, kernel, kernel_left, search, many, many_search] = medians(
            21,
            [
                &mut times(turns, || _ = black_box(plain_sum(black_box(&values)))),
                &mut times(turns, || drop(black_box(ten.count(black_box(&values))))),
                &mut times(turns, || drop(black_box(left.count(black_box(&values))))),
                &mut times(turns, || drop(black_box(one_by_one(&ten, black_box(&values))))),
                &mut times(turns, || drop(black_box(hundred.count(black_box(&values))))),
                &mut times(turns, || drop(black_box(one_by_one(&hundred, black_box(&values))))),
            ],
        );
        let most = if place == "from memory" { 1.4 } else { 8.0 };
        let name = format!("{place}: kernel, 10 bins");
        figure(
            &format!("{place}: plain sum"),
            per_value(sum, rows, turns),
            "ns/value",
            Limit::None,
        );
        figure(&name, per_value(kernel, rows, turns), "ns/value", Limit::None);
        ratio(&name, "plain sum", kernel, sum, Limit::AtMost(most));
        ratio(&format!("{name}, closed left"), "plain sum", kernel_left, sum, Limit::AtMost(most));
        ratio(&format!("{place}: binary search"), "kernel", search, kernel, Limit::AtLeast(6.0));
        let name = format!("{place}: 100 bins");
        figure(&name, per_value(many, rows, turns), "ns/value", Limit::None);
        ratio(
            &format!("{place}: binary search, 100 bins"),
            "table",
            many_search,
            many,
            Limit::None,
        );
    }

    let rows = if measured() { 1_000_000 } else { 1_000 };
    for known in [3_u8, 10, 50] {
        let mut random = Random(3);
        let mut level = || {
            let id = random.bits() % u64::from(known);
            LevelId::new(usize::try_from(id).unwrap_or_default())
        };
        let levels: Vec<LevelId> = (0..rows).filter_map(|_| level()).collect();
        let binning = Binning::levels((0..known).map(|level| level.to_string()));
        let [time] = medians(
            21,
            [&mut times(4, || drop(black_box(binning.count(black_box(&Column::Levels(&levels))))))],
        );
        let name = format!("{known} levels");
        figure(&name, per_value(time, rows, 4), "ns/value", Limit::None);
    }
    criterion.final_summary();
}
