//! A service instance as gateway entities.
//!
//! Pure: endpoints in, changes out. Each distinct endpoint becomes a gateway service, a route
//! `/name` to it with the prefix taken off, and a `jwt` plugin that asks for a token that has not
//! expired. All are tagged, and their ids are derived from the name.

use gateway_model::entities::{PluginInstance, Route, Service};
use gateway_model::schema::Mode;
use gateway_model::{Catalog, Change, Document, Entity, Id, Key, Registry};
use serde_json::{Value, json};
use url::Url;

use crate::entities::{Address, Publication, ServiceInfo};
use crate::guard::{Forbidden, Guard};

/// The tag of everything the platform puts into the gateway.
pub const TAG: &str = "mep";

/// Where the gateway would forward to, or why it cannot.
pub type Endpoint<T = Url> = Result<T, Unpublishable>;

/// The endpoints of a service, in the order of the request: its URIs or, when there are none, its
/// addresses as `protocol://host:port/`.
pub fn endpoints(info: &ServiceInfo, guard: &Guard, registry: &Registry) -> Vec<Endpoint> {
    let endpoint = &info.transport_info.endpoint;
    let uris: Vec<Endpoint<String>> = match endpoint.uris.as_deref() {
        Some(uris) if !uris.is_empty() => uris.iter().cloned().map(Ok).collect(),
        _ => {
            let protocol = &info.transport_info.protocol;
            endpoint.addresses.iter().flatten().map(|address| uri_of(protocol, address)).collect()
        }
    };
    let mut found: Vec<Endpoint> = Vec::with_capacity(uris.len());
    for uri in uris {
        let endpoint = uri.and_then(|uri| {
            accept(&uri, guard, registry).map_err(|reason| Unpublishable { uri, reason })
        });
        if !endpoint.as_ref().is_ok_and(|url| found.iter().flatten().any(|known| known == url)) {
            found.push(endpoint);
        }
    }
    found
}

/// `protocol://host:port/`, of what is a host and no more.
fn uri_of(protocol: &str, Address { host, port }: &Address) -> Endpoint<String> {
    let bare_v6 = host.contains(':') && !host.starts_with('[');
    let host = if bare_v6 { format!("[{host}]") } else { host.clone() };
    let uri = format!("{protocol}://{host}:{port}/");
    match url::Host::parse(&host) {
        Ok(_) => Ok(uri),
        Err(problem) => Err(Unpublishable { uri, reason: Reason::Url(problem) }),
    }
}

/// An endpoint the gateway does not offer.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{} is not published: {reason}", place(uri))]
pub struct Unpublishable {
    /// As the client wrote it, or as its address would be written.
    pub uri: String,
    /// What is wrong with it.
    pub reason: Reason,
}

/// Scheme, host and port of a URI. The rest of it may hold secrets of the client: it stays out of
/// logs.
fn place(uri: &str) -> String {
    match Url::parse(uri) {
        Ok(url) => {
            let (host, port) = (url.host_str().unwrap_or_default(), url.port_or_known_default());
            let port = port.map(|port| format!(":{port}")).unwrap_or_default();
            format!("{}://{host}{port}", url.scheme())
        }
        Err(_) => "an endpoint".to_owned(),
    }
}

/// Why an endpoint is not offered.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Reason {
    /// It is no absolute URL.
    #[error("{0}")]
    Url(url::ParseError),
    /// Clients may not send the gateway there.
    #[error("{0}")]
    Forbidden(Forbidden),
    /// The gateway's own rules for services refuse it.
    #[error("{0}")]
    Schema(String),
}

fn accept(uri: &str, guard: &Guard, registry: &Registry) -> Result<Url, Reason> {
    // The parser lower-cases the scheme, so `HTTP://…` is served, and it is the only one that reads
    // the URI: what the guard has checked is what the gateway gets.
    let mut url = Url::parse(uri).map_err(Reason::Url)?;
    url.set_fragment(None);
    url.set_query(None);
    guard.check(&url).map_err(Reason::Forbidden)?;
    let kind = registry.kind(Service::KIND).ok_or(Reason::Forbidden(Forbidden::Host))?;
    let mut document = service(&url, "x");
    let mut violations = registry.complete(kind, &mut document);
    violations.add_all(registry.check(kind, &document, Mode::Create));
    if violations.is_empty() { Ok(url) } else { Err(Reason::Schema(violations.message())) }
}

/// What has to change so that exactly `wanted` is offered, and what is offered then.
///
/// An endpoint that is offered already keeps its name, as long as the gateway still has it: an
/// operator may have deleted it. `names` gives new names.
pub fn plan(
    catalog: &Catalog,
    wanted: &[Url],
    present: &[Publication],
    names: &mut dyn FnMut() -> String,
) -> (Vec<Publication>, Vec<Change>) {
    let mut changes = Vec::new();
    let publications: Vec<Publication> = wanted
        .iter()
        .map(|url| {
            let kept = present.iter().find(|old| old.target == url.as_str());
            let kept = kept.filter(|old| is_offered(catalog, &old.name));
            kept.cloned().unwrap_or_else(|| {
                let publication = Publication { target: url.as_str().to_owned(), name: names() };
                changes.extend(publish(url, &publication.name));
                publication
            })
        })
        .collect();
    let gone = present.iter().filter(|old| publications.iter().all(|new| new.name != old.name));
    changes.extend(gone.flat_map(|old| withdraw(catalog, &old.name)));
    (publications, changes)
}

/// A new name for an endpoint of a service: its name and the first 20 digits of a time-based UUID.
pub fn name_of(ser_name: &str) -> String {
    // The node does not show in the first 20 digits.
    let uuid = uuid::Uuid::now_v1(&[0; 6]).simple().to_string();
    // The gateway's names are narrower than those of services.
    let plain = |letter: &char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-');
    let name: String = ser_name.chars().filter(plain).collect();
    let name = if name.is_empty() { "service" } else { &name };
    format!("{name}{}", &uuid[..20])
}

fn publish(url: &Url, name: &str) -> [Change; 3] {
    let service_id = gateway_id::<Service>(name);
    let route = json!({
        "id": gateway_id::<Route>(name),
        "name": name,
        "paths": [format!("/{name}")],
        "service": {"id": service_id},
        "tags": [TAG],
    });
    let plugin = json!({
        "id": gateway_id::<PluginInstance>(name),
        "name": "jwt",
        "service": {"id": service_id},
        "config": {"claims_to_verify": ["exp"]},
        "tags": [TAG],
    });
    [
        Change::Insert { kind: Service::KIND, document: service(url, name) },
        Change::Insert { kind: Route::KIND, document: object(route) },
        Change::Insert { kind: PluginInstance::KIND, document: object(plugin) },
    ]
}

/// Removes a name from the gateway, with whatever routes an operator gave it.
pub fn withdraw(catalog: &Catalog, name: &str) -> Vec<Change> {
    let id = gateway_id::<Service>(name);
    let delete = |kind, id: Id| Change::Delete { kind, key: Key::Id(id) };
    let routes =
        catalog.children::<Route>("service", id).map(|route| delete(Route::KIND, route.id()));
    routes.chain([delete(Service::KIND, id)]).collect()
}

fn is_offered(catalog: &Catalog, name: &str) -> bool {
    catalog.get::<Service>(gateway_id::<Service>(name)).is_some()
}

fn gateway_id<T: Entity>(name: &str) -> Id {
    Id::derived(T::KIND, name)
}

fn service(url: &Url, name: &str) -> Document {
    object(json!({
        "id": gateway_id::<Service>(name),
        "name": name,
        "protocol": url.scheme(),
        "host": url.host_str().map(|host| host.trim_start_matches('[').trim_end_matches(']')),
        "port": url.port_or_known_default(),
        "path": url.path(),
        "tags": [TAG],
    }))
}

fn object(value: Value) -> Document {
    match value {
        Value::Object(members) => members,
        _ => Document::new(),
    }
}

#[cfg(test)]
mod tests;
