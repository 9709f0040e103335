//! The name server for edge applications; `names.rs` is about resolving names ourselves.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::time::Duration;

use super::listen::Listen;
use super::network::{self, Networks};
use super::reader::Reader;
use super::scalar::choice;

/// How names are answered.
#[derive(Debug)]
pub(crate) struct EdgeDns {
    /// Who is asked about names that are not ours; empty: nobody.
    pub(crate) upstream: Vec<SocketAddr>,
    /// How long one try may take.
    pub(crate) timeout: Duration,
    pub(crate) unknown: Unknown,
    /// Begin with another address each time.
    pub(crate) load_balance: bool,
    /// Answers over UDP each network gets in a second; absent for no limit.
    pub(crate) rate_limit: Option<NonZeroU32>,
    /// Who may ask; empty: everybody.
    pub(crate) clients: Networks,
}

impl EdgeDns {
    pub(super) fn read(reader: &mut Reader<'_>, listens: &[Listen]) -> Self {
        if listens.iter().any(|listen| listen.ssl || listen.proxy_protocol) {
            let key = "mep_dns_listen";
            reader.refuse(key, format!("{key}: ssl and proxy_protocol are not for DNS"));
        }
        let upstream_key = "mep_dns_upstream";
        let upstream = reader.each(upstream_key, |text| {
            resolver(text)
                .ok_or_else(|| format!("{upstream_key}: no address or address with port: '{text}'"))
        });
        if let Some(own) = upstream.iter().find(|server| listens.iter().any(|l| l.addr == **server))
        {
            reader.refuse(upstream_key, format!("{upstream_key}: {own} is this name server"));
        }
        let timeout_key = "mep_dns_timeout";
        let timeout = reader.span(timeout_key);
        if !(1..=50).contains(&timeout.as_secs()) {
            reader.refuse(timeout_key, format!("{timeout_key} must be from 1 to 50 seconds"));
        }
        let clients_key = "mep_dns_clients";
        let clients = reader.each(clients_key, |text| {
            network::network(text)
                .ok_or_else(|| format!("{clients_key}: no address or CIDR block: '{text}'"))
        });
        Self {
            upstream,
            timeout,
            unknown: reader.choice("mep_dns_unknown"),
            load_balance: reader.boolean("mep_dns_load_balance"),
            rate_limit: NonZeroU32::new(reader.whole("mep_dns_rate_limit", 0..=1_000_000)),
            clients: clients.into_iter().collect(),
        }
    }
}

/// `192.0.2.53`, `192.0.2.53:5353`, `2001:db8::53` or `[2001:db8::53]:5353`.
fn resolver(text: &str) -> Option<SocketAddr> {
    match text.parse::<IpAddr>() {
        Ok(ip) => Some((ip, 53).into()),
        Err(_) => text.parse().ok().filter(|server: &SocketAddr| server.port() > 0),
    }
}

choice! {
    /// What is said of a name nobody can be asked about.
    Unknown {
        ServFail = "servfail",
        NxDomain = "nxdomain",
    }
}

#[cfg(test)]
mod tests {
    use super::resolver;

    #[test]
    fn resolvers() {
        for (text, read) in [
            ("192.0.2.53", Some("192.0.2.53:53")),
            ("192.0.2.53:5353", Some("192.0.2.53:5353")),
            ("2001:db8::53", Some("[2001:db8::53]:53")),
            ("[2001:db8::53]:5353", Some("[2001:db8::53]:5353")),
            ("192.0.2.53:0", None),
            ("dns.example", None),
            ("", None),
        ] {
            assert_eq!(resolver(text), read.and_then(|text| text.parse().ok()), "{text:?}");
        }
    }
}
