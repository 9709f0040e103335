//! The development authority and the certificates it signs.

use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, RsaKeySize, SerialNumber,
    SignatureAlgorithm,
};
use time::{Duration, OffsetDateTime};
use x509_parser::pem::parse_x509_pem;

use crate::create::{self, PRIVATE, PUBLIC};
use crate::{CertsError, Files, Pair, SERVER_NAMES};

/// The subject of the server certificates, and the server name EdgeGallery's clients send.
pub(crate) const COMMON_NAME: &str = "edgegallery";
const CA_NAME: &str = "MEP development CA";
const CLIENT_NAME: &str = "mep-client";

const CA_LIFE: Duration = Duration::days(3650);
/// The longest that platforms with rules about it (macOS, iOS) accept.
const LEAF_LIFE: Duration = Duration::days(825);
/// How long before now a certificate starts to be valid: clients' clocks differ.
const CLOCK_TOLERANCE: Duration = Duration::hours(1);

/// Makes what is missing, the authority first.
pub(crate) fn complete(
    files: &Files,
    names: &[String],
    created: &mut Vec<PathBuf>,
) -> Result<(), CertsError> {
    let leaves = [&files.server, &files.server_ec, &files.client];
    let mut missing = Vec::new();
    for leaf in leaves {
        if lacks_certificate(leaf)? {
            missing.push(leaf);
        }
    }
    let authority_missing = create::read(&files.ca.cert)?.is_none();
    if missing.is_empty() && !authority_missing {
        return Ok(());
    }

    let authority = authority(&files.ca, created)?;
    for leaf in missing {
        let algorithm =
            if *leaf == files.server { &PKCS_RSA_SHA256 } else { &PKCS_ECDSA_P256_SHA256 };
        let key = key(&leaf.key, algorithm, created)?;
        let params = if *leaf == files.client { client() } else { server(names) };
        let cert = params
            .and_then(|params| params.signed_by(&key, &authority))
            .map_err(making(&leaf.cert))?;
        create::note(&leaf.cert, &cert.pem(), PUBLIC, created)?;
    }
    Ok(())
}

/// When the certificate of a file ends; nothing when it cannot be told.
pub(crate) fn expiry(cert: &Path) -> Option<OffsetDateTime> {
    let text = std::fs::read(cert).ok()?;
    let (_, pem) = parse_x509_pem(&text).ok()?;
    Some(pem.parse_x509().ok()?.validity().not_after.to_datetime())
}

/// A certificate whose key is gone cannot serve, and a new key would not fit it.
fn lacks_certificate(pair: &Pair) -> Result<bool, CertsError> {
    if create::read(&pair.cert)?.is_none() {
        return Ok(true);
    }
    match create::read(&pair.key)? {
        Some(_) => Ok(false),
        None => Err(key_missing(pair)),
    }
}

/// The authority of the folder, made if it is not there.
fn authority(
    files: &Pair,
    created: &mut Vec<PathBuf>,
) -> Result<Issuer<'static, KeyPair>, CertsError> {
    let found = create::read(&files.cert)?;
    if found.is_some() && create::read(&files.key)?.is_none() {
        return Err(key_missing(files));
    }
    let key = key(&files.key, &PKCS_ECDSA_P256_SHA256, created)?;
    let cert = match found {
        Some(cert) => cert,
        None => {
            let cert =
                ca().and_then(|params| params.self_signed(&key)).map_err(making(&files.cert))?;
            create::note(&files.cert, &cert.pem(), PUBLIC, created)?;
            // Another process may have been first: its certificate then counts.
            create::read(&files.cert)?.unwrap_or_else(|| cert.pem())
        }
    };
    Issuer::from_ca_cert_pem(&cert, key).map_err(making(&files.cert))
}

/// The key of a file, made if it is not there.
fn key(
    path: &Path,
    algorithm: &'static SignatureAlgorithm,
    created: &mut Vec<PathBuf>,
) -> Result<KeyPair, CertsError> {
    if create::read(path)?.is_none() {
        let key = if *algorithm == PKCS_RSA_SHA256 {
            KeyPair::generate_rsa_for(algorithm, RsaKeySize::_2048)
        } else {
            KeyPair::generate_for(algorithm)
        };
        let key = key.map_err(making(path))?;
        if create::file(path, &key.serialize_pem(), PRIVATE)? {
            created.push(path.to_owned());
            return Ok(key);
        }
    }
    let text = create::read(path)?.unwrap_or_default();
    KeyPair::from_pem(&text).map_err(making(path))
}

fn ca() -> Result<CertificateParams, rcgen::Error> {
    let mut params = certificate(CA_NAME, Vec::new(), CA_LIFE)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn server(names: &[String]) -> Result<CertificateParams, rcgen::Error> {
    let mut all: Vec<String> = SERVER_NAMES.map(str::to_owned).to_vec();
    for name in names {
        if !all.contains(name) {
            all.push(name.clone());
        }
    }
    let mut params = certificate(COMMON_NAME, all, LEAF_LIFE)?;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    leaf(params)
}

fn client() -> Result<CertificateParams, rcgen::Error> {
    let mut params = certificate(CLIENT_NAME, vec![CLIENT_NAME.to_owned()], LEAF_LIFE)?;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    leaf(params)
}

fn leaf(mut params: CertificateParams) -> Result<CertificateParams, rcgen::Error> {
    params.is_ca = IsCa::ExplicitNoCa;
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    Ok(params)
}

fn certificate(
    subject: &str,
    names: Vec<String>,
    life: Duration,
) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.remove(DnType::CommonName);
    params.distinguished_name.push(DnType::CommonName, subject);
    params.not_before = OffsetDateTime::now_utc() - CLOCK_TOLERANCE;
    params.not_after = params.not_before + life;
    params.serial_number = Some(serial()?);
    Ok(params)
}

/// Random, so that a certificate made again for the same key is another certificate.
fn serial() -> Result<SerialNumber, rcgen::Error> {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| rcgen::Error::RingUnspecified)?;
    bytes[0] &= 0x7f; // a positive number, RFC 5280, 4.1.2.2
    Ok(SerialNumber::from_slice(&bytes))
}

fn key_missing(pair: &Pair) -> CertsError {
    CertsError::KeyMissing { public: pair.cert.clone(), key: pair.key.clone() }
}

/// See [`crate::throwaway_authority`].
pub(crate) fn throwaway_authority() -> Result<Vec<u8>, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "nobody");
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    Ok(params.self_signed(&key)?.der().to_vec())
}

fn making(path: &Path) -> impl FnOnce(rcgen::Error) -> CertsError {
    let path = path.to_owned();
    move |cause| CertsError::Make { path, cause }
}
