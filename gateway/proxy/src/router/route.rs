//! [`CompiledRoute`]: a route ready to be matched and served.

use std::fmt;
use std::sync::Arc;

use gateway_model::entities::{PathHandling, Route, Service};
use gateway_model::expression::{self, Expression};
use gateway_model::{Id, Item, Violations};
use http::HeaderValue;
use plugins::contract::Scheme;
use regex::Regex;
use regex_syntax::hir::literal::Extractor;
use serde_json::Value;

use super::condition::{HeaderCondition, SniCondition, last_line};
use super::expression::{Program, RequestParts, Subject};
use super::host::{Host, HostPattern};
use super::path::Join;
use super::rank::{Fields, PathWeight, Rank};
use super::{Flavour, Wanted};
use crate::chain::Attached;

/// A service ready to be sent to: what its routes share. Cloning costs little.
#[derive(Clone)]
pub struct CompiledService {
    service: Item<Service>,
    host: Option<HeaderValue>,
}

impl From<Item<Service>> for CompiledService {
    fn from(service: Item<Service>) -> Self {
        // What is cloned first may be moved then: here, and not when routes are compiled.
        let host = host_header(&service).inspect(|host| drop(host.clone()));
        Self { service, host }
    }
}

/// A route with its service and its chain: all a request needs once it is found.
pub struct CompiledRoute {
    /// The route.
    pub route: Item<Route>,
    /// Its service; a route without one only runs plugins.
    pub service: Option<Item<Service>>,
    /// What it adds to the chain every route has.
    pub attached: Arc<Attached>,
    /// Whether it takes https but not http.
    pub https_only: bool,
    /// The Host header of the service: its host, and its port unless that is the protocol's own.
    /// `None` without a service.
    pub upstream_host: Option<HeaderValue>,
    pub(super) join: Join,
    matcher: Arc<Matcher>,
}

impl CompiledRoute {
    /// Compiles a route. `previous` is the form it had before, whose expressions are reused when
    /// the route is the very same; the flavour must be too.
    ///
    /// # Errors
    ///
    /// A regular expression that does not compile, by field.
    pub fn new(
        route: Item<Route>,
        service: Option<CompiledService>,
        attached: Arc<Attached>,
        flavour: Flavour,
        previous: Option<&Self>,
    ) -> Result<Self, Violations> {
        let matcher = match previous {
            Some(previous) if previous.route.same(&route) => Arc::clone(&previous.matcher),
            _ => Arc::new(Matcher::compile(&route, flavour)?),
        };
        let takes = |protocol: &str| route.protocols.iter().any(|one| one == protocol);
        let (service, upstream_host) = match service {
            Some(CompiledService { service, host }) => (Some(service), host),
            None => (None, None),
        };
        Ok(Self {
            https_only: takes("https") && !takes("http"),
            upstream_host,
            join: Join {
                strip: route.strip_path,
                as_text: flavour == Flavour::Traditional
                    && route.path_handling == Some(PathHandling::V1),
            },
            matcher,
            route,
            service,
            attached,
        })
    }

    /// The route's primary key.
    pub fn id(&self) -> Id {
        self.route.id()
    }

    /// Whether the expressions of both are the same ones.
    #[cfg(test)]
    pub(crate) fn shares_matcher(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.matcher, &other.matcher)
    }

    /// The regular expression among its paths at this position.
    pub(super) fn regex(&self, path: usize) -> Option<&Regex> {
        if let Some(PathMatcher { test: PathTest::Expression(program), .. }) =
            self.matcher.paths.first()
        {
            return program.regex(path);
        }
        match &self.matcher.paths.get(path)?.test {
            PathTest::Regex(regex) => Some(regex),
            PathTest::Literal | PathTest::Expression(_) => None,
        }
    }

    /// Where the router finds this route: once for every host it names and every path.
    pub(super) fn places(route: &Arc<Self>) -> impl Iterator<Item = Place<'_>> {
        let hosts = &route.matcher.hosts;
        let any = hosts.is_empty().then_some((None, None));
        let named = hosts.iter().map(|(host, port)| (Some(host), *port));
        any.into_iter().chain(named).flat_map(move |(host, port)| {
            route.matcher.paths.iter().enumerate().map(move |(at, path)| {
                let rank = match port {
                    Some(_) => path.rank.under_port(route.matcher.flavour),
                    None => path.rank,
                };
                let prefix = match path.test {
                    PathTest::Literal => Some(path.beginning.len()),
                    PathTest::Regex(_) | PathTest::Expression(_) => None,
                };
                let conditional = route.matcher.is_conditional();
                let route = Arc::clone(route);
                let entry = Entry { rank, port, conditional, prefix, path: at, route };
                Place { host, beginning: &path.beginning, entry }
            })
        })
    }
}

impl fmt::Debug for CompiledRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.route.fmt(f)
    }
}

fn host_header(service: &Service) -> Option<HeaderValue> {
    let default = if ["https", "grpcs", "tls"].contains(&&*service.protocol) { 443 } else { 80 };
    let host = &service.host;
    let host = if host.contains(':') && !host.starts_with('[') {
        format!("[{host}]")
    } else {
        host.clone()
    };
    let host = if service.port == default { host } else { format!("{host}:{}", service.port) };
    HeaderValue::try_from(host).ok()
}

/// One place of a route in the router.
pub(super) struct Place<'r> {
    /// The host it is under; `None` for a route without hosts.
    pub(super) host: Option<&'r HostPattern>,
    /// What every path that matches begins with.
    pub(super) beginning: &'r [u8],
    pub(super) entry: Entry,
}

/// What stands at a place: the rank, and the conditions the place does not imply.
///
/// What decides for most routes lies here rather than behind the pointer, so that a lookup among
/// many touches the memory of the one it finds.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) rank: Rank,
    /// The port the host asks for.
    port: Option<u16>,
    /// Whether the route asks for more than host and path.
    conditional: bool,
    /// How many bytes of the path the place implies; `None` where an expression tells.
    prefix: Option<usize>,
    /// Position among the route's paths.
    path: usize,
    pub(super) route: Arc<CompiledRoute>,
}

impl Entry {
    /// What of its path a request matches, for one that fits the entry's place; `None` when it does
    /// not match.
    pub(super) fn matches(&self, wanted: &Wanted<'_>, host: &Host<'_>) -> Option<Hit> {
        let right_port = self.port.is_none_or(|port| host.port.unwrap_or(wanted.port) == port);
        if !right_port || (self.conditional && !self.route.matcher.accepts(wanted)) {
            return None;
        }
        if let Some(prefix) = self.prefix {
            return Some(Hit { prefix, path: self.path });
        }
        match &self.route.matcher.paths.get(self.path)?.test {
            PathTest::Literal => None,
            PathTest::Regex(regex) => {
                Some(Hit { prefix: regex.find(wanted.path)?.end(), path: self.path })
            }
            PathTest::Expression(program) => {
                let matched = program.matches(&subject(wanted, host))?;
                // Kong takes as many bytes off the path's beginning, wherever they matched.
                let path = matched.regex.unwrap_or(usize::MAX);
                Some(Hit { prefix: matched.length.min(wanted.path.len()), path })
            }
        }
    }
}

/// What of a request's path a route matched.
#[derive(Clone, Copy)]
pub(super) struct Hit {
    /// How many bytes.
    pub(super) prefix: usize,
    /// Which path of the route, or which regular expression of its expression.
    pub(super) path: usize,
}

fn subject<'w>(wanted: &Wanted<'w>, host: &Host<'w>) -> Subject<'w> {
    Subject {
        protocol: wanted.scheme.as_str(),
        sni: wanted.sni,
        source: wanted.source,
        destination_ip: wanted.destination,
        destination_port: host.port.unwrap_or(wanted.port),
        request: Some(RequestParts {
            method: wanted.method,
            host: host.name,
            path: wanted.path,
            query: wanted.query,
            headers: wanted.headers,
        }),
    }
}

/// What a route asks of a request. A field that is empty asks nothing.
struct Matcher {
    flavour: Flavour,
    hosts: Box<[(HostPattern, Option<u16>)]>,
    /// Never empty: a route without paths has one entry for any.
    paths: Box<[PathMatcher]>,
    methods: Box<[Box<str>]>,
    headers: Box<[HeaderCondition]>,
    snis: Box<[SniCondition]>,
    /// The only scheme it takes, in the flavour that matches it.
    scheme: Option<Scheme>,
}

struct PathMatcher {
    rank: Rank,
    /// What every path that matches begins with: where it stands in the tree.
    beginning: Box<[u8]>,
    test: PathTest,
}

enum PathTest {
    /// The beginning is all there is to match; an empty one matches any path.
    Literal,
    Regex(Regex),
    /// Of the whole request.
    Expression(Program),
}

impl Matcher {
    fn compile(route: &Route, flavour: Flavour) -> Result<Self, Violations> {
        let hosts = route.hosts.as_deref().unwrap_or_default();
        let methods = route.methods.as_deref().unwrap_or_default();
        let snis = route.snis.as_deref().unwrap_or_default();
        let headers = route.headers.iter().flatten();
        Ok(Self {
            flavour,
            hosts: hosts.iter().map(|host| HostPattern::parse(host)).collect(),
            paths: paths(route, flavour)?,
            methods: methods.iter().map(|method| method.as_str().into()).collect(),
            headers: headers
                .map(|(name, values)| HeaderCondition::compile(name, values))
                .collect::<Result<_, _>>()?,
            snis: snis.iter().map(|name| SniCondition::parse(name)).collect(),
            scheme: only_scheme(route).filter(|_| flavour == Flavour::Expressions),
        })
    }

    fn is_conditional(&self) -> bool {
        !self.methods.is_empty()
            || !self.headers.is_empty()
            || !self.snis.is_empty()
            || self.scheme.is_some()
    }

    /// Whether everything but host and path fits.
    fn accepts(&self, wanted: &Wanted<'_>) -> bool {
        let method = || self.methods.iter().any(|method| **method == *wanted.method);
        let sni = || wanted.sni.is_some_and(|sni| self.snis.iter().any(|name| name.holds(sni)));
        self.scheme.is_none_or(|scheme| scheme == wanted.scheme)
            && (self.methods.is_empty() || method())
            && (self.snis.is_empty() || wanted.scheme == Scheme::Http || sni())
            && self.headers.iter().all(|header| header.holds(wanted.headers))
    }
}

/// Where protocols are matched, `https` alone is not: such a route redirects what is not
/// (kong/router/expressions.lua).
fn only_scheme(route: &Route) -> Option<Scheme> {
    let takes = |names: [&str; 2]| route.protocols.iter().any(|one| names.contains(&one.as_str()));
    match (takes(["http", "grpc"]), takes(["https", "grpcs"])) {
        (true, false) => Some(Scheme::Http),
        (false, true) if route.protocols.iter().any(|one| one == "grpcs") => Some(Scheme::Https),
        _ => None,
    }
}

/// Each path by itself with its own rank. Kong splits a route into one for its regular expressions
/// and one for each length of prefix, which ranks the same
/// (kong/router/compat.lua, split_routes_and_services_by_path).
fn paths(route: &Route, flavour: Flavour) -> Result<Box<[PathMatcher]>, Violations> {
    if let Some(text) = &route.expression {
        let expression = Expression::parse(text, expression::Subject::Requests)
            .map_err(|why| Violations::one("expression", why))?;
        let program = Program::new(&expression);
        let beginning = program.beginning().as_bytes().into();
        let rank = Rank::of_expression(route);
        return Ok([PathMatcher { rank, beginning, test: PathTest::Expression(program) }].into());
    }
    let fields = Fields::of(route);
    let rank = |weight, at| Rank::new(flavour, route, &fields, weight, at);
    let listed = route.paths.as_deref().unwrap_or_default();
    if listed.is_empty() {
        let rank = rank(PathWeight::None, 0);
        return Ok(
            [PathMatcher { rank, beginning: Box::default(), test: PathTest::Literal }].into()
        );
    }
    let mut problems = vec![Value::Null; listed.len()];
    let mut paths = Vec::with_capacity(listed.len());
    for (at, path) in listed.iter().enumerate() {
        paths.push(match path.strip_prefix('~') {
            None => PathMatcher {
                rank: rank(PathWeight::Prefix(path.len()), at),
                beginning: path.as_bytes().into(),
                test: PathTest::Literal,
            },
            Some(pattern) => match Regex::new(&format!("^(?:{pattern})")) {
                Ok(regex) => PathMatcher {
                    rank: rank(PathWeight::Regex, at),
                    beginning: literal_beginning(pattern),
                    test: PathTest::Regex(regex),
                },
                Err(why) => {
                    let text = format!("invalid regex: '{pattern}' ({})", last_line(&why));
                    problems[at] = text.into();
                    continue;
                }
            },
        });
    }
    if problems.iter().all(Value::is_null) {
        return Ok(paths.into());
    }
    let mut violations = Violations::new();
    violations.add("paths", Value::Array(problems));
    Err(violations)
}

/// The text every match of a regular expression begins with, which saves trying it elsewhere.
fn literal_beginning(pattern: &str) -> Box<[u8]> {
    let Ok(hir) = regex_syntax::parse(pattern) else { return Box::default() };
    let beginnings = Extractor::new().extract(&hir);
    beginnings.longest_common_prefix().unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use super::literal_beginning;

    #[test]
    fn beginnings_of_regular_expressions() {
        for (pattern, wanted) in [
            ("/api/v\\d+/x", "/api/v"),
            ("/re/(?<id>\\d+)$", "/re/"),
            ("/(a|b)", "/"),
            ("/a|/b", "/"),
            ("/a?b", "/"),
            ("(?i)/api", "/"),
            ("/.*", "/"),
            ("/*", ""),
            ("/exact$", "/exact"),
            ("/é", "/é"),
        ] {
            assert_eq!(&*literal_beginning(pattern), wanted.as_bytes(), "for {pattern}");
        }
    }
}
