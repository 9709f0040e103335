//! [`PlatformSettings`]: what an operator decides about the platform.
//!
//! A plain record: the binary reads files and variables and fills it in.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::time::Duration;

use gateway_model::{Id, Secret};
use ipnet::IpNet;

use crate::auth::sdk_date::Freshness;

/// What an operator decides about the platform. The defaults are those of a fresh start.
#[derive(Clone, Debug)]
pub struct PlatformSettings {
    /// The start of the URIs under which services are published.
    pub published: Published,
    /// Who may name the client in `X-Real-Ip` on the direct listeners.
    pub trusted_peers: Vec<IpNet>,
    /// Who may use the AK/SK API, by the gateway and directly.
    pub confs_trusted: Vec<IpNet>,
    /// Who may ask for tokens; `None` for everybody.
    pub token_trusted: Option<Vec<IpNet>>,
    /// How far the date of a signed request may be from now.
    pub freshness: Freshness,
    /// Whether a token may be used only from the address it was issued to; what the seeded
    /// `appid-header` is configured with.
    pub clientip_check: bool,
    /// Whether the key pair the original published may be used.
    pub allow_default_credentials: bool,
    /// Requests a minute.
    pub rate_limits: RateLimits,
    /// Destinations clients may name although a rule forbids them.
    pub destinations: Destinations,
    /// Addresses this process listens on.
    pub own_listeners: Vec<SocketAddr>,
    /// The address told to notified apps in `X-Real-Ip`; `None` for the one that is sent from.
    pub own_address: Option<IpAddr>,
    /// How notifications are delivered.
    pub delivery: Delivery,
    /// Seconds between heartbeats of services that want to send some.
    pub liveness_interval: NonZeroU32,
    /// Seconds between heartbeats a client of the standard may propose.
    pub liveness_range: RangeInclusive<u32>,
    /// How long an application may take to end.
    pub graceful_timeout: Duration,
    /// Who is told of DNS rules.
    pub dns_agent: DnsAgent,
    /// Who may use mepserver's direct listeners.
    pub direct_trusted: Vec<IpNet>,
    /// Whether Mm5 is there by the gateway as well.
    pub management_by_gateway: bool,
    /// Whether applications may register themselves.
    pub registrations: bool,
    /// The bootstrap app, written on every start.
    pub bootstrap: Option<Bootstrap>,
    /// Reproduce oddities of the original that clients might rely on.
    pub strict_original: bool,
    /// This node among those that share the store.
    pub node: Id,
    /// Whether the process this one replaces may still be at work under the same node id.
    pub takes_over: bool,
}

impl Default for PlatformSettings {
    fn default() -> Self {
        Self {
            published: Published::default(),
            trusted_peers: loopback(),
            confs_trusted: loopback(),
            token_trusted: None,
            freshness: Freshness::default(),
            clientip_check: true,
            allow_default_credentials: false,
            rate_limits: RateLimits::default(),
            destinations: Destinations::default(),
            own_listeners: Vec::new(),
            own_address: None,
            delivery: Delivery::default(),
            liveness_interval: NonZeroU32::new(60).unwrap_or(NonZeroU32::MIN),
            liveness_range: 5..=3600,
            graceful_timeout: Duration::from_secs(5),
            dns_agent: DnsAgent::All,
            direct_trusted: loopback(),
            management_by_gateway: false,
            registrations: true,
            bootstrap: None,
            strict_original: false,
            node: Id::from_bytes([0; 16]),
            takes_over: false,
        }
    }
}

/// This machine alone.
pub fn loopback() -> Vec<IpNet> {
    let v4 = ipnet::Ipv4Net::new_assert([127, 0, 0, 0].into(), 8);
    let v6 = ipnet::Ipv6Net::new_assert(std::net::Ipv6Addr::LOCALHOST, 128);
    vec![v4.into(), v6.into()]
}

/// The start of the URIs under which services are published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// `https` or `http`.
    pub scheme: &'static str,
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// What stands before the paths of links of the standard's face: scheme, host and what else is
    /// in front of them outside. Empty: links are paths.
    pub links: String,
}

impl Default for Published {
    fn default() -> Self {
        Self {
            scheme: "https",
            host: "mep-api-gw.mep".to_owned(),
            port: 8443,
            links: String::new(),
        }
    }
}

impl Published {
    /// The URI of a name the gateway offers something under.
    pub fn uri(&self, name: &str) -> String {
        let Self { scheme, host, port, .. } = self;
        format!("{scheme}://{host}:{port}/{name}")
    }

    /// A link of the standard's face to a path of ours (ETSI GS MEC 009, clause 6.10).
    pub(crate) fn link(&self, path: &str) -> String {
        format!("{}{path}", self.links)
    }
}

/// Who is told of DNS rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DnsAgent {
    /// Our name server, which follows the catalog.
    Local,
    /// The data plane; our name server answers none of them.
    DataPlane,
    /// Both.
    All,
}

impl DnsAgent {
    /// Whether the data plane is told.
    pub const fn asks_data_plane(self) -> bool {
        matches!(self, Self::DataPlane | Self::All)
    }

    /// Whether our name server answers.
    pub const fn answers_itself(self) -> bool {
        matches!(self, Self::Local | Self::All)
    }
}

/// Requests a minute; `None` for no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimits {
    /// Of one app on Mp1.
    pub mp1: Option<NonZeroU32>,
    /// Of one client address on the token and AK/SK APIs.
    pub auth: Option<NonZeroU32>,
}

impl Default for RateLimits {
    fn default() -> Self {
        Self { mp1: NonZeroU32::new(1000), auth: NonZeroU32::new(100) }
    }
}

/// Hosts and networks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Destinations {
    /// Addresses.
    pub networks: Vec<IpNet>,
    /// Host names, lower case.
    pub hosts: Vec<String>,
}

/// How notifications are delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Whether the certificate of a notified app is verified.
    pub verify_certificates: bool,
    /// How long one attempt may take.
    pub timeout: Duration,
    /// Attempts after the first.
    pub retries: usize,
    /// PEM text of the only authorities the certificates of notified apps are verified against;
    /// `None` for those of this machine.
    pub roots: Option<Vec<u8>>,
    /// The pause before the first retry; each later one is four times as long.
    pub pause: Duration,
    /// The longest pause.
    pub longest_pause: Duration,
    /// Notifications kept for one subscriber; beyond that the oldest is lost and counted.
    pub queue: usize,
    /// Attempts under way at the same time, to all subscribers together; a quarter of them is for
    /// those that keep us waiting.
    pub concurrency: usize,
    /// Call a change of state `STATE_CHANGED`, as ETSI has it, instead of the original's
    /// `ATTRIBUTES_CHANGED`.
    pub state_changed: bool,
}

impl Default for Delivery {
    fn default() -> Self {
        Self {
            verify_certificates: true,
            timeout: Duration::from_secs(5),
            roots: None,
            retries: 3,
            pause: Duration::from_secs(1),
            longest_pause: Duration::from_secs(16),
            queue: 1000,
            concurrency: 64,
            state_changed: false,
        }
    }
}

/// The bootstrap app: an app whose key pair is there from the start.
#[derive(Clone, Debug)]
pub struct Bootstrap {
    /// Its app instance id, a lower-case UUID.
    pub app_instance_id: String,
    /// Its access key, 20 characters.
    pub access_key: String,
    /// Its secret key, 64 characters.
    pub secret_key: Secret<String>,
    /// What it may discover: `*`, or JSON text.
    pub required_services: String,
}
