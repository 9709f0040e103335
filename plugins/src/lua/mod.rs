//! Lua for plugins: LuaJIT machines, their limits and sandbox, and what Lua code may call.
//!
//! - `engine` owns the machines: one a worker thread, made when Lua is first used, replaced when
//!   one has run out of memory.
//! - `vm` is one machine with its libraries, `limits` its deadline and memory, `sandbox` what
//!   untrusted code sees.
//! - `current` is the exchange a call is about, `call` one call in one phase.
//! - `pdk` is Kong's `kong.*`, `ngx` OpenResty's `ngx.*`, `modules` what `require` finds.
//! - `handler` is an instance of Lua code; `chunks` runs the code of pre-function and post-function, `fields` `custom_fields_by_lua`,
//!   `custom` plugins that are files: `handler.lua` and `schema.lua`.
//!
//! Nothing here is touched, and no machine made, until an instance that has Lua is configured.
//!
//! Absent from here: `ffi`, `debug` and native modules, which could break the process, and
//! compilation to machine code, which the deadline could not interrupt.

mod abort;
mod call;
pub(crate) mod chunks;
mod current;
pub(crate) mod custom;
mod engine;
pub(crate) mod fields;
mod handler;
mod http;
mod json;
mod limits;
mod modules;
mod ngx;
mod pattern;
mod pdk;
pub(crate) mod phase;
mod sandbox;
mod settings;
mod ssl;
mod strings;
mod values;
mod vm;

#[cfg(test)]
mod tests;

pub(crate) use engine::Engine;
pub(crate) use handler::Script;
pub use settings::{Settings, Untrusted};

/// Has this process run Lua by these settings. Before anything is compiled; otherwise the defaults
/// hold.
pub fn start(tools: &crate::contract::Tools, settings: Settings) {
    tools.shared(|tools| Engine::new(settings, tools));
}
