//! What the Admin API may ask of the balancer, answered from the current snapshot.

use std::net::SocketAddr;
use std::sync::Arc;

use gateway_model::Id;
use gateway_model::entities::Upstream;
use gateway_model::ports::{MarkError, TargetHealth, TargetState};

use super::CompiledUpstream;
use crate::snapshot::Current;

impl TargetHealth for Current {
    fn target(&self, upstream: Id, target: Id) -> Option<TargetState> {
        compiled(self, upstream)?.state(target)
    }

    fn mark(
        &self,
        upstream: Id,
        target: Id,
        address: Option<SocketAddr>,
        healthy: bool,
    ) -> Result<(), MarkError> {
        compiled(self, upstream).ok_or(MarkError::Unknown)?.mark(target, address, healthy)
    }
}

fn compiled(current: &Current, upstream: Id) -> Option<Arc<CompiledUpstream>> {
    let snapshot = current.load_full();
    let entity = snapshot.catalog.get::<Upstream>(upstream)?;
    snapshot.upstream(&entity.name).cloned()
}
