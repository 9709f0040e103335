//! The commands: Kong's, and what a fresh machine sees.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{Answered as _, Gateway, Options, Upstream, eventually, missing, plain};

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

/// Kong's flags stand before and after the command; what only NGINX would know is noticed.
#[tokio::test]
async fn flags_stand_anywhere() {
    let options = Options::new();
    let conf = options.file("kong.conf", "pg_port = x\n");
    let conf = conf.to_str().unwrap();
    for words in [
        &["-c", conf, "config", "parse", "kong.yml"][..],
        &["config", "-c", conf, "parse", "kong.yml"],
        &["config", "parse", "kong.yml", "--conf", conf, "--v"],
        &["migrations", "--vv", "list", "-c", conf],
        &["check", conf],
    ] {
        let (code, _, error) = options.run(words).await;
        assert_eq!(code, Some(1), "{words:?}");
        let told = "pg_port is not a number: 'x'";
        assert!(error.starts_with("Error: ") && error.contains(told), "{words:?} {error}");
        assert!(
            error.ends_with("\n\n  Run with --v (verbose) or --vv (debug) for more details\n"),
            "{error}"
        );
    }
    let (code, _, error) = options.run(&["check", "/no/such/file"]).await;
    assert_eq!(code, Some(1));
    assert!(error.contains("no file at: /no/such/file"), "{error}");
    let good = options.file("good.conf", "log_level = info\n");
    let good = good.to_str().unwrap();
    let (code, out, error) = options.run(&["check", good, "--nginx-conf", "x.template"]).await;
    assert_eq!((code, out), (Some(0), format!("configuration at {good} is valid\n")), "{error}");
    assert!(error.contains("--nginx-conf has no effect"), "{error}");
    let (code, out, _) = options.run(&["version", "-a"]).await;
    assert_eq!(code, Some(0));
    assert!(out.starts_with("Kong: 3.10.0\n"), "{out}");
    let (code, out, _) = options.run(&["completions", "bash"]).await;
    assert_eq!(code, Some(0));
    assert!(out.contains("migrations"), "{out}");
}

/// One page, or one for every command with what can be said to it; what renders them finds nothing
/// wrong, where it is installed.
#[tokio::test]
async fn manual_pages() {
    let options = Options::new();
    let (code, page, _) = options.run(&["man"]).await;
    assert_eq!(code, Some(0));
    assert!(page.contains(".TH gateway 1"), "{page}");
    assert!(page.contains("gateway\\-backup(1)"), "{page}");
    let folder = options.prefix().join("man1");
    std::fs::create_dir(&folder).unwrap();
    let (code, _, error) = options.run(&["man", folder.to_str().unwrap()]).await;
    assert_eq!(code, Some(0), "{error}");
    let page = std::fs::read_to_string(folder.join("gateway-quit.1")).unwrap();
    assert!(page.contains("Seconds for requests in flight"), "{page}");
    let pages: Vec<_> =
        std::fs::read_dir(&folder).unwrap().map(|one| one.unwrap().path()).collect();
    assert!(pages.len() > 20);
    let mut lint = std::process::Command::new("mandoc");
    if let Ok(linted) = lint.args(["-Tlint", "-Wwarning"]).args(&pages).output() {
        let told = String::from_utf8_lossy(&linted.stdout).into_owned();
        let faults = told.lines().filter(|line| !line.contains("skipping paragraph macro: br"));
        assert_eq!(faults.collect::<Vec<_>>(), [""; 0]);
    } else {
        missing("mandoc (Debian package of this name)");
    }
    let (code, _, error) = options.run(&["man", "/no/such/folder"]).await;
    assert_eq!(code, Some(1));
    assert!(error.contains("/no/such/folder"), "{error}");
}

/// Every command the README shows is one, with the flags it shows.
#[tokio::test]
async fn commands_of_the_readme() {
    let readme = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let readme = std::fs::read_to_string(readme).unwrap().replace("\\\n", " ");
    let (options, mut seen) = (Options::new(), 0);
    for line in readme.lines() {
        let line = line.split(" #").next().unwrap().trim();
        // What stands before is for the environment.
        let line = match line.split_once(' ') {
            Some((first, rest)) if first.contains('=') => rest,
            _ => line,
        };
        let Some(line) = line.strip_prefix("gateway ") else { continue };
        // `start / stop` are two.
        for command in line.split(" / ") {
            let mut words: Vec<_> = command.split_whitespace().collect();
            words.push("--help");
            let (code, out, error) = options.run(&words).await;
            assert_eq!(code, Some(0), "{command}: {error}");
            assert!(out.contains("Usage: "), "{command}: {out}");
            seen += 1;
        }
    }
    assert!(seen > 20, "{seen}");
    let unknown = options.run(&["backup", "--no-such-flag", "--help"]).await;
    assert_ne!(unknown.0, Some(0), "asking for help does not hide what is wrong");
}

/// Unit files and containers call it `kong`.
#[tokio::test]
async fn as_kong_it_explains_itself() {
    let options = Options::new();
    let kong = options.prefix().join("kong");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_gateway"), &kong).unwrap();
    let run = async |words: &[&str]| {
        let mut command = tokio::process::Command::new(&kong);
        command.env_clear().env("KONG_PREFIX", options.prefix()).args(words);
        let output = command.output().await.unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let (code, out, _) = run(&[]).await;
    assert_eq!(code, Some(1));
    assert!(out.contains("Usage: kong"), "{out}");
    let (code, _, error) = run(&["bogus"]).await;
    assert_eq!(code, Some(1));
    assert!(error.contains("No such command: bogus"), "{error}");
    assert_eq!(run(&["version"]).await, (Some(0), "3.10.0\n".to_owned(), String::new()));
    let (code, _, error) = run(&["stop"]).await;
    assert_eq!(code, Some(1));
    let prefix = options.prefix().display();
    assert!(
        error.starts_with(&format!("Error: nginx not running in prefix: {prefix}\n")),
        "{error}"
    );
}

/// `quit` waits for requests in flight as long as it was told, then no longer; log files can be
/// moved away while they are written.
#[tokio::test]
async fn quitting_and_rotating() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let options =
        Options::new().set("admin_listen", free.to_string()).set("proxy_error_log", "logs/e.log");
    assert_eq!(options.run(&["restart"]).await.0, Some(0), "nothing to stop is fine");
    let guard = Background::of(&options);
    let log = options.prefix().join("logs/e.log");
    let moved = options.prefix().join("logs/e.log.1");
    std::fs::rename(&log, &moved).unwrap();
    kill_process(guard.0, Signal::USR1).unwrap();
    eventually("the file is there again", async || log.exists().then_some(())).await;
    plain()
        .post(format!("http://{free}/services"))
        .json(&serde_json::json!({"host": "h"}))
        .answer()
        .await
        .expect(201);
    eventually("and is written", async || {
        std::fs::read_to_string(&log).is_ok_and(|text| text.contains("published")).then_some(())
    })
    .await;
    let (code, out, error) = options.run(&["restart"]).await;
    assert_eq!((code, &*out), (Some(0), "Kong stopped\nKong started\n"), "{error}");
    let guard = Background::of(&options);
    let (code, out, error) = options.run(&["quit", "-t", "5"]).await;
    assert_eq!((code, &*out), (Some(0), "Kong stopped (gracefully)\n"), "{error}");
    assert!(!guard.lives());
    let (code, out, error) = options.run(&["quit"]).await;
    assert_eq!((code, &*out), (Some(1), ""), "{error}");
}

/// `quit -w` goes on serving for a while; `quit -t` cuts off what is still in flight then.
#[tokio::test]
async fn quitting_later_and_by_force() {
    let [admin, proxy] = [0; 2].map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let [admin, proxy] = [admin, proxy].map(|one| one.local_addr().unwrap());
    let options = Options::new()
        .set("admin_listen", admin.to_string())
        .set("proxy_listen", proxy.to_string());
    assert_eq!(options.run(&["start"]).await.0, Some(0));
    let guard = Background::of(&options);
    let began = Instant::now();
    let quit = options.run(&["quit", "-w", "2"]);
    let while_waiting = async {
        plain().get(format!("http://{admin}/status")).answer().await.expect(200);
    };
    let ((code, out, error), ()) = tokio::join!(quit, while_waiting);
    assert_eq!((code, &*out), (Some(0), "Kong stopped (gracefully)\n"), "{error}");
    assert!(began.elapsed() >= Duration::from_secs(2), "{:?}", began.elapsed());
    assert!(!guard.lives());

    let upstream = Upstream::start().await;
    assert_eq!(options.run(&["start"]).await.0, Some(0));
    let guard = Background::of(&options);
    let service = serde_json::json!({"name": "a", "url": upstream.url()});
    let made = plain().post(format!("http://{admin}/services")).json(&service);
    made.answer().await.expect(201);
    let route = plain().post(format!("http://{admin}/services/a/routes"));
    route.json(&serde_json::json!({"paths": ["/a"]})).answer().await.expect(201);
    let endless = tokio::spawn(plain().get(format!("http://{proxy}/a/delay/60")).send());
    upstream.next().await;
    let (code, out, error) = options.run(&["quit", "-t", "1"]).await;
    assert_eq!((code, &*out), (Some(0), "Timeout, Kong stopped forcefully\n"), "{error}");
    assert!(!guard.lives());
    assert!(endless.await.unwrap().is_err(), "it was answered");
}

/// The entry point of containers prepares, migrates and stays in front.
#[tokio::test]
async fn the_entry_point_of_containers() {
    let options = Options::new();
    let mut child = options.command().arg("docker-start").spawn().unwrap();
    let pid = Pid::from_raw(child.id().unwrap().try_into().unwrap()).unwrap();
    let file = options.prefix().join("pids/nginx.pid");
    eventually("it is ready", async || file.exists().then_some(())).await;
    assert_eq!(child.try_wait().unwrap(), None, "it went to the background");
    kill_process(pid, Signal::QUIT).unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(10), child.wait()).await;
    assert_eq!(ended.unwrap().unwrap().code(), Some(0));
}

/// What is exported is imported to the same.
#[tokio::test]
async fn files_in_and_out_of_a_store() {
    let options = Options::new();
    let said = async |words: &[&str]| options.run(words).await;
    let file = options.file("kong.yml", "_format_version: '3.0'\nservices:\n- {name: s, host: h}\nconsumers:\n- {username: c, keyauth_credentials: [{key: k}]}\n");
    let file = file.to_str().unwrap();
    assert_eq!(said(&["config", "parse", file]).await.1, "parse successful\n");
    let (code, out, error) = said(&["config", "db_import", file]).await;
    assert_eq!(
        (code, &*out),
        (Some(0), "parse successful, beginning import\nimport successful\n"),
        "{error}"
    );
    assert_eq!(said(&["config", "db_export", "one.yml"]).await.0, Some(0));
    let (code, _, error) = said(&["config", "export", "one.yml"]).await;
    assert_eq!(code, Some(1));
    assert!(error.contains("one.yml already exists. Will not overwrite it."), "{error}");
    assert_eq!(said(&["config", "import", "one.yml"]).await.0, Some(0));
    assert_eq!(said(&["config", "db_export", "two.yml"]).await.0, Some(0));
    let read = |name: &str| std::fs::read_to_string(options.prefix().join(name)).unwrap();
    assert_eq!(read("one.yml"), read("two.yml"));
    assert!(read("one.yml").contains("keyauth_credentials"));
    let bad = options.file("bad.yml", "_format_version: '3.0'\nservices:\n- {name: s}\n");
    let (code, _, error) = said(&["config", "parse", bad.to_str().unwrap()]).await;
    assert_eq!(code, Some(1));
    let tree = "Error: Failed parsing:\nin 'services':\n  - in entry 1 of 'services':\n    in 'host': required field missing (line 3, column 3)\n";
    assert!(error.starts_with(tree), "{error}");
    let (code, _, error) = said(&["config", "init", "one.yml"]).await;
    assert_eq!(code, Some(1));
    assert!(error.contains("one.yml already exists in the current directory"), "{error}");
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
pub(crate) struct Background(Pid);

impl Background {
    pub(crate) fn of(options: &Options) -> Self {
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
    // Every page says what its plugin does, and what each field means.
    for page in all.split("\n## ").skip(1) {
        let says = page.lines().nth(2).unwrap_or_default();
        assert!(says.ends_with('.') && !says.starts_with("Nothing"), "{page}");
        let rows = page.lines().filter(|line| line.starts_with("| `"));
        for row in rows {
            let meaning = row.trim_end_matches(" |").rsplit(" | ").next().unwrap_or_default();
            assert!(meaning.len() > 5 && !meaning.starts_with('`'), "{row}");
        }
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
