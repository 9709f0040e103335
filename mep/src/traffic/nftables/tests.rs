//! What is refused, what the kernel is told, and whether the program takes it.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::process::Command;

use gateway_model::{Id, Ref};

use super::*;
use crate::entities::{
    Action, DestinationInterface, FilterType, RuleState, TrafficFilter, TrafficRule,
};
use crate::test_kit::app;

const FROM: &str = "02:00:00:00:00:01";

pub(super) fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

pub(super) fn to_address(address: &str) -> DestinationInterface {
    DestinationInterface { dst_ip_address: Some(address.to_owned()), ..Default::default() }
}

pub(super) fn to_mac(from: &str, to: &str) -> DestinationInterface {
    DestinationInterface {
        src_mac_address: Some(from.to_owned()),
        dst_mac_address: Some(to.to_owned()).filter(|text| !text.is_empty()),
        ..Default::default()
    }
}

/// An active flow rule that drops what comes from a /24.
pub(super) fn rule(rule_id: &str) -> TrafficRule {
    let src_address = strings(&["192.0.2.0/24"]);
    TrafficRule {
        id: TrafficRule::id_of(app().id, rule_id),
        app: Ref::new(app().id),
        position: 0,
        rule_id: rule_id.to_owned(),
        filter_type: FilterType::Flow,
        priority: 10,
        filters: vec![TrafficFilter { src_address, ..Default::default() }],
        action: Action::Drop,
        interfaces: Vec::new(),
        state: RuleState::Active,
    }
}

/// A driver that lists one device, `out0`, and knows that traffic comes in by `lo`.
fn driver(devices: &[&str]) -> (Nftables, tempfile::TempDir) {
    let links = tempfile::tempdir().unwrap();
    let out = links.path().join("out0");
    std::fs::create_dir(&out).unwrap();
    std::fs::write(out.join("address"), format!("{FROM}\n")).unwrap();
    let settings = NftablesSettings {
        devices: strings(devices),
        links: links.path().to_owned(),
        ..NftablesSettings::default()
    };
    (Nftables::new(settings), links)
}

#[test]
fn what_the_kernel_cannot_do_is_refused() {
    let (driver, _links) = driver(&["lo"]);
    let filter = |edit: &dyn Fn(&mut TrafficFilter)| {
        let mut rule = rule("r");
        edit(&mut rule.filters[0]);
        rule
    };
    let action = |action: Action, interfaces: &[DestinationInterface]| TrafficRule {
        action,
        interfaces: interfaces.to_vec(),
        ..rule("r")
    };
    use Action::{
        DuplicateDecapsulated, DuplicateEncapsulated, ForwardDecapsulated, ForwardEncapsulated,
    };
    let tunnel = DestinationInterface {
        interface_type: Some(crate::entities::InterfaceType::Tunnel),
        ..Default::default()
    };
    let far = to_address("192.0.2.1");
    for (rule, why) in [
        (TrafficRule { filters: Vec::new(), ..rule("r") }, "all traffic"),
        (filter(&|f| *f = TrafficFilter::default()), "all traffic"),
        (filter(&|f| f.protocol = strings(&["any"])), ""),
        (filter(&|f| f.src_address = strings(&["x"])), "srcAddress cannot be read: 'x'"),
        (filter(&|f| f.dst_port = strings(&["http"])), "dstPort cannot be read: 'http'"),
        (filter(&|f| f.protocol = strings(&["quic"])), "'quic'"),
        (filter(&|f| f.dst_address = strings(&["::1"])), "of IPv4 and of IPv6"),
        (filter(&|f| f.tc = Some(4)), "of IPv4 and of IPv6"),
        (filter(&|f| f.dscp = Some(64)), "dSCP must be from 0 to 63"),
        (filter(&|f| f.qci = Some(1)), "qCI"),
        (filter(&|f| f.tags = strings(&["t"])), "tags"),
        (filter(&|f| f.src_tunnel_port = strings(&["1"])), "tunnels"),
        (
            filter(&|f| {
                f.protocol = strings(&["ICMP"]);
                f.src_port = strings(&["1"]);
            }),
            "ports are of",
        ),
        (action(ForwardDecapsulated, std::slice::from_ref(&far)), "out of tunnels"),
        (action(DuplicateDecapsulated, &[far.clone(), far.clone()]), "out of tunnels"),
        (action(ForwardEncapsulated, &[]), "dstInterface is needed"),
        (action(ForwardEncapsulated, &[tunnel]), "into tunnels"),
        (action(ForwardEncapsulated, &[DestinationInterface::default()]), "names neither"),
        (action(ForwardEncapsulated, &[to_address("2001:db8::1")]), "of the other"),
        (action(ForwardEncapsulated, &[to_mac("02:00:00:00:00:02", FROM)]), "no device has"),
        (action(ForwardEncapsulated, &[to_mac("zz", FROM)]), "srcMacAddress cannot be read"),
        (action(DuplicateEncapsulated, &[to_mac(FROM, FROM)]), "another hardware address"),
        (action(DuplicateEncapsulated, &[to_mac(FROM, "")]), ""),
        (action(ForwardEncapsulated, &[to_mac(FROM, FROM)]), ""),
        (action(ForwardEncapsulated, &[far]), ""),
    ] {
        match driver.check(&rule) {
            Ok(()) => assert_eq!(why, "", "{rule:?}"),
            Err(Unsupported(text)) => {
                assert!(!why.is_empty() && text.contains(why), "{why}: {text}");
            }
        }
    }
    let (bare, _links) = super::tests::driver(&[]);
    let refused = bare.check(&action(ForwardEncapsulated, &[to_mac(FROM, FROM)])).unwrap_err();
    assert!(refused.0.contains("mep_traffic_devices"), "{refused}");
}

/// Rules of every action and kind of filter.
fn every_kind() -> Vec<TrafficRule> {
    let with = |rule_id: &str, priority, edit: &dyn Fn(&mut TrafficRule)| {
        let mut rule = TrafficRule { priority, ..rule(rule_id) };
        edit(&mut rule);
        rule
    };
    vec![
        with("drop", 9, &|_| {}),
        with("pass", 1, &|rule| {
            rule.action = Action::Passthrough;
            rule.filters = vec![
                TrafficFilter { dscp: Some(46), ..Default::default() },
                TrafficFilter { tc: Some(0xb9), ..Default::default() },
                TrafficFilter { protocol: strings(&["icmp", "1", "58"]), ..Default::default() },
            ];
        }),
        with("nat", 2, &|rule| {
            rule.action = Action::ForwardEncapsulated;
            rule.interfaces = vec![to_address("198.51.100.7")];
            rule.filters[0].dst_port = strings(&["80", "8080-8090", "81"]);
        }),
        with("rewrite", 3, &|rule| {
            rule.action = Action::ForwardEncapsulated;
            rule.filter_type = FilterType::Packet;
            rule.interfaces = vec![to_address("2001:db8::7")];
            rule.filters[0].src_address =
                strings(&["2001:db8:1::/48", "2001:db8:2::1-2001:db8:2::9"]);
            rule.filters[0].protocol = strings(&["UDP"]);
            rule.filters[0].src_port = strings(&["53"]);
        }),
        with("copy", 4, &|rule| {
            rule.action = Action::DuplicateEncapsulated;
            rule.interfaces = vec![to_address("198.51.100.8")];
        }),
        with("both", 5, &|rule| {
            rule.action = Action::DuplicateEncapsulated;
            rule.filter_type = FilterType::Packet;
            rule.interfaces = vec![to_address("198.51.100.8"), to_address("198.51.100.9")];
        }),
        with("frame", 6, &|rule| {
            rule.action = Action::ForwardEncapsulated;
            rule.interfaces = vec![to_mac(FROM, "02:00:00:00:00:09")];
            rule.filters[0] = TrafficFilter { dst_port: strings(&["9"]), ..Default::default() };
        }),
        with("mirror", 7, &|rule| {
            rule.action = Action::DuplicateEncapsulated;
            rule.interfaces = vec![to_mac(FROM, "")];
        }),
    ]
}

fn rendered(devices: &[&str]) -> serde_json::Value {
    let (driver, _links) = driver(&["lo"]);
    let rules: BTreeMap<Place, Lowered> =
        every_kind().iter().map(|rule| (Place::of(rule), driver.lower(rule).unwrap())).collect();
    let settings = NftablesSettings { devices: strings(devices), ..driver.settings.clone() };
    render::all(&settings, rules.values())
}

#[test]
fn what_the_kernel_is_told() {
    let commands = rendered(&["lo"]);
    let lines: Vec<String> =
        commands["nftables"].as_array().unwrap().iter().map(ToString::to_string).collect();
    insta::assert_snapshot!("ruleset", lines.join("\n"));
}

/// The real program reads it; `-c` changes nothing. Looking at tables takes privileges, which a
/// user namespace gives.
#[test]
fn the_program_takes_it() {
    let Ok(version) = Command::new("nft").arg("--version").output() else {
        assert!(std::env::var_os("CI").is_none(), "the nft program (Debian package nftables)");
        eprintln!("skipped: no nft");
        return;
    };
    assert!(version.status.success());
    let file = tempfile::NamedTempFile::new().unwrap();
    // `out0` is a device of these tests only.
    let commands = rendered(&["lo"]).to_string().replace("\"out0\"", "\"lo\"");
    std::fs::write(file.path(), commands).unwrap();
    let run = Command::new("unshare")
        .args(["--user", "--map-root-user", "--net", "nft", "-c", "-j", "-f"])
        .arg(file.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(run.status.success(), "{said}");
}

/// Rules stand in the order of their priorities whatever the order they came in, and one that is
/// applied again replaces itself.
#[test]
fn the_order_of_rules() {
    let (driver, _links) = driver(&[]);
    let mut rules = BTreeMap::new();
    for (rule_id, priority) in [("c", 200), ("a", 1), ("b", 7)] {
        let rule = TrafficRule { priority, ..rule(rule_id) };
        rules.insert(Place::of(&rule), driver.lower(&rule).unwrap());
    }
    let commands = render::all(&driver.settings, rules.values());
    let comments: Vec<Id> = commands["nftables"]
        .as_array()
        .unwrap()
        .iter()
        .map(|command| &command["add"]["rule"])
        .filter(|rule| rule["family"] == "ip" && rule["chain"] == "rules")
        .map(|rule| Id::parse(rule["comment"].as_str().unwrap()).unwrap())
        .collect();
    let id = |rule_id: &str| TrafficRule::id_of(app().id, rule_id);
    // Each in both directions.
    assert_eq!(comments, [id("a"), id("a"), id("b"), id("b"), id("c"), id("c")]);
}

#[tokio::test]
async fn a_program_that_fails_says_why() {
    let start = |program: &str| {
        Nftables::start(NftablesSettings { program: program.into(), ..NftablesSettings::default() })
    };
    let absent = start("/no/such/nft").await.unwrap_err().to_string();
    assert!(absent.contains("/no/such/nft"), "{absent}");
    let failing = start("false").await.unwrap_err().to_string();
    assert!(failing.contains("exit status: 1"), "{failing}");
    let (mut driver, _links) = driver(&[]);
    driver.settings.program = "false".into();
    driver.apply(&rule("r")).await.unwrap_err();
    assert!(driver.active.lock().await.is_empty(), "what was there before still is");
    driver.settings.program = "true".into();
    driver.apply(&rule("r")).await.unwrap();
    driver.apply(&TrafficRule { priority: 99, ..rule("r") }).await.unwrap();
    assert_eq!(driver.active.lock().await.len(), 1);
    driver.settings.program = "false".into();
    driver.withdraw(&rule("unknown")).await.unwrap();
    driver.withdraw(&rule("r")).await.unwrap_err();
    assert_eq!(driver.active.lock().await.len(), 1);
}
