//! Kong's keys that this gateway acts on.

use super::{Group, boolean, choice, list, listen, number, on_off, size, span, stream, text};
use crate::settings::logs::{LogFormat, LogLevel};
use crate::settings::process::Role;
use crate::settings::proxying::{ErrorType, RouterFlavor, UntrustedLua, WorkerConsistency};
use crate::settings::store::Database;
use crate::settings::tls::{CipherSuite, VerifyClient};

pub(super) const PROCESS: Group = Group {
    title: "Process",
    keys: &[
        text(
            "prefix",
            ".gateway",
            "Folder for state, keys, logs and the pid file. Relative to the working directory; Kong's default is /usr/local/kong/.",
        ),
        text(
            "node_id",
            "",
            "UUID of this node. Unset: made on first start and kept in the prefix.",
        ),
        on_off(
            "nginx_daemon",
            "on",
            "Whether `gateway start` returns once the gateway is ready. Off keeps it in the foreground, as `gateway run` always does.",
        )
        .also(&["nginx_main_daemon"]),
        text(
            "nginx_worker_processes",
            "auto",
            "Worker threads of the proxy. `auto`: one for each processor.",
        )
        .also(&["nginx_main_worker_processes"]),
        text(
            "nginx_events_worker_connections",
            "auto",
            "Client connections for each worker thread; more wait until one ends. `auto`: 16384, or fewer where open files are limited.",
        ),
        text(
            "nginx_main_worker_rlimit_nofile",
            "auto",
            "Files this process may have open. `auto`: as many as the system allows it.",
        ),
        choice(
            "role",
            "traditional",
            Role::WORDS,
            "Part in a hybrid cluster. This gateway only runs as `traditional` so far.",
        ),
        list(
            "plugins",
            "bundled",
            "Plugins that may be configured: `bundled` for all that are built in, names, or `off`.",
        ),
        list(
            "custom_plugins",
            "",
            "Names added to `plugins`; the spelling of Kong 1.x.",
        ),
    ],
};

pub(super) const LOGS: Group = Group {
    title: "Logs",
    keys: &[
        choice("log_level", "notice", LogLevel::WORDS, "Least severe level that is logged."),
        choice(
            "mep_log_format",
            "text",
            LogFormat::WORDS,
            "Form of the process's own log: lines to read, or one JSON object a line.",
        ),
        text(
            "proxy_access_log",
            "logs/access.log",
            "Where proxied requests are noted: `off` or a path, relative to the prefix. /dev/stdout and /dev/stderr work.",
        ),
        text(
            "proxy_error_log",
            "logs/error.log",
            "Where trouble of the proxy is noted; paths as above.",
        ),
        text(
            "proxy_stream_access_log",
            "logs/access.log basic",
            "Where streams are noted, in the one format there is.",
        ),
        text(
            "admin_access_log",
            "logs/admin_access.log",
            "Where requests to the Admin API are noted.",
        ),
        text("admin_error_log", "logs/error.log", "Where trouble of the Admin API is noted."),
        text("status_access_log", "off", "Where requests to the status API are noted."),
        text(
            "status_error_log",
            "logs/status_error.log",
            "Where trouble of the status API is noted.",
        ),
    ],
};

pub(super) const OBSERVING: Group = Group {
    title: "What plugins tell others",
    keys: &[
        list(
            "tracing_instrumentations",
            "off",
            "What is traced for the plugin opentelemetry: `off`, `all`, or some of `request`, `router`, `balancer`, `plugin_rewrite`, `plugin_access`, `plugin_header_filter`.",
        )
        .also(&["opentelemetry_tracing"]),
        number("tracing_sampling_rate", "0.01", "Share of requests that are traced, from 0 to 1.")
            .also(&["opentelemetry_tracing_sampling_rate"]),
        text(
            "mep_syslog_socket",
            "/dev/log",
            "Socket of the system log that the plugin syslog writes to.",
        ),
    ],
};

pub(super) const LISTENERS: Group = Group {
    title: "Listeners: `ip:port flags, …` or `off`; flags ssl http2 proxy_protocol reuseport backlog=N …",
    keys: &[
        listen(
            "proxy_listen",
            "0.0.0.0:8000 reuseport backlog=16384, 0.0.0.0:8443 http2 ssl reuseport backlog=16384",
            "Where clients are served.",
        ),
        stream(
            "stream_listen",
            "off",
            "Where TCP, TLS (`ssl`) and UDP (`udp`) streams are served.",
        ),
        listen(
            "admin_listen",
            "127.0.0.1:8001 reuseport backlog=16384, 127.0.0.1:8444 http2 ssl reuseport backlog=16384",
            "The Admin API. It has no authentication: keep it on loopback or in front of a guarded route.",
        ),
        listen(
            "status_listen",
            "127.0.0.1:8100",
            "Health and metrics. Kong's default is port 8007.",
        ),
        listen(
            "admin_gui_listen",
            "off",
            "Where `kconfig.js` tells the pages of Kong Manager where the Admin API is. The pages themselves are not here. Kong's default is 0.0.0.0:8002, 0.0.0.0:8445 ssl.",
        ),
        list(
            "admin_gui_url",
            "",
            "Addresses of Kong Manager's pages: browsers may call the Admin API from there. Unset: from anywhere.",
        ),
        text("admin_gui_path", "/", "Path those pages are below."),
        text(
            "admin_gui_api_url",
            "",
            "Address of the Admin API as a browser sees it. Unset: the host of the page at the port of `admin_listen`.",
        ),
    ],
};

pub(super) const CLIENT_ADDRESS: Group = Group {
    title: "Whose address counts as the client's",
    keys: &[
        list(
            "trusted_ips",
            "",
            "Addresses and CIDR blocks of the proxies in front, whose forwarding headers are believed. `unix:` is accepted and has no effect.",
        ),
        text(
            "real_ip_header",
            "X-Real-IP",
            "Header in which a trusted proxy names the client; `proxy_protocol` takes the address of that preamble.",
        )
        .also(&["nginx_proxy_real_ip_header"]),
        on_off(
            "real_ip_recursive",
            "off",
            "Whether trusted addresses at the end of the header are skipped.",
        )
        .also(&["nginx_proxy_real_ip_recursive"]),
        list(
            "port_maps",
            "",
            "`outside:listener` pairs, when the ports clients see are not the ones listened on.",
        )
    ],
};

pub(super) const TLS: Group = Group {
    title: "TLS",
    keys: &[
        list(
            "ssl_cert",
            "",
            "Certificate of the proxy: path, PEM or base64 of PEM; several for RSA and ECDSA. Unset: the development certificate of `mep_certs`.",
        ),
        list(
            "ssl_cert_key",
            "",
            "The key of each certificate, in the same order.",
        )
        .secret(),
        list(
            "admin_ssl_cert",
            "",
            "The same for the Admin API. Unset: the proxy's.",
        ),
        list("admin_ssl_cert_key", "", "The keys for it.").secret(),
        list(
            "status_ssl_cert",
            "",
            "The same for the status API. Unset: the proxy's.",
        ),
        list("status_ssl_cert_key", "", "The keys for it.").secret(),
        list("admin_gui_ssl_cert", "", "The same for `admin_gui_listen`. Unset: the proxy's."),
        list("admin_gui_ssl_cert_key", "", "The keys for it.").secret(),
        choice(
            "ssl_cipher_suite",
            "intermediate",
            CipherSuite::WORDS,
            "Recommendation to follow: `modern` is TLS 1.3 alone, `fips` 1.2 without ChaCha20, the others 1.2 and 1.3; `custom` takes the next keys.",
        ),
        text(
            "ssl_ciphers",
            "",
            "Suites of TLS 1.2 in OpenSSL's spelling, separated by colons, with `ssl_cipher_suite = custom`. Those without forward secrecy and AEAD do not exist here.",
        ),
        text(
            "ssl_protocols",
            "TLSv1.2 TLSv1.3",
            "Versions. When set, they count with every suite, which Kong has only with `custom`. Older ones than TLS 1.2 do not exist here.",
        )
        .also(&["nginx_http_ssl_protocols"]),
        on_off(
            "ssl_prefer_server_ciphers",
            "on",
            "Whether the server's order of suites counts, with `ssl_cipher_suite = custom`.",
        )
        .also(&["nginx_http_ssl_prefer_server_ciphers"]),
        on_off(
            "ssl_session_tickets",
            "on",
            "Whether clients may resume a session with a ticket.",
        )
        .also(&["nginx_http_ssl_session_tickets"]),
        span(
            "ssl_session_timeout",
            "1d",
            "How long a session may be resumed; with tickets 12 hours at most.",
        )
        .also(&["nginx_http_ssl_session_timeout"]),
        size(
            "ssl_session_cache_size",
            "10m",
            "Sessions kept for clients when tickets are off, 4,000 for each megabyte.",
        ),
        text(
            "nginx_stream_ssl_protocols",
            "",
            "Versions that clients of streams are offered. Unset: as of HTTP, which goes for the next three too.",
        ),
        text(
            "nginx_stream_ssl_prefer_server_ciphers",
            "",
            "Whether the server's order of suites counts for them, `on` or `off`.",
        ),
        text(
            "nginx_stream_ssl_session_tickets",
            "",
            "Whether they may resume a session with a ticket, `on` or `off`.",
        ),
        text(
            "nginx_stream_ssl_session_timeout",
            "",
            "How long they may resume a session, in seconds or with s, m, h, d.",
        ),
        choice(
            "nginx_proxy_ssl_verify_client",
            "off",
            VerifyClient::WORDS,
            "Whether clients of the proxy have to show a certificate. NGINX's directive, as are the next two.",
        )
        .also(&["nginx_http_ssl_verify_client"]),
        list(
            "nginx_proxy_ssl_client_certificate",
            "",
            "Authorities that vouch for such certificates: paths or PEM.",
        )
        .also(&["nginx_http_ssl_client_certificate"]),
        number(
            "nginx_proxy_ssl_verify_depth",
            "1",
            "Longest chain of intermediate certificates accepted of clients.",
        )
        .also(&["nginx_http_ssl_verify_depth"]),
        boolean(
            "client_ssl",
            "off",
            "Whether upstreams that ask are shown the certificate below.",
        ),
        text("client_ssl_cert", "", "That certificate."),
        text("client_ssl_cert_key", "", "And its key.").secret(),
        list(
            "lua_ssl_trusted_certificate",
            "system",
            "Authorities for upstreams and outgoing calls that are verified: `system`, paths or PEM.",
        ),
        number(
            "lua_ssl_verify_depth",
            "1",
            "Longest chain of intermediate certificates accepted there; so far only of upstreams of streams.",
        ),
        on_off(
            "nginx_proxy_proxy_ssl_verify",
            "off",
            "Whether certificates of upstreams are verified when their service does not say. NGINX's directive.",
        )
        .also(&["nginx_http_proxy_ssl_verify"]),
    ],
};

pub(super) const PROXYING: Group = Group {
    title: "Proxying",
    keys: &[
        choice(
            "router_flavor",
            "traditional_compatible",
            RouterFlavor::WORDS,
            "How routes are written: `expressions` adds the expression fields.",
        ),
        choice(
            "worker_consistency",
            "eventual",
            WorkerConsistency::WORDS,
            "Kept for Kong's sake: a change here is complete when the Admin API answers.",
        ),
        number(
            "worker_state_update_frequency",
            "5",
            "Seconds between looks at what other nodes have changed.",
        ),
        list(
            "headers",
            "server_tokens, latency_tokens, x-kong-request-id",
            "Headers added to responses: these tokens, single names such as X-Kong-Upstream-Status, or `off`.",
        ),
        list(
            "headers_upstream",
            "x-kong-request-id",
            "Headers added to what upstreams receive: that one, or `off`.",
        ),
        choice(
            "error_default_type",
            "text/plain",
            ErrorType::WORDS,
            "Form of the gateway's own errors when the client names no form it accepts.",
        ),
        text("error_template_html", "", "File with the HTML form of errors, holding two %s: message and request id."),
        text("error_template_json", "", "The same for JSON."),
        text("error_template_plain", "", "The same for plain text."),
        text("error_template_xml", "", "The same for XML."),
        boolean(
            "allow_debug_header",
            "off",
            "Whether a client's Kong-Debug header is answered with the names of route and service.",
        ),
        size(
            "nginx_http_client_max_body_size",
            "0",
            "Largest request body; 0 for no limit.",
        )
        .also(&["nginx_proxy_client_max_body_size"]),
        size(
            "mep_response_buffer_size",
            "16m",
            "Largest answer that plugins with a response phase get whole; a larger one is not sent, the client gets a 502.",
        ),
        size(
            "nginx_admin_client_max_body_size",
            "10m",
            "Largest body of a request to the Admin API.",
        ),
        number(
            "nginx_http_keepalive_requests",
            "10000",
            "Requests a client may send on one connection.",
        )
        .also(&["nginx_proxy_keepalive_requests"]),
        span(
            "nginx_http_keepalive_timeout",
            "75s",
            "How long a client's connection may rest between requests; 0 closes it at once. The default is NGINX's.",
        )
        .also(&["nginx_proxy_keepalive_timeout"]),
        span(
            "nginx_http_client_header_timeout",
            "60s",
            "How long a client may take to send the head of a request. The default is NGINX's.",
        )
        .also(&["nginx_proxy_client_header_timeout"]),
        span(
            "nginx_http_client_body_timeout",
            "60s",
            "How long a client may be silent in the middle of a request's body. The default is NGINX's.",
        )
        .also(&["nginx_proxy_client_body_timeout"]),
        number(
            "upstream_keepalive_pool_size",
            "512",
            "Idle connections kept to upstreams; 0 keeps none.",
        ),
        number(
            "upstream_keepalive_max_requests",
            "10000",
            "Requests sent on one connection to an upstream; 0 for no limit.",
        ),
        number(
            "upstream_keepalive_idle_timeout",
            "60",
            "Seconds an idle connection to an upstream is kept; 0 for no limit.",
        ),
        number("lua_max_req_headers", "100", "Request headers a plugin is shown, 1 to 1000."),
        number("lua_max_resp_headers", "100", "Response headers a plugin is shown, 1 to 1000."),
        number("lua_max_uri_args", "100", "Query arguments a plugin is shown, 1 to 1000."),
        number("lua_max_post_args", "100", "Form arguments a plugin is shown, 1 to 1000."),
        choice(
            "untrusted_lua",
            "sandbox",
            UntrustedLua::WORDS,
            "Whether functions in plugin configurations may run, and how freely.",
        ),
        list(
            "untrusted_lua_sandbox_requires",
            "",
            "Modules such a function may load.",
        ),
        list(
            "untrusted_lua_sandbox_environment",
            "",
            "Global names such a function may use.",
        ),
    ],
};

pub(super) const LUA: Group = Group {
    title: "Lua in plugins",
    keys: &[
        text(
            "lua_package_path",
            "./?.lua;./?/init.lua;",
            "Where modules are, `?` being the name: custom plugins are kong/plugins/NAME/handler.lua and schema.lua below these.",
        ),
        number(
            "mep_lua_time",
            "500",
            "Milliseconds one call of Lua code may compute, waiting not counted; then the request is answered with 500.",
        ),
        size("mep_lua_memory", "64m", "Memory of the Lua code of one worker."),
    ],
};

pub(super) const STORE: Group = Group {
    title: "Where the configuration is kept",
    keys: &[
        choice(
            "database",
            "sqlite",
            Database::WORDS,
            "`sqlite`: one file in the prefix. `postgres`: shared by several nodes. `off`: nothing is kept, the file below is served. Kong's default is postgres.",
        ),
        text(
            "declarative_config",
            "",
            "File of format 3.0 to load at start, with `database = off`.",
        ),
        text(
            "declarative_config_string",
            "",
            "The same as text; the file wins when both are given.",
        )
        .secret(),
        number("db_update_frequency", "5", "Seconds between looks for what other nodes wrote."),
        text("pg_host", "127.0.0.1", "PostgreSQL server."),
        number("pg_port", "5432", "Its port."),
        number("pg_timeout", "5000", "Milliseconds to wait for it."),
        text("pg_user", "kong", "Role to log in with."),
        text("pg_password", "", "Password of the role.").secret(),
        text("pg_database", "kong", "Database to use."),
        text("pg_schema", "", "Schema to use. Unset: the role's own."),
        boolean("pg_ssl", "off", "Whether to insist on TLS."),
        boolean("pg_ssl_verify", "off", "Whether to verify its certificate."),
        number("pg_pool_size", "", "Connections to keep. Unset: ten."),
    ],
};

pub(super) const NAMES: Group = Group {
    title: "Resolving names of upstreams",
    keys: &[
        list(
            "dns_resolver",
            "",
            "Name servers, `ip` or `ip:port`. Unset: those of /etc/resolv.conf.",
        ),
        text("dns_hostsfile", "/etc/hosts", "Names that need no server."),
        list(
            "dns_order",
            "LAST,SRV,A,CNAME",
            "Record types in the order they are tried; LAST is the one that worked before.",
        ),
        number("dns_valid_ttl", "", "Seconds an answer is kept, whatever it says itself."),
        number(
            "dns_stale_ttl",
            "3600",
            "Seconds an expired answer is used while a new one is fetched.",
        ),
        number("dns_cache_size", "10000", "Answers kept."),
        number("dns_not_found_ttl", "30", "Seconds an absent name is remembered."),
        number("dns_error_ttl", "1", "Seconds a failed look-up is remembered."),
        boolean("dns_no_sync", "off", "Whether equal look-ups at once are sent each for itself."),
    ],
};
