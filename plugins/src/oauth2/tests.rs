#![allow(clippy::unwrap_used, reason = "tests")]

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use gateway_model::{Change, Id};
use serde_json::{Value, json};

use crate::contract::Needs;
use crate::test_kit::{Answer, Exchange, Instance, Rig, rig};

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
fn an_application_gets_tokens_of_its_own() {
    let mut stage = stage(json!({}));
    let answer =
        stage.token(&format!("grant_type=client_credentials&{CLIENT}&scope=email phone&state=st"));
    assert_eq!(answer.status, 200);
    let token = text(&answer, "access_token");
    assert_eq!(token.len(), 32);
    let wanted = json!({
        "access_token": token, "token_type": "bearer", "expires_in": 7200, "state": "st",
    });
    assert_eq!(answer.body, wanted, "no refresh token");
    assert_eq!(stage.bring(&token).unwrap(), ["bob", "cid", "email phone", ""]);

    // The header stands for the parameters; a secret may hold a colon.
    let basic = BASE64_STANDARD.encode("hashed:csec");
    let form = "grant_type=client_credentials";
    let mut exchange =
        stage.post("/oauth2/token", form).header("Authorization", &format!("Basic {basic}"));
    assert_eq!(exchange.access(&stage.plugin).unwrap().status, 200);
    let basic = BASE64_STANDARD.encode("hashed:bad");
    let mut exchange =
        stage.post("/oauth2/token", form).header("Authorization", &format!("basic {basic}"));
    let answer = exchange.access(&stage.plugin).unwrap();
    assert_eq!(answer.status, 401);
    assert_eq!(answer.header("www-authenticate"), Some("Basic realm=\"OAuth2.0\""));

    // JSON will do as well.
    let body = json!({
        "grant_type": "client_credentials", "client_id": "cid", "client_secret": "csec",
        "authenticated_userid": "u1", "provision_key": "pk",
    });
    let mut exchange =
        stage.request("/oauth2/token").method("POST").body("application/json", &body.to_string());
    let answer = exchange.access(&stage.plugin).unwrap();
    stage.rig.follow();
    assert_eq!(stage.bring(&text(&answer, "access_token")).unwrap(), ["bob", "cid", "", "u1"]);
}

#[test]
fn what_the_token_endpoint_refuses() {
    let mut stage = stage(json!({}));
    let client = error("invalid_client", "Invalid client authentication");
    let redirect = error(
        "invalid_request",
        "Invalid redirect_uri that does not match with any redirect_uri created with the \
         application",
    );
    let own = "grant_type=client_credentials";
    for (form, wanted) in [
        (
            format!("grant_type=nope&{CLIENT}"),
            error("unsupported_grant_type", "Invalid grant_type"),
        ),
        (CLIENT.to_owned(), error("unsupported_grant_type", "Invalid grant_type")),
        (format!("{own}&client_id=cid&client_secret=bad"), client.clone()),
        (format!("{own}&client_id=cid"), client.clone()),
        (format!("{own}&client_id=none&client_secret=csec"), client.clone()),
        (format!("{own}&client_id=&client_secret=csec"), client.clone()),
        (own.to_owned(), client.clone()),
        ("grant_type=password&client_id=none&client_secret=csec".to_owned(), client),
        (
            format!("{own}&client_id=pub&client_secret=csec"),
            error("invalid_request", "client_secret is disallowed for public clients"),
        ),
        (
            format!("{own}&{CLIENT}&scope=email nope"),
            error("invalid_scope", "\"nope\" is an invalid scope"),
        ),
        (
            format!("{own}&{CLIENT}&scope=a&scope=b"),
            error("invalid_scope", "scope must be a string"),
        ),
        (
            format!("{own}&{CLIENT}&authenticated_userid=u1"),
            error("invalid_provision_key", "Invalid provision_key"),
        ),
        (
            format!("grant_type=password&{CLIENT}&authenticated_userid=u1&provision_key=x"),
            error("invalid_provision_key", "Invalid provision_key"),
        ),
        (
            format!("grant_type=password&{CLIENT}&provision_key=pk&authenticated_userid=+"),
            error("invalid_authenticated_userid", "Missing authenticated_userid parameter"),
        ),
        (
            format!("grant_type=authorization_code&{CLIENT}&code=none"),
            error("invalid_request", "Invalid code"),
        ),
        (format!("grant_type=authorization_code&{CLIENT}&redirect_uri=http://evil.test"), redirect),
        (
            format!("grant_type=refresh_token&{CLIENT}&refresh_token=none"),
            error("invalid_request", "Invalid refresh_token"),
        ),
    ] {
        let answer = stage.token(&form);
        assert_eq!((answer.status, answer.body), (400, wanted), "{form}");
    }
    let mut strict = self::stage(json!({"mandatory_scope": true}));
    let answer = strict.token(&format!("{own}&{CLIENT}&state=x"));
    let mut wanted = error("invalid_scope", "You must specify a scope");
    wanted["state"] = "x".into();
    assert_eq!(answer.body, wanted);
    let mut one = self::stage(json!({"enable_password_grant": false}));
    let answer = one.token(&format!("grant_type=password&{CLIENT}"));
    assert_eq!(answer.body["error"], "unsupported_grant_type");
}

#[test]
fn endpoints_want_https_and_post() {
    let form = format!("grant_type=client_credentials&{CLIENT}");
    for accepts in [false, true] {
        let stage = stage(json!({"accept_http_if_already_terminated": accepts}));
        for (trusted, said, passes) in [
            (false, &[][..], false),
            (false, &["https"], false),
            (true, &[], false),
            (true, &["http"], false),
            (true, &["HTTPS"], accepts),
            (true, &["https", "https"], false),
        ] {
            let kind = "application/x-www-form-urlencoded";
            let mut exchange = stage.rig.get("/oauth2/token").on(stage.route).method("POST");
            exchange = exchange.body(kind, &form);
            for scheme in said {
                exchange = exchange.header("X-Forwarded-Proto", scheme);
            }
            exchange.facts.client.trusted = trusted;
            let answer = exchange.access(&stage.plugin).unwrap();
            let text = if accepts && trusted && said.len() == 2 {
                "Only one X-Forwarded-Proto header allowed"
            } else {
                "You must use HTTPS"
            };
            let wanted = if passes { 200 } else { 400 };
            assert_eq!(answer.status, wanted, "{said:?}");
            if !passes {
                assert_eq!(answer.body, error("access_denied", text), "{said:?}");
            }
        }
        for (path, name) in [("/oauth2/token", "token"), ("/oauth2/authorize", "authorization")] {
            let answer = stage.request(path).access(&stage.plugin).unwrap();
            let text = format!("The HTTP method GET is invalid for the {name} endpoint");
            assert_eq!((answer.status, &answer.body), (405, &error("invalid_method", &text)));
            let challenge =
                format!("Bearer error=\"invalid_method\", error_description=\"{text}\"");
            assert_eq!(answer.header("www-authenticate"), Some(&*challenge));
        }
    }
}

#[test]
fn a_code_becomes_a_token_once() {
    let mut stage = stage(json!({}));
    let (status, place) = stage.authorize("response_type=code&client_id=cid&scope=email&state=a b");
    assert_eq!(status, 200);
    let place = place.as_str().unwrap();
    let code = place.strip_prefix("http://x.test/cb?code=").unwrap();
    let code = code.strip_suffix("&keep=1&state=a%20b").unwrap_or_else(|| panic!("{place}"));
    let form = format!("grant_type=authorization_code&{CLIENT}&code={code}");
    let other = "grant_type=authorization_code&client_id=hashed&client_secret=csec&code=";
    let refused = stage.token(&format!("{other}{code}"));
    assert_eq!(refused.body, error("invalid_request", "Invalid code"), "of another application");

    // Two requests at once: both see the code, one gets a token.
    let mut one = stage.post("/oauth2/token", &form);
    let mut two = stage.post("/oauth2/token", &form);
    let answers = [one.access(&stage.plugin).unwrap(), two.access(&stage.plugin).unwrap()];
    stage.rig.follow();
    assert_eq!(answers.each_ref().map(|answer| answer.status), [200, 400]);
    assert_eq!(answers[1].body, error("invalid_request", "Invalid code"));
    assert_eq!(stage.token(&form).status, 400);
    let told = stage.bring(&text(&answers[0], "access_token")).unwrap();
    assert_eq!(told, ["bob", "cid", "email", "u1"]);

    let code = stage.code("client_id=cid");
    stage.rig.clock.advance_ms(300_000);
    let late = stage.token(&format!("grant_type=authorization_code&{CLIENT}&code={code}"));
    assert_eq!(late.body, error("invalid_request", "Invalid code"));
}

#[test]
fn what_the_authorization_endpoint_refuses() {
    let mut stage = stage(json!({}));
    let mut check = |form: &str, wanted: Value| {
        let (status, place) = stage.authorize(form);
        assert_eq!((status, place), (400, wanted), "{form}");
    };
    let back = |error: &str, text: &str| {
        let text = text.replace(' ', "%20").replace('"', "%22").replace(',', "%2C");
        json!(format!("http://x.test/cb?error={error}&error_description={text}&keep=1"))
    };
    let code = "client_id=cid&response_type=code";
    check("client_id=cid", back("unsupported_response_type", "Invalid response_type"));
    check("response_type=code", error("invalid_client", "Invalid client authentication"));
    check(
        "response_type=code&client_id=none&state=s",
        json!({
            "error": "invalid_client", "error_description": "Invalid client authentication",
            "state": "s",
        }),
    );
    check(&format!("{code}&scope=x"), back("invalid_scope", "\"x\" is an invalid scope"));
    check(
        &format!("{code}&redirect_uri=http://evil.test"),
        back(
            "invalid_request",
            "Invalid redirect_uri that does not match with any redirect_uri created with the \
             application",
        ),
    );
    check(
        &format!("{code}&code_challenge_method=S256"),
        back("invalid_request", "code_challenge is required when code_method is present"),
    );
    check(
        &format!("{code}&code_challenge=x&code_challenge_method=plain"),
        back("invalid_request", "code_challenge_method is not supported, must be S256"),
    );
    check(
        "client_id=pub&response_type=code",
        back("invalid_request", "code_challenge is required for public clients"),
    );
    for (form, wanted) in [
        ("authenticated_userid=u1", error("invalid_provision_key", "Invalid provision_key")),
        (
            "provision_key=pk&authenticated_userid=",
            error("invalid_authenticated_userid", "Missing authenticated_userid parameter"),
        ),
    ] {
        let form = format!("{form}&{code}");
        let answer = stage.post("/oauth2/authorize", &form).access(&stage.plugin).unwrap();
        assert_eq!((answer.status, answer.body), (400, wanted));
    }
}

#[test]
fn a_browser_gets_a_token_in_the_fragment() {
    let mut stage = stage(json!({}));
    let form = "response_type=token&client_id=cid&redirect_uri=http://other.test/&state=s";
    let (status, place) = stage.authorize(form);
    assert_eq!(status, 200);
    let place = place.as_str().unwrap();
    let token = place.strip_prefix("http://other.test/#access_token=").unwrap();
    let (token, rest) = token.split_once('&').unwrap();
    assert_eq!(rest, "expires_in=7200&state=s&token_type=bearer", "no refresh token");
    assert_eq!(stage.bring(token).unwrap(), ["bob", "cid", "", "u1"]);
}

#[test]
fn codes_bound_to_a_secret() {
    let verifier = "v".repeat(43);
    let challenge = BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()));
    let mut stage = stage(json!({}));
    let mut check = |client: &str, padding: &str, verifier: &str, wanted: Result<(), Value>| {
        let form = format!(
            "client_id={}&code_challenge={challenge}{padding}&code_challenge_method=S256",
            &client[10..13]
        );
        let code = stage.code(&form);
        let form = format!("grant_type=authorization_code&{client}&code={code}{verifier}");
        let answer = stage.token(&form);
        let got = if answer.status == 200 { Ok(()) } else { Err(answer.body) };
        assert_eq!(got, wanted, "{form}");
    };
    let request = |text: &str| Err(error("invalid_request", text));
    let good = format!("&code_verifier={verifier}");
    check("client_id=pub", "", &good, Ok(()));
    check("client_id=pub", "%3D", &good, Ok(()));
    check(CLIENT, "", &good, Ok(()));
    let needed = "code_verifier is required for PKCE authorization requests";
    check("client_id=pub", "", "", request(needed));
    check(CLIENT, "", "", request(needed));
    check(
        CLIENT,
        "",
        "&code_verifier=short",
        request("code_verifier must be between 43 and 128 characters"),
    );
    check(CLIENT, "", &format!("{good}&code_verifier=b"), request("code_verifier is not a string"));
    let wrong = format!("&code_verifier={}", "w".repeat(43));
    check(CLIENT, "", &wrong, Err(error("invalid_grant", "Invalid code")));

    let mut strict = self::stage(json!({"pkce": "strict"}));
    let (status, place) = strict.authorize("response_type=code&client_id=cid");
    assert_eq!(status, 400);
    assert!(place.as_str().unwrap().contains("required%20for%20confidential%20clients"), "{place}");
    let mut none = self::stage(json!({"pkce": "none"}));
    let code = none.code("client_id=pub");
    let answer = none.token(&format!("grant_type=authorization_code&client_id=pub&code={code}"));
    assert_eq!(answer.status, 200, "{}", answer.body);
}

#[test]
fn passwords_and_refresh_tokens() {
    let form = format!(
        "grant_type=password&{CLIENT}&provision_key=pk&authenticated_userid=u1&scope=email"
    );
    for reuse in [false, true] {
        let mut stage = stage(json!({"reuse_refresh_token": reuse}));
        let first = stage.token(&form);
        let (token, refresh) = (text(&first, "access_token"), text(&first, "refresh_token"));
        stage.rig.clock.advance_ms(7_201_000);
        let late = error("invalid_token", "The access token is invalid or has expired");
        assert_eq!(stage.bring(&token), Err(late.clone()));

        let renew = format!("grant_type=refresh_token&{CLIENT}&refresh_token={refresh}");
        let other = renew.replace("client_id=cid", "client_id=hashed");
        let client = error("invalid_client", "Invalid client authentication");
        assert_eq!(stage.token(&other).body, client);
        let second = stage.token(&renew);
        assert_eq!(second.status, 200, "{}", second.body);
        assert_eq!(text(&second, "refresh_token") == refresh, reuse);
        assert_eq!(second.body["expires_in"], 7200);
        assert_eq!(stage.bring(&token), Err(late), "the old one is gone");
        let told = stage.bring(&text(&second, "access_token")).unwrap();
        assert_eq!(told, ["bob", "cid", "email", "u1"]);
        assert_eq!(stage.token(&renew).status, if reuse { 200 } else { 400 });

        // Not known any more.
        let refresh = text(&second, "refresh_token");
        stage.rig.clock.advance_ms(1_209_600_000);
        let renew = format!("grant_type=refresh_token&{CLIENT}&refresh_token={refresh}");
        assert_eq!(stage.token(&renew).body, error("invalid_request", "Invalid refresh_token"));
    }
    // A scope that is not given any more.
    let mut stage = stage(json!({}));
    let refresh = text(&stage.token(&form), "refresh_token");
    stage.rig.patch("plugins", stage.plugin.id, json!({"config": {"scopes": ["phone"]}}));
    let stored = stage.rig.catalog.collection("plugins").unwrap().get(stage.plugin.id).cloned();
    stage.plugin = stage.rig.compile(&stored.unwrap()).unwrap();
    let answer = stage.token(&format!("grant_type=refresh_token&{CLIENT}&refresh_token={refresh}"));
    assert_eq!(answer.body, error("invalid_scope", "Scope mismatch"));
}

#[test]
fn tokens_for_ever() {
    let mut stage = stage(json!({"token_expiration": 0}));
    let form = format!("grant_type=password&{CLIENT}&provision_key=pk&authenticated_userid=u1");
    let answer = stage.token(&form);
    let token = text(&answer, "access_token");
    assert_eq!(answer.body, json!({"access_token": token, "token_type": "bearer"}));
    stage.rig.clock.advance_ms(1_000_000_000_000);
    assert!(stage.bring(&token).is_ok());
}

#[test]
fn who_is_let_in() {
    let mut stage = stage(json!({"hide_credentials": true, "realm": "r"}));
    let answer = stage.token(&format!("grant_type=client_credentials&{CLIENT}"));
    let token = text(&answer, "access_token");
    let form = "application/x-www-form-urlencoded";
    let check = |mut exchange: Exchange, hidden: &str, wanted: Option<&str>| {
        let answer = exchange.access(&stage.plugin);
        let described = answer.as_ref().map(|answer| {
            let challenge = answer.header("www-authenticate").unwrap().to_owned();
            (answer.body["error_description"].as_str().unwrap().to_owned(), challenge)
        });
        assert_eq!(described.as_ref().map(|(text, _)| &**text), wanted);
        if let Some((_, challenge)) = described {
            assert!(challenge.starts_with("Bearer realm=\"r\""), "{challenge}");
            return;
        }
        assert_eq!(exchange.sent("authorization"), [""; 0]);
        assert_eq!(exchange.head.uri, "/a?z=1");
        let body = exchange.facts.body.bytes();
        assert_eq!(body.map_or(&b""[..], |body| body), hidden.as_bytes());
    };
    let missing = Some("The access token is missing");
    let invalid = Some("The access token is invalid or has expired");
    check(stage.request("/a?z=1").bearer(&token), "", None);
    let header = |value: String| stage.request("/a?z=1").header("Authorization", &value);
    check(header(format!("TOKEN  {token}")), "", None);
    check(stage.request(&format!("/a?access_token={token}&z=1")), "", None);
    let post = |body: String| stage.request("/a?z=1").method("POST").body(form, &body);
    check(post(format!("b=1&access_token={token}")), "b=1", None);
    check(stage.request("/a"), "", missing);
    check(stage.request("/a?access_token="), "", missing);
    check(stage.request("/a?access_token=1&access_token=2"), "", missing);
    check(header("Bearer nope".into()), "", invalid);
    check(header(format!("Basic {token}")), "", invalid);
    check(header(format!("Bearer {token} x")), "", invalid);
}

#[test]
fn a_token_is_good_where_it_was_given() {
    let mut stage = stage(json!({}));
    let other = stage.rig.insert("services", json!({"name": "o", "host": "h"})).id();
    let elsewhere =
        stage.rig.insert("routes", json!({"paths": ["/o"], "service": {"id": other}})).id();
    let form = format!("grant_type=client_credentials&{CLIENT}");
    let token = text(&stage.token(&form), "access_token");
    assert!(stage.bring(&token).is_ok());
    let here = std::mem::replace(&mut stage.route, elsewhere);
    assert!(stage.bring(&token).is_err());
    stage.route = here;

    let global = json!({
        "name": "oauth2", "service": {"id": other},
        "config": {"enable_client_credentials": true, "global_credentials": true},
    });
    let global = stage.rig.try_instance(global).unwrap();
    let bound = std::mem::replace(&mut stage.plugin, global);
    let everywhere = text(&stage.token(&form), "access_token");
    stage.route = elsewhere;
    assert!(stage.bring(&everywhere).is_ok());
    assert!(stage.bring(&token).is_err(), "bound to the other service");
    stage.route = here;
    assert!(stage.bring(&everywhere).is_ok() && stage.bring(&token).is_ok());
    stage.plugin = bound;
    let text = "The access token is global, but the current plugin is configured without \
                'global_credentials'";
    assert_eq!(stage.bring(&everywhere), Err(error("invalid_token", text)));

    // Tokens go with what they are for.
    for (kind, id) in [("services", stage.service)] {
        let count = |rig: &Rig| rig.catalog.collection("oauth2_tokens").unwrap().iter().count();
        let before = count(&stage.rig);
        let route = stage.rig.catalog.collection("routes").unwrap().iter().map(|one| one.id());
        for route in route.collect::<Vec<_>>() {
            stage.rig.delete("routes", route);
        }
        stage.rig.delete(kind, id);
        assert_eq!(count(&stage.rig), before - 1);
    }
}

#[test]
fn anonymous_requests_have_no_scope() {
    let stage = stage(json!({"anonymous": "anyone"}));
    let told = stage.bring("nope").unwrap();
    assert_eq!(told, ["anyone", "", "", ""]);
}

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
