//! Drives recorded scenarios against a subject and tells what differs.
//!
//! The format, the placeholders and what may vary are those of the recordings' own README: member
//! order is free, so is the order of list rows, and which rows a partial page shows depends on
//! random ids. The subject is a closure from request to reply, so the same recordings run against
//! a router in memory and against a process behind sockets.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value};

/// Requests that run in order against an empty configuration.
#[derive(Debug, Deserialize)]
pub(crate) struct Scenario {
    /// Its name.
    pub(crate) scenario: String,
    /// The requests with their recorded replies.
    pub(crate) steps: Vec<Step>,
}

/// One request and its recorded reply.
#[derive(Debug, Deserialize)]
pub(crate) struct Step {
    /// Which listener: `proxy`, `status`; the Admin API when absent.
    pub(crate) to: Option<String>,
    /// What is sent.
    pub(crate) request: Sent,
    /// Members of the reply to remember, by placeholder.
    #[serde(default)]
    pub(crate) save: BTreeMap<String, String>,
    /// What came back.
    pub(crate) response: Recorded,
    /// What the recorder says of it.
    pub(crate) note: Option<String>,
}

impl Step {
    /// What differs between the recorded reply and the given one, a line each.
    pub(crate) fn compare(&self, names: &Names, sent: &Sent, reply: &Reply) -> Vec<String> {
        let undescribed =
            self.note.as_ref().is_some_and(|note| note.contains("descriptions left out"));
        let mut lines = compare(names, sent, &self.response, reply);
        lines.retain(|line| {
            !(undescribed && line.ends_with(".description is not in the recording"))
        });
        lines
    }
}

/// What is sent.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Sent {
    /// `GET`
    pub(crate) method: String,
    /// Path and query.
    pub(crate) path: String,
    /// In any order.
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, Values>,
    /// A JSON body,
    pub(crate) json: Option<Value>,
    /// or one as text.
    pub(crate) body: Option<String>,
}

impl Sent {
    /// The bytes of the body.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        match (&self.json, &self.body) {
            (Some(json), _) => json.to_string().into_bytes(),
            (None, Some(text)) => text.clone().into_bytes(),
            (None, None) => Vec::new(),
        }
    }
}

/// The values of one header, in order.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Values {
    /// The usual.
    One(String),
    /// A header that occurs several times.
    Several(Vec<String>),
}

impl Values {
    /// All of them.
    pub(crate) fn all(&self) -> &[String] {
        match self {
            Self::One(value) => std::slice::from_ref(value),
            Self::Several(values) => values,
        }
    }
}

impl From<&str> for Values {
    fn from(value: &str) -> Self {
        Self::One(value.to_owned())
    }
}

/// What was recorded.
#[derive(Debug, Deserialize)]
pub(crate) struct Recorded {
    /// The status.
    pub(crate) status: u16,
    /// The headers worth comparing.
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, Values>,
    /// The body, when it was JSON,
    pub(crate) json: Option<Value>,
    /// or as text.
    pub(crate) body: Option<String>,
}

/// What the subject answered.
#[derive(Debug)]
pub(crate) struct Reply {
    /// The status.
    pub(crate) status: u16,
    /// Names in any case.
    pub(crate) headers: Vec<(String, String)>,
    /// The whole body.
    pub(crate) body: Vec<u8>,
}

/// A step whose reply is not the recorded one.
#[derive(Debug)]
pub(crate) struct Difference {
    /// Position in the scenario, from 0.
    pub(crate) step: usize,
    /// What was sent.
    pub(crate) request: String,
    /// What differs, one line each.
    pub(crate) lines: Vec<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "step {}: {}", self.step, self.request)?;
        self.lines.iter().try_for_each(|line| writeln!(f, "    {line}"))
    }
}

/// The scenarios of a recording.
pub(crate) fn read(path: &Path) -> Vec<Scenario> {
    let text = std::fs::read_to_string(path)
        .unwrap_or_else(|why| panic!("reading {}: {why}", path.display()));
    text.lines()
        .map(|line| serde_json::from_str(line).expect("a recording holds one scenario a line"))
        .collect()
}

/// Runs a scenario; `names` are known from the start. `send` gives `None` for steps it cannot send; they are passed over.
pub(crate) fn run(
    scenario: &Scenario,
    mut names: Names,
    send: &mut dyn FnMut(Option<&str>, &Sent) -> Option<Reply>,
) -> Vec<Difference> {
    let mut differences = Vec::new();
    for (position, step) in scenario.steps.iter().enumerate() {
        let sent = names.fill_request(&step.request);
        let Some(reply) = send(step.to.as_deref(), &sent) else { continue };
        names.save(&step.save, &reply);
        let lines = step.compare(&names, &sent, &reply);
        if !lines.is_empty() {
            let request =
                format!("{} {} {}", sent.method, sent.path, String::from_utf8_lossy(&sent.bytes()));
            differences.push(Difference { step: position, request, lines });
        }
    }
    differences
}

/// What differs between the recorded reply and the given one, a line each.
fn compare(names: &Names, sent: &Sent, recorded: &Recorded, reply: &Reply) -> Vec<String> {
    let mut lines = Vec::new();
    if reply.status != recorded.status {
        lines.push(format!("status {} instead of {}", reply.status, recorded.status));
    }
    for (name, wanted) in &recorded.headers {
        let found = reply.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        let found: Vec<&str> = found.map(|(_, value)| value.as_str()).collect();
        let wanted = wanted.all();
        let same = found.len() == wanted.len()
            && wanted.iter().zip(&found).all(|(one, found)| matches_text(&names.fill(one), found));
        if !same {
            lines.push(format!("{name}: {found:?} instead of {wanted:?}"));
        }
    }
    let text = String::from_utf8_lossy(&reply.body);
    match (&recorded.json, &recorded.body) {
        (Some(wanted), _) => match serde_json::from_slice::<Value>(&reply.body) {
            Ok(mut found) => {
                without_the_platform(&mut found);
                let wanted = names.fill_value(wanted);
                compare_body(sent, &wanted, &found, &mut lines);
            }
            Err(_) => lines.push(format!("no JSON: {text}")),
        },
        (None, Some(wanted)) if !matches_text(&names.fill(wanted), &text) => {
            lines.push(format!("body '{text}' instead of '{wanted}'"));
        }
        (None, None) if !reply.body.is_empty() => lines.push(format!("body '{text}'")),
        _ => {}
    }
    lines
}

/// Takes the rows out of a list that are the platform's own and that it puts back by itself.
fn without_the_platform(body: &mut Value) {
    let platforms = |row: &Value| {
        row["tags"].as_array().is_some_and(|tags| tags.iter().any(|tag| tag == "mep"))
    };
    if let Some(rows) = body.get_mut("data").and_then(Value::as_array_mut) {
        rows.retain(|row| !platforms(row));
    }
}

/// Lists of names that hold more than was recorded: what is ours alone.
const OPEN: [(&str, &str); 2] = [("/endpoints", "data"), ("/plugins/enabled", "enabled_plugins")];

fn compare_body(sent: &Sent, wanted: &Value, found: &Value, lines: &mut Vec<String>) {
    if let Some((_, list)) = OPEN.iter().find(|(path, _)| *path == sent.path) {
        let rows = |body: &Value| body[list].as_array().cloned().unwrap_or_default();
        let ours = rows(found);
        let missing = rows(wanted).into_iter().filter(|row| !ours.contains(row));
        lines.extend(missing.map(|row| format!(".{list} has no row {row}")));
        return;
    }
    let query = sent.path.split_once('?').map_or("", |(_, query)| query);
    let partial = query.contains("size=") || query.contains("offset=");
    let rows = |body: &Value| body.get("data").and_then(Value::as_array).cloned();
    match (rows(wanted), rows(found)) {
        (Some(wanted_rows), Some(found_rows)) if partial => {
            compare_page(wanted, &wanted_rows, found, &found_rows, lines);
        }
        _ => differ("", wanted, found, lines),
    }
}

/// A page of some rows: which ones depends on random ids, so only their number, their members
/// and the way to the next page are compared.
fn compare_page(
    wanted: &Value,
    wanted_rows: &[Value],
    found: &Value,
    found_rows: &[Value],
    lines: &mut Vec<String>,
) {
    let members = |rows: &[Value]| {
        rows.iter()
            .map(|row| {
                let mut names: Vec<String> =
                    row.as_object().into_iter().flat_map(Map::keys).cloned().collect();
                names.sort();
                names
            })
            .collect::<Vec<_>>()
    };
    if members(wanted_rows) != members(found_rows) {
        lines.push(format!("{} rows instead of {}", found_rows.len(), wanted_rows.len()));
    }
    let offset = found["offset"].as_str().unwrap_or_default();
    let next = wanted["next"].as_str().map(|next| {
        let (before, rest) = next.split_once("offset=").expect("a next page has an offset");
        let after = rest.split_once('&').map_or(String::new(), |(_, after)| format!("&{after}"));
        Value::String(format!("{before}offset={offset}{after}"))
    });
    let next = next.unwrap_or(Value::Null);
    if found["next"] != next {
        lines.push(format!("next {} instead of {next}", found["next"]));
    }
}

/// Every difference of two values, by dotted path.
fn differ(at: &str, wanted: &Value, found: &Value, lines: &mut Vec<String>) {
    match (wanted, found) {
        // Entities by id: the ids differ from run to run.
        (Value::Object(wanted), Value::Object(found))
            if wanted.len() == 1 && found.len() == 1 && wanted.contains_key("<uuid>") =>
        {
            for (wanted, (id, found)) in wanted.values().zip(found) {
                differ(&format!("{at}.{id}"), wanted, found, lines);
            }
        }
        (Value::Object(wanted), Value::Object(found)) => {
            for (name, wanted) in wanted {
                let at = format!("{at}.{name}");
                match found.get(name) {
                    Some(found) => differ(&at, wanted, found, lines),
                    None => lines.push(format!("{at} is missing")),
                }
            }
            for name in found.keys().filter(|name| !wanted.contains_key(*name)) {
                lines.push(format!("{at}.{name} is not in the recording"));
            }
        }
        (Value::Array(wanted), Value::Array(found)) if wanted.len() == found.len() => {
            if [".data", ".enabled_plugins", ".hosts"].iter().any(|list| at.ends_with(list)) {
                return differ_unordered(at, wanted, found, lines);
            }
            for (index, (wanted, found)) in wanted.iter().zip(found).enumerate() {
                differ(&format!("{at}.{index}"), wanted, found, lines);
            }
        }
        (Value::String(text), _) if is_placeholder(text) => {
            if !matches_placeholder(text, found) {
                lines.push(format!("{at} is {found}, no {text}"));
            }
        }
        (Value::String(wanted), Value::String(found)) if matches_text(wanted, found) => {}
        (Value::Number(a), Value::Number(b)) if a.as_f64() == b.as_f64() => {}
        // What is left of a life: a second may have passed.
        (Value::Number(a), Value::Number(b))
            if at.ends_with(".ttl") && {
                let (a, b) = (a.as_u64(), b.as_u64());
                a.zip(b).is_some_and(|(a, b)| a.abs_diff(b) <= 2)
            } => {}
        (wanted, found) if wanted == found => {}
        _ => lines.push(format!("{at} is {found} instead of {wanted}")),
    }
}

fn differ_unordered(at: &str, wanted: &[Value], found: &[Value], lines: &mut Vec<String>) {
    let mut left: Vec<&Value> = found.iter().collect();
    for wanted in wanted {
        let same = left.iter().position(|found| {
            let mut lines = Vec::new();
            differ("", wanted, found, &mut lines);
            lines.is_empty()
        });
        match same {
            Some(index) => {
                left.remove(index);
            }
            None => lines.push(format!("{at} has no row {wanted}")),
        }
    }
    lines.extend(left.iter().map(|row| format!("{at} has the row {row}")));
}

/// Values saved from earlier replies.
#[derive(Clone, Default)]
pub(crate) struct Names(BTreeMap<String, String>);

impl Names {
    /// Adds a value from elsewhere.
    pub(crate) fn with(mut self, name: &str, value: String) -> Self {
        self.0.insert(name.to_owned(), value);
        self
    }

    /// Remembers members of a reply.
    pub(crate) fn save(&mut self, wanted: &BTreeMap<String, String>, reply: &Reply) {
        let body: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        for (name, member) in wanted {
            if let Some(value) = body.get(member).and_then(Value::as_str) {
                self.0.insert(name.clone(), value.to_owned());
            }
        }
    }

    /// The text with saved values in place of their names.
    pub(crate) fn fill(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (name, value)| {
            text.replace(&format!("{{{{{name}}}}}"), value)
        })
    }

    fn fill_value(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => self.fill(text).into(),
            Value::Array(list) => list.iter().map(|value| self.fill_value(value)).collect(),
            Value::Object(map) => {
                map.iter().map(|(name, value)| (name.clone(), self.fill_value(value))).collect()
            }
            other => other.clone(),
        }
    }

    /// The request with saved values in place of their names.
    pub(crate) fn fill_request(&self, sent: &Sent) -> Sent {
        Sent {
            path: self.fill(&sent.path),
            json: sent.json.as_ref().map(|json| self.fill_value(json)),
            body: sent.body.as_ref().map(|text| self.fill(text)),
            ..sent.clone()
        }
    }
}

const PLACEHOLDERS: [&str; 9] = [
    "<uuid>",
    "<unix-seconds>",
    "<ms-float>",
    "<int>",
    "<32 hex>",
    "<random 32>",
    "<sha256 hex>",
    "<var>",
    "<hostname>",
];

fn is_placeholder(text: &str) -> bool {
    PLACEHOLDERS.contains(&text)
        || text.starts_with("<abridged")
        || text.starts_with("<Prometheus")
        || text.starts_with("<echo")
}

fn matches_placeholder(name: &str, found: &Value) -> bool {
    match name {
        "<unix-seconds>" | "<int>" => found.is_u64(),
        "<ms-float>" => found.is_number(),
        "<uuid>" | "<32 hex>" | "<random 32>" | "<sha256 hex>" => {
            found.as_str().is_some_and(|text| length(name, text) == Some(text.len()))
        }
        _ => true,
    }
}

/// How much of the beginning of a text a placeholder stands for.
fn length(name: &str, text: &str) -> Option<usize> {
    let hex = |c: char| c.is_ascii_hexdigit();
    let (count, fits): (usize, fn(char) -> bool) = match name {
        "<uuid>" => (36, |c| c.is_ascii_hexdigit() || c == '-'),
        "<32 hex>" => (32, hex),
        "<random 32>" => (32, |c| c.is_ascii_alphanumeric()),
        "<sha256 hex>" => (64, hex),
        "<int>" | "<unix-seconds>" => {
            return Some(text.chars().take_while(char::is_ascii_digit).count());
        }
        _ => return Some(text.len()),
    };
    (text.chars().take(count).filter(|c| fits(*c)).count() == count).then_some(count)
}

/// The text with a mark in place of digests (40 or 64 hex digits): those recorded are of random ids and
/// of the recorder's certificates.
fn undigested(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(begin) = rest.find(|c: char| c.is_ascii_hexdigit()) {
        let length = rest[begin..].bytes().take_while(u8::is_ascii_hexdigit).count();
        let (before, after) = (&rest[..begin], &rest[begin + length..]);
        out.push_str(before);
        match length {
            40 => out.push_str("<digest of 20>"),
            64 => out.push_str("<digest of 32>"),
            _ => out.push_str(&rest[begin..begin + length]),
        }
        rest = after;
    }
    out + rest
}

/// Whether a text is the recorded one, placeholders within it included.
pub(crate) fn matches_text(wanted: &str, found: &str) -> bool {
    matches_undigested(&undigested(wanted), found)
        || matches_undigested(&undigested(wanted), &undigested(found))
}

fn matches_undigested(wanted: &str, found: &str) -> bool {
    let first = PLACEHOLDERS
        .iter()
        .chain(&["<Prometheus text, see metrics.txt>"])
        .filter_map(|name| Some((wanted.find(name)?, *name)))
        .min();
    let Some((at, name)) = first else { return wanted == found };
    let Some(rest) = found.strip_prefix(&wanted[..at]) else { return false };
    length(name, rest)
        .is_some_and(|length| matches_undigested(&wanted[at + name.len()..], &rest[length..]))
}
