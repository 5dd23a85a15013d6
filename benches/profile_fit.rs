//! What does fitting a profile cost per value, against sorting a copy of the column, which is what it
//! replaces?
//!
//! Everything that a profile holds of a numeric column is included: edges with spikes, whole numbers
//! with few values, counts, mean, spread, extremes and five quantiles. The shape of the column decides
//! how much has to be looked at twice, so there is one line per shape.

mod support;

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput};
use pmmds::drift::Profile;
use pmmds::record::{Batch, Column};
use pmmds::schema::{Feature, FeatureSchema};
use support::data::Shape;
use support::{Limit, figure, measured, medians, ratio};

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut copy = values.to_vec();
    copy.sort_unstable_by(f64::total_cmp);
    copy
}

fn main() {
    let rows = if measured() { 1_000_000 } else { 5_000 };
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("profile_fit");
    group.throughput(Throughput::Elements(rows as u64)).sample_size(10);
    group.measurement_time(Duration::from_secs(1)).warm_up_time(Duration::from_millis(300));
    let mut lines = Vec::new();
    for shape in Shape::ALL {
        let feature =
            if shape.is_integer() { Feature::integer("x") } else { Feature::numeric("x") };
        let schema = FeatureSchema::new([feature.nullable()]).expect("a schema");
        let values = shape.column(rows, 5, 0.0);
        let batch = Batch::new(&schema, vec![Column::Numbers((&values).into())]).expect("a batch");
        group.bench_function(BenchmarkId::from_parameter(format!("{shape:?}")), |bencher| {
            bencher.iter(|| Profile::fit(black_box(&batch)));
        });
        let [fit, sort] = medians(
            11,
            [&mut || drop(black_box(Profile::fit(black_box(&batch)))), &mut || {
                drop(black_box(sorted(black_box(&values))))
            }],
        );
        lines.push((format!("fit, {shape:?}"), fit, sort));
    }
    group.finish();
    for (name, fit, sort) in lines {
        #[expect(clippy::cast_precision_loss, reason = "a number of rows")]
        let per_value = fit * 1e9 / rows as f64;
        figure(&name, per_value, "ns/value", Limit::AtMost(12.0));
        ratio(&name, "sort", fit, sort, Limit::None);
    }
    criterion.final_summary();
}
