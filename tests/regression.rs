//! The loop where a number is predicted: what a customer is charged by the month, from everything
//! else that is known about that customer. On real data, over HTTP, in one SQLite file and one
//! folder: train, serve, log, learn what was charged, see the launch of fibre, retrain, promote by
//! the RMSE, reload.

mod telco_file;

use std::sync::Arc;
use std::time::Duration;

use pmmds::axum::{LogAccount, RawFeatures, ServiceBuilder};
use pmmds::drift::Verdict;
use pmmds::files::FileRegistry;
use pmmds::ledger::Trigger;
use pmmds::lifecycle::{
    Holdout, Monitor, MonitorRun, Promotion, RetrainRequest, RetrainSettings, Retraining,
    ServingModel, load,
};
use pmmds::linfa::{RidgeRegression, formats};
use pmmds::log::InferenceLog;
use pmmds::model::Task;
use pmmds::promote::{Metric, OriginalPolicy};
use pmmds::record::{Dataset, Table};
use pmmds::registry::{Alias, ModelName, ModelRegistry, VersionId};
use pmmds::schema::{FeatureSchema, Fingerprint};
use pmmds::sqlite::{SqliteStore, Synchronous};
use pmmds::system::SystemEnvironment;
use pmmds::validate::Violations;
use pmmds::{Error, Timestamp, Window};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Requests in flight at a time.
const CONCURRENCY: usize = 16;

/// The customers, with what each is charged by the month as the truth.
struct Customers {
    all: Dataset,
    fibre: Vec<bool>,
}

impl Customers {
    fn read(table: &Table) -> Self {
        let reviewed =
            FeatureSchema::from_toml(include_str!("../examples/telco_schema.toml")).unwrap();
        // The total is the sum of what is to be predicted.
        let charges = ["monthly_charges", "total_charges"];
        let known = reviewed.features().iter().filter(|f| !charges.contains(&f.name())).cloned();
        let schema = Arc::new(FeatureSchema::new(known).unwrap());
        let mut found = Violations::new();
        let (target, customer) = ("monthly_charges", Some("customer_id"));
        let all =
            Dataset::from_table_numeric(&schema, table, target, customer, &mut found).unwrap();
        assert!(found.is_clean());
        let column = table.column("internet_service").unwrap();
        let fibre = column.cells().map(|cell| cell == "Fiber optic").collect();
        Self { all, fibre }
    }

    /// `without` customers without fibre, and then two with it for each without, in an order that
    /// the file does not know.
    fn eras(&self, without: usize, launched: usize) -> (Vec<usize>, Vec<usize>) {
        let mut rows: Vec<usize> = (0..self.all.rows()).collect();
        rows.sort_by_cached_key(|row| Fingerprint::of_bytes(self.all.entity(*row).as_bytes()));
        let (fibre, mut calm): (Vec<usize>, Vec<usize>) =
            rows.into_iter().partition(|row| self.fibre[*row]);
        let others = calm.split_off(without);
        let both = fibre.chunks_exact(2).zip(others).flat_map(|(two, one)| [two[0], one, two[1]]);
        (calm, both.take(launched).collect())
    }

    /// The id under which the customer of `row` asks.
    fn request_id(&self, row: usize) -> String {
        let print = Fingerprint::of_bytes(self.all.entity(row).as_bytes());
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&print.as_bytes()[..16]);
        uuid::Builder::from_custom_bytes(bytes).into_uuid().to_string()
    }

    fn body(&self, row: usize) -> String {
        let features = self.all.columns().row(row).to_json(self.all.schema());
        format!("{{\"request_id\":\"{}\",\"features\":{features}}}", self.request_id(row))
    }

    /// How far `answers` are from the truth about `rows`.
    fn rmse(&self, rows: &[usize], answers: &[f64]) -> f64 {
        let squares = rows.iter().zip(answers).map(|(row, answer)| {
            let error = answer - self.all.labels()[*row];
            error * error
        });
        (squares.sum::<f64>() / f64::from(u32::try_from(rows.len()).unwrap())).sqrt()
    }
}

/// The stores of one system, and the service on them.
struct System {
    store: SqliteStore,
    registry: Arc<dyn ModelRegistry>,
    model: ModelName,
}

impl System {
    fn promotion(&self) -> Promotion {
        let (log, ledger) = (Arc::new(self.store.clone()), Arc::new(self.store.clone()));
        let environment = Arc::new(SystemEnvironment::new());
        Promotion::new(Arc::clone(&self.registry), log, ledger, environment, "test")
    }

    fn retraining(&self) -> Retraining {
        // The newest half judges. Both models are sums of look-ups: their latency is another test's.
        let holdout = Holdout::Time { share: 0.5, gap: Duration::ZERO };
        let policy = OriginalPolicy::of(Task::Regression).max_latency_ratio(100.0).strict();
        Retraining::new(self.promotion(), Arc::new(RidgeRegression::default()), formats())
            .policy(Arc::new(policy))
            .settings(RetrainSettings::default().holdout(holdout).cooldown(Duration::ZERO))
    }

    async fn served(&self) -> ServingModel {
        let found = load(&*self.registry, &formats(), &self.model, &Alias::production()).await;
        found.unwrap().expect("something is in production")
    }

    /// The monitor's look at everything since `begin`.
    async fn look(&self, begin: Timestamp) -> MonitorRun {
        let (log, ledger) = (Arc::new(self.store.clone()), Arc::new(self.store.clone()));
        let monitor = Monitor::new(log, ledger, Arc::new(SystemEnvironment::new()), "test");
        let window = Window::new(begin, self.store.now().await.unwrap()).unwrap();
        let served = self.served().await;
        monitor.run(&self.model, served.version(), served.profile(), window).await.unwrap()
    }

    async fn serve(&self) -> Server {
        let log = Arc::new(self.store.clone());
        let registry = Arc::clone(&self.registry);
        let service = ServiceBuilder::new(log, registry, formats(), self.model.clone())
            .raw_features(RawFeatures::Keep)
            .start()
            .await
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel::<()>();
        let task =
            tokio::spawn(
                async move { service.serve(listener, async { drop(stopped.await) }).await },
            );
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        Server { base, client, stop, task }
    }
}

struct Server {
    base: String,
    client: reqwest::Client,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<LogAccount, Error>>,
}

impl Server {
    async fn post(&self, path: &str, body: String) -> Value {
        let request = self.client.post(format!("{}{path}", self.base));
        let answer = request.header("content-type", "application/json").body(body).send().await;
        let answer = answer.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "{path} answered {status}: {text}");
        serde_json::from_str(&text).unwrap()
    }

    /// The predicted number for each of `rows`, by `version`.
    async fn predict(&self, customers: &Customers, rows: &[usize], version: &str) -> Vec<f64> {
        let mut answers = Vec::new();
        for some in rows.chunks(CONCURRENCY) {
            let flying = some.iter().map(|row| {
                let (client, base) = (self.client.clone(), self.base.clone());
                let body = customers.body(*row);
                tokio::spawn(async move {
                    let request = client.post(format!("{base}/api/v1/predict"));
                    let sent = request.header("content-type", "application/json").body(body);
                    sent.send().await.unwrap().text().await.unwrap()
                })
            });
            for answer in flying.collect::<Vec<_>>() {
                let answer: Value = serde_json::from_str(&answer.await.unwrap()).unwrap();
                assert_eq!(answer["model_version"], version, "{answer}");
                assert!(answer.get("probability").is_none(), "{answer}");
                answers.push(answer["prediction"].as_f64().expect("a number"));
            }
        }
        answers
    }

    /// Tells what the customers of `rows` were charged.
    async fn tell(&self, customers: &Customers, rows: &[usize]) {
        let outcome = |row: &usize| json!({"request_id": customers.request_id(*row), "outcome": customers.all.labels()[*row]});
        for some in rows.chunks(500) {
            let outcomes: Vec<Value> = some.iter().map(outcome).collect();
            let receipt = self.post("/api/v1/outcomes", Value::from(outcomes).to_string()).await;
            assert_eq!(receipt["recorded"], some.len());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_loop_goes_round_where_a_number_is_predicted() {
    let Some(table) = telco_file::telco() else { return };
    let customers = Customers::read(&table);
    let (calm, launch) = customers.eras(1_300, 1_000);
    let (training, quiet) = calm.split_at(1_000);
    let (launch, after) = launch.split_at(700);

    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::builder(folder.path().join("pmmds.sqlite"));
    let system = System {
        store: store.synchronous(Synchronous::Normal).open().await.unwrap(),
        registry: Arc::new(FileRegistry::open(folder.path().join("registry")).await.unwrap()),
        model: "charges".parse().unwrap(),
    };

    // The first model, of customers without fibre.
    let reference = customers.all.select(training);
    let first = RetrainRequest::new(&system.model, Trigger::Manual, &reference);
    let done = system.retraining().run(&first, &()).await.unwrap();
    assert_eq!(done.promoted(), Some(VersionId::FIRST), "{:?}", done.run);
    let served = system.served().await;
    let rmse = served.artifact().training().metrics["rmse"];
    println!(
        "v1, RMSE of 5 folds: {rmse:.3} (R2 {:.4})",
        served.artifact().training().metrics["r2"]
    );
    assert!(rmse < 2.0, "what a customer has says what it costs: {rmse}");

    let server = system.serve().await;
    let begin = system.store.now().await.unwrap();
    let answers = server.predict(&customers, quiet, "1").await;
    println!("v1 on {} customers like them: {:.3}", quiet.len(), customers.rmse(quiet, &answers));
    server.tell(&customers, quiet).await;
    let look = system.look(begin).await;
    assert_eq!(look.run.report.verdict, Verdict::Stable, "{}", look.run.report);

    // Fibre is launched: a level that training never saw.
    let begin = system.store.now().await.unwrap();
    let answers = server.predict(&customers, launch, "1").await;
    let before = customers.rmse(launch, &answers);
    println!("v1 after the launch of fibre, {} customers: {before:.3}", launch.len());
    server.tell(&customers, launch).await;
    let look = system.look(begin).await;
    assert!(matches!(look.run.report.verdict, Verdict::Drift), "{}", look.run.report);
    let prediction = look.run.report.prediction.as_ref().expect("predictions are watched");
    println!("PSI of the predictions: {:.3}", prediction.psi);
    let alert = look.alert.expect("drift opens an alert");

    // The challenger is of the same reference and of traffic.
    let request = RetrainRequest::for_alert(&alert, &reference);
    let done = system.retraining().run(&request, &()).await.unwrap();
    let decision = done.decision.as_ref().unwrap();
    println!("{}", decision.reason);
    assert_eq!(done.promoted(), VersionId::new(2), "{}", decision.reason);
    let record = decision.record.as_ref().unwrap();
    assert_eq!(record.primary_metric_name, Metric::Rmse);
    assert!(record.primary_metric_improvement.unwrap() > 0.0);
    assert!(decision.reason.contains("rmse: "), "{}", decision.reason);

    // The service takes it up, and it is the better one.
    let reloaded = server.post("/model/reload", "{}".to_owned()).await;
    assert_eq!(
        (&reloaded["previous_version"], &reloaded["current_version"]),
        (&json!("1"), &json!("2"))
    );
    let begin = system.store.now().await.unwrap();
    let answers = server.predict(&customers, after, "2").await;
    let (old, new) = (
        served.model().score_batch(&customers.all.select(after).columns().batch()),
        customers.rmse(after, &answers),
    );
    let old = customers.rmse(after, &old);
    println!("on {} customers that neither has seen: v1 {old:.3}, v2 {new:.3}", after.len());
    assert!(new < old / 2.0, "v1 {old}, v2 {new}");
    let look = system.look(begin).await;
    assert_eq!(look.run.report.verdict, Verdict::Stable, "{}", look.run.report);

    let _ = server.stop.send(());
    let account = server.task.await.unwrap().unwrap();
    let sent = quiet.len() + launch.len() + after.len();
    assert_eq!((account.written, account.lost), (u64::try_from(sent).unwrap(), 0));
}
