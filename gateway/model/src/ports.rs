//! What crosses between crates that do not know each other.

use std::net::IpAddr;
use std::sync::Arc;

use crate::{Catalog, Id, Rejection, Write};

/// Something that serves traffic from a compiled form of the catalog: the proxy, the DNS server.
pub trait DataPlane: Send + Sync {
    /// Compiles the next form. Pure: no I/O and no effect until [`Publish::publish`].
    ///
    /// `writes` lists what differs from the catalog prepared and published last; it is empty at
    /// start-up, when everything is new.
    ///
    /// # Errors
    ///
    /// What cannot be served, such as a regular expression that does not compile. Nothing is
    /// stored then.
    fn prepare(&self, next: &Arc<Catalog>, writes: &[Write])
    -> Result<Box<dyn Publish>, Rejection>;
}

/// A compiled form, ready to be swapped in.
pub trait Publish: Send {
    /// Swaps it in: one atomic step that cannot fail.
    fn publish(self: Box<Self>);
}

/// Health of one target, as the balancer sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Health {
    /// Gets traffic.
    Healthy,
    /// Gets none.
    Unhealthy,
    /// No check is configured; gets traffic.
    Off,
    /// Its name does not resolve.
    DnsError,
}

/// What the Admin API may ask of the balancer.
pub trait TargetHealth: Send + Sync {
    /// Health of a target, `None` when the balancer does not know it.
    fn target(&self, upstream: Id, target: Id) -> Option<Health>;
}

/// Who calls an embedded service: travels as a request extension, never as a header.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Subject of the token the gateway verified; `None` on routes without a token check.
    pub subject: Option<Arc<str>>,
    /// The client's address after trusted proxies are taken off.
    pub client: IpAddr,
    /// Whether the request came in by the gateway rather than by a direct listener.
    pub by_gateway: bool,
}
