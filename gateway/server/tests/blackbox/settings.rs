//! Settings from the file and the environment, and what is said about wrong ones.

use std::net::TcpListener;

use crate::harness::{Answered as _, Gateway, Options, Upstream, eventually, plain};

/// A port that is taken is named with its key, for every key that listens.
#[tokio::test]
async fn a_port_in_use() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    for key in ["proxy_listen", "admin_listen", "status_listen", "mep_listen", "mep_auth_listen"] {
        let options = Options::new().set(key, &addr);
        let (code, out, error) = options.run(&[]).await;
        assert_eq!(code, Some(1), "{key}: {out}");
        assert!(error.contains(&addr) && error.contains(key), "{key}: {error}");
        assert!(!out.contains("ready"), "{key}: {out}");
    }
}

/// Every fault of a file comes at once, each with file, line and key.
#[tokio::test]
async fn faults_of_a_file_have_their_place() {
    let options = Options::new();
    let file = options.file(
        "bad.conf",
        "# a comment\nlog_level = loud\n\nheaders = nonsense\nstatus_listen = here\n\
         mep_clock_skew = tomorrow\ntrusted_ips = 1.2.3.4, 300.0.0.1\n",
    );
    let path = file.to_str().unwrap();
    let mut command = options.command();
    // The file would be overruled where the harness sets a variable.
    command.env_remove("KONG_STATUS_LISTEN").args(["run", "-c", path]);
    let output = command.output().await.unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{error}");
    let places = [
        ("2", "log_level"),
        ("4", "headers"),
        ("5", "status_listen"),
        ("6", "mep_clock_skew"),
        ("7", "trusted_ips"),
    ];
    for (line, key) in places {
        let place = format!("{path}:{line}: {key}");
        assert!(error.contains(&place), "{place} in\n{error}");
    }
    for words in [["check", path], ["check", "/no/such/file"]] {
        let (code, _, error) = options.run(&words).await;
        assert_eq!(code, Some(1), "{error}");
        assert!(error.contains(words[1]), "{error}");
    }
    let good = options.file("good.conf", "log_level = warn # quiet\nheaders = off\n");
    let good = good.to_str().unwrap();
    let (code, out, error) = options.run(&["check", good]).await;
    assert_eq!((code, out.trim()), (Some(0), format!("configuration at {good} is valid").as_str()));
    assert!(error.is_empty(), "{error}");
}

/// A variable names itself when it is wrong.
#[tokio::test]
async fn faults_of_a_variable_name_it() {
    let options = Options::new().set("log_level", "loud");
    let (code, _, error) = options.run(&["check"]).await;
    assert_eq!(code, Some(1));
    assert!(error.contains("KONG_LOG_LEVEL"), "{error}");
}

/// Files that settings name are looked at before anything is served.
#[tokio::test]
async fn faults_of_named_files() {
    let options = Options::new();
    let junk =
        options.file("junk.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let kong =
        options.file("kong.yml", "_format_version: \"3.0\"\nservices:\n- name: a\n  port: x\n");
    let yaml = options.file("config.yaml", "dnsAgent:\n  type: sometimes\n");
    let set = |options: Options, key: &str, path: &std::path::Path| {
        options.set(key, path.to_str().unwrap())
    };
    let mut options = set(set(options, "ssl_cert", &junk), "ssl_cert_key", &junk);
    let (code, _, error) = options.run(&["run"]).await;
    assert_eq!(code, Some(1), "{error}");
    assert!(error.contains("junk.pem"), "{error}");

    options = set(options.set("ssl_cert", "").set("ssl_cert_key", ""), "declarative_config", &kong);
    options = options.set("database", "off");
    let (code, _, error) = options.run(&["run"]).await;
    assert_eq!(code, Some(1), "{error}");
    assert!(error.contains("kong.yml") && error.contains("port"), "{error}");

    // the original would run half-initialised.
    options = set(options.set("database", "sqlite"), "mep_config", &yaml);
    let (code, _, error) = options.run(&["check"]).await;
    assert_eq!(code, Some(1), "{error}");
    assert!(error.contains("config.yaml"), "{error}");
}

/// A named file is read, a variable wins over it, an option over both.
#[tokio::test]
async fn the_order_of_precedence() {
    let options = Options::new().set("headers", "off");
    let file = options
        .file("of-the-test.conf", "headers = server_tokens\nmep_published_host = told.example\n");
    let mut child = options.command();
    child.args(["run", "-c", file.to_str().unwrap()]);
    let gateway = Gateway::from_command(options, child).await;
    let answer = plain().get(gateway.url("proxy", "/none")).answer().await.expect(404);
    assert_eq!(answer.header("server"), None, "the variable wins");
    let shown = plain().get(gateway.url("admin", "/")).answer().await.expect(200).json();
    assert_eq!(shown["configuration"]["mep_published_host"], "told.example");
    assert_eq!(shown["configuration"]["headers"], serde_json::json!(["off"]));
}

/// `database = off`: HUP serves what the file says now, and a bad file changes nothing.
#[tokio::test]
async fn a_declarative_file_is_read_again() {
    let upstream = Upstream::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("kong.yml");
    let write = |path: &str, service: &str| {
        let text = format!(
            "_format_version: \"3.0\"\nservices:\n- name: {service}\n  url: {}\n  routes:\n  - name: r\n    \
             paths: [{path}]\n",
            upstream.url()
        );
        std::fs::write(&file, text).unwrap();
    };
    write("/one", "a");
    let gateway = Options::new()
        .set("database", "off")
        .set("declarative_config", file.to_str().unwrap())
        .set("proxy_error_log", "/dev/stderr")
        .start()
        .await;
    let status = async |path: &str| plain().get(gateway.url("proxy", path)).answer().await.status;
    assert_eq!((status("/one").await, status("/two").await), (200, 404));

    // The route keeps its name and moves to another service; the old service goes.
    write("/two", "b");
    gateway.signal(rustix::process::Signal::HUP);
    eventually("the new file", async || (status("/two").await == 200).then_some(())).await;
    assert_eq!(status("/one").await, 404);
    let old = plain().get(gateway.url("admin", "/services/a")).answer().await;
    assert_eq!(old.status, 404);
    let token = plain().post(gateway.url("proxy", "/mep/token")).answer().await;
    assert_eq!(token.status, 400, "what the platform seeded stays");

    write("not-a-path", "c");
    gateway.signal(rustix::process::Signal::HUP);
    eventually("the complaint", async || {
        gateway.log().contains("the configuration in use stays").then_some(())
    })
    .await;
    assert_eq!(status("/two").await, 200);
}
