//! What operators start over HTTP, and what every look of the monitor ends with.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pmmds::axum::{JobEnd, Operations};
use pmmds::ledger::Trigger;
use pmmds::lifecycle::{Delivery, Monitor, MonitorRun, RetrainRequest, Retrained, ServingModel};
use pmmds::model::Progress;
use pmmds::webhook::Webhook;
use pmmds::{Error, ErrorKind, Window};

use crate::Outcome;
use crate::commands::{customers, newest_half, retraining};
use crate::settings::Settings;
use crate::state::{State, WRITER};

/// The monitor's look at `window` of the traffic of `serving`; whoever has to hear of it does.
pub(crate) async fn look(
    state: &State,
    settings: &Settings,
    monitor: &Monitor,
    serving: &ServingModel,
    window: Window,
) -> Outcome<MonitorRun> {
    let _lock = state.lock("monitor.lock")?;
    let done = monitor.run(serving.name(), serving.version(), serving.profile(), window).await?;
    if let Some(delivery) = delivery(state, settings)? {
        let told = delivery.run(&state.model).await?;
        if told.pending + told.dead > 0 {
            tracing::warn!(told.pending, told.dead, "alerts could not be delivered");
        }
    }
    Ok(done)
}

/// How receivers hear of alerts, where there are any.
pub(crate) fn delivery(state: &State, settings: &Settings) -> Outcome<Option<Delivery>> {
    let Some(url) = &settings.alert_webhook_url else { return Ok(None) };
    let sink = Webhook::new("webhook", url.reveal()).shape(settings.alert_webhook_shape.into());
    let delivery = Delivery::new(state.log(), state.ledger(), state.owner.clone());
    Ok(Some(delivery.sink(Arc::new(sink.build()?))))
}

/// Retrains for the open drift alert, or with `force` without one; `None` where nothing asks for
/// it.
pub(crate) async fn retrain(
    state: &State,
    settings: &Settings,
    force: bool,
    progress: &dyn Progress,
) -> Outcome<Option<Retrained>> {
    let _lock = state.lock(WRITER)?;
    let alerts = state.ledger.open_alerts(&state.model).await?;
    let alert = alerts.iter().find(|alert| alert.key == "drift");
    if alert.is_none() && !force {
        return Ok(None);
    }
    let customers = customers(settings).await?;
    let known = customers.all.select(&customers.known());
    let request = RetrainRequest {
        model: &state.model,
        trigger: if force { Trigger::Manual } else { Trigger::Drift },
        alert: if force { None } else { alert },
        reference: &known,
    };
    Ok(Some(retraining(state, newest_half()).run(&request, progress).await?))
}

/// The flows of this folder, for the service.
#[derive(Debug)]
pub(crate) struct Flows {
    pub(crate) state: State,
    pub(crate) settings: Settings,
}

fn failed(error: Box<dyn std::error::Error + Send + Sync>) -> Error {
    match error.downcast::<Error>() {
        Ok(error) => *error,
        Err(error) => Error::new(ErrorKind::Other, "full_stack", error.to_string()),
    }
}

#[async_trait]
impl Operations for Flows {
    async fn monitor(&self) -> Result<JobEnd, Error> {
        let Self { state, settings } = self;
        let Some(serving) = state.production().await.map_err(failed)? else {
            return Err(Error::new(ErrorKind::NotFound, "full_stack", "nothing is in production"));
        };
        let monitor = state.monitor(settings).map_err(failed)?;
        let hours = Duration::from_secs(settings.window_hours * 3600);
        let window = Window::before(state.log.now().await?, hours).map_err(|e| failed(e.into()))?;
        let done = look(state, settings, &monitor, &serving, window).await.map_err(failed)?;
        Ok(JobEnd::new(done.run.report.verdict.headline()).run(done.run.id))
    }

    async fn retrain(&self, force: bool) -> Result<JobEnd, Error> {
        let done = retrain(&self.state, &self.settings, force, &()).await.map_err(failed)?;
        let Some(Retrained { run, decision, .. }) = done else {
            return Ok(JobEnd::new("no open drift alert, so nothing to do"));
        };
        let reason = decision.map(|decision| decision.reason).or(run.message);
        Ok(JobEnd::new(reason.unwrap_or_else(|| run.state.as_str().to_owned())).run(run.id))
    }
}
