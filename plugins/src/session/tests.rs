#![allow(clippy::unwrap_used, reason = "tests")]

use pingora_http::ResponseHeader;
use serde_json::{Value, json};

use crate::contract::AuthenticatedGroups;
use crate::test_kit::{Answer, Exchange, Instance, Rig, rig};

/// The plugin before a key-auth that lets anybody go on as `anyone`.
struct Stage {
    rig: Rig,
    session: Instance,
    key_auth: Instance,
}

/// What came of a request.
struct Came {
    answer: Option<Answer>,
    /// The lines of `Set-Cookie`.
    cookies: Vec<String>,
    /// Headers by name: what the client gets.
    client: Vec<(String, String)>,
    exchange: Exchange,
}

impl Came {
    /// What the browser sends back.
    fn cookie(&self) -> String {
        let pairs = self.cookies.iter().map(|line| line.split(';').next().unwrap());
        pairs.collect::<Vec<_>>().join("; ")
    }

    fn user(&self) -> String {
        self.exchange.sent("x-consumer-username").join(",")
    }

    fn told(&self, name: &str) -> Option<&str> {
        self.client.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }
}

fn stage(config: Value) -> Stage {
    let mut rig = rig();
    let bob = rig.insert("consumers", json!({"username": "bob"})).id();
    rig.insert("consumers", json!({"username": "anyone"}));
    rig.insert("keyauth_credentials", json!({"key": "kk", "consumer": {"id": bob}}));
    let key_auth = rig.plugin("key-auth", json!({"anonymous": "anyone"}));
    let session = rig.plugin("session", config);
    Stage { rig, session, key_auth }
}

impl Stage {
    fn get(&self, target: &str, cookie: &str) -> Came {
        let exchange = self.rig.get(target);
        self.send(if cookie.is_empty() { exchange } else { exchange.header("Cookie", cookie) })
    }

    fn send(&self, mut exchange: Exchange) -> Came {
        let answer = exchange.access(&self.session).or_else(|| exchange.access(&self.key_auth));
        let mut client = exchange.added();
        if let Some(answer) = &answer {
            client.extend(answer.headers.clone());
        } else {
            let head = ResponseHeader::build(200, None).unwrap();
            let (head, _) = exchange.respond(&self.session, head, &[]);
            let added = head.headers.iter();
            let text = |value: &http::HeaderValue| value.to_str().unwrap().to_owned();
            client.extend(added.map(|(name, value)| (name.to_string(), text(value))));
        }
        let cookies = client.iter().filter(|(name, _)| name == "set-cookie");
        let cookies = cookies.map(|(_, value)| value.clone()).collect();
        Came { answer, cookies, client, exchange }
    }

    /// Logs in; gives the cookies.
    fn log_in(&self) -> String {
        let came = self.get("/?apikey=kk", "");
        assert_eq!(came.user(), "bob");
        assert!(!came.cookies.is_empty());
        came.cookie()
    }

    fn later(&self, seconds: u64) {
        self.rig.clock.advance_ms(seconds * 1000);
    }

    /// Waits for what is written beside requests: that there are so many sessions.
    fn settled(&mut self, count: usize) {
        self.wait(count, |_| true);
    }

    /// The same for those that end within `seconds`.
    fn ending(&mut self, count: usize, seconds: u64) {
        let end = self.rig.clock.unix_seconds() + seconds;
        self.wait(count, |session| session["expires"].as_u64().is_some_and(|at| at <= end));
    }

    fn wait(&mut self, count: usize, wanted: impl Fn(&gateway_model::Document) -> bool) {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        loop {
            self.rig.follow();
            let sessions = self.rig.catalog.collection("sessions").unwrap();
            let now = sessions.iter().filter(|session| wanted(&session.document())).count();
            if now == count {
                return;
            }
            assert!(std::time::Instant::now() < deadline, "{now} sessions instead of {count}");
            std::thread::yield_now();
        }
    }
}

#[test]
fn who_logged_in_stays_so() {
    let stage = stage(json!({"secret": "s"}));
    let nobody = stage.get("/", "");
    assert_eq!((nobody.user().as_str(), nobody.cookies.len()), ("anyone", 0));
    let came = stage.get("/?apikey=kk", "");
    let [line] = &came.cookies[..] else { panic!("{:?}", came.cookies) };
    let (pair, rest) = line.split_once("; ").unwrap();
    assert!(pair.starts_with("session="), "{line}");
    let mut attributes: Vec<&str> = rest.split("; ").collect();
    attributes.sort_unstable();
    assert_eq!(attributes, ["HttpOnly", "Path=/", "SameSite=Strict", "Secure"]);

    let cookie = came.cookie();
    let again = stage.get("/", &format!("a=b; {cookie}"));
    assert_eq!((again.user().as_str(), again.cookies.len()), ("bob", 0));
    let id = stage.rig.catalog.collection("keyauth_credentials").unwrap().iter().next().unwrap();
    assert_eq!(again.exchange.sent("x-credential-identifier"), [id.id().to_string()]);
    assert_eq!(again.exchange.sent("x-anonymous-consumer"), [""; 0]);
    for bad in [cookie.replace("session=", "other="), "session=junk".into(), format!("{cookie}A")] {
        assert_eq!(stage.get("/", &bad).user(), "anyone", "{bad}");
    }
    // Of another secret, and of another audience.
    for config in [json!({"secret": "t"}), json!({"secret": "s", "audience": "x"})] {
        assert_eq!(self::stage(config).get("/", &cookie).user(), "anyone");
    }
}

#[test]
fn sessions_end() {
    let stage = stage(json!({"rolling_timeout": 3600, "absolute_timeout": 7200}));
    let mut cookie = stage.log_in();
    stage.later(899);
    let touched = stage.get("/", &cookie);
    assert_eq!((touched.user().as_str(), touched.cookies.len()), ("bob", 1));
    stage.later(1);
    assert_eq!(stage.get("/", &cookie).user(), "anyone", "idle for 900 s, says the old cookie");
    cookie = touched.cookie();
    for _ in 0..7 {
        stage.later(880);
        let came = stage.get("/", &cookie);
        assert_eq!(came.user(), "bob");
        cookie = came.cookie();
    }
    stage.later(880);
    assert_eq!(stage.get("/", &cookie).user(), "anyone", "7200 s are over");

    let config = json!({"idling_timeout": 0, "rolling_timeout": 100});
    let stage = self::stage(config);
    let cookie = stage.log_in();
    stage.later(74);
    assert_eq!(stage.get("/", &cookie).cookies.len(), 0);
    stage.later(1);
    let renewed = stage.get("/", &cookie);
    assert_eq!((renewed.user().as_str(), renewed.cookies.len()), ("bob", 1));
    stage.later(25);
    assert_eq!(stage.get("/", &cookie).user(), "anyone");
    assert_eq!(stage.get("/", &renewed.cookie()).user(), "bob");
}

#[test]
fn logging_out() {
    let stage = stage(json!({"read_body_for_logout": true, "cookie_domain": "x.test"}));
    let cookie = stage.log_in();
    let form = "application/x-www-form-urlencoded";
    let request =
        |method: &str, target: &str| stage.rig.get(target).method(method).header("Cookie", &cookie);
    for (exchange, out) in [
        (request("GET", "/?session_logout=true"), false),
        (request("PUT", "/?session_logout=true"), false),
        (request("POST", "/?session_logout"), true),
        (request("DELETE", "/?session_logout=1"), true),
        (request("POST", "/").body(form, "session_logout=1"), true),
        (request("POST", "/").body(form, "other=1"), false),
    ] {
        let came = stage.send(exchange);
        assert_eq!(came.answer.is_some(), out);
        if let Some(answer) = &came.answer {
            assert_eq!((answer.status, &answer.body), (200, &Value::Null));
            let [line] = &came.cookies[..] else { panic!("{:?}", came.cookies) };
            assert!(line.starts_with("session=; "), "{line}");
            assert!(line.contains("Max-Age=0") && line.contains("Domain=x.test"), "{line}");
        }
    }
    let without = stage.send(stage.rig.get("/?session_logout").method("POST"));
    assert_eq!(without.answer, None, "nobody to log out");
}

#[test]
fn a_session_goes_with_its_consumer() {
    let mut stage = stage(json!({}));
    let cookie = stage.log_in();
    let bob =
        stage.rig.catalog.collection("consumers").unwrap().by("username", "bob").unwrap().id();
    stage.rig.delete("consumers", bob);
    let came = stage.get("/", &cookie);
    assert_eq!(came.user(), "anyone");
    assert!(came.cookies[0].contains("Max-Age=0"), "{:?}", came.cookies);
}

#[test]
fn groups_of_a_login_are_kept() {
    let stage = stage(json!({}));
    let mut exchange = stage.rig.get("/?apikey=kk");
    exchange.access(&stage.key_auth);
    exchange.facts.notes.insert(AuthenticatedGroups(vec!["a".into(), "b".into()]));
    let head = ResponseHeader::build(200, None).unwrap();
    let (head, _) = exchange.respond(&stage.session, head, &[]);
    let line = head.headers["set-cookie"].to_str().unwrap();
    let came = stage.get("/", line.split(';').next().unwrap());
    assert_eq!(came.exchange.sent("x-authenticated-groups"), ["a, b"]);
    let groups = &came.exchange.facts.notes.get::<AuthenticatedGroups>().unwrap().0;
    assert_eq!(groups, &["a", "b"]);
}

#[test]
fn what_is_told_of_a_session() {
    let all = json!([
        "id",
        "audience",
        "subject",
        "timeout",
        "idling-timeout",
        "rolling-timeout",
        "absolute-timeout"
    ]);
    let stage = stage(
        json!({"request_headers": all, "response_headers": ["id", "subject"], "hash_subject": true}),
    );
    let first = stage.get("/?apikey=kk", "");
    let id = first.told("session-id").unwrap();
    assert_eq!(id.len(), 32);
    assert_eq!(first.told("session-timeout"), None);
    stage.later(10);
    let came = stage.get("/", &first.cookie());
    assert_eq!(came.told("session-id"), Some(id));
    let sent = |name: &str| came.exchange.sent(name).join(",");
    assert_eq!(sent("session-id"), id);
    assert_eq!(sent("session-audience"), "default");
    assert_eq!(sent("session-subject").len(), 43, "a digest");
    assert_eq!(sent("session-timeout"), "890");
    assert_eq!(sent("session-idling-timeout"), "890");
    assert_eq!(sent("session-rolling-timeout"), "3590");
    assert_eq!(sent("session-absolute-timeout"), "86390");
}

#[test]
fn a_second_cookie_outlives_the_browser() {
    let stage = stage(json!({"remember": true}));
    let came = stage.get("/?apikey=kk", "");
    let [session, remember] = &came.cookies[..] else { panic!("{:?}", came.cookies) };
    assert!(!session.contains("Max-Age"), "{session}");
    assert!(
        remember.starts_with("remember=") && remember.ends_with("; Max-Age=604800"),
        "{remember}"
    );
    let remember = remember.split(';').next().unwrap();
    stage.later(100_000);
    assert_eq!(stage.get("/", &came.cookie().replace("remember", "x")).user(), "anyone");
    let back = stage.get("/", remember);
    assert_eq!((back.user().as_str(), back.cookies.len()), ("bob", 2));
    let value = remember.strip_prefix("remember=").unwrap();
    assert_eq!(stage.get("/", &format!("session={value}")).user(), "anyone", "not for that use");
    stage.later(604_800);
    assert_eq!(stage.get("/", remember).user(), "anyone");
}

#[test]
fn sessions_in_the_store() {
    let config = json!({
        "storage": "kong", "store_metadata": true, "idling_timeout": 0, "rolling_timeout": 100,
    });
    let mut stage = stage(config);
    let cookie = stage.log_in();
    stage.settled(1);
    assert_eq!(stage.get("/", &cookie).user(), "bob");
    let metadata = stage.rig.catalog.collection("session_metadatas").unwrap();
    let metadata = metadata.iter().next().unwrap();
    let bob =
        stage.rig.catalog.collection("consumers").unwrap().by("username", "bob").unwrap().id();
    assert_eq!(metadata.text("subject").as_deref(), Some(&*bob.to_string()));
    assert_eq!(metadata.text("audience").as_deref(), Some("default"));

    // Renewed: the old one goes on for 10 seconds.
    stage.later(80);
    let renewed = stage.get("/", &cookie);
    assert_eq!(renewed.user(), "bob");
    stage.settled(2);
    stage.ending(1, 10);
    stage.later(9);
    assert_eq!(stage.get("/", &cookie).user(), "bob");
    stage.settled(3);
    stage.later(2);
    assert_eq!(stage.get("/", &cookie).user(), "anyone");
    assert_eq!(stage.get("/", &renewed.cookie()).user(), "bob");

    // Ended from our side, by the user and by an operator.
    let out = stage.rig.get("/?session_logout").method("POST").header("Cookie", &renewed.cookie());
    assert_eq!(stage.send(out).answer.unwrap().status, 200);
    stage.settled(2);
    assert_eq!(stage.get("/", &renewed.cookie()).user(), "anyone");
    let cookie = stage.log_in();
    stage.settled(3);
    let all = stage.rig.catalog.collection("sessions").unwrap().iter().map(|one| one.id());
    for id in all.collect::<Vec<_>>() {
        stage.rig.delete("sessions", id);
    }
    assert_eq!(stage.get("/", &cookie).user(), "anyone");
}

#[test]
fn configurations_of_older_versions() {
    let mut rig = rig();
    let config = json!({
        "cookie_lifetime": 5, "cookie_idletime": 6, "cookie_renew": 7, "cookie_discard": 8,
        "cookie_samesite": "off", "cookie_httponly": false, "cookie_persistent": true,
    });
    let made = rig.plugin("session", config);
    let stored = rig.catalog.collection("plugins").unwrap().get(made.id).cloned().unwrap();
    let config = &stored.document()["config"];
    assert_eq!(config["secret"].as_str().unwrap().len(), 32, "random");
    for (name, value) in [
        ("rolling_timeout", json!(5)),
        ("idling_timeout", json!(6)),
        ("stale_ttl", json!(8)),
        ("cookie_same_site", json!("Lax")),
        ("cookie_http_only", json!(false)),
        ("remember", json!(true)),
    ] {
        assert_eq!(config[name], value, "{name}");
    }
    assert!(config.get("cookie_renew").is_none());
}

/// What one cookie cannot hold is spread over several, and goes as a whole.
#[test]
fn large_sessions_are_in_parts() {
    let stage = stage(json!({"secret": "s"}));
    let groups: Vec<String> = (0..800).map(|at| format!("group-{at}")).collect();
    let mut exchange = stage.rig.get("/?apikey=kk");
    assert_eq!(exchange.access(&stage.key_auth), None);
    exchange.facts.notes.insert(AuthenticatedGroups(groups.clone()));
    let head = ResponseHeader::build(200, None).unwrap();
    let (head, _) = exchange.respond(&stage.session, head, &[]);
    let lines = head.headers.get_all("set-cookie").iter().map(|line| line.to_str().unwrap());
    let lines: Vec<&str> = lines.collect();
    assert!(lines.len() > 2 && lines.iter().all(|line| line.len() <= 4096), "{lines:?}");
    let pairs: Vec<&str> = lines.iter().map(|line| line.split(';').next().unwrap()).collect();
    let names: Vec<&str> = pairs.iter().map(|pair| pair.split('=').next().unwrap()).collect();
    assert_eq!(names[..3], ["session", "session2", "session3"]);
    let again = stage.get("/", &pairs.join("; "));
    assert_eq!(again.user(), "bob");
    assert_eq!(again.exchange.facts.notes.get::<AuthenticatedGroups>().unwrap().0, groups);
    assert_eq!(stage.get("/", &pairs[..pairs.len() - 1].join("; ")).user(), "anyone", "a part");
    for bad in ["session=9.x", "session=99999.x", "session=0.x", "session=.x"] {
        assert_eq!(stage.get("/", bad).user(), "anyone", "{bad}");
    }
    let out = stage.rig.get("/?session_logout=1").method("POST");
    let out = stage.send(out.header("Cookie", &pairs.join("; ")));
    let gone: Vec<&str> = out.cookies.iter().map(|line| line.split('=').next().unwrap()).collect();
    assert_eq!(gone, names);
    assert!(out.cookies.iter().all(|line| line.ends_with("Max-Age=0")), "{:?}", out.cookies);
}
