//! [`StreamRouter`]: which route a connection takes.

use std::cmp::Reverse;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use gateway_model::entities::{Destination, Route, Service};
use gateway_model::expression::{self, Expression};
use gateway_model::{Id, Item, Violations};
use ipnet::IpNet;

use crate::chain::Chain;
use crate::router::Flavour;
use crate::router::condition::SniCondition;
use crate::router::expression::{Program, Subject};

/// What stream routes look at.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// How the listener was reached.
    pub carrier: Carrier,
    /// The client.
    pub source: SocketAddr,
    /// Our end, or what the client connected to in front of us.
    pub destination: SocketAddr,
    /// The server name of the TLS handshake.
    pub sni: Option<&'a str>,
}

/// How a listener is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// Connections.
    Tcp,
    /// Connections that begin with a TLS handshake.
    Tls,
    /// Datagrams.
    Udp,
}

impl Carrier {
    /// Kong's name for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Udp => "udp",
        }
    }

    /// The protocols of routes that may be reached so. What comes over TLS may be handed to a route
    /// for `tcp` once it is deciphered (kong/router/expressions.lua).
    const fn protocols(self) -> &'static [&'static str] {
        match self {
            Self::Tcp => &["tcp"],
            Self::Tls => &["tls", "tls_passthrough", "tcp"],
            Self::Udp => &["udp"],
        }
    }
}

/// Protocols of routes for streams.
pub(crate) const STREAM: [&str; 4] = ["tcp", "tls", "tls_passthrough", "udp"];

/// A route for streams with all a connection needs once it is found.
pub struct StreamRoute {
    /// The route.
    pub route: Item<Route>,
    /// Its service; a route without one serves nobody.
    pub service: Option<Item<Service>>,
    /// The plugin instances that may apply.
    pub chain: Arc<Chain>,
    rank: Rank,
    test: Test,
}

/// The greatest of those that match wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    /// Whether the route is written as an expression.
    expression: bool,
    weight: u64,
    /// Older routes first, in the flavour that looks at it.
    age: Reverse<u64>,
    id: Id,
}

enum Test {
    Expression(Program),
    Fields { sources: Box<[End]>, destinations: Box<[End]>, snis: Box<[SniCondition]> },
}

/// One of the ends a route lists.
struct End {
    net: Option<IpNet>,
    port: Option<u16>,
}

impl End {
    fn new(listed: &Destination) -> Self {
        let net = listed.ip.as_deref().and_then(|text| {
            let ip = text.parse::<IpAddr>().ok().map(IpNet::from);
            ip.or_else(|| text.parse().ok())
        });
        Self { net, port: listed.port }
    }

    fn fits(&self, end: SocketAddr) -> bool {
        self.net.is_none_or(|net| net.contains(&end.ip().to_canonical()))
            && self.port.is_none_or(|port| port == end.port())
    }
}

impl StreamRoute {
    /// Compiles a route.
    ///
    /// # Errors
    ///
    /// An expression that cannot be understood, by field.
    pub fn new(
        route: Item<Route>,
        service: Option<Item<Service>>,
        chain: Arc<Chain>,
        flavour: Flavour,
    ) -> Result<Self, Violations> {
        let ends = |listed: &Option<Vec<Destination>>| -> Box<[End]> {
            listed.iter().flatten().map(End::new).collect()
        };
        let snis = route.snis.iter().flatten();
        let test = match &route.expression {
            Some(text) => Expression::parse(text, expression::Subject::Streams)
                .map(|parsed| Test::Expression(Program::new(&parsed)))
                .map_err(|why| Violations::one("expression", why))?,
            None => Test::Fields {
                sources: ends(&route.sources),
                destinations: ends(&route.destinations),
                snis: snis.map(|name| SniCondition::parse(name)).collect(),
            },
        };
        let age = match flavour {
            Flavour::Traditional => route.created_at,
            _ => 0,
        };
        let expression = route.expression.is_some();
        let weight = if expression { route.priority } else { weight(&route) };
        let rank = Rank { expression, weight, age: Reverse(age), id: route.id };
        Ok(Self { rank, test, route, service, chain })
    }

    /// Whether the client's TLS is left to the upstream.
    pub fn passes_tls_through(&self) -> bool {
        self.takes("tls_passthrough")
    }

    fn takes(&self, protocol: &str) -> bool {
        self.route.protocols.iter().any(|one| one == protocol)
    }

    fn matches(&self, asked: &Asked<'_>) -> bool {
        if !asked.carrier.protocols().iter().any(|protocol| self.takes(protocol)) {
            return false;
        }
        match &self.test {
            Test::Expression(program) => {
                let subject = Subject {
                    protocol: asked.carrier.as_str(),
                    sni: asked.sni,
                    source: asked.source,
                    destination_ip: asked.destination.ip(),
                    destination_port: asked.destination.port(),
                    request: None,
                };
                program.matches(&subject).is_some()
            }
            Test::Fields { sources, destinations, snis } => {
                let fits =
                    |ends: &[End], end| ends.is_empty() || ends.iter().any(|one| one.fits(end));
                let named = || asked.sni.is_some_and(|sni| snis.iter().any(|name| name.holds(sni)));
                fits(sources, asked.source)
                    && fits(destinations, asked.destination)
                    && (snis.is_empty() || asked.carrier != Carrier::Tls || named())
            }
        }
    }
}

impl fmt::Debug for StreamRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.route.fmt(f)
    }
}

/// Kong's priority of stream routes: both ends or a server name first, then single addresses,
/// ports and ranges, those of the source before those of the destination
/// (kong/router/transform.lua, stream_get_priority).
fn weight(route: &Route) -> u64 {
    let bits = |listed: &Option<Vec<Destination>>| {
        listed.iter().flatten().fold(0, |bits, end| {
            let ip = match &end.ip {
                Some(ip) if ip.contains('/') => 1,
                Some(_) => 1 << 3,
                None => 0,
            };
            bits | ip | if end.port.is_some() { 1 << 2 } else { 0 }
        })
    };
    let (sources, destinations) = (bits(&route.sources), bits(&route.destinations));
    let named = route.snis.as_ref().is_some_and(|snis| !snis.is_empty());
    let special = named || (sources != 0 && destinations != 0);
    u64::from(special) << 61 | sources << 4 | destinations
}

/// Every route that takes streams, best first. There are few, so a lookup goes through them.
#[derive(Clone, Debug, Default)]
pub struct StreamRouter(Arc<[Arc<StreamRoute>]>);

impl StreamRouter {
    /// A router over these routes.
    pub fn new(mut routes: Vec<Arc<StreamRoute>>) -> Self {
        routes.sort_by_key(|route| Reverse(route.rank));
        Self(routes.into())
    }

    /// The route of a connection, `None` when no one matches.
    pub fn find(&self, asked: &Asked<'_>) -> Option<&Arc<StreamRoute>> {
        self.0.iter().find(|route| route.matches(asked))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::snapshot::test_kit::{World, id, insert};

    fn check(routes: Value, rows: &[(&str, &str)]) {
        let mut world = World::new();
        for (n, route) in (1..).zip(routes.as_array().unwrap()) {
            let mut route = route.clone();
            route["id"] = json!(id(n));
            world.write(&[insert("routes", route)]);
        }
        let compile = |route| {
            let flavour = Flavour::default();
            Arc::new(StreamRoute::new(route, None, Arc::default(), flavour).unwrap())
        };
        let router = StreamRouter::new(world.catalog.all::<Route>().map(compile).collect());
        for (line, wanted) in rows {
            let words: Vec<&str> = line.split(' ').collect();
            let carrier = match words[0] {
                "tcp" => Carrier::Tcp,
                "tls" => Carrier::Tls,
                _ => Carrier::Udp,
            };
            let (source, destination) = (words[1].parse().unwrap(), words[2].parse().unwrap());
            let sni = words.get(3).copied();
            let found = router.find(&Asked { carrier, source, destination, sni });
            let name = found.and_then(|found| found.route.name.as_deref()).unwrap_or("-");
            assert_eq!(name, *wanted, "{line}");
        }
    }

    #[test]
    fn addresses_before_ports_before_ranges() {
        check(
            json!([
                {"name": "range", "protocols": ["tcp"], "sources": [{"ip": "10.0.0.0/8"}]},
                {"name": "port", "protocols": ["tcp"], "sources": [{"port": 77}]},
                {"name": "address", "protocols": ["tcp"], "sources": [{"ip": "10.0.0.1"}]},
                {"name": "both", "protocols": ["tcp"], "sources": [{"ip": "10.0.0.0/8"}],
                 "destinations": [{"ip": "127.0.0.9", "port": 9}]},
                {"name": "to", "protocols": ["tcp"], "destinations": [{"port": 5}]},
                {"name": "datagrams", "protocols": ["udp"], "destinations": [{"port": 5}]},
                {"name": "six", "protocols": ["tcp"], "sources": [{"ip": "fd00::/16", "port": 1}]},
            ]),
            &[
                ("tcp 10.0.0.1:77 127.0.0.1:5", "address"),
                ("tcp 10.0.0.2:77 127.0.0.1:5", "port"),
                ("tcp 10.0.0.2:78 127.0.0.1:5", "range"),
                ("tcp [::ffff:10.0.0.2]:78 127.0.0.1:6", "range"),
                ("tcp 10.0.0.1:77 127.0.0.9:9", "both"),
                ("tcp 9.9.9.9:1 127.0.0.1:5", "to"),
                ("tcp [fd00::7]:1 127.0.0.1:6", "six"),
                ("udp 10.0.0.1:77 127.0.0.1:5", "datagrams"),
                ("udp 10.0.0.1:77 127.0.0.1:6", "-"),
                ("tcp 9.9.9.9:1 127.0.0.1:6", "-"),
            ],
        );
    }

    #[test]
    fn server_names() {
        check(
            json!([
                {"name": "a", "protocols": ["tls"], "snis": ["a.test"]},
                {"name": "wild", "protocols": ["tls_passthrough"], "snis": ["*.a.test"]},
                {"name": "port", "protocols": ["tls", "tcp"], "destinations": [{"port": 5}]},
                {"name": "plain", "protocols": ["tcp"], "destinations": [{"port": 6}]},
            ]),
            &[
                ("tls 1.1.1.1:1 127.0.0.1:5 a.test", "a"),
                ("tls 1.1.1.1:1 127.0.0.1:5 A.test", "a"),
                ("tls 1.1.1.1:1 127.0.0.1:5 b.a.test", "wild"),
                ("tls 1.1.1.1:1 127.0.0.1:5 c.test", "port"),
                ("tls 1.1.1.1:1 127.0.0.1:5", "port"),
                ("tls 1.1.1.1:1 127.0.0.1:6 c.test", "plain"),
                ("tcp 1.1.1.1:1 127.0.0.1:5", "port"),
                ("tcp 1.1.1.1:1 127.0.0.1:7", "-"),
            ],
        );
    }
}
