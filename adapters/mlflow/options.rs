//! What a handle is made of: where, as whom, and how patiently.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;

use super::address::{self, Resolver};
use super::http::Http;
use super::{COMPONENT, MlflowRegistry, environment, tls};
use crate::{Error, ErrorKind, Timestamp};

/// What time it is.
#[derive(Clone)]
pub(super) struct Clock(pub(super) Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

/// Who asks.
#[derive(Clone)]
enum Credentials {
    Nobody,
    Basic { user: String, password: String },
    Token(String),
}

/// Options of an [`MlflowRegistry`].
///
/// ```
/// use std::time::Duration;
/// use pmmds::mlflow::MlflowRegistry;
///
/// let registry = MlflowRegistry::builder("https://mlflow.example.org/ml")
///     .token("s3cret")
///     .experiment("churn")
///     .patience(Duration::from_secs(2))
///     .build()?;
/// assert!(!format!("{registry:?}").contains("s3cret"));
/// # Ok::<(), pmmds::Error>(())
/// ```
///
/// Where it leads is checked before anything is asked:
///
/// ```
/// # use pmmds::mlflow::MlflowRegistry;
/// for (uri, part) in [
///     ("file:///srv/mlruns", "has the scheme \"file\", expected http or https"),
///     ("http://admin:s3cret@mlflow.example.org", "holds a user name or password"),
///     ("http://169.254.169.254", "is a link-local address"),
/// ] {
///     let error = MlflowRegistry::builder(uri).build().unwrap_err();
///     assert!(error.to_string().contains(part), "{error}");
///     assert!(!error.chain().contains("s3cret"));
/// }
/// ```
#[derive(Clone)]
#[must_use]
pub struct MlflowBuilder {
    uri: String,
    credentials: Credentials,
    pub(super) server_certificates: Option<PathBuf>,
    pub(super) client_certificate: Option<PathBuf>,
    experiment: Option<String>,
    user: String,
    link_local: bool,
    connect_timeout: Duration,
    patience: Duration,
    write_timeout: Duration,
    transfer_timeout: Duration,
    clock: Option<Clock>,
}

impl fmt::Debug for MlflowBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // No URI: nobody has looked yet whether it holds a password.
        f.debug_struct("MlflowBuilder")
            .field("experiment", &self.experiment)
            .field("connect_timeout", &self.connect_timeout)
            .field("patience", &self.patience)
            .field("write_timeout", &self.write_timeout)
            .field("transfer_timeout", &self.transfer_timeout)
            .finish_non_exhaustive()
    }
}

impl MlflowBuilder {
    pub(super) fn new(uri: impl Into<String>) -> Self {
        Self {
            uri: uri.into(),
            credentials: Credentials::Nobody,
            server_certificates: None,
            client_certificate: None,
            experiment: None,
            user: "pmmds".to_owned(),
            link_local: false,
            connect_timeout: Duration::from_secs(3),
            patience: Duration::from_secs(4),
            write_timeout: Duration::from_secs(60),
            transfer_timeout: Duration::from_secs(600),
            clock: None,
        }
    }

    /// Takes credentials, certificates and the experiment from the names that MLflow reads of the
    /// environment, as [`from_env`](MlflowRegistry::from_env) does, which takes the URI as well.
    ///
    /// ```
    /// # use pmmds::mlflow::MlflowRegistry;
    /// let registry = MlflowRegistry::builder("http://localhost:5000").environment()?.build()?;
    /// # Ok::<(), pmmds::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`from_env`](MlflowRegistry::from_env).
    pub fn environment(self) -> Result<Self, Error> {
        environment::options(self, &environment::of_process)
    }

    /// Asks with a user name and a password. Defaults to neither.
    ///
    /// ```
    /// # use pmmds::mlflow::MlflowRegistry;
    /// let registry = MlflowRegistry::builder("https://mlflow.example.org")
    ///     .password("trainer", "s3cret")
    ///     .build()?;
    /// # Ok::<(), pmmds::Error>(())
    /// ```
    pub fn password(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        self.credentials = Credentials::Basic { user: user.into(), password: password.into() };
        self
    }

    /// Asks with a bearer token. Defaults to none.
    ///
    /// ```
    /// # use pmmds::mlflow::MlflowRegistry;
    /// let error = MlflowRegistry::builder("https://mlflow.example.org").token("a\nb").build();
    /// assert!(error.unwrap_err().to_string().contains("the credentials cannot be sent"));
    /// ```
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.credentials = Credentials::Token(token.into());
        self
    }

    /// Trusts the certificates of this PEM file, and no others. Defaults to the certificate
    /// authorities of the machine.
    ///
    /// The file holds certificates of authorities. The self-signed certificate of a server will do
    /// as well, as long as it does not claim to be an authority's. `openssl req -x509` makes it
    /// claim so, unless it is given `-addext basicConstraints=critical,CA:FALSE`.
    ///
    /// ```no_run
    /// # use pmmds::mlflow::MlflowRegistry;
    /// let registry = MlflowRegistry::builder("https://mlflow.internal")
    ///     .server_certificates("/etc/ssl/our-own.pem")
    ///     .build()?;
    /// # Ok::<(), pmmds::Error>(())
    /// ```
    pub fn server_certificates(mut self, path: impl Into<PathBuf>) -> Self {
        self.server_certificates = Some(path.into());
        self
    }

    /// Shows the certificate of this PEM file, which holds its key as well. Defaults to none.
    ///
    /// ```no_run
    /// # use pmmds::mlflow::MlflowRegistry;
    /// let registry = MlflowRegistry::builder("https://mlflow.internal")
    ///     .client_certificate("/etc/ssl/trainer.pem")
    ///     .build()?;
    /// # Ok::<(), pmmds::Error>(())
    /// ```
    pub fn client_certificate(mut self, path: impl Into<PathBuf>) -> Self {
        self.client_certificate = Some(path.into());
        self
    }

    /// The experiment that runs are filed under. Defaults to the name of the model.
    ///
    /// ```
    /// # use pmmds::mlflow::MlflowRegistry;
    /// let registry = MlflowRegistry::builder("http://localhost:5000").experiment("churn").build()?;
    /// # Ok::<(), pmmds::Error>(())
    /// ```
    pub fn experiment(mut self, name: impl Into<String>) -> Self {
        self.experiment = Some(name.into());
        self
    }

    /// Who has made the runs, for MLflow's pages. Defaults to `pmmds`.
    ///
    /// ```
    /// # use pmmds::mlflow::MlflowRegistry;
    /// let registry = MlflowRegistry::builder("http://localhost:5000").user("night shift").build()?;
    /// # Ok::<(), pmmds::Error>(())
    /// ```
    pub fn user(mut self, name: impl Into<String>) -> Self {
        self.user = name.into();
        self
    }

    /// Whether link-local addresses may be talked to, which clouds hand credentials out from.
    /// Defaults to no.
    ///
    /// ```
    /// # use pmmds::mlflow::MlflowRegistry;
    /// assert!(MlflowRegistry::builder("http://169.254.7.7:5000").build().is_err());
    /// assert!(MlflowRegistry::builder("http://169.254.7.7:5000").link_local(true).build().is_ok());
    /// ```
    pub fn link_local(mut self, allowed: bool) -> Self {
        self.link_local = allowed;
        self
    }

    /// How long a connection may take to come about. Defaults to 3 seconds.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use pmmds::mlflow::MlflowRegistry;
    /// let builder = MlflowRegistry::builder("http://localhost:5000");
    /// let registry = builder.connect_timeout(Duration::from_millis(500)).build()?;
    /// # Ok::<(), pmmds::Error>(())
    /// ```
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long a question may take, all its repetitions included, and how long a download may
    /// stand still. Defaults to 4 seconds.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use pmmds::mlflow::MlflowRegistry;
    /// let builder = MlflowRegistry::builder("http://localhost:5000");
    /// let registry = builder.patience(Duration::from_secs(10)).build()?;
    /// # Ok::<(), pmmds::Error>(())
    /// ```
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// How long one call that writes may take. Defaults to 60 seconds: a change that was given up
    /// too early may still come about.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use pmmds::mlflow::MlflowRegistry;
    /// let builder = MlflowRegistry::builder("http://localhost:5000");
    /// let registry = builder.write_timeout(Duration::from_secs(20)).build()?;
    /// # Ok::<(), pmmds::Error>(())
    /// ```
    pub fn write_timeout(mut self, timeout: Duration) -> Self {
        self.write_timeout = timeout;
        self
    }

    /// How long a registration, or the download of all files of a version, may take. Defaults to
    /// 10 minutes.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use pmmds::mlflow::MlflowRegistry;
    /// let builder = MlflowRegistry::builder("http://localhost:5000");
    /// let registry = builder.transfer_timeout(Duration::from_secs(60)).build()?;
    /// # Ok::<(), pmmds::Error>(())
    /// ```
    pub fn transfer_timeout(mut self, timeout: Duration) -> Self {
        self.transfer_timeout = timeout;
        self
    }

    /// Takes the beginning and end of runs from `clock`. Defaults to the system's clock.
    ///
    /// ```
    /// # use pmmds::Timestamp;
    /// # use pmmds::mlflow::MlflowRegistry;
    /// let builder = MlflowRegistry::builder("http://localhost:5000");
    /// let registry = builder.with_clock(|| Timestamp::EPOCH).build()?;
    /// # Ok::<(), pmmds::Error>(())
    /// ```
    pub fn with_clock(mut self, clock: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        self.clock = Some(Clock(Arc::new(clock)));
        self
    }

    /// The handle. Nothing is asked yet: a server that is down is found out by the first question.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput) when the URI is none of an MLflow server, a
    /// credential cannot stand in a header, or a certificate cannot be read.
    pub fn build(self) -> Result<MlflowRegistry, Error> {
        let invalid = |context: &str| Error::new(ErrorKind::InvalidInput, COMPONENT, context);
        let base = address::tracking_uri(&self.uri, self.link_local)?;
        if let Some(name) = &self.experiment
            && (name.trim().is_empty() || name.len() > 250)
        {
            return Err(invalid("the experiment needs a name of 1 to 250 bytes"));
        }
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls::configuration(&self, base.scheme() == "https")?)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .user_agent(concat!("pmmds/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(self.connect_timeout)
            // Between two pieces of an answer.
            .read_timeout(self.write_timeout)
            .dns_resolver(Arc::new(Resolver { link_local: self.link_local }))
            .build()
            .map_err(|e| invalid("the HTTP client cannot be made").with_source(e))?;
        let (authorization, secrets) = self.authorization(&client, &base)?;
        let clock = self.clock.unwrap_or_else(|| Clock(Arc::new(environment::now)));
        let http = Http {
            client,
            base,
            authorization,
            secrets,
            patience: self.patience,
            write_timeout: self.write_timeout,
            clock,
        };
        Ok(MlflowRegistry::new(http, self.experiment, self.user, self.transfer_timeout))
    }

    /// The header that says who asks, and the texts that must be in no message.
    fn authorization(
        &self,
        client: &reqwest::Client,
        base: &Url,
    ) -> Result<(Option<reqwest::header::HeaderValue>, Vec<String>), Error> {
        let request = client.get(base.clone());
        let (request, mut secrets) = match &self.credentials {
            Credentials::Nobody => return Ok((None, Vec::new())),
            Credentials::Basic { user, password } => {
                (request.basic_auth(user, Some(password)), vec![password.clone()])
            }
            Credentials::Token(token) => (request.bearer_auth(token), vec![token.clone()]),
        };
        // No cause: it might repeat what cannot be sent.
        let unusable = || {
            let context = "the credentials cannot be sent: they hold a line break, or are empty";
            Error::new(ErrorKind::InvalidInput, COMPONENT, context)
        };
        let request = request.build().map_err(|_| unusable())?;
        let header = request.headers().get(reqwest::header::AUTHORIZATION).cloned();
        let header = header.ok_or_else(unusable)?;
        let sent = header.to_str().ok().and_then(|text| text.split_once(' ')).map(|(_, text)| text);
        secrets.extend(sent.map(str::to_owned));
        if secrets.iter().any(|secret| secret.trim().is_empty()) {
            return Err(unusable());
        }
        Ok((Some(header), secrets))
    }
}
