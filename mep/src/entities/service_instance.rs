//! [`ServiceInstance`]: a service an app instance offers over Mp1.

use std::sync::OnceLock;

use gateway_model::schema::Record;
use gateway_model::{Entity, Id, Ref};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{AppInstance, ServiceInfo, ServiceName};

/// A service an app instance offers.
#[derive(Clone, Debug, Serialize, Deserialize, Record)]
pub struct ServiceInstance {
    /// The sixteen bytes clients see as 32 hexadecimal digits, see [`service_id`].
    #[record(auto = Auto::Id)]
    pub id: Id,
    /// Who offers it.
    #[record(cascade)]
    pub app: Ref<AppInstance>,
    /// Its name, as what others of that name share; a replacement may bring another.
    pub service_name: Ref<ServiceName>,
    /// What the app said about it, with defaults.
    pub info: ServiceInfo,
    /// Whether it can be used.
    pub state: State,
    /// Where the gateway offers it, in the order of the request.
    pub publications: Vec<Publication>,
    /// When it was registered, replaced or turned last; Unix milliseconds.
    pub renewed_at_ms: u64,
    /// What discovery shows of it: JSON text, made on first use.
    #[serde(skip)]
    #[record(skip)]
    pub(crate) shown: OnceLock<Box<str>>,
    /// The same in the standard's own form.
    #[serde(skip)]
    #[record(skip)]
    pub(crate) shown_by_standard: OnceLock<Box<str>>,
}

impl Entity for ServiceInstance {
    const KIND: &'static str = "mep_service_instances";
}

impl ServiceInstance {
    /// The id as clients see it.
    pub fn service_id(&self) -> String {
        service_id(self.id)
    }

    /// Its owner's app instance id.
    pub fn app_instance_id(&self) -> String {
        self.app.id.to_string()
    }

    /// Milliseconds without a heartbeat after which it counts as suspended, `None` when it sends
    /// none: the interval and 5 % of it, of which whole seconds and at most five.
    pub fn patience_ms(&self) -> Option<u64> {
        let interval = u64::try_from(self.info.liveness_interval).unwrap_or(0);
        (interval > 0).then(|| (interval + interval.div_ceil(20).min(5)) * 1000)
    }
}

/// The id of a service instance as clients see it: 32 lower-case hexadecimal digits.
pub fn service_id(id: Id) -> String {
    hex::encode(id.as_bytes())
}

/// Whether a service instance can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Record, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
#[schema(as = ServiceState)]
pub enum State {
    /// It can.
    Active,
    /// Its app says it cannot.
    Inactive,
    /// Its heartbeats stopped.
    Suspended,
}

impl State {
    /// As it stands on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::Inactive => "INACTIVE",
            Self::Suspended => "SUSPENDED",
        }
    }

    /// A state a client may ask for.
    pub fn requested(text: &str) -> Option<Self> {
        [Self::Active, Self::Inactive].into_iter().find(|state| state.as_str() == text)
    }
}

/// One endpoint and the name the gateway offers it under.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Record)]
pub struct Publication {
    /// Where the gateway forwards to, in normal form.
    pub target: String,
    /// Name of the gateway's service and route; `/name` is the route's path.
    pub name: String,
}

#[cfg(test)]
mod tests {
    use gateway_model::{Id, Ref};

    use super::*;

    #[test]
    fn patience_is_the_interval_and_a_little_more() {
        for (interval, patience) in [
            (0, None),
            (1, Some(2000)),
            (20, Some(21_000)),
            (60, Some(63_000)),
            (1000, Some(1_005_000)),
        ] {
            let id = Id::random();
            let instance = ServiceInstance {
                id,
                app: Ref::new(id),
                service_name: Ref::new(id),
                info: ServiceInfo { liveness_interval: interval, ..ServiceInfo::default() },
                state: State::Active,
                publications: Vec::new(),
                renewed_at_ms: 0,
                shown: OnceLock::new(),
                shown_by_standard: OnceLock::new(),
            };
            assert_eq!(instance.patience_ms(), patience, "{interval}");
        }
    }
}
