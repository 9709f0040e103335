//! What EdgeGallery's installer made is used as it is: token keys in every encrypted form, and
//! `mepauth.properties`.

use serde_json::json;

use crate::harness::{Answered as _, App, Gateway, Options, golden, openssl, plain};

const PASSWORD: &str = "te9Fmv%qaq";

/// A token key in each form, its password told in two ways.
#[tokio::test]
async fn token_keys_of_every_form() {
    let legacy = format!("genrsa -aes256 -traditional -passout pass:{PASSWORD} -out");
    let forms = [
        ("legacy AES-256", format!("{legacy} private 2048")),
        (
            "legacy 3DES",
            format!("genrsa -des3 -traditional -passout pass:{PASSWORD} -out private 2048"),
        ),
        ("PKCS#8 encrypted", format!("genrsa -aes256 -passout pass:{PASSWORD} -out private 2048")),
        ("PKCS#1", "genrsa -traditional -out private 2048".to_owned()),
        ("PKCS#8", "genrsa -out private 2048".to_owned()),
    ];
    for (form, words) in forms {
        let options = Options::new();
        let folder = options.prefix().to_owned();
        openssl(&folder, &words).await;
        openssl(&folder, &format!("rsa -in private -passin pass:{PASSWORD} -pubout -out public"))
            .await;
        let file = |name: &str| folder.join(name).to_str().unwrap().to_owned();
        let gateway = options
            .set("mep_jwt_private_key", file("private"))
            .set("mep_jwt_public_key", file("public"))
            .set("mep_jwt_private_key_password", PASSWORD)
            .start()
            .await;
        let app = App::bootstrap(&gateway);
        let token = app.token(&gateway).await;
        let url = gateway.url("proxy", &app.path("/services"));
        let answer = plain().get(url).bearer_auth(token).answer().await;
        assert_eq!((answer.status, answer.json()), (200, json!([])), "{form}");
        let keys = gateway.url("admin", "/consumers/mepauth.jwt/jwt");
        let keys = plain().get(keys).answer().await.json();
        let public = std::fs::read_to_string(folder.join("public")).unwrap();
        assert_eq!(keys["data"][0]["rsa_public_key"].as_str(), Some(public.as_str()), "{form}");
    }
}

/// The same with a wrong password, a pair that does not match, no password: refused by name.
#[tokio::test]
async fn unusable_token_keys_are_refused() {
    let options = Options::new();
    let folder = options.prefix().to_owned();
    for words in [
        format!("genrsa -aes256 -traditional -passout pass:{PASSWORD} -out private 2048"),
        format!("rsa -in private -passin pass:{PASSWORD} -pubout -out public"),
        "genrsa -out other 2048".to_owned(),
        "rsa -in other -pubout -out other_public".to_owned(),
    ] {
        openssl(&folder, &words).await;
    }
    let file = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let mut options = options;
    for (public, password) in [("public", "not this 1"), ("other_public", PASSWORD)] {
        options = options
            .set("mep_jwt_private_key", file("private"))
            .set("mep_jwt_public_key", file(public))
            .set("mep_jwt_private_key_password", password);
        let (code, _, error) = options.run(&["run"]).await;
        assert_eq!(code, Some(1), "{public} {password}: {error}");
        assert!(error.contains(&file("private")), "{error}");
        assert!(!error.contains(PASSWORD) && !error.contains("not this 1"), "{error}");
    }
}

/// `mepauth.properties` brings the bootstrap app, the key's password, and who may use the AK/SK API.
#[tokio::test]
async fn the_properties_of_the_original() {
    let app = App::random();
    let provider = App::random();
    let component = "k".repeat(256);
    let properties = |extra: &str| {
        format!(
            "KEY_COMPONENT={component}\nJWT_PRIVATE_KEY={PASSWORD}\nAPP_INST_ID={}\n\
             ACCESS_KEY={}\nSECRET_KEY={}\n{extra}",
            app.id,
            app.access_key.as_str(),
            app.secret_key.expose()
        )
    };
    let options = Options::new();
    let folder = options.prefix().to_owned();
    let words = format!("genrsa -aes256 -traditional -passout pass:{PASSWORD} -out private 2048");
    openssl(&folder, &words).await;
    openssl(&folder, &format!("rsa -in private -passin pass:{PASSWORD} -pubout -out public")).await;
    let extra = "TRUSTED_LIST=10.0.0.0/8;127.0.0.9\nREQUIRED_SERVICES=*\n";
    let file = options.file("mepauth.properties", &properties(extra));
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let mut gateway = options
        .set("mep_properties", file.to_str().unwrap())
        .set("mep_jwt_private_key", path("private"))
        .set("mep_jwt_public_key", path("public"))
        .set("mep_ssrf_allow", "127.0.0.1")
        .start()
        .await;
    assert!(gateway.printed("SECRET_KEY").is_none(), "{}", gateway.summary());
    assert!(!gateway.summary().contains(app.secret_key.expose()));
    let token = app.token(&gateway).await;

    let confs = |id: &str| format!("/mep/appMng/v1/applications/{id}/confs");
    let refused = plain().get(gateway.url("proxy", &confs(&app.id))).answer().await;
    assert_eq!(refused.status, 403, "TRUSTED_LIST does not name loopback");
    let trusted = crate::harness::plain_from([127, 0, 0, 9]);
    let request = trusted.put(gateway.url("proxy", &confs(&provider.id)));
    request.json(&provider.confs(&[])).answer().await.expect(200);

    // the bootstrap app sees every service.
    let theirs = provider.token(&gateway).await;
    for name in ["x", "y"] {
        let body = App::service(name, "http://127.0.0.1:9/");
        provider.register(&gateway, &theirs, &body).await.expect(201);
    }
    let all = gateway.url("proxy", "/mep/mec_service_mgmt/v1/services");
    let seen = plain().get(&all).bearer_auth(&token).answer().await.expect(200).json();
    assert_eq!(seen.as_array().unwrap().len(), 2, "{seen}");

    gateway.kill().await;
    gateway.start_again().await;
    app.token(&gateway).await;
}

/// and every rule of the file: a bad one keeps the gateway from starting, and says where.
#[tokio::test]
async fn bad_properties_are_refused_with_their_place() {
    let good = |key: &str| match key {
        "KEY_COMPONENT" => "k".repeat(256),
        "JWT_PRIVATE_KEY" => PASSWORD.to_owned(),
        "APP_INST_ID" => "0a6b1c6c-5a0c-4c4f-8d8b-6f0d2a3b4c5d".to_owned(),
        "ACCESS_KEY" => "AbCdEfGhIjKlMnOpQr+=".to_owned(),
        _ => "S".repeat(64),
    };
    let keys = ["KEY_COMPONENT", "JWT_PRIVATE_KEY", "APP_INST_ID", "ACCESS_KEY", "SECRET_KEY"];
    let rows = [
        ("KEY_COMPONENT", "short"),
        ("JWT_PRIVATE_KEY", "aaaaaaaaaa"),
        ("APP_INST_ID", "0A6B1C6C-5A0C-4C4F-8D8B-6F0D2A3B4C5D"),
        ("ACCESS_KEY", "short"),
        ("SECRET_KEY", "short"),
        ("ACCESS_KEY", "QVUJMSUMgS0VZLS0tLS0"),
        ("TRUSTED_LIST", "10.0.0.0/8;nonsense"),
    ];
    for (bad, value) in rows {
        let mut lines: Vec<String> = keys
            .iter()
            .map(|key| format!("{key}={}", if *key == bad { value.to_owned() } else { good(key) }))
            .collect();
        if !keys.contains(&bad) {
            lines.push(format!("{bad}={value}"));
        }
        let line = lines.iter().position(|line| line.starts_with(bad)).unwrap() + 1;
        let options = Options::new();
        let file = options.file("mepauth.properties", &lines.join("\n"));
        let options = options.set("mep_properties", file.to_str().unwrap());
        let (code, _, error) = options.run(&["check"]).await;
        assert_eq!(code, Some(1), "{bad}={value} was accepted");
        assert!(error.contains(&format!("{}:{line}: {bad}", file.display())), "{bad}: {error}");
        assert!(!error.contains(&"S".repeat(64)), "a secret is in the message: {error}");
    }
}

/// A rotated token key is believed from the next start on; the original never noticed.
#[tokio::test]
async fn a_rotated_token_key_is_used() {
    let mut gateway = Gateway::start().await;
    let app = App::bootstrap(&gateway);
    let old = app.token(&gateway).await;
    gateway.kill().await;
    for name in ["jwt_privatekey", "jwt_publickey"] {
        std::fs::remove_file(gateway.prefix().join("keys").join(name)).unwrap();
    }
    gateway.start_again().await;
    let url = gateway.url("proxy", &app.path("/services"));
    let new = app.token(&gateway).await;
    plain().get(&url).bearer_auth(new).answer().await.expect(200);
    golden("old_key", &plain().get(&url).bearer_auth(old).answer().await);
}
