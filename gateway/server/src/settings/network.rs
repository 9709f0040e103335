//! Addresses, blocks of them, host names and port pairs.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// A set of addresses, written as single ones and CIDR blocks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Networks(pub(crate) Vec<IpNet>);

impl Networks {
    /// This machine alone.
    pub(crate) fn loopback() -> Self {
        Self(vec![
            Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8).into(),
            Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128).into(),
        ])
    }

    /// Whether an address belongs to the set. An IPv4 address in IPv6 clothing, which a socket
    /// listening on `[::]` reports, counts as the IPv4 address.
    pub(crate) fn contains(&self, addr: IpAddr) -> bool {
        let addr = addr.to_canonical();
        self.0.iter().any(|network| network.contains(&addr))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<IpNet> for Networks {
    fn from_iter<I: IntoIterator<Item = IpNet>>(networks: I) -> Self {
        Self(networks.into_iter().collect())
    }
}

/// A CIDR block, or an address as the block of itself. Bits beyond the prefix are dropped.
pub(super) fn network(text: &str) -> Option<IpNet> {
    match text.parse::<IpAddr>() {
        Ok(addr) => Some(addr.into()),
        Err(_) => text.parse::<IpNet>().ok().map(|network| network.trunc()),
    }
}

/// Hosts that outgoing calls may reach although a rule forbids it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Destinations {
    pub(crate) networks: Networks,
    /// Lower case.
    pub(crate) hosts: Vec<String>,
}

/// Whether a text is a host name of at most 253 characters: labels of letters, digits and inner
/// hyphens (contract 1.3, "host regex H"). Addresses of IPv4 are such names, too.
pub(super) fn is_host(text: &str) -> bool {
    text.len() <= 253
        && text.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        })
}

/// A port clients see and the listener's it stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PortMap {
    pub(crate) outside: u16,
    pub(crate) listener: u16,
}

/// `80:8000`
pub(super) fn port_map(text: &str) -> Option<PortMap> {
    let (outside, listener) = text.split_once(':')?;
    let port = |text: &str| text.trim().parse().ok().filter(|&port| port > 0);
    Some(PortMap { outside: port(outside)?, listener: port(listener)? })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn membership() {
        let networks: Networks = ["10.0.0.0/8", "192.168.1.7", "fd00::1/64"]
            .into_iter()
            .map(|text| network(text).unwrap())
            .collect();
        for (addr, inside) in [
            ("10.255.0.1", true),
            ("::ffff:10.255.0.1", true),
            ("192.168.1.7", true),
            ("192.168.1.8", false),
            ("fd00::9", true),
            ("fd01::9", false),
        ] {
            assert_eq!(networks.contains(addr.parse().unwrap()), inside, "{addr}");
        }
        assert!(Networks::loopback().contains("::1".parse().unwrap()));
        assert!(Networks::loopback().contains("127.1.2.3".parse().unwrap()));
        assert!(!Networks::loopback().contains("10.0.0.1".parse().unwrap()));
        for text in ["", "10.0.0", "10.0.0.0/33", "host", "10.0.0.1:80"] {
            assert_eq!(network(text), None, "{text:?}");
        }
    }

    #[test]
    fn hosts() {
        for (text, valid) in [
            ("mep-api-gw.mep", true),
            ("a", true),
            ("10.0.0.1", true),
            ("", false),
            ("a..b", false),
            ("-a", false),
            ("a-", false),
            ("a_b", false),
            ("a:80", false),
        ] {
            assert_eq!(is_host(text), valid, "{text:?}");
        }
        assert!(is_host(&"a".repeat(63)) && !is_host(&"a".repeat(64)));
        assert!(!is_host(&["a"; 128].join(".")), "255 characters");
    }

    #[test]
    fn port_maps() {
        assert_eq!(port_map("80:8000"), Some(PortMap { outside: 80, listener: 8000 }));
        for text in ["80", "80:", "0:8000", "80:8000:1", "x:1", "65536:1"] {
            assert_eq!(port_map(text), None, "{text:?}");
        }
    }
}
