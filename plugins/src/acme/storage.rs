//! [`Storage`]: values by name, known to every node.

use std::sync::Arc;

use gateway_model::{Change, Condition, Document, Entity, Key, Rejection};

use super::entity::AcmeStorage;
use crate::contract::Tools;

/// Values by name, known to every node.
#[derive(Clone)]
pub(super) struct Storage(pub(super) Arc<Tools>);

impl Storage {
    /// A value that is there and not over.
    pub(super) fn get(&self, name: &str) -> Option<String> {
        let stored = self.0.entities.catalog()?.by::<AcmeStorage>("key", name)?;
        let now = self.0.clock.unix_ms();
        (!stored.is_gone(now)).then(|| stored.value.expose().clone())
    }

    /// Keeps a value, for some seconds or for ever.
    pub(super) async fn put(
        &self,
        name: &str,
        value: &str,
        ttl: Option<u64>,
    ) -> Result<(), Rejection> {
        self.0.entities.apply(replace(name, value, ttl)).await.map(drop)
    }

    /// Forgets a value.
    pub(super) async fn remove(&self, name: &str) -> Result<(), Rejection> {
        self.0.entities.apply(vec![delete(name)]).await.map(drop)
    }

    /// Takes a name for itself for some seconds; false when somebody else has it.
    pub(super) async fn claim(&self, name: &str, ttl: u64) -> Result<bool, Rejection> {
        let now = self.0.clock.unix_ms();
        let held = name.to_owned();
        let free = Condition::new(move |catalog| {
            match catalog.by::<AcmeStorage>("key", &held).filter(|one| !one.is_gone(now)) {
                Some(_) => Err("somebody else has it".to_owned()),
                None => Ok(()),
            }
        });
        let mut changes = vec![Change::Require(free)];
        changes.extend(replace(name, "placeholder", Some(ttl)));
        match self.0.entities.apply(changes).await {
            Ok(_) => Ok(true),
            Err(Rejection::Condition(_)) => Ok(false),
            Err(why) => Err(why),
        }
    }
}

fn replace(name: &str, value: &str, ttl: Option<u64>) -> Vec<Change> {
    let document =
        Document::from_iter([("value".to_owned(), value.into()), ("ttl".to_owned(), ttl.into())]);
    let key = Key::Unique("key", name.to_owned());
    vec![Change::Upsert { kind: AcmeStorage::KIND, key, document }]
}

fn delete(name: &str) -> Change {
    Change::Delete { kind: AcmeStorage::KIND, key: Key::Unique("key", name.to_owned()) }
}
