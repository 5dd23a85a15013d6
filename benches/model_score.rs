//! What does one score cost, alone and in a batch?
//!
//! A logistic regression over 19 features (4 numeric, 15 categorical with 2 to 4 levels, the shape
//! of a churn model) scores
//! * `row`: one row, as a request does;
//! * `batch/columns`: rows that lie in columns, down the columns;
//! * `batch/rows`: the same rows built one by one and scored alone, the baseline for `columns`.
//!
//! Time per element is time per row.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, Throughput};
use pmmds::linfa::LogisticRegression;
use pmmds::model::{Model, Trainer};
use pmmds::record::{Dataset, Row, Value};
use pmmds::schema::{Feature, FeatureSchema, LevelId};

const ROWS: usize = 4_096;

fn schema() -> Arc<FeatureSchema> {
    let numeric = (0..4).map(|i| Feature::numeric(format!("number {i}")).nullable());
    let categorical = (0..15).map(|i| {
        let levels = ["a", "b", "c", "d"].into_iter().take(2 + i % 3);
        Feature::categorical(format!("category {i}"), levels)
    });
    Arc::new(FeatureSchema::new(numeric.chain(categorical)).expect("a valid schema"))
}

/// A fixed sequence without pattern (SplitMix64, G. Steele et al., 2014).
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn data(schema: &Arc<FeatureSchema>) -> Dataset {
    let mut data = Dataset::new(Arc::clone(schema));
    let mut state = 1;
    for number in 0..ROWS {
        let mut row = Row::missing(schema);
        let mut positive = next(&mut state) % 5 < 1;
        for (id, feature) in schema.ids().zip(schema.features()) {
            let random = u16::try_from(next(&mut state) % 60_000).unwrap_or_default();
            match feature.levels().len() {
                0 if random < 100 => {}
                0 => row.set(id, Value::Number(f64::from(random) / 100.0)),
                levels => {
                    let level = usize::from(random) % levels;
                    positive ^= level == 1 && random < 6_000;
                    row.set(id, LevelId::new(level).map_or(Value::Missing, Value::Level));
                }
            }
        }
        data.push(&row, f64::from(u8::from(positive)), number.to_string());
    }
    data
}

fn main() {
    let schema = schema();
    let data = data(&schema);
    let trained = LogisticRegression::default().fit(&data, &()).expect("both classes are there");
    let model: &dyn Model = &*trained.model;
    let rows: Vec<Row> = (0..ROWS).map(|row| data.columns().row(row)).collect();

    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("model_score");
    group.throughput(Throughput::Elements(1));
    group.bench_function("row", |bencher| {
        let mut next = rows.iter().cycle();
        bencher.iter(|| next.next().map(|row| model.score(black_box(row))));
    });
    for count in [64, ROWS, 262_144] {
        group.throughput(Throughput::Elements(count as u64));
        let part = data.select(&(0..count).map(|row| row % ROWS).collect::<Vec<_>>());
        group.bench_function(BenchmarkId::new("batch/columns", count), |bencher| {
            let batch = part.columns().batch();
            bencher.iter(|| model.score_batch(black_box(&batch)));
        });
        group.bench_function(BenchmarkId::new("batch/rows", count), |bencher| {
            let batch = part.columns().batch();
            bencher.iter(|| -> Vec<f64> {
                (0..batch.rows()).map(|row| model.score(&black_box(&batch).row(row))).collect()
            });
        });
    }
    group.finish();
    criterion.final_summary();
}
