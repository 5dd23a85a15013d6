//! What does one score cost, alone and in a batch?
//!
//! A logistic regression over 19 features (4 numeric, 15 categorical with 2 to 4 levels, the shape
//! of a churn model) scores
//! * `row`: one row, as a request does;
//! * `batch/columns`: rows that lie in columns, down the columns;
//! * `batch/rows`: the same rows built one by one and scored alone, the baseline for `columns`.
//!
//! Boosted stumps over the same features, learned from the same rows, score the same ways under
//! `model_score_boosted`, and besides
//! * `walk`: one row by a walk over every stump, on columns that are laid out already: what a sum of
//!   trees costs, the baseline for the step functions.
//!
//! Time per element is time per row. After the last bench the ratios are printed: boosted to
//! logistic, and boosted to the walk.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, Throughput};
use pmmds::linfa::{AdaBoost, LogisticRegression};
use pmmds::model::{Model, TrainedModel, Trainer};
use pmmds::record::{Dataset, Row, Value};
use pmmds::schema::{Feature, FeatureSchema, LevelId};

mod support;
use support::data::Random;
use support::{Limit, figure, medians, ratio};

const ROWS: usize = 4_096;

fn schema() -> Arc<FeatureSchema> {
    let numeric = (0..4).map(|i| Feature::numeric(format!("number {i}")).nullable());
    let categorical = (0..15).map(|i| {
        let levels = ["a", "b", "c", "d"].into_iter().take(2 + i % 3);
        Feature::categorical(format!("category {i}"), levels)
    });
    Arc::new(FeatureSchema::new(numeric.chain(categorical)).expect("a valid schema"))
}

fn data(schema: &Arc<FeatureSchema>) -> Dataset {
    let mut data = Dataset::new(Arc::clone(schema));
    let mut random = Random(1);
    for number in 0..ROWS {
        let mut row = Row::missing(schema);
        let mut positive = random.bits() % 5 < 1;
        for (id, feature) in schema.ids().zip(schema.features()) {
            let drawn = u16::try_from(random.bits() % 60_000).unwrap_or_default();
            match feature.levels().len() {
                0 if drawn < 100 => {}
                0 => row.set(id, Value::Number(f64::from(drawn) / 100.0)),
                levels => {
                    let level = usize::from(drawn) % levels;
                    positive ^= level == 1 && drawn < 6_000;
                    row.set(id, LevelId::new(level).map_or(Value::Missing, Value::Level));
                }
            }
        }
        data.push(&row, f64::from(u8::from(positive)), number.to_string());
    }
    data
}

/// As many stumps as `trained` is made of, about its own edges and levels: `(feature, edge, below,
/// above)` of a numeric one, and of a categorical one with the level's number around its edge.
fn walk(trained: &TrainedModel) -> Vec<(usize, f64, f64, f64)> {
    let document: serde_json::Value =
        serde_json::from_slice(&trained.document).expect("the document is JSON");
    let features = document["features"].as_array().into_iter().flatten();
    let questions: Vec<(usize, f64, f64, f64)> = features
        .enumerate()
        .flat_map(|(at, feature)| {
            let list = |name: &str| -> Vec<f64> {
                feature[name].as_array().into_iter().flatten().filter_map(|x| x.as_f64()).collect()
            };
            let weights = list("weights");
            let edges = match list("edges") {
                edges if edges.is_empty() => {
                    (1_u32..).map(f64::from).take(weights.len() - 1).collect()
                }
                edges => edges,
            };
            let steps = edges.into_iter().zip(weights).map(move |(edge, w)| (at, edge, -w, w));
            steps.collect::<Vec<_>>()
        })
        .collect();
    let stumps = trained.params["stumps_found"].parse().expect("a number");
    questions.into_iter().cycle().take(stumps).collect()
}

/// The columns of a row as numbers, as a walk over stumps reads them.
fn numbers(row: &Row) -> Vec<f64> {
    let number = |value: &Value| match value {
        Value::Number(x) => *x,
        Value::Level(level) => {
            level.index().map_or(-1.0, |index| f64::from(u32::try_from(index).unwrap_or(u32::MAX)))
        }
        _ => f64::NAN,
    };
    row.values().iter().map(number).collect()
}

fn main() {
    let schema = schema();
    let data = data(&schema);
    let rows: Vec<Row> = (0..ROWS).map(|row| data.columns().row(row)).collect();
    let logistic = LogisticRegression::default().fit(&data, &()).expect("both classes are there");
    let boosted = AdaBoost::default().fit(&data, &()).expect("both classes are there");
    let stumps = walk(&boosted);
    let laid_out: Vec<Vec<f64>> = rows.iter().map(numbers).collect();
    let walked = |row: &[f64]| -> f64 {
        let votes = stumps.iter().map(
            |(column, edge, below, above)| {
                if row[*column] < *edge { *below } else { *above }
            },
        );
        1.0 / (1.0 + (-votes.sum::<f64>()).exp())
    };

    let mut criterion = Criterion::default().configure_from_args();
    for (name, trained) in [("model_score", &logistic), ("model_score_boosted", &boosted)] {
        let model: &dyn Model = &*trained.model;
        let mut group = criterion.benchmark_group(name);
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
    }
    let mut group = criterion.benchmark_group("model_score_boosted");
    group.throughput(Throughput::Elements(1));
    group.bench_function("walk", |bencher| {
        let mut next = laid_out.iter().cycle();
        bencher.iter(|| next.next().map(|row| walked(black_box(row))));
    });
    group.finish();
    criterion.final_summary();
    ratios(&logistic, &boosted, &data, &rows, &mut || {
        laid_out.iter().for_each(|row| {
            black_box(walked(black_box(row)));
        });
    });
}

/// Prints what a row costs under each model, alone and in a batch, and the ratios.
fn ratios(
    logistic: &TrainedModel,
    boosted: &TrainedModel,
    data: &Dataset,
    rows: &[Row],
    walk: &mut dyn FnMut(),
) {
    let alone = |trained: &TrainedModel| {
        rows.iter().for_each(|row| {
            black_box(trained.model.score(black_box(row)));
        });
    };
    let batch = data.columns().batch();
    let together = |trained: &TrainedModel| {
        black_box(trained.model.score_batch(black_box(&batch)));
    };
    let seconds = medians(
        101,
        [
            &mut || alone(logistic),
            &mut || alone(boosted),
            walk,
            &mut || together(logistic),
            &mut || together(boosted),
        ],
    );
    #[expect(clippy::cast_precision_loss, reason = "thousands of rows")]
    let [row, row_boosted, walked, batched, batched_boosted] =
        seconds.map(|seconds| seconds * 1e9 / ROWS as f64);
    for (what, nanos, limit) in [
        ("logistic, alone", row, Limit::None),
        ("boosted, alone", row_boosted, Limit::AtMost(114.0)),
        ("walk over every stump", walked, Limit::None),
        ("logistic, batch", batched, Limit::None),
        ("boosted, batch", batched_boosted, Limit::AtMost(114.0)),
    ] {
        figure(what, nanos, "ns per row", limit);
    }
    ratio("boosted, alone", "logistic, alone", row_boosted, row, Limit::None);
    ratio("boosted, alone", "walk over every stump", row_boosted, walked, Limit::None);
    ratio("boosted, batch", "logistic, batch", batched_boosted, batched, Limit::None);
}
