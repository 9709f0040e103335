//! Certificates and keys as the recordings name them, made anew for each run.

use std::sync::LazyLock;

use rcgen::{
    BasicConstraints, CertificateParams, IsCa, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256,
    SignatureAlgorithm,
};

use crate::replay::Names;

static NAMES: LazyLock<Names> = LazyLock::new(|| {
    let authority = IsCa::Ca(BasicConstraints::Unconstrained);
    [
        ("a", &PKCS_RSA_SHA256, IsCa::NoCa),
        ("b", &PKCS_RSA_SHA256, IsCa::NoCa),
        ("ec", &PKCS_ECDSA_P256_SHA256, IsCa::NoCa),
        ("ca", &PKCS_ECDSA_P256_SHA256, authority),
        ("nca", &PKCS_ECDSA_P256_SHA256, IsCa::ExplicitNoCa),
    ]
    .into_iter()
    .fold(Names::default(), |names, (name, algorithm, is_ca)| {
        let (certificate, key) = self_signed(algorithm, is_ca);
        names.with(&format!("pem:{name}.crt"), certificate).with(&format!("pem:{name}.key"), key)
    })
});

/// `{{pem:a.crt}}` and its like: a and b are RSA pairs, ec is ECDSA, ca is an authority, nca says
/// that it is none.
pub(crate) fn names() -> Names {
    NAMES.clone()
}

fn self_signed(algorithm: &'static SignatureAlgorithm, is_ca: IsCa) -> (String, String) {
    let key = KeyPair::generate_for(algorithm).unwrap();
    let mut params = CertificateParams::new(["a.example.test".to_owned()]).unwrap();
    params.is_ca = is_ca;
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}
