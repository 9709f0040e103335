//! How tokens are given: the four grants and what they refuse.

use super::*;

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
