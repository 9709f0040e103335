//! The MEC platform.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use gateway_model::Secret;

use super::Listeners;
use super::edge_dns::EdgeDns;
use super::listen::Listen;
use super::network::{self, Destinations, Networks, PortMap};
use super::original::{OriginalConfig, Properties, Refusal};
use super::place::{Origin, Violation};
use super::reader::Reader;
use super::scalar::choice;
use super::tls::{ClientCertificates, ClientKeys};
use super::traffic::Traffic;

#[derive(Debug)]
pub(crate) struct Mep {
    /// Folder of the development certificates.
    pub(crate) certs: PathBuf,
    /// Folder of the token keys and the key material.
    pub(crate) key_dir: PathBuf,
    pub(crate) tokens: Tokens,
    /// The bootstrap application of `mep_properties`. Absent: one is made up on first start.
    pub(crate) bootstrap: Option<Properties>,
    /// `mep_config`, or its defaults.
    pub(crate) original: OriginalConfig,
    /// Who may name the client on the direct listeners.
    pub(crate) trusted_peers: Networks,
    /// Who may use the AK/SK API.
    pub(crate) confs_trusted: Networks,
    /// Who may ask for tokens; absent: everybody.
    pub(crate) token_trusted: Option<Networks>,
    pub(crate) rate_limits: RateLimits,
    pub(crate) published: Published,
    /// What stands before the paths of links; empty for nothing.
    pub(crate) links: String,
    /// What clients of the direct listeners have to show where these have TLS; `None`: nothing.
    pub(crate) clients: Option<ClientCertificates>,
    /// Destinations that outgoing calls may reach although a rule forbids it.
    pub(crate) ssrf_allow: Destinations,
    /// Verify the certificate of a notified application.
    pub(crate) notify_verify: bool,
    /// The only authorities notified applications are verified against, PEM; it could be read.
    pub(crate) notify_ca: Option<Vec<u8>>,
    /// Who may use the direct listener.
    pub(crate) direct_trusted: Networks,
    /// Whether Mm5 is there by the proxy as well.
    pub(crate) management_by_gateway: bool,
    /// How long an application may take to end.
    pub(crate) graceful_timeout: Duration,
    /// Whether applications may register themselves.
    pub(crate) registrations: bool,
    pub(crate) dns: EdgeDns,
    pub(crate) traffic: Traffic,
    pub(crate) ntp: TimeServer,
    /// Whole seconds between heartbeats.
    pub(crate) liveness_interval: NonZeroU32,
    /// Reproduce the oddities of the original.
    pub(crate) strict_original: bool,
}

/// Access keys in, tokens out.
#[derive(Debug)]
pub(crate) struct Tokens {
    /// Absent: a pair made in the key folder.
    pub(crate) keys: Option<TokenKeys>,
    pub(crate) ttl: Duration,
    /// How far `x-sdk-date` may be from now; absent: not checked.
    pub(crate) clock_skew: Option<Duration>,
    /// Refuse a signature from another address than its first.
    pub(crate) client_address_check: bool,
    pub(crate) allow_default_credentials: bool,
}

/// The operator's own pair; both files existed when the settings were read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TokenKeys {
    pub(crate) public: PathBuf,
    pub(crate) private: PathBuf,
    pub(crate) password: Option<Secret<String>>,
}

/// Requests a minute; absent for no limit.
#[derive(Debug)]
pub(crate) struct RateLimits {
    /// Of one application on Mp1.
    pub(crate) mp1: Option<NonZeroU32>,
    /// Of one client address on the token and AK/SK APIs.
    pub(crate) auth: Option<NonZeroU32>,
}

/// Who is asked for the time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TimeServer {
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// The start of the URIs under which registered services are published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Published {
    pub(crate) host: String,
    pub(crate) https: bool,
    /// Absent: the system chooses the port of the proxy's listener, so it is known after binding.
    pub(crate) port: Option<u16>,
}

impl Mep {
    pub(super) fn read(
        reader: &mut Reader<'_>,
        prefix: &Path,
        listeners: &Listeners,
        port_maps: &[PortMap],
    ) -> Self {
        let allow_defaults = reader.boolean("mep_allow_default_credentials");
        let bootstrap =
            original(reader, "mep_properties", |text| Properties::parse(text, allow_defaults));
        let config = original(reader, "mep_config", OriginalConfig::parse);
        Self {
            certs: prefix.join(reader.word("mep_certs")),
            key_dir: prefix.join(reader.word("mep_key_dir")),
            tokens: Tokens::read(reader, bootstrap.as_ref(), allow_defaults),
            original: config.unwrap_or_default(),
            trusted_peers: networks(reader, "mep_trusted_peers"),
            confs_trusted: confs_trusted(reader, bootstrap.as_ref()),
            token_trusted: Some(networks(reader, "mep_token_trusted"))
                .filter(|_| reader.is_given("mep_token_trusted")),
            rate_limits: RateLimits {
                mp1: NonZeroU32::new(reader.whole("mep_rate_limit_mp1", 0..=u32::MAX)),
                auth: NonZeroU32::new(reader.whole("mep_rate_limit_auth", 0..=u32::MAX)),
            },
            published: Published::read(reader, &listeners.proxy, port_maps),
            links: base(reader, "mep_external_url"),
            clients: ClientCertificates::read(reader, &DIRECT_CLIENTS),
            ssrf_allow: destinations(reader, "mep_ssrf_allow"),
            notify_verify: reader.boolean("mep_notify_verify"),
            notify_ca: pem(reader, "mep_notify_ca"),
            direct_trusted: networks(reader, "mep_direct_trusted"),
            management_by_gateway: reader.boolean("mep_management_by_gateway"),
            graceful_timeout: reader.span("mep_graceful_timeout"),
            registrations: reader.boolean("mep_registrations"),
            dns: EdgeDns::read(reader, &listeners.mep_dns),
            traffic: Traffic::read(reader),
            ntp: TimeServer {
                host: host(reader, "mep_ntp_host"),
                port: reader.whole("mep_ntp_port", 1..=u16::MAX),
            },
            liveness_interval: NonZeroU32::new(whole_seconds(reader, "mep_liveness_interval"))
                .unwrap_or(NonZeroU32::MIN),
            strict_original: reader.boolean("mep_strict_original"),
            bootstrap,
        }
    }
}

impl Tokens {
    fn read(reader: &mut Reader<'_>, bootstrap: Option<&Properties>, allow_defaults: bool) -> Self {
        Self {
            keys: token_keys(reader, bootstrap),
            ttl: Duration::from_secs(whole_seconds(reader, "mep_token_ttl").into()),
            clock_skew: Some(reader.span("mep_clock_skew")).filter(|skew| !skew.is_zero()),
            client_address_check: reader.boolean("mep_clientip_check"),
            allow_default_credentials: allow_defaults,
        }
    }
}

fn token_keys(reader: &mut Reader<'_>, bootstrap: Option<&Properties>) -> Option<TokenKeys> {
    let (public_key, private_key) = ("mep_jwt_public_key", "mep_jwt_private_key");
    let (public, private) = (reader.path(public_key), reader.path(private_key));
    for (key, path) in [(public_key, &public), (private_key, &private)] {
        if let Some(path) = path.as_ref().filter(|path| !path.is_file()) {
            reader.refuse(key, format!("{key}: no file at {}", path.display()));
        }
    }
    let password = reader
        .secret("mep_jwt_private_key_password")
        .or_else(|| bootstrap.map(|properties| properties.jwt_key_password.clone()));
    match (public, private) {
        (Some(public), Some(private)) => Some(TokenKeys { public, private, password }),
        (Some(_), None) => {
            reader.refuse(public_key, format!("{private_key} must be specified"));
            None
        }
        (None, Some(_)) => {
            reader.refuse(private_key, format!("{public_key} must be specified"));
            None
        }
        (None, None) => None,
    }
}

impl Published {
    /// Scheme and port follow the proxy's own listeners unless they are set.
    fn read(reader: &mut Reader<'_>, proxy: &[Listen], port_maps: &[PortMap]) -> Self {
        let https = match reader.choice("mep_published_scheme") {
            Scheme::Http => false,
            Scheme::Https => true,
            Scheme::Auto => proxy.iter().any(|listen| listen.ssl),
        };
        let derived = || match proxy.iter().find(|listen| listen.ssl == https) {
            Some(listen) => Some(listen.addr.port()).filter(|&port| port > 0),
            None => Some(if https { 8443 } else { 8000 }),
        };
        let outside = |port| {
            let map = port_maps.iter().find(|map| map.listener == port);
            map.map_or(port, |map| map.outside)
        };
        Self {
            host: host(reader, "mep_published_host"),
            https,
            port: reader
                .optional("mep_published_port", 1..=u16::MAX)
                .or_else(|| derived().map(outside)),
        }
    }
}

/// Reads one of the original's files, its faults at their own lines.
fn original<T>(
    reader: &mut Reader<'_>,
    key: &str,
    parse: impl Fn(&str) -> Result<T, Vec<Refusal>>,
) -> Option<T> {
    let path = reader.path(key)?;
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(cause) => {
            reader.refuse(key, format!("{key}: {} cannot be read: {cause}", path.display()));
            return None;
        }
    };
    match parse(&text) {
        Ok(parsed) => Some(parsed),
        Err(refusals) => {
            for Refusal { line, text } in refusals {
                let violation = match line {
                    Some(line) => Violation {
                        place: Some(Origin::File { path: path.as_path().into(), line }),
                        text,
                    },
                    None => Violation { place: None, text: format!("{}: {text}", path.display()) },
                };
                reader.violations.push(violation);
            }
            None
        }
    }
}

/// The keys about certificates of clients of the direct listeners.
const DIRECT_CLIENTS: ClientKeys = ClientKeys {
    demand: "mep_ssl_verify_client",
    authorities: "mep_ssl_client_certificate",
    depth: "mep_ssl_verify_depth",
};

/// The start of URIs, without a slash at the end.
fn base(reader: &mut Reader<'_>, key: &str) -> String {
    reader.read(key, |text| {
        let usable = |url: url::Url| {
            matches!(url.scheme(), "http" | "https")
                && url.has_host()
                && url.query().is_none()
                && url.fragment().is_none()
                && url.username().is_empty()
                && url.password().is_none()
        };
        if text.is_empty() || url::Url::parse(text).is_ok_and(usable) {
            return Ok(text.trim_end_matches('/').to_owned());
        }
        Err(format!("{key} is no absolute URI of http or https: '{text}'"))
    })
}

/// A file of certificates.
fn pem(reader: &mut Reader<'_>, key: &str) -> Option<Vec<u8>> {
    let path = reader.path(key)?;
    match std::fs::read(&path) {
        Ok(pem) => Some(pem),
        Err(cause) => {
            reader.refuse(key, format!("{key}: {} cannot be read: {cause}", path.display()));
            None
        }
    }
}

fn confs_trusted(reader: &mut Reader<'_>, bootstrap: Option<&Properties>) -> Networks {
    let own = networks(reader, "mep_confs_trusted");
    if reader.is_given("mep_confs_trusted") {
        return own;
    }
    bootstrap
        .map(|properties| properties.trusted.clone())
        .filter(|trusted| !trusted.is_empty())
        .unwrap_or_else(Networks::loopback)
}

fn networks(reader: &mut Reader<'_>, key: &str) -> Networks {
    reader
        .each(key, |text| {
            network::network(text)
                .ok_or_else(|| format!("{key}: no address or CIDR block: '{text}'"))
        })
        .into_iter()
        .collect()
}

fn destinations(reader: &mut Reader<'_>, key: &str) -> Destinations {
    let mut destinations = Destinations::default();
    for text in reader.list(key) {
        match network::network(&text) {
            Some(network) => destinations.networks.0.push(network),
            None if network::is_host(&text) => destinations.hosts.push(text.to_ascii_lowercase()),
            None => reader.refuse(key, format!("{key}: no host, address or CIDR block: '{text}'")),
        }
    }
    destinations
}

fn host(reader: &mut Reader<'_>, key: &str) -> String {
    reader.read(key, |text| {
        let valid = network::is_host(text) || text.parse::<IpAddr>().is_ok();
        valid.then(|| text.to_owned()).ok_or_else(|| format!("{key} is not a host name: '{text}'"))
    })
}

/// A span that is counted in whole seconds and cannot be zero.
fn whole_seconds(reader: &mut Reader<'_>, key: &str) -> u32 {
    match u32::try_from(reader.span(key).as_secs()) {
        Ok(seconds) if seconds > 0 => seconds,
        _ => {
            reader.refuse(key, format!("{key} must be greater than 0"));
            1
        }
    }
}

choice! {
    /// How clients reach published services.
    Scheme {
        /// As the proxy listens.
        Auto = "auto",
        Http = "http",
        Https = "https",
    }
}
