//! What crosses between crates that do not know each other.

use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

use crate::{Catalog, Change, Id, Rejection, Stored, Write};

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

/// One resolved address of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressState {
    /// Where connections go.
    pub address: SocketAddr,
    /// Its share of the load; that of the target, unless SRV records give others.
    pub weight: u32,
    /// Whether it gets traffic.
    pub health: Health,
}

/// One target, as the balancer sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetState {
    /// Of the target as a whole.
    pub health: Health,
    /// What its name resolves to; empty when it does not.
    pub addresses: Vec<AddressState>,
}

/// What the Admin API may ask of the balancer.
pub trait TargetHealth: Send + Sync {
    /// State of a target, `None` when the balancer does not hold it yet.
    fn target(&self, upstream: Id, target: Id) -> Option<TargetState>;

    /// Says that a target, or one of its addresses, gets traffic or none.
    ///
    /// # Errors
    ///
    /// Why nothing changed.
    fn mark(
        &self,
        upstream: Id,
        target: Id,
        address: Option<SocketAddr>,
        healthy: bool,
    ) -> Result<(), MarkError>;
}

/// Why the health of a target was not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MarkError {
    /// The upstream has no health checks.
    #[error("the upstream has no health checks")]
    Unchecked,
    /// The balancer holds no such target or address.
    #[error("the balancer holds no such target")]
    Unknown,
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
    /// Whether the client showed a certificate that the direct listener's authorities vouch for.
    pub certified: bool,
}

/// Counters that outlive a process, or that nodes share. What a key means is the caller's.
pub trait CounterStore: Send + Sync {
    /// Adds to counters, and gives what each then is, in the order of the steps. A step of 0 only
    /// reads. Counters that are past their time are gone. `now` is in Unix seconds.
    ///
    /// All steps are done or none is known to be.
    fn add(&self, steps: Vec<CounterStep>, now: u64) -> CounterFuture<'_>;
}

/// What [`CounterStore::add`] gives.
pub type CounterFuture<'s> =
    Pin<Box<dyn Future<Output = Result<Vec<u64>, CounterError>> + Send + 's>>;

/// An addition to one counter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CounterStep {
    /// Which.
    pub key: String,
    /// How much.
    pub by: u64,
    /// When it is gone, Unix seconds.
    pub expires: u64,
}

/// Why counters could not be reached.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CounterError(pub String);

/// Writes entities for whoever is not the control plane: the tokens, sessions and certificates of
/// plugins. They are entities as any other, known to every node and kept over a restart.
pub trait Entities: Send + Sync {
    /// The catalog being served now.
    fn catalog(&self) -> Arc<Catalog>;

    /// Applies a set of changes, all or none, and waits until they are durable and served.
    ///
    /// # Errors
    ///
    /// The future gives why the set was refused; nothing of it is stored or served then.
    fn apply(&self, changes: Vec<Change>) -> Applying;
}

/// A set of changes on its way to the store.
pub type Applying = Pin<Box<dyn Future<Output = Result<Applied, Rejection>> + Send>>;

/// What became of a set of changes.
#[derive(Clone, Debug)]
pub struct Applied {
    /// The catalog that holds them. What is being served is this one or a later one.
    pub catalog: Arc<Catalog>,
    /// For each change the entity it ended as; `None` for deletes and conditions.
    pub entities: Vec<Option<Arc<Stored>>>,
}

/// One call the proxy has answered, or refused, on its way to a service.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// Host of the service.
    pub service_host: &'a str,
    /// Its name; empty when it has none.
    pub service_name: &'a str,
    /// Its tags.
    pub tags: &'a [String],
    /// Method of the request.
    pub method: &'a str,
    /// Path of the request as the client sent it, without its query.
    pub path: &'a str,
}

/// Says where services may be called that clients of the platform made: their hosts are names of
/// these clients' choice, which may lead inside.
pub trait Reach: Send + Sync {
    /// Whether it has a say in calls of a service of these tags.
    fn concerns(&self, tags: &[String]) -> bool;

    /// Whether such a service, its host `host`, may be called at an address. Runs on the request
    /// path: it must return at once.
    fn admits(&self, host: &str, address: SocketAddr) -> bool;
}

/// Told of every call to a service, once it is over.
pub trait Calls: Send + Sync {
    /// Runs on the request path: it must return at once.
    fn called(&self, call: &Call<'_>);
}
