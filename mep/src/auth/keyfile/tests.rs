#![allow(clippy::unwrap_used, reason = "tests")]

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use pkcs8::PrivateKeyInfoRef;
use pkcs8::pkcs5::pbes2;

use super::*;

const PASSWORD: &[u8] = b"te9Fmv%qaq";

static KEY: LazyLock<RsaPrivateKey> = LazyLock::new(|| RsaPrivateKey::generate().unwrap());

fn pkcs8_der() -> Vec<u8> {
    let der: Pkcs8V1Der<'_> = KEY.0.as_der().unwrap();
    der.as_ref().to_vec()
}

/// Reads `text` and expects the key it was made of.
fn same_key(text: &str, password: Option<&[u8]>) {
    let key = RsaPrivateKey::from_pem(text.as_bytes(), password).unwrap();
    assert_eq!(key.public_key_pem().unwrap(), KEY.public_key_pem().unwrap());
}

fn error(text: &str, password: Option<&[u8]>) -> String {
    RsaPrivateKey::from_pem(text.as_bytes(), password).unwrap_err().to_string()
}

fn pkcs8_encrypted(parameters: pbes2::Parameters) -> String {
    let info = pkcs8::EncryptedPrivateKeyInfoOwned {
        encrypted_data: pkcs8::der::asn1::OctetString::new(
            parameters.encrypt(PASSWORD, &pkcs8_der()).unwrap(),
        )
        .unwrap(),
        encryption_algorithm: parameters.into(),
    };
    let der = pkcs8::der::Encode::to_der(&info).unwrap();
    encode(&Pem::new("ENCRYPTED PRIVATE KEY", der))
}

#[test]
fn unencrypted_forms() {
    let pkcs8 = KEY.to_pem().unwrap();
    assert!(pkcs8.starts_with("-----BEGIN PRIVATE KEY-----\n"));
    same_key(&pkcs8, None);
    same_key(&pkcs8, Some(b"not looked at"));

    let der = pkcs8_der();
    let pkcs1 = PrivateKeyInfoRef::try_from(der.as_slice()).unwrap().private_key.as_bytes();
    let pkcs1 = encode(&Pem::new("RSA PRIVATE KEY", pkcs1));
    same_key(&pkcs1, None);

    // Other blocks, comments and Windows line ends around it.
    let public = KEY.public_key_pem().unwrap();
    let mixed = format!("Bag Attributes: <none>\n{public}\n{pkcs1}").replace('\n', "\r\n");
    same_key(&mixed, None);
}

#[test]
fn encrypted_pkcs8() {
    let (salt, iv) = (b"saltsalt", [7; 16]);
    for parameters in [
        pbes2::Parameters::generate_pbkdf2_sha256_aes128cbc(2048, salt, iv).unwrap(),
        pbes2::Parameters::generate_pbkdf2_sha256_aes256cbc(2048, salt, iv).unwrap(),
    ] {
        let text = pkcs8_encrypted(parameters);
        same_key(&text, Some(PASSWORD));
        assert_eq!(error(&text, None), "the key is encrypted and no password was given");
        assert!(RsaPrivateKey::from_pem(text.as_bytes(), Some(b"wrong")).is_err());
    }
}

#[test]
fn what_is_not_an_rsa_key_is_named() {
    let public = KEY.public_key_pem().unwrap();
    assert_eq!(error("", None), "there is no private key block in it");
    assert_eq!(error("nonsense", None), "there is no private key block in it");
    assert_eq!(error(&public, None), "there is no private key block in it");
    assert_eq!(
        error("-----BEGIN PRIVATE KEY-----\n?\n-----END PRIVATE KEY-----\n", None),
        "the text is not PEM, or a block of it is damaged"
    );
    assert_eq!(
        error(&encode(&Pem::new("EC PRIVATE KEY", *b"x")), None),
        "a block of the type `EC PRIVATE KEY` is not an RSA key"
    );
    for tag in ["PRIVATE KEY", "RSA PRIVATE KEY"] {
        let text = error(&encode(&Pem::new(tag, *b"x")), None);
        assert!(text.starts_with("the key was refused"), "{text}");
    }
    let text = error(&encode(&Pem::new("ENCRYPTED PRIVATE KEY", *b"x")), Some(PASSWORD));
    assert!(text.starts_with("the key's encryption is not supported"), "{text}");

    let mut half = pkcs8_der();
    half.truncate(half.len() / 2);
    let text = error(&encode(&Pem::new("PRIVATE KEY", half)), None);
    assert!(text.starts_with("the key was refused"), "{text}");
}

#[test]
fn public_keys_have_exactly_one_block_type() {
    let text = KEY.public_key_pem().unwrap();
    let public = RsaPublicKey::from_pem(text.as_bytes()).unwrap();
    assert_eq!(public.to_pem(), text);
    assert!(KEY.matches(&public));
    assert!(!RsaPrivateKey::generate().unwrap().matches(&public));

    let check = |text: &str, message: &str| {
        let error = RsaPublicKey::from_pem(text.as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), message);
    };
    let wrong_type = "the first block must be of the type `PUBLIC KEY`";
    check("", wrong_type);
    check(&text.replace("PUBLIC KEY", "RSA PUBLIC KEY"), wrong_type);
    check(&text.replace("PUBLIC KEY", "CERTIFICATE"), wrong_type);
    check(&KEY.to_pem().unwrap(), wrong_type);
    let other = encode(&Pem::new("PUBLIC KEY", *b"x"));
    check(&other, "the public key is not an RSA key");
}

#[test]
fn nothing_secret_is_printed() {
    assert_eq!(format!("{:?}", *KEY), "RsaPrivateKey(..)");
}

/// The forms that OpenSSL itself writes, the original's installer among them.
#[test]
fn files_written_by_openssl() {
    if Command::new("openssl").arg("version").output().is_err() {
        let ci = std::env::var_os("CI").is_some_and(|value| value == "true");
        assert!(!ci, "openssl must be installed where CI=true");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let plain = folder.path().join("plain.pem");
    std::fs::write(&plain, KEY.to_pem().unwrap().as_bytes()).unwrap();
    let password = std::str::from_utf8(PASSWORD).unwrap();
    let check = |arguments: &str, encrypted: bool, begins: &str| {
        let mut command = Command::new("openssl");
        command.args(arguments.split(' ')).arg("-in").arg(&plain);
        if encrypted {
            command.args(["-passout", "stdin"]);
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A run that needs no password may have ended before it is written.
        let _ = writeln!(child.stdin.take().unwrap(), "{password}");
        let output = child.wait_with_output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments}: {errors}");
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.starts_with(begins), "{arguments}: {text}");
        same_key(&text, encrypted.then_some(PASSWORD));
        if encrypted {
            assert!(
                RsaPrivateKey::from_pem(text.as_bytes(), Some(b"wrong")).is_err(),
                "{arguments}"
            );
        }
    };

    let legacy = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n";
    for cipher in ["-aes256", "-aes192", "-aes128", "-des3"] {
        check(&format!("rsa -traditional {cipher}"), true, legacy);
    }
    let pkcs8 = "-----BEGIN ENCRYPTED PRIVATE KEY-----\n";
    check("rsa -aes256", true, pkcs8);
    check("pkcs8 -topk8", true, pkcs8);
    check("pkcs8 -topk8 -v2 aes128", true, pkcs8);
    check("pkcs8 -topk8 -v2 des3 -v2prf hmacWithSHA1", true, pkcs8);
    check("pkcs8 -topk8 -v2 aes256 -v2prf hmacWithSHA512", true, pkcs8);
    check("pkcs8 -topk8 -scrypt", true, pkcs8);
    check("rsa -traditional", false, "-----BEGIN RSA PRIVATE KEY-----\n");
    check("rsa", false, "-----BEGIN PRIVATE KEY-----\n");

    // The documented way to the public key.
    let public =
        Command::new("openssl").args(["rsa", "-pubout", "-in"]).arg(&plain).output().unwrap();
    let public = RsaPublicKey::from_pem(&public.stdout).unwrap();
    assert!(KEY.matches(&public));
}
