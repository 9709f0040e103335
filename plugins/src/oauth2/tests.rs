#![allow(clippy::unwrap_used, reason = "tests")]

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use gateway_model::{Change, Id};
use serde_json::{Value, json};

use crate::contract::Needs;
use crate::test_kit::{Answer, Exchange, Instance, Rig, rig};

mod giving;
mod using;

/// A service guarded by the plugin, and a consumer `bob` with two applications.
struct Stage {
    rig: Rig,
    plugin: Instance,
    route: Id,
    service: Id,
}

const BACK: &str = "http://x.test/cb?keep=1";

fn stage(config: Value) -> Stage {
    let mut rig = rig();
    let service = rig.insert("services", json!({"name": "s", "host": "h"})).id();
    let route = rig.insert("routes", json!({"paths": ["/"], "service": {"id": service}})).id();
    let bob = rig.insert("consumers", json!({"username": "bob"})).id();
    rig.insert("consumers", json!({"username": "anyone"}));
    let application = |id: &str, more: Value| {
        let mut document = json!({
            "name": id, "client_id": id, "client_secret": "csec", "consumer": {"id": bob},
            "redirect_uris": [BACK, "http://other.test/"],
        });
        document.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        document
    };
    rig.insert("oauth2_credentials", application("cid", json!({})));
    rig.insert("oauth2_credentials", application("pub", json!({"client_type": "public"})));
    rig.insert("oauth2_credentials", application("hashed", json!({"hash_secret": true})));
    let mut whole = json!({
        "enable_client_credentials": true, "enable_authorization_code": true,
        "enable_implicit_grant": true, "enable_password_grant": true,
        "scopes": ["email", "phone"], "provision_key": "pk",
    });
    whole.as_object_mut().unwrap().extend(config.as_object().unwrap().clone());
    let plugin = rig.plugin("oauth2", whole);
    Stage { rig, plugin, route, service }
}

impl Stage {
    fn request(&self, target: &str) -> Exchange {
        self.rig.get(target).on(self.route).tls()
    }

    fn post(&self, path: &str, form: &str) -> Exchange {
        let kind = "application/x-www-form-urlencoded";
        self.request(path).method("POST").body(kind, form)
    }

    /// Asks the token endpoint.
    fn token(&mut self, form: &str) -> Answer {
        let answer = self.post("/oauth2/token", form).access(&self.plugin).unwrap();
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.header("pragma"), Some("no-cache"));
        self.rig.follow();
        answer
    }

    /// Asks the authorization endpoint; gives status and where the user goes.
    fn authorize(&mut self, form: &str) -> (u16, Value) {
        let form = format!("provision_key=pk&authenticated_userid=u1&{form}");
        let answer = self.post("/x/oauth2/authorize/", &form).access(&self.plugin).unwrap();
        self.rig.follow();
        let place = answer.body.get("redirect_uri").cloned();
        (answer.status, place.unwrap_or(answer.body))
    }

    /// A code as an application gets it.
    fn code(&mut self, form: &str) -> String {
        let (status, place) = self.authorize(&format!("response_type=code&{form}"));
        assert_eq!(status, 200, "{place}");
        let place = url::Url::parse(place.as_str().unwrap()).unwrap();
        let found = place.query_pairs().find(|(name, _)| name == "code").unwrap();
        found.1.into_owned()
    }

    /// Brings a token; gives the refusal, or what the upstream is told.
    fn bring(&self, token: &str) -> Result<Vec<String>, Value> {
        let mut exchange = self
            .request("/any")
            .header("X-Authenticated-Scope", "spoof")
            .header("X-Authenticated-UserId", "spoof")
            .bearer(token);
        match exchange.access(&self.plugin) {
            Some(answer) => {
                assert_eq!(answer.status, 401);
                Err(answer.body)
            }
            None => {
                let told = [
                    "x-consumer-username",
                    "x-credential-identifier",
                    "x-authenticated-scope",
                    "x-authenticated-userid",
                ];
                Ok(told.map(|name| exchange.sent(name).join(",")).to_vec())
            }
        }
    }
}

fn text(answer: &Answer, member: &str) -> String {
    answer.body[member].as_str().unwrap_or_else(|| panic!("{}", answer.body)).to_owned()
}

fn error(error: &str, description: &str) -> Value {
    json!({"error": error, "error_description": description})
}

const CLIENT: &str = "client_id=cid&client_secret=csec";

#[test]
fn configurations() {
    let flows = json!({"enable_client_credentials": true});
    let mut rig = rig();
    let made = rig.plugin("oauth2", flows.clone());
    let stored = rig.catalog.collection("plugins").unwrap().get(made.id).cloned().unwrap();
    let document = stored.document();
    let key = document["config"]["provision_key"].as_str().unwrap();
    assert_eq!(key.len(), 32, "random");
    rig.patch("plugins", made.id, json!({"tags": ["t"]}));
    let kept = rig.catalog.collection("plugins").unwrap().get(made.id).cloned().unwrap();
    assert_eq!(kept.document()["config"]["provision_key"], key);
    rig.delete("plugins", made.id);
    for (config, wanted) in [
        (
            json!({}),
            "schema violation (config: at least one of these fields must be true: \
             enable_authorization_code, enable_implicit_grant, enable_client_credentials, \
             enable_password_grant)",
        ),
        (
            json!({"enable_client_credentials": true, "mandatory_scope": true}),
            "config.scopes: required field missing",
        ),
    ] {
        let refused = rig.try_plugin("oauth2", config).err().unwrap();
        assert!(refused.contains(wanted), "{refused}");
    }
}

#[test]
fn applications() {
    let mut rig = rig();
    let bob = rig.insert("consumers", json!({"username": "bob"})).id();
    let document = json!({
        "name": "a", "consumer": {"id": bob}, "client_secret": "s", "hash_secret": true,
    });
    let stored = rig.insert("oauth2_credentials", document);
    let hash = stored.text("client_secret").unwrap().to_owned();
    assert!(hash.starts_with("$pbkdf2-sha512$"), "{hash}");
    rig.patch("oauth2_credentials", stored.id(), json!({"name": "b"}));
    let kept = rig.catalog.collection("oauth2_credentials").unwrap().get(stored.id()).cloned();
    assert_eq!(kept.unwrap().text("client_secret").as_deref(), Some(&*hash), "not hashed again");
    let plain = rig.insert("oauth2_credentials", json!({"name": "c", "consumer": {"id": bob}}));
    assert_eq!(plain.text("client_secret").unwrap().len(), 32);
    assert_eq!(plain.text("client_id").unwrap().len(), 32);
    let Value::Object(document) = json!({
        "name": "d", "consumer": {"id": bob},
        "redirect_uris": ["https://ok.test", "nope", "https://x/#f", "app:/x"],
    }) else {
        unreachable!()
    };
    let change = Change::Insert { kind: "oauth2_credentials", document };
    let refused = rig.try_apply(change).unwrap_err();
    for wanted in ["cannot parse 'nope'", "fragment not allowed in 'https://x/#f'", "'app:/x'"] {
        assert!(refused.contains(wanted), "{refused}");
    }
}

#[test]
fn bodies_are_read_where_something_may_stand_in_them() {
    let stage = stage(json!({}));
    let check = |exchange: Exchange, reads: bool| {
        let needs = stage.plugin.handler.needs_of(&exchange.head);
        let target = exchange.head.uri.to_string();
        assert_eq!(needs == Needs::BODY, reads, "{} {target}", exchange.head.method);
    };
    check(stage.request("/any"), false);
    check(stage.request("/any").method("POST"), true);
    check(stage.request("/any").method("POST").bearer("t"), false);
    check(stage.request("/oauth2/token").method("POST").bearer("t"), true);
    check(stage.request("/oauth2/token"), false);
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(32))]

    /// Whatever is asked of the endpoints, there is an answer, and no token without a proof.
    #[test]
    fn any_request_is_answered(
        body in "[ -~]{0,80}",
        value in "\\PC{0,20}",
        basic in proptest::collection::vec(proptest::num::u8::ANY, 0..20),
    ) {
        let mut stage = stage(json!({}));
        let escaped: String = url::form_urlencoded::byte_serialize(value.as_bytes()).collect();
        let basic = format!("Basic {}", BASE64_STANDARD.encode(basic));
        for form in [
            body.clone(),
            format!("grant_type=client_credentials&client_id=cid&client_secret={escaped}"),
            format!("grant_type=authorization_code&{CLIENT}&code={escaped}&code_verifier={escaped}"),
            format!("grant_type=refresh_token&{CLIENT}&refresh_token={escaped}"),
        ] {
            let mut exchange =
                stage.post("/oauth2/token", &form).header("Authorization", &basic);
            let answer = exchange.access(&stage.plugin).unwrap();
            assert!([400, 401].contains(&answer.status), "{form}: {}", answer.body);
        }
        let form = format!(
            "response_type=code&client_id=cid&scope={escaped}&redirect_uri={escaped}&state={escaped}\
             &code_challenge={escaped}&code_challenge_method={escaped}"
        );
        let (status, _) = stage.authorize(&form);
        assert_eq!(status, 400);
    }
}
