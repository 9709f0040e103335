//! The name server, asked by `dig`; its records managed over HTTP.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{Answered as _, Dug, Gateway, Options, dig, dig_is_here, eventually, plain};

/// A gateway with a name server and its management on free ports; `None` where there is no `dig`,
/// which CI does not accept.
async fn name_server(keys: &[(&str, &str)]) -> Option<Gateway> {
    if !dig_is_here() {
        return None;
    }
    let options = Options::new()
        .set("mep_dns_listen", "127.0.0.1:0")
        .set("mep_dns_admin_listen", "127.0.0.1:0");
    let options = keys.iter().fold(options, |options, (key, value)| options.set(key, *value));
    Some(options.start().await)
}

async fn add(gateway: &Gateway, name: &str, kind: &str, addresses: &[String]) {
    let record = serde_json::json!({
        "name": name, "type": kind, "class": "IN", "ttl": 30, "rData": addresses,
    });
    let url = gateway.url("mep-dns-admin", "/mep/dns_server_mgmt/v1/rrecord?zone=.");
    let answer = plain().post(url).json(&record).answer().await.expect(200);
    assert_eq!(answer.text(), "success in adding rr entry.");
}

async fn remove(gateway: &Gateway, name: &str, kind: &str) {
    let path = format!("/mep/dns_server_mgmt/v1/rrecord/{name}/{kind}");
    plain().delete(gateway.url("mep-dns-admin", &path)).answer().await.expect(200);
}

fn address(text: &str) -> Vec<String> {
    vec![text.to_owned()]
}

fn has(dug: &Dug, flag: &str) -> bool {
    dug.flags.iter().any(|one| one == flag)
}

/// records as they are managed, over HTTP.
#[tokio::test]
async fn records_are_managed() {
    let options = Options::new().set("mep_dns_admin_listen", "127.0.0.1:0");
    let gateway = options.start().await;
    let record = |change: serde_json::Value| {
        let mut body = json!({
            "name": "www.example.com.", "type": "A", "class": "IN", "ttl": 30,
            "rData": ["192.0.2.10"],
        });
        for (name, value) in change.as_object().unwrap() {
            body[name] = value.clone();
        }
        body
    };
    let input = "invalid input!";
    let rows = [
        ("A-95", "POST", "", record(json!({})), 200, "success in adding rr entry."),
        ("A-95", "POST", "", record(json!({})), 400, "record already exists!"),
        (
            "A-95",
            "PUT",
            "/www.example.com/A",
            record(json!({})),
            400,
            "input not match with rr resource",
        ),
        ("A-95", "DELETE", "/x.example.com./A", json!({}), 500, "Error in retrieving the data."),
        (
            "6.2",
            "PUT",
            "/www.example.com./A",
            record(json!({"ttl": 5})),
            200,
            "success in updating rr entry.",
        ),
        ("A-96", "POST", "", record(json!({"ttl": 0})), 400, input),
        ("A-96", "POST", "", json!([record(json!({}))]), 400, input),
        ("A-96", "POST", "", record(json!({"type": "MX"})), 500, "unsupported rrtype(MX) entry"),
        ("6.2", "DELETE", "/www.example.com./A", json!({}), 200, "Success"),
    ];
    let url = |rest: &str| {
        gateway.url("mep-dns-admin", &format!("/mep/dns_server_mgmt/v1/rrecord{rest}?zone=."))
    };
    for (case, method, rest, body, status, text) in rows {
        let request = plain().request(method.parse().unwrap(), url(rest)).json(&body);
        let answer = request.answer().await;
        assert_eq!((answer.status, answer.text()), (status, text), "{case} {method} {body}");
        assert_eq!(answer.header("content-type"), Some("text/plain; charset=UTF-8"), "{case}");
    }
    let untyped = plain().post(url("")).body(record(json!({})).to_string()).answer().await;
    assert_eq!((untyped.status, untyped.text()), (400, input), "A-96");
}

/// A-97, over both transports.
#[tokio::test]
async fn names_of_ours() {
    let Some(gateway) = name_server(&[]).await else { return };
    let server = gateway.dns_addr();
    add(&gateway, "www.example.com.", "A", &address("192.0.2.10")).await;
    add(&gateway, "six.example.com.", "AAAA", &address("2001:db8::10")).await;
    for transport in ["+notcp", "+tcp"] {
        let ask = async |words: &str| dig(server, &format!("{words} {transport}")).await;
        let found = ask("WWW.Example.com A").await;
        assert_eq!(found.answers, ["WWW.Example.com. 30 IN A 192.0.2.10"], "{}", found.text);
        assert_eq!(found.status, "NOERROR");
        assert!(has(&found, "aa") && has(&found, "rd") && !has(&found, "ra"), "{}", found.text);
        let six = ask("six.example.com AAAA").await;
        assert_eq!(six.answers, ["six.example.com. 30 IN AAAA 2001:db8::10"]);
        for words in ["www.example.com AAAA", "www.example.com MX", "www.example.com CH A"] {
            let empty = ask(words).await;
            assert_eq!((empty.status.as_str(), empty.answers.len()), ("NOERROR", 0), "{words}");
        }
        let unknown = ask("other.example.com A").await;
        assert_eq!((unknown.status.as_str(), has(&unknown, "aa")), ("SERVFAIL", false));
        for (words, status) in [
            ("www.example.com AXFR", "REFUSED"),
            ("www.example.com A +opcode=notify", "NOTIMP"),
            ("www.example.com A +opcode=update", "REFUSED"),
            ("www.example.com A +edns=1 +noednsnegotiation", "BADVERS"),
        ] {
            // dig prints an AXFR that fails without its header.
            let said = ask(words).await;
            let transfer = said.text.contains("Transfer failed");
            assert!(said.status == status || transfer, "{words}: {}", said.text);
        }
    }
}

/// An OPT record is answered with one, and never without being asked.
#[tokio::test]
async fn edns_and_long_answers() {
    let Some(gateway) = name_server(&[]).await else { return };
    let server = gateway.dns_addr();
    // 100 records of 16 bytes: more than 1232 and a lot less than 64 KiB.
    let many: Vec<String> = (1..=100).map(|last| format!("192.0.2.{last}")).collect();
    add(&gateway, "many.example.com.", "A", &many).await;
    add(&gateway, "one.example.com.", "A", &address("192.0.2.1")).await;
    for (words, payload) in [
        ("+noedns", None),
        ("+bufsize=512", Some("udp: 512")),
        ("+bufsize=4096", Some("udp: 1232")),
    ] {
        let found = dig(server, &format!("one.example.com A {words}")).await;
        assert_eq!(found.answers.len(), 1, "{}", found.text);
        match payload {
            Some(payload) => assert!(found.text.contains(payload), "{}", found.text),
            None => assert!(!found.text.contains("OPT PSEUDOSECTION"), "{}", found.text),
        }
        let cut = dig(server, &format!("many.example.com A {words}")).await;
        assert!(has(&cut, "tc") && cut.answers.len() < 100, "{}", cut.text);
        // What clients do then.
        let whole = dig(server, &format!("many.example.com A {words} +noignore")).await;
        assert_eq!(whole.answers.len(), 100, "{}", whole.text);
    }
}

/// What is written is answered at once and, because it is in the catalog, after a crash too.
#[tokio::test]
async fn records_last() {
    let Some(mut gateway) = name_server(&[]).await else { return };
    add(&gateway, "a.example.", "A", &address("192.0.2.1")).await;
    assert_eq!(dig(gateway.dns_addr(), "a.example A").await.answers.len(), 1);
    remove(&gateway, "a.example.", "A").await;
    assert_eq!(dig(gateway.dns_addr(), "a.example A").await.status, "SERVFAIL");
    add(&gateway, "a.example.", "A", &address("192.0.2.2")).await;
    gateway.kill().await;
    gateway.start_again().await;
    let found = dig(gateway.dns_addr(), "a.example A").await;
    assert_eq!(found.answers, ["a.example. 30 IN A 192.0.2.2"]);
}

/// Other names are asked of the resolvers, dead ones among them; what those say is passed on.
#[tokio::test]
async fn forwarding() {
    let Some(upstream) = name_server(&[("mep_dns_unknown", "nxdomain")]).await else { return };
    add(&upstream, "far.example.", "A", &address("198.51.100.1")).await;
    add(&upstream, "both.example.", "A", &address("198.51.100.2")).await;
    let many: Vec<String> = (1..=100).map(|last| format!("198.51.100.{last}")).collect();
    add(&upstream, "many.example.", "A", &many).await;
    // The first one never answers.
    let dead = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let resolvers = format!("{}, {}", dead.local_addr().unwrap(), upstream.dns_addr());
    let Some(gateway) =
        name_server(&[("mep_dns_upstream", &resolvers), ("mep_dns_timeout", "1")]).await
    else {
        return;
    };
    add(&gateway, "both.example.", "A", &address("192.0.2.2")).await;
    let server = gateway.dns_addr();

    let far = dig(server, "far.example A").await;
    assert_eq!(far.answers, ["far.example. 30 IN A 198.51.100.1"], "{}", far.text);
    assert!(has(&far, "ra") && !has(&far, "aa"), "{}", far.text);
    let own = dig(server, "both.example A").await;
    assert_eq!(own.answers, ["both.example. 30 IN A 192.0.2.2"], "ours first");
    assert_eq!(dig(server, "both.example AAAA").await.status, "NOERROR", "the name is ours");
    let many = dig(server, "many.example A +tcp").await;
    assert_eq!(many.answers.len(), 100, "by TCP when it does not fit: {}", many.text);
    let nothing = dig(server, "nothing.example A").await;
    assert_eq!((nothing.status.as_str(), has(&nothing, "ra")), ("NXDOMAIN", true));
    let metrics = plain().get(gateway.url("status", "/metrics")).answer().await;
    let counted = "mep_dns_questions_total{result=\"forwarded\"} 3";
    assert!(metrics.text().contains(counted), "{}", metrics.text());
}

#[tokio::test]
async fn resolvers_that_do_not_answer() {
    let dead = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let resolver = dead.local_addr().unwrap().to_string();
    let Some(gateway) =
        name_server(&[("mep_dns_upstream", &resolver), ("mep_dns_timeout", "1")]).await
    else {
        return;
    };
    assert_eq!(dig(gateway.dns_addr(), "far.example A").await.status, "SERVFAIL");
}

/// Whoever asks too much over UDP is told to come by TCP, or not answered; others are.
#[tokio::test]
async fn a_network_gets_so_many_answers() {
    let Some(gateway) = name_server(&[("mep_dns_rate_limit", "1")]).await else { return };
    let server = gateway.dns_addr();
    add(&gateway, "a.example.", "A", &address("192.0.2.1")).await;
    eventually("a truncated answer", async || {
        let found = dig(server, "a.example A +timeout=1").await;
        has(&found, "tc").then(|| assert!(found.answers.is_empty(), "{}", found.text))
    })
    .await;
    let by_tcp = dig(server, "a.example A +tcp").await;
    assert_eq!(by_tcp.answers.len(), 1, "{}", by_tcp.text);
    let other = eventually("a free second of another network", async || {
        let found = dig(server, "a.example A -b 127.7.7.7 +timeout=1").await;
        (!found.answers.is_empty()).then_some(found)
    });
    assert_eq!(other.await.answers.len(), 1);
}

#[tokio::test]
async fn only_these_may_ask() {
    let Some(gateway) = name_server(&[("mep_dns_clients", "127.0.0.2")]).await else { return };
    let server = gateway.dns_addr();
    add(&gateway, "a.example.", "A", &address("192.0.2.1")).await;
    assert_eq!(dig(server, "a.example A").await.status, "REFUSED");
    assert_eq!(dig(server, "a.example A +tcp").await.status, "REFUSED");
    assert_eq!(dig(server, "a.example A -b 127.0.0.2").await.answers.len(), 1);
}

#[tokio::test]
async fn load_is_balanced_when_asked_for() {
    let Some(gateway) = name_server(&[("mep_dns_load_balance", "on")]).await else { return };
    let two = ["192.0.2.1".to_owned(), "192.0.2.2".to_owned()];
    add(&gateway, "a.example.", "A", &two).await;
    let first = async || dig(gateway.dns_addr(), "a.example A").await.answers[0].clone();
    assert_ne!(first().await, first().await);
}

/// Bytes that are no question do not end the server.
#[tokio::test]
async fn noise() {
    let Some(gateway) = name_server(&[]).await else { return };
    let server: SocketAddr = gateway.dns_addr();
    add(&gateway, "a.example.", "A", &address("192.0.2.1")).await;
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut question = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    question.extend(b"\x01a\x07example\x00\x00\x01\x00\x01");
    for cut in 0..question.len() {
        socket.send_to(&question[..cut], server).unwrap();
    }
    for at in 0..question.len() {
        let mut changed = question.clone();
        changed[at] ^= 0xff;
        socket.send_to(&changed, server).unwrap();
    }
    use std::io::Write as _;
    let mut stream = std::net::TcpStream::connect(server).unwrap();
    stream.write_all(&[0xff; 300]).unwrap();
    for transport in ["+notcp", "+tcp"] {
        let found = dig(server, &format!("a.example A {transport}")).await;
        assert_eq!(found.answers.len(), 1, "{}", found.text);
    }
}

/// as a resolver sees them: a rule answers once its task is done, and no longer once
/// its app switched it off.
#[tokio::test]
async fn rules_of_applications() {
    const APP: &str = "5abe4782-2c70-4e47-9a4e-0ee3a1a0fd1f";
    let Some(gateway) = name_server(&[]).await else { return };
    let server = gateway.dns_addr();
    let configuration = serde_json::json!({
        "appName": "app1", "appSupportMp1": true, "appTrafficRule": [],
        "appDNSRule": [{
            "dnsRuleId": "r1", "domainName": "www.example.com", "ipAddressType": "IP_V4",
            "ipAddress": "192.0.2.10", "ttl": 0,
        }],
    });
    let path = format!("/mepcfg/app_lcm/v1/applications/{APP}/appd_configuration");
    let post = plain().post(gateway.url("mep", &path)).json(&configuration);
    post.answer().await.expect(200);
    let found = eventually("the rule answers", async || {
        let found = dig(server, "www.example.com A").await;
        (!found.answers.is_empty()).then_some(found)
    });
    assert_eq!(found.await.answers, ["www.example.com. 30 IN A 192.0.2.10"]);
    // The name is taken for the management API.
    let record = serde_json::json!({
        "name": "www.example.com.", "type": "A", "class": "IN", "ttl": 1, "rData": ["192.0.2.1"],
    });
    let url = gateway.url("mep-dns-admin", "/mep/dns_server_mgmt/v1/rrecord");
    let refused = plain().post(url).json(&record).answer().await.expect(400);
    assert_eq!(refused.text(), "record already exists!");

    let rule = format!("/mep/mec_app_support/v1/applications/{APP}/dns_rules/r1");
    let put = plain().put(gateway.url("mep", &rule)).header("X-AppinstanceID", APP).json(
        &serde_json::json!({
            "dnsRuleId": "r1", "domainName": "www.example.com", "ipAddressType": "IP_V4",
            "ipAddress": "192.0.2.10", "ttl": 0, "state": "INACTIVE",
        }),
    );
    put.answer().await.expect(200);
    // Answered with the write: no later look is needed.
    assert_eq!(dig(server, "www.example.com A").await.status, "SERVFAIL");
}

/// An active rule is answered by the first question after the write, and half of such questions get
/// their answer in time. S-47: so it is by the standard's root.
#[tokio::test]
async fn activation_is_visible_at_once() {
    const APP: &str = "5abe4782-2c70-4e47-9a4e-0ee3a1a0fd1f";
    const IN_TIME: Duration = Duration::from_millis(50);
    let options = Options::new().set("mep_dns_listen", "127.0.0.1:0");
    let gateway = options.start().await;
    let rule = |state: &str| {
        json!({
            "dnsRuleId": "r1", "domainName": "a.example", "ipAddressType": "IP_V4",
            "ipAddress": "192.0.2.10", "ttl": 30, "state": state,
        })
    };
    let configuration = json!({
        "appName": "app1", "appSupportMp1": true, "appTrafficRule": [],
        "appDNSRule": [rule("INACTIVE")],
    });
    let path = format!("/mepcfg/app_lcm/v1/applications/{APP}/appd_configuration");
    let post = plain().post(gateway.url("mep", &path)).json(&configuration);
    post.answer().await.expect(200);
    let path = format!("/mec_app_support/v1/applications/{APP}/dns_rules/r1");
    let put_at = async |root: &str, state: &str| {
        let put = plain()
            .put(gateway.url("mep", &format!("{root}{path}")))
            .header("X-AppinstanceID", APP)
            .json(&rule(state));
        put.answer().await
    };
    let put = async |state: &str| put_at("/mep", state).await;
    eventually("the rule is there", async || (put("INACTIVE").await.status == 200).then_some(()))
        .await;

    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(gateway.dns_addr()).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let answers = || {
        let mut question = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        question.extend(b"\x01a\x07example\x00\x00\x01\x00\x01");
        socket.send(&question).unwrap();
        let mut answer = [0; 512];
        let length = socket.recv(&mut answer).unwrap();
        assert_eq!(answer[..2], [0, 7]);
        answer[..length].ends_with(&[192, 0, 2, 10])
    };
    let mut took = Vec::new();
    for round in 0..21 {
        put("ACTIVE").await.expect(200);
        let written = Instant::now();
        assert!(answers(), "round {round}: the first question after the write");
        took.push(written.elapsed());
        put("INACTIVE").await.expect(200);
        assert!(!answers(), "round {round}: still answered");
    }
    for (state, wanted) in [("ACTIVE", true), ("INACTIVE", false), ("ACTIVE", true)] {
        put_at("", state).await.expect(200);
        assert_eq!(answers(), wanted, "S-47 {state}");
    }
    took.sort();
    println!("from the write to the answer: {:?}, at most {:?}", took[10], took[20]);
    assert!(took[10] < IN_TIME, "{took:?}");
}
