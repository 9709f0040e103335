//! Certificates, versions and suites.

use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gateway_model::Secret;
use rustls::CipherSuite as Suite;

use super::reader::Reader;
use super::scalar::{self, choice};

#[derive(Debug)]
pub(crate) struct Tls {
    /// Of the proxy. Empty: the development certificates.
    pub(crate) proxy: Vec<KeyPair>,
    /// Of the Admin API. Empty: as the proxy.
    pub(crate) admin: Vec<KeyPair>,
    /// Of the status API. Empty: as the proxy.
    pub(crate) status: Vec<KeyPair>,
    /// Of the listener for Kong Manager. Empty: as the proxy.
    pub(crate) admin_gui: Vec<KeyPair>,
    pub(crate) versions: Versions,
    /// Suites offered to clients, the preferred first. Empty: the library's own choice for the
    /// versions.
    pub(crate) suites: Vec<Suite>,
    /// Whether that order counts, not the client's.
    pub(crate) prefer_server_order: bool,
    pub(crate) session_tickets: bool,
    pub(crate) session_timeout: Duration,
    /// Sessions kept for clients without tickets.
    pub(crate) sessions: usize,
    /// The same for clients of streams, where it differs.
    streams: Streams,
    /// What clients of the proxy have to show; `None`: nothing.
    pub(crate) clients: Option<ClientCertificates>,
    /// Whether upstreams are verified when their service does not say.
    pub(crate) verify_upstream: bool,
    /// Shown to upstreams that ask.
    pub(crate) client: Option<KeyPair>,
    /// Authorities for upstreams and outgoing calls.
    pub(crate) trusted: Vec<Trust>,
    /// Most intermediate certificates between such a peer and its authority.
    pub(crate) verify_depth: u8,
}

/// A certificate chain and its private key. That they fit is found when they are loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyPair {
    pub(crate) cert: Pem,
    pub(crate) key: Pem,
}

/// Certificates of clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClientCertificates {
    pub(crate) demand: VerifyClient,
    /// Who vouches for them.
    pub(crate) authorities: Vec<Pem>,
    /// Most intermediate certificates between them.
    pub(crate) depth: u8,
    /// The key that names the authorities.
    pub(crate) named_by: &'static str,
}

/// The keys that say what clients of some listeners have to show.
pub(super) struct ClientKeys {
    pub(super) demand: &'static str,
    pub(super) authorities: &'static str,
    pub(super) depth: &'static str,
}

/// Those of the proxy.
const PROXY_CLIENTS: ClientKeys = ClientKeys {
    demand: "nginx_proxy_ssl_verify_client",
    authorities: "nginx_proxy_ssl_client_certificate",
    depth: "nginx_proxy_ssl_verify_depth",
};

/// PEM text, or where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Pem {
    /// It existed when the settings were read.
    File(PathBuf),
    Inline(Secret<String>),
}

/// Whom to believe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Trust {
    /// The system's authorities.
    System,
    These(Pem),
}

/// TLS versions; at least one is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Versions {
    pub(crate) tls12: bool,
    pub(crate) tls13: bool,
}

/// What of the offer is another for streams (`nginx_stream_ssl_…`).
#[derive(Debug, Default)]
struct Streams {
    versions: Option<Versions>,
    prefer_server_order: Option<bool>,
    session_tickets: Option<bool>,
    session_timeout: Option<Duration>,
}

/// What clients of a listener are offered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Offer<'s> {
    pub(crate) versions: Versions,
    pub(crate) suites: &'s [Suite],
    pub(crate) prefer_server_order: bool,
    pub(crate) session_tickets: bool,
    pub(crate) session_timeout: Duration,
    pub(crate) sessions: usize,
}

impl Tls {
    /// What clients of HTTP are offered.
    pub(crate) fn offer(&self) -> Offer<'_> {
        Offer {
            versions: self.versions,
            suites: &self.suites,
            prefer_server_order: self.prefer_server_order,
            session_tickets: self.session_tickets,
            session_timeout: self.session_timeout,
            sessions: self.sessions,
        }
    }

    /// What clients of streams are offered.
    pub(crate) fn stream_offer(&self) -> Offer<'_> {
        let (own, other) = (&self.streams, self.offer());
        Offer {
            versions: own.versions.unwrap_or(other.versions),
            prefer_server_order: own.prefer_server_order.unwrap_or(other.prefer_server_order),
            session_tickets: own.session_tickets.unwrap_or(other.session_tickets),
            session_timeout: own.session_timeout.unwrap_or(other.session_timeout),
            ..other
        }
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let suite = reader.choice("ssl_cipher_suite");
        let versions = versions(reader, suite);
        Self {
            proxy: pairs(reader, "ssl_cert", "ssl_cert_key"),
            admin: pairs(reader, "admin_ssl_cert", "admin_ssl_cert_key"),
            status: pairs(reader, "status_ssl_cert", "status_ssl_cert_key"),
            admin_gui: pairs(reader, "admin_gui_ssl_cert", "admin_gui_ssl_cert_key"),
            versions,
            suites: suites(reader, suite),
            prefer_server_order: reader.boolean("ssl_prefer_server_ciphers")
                || suite != CipherSuite::Custom,
            session_tickets: reader.boolean("ssl_session_tickets"),
            session_timeout: reader.span("ssl_session_timeout"),
            sessions: sessions(reader.size("ssl_session_cache_size")),
            streams: streams(reader),
            clients: ClientCertificates::read(reader, &PROXY_CLIENTS),
            verify_upstream: reader.boolean("nginx_proxy_proxy_ssl_verify"),
            client: client(reader),
            trusted: reader.each("lua_ssl_trusted_certificate", |text| match text {
                "system" => Ok(Trust::System),
                text => Pem::parse(text)
                    .map(Trust::These)
                    .ok_or_else(|| format!("lua_ssl_trusted_certificate: no such file at {text}")),
            }),
            verify_depth: reader.whole("lua_ssl_verify_depth", 0..=u8::MAX),
        }
    }
}

/// nginx keeps about 4,000 sessions in each megabyte.
fn sessions(bytes: u64) -> usize {
    usize::try_from(bytes.saturating_mul(4_000) >> 20).unwrap_or(usize::MAX).min(1_000_000)
}

impl ClientCertificates {
    /// `None` when nothing is asked of clients.
    pub(super) fn read(reader: &mut Reader<'_>, keys: &ClientKeys) -> Option<Self> {
        let ClientKeys { authorities: named_by, .. } = *keys;
        let demand: VerifyClient = reader.choice(keys.demand);
        let depth = reader.whole(keys.depth, 0..=u8::MAX);
        let authorities = reader.each(named_by, |text| {
            Pem::parse(text).ok_or_else(|| format!("{named_by}: no such file at {text}"))
        });
        if demand == VerifyClient::Off {
            return None;
        }
        if authorities.is_empty() && demand != VerifyClient::OptionalNoCa {
            let text = format!("{}: {named_by} must be specified", keys.demand);
            reader.refuse(keys.demand, text);
        }
        Some(Self { demand, authorities, depth, named_by })
    }
}

/// OpenSSL's name of a suite, as nginx tells it.
pub(crate) fn suite_name(suite: Suite) -> String {
    let known = TLS12.iter().chain(&TLS13).find(|(_, known)| *known == suite);
    known.map_or_else(|| format!("{suite:?}"), |(name, _)| (*name).to_owned())
}

impl Pem {
    /// PEM, base64 of PEM, or the path of a file that is there.
    fn parse(text: &str) -> Option<Self> {
        const BEGIN: &str = "-----BEGIN";
        if text.contains(BEGIN) {
            return Some(Self::Inline(Secret::new(text.to_owned())));
        }
        let decoded = STANDARD.decode(text).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        match decoded {
            Some(pem) if pem.contains(BEGIN) => Some(Self::Inline(Secret::new(pem))),
            _ => Some(PathBuf::from(text)).filter(|path| path.is_file()).map(Self::File),
        }
    }
}

/// Certificates and keys in the same order.
fn pairs(reader: &mut Reader<'_>, cert_key: &str, key_key: &str) -> Vec<KeyPair> {
    let (certs, keys) = (reader.list(cert_key).len(), reader.list(key_key).len());
    match (certs, keys) {
        (0, 1..) => reader.refuse(key_key, format!("{cert_key} must be specified")),
        (1.., 0) => reader.refuse(cert_key, format!("{key_key} must be specified")),
        (certs, keys) if certs != keys => reader.refuse(
            key_key,
            format!(
                "{cert_key} was specified {certs} times while {key_key} was specified {keys} times"
            ),
        ),
        _ => {}
    }
    let certs = reader.each(cert_key, |text| {
        Pem::parse(text)
            .ok_or_else(|| format!("{cert_key}: failed loading certificate from {text}"))
    });
    let keys = reader.each(key_key, |text| {
        Pem::parse(text)
            .ok_or_else(|| format!("{key_key}: failed loading key from {}", brief(text)))
    });
    certs.into_iter().zip(keys).map(|(cert, key)| KeyPair { cert, key }).collect()
}

/// What looks like a path. A damaged key pasted in place of one must not reach a log.
fn brief(text: &str) -> &str {
    if text.len() <= 255 && text.contains('/') { text } else { "what is neither a file nor PEM" }
}

fn client(reader: &mut Reader<'_>) -> Option<KeyPair> {
    let pair = pairs(reader, "client_ssl_cert", "client_ssl_cert_key").into_iter().next();
    if !reader.boolean("client_ssl") {
        return None;
    }
    if !reader.is_given("client_ssl_cert") {
        reader.refuse("client_ssl", "client_ssl_cert must be specified");
    }
    pair
}

fn versions(reader: &mut Reader<'_>, suite: CipherSuite) -> Versions {
    // Our own: versions that are asked for count with every suite. Kong drops them unless the
    // suite is `custom`, which would leave an old version on that was meant to be off.
    if !reader.is_given("ssl_protocols") && suite != CipherSuite::Custom {
        return match suite {
            CipherSuite::Modern => Versions { tls12: false, tls13: true },
            CipherSuite::Fips => Versions { tls12: true, tls13: false },
            _ => Versions { tls12: true, tls13: true },
        };
    }
    named_versions(reader, "ssl_protocols")
}

fn named_versions(reader: &mut Reader<'_>, key: &str) -> Versions {
    let text = reader.word(key);
    let mut versions = Versions { tls12: false, tls13: false };
    for word in text.split_whitespace() {
        match word {
            "TLSv1.2" => versions.tls12 = true,
            "TLSv1.3" => versions.tls13 = true,
            "SSLv2" | "SSLv3" | "TLSv1" | "TLSv1.1" => {
                reader.note(key, format!("{key}: {word} is not offered here"));
            }
            _ => reader.refuse(key, format!("{key}: no such version: '{word}'")),
        }
    }
    if versions == (Versions { tls12: false, tls13: false }) {
        reader.refuse(key, format!("{key} must name TLSv1.2, TLSv1.3 or both"));
    }
    versions
}

fn streams(reader: &mut Reader<'_>) -> Streams {
    const PROTOCOLS: &str = "nginx_stream_ssl_protocols";
    let versions = (!reader.word(PROTOCOLS).is_empty()).then(|| named_versions(reader, PROTOCOLS));
    let mut switch = |key: &'static str| {
        reader.read(key, |text| match text {
            "" => Ok(None),
            "on" => Ok(Some(true)),
            "off" => Ok(Some(false)),
            _ => Err(format!("{key} has an invalid value: '{text}' (on, off)")),
        })
    };
    Streams {
        versions,
        prefer_server_order: switch("nginx_stream_ssl_prefer_server_ciphers"),
        session_tickets: switch("nginx_stream_ssl_session_tickets"),
        session_timeout: reader.read("nginx_stream_ssl_session_timeout", |text| match text {
            "" => Ok(None),
            text => scalar::span(text)
                .map(Some)
                .ok_or_else(|| "nginx_stream_ssl_session_timeout is not a time span".to_owned()),
        }),
    }
}

/// OpenSSL's names of what there is.
const TLS12: [(&str, Suite); 6] = [
    ("ECDHE-ECDSA-AES128-GCM-SHA256", Suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
    ("ECDHE-RSA-AES128-GCM-SHA256", Suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256),
    ("ECDHE-ECDSA-AES256-GCM-SHA384", Suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384),
    ("ECDHE-RSA-AES256-GCM-SHA384", Suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384),
    ("ECDHE-ECDSA-CHACHA20-POLY1305", Suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256),
    ("ECDHE-RSA-CHACHA20-POLY1305", Suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256),
];
const TLS13: [(&str, Suite); 3] = [
    ("TLS_AES_256_GCM_SHA384", Suite::TLS13_AES_256_GCM_SHA384),
    ("TLS_AES_128_GCM_SHA256", Suite::TLS13_AES_128_GCM_SHA256),
    ("TLS_CHACHA20_POLY1305_SHA256", Suite::TLS13_CHACHA20_POLY1305_SHA256),
];

fn suites(reader: &mut Reader<'_>, suite: CipherSuite) -> Vec<Suite> {
    let text = match suite {
        CipherSuite::Custom => reader.word("ssl_ciphers"),
        CipherSuite::Fips => return TLS12[..4].iter().map(|(_, suite)| *suite).collect(),
        _ => return Vec::new(),
    };
    let mut chosen = Vec::new();
    let mut unknown = Vec::new();
    for name in text.split(':').flat_map(scalar::list) {
        match TLS12.iter().chain(&TLS13).find(|(known, _)| *known == name) {
            Some((_, suite)) => chosen.push(*suite),
            None => unknown.push(name),
        }
    }
    if !unknown.is_empty() {
        let unknown = unknown.join(":");
        if chosen.is_empty() {
            reader.refuse(
                "ssl_ciphers",
                format!("ssl_ciphers: none of these exists here: {unknown}"),
            );
        } else {
            reader.note("ssl_ciphers", format!("ssl_ciphers: not offered here: {unknown}"));
        }
    }
    // OpenSSL's list is about TLS 1.2; the suites of 1.3 are all on unless some are named.
    let is_tls13 = |suite: &Suite| TLS13.iter().any(|(_, known)| known == suite);
    if !chosen.is_empty() && !chosen.iter().any(is_tls13) {
        chosen.extend(TLS13.iter().map(|(_, suite)| *suite));
    }
    chosen
}

choice! {
    /// What clients have to show.
    VerifyClient {
        Off = "off",
        On = "on",
        Optional = "optional",
        OptionalNoCa = "optional_no_ca",
    }
}

choice! {
    /// Whose recommendation of versions and suites is followed.
    CipherSuite {
        Modern = "modern",
        Intermediate = "intermediate",
        Old = "old",
        Fips = "fips",
        Custom = "custom",
    }
}
