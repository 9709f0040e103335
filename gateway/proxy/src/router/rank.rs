//! [`Rank`]: which of several matching routes wins.

use std::cmp::Reverse;

use gateway_model::Id;
use gateway_model::entities::Route;

/// How routes are ranked and paths joined (`router_flavor`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Flavour {
    /// Kong's default: one number decides, ties go to the greater id.
    #[default]
    TraditionalCompatible,
    /// Kong before 3.0: fields of equal number are ranked by kind, ties go to the older route.
    Traditional,
    /// As Kong's default, and routes may be written as expressions, which come before all others.
    Expressions,
}

/// The rank of one of a route's paths. The greatest of those that match wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    /// Whether the route is written as an expression.
    expression: bool,
    weight: u64,
    /// Older routes first, those of one second by id, in the flavour that looks at it.
    age: Reverse<(u64, Id)>,
    id: Id,
    /// Position of the path in its route: the first regular expression that matches counts.
    position: Reverse<usize>,
}

/// Of routes whose age does not matter.
const NO_AGE: (u64, Id) = (0, Id::from_bytes([0; 16]));

/// What a path contributes to a rank.
#[derive(Clone, Copy, Debug)]
pub(super) enum PathWeight {
    None,
    /// Bytes of a prefix.
    Prefix(usize),
    Regex,
}

impl Rank {
    pub(super) fn new(
        flavour: Flavour,
        route: &Route,
        fields: &Fields,
        path: PathWeight,
        position: usize,
    ) -> Self {
        let (weight, age) = match flavour {
            Flavour::Traditional => (fields.traditional(route, path), (route.created_at, route.id)),
            Flavour::TraditionalCompatible | Flavour::Expressions => {
                (fields.compatible(route, path), NO_AGE)
            }
        };
        let (age, position) = (Reverse(age), Reverse(position));
        Self { expression: false, weight, age, id: route.id, position }
    }

    /// The rank of a route written as an expression; ties go to the greater id.
    pub(super) const fn of_expression(route: &Route) -> Self {
        Self {
            expression: true,
            weight: route.priority,
            age: Reverse(NO_AGE),
            id: route.id,
            position: Reverse(0),
        }
    }

    /// The rank under a host that names its port: before equals, in the flavour that looks the
    /// whole Host header up first.
    pub(super) const fn under_port(self, flavour: Flavour) -> Self {
        match flavour {
            Flavour::TraditionalCompatible | Flavour::Expressions => self,
            Flavour::Traditional => Self { weight: self.weight | 1 << 55, ..self },
        }
    }
}

/// Which fields a route sets, as far as ranks depend on it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields {
    hosts: bool,
    wildcard_host: bool,
    wildcard_host_port: bool,
    headers: u64,
    paths: bool,
    methods: bool,
    snis: bool,
}

impl Fields {
    pub(super) fn of(route: &Route) -> Self {
        let set = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
        let hosts = route.hosts.as_deref().unwrap_or_default();
        let wildcard = |host: &&String| host.contains('*');
        Self {
            hosts: set(&route.hosts),
            wildcard_host: hosts.iter().any(|host| wildcard(&host)),
            wildcard_host_port: hosts.iter().filter(wildcard).any(|host| host.contains(':')),
            headers: route.headers.as_ref().map_or(0, |headers| headers.len().min(255) as u64),
            paths: set(&route.paths),
            methods: set(&route.methods),
            snis: set(&route.snis),
        }
    }

    fn count(&self) -> u64 {
        [self.hosts, self.headers > 0, self.paths, self.methods, self.snis]
            .map(u64::from)
            .iter()
            .sum()
    }

    /// The 64-bit priority of Kong's default flavour (kong/router/transform.lua, get_priority).
    fn compatible(&self, route: &Route, path: PathWeight) -> u64 {
        let plain_hosts = u64::from(self.hosts && !self.wildcard_host);
        let path = match path {
            PathWeight::None => 0,
            PathWeight::Prefix(length) => (length as u64).min(0x7_ffff),
            PathWeight::Regex => 1 << 51 | regex_priority(route) << 19,
        };
        self.count() << 61 | plain_hosts << 60 | self.headers << 52 | path
    }

    /// Number of fields, then their kinds, then the details, in the order of
    /// kong/router/traditional.lua (sort_categories, sort_routes), packed into one number. Bit 55
    /// is [`Rank::under_port`]'s.
    fn traditional(&self, route: &Route, path: PathWeight) -> u64 {
        let kinds = [self.hosts, self.headers > 0, self.paths, self.methods, self.snis];
        let kinds = kinds.iter().fold(0, |bits, set| bits << 1 | u64::from(*set));
        let plain_hosts = u64::from(self.hosts && !self.wildcard_host);
        let regex = u64::from(matches!(path, PathWeight::Regex));
        let details = u64::from(self.wildcard_host_port) << 2 | plain_hosts << 1 | regex;
        let path = match path {
            PathWeight::None => 0,
            PathWeight::Prefix(length) => (length as u64).min(u64::from(u32::MAX)),
            PathWeight::Regex => regex_priority(route),
        };
        self.count() << 61 | kinds << 56 | details << 52 | self.headers << 44 | path
    }
}

/// `regex_priority` in 32 bits that keep its order, negative ones below zero. Kong's own packing
/// lets a negative one spill into the fields above; ranking it last is our choice.
fn regex_priority(route: &Route) -> u64 {
    let priority = route.regex_priority.unwrap_or(0);
    let priority = priority.clamp(i32::MIN.into(), i32::MAX.into()) - i64::from(i32::MIN);
    priority.unsigned_abs()
}
