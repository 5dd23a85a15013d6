//! What can be set, from the command line or from the environment of the original system.

use std::convert::Infallible;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use pmmds::drift::DriftSettings;
use pmmds::linfa::{AdaBoost, LogisticRegression};
use pmmds::mlflow::MlflowRegistry;
use pmmds::model::Trainer;
use pmmds::postgres::{PostgresStore, PostgresStoreBuilder};
use pmmds::registry::{Alias, ModelName};
use pmmds::webhook::{Shape, Webhook, WebhookSink};
use sqlx::postgres::PgConnectOptions;

use crate::Outcome;

/// A value that is shown to nobody.
#[derive(Clone)]
pub(crate) struct Secret(String);

impl Secret {
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl FromStr for Secret {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

/// Settings of every subcommand.
#[derive(Debug, Clone, Args)]
pub(crate) struct Settings {
    /// A Telco CSV file to use instead of the download; to train on, instead of what production was
    /// trained on
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) data: Option<PathBuf>,

    /// Folder for registry, database and download [default: .pmmds; for the story a fresh one]
    #[arg(long, value_name = "DIR", global = true)]
    pub(crate) state: Option<PathBuf>,

    /// Folder of the registry, for services that share one [default: registry in the state folder]
    #[arg(long, value_name = "DIR", global = true)]
    pub(crate) registry: Option<PathBuf>,

    /// MLflow server for models and runs, such as http://mlflow:5000. Its credentials come from
    /// MLFLOW_TRACKING_USERNAME and _PASSWORD, or _TOKEN [default: MLFLOW_TRACKING_URI, and without
    /// it the folder of the registry]
    #[arg(
        long,
        env = "PMMDS_MLFLOW_TRACKING_URI",
        hide_env_values = true,
        value_name = "URI",
        global = true
    )]
    pub(crate) mlflow_uri: Option<String>,

    /// Whether a service keeps the version that it has loaded from MLflow last in the state folder,
    /// and starts with it while MLflow is away
    #[arg(long, env = "PMMDS_MODEL_CACHE", default_value_t = true,
          action = clap::ArgAction::Set, global = true)]
    pub(crate) model_cache: bool,

    /// Name of this service among all that serve the model [default: the name of the machine and the
    /// port]
    #[arg(long, env = "PMMDS_INSTANCE", value_name = "NAME", global = true)]
    pub(crate) instance: Option<String>,

    /// PostgreSQL database for log and ledger, such as postgres://user:password@host/name
    /// [default: an SQLite file in the folder]
    #[arg(
        long,
        env = "PMMDS_DATABASE_URL",
        hide_env_values = true,
        value_name = "URL",
        global = true
    )]
    pub(crate) database_url: Option<Secret>,

    /// Host of the PostgreSQL database, instead of a URL; the options beside it are for this one
    #[arg(long, env = "PMMDS_DB_HOST", value_name = "HOST", global = true)]
    pub(crate) db_host: Option<String>,

    /// Port of the database [default: 5432]
    #[arg(long, env = "PMMDS_DB_PORT", value_name = "PORT",
          value_parser = clap::value_parser!(u16).range(1..), global = true)]
    pub(crate) db_port: Option<u16>,

    /// User of the database [default: pmmds]
    #[arg(long, env = "PMMDS_DB_USER", value_name = "USER", global = true)]
    pub(crate) db_user: Option<String>,

    /// Password of the database, as it is [default: pmmds]
    #[arg(
        long,
        env = "PMMDS_DB_PASSWORD",
        hide_env_values = true,
        value_name = "PASSWORD",
        global = true
    )]
    pub(crate) db_password: Option<Secret>,

    /// Name of the database [default: pmmds]
    #[arg(long, env = "PMMDS_DB_NAME", value_name = "NAME", global = true)]
    pub(crate) db_name: Option<String>,

    /// Bring the tables of an older release up to date
    #[arg(long, global = true)]
    pub(crate) migrate: bool,

    /// Address to listen on; other than a loopback one it takes an admin token
    #[arg(long, env = "PMMDS_API_HOST", default_value = "127.0.0.1", global = true)]
    pub(crate) host: IpAddr,

    /// Port to listen on
    #[arg(long, env = "PMMDS_API_PORT", default_value_t = 8000, global = true)]
    pub(crate) port: u16,

    /// Token of the admin routes, at least 32 characters
    #[arg(long, env = "PMMDS_ADMIN_TOKEN", hide_env_values = true, global = true)]
    pub(crate) admin_token: Option<Secret>,

    /// Where alerts are posted
    #[arg(
        long,
        env = "PMMDS_ALERT_WEBHOOK_URL",
        hide_env_values = true,
        value_name = "URL",
        global = true
    )]
    pub(crate) alert_webhook_url: Option<Secret>,

    /// What the receiver of alerts understands
    #[arg(
        long,
        env = "PMMDS_ALERT_WEBHOOK_SHAPE",
        value_enum,
        default_value = "json",
        global = true
    )]
    pub(crate) alert_webhook_shape: WebhookShape,

    /// Name of the model in the registry
    #[arg(long, env = "PMMDS_MODEL_NAME", default_value = "churn-classifier", global = true)]
    pub(crate) model_name: ModelName,

    /// Alias of the version in production
    #[arg(long, env = "PMMDS_MODEL_ALIAS", default_value = "production", global = true)]
    pub(crate) model_alias: Alias,

    /// What learns the models
    #[arg(long, value_enum, default_value = "logistic", global = true)]
    pub(crate) trainer: Learner,

    /// PSI from which a feature counts as drifted
    #[arg(long, env = "PMMDS_DRIFT_PSI_THRESHOLD", default_value_t = 0.2, global = true)]
    pub(crate) psi_threshold: f64,

    /// PSI from which predictions count as drifted
    #[arg(
        long,
        env = "PMMDS_DRIFT_PREDICTION_PSI_THRESHOLD",
        default_value_t = 0.2,
        global = true
    )]
    pub(crate) prediction_psi_threshold: f64,

    /// Drifted features that raise an alert, at most as many as there are
    #[arg(long, env = "PMMDS_DRIFT_MIN_DRIFT_FEATURES", default_value_t = 3, global = true)]
    pub(crate) min_drift_features: usize,

    /// Rows that it takes for a verdict
    #[arg(long, env = "PMMDS_DRIFT_MIN_SAMPLES_REQUIRED", default_value_t = 100, global = true)]
    pub(crate) min_samples: u64,

    /// Hours of traffic that the monitor looks at
    #[arg(long, env = "PMMDS_DRIFT_CURRENT_WINDOW_HOURS", default_value_t = 24,
          value_parser = clap::value_parser!(u64).range(1..=8760), global = true)]
    pub(crate) window_hours: u64,

    /// Seconds before now at which the window of the monitor ends, for rows that are logged late
    #[arg(long, env = "PMMDS_DRIFT_GRACE_SECONDS", default_value_t = 0,
          value_parser = clap::value_parser!(u64).range(..=86_400), global = true)]
    pub(crate) grace_seconds: u64,

    /// Whether the service monitors by itself
    #[arg(long, env = "PMMDS_DRIFT_ENABLE_SCHEDULED_MONITORING", default_value_t = true,
          action = clap::ArgAction::Set, global = true)]
    pub(crate) scheduled_monitoring: bool,

    /// Hours between two looks of the service
    #[arg(long, env = "PMMDS_DRIFT_MONITOR_INTERVAL_HOURS", default_value_t = 1,
          value_parser = clap::value_parser!(u64).range(1..=8760), global = true)]
    pub(crate) monitor_interval_hours: u64,

    /// What scheduled monitoring does about a drift alert
    #[arg(long, env = "PMMDS_ON_DRIFT", value_enum, default_value = "retrain", global = true)]
    pub(crate) on_drift: Reaction,

    /// Whether alerts are opened
    #[arg(long, env = "PMMDS_DRIFT_ENABLE_ALERTS", default_value_t = true,
          action = clap::ArgAction::Set, global = true)]
    pub(crate) enable_alerts: bool,

    /// Whether drift of predictions alone opens an alert
    #[arg(long, env = "PMMDS_DRIFT_ALERT_ON_PREDICTION_DRIFT", default_value_t = true,
          action = clap::ArgAction::Set, global = true)]
    pub(crate) alert_on_prediction_drift: bool,

    /// When the service answers a prediction, and so what a crash can lose
    #[arg(long, env = "PMMDS_DURABILITY", value_enum, default_value = "committed", global = true)]
    pub(crate) durability: Durability,

    /// Seconds for which a service may serve another version than the alias names before an alert
    /// is opened
    #[arg(long, env = "PMMDS_VERSION_SKEW_SECONDS", default_value_t = 300,
          value_parser = clap::value_parser!(u64).range(1..=604_800), global = true)]
    pub(crate) version_skew_seconds: u64,

    /// What is logged to stderr
    #[arg(
        long,
        env = "PMMDS_LOG_LEVEL",
        default_value = "warn",
        ignore_case = true,
        global = true
    )]
    pub(crate) log_level: LogLevel,

    /// Whether logs are JSON lines
    #[arg(long, env = "PMMDS_LOG_JSON", default_value_t = false,
          action = clap::ArgAction::Set, global = true)]
    pub(crate) log_json: bool,

    /// Where traces of requests are sent, by OTLP over HTTP, such as http://localhost:4318;
    /// /v1/traces is added. Then these act too: OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES,
    /// OTEL_TRACES_SAMPLER and _ARG, OTEL_BSP_*, OTEL_SPAN_*_COUNT_LIMIT,
    /// OTEL_EXPORTER_OTLP_HEADERS and _TIMEOUT; OTEL_SDK_DISABLED=true sends none [default: nowhere]
    #[arg(
        long,
        env = "OTEL_EXPORTER_OTLP_ENDPOINT",
        hide_env_values = true,
        value_name = "URL",
        global = true
    )]
    pub(crate) otlp_endpoint: Option<String>,

    /// The same for traces alone: the whole URL, which wins
    #[arg(
        long,
        env = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        hide_env_values = true,
        value_name = "URL",
        global = true
    )]
    pub(crate) otlp_traces_endpoint: Option<String>,
}

/// The shape of posted alerts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum WebhookShape {
    /// An object with a field for everything
    Json,
    /// What Slack takes
    Slack,
}

impl From<WebhookShape> for Shape {
    fn from(shape: WebhookShape) -> Self {
        match shape {
            WebhookShape::Json => Self::Json,
            WebhookShape::Slack => Self::Slack,
        }
    }
}

/// The trainer of what is trained; models of either are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Learner {
    /// Logistic regression
    Logistic,
    /// Boosted stumps
    Adaboost,
}

impl Learner {
    pub(crate) fn trainer(self) -> Arc<dyn Trainer> {
        match self {
            Self::Logistic => Arc::new(LogisticRegression::default()),
            Self::Adaboost => Arc::new(AdaBoost::default()),
        }
    }
}

/// What is done about a drift alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Reaction {
    /// Train a challenger on the traffic, and promote it if it is better
    Retrain,
    /// Leave it to a person
    Tell,
}

/// When an answered prediction counts as kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Durability {
    /// Once it is in the database. A crash loses nothing; while the database is down, predictions
    /// answer 503
    Committed,
    /// Once it is in memory. A crash of the process loses what is there, at most 11,000 predictions
    Queued,
    /// Once it is in a file of the state folder, also while the database is down, and if it is when
    /// the service starts. A crash of the process loses nothing, one of the machine what was answered
    /// in the last 50 ms
    Spool,
    /// Once it is in that file and down on the disk. A crash loses nothing
    SpoolSync,
}

/// Least severity of what is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogLevel {
    Error,
    #[value(alias = "warning")]
    Warn,
    Info,
    Debug,
    Trace,
}

impl Settings {
    /// The token of the admin routes, to be sent.
    pub(crate) fn token(&self) -> Option<String> {
        self.admin_token.as_ref().map(|token| token.reveal().to_owned())
    }

    /// How much the monitor looks at.
    pub(crate) fn window(&self) -> Duration {
        Duration::from_secs(self.window_hours * 3600)
    }

    /// How long rows may be on their way to the log.
    pub(crate) fn grace(&self) -> Duration {
        Duration::from_secs(self.grace_seconds)
    }

    /// The thresholds of the detector; it refuses those that cannot be.
    pub(crate) fn drift(&self) -> DriftSettings {
        let mut drift = DriftSettings::default();
        drift.psi_threshold = self.psi_threshold;
        drift.prediction_psi_threshold = self.prediction_psi_threshold;
        drift.min_drift_features = self.min_drift_features;
        drift.min_rows = self.min_samples;
        drift
    }

    /// The MLflow server with its address, if one is named: here, or as MLflow's own clients name
    /// it. A folder that is named wins over what they would take.
    pub(crate) fn mlflow(&self) -> Outcome<Option<(MlflowRegistry, String)>> {
        let named = std::env::var("MLFLOW_TRACKING_URI").ok().filter(|uri| !uri.is_empty());
        let (builder, uri) = match (&self.mlflow_uri, named) {
            (Some(_), _) if self.registry.is_some() => {
                return Err("give either --registry or --mlflow-uri".into());
            }
            (Some(uri), _) => (MlflowRegistry::builder(uri).environment()?, uri.clone()),
            (None, Some(uri)) if self.registry.is_none() => (MlflowRegistry::from_env()?, uri),
            (None, _) => return Ok(None),
        };
        Ok(Some((builder.build()?, uri.trim_end_matches('/').to_owned())))
    }

    /// Where traces are sent, if anywhere: an empty endpoint is none, as OpenTelemetry has it.
    pub(crate) fn traces(&self) -> Outcome<Option<reqwest::Url>> {
        let said = |url: Option<&String>| url.filter(|url| !url.is_empty()).cloned();
        let whole = said(self.otlp_traces_endpoint.as_ref());
        let of_base = |base: String| format!("{}/v1/traces", base.trim_end_matches('/'));
        let url = whole.or_else(|| said(self.otlp_endpoint.as_ref()).map(of_base));
        let Some(url) = url else { return Ok(None) };
        let url = reqwest::Url::parse(&url).map_err(|error| format!("is no URL: {error}"))?;
        match url.scheme() {
            "http" | "https" => Ok(Some(url)),
            _ => Err("is neither http nor https: traces are sent by OTLP over HTTP".into()),
        }
    }

    /// The setting that says where traces are sent.
    pub(crate) fn traces_said_by(&self) -> &'static str {
        let whole = self.otlp_traces_endpoint.as_ref().is_some_and(|url| !url.is_empty());
        if whole { "otlp_traces_endpoint" } else { "otlp_endpoint" }
    }

    /// Where alerts are posted, if anywhere.
    pub(crate) fn webhook(&self) -> Outcome<Option<WebhookSink>> {
        let Some(url) = &self.alert_webhook_url else { return Ok(None) };
        let webhook = Webhook::new("webhook", url.reveal()).shape(self.alert_webhook_shape.into());
        Ok(Some(webhook.build()?))
    }

    /// The PostgreSQL database, if one is named: by its URL, which wins, or by its host.
    pub(crate) fn postgres(&self) -> Option<PostgresStoreBuilder> {
        /// Port, and what user, password and database are called, as in the original system.
        const USUAL: (u16, &str) = (5432, "pmmds");
        if let Some(url) = &self.database_url {
            return Some(PostgresStore::builder(url.reveal()));
        }
        let options = PgConnectOptions::new_without_pgpass()
            .host(self.db_host.as_deref()?)
            .port(self.db_port.unwrap_or(USUAL.0))
            .username(self.db_user.as_deref().unwrap_or(USUAL.1))
            .password(self.db_password.as_ref().map_or(USUAL.1, Secret::reveal))
            .database(self.db_name.as_deref().unwrap_or(USUAL.1));
        Some(PostgresStore::builder_with(options))
    }
}
