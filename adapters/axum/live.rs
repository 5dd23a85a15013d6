//! `GET /api/v1/drift/live`: the drift of this moment, from the counters of this process.

use std::sync::Arc;

use ::axum::Json;
use ::axum::extract::State as Shared;
use serde::Serialize;

use super::loaded::Loaded;
use super::problem::Problem;
use super::state::{Inner, State};
use crate::drift::{DriftReport, LiveSnapshot};
use crate::registry::{ModelName, VersionId};
use crate::{Timestamp, Window};

/// What the traffic that this process has answered looks like now, compared with the profile of the
/// version in service: the answer of `GET /api/v1/drift/live`.
///
/// Counting starts anew when another version comes into service. Other replicas have counters of
/// their own; what all of them have answered is in the log.
///
/// ```
/// # fn show(service: &pmmds::axum::Service) {
/// if let Some(live) = service.live_report() {
///     println!("version {}, {}:\n{}", live.model_version, live.window, live.report);
///     if !live.whole {
///         println!("only from {} on", live.covered_from);
///     }
/// }
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct LiveReport {
    /// name of the model
    pub model_name: ModelName,
    /// the version in service
    pub model_version: VersionId,
    /// when it was made, by the log's clock
    pub at: Timestamp,
    /// the window, the end of which is still to come
    pub window: Window,
    /// from when on everything in the window was counted
    pub covered_from: Timestamp,
    /// whether that is the whole window up to now
    pub whole: bool,
    /// events, since the version came into service, that came too late to be in any window
    pub late: u64,
    /// what the detector found
    pub report: DriftReport,
}

impl Inner {
    /// The report of `model` at this moment.
    pub(super) fn live_report(&self, model: &Loaded) -> LiveReport {
        let at = self.clock.now();
        let snapshot = model.live.snapshot(at);
        let whole = snapshot.is_whole();
        let LiveSnapshot { counts, window, covered_from, late, .. } = snapshot;
        LiveReport {
            model_name: model.model.name().clone(),
            model_version: model.model.version(),
            at,
            window,
            covered_from,
            whole,
            late,
            report: self.detector.detect(model.model.profile(), &counts),
        }
    }
}

/// The report of `model` at this moment. One at a time, however many ask; it takes a thread for as
/// long as a verdict takes.
pub(super) async fn report(state: &State, model: Arc<Loaded>) -> Result<LiveReport, Problem> {
    let turn = Arc::clone(&state.live_turn).lock_owned().await;
    let state = state.clone();
    let work = tokio::task::spawn_blocking(move || {
        let report = state.live_report(&model);
        drop(turn);
        report
    });
    super::joined(work).await
}

pub(super) async fn latest(Shared(state): Shared<State>) -> Result<Json<LiveReport>, Problem> {
    let model = state.model()?;
    report(&state, model).await.map(Json)
}
