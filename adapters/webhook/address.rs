//! Where no webhook is sent: addresses that mean something to this machine alone.

use std::net::{IpAddr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::address::Reach;

/// Whether a webhook is never sent to `ip`. Loopback and private addresses are allowed: receivers
/// are often inside.
pub(super) fn is_refused(ip: IpAddr) -> bool {
    Reach::of(ip) != Reach::Host
}

/// Resolves names to the addresses that are not refused: what was checked is what is connected to.
#[derive(Debug)]
pub(super) struct Guarded;

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let allowed: Vec<SocketAddr> = found.filter(|at| !is_refused(at.ip())).collect();
            if allowed.is_empty() {
                return Err("its name leads to no address for a webhook".into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_is_looked_up_and_filtered() {
        let resolve = async |name: &str| Guarded.resolve(name.parse().unwrap()).await;
        let found: Vec<SocketAddr> = resolve("localhost").await.unwrap().collect();
        assert!(!found.is_empty() && found.iter().all(|at| at.ip().is_loopback()), "{found:?}");
        let error = resolve("169.254.169.254").await.err().unwrap();
        assert_eq!(error.to_string(), "its name leads to no address for a webhook");
    }
}
