//! Which addresses are talked to, and which are not.

use std::net::{IpAddr, SocketAddr};

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::COMPONENT;
use crate::address::{Reach, literal};
use crate::{Error, ErrorKind};

fn refused(context: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidInput, COMPONENT, context)
}

/// The URL of a tracking server. What is refused is not repeated in the message: it may hold a
/// password.
pub(super) fn tracking_uri(text: &str, link_local: bool) -> Result<Url, Error> {
    let text = text.trim();
    if text.is_empty() {
        return Err(refused("the tracking URI is empty, expected http:// or https://"));
    }
    let url =
        Url::parse(text).map_err(|e| refused("the tracking URI cannot be read").with_source(e))?;
    if !matches!(url.scheme(), "http" | "https") {
        let scheme: String = url.scheme().chars().take(32).collect();
        return Err(refused(format!(
            "the tracking URI has the scheme {scheme:?}, expected http or https"
        )));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refused(
            "the tracking URI holds a user name or password, which end up in logs: give them \
             apart (MLFLOW_TRACKING_USERNAME, MLFLOW_TRACKING_PASSWORD)",
        ));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(refused("the tracking URI has a query or a fragment, expected neither"));
    }
    // A literal never goes through the resolver below.
    if let Some(address) = url.host_str().and_then(literal)
        && is_refused(address, link_local)
    {
        return Err(refused(link_local_refused(address)));
    }
    Ok(url)
}

fn link_local_refused(address: IpAddr) -> String {
    format!(
        "{address} is a link-local address, where clouds keep their credentials; it has to be \
         allowed"
    )
}

fn is_refused(address: IpAddr, link_local: bool) -> bool {
    !link_local && Reach::of(address) == Reach::LinkLocal
}

/// The name service of the machine, without the addresses that are not to be talked to.
#[derive(Debug)]
pub(super) struct Resolver {
    pub(super) link_local: bool,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let link_local = self.link_local;
        Box::pin(async move {
            let found: Vec<SocketAddr> =
                tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            // One is enough: a name that leads to both is no honest one.
            if let Some(at) = found.iter().find(|at| is_refused(at.ip(), link_local)) {
                return Err(link_local_refused(at.ip()).into());
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// Where artifacts are, by the registry's word, which is not to be trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// behind the tracking server, below this path
    Here(Vec<String>),
    /// below the artifacts of a run
    Run {
        /// MLflow's id
        run: String,
        /// below its artifacts
        path: Vec<String>,
    },
    /// those of a logged model
    Model(String),
}

impl Place {
    /// What `uri` means for the server at `base`.
    pub(super) fn read(uri: &str, base: &Url) -> Result<Self, Error> {
        let shown: String = uri.chars().take(200).collect();
        let corrupt = |why: &str| {
            let context = format!("the artifact URI {shown:?} is refused: {why}");
            Err(Error::new(ErrorKind::Corrupt, COMPONENT, context))
        };
        if uri.len() > 2_000 {
            return corrupt("it is longer than 2000 bytes");
        }
        let Some((scheme, rest)) = uri.split_once(':') else {
            return corrupt("it has no scheme, and files of this machine are not opened");
        };
        match scheme {
            "mlflow-artifacts" => {
                let path = match rest.strip_prefix("//") {
                    None => rest,
                    Some(rest) => {
                        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
                        let port = base.port().map_or(String::new(), |port| format!(":{port}"));
                        let here = format!("{}{port}", base.host_str().unwrap_or_default());
                        if !host.is_empty() && !host.eq_ignore_ascii_case(&here) {
                            return corrupt("it leads to another host than the tracking server");
                        }
                        path
                    }
                };
                match parts(path.trim_start_matches('/')) {
                    Ok(path) => Ok(Self::Here(path)),
                    Err(why) => corrupt(why),
                }
            }
            "runs" => match parts(rest.trim_start_matches('/')) {
                Ok(mut path) => {
                    let run = path.remove(0);
                    Ok(Self::Run { run, path })
                }
                Err(why) => corrupt(why),
            },
            "models" => match parts(rest.trim_start_matches('/')) {
                Ok(path) if path.len() == 1 => Ok(Self::Model(path[0].clone())),
                Ok(_) => corrupt("expected the id of one logged model"),
                Err(why) => corrupt(why),
            },
            "http" | "https" => corrupt("it leads past the tracking server"),
            "s3" | "gs" | "wasbs" | "abfss" | "dbfs" | "hdfs" | "sftp" | "ftp" => {
                let context = format!(
                    "the artifacts are at {shown:?}, not behind the tracking server: let it serve \
                     them (mlflow server --artifacts-destination ...)"
                );
                Err(Error::new(ErrorKind::NotSupported, COMPONENT, context))
            }
            _ => corrupt("files of this machine are not opened, nor other schemes"),
        }
    }
}

/// The parts of a path, each of which is a name and nothing else.
fn parts(path: &str) -> Result<Vec<String>, &'static str> {
    let hostile = |c: char| c.is_control() || matches!(c, '%' | '\\' | '#' | '?' | '@' | ':');
    if path.contains(hostile) {
        return Err("it holds a character that no path needs");
    }
    let parts: Vec<String> = path.trim_end_matches('/').split('/').map(str::to_owned).collect();
    if parts.iter().any(|part| part.is_empty() || part == "." || part == "..") {
        return Err("a part of its path is empty, \".\" or \"..\"");
    }
    if parts.len() > 32 { Err("its path has more than 32 parts") } else { Ok(parts) }
}
