//! Alerts by HTTP POST: generic JSON, or what Slack's incoming webhooks take.
//!
//! [`Webhook`] makes a [`WebhookSink`], an [`AlertSink`] for a
//! [`Delivery`](crate::lifecycle::Delivery).
//!
//! ```no_run
//! use std::sync::Arc;
//! use pmmds::lifecycle::Delivery;
//! use pmmds::webhook::{Shape, Webhook};
//! # use pmmds::{ledger::Ledger, log::InferenceLog};
//!
//! # async fn tell(
//! #     log: Arc<dyn InferenceLog>,
//! #     ledger: Arc<dyn Ledger>,
//! #     url: String,
//! # ) -> Result<(), Box<dyn std::error::Error>> {
//! let slack = Webhook::new("slack", url).shape(Shape::Slack).build()?;
//! let delivery = Delivery::new(log, ledger, "replica-1").sink(Arc::new(slack));
//! let told = delivery.run(&"churn-classifier".parse()?).await?; // after each look of the monitor
//! println!("{} delivered, {} to be tried again", told.delivered, told.pending);
//! # Ok(())
//! # }
//! ```
//!
//! # What is sent
//!
//! [`Shape::Json`]: an object with `version` (1), `event` (`opened` or `resolved`), `dedup_key` (the
//! same for everything about one alert), `model`, `model_version`, `severity`, `message`,
//! `features`, `alert_id`, `drift_run`, `opened_at`, `resolved_at`, and the header
//! `Idempotency-Key`, the same whenever one event of one alert is sent. [`Shape::Slack`]: `text`, in
//! which nothing that came with traffic can mention anybody.
//!
//! # What goes wrong
//!
//! No connection, no answer in time, 408, 429 and 500 and above are tried again, with jitter, within
//! a [budget](Webhook::budget). Redirects are not followed: a receiver that moves is an error.
//! Addresses that only this machine or its cloud would answer under (link-local ones, where clouds
//! keep credentials; multicast; unspecified) are refused, also behind a name. Proxies of the
//! environment are not used.
//!
//! A receiver at `https` is trusted if a certificate authority of this machine vouches for it, or one
//! in the file that `SSL_CERT_FILE` in the environment names instead. Otherwise nothing is sent, the
//! error says why, and the alert is tried again with the next delivery.
//!
//! The URL is a secret: it is in no error, and `Debug` shows its host.

mod address;
mod payload;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use backon::{ExponentialBuilder, Retryable as _};
use reqwest::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Client, StatusCode, Url, redirect};
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt as _;

use self::address::{Guarded, is_refused};
use crate::address::literal;
use crate::lifecycle::{AlertNotice, AlertSink};
use crate::{Error, ErrorKind};

/// Name of this component in errors.
const WEBHOOK: &str = "webhook";

/// First and longest pause between attempts.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// What a receiver understands.
///
/// ```
/// use pmmds::webhook::Shape;
/// assert_eq!(Shape::default(), Shape::Json);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Shape {
    /// An object with a field for everything.
    #[default]
    Json,
    /// What Slack's incoming webhooks take, and those that follow them.
    Slack,
}

/// What a [`WebhookSink`] is made of.
///
/// ```
/// use std::time::Duration;
/// use pmmds::lifecycle::AlertSink;
/// use pmmds::webhook::{Shape, Webhook};
///
/// let sink = Webhook::new("pager", "https://pager.example/v1/events?key=secret")
///     .shape(Shape::Json)
///     .timeout(Duration::from_secs(3))
///     .retries(2)
///     .budget(Duration::from_secs(10))
///     .build()?;
/// assert_eq!(sink.name(), "pager");
/// assert!(!format!("{sink:?}").contains("secret"));
///
/// let error = Webhook::new("pager", "http://169.254.169.254/latest").build().unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "webhook: invalid input: pager: 169.254.169.254 is no address for a webhook",
/// );
/// # Ok::<(), pmmds::Error>(())
/// ```
#[must_use]
pub struct Webhook {
    name: String,
    url: String,
    shape: Shape,
    timeout: Duration,
    retries: usize,
    budget: Duration,
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook")
            .field("name", &self.name)
            .field("url", &"***")
            .finish_non_exhaustive()
    }
}

impl Webhook {
    /// A receiver at `url`, called `name` on record.
    pub fn new(name: impl Into<String>, url: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            url: url.into(),
            shape: Shape::default(),
            timeout: Duration::from_secs(5),
            retries: 3,
            budget: Duration::from_secs(15),
        }
    }

    /// What the receiver understands. Defaults to [`Shape::Json`].
    pub fn shape(mut self, shape: Shape) -> Self {
        self.shape = shape;
        self
    }

    /// Time for one attempt, more than zero. Defaults to 5 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How often a notice is sent again within one delivery, as long as the
    /// [budget](Self::budget) lasts; 0 is once and no more. Defaults to 3.
    pub fn retries(mut self, retries: usize) -> Self {
        self.retries = retries;
        self
    }

    /// Time for one delivery, all attempts and pauses of it, more than zero. Defaults to 15 s.
    pub fn budget(mut self, budget: Duration) -> Self {
        self.budget = budget;
        self
    }

    /// The receiver.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput) for a URL that is none, is not `http` or `https`, or
    /// has an address that is refused; for an empty name; and for a time of zero.
    pub fn build(self) -> Result<WebhookSink, Error> {
        let Self { name, url, shape, timeout, retries, budget } = self;
        let invalid =
            |why: String| Error::new(ErrorKind::InvalidInput, WEBHOOK, format!("{name}: {why}"));
        if name.is_empty() {
            return Err(invalid("a receiver has a name".to_owned()));
        }
        if timeout.is_zero() || budget.is_zero() {
            return Err(invalid("timeout and budget are more than zero".to_owned()));
        }
        // The reason says where in the text, and nothing of it.
        let url: Url = url.parse().map_err(|e| invalid(format!("its URL is none: {e}")))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(invalid(format!("{} is neither http nor https", url.scheme())));
        }
        let host = url.host_str().unwrap_or_default().to_owned();
        if literal(&host).is_some_and(is_refused) {
            return Err(invalid(format!("{host} is no address for a webhook")));
        }
        let failed = |e: &dyn fmt::Display| invalid(format!("no client can be made: {e}"));
        let client = Client::builder()
            .tls_backend_preconfigured(tls(url.scheme() == "https").map_err(|e| failed(&e))?)
            .redirect(redirect::Policy::none())
            .dns_resolver(Arc::new(Guarded))
            .no_proxy()
            .timeout(timeout)
            .user_agent(concat!("pmmds/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|e| failed(&e.without_url()))?;
        Ok(WebhookSink { name, host, url, client, shape, retries, budget })
    }
}

/// TLS by rustls with ring, and the certificate authorities of the machine; nothing of the whole
/// process is asked for or set.
fn tls(needed: bool) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let builder = if needed {
        builder.with_platform_verifier()?
    } else {
        // Nobody is trusted where no `https` is spoken.
        builder.with_root_certificates(RootCertStore::empty())
    };
    Ok(builder.with_no_client_auth())
}

/// Whether one side will not do for the other: a certificate, a version of TLS, no TLS at all. The
/// next attempt would meet the same.
fn is_refusal(error: &rustls::Error) -> bool {
    use rustls::{AlertDescription as A, Error as E};
    match error {
        // A fault of the moment: a proxy that reads its files again, bytes that were damaged.
        E::AlertReceived(A::InternalError | A::BadRecordMac | A::UserCanceled) => false,
        E::AlertReceived(_)
        | E::InvalidCertificate(_)
        | E::InvalidMessage(_)
        | E::PeerIncompatible(_) => true,
        _ => false,
    }
}

/// Posts alerts to a URL. Made by [`Webhook::build`]; [the module's page](self) says what is sent.
pub struct WebhookSink {
    name: String,
    host: String,
    // a secret
    url: Url,
    client: Client,
    shape: Shape,
    retries: usize,
    budget: Duration,
}

impl fmt::Debug for WebhookSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookSink")
            .field("name", &self.name)
            .field("host", &self.host)
            .field("shape", &self.shape)
            .finish_non_exhaustive()
    }
}

/// Why an attempt failed.
#[derive(Debug, Clone)]
struct Failure {
    kind: ErrorKind,
    why: String,
    // whether another attempt may end otherwise
    again: bool,
    // what the receiver asks for
    wait: Option<Duration>,
}

impl Failure {
    fn new(kind: ErrorKind, why: impl Into<String>) -> Self {
        Self { kind, why: why.into(), again: kind == ErrorKind::Unavailable, wait: None }
    }

    fn of(status: StatusCode, wait: Option<Duration>) -> Self {
        let why = format!("it answered {}", status.as_u16());
        if status.is_redirection() {
            return Self::new(ErrorKind::InvalidInput, format!("{why}, and is not followed"));
        }
        let again = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS];
        let kind = match status {
            _ if status.is_server_error() || again.contains(&status) => ErrorKind::Unavailable,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => ErrorKind::Unauthorized,
            _ => ErrorKind::InvalidInput,
        };
        Self { wait, ..Self::new(kind, why) }
    }
}

impl WebhookSink {
    async fn attempt(&self, body: &str, key: &str) -> Result<(), Failure> {
        let request = self
            .client
            .post(self.url.clone())
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .header(IDEMPOTENCY_KEY, key)
            .body(body.to_owned());
        let response = request.send().await.map_err(|error| {
            let error = error.without_url();
            let why =
                if error.is_timeout() { "it did not answer in time" } else { "no connection" };
            let mut cause: &dyn std::error::Error = &error;
            while let Some(below) = cause.source() {
                cause = below;
            }
            let failure = Failure::new(ErrorKind::Unavailable, format!("{why}: {cause}"));
            let error = Error::new(failure.kind, WEBHOOK, why).with_source(error);
            Failure { again: !error.cause().is_some_and(is_refusal), ..failure }
        })?;
        let status = response.status();
        if status.is_success() {
            return Ok(());
        }
        let wait = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let wait = wait.and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
        Err(Failure::of(status, wait))
    }
}

#[async_trait]
impl AlertSink for WebhookSink {
    fn name(&self) -> &str {
        &self.name
    }

    async fn deliver(&self, notice: &AlertNotice) -> Result<(), Error> {
        let body = payload::of(notice, self.shape);
        let key = format!("{}:{}", notice.dedup_key(), notice.event.as_str());
        let last = Mutex::new(None);
        let note = |failure: &Failure, _| {
            *last.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure.clone());
        };
        let pauses = ExponentialBuilder::default()
            .with_jitter()
            .with_min_delay(FIRST_PAUSE)
            .with_max_delay(LONGEST_PAUSE)
            .with_max_times(self.retries);
        let attempts = (|| self.attempt(&body, &key))
            .retry(pauses)
            .when(|failure: &Failure| failure.again)
            .notify(note)
            .adjust(|failure, pause| {
                let asked = failure.wait.unwrap_or_default().min(LONGEST_PAUSE);
                pause.map(|pause| pause.max(asked))
            });
        let result = tokio::time::timeout(self.budget, attempts).await;
        let Failure { kind, why, .. } = match result {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(failure)) => failure,
            Err(_) => {
                last.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_else(|| {
                    Failure::new(ErrorKind::Unavailable, "it did not answer in time")
                })
            }
        };
        Err(Error::new(kind, WEBHOOK, format!("{}: {why}", self.name)))
    }
}
