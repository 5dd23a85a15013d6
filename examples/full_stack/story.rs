//! The whole story, told on real customers and checked line by line.
//!
//! Every chapter can be killed at any moment: what it has done is in the stores, and the marks of
//! `story.json` say where its windows begin and end. The next telling with the same `--state` goes
//! on from there.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use pmmds::axum::Service;
use pmmds::drift::{DriftReport, Verdict};
use pmmds::ledger::{DecisionState, RunState, Trigger};
use pmmds::lifecycle::{MonitorRun, RetrainRequest, Retrained, ServingModel};
use pmmds::linfa::formats;
use pmmds::promote::Metric;
use pmmds::record::Dataset;
use pmmds::registry::VersionId;
use pmmds::{Timestamp, Window};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::Outcome;
use crate::client::{Answer, Client};
use crate::commands::{Steps, newest_half, print_retrained, retraining, service};
use crate::data;
use crate::origin::to_train_on;
use crate::settings::Settings;
use crate::state::{State, WRITER};
use crate::telco::{Customers, Eras, Request};

/// Name of the file with the marks.
const MARKS: &str = "story.json";

/// Where the story is, so that it can be taken up.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Marks {
    // the window of each stretch of traffic that has arrived in full
    quiet: Option<Window>,
    launch: Option<Window>,
    after: Option<Window>,
    /// chapters that are over, whose checks held
    done: Vec<String>,
}

/// One line of the table at the end.
#[derive(Debug)]
struct Line {
    what: &'static str,
    found: String,
}

/// The story while it is told.
struct Story<'a> {
    settings: &'a Settings,
    state: State,
    customers: Customers,
    eras: Eras,
    marks: Marks,
    lines: Vec<Line>,
}

/// Fails the story unless `holds`.
fn check(holds: bool, claim: &str) -> Outcome<()> {
    if holds { Ok(()) } else { Err(format!("this does not hold: {claim}").into()) }
}

pub(crate) async fn tell(settings: &Settings) -> Outcome<ExitCode> {
    let begun = Instant::now();
    let fresh;
    let folder: PathBuf = match &settings.state {
        Some(folder) => folder.clone(),
        None => {
            fresh = tempfile::Builder::new().prefix("pmmds-story-").tempdir()?;
            fresh.path().to_owned()
        }
    };
    let state = State::open(&folder, settings).await?;
    let _lock = state.lock(WRITER)?;
    say!("state in {}", folder.display());
    let csv = to_train_on(settings, &state).await?;
    let customers = Customers::read(&csv)?;
    let eras = customers.eras()?;
    let marks = read_marks(&state.file(MARKS))?;
    if marks.done.is_empty() && marks.quiet.is_none() {
        is_unused(&state).await?;
    }
    if !marks.done.is_empty() {
        say!("going on after: {}", marks.done.join(", "));
    }
    let mut story = Story { settings, state, customers, eras, marks, lines: Vec::new() };
    story.tell().await?;
    story.print(begun.elapsed());
    Ok(ExitCode::SUCCESS)
}

/// A database may have the story of another folder, and two would be told at once.
async fn is_unused(state: &State) -> Outcome<()> {
    let runs = state.ledger.drift_runs(&state.model, None, 1).await?;
    if runs.items.is_empty() {
        return Ok(());
    }
    let model = &state.model;
    Err(format!(
        "the database knows {model} already: tell the story in another one, or of another \
         --model-name"
    )
    .into())
}

impl Story<'_> {
    async fn tell(&mut self) -> Outcome<()> {
        self.first_model().await?;
        let server = Server::start(&self.state, self.settings).await?;
        let told = self.with_service(&server).await;
        let answered = server.stop().await;
        told?;
        answered?;
        self.everything_is_in_the_log().await
    }

    async fn with_service(&mut self, server: &Server) -> Outcome<()> {
        self.quiet_traffic(&server.client).await?;
        self.launch(&server.client).await?;
        self.challenger(server).await?;
        self.after(&server.client).await?;
        self.nothing_new().await?;
        self.not_better(&server.client).await?;
        self.back_and_forth(&server.client).await
    }

    /// Whether a chapter is over, and its heading.
    fn is_over(&self, chapter: &str, heading: &str) -> bool {
        let over = self.marks.done.iter().any(|done| done == chapter);
        say!("\n== {heading}{}", if over { " (told before)" } else { "" });
        over
    }

    fn end(&mut self, chapter: &str) -> Outcome<()> {
        self.marks.done.push(chapter.to_owned());
        self.save()
    }

    fn save(&self) -> Outcome<()> {
        let json = serde_json::to_vec_pretty(&self.marks)?;
        Ok(data::write_atomically(&self.state.file(MARKS), &json)?)
    }

    fn note(&mut self, what: &'static str, found: String) {
        say!("   {what}: {found}");
        self.lines.push(Line { what, found });
    }

    fn training(&self) -> Dataset {
        self.customers.all.select(&self.eras.training)
    }

    async fn version(&self, number: u64) -> Outcome<ServingModel> {
        let version = VersionId::new(number).ok_or("version 0")?;
        let files = self.state.registry.fetch_artifact(&self.state.model, version).await?;
        let artifact = pmmds::artifact::ModelArtifact::open(&files, &formats())?;
        Ok(ServingModel::new(self.state.model.clone(), version, files.digest(), artifact))
    }

    async fn in_production(&self, number: u64) -> Outcome<()> {
        let alias = self.state.registry.resolve(&self.state.model, &self.state.alias).await?;
        let claim = format!("v{number} is in production");
        check(alias.map(VersionId::number) == Some(number), &claim)
    }

    async fn first_model(&mut self) -> Outcome<()> {
        let rows = self.eras.training.len();
        let heading = format!("The first model, of {rows} customers without fibre");
        if self.is_over("first model", &heading) {
            return Ok(());
        }
        if self.state.production().await?.is_none() {
            let done = self.retrain(Trigger::Manual, false).await?;
            check(
                done.promoted() == Some(VersionId::FIRST),
                "version 1 is the first in production",
            )?;
        }
        self.finish_run().await?;
        self.in_production(1).await?;
        let serving = self.version(1).await?;
        let auc = serving.artifact().training().metrics.get("roc_auc").copied();
        let auc = auc.ok_or("version 1 has no ROC-AUC on record")?;
        let churn = 100.0 * self.customers.churn(&self.eras.training);
        self.note("churn among them", format!("{churn:.1} %"));
        self.note("v1, ROC-AUC of 5 folds", format!("{auc:.4}"));
        self.end("first model")
    }

    async fn retrain(&self, trigger: Trigger, with_alert: bool) -> Outcome<Retrained> {
        let alerts = self.state.ledger.open_alerts(&self.state.model).await?;
        let alert = alerts.first().filter(|_| with_alert);
        check(alert.is_some() == with_alert, "there is an open alert to answer")?;
        let reference = self.training();
        let request =
            RetrainRequest { model: &self.state.model, trigger, alert, reference: &reference };
        let trainer = self.customers.origin.trainer(&self.state);
        let done = retraining(&self.state, trainer, newest_half()).run(&request, &Steps).await?;
        print_retrained(&done);
        Ok(done)
    }

    /// Goes on with a run that was killed, if there is one: what it has left is bookkeeping.
    async fn finish_run(&self) -> Outcome<()> {
        let runs = self.state.ledger.retraining_runs(&self.state.model, None, 10).await?.items;
        if runs.iter().any(|run| run.state == RunState::Running) {
            self.retrain(Trigger::Manual, false).await?;
        }
        Ok(())
    }

    async fn quiet_traffic(&mut self, client: &Client) -> Outcome<()> {
        let heading = format!("{} customers like those in training", self.eras.quiet.len());
        if self.is_over("quiet traffic", &heading) {
            return Ok(());
        }
        let requests = self.customers.requests("quiet", &self.eras.quiet);
        let window = self.traffic(client, requests, |marks| &mut marks.quiet).await?;
        let done = self.look(1, window).await?;
        check(done.run.report.verdict == Verdict::Stable, "traffic like the reference is stable")?;
        check(done.alert.is_none(), "stable traffic opens no alert")?;
        self.note("verdict", summary(&done.run.report));
        self.end("quiet traffic")
    }

    async fn launch(&mut self, client: &Client) -> Outcome<()> {
        let rows = self.eras.launch.len();
        let heading = format!("Fibre is launched: {rows} customers of a new kind");
        if self.is_over("launch", &heading) {
            return Ok(());
        }
        let requests = self.customers.requests("launch", &self.eras.launch);
        let window = self.traffic(client, requests.clone(), |marks| &mut marks.launch).await?;
        let done = self.look(1, window).await?;
        let report = &done.run.report;
        say!("{report}");
        check(report.verdict == Verdict::Drift, "the launch is drift")?;
        for name in ["internet_service", "monthly_charges"] {
            let claim = format!("{name} has drifted");
            check(report.drifted().any(|feature| feature.name == name), &claim)?;
        }
        check(report.drifted().count() >= 10, "at least ten features have drifted")?;
        check(done.alert.is_some(), "drift opens an alert")?;
        self.note("verdict", summary(report));
        let churn = 100.0 * self.customers.churn(&self.eras.launch);
        self.note("churn among them, known later", format!("{churn:.1} %"));
        client.outcomes(&requests).await?;
        self.end("launch")
    }

    async fn challenger(&mut self, server: &Server) -> Outcome<()> {
        if self.is_over("challenger", "A challenger, on the customers of the launch") {
            return Ok(());
        }
        let already = self.state.registry.resolve(&self.state.model, &self.state.alias).await?;
        if already == Some(VersionId::FIRST) {
            // Customers keep coming while the model is changed.
            let traffic = Background::start(&server.client, &self.customers, &self.eras.launch);
            let promoted = self.promote(server).await;
            let answers = traffic.stop().await?;
            promoted?;
            let before = answers.iter().filter(|answer| answer.model_version == "1").count();
            check(before > 0 && before < answers.len(), "both versions answered during the swap")?;
            let text = format!("{before} by v1, {} by v2, none failed", answers.len() - before);
            self.note("answers while v1 was swapped for v2", text);
        } else {
            // It was killed after the promotion.
            self.finish_run().await?;
            server.client.reload().await?;
        }
        self.in_production(2).await?;
        let next = self.customers.requests("next answer", &self.eras.launch[..1]);
        let answer =
            server.client.predict(&Request { id: Uuid::now_v7(), ..next[0].clone() }).await?;
        check(answer.model_version == "2", "the next answer is version 2's")?;
        check((0.0..=1.0).contains(&answer.probability), "the answer is a probability")?;
        let open = self.state.ledger.open_alerts(&self.state.model).await?;
        check(open.is_empty(), "the promotion has answered the alert")?;
        self.end("challenger")
    }

    async fn promote(&mut self, server: &Server) -> Outcome<()> {
        let done = self.retrain(Trigger::Drift, true).await?;
        check(done.promoted().map(VersionId::number) == Some(2), "the challenger is promoted")?;
        let record = done.decision.and_then(|decision| decision.record);
        let record = record.ok_or("the decision has no record")?;
        let difference = record.differences.iter().find(|d| d.metric() == Metric::RocAuc);
        let difference = difference.ok_or("the record has no ROC-AUC")?;
        check(difference.lower() > 0.0, "the interval of the improvement lies above 0")?;
        let (old, new) = (difference.champion(), difference.challenger());
        let (low, high) = (difference.lower(), difference.upper());
        let rows = difference.rows();
        self.note(
            "ROC-AUC on the same unseen rows",
            format!("v1 {old:.4}, v2 {new:.4}, difference {low:+.4} to {high:+.4} ({rows} rows)"),
        );
        let reloaded = server.client.reload().await?;
        let versions =
            (reloaded["previous_version"].as_str(), reloaded["current_version"].as_str());
        check(versions == (Some("1"), Some("2")), "the reload brings version 2")
    }

    async fn after(&mut self, client: &Client) -> Outcome<()> {
        let rows = self.eras.after.len();
        let heading = format!("{rows} more customers, served by v2 and compared with its profile");
        if self.is_over("after", &heading) {
            return Ok(());
        }
        let requests = self.customers.requests("after", &self.eras.after);
        let window = self.traffic(client, requests, |marks| &mut marks.after).await?;
        let done = self.look(2, window).await?;
        check(
            done.run.report.verdict == Verdict::Stable,
            "v2's traffic is stable against its profile",
        )?;
        check(done.alert.is_none(), "no second retraining is asked for")?;
        self.note("verdict", summary(&done.run.report));
        self.end("after")
    }

    async fn nothing_new(&mut self) -> Outcome<()> {
        if self.is_over("nothing new", "Retraining on unchanged data") {
            return Ok(());
        }
        let done = self.retrain(Trigger::Manual, false).await?;
        let why = done.run.message.clone().unwrap_or_default();
        check(done.run.state == RunState::Skipped, "the run is skipped")?;
        check(why.contains("NoNewData"), "because there is no new data")?;
        self.note("retraining on the same rows", why);
        self.end("nothing new")
    }

    async fn not_better(&mut self, client: &Client) -> Outcome<()> {
        if self.is_over("not better", "Retraining on new data without a gain") {
            return Ok(());
        }
        client.outcomes(&self.customers.requests("after", &self.eras.after)).await?;
        let done = self.retrain(Trigger::Manual, false).await?;
        let decision = done.decision.ok_or("the run led to no decision")?;
        check(!decision.promoted, "a challenger that is hardly better is rejected")?;
        check(!decision.reason.is_empty(), "the reason is on record")?;
        self.in_production(2).await?;
        self.note("the next challenger", decision.reason);
        self.end("not better")
    }

    async fn back_and_forth(&mut self, client: &Client) -> Outcome<()> {
        if self.is_over("rollback", "Rollback to v1, and back to v2") {
            return Ok(());
        }
        let promotion = self.state.promotion();
        let now = promotion.champion(&self.state.model).await?.map(VersionId::number);
        if now == Some(2) {
            let back = promotion.rollback(&self.state.model, "a rehearsal").await?;
            check(back.state == DecisionState::Done, "the rollback is done")?;
            self.in_production(1).await?;
            let reloaded = client.reload().await?;
            check(reloaded["current_version"] == "1", "version 1 serves again")?;
        }
        let second = VersionId::new(2).ok_or("2 is a version")?;
        let forth = promotion.restore(&self.state.model, second, "end of the rehearsal").await?;
        check(forth.state == DecisionState::Done, "version 2 is restored")?;
        client.reload().await?;
        self.in_production(2).await?;
        self.note("rollback", "v2 -> v1 -> v2, each on record".to_owned());
        self.end("rollback")
    }

    /// Sends what has not arrived before, and returns the window of all of it: from its first
    /// event to its last, by the clock that stamped them.
    async fn traffic(
        &mut self,
        client: &Client,
        requests: Vec<Request>,
        span: impl Fn(&mut Marks) -> &mut Option<Window>,
    ) -> Outcome<Window> {
        if let Some(window) = span(&mut self.marks) {
            return Ok(*window);
        }
        let ids: HashSet<Uuid> = requests.iter().map(|request| request.id).collect();
        let logged = self.logged().await?;
        // In two halves, so that the older half of the log is the first half of the customers
        // whatever order requests in flight are answered in.
        for half in requests.chunks(requests.len().div_ceil(2)) {
            let left = half.iter().filter(|r| !logged.contains_key(&r.id)).cloned().collect();
            client.send("sending requests", left, Duration::ZERO).await?;
        }
        let logged = self.logged().await?;
        let times = || logged.iter().filter(|(id, _)| ids.contains(id)).map(|(_, at)| *at);
        let (first, last) = times().min().zip(times().max()).ok_or("no request is in the log")?;
        // The window is half-open, so it ends a microsecond after its last event.
        let window = Window::new(first, last.saturating_add(Duration::from_micros(1)))?;
        *span(&mut self.marks) = Some(window);
        self.save()?;
        Ok(window)
    }

    /// When each request was answered, by the log; each is there once.
    async fn logged(&self) -> Outcome<HashMap<Uuid, Timestamp>> {
        let hour = Duration::from_secs(3600);
        let window =
            Window::new(Timestamp::EPOCH, self.state.log.now().await?.saturating_add(hour))?;
        let (mut times, mut cursor) = (HashMap::new(), None);
        loop {
            let page = self.state.log.scan(&self.state.model, window, cursor, 5_000).await?;
            for logged in &page.items {
                let id = logged.event.request_id;
                let before = times.insert(id, logged.event.at);
                check(before.is_none(), &format!("request {id} is in the log once"))?;
            }
            cursor = page.next;
            if cursor.is_none() {
                return Ok(times);
            }
        }
    }

    /// The monitor's look at a window of one version.
    async fn look(&self, version: u64, window: Window) -> Outcome<MonitorRun> {
        let serving = self.version(version).await?;
        let monitor = self.state.monitor(self.settings)?;
        Ok(monitor.run(serving.name(), serving.version(), serving.profile(), window).await?)
    }

    async fn everything_is_in_the_log(&mut self) -> Outcome<()> {
        say!("\n== The log");
        let logged = self.logged().await?;
        let parts = [
            ("quiet", &self.eras.quiet),
            ("launch", &self.eras.launch),
            ("after", &self.eras.after),
        ];
        let mut sent = 0;
        for (part, rows) in parts {
            for request in self.customers.requests(part, rows) {
                let claim = format!("request {} of {part} is in the log", request.id);
                check(logged.contains_key(&request.id), &claim)?;
                sent += 1;
            }
        }
        self.note("answered predictions in the log", format!("all {sent}, each once"));
        Ok(())
    }

    fn print(&self, took: Duration) {
        say!("\n== In short ({:.1} s)", took.as_secs_f64());
        for Line { what, found } in &self.lines {
            say!("   {what:36} {found}");
        }
        say!("   version 2 was promoted and serves; every claim above was checked");
    }
}

/// One line about a report.
fn summary(report: &DriftReport) -> String {
    let psi = report.max_psi().unwrap_or(f64::NAN);
    let (drifted, all) = (report.drifted().count(), report.features.len());
    let verdict = report.verdict.headline();
    format!(
        "{verdict}: {drifted} of {all} features, largest PSI {psi:.4}, {} rows",
        report.current_rows
    )
}

fn read_marks(path: &Path) -> Outcome<Marks> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes)?),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Marks::default()),
        Err(error) => Err(format!("cannot read {}: {error}", path.display()).into()),
    }
}

/// The service on a free port of this machine.
struct Server {
    client: Client,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Outcome<()>>,
}

impl Server {
    async fn start(state: &State, settings: &Settings) -> Outcome<Self> {
        let service: Service = service(state, settings, None).await?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let base = format!("http://{}", listener.local_addr()?);
        say!("\nserving on {base}");
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            let account = service.serve(listener, async { drop(stopped.await) }).await?;
            check(account.lost == 0, "no answered prediction is lost on the way out")
        });
        let client = Client::new(base, settings.token())?;
        Ok(Self { client, stop, task })
    }

    /// Stops it in good order.
    async fn stop(self) -> Outcome<()> {
        let _ = self.stop.send(());
        self.task.await?
    }
}

/// Customers who ask while something else goes on.
struct Background {
    stop: Arc<AtomicBool>,
    task: JoinHandle<Outcome<Vec<Answer>>>,
}

impl Background {
    fn start(client: &Client, customers: &Customers, rows: &[usize]) -> Self {
        let requests = customers.requests("background", rows);
        let (client, stop) = (client.clone(), Arc::new(AtomicBool::new(false)));
        let stopped = Arc::clone(&stop);
        let task = tokio::spawn(async move {
            let mut answers: Vec<Answer> = Vec::new();
            for request in requests.iter().cycle() {
                // One more after the end, so that the new version has answered here too.
                let last = stopped.load(Ordering::Acquire);
                let request = Request { id: Uuid::now_v7(), ..request.clone() };
                answers.push(client.predict(&request).await?);
                if last {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            Ok(answers)
        });
        Self { stop, task }
    }

    async fn stop(self) -> Outcome<Vec<Answer>> {
        self.stop.store(true, Ordering::Release);
        self.task.await?
    }
}
