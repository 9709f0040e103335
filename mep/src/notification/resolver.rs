//! [`GuardedResolver`]: names to addresses that may be called.

use std::net::SocketAddr;
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::guard::Guard;

tokio::task_local! {
    /// The port of the call under way: a resolver is told names only, and what may be called
    /// depends on both.
    pub(super) static PORT: u16;
}

/// Resolves as the system does and drops addresses the guard does not admit, so that a name that
/// leads inside is no way around it, whenever it began to. A name asked for outside of the scope of
/// [`PORT`] leads nowhere.
pub(super) struct GuardedResolver(pub(super) Arc<Guard>);

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = Arc::clone(&self.0);
        let port = PORT.try_with(|port| *port);
        Box::pin(async move {
            let (name, port) = (name.as_str(), port?);
            let found = tokio::net::lookup_host((name, port)).await?;
            let trusted = guard.trusts(name);
            let admitted: Vec<SocketAddr> = found
                .filter(|at| trusted || guard.check_address(at.ip(), at.port()).is_ok())
                .collect();
            if admitted.is_empty() {
                return Err(format!("{name} leads to no address that may be called").into());
            }
            Ok(Box::new(admitted.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::settings::Destinations;

    /// Addresses are names that resolve to themselves.
    #[tokio::test]
    async fn a_name_leads_where_its_address_may_be_called() {
        let guard = Guard {
            allow: Destinations {
                networks: vec!["169.254.7.0/24".parse().unwrap()],
                hosts: vec!["127.0.0.2".to_owned()],
            },
            own: vec!["10.0.0.9:8001".parse().unwrap()],
            ..Guard::default()
        };
        let resolver = GuardedResolver(Arc::new(guard));
        let rows = [
            ("10.0.0.9", 8001, false),
            ("10.0.0.9", 8002, true),
            ("10.0.0.8", 8001, true),
            ("127.0.0.1", 80, false),
            ("127.0.0.2", 80, true),
            ("169.254.6.1", 80, false),
            ("169.254.7.1", 80, true),
        ];
        for (name, port, wanted) in rows {
            let found = PORT.scope(port, async { resolver.resolve(name.parse().unwrap()).await });
            assert_eq!(found.await.is_ok(), wanted, "{name}:{port}");
        }
        assert!(resolver.resolve("10.0.0.8".parse().unwrap()).await.is_err(), "no port is known");
    }
}
