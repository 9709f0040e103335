//! Services as CAPIF describes them, and back (the mapping of the MEC 011 contract, section 9.1).

use std::borrow::Cow;

use serde_json::{Map, Value, json};
use url::{Host, Url};

use super::super::reading::{Broken, Reader};
use super::super::refusal::Refusal;
use super::super::service_mgmt::{body, view};
use crate::Platform;
use crate::entities::{Category, ServiceInfo, ServiceInstance};
use crate::settings::Published;

const SERVICE_INFO: &str = "vendorSpecific-urn:etsi:mec:capifext:service-info";
const TRANSPORT_INFO: &str = "vendorSpecific-urn:etsi:mec:capifext:transport-info";

const PROFILES: &str = "aefProfiles";
const CATEGORY: &str = "serviceAPICategory";

/// The feature bit of vendor extensions where services are published.
pub(super) const PUBLISHING_EXTENSIONS: u64 = 0x100;
/// The feature bit of vendor extensions where they are discovered.
pub(super) const DISCOVERY_EXTENSIONS: u64 = 0x2;

/// Feature bits as they stand on the wire: a hexadecimal number.
pub(super) fn features(text: &str) -> Option<u64> {
    // Bits we do not know may be beyond 64.
    let tail = text.get(text.len().saturating_sub(16)..)?;
    let hexadecimal = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    hexadecimal.then(|| u64::from_str_radix(tail, 16).ok()).flatten()
}

/// A service as CAPIF describes it; `extensions` adds what CAPIF has no member for.
pub(crate) fn describe(
    published: &Published,
    instance: &ServiceInstance,
    extensions: bool,
) -> Value {
    let info = &instance.info;
    let transport = &info.transport_info;
    let text = |text: &str| if text.is_empty() { Value::Null } else { json!(text) };
    let oauth = view::security(&transport.security).o_auth2_info.is_some();
    let mut profile = filled([
        ("aefId", json!(transport.id)),
        ("versions", json!([{"apiVersion": info.version}])),
        ("protocol", json!(protocol(&transport.protocol, &transport.version))),
        ("dataFormat", text(&info.serializer)),
        ("securityMethods", if oauth { json!(["OAUTH"]) } else { Value::Null }),
        ("interfaceDescriptions", interfaces(&json!(view::endpoint(published, instance)))),
    ]);
    let mut described = filled([
        ("apiName", json!(info.ser_name)),
        ("apiId", json!(instance.service_id())),
        ("description", text(&info.capif_description)),
        ("serviceAPICategory", text(&info.ser_category.id)),
    ]);
    if extensions {
        let full = json!(view::view(published, instance));
        profile[TRANSPORT_INFO] = some_of(
            &full["transportInfo"],
            &["name", "description", "type", "protocol", "version", "security", "implSpecificInfo"],
        );
        described[SERVICE_INFO] = some_of(
            &full,
            &[
                "serializer",
                "state",
                "scopeOfLocality",
                "consumedLocalOnly",
                "isLocal",
                "livenessInterval",
                "_links",
            ],
        );
    }
    described["aefProfiles"] = json!([profile]);
    described
}

/// Members without those that have no value.
fn filled<const N: usize>(members: [(&str, Value); N]) -> Value {
    let there = members.into_iter().filter(|(_, value)| !value.is_null());
    Value::Object(there.map(|(name, value)| (name.to_owned(), value)).collect())
}

fn some_of(members: &Value, names: &[&str]) -> Value {
    let there =
        names.iter().filter_map(|name| Some(((*name).to_owned(), members.get(name)?.clone())));
    Value::Object(there.collect())
}

/// A protocol as CAPIF names it, where it does.
pub(super) fn protocol(protocol: &str, version: &str) -> Option<&'static str> {
    match protocol.to_ascii_uppercase().as_str() {
        "HTTP" | "HTTPS" if version.starts_with('2') => Some("HTTP_2"),
        "HTTP" | "HTTPS" => Some("HTTP_1_1"),
        "MQTT" => Some("MQTT"),
        "WEBSOCKET" | "WS" | "WSS" => Some("WEBSOCKET"),
        _ => None,
    }
}

/// An endpoint as interfaces; what has no host has none.
fn interfaces(endpoint: &Value) -> Value {
    let mut interfaces = Vec::new();
    for uri in endpoint["uris"].as_array().into_iter().flatten() {
        let Some(url) = uri.as_str().and_then(|uri| Url::parse(uri).ok()) else { continue };
        let Some(host) = url.host() else { continue };
        let mut interface = match host {
            Host::Domain(name) => json!({ "fqdn": name }),
            Host::Ipv4(address) => json!({"ipv4Addr": address.to_string()}),
            Host::Ipv6(address) => json!({"ipv6Addr": address.to_string()}),
        };
        if let Some(port) = url.port_or_known_default() {
            interface["port"] = port.into();
        }
        if url.path() != "/" {
            interface["apiPrefix"] = url.path().into();
        }
        interfaces.push(interface);
    }
    for address in endpoint["addresses"].as_array().into_iter().flatten() {
        let host = address["host"].as_str().unwrap_or_default();
        let name = match Host::parse(host) {
            Ok(Host::Ipv4(_)) => "ipv4Addr",
            _ if host.parse::<std::net::Ipv6Addr>().is_ok() => "ipv6Addr",
            _ => "fqdn",
        };
        interfaces.push(json!({name: host, "port": address["port"]}));
    }
    if interfaces.is_empty() { Value::Null } else { interfaces.into() }
}

/// A description as a client may send it.
pub(super) fn example() -> Value {
    json!({
        "apiName": "rni",
        "aefProfiles": [{
            "aefId": "t1", "versions": [{"apiVersion": "v1"}], "protocol": "HTTP_1_1",
            "dataFormat": "JSON", "securityMethods": ["OAUTH"],
            "interfaceDescriptions": [{"ipv4Addr": "192.0.2.7", "port": 8080}],
        }],
    })
}

/// What a description takes the place of.
#[derive(Clone, Copy)]
pub(super) enum Base<'a> {
    /// Nothing.
    New,
    /// This service.
    Replace(&'a ServiceInstance),
    /// What this merge patch names of a service. CAPIF has not words for all of one, so that what
    /// is not named is taken from the service itself.
    Patch(&'a ServiceInstance, &'a Map<String, Value>),
}

impl<'a> Base<'a> {
    const fn present(self) -> Option<&'a ServiceInstance> {
        match self {
            Self::New => None,
            Self::Replace(present) | Self::Patch(present, _) => Some(present),
        }
    }

    /// What is there, where a member is to stay as it is.
    fn keeping(self, member: &str) -> Option<&'a ServiceInfo> {
        match self {
            Self::Patch(present, patch) if !patch.contains_key(member) => Some(&present.info),
            _ => None,
        }
    }
}

/// The service a description stands for.
pub(super) fn read(
    platform: &Platform,
    members: &Map<String, Value>,
    base: Base<'_>,
) -> Result<ServiceInfo, Refusal> {
    let broken = Broken::default();
    let body = Reader::new(members, &broken);
    let standard = translate(platform, &body, base);
    let description = body.text("description", 4096).unwrap_or_default();
    broken.unless(())?;
    let broken = Broken::default();
    let id = base.present().map(ServiceInstance::service_id);
    let standard = Reader::new(&standard, &broken);
    let mut info = match base.keeping(PROFILES) {
        Some(kept) => {
            let over = (kept.transport_id.clone(), kept.transport_info.clone());
            body::service_over(platform, &standard, id.as_deref(), over)
        }
        None => body::service(platform, &standard, id.as_deref()),
    };
    if let Some(kept) = base.keeping(CATEGORY) {
        info.ser_category.clone_from(&kept.ser_category);
    }
    info.capif_description = description;
    broken.unless(info)
}

/// The same members in the standard's own form.
fn translate(platform: &Platform, body: &Reader<'_>, base: Base<'_>) -> Map<String, Value> {
    let extended = body
        .one_of("supportedFeatures", features)
        .is_some_and(|features| features & PUBLISHING_EXTENSIONS != 0);
    let info = body.object(SERVICE_INFO).filter(|_| extended).map(|info| info.document());
    let mut service = info.unwrap_or_default();
    for name in ["isLocal", "_links"] {
        service.remove(name);
    }
    service.insert("serName".to_owned(), body.filled_text("apiName", 128).into());
    service.entry("state").or_insert_with(|| "ACTIVE".into());
    if base.keeping(CATEGORY).is_none()
        && let Some(id) = body.text(CATEGORY, 64)
    {
        service.insert("serCategory".to_owned(), category(&id, base.present()));
    }
    if let Some(kept) = base.keeping(PROFILES) {
        service.insert("version".to_owned(), kept.version.as_str().into());
        service.entry("serializer").or_insert_with(|| kept.serializer.as_str().into());
        return service;
    }
    let profiles = body.objects(PROFILES);
    let profile = match profiles.as_deref() {
        Some([profile]) => profile,
        Some(_) => {
            body.refuse(PROFILES, "must have exactly one element");
            return service;
        }
        None if body.any(PROFILES).is_none() => {
            body.refuse(PROFILES, "is missing");
            return service;
        }
        None => return service,
    };
    let versions = profile.objects("versions").unwrap_or_default();
    match versions.first() {
        Some(version) => {
            let version = version.filled_text("apiVersion", 128);
            service.insert("version".to_owned(), version.into());
        }
        None => profile.refuse("versions", "must have an element"),
    }
    let format =
        profile.one_of("dataFormat", |text| body::SERIALIZERS.iter().find(|one| **one == text));
    service.entry("serializer").or_insert_with(|| (*format.unwrap_or(&"JSON")).into());
    let transport = transport(platform, profile, extended);
    service.insert("transportInfo".to_owned(), Value::Object(transport));
    service
}

/// The other members of a category stay as long as its id does.
fn category(id: &str, present: Option<&ServiceInstance>) -> Value {
    let kept = present.map(|present| &present.info.ser_category).filter(|kept| kept.id == id);
    let new = || Category {
        href: id.to_owned(),
        id: id.to_owned(),
        name: id.to_owned(),
        version: String::new(),
    };
    json!(view::category(&kept.cloned().unwrap_or_else(new)))
}

/// Protocols as CAPIF names them: what they are to MEC, with version and kind of transport.
pub(super) const PROTOCOLS: [(&str, (&str, &str, &str)); 4] = [
    ("HTTP_1_1", ("HTTP", "1.1", "REST_HTTP")),
    ("HTTP_2", ("HTTP", "2.0", "REST_HTTP")),
    ("MQTT", ("MQTT", "", "MB_PUBSUB")),
    ("WEBSOCKET", ("WEBSOCKET", "", "WEBSOCKET")),
];

/// Ways in which callers prove who they are.
pub(super) const METHODS: [&str; 3] = ["PSK", "PKI", "OAUTH"];

fn transport(platform: &Platform, profile: &Reader<'_>, extended: bool) -> Map<String, Value> {
    let known = profile.one_of("protocol", |text| {
        PROTOCOLS.into_iter().find(|(name, _)| *name == text).map(|(_, meaning)| meaning)
    });
    let (protocol, version, kind) = known.unwrap_or(("HTTP", "1.1", "REST_HTTP"));
    let methods = profile.texts("securityMethods", |method| METHODS.contains(&method));
    let info = profile.object(TRANSPORT_INFO).filter(|_| extended).map(|info| info.document());
    let mut transport = info.unwrap_or_default();
    transport.insert("id".to_owned(), profile.filled_text("aefId", 64).into());
    transport.insert("endpoint".to_owned(), endpoint(platform, profile, protocol));
    let defaults = [("name", kind), ("type", kind), ("protocol", protocol), ("version", version)];
    for (name, value) in defaults {
        transport.entry(name).or_insert_with(|| value.into());
    }
    let oauth = methods.is_some_and(|methods| methods.iter().any(|method| method == "OAUTH"));
    transport.entry("security").or_insert_with(|| {
        let info = json!({
            "grantTypes": ["OAUTH2_CLIENT_CREDENTIALS"], "tokenEndpoint": "/mep/token",
        });
        if oauth { json!({ "oAuth2Info": info }) } else { json!({}) }
    });
    transport
}

fn endpoint(platform: &Platform, profile: &Reader<'_>, protocol: &str) -> Value {
    match profile.given(&["interfaceDescriptions", "domainName"]).as_slice() {
        ["domainName"] => {
            let name = profile.filled_text("domainName", 253);
            json!({"uris": [format!("{}://{name}/", protocol.to_ascii_lowercase())]})
        }
        ["interfaceDescriptions"] => {
            let all = profile.objects("interfaceDescriptions").unwrap_or_default();
            if all.is_empty() {
                profile.refuse("interfaceDescriptions", "must have an element");
            }
            let read: Vec<_> = all.iter().map(|one| interface(platform, one, protocol)).collect();
            if read.iter().all(|one| one.get("host").is_some()) {
                json!({ "addresses": read })
            } else {
                let uris = read.iter().map(|one| match one.get("uri") {
                    Some(uri) => uri.clone(),
                    None => {
                        let host = bracketed(one["host"].as_str().unwrap_or_default());
                        let scheme = protocol.to_ascii_lowercase();
                        json!(format!("{scheme}://{host}:{}/", one["port"]))
                    }
                });
                json!({"uris": uris.collect::<Vec<_>>()})
            }
        }
        [] => {
            profile.refuse("interfaceDescriptions", "is missing, and so is domainName");
            Value::Null
        }
        _ => {
            profile.refuse("domainName", "excludes interfaceDescriptions");
            Value::Null
        }
    }
}

/// `{"host", "port"}` or, of one with a prefix, `{"uri"}`.
fn interface(platform: &Platform, body: &Reader<'_>, protocol: &str) -> Value {
    let given = body.given(&["ipv4Addr", "ipv6Addr", "fqdn"]);
    let [name] = given.as_slice() else {
        body.refuse("", "needs exactly one of ipv4Addr, ipv6Addr and fqdn");
        return json!({"host": "", "port": 0});
    };
    let host = body.filled_text(name, 253);
    let port = body.whole("port", u16::MAX.into()).unwrap_or(80);
    match body.text("apiPrefix", 1024) {
        None => json!({"host": host, "port": port}),
        Some(prefix) => {
            // What the gateway put in place of the app's own comes back as it was shown.
            let published = &platform.settings.published;
            let ours = host == published.host && port == u64::from(published.port);
            let scheme = protocol.to_ascii_lowercase();
            let scheme = if ours { published.scheme } else { scheme.as_str() };
            let host = bracketed(&host);
            json!({"uri": format!("{scheme}://{host}:{port}/{}", prefix.trim_start_matches('/'))})
        }
    }
}

/// A host as it stands in a URI.
fn bracketed(host: &str) -> Cow<'_, str> {
    let bare_v6 = host.contains(':') && !host.starts_with('[');
    if bare_v6 { format!("[{host}]").into() } else { host.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn feature_bits() {
        for (text, bits) in [
            ("100", Some(0x100)),
            ("0", Some(0)),
            ("f0000000000000000002", Some(2)),
            ("", None),
            ("x", None),
            ("+1", None),
            ("é0000000000000000", None),
        ] {
            assert_eq!(features(text), bits, "{text}");
        }
    }

    #[test]
    fn protocols_of_both_sides() {
        for (name, version, wanted) in [
            ("HTTP", "1.1", Some("HTTP_1_1")),
            ("http", "2.0", Some("HTTP_2")),
            ("MQTT", "3.1.1", Some("MQTT")),
            ("AMQP", "1", None),
        ] {
            assert_eq!(protocol(name, version), wanted, "{name}");
        }
    }
}
