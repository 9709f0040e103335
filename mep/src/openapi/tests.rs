//! The documents against ETSI's own, and against themselves.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde_json::{Value, json};

use super::*;
use crate::standard;

/// One of ETSI's documents of version 2.2.1, as an implementer published it.
fn etsi(file: &str) -> Value {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/spec/openapi/2.2.1");
    let text = std::fs::read_to_string(folder.join(file)).unwrap();
    serde_saphyr::from_str(&text).unwrap()
}

/// Our document of the standard's face, read back.
fn ours() -> Value {
    let mut all = Collected::default();
    let served = Served { tls: false, address: "127.0.0.1:1".parse().unwrap() };
    all.add(standard::routes().into_described(), |_| vec![served]);
    serde_json::from_str(&all.document(|_| true)).unwrap()
}

/// What a reference leads to.
fn resolved<'a>(document: &'a Value, mut schema: &'a Value) -> &'a Value {
    while let Some(reference) = schema["$ref"].as_str() {
        schema = document.pointer(reference.trim_start_matches('#')).unwrap();
    }
    schema
}

fn texts(list: &Value) -> BTreeSet<&str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

fn members(schema: &Value) -> BTreeMap<&str, &Value> {
    let members = schema["properties"].as_object().into_iter().flatten();
    members.map(|(name, schema)| (name.as_str(), schema)).collect()
}

/// Notes where two schemas differ in members, in what is required and in values.
fn compare(own: (&Value, &Value), their: (&Value, &Value), at: &str, told: &mut Vec<String>) {
    let (a, b) = (resolved(own.0, own.1), resolved(their.0, their.1));
    let mut note = |what: &str, names: Vec<&str>| {
        told.extend(names.iter().map(|name| format!("{at}.{name} {what}")));
    };
    let (mine, others) = (members(a), members(b));
    note("is ours", mine.keys().filter(|name| !others.contains_key(*name)).copied().collect());
    note("is theirs", others.keys().filter(|name| !mine.contains_key(*name)).copied().collect());
    let shared = |name: &&str| mine.contains_key(name) && others.contains_key(name);
    let (needed, wanted) = (texts(&a["required"]), texts(&b["required"]));
    let more = needed.difference(&wanted).copied().filter(shared).collect();
    note("is required by us", more);
    let less = wanted.difference(&needed).copied().filter(shared).collect();
    note("is required by them", less);
    let (words, their_words) = (texts(&a["enum"]), texts(&b["enum"]));
    if !their_words.is_empty() {
        note("is a value of ours", words.difference(&their_words).copied().collect());
        note("is a value of theirs", their_words.difference(&words).copied().collect());
    }
    for (name, schema) in mine.iter().filter(|(name, _)| shared(name)) {
        let there = others[name];
        compare((own.0, schema), (their.0, there), &format!("{at}.{name}"), told);
    }
    if a.get("items").is_some() || b.get("items").is_some() {
        let at = format!("{at}[]");
        compare((own.0, &a["items"]), (their.0, &b["items"]), &at, told);
    }
    let (forms, their_forms) = (a["oneOf"].as_array(), b["oneOf"].as_array());
    if let (Some(forms), Some(their_forms)) = (forms, their_forms) {
        assert_eq!(forms.len(), their_forms.len(), "{at}");
        for (index, (form, other)) in forms.iter().zip(their_forms).enumerate() {
            compare((own.0, form), (their.0, other), &format!("{at}/{index}"), told);
        }
    }
}

/// The types of both of ETSI's documents, with the names they have there where those differ.
const TYPES: [(&str, &str, &str); 15] = [
    ("MecServiceMgmtApi.yaml", "ServiceInfo", ""),
    ("MecServiceMgmtApi.yaml", "ServiceInfoPost", ""),
    ("MecServiceMgmtApi.yaml", "ServiceLivenessInfo", ""),
    ("MecServiceMgmtApi.yaml", "ServiceLivenessUpdate", ""),
    ("MecServiceMgmtApi.yaml", "SerAvailabilityNotificationSubscription", ""),
    ("MecServiceMgmtApi.yaml", "SubscriptionLinkList", ""),
    ("MecServiceMgmtApi.yaml", "ProblemDetails", ""),
    ("MecAppSupportApi.yaml", "AppReadyConfirmation", ""),
    ("MecAppSupportApi.yaml", "AppTerminationConfirmation", ""),
    ("MecAppSupportApi.yaml", "AppTerminationNotificationSubscription", ""),
    ("MecAppSupportApi.yaml", "CurrentTime", ""),
    ("MecAppSupportApi.yaml", "DnsRule", ""),
    ("MecAppSupportApi.yaml", "SubscriptionLinkList", "MecAppSuptApiSubscriptionLinkList"),
    ("MecAppSupportApi.yaml", "TimingCaps", ""),
    ("MecAppSupportApi.yaml", "TrafficRule", ""),
];

/// Where we differ, and why. Each of them has to be there.
const DIFFERENCES: [(&str, &str); 23] = [
    (
        "AppTerminationNotificationSubscription._links.self.href is required by us",
        "a link without a target is none",
    ),
    (
        "AppTerminationNotificationSubscription.subscriptionId is ours",
        "EdgeGallery's clients read it",
    ),
    ("ProblemDetails.instance is theirs", "optional, and never sent"),
    ("ProblemDetails.invalidParams is ours", "an extension member: all that is wrong at once"),
    ("ProblemDetails.type is theirs", "optional, and never sent: about:blank"),
    (
        "SerAvailabilityNotificationSubscription._links is required by us",
        "ours is read-only: every answer has it",
    ),
    (
        "SerAvailabilityNotificationSubscription._links.self.href is required by us",
        "a link without a target is none",
    ),
    (
        "SerAvailabilityNotificationSubscription.subscriptionId is ours",
        "EdgeGallery's clients read it",
    ),
    ("ServiceInfo._links.liveness.href is required by us", "a link without a target is none"),
    ("ServiceInfo._links.self.href is required by us", "a link without a target is none"),
    ("ServiceInfo.consumedLocalOnly is required by us", "every answer has it"),
    ("ServiceInfo.isLocal is required by us", "every answer has it"),
    ("ServiceInfo.scopeOfLocality is required by us", "every answer has it"),
    ("ServiceInfo.serInstanceId is required by us", "every answer has it"),
    (
        "ServiceInfo.transportId is theirs",
        "answers have transportInfo, also of the platform's transport",
    ),
    ("ServiceInfoPost.livenessInterval is ours", "left out there, a known error"),
    (
        "ServiceLivenessUpdate.state.INACTIVE is a value of theirs",
        "a heartbeat can only say ACTIVE",
    ),
    (
        "ServiceLivenessUpdate.state.SUSPENDED is a value of theirs",
        "a heartbeat can only say ACTIVE",
    ),
    ("SubscriptionLinkList._links.self.href is required by us", "a link without a target is none"),
    ("SubscriptionLinkList._links.subscriptions is required by us", "every answer has it"),
    (
        "SubscriptionLinkList._links.subscriptions[].rel is ours",
        "version 2.1.1 has it; both are sent",
    ),
    (
        "SubscriptionLinkList._links.subscriptions[].subscriptionType is ours",
        "the test suite wants it; both are sent",
    ),
    ("TimingCaps.ptpMasters is theirs", "optional, and never sent: there are none"),
];

#[test]
fn types_are_etsi_s() {
    let own = ours();
    let mut told = Vec::new();
    for (file, name, there) in TYPES {
        let their = etsi(file);
        let there = if there.is_empty() { name } else { there };
        let (a, b) = (&own["components"]["schemas"][name], &their["components"]["schemas"][there]);
        assert!(a.is_object() && b.is_object(), "{name}");
        compare((&own, a), (&their, b), name, &mut told);
    }
    let told: BTreeSet<&str> = told.iter().map(String::as_str).collect();
    let known: BTreeSet<&str> = DIFFERENCES.iter().map(|(difference, _)| *difference).collect();
    let new: Vec<_> = told.difference(&known).collect();
    let over: Vec<_> = known.difference(&told).collect();
    assert!(new.is_empty() && over.is_empty(), "not listed: {new:#?}\nlisted, but gone: {over:#?}");
}

/// Resources with their methods and the successes of each.
fn operations(document: &Value, root: &str) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in ["get", "put", "post", "patch", "delete"] {
            let Some(responses) = item[method]["responses"].as_object() else { continue };
            let successes = responses.keys().filter(|status| status.starts_with('2'));
            all.extend(successes.map(|status| format!("{method} {root}{path} {status}")));
        }
    }
    all
}

/// What one of the two has and the other has not.
#[test]
fn operations_are_etsi_s() {
    let own = operations(&ours(), "");
    let mut their = operations(&etsi("MecServiceMgmtApi.yaml"), "/mec_service_mgmt/v1");
    their.extend(operations(&etsi("MecAppSupportApi.yaml"), "/mec_app_support/v1"));
    let missing: Vec<_> = their.difference(&own).collect();
    assert!(missing.is_empty(), "{missing:#?}");
    // The liveness resource has types there, but no path; the others came with version 3.
    let later = ["/liveness ", "/registrations", "/service-apis/", "/published-apis/", "/capif-"];
    let more = own.difference(&their);
    let more: Vec<_> = more.filter(|one| !later.iter().any(|part| one.contains(part))).collect();
    assert!(more.is_empty(), "{more:#?}");
}

#[test]
fn one_name_is_one_type() {
    let mut described = standard::routes().into_described();
    described.extend(crate::auth_api::described());
    described.extend(crate::dns::admin::described());
    let mut known: BTreeMap<String, Value> = BTreeMap::new();
    for (name, schema) in described.schemas() {
        let schema = json!(schema);
        let before = known.entry(name.clone()).or_insert_with(|| schema.clone());
        assert_eq!(*before, schema, "{name}");
    }
}
