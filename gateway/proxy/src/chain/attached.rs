//! [`Attached`]: what a route adds to the chain that every route has.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwapOption;

use super::{Chain, Instance};

/// The instances attached to a route and its service. Routes of one service that have none of their
/// own share it.
///
/// The chain that runs is that of the global instances with these. It is put together when the
/// first request meets the route, not when a global instance is written, so that such a write
/// costs the same however many routes there are.
#[derive(Default)]
pub struct Attached {
    instances: Box<[Arc<Instance>]>,
    merged: ArcSwapOption<Merged>,
}

/// The chain, and the global one it was made of.
struct Merged {
    global: Arc<Chain>,
    chain: Arc<Chain>,
}

impl Attached {
    /// These instances.
    pub fn new<'a>(instances: impl IntoIterator<Item = &'a Arc<Instance>>) -> Self {
        let instances = instances.into_iter().cloned().collect();
        Self { instances, merged: ArcSwapOption::empty() }
    }

    /// The chain of a snapshot whose global chain is this one.
    pub fn under(&self, global: &Arc<Chain>) -> Arc<Chain> {
        if self.instances.is_empty() {
            return Arc::clone(global);
        }
        if let Some(merged) = &*self.merged.load()
            && Arc::ptr_eq(&merged.global, global)
        {
            return Arc::clone(&merged.chain);
        }
        // Requests pinned to two snapshots may take turns here; each gets its own chain.
        let chain = Arc::new(global.narrowed(&*self.instances));
        let merged = Merged { global: Arc::clone(global), chain: Arc::clone(&chain) };
        self.merged.store(Some(Arc::new(merged)));
        chain
    }
}

impl fmt::Debug for Attached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.instances.fmt(f)
    }
}
