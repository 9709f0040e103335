//! The OpenAPI documents of the platform's faces.
//!
//! [`Routes`] mounts handlers and takes down what the documents say of them in one step. Bodies are
//! described by `ToSchema` on the types that are read and written, or, where a body is read by hand,
//! on a type beside its reader. [`Platform::documents`] puts it together.

mod api;
mod operation;
mod routes;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use utoipa::openapi::path::{PathItem, Paths};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{
    Components, ComponentsBuilder, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder,
    ServerBuilder, ServerVariableBuilder,
};

pub(crate) use self::api::Api;
pub(crate) use self::operation::{Operation, anything, one_of, optional, text};
pub(crate) use self::routes::{Described, Routes};
use crate::Platform;
use crate::face::Face;

/// An address something is served at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Served {
    /// With TLS or without.
    pub tls: bool,
    /// Where; an unspecified address stands for the host's own names.
    pub address: SocketAddr,
}

/// Where the faces are served, as the documents tell it.
#[derive(Clone, Debug, Default)]
pub struct Servers {
    /// The gateway's proxy.
    pub gateway: Vec<Served>,
    /// What [`Platform::mepserver_router`] answers directly.
    pub mep: Vec<Served>,
    /// What [`Platform::mepauth_router`] answers directly.
    pub mep_auth: Vec<Served>,
    /// The management API of the name server; none when it is not served.
    pub dns_admin: Vec<Served>,
}

/// The OpenAPI documents (3.1), as JSON.
#[derive(Clone, Debug)]
pub struct Documents {
    /// All there is.
    pub whole: String,
    /// Each face alone: the path it is served at, what it is called, and the document.
    pub faces: [(&'static str, &'static str, String); 2],
}

impl Platform {
    /// The documents of all faces. They are made anew at each call, which takes some milliseconds.
    pub fn documents(self: &Arc<Self>, servers: &Servers) -> Documents {
        let described = [
            (crate::mp1::routes(self).into_described(), &servers.mep),
            (crate::auth_api::described(), &servers.mep_auth),
            (crate::dns::admin::described(), &servers.dns_admin),
        ];
        let mut all = Collected::default();
        for (described, direct) in described {
            all.add(described, |api| {
                let by_gateway = api.by_gateway(self.settings.management_by_gateway);
                let gateway = by_gateway.then_some(&servers.gateway);
                direct.iter().chain(gateway.into_iter().flatten()).copied().collect()
            });
        }
        let face = |face| all.document(|api| api.face().is_none_or(|own| own == face));
        Documents {
            whole: all.document(|_| true),
            faces: [
                ("/openapi/etsi.json", "ETSI MEC 011", face(Face::Standard)),
                ("/openapi/edgegallery.json", "EdgeGallery", face(Face::Dialect)),
            ],
        }
    }
}

/// Everything that is told of, with where it is served.
#[derive(Default)]
struct Collected {
    paths: Vec<(Api, String, PathItem, Vec<Served>)>,
    schemas: operation::Schemas,
}

impl Collected {
    /// What is served nowhere is not told of. One path may be served at several places.
    fn add(&mut self, described: Described, served: impl Fn(Api) -> Vec<Served>) {
        self.schemas.extend(described.schemas());
        for (api, path, item) in described.paths {
            let at = served(api);
            match self.paths.iter_mut().find(|(_, known, ..)| *known == path) {
                Some((_, _, known, places)) => {
                    known.merge_operations(item);
                    places.extend(at);
                }
                None if at.is_empty() => {}
                None => self.paths.push((api, path, item, at)),
            }
        }
    }

    /// The document of some of the APIs.
    fn document(&self, wanted: impl Fn(Api) -> bool) -> String {
        let mut paths = Paths::new();
        for (_, path, item, served) in self.paths.iter().filter(|(api, ..)| wanted(*api)) {
            let mut item = item.clone();
            item.servers = Some(served.iter().map(server).collect());
            paths.paths.insert(path.clone(), item);
        }
        let present = |api: &Api| wanted(*api) && self.paths.iter().any(|(own, ..)| own == api);
        let tags = Api::ALL
            .into_iter()
            .filter(present)
            .map(|api| TagBuilder::new().name(api.name()).description(Some(api.says())).build());
        let document = OpenApiBuilder::new()
            .info(
                InfoBuilder::new()
                    .title("MEC platform")
                    .version(env!("CARGO_PKG_VERSION"))
                    .description(Some(ABOUT))
                    .license(Some(
                        LicenseBuilder::new()
                            .name("Apache-2.0")
                            .identifier(Some("Apache-2.0"))
                            .build(),
                    ))
                    .build(),
            )
            .tags(Some(tags))
            .components(Some(self.components(&paths)))
            .paths(paths);
        to_json(&document.build())
    }

    /// The types that the paths name, themselves or by others.
    fn components(&self, paths: &Paths) -> Components {
        let known: BTreeMap<&str, _> =
            self.schemas.iter().map(|(name, schema)| (name.as_str(), schema)).collect();
        let mut components = ComponentsBuilder::new();
        let mut named = BTreeMap::new();
        let mut texts = vec![serde_json::to_string(paths).unwrap_or_default()];
        while let Some(text) = texts.pop() {
            for (name, schema) in &known {
                let reference = format!("\"#/components/schemas/{name}\"");
                if text.contains(&reference) && named.insert(*name, *schema).is_none() {
                    texts.push(serde_json::to_string(schema).unwrap_or_default());
                }
            }
        }
        for (name, schema) in named {
            components = components.schema(name, schema.clone());
        }
        let token = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .bearer_format("JWT")
            .description(Some("By the gateway: the token of POST /mep/token."))
            .build();
        let direct = ApiKeyValue::with_description(
            "X-AppInstanceID",
            "Directly, from a trusted address: the id of the application instance that asks.",
        );
        components
            .security_scheme(operation::TOKEN, SecurityScheme::Http(token))
            .security_scheme(operation::DIRECT, SecurityScheme::ApiKey(ApiKey::Header(direct)))
            .build()
    }
}

const ABOUT: &str = "The APIs of the MEC platform: ETSI GS MEC 011 and, under `/mep` and `/mepcfg`, \
    EdgeGallery's form of the same. By the gateway each request carries a token; the listeners of \
    the platform itself ask for none, from addresses they trust.";

/// A server whose host the reader may change.
fn server(served: &Served) -> utoipa::openapi::Server {
    let Served { tls, address } = served;
    let scheme = if *tls { "https" } else { "http" };
    let host = match address.ip() {
        ip if ip.is_unspecified() => "localhost".to_owned(),
        std::net::IpAddr::V6(ip) => format!("[{ip}]"),
        ip => ip.to_string(),
    };
    ServerBuilder::new()
        .url(format!("{scheme}://{{host}}:{}", address.port()))
        .parameter("host", ServerVariableBuilder::new().default_value(host))
        .build()
}

/// Texts, numbers and text keys only: it can be written.
fn to_json(document: &OpenApi) -> String {
    serde_json::to_string(document).unwrap_or_default()
}
