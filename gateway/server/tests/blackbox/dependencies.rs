//! What the program is made of: every licence, source and crate is one that `.deny.toml` allows, and
//! no crate of ours holds unsafe code. `cargo deny` reads the same file; this needs nothing but cargo.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|why| panic!("{}: {why}", path.display()))
}

/// The texts in the list that follows `key = [` in `.deny.toml`.
fn listed(key: &str) -> Vec<String> {
    let text = read(".deny.toml");
    let (_, rest) = text.split_once(&format!("\n{key} = [")).unwrap();
    let (list, _) = rest.split_once("\n]").unwrap();
    let quoted = regex::Regex::new(r#"(?m)^\s*(?:\{ crate = )?"([^"]+)""#).unwrap();
    quoted.captures_iter(list).map(|found| found[1].to_owned()).collect()
}

/// Every package of the graph this platform builds, with all features.
fn packages() -> Vec<Value> {
    let version = Command::new(env!("CARGO")).args(["-vV"]).output().unwrap();
    let version = String::from_utf8(version.stdout).unwrap();
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    let told = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--locked", "--all-features"])
        .args(["--filter-platform", host])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    let mut told: Value = serde_json::from_slice(&told.stdout).unwrap();
    let packages = told["packages"].take().as_array().unwrap().clone();
    assert!(packages.len() > 200, "only {} packages", packages.len());
    packages
}

#[test]
fn licences_sources_and_bans() {
    let allowed = listed("allow");
    let banned = listed("deny");
    assert!(allowed.len() > 5 && banned.contains(&"openssl".to_owned()), "{allowed:?} {banned:?}");
    let mut faults = Vec::new();
    let mut stacks: BTreeMap<String, usize> = BTreeMap::new();
    for package in packages() {
        let text = |key: &str| package[key].as_str().unwrap_or_default();
        let name = text("name");
        if banned.iter().any(|one| one == name) {
            faults.push(format!("{name} is banned"));
        }
        if ["rustls", "tokio", "hyper", "pingora-core", "aws-lc-rs"].contains(&name) {
            *stacks.entry(name.to_owned()).or_default() += 1;
        }
        if package["source"].is_null() {
            continue;
        }
        if text("source") != "registry+https://github.com/rust-lang/crates.io-index" {
            faults.push(format!("{name} comes from {}", text("source")));
        }
        // Before SPDX had expressions, a slash stood for OR.
        let licence = text("license").replace('/', " OR ");
        let expression = spdx::Expression::parse(&licence);
        let expression = expression.unwrap_or_else(|why| panic!("{name}: {licence}: {why}"));
        // A plus says: or any later version.
        let is_allowed = |one: &spdx::LicenseReq| {
            allowed.iter().any(|name| *name == one.to_string().trim_end_matches('+'))
        };
        if !expression.evaluate(is_allowed) {
            faults.push(format!("{name}: {licence}"));
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
    assert!(stacks.len() == 5 && stacks.values().all(|count| *count == 1), "{stacks:?}");
}

#[test]
fn no_crate_of_ours_holds_unsafe_code() {
    let manifest = read("Cargo.toml");
    assert!(manifest.contains("\nunsafe_code = \"forbid\"\n"));
    let (_, members) = manifest.split_once("members = [").unwrap();
    let (members, _) = members.split_once(']').unwrap();
    let members: Vec<_> = members.split('"').skip(1).step_by(2).collect();
    assert!(members.len() >= 10, "{members:?}");
    for member in members {
        let manifest = read(Path::new(member).join("Cargo.toml"));
        assert!(manifest.contains("\n[lints]\nworkspace = true\n"), "{member}");
    }
    // What a macro of another crate expands to is not looked at by the lint; an `unsafe` block or
    // function written here would be. Nor may anybody lift it, which `forbid` refuses to hear of.
    let mut sources = Vec::new();
    let mut folders: Vec<_> =
        ["gateway", "mep", "plugins", "certs", "bench"].map(|one| root().join(one)).into();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                sources.push(path);
            }
        }
    }
    assert!(sources.len() > 300, "{}", sources.len());
    let word =
        regex::Regex::new(r"(?m)^[^/]*\bunsafe\s*(?:\{|fn|impl|extern|\(no_mangle)").unwrap();
    for path in sources {
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(!word.is_match(&text), "{}", path.display());
    }
}
