//! Clocks that jump, as the program sees them: `libfaketime` stands between it and the machine's.

use std::path::{Path, PathBuf};
use std::time::Duration;

use http::Method;
use jiff::{SignedDuration, Timestamp};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::{publish, status, write};
use crate::harness::{
    Answered as _, App, Gateway, Load, Options, Upstream, eventually, missing, mp1, plain,
};

/// The library; `None` where it is not installed, which CI does not accept.
fn library() -> Option<PathBuf> {
    let folders = std::fs::read_dir("/usr/lib").unwrap().flatten();
    let found = folders.map(|one| one.path().join("faketime/libfaketimeMT.so.1"));
    let found = found.into_iter().find(|path| path.is_file());
    if found.is_none() {
        missing("libfaketime (Debian package of this name)");
    }
    found
}

/// A gateway, and the file that says by how many seconds its clocks are wrong.
struct Watch {
    gateway: Gateway,
    file: PathBuf,
}

impl Watch {
    /// With `monotonic` the clock that is never set jumps too, as after a machine slept.
    async fn start(library: &Path, monotonic: bool) -> Self {
        let options = Options::new().set("proxy_access_log", "off");
        let file = options.file("clock", "+0\n");
        let options = options
            .variable("LD_PRELOAD", library.to_str().unwrap())
            .variable("FAKETIME_TIMESTAMP_FILE", file.to_str().unwrap())
            .variable("FAKETIME_NO_CACHE", "1")
            .variable("FAKETIME_DONT_FAKE_MONOTONIC", if monotonic { "0" } else { "1" });
        Self { gateway: options.start().await, file }
    }

    /// Sets its clock so many seconds from the true time.
    fn set(&self, seconds: i64) {
        // In one step: it is read at any moment.
        let next = self.file.with_extension("next");
        std::fs::write(&next, format!("{seconds:+}\n")).unwrap();
        std::fs::rename(next, &self.file).unwrap();
    }

    /// The answer to a token request that is signed so many seconds from the true time.
    async fn token(&self, app: &App, seconds: i64) -> (u16, Value) {
        let now = Timestamp::now() + SignedDuration::from_secs(seconds);
        let date = now.strftime("%Y%m%dT%H%M%SZ").to_string();
        let url = self.gateway.url("proxy", "/mep/token");
        let answer = app.token_request_at(&plain(), &url, &date).answer().await;
        (answer.status, answer.json())
    }

    /// The status Mp1 answers a token with.
    async fn admitted(&self, app: &App, token: &Value) -> u16 {
        let url = self.gateway.url("proxy", &app.path("/services"));
        plain().get(url).bearer_auth(token.as_str().unwrap()).answer().await.status
    }

    /// The state of a registered service.
    async fn state(&self, app: &App, service: &str) -> Value {
        let path = app.path(&format!("/services/{service}"));
        let shown = mp1(&self.gateway, &app.id, Method::GET, &path).answer().await;
        shown.expect(200).json()["state"].clone()
    }
}

const DAY: i64 = 24 * 3600;

/// Set forward by a day and back by two: no request fails, tokens end by the new time and are given
/// by it, nobody is suspended for it, and writes go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wall_clocks_that_jump() {
    let Some(library) = library() else { return };
    let watch = Watch::start(&library, false).await;
    let gateway = &watch.gateway;
    let upstream = Upstream::start().await;
    publish(gateway, "a", &upstream.url(), json!({})).await;
    let app = App::bootstrap(gateway);
    let (code, first) = watch.token(&app, 0).await;
    assert_eq!(code, 200, "{first}");
    let first = &first["access_token"];
    let mut body = App::service("kept", "http://192.0.2.10:8080/");
    // Nothing but a jump could end it while this runs.
    body["livenessInterval"] = json!(3600);
    let registered = app.register(gateway, first.as_str().unwrap(), &body).await.expect(201);
    let service = registered.json()["serInstanceId"].as_str().unwrap().to_owned();
    assert_eq!(watch.admitted(&app, first).await, 200);
    let load = Load::begin(gateway, "/a/x");
    for (n, seconds) in [DAY, -DAY, 0].into_iter().enumerate() {
        watch.set(seconds);
        let token = eventually("a token is given at the new time", async || {
            let (code, answer) = watch.token(&app, seconds).await;
            (code == 200).then(|| answer["access_token"].clone())
        })
        .await;
        assert_eq!(watch.admitted(&app, &token).await, 200, "{seconds}");
        if seconds == DAY {
            assert_eq!(watch.admitted(&app, first).await, 401, "it ended long ago");
        }
        let elsewhere = watch.token(&app, seconds - DAY).await.0;
        assert_ne!(elsewhere, 200, "signed a day earlier");
        assert_eq!(write(gateway, &format!("written-{n}")).await.0, 201);
        // Who is silent is looked for more than once a second.
        tokio::time::sleep(Duration::from_millis(1500)).await;
        assert_eq!(watch.state(&app, &service).await, "ACTIVE", "{seconds}");
    }
    assert!(load.end().await > 0);
    assert!(!gateway.log().contains("panicked"), "{}", gateway.log());
}

/// An hour passes between two instructions, for timers too: what was going on may end late, and
/// everything that begins afterwards works.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_that_slept() {
    let Some(library) = library() else { return };
    let mut watch = Watch::start(&library, true).await;
    let upstream = Upstream::start().await;
    publish(&watch.gateway, "a", &upstream.url(), json!({})).await;
    let app = App::bootstrap(&watch.gateway);
    let (_, first) = watch.token(&app, 0).await;
    for hours in 1..4 {
        assert_eq!(status(&watch.gateway, "/a/x").await, 200);
        watch.set(hours * 3600);
        eventually("it serves", async || {
            (status(&watch.gateway, "/a/x").await == 200).then_some(())
        })
        .await;
        assert_eq!(write(&watch.gateway, &format!("written-{hours}")).await.0, 201);
        let (code, token) = watch.token(&app, hours * 3600).await;
        assert_eq!(code, 200, "{token}");
        assert_eq!(watch.admitted(&app, &token["access_token"]).await, 200);
    }
    assert_eq!(watch.admitted(&app, &first["access_token"]).await, 401, "it ended");
    assert!(!watch.gateway.log().contains("panicked"), "{}", watch.gateway.log());
    watch.gateway.signal(Signal::TERM);
    assert!(watch.gateway.ended().await.success());
}
