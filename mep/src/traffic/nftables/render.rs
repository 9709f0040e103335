//! Rules as commands of `nft`. Pure.

use serde_json::{Value, json};

use super::NftablesSettings;
use super::lowered::{Lowered, Target, Verdict};
use super::packets::{Version, of_version, payload};
use crate::entities::FilterType;

/// Where packets are dropped, passed, copied and given other destinations: `mangle`'s place.
const RULES: &str = "rules";
/// Where flows are translated.
const FLOWS: &str = "flows";
/// Where packets come in by a device.
const INGRESS: &str = "ingress";

/// Commands that change nothing, for a program that may not be there.
pub(super) fn nothing() -> Value {
    json!({ "nftables": [{ "list": { "tables": {} } }] })
}

/// Commands that remove our tables, there or not.
pub(super) fn gone(settings: &NftablesSettings) -> Value {
    let removed = families(settings).flat_map(|family| absent(family, &settings.table));
    json!({ "nftables": removed.collect::<Vec<_>>() })
}

/// Commands after which our tables hold these rules, in this order, and nothing else.
pub(super) fn all<'a>(
    settings: &NftablesSettings,
    rules: impl Iterator<Item = &'a Lowered> + Clone,
) -> Value {
    let mut commands: Vec<Value> = Vec::new();
    for family in families(settings) {
        commands.extend(absent(family, &settings.table));
        commands.push(json!({ "add": { "table": table(family, &settings.table) } }));
    }
    for version in Version::BOTH {
        let family = version.name();
        commands.push(chain(settings, family, RULES, "filter", "prerouting", -150));
        commands.push(chain(settings, family, FLOWS, "nat", "prerouting", -100));
        for rule in rules.clone() {
            for packets in rule.all_packets(version) {
                let matches = packets.matches(version);
                for (name, statements) in
                    [(RULES, in_rules(rule, version)), (FLOWS, in_flows(rule))]
                {
                    commands.push(add(settings, family, name, rule, &matches, statements));
                }
            }
        }
    }
    // Older programs take one device a chain.
    for (at, device) in settings.devices.iter().enumerate() {
        let name = format!("{INGRESS}-{at}");
        let mut ingress = chain(settings, "netdev", &name, "filter", "ingress", 0);
        ingress["add"]["chain"]["dev"] = json!(device);
        commands.push(ingress);
        for rule in rules.clone() {
            for version in Version::BOTH {
                for packets in rule.all_packets(version) {
                    let mut matches = vec![of_version(version)];
                    matches.extend(packets.matches(version));
                    let statements = at_ingress(rule);
                    commands.push(add(settings, "netdev", &name, rule, &matches, statements));
                }
            }
        }
    }
    json!({ "nftables": commands })
}

fn families(settings: &NftablesSettings) -> impl Iterator<Item = &'static str> {
    let netdev = (!settings.devices.is_empty()).then_some("netdev");
    ["ip", "ip6"].into_iter().chain(netdev)
}

fn table(family: &str, name: &str) -> Value {
    json!({ "family": family, "name": name })
}

/// Removing what is not there would fail; adding it first does not.
fn absent(family: &'static str, name: &str) -> [Value; 2] {
    [
        json!({ "add": { "table": table(family, name) } }),
        json!({ "delete": { "table": table(family, name) } }),
    ]
}

fn chain(
    settings: &NftablesSettings,
    family: &str,
    name: &str,
    kind: &str,
    hook: &str,
    priority: i32,
) -> Value {
    json!({ "add": { "chain": {
        "family": family,
        "table": settings.table,
        "name": name,
        "type": kind,
        "hook": hook,
        "prio": priority,
        "policy": "accept",
    } } })
}

fn add(
    settings: &NftablesSettings,
    family: &str,
    chain: &str,
    rule: &Lowered,
    matches: &[Value],
    statements: Vec<Value>,
) -> Value {
    let expressions: Vec<Value> = matches.iter().cloned().chain(statements).collect();
    json!({ "add": { "rule": {
        "family": family,
        "table": settings.table,
        "chain": chain,
        "expr": expressions,
        "comment": rule.id.to_string(),
    } } })
}

/// What is done to packets, ending the look at later rules.
fn in_rules(rule: &Lowered, version: Version) -> Vec<Value> {
    let mut statements = Vec::new();
    if let Verdict::Duplicate { copy: Target::Address(address), .. } = &rule.verdict {
        statements.push(json!({ "dup": { "addr": address.to_string() } }));
    }
    if let (FilterType::Packet, Some(Target::Address(address))) = (rule.filter_type, rule.forward())
    {
        let key = payload(version.name(), "daddr");
        statements.push(json!({ "mangle": { "key": key, "value": address.to_string() } }));
    }
    statements.push(match rule.verdict {
        Verdict::Drop => json!({ "drop": null }),
        _ => json!({ "accept": null }),
    });
    statements
}

/// What is done to the first packet of a flow.
fn in_flows(rule: &Lowered) -> Vec<Value> {
    match (rule.filter_type, rule.forward()) {
        (FilterType::Flow, Some(Target::Address(address))) => {
            vec![json!({ "dnat": { "addr": address.to_string() } })]
        }
        _ => vec![json!({ "accept": null })],
    }
}

/// What is done to packets that come in by a device.
fn at_ingress(rule: &Lowered) -> Vec<Value> {
    let mut statements = Vec::new();
    if let Verdict::Duplicate { copy: Target::Device { name, .. }, .. } = &rule.verdict {
        statements.push(json!({ "dup": { "addr": name } }));
    }
    match rule.forward() {
        Some(Target::Device { name, src, dst }) => {
            let set = |field, mac: &str| json!({ "mangle": { "key": payload("ether", field), "value": mac } });
            statements.push(set("saddr", &src.to_string()));
            statements.extend(dst.map(|mac| set("daddr", &mac.to_string())));
            statements.push(json!({ "fwd": { "dev": name } }));
        }
        _ => statements.push(json!({ "accept": null })),
    }
    statements
}
