//! [`Face`]: in which of its two forms the platform speaks, and the links of each.

use gateway_model::Id;
use gateway_model::schema::Record;
use serde::{Deserialize, Serialize};

use crate::entities::{Store, Subscription, service_id};

/// The form of a request, of its answer, and of the notifications that follow from it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, Record)]
#[serde(rename_all = "lowercase")]
pub enum Face {
    /// EdgeGallery's, under `/mep`.
    #[default]
    Dialect,
    /// ETSI's own.
    Standard,
}

impl Face {
    /// What stands before the name of an API.
    pub(crate) const fn prefix(self) -> &'static str {
        match self {
            Self::Dialect => "/mep",
            Self::Standard => "",
        }
    }

    /// The path of a service.
    pub(crate) fn service(self, app: Id, service: Id) -> String {
        let service = service_id(service);
        format!("{}/mec_service_mgmt/v1/applications/{app}/services/{service}", self.prefix())
    }

    /// The path of a service's heartbeats.
    pub(crate) fn liveness(self, app: Id, service: Id) -> String {
        format!("{}/liveness", self.service(app, service))
    }

    /// The path an application confirms its end at.
    pub(crate) fn confirm_termination(self, app: Id) -> String {
        format!("{}/mec_app_support/v1/applications/{app}/confirm_termination", self.prefix())
    }
}

/// The path of a subscription. The dialect leaves out the `/mep` that clients put before it, so it
/// is the same for both.
pub(crate) fn subscription(subscription: &Subscription) -> String {
    let Subscription { id, app, store, .. } = subscription;
    match store {
        Store::Events => format!("/capif-events/v1/{}/subscriptions/{id}", app.id),
        store => format!("/{}/v1/applications/{}/subscriptions/{id}", store.api(), app.id),
    }
}
