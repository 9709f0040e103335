//! What can be configured on this node: the kinds of every crate and the plugins that are enabled.

use anyhow::Result;
use gateway_model::{Registry, entities};
use plugins::contract::PluginType;

use crate::settings::Settings;
use crate::settings::proxying::RouterFlavor;

/// The plugins of this process: those built in, and custom ones that are enabled.
pub(super) fn plugin_types(
    settings: &Settings,
    lua: &plugins::lua::Settings,
) -> Result<&'static [PluginType]> {
    plugins::with_custom(lua, &settings.process.plugins.names).map_err(|why| anyhow::anyhow!(why))
}

/// The kinds there are, and the schemas of the plugins among `types` that are enabled.
pub(super) fn registry(settings: &Settings, types: &[PluginType]) -> Registry {
    let own = match settings.proxying.router_flavor {
        RouterFlavor::Expressions => entities::with_expressions(),
        _ => entities::ALL,
    };
    let kinds = own.into_iter().chain(plugins::entity_types()).chain(mep::ENTITIES);
    let mut registry = Registry::new(kinds);
    registry.set_environment(settings.environment.clone());
    for plugin in types {
        registry.add_plugin(plugin.schema());
    }
    let enabled = &settings.process.plugins;
    if !enabled.bundled {
        registry.enable_only(|name| enabled.names.iter().any(|one| one == name));
    }
    registry
}
