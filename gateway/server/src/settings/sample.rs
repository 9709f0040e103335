//! `conf/gateway.conf` is written from the table of keys, and held to it here.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use super::keys::{GROUPS, Group, Key, Kind};
use super::{RawSettings, Settings};

/// Columns after which a comment goes on in the next line.
const WIDTH: usize = 100;

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../conf/gateway.conf")
}

#[test]
fn the_sample_is_what_the_table_says() {
    let written = rendered();
    if std::env::var_os("UPDATE_SAMPLE").is_some() {
        fs::write(path(), &written).unwrap();
    }
    let found = fs::read_to_string(path()).unwrap();
    for (index, (found, expected)) in found.lines().zip(written.lines()).enumerate() {
        assert_eq!(
            found,
            expected,
            "conf/gateway.conf:{}; UPDATE_SAMPLE=1 cargo test -p gateway-server writes it",
            index + 1
        );
    }
    assert_eq!(found.len(), written.len());
}

/// The way an operator uses the sample: take the `#` away. Through the real reader, so that a
/// default which the syntax cannot carry would show.
#[test]
fn every_line_of_the_sample_is_a_default() {
    let sample = fs::read_to_string(path()).unwrap();
    let is_prose = |line: &&str| line.is_empty() || line.starts_with(' ');
    let assignments: Vec<&str> = sample
        .lines()
        .filter_map(|line| line.strip_prefix('#'))
        .filter(|line| !is_prose(line))
        .collect();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("gateway.conf");
    fs::write(&file, assignments.join("\n")).unwrap();

    let read = |file: Option<&Path>| {
        Settings::parse(RawSettings::collect(file, std::iter::empty(), &[])).unwrap()
    };
    let (uncommented, notices) = read(Some(&file));
    let (defaults, _) = read(None);
    assert_eq!(notices, [], "every assignment is one of a known key that acts, given once");
    assert!(uncommented.all().eq(defaults.all()));

    let keys = || GROUPS.iter().flat_map(|group| group.keys);
    for key in keys() {
        let lines = assignments.iter().filter(|line| line.split(" =").next() == Some(key.name));
        assert_eq!(lines.count(), 1, "{}", key.name);
    }
    assert_eq!(assignments.len(), keys().count());
}

fn rendered() -> String {
    let mut text = String::from(
        "# Settings of the gateway: `gateway run -c FILE`, or this file as /etc/kong/kong.conf.
#
# Every line is a default, switched off by its `#`. The environment wins over the file: KONG_ and
# the key in upper case, for instance KONG_LOG_LEVEL; KONG_PG_PASSWORD_FILE names a file that holds
# the value. A value of the form {vault://env/NAME} is taken from the variable NAME. Text after a
# `#` is a comment, `\\#` is a plain one. `gateway check FILE` tells everything that is wrong.
#
# Keys of Kong 3.10 that are not here are checked, shown by the Admin API, and have no effect.
",
    );
    for Group { title, keys } in GROUPS {
        write!(text, "\n\n# ==== {title}\n").unwrap();
        for key in *keys {
            text.push('\n');
            entry(&mut text, key);
        }
    }
    text
}

fn entry(text: &mut String, key: &Key) {
    let mut line = String::from("#");
    for word in key.about.split(' ').map(str::to_owned).chain(form(key.kind)) {
        if line.len() + 1 + word.len() > WIDTH {
            writeln!(text, "{line}").unwrap();
            line = String::from("#");
        }
        line = line + " " + &word;
    }
    writeln!(text, "{line}").unwrap();
    let space = if key.default.is_empty() { "" } else { " " };
    writeln!(text, "#{} ={space}{}", key.name, key.default).unwrap();
}

/// What may be written, where the sentence alone does not show it.
fn form(kind: Kind) -> Vec<String> {
    let form = match kind {
        Kind::Text | Kind::Listen(_) | Kind::Number => return Vec::new(),
        Kind::List => "(list)".to_owned(),
        Kind::Boolean | Kind::OnOff => "(on, off)".to_owned(),
        Kind::Size => "(bytes, or with k, m, g)".to_owned(),
        Kind::Span => "(seconds, or with s, m, h, d)".to_owned(),
        Kind::Choice(words) => format!("({})", words.join(", ")),
    };
    form.split(' ').map(str::to_owned).collect()
}

/// What the loader makes of it is the loader's to test; here: it is YAML, and of the format.
#[test]
fn the_declarative_sample_is_a_document_of_format_3() {
    let text = fs::read_to_string(path().with_file_name("declarative.yml")).unwrap();
    let document: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
    assert_eq!(document["_format_version"], "3.0");
    for kind in ["services", "consumers", "plugins"] {
        assert!(document[kind].as_array().is_some_and(|entities| !entities.is_empty()), "{kind}");
    }
}
