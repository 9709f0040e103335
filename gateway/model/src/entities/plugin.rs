//! [`PluginInstance`]: a plugin configured at a scope.

use serde::Deserialize;

use super::{Consumer, PROTOCOLS, Route, Service};
use crate::schema::Record;
use crate::{Document, Entity, Id, Ref};

/// A plugin configured at a scope (kong/db/schema/entities/plugins.lua).
#[derive(Clone, Debug, Deserialize, Record)]
pub struct PluginInstance {
    /// Primary key.
    #[record(auto = Auto::Id)]
    pub id: Id,
    /// Which plugin: `rate-limiting`.
    pub name: String,
    /// A name to address it by.
    #[record(unique, is("utf8_name", types::utf8_name))]
    pub instance_name: Option<String>,
    /// Unix seconds of creation.
    #[record(auto = Auto::CreatedAt)]
    pub created_at: u64,
    /// Unix seconds of the last write.
    #[record(auto = Auto::UpdatedAt)]
    pub updated_at: u64,
    /// Runs only on this route.
    #[record(cascade)]
    pub route: Option<Ref<Route>>,
    /// Runs only on this service's routes.
    #[record(cascade)]
    pub service: Option<Ref<Service>>,
    /// Runs only for this consumer.
    #[record(cascade)]
    pub consumer: Option<Ref<Consumer>>,
    /// The plugin's own record, complete with defaults.
    #[record(abstract_record)]
    pub config: Document,
    /// Protocols it runs on.
    #[record(default(["grpc", "grpcs", "http", "https"]), set, elements(|e| e.one_of(PROTOCOLS)))]
    pub protocols: Vec<String>,
    /// Whether it runs.
    #[record(default = true)]
    pub enabled: bool,
    /// Free labels.
    #[record(set, elements(|e| e.is("tag", types::tag)))]
    pub tags: Option<Vec<String>>,
}

impl Entity for PluginInstance {
    const KIND: &'static str = "plugins";
}
