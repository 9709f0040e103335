//! The zone as it follows the catalog, and the management API over it.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use gateway_control::Control;
use gateway_control::store::memory::Memory;
use gateway_model::ports::Caller;
use gateway_model::ports::DataPlane;
use gateway_model::{Catalog, Change, Clock, Document, Entity as _, Id, Ref, Registry};
use hickory_server::proto::rr::{DNSClass, RecordType};
use http::{Method, Request};
use http_body_util::BodyExt as _;
use proptest::prelude::*;
use tower::ServiceExt as _;

use super::zone::{Found, absolute};
use super::{CurrentZone, Zone, ZonePlane, admin};
use crate::entities::{
    ALL, Addresses, DnsClass, DnsRecord, DnsRule, Family, IpAddressType, RuleState, put, remove,
};
use crate::test_kit;

const NAMES: [&str; 4] = ["a.example.", "b.example.", "A.Example.", "nowhere"];

/// What one step writes or removes.
#[derive(Clone, Debug)]
enum Step {
    Record { name: usize, v6: bool, zone: bool, ttl: u32 },
    NoRecord { name: usize, v6: bool },
    Rule { name: usize, v6: bool, active: bool },
    NoRule { name: usize },
}

fn steps() -> impl Strategy<Value = Vec<Vec<Step>>> {
    let name = 0..NAMES.len();
    let step =
        prop_oneof![
            (name.clone(), any::<bool>(), any::<bool>(), 1u32..9)
                .prop_map(|(name, v6, zone, ttl)| Step::Record { name, v6, zone, ttl }),
            (name.clone(), any::<bool>()).prop_map(|(name, v6)| Step::NoRecord { name, v6 }),
            (name.clone(), any::<bool>(), any::<bool>())
                .prop_map(|(name, v6, active)| Step::Rule { name, v6, active }),
            name.prop_map(|name| Step::NoRule { name }),
        ];
    prop::collection::vec(prop::collection::vec(step, 1..4), 1..12)
}

fn family(v6: bool) -> Family {
    if v6 { Family::V6 } else { Family::V4 }
}

fn address(v6: bool) -> &'static str {
    if v6 { "2001:db8::7" } else { "192.0.2.7" }
}

fn record(name: &str, v6: bool, zone: &str, ttl: u32) -> DnsRecord {
    let name = name.to_ascii_lowercase();
    DnsRecord {
        id: DnsRecord::id_of(&name, family(v6)),
        zone: zone.to_owned(),
        name,
        family: family(v6),
        class: DnsClass::In,
        ttl,
        addresses: Addresses(vec![address(v6).parse().unwrap()]),
    }
}

fn rule(name: &str, v6: bool, state: RuleState) -> DnsRule {
    DnsRule {
        id: DnsRule::id_of(test_kit::app().id, name),
        app: Ref::new(test_kit::app().id),
        position: 0,
        rule_id: name.to_owned(),
        key: DnsRule::key_of(name),
        domain_name: name.to_owned(),
        ip_address_type: if v6 { IpAddressType::V6 } else { IpAddressType::V4 },
        ip_address: address(v6).to_owned(),
        ttl_seconds: 0,
        state,
    }
}

fn change(step: &Step) -> Change {
    match *step {
        Step::Record { name, v6, zone, ttl } => {
            let record = record(NAMES[name], v6, if zone { "example." } else { "." }, ttl);
            put(record.id, &record)
        }
        Step::NoRecord { name, v6 } => {
            remove::<DnsRecord>(DnsRecord::id_of(&NAMES[name].to_ascii_lowercase(), family(v6)))
        }
        Step::Rule { name, v6, active } => {
            let state = if active { RuleState::Active } else { RuleState::Inactive };
            let rule = rule(NAMES[name], v6, state);
            put(rule.id, &rule)
        }
        Step::NoRule { name } => remove::<DnsRule>(DnsRule::id_of(test_kit::app().id, NAMES[name])),
    }
}

/// Everything a zone answers, as text.
fn shown(zone: &Zone) -> Vec<String> {
    let mut all = Vec::new();
    for name in NAMES {
        let Some(name) = absolute(name) else { continue };
        for wanted in [RecordType::A, RecordType::AAAA, RecordType::MX] {
            let found = match zone.find(&name, wanted, DNSClass::IN) {
                Found::Addresses(held) => format!("{} {:?}", held.ttl, held.data),
                other => format!("{other:?}"),
            };
            all.push(format!("{name} {wanted} {found}"));
        }
    }
    all
}

proptest! {
    /// A zone that followed every commit answers like one compiled from the catalog at once; a
    /// commit it refuses leaves both as they were.
    #[test]
    fn following_is_compiling(batches in steps()) {
        let mut catalog = Arc::new(Catalog::empty(Arc::new(Registry::new(ALL))));
        let mut edit = catalog.edit(0);
        edit.apply(&[put(test_kit::app().id, &test_kit::app())]).unwrap();
        catalog = Arc::new(edit.finish().0);
        let followed = CurrentZone::default();
        let plane = ZonePlane::new(followed.clone(), true);
        plane.prepare(&catalog, &[]).unwrap().publish();
        for batch in batches {
            let changes: Vec<Change> = batch.iter().map(change).collect();
            let mut edit = catalog.edit(0);
            // Two rules for one name: the catalog itself refuses.
            if edit.apply(&changes).is_err() {
                continue;
            }
            let (next, writes) = edit.finish();
            let next = Arc::new(next);
            if writes.is_empty() {
                continue;
            }
            if let Ok(prepared) = plane.prepare(&next, &writes) {
                prepared.publish();
                catalog = next;
            }
            let compiled = CurrentZone::default();
            ZonePlane::new(compiled.clone(), true).prepare(&catalog, &[]).unwrap().publish();
            prop_assert_eq!(shown(&followed.load()), shown(&compiled.load()));
            prop_assert_eq!(followed.load().len(), compiled.load().len());
        }
    }
}

struct Rig {
    control: Control,
    zone: CurrentZone,
    router: Router,
}

impl Rig {
    async fn start(rules: bool) -> Self {
        let zone = CurrentZone::default();
        let plane: Arc<dyn DataPlane> = Arc::new(ZonePlane::new(zone.clone(), rules));
        let registry = Arc::new(Registry::new(ALL));
        let control =
            Control::start(registry, Arc::new(Memory::new()), vec![plane], Clock::fixed(0));
        let control = control.await.unwrap();
        control.apply(vec![put(test_kit::app().id, &test_kit::app())]).await.unwrap();
        let router = admin::router(control.clone(), zone.clone(), crate::loopback());
        Self { control, zone, router }
    }

    /// Status, content type and body.
    async fn ask(
        &self,
        method: Method,
        path: &str,
        kind: &str,
        body: &str,
    ) -> (u16, String, String) {
        let path = if path.starts_with('/') { path.to_owned() } else { format!("{API}/{path}") };
        let mut request = Request::builder().method(method).uri(path);
        if !kind.is_empty() {
            request = request.header("content-type", kind);
        }
        let mut request = request.body(Body::from(body.to_owned())).unwrap();
        let client = std::net::Ipv4Addr::LOCALHOST.into();
        let caller = Caller { subject: None, client, by_gateway: false, certified: false };
        request.extensions_mut().insert(caller);
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, kind, String::from_utf8(body.to_vec()).unwrap())
    }

    async fn post(&self, body: &str) -> (u16, String) {
        let (status, kind, body) = self.ask(Method::POST, "rrecord", JSON, body).await;
        assert_eq!(kind, "text/plain; charset=UTF-8");
        (status, body)
    }

    fn answers(&self, name: &str, wanted: RecordType) -> String {
        match self.zone.load().find(&absolute(name).unwrap(), wanted, DNSClass::IN) {
            Found::Addresses(held) => format!("{} {:?}", held.ttl, held.data),
            other => format!("{other:?}"),
        }
    }
}

const API: &str = "/mep/dns_server_mgmt/v1";
const JSON: &str = "application/json; charset=utf-8";

fn body(name: &str, kind: &str, class: &str, ttl: i64, addresses: &[&str]) -> String {
    serde_json::json!({
        "name": name, "type": kind, "class": class, "ttl": ttl, "rData": addresses,
    })
    .to_string()
}

/// A-95 and what surrounds it.
#[tokio::test]
async fn records_come_change_and_go() {
    let rig = Rig::start(true).await;
    let www = body("www.Example.com.", "A", "IN", 30, &["192.0.2.1", "192.0.2.2"]);
    let added = (200, "success in adding rr entry.".to_owned());
    let exists = (400, "record already exists!".to_owned());
    assert_eq!(rig.post(&www).await, added);
    assert_eq!(
        rig.answers("www.example.com.", RecordType::A),
        "30 [A(A(192.0.2.1)), A(A(192.0.2.2))]"
    );
    assert_eq!(rig.answers("www.example.com.", RecordType::AAAA), "NoData");
    assert_eq!(rig.post(&www).await, exists);
    // In another zone it is the same record.
    let elsewhere = rig.ask(Method::POST, "rrecord?zone=com.", JSON, &www).await;
    assert_eq!((elsewhere.0, elsewhere.2), exists);
    // Another type of the same name is not.
    let v6 = body("www.example.com.", "AAAA", "IN", 7, &["2001:db8::1"]);
    assert_eq!(rig.post(&v6).await, added);

    let at = |name: &str| format!("rrecord/{name}/A");
    let changed = body("www.example.com.", "A", "IN", 60, &["192.0.2.9"]);
    for (path, sent, status, text) in [
        (at("www.example.com."), &changed, 200, "success in updating rr entry."),
        (at("www.example.com"), &changed, 400, "input not match with rr resource"),
        (
            "rrecord/www.example.com./AAAA".to_owned(),
            &changed,
            400,
            "input not match with rr resource",
        ),
        (
            format!("{}?zone=com.", at("www.example.com.")),
            &changed,
            400,
            "record not exist, cannot update!",
        ),
        (
            at("x."),
            &body("x.", "A", "IN", 1, &["192.0.2.9"]),
            400,
            "record not exist, cannot update!",
        ),
        (at("x."), &"{".to_owned(), 400, "invalid input!"),
    ] {
        let answer = rig.ask(Method::PUT, &path, JSON, sent).await;
        assert_eq!((answer.0, answer.2.as_str()), (status, text), "{path} {sent}");
    }
    assert_eq!(rig.answers("www.example.com.", RecordType::A), "60 [A(A(192.0.2.9))]");

    for (path, status, text) in [
        (at("WWW.example.com."), 200, "Success"),
        (at("www.example.com."), 500, "Error in retrieving the data."),
        ("rrecord/www.example.com./MX".to_owned(), 500, "Error in retrieving the data."),
        (format!("rrecord/{}/A", "a".repeat(254)), 400, "invalid input parameters!"),
    ] {
        let answer = rig.ask(Method::DELETE, &path, "", "{}").await;
        assert_eq!((answer.0, answer.2.as_str()), (status, text), "{path}");
    }
    assert_eq!(rig.answers("www.example.com.", RecordType::A), "NoData", "the other type stays");
}

/// A-96 and every other rule.
#[tokio::test]
async fn rules_of_records() {
    let rig = Rig::start(true).await;
    let input = "invalid input!";
    let long_name = format!("{}.", vec!["a".repeat(63); 4].join("."));
    for (sent, status, text) in [
        (body("a.", "A", "IN", 0, &["192.0.2.1"]), 400, input),
        (body("a.", "A", "IN", -1, &["192.0.2.1"]), 400, input),
        (body("a.", "A", "IN", 4_294_967_296, &["192.0.2.1"]), 400, input),
        (body("", "A", "IN", 1, &["192.0.2.1"]), 400, input),
        (body(&long_name, "A", "IN", 1, &["192.0.2.1"]), 400, input),
        (body("a..b.", "A", "IN", 1, &["192.0.2.1"]), 400, input),
        (body("a.", "", "IN", 1, &["192.0.2.1"]), 400, input),
        (body("a.", "A", "", 1, &["192.0.2.1"]), 400, input),
        (body("a.", "A", "IN", 1, &[]), 400, input),
        (body("a.", "A", "IN", 1, &["host"]), 400, input),
        (body("a.", "A", "IN", 1, &["224.0.0.1"]), 400, input),
        (body("a.", "A", "IN", 1, &["255.255.255.255"]), 400, input),
        (body("a.", "AAAA", "IN", 1, &["ff02::1"]), 400, input),
        // The family is checked, which the original did not.
        (body("a.", "A", "IN", 1, &["2001:db8::1"]), 400, input),
        (body("a.", "AAAA", "IN", 1, &["2001:db8::1", "192.0.2.1"]), 400, input),
        (body("a.", "MX", "IN", 1, &["192.0.2.1"]), 500, "unsupported rrtype(MX) entry"),
        (body("a.", "a", "IN", 1, &["192.0.2.1"]), 500, "unsupported rrtype(a) entry"),
        (body("a.", "A", "XX", 1, &["192.0.2.1"]), 500, "unsupported rrclass(XX) entry"),
        (format!("[{}]", body("a.", "A", "IN", 1, &["192.0.2.1"])), 400, input),
        (String::new(), 400, input),
        ("null".to_owned(), 400, input),
    ] {
        assert_eq!(rig.post(&sent).await, (status, text.to_owned()), "{sent}");
    }
    let good = body("a.", "A", "IN", 1, &["192.0.2.1"]);
    for kind in ["", "text/plain"] {
        let answer = rig.ask(Method::POST, "rrecord", kind, &good).await;
        assert_eq!((answer.0, answer.2.as_str()), (400, input), "{kind:?}");
    }
    let zone = format!("rrecord?zone={}", "a".repeat(253));
    assert_eq!(rig.ask(Method::POST, &zone, JSON, &good).await.2, input);
    assert!(rig.zone.load().is_empty());
    // Keys are matched as Go matches them.
    let folded = r#"{"NAME":"a.","Type":"A","CLASS":"IN","Ttl":1,"rdata":["192.0.2.1"]}"#;
    assert_eq!(rig.post(folded).await.0, 200);
}

/// What the original's HTTP framework answered.
#[tokio::test]
async fn other_requests() {
    let rig = Rig::start(true).await;
    let large = format!("{{\"name\":\"{}\"}}", "a".repeat(4096));
    let json = "application/json; charset=UTF-8";
    for (method, path, sent, status, kind, text) in [
        (Method::GET, "/health", "", 200, "text/plain; charset=UTF-8", "OK"),
        (Method::GET, "/nothing", "", 404, json, "{\"message\":\"Not Found\"}\n"),
        (Method::GET, "rrecord", "", 405, json, "{\"message\":\"Method Not Allowed\"}\n"),
        (
            Method::POST,
            "rrecord",
            &large,
            413,
            json,
            "{\"message\":\"Request Entity Too Large\"}\n",
        ),
    ] {
        let answer = rig.ask(method, path, JSON, sent).await;
        assert_eq!(answer, (status, kind.to_owned(), text.to_owned()), "{path}");
    }
}

/// Names without the last dot, or outside of their zone, are kept and never answered.
#[tokio::test]
async fn names_that_are_never_answered() {
    let rig = Rig::start(true).await;
    assert_eq!(rig.post(&body("a.example", "A", "IN", 1, &["192.0.2.1"])).await.0, 200);
    let outside = body("b.example.", "A", "IN", 1, &["192.0.2.1"]);
    assert_eq!(rig.ask(Method::POST, "rrecord?zone=com.", JSON, &outside).await.0, 200);
    assert!(rig.zone.load().is_empty());
    let within = body("c.com.", "A", "IN", 1, &["192.0.2.1"]);
    assert_eq!(rig.ask(Method::POST, "rrecord?zone=com", JSON, &within).await.0, 200);
    assert_eq!(rig.zone.load().len(), 1);
}

/// A rule and a record do not answer for the same name: whoever is second is refused.
#[tokio::test]
async fn rules_and_records_exclude_each_other() {
    let rig = Rig::start(true).await;
    let active = rule("a.example", false, RuleState::Active);
    rig.control.apply(vec![put(active.id, &active)]).await.unwrap();
    assert_eq!(rig.answers("a.example.", RecordType::A), "30 [A(A(192.0.2.7))]");
    let sent = body("a.example.", "A", "IN", 1, &["192.0.2.1"]);
    assert_eq!(rig.post(&sent).await, (400, "record already exists!".to_owned()));
    let v6 = body("a.example.", "AAAA", "IN", 1, &["2001:db8::1"]);
    assert_eq!(rig.post(&v6).await.0, 200);

    let state = |state: RuleState| {
        let document = Document::from_iter([("state".to_owned(), state.as_str().into())]);
        let key = active.id.into();
        rig.control.apply(vec![Change::Patch { kind: DnsRule::KIND, key, document }])
    };
    state(RuleState::Inactive).await.unwrap();
    assert_eq!(rig.answers("a.example.", RecordType::A), "NoData");
    assert_eq!(rig.post(&sent).await.0, 200);
    state(RuleState::Active).await.unwrap_err();
    let stored: Id = active.id;
    let stored = rig.control.catalog().get::<DnsRule>(stored).unwrap();
    assert_eq!(stored.state, RuleState::Inactive, "what was stored stays");
    assert_eq!(rig.answers("a.example.", RecordType::A), "1 [A(A(192.0.2.1))]");
}

/// Where only the data plane is to know rules, they are not answered here.
#[tokio::test]
async fn rules_may_be_left_to_the_data_plane() {
    let rig = Rig::start(false).await;
    let active = rule("a.example", false, RuleState::Active);
    rig.control.apply(vec![put(active.id, &active)]).await.unwrap();
    assert_eq!(rig.answers("a.example.", RecordType::A), "Nothing");
    assert_eq!(rig.post(&body("a.example.", "A", "IN", 1, &["192.0.2.1"])).await.0, 200);
}
