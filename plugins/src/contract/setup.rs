//! [`Setup`] and [`Tools`]: what a plugin is built with.

use std::any::{Any, TypeId};
use std::sync::Arc;

use dashmap::DashMap;
use gateway_model::entities::PluginInstance;
use gateway_model::{Clock, Item};

/// What one instance is built with.
pub struct Setup<'a> {
    /// The instance: id, scope.
    pub instance: &'a Item<PluginInstance>,
    /// What outlives it.
    pub tools: &'a Arc<Tools>,
}

/// What outlives every recompile: made once by the binary.
pub struct Tools {
    /// What time it is.
    pub clock: Clock,
    /// Where background work (queues) runs.
    pub runtime: tokio::runtime::Handle,
    /// For calls out.
    pub client: reqwest::Client,
    /// Where metric families are registered.
    pub metrics: prometheus::Registry,
    shared: DashMap<TypeId, Arc<dyn Any + Send + Sync>>,
}

impl Tools {
    /// Tools with nothing shared yet.
    pub fn new(
        clock: Clock,
        runtime: tokio::runtime::Handle,
        client: reqwest::Client,
        metrics: prometheus::Registry,
    ) -> Self {
        Self { clock, runtime, client, metrics, shared: DashMap::new() }
    }

    /// The one `T` of this process, made at first use. For what all instances of a plugin share:
    /// counters, caches, metric families.
    pub fn shared<T: Any + Send + Sync>(&self, make: impl FnOnce(&Self) -> T) -> Arc<T> {
        if let Some(found) = self.shared.get(&TypeId::of::<T>())
            && let Ok(found) = Arc::clone(&found).downcast()
        {
            return found;
        }
        let made = Arc::new(make(self));
        let entry = self.shared.entry(TypeId::of::<T>()).or_insert_with(|| made.clone());
        Arc::clone(entry.value()).downcast().unwrap_or(made)
    }
}
