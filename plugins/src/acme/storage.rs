//! [`Storage`]: values by name, known to every node: entities of our store, or keys in a Redis.

use std::sync::Arc;

use gateway_model::{Change, Condition, Document, Entity, Key, Rejection};
use redis::{Cmd, Pipeline};

use super::entity::AcmeStorage;
use crate::contract::Tools;
use crate::kit::redis::Redis;

/// Values by name, known to every node.
#[derive(Clone)]
pub(super) struct Storage {
    pub(super) tools: Arc<Tools>,
    /// A Redis, and what stands before each key; else our store.
    pub(super) redis: Option<(Arc<Redis>, Arc<str>)>,
}

/// Why a value was not read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(super) enum StorageError {
    #[error(transparent)]
    Store(#[from] Rejection),
    #[error("{0}")]
    Redis(String),
}

impl Storage {
    /// A value that is there and not over.
    pub(super) async fn get(&self, name: &str) -> Result<Option<String>, StorageError> {
        if let Some((redis, prefix)) = &self.redis {
            let [value]: [Option<String>; 1] = run(redis, command("GET", prefix, name)).await?;
            return Ok(value);
        }
        Ok(self.stored(name))
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
        if let Some((redis, prefix)) = &self.redis {
            let mut set = command("SET", prefix, name);
            set.arg(value);
            if let Some(ttl) = ttl {
                set.arg("EX").arg(ttl.max(1));
            }
            let [_]: [String; 1] = run(redis, set).await?;
            return Ok(());
        }
        self.tools.entities.apply(replace(name, value, ttl)).await?;
        Ok(())
    }

    /// Forgets a value.
    pub(super) async fn remove(&self, name: &str) -> Result<(), StorageError> {
        if let Some((redis, prefix)) = &self.redis {
            let [_]: [u64; 1] = run(redis, command("DEL", prefix, name)).await?;
            return Ok(());
        }
        self.tools.entities.apply(vec![delete(name)]).await?;
        Ok(())
    }

    /// Takes a name for itself for some seconds; false when somebody else has it.
    pub(super) async fn claim(&self, name: &str, ttl: u64) -> Result<bool, StorageError> {
        if let Some((redis, prefix)) = &self.redis {
            let mut set = command("SET", prefix, name);
            set.arg("placeholder").arg("NX").arg("EX").arg(ttl.max(1));
            let [taken]: [Option<String>; 1] = run(redis, set).await?;
            return Ok(taken.is_some());
        }
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
    redis.run(&commands).await.map_err(StorageError::Redis)
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
