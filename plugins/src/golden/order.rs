//! The order handlers run in, held still: changing it changes what requests are let through.

use super::spec_json;

#[test]
fn the_order_of_plugins() {
    let listed: Vec<String> =
        crate::ALL.iter().map(|plugin| format!("{} {}", plugin.priority, plugin.name)).collect();
    assert_eq!(
        listed,
        [
            "1000000 pre-function",
            "100001 correlation-id",
            "100000 zipkin",
            "2500 bot-detection",
            "2000 cors",
            "1900 session",
            "1705 acme",
            "1450 jwt",
            "1449 app-revocation",
            "1400 oauth2",
            "1250 key-auth",
            "1200 ldap-auth",
            "1100 basic-auth",
            "1030 hmac-auth",
            "998 grpc-gateway",
            "990 ip-restriction",
            "951 request-size-limiting",
            "950 acl",
            "910 rate-limiting",
            "900 response-ratelimiting",
            "801 request-transformer",
            "800 response-transformer",
            "779 redirect",
            "777 ai-request-transformer",
            "773 ai-prompt-template",
            "772 ai-prompt-decorator",
            "771 ai-prompt-guard",
            "770 ai-proxy",
            "768 ai-response-transformer",
            "760 standard-webhooks",
            "750 aws-lambda",
            "749 azure-functions",
            "100 proxy-cache",
            "14 opentelemetry",
            "13 prometheus",
            "12 http-log",
            "11 statsd",
            "10 appid-header",
            "10 datadog",
            "9 file-log",
            "8 udp-log",
            "7 tcp-log",
            "6 loggly",
            "5 problem-details",
            "4 syslog",
            "3 grpc-web",
            "2 request-termination",
            "-1000 post-function",
        ],
        "listed as they run: highest first"
    );
}

#[test]
fn priorities_are_kongs() {
    let spec = spec_json("plugins.json");
    for plugin in crate::ALL {
        if let Some(kongs) = spec["plugins"].get(plugin.name) {
            assert_eq!(kongs["priority"], plugin.priority, "{}", plugin.name);
        }
    }
}
