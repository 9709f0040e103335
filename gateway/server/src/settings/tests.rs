#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use serde_json::json;

use super::keys::ACCEPTED;
use super::network::PortMap;
use super::store::{Database, Declarative};
use super::tls::{Pem, Versions};
use super::*;

/// Settings of a file's text, variables and options.
fn load(
    text: &str,
    env: &[(&str, &str)],
    args: &[(&str, &str)],
) -> Result<(Settings, Vec<Notice>), SettingsErrors> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("gateway.conf");
    fs::write(&path, text).unwrap();
    let owned = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    };
    Settings::load(Some(&path), owned(env).into_iter(), &owned(args))
}

fn good(text: &str) -> Settings {
    load(text, &[], &[]).unwrap().0
}

/// The refusals of a file, without its folder.
fn refusals(text: &str, env: &[(&str, &str)]) -> Vec<String> {
    let Err(errors) = load(text, env, &[]) else { panic!("accepted: {text}") };
    let line = |line: &str| match line.split_once("/gateway.conf:") {
        Some((_, rest)) => format!("gateway.conf:{rest}"),
        None => line.to_owned(),
    };
    errors.to_string().lines().map(line).collect()
}

#[test]
fn defaults_need_no_file_and_no_root() {
    let settings = good("");
    assert_eq!(settings.process.prefix, Path::new(".gateway"));
    assert_eq!(settings.store.database, Database::Sqlite);
    assert_eq!(settings.mep.certs, Path::new(".gateway/certs"));
    assert_eq!(settings.mep.key_dir, Path::new(".gateway/keys"));
    assert_eq!(settings.mep.tokens.clock_skew, Some(Duration::from_secs(54_000)));
    assert!(settings.process.plugins.bundled);
    assert!(settings.mep.confs_trusted.contains("127.0.0.1".parse().unwrap()));
    assert!(!settings.mep.confs_trusted.contains("10.0.0.1".parse().unwrap()));
    assert!(settings.mep.token_trusted.is_none());

    let places = |listens: &[Listen]| -> Vec<String> {
        listens
            .iter()
            .map(|listen| format!("{}{}", listen.addr, if listen.ssl { " ssl" } else { "" }))
            .collect()
    };
    let listeners = &settings.listeners;
    assert_eq!(places(&listeners.proxy), ["0.0.0.0:8000", "0.0.0.0:8443 ssl"]);
    assert_eq!(places(&listeners.admin), ["127.0.0.1:8001", "127.0.0.1:8444 ssl"]);
    assert_eq!(places(&listeners.status), ["127.0.0.1:8100"]);
    assert_eq!(places(&listeners.mep), ["127.0.0.1:8088"]);
    assert_eq!(places(&listeners.mep_auth), ["127.0.0.1:8090"]);
    assert!(listeners.mep_dns.is_empty() && listeners.mep_dns_admin.is_empty());
}

#[test]
fn an_option_wins_over_a_variable_and_that_over_the_file() {
    let file = "prefix = /file\nlog_level = info\nproxy_access_log = off";
    let env = [("KONG_PREFIX", "/variable"), ("KONG_LOG_LEVEL", "warn")];
    let (settings, _) = load(file, &env, &[("prefix", "/option")]).unwrap();
    assert_eq!(settings.process.prefix, Path::new("/option"));
    assert_eq!(settings.logs.level, logs::LogLevel::Warn);
    assert_eq!(settings.logs.proxy.access, logs::LogTarget::Off);
    assert_eq!(settings.logs.proxy.error, logs::LogTarget::File("/option/logs/error.log".into()));
}

#[test]
fn an_empty_value_is_the_default() {
    let (settings, _) = load("log_level =\nprefix = x", &[("KONG_PREFIX", "")], &[])
        .map_err(|errors| errors.to_string())
        .unwrap();
    assert_eq!(settings.logs.level, logs::LogLevel::Notice);
    assert_eq!(
        settings.process.prefix,
        Path::new(".gateway"),
        "a variable, though empty, hides the file"
    );
}

#[test]
fn other_spellings_of_a_key() {
    for text in ["nginx_daemon = off", "nginx_main_daemon = off"] {
        assert!(!good(text).process.daemon, "{text}");
    }
    let settings = good("real_ip_recursive = on\nnginx_proxy_real_ip_recursive = off");
    assert!(settings.client_address.recursive, "its own name first");
    let (settings, _) =
        load("real_ip_recursive = on", &[("KONG_NGINX_PROXY_REAL_IP_RECURSIVE", "off")], &[])
            .map_err(|errors| errors.to_string())
            .unwrap();
    assert!(!settings.client_address.recursive, "but a variable before a file");
    assert_eq!(good("nginx_http_client_max_body_size = NONE").proxying.max_body, None);
}

#[test]
fn every_fault_is_reported_with_its_place() {
    let found = refusals(
        "log_level = loud\n\
         # fine\n\
         database = mysql\n\
         pg_port = many\n\
         pg_ssl = maybe\n\
         port_maps = 80:8000, 443\n\
         trusted_ips = 10.0.0.0/8, nowhere, 10.0.0.0/99\n\
         nginx_http_client_max_body_size = big\n\
         rubbish\n\
         cluster_mtls = none\n\
         ssl_cert_key = /nonexistent.key\n\
         role = control_plane\n",
        &[
            ("KONG_ADMIN_LISTEN", "8001"),
            ("KONG_HEADERS", "server_tokens, x-what"),
            ("KONG_PG_PORT", "70000"),
            ("KONG_MEP_TOKEN_TTL", "0"),
        ],
    );
    let expected = [
        "gateway.conf:1: log_level has an invalid value: 'loud' (debug, info, notice, warn, error, crit, alert, emerg)",
        "gateway.conf:3: database has an invalid value: 'mysql' (sqlite, postgres, off)",
        "gateway.conf:5: pg_ssl is not a boolean: 'maybe'",
        "gateway.conf:6: invalid port mapping (`port_maps`): 443",
        "gateway.conf:7: trusted_ips must be a comma separated list in the form of IPv4 or IPv6 address or CIDR block or 'unix:', got '10.0.0.0/99'",
        "gateway.conf:7: trusted_ips must be a comma separated list in the form of IPv4 or IPv6 address or CIDR block or 'unix:', got 'nowhere'",
        "gateway.conf:8: nginx_http_client_max_body_size is not a size: 'big' (digits, then nothing, k, m or g)",
        "gateway.conf:9: expected a line of the form: key = value",
        "gateway.conf:10: cluster_mtls has an invalid value: 'none' (shared, pki)",
        "gateway.conf:11: ssl_cert must be specified",
        "gateway.conf:11: ssl_cert_key: failed loading key from /nonexistent.key",
        "gateway.conf:12: role: this gateway runs as 'traditional' only",
        "KONG_ADMIN_LISTEN: admin_listen must be of form: [off] | <ip>:<port> [ssl] [http2] [proxy_protocol] [deferred] [bind] [reuseport] [backlog=%d+] [ipv6only=on] [ipv6only=off] [so_keepalive=on] [so_keepalive=off] [so_keepalive=%w*:%w*:%d*], [... next entry ...], not '8001'",
        "KONG_HEADERS: headers: invalid entry 'x-what'",
        "KONG_MEP_TOKEN_TTL: mep_token_ttl must be greater than 0",
        "KONG_PG_PORT: pg_port must be a whole number from 1 to 65535, not '70000'",
    ];
    assert_eq!(found, expected);
}

#[test]
fn single_faults() {
    let rows = [
        (
            "nginx_worker_processes = 0",
            "nginx_worker_processes must be 'auto' or a number above 0, not '0'",
        ),
        ("node_id = x", "node_id must be a valid UUID, not 'x'"),
        ("real_ip_header = X Real", "real_ip_header is not a header name: 'X Real'"),
        ("headers_upstream = x", "headers_upstream: invalid entry 'x'"),
        ("dns_order = A,MX", "dns_order: invalid entry 'MX'"),
        (
            "dns_resolver = ns.example",
            "dns_resolver must be a comma separated list in the form of IPv4/6 or IPv4/6:port, got 'ns.example'",
        ),
        (
            "upstream_keepalive_idle_timeout = -1",
            "upstream_keepalive_idle_timeout must be 0 or greater",
        ),
        (
            "lua_max_req_headers = 1001",
            "lua_max_req_headers must be a whole number from 1 to 1000, not '1001'",
        ),
        ("pg_timeout = 1.5", "pg_timeout must be a whole number from 1 to 4294967295, not '1.5'"),
        ("ssl_protocols = TLSv1", "ssl_protocols must name TLSv1.2, TLSv1.3 or both"),
        (
            "ssl_cipher_suite = custom\nssl_ciphers = DHE-RSA-AES128-SHA",
            "ssl_ciphers: none of these exists here: DHE-RSA-AES128-SHA",
        ),
        (
            "ssl_cert = /nonexistent.crt\nssl_cert_key = /etc/hostname",
            "ssl_cert: failed loading certificate from /nonexistent.crt",
        ),
        ("ssl_cert = /etc/hostname", "ssl_cert_key must be specified"),
        ("client_ssl = on", "client_ssl_cert must be specified"),
        ("error_template_json = /nonexistent", "error_template_json: no file at /nonexistent"),
        (
            "database = off\ndeclarative_config = /nonexistent.yml",
            "declarative_config: no file at /nonexistent.yml",
        ),
        ("mep_jwt_public_key = /etc/hostname", "mep_jwt_private_key must be specified"),
        ("mep_confs_trusted = everyone", "mep_confs_trusted: no address or CIDR block: 'everyone'"),
        ("mep_ssrf_allow = http://x", "mep_ssrf_allow: no host, address or CIDR block: 'http://x'"),
        ("mep_published_host = a b", "mep_published_host is not a host name: 'a b'"),
        (
            "mep_clock_skew = long",
            "mep_clock_skew is not a time span: 'long' (digits, then nothing, s, m, h or d)",
        ),
        (
            "mep_listen = 127.0.0.1:8001",
            "mep_listen: 127.0.0.1:8001 is taken by admin_listen already",
        ),
        ("pg_user = {vault://env/absent}", "'{vault://env/absent}' has no value in ABSENT"),
    ];
    for (text, expected) in rows {
        let found = refusals(text, &[]);
        let last =
            found.len() == 1 && found[0].split_once(": ").is_some_and(|(_, text)| text == expected);
        assert!(last || found == [expected], "{text}: {found:#?}");
    }
}

#[test]
fn a_pasted_key_is_not_repeated() {
    let found = refusals("ssl_cert = /etc/hostname\nssl_cert_key = MIIEvQIBADANBgkqhkiG9w0", &[]);
    assert_eq!(
        found,
        ["gateway.conf:2: ssl_cert_key: failed loading key from what is neither a file nor PEM"]
    );
}

#[test]
fn what_has_no_effect_is_noted() {
    let text = "colour = red\nnginx_user = root\nnginx_http_gzip = on\nmem_cache_size = 128m\n\
                proxy_access_log = /dev/stdout combined\nssl_protocols = TLSv1.1 TLSv1.2\n\
                declarative_config = /etc/hostname";
    let (settings, notices) = load(text, &[("KONG_LICENSE_DATA", "x"), ("HOME", "/")], &[])
        .map_err(|errors| errors.to_string())
        .unwrap();
    let mut found: Vec<String> = notices.iter().map(|notice| notice.text.clone()).collect();
    found.sort();
    assert_eq!(
        found,
        [
            "'colour' is not a known key; it is ignored",
            "'license_data' is not a known key; it is ignored",
            "'nginx_http_gzip' has no effect in this gateway",
            "'nginx_user' has no effect in this gateway",
            "declarative_config has no effect, as database is sqlite",
            "proxy_access_log: 'combined' after the path has no effect",
            "ssl_protocols: TLSv1.1 is not offered here",
        ]
    );
    assert_eq!(settings.logs.proxy.access, logs::LogTarget::Stdout);
    assert_eq!(settings.tls.versions, Versions { tls12: true, tls13: false });
    assert_eq!(settings.store.declarative, None);
}

#[test]
fn response_headers_by_token_and_name() {
    use proxying::ResponseHeader as H;
    let rows: [(&str, &[H]); 5] = [
        ("off", &[]),
        ("server_tokens", &[H::Server, H::Via]),
        (
            "latency_tokens",
            &[H::ProxyLatency, H::ResponseLatency, H::UpstreamLatency, H::AdminLatency],
        ),
        ("X-Kong-Upstream-Status, VIA", &[H::UpstreamStatus, H::Via]),
        (
            "",
            &[
                H::Server,
                H::Via,
                H::ProxyLatency,
                H::ResponseLatency,
                H::UpstreamLatency,
                H::AdminLatency,
                H::RequestId,
            ],
        ),
    ];
    for (text, expected) in rows {
        let expected: BTreeSet<H> = expected.iter().copied().collect();
        assert_eq!(good(&format!("headers = {text}")).proxying.headers, expected, "{text:?}");
    }
}

#[test]
fn plugins_by_name() {
    let rows = [
        ("plugins = bundled,appid-header", true, vec!["appid-header"]),
        ("plugins = jwt, jwt", false, vec!["jwt"]),
        ("plugins = off", false, vec![]),
        ("custom_plugins = mine", true, vec!["mine"]),
    ];
    for (text, bundled, names) in rows {
        let plugins = good(text).process.plugins;
        assert_eq!(
            (plugins.bundled, plugins.names),
            (bundled, names.into_iter().map(str::to_owned).collect()),
            "{text}"
        );
    }
}

#[test]
fn certificates_by_path_and_by_value() {
    let pem = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n";
    let encoded = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, pem);
    let env = [
        ("KONG_SSL_CERT", format!("/etc/hostname, {encoded}, {pem}")),
        ("KONG_SSL_CERT_KEY", "/etc/hostname,/etc/hosts,/etc/hostname".to_owned()),
    ];
    let env: Vec<(&str, &str)> = env.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let (settings, _) = load("", &env, &[]).unwrap();
    let certs: Vec<Pem> = settings.tls.proxy.iter().map(|pair| pair.cert.clone()).collect();
    assert_eq!(
        certs,
        [
            Pem::File("/etc/hostname".into()),
            Pem::Inline(pem.to_owned().into()),
            Pem::Inline(pem.trim().to_owned().into())
        ]
    );
    assert_eq!(settings.tls.proxy[1].key, Pem::File("/etc/hosts".into()));
    assert!(settings.tls.admin.is_empty());
}

#[test]
fn suites_and_versions() {
    use rustls::CipherSuite as S;
    let both = Versions { tls12: true, tls13: true };
    let only13 = Versions { tls12: false, tls13: true };
    let edgegallery = "ssl_cipher_suite = custom\nssl_ciphers = ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES256-GCM-SHA384";
    let rows = [
        ("", both, vec![]),
        ("ssl_cipher_suite = modern", only13, vec![]),
        ("ssl_protocols = TLSv1.3", only13, vec![]),
        (
            edgegallery,
            both,
            vec![
                S::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
                S::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
                S::TLS13_AES_256_GCM_SHA384,
                S::TLS13_AES_128_GCM_SHA256,
                S::TLS13_CHACHA20_POLY1305_SHA256,
            ],
        ),
    ];
    for (text, versions, suites) in rows {
        let tls = good(text).tls;
        assert_eq!((tls.versions, tls.suites), (versions, suites), "{text}");
    }
}

#[test]
fn published_addresses_follow_the_proxy() {
    let rows = [
        ("", true, Some(8443)),
        ("proxy_listen = 0.0.0.0:9000", false, Some(9000)),
        ("proxy_listen = 0.0.0.0:0 ssl", true, None),
        ("proxy_listen = off", false, Some(8000)),
        ("port_maps = 443:8443", true, Some(443)),
        ("mep_published_scheme = http", false, Some(8000)),
        ("mep_published_port = 30443", true, Some(30443)),
    ];
    for (text, https, port) in rows {
        let published = good(text).mep.published;
        assert_eq!((published.https, published.port), (https, port), "{text}");
    }
    assert_eq!(
        good("port_maps = 443:8443").client_address.port_maps,
        [PortMap { outside: 443, listener: 8443 }]
    );
}

#[test]
fn the_original_s_files_are_read_and_their_faults_placed() {
    let dir = tempfile::tempdir().unwrap();
    let (properties, config) =
        (dir.path().join("mepauth.properties"), dir.path().join("config.yaml"));
    let valid = format!(
        "KEY_COMPONENT={}\nJWT_PRIVATE_KEY=te9Fmv%qaq\nAPP_INST_ID=5abe4782-2c70-4e47-9a4e-0ee3a1a0fd1f\n\
         ACCESS_KEY=AbCdEfGhIjKlMnOpQr+=\nSECRET_KEY={}\nTRUSTED_LIST=10.0.0.0/8\n",
        "k".repeat(256),
        "a".repeat(64)
    );
    fs::write(&properties, &valid).unwrap();
    fs::write(&config, "dnsAgent: { type: local }").unwrap();
    let text =
        format!("mep_properties = {}\nmep_config = {}\n", properties.display(), config.display());

    let mep = good(&text).mep;
    assert_eq!(mep.bootstrap.unwrap().access_key, "AbCdEfGhIjKlMnOpQr+=");
    assert_eq!(mep.original.dns_agent.kind, original::config::DnsAgentKind::Local);
    assert!(mep.confs_trusted.contains("10.1.2.3".parse().unwrap()));
    assert!(
        !mep.confs_trusted.contains("127.0.0.1".parse().unwrap()),
        "the list replaces loopback"
    );
    let own = good(&format!("{text}mep_confs_trusted = 192.0.2.1")).mep.confs_trusted;
    assert!(!own.contains("10.1.2.3".parse().unwrap()), "our own key goes before the list");
    let keys =
        format!("{text}mep_jwt_public_key = /etc/hostname\nmep_jwt_private_key = /etc/hosts");
    let password = good(&keys).mep.tokens.keys.unwrap().password;
    assert_eq!(password.unwrap().expose(), "te9Fmv%qaq");

    fs::write(&properties, valid.replace("TRUSTED_LIST=10", "TRUSTED_LIST=all;10")).unwrap();
    fs::write(&config, "dnsAgent:\n  type: remote").unwrap();
    let found = refusals(&text, &[]);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].contains("config.yaml:2: ") && found[0].contains("remote"), "{found:?}");
    assert!(
        found[1].ends_with("mepauth.properties:6: TRUSTED_LIST: no address or CIDR block: 'all'"),
        "{found:?}"
    );
}

#[test]
fn all_keys_are_shown_and_no_secret() {
    let text = "pg_password = hunter2\nplugins = bundled, mine\npg_port = 5433\nnginx_daemon = false\n\
                database = off\ndeclarative_config_string = hunter2 text\nmep_jwt_private_key_password = hunter2";
    let settings = good(text);
    let shown = |key: &str| settings.all().find(|shown| shown.key == key).unwrap().value;
    assert_eq!(shown("pg_password"), json!("******"));
    assert_eq!(shown("pg_ro_password"), json!(null));
    assert_eq!(shown("plugins"), json!(["bundled", "mine"]));
    assert_eq!(shown("pg_port"), json!(5433));
    assert_eq!(shown("tracing_sampling_rate"), json!(0.01));
    assert_eq!(shown("nginx_daemon"), json!("off"));
    assert_eq!(shown("anonymous_reports"), json!(false));
    assert_eq!(shown("ssl_cert"), json!(null));
    assert_eq!(shown("status_listen"), json!(["127.0.0.1:8100"]));

    let debug =
        format!("{:?} {:?} {:?}", settings.store, settings.mep, settings.all().collect::<Vec<_>>());
    assert!(!debug.contains("hunter2"), "{debug}");
    assert!(matches!(settings.store.declarative, Some(Declarative::Text(_))));
}

/// Kong's own table, beside the specification this was written from: 208 keys.
#[test]
fn the_table_is_sound() {
    let names: Vec<&str> = keys::all().map(|key| key.name).collect();
    let unique: BTreeSet<&str> = names.iter().copied().collect();
    assert_eq!(unique.len(), names.len(), "a name twice");
    for key in keys::all() {
        assert!(key.about.ends_with('.'), "{}: a sentence ends with a full stop", key.name);
        assert!(!key.secret || key.default.is_empty(), "{}: a secret has no default", key.name);
    }
    let ours = |name: &&&str| name.starts_with("mep_");
    let additions = [
        "custom_plugins",
        "nginx_http_keepalive_timeout",
        "nginx_http_client_header_timeout",
        "nginx_http_client_body_timeout",
        "nginx_proxy_ssl_verify_client",
        "nginx_proxy_ssl_client_certificate",
        "nginx_proxy_ssl_verify_depth",
        "nginx_proxy_proxy_ssl_verify",
    ];
    // Two of Kong's 208 are older spellings of others.
    assert_eq!(names.iter().filter(|name| !ours(name) && !additions.contains(name)).count(), 206);
    assert!(ACCEPTED.iter().all(|key| !key.name.starts_with("mep_")), "every key of ours acts");
}

#[test]
fn references_to_the_environment() {
    let env = [("DB_PASSWORD", "s3cret"), ("KONG_PG_PASSWORD", "{vault://env/db-password}")];
    let (settings, _) = load("", &env, &[]).unwrap();
    assert_eq!(settings.store.postgres.password.unwrap().expose(), "s3cret");
}
