//! An EdgeGallery installation moves in: its AK/SK table, out of a real PostgreSQL.

use std::path::Path;

use mep::auth::key_material;
use serde_json::{Value, json};

use crate::cluster::server::Server;
use crate::harness::{Answered as _, App, Options, plain};

/// The secret key of the contract's known answer, sealed under its work key.
const KNOWN: [&str; 2] = [
    "dca639ba4b058d165b6120b6d9ee16d01e74d89b990f5ad3def68da980918ab5\
     469d256cb3aa4b336cc6792b9dd67599de63e9e6e88042d27cc73108898119db\
     e0ee951aa0eb07a337138e74f8f4a7de",
    "0c0d0e0f1011121314151617",
];

/// The key folders of the contract's known answer, and its properties.
fn installation(folder: &Path) {
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    };
    let ascending: Vec<u8> = (0..=255).collect();
    let descending: Vec<u8> = (0..=255).rev().collect();
    let wrapped = "e357028d7c9fd456472f995de3ff2dd26023222d2ba124f88b6ce31c292ff881\
                   702166001e08f4e81707e1f062d396ef";
    write("cprop/c_properties", &ascending);
    write("sprop/s_properties", &descending);
    write("wprop/w_properties", &hex::decode(wrapped).unwrap());
    write("wnprop/wn_properties", &ascending[..12]);
    let properties = format!(
        "KEY_COMPONENT={}\nJWT_PRIVATE_KEY=te9Fmv%qaq\n\
         APP_INST_ID=5abe4782-2c70-4e47-9a4e-0ee3a1a0fd1f\n\
         ACCESS_KEY={}\nSECRET_KEY={}\n",
        "a".repeat(256),
        "A".repeat(20),
        "S".repeat(64),
    );
    write("mepauth.properties", properties.as_bytes());
}

#[tokio::test]
async fn key_pairs_of_edgegallery() {
    let Some(server) = Server::start().await else { return };
    let folder = tempfile::tempdir().unwrap();
    installation(folder.path());
    let key = key_material::open(folder.path(), Some(&[b'a'; 256])).unwrap();
    let [good, double, lost] = [App::random(), App::random(), App::random()];
    let row = |app: &App, ak: &str, [sk, nonce]: [&str; 2]| {
        format!("('{}', '{ak}', '{sk}', '{nonce}', 'moved', '[\"wanted\"]')", app.id)
    };
    let sealed = key.seal(good.secret_key.expose().as_bytes()).unwrap();
    let sealed = [sealed.ciphertext_hex.as_str(), sealed.nonce_hex.as_str()];
    let published = App { id: "5abe4782-2c70-4e47-9a4e-0ee3a1a0fd1f".to_owned(), ..App::random() };
    // Made as the original makes it.
    server.psql(&format!(
        "CREATE TABLE auth_info_record (app_ins_id text PRIMARY KEY, ak text NOT NULL DEFAULT '', \
             sk text NOT NULL DEFAULT '', nonce text NOT NULL DEFAULT '', \
             app_name text NOT NULL DEFAULT '', required_services text NOT NULL DEFAULT ''); \
         INSERT INTO auth_info_record VALUES {}, {}, {}",
        row(&good, good.access_key.as_str(), sealed),
        row(&published, "QVUJMSUMgS0VZLS0tLS0", KNOWN),
        row(&lost, lost.access_key.as_str(), [KNOWN[0], "000000000000000000000000"]),
    ));
    let url = {
        let given = server.options();
        format!("postgres://{}@{}:{}/{}", given.user, given.host, given.port, given.database)
    };
    let password = server.options().password.unwrap().expose().clone();
    let options = Options::new().variable("PGPASSWORD", &password);
    let words = |more: &[&'static str]| {
        let fixed = ["migrate", "edgegallery", "--from", &url, "--keys"];
        let fixed = fixed.iter().map(|word| (*word).to_owned());
        let mut words: Vec<String> = fixed.collect();
        words.push(folder.path().display().to_string());
        words.push("--properties".to_owned());
        words.push(folder.path().join("mepauth.properties").display().to_string());
        words.extend(more.iter().map(|word| (*word).to_owned()));
        words
    };
    let migrate = async |options: &Options, more: &[&'static str]| {
        let words = words(more);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        options.run(&words).await
    };

    let (code, out, error) = migrate(&options, &["--dry-run"]).await;
    assert_eq!(code, Some(2), "{out}{error}");
    assert!(out.contains(&format!("{}: would be taken over", good.id)), "{out}{error}");
    let (code, out, error) = migrate(&options, &[]).await;
    assert_eq!(code, Some(2), "{out}{error}");
    assert!(out.ends_with("1 taken over, 0 here already, 2 left out\n"), "{out}");
    for (app, why) in [
        (&published, "its key pair was published: everybody knows it"),
        (&lost, "its secret was sealed with other key material"),
    ] {
        assert!(error.contains(&format!("{}: left out: {why}", app.id)), "{error}");
    }
    assert!(!error.contains(&password) && !out.contains(good.secret_key.expose()));

    // Again nothing is left to do; an access key that two apps have is taken once.
    server.psql(&format!(
        "DELETE FROM auth_info_record WHERE app_ins_id <> '{}'; \
         INSERT INTO auth_info_record VALUES {}",
        good.id,
        row(&double, good.access_key.as_str(), sealed),
    ));
    let (code, out, error) = migrate(&options, &[]).await;
    assert_eq!(code, Some(2), "{out}{error}");
    assert!(out.ends_with("0 taken over, 1 here already, 1 left out\n"), "{out}");
    assert!(error.contains("its access key is another app's"), "{error}");

    // The app goes on with the keys it had, and may discover what it might.
    let gateway = options.start().await;
    let token = good.token(&gateway).await;
    assert!(!token.is_empty());
    let confs = format!("/mep/appMng/v1/applications/{}/confs", good.id);
    let shown = plain().get(gateway.url("mep-auth", &confs)).header("X-Real-Ip", "127.0.0.1");
    let shown: Value = shown.answer().await.expect(200).json();
    assert_eq!(
        (&shown["app_name"], &shown["required_services"]),
        (&json!("moved"), &json!("[\"wanted\"]"))
    );
}

/// What keeps all of it from being done is told in a line, without the password.
#[tokio::test]
async fn what_cannot_be_reached() {
    let folder = tempfile::tempdir().unwrap();
    installation(folder.path());
    let keys = folder.path().display().to_string();
    let properties = folder.path().join("mepauth.properties").display().to_string();
    let options = Options::new();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nowhere = format!("postgres://mepauth:hidden@{closed}/mepauth");
    let migrate = ["migrate", "edgegallery", "--from", &nowhere];
    let check = async |more: &[&str], wanted: &str| {
        let (code, _, error) = options.run(&[&migrate, more].concat()).await;
        assert_eq!(code, Some(1), "{error}");
        assert!(error.contains(wanted) && !error.contains("hidden"), "{error}");
    };
    check(&["--keys", &keys], "mepauth.properties is needed").await;
    check(&["--keys", "/nowhere", "--properties", &properties], "/nowhere").await;
    check(&["--keys", &keys, "--properties", "/nowhere"], "/nowhere").await;
    check(&["--keys", &keys, "--properties", &properties], &closed.to_string()).await;
}
