//! [`ServiceName`]: a name some service was registered under, now or before.

use gateway_model::schema::Record;
use gateway_model::{Entity, Id};
use serde::{Deserialize, Serialize};

/// A name some service was registered under. It outlives its services: asking for a name that is
/// known but offered by nobody is answered otherwise than asking for one nobody ever had. Only when
/// there are too many such names the longest known are forgotten.
#[derive(Clone, Debug, Serialize, Deserialize, Record)]
pub struct ServiceName {
    /// Derived from the name, see [`ServiceName::id_of`].
    #[record(auto = Auto::Id)]
    pub id: Id,
    /// The name.
    #[record(unique)]
    pub name: String,
    /// When it was registered first, Unix milliseconds.
    #[record(default = 0)]
    #[serde(default)]
    pub known_since_ms: u64,
}

impl Entity for ServiceName {
    const KIND: &'static str = "mep_service_names";
}

impl ServiceName {
    /// The id of a name.
    pub fn id_of(name: &str) -> Id {
        Id::derived(Self::KIND, name)
    }
}
