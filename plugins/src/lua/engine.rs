//! [`Engine`]: the machines of this process.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use arc_swap::ArcSwapOption;
use dashmap::DashMap;
use gateway_model::Clock;
use mlua::{Error, Result};
use tokio::runtime::Handle;

use super::abort;
use super::modules;
use super::ngx::Dictionaries;
use super::settings::{Settings, Untrusted};
use super::vm::Vm;
use crate::contract::Tools;

/// The text of a module and where it is from.
pub(super) type Source = (Arc<Path>, Arc<str>);

/// The machines of this process: at most one a worker thread, each made when it is first needed.
pub(crate) struct Engine {
    pub(super) settings: Settings,
    pub(super) clock: Clock,
    /// Where timers run; none while schemas are read.
    pub(super) runtime: Option<Handle>,
    /// For calls out; likewise.
    pub(super) client: Option<reqwest::Client>,
    /// `ngx.shared`: the one thing all machines see alike.
    pub(super) dictionaries: Dictionaries,
    /// Compiled expressions of `ngx.re`, by their text and options.
    pub(super) expressions: DashMap<(String, String), Arc<fancy_regex::Regex>>,
    /// Files of modules, by the module's name.
    sources: DashMap<String, Source>,
    machines: Box<[ArcSwapOption<Vm>]>,
    made: AtomicU64,
}

impl Engine {
    pub(crate) fn new(settings: Settings, tools: &Tools) -> Self {
        Self {
            runtime: Some(tools.runtime.clone()),
            client: Some(tools.client.clone()),
            ..Self::bare(settings, tools.clock.clone())
        }
    }

    /// An engine that only reads schemas and runs their rules.
    pub(super) fn for_schemas(settings: Settings) -> Self {
        Self::bare(Settings { machines: 1, ..settings }, Clock::system())
    }

    fn bare(settings: Settings, clock: Clock) -> Self {
        let machines = settings.machines.max(1);
        Self {
            settings,
            clock,
            runtime: None,
            client: None,
            dictionaries: Dictionaries::default(),
            expressions: DashMap::new(),
            sources: DashMap::new(),
            machines: (0..machines).map(|_| ArcSwapOption::empty()).collect(),
            made: AtomicU64::new(0),
        }
    }

    /// The engine of this process; with the defaults where the binary made none.
    pub(crate) fn of(tools: &Tools) -> Arc<Self> {
        tools.shared(|tools| Self::new(Settings::default(), tools))
    }

    /// The dictionaries of `ngx.shared`: name, bytes used, bytes there are.
    pub(crate) fn dictionary_sizes(&self) -> impl Iterator<Item = (&'static str, usize, usize)> {
        self.dictionaries.sizes()
    }

    /// This thread's machine.
    ///
    /// # Errors
    ///
    /// When there is no memory for one.
    pub(super) fn machine(self: &Arc<Self>) -> Result<Arc<Vm>> {
        let slot = &self.machines[place() % self.machines.len()];
        if let Some(vm) = &*slot.load() {
            return Ok(Arc::clone(vm));
        }
        let vm = Arc::new(Vm::new(self, self.made.fetch_add(1, Ordering::Relaxed))?);
        // Of two threads that share a place, the first one's stays.
        let raced = slot.compare_and_swap(&None::<Arc<Vm>>, Some(Arc::clone(&vm)));
        Ok(raced.as_ref().map_or(vm, Arc::clone))
    }

    /// The text of a module's file, read when it is first asked for.
    ///
    /// # Errors
    ///
    /// What `require` tells: where it is not.
    pub(super) fn source(&self, name: &str) -> std::result::Result<Source, String> {
        if let Some(known) = self.sources.get(name) {
            return Ok(known.clone());
        }
        let path = modules::find(&self.settings.package_path, name)?;
        let text = std::fs::read_to_string(&path)
            .map_err(|why| format!("\n\tcannot read '{}': {why}", path.display()))?;
        let source: Source = (path.into(), text.into());
        self.sources.insert(name.to_owned(), source.clone());
        Ok(source)
    }

    /// Takes a machine out of use where it is the current one of its place. Exchanges that began on
    /// it end on it.
    pub(super) fn retire(&self, vm: &Arc<Vm>) {
        for slot in &self.machines {
            let held = slot.load_full();
            if held.as_ref().is_some_and(|held| Arc::ptr_eq(held, vm)) {
                slot.compare_and_swap(&held, None);
                tracing::warn!("a Lua machine ran out of memory and is replaced");
            }
        }
    }

    /// The numbers of the machines in use.
    pub(super) fn serials(&self) -> Vec<u64> {
        self.machines.iter().filter_map(|slot| slot.load().as_ref().map(|vm| vm.serial)).collect()
    }

    /// Whether code in configurations may run.
    ///
    /// # Errors
    ///
    /// Kong's text when it may not (kong/tools/sandbox.lua).
    pub(crate) fn permits(&self) -> std::result::Result<(), String> {
        match self.settings.untrusted {
            Untrusted::Off => {
                Err("loading of untrusted Lua code disabled because 'untrusted_lua' \
                                   config option is set to 'off'"
                    .to_owned())
            }
            Untrusted::Sandbox | Untrusted::On => Ok(()),
        }
    }

    /// Whether code in a configuration can be read. It is not run.
    ///
    /// # Errors
    ///
    /// Lua's own words.
    pub(crate) fn parses(self: &Arc<Self>, code: &str) -> std::result::Result<(), String> {
        let vm = self.machine().map_err(|why| abort::text(&why))?;
        vm.untrusted(code).map(drop).map_err(|why| abort::text(&why))
    }

    /// What an error of a call means for the machine it came from.
    pub(super) fn heed(&self, vm: &Arc<Vm>, error: &Error) {
        if is_memory(error) {
            self.retire(vm);
        }
    }
}

fn is_memory(error: &Error) -> bool {
    match error {
        Error::MemoryError(_) => true,
        Error::CallbackError { cause, .. }
        | Error::BadArgument { cause, .. }
        | Error::WithContext { cause, .. } => is_memory(cause),
        // LuaJIT's own text, where code caught and threw it again.
        Error::RuntimeError(text) => text.contains("not enough memory"),
        _ => false,
    }
}

/// A number of this thread, small and its own.
fn place() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static PLACE: usize = NEXT.fetch_add(1, Ordering::Relaxed);
    }
    PLACE.with(|place| *place)
}
