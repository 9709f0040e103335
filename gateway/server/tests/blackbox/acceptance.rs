//! The contracts' own cases, quirks, known answers and tables, held to `acceptance.txt`: each is
//! proven by tests that exist, or does not apply for a reason that stands there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

const HERE: &str = "gateway/server/tests/blackbox";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|why| panic!("{}: {why}", path.display()))
}

/// The first cell of a table's row, which is neither its head nor the line below that.
fn first_cell(line: &str) -> Option<&str> {
    let cell = line.strip_prefix('|')?.split('|').next()?.trim();
    (!cell.is_empty() && !cell.starts_with("---") && cell != "topic").then_some(cell)
}

/// `A-nn`, `S-nn` and `Q-nn` that begin a row.
fn numbered(line: &str) -> Option<String> {
    let cell = first_cell(line)?.trim_end_matches('†').trim_end();
    let (kind, number) = cell.split_once('-')?;
    let known = ["A", "S", "Q"].contains(&kind) && number.parse::<u16>().is_ok();
    known.then(|| cell.to_owned())
}

/// Everything the contracts list: rows by their number; known answers, by their number or the
/// section they stand in; the clients of section 8; rows of the tables of the two faces.
fn listed() -> BTreeSet<String> {
    let spec = root().join("../shared/spec");
    let mut listed = BTreeSet::new();
    let (original, standard) =
        (read(&spec.join("edgegallery-mep.md")), read(&spec.join("mec011.md")));
    let mut section = "";
    for line in original.lines() {
        if let Some(title) = line.strip_prefix("### ") {
            section = title.split(' ').next().unwrap_or_default();
            if section.starts_with("8.") {
                listed.insert(section.to_owned());
            }
        }
        listed.extend(numbered(line));
        let mut rest = line;
        while let Some(at) = rest.find("KAT ") {
            rest = &rest[at + 4..];
            let number: String = rest.chars().take_while(char::is_ascii_digit).collect();
            if !number.is_empty() {
                listed.insert(format!("KAT {number}"));
            }
        }
        if line.contains("KAT:") {
            listed.insert(format!("KAT of {section}"));
        }
    }
    for line in standard.lines() {
        if let Some(title) = line.strip_prefix("### ") {
            section = title.split(' ').next().unwrap_or_default();
        }
        listed.extend(numbered(line));
        if ["10.2", "10.3", "10.4"].contains(&section)
            && let Some(topic) = first_cell(line)
        {
            listed.insert(format!("{section} {topic}"));
        }
    }
    listed
}

/// What `acceptance.txt` says of each.
fn told() -> BTreeMap<String, String> {
    let mut told = BTreeMap::new();
    for line in read(&root().join(HERE).join("acceptance.txt")).lines() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (id, rest) = line.split_once(" | ").unwrap_or_else(|| panic!("no separator: {line}"));
        let twice = told.insert(id.trim().to_owned(), rest.trim().to_owned());
        assert!(twice.is_none(), "{id} stands there twice");
    }
    told
}

/// Whether a file has a test of this name: `mod::name` of this folder, or `path/of/a/file.rs::name`.
fn exists(test: &str) -> bool {
    let Some((place, name)) = test.rsplit_once("::") else { return false };
    let file = match place.strip_suffix(".rs") {
        Some(_) => root().join(place),
        None => root().join(HERE).join(format!("{place}.rs")),
    };
    let Ok(text) = std::fs::read_to_string(file) else { return false };
    let Some(at) = text.find(&format!("fn {name}(")) else { return false };
    let line = text[..at].rfind('\n').unwrap_or(0);
    let above = text[..line].lines().rev().take_while(|line| !line.trim().is_empty());
    let mut above = above.map(str::trim).take_while(|line| *line != "}");
    above.any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test"))
}

#[test]
fn every_case_is_proven_or_has_a_reason() {
    let (listed, told) = (listed(), told());
    for kind in ["A-102", "S-66", "Q-70", "KAT 5", "KAT of 3.6", "8.5", "10.2 callback"] {
        assert!(listed.contains(kind), "{kind} is not read: {listed:?}");
    }
    let mut wrong: Vec<String> = Vec::new();
    for id in &listed {
        if !told.contains_key(id) {
            wrong.push(format!("{id} is not in the table"));
        }
    }
    for (id, rest) in &told {
        if !listed.contains(id) {
            wrong.push(format!("{id} is in no contract"));
        }
        if let Some(reason) = rest.strip_prefix("- ") {
            if reason.len() < 20 {
                wrong.push(format!("{id} has no reason"));
            }
            continue;
        }
        for test in rest.split_whitespace() {
            if !exists(test) {
                wrong.push(format!("{id}: there is no test {test}"));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
