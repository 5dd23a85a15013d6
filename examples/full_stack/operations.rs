//! What operators start over HTTP, and what every look of the monitor ends with.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pmmds::axum::{JobEnd, Operations, SkewAlerts};
use pmmds::ledger::Trigger;
use pmmds::lifecycle::{
    Delivery, Monitor, MonitorRun, RetrainRequest, Retrained, ServingModel, open_drift_alert,
};
use pmmds::model::Progress;
use pmmds::{Error, ErrorKind, Window};

use crate::Outcome;
use crate::commands::{newest_half, retraining};
use crate::origin::to_train_on;
use crate::settings::Settings;
use crate::state::{State, WRITER};
use crate::telco::Customers;

/// The monitor's look at `window` of the traffic of `serving`; whoever has to hear of it does.
pub(crate) async fn look(
    state: &State,
    settings: &Settings,
    monitor: &Monitor,
    serving: &ServingModel,
    window: Window,
) -> Outcome<MonitorRun> {
    let _lock = state.lock("monitor.lock")?;
    let delivery = delivery(state, settings)?;
    let done = monitor.run(serving.name(), serving.version(), serving.profile(), window).await?;
    if let Some(delivery) = delivery
        && let Some(why) = delivery.untold(&state.model).await
    {
        tracing::warn!(why, "not every alert is delivered");
    }
    upkeep(state).await;
    Ok(done)
}

/// Whoever looks sees to the log as well: where nobody serves, nobody else does.
pub(crate) async fn upkeep(state: &State) {
    let Some(postgres) = &state.postgres else { return };
    match postgres.maintain().await {
        Ok(done) if done.rows_in_default > 0 => {
            tracing::warn!(events = done.rows_in_default, "events of days without a partition");
        }
        Ok(_) => {}
        Err(error) => {
            let error = error.chain();
            tracing::warn!(error, "the log could not be seen to");
        }
    }
}

/// How receivers hear of alerts, where there are any.
pub(crate) fn delivery(state: &State, settings: &Settings) -> Outcome<Option<Delivery>> {
    let Some(sink) = settings.webhook()? else { return Ok(None) };
    let delivery = Delivery::new(state.log(), state.ledger(), state.owner.clone());
    Ok(Some(delivery.sink(Arc::new(sink))))
}

/// Alerts about a service that serves another version than the alias names.
pub(crate) fn skew_alerts(state: &State, settings: &Settings) -> Outcome<SkewAlerts> {
    let name = settings.instance.clone().unwrap_or_else(|| {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        // Where the host says no name, that of the state folder.
        let host = Some(host.trim()).filter(|host| !host.is_empty()).unwrap_or(&state.owner);
        format!("{host}:{}", settings.port)
    });
    let alerts = SkewAlerts::new(name).after(Duration::from_secs(settings.version_skew_seconds));
    // It takes turns with the deliveries of the monitor, which is at work in the same process.
    Ok(match delivery(&state.of_this_process(), settings)? {
        Some(delivery) => alerts.delivery(delivery),
        None => alerts,
    })
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
    let alert = match state.registry.resolve(&state.model, &state.alias).await? {
        Some(version) => open_drift_alert(&*state.ledger, &state.model, version).await?,
        None => None,
    };
    if alert.is_none() && !force {
        return Ok(None);
    }
    let customers = Customers::read(&to_train_on(settings, state).await?)?;
    let (known, trainer) = (customers.training(), customers.origin.trainer(state));
    let request = RetrainRequest {
        model: &state.model,
        trigger: if force { Trigger::Manual } else { Trigger::Drift },
        alert: if force { None } else { alert.as_ref() },
        reference: &known,
    };
    Ok(Some(retraining(state, trainer, newest_half()).run(&request, progress).await?))
}

/// The flows of this folder, for the service.
#[derive(Debug)]
pub(crate) struct Flows {
    pub(crate) state: State,
    pub(crate) settings: Settings,
}

/// An error of the crate as it is, and any other in its words.
pub(crate) fn failed(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    match error.into().downcast::<Error>() {
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
        let window = monitor.window(settings.window()).await?;
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
