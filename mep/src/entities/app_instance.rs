//! [`AppInstance`]: an application that keeps something on this platform.

use gateway_model::schema::Record;
use gateway_model::{Entity, Id};
use serde::{Deserialize, Serialize};

/// An application that registered or subscribed. What it owns goes with it.
#[derive(Clone, Debug, Serialize, Deserialize, Record)]
pub struct AppInstance {
    /// Its app instance id.
    #[record(auto = Auto::Id)]
    pub id: Id,
}

impl Entity for AppInstance {
    const KIND: &'static str = "mep_app_instances";
}
