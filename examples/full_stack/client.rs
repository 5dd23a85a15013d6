//! A client of the service, over real HTTP.

use std::collections::BTreeMap;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use reqwest::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::Outcome;
use crate::data::client_builder;
use crate::telco::Request;

/// Requests in flight at a time.
const CONCURRENCY: usize = 16;

/// Outcomes of one request.
const OUTCOMES: usize = 500;

/// What the service answered to a prediction.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Answer {
    pub(crate) request_id: Uuid,
    pub(crate) probability: f64,
    pub(crate) model_version: String,
}

/// A connection pool to one service.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    base: String,
    token: Option<String>,
    http: reqwest::Client,
}

impl Client {
    pub(crate) fn new(base: impl Into<String>, token: Option<String>) -> Outcome<Self> {
        let http = client_builder().no_proxy().timeout(Duration::from_secs(30)).build()?;
        Ok(Self { base: base.into(), token, http })
    }

    /// One prediction; an answer other than 200 is an error that holds it.
    pub(crate) async fn predict(&self, request: &Request) -> Outcome<Answer> {
        // The features are JSON already; nothing in between may change a digit of them.
        let body =
            format!("{{\"request_id\":\"{}\",\"features\":{}}}", request.id, request.features);
        let answer = self
            .http
            .post(format!("{}/api/v1/predict", self.base))
            .header("content-type", "application/json")
            .body(body)
            .send()
            .await?;
        let status = answer.status();
        let text = answer.text().await?;
        if status != StatusCode::OK {
            return Err(format!("predict answered {status}: {text}").into());
        }
        let answer: Answer = serde_json::from_str(&text)?;
        if answer.request_id != request.id {
            return Err(format!("{} was answered as {}", request.id, answer.request_id).into());
        }
        Ok(answer)
    }

    /// Sends all requests, some at a time, and returns how many answers each version gave.
    pub(crate) async fn send(
        &self,
        what: &'static str,
        requests: Vec<Request>,
        delay: Duration,
    ) -> Outcome<BTreeMap<String, u64>> {
        let bar = progress_bar(what, requests.len());
        let mut by_version: BTreeMap<String, u64> = BTreeMap::new();
        let mut flying = JoinSet::new();
        let mut left = requests.into_iter();
        loop {
            while flying.len() < CONCURRENCY
                && let Some(request) = left.next()
            {
                let client = self.clone();
                flying.spawn(async move { client.predict(&request).await });
                tokio::time::sleep(delay).await;
            }
            let Some(answer) = flying.join_next().await else {
                bar.finish_and_clear();
                return Ok(by_version);
            };
            *by_version.entry(answer??.model_version).or_default() += 1;
            bar.inc(1);
        }
    }

    /// Tells the service what really happened.
    pub(crate) async fn outcomes(&self, requests: &[Request]) -> Outcome<()> {
        for part in requests.chunks(OUTCOMES) {
            let outcomes: Vec<Value> = part
                .iter()
                .map(|r| json!({"request_id": r.id, "outcome": u8::from(r.churned)}))
                .collect();
            self.post("/api/v1/outcomes", &Value::from(outcomes)).await?;
        }
        Ok(())
    }

    /// Asks the service to load what is in production.
    pub(crate) async fn reload(&self) -> Outcome<Value> {
        self.post("/model/reload", &json!({})).await
    }

    async fn post(&self, path: &str, body: &Value) -> Outcome<Value> {
        let mut request = self.http.post(format!("{}{path}", self.base)).json(body);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let answer = request.send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        if !status.is_success() {
            return Err(format!("{path} answered {status}: {text}").into());
        }
        Ok(serde_json::from_str(&text)?)
    }
}

/// A bar on stderr, where that is a terminal.
pub(crate) fn progress_bar(what: &'static str, steps: usize) -> ProgressBar {
    let bar = ProgressBar::new(steps as u64).with_message(what);
    let style = ProgressStyle::with_template("  {msg:28} {bar:30} {pos}/{len} {elapsed}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}
