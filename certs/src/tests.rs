#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::{Arc, Barrier};

use rustls::client::WebPkiServerVerifier;
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};
use tempfile::TempDir;
use time::OffsetDateTime;

use super::*;

#[test]
fn a_new_folder_gets_everything_with_tight_modes() {
    let dir = TempDir::new().unwrap();
    let made = ensure(&dir.path().join("deep/certs"), &[]).unwrap();

    assert_eq!(mode(made.files.ca.cert.parent().unwrap()), 0o700);
    for pair in made.files.pairs() {
        assert_eq!(mode(&pair.cert), 0o644, "{}", pair.cert.display());
        assert_eq!(mode(&pair.key), 0o600, "{}", pair.key.display());
    }
    assert_eq!(made.created.len(), 8, "and nothing else: {:?}", made.created);
    assert_eq!(fs::read_dir(made.files.ca.cert.parent().unwrap()).unwrap().count(), 8);

    let days = |path: &Path| {
        let (_, at) = made.expires.iter().find(|(cert, _)| cert == path).unwrap();
        (*at - OffsetDateTime::now_utc()).whole_days()
    };
    assert_eq!(days(&made.files.ca.cert), 3649);
    assert_eq!(days(&made.files.server.cert), 824);
}

#[test]
fn what_is_there_stays_and_what_is_missing_fits_it() {
    let dir = TempDir::new().unwrap();
    let first = ensure(dir.path(), &[]).unwrap().files;
    let before = contents(dir.path());

    let names = ["new.example".to_owned()];
    assert!(ensure(dir.path(), &names).unwrap().created.is_empty());
    assert_eq!(contents(dir.path()), before);

    // A lost certificate is made again, for the key that is there and by the same authority.
    fs::remove_file(&first.server.cert).unwrap();
    let made = ensure(dir.path(), &names).unwrap();
    assert_eq!(made.created, std::slice::from_ref(&first.server.cert));
    assert_eq!(fs::read(&first.server.key).unwrap(), before["server.key"]);
    handshake(&first, &first.server, "new.example", Client::Any).unwrap();
}

#[test]
fn a_certificate_without_its_key_is_named() {
    let dir = TempDir::new().unwrap();
    let files = ensure(dir.path(), &[]).unwrap().files;

    fs::remove_file(&files.server.key).unwrap();
    let error = ensure(dir.path(), &[]).unwrap_err().to_string();
    assert!(error.contains("server.crt") && error.contains("server.key"), "{error}");
    assert!(!files.server.key.exists(), "a key that does not fit would hide the fault");
}

#[test]
fn an_authority_without_its_key_is_enough_until_something_must_be_signed() {
    let dir = TempDir::new().unwrap();
    let files = ensure(dir.path(), &[]).unwrap().files;
    fs::remove_file(&files.ca.key).unwrap();
    assert!(ensure(dir.path(), &[]).unwrap().created.is_empty());

    fs::remove_file(&files.client.cert).unwrap();
    let error = ensure(dir.path(), &[]).unwrap_err().to_string();
    assert!(error.contains("ca.key"), "{error}");
}

#[test]
fn a_name_that_cannot_stand_in_a_certificate_is_refused() {
    let dir = TempDir::new().unwrap();
    let error = ensure(dir.path(), &["käse.example".to_owned()]).unwrap_err();
    assert!(matches!(error, CertsError::Make { .. }), "{error:?}");
}

#[test]
fn rustls_accepts_the_chains() {
    let dir = TempDir::new().unwrap();
    let files =
        ensure(dir.path(), &["10.1.2.3".to_owned(), "edge.example".to_owned()]).unwrap().files;

    for pair in [&files.server, &files.server_ec] {
        for name in SERVER_NAMES.into_iter().chain(["10.1.2.3", "edge.example"]) {
            handshake(&files, pair, name, Client::Any).unwrap();
        }
        handshake(&files, pair, "other.example", Client::Any).unwrap_err();
    }
    // What EdgeGallery's Go clients offer; the elliptic pair cannot serve them.
    handshake(&files, &files.server, "edgegallery", Client::EcdheRsaOnly).unwrap();
    handshake(&files, &files.server_ec, "edgegallery", Client::EcdheRsaOnly).unwrap_err();
}

#[test]
fn two_processes_at_once_agree_on_every_file() {
    let dir = TempDir::new().unwrap();
    let start = Barrier::new(2);
    let run = || {
        start.wait();
        (ensure(dir.path(), &[]).unwrap(), ensure_jwt_keys(dir.path()).unwrap())
    };
    let ((a, a_jwt), (b, b_jwt)) = std::thread::scope(|scope| {
        let other = scope.spawn(run);
        (run(), other.join().unwrap())
    });

    assert_eq!(a.created.len() + b.created.len(), 8, "{a:?} {b:?}");
    assert_eq!(a_jwt.created.len() + b_jwt.created.len(), 2);
    for pair in [&a.files.server, &a.files.server_ec] {
        handshake(&a.files, pair, "localhost", Client::Any).unwrap();
    }
}

#[test]
fn token_keys_are_made_once_and_belong_together() {
    let dir = TempDir::new().unwrap();
    let files = ensure_jwt_keys(dir.path()).unwrap();
    assert_eq!((mode(&files.public), mode(&files.private)), (0o600, 0o600));
    let public = fs::read_to_string(&files.public).unwrap();
    let private = fs::read_to_string(&files.private).unwrap();
    assert!(public.starts_with("-----BEGIN PUBLIC KEY-----\n"), "{public}");
    assert!(private.starts_with("-----BEGIN PRIVATE KEY-----\n"));

    assert!(ensure_jwt_keys(dir.path()).unwrap().created.is_empty());

    fs::remove_file(&files.public).unwrap();
    ensure_jwt_keys(dir.path()).unwrap();
    assert_eq!(fs::read_to_string(&files.public).unwrap(), public, "derived from the private key");

    fs::remove_file(&files.private).unwrap();
    let error = ensure_jwt_keys(dir.path()).unwrap_err().to_string();
    assert!(error.contains("jwt_privatekey"), "{error}");
}

#[test]
fn a_pair_signs_and_verifies_rs512() {
    use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA512, RSA_PKCS1_SHA512, UnparsedPublicKey};

    let pem = generate_rsa_pem(2048).unwrap();
    let private = PrivateKeyDer::from_pem_slice(pem.private.as_bytes()).unwrap();
    let key = aws_lc_rs::rsa::KeyPair::from_pkcs8(private.secret_der()).unwrap();
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(&RSA_PKCS1_SHA512, &aws_lc_rs::rand::SystemRandom::new(), b"claims", &mut signature)
        .unwrap();

    let public =
        rustls::pki_types::SubjectPublicKeyInfoDer::from_pem_slice(pem.public.as_bytes()).unwrap();
    let verify = |message: &[u8]| {
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA512, public.as_ref())
            .verify(message, &signature)
    };
    verify(b"claims").unwrap();
    verify(b"other claims").unwrap_err();
    assert!(generate_rsa_pem(1024).is_err());
}

enum Client {
    /// Whatever the library offers.
    Any,
    /// TLS 1.2 with the two suites EdgeGallery configures everywhere.
    EcdheRsaOnly,
}

/// Both ends in memory, the client's certificate checked as well.
fn handshake(files: &Files, server: &Pair, name: &str, kind: Client) -> Result<(), rustls::Error> {
    let mut provider = default_provider();
    if matches!(kind, Client::EcdheRsaOnly) {
        provider.cipher_suites = vec![
            cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
            cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        ];
    }
    let mut roots = RootCertStore::empty();
    roots.add(certificate(&files.ca.cert)).unwrap();
    let roots = Arc::new(roots);
    let verifier =
        WebPkiServerVerifier::builder_with_provider(roots.clone(), provider.clone().into())
            .build()
            .unwrap();
    let versions = match kind {
        Client::Any => rustls::ALL_VERSIONS,
        Client::EcdheRsaOnly => &[&rustls::version::TLS12],
    };
    let client = ClientConfig::builder_with_provider(provider.into())
        .with_protocol_versions(versions)
        .unwrap()
        .with_webpki_verifier(verifier)
        .with_client_auth_cert(vec![certificate(&files.client.cert)], key(&files.client.key))
        .unwrap();
    let clients = WebPkiClientVerifier::builder_with_provider(roots, default_provider().into())
        .build()
        .unwrap();
    let server = ServerConfig::builder_with_provider(default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(clients)
        .with_single_cert(vec![certificate(&server.cert)], key(&server.key))
        .unwrap();

    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(client.into(), name)?;
    let mut server = ServerConnection::new(server.into())?;
    for _ in 0..10 {
        carry(|out| client.write_tls(out), |mut bytes| server.read_tls(&mut bytes));
        server.process_new_packets()?;
        carry(|out| server.write_tls(out), |mut bytes| client.read_tls(&mut bytes));
        client.process_new_packets()?;
        if !client.is_handshaking() && !server.is_handshaking() {
            break;
        }
    }
    assert!(!client.is_handshaking() && !server.is_handshaking(), "no end in ten rounds");

    client.writer().write_all(b"hello").unwrap();
    carry(|out| client.write_tls(out), |mut bytes| server.read_tls(&mut bytes));
    server.process_new_packets()?;
    let mut heard = [0; 5];
    server.reader().read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"hello");
    Ok(())
}

fn carry(
    mut from: impl FnMut(&mut Vec<u8>) -> std::io::Result<usize>,
    mut to: impl FnMut(&[u8]) -> std::io::Result<usize>,
) {
    let mut bytes = Vec::new();
    while from(&mut bytes).unwrap() > 0 {}
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        let taken = to(rest).unwrap();
        rest = &rest[taken..];
    }
}

fn certificate(path: &Path) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(path).unwrap()
}

fn key(path: &Path) -> PrivateKeyDer<'static> {
    PrivateKeyDer::from_pem_file(path).unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn contents(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    fs::read_dir(dir)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(&path).unwrap())
        })
        .collect()
}
