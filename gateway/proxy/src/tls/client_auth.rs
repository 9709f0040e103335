//! [`ClientAuth`]: certificates clients show, judged as nginx's `ssl_verify_client` does.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, Error};

use super::chain::{Shower, algorithms, follow, reason};

/// What a client has to show (`ssl_verify_client`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demand {
    /// A certificate one of the authorities vouches for.
    On,
    /// One of those, or none.
    Optional,
    /// Any at all, or none: somebody else judges it.
    OptionalNoCa,
}

/// What became of a client's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// `NONE`, `SUCCESS` or `FAILED:` and why: nginx's `$ssl_client_verify`.
    pub verify: String,
    /// What every request of the connection is told, with status 400.
    pub refusal: Option<&'static str>,
}

impl Default for Judged {
    fn default() -> Self {
        Self { verify: "NONE".into(), refusal: None }
    }
}

/// Asks clients for a certificate in the handshake and judges it afterwards.
///
/// The handshake itself succeeds whatever the chain is, so that the client is told over HTTP what
/// is wrong, as nginx does; only a client that cannot prove to hold its key fails there.
#[derive(Debug)]
pub struct ClientAuth {
    demand: Demand,
    roots: Arc<RootCertStore>,
    hints: Vec<DistinguishedName>,
    depth: u8,
}

impl ClientAuth {
    /// Believes `roots`, over at most `depth` intermediate certificates.
    pub fn new(demand: Demand, roots: RootCertStore, depth: u8) -> Arc<Self> {
        Arc::new(Self { demand, hints: roots.subjects(), roots: Arc::new(roots), depth })
    }

    /// The same, but clients are told that these names are believed.
    #[must_use]
    pub fn naming(&self, hints: Vec<DistinguishedName>) -> Arc<Self> {
        Arc::new(Self {
            demand: self.demand,
            roots: Arc::clone(&self.roots),
            hints,
            depth: self.depth,
        })
    }

    /// Judges what a client showed, leaf first.
    pub fn judge(&self, chain: Option<&[CertificateDer<'_>]>, now: UnixTime) -> Judged {
        let Some((leaf, intermediates)) = chain.and_then(<[_]>::split_first) else {
            let missing = (self.demand == Demand::On).then_some(NO_CERTIFICATE);
            return Judged { refusal: missing, ..Judged::default() };
        };
        let followed = EndEntityCert::try_from(leaf).and_then(|leaf| {
            follow(&leaf, intermediates, &self.roots, self.depth, Shower::Client, now)
        });
        match followed {
            Ok(()) => Judged { verify: "SUCCESS".into(), refusal: None },
            Err(why) => {
                let tolerated = self.demand == Demand::OptionalNoCa && why == Error::UnknownIssuer;
                Judged {
                    verify: format!("FAILED:{}", reason(&why)),
                    refusal: (!tolerated).then_some(BAD_CERTIFICATE),
                }
            }
        }
    }
}

const NO_CERTIFICATE: &str = "No required SSL certificate was sent";
const BAD_CERTIFICATE: &str = "The SSL certificate error";

impl ClientCertVerifier for ClientAuth {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signed, &algorithms())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signed, &algorithms())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        algorithms().supported_schemes()
    }
}
