//! The keys of the MEC platform; none of them exists in Kong.

use super::{Group, boolean, choice, list, listen, number, span, stream, text};
use crate::settings::edge_dns::Unknown;
use crate::settings::mep::Scheme;
use crate::settings::tls::VerifyClient;
use crate::settings::traffic::Driver;

pub(super) const LISTENERS: Group = Group {
    title: "MEP: direct listeners, written as Kong's are",
    keys: &[
        listen(
            "mep_listen",
            "127.0.0.1:8088",
            "Mp1, Mm5 and service governance, without the gateway in front: whoever reaches it is trusted.",
        ),
        listen(
            "mep_auth_listen",
            "127.0.0.1:8090",
            "The token API and the AK/SK API, without the gateway in front.",
        ),
        stream(
            "mep_dns_listen",
            "off",
            "The name server for edge applications, for instance `0.0.0.0:8053`: UDP and TCP, or with `udp` only that.",
        ),
        listen(
            "mep_dns_admin_listen",
            "off",
            "Management of the name server's records over HTTP, for instance `127.0.0.1:8080`. Whoever is let in by mep_direct_trusted may change every record.",
        ),
        list(
            "mep_trusted_peers",
            "127.0.0.0/8, ::1",
            "Who may name the client in X-Real-Ip on these listeners. Everybody else is the client.",
        ),
        list(
            "mep_direct_trusted",
            "127.0.0.0/8, ::1",
            "Who may use mep_listen and mep_dns_admin_listen, where nobody proves who they are. `0.0.0.0/0, ::/0` is the original's openness.",
        ),
        choice(
            "mep_ssl_verify_client",
            "off",
            VerifyClient::WORDS,
            "Whether clients of those of these listeners that have `ssl` show a certificate. With `on` nobody gets in without; with `optional` a certificate stands for a place on mep_direct_trusted and mep_confs_trusted.",
        ),
        list(
            "mep_ssl_client_certificate",
            "",
            "Authorities that vouch for such certificates: paths or PEM.",
        ),
        number(
            "mep_ssl_verify_depth",
            "1",
            "Longest chain of intermediate certificates accepted of them.",
        ),
        boolean(
            "mep_management_by_gateway",
            "off",
            "Whether Mm5 requests that come in by the proxy are answered, as the original did with AppInstanceTermination.",
        ),
        text(
            "mep_access_log",
            "logs/mep_access.log",
            "Where requests on these listeners are noted.",
        ),
    ],
};

pub(super) const FILES: Group = Group {
    title: "MEP: files",
    keys: &[
        text(
            "mep_certs",
            "certs",
            "Folder of the development certificates, relative to the prefix. What is missing is made at start.",
        ),
        text(
            "mep_key_dir",
            "keys",
            "Folder of the token keys and the key material secrets are encrypted with, relative to the prefix. Keep it with the data.",
        ),
        text(
            "mep_properties",
            "",
            "EdgeGallery's mepauth.properties: bootstrap application, key component, password of the token key.",
        ),
        text("mep_config", "", "EdgeGallery's config.yaml: who is told about DNS rules."),
    ],
};

pub(super) const TOKENS: Group = Group {
    title: "MEP: access keys and tokens",
    keys: &[
        text(
            "mep_jwt_public_key",
            "",
            "PEM file of the key that verifies tokens. Unset: a pair made in `mep_key_dir`.",
        ),
        text(
            "mep_jwt_private_key",
            "",
            "PEM file of the RSA key that signs tokens, encrypted or not.",
        ),
        text(
            "mep_jwt_private_key_password",
            "",
            "Its password. Unset: the one in `mep_properties`.",
        )
        .secret(),
        span("mep_token_ttl", "3600", "How long a token is valid."),
        span(
            "mep_clock_skew",
            "15h",
            "How far x-sdk-date of a signed request may be from now; 0 switches the check off. Agents send local time and call it UTC, hence the hours.",
        ),
        boolean(
            "mep_clientip_check",
            "on",
            "Whether a signature is refused from another client address than the one it was first used from.",
        ),
        boolean(
            "mep_allow_default_credentials",
            "off",
            "Whether the access key, secret key and key component that EdgeGallery published may be used.",
        ),
        list(
            "mep_confs_trusted",
            "",
            "Addresses and CIDR blocks that may use the AK/SK API. Unset: TRUSTED_LIST of `mep_properties`, else loopback.",
        ),
        list(
            "mep_token_trusted",
            "",
            "Addresses and CIDR blocks that may ask for tokens. Unset: all.",
        ),
        number(
            "mep_rate_limit_mp1",
            "1000",
            "Mp1 requests a minute for each application; 0 for no limit.",
        ),
        number(
            "mep_rate_limit_auth",
            "100",
            "Token and AK/SK requests a minute for each client address; 0 for no limit.",
        ),
    ],
};

pub(super) const NAME_SERVER: Group = Group {
    title: "MEP: name server for edge applications",
    keys: &[
        list(
            "mep_dns_upstream",
            "",
            "Resolvers that are asked about other names, the quickest first, with a port where it is not 53. Unset: nobody is asked.",
        ),
        span("mep_dns_timeout", "2", "How long a resolver may take; it gets three tries."),
        choice(
            "mep_dns_unknown",
            "servfail",
            Unknown::WORDS,
            "What is said of other names when there is nobody to ask: `servfail` sends a client to its next name server, `nxdomain` says that there is no such name.",
        ),
        boolean(
            "mep_dns_load_balance",
            "off",
            "Whether each answer begins with another address, as with the original's `-loadBalance`.",
        ),
        number(
            "mep_dns_rate_limit",
            "1000",
            "Answers over UDP that each network (/24, /56) gets in a second; 0 for no limit. Beyond, half of the questions are dropped and half told to come by TCP.",
        ),
        list(
            "mep_dns_clients",
            "",
            "Addresses and CIDR blocks that may ask; others are refused. Unset: all.",
        ),
    ],
};

pub(super) const TRAFFIC: Group = Group {
    title: "MEP: traffic rules",
    keys: &[
        choice(
            "mep_traffic_driver",
            "none",
            Driver::WORDS,
            "Who follows traffic rules: `none` keeps and shows them, `nftables` gives them to the kernel of this machine, which takes root or CAP_NET_ADMIN.",
        ),
        text("mep_traffic_nft", "nft", "The `nft` program, found in PATH unless it is a path."),
        text("mep_traffic_table", "mep", "Name of the kernel's tables that are ours alone."),
        list(
            "mep_traffic_devices",
            "",
            "Network devices that users' traffic comes in by. Rules that forward to hardware addresses need them.",
        ),
        boolean(
            "mep_traffic_keep",
            "off",
            "Whether traffic rules stay in the kernel when the gateway stops.",
        ),
    ],
};

pub(super) const PLATFORM: Group = Group {
    title: "MEP: services, notifications, compatibility",
    keys: &[
        text(
            "mep_published_host",
            "mep-api-gw.mep",
            "Host in the URIs under which registered services are published.",
        ),
        number(
            "mep_published_port",
            "",
            "Port in those URIs. Unset: that of the proxy's first listener of the scheme.",
        ),
        choice(
            "mep_published_scheme",
            "auto",
            Scheme::WORDS,
            "Scheme of those URIs; `auto` is https when the proxy has a TLS listener.",
        ),
        text(
            "mep_external_url",
            "",
            "What stands before the paths in links and Location headers of the standard's own face, for instance `https://mep.example:8443`. Unset: links are paths.",
        ),
        list(
            "mep_ssrf_allow",
            "",
            "Hosts, addresses and CIDR blocks that services and callbacks may name although they are loopback, link-local or our own.",
        ),
        boolean(
            "mep_notify_verify",
            "on",
            "Whether the certificate of a notified application is verified.",
        ),
        text(
            "mep_notify_ca",
            "",
            "PEM file of the only authorities notified applications are verified against. Unset: those of this machine.",
        ),
        span(
            "mep_graceful_timeout",
            "5",
            "How long an application that was told to end may take to confirm.",
        ),
        boolean(
            "mep_registrations",
            "on",
            "Whether applications may register themselves (MEC 011 v3).",
        ),
        text(
            "mep_ntp_host",
            "mep-ntp",
            "Time server (NTP) that is asked for the current time and named by the timing capabilities.",
        ),
        number("mep_ntp_port", "123", "Its port."),
        span(
            "mep_liveness_interval",
            "60",
            "Time between heartbeats told to services that want to send some.",
        ),
        boolean(
            "mep_strict_original",
            "off",
            "Whether oddities of the original that clients might rely on are reproduced, for tests side by side.",
        ),
    ],
};
