//! The clock, and MLflow's own names in the environment.

#![expect(
    clippy::disallowed_methods,
    reason = "runs begin and end by the clock; the environment is read when it is asked for"
)]

use std::ffi::OsString;
use std::time::SystemTime;

use super::{COMPONENT, MlflowBuilder};
use crate::{Error, ErrorKind, Timestamp};

/// The system's clock; 1970 before 1970.
pub(super) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::EPOCH.saturating_add(since)
}

/// Reads the environment of this process.
pub(super) fn of_process(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

fn invalid(context: String) -> Error {
    Error::new(ErrorKind::InvalidInput, COMPONENT, context)
}

/// The text of `name`, without white space around it, such as the line break at the end of a
/// mounted secret; `None` where it is empty.
fn text(get: &impl Fn(&str) -> Option<OsString>, name: &str) -> Result<Option<String>, Error> {
    let Some(value) = get(name) else { return Ok(None) };
    let value = value.into_string().map_err(|_| invalid(format!("{name} is not UTF-8")))?;
    let trimmed = value.trim();
    if trimmed.len() != value.len() {
        tracing::warn!("{name} has white space around it, which is ignored");
    }
    Ok((!trimmed.is_empty()).then(|| trimmed.to_owned()))
}

/// The server that `MLFLOW_TRACKING_URI` names.
pub(super) fn server(get: &impl Fn(&str) -> Option<OsString>) -> Result<MlflowBuilder, Error> {
    let uri = text(get, "MLFLOW_TRACKING_URI")?;
    let uri = uri.ok_or_else(|| invalid("MLFLOW_TRACKING_URI is not set".to_owned()))?;
    options(MlflowBuilder::new(uri), get)
}

/// What else MLflow reads of the environment.
pub(super) fn options(
    mut builder: MlflowBuilder,
    get: &impl Fn(&str) -> Option<OsString>,
) -> Result<MlflowBuilder, Error> {
    let text = |name: &str| text(get, name);
    if let Some(value) = text("MLFLOW_TRACKING_INSECURE_TLS")?
        && !matches!(value.to_ascii_lowercase().as_str(), "false" | "0")
    {
        return Err(invalid(
            "MLFLOW_TRACKING_INSECURE_TLS is set, and certificates are always checked here: name \
             the one to trust in MLFLOW_TRACKING_SERVER_CERT_PATH"
                .to_owned(),
        ));
    }
    let names = ["MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"];
    let [user, password, token] = names.map(text);
    builder = match (user?, password?, token?) {
        (None, None, None) => builder,
        (Some(user), Some(password), None) => builder.password(user, password),
        (None, None, Some(token)) => builder.token(token),
        _ => {
            return Err(invalid(
                "set either MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or \
                 MLFLOW_TRACKING_TOKEN"
                    .to_owned(),
            ));
        }
    };
    if let Some(path) = text("MLFLOW_TRACKING_SERVER_CERT_PATH")? {
        builder = builder.server_certificates(path);
    }
    if let Some(path) = text("MLFLOW_TRACKING_CLIENT_CERT_PATH")? {
        builder = builder.client_certificate(path);
    }
    if let Some(name) = text("MLFLOW_EXPERIMENT_NAME")? {
        builder = builder.experiment(name);
    }
    Ok(builder)
}
