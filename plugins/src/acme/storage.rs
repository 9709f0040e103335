//! [`Storage`]: values by name, known to every node: entities of our store, keys in a Redis, or values in
//! a Consul or Vault.

use std::sync::Arc;

use gateway_model::{Change, Condition, Document, Entity, Key, Rejection};
use redis::{Cmd, Pipeline};

use super::entity::AcmeStorage;
use super::remote::Remote;
use crate::contract::Tools;
use crate::kit::redis::Redis;

/// Values by name, known to every node.
#[derive(Clone)]
pub(super) struct Storage {
    pub(super) tools: Arc<Tools>,
    pub(super) place: Place,
}

/// Where they are.
#[derive(Clone)]
pub(super) enum Place {
    /// In our store.
    Store,
    /// In a Redis; what stands before each key.
    Redis(Arc<Redis>, Arc<str>),
    /// In a Consul or Vault.
    Remote(Arc<Remote>),
}

/// Why a value was not read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(super) enum StorageError {
    #[error(transparent)]
    Store(#[from] Rejection),
    #[error("{0}")]
    Elsewhere(String),
}

impl From<String> for StorageError {
    fn from(why: String) -> Self {
        Self::Elsewhere(why)
    }
}

impl Storage {
    /// Whether values are not entities of our store.
    pub(super) const fn is_elsewhere(&self) -> bool {
        !matches!(self.place, Place::Store)
    }

    /// A value that is there and not over.
    pub(super) async fn get(&self, name: &str) -> Result<Option<String>, StorageError> {
        match &self.place {
            Place::Store => Ok(self.stored(name)),
            Place::Redis(redis, prefix) => {
                let [value]: [Option<String>; 1] = run(redis, command("GET", prefix, name)).await?;
                Ok(value)
            }
            Place::Remote(remote) => Ok(remote.get(name).await?),
        }
    }

    fn stored(&self, name: &str) -> Option<String> {
        let stored = self.tools.entities.catalog()?.by::<AcmeStorage>("key", name)?;
        let now = self.tools.clock.unix_ms();
        (!stored.is_gone(now)).then(|| stored.value.expose().clone())
    }

    /// Keeps a value, for some seconds or for ever.
    pub(super) async fn put(
        &self,
        name: &str,
        value: &str,
        ttl: Option<u64>,
    ) -> Result<(), StorageError> {
        match &self.place {
            Place::Store => self.tools.entities.apply(replace(name, value, ttl)).await.map(drop)?,
            Place::Redis(redis, prefix) => {
                let mut set = command("SET", prefix, name);
                set.arg(value);
                if let Some(ttl) = ttl {
                    set.arg("EX").arg(ttl.max(1));
                }
                let [_]: [String; 1] = run(redis, set).await?;
            }
            Place::Remote(remote) => {
                if !remote.put(name, value, ttl, None).await? {
                    return Err("the value was not written".to_owned().into());
                }
            }
        }
        Ok(())
    }

    /// Forgets a value.
    pub(super) async fn remove(&self, name: &str) -> Result<(), StorageError> {
        match &self.place {
            Place::Store => self.tools.entities.apply(vec![delete(name)]).await.map(drop)?,
            Place::Redis(redis, prefix) => {
                let [_]: [u64; 1] = run(redis, command("DEL", prefix, name)).await?;
            }
            Place::Remote(remote) => remote.remove(name).await?,
        }
        Ok(())
    }

    /// Takes a name for itself for some seconds; false when somebody else has it.
    pub(super) async fn claim(&self, name: &str, ttl: u64) -> Result<bool, StorageError> {
        match &self.place {
            Place::Store => self.claim_stored(name, ttl).await,
            Place::Redis(redis, prefix) => {
                let mut set = command("SET", prefix, name);
                set.arg("placeholder").arg("NX").arg("EX").arg(ttl.max(1));
                let [taken]: [Option<String>; 1] = run(redis, set).await?;
                Ok(taken.is_some())
            }
            Place::Remote(remote) => Ok(remote.claim(name, ttl).await?),
        }
    }

    async fn claim_stored(&self, name: &str, ttl: u64) -> Result<bool, StorageError> {
        let now = self.tools.clock.unix_ms();
        let held = name.to_owned();
        let free = Condition::new(move |catalog| {
            match catalog.by::<AcmeStorage>("key", &held).filter(|one| !one.is_gone(now)) {
                Some(_) => Err("somebody else has it".to_owned()),
                None => Ok(()),
            }
        });
        let mut changes = vec![Change::Require(free)];
        changes.extend(replace(name, "placeholder", Some(ttl)));
        match self.tools.entities.apply(changes).await {
            Ok(_) => Ok(true),
            Err(Rejection::Condition(_)) => Ok(false),
            Err(why) => Err(why.into()),
        }
    }
}

fn command(name: &str, prefix: &str, key: &str) -> Cmd {
    let mut command = redis::cmd(name);
    command.arg(format!("{prefix}{key}"));
    command
}

async fn run<T: redis::FromRedisValue>(redis: &Redis, command: Cmd) -> Result<T, StorageError> {
    let mut commands = Pipeline::new();
    commands.add_command(command);
    Ok(redis.run(&commands).await?)
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
