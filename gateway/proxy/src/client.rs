//! Whose address counts: the peer's, or what a trusted proxy says.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use http::{HeaderName, HeaderValue};
use ipnet::IpNet;
use pingora_http::RequestHeader;
use pingora_proxy::Session;
use plugins::contract::{Client, Scheme, TlsFacts};
use tokio::sync::watch;

use crate::given_body::Lent;

/// What a listener knows of one connection. It travels to every request on it.
#[derive(Clone, Debug)]
pub struct ConnectionFacts {
    /// The other end.
    pub peer: SocketAddr,
    /// Its address as every request on the connection shows it.
    pub peer_ip: HeaderValue,
    /// Our end.
    pub local: SocketAddr,
    /// The client a PROXY header named, when the listener reads those.
    pub proxied: Option<SocketAddr>,
    /// The handshake, on TLS connections.
    pub tls: Option<Arc<TlsFacts>>,
    /// What every request of the connection is told, with status 400, because the client's
    /// certificate does not suffice.
    pub certificate_refused: Option<&'static str>,
    /// Set when the head of the answer that is written next must say `Connection: Upgrade` too:
    /// pingora writes that header itself and knows nothing but whether the connection is kept. Only
    /// on HTTP/1.
    pub offers_upgrade: Arc<AtomicBool>,
    /// Where the connection is while a session of our own serves its request. Only on HTTP/1.
    pub lent: Lent,
    /// How many requests it may carry, where the listener does not count them itself: on HTTP/2.
    pub quota: OnceLock<Arc<Quota>>,
}

/// How many requests a connection may carry, how many it carries now, and what happens after the
/// last.
#[derive(Debug)]
pub struct Quota {
    requests: u32,
    begun: AtomicU32,
    over: AtomicU32,
    spent: watch::Sender<bool>,
}

/// A request of a connection whose requests are counted, until it is dropped.
#[derive(Debug)]
pub(crate) struct Underway(Arc<Quota>);

impl Drop for Underway {
    fn drop(&mut self) {
        self.0.over.fetch_add(1, Ordering::Relaxed);
    }
}

impl Quota {
    /// So many requests, at least one. What is returned beside it turns true when they are spent.
    pub fn new(requests: u32) -> (Arc<Self>, watch::Receiver<bool>) {
        let (spent, told) = watch::channel(false);
        (
            Arc::new(Self { requests, begun: AtomicU32::new(0), over: AtomicU32::new(0), spent }),
            told,
        )
    }

    /// Has the connection take no further requests.
    pub fn end(&self) {
        self.spent.send_replace(true);
    }

    /// Whether no request was begun yet.
    pub fn is_untouched(&self) -> bool {
        self.begun.load(Ordering::Relaxed) == 0
    }

    /// Whether all requests that were begun are over.
    pub fn is_at_rest(&self) -> bool {
        // In this order: one that ends between the two loads is not missed.
        let over = self.over.load(Ordering::Relaxed);
        over == self.begun.load(Ordering::Relaxed)
    }

    fn take(self: &Arc<Self>) -> Underway {
        if self.begun.fetch_add(1, Ordering::Relaxed).wrapping_add(1) == self.requests {
            self.end();
        }
        Underway(Arc::clone(self))
    }
}

impl ConnectionFacts {
    /// A plain connection that nothing is known of but its ends.
    pub fn new(peer: SocketAddr, local: SocketAddr) -> Self {
        Self {
            peer,
            peer_ip: ip_value(peer.ip().to_canonical()),
            local,
            proxied: None,
            tls: None,
            certificate_refused: None,
            offers_upgrade: Arc::default(),
            lent: Lent::default(),
            quota: OnceLock::new(),
        }
    }

    /// Counts a request.
    pub(crate) fn count(&self) -> Option<Underway> {
        self.quota.get().map(Quota::take)
    }
}

/// What the listener knows of the connection a request came by.
pub(crate) fn connection(session: &Session) -> Option<&ConnectionFacts> {
    session.digest()?.proxy_digest.as_ref()?.user_data.as_ref()?.downcast_ref()
}

/// An address as a header value.
pub(crate) fn ip_value(ip: IpAddr) -> HeaderValue {
    HeaderValue::try_from(ip.to_string()).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
}

/// Where a trusted peer names the client (`real_ip_header`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RealIp {
    /// In this request header; lists as in `X-Forwarded-For` are read from the right.
    Header(HeaderName),
    /// In the PROXY header of the connection.
    ProxyProtocol,
}

/// Which peers are believed, and how they name the client (`trusted_ips`, `real_ip_header`,
/// `real_ip_recursive`).
#[derive(Clone, Debug)]
pub struct Trust {
    /// Addresses of trusted peers.
    pub peers: Vec<IpNet>,
    /// Where they name the client.
    pub real_ip: RealIp,
    /// Whether trusted addresses inside a list are passed over.
    pub recursive: bool,
}

impl Default for Trust {
    fn default() -> Self {
        Self {
            peers: Vec::new(),
            real_ip: RealIp::Header(HeaderName::from_static("x-real-ip")),
            recursive: false,
        }
    }
}

impl Trust {
    /// Decides who the client of a request is.
    pub fn client(&self, connection: &ConnectionFacts, head: &RequestHeader) -> Client {
        let trusted = self.trusts(connection.peer.ip());
        let named = if trusted { self.named(connection, head) } else { None };
        let forwarded = head.headers.get("x-forwarded-proto").filter(|_| trusted);
        let scheme = match (forwarded, &connection.tls) {
            (Some(proto), _) if proto == "https" => Scheme::Https,
            (Some(_), _) | (None, None) => Scheme::Http,
            (None, Some(_)) => Scheme::Https,
        };
        Client {
            ip: named.unwrap_or_else(|| connection.peer.ip().to_canonical()),
            peer: connection.peer,
            local: connection.local,
            scheme,
            trusted,
            tls: connection.tls.clone(),
        }
    }

    /// Who is at the other end of a connection without requests, and whether the peer's word counts:
    /// it names another in its PROXY preamble, whatever `real_ip_header` says.
    pub(crate) fn source(&self, connection: &ConnectionFacts) -> (SocketAddr, bool) {
        let trusted = self.trusts(connection.peer.ip());
        let named = connection.proxied.filter(|_| trusted);
        (named.unwrap_or(connection.peer), trusted)
    }

    /// The address of whoever connected, before any request: the peer's, or the one a trusted peer
    /// names in its PROXY preamble when `real_ip_header` asks for that.
    pub fn connecting(&self, connection: &ConnectionFacts) -> IpAddr {
        let named = (self.real_ip == RealIp::ProxyProtocol && self.trusts(connection.peer.ip()))
            .then_some(connection.proxied)
            .flatten();
        named.unwrap_or(connection.peer).ip().to_canonical()
    }

    fn named(&self, connection: &ConnectionFacts, head: &RequestHeader) -> Option<IpAddr> {
        match &self.real_ip {
            RealIp::ProxyProtocol => connection.proxied.map(|client| client.ip().to_canonical()),
            RealIp::Header(name) => {
                let lines = head.headers.get_all(name).iter().rev();
                let mut listed = lines
                    .filter_map(|line| line.to_str().ok())
                    .flat_map(|line| line.rsplit(','))
                    .map_while(|text| address(text.trim()));
                if self.recursive {
                    let mut last = None;
                    for ip in listed {
                        last = Some(ip);
                        if !self.trusts(ip) {
                            break;
                        }
                    }
                    last
                } else {
                    listed.next()
                }
            }
        }
    }

    fn trusts(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.peers.iter().any(|net| net.contains(&ip))
    }
}

/// An address as proxies write it: bare, bracketed, or with a port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.parse::<IpAddr>().ok();
    bare.or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
        .map(|ip| ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(trust: &Trust, peer: &str, headers: &[(&'static str, &str)], wanted: &str) {
        let mut head = RequestHeader::build("GET", b"/", None).unwrap();
        for (name, value) in headers {
            head.append_header(*name, *value).unwrap();
        }
        let local = "127.0.0.1:8000".parse().unwrap();
        let connection = ConnectionFacts::new(peer.parse().unwrap(), local);
        assert_eq!(trust.client(&connection, &head).ip.to_string(), wanted, "{headers:?}");
    }

    #[test]
    fn only_a_trusted_peer_names_the_client() {
        let nobody = Trust::default();
        let real_ip = Trust { peers: vec!["127.0.0.0/8".parse().unwrap()], ..Trust::default() };
        let forwarded = Trust {
            peers: vec!["127.0.0.0/8".parse().unwrap(), "10.0.0.0/8".parse().unwrap()],
            real_ip: RealIp::Header(HeaderName::from_static("x-forwarded-for")),
            recursive: false,
        };
        let recursive = Trust { recursive: true, ..forwarded.clone() };
        check(&nobody, "127.0.0.1:5", &[("x-real-ip", "1.2.3.4")], "127.0.0.1");
        check(&real_ip, "127.0.0.1:5", &[("x-real-ip", "1.2.3.4")], "1.2.3.4");
        check(&real_ip, "127.0.0.1:5", &[("x-real-ip", "[::ffff:1.2.3.4]:80")], "1.2.3.4");
        check(&real_ip, "127.0.0.1:5", &[("x-real-ip", "junk")], "127.0.0.1");
        check(&real_ip, "9.9.9.9:5", &[("x-real-ip", "1.2.3.4")], "9.9.9.9");
        let list = [("x-forwarded-for", "6.6.6.6, 1.2.3.4, 10.0.0.7")];
        check(&forwarded, "127.0.0.1:5", &list, "10.0.0.7");
        check(&recursive, "127.0.0.1:5", &list, "1.2.3.4");
        check(&recursive, "127.0.0.1:5", &[("x-forwarded-for", "10.0.0.8, 10.0.0.7")], "10.0.0.8");
    }
}
