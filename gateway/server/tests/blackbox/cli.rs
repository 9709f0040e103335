//! The commands: Kong's, and what a fresh machine sees.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{Answered as _, Gateway, Options, eventually, plain};

/// Kong's life of a node: `start`, `health`, `reload`, `stop`, each with its words and its code.
#[tokio::test]
async fn a_gateway_in_the_background() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let options = Options::new().set("admin_listen", free.to_string());
    let prefix = options.prefix().to_str().unwrap().to_owned();
    let said = async |words: &[&str]| options.run(words).await;

    assert_eq!(said(&["health"]).await.0, Some(1), "nothing runs yet");
    assert_eq!(said(&["stop"]).await.0, Some(1));
    let (code, out, error) = said(&["start"]).await;
    assert_eq!((code, out.trim()), (Some(0), "Kong started"), "{error}");
    let guard = Background::of(&options);
    plain().get(format!("http://{free}/services")).answer().await.expect(200);

    let (code, out, _) = said(&["health"]).await;
    assert_eq!(code, Some(0));
    assert!(out.contains(&format!("Kong is healthy at {prefix}")), "{out}");
    let (code, _, error) = said(&["start"]).await;
    assert_eq!(code, Some(1));
    assert!(error.contains(&format!("Kong is already running in {prefix}")), "{error}");
    assert_eq!(said(&["reload"]).await.0, Some(0));
    plain().get(format!("http://{free}/services")).answer().await.expect(200);

    let (code, out, error) = said(&["stop"]).await;
    assert_eq!((code, out.trim()), (Some(0), "Kong stopped"), "{error}");
    assert!(!guard.lives(), "it still runs");
    assert_eq!(said(&["health"]).await.0, Some(1));
}

/// What keeps it from starting in the background is told by `start` itself.
#[tokio::test]
async fn a_failed_start_in_the_background_says_why() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let options = Options::new().set("admin_listen", &addr);
    let (code, _, error) = options.run(&["start"]).await;
    assert_eq!(code, Some(1), "{error}");
    assert!(error.contains(&addr) && error.contains("admin_listen"), "{error}");
}

/// `nginx_daemon = off` keeps `start` in front.
#[tokio::test]
async fn start_can_stay_in_front() {
    let options = Options::new().set("nginx_daemon", "off");
    let mut child = options.command().arg("start").spawn().unwrap();
    let pid = Pid::from_raw(child.id().unwrap().try_into().unwrap()).unwrap();
    let file = options.prefix().join("pids/nginx.pid");
    eventually("it is ready", async || file.exists().then_some(())).await;
    assert_eq!(child.try_wait().unwrap(), None, "it went to the background");
    kill_process(pid, Signal::TERM).unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(10), child.wait()).await;
    assert_eq!(ended.unwrap().unwrap().code(), Some(0));
}

#[tokio::test]
async fn versions_and_usage() {
    let options = Options::new();
    let (code, out, _) = options.run(&["version"]).await;
    assert_eq!((code, out.as_str()), (Some(0), "3.10.0\n"));
    let (code, out, _) = options.run(&["--help"]).await;
    assert_eq!(code, Some(0));
    for command in ["run", "start", "stop", "reload", "health", "check", "version", "demo"] {
        assert!(out.contains(&format!("  {command}")), "{command} in {out}");
    }
    let (code, _, error) = options.run(&["no-such-command"]).await;
    assert_ne!(code, Some(0));
    assert!(error.contains("no-such-command"), "{error}");
}

/// The summary a person reads after the first start, and how long it takes to appear.
#[tokio::test]
async fn the_start_up_summary() {
    let began = Instant::now();
    let mut gateway = Gateway::start().await;
    let took = began.elapsed();
    // A second is the aim on an idle machine with a release build; this one is neither.
    assert!(took < Duration::from_secs(10), "{took:?}");
    let first = gateway.summary();
    for word in ["proxy", "admin", "status", "mep", "mep-auth", "state", "certificates"] {
        assert!(first.lines().any(|line| line.trim_start().starts_with(word)), "{word} in {first}");
    }
    for name in ["APP_INST_ID", "ACCESS_KEY", "SECRET_KEY"] {
        assert!(gateway.printed(name).is_some(), "{name} in {first}");
    }
    assert!(first.contains(gateway.prefix().to_str().unwrap()), "{first}");
    gateway.kill().await;
    gateway.start_again().await;
    assert!(gateway.printed("SECRET_KEY").is_none(), "{}", gateway.summary());
}

/// The demo brings its own gateway and upstream and shows the main job with real replies.
#[tokio::test]
async fn the_demo_shows_the_main_job() {
    let options = Options::new();
    let (code, out, error) = options.run(&["demo"]).await;
    assert_eq!(code, Some(0), "{out}\n{error}");
    for shown in ["/mep/token", "access_token", "serInstanceId", "Bearer", "401", "429"] {
        assert!(out.contains(shown), "{shown} in\n{out}");
    }
}

/// A gateway started by `start`, which is nobody's child: ended by its id whatever happens.
struct Background(Pid);

impl Background {
    fn of(options: &Options) -> Self {
        let text = std::fs::read_to_string(options.prefix().join("pids/nginx.pid")).unwrap();
        Self(Pid::from_raw(text.trim().parse().unwrap()).unwrap())
    }

    fn lives(&self) -> bool {
        // One that ended but was not waited for is a zombie: it serves no more.
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0.as_raw_nonzero()));
        stat.is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or_default().starts_with(" Z"))
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if self.lives() {
            let _ = kill_process(self.0, Signal::KILL);
        }
    }
}

/// The reference of the plugins, whole and of one.
#[tokio::test]
async fn the_reference_of_the_plugins() {
    let options = Options::new();
    let (code, all, _) = options.run(&["plugins", "docs"]).await;
    assert_eq!(code, Some(0));
    for name in ["oauth2", "rate-limiting", "acme", "ai-proxy"] {
        assert!(all.contains(&format!("\n## {name}\n")), "{name}");
    }
    let (code, one, _) = options.run(&["plugins", "docs", "hmac-auth"]).await;
    assert_eq!(code, Some(0));
    assert!(all.contains(&one) && one.starts_with("## hmac-auth\n"), "{one}");
    assert!(one.contains("| `clock_skew` | number; more than 0 | `300` |"), "{one}");
    assert!(one.contains("`/hmac-auths`, `/consumers/…/hmac-auth`"), "{one}");
    let (code, _, error) = options.run(&["plugins", "docs", "none"]).await;
    assert_eq!(code, Some(1));
    assert!(error.contains("there is no plugin none"), "{error}");
}
