//! What is registered with a real MLflow server: Python loads it from there and predicts what the
//! service predicts that serves it.

use std::sync::Arc;
use std::time::Duration;

use pmmds::artifact::ModelArtifact;
use pmmds::axum::ServiceBuilder;
use pmmds::drift::Profile;
use pmmds::linfa::formats;
use pmmds::mlflow::MlflowRegistry;
use pmmds::model::{Prediction, Task};
use pmmds::record::Dataset;
use pmmds::registry::{Alias, ModelName, ModelRegistry};
use pmmds::sqlite::SqliteStore;
use serde_json::{Value as Json, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::python::python;
use crate::{Telco, expected, scored_by};

/// Customers that ask the service.
const ASKING: usize = 300;

/// What a service of `model` answers to the first customers of `data`, over HTTP.
async fn served(
    registry: Arc<dyn ModelRegistry>,
    model: &ModelName,
    data: &Dataset,
) -> Vec<Prediction> {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path().join("pmmds.sqlite")).await.unwrap();
    let service = ServiceBuilder::new(Arc::new(store), registry, formats(), model.clone());
    let service = service.start().await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/api/v1/predict", listener.local_addr().unwrap());
    let (stop, stopped) = oneshot::channel::<()>();
    let serving =
        tokio::spawn(async move { service.serve(listener, async { drop(stopped.await) }).await });
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut predictions = Vec::new();
    for row in 0..ASKING {
        let features = data.columns().row(row).to_json(data.schema());
        let features: Json = serde_json::from_str(&features).unwrap();
        let sent = client.post(&url).json(&json!({ "features": features })).send().await;
        let answer: Json = sent.unwrap().json().await.unwrap();
        assert_eq!(answer["model_version"], "1", "{answer}");
        let label = answer["prediction"].as_u64().map(|label| u8::try_from(label).unwrap());
        predictions.push(match answer["probability"].as_f64() {
            Some(score) => Prediction::from_stored(score, label).unwrap(),
            None => Task::Regression.prediction(answer["prediction"].as_f64().unwrap()).unwrap(),
        });
    }
    drop(stop);
    serving.await.unwrap().unwrap();
    predictions
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mlflow_loads_what_is_in_production_and_predicts_what_the_service_predicts() {
    let Ok(uri) = std::env::var("PMMDS_TEST_MLFLOW") else {
        eprintln!("SKIPPED: no server; set PMMDS_TEST_MLFLOW, see scripts/services");
        return;
    };
    let (Some(telco), Some(python)) = (Telco::read(), python("mlflow")) else { return };
    let builder = MlflowRegistry::builder(&uri).patience(Duration::from_secs(60));
    let registry: Arc<dyn ModelRegistry> = Arc::new(builder.build().unwrap());
    let folder = tempfile::tempdir().unwrap();
    for (name, trainer, data) in telco.trainings() {
        let run = uuid::Uuid::now_v7().to_string();
        let model = ModelName::new(format!("{name}-{run}")).unwrap();
        let batch = data.columns().batch();
        let trained = trainer.fit(data, &()).unwrap();
        let artifact = ModelArtifact::pack(&trained, Profile::fit(&batch).unwrap(), &batch);
        let files = artifact.unwrap().to_files().unwrap();
        let made = registry.register(&model, &run, &files).await.unwrap();
        let alias = Alias::production();
        registry.set_alias(&model, &alias, made.version, None).await.unwrap();

        let predictions = served(Arc::clone(&registry), &model, data).await;
        let rows: Vec<_> = (0..ASKING).map(|row| data.columns().row(row)).collect();
        let file = folder.path().join(name);
        std::fs::write(&file, expected(data.schema(), &rows, &predictions).to_string()).unwrap();
        let from = format!("models:/{model}@{alias}");
        let told = scored_by(&python, &uri, &["registered", file.to_str().unwrap(), &from]);
        assert!(told.starts_with(&format!("{ASKING} rows of {from}\n")), "{told}");
        println!("{told}");
    }
}
