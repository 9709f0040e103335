//! The Admin API over a memory store, with the credentials and plugins the recordings need most.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::body::{Body, to_bytes};
use gateway_admin::{
    Admin, Connections, Headers, Node, NodeStatus, Ports, Source, Writes, router_with,
};
use gateway_control::Control;
use gateway_control::store::memory::Memory;
use gateway_model::entities::{self, Consumer, Target};
use gateway_model::ports::{AddressState, Health, MarkError, TargetHealth, TargetState};
use gateway_model::schema::{Check, Field, Record, Rule};
use gateway_model::{Clock, Document, Entity, EntityType, Id, PluginSchema, Ref, Registry, Scopes};
use http::Request;
use serde::Deserialize;
use serde_json::json;
use tokio::runtime::Runtime;
use tower::ServiceExt as _;

use crate::replay::{Reply, Sent};

/// A key of a consumer, as the jwt plugin declares it in this gateway.
#[derive(Debug, Deserialize, Record)]
#[record(check(public_key_of_rsa()))]
#[expect(dead_code, reason = "the entity is only read as a document here")]
pub(crate) struct JwtSecret {
    /// Primary key.
    #[record(auto = Auto::Id)]
    pub(crate) id: Id,
    /// Unix seconds of creation.
    #[record(auto = Auto::CreatedAt)]
    pub(crate) created_at: u64,
    /// Whose.
    #[record(cascade)]
    pub(crate) consumer: Ref<Consumer>,
    /// Names it in a token.
    #[record(unique, auto = Auto::RandomText)]
    pub(crate) key: String,
    /// Shared with the consumer.
    #[record(auto = Auto::RandomText)]
    pub(crate) secret: String,
    /// For the algorithms with a key pair.
    pub(crate) rsa_public_key: Option<String>,
    /// How tokens are signed.
    #[record(default = "HS256", one_of(ALGORITHMS))]
    pub(crate) algorithm: Option<String>,
    /// Free labels.
    #[record(set, elements(|e| e.is("tag", types::tag)))]
    pub(crate) tags: Option<Vec<String>>,
}

const ALGORITHMS: [&str; 13] = [
    "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256",
    "PS384", "PS512", "EdDSA",
];

impl Entity for JwtSecret {
    const KIND: &'static str = "jwt_secrets";
}

fn public_key_of_rsa() -> Check {
    let rsa = Rule::OneOf(vec!["RS256".into(), "RS384".into(), "RS512".into()]);
    Check::conditional("algorithm", rsa, "rsa_public_key", pem())
}

fn pem() -> Rule {
    Rule::Custom {
        name: "pem",
        check: |value| match value.as_str() {
            Some(text) if text.starts_with("-----BEGIN PUBLIC KEY-----") => Ok(()),
            _ => Err("invalid key".into()),
        },
    }
}

static JWT_SECRETS: EntityType =
    EntityType::of::<JwtSecret>().at("jwts", Some("key")).nested("jwt");

fn plugin(name: &'static str, record: Record, scopes: Scopes) -> PluginSchema {
    const PROTOCOLS: &[&str] = &["grpc", "grpcs", "http", "https"];
    let (protocols, default_protocols) = (PROTOCOLS, PROTOCOLS);
    PluginSchema {
        name,
        version: "3.10.0",
        priority: 1,
        record,
        scopes,
        protocols,
        default_protocols,
    }
}

/// Every kind of the gateway, jwt credentials, and three plugins.
pub(crate) fn registry() -> Registry {
    let mut registry = Registry::new(entities::ALL.into_iter().chain([&JWT_SECRETS]));
    let list = |name| Field::of::<Option<Vec<String>>>(name);
    let ip = Record::default()
        .field(
            list("allow")
                .elements(|e| e.is("ip_or_cidr", gateway_model::schema::types::ip_or_cidr)),
        )
        .field(list("deny"))
        .field(Field::of::<Option<u16>>("status"))
        .field(Field::of::<Option<String>>("message"))
        .alias("whitelist", "allow")
        .check(Check::AtLeastOneOf(&["allow", "deny"]));
    registry.add_plugin(plugin("ip-restriction", ip, Scopes::ALL));
    let key_auth =
        Record::default().field(Field::of::<Vec<String>>("key_names").default(["apikey"]));
    registry.add_plugin(plugin("key-auth", key_auth, Scopes::NO_CONSUMER));
    let redis = Record::default().field(Field::of::<Option<String>>("host"));
    let mut redis_field = Field::of::<Document>("redis");
    redis_field.kind = gateway_model::schema::Kind::Record(Box::new(redis));
    let limit = Record::default()
        .field(Field::of::<Option<u32>>("minute").gt(0.0))
        .field(redis_field)
        .moved("redis_host", "redis.host")
        .check(Check::AtLeastOneOf(&["minute"]));
    registry.add_plugin(plugin("limit", limit, Scopes::ALL));
    registry
}

struct Idle;

impl NodeStatus for Idle {
    fn connections(&self) -> Connections {
        Connections { accepted: 3, requests: 7, ..Connections::default() }
    }

    fn memory_bytes(&self) -> u64 {
        5 * 1024 * 1024
    }

    fn source(&self) -> Source {
        Source::Database { reachable: true }
    }
}

/// A balancer that resolves names as the recordings do: those below `.test` are here.
struct Balancer(Control);

impl TargetHealth for Balancer {
    fn target(&self, _: Id, target: Id) -> Option<TargetState> {
        let target = self.0.catalog().get::<Target>(target)?;
        let (host, port) = target.host_and_port();
        let local = host.ends_with(".test").then_some(IpAddr::from([127, 0, 0, 1]));
        let addresses = host.parse().ok().or(local).map(|address: IpAddr| AddressState {
            address: (address, port).into(),
            weight: target.weight.unwrap().into(),
            health: Health::Off,
        });
        let health = if addresses.is_some() { Health::Off } else { Health::DnsError };
        Some(TargetState { health, addresses: addresses.into_iter().collect() })
    }

    fn mark(&self, _: Id, _: Id, _: Option<SocketAddr>, _: bool) -> Result<(), MarkError> {
        Err(MarkError::Unchecked)
    }
}

/// An Admin API of its own, empty at first.
pub(crate) struct Subject {
    runtime: Runtime,
    pub(crate) admin: Admin,
    pub(crate) ports: Ports,
}

impl Subject {
    pub(crate) fn start() -> Self {
        let runtime = Runtime::new().unwrap();
        let control = runtime
            .block_on(Control::start(
                Arc::new(registry()),
                Arc::new(Memory::new()),
                Vec::new(),
                Clock::system(),
            ))
            .unwrap();
        let balancer = Balancer(control.clone());
        let ports = Ports { targets: Some(Arc::new(balancer)), ..Ports::default() };
        let configuration = json!({ "database": "sqlite" }).as_object().unwrap().clone();
        let admin = Admin {
            control,
            node: Node {
                version: "3.10.0".into(),
                id: Id::random(),
                hostname: "node".into(),
                pid: 42,
                configuration,
            },
            status: Arc::new(Idle),
            metrics: Some(Arc::new(|| "kong_node_info 1\n".into())),
            gui_origins: Vec::new(),
            headers: Headers { server: Some("kong/3.10.0".into()), latency: true },
            writes: Writes::Store,
            body_limit: 10 << 20,
        };
        Self { runtime, admin, ports }
    }

    /// What the control plane runs on.
    #[allow(dead_code, reason = "only one of the tests opens a socket")]
    pub(crate) fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// Sends a request through the router, without a socket.
    pub(crate) fn send(&self, sent: &Sent) -> Reply {
        let mut request = Request::builder().method(sent.method.as_str()).uri(&sent.path);
        for (name, values) in &sent.headers {
            for value in values.all() {
                request = request.header(name, value);
            }
        }
        let request = request.body(Body::from(sent.bytes())).unwrap();
        let service = router_with(self.admin.clone(), self.ports.clone());
        self.runtime.block_on(async {
            let response = service.oneshot(request).await.unwrap();
            let status = response.status().as_u16();
            let headers = response.headers().iter();
            let headers = headers
                .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
                .collect();
            let body = to_bytes(response.into_body(), 1 << 24).await.unwrap().to_vec();
            Reply { status, headers, body }
        })
    }
}
