//! Entities and a control plane for tests of what follows the feed.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::{Arc, OnceLock};

use gateway_control::Control;
use gateway_control::store::memory::Memory;
use gateway_model::{Change, Clock, Entity as _, Id, Ref, Registry};

use crate::entities::{
    ALL, AppInstance, Criteria, ServiceInfo, ServiceInstance, ServiceName, State, Store,
    Subscription, put,
};

/// A control plane that knows the platform's kinds, over a store in memory.
pub(crate) async fn control() -> Control {
    let registry = Arc::new(Registry::new(ALL));
    Control::start(registry, Arc::new(Memory::new()), Vec::new(), Clock::fixed(0)).await.unwrap()
}

/// The only app of these tests.
pub(crate) fn app() -> AppInstance {
    AppInstance { id: Id::derived(AppInstance::KIND, "app") }
}

/// An active service with this name and an id derived from it, registered at the epoch.
pub(crate) fn instance(name: &str) -> ServiceInstance {
    ServiceInstance {
        id: Id::derived(ServiceInstance::KIND, name),
        app: Ref::new(app().id),
        service_name: Ref::new(ServiceName::id_of(name)),
        info: ServiceInfo { ser_name: name.to_owned(), ..ServiceInfo::default() },
        state: State::Active,
        publications: Vec::new(),
        renewed_at_ms: 0,
        shown: OnceLock::new(),
        shown_by_standard: OnceLock::new(),
    }
}

/// Writes a service and what it refers to.
pub(crate) fn register(instance: &ServiceInstance) -> Vec<Change> {
    let name = instance.info.ser_name.clone();
    let name = ServiceName { id: ServiceName::id_of(&name), name, known_since_ms: 0 };
    vec![put(app().id, &app()), put(name.id, &name), put(instance.id, instance)]
}

/// The availability subscription number `number`.
pub(crate) fn subscription(number: u16, callback: &str, criteria: &str) -> Subscription {
    let mut id = [0; 16];
    id[14..].copy_from_slice(&number.to_be_bytes());
    let criteria: Criteria = serde_json::from_str(criteria).unwrap();
    Subscription {
        id: Id::from_bytes(id),
        app: Ref::new(app().id),
        store: Store::Availability,
        callback_reference: callback.to_owned(),
        criteria: Some(criteria),
        app_instance_id: None,
        face: crate::face::Face::Dialect,
        events: None,
        ends: None,
    }
}

/// Writes a subscription and what it refers to.
pub(crate) fn subscribe(subscription: &Subscription) -> Vec<Change> {
    vec![put(app().id, &app()), put(subscription.id, subscription)]
}
