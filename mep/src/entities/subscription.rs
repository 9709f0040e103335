//! [`Subscription`]: who wants to be told of services, or of the end of an application.

use gateway_model::schema::Record;
use gateway_model::{Entity, Id, Ref};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{AppInstance, Category};
use crate::face::Face;

/// Who wants to be told, at which URI, of what.
#[derive(Clone, Debug, Serialize, Deserialize, Record)]
pub struct Subscription {
    /// The subscription id.
    #[record(auto = Auto::Id)]
    pub id: Id,
    /// The subscriber.
    #[record(cascade)]
    pub app: Ref<AppInstance>,
    /// Which of the independent stores it is in.
    pub store: Store,
    /// Where notifications go.
    pub callback_reference: String,
    /// Which services it is about; null in the termination store.
    pub criteria: Option<Criteria>,
    /// The `appInstanceId` of the request; null in the other stores.
    pub app_instance_id: Option<String>,
    /// Where it was made, which decides how its notifications are written.
    #[record(default = "dialect")]
    #[serde(default)]
    pub face: Face,
    /// What a subscriber of CAPIF events asked for; null in the other stores.
    pub events: Option<Events>,
    /// Where it is written, how many seconds it has to live; where it is read, when it ends, Unix
    /// milliseconds. Null for ever.
    #[record(expires)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends: Option<u64>,
}

impl Entity for Subscription {
    const KIND: &'static str = "mep_subscriptions";
}

/// One of the independent stores of subscriptions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Record)]
#[serde(rename_all = "lowercase")]
pub enum Store {
    /// Services that come, change and go; `mec_service_mgmt`.
    Availability,
    /// The end of the application; `mec_app_support`.
    Termination,
    /// Events of the CAPIF profile; `capif-events`.
    Events,
}

impl Store {
    /// The `subscriptionType` of its subscriptions.
    pub const fn type_name(self) -> &'static str {
        match self {
            Self::Availability => "SerAvailabilityNotificationSubscription",
            Self::Termination => "AppTerminationNotificationSubscription",
            Self::Events => "EventSubscription",
        }
    }

    /// The API it belongs to, as it stands in paths.
    pub const fn api(self) -> &'static str {
        match self {
            Self::Availability => "mec_service_mgmt",
            Self::Termination => "mec_app_support",
            Self::Events => "capif-events",
        }
    }
}

/// Which services a subscription is about (ETSI GS MEC 011, clause 8.1.3.2). A list that is absent or
/// empty asks for nothing in particular, another holds by any of its members. Of ids, names and
/// categories one list that holds is enough; states and locality must hold besides.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
#[schema(as = edgegallery::FilteringCriteria)]
pub struct Criteria {
    /// Ids of service instances.
    pub ser_instance_ids: Option<Vec<String>>,
    /// Service names.
    pub ser_names: Option<Vec<String>>,
    /// Categories, equal in all four members.
    pub ser_categories: Option<Vec<Category>>,
    /// States, as they stand on the wire.
    pub states: Option<Vec<String>>,
    /// Only services local to the subscriber, or only others. The dialect has no word for the
    /// latter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_local: Option<bool>,
}

/// What a subscriber of CAPIF events asked for (3GPP TS 29.222, clause 8.3).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Events {
    /// Names of events.
    pub events: Vec<String>,
    /// Ids of services; empty for all.
    pub api_ids: Vec<String>,
    /// Ids of transports; empty for all.
    pub aef_ids: Vec<String>,
    /// Whether bodies have the platform's own members.
    pub extensions: bool,
    /// The members a client gets back.
    pub shown: gateway_model::Document,
}

super::service_info::any_schema!(Criteria, Events);
