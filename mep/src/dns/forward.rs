//! [`Forwarder`]: names that are not ours, asked of the configured resolvers.

use std::net::SocketAddr;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError, NoRecords};
use hickory_server::proto::op::{LowerQuery, ResponseCode};
use hickory_server::proto::rr::Record;
use tokio::sync::Semaphore;

/// Questions under way at once; what comes on top is refused, so that dead resolvers do not fill
/// the memory.
const UNDER_WAY: usize = 1024;

/// Answers remembered.
const REMEMBERED: u64 = 4096;

/// Asks resolvers, over UDP and, when an answer does not fit, TCP; answers are remembered as long
/// as they may be.
pub struct Forwarder {
    resolver: TokioResolver,
    slots: Semaphore,
    patience: Duration,
}

/// What a resolver said.
pub(crate) struct Answer {
    pub(crate) code: ResponseCode,
    pub(crate) answers: Vec<Record>,
    pub(crate) authorities: Vec<Record>,
}

/// No resolver can be asked.
#[derive(Debug, thiserror::Error)]
#[error("the resolvers to forward to cannot be used")]
pub struct ForwardError(#[source] NetError);

/// Tries after the first.
const RETRIES: u32 = 2;

impl Forwarder {
    /// Asks `upstream`, those first that answered quickest; `timeout` a try.
    ///
    /// # Errors
    ///
    /// When hickory cannot use them.
    pub fn new(upstream: &[SocketAddr], timeout: Duration) -> Result<Self, ForwardError> {
        let servers = upstream.iter().map(|server| {
            let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut way| {
                way.port = server.port();
                way
            });
            NameServerConfig::new(server.ip(), true, connections.into())
        });
        let config = ResolverConfig::from_parts(None, Vec::new(), servers.collect());
        let mut builder =
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        let options = builder.options_mut();
        options.timeout = timeout;
        options.attempts = RETRIES as usize;
        options.cache_size = REMEMBERED;
        options.edns0 = true;
        options.use_hosts_file = ResolveHosts::Never;
        options.preserve_intermediates = true;
        // Asked two at a time, a dead one would keep a cut answer of the other from its second try
        // over TCP. Asked alone, it is found out and comes last from then on.
        options.num_concurrent_reqs = 1;
        let resolver = builder.build().map_err(ForwardError)?;
        let patience = timeout * (RETRIES + 1);
        Ok(Self { resolver, slots: Semaphore::new(UNDER_WAY), patience })
    }

    /// What the resolvers say; `None` when none does.
    pub(crate) async fn ask(&self, question: &LowerQuery) -> Option<Answer> {
        let _slot = self.slots.try_acquire().ok()?;
        let asked = self.resolver.lookup(question.original().name().clone(), question.query_type());
        match tokio::time::timeout(self.patience, asked).await {
            Ok(Ok(lookup)) => Some(Answer {
                code: ResponseCode::NoError,
                answers: lookup.answers().to_vec(),
                authorities: lookup.authorities().to_vec(),
            }),
            Ok(Err(NetError::Dns(DnsError::NoRecordsFound(none)))) => Some(Answer::empty(none)),
            Ok(Err(error)) => {
                tracing::debug!(%error, "no resolver answered");
                None
            }
            Err(_) => None,
        }
    }
}

impl Answer {
    /// A name that does not exist, or has nothing of the type: with the SOA that says how long that
    /// may be remembered.
    fn empty(none: NoRecords) -> Self {
        let soa = none.soa.map(|soa| soa.into_record_of_rdata());
        Self {
            code: none.response_code,
            answers: Vec::new(),
            authorities: soa.into_iter().collect(),
        }
    }
}
