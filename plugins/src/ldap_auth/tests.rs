#![allow(clippy::unwrap_used, reason = "tests")]

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::slapd::Slapd;
use crate::test_kit::{Answer, Exchange, Instance, Rig, rig};

fn configuration(port: u16, more: Value) -> Value {
    let mut config = json!({
        "ldap_host": "127.0.0.1", "ldap_port": port, "base_dn": "dc=example,dc=com",
        "attribute": "cn",
    });
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    config
}

fn header(scheme: &str, text: &str) -> String {
    format!("{scheme} {}", BASE64_STANDARD.encode(text))
}

/// One instance at a time.
struct Stage {
    rig: Rig,
    plugin: Instance,
}

impl Stage {
    fn new(config: Value) -> Self {
        // Whoever uses TLS here uses one library.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let mut rig = rig();
        rig.insert("consumers", json!({"username": "anyone"}));
        let plugin = rig.plugin("ldap-auth", config);
        Self { rig, plugin }
    }

    fn send(&self, headers: &[(&str, &str)]) -> (Exchange, Option<Answer>) {
        let mut exchange = self.rig.get("/").header("X-Consumer-ID", "spoof");
        for (name, value) in headers {
            exchange = exchange.header(name, value);
        }
        let answer = exchange.access(&self.plugin);
        (exchange, answer)
    }

    /// Status of the answer, 200 for none.
    fn check(&self, headers: &[(&str, &str)], wanted: u16) {
        let (_, answer) = self.send(headers);
        assert_eq!(answer.map_or(200, |answer| answer.status), wanted, "{headers:?}");
    }
}

#[test]
fn a_directory_decides() {
    let Some(mut slapd) = Slapd::start() else { return };
    let good = header("ldap", "ann:secret:1");
    let bad = header("LDAP", "ann:secret");
    for more in [
        json!({}),
        json!({"cache_ttl": 0}),
        json!({"cache_ttl": 0, "keepalive": 0}),
        json!({"start_tls": true, "cache_ttl": 0}),
    ] {
        let stage = Stage::new(configuration(slapd.plain, more));
        // Twice: on a new connection, then on one that is kept, or remembered.
        for _ in 0..2 {
            let (exchange, answer) = stage.send(&[("Authorization", &good)]);
            assert_eq!(answer, None);
            assert_eq!(exchange.sent("x-credential-identifier"), ["ann"]);
            assert_eq!(exchange.sent("x-consumer-id"), [""; 0], "there is no consumer");
            assert_eq!(exchange.sent("authorization").len(), 1);
            assert!(exchange.facts.identity.credential.is_some());
            stage.check(&[("Authorization", &bad)], 401);
        }
        stage.check(&[("Proxy-Authorization", &bad), ("Authorization", &good)], 200);
        stage.check(&[("Authorization", &header("ldap", "O, Bob:pw"))], 200);
        stage.check(&[("Authorization", &header("ldap", "ann,dc=example:secret:1"))], 401);
        stage.check(&[("Authorization", &header("ldap", "nobody:secret:1"))], 401);
        stage.check(&[("Authorization", &header("ldap", "ann:"))], 401);
        stage.check(&[("Authorization", &header("ldap", ":secret:1"))], 401);
    }
    let tls = json!({"ldaps": true, "hide_credentials": true, "header_type": "Basic"});
    let stage = Stage::new(configuration(slapd.tls, tls));
    let (exchange, answer) = stage.send(&[("Authorization", &header("basic", "ann:secret:1"))]);
    assert_eq!(answer, None);
    assert_eq!(exchange.sent("authorization"), [""; 0]);
    stage.check(&[("Authorization", &good)], 401);

    // A certificate nobody trusts, looked at.
    let strict = json!({"ldaps": true, "verify_ldap_host": true, "cache_ttl": 0});
    let stage = Stage::new(configuration(slapd.tls, strict));
    stage.check(&[("Authorization", &good)], 500);

    // What was said is remembered for a while.
    let stage = Stage::new(configuration(slapd.plain, json!({"cache_ttl": 30})));
    stage.check(&[("Authorization", &good)], 200);
    stage.check(&[("Authorization", &bad)], 401);
    slapd.stop();
    stage.check(&[("Authorization", &good)], 200);
    stage.check(&[("Authorization", &bad)], 401);
    stage.check(&[("Authorization", &header("ldap", "ann:other"))], 500);
    stage.rig.clock.advance_ms(30_000);
    stage.check(&[("Authorization", &good)], 500);
}

#[test]
fn refusals_tell_the_scheme() {
    for (more, wanted) in [
        (json!({}), "LDAP"),
        (json!({"realm": "r"}), "LDAP realm=\"r\""),
        (json!({"header_type": "basic"}), "basic"),
    ] {
        let stage = Stage::new(configuration(1, more));
        for headers in [&[][..], &[("Authorization", "Bearer x")]] {
            let answer = stage.send(headers).1.unwrap();
            assert_eq!(answer.status, 401);
            assert_eq!(answer.body, json!({"message": "Unauthorized"}));
            assert_eq!(answer.header("www-authenticate"), Some(wanted));
        }
    }
    let stage = Stage::new(configuration(1, json!({"anonymous": "anyone"})));
    let (exchange, answer) = stage.send(&[]);
    assert_eq!(answer, None);
    assert_eq!(exchange.sent("x-consumer-username"), ["anyone"]);
    let both = configuration(1, json!({"ldaps": true, "start_tls": true}));
    let refused = rig().try_plugin("ldap-auth", both).err().unwrap();
    assert!(
        refused.contains("'ldaps' and 'start_tls' cannot be enabled simultaneously"),
        "{refused}"
    );
}
