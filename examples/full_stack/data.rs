//! Where the example's data comes from: IBM's public sample "Telco Customer Churn".
//!
//! [`load`] takes, in this order, and says loudly which it was:
//!
//! 1. the file named by `--data`, used as it is;
//! 2. the copy an earlier download left in the cache, if its SHA-256 is right;
//! 3. the download, if its SHA-256 is right; it is left in the cache;
//! 4. a generated look-alike (see [`look_alike`] for what it is and where its numbers come from).
//!
//! `--data` naming a file that cannot be read is an error: who asks for a file wants that file.
//! [`download`] is the second and third of these alone, and fails when they do.
//!
//! This module gives bytes and their origin; reading them is the reader's business.

mod look_alike;

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use reqwest::{Client, Url, redirect};
use sha2::{Digest as _, Sha256};

/// Where IBM publishes the file.
pub(crate) const URL: &str = "https://raw.githubusercontent.com/IBM/telco-customer-churn-on-icp4d/master/data/Telco-Customer-Churn.csv";

/// SHA-256 of IBM's file.
pub(crate) const SHA256: &str = "16320c9c1ec72448db59aa0a26a0b95401046bef5d02fd3aeb906448e3055e91";

/// Name of the file in the cache.
const FILE_NAME: &str = "telco-customer-churn.csv";

/// Redirects followed, all on the host of the URL.
const MAX_REDIRECTS: usize = 5;

/// Where the bytes come from. Its `Display` is one line for the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// The file named by `--data`.
    File(PathBuf),
    /// The cached download, verified.
    Cache(PathBuf),
    /// The download, verified.
    Download {
        /// From where.
        url: String,
    },
    /// Invented by [`look_alike`].
    Generated,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "DATA: your file, {}", path.display()),
            Self::Cache(path) => write!(
                f,
                "DATA: IBM's Telco file, downloaded earlier, SHA-256 verified, {}",
                path.display()
            ),
            Self::Download { url } => {
                write!(f, "DATA: IBM's Telco file, downloaded now, SHA-256 verified, {url}")
            }
            Self::Generated => write!(
                f,
                "DATA: GENERATED, NOT REAL: invented customers that look like IBM's Telco file; \
                 for the real one use --data FILE"
            ),
        }
    }
}

/// A CSV file of telephone customers, and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TelcoCsv {
    /// The file.
    pub(crate) bytes: Vec<u8>,
    /// Where it comes from.
    pub(crate) source: Source,
    /// SHA-256 of [`bytes`](Self::bytes), 64 lower-case hexadecimal digits.
    pub(crate) sha256: String,
    /// What else the user must be told: why a better source was not used, how the file differs.
    pub(crate) notes: Vec<String>,
}

impl TelcoCsv {
    fn new(bytes: Vec<u8>, source: Source) -> Self {
        let sha256 = sha256(&bytes);
        Self { bytes, source, sha256, notes: Vec::new() }
    }

    /// Whether this is IBM's file to the byte, wherever it came from.
    #[must_use]
    pub(crate) fn is_original(&self) -> bool {
        self.sha256 == SHA256
    }

    /// Records below the header.
    #[must_use]
    pub(crate) fn rows(&self) -> usize {
        csv::ReaderBuilder::new().flexible(true).from_reader(&*self.bytes).byte_records().count()
    }
}

/// Source, size and hash, then one line per note.
impl fmt::Display for TelcoCsv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n      {} rows, SHA-256 {}", self.source, self.rows(), self.sha256)?;
        self.notes.iter().try_for_each(|note| write!(f, "\n      note: {note}"))
    }
}

/// Why there is no data.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum DataError {
    /// The file named by `--data` cannot be read.
    #[error("cannot read {}, named by --data", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The download cannot be kept.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The download failed. The reason is part of the message.
    #[error("cannot download {url}: {reason}; if you have the file, name it with --data FILE")]
    Download {
        /// From where.
        url: String,
        /// What went wrong.
        reason: FetchError,
    },
}

/// Why a download failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum FetchError {
    /// No connection, no answer in time, a redirect that is not followed.
    #[error("{}", chain(.0))]
    Http(#[from] reqwest::Error),
    /// An answer, but not the file.
    #[error("the server answered {0}, expected 200 OK")]
    Status(reqwest::StatusCode),
    /// More bytes than such a file can have.
    #[error("the answer is longer than the {limit} bytes allowed")]
    TooLong {
        /// The most bytes taken.
        limit: usize,
    },
    /// Other bytes than IBM's.
    #[error("the {length} bytes received have SHA-256 {found}, expected {expected}")]
    Checksum {
        /// How many bytes came.
        length: usize,
        /// Their hash.
        found: String,
        /// The hash they should have.
        expected: String,
    },
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |e| e.source()).map(ToString::to_string);
    causes.collect::<Vec<_>>().join(": ")
}

/// What to download, and how much patience to have.
#[derive(Debug, Clone)]
struct Remote {
    url: String,
    sha256: String,
    connect_timeout: Duration,
    total_timeout: Duration,
    max_bytes: usize,
}

impl Remote {
    fn ibm() -> Self {
        Self {
            url: URL.to_owned(),
            sha256: SHA256.to_owned(),
            connect_timeout: Duration::from_secs(3),
            total_timeout: Duration::from_secs(30),
            max_bytes: 16 << 20,
        }
    }
}

/// Where [`load`] and [`download`] keep the file.
#[must_use]
pub(crate) fn cache_path(cache_dir: &Path) -> PathBuf {
    cache_dir.join(FILE_NAME)
}

/// The data: `--data`, else the cache, else the download, else the look-alike.
///
/// `progress` is set up for the download and cleared after it.
///
/// # Errors
///
/// [`DataError::Read`] if `data` names a file that cannot be read. Without `data` it never fails.
pub(crate) async fn load(
    data: Option<&Path>,
    cache_dir: &Path,
    progress: &ProgressBar,
) -> Result<TelcoCsv, DataError> {
    match data {
        Some(path) => file(path),
        None => Ok(load_or_generate(&Remote::ibm(), cache_dir, progress).await),
    }
}

/// What an earlier download has left in the cache.
pub(crate) fn downloaded(cache_dir: &Path) -> Option<TelcoCsv> {
    cached(&Remote::ibm(), cache_dir, &mut Vec::new())
}

/// The cached file, else the download, which is left in the cache.
///
/// # Errors
///
/// [`DataError::Download`] if there is no good cached copy and the download fails, with the reason
/// and what to do; [`DataError::Write`] if it cannot be kept.
pub(crate) async fn download(
    cache_dir: &Path,
    progress: &ProgressBar,
) -> Result<TelcoCsv, DataError> {
    let remote = Remote::ibm();
    let mut notes = Vec::new();
    if let Some(csv) = cached(&remote, cache_dir, &mut notes) {
        return Ok(csv);
    }
    let mut csv = fetched(&remote, progress).await?;
    write_cache(&csv, cache_dir)?;
    csv.notes = notes;
    Ok(csv)
}

/// Writes a file so that at every moment it has either all of its old or all of its new content:
/// a temporary file beside it, synced, then renamed. Missing folders are made.
///
/// # Errors
///
/// What the system said; the old file is untouched then, and the temporary one removed.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    fs::create_dir_all(folder)?;
    let mut file = tempfile::Builder::new().prefix(".pmmds-").tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    // The rename itself is durable once the folder is. Windows cannot open a folder.
    #[cfg(unix)]
    File::open(folder)?.sync_all()?;
    Ok(())
}

/// The file that is named, used as it is.
///
/// # Errors
///
/// [`DataError::Read`] if it cannot be read.
pub(crate) fn file(path: &Path) -> Result<TelcoCsv, DataError> {
    let bytes =
        fs::read(path).map_err(|source| DataError::Read { path: path.to_owned(), source })?;
    let mut csv = TelcoCsv::new(bytes, Source::File(path.to_owned()));
    csv.notes.push(if csv.is_original() {
        "it is IBM's Telco file to the byte".to_owned()
    } else {
        format!("it is not IBM's Telco file (SHA-256 {SHA256}); used as it is")
    });
    Ok(csv)
}

/// The look-alike: the same at every call.
pub(crate) fn generated() -> TelcoCsv {
    TelcoCsv::new(look_alike::generate(), Source::Generated)
}

async fn load_or_generate(remote: &Remote, cache_dir: &Path, progress: &ProgressBar) -> TelcoCsv {
    let mut notes = Vec::new();
    if let Some(csv) = cached(remote, cache_dir, &mut notes) {
        return csv;
    }
    let mut csv = match fetched(remote, progress).await {
        Ok(csv) => {
            if let Err(error) = write_cache(&csv, cache_dir) {
                notes.push(format!("the download is not kept: {}", chain(&error)));
            }
            csv
        }
        Err(error) => {
            notes.push(error.to_string());
            generated()
        }
    };
    csv.notes = notes;
    csv
}

/// The cached file if it is the right one. Why a file that is there is not used goes to `notes`.
fn cached(remote: &Remote, cache_dir: &Path, notes: &mut Vec<String>) -> Option<TelcoCsv> {
    let path = cache_path(cache_dir);
    let bytes = match read_at_most(&path, remote.max_bytes) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            notes.push(format!("the cached {} is not used: {error}", path.display()));
            return None;
        }
    };
    let csv = TelcoCsv::new(bytes, Source::Cache(path.clone()));
    if csv.sha256 == remote.sha256 {
        return Some(csv);
    }
    notes.push(format!(
        "the cached {} is damaged and not used: SHA-256 {}, expected {}",
        path.display(),
        csv.sha256,
        remote.sha256
    ));
    None
}

/// The file, or as much of it as shows that it is too long.
fn read_at_most(path: &Path, max_bytes: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(max_bytes).unwrap_or(u64::MAX).saturating_add(1);
    File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn write_cache(csv: &TelcoCsv, cache_dir: &Path) -> Result<(), DataError> {
    let path = cache_path(cache_dir);
    write_atomically(&path, &csv.bytes).map_err(|source| DataError::Write { path, source })
}

async fn fetched(remote: &Remote, progress: &ProgressBar) -> Result<TelcoCsv, DataError> {
    let result = fetch(remote, progress).await;
    progress.finish_and_clear();
    let url = remote.url.clone();
    match result {
        Ok(bytes) => Ok(TelcoCsv::new(bytes, Source::Download { url })),
        Err(reason) => Err(DataError::Download { url, reason }),
    }
}

/// The verified bytes of `remote`.
async fn fetch(remote: &Remote, progress: &ProgressBar) -> Result<Vec<u8>, FetchError> {
    progress.set_style(
        ProgressStyle::with_template("{msg} {bar:40} {bytes}/{total_bytes} {elapsed}")
            .expect("the template is constant"),
    );
    progress.set_message("downloading the Telco data");
    let too_long = || FetchError::TooLong { limit: remote.max_bytes };

    // The error's own text would name the URL a second time.
    let http = |error: reqwest::Error| FetchError::Http(error.without_url());
    let mut answer = client(remote).map_err(http)?.get(&remote.url).send().await.map_err(http)?;
    if answer.status() != reqwest::StatusCode::OK {
        return Err(FetchError::Status(answer.status()));
    }
    if let Some(length) = answer.content_length() {
        if usize::try_from(length).map_or(true, |length| length > remote.max_bytes) {
            return Err(too_long());
        }
        progress.set_length(length);
    }
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(http)? {
        if bytes.len() + chunk.len() > remote.max_bytes {
            return Err(too_long());
        }
        bytes.extend_from_slice(&chunk);
        progress.inc(u64::try_from(chunk.len()).unwrap_or(u64::MAX));
    }
    let found = sha256(&bytes);
    if found != remote.sha256 {
        let (length, expected) = (bytes.len(), remote.sha256.clone());
        return Err(FetchError::Checksum { length, found, expected });
    }
    Ok(bytes)
}

/// A client of any server; reqwest is built without a TLS provider of its own.
pub(crate) fn client_builder() -> reqwest::ClientBuilder {
    provide_tls();
    Client::builder()
}

/// Lets clients that are built without a TLS provider have one.
pub(crate) fn provide_tls() {
    // Fails only if a provider is installed already, which then serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

fn client(remote: &Remote) -> Result<Client, reqwest::Error> {
    let place = |url: &Url| (url.scheme().to_owned(), url.host_str().map(ToOwned::to_owned));
    let same_host = redirect::Policy::custom(move |attempt| {
        if attempt.previous().len() > MAX_REDIRECTS {
            attempt.error(format!("more than {MAX_REDIRECTS} redirects"))
        } else if attempt.previous().iter().any(|from| place(from) != place(attempt.url())) {
            let to = attempt.url().host_str().unwrap_or("no host").to_owned();
            attempt.error(format!("it redirects to another host, {to}, which is not followed"))
        } else {
            attempt.follow()
        }
    });
    let builder = client_builder()
        .user_agent(concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(remote.connect_timeout)
        .timeout(remote.total_timeout)
        .redirect(same_host);
    // The tests' servers are on this machine, which no proxy can reach.
    if cfg!(test) { builder.no_proxy() } else { builder }.build()
}

/// SHA-256 in lower-case hexadecimal.
fn sha256(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

#[cfg(test)]
mod tests;
