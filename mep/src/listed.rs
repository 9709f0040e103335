//! [`Listed`]: the list of all services as text, for those who may see all and ask for all.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use gateway_model::catalog::Collection;
use gateway_model::{Catalog, Entity as _};

use crate::entities::ServiceInstance;

/// The list of all services as text, made once for each state of the services: heartbeats and what
/// else changes in the catalog leave it as it is.
#[derive(Debug, Default)]
pub(crate) struct Listed(ArcSwapOption<(Arc<Collection>, Bytes)>);

impl Listed {
    /// The text of a catalog's services, which `make` makes where it is not known.
    pub(crate) fn text(&self, catalog: &Catalog, make: impl FnOnce() -> String) -> Bytes {
        let Some(services) = catalog.shared(ServiceInstance::KIND) else { return make().into() };
        if let Some(known) = &*self.0.load()
            && Arc::ptr_eq(&known.0, services)
        {
            return known.1.clone();
        }
        let text = Bytes::from(make());
        self.0.store(Some(Arc::new((Arc::clone(services), text.clone()))));
        text
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::test_kit;

    #[tokio::test]
    async fn made_once_for_each_state_of_the_services() {
        let control = test_kit::control().await;
        let listed = Listed::default();
        let mut made = 0;
        let mut look = |wanted: u32| {
            let text = listed.text(&control.catalog(), || {
                made += 1;
                made.to_string()
            });
            assert_eq!(text, wanted.to_string());
        };
        look(1);
        look(1);
        control.apply(test_kit::register(&test_kit::instance("x"))).await.unwrap();
        look(2);
        let subscription = test_kit::subscription(1, "http://192.0.2.1/", "{}");
        control.apply(test_kit::subscribe(&subscription)).await.unwrap();
        look(2);
    }
}
