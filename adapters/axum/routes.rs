//! Which route is where.
//!
//! | part | routes |
//! |---|---|
//! | public | predict, health, the model in service, the document of the API |
//! | admin | reload, outcomes, runs of monitor and retraining, acknowledgement of alerts |
//! | ops | what operators look at: drift as it is now, what is on record, metrics |

use ::axum::Json;
use ::axum::Router;
use ::axum::extract::State as Shared;
use ::axum::middleware::from_fn_with_state;
use ::axum::routing::{get, post};
use tower_http::catch_panic::CatchPanicLayer;

use super::loaded::{ModelInfo, Reloaded};
#[cfg(feature = "mlflow-scoring")]
use super::mlflow_scoring;
#[cfg(feature = "oip")]
use super::oip;
use super::problem::{Problem, Wanted, not_found, panicked};
use super::state::State;
use super::{
    auth, batch, docs, envelope, health, idempotency, jobs, live, metrics, observations, openapi,
    outcomes, predict, records, shadow,
};

/// What clients of the model use.
pub(super) fn public(state: &State) -> Router {
    let routes = Router::new()
        .route("/api/v1/predict", post(predict::predict))
        .route("/api/v1/predict/batch", post(batch::predict))
        .route("/model", get(model))
        .route("/healthz", get(health::healthz))
        .route("/livez", get(health::livez))
        .route("/ready", get(health::ready))
        .route("/readyz", get(health::ready))
        .route("/openapi.json", get(openapi::serve))
        .route("/docs", get(docs::index))
        .route("/docs/", get(docs::index))
        .route("/docs/{file}", get(docs::asset));
    let routes = wrapped(routes, state);
    #[cfg(feature = "oip")]
    let routes = routes.merge(open_inference(state));
    #[cfg(feature = "mlflow-scoring")]
    let routes = routes.merge(mlflow_scoring(state));
    routes
}

/// The Open Inference Protocol.
#[cfg(feature = "oip")]
fn open_inference(state: &State) -> Router {
    let routes = Router::new()
        .route("/v2", get(oip::server))
        .route("/v2/health/live", get(oip::live))
        .route("/v2/health/ready", get(oip::ready))
        .route("/v2/models/{name}", get(oip::model))
        .route("/v2/models/{name}/ready", get(oip::model_ready))
        .route("/v2/models/{name}/infer", post(oip::infer))
        .route("/v2/models/{name}/versions/{version}", get(oip::model))
        .route("/v2/models/{name}/versions/{version}/ready", get(oip::model_ready))
        .route("/v2/models/{name}/versions/{version}/infer", post(oip::infer));
    wrapped_for(routes, state, Some(Wanted::OpenInference))
}

/// What `mlflow models serve` has.
#[cfg(feature = "mlflow-scoring")]
fn mlflow_scoring(state: &State) -> Router {
    let routes = Router::new()
        .route("/invocations", post(mlflow_scoring::invocations))
        .route("/ping", get(mlflow_scoring::ping))
        .route("/version", get(mlflow_scoring::version));
    wrapped_for(routes, state, Some(Wanted::Mlflow))
}

/// What steers the model: behind the token.
pub(super) fn admin(state: &State) -> Router {
    let routes = Router::new()
        .route("/api/v1/observations", post(observations::observe))
        .route("/api/v1/outcomes", post(outcomes::record))
        .route("/model/reload", post(reload))
        .route("/api/v1/drift/runs", post(jobs::run_monitor))
        .route("/api/v1/retrain", post(jobs::retrain))
        .route("/api/v1/jobs/{id}", get(jobs::job))
        .route("/api/v1/alerts/{id}/acknowledge", post(records::acknowledge))
        .route_layer(from_fn_with_state(state.clone(), idempotency::once))
        .route_layer(from_fn_with_state(state.clone(), auth::guard));
    wrapped(routes, state)
}

/// What operators look at.
pub(super) fn ops(state: &State) -> Router {
    let routes = Router::new()
        .route("/api/v1/drift/live", get(live::latest))
        .route("/api/v1/shadow", get(shadow::report))
        .route("/api/v1/drift/latest", get(records::latest_drift))
        .route("/api/v1/drift/runs", get(records::drift_runs))
        .route("/api/v1/drift/runs/{id}", get(records::drift_run))
        .route("/api/v1/alerts", get(records::alerts))
        .route("/api/v1/decisions", get(records::decisions))
        .route("/api/v1/retraining-runs", get(records::retraining_runs))
        .route("/metrics", get(metrics::text))
        .route("/metrics/json", get(metrics::json));
    wrapped(routes, state)
}

/// Everything.
pub(super) fn whole(state: &State) -> Router {
    public(state).merge(admin(state)).merge(ops(state))
}

/// Everything, and a 404 for the rest: a router that is served by itself. Mounted routers have no
/// fallback, which would take the place of the application's.
pub(super) fn alone(state: &State) -> Router {
    let nothing = Router::new().fallback(not_found);
    whole(state).fallback_service(wrapped(nothing, state))
}

/// The layers that every route has.
fn wrapped(routes: Router<State>, state: &State) -> Router {
    wrapped_for(routes, state, None)
}

/// The same for routes whose errors have one shape.
fn wrapped_for(routes: Router<State>, state: &State, shape: Option<Wanted>) -> Router {
    routes
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state((state.clone(), shape), envelope::envelope))
        .with_state(state.clone())
}

async fn model(Shared(state): Shared<State>) -> Result<Json<ModelInfo>, Problem> {
    Ok(Json(state.model()?.info.clone()))
}

async fn reload(Shared(state): Shared<State>) -> Result<Json<Reloaded>, Problem> {
    if let Some(shadow) = &state.shadow {
        shadow.reload();
    }
    match state.models.reload().await {
        Ok(reloaded) => Ok(Json(reloaded)),
        Err(error) => {
            tracing::error!(code = error.code(), reason = %error, "reload failed");
            Err(error.problem())
        }
    }
}
