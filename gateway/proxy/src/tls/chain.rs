//! Whether a chain of certificates leads to an authority, over no more steps than allowed.

use rustls::RootCertStore;
use rustls::crypto::{WebPkiSupportedAlgorithms, aws_lc_rs};
use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, Error, KeyUsage};

/// The signatures that are understood.
pub(super) fn algorithms() -> WebPkiSupportedAlgorithms {
    aws_lc_rs::default_provider().signature_verification_algorithms
}

/// Who showed the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shower {
    Client,
    Server,
}

/// Follows a chain, leaf first, to one of `roots` over at most `depth` intermediate certificates,
/// as OpenSSL counts them. rustls' own verifiers know no such limit.
pub(super) fn follow(
    leaf: &EndEntityCert<'_>,
    intermediates: &[CertificateDer<'_>],
    roots: &RootCertStore,
    depth: u8,
    shower: Shower,
    now: UnixTime,
) -> Result<(), Error> {
    let usage = match shower {
        Shower::Client => KeyUsage::client_auth(),
        Shower::Server => KeyUsage::server_auth(),
    };
    let short_enough = |path: &webpki::VerifiedPath<'_>| {
        let steps = path.intermediate_certificates().count();
        if steps <= usize::from(depth) { Ok(()) } else { Err(Error::MaximumPathDepthExceeded) }
    };
    let all = algorithms().all;
    leaf.verify_for_usage(all, &roots.roots, intermediates, now, usage, None, Some(&short_enough))
        .map(drop)
}

/// OpenSSL's words for what is wrong with a chain, where it has some.
pub(super) fn reason(error: &Error) -> String {
    match error {
        Error::UnknownIssuer => "unable to get local issuer certificate".into(),
        Error::CertExpired { .. } => "certificate has expired".into(),
        Error::CertNotValidYet { .. } => "certificate is not yet valid".into(),
        Error::MaximumPathDepthExceeded => "certificate chain too long".into(),
        Error::RequiredEkuNotFoundContext(_) => "unsuitable certificate purpose".into(),
        other => other.to_string(),
    }
}
