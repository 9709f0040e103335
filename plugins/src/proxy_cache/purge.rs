//! Purges, told to every node (kong/plugins/proxy-cache/api.lua, broadcast_purge): a purge is an
//! entity for a minute, which nodes find in their catalog.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use gateway_model::schema::Record;
use gateway_model::{Change, Entity, EntityType, Id};
use serde::Deserialize;
use serde_json::{Value, json};

use super::cache::{Answers, Place};
use crate::contract::Tools;

pub(super) static PURGES: EntityType = EntityType::of::<Purge>();

/// What is to be forgotten: one answer, or all.
#[derive(Deserialize, Record)]
pub(crate) struct Purge {
    /// Primary key.
    #[record(auto = Auto::Id)]
    #[expect(dead_code, reason = "read from the document")]
    id: Id,
    /// The memory it is in.
    memory: Option<String>,
    /// The key it is kept by.
    cache_key: Option<String>,
    /// When it stops to be known, in Unix milliseconds.
    #[record(expires)]
    #[expect(dead_code, reason = "for the store")]
    ttl: Option<u64>,
}

impl Entity for Purge {
    const KIND: &'static str = "mep_cache_purges";
}

/// Seconds in which every node has looked.
const LIFETIME: u64 = 60;
/// How often a node looks. Kong does it every five seconds (`db_update_frequency`).
const TURN: Duration = Duration::from_millis(500);

/// Has other nodes forget an answer, or all. One that keeps no database has no others.
pub(super) async fn tell(tools: Arc<Tools>, place: Option<Place>) {
    let (memory, key) = match &place {
        Some(place) => (Some(&*place.memory), Some(&*place.key)),
        None => (None, None),
    };
    let document = json!({"memory": memory, "cache_key": key, "ttl": LIFETIME});
    let Value::Object(document) = document else { return };
    let change = Change::Insert { kind: Purge::KIND, document };
    if let Err(why) = tools.entities.apply(vec![change]).await {
        tracing::warn!(%why, "other nodes are not told of a purge: {why}");
    }
}

/// What looks for purges of other nodes, one in a process.
pub(super) struct Watch(tokio::task::AbortHandle);

impl Watch {
    /// The one of this process.
    pub(super) fn of(tools: &Arc<Tools>) -> Arc<Self> {
        let known = Arc::downgrade(tools);
        tools.shared(|tools| {
            let answers = Answers::of(tools);
            let task = tools.runtime.spawn(async move {
                let mut turns = tokio::time::interval(TURN);
                let mut seen = None;
                loop {
                    turns.tick().await;
                    let Some(tools) = known.upgrade() else { return };
                    look(&tools, &answers, &mut seen);
                }
            });
            Self(task.abort_handle())
        })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Does what purges say that were not seen before. Those of the first look are older than what is
/// kept here.
fn look(tools: &Tools, answers: &Answers, seen: &mut Option<HashSet<Id>>) {
    let Some(catalog) = tools.entities.catalog() else { return };
    let now = tools.clock.unix_seconds();
    let mut present = HashSet::new();
    for purge in catalog.all::<Purge>() {
        present.insert(purge.id());
        if seen.as_ref().is_none_or(|seen| seen.contains(&purge.id())) {
            continue;
        }
        match (&purge.memory, &purge.cache_key) {
            (Some(memory), Some(key)) => {
                answers.forget(&Place { memory: memory.as_str().into(), key: key.clone() }, now);
            }
            _ => answers.forget_all(),
        }
    }
    *seen = Some(present);
}
