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

/// Resolves as `names` does and drops addresses the guard does not admit, so that a name that
/// leads inside is no way around it, whenever it began to. A name asked for outside of the scope of
/// [`PORT`] leads nowhere.
pub(super) struct GuardedResolver {
    pub(super) guard: Arc<Guard>,
    pub(super) names: Arc<dyn Resolve>,
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = Arc::clone(&self.guard);
        let port = PORT.try_with(|port| *port);
        let text = name.as_str().to_owned();
        let found = self.names.resolve(name);
        Box::pin(async move {
            let (name, port) = (text, port?);
            let trusted = guard.trusts(&name);
            let admitted: Vec<SocketAddr> = found
                .await?
                .map(|at| SocketAddr::new(at.ip(), port))
                .filter(|at| trusted || guard.check_address(at.ip(), port).is_ok())
                .collect();
            if admitted.is_empty() {
                return Err(format!("{name} leads to no address that may be called").into());
            }
            Ok(Box::new(admitted.into_iter()) as Addrs)
        })
    }
}

/// Names as the system knows them.
pub(crate) struct SystemNames;

impl Resolve for SystemNames {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            Ok(Box::new(found.collect::<Vec<_>>().into_iter()) as Addrs)
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
        let resolver = GuardedResolver { guard: Arc::new(guard), names: Arc::new(SystemNames) };
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
