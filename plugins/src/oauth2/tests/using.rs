//! Who is let in by a token.

use super::*;

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
fn applications_ask_what_a_token_is_good_for() {
    let mut stage = stage(json!({"token_expiration": 100}));
    let agreed = stage.code("client_id=cid&scope=email");
    let given = stage.token(&format!("grant_type=authorization_code&{CLIENT}&code={agreed}"));
    let (access, refresh) = (text(&given, "access_token"), text(&given, "refresh_token"));
    let ask = |stage: &Stage, form: &str| {
        let answer = stage.post("/x/oauth2/introspect", form).access(&stage.plugin).unwrap();
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        (answer.status, answer.body)
    };
    let (status, told) = ask(&stage, &format!("{CLIENT}&token={access}"));
    let born = told["iat"].as_u64().unwrap();
    let wanted = json!({
        "active": true, "client_id": "cid", "token_type": "bearer", "scope": "email", "sub": "u1",
        "iat": born, "exp": born + 100,
    });
    assert_eq!((status, told), (200, wanted));
    let (status, told) = ask(&stage, &format!("{CLIENT}&token={refresh}"));
    assert_eq!((status, &told["active"]), (200, &json!(true)));
    assert!(told["exp"].as_u64().unwrap() > born + 100, "{told}");
    let none = (200, json!({"active": false}));
    assert_eq!(ask(&stage, &format!("{CLIENT}&token=nope")), none);

    // Nobody without a secret is told, and nobody who does not say of what.
    for form in ["client_id=pub", "client_id=cid&client_secret=no", "client_id=who", ""] {
        let refused = error("invalid_client", "Invalid client authentication");
        assert_eq!(ask(&stage, &format!("{form}&token={access}")), (400, refused), "{form}");
    }
    let missing = error("invalid_request", "Missing token parameter");
    assert_eq!(ask(&stage, CLIENT), (400, missing));
    let plain = stage.request("/oauth2/introspect").access(&stage.plugin).unwrap();
    assert_eq!(plain.status, 405);

    // A token of another service is nothing here.
    let other = stage.rig.insert("services", json!({"name": "o2", "host": "h"})).id();
    let elsewhere =
        stage.rig.insert("routes", json!({"paths": ["/o2"], "service": {"id": other}})).id();
    stage.route = elsewhere;
    assert_eq!(ask(&stage, &format!("{CLIENT}&token={access}")), none);
}

/// What is let in is told to be good, whatever it is bound to.
#[test]
fn what_is_let_in_is_active() {
    let ask = |stage: &Stage, token: &str| {
        let form = format!("{CLIENT}&token={token}");
        let answer = stage.post("/oauth2/introspect", &form).access(&stage.plugin).unwrap();
        (answer.status, answer.body["active"].as_bool())
    };
    for global in [false, true] {
        let mut stage = stage(json!({"global_credentials": global}));
        let credential = stage
            .rig
            .catalog
            .by::<super::super::credential::OAuth2Credential>("client_id", "cid")
            .unwrap()
            .id();
        let bound = json!({"id": stage.service});
        for (token, service) in [("bound", bound), ("free", Value::Null)] {
            let credential = json!({"id": credential});
            let stored = json!({"credential": credential, "access_token": token,
                                "expires_in": 100, "service": service});
            stage.rig.insert("oauth2_tokens", stored);
        }
        for token in ["bound", "free"] {
            let is_let_in = stage.bring(token).is_ok();
            assert_eq!(is_let_in, global || token == "bound");
            assert_eq!(ask(&stage, token), (200, Some(is_let_in)), "{token}, global: {global}");
        }
        // A route without a service: nothing is bound to it, and asking is no failure.
        stage.route = stage.rig.insert("routes", json!({"paths": ["/none"]})).id();
        assert_eq!(ask(&stage, "bound"), (200, Some(false)), "global: {global}");
        assert_eq!(ask(&stage, "free"), (200, Some(global)), "global: {global}");
    }
}
