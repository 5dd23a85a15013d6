//! Logs to stderr, and traces to a collector where one is named.

use std::io::IsTerminal;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Level;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, Registry};

use crate::settings::{LogLevel, Settings};
use crate::{Outcome, data};

/// What the process tells about itself.
pub(crate) struct Telemetry {
    // none: no collector was named
    traces: Option<SdkTracerProvider>,
}

impl Telemetry {
    /// Begins to tell, as the settings say.
    pub(crate) fn start(settings: &Settings) -> Outcome<Self> {
        let level = match settings.log_level {
            LogLevel::Error => Level::ERROR,
            LogLevel::Warn => Level::WARN,
            LogLevel::Info => Level::INFO,
            LogLevel::Debug => Level::DEBUG,
            LogLevel::Trace => Level::TRACE,
        };
        let logs = tracing_subscriber::fmt::layer()
            .with_ansi(std::io::stderr().is_terminal())
            .with_writer(std::io::stderr);
        let logs = if settings.log_json { logs.json().boxed() } else { logs.boxed() };
        let mut layers = vec![logs.with_filter(LevelFilter::from_level(level)).boxed()];
        // The SDK leaves this one to the program.
        let off =
            std::env::var("OTEL_SDK_DISABLED").is_ok_and(|it| it.eq_ignore_ascii_case("true"));
        let traces = settings.traces()?.filter(|_| !off).map(provider).transpose()?;
        if let Some(traces) = &traces {
            let layer = tracing_opentelemetry::layer().with_tracer(traces.tracer("pmmds"));
            // The exporter's own requests are no part of a trace.
            let ours = Targets::new().with_target("pmmds", Level::INFO);
            layers.push(layer.with_filter(ours).boxed());
        }
        Registry::default().with(layers).init();
        Ok(Self { traces })
    }

    /// Sends what is not sent yet, for a few seconds at most.
    pub(crate) fn end(self) {
        if let Some(Err(error)) = self.traces.map(|traces| traces.shutdown()) {
            tracing::warn!(%error, "the last traces could not be sent");
        }
    }
}

/// A tracer whose spans are sent to `endpoint` in the background.
fn provider(endpoint: reqwest::Url) -> Outcome<SdkTracerProvider> {
    // The exporter makes a client of its own, which wants TLS to be provided.
    data::provide_tls();
    let exporter = SpanExporter::builder().with_http().with_endpoint(endpoint.as_str()).build()?;
    let mut resource = Resource::builder();
    if std::env::var_os("OTEL_SERVICE_NAME").is_none() {
        resource = resource.with_service_name("pmmds");
    }
    let provider = SdkTracerProvider::builder().with_batch_exporter(exporter);
    Ok(provider.with_resource(resource.build()).build())
}
