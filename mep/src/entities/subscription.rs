//! [`Subscription`]: who wants to be told of services, or of the end of an application.

use gateway_model::schema::Record;
use gateway_model::{Entity, Id, Ref};
use serde::{Deserialize, Serialize};

use super::{AppInstance, Category};

/// Who wants to be told, at which URI, of what.
#[derive(Clone, Debug, Serialize, Deserialize, Record)]
pub struct Subscription {
    /// The subscription id.
    #[record(auto = Auto::Id)]
    pub id: Id,
    /// The subscriber.
    #[record(cascade)]
    pub app: Ref<AppInstance>,
    /// Which of the two independent stores it is in.
    pub store: Store,
    /// Where notifications go.
    pub callback_reference: String,
    /// Which services it is about; null in the termination store.
    pub criteria: Option<Criteria>,
    /// The `appInstanceId` of the request; null in the availability store.
    pub app_instance_id: Option<String>,
}

impl Entity for Subscription {
    const KIND: &'static str = "mep_subscriptions";
}

/// One of the two independent stores of subscriptions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Record)]
#[serde(rename_all = "lowercase")]
pub enum Store {
    /// Services that come, change and go; `mec_service_mgmt`.
    Availability,
    /// The end of the application; `mec_app_support`.
    Termination,
}

impl Store {
    /// The `subscriptionType` of its subscriptions.
    pub const fn type_name(self) -> &'static str {
        match self {
            Self::Availability => "SerAvailabilityNotificationSubscription",
            Self::Termination => "AppTerminationNotificationSubscription",
        }
    }

    /// The API it belongs to, as it stands in paths.
    pub const fn api(self) -> &'static str {
        match self {
            Self::Availability => "mec_service_mgmt",
            Self::Termination => "mec_app_support",
        }
    }
}

/// Which services a subscription is about. A list that is absent or empty asks for nothing in
/// particular; lists that are given must all hold, each by any of its members (ETSI GS MEC 011,
/// clause 8.1.3.2).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Criteria {
    /// Ids of service instances.
    pub ser_instance_ids: Option<Vec<String>>,
    /// Service names.
    pub ser_names: Option<Vec<String>>,
    /// Categories, equal in all four members.
    pub ser_categories: Option<Vec<Category>>,
    /// States, as they stand on the wire.
    pub states: Option<Vec<String>>,
    /// Only services local to the subscriber.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_local: bool,
}

super::service_info::any_schema!(Criteria);
