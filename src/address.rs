//! What an IP address leads to, for whoever sends requests where others say.
//!
//! A URL that comes from a setting, a registry or an answer may lead to where only this machine is
//! let in, such as the place where a cloud keeps the machine's credentials. Names are to be checked
//! by what they resolve to, and the address that was checked is to be the one that is connected to.

// Of `core`, which has the addresses and no sockets.
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where one cloud keeps its credentials in IPv6; it is a private address, not a link-local one.
const METADATA: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);

/// What is behind an address.
///
/// ```
/// use pmmds::address::Reach;
///
/// let reach = |address: &str| address.parse().map(Reach::of);
/// assert_eq!(reach("10.1.2.3")?, Reach::Host, "receivers are often inside");
/// assert_eq!(reach("169.254.169.254")?, Reach::LinkLocal);
/// assert_eq!(reach("64:ff9b::169.254.169.254")?, Reach::LinkLocal, "the same by way of NAT64");
/// assert_eq!(reach("0.0.0.0")?, Reach::Nobody);
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reach {
    /// A host: this machine, one of its network, one of the internet.
    Host,
    /// What answers this machine alone: link-local addresses, where clouds keep credentials, and
    /// the address where one keeps them in IPv6.
    LinkLocal,
    /// No host in particular: unspecified, broadcast and multicast addresses.
    Nobody,
}

impl Reach {
    /// What is behind `address`, also where it is an IPv4 address written as IPv6, or on its way to
    /// one by NAT64.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) if v4.is_link_local() => Self::LinkLocal,
            IpAddr::V4(v4) if v4.is_unspecified() || v4.is_broadcast() || v4.is_multicast() => {
                Self::Nobody
            }
            IpAddr::V4(_) => Self::Host,
            IpAddr::V6(v6) if v6.is_unicast_link_local() || v6 == METADATA => Self::LinkLocal,
            IpAddr::V6(v6) if v6.is_unspecified() || v6.is_multicast() => Self::Nobody,
            IpAddr::V6(v6) => inner(v6).map_or(Self::Host, |v4| Self::of(IpAddr::V4(v4))),
        }
    }
}

/// The IPv4 address that an IPv6 address stands for.
fn inner(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    match v6.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
            Some(Ipv4Addr::new(a, b, c, d))
        }
        _ => v6.to_ipv4(),
    }
}

/// The address that the host of a URL is, if it is one and no name.
///
/// No resolver is asked about such a host, so it is checked apart.
///
/// ```
/// use pmmds::address::literal;
///
/// assert_eq!(literal("[::1]"), Some("::1".parse()?));
/// assert_eq!(literal("localhost"), None);
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[must_use]
pub fn literal(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_leads_where_it_says() {
        let reach = |address: &str| Reach::of(address.parse().unwrap());
        for address in [
            "169.254.169.254",
            "169.254.0.1",
            "fe80::1",
            "fd00:ec2::254",
            "::ffff:169.254.169.254",
            "::169.254.169.254",
            "64:ff9b::169.254.169.254",
        ] {
            assert_eq!(reach(address), Reach::LinkLocal, "{address}");
        }
        for address in [
            "0.0.0.0",
            "255.255.255.255",
            "224.0.0.1",
            "::",
            "ff02::1",
            "::ffff:0.0.0.0",
            "64:ff9b::e000:1",
        ] {
            assert_eq!(reach(address), Reach::Nobody, "{address}");
        }
        for address in [
            "127.0.0.1",
            "10.1.2.3",
            "192.0.2.7",
            "::1",
            "2001:db8::1",
            "fd00::1",
            "64:ff9b::1.2.3.4",
        ] {
            assert_eq!(reach(address), Reach::Host, "{address}");
        }
    }
}
