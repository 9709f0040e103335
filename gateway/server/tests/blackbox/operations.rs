//! What operators run beside the gateway: backups, dashboards, alert rules.

use std::collections::BTreeSet;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use http::Method;
use rustix::process::Signal;
use serde_json::json;

use crate::cluster::server::Server;
use crate::cluster::{Pair, node};
use crate::harness::{
    Answered as _, App, Gateway, Options, Upstream, eventually, missing, mp1, not_allowed, plain,
};

/// A copy taken while the gateway writes brings everything back, in another place.
#[tokio::test]
async fn a_backup_brings_everything_back() {
    let gateway = Gateway::start().await;
    let app = App::bootstrap(&gateway);
    plain().put(gateway.url("admin", "/consumers/bob")).json(&json!({})).answer().await.expect(200);
    let key = plain().post(gateway.url("admin", "/consumers/bob/key-auth"));
    key.json(&json!({"key": "kk"})).answer().await.expect(201);

    let folder = gateway.prefix().join("saved");
    let folder = folder.to_str().unwrap();
    let (code, out, error) = gateway.options().run(&["backup", folder]).await;
    assert_eq!(code, Some(0), "{error}");
    assert!(out.contains("saved to"), "{out}");
    let modes = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(modes(Path::new(folder)), 0o700);
    assert_eq!(modes(&Path::new(folder).join("gateway.db")), 0o600);
    let (code, _, error) = gateway.options().run(&["backup", folder]).await;
    assert_eq!(code, Some(1), "an old backup was overwritten");
    assert!(error.contains("is there already"), "{error}");
    let (code, _, error) = gateway.options().run(&["restore", folder]).await;
    assert_eq!(code, Some(1), "it runs");
    assert!(error.contains("stop it first"), "{error}");
    // What comes after the backup is not in it.
    plain().put(gateway.url("admin", "/consumers/eve")).json(&json!({})).answer().await.expect(200);

    let elsewhere = Options::new();
    let (code, _, error) = elsewhere.run(&["restore", folder]).await;
    assert_eq!(code, Some(0), "{error}");
    let restored = elsewhere.start().await;
    let read = async |path: &str| plain().get(restored.url("admin", path)).answer().await;
    read("/consumers/eve").await.expect(404);
    let keys = read("/consumers/bob/key-auth").await.expect(200).json();
    assert_eq!(keys["data"][0]["key"], "kk", "a sealed secret can be opened");
    // The keys of apps, the key of tokens and the authority are the old ones.
    app.token(&restored).await;
    let authority = |gateway: &Gateway| std::fs::read(gateway.prefix().join("certs/ca.crt"));
    assert_eq!(authority(&gateway).unwrap(), authority(&restored).unwrap());
}

/// A pid file that names a process which is alive and no gateway, as in a container that was started
/// anew: nothing runs there, and nothing is in the way.
#[tokio::test]
async fn a_stale_pid_file_means_nothing() {
    let mut gateway = Gateway::start().await;
    let folder = gateway.prefix().join("saved");
    let folder = folder.to_str().unwrap().to_owned();
    assert_eq!(gateway.options().run(&["backup", &folder]).await.0, Some(0));
    gateway.kill().await;
    let pids = gateway.prefix().join("pids/nginx.pid");
    std::fs::write(&pids, std::process::id().to_string()).unwrap();
    for (words, wanted) in [
        (&["health"][..], Some(1)),
        (&["stop"], Some(1)),
        (&["reload"], Some(1)),
        (&["restore", &folder], Some(0)),
    ] {
        let (code, out, error) = gateway.options().run(words).await;
        assert_eq!(code, wanted, "{words:?}: {out}{error}");
    }
    let (code, _, error) = gateway.options().run(&["start"]).await;
    assert_eq!(code, Some(0), "{error}");
    let (code, _, error) = gateway.options().run(&["stop"]).await;
    assert_eq!(code, Some(0), "{error}");
}

/// The check of the image: a process that is there but does not answer is not well.
#[tokio::test]
async fn health_asks_the_status_listener() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = free.local_addr().unwrap().to_string();
    drop(free);
    let mut gateway = Options::new().set("status_listen", addr).start().await;
    let asked = async |gateway: &Gateway| gateway.options().run(&["health", "--ask"]).await;
    let (code, _, error) = asked(&gateway).await;
    assert_eq!(code, Some(0), "{error}");
    gateway.signal(Signal::STOP);
    let (code, _, error) = asked(&gateway).await;
    assert_eq!(code, Some(1));
    assert!(error.contains("does not answer"), "{error}");
    assert_eq!(gateway.options().run(&["health"]).await.0, Some(0), "the process is there");
    gateway.signal(Signal::CONT);
    gateway.kill().await;
    assert_eq!(asked(&gateway).await.0, Some(1));
}

/// Root restores for the user the prefix belongs to, who can start on it.
#[tokio::test]
async fn what_root_restores_is_its_owners() {
    const NOBODY: u32 = 65_534;
    if !rustix::process::geteuid().is_root() {
        not_allowed("giving files away");
        return;
    }
    let gateway = Gateway::start().await;
    let folder = gateway.prefix().join("saved");
    let folder = folder.to_str().unwrap();
    assert_eq!(gateway.options().run(&["backup", folder]).await.0, Some(0));
    let elsewhere = Options::new();
    std::os::unix::fs::chown(elsewhere.prefix(), Some(NOBODY), Some(NOBODY)).unwrap();
    let (code, _, error) = elsewhere.run(&["restore", folder]).await;
    assert_eq!(code, Some(0), "{error}");
    let mut left = vec![elsewhere.prefix().to_owned()];
    let mut seen = 0;
    while let Some(path) = left.pop() {
        let facts = std::fs::symlink_metadata(&path).unwrap();
        assert_eq!((facts.uid(), facts.gid()), (NOBODY, NOBODY), "{}", path.display());
        seen += 1;
        if facts.is_dir() {
            left.extend(std::fs::read_dir(path).unwrap().map(|one| one.unwrap().path()));
        }
    }
    assert!(seen > 10, "{seen}");
}

/// With PostgreSQL its own tools save the entities, and `backup` what opens their secrets.
#[tokio::test]
async fn a_backup_beside_postgresql() {
    let Some(pair) = Pair::start().await else { return };
    let [gateway, other] = &pair.nodes;
    let app = App::announced(gateway, &["service-discovery"]).await;
    plain().put(gateway.url("admin", "/consumers/bob")).json(&json!({})).answer().await.expect(200);
    let key = plain().post(gateway.url("admin", "/consumers/bob/key-auth"));
    key.json(&json!({"key": "kk"})).answer().await.expect(201);
    let secret = plain().post(gateway.url("admin", "/consumers/bob/hmac-auth"));
    let secret = secret.json(&json!({"username": "bob", "secret": "a sealed secret"}));
    secret.answer().await.expect(201);
    let folder = tempfile::tempdir().unwrap();
    let (saved, dumped) = (folder.path().join("saved"), folder.path().join("dump.sql"));
    let (code, out, error) = gateway.options().run(&["backup", saved.to_str().unwrap()]).await;
    assert_eq!(code, Some(0), "{error}");
    assert!(out.starts_with("keys and certificates saved to"), "{out}");
    assert!(error.contains("pg_dump"), "{error}");
    pair.server.dump(&dumped);
    let text = std::fs::read_to_string(&dumped).unwrap();
    assert!(text.contains("bob") && !text.contains("a sealed secret"), "secrets are sealed in it");
    // What comes after the backup is not in it.
    plain().put(other.url("admin", "/consumers/eve")).json(&json!({})).answer().await.expect(200);

    let elsewhere = Server::start().await.unwrap();
    elsewhere.run_file(&dumped);
    let keys = tempfile::tempdir().unwrap();
    let options = node(&elsewhere, keys.path());
    let (code, _, error) = options.run(&["restore", saved.to_str().unwrap()]).await;
    assert_eq!(code, Some(0), "{error}");
    let restored = options.start().await;
    let read = async |path: &str| plain().get(restored.url("admin", path)).answer().await;
    read("/consumers/eve").await.expect(404);
    let keys = read("/consumers/bob/key-auth").await.expect(200).json();
    assert_eq!(keys["data"][0]["key"], "kk");
    let secrets = read("/consumers/bob/hmac-auth").await.expect(200).json();
    assert_eq!(secrets["data"][0]["secret"], "a sealed secret");
    app.token(&restored).await;
}

/// Prometheus takes the alert rules, and they fire when they should, where it is installed.
#[tokio::test]
async fn prometheus_takes_the_alert_rules() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../conf/prometheus");
    for (what, file) in [("check", "alerts.yml"), ("test", "alerts_test.yml")] {
        let mut promtool = std::process::Command::new("promtool");
        let Ok(done) = promtool.args([what, "rules", file]).current_dir(&folder).output() else {
            missing("promtool (Debian package prometheus)");
            return;
        };
        let told = [done.stdout, done.stderr].concat();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&told));
    }
}

/// A folder that holds no whole backup changes nothing.
#[tokio::test]
async fn a_damaged_backup_is_refused() {
    let mut gateway = Gateway::start().await;
    let app = App::bootstrap(&gateway);
    let folder = gateway.prefix().join("saved");
    let words = ["backup", folder.to_str().unwrap()];
    assert_eq!(gateway.options().run(&words).await.0, Some(0));
    gateway.kill().await;
    let database = folder.join("gateway.db");
    let mut bytes = std::fs::read(&database).unwrap();
    bytes.iter_mut().skip(100).for_each(|byte| *byte = 0x5a);
    std::fs::write(&database, bytes).unwrap();
    let words = ["restore", folder.to_str().unwrap()];
    let (code, _, error) = gateway.options().run(&words).await;
    assert_eq!(code, Some(1), "{error}");
    let (code, _, error) = gateway.options().run(&["restore", "/nowhere"]).await;
    assert_eq!(code, Some(1));
    assert!(error.contains("/nowhere holds no backup"), "{error}");
    gateway.start_again().await;
    app.token(&gateway).await;
}

/// Every metric the dashboard and the alert rules name is one a gateway in use shows.
#[tokio::test]
async fn dashboards_and_alerts_name_metrics_there_are() {
    let gateway = Options::new().set("mep_ssrf_allow", "127.0.0.1").start().await;
    let upstream = Upstream::start().await;
    let admin = |path: &str| gateway.url("admin", path);
    // As operators are told to, in both places in the same words.
    let conf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../conf");
    let read = |file: &str| std::fs::read_to_string(conf.join(file)).unwrap();
    let told = |text: &str| -> Vec<String> {
        let text = text.replace("\\\n#", "").replace("\\\n", "");
        let mut lines = text.lines().map(|line| line.trim_start_matches(['#', ' ']));
        let line = lines.find(|line| line.starts_with("curl") && line.contains("=prometheus"));
        line.unwrap().split_whitespace().map(str::to_owned).collect()
    };
    let [curl, url, words @ ..] = &told(&read("prometheus/alerts.yml"))[..] else { panic!() };
    assert_eq!((curl.as_str(), url.as_str()), ("curl", "127.0.0.1:8001/plugins"));
    let readme = told(&read("../README.md"));
    assert_eq!(readme[2..], *words);
    let form: Vec<_> = words.iter().filter(|word| *word != "-d").cloned().collect();
    let form = plain().post(admin("/plugins")).body(form.join("&"));
    let form = form.header("Content-Type", "application/x-www-form-urlencoded");
    form.answer().await.expect(201);
    let service = json!({"url": upstream.url()});
    plain().put(admin("/services/s")).json(&service).answer().await.expect(200);
    let route = json!({"paths": ["/s"]});
    plain().put(admin("/services/s/routes/r")).json(&route).answer().await.expect(200);
    plain().get(gateway.url("proxy", "/s")).answer().await.expect(200);
    plain().put(admin("/upstreams/u")).json(&json!({})).answer().await.expect(200);
    let target = json!({"target": upstream.addr().to_string()});
    plain().post(admin("/upstreams/u/targets")).json(&target).answer().await.expect(201);
    upstream.take();
    let app = App::bootstrap(&gateway);
    let token = app.token(&gateway).await;
    let wanted = json!({
        "subscriptionType": "SerAvailabilityNotificationSubscription",
        "callbackReference": upstream.url(),
    });
    let subscribe = mp1(&gateway, &app.id, Method::POST, &app.path("/subscriptions"));
    subscribe.body(wanted.to_string()).answer().await.expect(201);
    let body = App::service("told", "http://192.0.2.10:8080/");
    app.register(&gateway, &token, &body).await.expect(201);
    upstream.next().await;

    let texts = [read("grafana/gateway.json"), read("prometheus/alerts.yml")];
    let name = regex::Regex::new(r"\b(?:kong|gateway|mep)_[a-z_]+").unwrap();
    let names: BTreeSet<_> =
        texts.iter().flat_map(|text| name.find_iter(text)).map(|found| found.as_str()).collect();
    assert!(names.len() > 12, "{names:?}");
    eventually("every metric", async || {
        let shown = plain().get(gateway.url("status", "/metrics")).answer().await.expect(200);
        let is_shown = |name: &&&str| {
            let mut lines = shown.text().lines();
            lines.any(|line| {
                line.strip_prefix(**name).is_some_and(|rest| rest.starts_with(['{', ' ']))
            })
        };
        let missing: Vec<_> = names.iter().filter(|name| !is_shown(name)).collect();
        missing.is_empty().then_some(())
    })
    .await;
    let shown = plain().get(gateway.url("status", "/metrics")).answer().await.expect(200);
    // A value a rule selects has a series, before anything happens that the rule is about: a step from
    // nothing to 1 is no increase to Prometheus.
    let selected =
        regex::Regex::new(r#"((?:kong|gateway|mep)_[a-z_]+)\{([a-z]+="[^"]+")\}"#).unwrap();
    let selected: Vec<_> = selected.captures_iter(&texts[1]).collect();
    assert!(!selected.is_empty());
    for found in selected {
        let is_there = shown
            .text()
            .lines()
            .any(|line| line.strip_prefix(&found[1]).is_some_and(|rest| rest.contains(&found[2])));
        assert!(is_there, "{} in\n{}", &found[0], shown.text());
    }
    for (name, labels) in KONGS_DASHBOARD {
        let is_told = shown.text().lines().any(|line| {
            let Some(told) = line.strip_prefix(name) else { return false };
            told.starts_with(['{', ' '])
                && labels.iter().all(|label| {
                    let value = if label.contains('=') { "\"" } else { "=\"" };
                    told.contains(&format!("{label}{value}"))
                })
        });
        assert!(is_told, "{name} with {labels:?} in\n{}", shown.text());
    }
}

/// What the panels and the variables of Kong's own Grafana dashboard (number 7424 of grafana.com; in
/// Kong's repository kong/plugins/prometheus/grafana/kong-official.json, version 9) ask for: metrics,
/// the labels they select and sum by, and the values they select.
const KONGS_DASHBOARD: &[(&str, &[&str])] = &[
    ("kong_http_requests_total", &["service", "route", "code"]),
    ("kong_kong_latency_ms_bucket", &["service", "route", "le"]),
    ("kong_request_latency_ms_bucket", &["service", "route", "le"]),
    ("kong_upstream_latency_ms_bucket", &["service", "route", "le"]),
    ("kong_bandwidth_bytes", &["service", "route", "direction=\"egress"]),
    ("kong_bandwidth_bytes", &["service", "route", "direction=\"ingress"]),
    ("kong_memory_lua_shared_dict_bytes", &["shared_dict", "kong_subsystem"]),
    ("kong_memory_lua_shared_dict_total_bytes", &["shared_dict", "kong_subsystem"]),
    ("kong_memory_workers_lua_vms_bytes", &["pid", "kong_subsystem"]),
    ("kong_upstream_target_health", &["upstream", "target", "address", "state=\"healthy"]),
    ("kong_upstream_target_health", &["upstream", "target", "address", "state=\"unhealthy"]),
    ("kong_upstream_target_health", &["upstream", "target", "address", "state=\"dns_error"]),
    ("kong_upstream_target_health", &["upstream", "target", "address", "state=\"healthchecks_off"]),
    ("kong_nginx_connections_total", &["state=\"active"]),
    ("kong_nginx_connections_total", &["state=\"reading"]),
    ("kong_nginx_connections_total", &["state=\"writing"]),
    ("kong_nginx_connections_total", &["state=\"waiting"]),
    ("kong_nginx_connections_total", &["state=\"total"]),
    ("kong_nginx_connections_total", &["state=\"handled"]),
    ("kong_nginx_connections_total", &["state=\"accepted"]),
    ("kong_datastore_reachable", &[]),
];
