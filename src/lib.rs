//! Production ML monitoring and drift detection: validate requests, predict, log, compare live
//! traffic with training, alert, retrain, promote.
//!
//! A model in production fails silently: the world moves, the answers keep coming, and the labels
//! that would tell arrive weeks later. What can be seen at once is whether the *inputs* and the
//! *scores* still look as they did when the model was accepted. This crate measures that, says what
//! changed in words, and carries the loop that follows from it.
//!
//! ```
//! # // Two files, so that what is below is what one would write.
//! # let folder = std::env::temp_dir().join(format!("pmmds-crate-page-{}", std::process::id()));
//! # std::fs::create_dir_all(&folder)?;
//! # std::env::set_current_dir(&folder)?;
//! # let file = |plan: fn(u32) -> &'static str| -> String {
//! #     (0..500).map(|i| format!("{},{}\n", plan(i), i % 72)).collect()
//! # };
//! # let before = file(|i| if i % 5 == 0 { "gold" } else { "basic" });
//! # let after = file(|i| if i % 2 == 0 { "gold" } else { "basic" });
//! # std::fs::write("reference.csv", format!("plan,tenure\n{before}"))?;
//! # std::fs::write("current.csv", format!("plan,tenure\n{after}"))?;
//! use pmmds::csv::read_table;
//! use pmmds::drift::{DriftDetector, FeatureStatus};
//! use pmmds::record::Columns;
//! use pmmds::schema::FeatureSchema;
//!
//! let (reference, current) = (read_table("reference.csv")?, read_table("current.csv")?);
//! let inferred = FeatureSchema::infer(&reference).build()?; // review it: `println!("{inferred}")`
//! let reference = Columns::read(inferred.schema(), &reference)?;
//! let current = Columns::read(inferred.schema(), &current)?;
//!
//! let report = DriftDetector::default().compare(&reference.batch(), &current.batch())?;
//! println!("{report}"); // a table; `serde_json::to_string(&report)` has every number
//!
//! let plan = report.feature("plan").unwrap();
//! assert_eq!(plan.status, FeatureStatus::Drifted);
//! assert_eq!(plan.sentence, "\"gold\" 20.0 % -> 50.0 %");
//! # std::fs::remove_dir_all(&folder)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The same from a command line: `cargo run --example quickstart -- reference.csv current.csv`. The
//! whole loop on one machine, on real data: `cargo run --release --example full_stack`.
//!
//! # How it is put together
//!
//! *One frozen [profile](drift::Profile)* per model version holds, for every feature and for the
//! model's own score, a fixed binning and exact counts. *One byte per feature* is what a request
//! becomes: the slot that its value falls in. These [codes](drift::Codes) are enough for every drift
//! metric and hold no raw value. *[Counts](drift::Counts) add up*: shards, replicas and hours merge
//! to the same `u64`, bit for bit. *The core knows no I/O*: clock, ids, files and network are
//! arguments or traits, and the [adapters](#crate-features) only translate.
//!
//! | module | what is in it |
//! |---|---|
//! | [`schema`] | names, kinds, ranges and levels of the features; proposed from data, kept as TOML |
//! | [`record`] | rows, batches, columns, tables, data sets; JSON decoding against a schema |
//! | [`validate`] | every problem of a request or a data set, in sentences and counts |
//! | [`drift`] | binning, profile, counts, significance, the report; eleven metrics and [which one to use](drift#which-one), all at once with [`all_metrics`](drift::DriftDetector::all_metrics) |
//! | [`drift::two_sample`] | tests and distances of raw numbers: Kolmogorov-Smirnov, Cramér-von Mises, Anderson-Darling, Mann-Whitney, Welch, Wasserstein, energy |
//! | [`drift::LiveCounters`] | the counts of the last hours in memory, from many threads, read at any moment |
//! | [`model`], [`artifact`] | what scores rows, what trains it, and both as files; [binary classification and regression](#what-a-model-may-predict) |
//! | [`promote`] | evaluation by eighteen [metrics](promote::Metric), calibration, ROC, several classes, paired intervals and tests, latency, rules, decisions |
//! | [`registry`], [`log`], [`ledger`] | what is in production; what was predicted; why things are so |
//! | [`lifecycle`] | the flows over all of these: serve, monitor, retrain, promote, roll back |
//! | [`memory`] | the three stores in memory: reference implementations |
//! | [`address`] | what is behind an IP address, for whoever sends requests where others say |
//!
//! # What a model may predict
//!
//! | [`Task`](model::Task) | a label is | an answer is | [the original's policy](promote::OriginalPolicy::of) asks for |
//! |---|---|---|---|
//! | [`BinaryClassification`](model::Task::BinaryClassification) | 0 or 1 | the class, and its probability | a ROC-AUC better by 0.001 |
//! | [`Regression`](model::Task::Regression) | any finite number | the number | an RMSE smaller by 1 % |
//!
//! Everything else is the same for both: schema, validation, profile, codes, drift of features and
//! of predictions, log, outcomes, retraining, reload. [`Dataset`](record::Dataset) says which kind
//! of [label](record::Target) its rows have, and nothing mixes them.
//!
//! # The five traits
//!
//! | trait | question | here | of your own |
//! |---|---|---|---|
//! | [`FeatureValidator`](validate::FeatureValidator) | is this a row that the model was made for? | [`SchemaValidator`](validate::SchemaValidator) | [contract](validate::FeatureValidator#contract) |
//! | [`DriftMetric`](drift::DriftMetric) | how far apart are two histograms? | [`Psi`](drift::Psi), [`KullbackLeibler`](drift::KullbackLeibler), [`JensenShannon`](drift::JensenShannon), [`Hellinger`](drift::Hellinger) and [more](drift#metrics) | [10 lines](#a-metric-of-your-own) |
//! | [`PromotionPolicy`](promote::PromotionPolicy) | shall the challenger take over? | [`OriginalPolicy`](promote::OriginalPolicy), [rules](promote), `and`, `or` | [a closure](#a-policy-of-your-own) |
//! | [`ModelRegistry`](registry::ModelRegistry) | which version is in production, and its files? | [`MemoryRegistry`](memory::MemoryRegistry), `files`, `mlflow` | [conformance](#a-store-of-your-own) |
//! | [`InferenceLog`](log::InferenceLog) | what was asked, answered, and came true? | [`MemoryLog`](memory::MemoryLog), `sqlite`, `postgres`, before them `spool` | [conformance](#a-store-of-your-own) |
//!
//! Beside them: [`Ledger`](ledger::Ledger) keeps drift runs, alerts, decisions, leases and jobs;
//! [`Model`](model::Model), [`Trainer`](model::Trainer) and [`ModelFormat`](model::ModelFormat) are
//! the model's side; [`Environment`](lifecycle::Environment) gives ids and a stopwatch;
//! [`Workers`](drift::Workers) decide who works on the columns of a data set. All can be used as
//! `dyn`.
//!
//! # Cookbook
//!
//! * [A drift report from arrays](#a-drift-report-from-arrays)
//! * [A profile kept with the model, traffic counted against it](#a-profile-kept-with-the-model)
//! * [A metric of your own](#a-metric-of-your-own)
//! * [A policy of your own](#a-policy-of-your-own)
//! * [The service in your application](#the-service-in-your-application)
//! * [The monitor on stores](#the-monitor-on-stores)
//! * [A store of your own](#a-store-of-your-own)
//!
//! ## A drift report from arrays
//!
//! Columns of an ndarray are borrowed where they lie in one piece; NaN is a missing value.
//!
//! ```
//! use ndarray::Array2;
//! use pmmds::drift::{DriftDetector, Verdict};
//! use pmmds::record::Batch;
//! use pmmds::schema::{Feature, FeatureSchema};
//!
//! let schema = FeatureSchema::new([Feature::numeric("age"), Feature::numeric("income")])?;
//! let before = Array2::from_shape_fn((1_000, 2), |(i, j)| ((i * (7 + j)) % 100) as f64);
//! let after = before.mapv(|x| x * 0.5);
//!
//! let report = DriftDetector::default().compare(
//!     &Batch::from_array(&schema, before.view())?,
//!     &Batch::from_array(&schema, after.view())?,
//! )?;
//! assert_eq!(report.verdict, Verdict::Drift);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! ## A profile kept with the model
//!
//! Fit it once, on rows that the model was **not** trained on, with its scores; then count each
//! request as it comes. Two shards, or two hours, add up.
//!
//! ```
//! use pmmds::drift::{Counts, DriftDetector, Profile, ProfileOptions, Verdict};
//! use pmmds::record::{Columns, Table, decode_row};
//! use pmmds::schema::{Feature, FeatureSchema};
//! use pmmds::validate::{FeatureValidator, SchemaValidator, Violations};
//! use std::sync::Arc;
//!
//! let schema = Arc::new(FeatureSchema::new([Feature::integer("tenure").range(0.0, 100.0)])?);
//! let holdout = Table::from_rows(["tenure"], (0..1_000).map(|i| [(i % 72).to_string()]))?;
//! let holdout = Columns::read(&schema, &holdout)?;
//! let scores: Vec<f64> = (0..1_000).map(|i| 1.0 / (1.0 + (i % 72) as f64)).collect();
//! let profile = ProfileOptions::new().scores(&scores).fit(&holdout.batch())?;
//! let file = serde_json::to_string(&profile)?; // travels with the model version
//!
//! let profile: Profile = serde_json::from_str(&file)?;
//! let validator = SchemaValidator::new(Arc::clone(&schema));
//! let (mut morning, mut evening) = (Counts::empty(&profile), Counts::empty(&profile));
//! for i in 0..200_u32 {
//!     let counts = if i < 80 { &mut morning } else { &mut evening };
//!     let request = format!(r#"{{"tenure": {}}}"#, if i == 7 { 999 } else { i % 72 });
//!     let mut problems = Violations::new();
//!     let row = decode_row(&schema, request.as_bytes(), &mut problems)?;
//!     validator.validate(&row, &mut problems);
//!     if problems.is_valid() {
//!         let score = 1.0 / (1.0 + f64::from(i % 72)); // what the model answered
//!         counts.observe(&profile, &row, &profile.encode(&row, score));
//!     } else {
//!         counts.observe_rejected(&schema, &problems);
//!     }
//! }
//! morning.merge(&evening)?;
//! let report = DriftDetector::default().detect(&profile, &morning);
//! assert_eq!((report.verdict, report.rejected_requests), (Verdict::Stable, 1));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! ## A metric of your own
//!
//! ```
//! use pmmds::drift::{BinnedPair, DriftDetector, DriftMetric, NotComparable};
//!
//! /// The largest change of the share of a slot, in `[0, 1]`.
//! #[derive(Debug)]
//! struct LargestChange;
//!
//! impl DriftMetric for LargestChange {
//!     fn name(&self) -> &'static str { "largest_change" }
//!     fn measure(&self, pair: BinnedPair<'_>) -> Result<f64, NotComparable> {
//!         let (n, m) = (pair.reference_rows() as f64, pair.current_rows() as f64);
//!         let change = |(r, c): (u64, u64)| (c as f64 / m - r as f64 / n).abs();
//!         Ok(pair.used().map(change).fold(0.0, f64::max))
//!     }
//! }
//! let detector = DriftDetector::default().metric(LargestChange); // in every report from now on
//! ```
//!
//! `examples/custom_metric.rs` is one that knows the order of bins.
//!
//! ## A policy of your own
//!
//! ```
//! use pmmds::promote::{Metric, OriginalPolicy, PromotionPolicyExt, policy_fn};
//!
//! // Validation, 0.001 of ROC-AUC, latency; the interval above 0; and a rule of your own.
//! let policy = OriginalPolicy::new().strict().and(policy_fn("log_loss_not_worse", |candidates| {
//!     match candidates.improvement(Metric::LogLoss) {
//!         Some(gain) if gain >= 0.0 => Ok(format!("Log loss better by {gain:.4}.")),
//!         Some(loss) => Err(format!("Log loss worse by {:.4}.", -loss)),
//!         None => Err("Log loss is unknown.".to_owned()),
//!     }
//! }));
//! # let _: &dyn pmmds::promote::PromotionPolicy = &policy;
//! ```
//!
//! `examples/custom_policy.rs` decides with one, and prints every reason.
//!
//! ## The service in your application
//!
//! Features `axum`, `sqlite`, `files`, `linfa`; `examples/embed_axum.rs` is the whole program.
//!
//! ```no_run
//! use std::sync::Arc;
//! use axum::Router;
//! use pmmds::axum::ServiceBuilder;
//! use pmmds::files::FileRegistry;
//! use pmmds::sqlite::SqliteStore;
//!
//! # async fn embed() -> Result<(), Box<dyn std::error::Error>> {
//! let log = Arc::new(SqliteStore::open("pmmds.sqlite").await?);
//! let registry = Arc::new(FileRegistry::open("registry").await?);
//! let formats = pmmds::linfa::formats();
//! let service =
//!     ServiceBuilder::new(log, registry, formats, "churn-classifier".parse()?).start().await?;
//! let app: Router = Router::new().nest("/ml", service.router());
//! # drop(app); Ok(()) }
//! ```
//!
//! ## The monitor on stores
//!
//! [`Monitor`](lifecycle::Monitor) asks the log for the counts of a window, keeps the run in the
//! ledger, and opens or resolves alerts. Here with stores in memory; `sqlite` has the lasting ones,
//! `system` the [`Environment`](lifecycle::Environment).
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//! use pmmds::Timestamp;
//! use pmmds::drift::{Profile, Verdict};
//! use pmmds::ledger::DriftStore;
//! use pmmds::lifecycle::{AlertRules, Monitor};
//! use pmmds::log::{BatchId, EventBatch, InferenceEvent, InferenceLog};
//! use pmmds::memory::{MemoryLedger, MemoryLog};
//! use pmmds::model::Task;
//! use pmmds::record::Batch;
//! use pmmds::registry::{ModelName, VersionId};
//! use pmmds::schema::{Feature, FeatureSchema};
//! use pmmds::system::SystemEnvironment;
//! use uuid::Uuid;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let noon: Timestamp = "2026-03-01T12:00:00Z".parse()?;
//! let log = Arc::new(MemoryLog::with_clock(move || noon));
//! let ledger = Arc::new(MemoryLedger::with_clock(move || noon));
//! let model: ModelName = "churn".parse()?;
//! let schema = FeatureSchema::new([Feature::numeric("tenure")])?;
//! let training = ndarray::Array2::from_shape_fn((1_000, 1), |(i, _)| (i % 72) as f64);
//! let profile = Profile::fit(&Batch::from_array(&schema, training.view())?)?;
//!
//! // What a service logs: here 200 customers who all came lately.
//! let live = ndarray::Array2::from_shape_fn((200, 1), |(i, _)| (i % 6) as f64);
//! let rows = Batch::from_array(&schema, live.view())?;
//! let mut batch =
//!     EventBatch::new(BatchId(Uuid::from_u128(1)), model.clone(), VersionId::FIRST, &profile);
//! for i in 0..rows.rows() {
//!     let (row, id) = (rows.row(i), Uuid::from_u128(i as u128));
//!     let prediction = Task::binary().prediction(0.7)?;
//!     let codes = profile.encode(&row, prediction.score());
//!     let at = noon.saturating_sub(Duration::from_secs(60));
//!     let event = InferenceEvent::new(id, id, at, prediction, Duration::ZERO, codes);
//!     batch.push(&profile, &row, event);
//! }
//! log.append(&batch).await?;
//!
//! let environment = Arc::new(SystemEnvironment::new());
//! let monitor = Monitor::new(log, ledger.clone(), environment, "this process")
//!     .rules(AlertRules::default().resolve_after(3));
//! let day = monitor.window(Duration::from_secs(24 * 3600)).await?;
//! let done = monitor.run(&model, VersionId::FIRST, &profile, day).await?;
//! assert_eq!(done.run.report.verdict, Verdict::Drift);
//! assert!(done.alert.unwrap().message.starts_with("1 of 1 features drifted: tenure (PSI "));
//! assert_eq!(ledger.drift_runs(&model, None, 10).await?.items.len(), 1);
//! # Ok(())
//! # }
//! ```
//!
//! ## A store of your own
//!
//! Implement the trait, take the decisions that all stores share from its `Rules`
//! ([registry](registry::Rules), [log](log::Rules), [ledger](ledger::Rules)), and run the suite of
//! feature `conformance` in a test. Each clause panics with what was wrong.
//!
//! ```
//! use pmmds::conformance;
//! use pmmds::memory::MemoryRegistry;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! // Yours instead of `MemoryRegistry`: `make` gives a fresh, empty one.
//! let make = || async { MemoryRegistry::new() };
//! conformance::registry::all(make, &conformance::registry::Options::new()).await;
//! # }
//! ```
//!
//! # Crate features
//!
//! | feature | default | pulls in | why |
//! |---|---|---|---|
//! | [`csv`] | yes | csv | reads CSV files into a [`Table`](record::Table) |
//! | [`sqlite`] | no | sqlx, bundled SQLite (a C compiler) | [`InferenceLog`](log::InferenceLog) and [`Ledger`](ledger::Ledger) in one file |
//! | [`postgres`] | no | sqlx, rustls with ring, tokio, tracing | [`InferenceLog`](log::InferenceLog) and [`Ledger`](ledger::Ledger) on PostgreSQL 15 and later |
//! | [`spool`] | no | tokio, backon, crc32fast, tracing | an [`InferenceLog`](log::InferenceLog) that keeps events on local disk until its store has them |
//! | [`files`] | no | tokio | [`ModelRegistry`](registry::ModelRegistry) in a folder |
//! | [`mlflow`] | no | reqwest, rustls with ring, backon, tokio, tracing | [`ModelRegistry`](registry::ModelRegistry) and run tracking on an MLflow server |
//! | [`linfa`] | no | linfa, linfa-ensemble, linfa-linalg, linfa-logistic, linfa-trees, rand_chacha 0.3 | [logistic regression], [AdaBoost] on stumps with calibrated scores, and [ridge regression] for numbers: [`Trainer`](model::Trainer)s and their [`Model`](model::Model)s |
//! | [`axum`] | no | axum, hyper, tower-http, tokio, utoipa with a vendored Swagger UI, tracing | the HTTP service |
//! | `oip` | no | `axum` | the Open Inference Protocol (KServe V2 over REST), a part of the HTTP service |
//! | `mlflow-scoring` | no | `axum` | MLflow's `/invocations`, a part of the HTTP service |
//! | `otel` | no | `axum`, opentelemetry (the API alone), tracing-opentelemetry | requests continue the trace of their `traceparent`, a part of the HTTP service |
//! | [`webhook`] | no | reqwest, rustls with ring, backon, tokio | alerts by HTTP POST, as JSON or for Slack |
//! | [`schedule`] | no | cronexpr, time zones of jiff, tokio, tracing | jobs at the moments of a schedule, every hour or by cron, once across replicas |
//! | [`system`] | no | nothing new (uuid's clock and randomness) | [`Environment`](lifecycle::Environment) of this machine |
//! | [`rayon`] | no | rayon | [`Workers`](drift::Workers) on every core, for whole data sets |
//! | [`conformance`] | no | nothing | one test suite per I/O trait |
//! | `full` | no | all of the above | examples, and whoever wants everything |
//!
//! Without features (`default-features = false`) there is no runtime, no file and no network; `make
//! test` also checks that core for `wasm32-unknown-unknown`, where the target is installed.
//!
//! # Panics
//!
//! Input never makes this crate panic. The few functions that can be called wrongly say so under
//! *Panics*: an index out of range, a row of another schema, a service or a store outside of a tokio
//! runtime. Any other panic is a bug.
//!
//! # Precision
//!
//! Counts are exact `u64`; adding them up in any order gives the same bits. Metrics are `f64`,
//! computed from counts by one function in slot order, so that equal counts give equal bits on
//! every run of one platform; the logarithm of another platform may differ in the last place. Means
//! and spreads in the summaries are float sums and depend on the order. Stored floats read back bit
//! for bit. Tests hold the metrics to values of numpy, scipy and scikit-learn to 1e-12, relative.
//!
//! # Minimum Rust version
//!
//! 1.89 for the core and every feature but `sqlite` and `postgres`, which follow sqlx 0.9 to 1.94. It is raised
//! only in a minor release.
//!
//! # Unsafe code
//!
//! There is none: the lint `unsafe_code` is forbidden for the whole crate, adapters included.
//!
#![cfg_attr(feature = "axum", doc = "[`axum`]: mod@crate::axum")]
#![cfg_attr(not(feature = "axum"), doc = "[`axum`]: #crate-features")]
#![cfg_attr(feature = "conformance", doc = "[`conformance`]: mod@crate::conformance")]
#![cfg_attr(not(feature = "conformance"), doc = "[`conformance`]: #crate-features")]
#![cfg_attr(feature = "csv", doc = "[`csv`]: mod@crate::csv")]
#![cfg_attr(not(feature = "csv"), doc = "[`csv`]: #crate-features")]
#![cfg_attr(feature = "files", doc = "[`files`]: mod@crate::files")]
#![cfg_attr(not(feature = "files"), doc = "[`files`]: #crate-features")]
#![cfg_attr(feature = "linfa", doc = "[`linfa`]: mod@crate::linfa")]
#![cfg_attr(feature = "linfa", doc = "[AdaBoost]: crate::linfa::AdaBoost")]
#![cfg_attr(feature = "linfa", doc = "[logistic regression]: crate::linfa::LogisticRegression")]
#![cfg_attr(feature = "linfa", doc = "[ridge regression]: crate::linfa::RidgeRegression")]
#![cfg_attr(not(feature = "linfa"), doc = "[AdaBoost]: #crate-features")]
#![cfg_attr(not(feature = "linfa"), doc = "[logistic regression]: #crate-features")]
#![cfg_attr(not(feature = "linfa"), doc = "[ridge regression]: #crate-features")]
#![cfg_attr(not(feature = "linfa"), doc = "[`linfa`]: #crate-features")]
#![cfg_attr(feature = "mlflow", doc = "[`mlflow`]: mod@crate::mlflow")]
#![cfg_attr(not(feature = "mlflow"), doc = "[`mlflow`]: #crate-features")]
#![cfg_attr(feature = "postgres", doc = "[`postgres`]: mod@crate::postgres")]
#![cfg_attr(not(feature = "postgres"), doc = "[`postgres`]: #crate-features")]
#![cfg_attr(feature = "rayon", doc = "[`rayon`]: mod@crate::rayon")]
#![cfg_attr(not(feature = "rayon"), doc = "[`rayon`]: #crate-features")]
#![cfg_attr(feature = "schedule", doc = "[`schedule`]: mod@crate::schedule")]
#![cfg_attr(not(feature = "schedule"), doc = "[`schedule`]: #crate-features")]
#![cfg_attr(feature = "spool", doc = "[`spool`]: mod@crate::spool")]
#![cfg_attr(not(feature = "spool"), doc = "[`spool`]: #crate-features")]
#![cfg_attr(feature = "sqlite", doc = "[`sqlite`]: mod@crate::sqlite")]
#![cfg_attr(not(feature = "sqlite"), doc = "[`sqlite`]: #crate-features")]
#![cfg_attr(feature = "system", doc = "[`system`]: mod@crate::system")]
#![cfg_attr(not(feature = "system"), doc = "[`system`]: #crate-features")]
#![cfg_attr(feature = "webhook", doc = "[`webhook`]: mod@crate::webhook")]
#![cfg_attr(not(feature = "webhook"), doc = "[`webhook`]: #crate-features")]
#![deny(clippy::disallowed_methods)]
#![cfg_attr(
    test,
    allow(
        clippy::cast_precision_loss,
        clippy::disallowed_methods,
        clippy::suboptimal_flops,
        reason = "tests read their data and write formulas as in the books"
    )
)]

pub mod _documentation;
pub mod address;
pub mod artifact;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
pub mod drift;
pub mod error;
pub mod ledger;
pub mod lifecycle;
pub mod log;
pub mod memory;
pub mod model;
pub mod promote;
pub mod record;
pub mod registry;
pub mod schema;
mod tails;
pub mod time;
pub mod validate;

pub use error::{Error, ErrorKind};
pub use time::{Timestamp, Window};

#[cfg(test)]
mod tests;

/// The lines of the README, which `tests/readme.rs` compares with these.
///
/// ```
/// # let folder = std::env::temp_dir().join(format!("pmmds-readme-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder)?;
/// # std::env::set_current_dir(&folder)?;
/// # let rows = |level: &str| format!("plan,tenure\n{}", format!("{level},12\n").repeat(200));
/// # std::fs::write("reference.csv", rows("basic"))?;
/// # std::fs::write("current.csv", rows("gold"))?;
/// use pmmds::{csv::read_table, drift::DriftDetector, record::Columns, schema::FeatureSchema};
/// let (before, after) = (read_table("reference.csv")?, read_table("current.csv")?);
/// let inferred = FeatureSchema::infer(&before).build()?;
/// let [before, after] = [&before, &after].map(|table| Columns::read(inferred.schema(), table));
/// println!("{}", DriftDetector::default().compare(&before?.batch(), &after?.batch())?);
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[cfg(doctest)]
#[derive(Debug)]
pub struct Readme;

// The adapters: a feature, a folder and a module of one name each, and the only lines of the core
// that name them.

#[cfg(feature = "axum")]
#[path = "../adapters/axum/mod.rs"]
pub mod axum;

#[cfg(feature = "csv")]
#[path = "../adapters/csv/mod.rs"]
pub mod csv;

#[cfg(feature = "files")]
#[path = "../adapters/files/mod.rs"]
pub mod files;

#[cfg(feature = "mlflow")]
#[path = "../adapters/mlflow/mod.rs"]
pub mod mlflow;

#[cfg(feature = "linfa")]
#[path = "../adapters/linfa/mod.rs"]
pub mod linfa;

#[cfg(feature = "postgres")]
#[path = "../adapters/postgres/mod.rs"]
pub mod postgres;

#[cfg(feature = "rayon")]
#[path = "../adapters/rayon/mod.rs"]
pub mod rayon;

#[cfg(feature = "schedule")]
#[path = "../adapters/schedule/mod.rs"]
pub mod schedule;

#[cfg(feature = "spool")]
#[path = "../adapters/spool/mod.rs"]
pub mod spool;

#[cfg(feature = "sqlite")]
#[path = "../adapters/sqlite/mod.rs"]
pub mod sqlite;

#[cfg(feature = "system")]
#[path = "../adapters/system/mod.rs"]
pub mod system;

#[cfg(feature = "webhook")]
#[path = "../adapters/webhook/mod.rs"]
pub mod webhook;
