//! An axum application of yours that also predicts, logs and can be watched: pmmds under `/ml`.
//!
//! ```text
//! cargo run --example embed_axum
//! curl http://127.0.0.1:3000/
//! curl -X POST http://127.0.0.1:3000/ml/api/v1/predict -H "Content-Type: application/json" \
//!   -d '{"features": {"tenure": 2, "contract": "monthly"}}'
//! ```

use std::error::Error;
use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use pmmds::axum::ServiceBuilder;
use pmmds::files::FileRegistry;
use pmmds::ledger::Trigger;
use pmmds::lifecycle::{Promotion, RetrainRequest, Retraining};
use pmmds::linfa::{LogisticRegression, formats};
use pmmds::record::{Dataset, Table};
use pmmds::registry::{ModelName, ModelRegistry};
use pmmds::schema::{Feature, FeatureSchema};
use pmmds::sqlite::SqliteStore;
use pmmds::system::SystemEnvironment;
use pmmds::validate::Violations;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let model: ModelName = "churn".parse()?;
    let folder = tempfile::tempdir()?;
    let store = SqliteStore::open(folder.path().join("pmmds.sqlite")).await?;
    let registry: Arc<dyn ModelRegistry> =
        Arc::new(FileRegistry::open(folder.path().join("registry")).await?);
    train_the_first(&model, &store, Arc::clone(&registry)).await?;

    // What pmmds adds to the application: a service, its routes under a prefix, and a server that
    // ends in good order.
    let log = Arc::new(store.clone());
    let service = ServiceBuilder::new(log, registry, formats(), model).start().await?;
    let app = Router::new()
        .route("/", get(|| async { "The shop is open.\n" }))
        .nest("/ml", service.router());

    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    println!("try http://{0}/ and http://{0}/ml/docs; Ctrl-C ends it", listener.local_addr()?);
    let stop = async { drop(tokio::signal::ctrl_c().await) };
    let account = service.serve_app(app, listener, stop).await?;
    println!("{} predictions are in the log, {} were lost", account.written, account.lost);
    Ok(())
}

/// Puts a first model into production: those who came lately, and by the month, leave.
async fn train_the_first(
    model: &ModelName,
    store: &SqliteStore,
    registry: Arc<dyn ModelRegistry>,
) -> Result<(), Box<dyn Error>> {
    let schema = Arc::new(FeatureSchema::new([
        Feature::integer("tenure").range(0.0, 100.0),
        Feature::categorical("contract", ["monthly", "yearly"]),
    ])?);
    let rows = (0..400).map(|i| {
        let (tenure, contract) = (i * 37 % 72, if i % 2 == 0 { "monthly" } else { "yearly" });
        let leaves = tenure + i * 11 % 40 < if i % 2 == 0 { 45 } else { 25 };
        [format!("c{i}"), tenure.to_string(), contract.to_owned(), leaves.to_string()]
    });
    let table = Table::from_rows(["customer", "tenure", "contract", "leaves"], rows)?;
    let mut problems = Violations::new();
    let data =
        Dataset::from_table(&schema, &table, "leaves", "true", Some("customer"), &mut problems)?;

    let (log, ledger) = (Arc::new(store.clone()), Arc::new(store.clone()));
    let environment = Arc::new(SystemEnvironment::new());
    let promotion = Promotion::new(registry, log, ledger, environment, "embed_axum");
    let trainer = Arc::new(LogisticRegression::default());
    let request = RetrainRequest { model, trigger: Trigger::Manual, alert: None, reference: &data };
    let done = Retraining::new(promotion, trainer, formats()).run(&request, &()).await?;
    println!("{}", done.decision.map_or_else(String::new, |decision| decision.reason));
    Ok(())
}
