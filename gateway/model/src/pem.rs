//! Certificates and keys in PEM, as the rules of entities ask about them.
//!
//! Everything here is a pure function of the text: parsing, public parts, digests. Signing,
//! verifying and choosing a certificate for a connection are the data plane's.

use std::fmt;

use aws_lc_rs::digest;
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, ECDSA_P521_SHA512_ASN1_SIGNING,
    EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
};
use x509_parser::pem::Pem;
use x509_parser::prelude::{FromDer as _, X509Certificate};
use x509_parser::x509::SubjectPublicKeyInfo;

/// What a key can be used with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyType {
    /// RSA.
    Rsa,
    /// A curve of NIST.
    Ecdsa,
    /// Curve 25519.
    Ed25519,
    /// Something this gateway has no name for.
    Other,
}

/// The public part of a key or certificate. Equal parts belong together.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    /// What it can be used with.
    pub kind: KeyType,
    /// The bits a certificate holds.
    bits: Vec<u8>,
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({:?})", self.kind)
    }
}

/// What the rules ask of a certificate.
#[derive(Clone, Debug)]
pub struct CertificateFacts {
    /// The key it certifies.
    pub public_key: PublicKey,
    /// SHA-256 of its DER form, lower-case hexadecimal.
    pub digest: String,
    /// Whether the basic constraints say CA.
    pub is_ca: bool,
    /// Unix seconds it ends at.
    pub not_after: i64,
}

/// The certificates of a PEM text, in order.
///
/// # Errors
///
/// When one cannot be read, or there is none; the text says why.
pub fn certificates(text: &str) -> Result<Vec<CertificateFacts>, String> {
    let blocks = blocks(text)?;
    let found: Vec<CertificateFacts> = blocks
        .iter()
        .filter(|block| block.label.ends_with("CERTIFICATE"))
        .map(|block| facts(&block.contents))
        .collect::<Result<_, _>>()?;
    if found.is_empty() { Err("no PEM certificate found".to_owned()) } else { Ok(found) }
}

fn facts(der: &[u8]) -> Result<CertificateFacts, String> {
    let (_, parsed) = X509Certificate::from_der(der).map_err(|why| why.to_string())?;
    let hash = digest::digest(&digest::SHA256, der);
    Ok(CertificateFacts {
        public_key: public(parsed.public_key()),
        digest: hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect(),
        is_ca: parsed.is_ca(),
        not_after: parsed.validity().not_after.timestamp(),
    })
}

/// The public part of the first private key in a PEM text: PKCS #8, PKCS #1 or SEC 1, not
/// encrypted.
///
/// # Errors
///
/// When there is none, or it cannot be read.
pub fn private_key(text: &str) -> Result<PublicKey, String> {
    let blocks = blocks(text)?;
    let block = blocks
        .iter()
        .find(|block| block.label.ends_with("PRIVATE KEY"))
        .ok_or_else(|| "no PEM private key found".to_owned())?;
    if block.label.starts_with("ENCRYPTED") {
        return Err("the private key is encrypted".to_owned());
    }
    public_part(&block.contents).ok_or_else(|| "unsupported private key".to_owned())
}

/// The key of a PEM text that holds a public one.
///
/// # Errors
///
/// When there is none, or it cannot be read.
pub fn public_key(text: &str) -> Result<PublicKey, String> {
    let blocks = blocks(text)?;
    let block = blocks
        .iter()
        .find(|block| block.label == "PUBLIC KEY")
        .ok_or_else(|| "no PEM public key found".to_owned())?;
    let (_, parsed) =
        SubjectPublicKeyInfo::from_der(&block.contents).map_err(|why| why.to_string())?;
    Ok(public(&parsed))
}

fn public_part(der: &[u8]) -> Option<PublicKey> {
    if let Ok(pair) = rsa::KeyPair::from_pkcs8(der).or_else(|_| rsa::KeyPair::from_der(der)) {
        return Some(PublicKey { kind: KeyType::Rsa, bits: pair.public_key().as_ref().to_vec() });
    }
    let curves = [
        &ECDSA_P256_SHA256_ASN1_SIGNING,
        &ECDSA_P384_SHA384_ASN1_SIGNING,
        &ECDSA_P521_SHA512_ASN1_SIGNING,
    ];
    let mut pairs =
        curves.iter().filter_map(|curve| EcdsaKeyPair::from_private_key_der(curve, der).ok());
    if let Some(pair) = pairs.next() {
        return Some(PublicKey { kind: KeyType::Ecdsa, bits: pair.public_key().as_ref().to_vec() });
    }
    let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).ok()?;
    Some(PublicKey { kind: KeyType::Ed25519, bits: pair.public_key().as_ref().to_vec() })
}

fn public(info: &SubjectPublicKeyInfo<'_>) -> PublicKey {
    let kind = match info.algorithm.algorithm.to_id_string().as_str() {
        "1.2.840.113549.1.1.1" => KeyType::Rsa,
        "1.2.840.10045.2.1" => KeyType::Ecdsa,
        "1.3.101.112" => KeyType::Ed25519,
        _ => KeyType::Other,
    };
    PublicKey { kind, bits: info.subject_public_key.data.to_vec() }
}

fn blocks(text: &str) -> Result<Vec<Pem>, String> {
    Pem::iter_from_buffer(text.as_bytes()).collect::<Result<_, _>>().map_err(|why| why.to_string())
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519};

    use super::{KeyType, certificates, private_key, public_key};

    #[test]
    fn a_certificate_and_its_key_have_the_same_public_part() {
        for (algorithm, kind) in
            [(&PKCS_ECDSA_P256_SHA256, KeyType::Ecdsa), (&PKCS_ED25519, KeyType::Ed25519)]
        {
            let pair = KeyPair::generate_for(algorithm).expect("a key");
            let other = KeyPair::generate_for(algorithm).expect("a key");
            let certificate = CertificateParams::new(["a.test".to_owned()])
                .and_then(|params| params.self_signed(&pair))
                .expect("a certificate");
            let facts = &certificates(&certificate.pem()).expect("is read")[0];
            assert_eq!(facts.public_key.kind, kind);
            assert_eq!(facts.digest.len(), 64);
            assert!(!facts.is_ca);
            let key = |pair: &KeyPair| private_key(&pair.serialize_pem()).expect("is read");
            assert_eq!(facts.public_key, key(&pair));
            assert_ne!(facts.public_key, key(&other));
            assert_eq!(public_key(&pair.public_key_pem()).expect("is read"), key(&pair));
        }
    }

    #[test]
    fn what_is_no_certificate_or_key_is_refused() {
        let torn = "-----BEGIN CERTIFICATE-----\nMIIB\n";
        let wrong = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let locked =
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
        for text in ["", "junk", torn, wrong, locked, "-----BEGIN \0"] {
            assert!(certificates(text).is_err(), "for {text}");
            assert!(private_key(text).is_err(), "for {text}");
            assert!(public_key(text).is_err(), "for {text}");
        }
    }
}
