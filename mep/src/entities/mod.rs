//! What the platform keeps: its kinds of the catalog, none of them in the Admin API.
//!
//! Kinds are prefixed `mep_`. Where the outside world already has a 16-byte id for a thing, that is
//! its primary key: app instances and key pairs go by the app's UUID, service instances by the 32
//! digits clients see. Lookups by app or by service name are lookups of children, hence indexed.

mod app_credential;
mod app_instance;
mod application;
mod dns_record;
mod dns_rule;
mod seed;
mod service_info;
mod service_instance;
mod service_name;
mod subscription;
mod traffic_rule;

pub use app_credential::{AppCredential, Visibility};
pub use app_instance::AppInstance;
pub use application::{
    AppConfiguration, AppOperation, AppRegistration, AppTask, AppTermination, CallCount,
    OperationAction, TaskResult,
};
pub use dns_record::{Addresses, DnsClass, DnsRecord, Family};
pub use dns_rule::{DnsRule, IpAddressType, RuleState};
pub use seed::Seed;
pub use service_info::{
    Address, Category, Endpoint, Links, OAuth2, Security, ServiceInfo, TransportInfo,
};
pub(crate) use service_info::{GRANTS, LOCALITIES, sent_only};
pub use service_instance::{Publication, ServiceInstance, State, service_id};
pub use service_name::ServiceName;
pub use subscription::{Criteria, Events, Store, Subscription};
pub use traffic_rule::{
    Action, DestinationInterface, FilterType, InterfaceType, TrafficFilter, TrafficRule,
    TunnelInfo, TunnelType,
};

use gateway_model::{Change, Document, Entity, EntityType, Id, Key};
use serde::Serialize;

/// The platform's kinds; a kind comes after those it refers to.
pub static ALL: [&EntityType; 15] = [
    &APP_INSTANCES,
    &SERVICE_NAMES,
    &SERVICE_INSTANCES,
    &SUBSCRIPTIONS,
    &APP_CREDENTIALS,
    &DNS_RULES,
    &TRAFFIC_RULES,
    &APP_CONFIGURATIONS,
    &APP_OPERATIONS,
    &APP_TASKS,
    &APP_TERMINATIONS,
    &APP_REGISTRATIONS,
    &CALL_COUNTS,
    &SEEDS,
    &DNS_RECORDS,
];

static APP_INSTANCES: EntityType = EntityType::of::<AppInstance>();
static SERVICE_NAMES: EntityType = EntityType::of::<ServiceName>();
static SERVICE_INSTANCES: EntityType = EntityType::of::<ServiceInstance>();
static SUBSCRIPTIONS: EntityType = EntityType::of::<Subscription>();
static APP_CREDENTIALS: EntityType = EntityType::of::<AppCredential>();
static DNS_RULES: EntityType = EntityType::of::<DnsRule>();
static TRAFFIC_RULES: EntityType = EntityType::of::<TrafficRule>();
static APP_CONFIGURATIONS: EntityType = EntityType::of::<AppConfiguration>();
static APP_OPERATIONS: EntityType = EntityType::of::<AppOperation>();
static APP_TASKS: EntityType = EntityType::of::<AppTask>();
static APP_TERMINATIONS: EntityType = EntityType::of::<AppTermination>();
static APP_REGISTRATIONS: EntityType = EntityType::of::<AppRegistration>();
static CALL_COUNTS: EntityType = EntityType::of::<CallCount>();
static SEEDS: EntityType = EntityType::of::<Seed>();
static DNS_RECORDS: EntityType = EntityType::of::<DnsRecord>();

/// Creates or replaces an entity of ours.
pub(crate) fn put<T: Entity + Serialize>(id: Id, entity: &T) -> Change {
    Change::Upsert { kind: T::KIND, key: Key::Id(id), document: document(entity) }
}

/// Removes an entity; one that is not there is no error.
pub(crate) fn remove<T: Entity>(id: Id) -> Change {
    Change::Delete { kind: T::KIND, key: Key::Id(id) }
}

/// A record as its document.
pub(crate) fn document<T: Serialize>(record: &T) -> Document {
    match serde_json::to_value(record) {
        Ok(serde_json::Value::Object(members)) => members,
        // Structs with text keys always become objects.
        _ => Document::new(),
    }
}
