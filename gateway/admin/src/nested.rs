//! [`Resource`]: what a path names. Nested paths follow from the declared references.

use gateway_model::{EntityType, Registry};

use crate::ExtraPage;

/// What a path names.
#[derive(Debug)]
pub(crate) enum Resource {
    /// `/services`, `/services/{s}/routes`
    Collection(Scope),
    /// `/services/{s}`, `/services/{s}/routes/{r}`
    Entity(Scope, String),
    /// `/routes/{r}/service`: the one entity a field refers to.
    Referenced {
        /// The kind that refers.
        kind: &'static EntityType,
        /// Which entity of it, as given.
        key: String,
        /// The field.
        field: &'static str,
        /// The kind referred to.
        target: &'static EntityType,
    },
    /// A path that is no entity's.
    Page(Page),
}

/// A collection, whole or below a parent.
#[derive(Debug)]
pub(crate) struct Scope {
    pub(crate) kind: &'static EntityType,
    pub(crate) parent: Option<Parent>,
}

/// The entity a nested collection is below of.
#[derive(Debug)]
pub(crate) struct Parent {
    pub(crate) kind: &'static EntityType,
    /// Which one, as given.
    pub(crate) key: String,
    /// The child's field that refers to it.
    pub(crate) field: &'static str,
}

/// Paths that are no entity's.
#[derive(Debug)]
pub(crate) enum Page {
    /// `/`
    Info,
    /// `/status`
    Status,
    /// `/endpoints`
    Endpoints,
    /// `/plugins/enabled`
    EnabledPlugins,
    /// `/metrics`
    Metrics,
    /// `/tags`
    Tags,
    /// `/tags/{tag}`
    Tag(String),
    /// `/schemas/{kind}`
    Schema(String),
    /// `/schemas/plugins/{plugin}`
    PluginSchema(String),
    /// `/plugins/schema/{plugin}`, deprecated: the configuration alone.
    PluginConfig(String),
    /// `/schemas/{kind}/validate`
    Validate(String),
    /// `/schemas/filters/{name}`
    Filter(String),
    /// `/schemas/vaults/{name}`
    VaultSchema(String),
    /// `/upstreams/{u}/health`
    Health {
        /// The upstream, as given.
        upstream: String,
    },
    /// `/upstreams/{u}/targets/all`: what `/upstreams/{u}/targets` lists.
    AllTargets(Scope),
    /// `/upstreams/{u}/targets/{t}/healthy`, for one address or for all.
    Mark(Mark),
    /// `/debug/node/log-level`
    LogLevel,
    /// `/debug/node/log-level/{level}`, and the same of the cluster: here they are one.
    SetLogLevel(String),
    /// `/timers`
    Timers,
    /// `/status/dns`
    Dns,
    /// `/config`
    Config,
    /// `/cache`, with or without a key.
    Cache {
        /// Whether one entry is named.
        key: bool,
    },
    /// Parts of Kong this gateway does not run; the text says so.
    Unavailable(&'static str),
    /// A path of a part this crate does not know, and what stands in its braces.
    Extra(ExtraPage, Vec<String>),
}

/// Which target is said to get traffic, or none.
#[derive(Debug)]
pub(crate) struct Mark {
    /// As given.
    pub(crate) upstream: String,
    /// As given.
    pub(crate) target: String,
    /// As given; all of them when absent.
    pub(crate) address: Option<String>,
    pub(crate) healthy: bool,
}

/// The paths of [`Page`] in the form `/endpoints` shows them.
pub(crate) const PAGES: &[&str] = &[
    "/",
    "/cache",
    "/cache/{key}",
    "/clustering/data-planes",
    "/clustering/status",
    "/config",
    "/debug/cluster/log-level/{log_level}",
    "/debug/node/log-level",
    "/debug/node/log-level/{log_level}",
    "/endpoints",
    "/filter-chains",
    "/filter-chains/{filter_chains}",
    "/filter-chains/{filter_chains}/route",
    "/filter-chains/{filter_chains}/service",
    "/metrics",
    "/plugins/enabled",
    "/plugins/schema/{name}",
    "/routes/{routes}/filter-chains",
    "/routes/{routes}/filter-chains/{filter_chains}",
    "/routes/{routes}/filters/all",
    "/routes/{routes}/filters/disabled",
    "/routes/{routes}/filters/enabled",
    "/schemas/filters/{name}",
    "/schemas/plugins/validate",
    "/schemas/plugins/{name}",
    "/schemas/vaults/validate",
    "/schemas/vaults/{name}",
    "/schemas/{db_entity_name}/validate",
    "/schemas/{name}",
    "/services/{services}/filter-chains",
    "/services/{services}/filter-chains/{filter_chains}",
    "/status",
    "/status/dns",
    "/tags",
    "/tags/{tags}",
    "/timers",
    "/upstreams/{upstreams}/health",
    "/upstreams/{upstreams}/targets/all",
    "/upstreams/{upstreams}/targets/{targets}/healthy",
    "/upstreams/{upstreams}/targets/{targets}/unhealthy",
    "/upstreams/{upstreams}/targets/{targets}/{address}/healthy",
    "/upstreams/{upstreams}/targets/{targets}/{address}/unhealthy",
];

const NO_CONTROL_PLANE: &str = "this endpoint is only available when Kong is configured to run \
                                as Control Plane for the cluster";
const NO_WASM: &str = "this endpoint is only available when wasm is enabled";

/// Paths `/endpoints` lists and that answer 404 (kong/api/routes/targets.lua, snis.lua).
const ABSENT: &[&str] =
    &["/snis/{snis}/certificate", "/targets", "/targets/{targets}", "/targets/{targets}/upstream"];

/// References Kong gives no path (kong/api/routes/snis.lua).
const HIDDEN: &[(&str, &str)] = &[("snis", "certificate")];

impl Resource {
    /// What the segments of a path name, `None` when nothing.
    pub(crate) fn find(registry: &Registry, segments: &[String]) -> Option<Self> {
        let names: Vec<&str> = segments.iter().map(String::as_str).collect();
        if let Some(page) = Page::find(registry, &names) {
            return Some(Self::Page(page));
        }
        let kind = by_segment(registry, names.first()?)?;
        let whole = Scope { kind, parent: None };
        match names[1..] {
            [] => Some(Self::Collection(whole)),
            [key] => Some(Self::Entity(whole, key.to_owned())),
            [key, below] => below_entity(registry, kind, key, below),
            [parent, below, key] => {
                let scope = child(registry, kind, parent, below)?;
                Some(Self::Entity(scope, key.to_owned()))
            }
            _ => None,
        }
    }

    /// What may be asked of it, sorted, as `Allow` lists it.
    pub(crate) const fn methods(&self) -> &'static str {
        match self {
            Self::Collection(_) | Self::Page(Page::Unavailable(_) | Page::Config) => {
                "GET, HEAD, OPTIONS, POST"
            }
            Self::Entity(..) => "DELETE, GET, HEAD, OPTIONS, PATCH, PUT",
            Self::Referenced { .. } => "GET, HEAD, OPTIONS, PATCH, PUT",
            Self::Page(Page::Validate(_)) => "OPTIONS, POST",
            Self::Page(Page::Mark(_) | Page::SetLogLevel(_)) => "OPTIONS, PUT",
            Self::Page(Page::Cache { key: true }) => "DELETE, GET, HEAD, OPTIONS",
            Self::Page(Page::Cache { key: false }) => "DELETE, OPTIONS",
            Self::Page(Page::Extra(page, _)) => page.methods,
            Self::Page(_) => "GET, HEAD, OPTIONS",
        }
    }
}

impl Page {
    fn find(registry: &Registry, names: &[&str]) -> Option<Self> {
        Some(match names {
            [] => Self::Info,
            ["status"] => Self::Status,
            ["endpoints"] => Self::Endpoints,
            ["metrics"] => Self::Metrics,
            ["plugins", "enabled"] => Self::EnabledPlugins,
            ["plugins", "schema", name] => Self::PluginConfig((*name).to_owned()),
            ["tags"] => Self::Tags,
            ["tags", tag] => Self::Tag((*tag).to_owned()),
            ["schemas", kind, "validate"] => Self::Validate((*kind).to_owned()),
            ["schemas", "vaults", name] => Self::VaultSchema((*name).to_owned()),
            ["upstreams", upstream, "health"] => Self::Health { upstream: (*upstream).to_owned() },
            ["upstreams", upstream, "targets", "all"] => {
                let upstreams = registry.kind("upstreams")?;
                Self::AllTargets(child(registry, upstreams, upstream, "targets")?)
            }
            [
                "upstreams",
                upstream,
                "targets",
                target,
                rest @ ..,
                state @ ("healthy" | "unhealthy"),
            ] if rest.len() <= 1 => Self::Mark(Mark {
                upstream: (*upstream).to_owned(),
                target: (*target).to_owned(),
                address: rest.first().map(|address| (*address).to_owned()),
                healthy: *state == "healthy",
            }),
            ["debug", "node", "log-level"] => Self::LogLevel,
            ["debug", "node" | "cluster", "log-level", level] => {
                Self::SetLogLevel((*level).to_owned())
            }
            ["timers"] => Self::Timers,
            ["status", "dns"] => Self::Dns,
            ["config"] => Self::Config,
            ["cache"] => Self::Cache { key: false },
            ["cache", _] => Self::Cache { key: true },
            ["schemas", "filters", name] => Self::Filter((*name).to_owned()),
            ["schemas", "plugins", name] => Self::PluginSchema((*name).to_owned()),
            ["schemas", kind] => Self::Schema((*kind).to_owned()),
            ["clustering", "status" | "data-planes"] => Self::Unavailable(NO_CONTROL_PLANE),
            ["filter-chains"]
            | ["filter-chains", _]
            | ["filter-chains", _, "route" | "service"]
            | ["routes" | "services", _, "filter-chains"]
            | ["routes" | "services", _, "filter-chains", _]
            | ["routes", _, "filters", "all" | "disabled" | "enabled"] => {
                Self::Unavailable(NO_WASM)
            }
            _ => return None,
        })
    }
}

/// Every path of the registry's kinds and of the pages, sorted.
pub(crate) fn endpoints(registry: &Registry, extra: &[ExtraPage]) -> Vec<String> {
    let own = PAGES.iter().chain(ABSENT).copied().chain(extra.iter().map(|page| page.path));
    let mut paths: Vec<String> = own.map(str::to_owned).collect();
    for kind in registry.kinds() {
        // What is served below a parent only is listed there.
        let Some(segment) = kind.collection else { continue };
        let entity = format!("/{segment}/{{{}}}", kind.kind);
        for (child, _) in children(registry, kind) {
            if let Some(below) = nested_segment(child) {
                paths.push(format!("{entity}/{below}"));
                paths.push(format!("{entity}/{below}/{{{}}}", child.kind));
            }
        }
        paths.extend(referenced(registry, kind).map(|(field, _)| format!("{entity}/{field}")));
        paths.push(format!("/{segment}"));
        paths.push(entity);
    }
    paths.sort();
    paths.dedup();
    paths
}

fn by_segment(registry: &Registry, segment: &str) -> Option<&'static EntityType> {
    registry.kinds().iter().find(|kind| kind.collection == Some(segment)).copied()
}

/// Where a kind stands below its parents; kinds outside the API stand nowhere.
fn nested_segment(kind: &EntityType) -> Option<&'static str> {
    kind.nested.or(kind.collection)
}

/// The kinds that refer to `parent`, with the field they do it by.
fn children(
    registry: &Registry,
    parent: &'static EntityType,
) -> impl Iterator<Item = (&'static EntityType, &'static str)> {
    registry.kinds().iter().filter_map(move |kind| {
        let mut references = kind.references();
        let (field, ..) = references.find(|(_, target, _)| *target == parent.kind)?;
        Some((*kind, field.name))
    })
}

/// The fields of `kind` that have a path of their own, with the kind they refer to.
fn referenced(
    registry: &Registry,
    kind: &'static EntityType,
) -> impl Iterator<Item = (&'static str, &'static EntityType)> {
    kind.references()
        .filter(|(field, ..)| !HIDDEN.contains(&(kind.kind, field.name)))
        .filter_map(|(field, target, _)| Some((field.name, registry.kind(target)?)))
        .filter(|(_, target)| target.collection.is_some())
}

fn child(
    registry: &Registry,
    parent: &'static EntityType,
    key: &str,
    below: &str,
) -> Option<Scope> {
    let (kind, field) =
        children(registry, parent).find(|(child, _)| nested_segment(child) == Some(below))?;
    let parent = Some(Parent { kind: parent, key: key.to_owned(), field });
    Some(Scope { kind, parent })
}

fn below_entity(
    registry: &Registry,
    kind: &'static EntityType,
    key: &str,
    below: &str,
) -> Option<Resource> {
    if let Some(scope) = child(registry, kind, key, below) {
        return Some(Resource::Collection(scope));
    }
    let (field, target) = referenced(registry, kind).find(|(field, _)| *field == below)?;
    Some(Resource::Referenced { kind, key: key.to_owned(), field, target })
}
