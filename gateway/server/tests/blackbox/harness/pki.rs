//! Authorities and certificates for tests, and a TLS client that tells what it is shown.

use std::net::SocketAddr;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, SignatureAlgorithm,
};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _};
use rustls::{ClientConfig, DigitallySignedStruct, ServerConfig, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::DEADLINE;

/// A certificate and its key, PEM.
#[derive(Clone)]
pub(crate) struct Issued {
    pub(crate) cert: String,
    pub(crate) key: String,
}

/// Somebody who issues certificates.
pub(crate) struct Authority {
    pub(crate) cert: String,
    issuer: Issuer<'static, KeyPair>,
    /// Certificates between it and the root, its own first.
    chain: String,
}

fn params(name: &str, names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("names");
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn authority(name: &str) -> CertificateParams {
    let mut params = params(name, &[]);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

impl Authority {
    /// One that vouches for itself.
    pub(crate) fn root(name: &str) -> Self {
        let key = KeyPair::generate().expect("a key");
        let params = authority(name);
        let cert = params.self_signed(&key).expect("a certificate").pem();
        Self { cert, issuer: Issuer::new(params, key), chain: String::new() }
    }

    /// One that this one vouches for.
    pub(crate) fn below(&self, name: &str) -> Self {
        let key = KeyPair::generate().expect("a key");
        let params = authority(name);
        let cert = params.signed_by(&key, &self.issuer).expect("a certificate").pem();
        let chain = format!("{cert}{}", self.chain);
        Self { cert, issuer: Issuer::new(params, key), chain }
    }

    /// A certificate with an elliptic key for `names`, with all that leads to the root.
    pub(crate) fn issue(&self, name: &str, names: &[&str]) -> Issued {
        self.issue_with(&PKCS_ECDSA_P256_SHA256, name, names)
    }

    /// The same with an RSA key.
    pub(crate) fn issue_rsa(&self, name: &str, names: &[&str]) -> Issued {
        self.issue_with(&PKCS_RSA_SHA256, name, names)
    }

    fn issue_with(
        &self,
        algorithm: &'static SignatureAlgorithm,
        name: &str,
        names: &[&str],
    ) -> Issued {
        let key = KeyPair::generate_for(algorithm).expect("a key");
        let mut params = params(name, names);
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let cert = params.signed_by(&key, &self.issuer).expect("a certificate").pem();
        Issued { cert: format!("{cert}{}", self.chain), key: key.serialize_pem() }
    }
}

impl Issued {
    fn parts(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let chain = CertificateDer::pem_slice_iter(self.cert.as_bytes());
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).expect("a key");
        (chain.collect::<Result<_, _>>().expect("certificates"), key)
    }

    /// Serves TLS with it.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        self.acceptor_of(&[])
    }

    /// The same for protocols that clients may choose from.
    pub(crate) fn acceptor_of(&self, protocols: &[&[u8]]) -> TlsAcceptor {
        let (chain, key) = self.parts();
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("a pair");
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        TlsAcceptor::from(Arc::new(config))
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// A client that takes any certificate, and shows its own when it has one.
pub(crate) fn any_certificate(own: Option<&Issued>) -> ClientConfig {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone));
    match own.map(Issued::parts) {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => builder.with_client_auth_cert(chain, key).expect("a pair"),
    }
}

/// As the original's clients in Go are set up: TLS 1.2, two suites, any certificate.
pub(crate) fn go_client() -> ClientConfig {
    use rustls::crypto::aws_lc_rs::cipher_suite::{
        TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    };
    let suites = vec![TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384];
    let provider =
        rustls::crypto::CryptoProvider { cipher_suites: suites, ..(*provider()).clone() };
    ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS12])
        .expect("a version")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone))
        .with_no_client_auth()
}

/// Shakes hands over a connection, asking for `name`; an address asks for nothing.
pub(crate) async fn handshake(
    stream: TcpStream,
    name: &str,
    config: ClientConfig,
) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let connect = TlsConnector::from(Arc::new(config)).connect(name, stream);
    tokio::time::timeout(DEADLINE, connect).await.expect("a handshake in time")
}

/// The common name of the certificate shown for `name`.
pub(crate) async fn shown(to: SocketAddr, name: &str) -> String {
    let stream = TcpStream::connect(to).await.expect("a connection");
    let stream = handshake(stream, name, any_certificate(None)).await.expect("a handshake");
    let chain = stream.get_ref().1.peer_certificates().expect("a certificate");
    let (_, parsed) = x509_parser::parse_x509_certificate(&chain[0]).expect("X.509");
    let mut names = parsed.subject().iter_common_name();
    names.next().and_then(|name| name.as_str().ok()).unwrap_or_default().to_owned()
}

#[derive(Debug)]
struct Anyone;

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
