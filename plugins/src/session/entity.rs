//! [`Stored`] and [`Metadata`]: sessions in our store.

use gateway_model::schema::Record;
use gateway_model::{Entity, EntityType, Id, Ref};
use serde::Deserialize;

pub(super) static SESSIONS: EntityType =
    EntityType::of::<Stored>().at("sessions", Some("session_id")).nested("sessions");

pub(super) static SESSION_METADATAS: EntityType = EntityType::of::<Metadata>();

/// One session (kong/plugins/session/daos.lua).
#[derive(Deserialize, Record)]
pub(crate) struct Stored {
    /// Primary key.
    #[record(auto = Auto::Id)]
    #[expect(dead_code, reason = "read from the document")]
    id: Id,
    /// What the cookie names it by.
    #[record(unique, sealed)]
    #[expect(dead_code, reason = "found by the catalog's index")]
    session_id: String,
    /// Unix seconds at which it ends.
    pub(super) expires: Option<u64>,
    /// What is known of it, sealed with the secret of the instance that made it.
    pub(super) data: Option<String>,
    /// Unix seconds of creation.
    #[record(auto = Auto::CreatedAt)]
    #[expect(dead_code, reason = "for operators")]
    created_at: u64,
    /// When it stops to be known, in Unix milliseconds; unset keeps it for ever.
    #[record(expires)]
    ttl: Option<u64>,
}

impl Entity for Stored {
    const KIND: &'static str = "sessions";
}

impl Stored {
    /// Whether it is not known any more at `now`, in Unix seconds.
    pub(super) fn is_gone(&self, now: u64) -> bool {
        self.expires.is_some_and(|end| end <= now) || self.ttl.is_some_and(|end| end / 1000 <= now)
    }
}

/// Whose session it is (kong/plugins/session/daos.lua).
#[derive(Deserialize, Record)]
pub(crate) struct Metadata {
    /// Primary key.
    #[record(auto = Auto::Id)]
    #[expect(dead_code, reason = "read from the document")]
    id: Id,
    /// Which session.
    #[record(cascade)]
    #[expect(dead_code, reason = "it goes with the session")]
    session: Ref<Stored>,
    /// What the cookie names the session by.
    #[expect(dead_code, reason = "for operators")]
    sid: Option<String>,
    /// For whom the session is.
    #[expect(dead_code, reason = "for operators")]
    audience: Option<String>,
    /// Who logged in.
    #[expect(dead_code, reason = "for operators")]
    subject: Option<String>,
    /// Unix seconds of creation.
    #[record(auto = Auto::CreatedAt)]
    #[expect(dead_code, reason = "for operators")]
    created_at: u64,
}

impl Entity for Metadata {
    const KIND: &'static str = "session_metadatas";
}
