//! [`Guard`]: where a client may send the platform.
//!
//! Service endpoints and callbacks are URIs that clients choose and that the gateway or the platform
//! then calls from inside. Without a rule an app could reach the Admin API through a service it
//! registers. Private networks are allowed: that is where apps live.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use gateway_model::ports::{Caller, Reach};
use ipnet::IpNet;
use url::{Host, Url};

use crate::exposure::TAG;
use crate::settings::Destinations;

/// Domain of the host names that stand for services in this process. The proxy hands requests for
/// them to their routers without a plugin of their routes having run, so no client may name one.
const INTERNAL: &str = "mep.internal";

/// Which destinations clients may name.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    /// Destinations allowed although a rule forbids them.
    pub allow: Destinations,
    /// Addresses this process listens on; those of all interfaces stand for each of this machine's.
    pub own: Vec<SocketAddr>,
    /// Host and port under which clients reach the gateway.
    pub published: Option<(String, u16)>,
}

impl Guard {
    /// Checks a URI before anything is kept of it. A host name passes as long as it is not known to
    /// be ours; what it resolves to is checked when it is called.
    ///
    /// # Errors
    ///
    /// Why the destination is refused.
    pub fn check(&self, url: &Url) -> Result<(), Forbidden> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Forbidden::Scheme);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Forbidden::Credentials);
        }
        let port = url.port_or_known_default().unwrap_or_default();
        match url.host().ok_or(Forbidden::Host)? {
            Host::Domain(name) => self.check_name(name, port),
            Host::Ipv4(address) => self.check_address(address.into(), port),
            Host::Ipv6(address) => self.check_address(address.into(), port),
        }
    }

    fn check_name(&self, name: &str, port: u16) -> Result<(), Forbidden> {
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        if within(&name, INTERNAL) {
            return Err(Forbidden::Own);
        }
        if self.allow.names(&name) {
            return Ok(());
        }
        let published = self.published.as_ref();
        if published.is_some_and(|(host, at)| *at == port && host.eq_ignore_ascii_case(&name)) {
            return Err(Forbidden::Own);
        }
        if within(&name, "localhost") { Err(Forbidden::Address) } else { Ok(()) }
    }

    /// Checks an address that was named, or that a name resolved to when it is called.
    pub(crate) fn check_address(&self, address: IpAddr, port: u16) -> Result<(), Forbidden> {
        if !self.admits(address) {
            return Err(Forbidden::Address);
        }
        let address = address.to_canonical();
        let own = !self.allow.covers(address)
            && (self.own.contains(&SocketAddr::new(address, port))
                || self.is_published(address, port)
                || (self.takes_all_at(port) && is_of_this_machine(address)));
        if own { Err(Forbidden::Own) } else { Ok(()) }
    }

    /// Whether clients reach the gateway there, where that is told as an address.
    fn is_published(&self, address: IpAddr, port: u16) -> bool {
        self.published.as_ref().is_some_and(|(host, at)| {
            let host = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
            *at == port && host.is_ok_and(|host| host.to_canonical() == address)
        })
    }

    /// Whether this process listens at a port of all interfaces.
    fn takes_all_at(&self, port: u16) -> bool {
        self.own.iter().any(|own| own.port() == port && own.ip().is_unspecified())
    }

    /// Whether an address a name resolved to may be connected to.
    pub fn admits(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.allow.covers(address) || !is_special(address)
    }

    /// Whether a name is allowed whatever it resolves to.
    pub(crate) fn trusts(&self, name: &str) -> bool {
        self.allow.names(&name.to_ascii_lowercase())
    }
}

impl Reach for Guard {
    fn concerns(&self, tags: &[String]) -> bool {
        tags.iter().any(|tag| tag == TAG)
    }

    fn admits(&self, host: &str, address: SocketAddr) -> bool {
        self.trusts(host) || self.check_address(address.ip(), address.port()).is_ok()
    }
}

impl Destinations {
    fn names(&self, host: &str) -> bool {
        self.hosts.iter().any(|allowed| allowed == host)
    }

    fn covers(&self, address: IpAddr) -> bool {
        contains(&self.networks, address)
    }
}

/// Whether an address is one of this machine's own, whatever interface it came to meanwhile: the
/// system would call those, and only those, from themselves.
fn is_of_this_machine(address: IpAddr) -> bool {
    source_towards(address) == Some(address)
}

/// The address this machine sends from towards another. Connecting a datagram socket chooses a
/// route and sends nothing.
pub(crate) fn source_towards(there: IpAddr) -> Option<IpAddr> {
    let any: IpAddr = match there {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).ok()?;
    socket.connect(SocketAddr::new(there, 9)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// Whether an address is in one of the networks. An IPv4 address in IPv6 clothing counts as IPv4.
pub(crate) fn contains(networks: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    networks.iter().any(|network| network.contains(&address))
}

/// Whether a caller may be at a listener where nobody proves who they are: it came by the gateway,
/// shows a certificate, or is in one of the networks.
pub(crate) fn lets_in(networks: &[IpNet], caller: &Caller) -> bool {
    caller.by_gateway || caller.certified || contains(networks, caller.client)
}

/// Why a destination is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Forbidden {
    /// Neither `http` nor `https`.
    #[error("only http and https are spoken")]
    Scheme,
    /// A user name or password in the authority.
    #[error("a URI must not carry credentials")]
    Credentials,
    /// No host.
    #[error("the URI names no host")]
    Host,
    /// Loopback, link-local, unspecified, multicast or broadcast.
    #[error("the address is not one that others can be reached at")]
    Address,
    /// This platform itself.
    #[error("the destination is this platform itself")]
    Own,
}

fn within(name: &str, domain: &str) -> bool {
    name.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// Addresses that lead to this machine, to its neighbour link, or to nobody in particular.
fn is_special(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            v4.is_loopback()
                || v4.is_link_local()
                || v4.is_multicast()
                || v4.is_broadcast()
                // "This network": connecting to any of it reaches this machine on Linux.
                || v4.octets()[0] == 0
        }
        IpAddr::V6(v6) => {
            v6.is_loopback()
                || v6.is_unspecified()
                || v6.is_multicast()
                || v6.is_unicast_link_local()
                // `::a.b.c.d`, deprecated, still leads to IPv4 in some stacks.
                || v6.segments()[..6] == [0; 6]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(guard: &Guard, rows: &[(&str, Result<(), Forbidden>)]) {
        for (uri, wanted) in rows {
            let url = Url::parse(uri).expect("a URL");
            assert_eq!(guard.check(&url), *wanted, "{uri}");
        }
    }

    #[test]
    fn this_machine_cannot_be_named() {
        let guard = Guard {
            own: vec!["10.0.0.9:8001".parse().expect("an address")],
            published: Some(("mep-api-gw.mep".to_owned(), 8443)),
            ..Guard::default()
        };
        check(
            &guard,
            &[
                ("http://10.1.2.3:80/", Ok(())),
                ("https://app.default:8080/x?y", Ok(())),
                ("http://[2001:db8::1]/", Ok(())),
                ("http://127.0.0.1:8001/", Err(Forbidden::Address)),
                ("http://2130706433/", Err(Forbidden::Address)),
                ("http://0x7f.1/", Err(Forbidden::Address)),
                ("http://0/", Err(Forbidden::Address)),
                ("http://[::1]/", Err(Forbidden::Address)),
                ("http://[::ffff:127.0.0.1]/", Err(Forbidden::Address)),
                ("http://[::7f00:1]/", Err(Forbidden::Address)),
                ("http://[fe80::1]/", Err(Forbidden::Address)),
                ("http://169.254.169.254/latest", Err(Forbidden::Address)),
                ("http://224.0.0.1/", Err(Forbidden::Address)),
                ("http://localhost:1/", Err(Forbidden::Address)),
                ("http://a.LOCALHOST./", Err(Forbidden::Address)),
                ("http://mepserver.mep.internal:8088/", Err(Forbidden::Own)),
                ("http://MEP.internal./", Err(Forbidden::Own)),
                ("http://10.0.0.9:8001/", Err(Forbidden::Own)),
                ("http://10.0.0.9:8002/", Ok(())),
                ("https://mep-api-gw.mep:8443/x", Err(Forbidden::Own)),
                ("https://mep-api-gw.mep:8444/x", Ok(())),
                ("ftp://10.1.2.3/", Err(Forbidden::Scheme)),
                ("http://a@10.1.2.3/", Err(Forbidden::Credentials)),
            ],
        );
    }

    #[test]
    fn every_address_of_this_machine_is_its_own() {
        let any = |text: &str| text.parse::<SocketAddr>().expect("an address");
        let guard = Guard {
            own: vec![any("0.0.0.0:8001"), any("[::]:8444")],
            published: Some(("192.0.2.7".to_owned(), 30443)),
            ..Guard::default()
        };
        // The only address every machine has; `check` refuses it before anybody asks whose it is.
        assert!(is_of_this_machine(IpAddr::from([127, 0, 0, 1])));
        assert!(!is_of_this_machine(IpAddr::from([192, 0, 2, 1])));
        assert!(guard.takes_all_at(8001) && guard.takes_all_at(8444) && !guard.takes_all_at(8000));
        check(
            &guard,
            &[
                ("http://192.0.2.1:8001/", Ok(())),
                ("https://192.0.2.7:30443/", Err(Forbidden::Own)),
                ("https://[::ffff:192.0.2.7]:30443/", Err(Forbidden::Own)),
                ("https://192.0.2.7:30444/", Ok(())),
            ],
        );
    }

    #[test]
    fn an_operator_may_allow_more_but_not_the_inside() {
        let guard = Guard {
            allow: Destinations {
                networks: vec!["127.0.0.0/8".parse().expect("a network")],
                hosts: vec!["localhost".to_owned(), "mepserver.mep.internal".to_owned()],
            },
            ..Guard::default()
        };
        check(
            &guard,
            &[
                ("http://127.0.0.1:9/", Ok(())),
                ("http://localhost:9/", Ok(())),
                ("http://[::1]:9/", Err(Forbidden::Address)),
                ("http://mepserver.mep.internal/", Err(Forbidden::Own)),
            ],
        );
    }
}
