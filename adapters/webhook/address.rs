//! Where no webhook is sent: addresses that mean something to this machine alone.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Where one cloud keeps its credentials in IPv6; it is a private address, not a link-local one.
const METADATA: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);

/// Whether a webhook is never sent to `ip`. Loopback and private addresses are allowed: receivers
/// are often inside.
pub(super) fn is_refused(ip: IpAddr) -> bool {
    let four = |ip: Ipv4Addr| {
        ip.is_link_local() || ip.is_unspecified() || ip.is_broadcast() || ip.is_multicast()
    };
    match ip {
        IpAddr::V4(ip) => four(ip),
        IpAddr::V6(ip) => {
            // Written as IPv4, or on its way to it by NAT64.
            let inner = match ip.segments() {
                [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
                    let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
                    Some(Ipv4Addr::new(a, b, c, d))
                }
                _ if ip.is_loopback() => None,
                _ => ip.to_ipv4(),
            };
            ip == METADATA
                || ip.is_unicast_link_local()
                || ip.is_unspecified()
                || ip.is_multicast()
                || inner.is_some_and(four)
        }
    }
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

    #[test]
    fn what_only_this_machine_would_answer_under_is_refused() {
        for refused in [
            "169.254.169.254",
            "169.254.0.1",
            "0.0.0.0",
            "255.255.255.255",
            "224.0.0.1",
            "fe80::1",
            "::",
            "ff02::1",
            "fd00:ec2::254",
            "::ffff:169.254.169.254",
            "::169.254.169.254",
            "64:ff9b::169.254.169.254",
        ] {
            assert!(is_refused(refused.parse().unwrap()), "{refused}");
        }
        for allowed in ["127.0.0.1", "10.1.2.3", "192.0.2.7", "::1", "2001:db8::1", "fd00::1"] {
            assert!(!is_refused(allowed.parse().unwrap()), "{allowed}");
        }
    }

    #[tokio::test]
    async fn a_name_is_looked_up_and_filtered() {
        let resolve = async |name: &str| Guarded.resolve(name.parse().unwrap()).await;
        let found: Vec<SocketAddr> = resolve("localhost").await.unwrap().collect();
        assert!(!found.is_empty() && found.iter().all(|at| at.ip().is_loopback()), "{found:?}");
        let error = resolve("169.254.169.254").await.err().unwrap();
        assert_eq!(error.to_string(), "its name leads to no address for a webhook");
    }
}
