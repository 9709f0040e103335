//! [`Route`]: which requests go to a service.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{PROTOCOLS, Service};
use crate::expression::{Expression, Subject};
use crate::schema::{Check, Record};
use crate::{Entity, Id, Ref, Violations};

/// Which requests go to a service (kong/db/schema/entities/routes.lua).
#[derive(Clone, Debug, Deserialize, Record)]
#[record(check = Check::Custom(by_protocol))]
pub struct Route {
    /// Primary key.
    #[record(auto = Auto::Id)]
    pub id: Id,
    /// Unix seconds of creation.
    #[record(auto = Auto::CreatedAt)]
    pub created_at: u64,
    /// Unix seconds of the last write.
    #[record(auto = Auto::UpdatedAt)]
    pub updated_at: u64,
    /// A name to address it by.
    #[record(unique, is("utf8_name", types::utf8_name))]
    pub name: Option<String>,
    /// Protocols it accepts.
    #[record(default(["http", "https"]), set)]
    #[record(is("protocols", known_protocols), rule = Rule::LenMin(1))]
    #[record(rule = Rule::ExclusiveSubsets(FAMILIES))]
    pub protocols: Vec<String>,
    /// The status a plain request to an https route gets.
    #[record(default = 426, one_of([426, 301, 302, 307, 308]))]
    pub https_redirect_status_code: u16,
    /// Whether the matched prefix is taken off the path.
    #[record(default = true)]
    pub strip_path: bool,
    /// Whether the upstream sees the client's Host header.
    #[record(default = false)]
    pub preserve_host: bool,
    /// Whether a request is read whole before it is sent on.
    #[record(default = true)]
    pub request_buffering: bool,
    /// Whether a response is read ahead of the client.
    #[record(default = true)]
    pub response_buffering: bool,
    /// Free labels.
    #[record(set, elements(|e| e.is("tag", types::tag)))]
    pub tags: Option<Vec<String>>,
    /// Where requests go; a route without one only runs plugins.
    pub service: Option<Ref<Service>>,
    /// TLS server names.
    #[record(set, elements(|e| e.is("wildcard_host", types::wildcard_host)))]
    pub snis: Option<Vec<String>>,
    /// Client addresses of stream connections.
    #[record(set)]
    pub sources: Option<Vec<Destination>>,
    /// Our addresses of stream connections.
    #[record(set)]
    pub destinations: Option<Vec<Destination>>,
    /// Methods, upper case.
    #[record(set, elements(|e| e.matches("^[A-Z]+$")))]
    pub methods: Option<Vec<String>>,
    /// Host names, with `*` as first or last label, with or without a port.
    #[record(elements(host_rules))]
    pub hosts: Option<Vec<String>>,
    /// Prefixes, or `~` and a regular expression.
    #[record(elements(path_rules))]
    pub paths: Option<Vec<String>>,
    /// Header names with the values they may have; one value `~*re` is a regular expression.
    #[record(keys(header_rules))]
    pub headers: Option<BTreeMap<String, Vec<String>>>,
    /// Among regular expressions, the greater one is tried first.
    #[record(default = 0)]
    pub regex_priority: Option<i64>,
    /// How service path and request path are joined.
    #[record(default = "v0")]
    pub path_handling: Option<PathHandling>,
    /// What a request or stream must be, in place of the fields above; only in processes that route
    /// by expressions.
    #[record(skip)]
    #[serde(default)]
    pub expression: Option<String>,
    /// Among routes with expressions, the greater one is tried first.
    #[record(skip)]
    #[serde(default)]
    pub priority: u64,
}

/// The fields and rules of processes that route by expressions.
pub(super) fn with_expressions(record: Record) -> Record {
    let expression = Field::of::<Option<String>>("expression")
        .doc("What a request or stream must be, in place of the fields above.");
    let priority = Field::of::<u64>("priority")
        .doc("Among routes with expressions, the greater one is tried first.")
        .default(0)
        .between(0, MOST_URGENT);
    let mut record = record.field(expression).field(priority);
    record.checks.retain(|check| !matches!(check, Check::Custom(_)));
    record.check(Check::Custom(by_protocol_or_expression)).check(Check::Custom(by_expression))
}

/// Kong's bound: 46 bits.
const MOST_URGENT: f64 = ((1_u64 << 46) - 1) as f64;

impl Entity for Route {
    const KIND: &'static str = "routes";
}

/// An address, a port, or both, of a stream connection.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Record)]
#[record(check = Check::AtLeastOneOf(&["ip", "port"]))]
pub struct Destination {
    /// Address or CIDR range.
    #[record(is("ip_or_cidr", types::ip_or_cidr))]
    pub ip: Option<String>,
    /// Port.
    #[record(between(0, 65535))]
    pub port: Option<u16>,
}

/// How service path and request path are joined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Record)]
#[serde(rename_all = "lowercase")]
pub enum PathHandling {
    /// With exactly one slash between them.
    #[default]
    V0,
    /// As text, in the `traditional` flavour only.
    V1,
}

type Field = crate::schema::Field;
type Rule = crate::schema::Rule;

const FAMILIES: &[&[&str]] =
    &[&["http", "https"], &["tcp", "tls", "udp"], &["tls_passthrough"], &["grpc", "grpcs"]];

fn host_rules(host: Field) -> Field {
    host.rule(Rule::match_any(
        &[r"^\*\.", r"\.\*$", r"^[^*]*$"],
        "invalid wildcard: must be placed at leftmost or rightmost label",
    ))
    .rule(Rule::match_all(&[(
        r"^[^*]*\*?[^*]*$",
        "invalid wildcard: must have at most one wildcard",
    )]))
    .is("route_host", crate::schema::types::route_host)
}

fn path_rules(path: Field) -> Field {
    path.rule(Rule::match_none(&[("//", "must not have empty segments")]))
        .rule(Rule::match_any(
            &["^/", "^~/"],
            "should start with: / (fixed path) or ~/ (regex path)",
        ))
        .is("route_path", crate::schema::types::route_path)
}

fn header_rules(name: Field) -> Field {
    name.rule(Rule::match_none(&[(
        "^[Hh][Oo][Ss][Tt]$",
        "cannot contain 'host' header, which must be specified in the 'hosts' attribute",
    )]))
    .is("header_name", crate::schema::types::header_name)
}

/// gRPC names its methods by path: nothing may be taken off (kong/db/schema/entities/routes.lua).
pub(super) fn defaults(route: &mut Map<String, Value>) {
    let protocols = route.get("protocols").and_then(Value::as_array);
    let grpc = |name: &Value| name == "grpc" || name == "grpcs";
    if protocols.is_some_and(|protocols| protocols.iter().any(grpc)) {
        route.entry("strip_path").or_insert(false.into());
    }
}

/// Kong chooses a sub-schema by the first protocol; an unknown one is named alone.
fn known_protocols(value: &Value) -> Result<(), String> {
    let first = value.as_array().and_then(|list| list.first());
    match first.map(|first| (first, first.as_str().is_some_and(|name| PROTOCOLS.contains(&name)))) {
        None => Err("unknown type: nil".into()),
        Some((_, true)) => Ok(()),
        Some((first, false)) => {
            Err(format!("unknown type: {}", first.as_str().unwrap_or_default()))
        }
    }
}

/// An expression stands alone, and is one (kong/db/schema/entities/routes.lua, validate_route).
fn by_expression(route: &Map<String, Value>, violations: &mut Violations) {
    let mut refuse =
        |text: &str| violations.add_entity(format!("Router Expression failed validation: {text}"));
    let set = |field: &str| match route.get(field) {
        Some(Value::Array(list)) => !list.is_empty(),
        Some(Value::Object(map)) => !map.is_empty(),
        _ => false,
    };
    let number = |field: &str| route.get(field).and_then(Value::as_i64).unwrap_or(0);
    let others = CLASSIC.iter().any(|field| set(field));
    let Some(text) = route.get("expression").and_then(Value::as_str) else {
        if others && number("priority") != 0 {
            refuse(&format!("cannot set 'priority' with {LISTED} simultaneously"));
        }
        return;
    };
    if others {
        return refuse(&format!("cannot set 'expression' with {LISTED} simultaneously"));
    }
    if number("regex_priority") != 0 {
        return refuse("cannot set 'regex_priority' with 'expression' simultaneously");
    }
    let protocols = route.get("protocols").and_then(Value::as_array);
    let first = protocols.and_then(|list| list.first()).and_then(Value::as_str);
    let subject = match first {
        Some("tcp" | "tls" | "udp" | "tls_passthrough") => Subject::Streams,
        _ => Subject::Requests,
    };
    if let Err(why) = Expression::parse(text, subject) {
        refuse(&why);
    }
}

const CLASSIC: [&str; 7] =
    ["methods", "hosts", "paths", "headers", "snis", "sources", "destinations"];
const LISTED: &str = "'methods', 'hosts', 'paths', 'headers', 'snis', 'sources' or 'destinations'";

fn by_protocol(route: &Map<String, Value>, violations: &mut Violations) {
    by_family(route, None, violations);
}

fn by_protocol_or_expression(route: &Map<String, Value>, violations: &mut Violations) {
    by_family(route, Some("expression"), violations);
}

/// What must and must not be set for each family of protocols; `instead` names a field that does
/// as well as any of those a family needs.
fn by_family(route: &Map<String, Value>, instead: Option<&str>, violations: &mut Violations) {
    if known_protocols(&route["protocols"]).is_err() {
        return;
    }
    let has = |name: &str| {
        route["protocols"].as_array().into_iter().flatten().any(|one| one.as_str() == Some(name))
    };
    let set = |field: &str| match route.get(field) {
        Some(Value::Array(list)) => !list.is_empty(),
        Some(Value::Object(map)) => !map.is_empty(),
        _ => false,
    };
    let replaced = instead.and_then(|field| route.get(field)).is_some_and(Value::is_string);
    let need = |fields: &[&str], when: &str, violations: &mut Violations| {
        if !replaced && !fields.iter().any(|field| set(field)) {
            let mut fields = fields.to_vec();
            fields.extend(instead);
            let listed = fields.join("', '");
            violations.add_entity(format!("must set one of '{listed}' when 'protocols' is {when}"));
        }
    };
    let forbid = |fields: &[&str], when: &str, violations: &mut Violations| {
        for field in fields.iter().filter(|field| !route.get(**field).is_none_or(Value::is_null)) {
            let text = format!("cannot set '{field}' when 'protocols' is {when}");
            violations.add(field, Value::String(text));
        }
    };
    if !["grpcs", "https", "tls", "tls_passthrough"].iter().any(|name| has(name)) && set("snis") {
        violations.add_entity(
            "'snis' can only be set when 'protocols' is 'grpcs', 'https', 'tls' or 'tls_passthrough'",
        );
        violations.add("snis", Value::String("length must be 0".into()));
        return;
    }
    if has("https") {
        need(&["methods", "hosts", "headers", "paths", "snis"], "'https'", violations);
    } else if has("http") {
        need(&["methods", "hosts", "headers", "paths"], "'http'", violations);
    } else if has("tcp") || has("tls") || has("udp") {
        need(&["sources", "destinations", "snis"], "'tcp', 'tls' or 'udp'", violations);
    } else if has("tls_passthrough") && !replaced && !set("snis") {
        violations.add_entity("must set snis when 'protocols' is 'tls_passthrough'");
    } else if has("grpcs") {
        need(&["hosts", "headers", "paths", "snis"], "'grpcs'", violations);
    } else if has("grpc") {
        need(&["hosts", "headers", "paths"], "'grpc'", violations);
    }
    if has("http") || has("https") {
        forbid(&["sources", "destinations"], "'http' or 'https'", violations);
    } else if has("grpc") || has("grpcs") {
        forbid(&["methods", "sources", "destinations"], "'grpc' or 'grpcs'", violations);
        if route.get("strip_path").and_then(Value::as_bool) == Some(true) {
            let text = "cannot set 'strip_path' when 'protocols' is 'grpc' or 'grpcs'";
            violations.add("strip_path", Value::String(text.into()));
        }
    } else {
        let when = "'tcp', 'tls', 'tls_passthrough' or 'udp'";
        forbid(&["methods", "hosts", "paths", "headers"], when, violations);
    }
}
