//! The platform behind the gateway: consumer, credential, services, routes and plugins.
//!
//! They are the original's, with these differences: the services are the embedded ones; tokens in
//! the query are not taken; every app has a request budget of its own instead of one for all;
//! calls are counted in the process instead of being posted to an HTTP log; tokens of apps that are
//! gone are refused wherever tokens of apps are taken; and a second route leads to the APIs in the
//! standard's own form, on which the gateway's refusals are problem bodies too.

use gateway_model::entities::{Consumer, PluginInstance, Route, Service};
use gateway_model::{Document, Entity, Id};
use serde_json::{Value, json};

use super::{Same, Wanted};
use crate::auth::token::ISSUER;
use crate::exposure::TAG;
use crate::settings::PlatformSettings;
use crate::{MEPAUTH_HOST, MEPSERVER_HOST};

/// The kind of jwt credentials, which the plugin of that name brings.
const JWT_SECRETS: &str = "jwt_secrets";
const CONSUMER: &str = "mepauth.jwt";
const MEPSERVER: &str = "mepserver";
const MEPAUTH: &str = "mepauth";
const STANDARD: &str = "mec";

/// Everything wanted; what is referred to comes first.
pub(super) fn wanted(public_key_pem: &str, settings: &PlatformSettings) -> Vec<Wanted> {
    let limits = settings.rate_limits;
    let mut wanted = vec![
        entity::<Consumer>(CONSUMER, "username", json!({"username": CONSUMER})),
        credential(public_key_pem),
        entity::<Service>(MEPSERVER, "name", service(MEPSERVER, MEPSERVER_HOST, 8088)),
        route(
            MEPSERVER,
            json!({
                "name": MEPSERVER,
                "paths": ["/mep/mec_service_mgmt", "/mep/mec_app_support"],
                "strip_path": false,
            }),
        ),
    ];
    let no_query_tokens = json!({"claims_to_verify": ["exp"], "uri_param_names": []});
    let hide = json!({"access": ["ngx.var.upstream_x_forwarded_for=UNKNOWN"]});
    let transform = json!({"remove": {"headers": ["server"]}});
    wanted.extend([
        plugin(MEPSERVER, "jwt", no_query_tokens, true),
        plugin(MEPSERVER, "appid-header", json!({"clientip_check": settings.clientip_check}), true),
        plugin(MEPSERVER, "pre-function", hide, true),
        rate_limit(MEPSERVER, limits.mp1.map_or(0, Into::into), "subject"),
        plugin(MEPSERVER, "response-transformer", transform.clone(), true),
        entity::<Service>(MEPAUTH, "name", service(MEPAUTH, MEPAUTH_HOST, 8090)),
        route(
            MEPAUTH,
            json!({
                "name": MEPAUTH,
                "paths": ["/mep/token", "/mep/appMng/v1"],
                // Clients sign the host they call.
                "preserve_host": true,
                "strip_path": false,
            }),
        ),
        rate_limit(MEPAUTH, limits.auth.map_or(0, Into::into), "consumer"),
        plugin(MEPAUTH, "response-transformer", transform, true),
        standard_route(),
        attached("route", Route::KIND, STANDARD, "problem-details"),
        attached("consumer", Consumer::KIND, CONSUMER, "app-revocation"),
    ]);
    wanted
}

/// The way to the APIs in the standard's own form.
fn standard_route() -> Wanted {
    let members = json!({
        "name": STANDARD,
        "paths": [
            "/mec_service_mgmt/v1",
            "/mec_app_support/v1",
            "/service-apis/v1",
            "/published-apis/v1",
            "/capif-events/v1",
        ],
        "strip_path": false,
    });
    Wanted { parents: vec![of(MEPSERVER)], ..entity::<Route>(STANDARD, "name", members) }
}

/// A plugin without configuration on a route or a consumer.
fn attached(
    member: &'static str,
    kind: &'static str,
    key: &'static str,
    name: &'static str,
) -> Wanted {
    Wanted {
        kind: PluginInstance::KIND,
        id: Id::derived(PluginInstance::KIND, &format!("{key}:{name}")),
        same: Same::PluginOf(member, name),
        document: tagged(json!({"name": name, "config": {}, "enabled": true})),
        parents: vec![(member, kind, Id::derived(kind, key))],
        overrides: false,
    }
}

fn entity<T: Entity>(key: &'static str, member: &'static str, members: Value) -> Wanted {
    Wanted {
        kind: T::KIND,
        id: Id::derived(T::KIND, key),
        same: Same::Unique(member, key),
        document: tagged(members),
        parents: Vec::new(),
        overrides: false,
    }
}

/// The key tokens are verified with. The original never updated it, so that after a change of keys
/// every token was refused until somebody found out.
fn credential(public_key_pem: &str) -> Wanted {
    let members = json!({"key": ISSUER, "algorithm": "RS512", "rsa_public_key": public_key_pem});
    Wanted {
        kind: JWT_SECRETS,
        id: Id::derived(JWT_SECRETS, ISSUER),
        same: Same::Unique("key", ISSUER),
        document: tagged(members),
        parents: vec![("consumer", Consumer::KIND, Id::derived(Consumer::KIND, CONSUMER))],
        overrides: true,
    }
}

fn service(name: &str, host: &str, port: u16) -> Value {
    json!({"name": name, "protocol": "http", "host": host, "port": port})
}

fn route(service: &'static str, members: Value) -> Wanted {
    Wanted { parents: vec![of(service)], ..entity::<Route>(service, "name", members) }
}

/// `minute` requests; 0 for no limit, which leaves the plugin there and disabled.
fn rate_limit(service: &'static str, minute: u32, limit_by: &str) -> Wanted {
    let config = json!({
        "minute": if minute == 0 { 1000 } else { minute },
        "policy": "local",
        "hide_client_headers": true,
        "limit_by": limit_by,
    });
    plugin(service, "rate-limiting", config, minute != 0)
}

fn plugin(service: &'static str, name: &'static str, config: Value, enabled: bool) -> Wanted {
    let members = json!({"name": name, "config": config, "enabled": enabled});
    Wanted {
        kind: PluginInstance::KIND,
        id: Id::derived(PluginInstance::KIND, &format!("{service}:{name}")),
        same: Same::PluginOf("service", name),
        document: tagged(members),
        parents: vec![of(service)],
        overrides: false,
    }
}

fn of(service: &str) -> (&'static str, &'static str, Id) {
    ("service", Service::KIND, Id::derived(Service::KIND, service))
}

fn tagged(mut members: Value) -> Document {
    members["tags"] = json!([TAG]);
    match members {
        Value::Object(members) => members,
        _ => Document::new(),
    }
}
