//! Recorded behaviour of Kong, replayed against the running binary: the Admin API, the data plane and
//! the plugins there are.
//!
//! Every step of every scenario is sent. Steps that may differ are in `known_differences.txt` with the
//! reason; a listed step that no longer differs fails the test, so the list can only shrink.

#[path = "../../../admin/tests/replay/mod.rs"]
#[allow(dead_code, reason = "the Admin API's own test drives it in another way")]
mod recorded;

#[path = "../../../admin/tests/pems/mod.rs"]
mod pems;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;

pub(crate) use recorded::Names;
use recorded::{Reply, Scenario, Sent};
use serde::Deserialize;

use crate::harness::{Gateway, Options, Received, Upstream, now, raw};

#[tokio::test]
async fn the_admin_api_is_the_recorded_one() {
    replay("admin").await;
}

#[tokio::test]
async fn the_data_plane_is_the_recorded_one() {
    replay("proxy").await;
}

#[tokio::test]
async fn the_traditional_flavour_is_the_recorded_one() {
    replay_with("proxy-traditional", Options::new().set("router_flavor", "traditional")).await;
}

#[tokio::test]
async fn the_plugins_are_the_recorded_ones() {
    replay("plugins").await;
}

/// Scenarios that were recorded with settings of their own.
#[tokio::test]
async fn settings_have_the_recorded_effect() {
    let known = Known::read("variants");
    let mut report = String::new();
    for text in read("variants") {
        let (options, declared) = settings(&text);
        Stage::with(options, declared).await.judge(&text, &known, &mut report).await;
    }
    assert!(report.is_empty(), "\n{report}");
}

/// The file the recorded node without a database was started with, told from its `GET /config`.
const DECLARED: &str = "_format_version: '3.0'
services:
- {name: s, url: 'http://127.0.0.1:29001/base', routes: [{name: r, paths: [/r], plugins: [{name: correlation-id}]}]}
consumers:
- {username: bob, keyauth_credentials: [{key: kk}], basicauth_credentials: [{username: u, password: p}]}
upstreams:
- {name: up, targets: [{target: '127.0.0.1:29001'}]}
";

/// The settings a scenario tells of, `configuration: key=value, key=value`, and the declarative file.
fn settings(text: &str) -> (Options, Option<&'static str>) {
    #[derive(Deserialize)]
    struct About {
        about: String,
    }
    let About { about } = serde_json::from_str(text).expect("a scenario");
    let told = about.strip_prefix("configuration: ").expect("settings");
    if told.starts_with("database=off") {
        let declared = told.ends_with("with a declarative_config file").then_some(DECLARED);
        return (Options::new().set("database", "off"), declared);
    }
    let set = |options: Options, pair: &str| {
        let (key, value) = pair.split_once('=').expect("a key and a value");
        options.set(key, value)
    };
    (told.split(", ").fold(Options::new(), set), None)
}

/// A line of a recording: what the shared driver reads, and what reached the upstreams.
struct Line {
    scenario: Scenario,
    upstream: Vec<Option<Vec<Arrived>>>,
}

/// A request that reached an upstream, as recorded.
#[derive(Deserialize)]
struct Arrived {
    method: String,
    uri: String,
    headers: Vec<(String, String)>,
    #[serde(default)]
    body: String,
}

async fn replay(recording: &str) {
    replay_with(recording, Options::new()).await;
}

async fn replay_with(recording: &str, options: Options) {
    let stage = Stage::set(options).await;
    let known = Known::read(recording);
    let mut report = String::new();
    for text in read(recording) {
        stage.judge(&text, &known, &mut report).await;
    }
    assert!(report.is_empty(), "\n{report}");
}

/// The scenarios of a recording, a line each.
fn read(recording: &str) -> Vec<String> {
    let golden = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared/spec/kong/golden")
        .join(format!("{recording}.jsonl"));
    let text = std::fs::read_to_string(&golden)
        .unwrap_or_else(|why| panic!("reading {}: {why}", golden.display()));
    text.lines().map(str::to_owned).collect()
}

/// The gateway and the upstreams of the recordings, at other ports.
struct Stage {
    gateway: Gateway,
    upstreams: [Upstream; 3],
    refusing: u16,
    /// Whether the Admin API writes; a node without a database keeps what it was started with.
    writable: bool,
    began: std::cell::Cell<i64>,
}

/// A hosts file in which every name of the recordings below `.test` is this host, as it was then.
fn hosts(options: &Options) -> PathBuf {
    let name = regex::Regex::new(r"[a-z0-9-]+(\.[a-z0-9-]+)*\.test\b").expect("a pattern");
    let texts: Vec<String> =
        ["admin", "proxy", "plugins", "variants"].iter().flat_map(|one| read(one)).collect();
    let names: BTreeSet<&str> =
        texts.iter().flat_map(|text| name.find_iter(text)).map(|found| found.as_str()).collect();
    let lines: String = names.iter().map(|name| format!("127.0.0.1 {name}\n")).collect();
    options.file("hosts", &lines)
}

impl Stage {
    async fn set(options: Options) -> Self {
        Self::with(options, None).await
    }

    /// The same with a declarative file, in which the recorder's upstream becomes ours.
    async fn with(mut options: Options, declared: Option<&str>) -> Self {
        let hosts = hosts(&options);
        let writable = !options.is("database", "off");
        options = options.set("dns_hostsfile", hosts.to_str().expect("text"));
        let upstreams = [Upstream::start().await, Upstream::start().await, Upstream::start().await];
        if let Some(text) = declared {
            let port = upstreams[0].addr().port().to_string();
            let file = options.file("kong.yml", &text.replace("29001", &port));
            options = options.set("declarative_config", file.to_str().expect("text"));
        }
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        Self {
            gateway: options.start().await,
            upstreams,
            refusing: closed.port(),
            writable,
            began: std::cell::Cell::default(),
        }
    }

    /// Runs a scenario and reports what is not known of it.
    async fn judge(&self, text: &str, known: &Known, report: &mut String) {
        let line = self.parse(text);
        let name = &line.scenario.scenario;
        let mut differences = self.play(&line).await;
        if !known.explain(name, &differences) && self.window_turned(&line) {
            // Counters of a minute started anew in the middle of it.
            differences = self.play(&line).await;
        }
        known.judge(name, line.scenario.steps.len(), &differences, report);
    }

    fn parse(&self, text: &str) -> Line {
        #[derive(Deserialize)]
        struct Steps {
            steps: Vec<Step>,
        }
        #[derive(Deserialize)]
        struct Step {
            upstream: Option<Vec<Arrived>>,
        }
        let text = without_kept_echoes(&self.with_our_ports(text));
        let Steps { steps } = serde_json::from_str(&text).expect("a scenario");
        Line {
            scenario: serde_json::from_str(&text).expect("a scenario"),
            upstream: steps.into_iter().map(|step| step.upstream).collect(),
        }
    }

    /// Ports of the recorder's machine by ours; 40,000 bytes by as many.
    fn with_our_ports(&self, text: &str) -> String {
        let [one, two, sink] = self.upstreams.each_ref().map(|up| up.addr().port().to_string());
        let ours = BTreeMap::from([
            ("29001", one),
            ("29002", two),
            ("29006", sink),
            ("29009", self.refusing.to_string()),
            ("28000", self.gateway.addr("proxy").port().to_string()),
        ]);
        let ports = regex::Regex::new(r"\b(29001|29002|29006|29009|28000)\b").expect("a pattern");
        let text = ports.replace_all(text, |found: &regex::Captures<'_>| ours[&found[0]].clone());
        text.replace("<40000 bytes>", &"x".repeat(40_000))
    }

    /// Runs a scenario from an empty configuration: what differs, by step.
    async fn play(&self, line: &Line) -> BTreeMap<usize, Vec<String>> {
        if self.writable {
            self.gateway.forget_everything().await;
        }
        self.arrived();
        self.began.set(now());
        let mut names = pems::names();
        let mut differences = BTreeMap::new();
        for (at, step) in line.scenario.steps.iter().enumerate() {
            let sent = names.fill_request(&step.request);
            let reply = self.send(step.to.as_deref().unwrap_or("admin"), &sent).await;
            let arrived = self.arrived();
            names.save(&step.save, &reply);
            let mut lines = step.compare(&names, &sent, &reply);
            if step.to.as_deref() == Some("proxy") {
                superfluous(&step.response, &reply, &mut lines);
            }
            if let Some(expected) = &line.upstream[at] {
                upstream(&names, &sent, expected, &arrived, &mut lines);
            }
            if !lines.is_empty() {
                lines.insert(0, format!("{} {}", sent.method, sent.path));
                differences.insert(at, lines);
            }
        }
        differences
    }

    /// Whether a limit's minute ended while a scenario about limits ran.
    fn window_turned(&self, line: &Line) -> bool {
        line.scenario.scenario.contains("rate-limiting") && self.began.get() / 60 != now() / 60
    }

    fn arrived(&self) -> Vec<Received> {
        self.upstreams[..2].iter().flat_map(Upstream::take).collect()
    }

    async fn send(&self, listener: &str, sent: &Sent) -> Reply {
        let to = self.gateway.addr(listener);
        let mut head = format!("{} {} HTTP/1.1\r\n", sent.method, sent.path);
        let named = |name: &str| sent.headers.keys().any(|one| one.eq_ignore_ascii_case(name));
        if !named("host") {
            let _ = write!(head, "Host: {to}\r\n");
        }
        for (name, values) in &sent.headers {
            for value in values.all() {
                let _ = write!(head, "{name}: {value}\r\n");
            }
        }
        let body = sent.bytes();
        let told = named("transfer-encoding") || named("content-length");
        if !told && (sent.json.is_some() || sent.body.is_some()) {
            let _ = write!(head, "Content-Length: {}\r\n", body.len());
        }
        let request = [head.as_bytes(), b"\r\n", &body].concat();
        let (head, body) = raw(to, &request).await;
        Reply { status: head.status(), headers: head.headers, body }
    }
}

/// A scenario in which answers that were kept, the upstream's echo of an earlier request among them,
/// are told as echoes: they hold ids and the order of headers of the recorder's run.
fn without_kept_echoes(text: &str) -> String {
    let mut scenario: serde_json::Value = serde_json::from_str(text).expect("a scenario");
    for step in scenario["steps"].as_array_mut().into_iter().flatten() {
        let body = &mut step["response"]["json"];
        let is_echo = ["method", "uri", "http", "headers", "port"];
        if body.is_object() && is_echo.iter().all(|name| body.get(name).is_some()) {
            *body = "<echo of the upstream request>".into();
        }
    }
    scenario.to_string()
}

/// Headers the recorder always left out.
const LEFT_OUT: [&str; 5] = ["content-length", "date", "connection", "transfer-encoding", "pragma"];

/// Headers of a reply that were not recorded. Some scenarios kept the media type alone: there the
/// request id, which every reply of the proxy has, is not recorded either.
fn superfluous(recorded: &recorded::Recorded, reply: &Reply, lines: &mut Vec<String>) {
    if !recorded.headers.contains_key("X-Kong-Request-Id") {
        return;
    }
    for (name, value) in &reply.headers {
        let known = recorded.headers.keys().any(|one| one.eq_ignore_ascii_case(name));
        if !known && !LEFT_OUT.contains(&name.to_ascii_lowercase().as_str()) {
            lines.push(format!("{name}: {value} is not in the recording"));
        }
    }
}

/// What reached the upstreams. The order of headers is not compared, and neither is `keep-alive`,
/// which is HTTP/1.1's default, said or not.
fn upstream(
    names: &Names,
    sent: &Sent,
    expected: &[Arrived],
    found: &[Received],
    lines: &mut Vec<String>,
) {
    if expected.len() != found.len() {
        let uris: Vec<_> = found.iter().map(|one| one.uri.as_str()).collect();
        lines.push(format!("{} upstream requests {uris:?}, not {}", found.len(), expected.len()));
        return;
    }
    for (expected, found) in expected.iter().zip(found) {
        let same = |what: &str, expected: &str, found: &str, lines: &mut Vec<String>| {
            if !recorded::matches_text(&names.fill(expected), found) {
                lines.push(format!("upstream {what} {found:?} instead of {expected:?}"));
            }
        };
        same("method", &expected.method, &found.method, lines);
        same("uri", &expected.uri, &found.uri, lines);
        same("body", &expected.body, &found.body, lines);
        let ids = NewIds::beside(sent);
        let mut left = ids.blank(told(&found.headers));
        for (name, value) in ids.blank(told(&expected.headers)) {
            let value = names.fill(&value);
            let position = left.iter().position(|(one, found)| {
                one.eq_ignore_ascii_case(&name) && recorded::matches_text(&value, found)
            });
            match position {
                Some(position) => drop(left.remove(position)),
                None => lines.push(format!("upstream lacks {name}: {value}")),
            }
        }
        let more = left.into_iter().map(|(name, value)| format!("upstream got {name}: {value}"));
        lines.extend(more);
    }
}

/// Ids of traces and spans the gateway drew: those in tracing headers that the client did not send.
struct NewIds {
    sent: String,
    id: regex::Regex,
}

impl NewIds {
    fn beside(sent: &Sent) -> Self {
        let values = sent.headers.values().flat_map(|values| values.all());
        let sent = values.map(ToString::to_string).collect::<Vec<_>>().join(" ");
        Self { sent, id: regex::Regex::new("[0-9a-f]{16,32}").unwrap() }
    }

    /// Puts in the place of each how long it is.
    fn blank(&self, mut headers: Vec<(String, String)>) -> Vec<(String, String)> {
        let tracing = |name: &str| {
            let name = name.to_ascii_lowercase();
            name == "traceparent" || name == "b3" || name.starts_with("x-b3-")
        };
        for (_, value) in headers.iter_mut().filter(|(name, _)| tracing(name)) {
            let blanked = self.id.replace_all(value, |found: &regex::Captures<'_>| {
                let id = &found[0];
                if self.sent.contains(id) { id.to_owned() } else { format!("({} hex)", id.len()) }
            });
            *value = blanked.into_owned();
        }
        headers
    }
}

/// Headers without what they need not say.
fn told(headers: &[(String, String)]) -> Vec<(String, String)> {
    let tidy = |(name, value): &(String, String)| {
        if name.eq_ignore_ascii_case("x-consumer-groups") {
            // In no order.
            let mut groups: Vec<&str> = value.split(", ").collect();
            groups.sort_unstable();
            return Some((name.clone(), groups.join(", ")));
        }
        if !name.eq_ignore_ascii_case("connection") {
            return Some((name.clone(), value.clone()));
        }
        let options = value.split(',').map(str::trim);
        let options: Vec<_> =
            options.filter(|option| !option.eq_ignore_ascii_case("keep-alive")).collect();
        (!options.is_empty()).then(|| (name.clone(), options.join(", ")))
    };
    headers.iter().filter_map(tidy).collect()
}

/// The list of differences that are known: `recording | scenario | steps | reason`, steps counted
/// from 0, as `3 5-7`, or `*` for a scenario as a whole.
struct Known(Vec<(String, Steps, String)>);

enum Steps {
    /// Any, at least one.
    Whole,
    These(BTreeSet<usize>),
}

impl Known {
    fn read(recording: &str) -> Self {
        let lines = include_str!("known_differences.txt").lines();
        let lines = lines.map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let all = lines.map(|line| {
            let parts: Vec<&str> = line.split('|').map(str::trim).collect();
            let [recording, scenario, steps, reason] = parts[..] else {
                panic!("known_differences.txt: {line}");
            };
            assert!(!reason.is_empty(), "known_differences.txt: no reason in {line}");
            (recording, (scenario.to_owned(), Steps::parse(steps), reason.to_owned()))
        });
        Self(all.filter(|(one, _)| *one == recording).map(|(_, entry)| entry).collect())
    }

    fn of<'a>(&'a self, scenario: &'a str) -> impl Iterator<Item = &'a (String, Steps, String)> {
        self.0.iter().filter(move |(name, ..)| name == scenario)
    }

    fn covers(&self, scenario: &str, step: usize) -> bool {
        self.of(scenario).any(|(_, steps, _)| match steps {
            Steps::Whole => true,
            Steps::These(these) => these.contains(&step),
        })
    }

    fn explain(&self, scenario: &str, differences: &BTreeMap<usize, Vec<String>>) -> bool {
        differences.keys().all(|step| self.covers(scenario, *step))
    }

    fn judge(
        &self,
        scenario: &str,
        steps: usize,
        differences: &BTreeMap<usize, Vec<String>>,
        report: &mut String,
    ) {
        let unknown: Vec<_> =
            differences.iter().filter(|(step, _)| !self.covers(scenario, **step)).collect();
        if !unknown.is_empty() {
            let _ = writeln!(report, "{scenario}: {} of {steps} steps differ", unknown.len());
        }
        for (step, lines) in unknown {
            let _ = writeln!(report, "  {step}: {}", lines.join("\n      "));
        }
        for (_, known, reason) in self.of(scenario) {
            let stale: Vec<usize> = match known {
                Steps::Whole if differences.is_empty() => (0..steps).collect(),
                Steps::Whole => Vec::new(),
                Steps::These(these) => {
                    these.iter().filter(|step| !differences.contains_key(step)).copied().collect()
                }
            };
            if !stale.is_empty() {
                let _ = writeln!(report, "{scenario}: {stale:?} no longer differ: {reason}");
            }
        }
    }
}

impl Steps {
    fn parse(text: &str) -> Self {
        if text == "*" {
            return Self::Whole;
        }
        let number = |text: &str| text.parse::<usize>().unwrap_or_else(|_| panic!("step {text}"));
        let ranges = text.split_whitespace().flat_map(|part| match part.split_once('-') {
            Some((first, last)) => number(first)..=number(last),
            None => number(part)..=number(part),
        });
        Self::These(ranges.collect())
    }
}
