//! [`GuardedResolver`]: names to addresses that may be called.

use std::net::SocketAddr;
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::guard::Guard;

/// Resolves as the system does and drops addresses the guard does not admit, so that a name that
/// leads inside is no way around it, whenever it began to.
pub(super) struct GuardedResolver(pub(super) Arc<Guard>);

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = Arc::clone(&self.0);
        Box::pin(async move {
            let name = name.as_str();
            let found = tokio::net::lookup_host((name, 0)).await?;
            let admitted: Vec<SocketAddr> =
                found.filter(|address| guard.trusts(name) || guard.admits(address.ip())).collect();
            if admitted.is_empty() {
                return Err(format!("{name} leads to no address that may be called").into());
            }
            Ok(Box::new(admitted.into_iter()) as Addrs)
        })
    }
}
