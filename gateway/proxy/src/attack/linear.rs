//! A linear scan that finds what the router must find: slow, and obviously what the rules say.

use std::cmp::Reverse;
use std::sync::Arc;

use gateway_model::Item;
use gateway_model::entities::Route;
use regex::Regex;

use crate::router::{CompiledRoute, Flavour, Wanted};

/// The best match: its route, how many bytes of the path it matched, and how it ranks.
type Best = (Item<Route>, usize);

/// Looks at every route.
pub(crate) fn scan(
    flavour: Flavour,
    routes: &[Arc<CompiledRoute>],
    ask: &Wanted<'_>,
) -> Option<Best> {
    let mut matching = Vec::new();
    for route in routes {
        let route = &route.route;
        let Some(named_port) = host_matches(flavour, route, ask) else { continue };
        if !method_matches(route, ask) || !headers_match(route, ask) || !sni_matches(route, ask) {
            continue;
        }
        let paths = route.paths.clone().unwrap_or_default();
        if paths.is_empty() {
            matching.push((rank(flavour, route, named_port, "", 0), route, 0));
        }
        for (at, path) in paths.iter().enumerate() {
            if let Some(length) = matched_length(path, ask.path) {
                matching.push((rank(flavour, route, named_port, path, at), route, length));
            }
        }
    }
    let best = matching.into_iter().max_by(|a, b| a.0.cmp(&b.0));
    best.map(|(_, route, length)| (route.clone(), length))
}

/// Whether a host fits, and if so whether one does that names its port.
fn host_matches(flavour: Flavour, route: &Route, ask: &Wanted<'_>) -> Option<bool> {
    let hosts = route.hosts.clone().unwrap_or_default();
    let (sent, sent_port) = match with_port(ask.host) {
        Some((name, port)) => (name, port.unwrap_or(ask.port)),
        None => (ask.host, ask.port),
    };
    let fits = |host: &&String| {
        let (name, port) = with_port(host).unwrap_or((host, None));
        let name_fits = match (name.strip_prefix('*'), name.strip_suffix('*')) {
            (Some(end), _) => {
                sent.ends_with(end) && (flavour != Flavour::Traditional || sent != end)
            }
            (_, Some(start)) => {
                sent.starts_with(start) && (flavour != Flavour::Traditional || sent != start)
            }
            _ => sent == name,
        };
        name_fits && port.is_none_or(|port| port == sent_port)
    };
    let fitting: Vec<&String> = hosts.iter().filter(fits).collect();
    (hosts.is_empty() || !fitting.is_empty()).then(|| fitting.iter().any(|host| host.contains(':')))
}

/// The two sides of the first colon, where the second is a port or nothing.
fn with_port(host: &str) -> Option<(&str, Option<u16>)> {
    let (name, port) = host.split_once(':')?;
    let digits = port.bytes().all(|byte| byte.is_ascii_digit());
    match port {
        "" => Some((name, None)),
        _ if digits => Some((name, Some(port.parse().ok()?))),
        _ => None,
    }
}

fn method_matches(route: &Route, ask: &Wanted<'_>) -> bool {
    route
        .methods
        .as_ref()
        .is_none_or(|all| all.is_empty() || all.iter().any(|one| one == ask.method))
}

fn headers_match(route: &Route, ask: &Wanted<'_>) -> bool {
    route.headers.iter().flatten().all(|(name, values)| {
        ask.headers.get_all(name.as_str()).iter().any(|sent| {
            let sent = sent.to_str().unwrap_or_default().to_lowercase();
            values.iter().any(|value| match value.strip_prefix("~*") {
                Some(pattern) => Regex::new(pattern).is_ok_and(|regex| regex.is_match(&sent)),
                None => value.to_lowercase() == sent,
            })
        })
    })
}

fn sni_matches(route: &Route, ask: &Wanted<'_>) -> bool {
    let snis = route.snis.clone().unwrap_or_default();
    snis.is_empty() || ask.sni.is_none_or(|sni| snis.iter().any(|one| one == sni))
}

fn matched_length(path: &str, asked: &str) -> Option<usize> {
    match path.strip_prefix('~') {
        Some(pattern) => {
            let regex = Regex::new(&format!("^(?:{pattern})")).ok()?;
            regex.find(asked).map(|found| found.end())
        }
        None => asked.starts_with(path).then_some(path.len()),
    }
}

/// The rules of precedence, most important first.
fn rank(
    flavour: Flavour,
    route: &Route,
    named_port: bool,
    path: &str,
    at: usize,
) -> impl Ord + use<> {
    let set = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
    let headers = route.headers.as_ref().map_or(0, |headers| headers.len());
    let kinds =
        [set(&route.hosts), headers > 0, set(&route.paths), set(&route.methods), set(&route.snis)];
    let count = kinds.iter().filter(|set| **set).count();
    let hosts = route.hosts.clone().unwrap_or_default();
    let wildcard = hosts.iter().any(|host| host.contains('*'));
    let plain = set(&route.hosts) && !wildcard;
    let regex = path.starts_with('~');
    let priority = if regex { route.regex_priority.unwrap_or(0) } else { 0 };
    let length = if regex { 0 } else { path.len() };
    let path = (regex, priority, length);
    match flavour {
        Flavour::Traditional => {
            let wildcard_port = hosts.iter().any(|host| host.contains('*') && host.contains(':'));
            let details = (kinds, named_port, wildcard_port, plain, regex, headers, path);
            let age = Some((route.created_at, route.id));
            (count, Some(details), None, Reverse(age), route.id, Reverse(at))
        }
        _ => (count, None, Some((plain, headers, path)), Reverse(None), route.id, Reverse(at)),
    }
}
