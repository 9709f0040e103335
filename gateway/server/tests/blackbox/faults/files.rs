//! Files that are damaged, and files that are traps.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rustix::process::Signal;
use serde_json::json;

use super::{memory, publish, status};
use crate::harness::{Answered as _, Load, Options, Upstream, eventually, openssl, plain, shown};

/// What a file may hold instead of a configuration, and a word of the refusal.
fn poisons() -> Vec<(&'static str, Vec<u8>)> {
    let head = "_format_version: \"3.0\"\n";
    let text = |text: String| text.into_bytes();
    // Nine levels of nine references: 3.9e8 values in 400 bytes.
    let mut laughs = format!("{head}services:\nx0: &x0 [lol]\n");
    for n in 1..10 {
        let refer = format!("*x{}", n - 1);
        let _ = writeln!(laughs, "x{n}: &x{n} [{}]", [refer.as_str(); 9].join(","));
    }
    let mut doubling = format!("{head}_comment: &a {}\n_info:\n", "x".repeat(100_000));
    for n in 0..50_000 {
        let _ = writeln!(doubling, "- *a # {n}");
    }
    let wide = format!("{head}services:\n{}", "- name: 1\n".repeat(5_000));
    vec![
        ("flow nesting", text(format!("{head}services: {}", "[".repeat(100_000)))),
        ("closed flow nesting", {
            text(format!("{head}services: {}{}", "[".repeat(50_000), "]".repeat(50_000)))
        }),
        ("map nesting", text(format!("{head}services: {}", "{a: ".repeat(100_000)))),
        ("block nesting", text(format!("{head}services:\n{}x\n", "- ".repeat(100_000)))),
        ("question marks", text(format!("{head}services:\n{}x\n", "? ".repeat(100_000)))),
        ("indentation", {
            let mut deep = format!("{head}services:\n");
            for n in 0..2000 {
                let _ = writeln!(deep, "{}a:", " ".repeat(n + 1));
            }
            text(deep)
        }),
        ("an anchor bomb", text(laughs)),
        ("a large value named often", text(doubling)),
        ("an anchor in itself", text(format!("{head}services: &a [*a]\n"))),
        ("a merge of itself", text(format!("{head}services: &a\n  <<: *a\n"))),
        ("an unknown anchor", text(format!("{head}services: *none\n"))),
        ("tags of other languages", {
            text(format!("{head}services: !!python/object/apply:os.system [id]\n"))
        }),
        ("a number for services", text(format!("{head}services: 7\n"))),
        ("texts for services", text(format!("{head}services: [a, b]\n"))),
        ("a list for a name", text(format!("{head}services: [{{name: [a], url: 7}}]\n"))),
        ("keys that are lists", text(format!("{head}? [a, b]\n: c\n"))),
        ("many wrong ones", text(wide)),
        ("a number beyond all", {
            text(format!("{head}services: [{{name: a, host: a, port: 1e999}}]\n"))
        }),
        ("binary", (0..=255_u8).cycle().take(100_000).collect()),
        ("zeroes", vec![0; 100_000]),
        ("a program", b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".repeat(100)),
        (
            "another encoding",
            "\u{feff}_format_version: 3".encode_utf16().flat_map(u16::to_le_bytes).collect(),
        ),
        ("nothing", Vec::new()),
        ("documents", text("---\na: 1\n".repeat(10_000))),
        ("half a file", text(format!("{head}services:\n- name: \"a"))),
    ]
}

/// Whatever a declarative file holds, a gateway refuses it in little time and memory: at a start, at
/// a reload, and over the Admin API. What it serves stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn poisoned_declarative_files() {
    let upstream = Upstream::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("kong.yml");
    let good = format!(
        "_format_version: \"3.0\"\nservices:\n- name: a\n  url: {}\n  routes:\n  - paths: [/a]\n",
        upstream.url()
    );
    std::fs::write(&file, &good).unwrap();
    let gateway = Options::new()
        .set("database", "off")
        .set("declarative_config", file.to_str().unwrap())
        .set("proxy_error_log", "/dev/stderr")
        .start()
        .await;
    let load = Load::begin(&gateway, "/a/x");
    let before = memory(&gateway);
    let refusals = || gateway.log().matches("the configuration in use stays").count();
    for (n, (name, bytes)) in poisons().into_iter().enumerate() {
        std::fs::write(&file, &bytes).unwrap();
        gateway.signal(Signal::HUP);
        eventually(name, async || (refusals() > n).then_some(())).await;
        // The parser of commands is the one of starts.
        let words = ["config", "parse", file.to_str().unwrap()];
        let (code, _, error) = Options::new().run(&words).await;
        assert_eq!(code, Some(1), "{name}: {error}");
        assert!(!error.is_empty() && !error.contains("panicked"), "{name}: {error}");
        let post = plain().post(gateway.url("admin", "/config"));
        let answer = post.header("Content-Type", "text/yaml").body(bytes.clone()).answer().await;
        assert!((400..500).contains(&answer.status), "{name}: {} {:?}", answer.status, answer.body);
        let post = plain().post(gateway.url("admin", "/config?flatten_errors=1"));
        let answer = post.header("Content-Type", "application/json").body(bytes).answer().await;
        assert!((400..500).contains(&answer.status), "{name}: {} {:?}", answer.status, answer.body);
        assert_eq!(status(&gateway, "/a").await, 200, "{name}");
    }
    let grown = memory(&gateway).saturating_sub(before);
    assert!(grown < 512 * 1024, "{grown} KiB more");
    assert!(load.end().await > 0);
    assert!(!gateway.log().contains("panicked"), "{}", gateway.log());
    std::fs::write(&file, good.replace("/a]", "/b]")).unwrap();
    gateway.signal(Signal::HUP);
    eventually("a good one is taken", async || (status(&gateway, "/b").await == 200).then_some(()))
        .await;
}

/// Certificate files that are damaged in many ways, one after the other, while clients shake hands
/// without a pause.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificate_files_damaged_while_serving() {
    let upstream = Upstream::start().await;
    let options = Options::new().set("proxy_error_log", "/dev/stderr");
    let folder = options.prefix().to_owned();
    for name in ["a", "other"] {
        let words = format!(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout {name}.key \
             -out {name}.crt -days 9 -subj /CN={name}"
        );
        openssl(&folder, &words).await;
    }
    let file = |name: &str| folder.join(name);
    let text = |name: &str| file(name).to_str().unwrap().to_owned();
    let read = |name: &str| std::fs::read(file(name)).unwrap();
    let (cert, key, other) = (read("a.crt"), read("a.key"), read("other.key"));
    let gateway =
        options.set("ssl_cert", text("a.crt")).set("ssl_cert_key", text("a.key")).start().await;
    publish(&gateway, "a", &upstream.url(), json!({})).await;
    let to = gateway.tls_addr("proxy");
    let half = |bytes: &[u8]| bytes[..bytes.len() / 2].to_vec();
    let flipped = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        let at = bytes.len() / 2;
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        bytes
    };
    let rows: [(&str, Vec<u8>, Vec<u8>); 8] = [
        ("half a certificate", half(&cert), key.clone()),
        ("half a key", cert.clone(), half(&key)),
        ("nothing", Vec::new(), Vec::new()),
        ("another key", cert.clone(), other),
        ("a bit of the key", cert.clone(), flipped(&key)),
        ("binary", (0..=255).collect(), (0..=255).collect()),
        ("in each other's place", key.clone(), cert.clone()),
        ("zeroes", vec![0; 4096], key.clone()),
    ];
    let refusals =
        || gateway.log().matches("a.crt").count() + gateway.log().matches("a.key").count();
    let (stop, shaken) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
    let shaking = tokio::spawn({
        let (stop, shaken) = (Arc::clone(&stop), Arc::clone(&shaken));
        async move {
            while !stop.load(Ordering::Relaxed) {
                assert_eq!(shown(to, "127.0.0.1").await, "a");
                shaken.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    for (name, bad_cert, bad_key) in rows {
        let before = refusals();
        std::fs::write(file("a.crt"), bad_cert).unwrap();
        std::fs::write(file("a.key"), bad_key).unwrap();
        gateway.signal(Signal::HUP);
        eventually(name, async || (refusals() > before).then_some(())).await;
        // One that is under way may have begun before; the second one did not.
        let wanted = shaken.load(Ordering::Relaxed) + 2;
        eventually(name, async || (shaken.load(Ordering::Relaxed) >= wanted).then_some(())).await;
    }
    for name in ["a.crt", "a.key"] {
        std::fs::remove_file(file(name)).unwrap();
    }
    let before = refusals();
    gateway.signal(Signal::HUP);
    eventually("files that are gone", async || (refusals() > before).then_some(())).await;
    assert_eq!(shown(to, "127.0.0.1").await, "a");
    stop.store(true, Ordering::Relaxed);
    shaking.await.unwrap();
    std::fs::copy(file("other.crt"), file("a.crt")).unwrap();
    std::fs::copy(file("other.key"), file("a.key")).unwrap();
    gateway.signal(Signal::HUP);
    eventually("the new one", async || (shown(to, "127.0.0.1").await == "other").then_some(()))
        .await;
    assert!(!gateway.log().contains("panicked"), "{}", gateway.log());
}
