//! [`Source`]: who is asked for names: the hosts file, then the servers.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt, join_all};
use hickory_resolver::config::{NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::rdata::SRV;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use hickory_resolver::{Hosts, TokioResolver, system_conf};

use super::answer::{Answer, Endpoint, Failure, ServiceRecord};
use super::{Kind, NameOptions, Step};

/// Who knows names. A test puts its own in place.
pub(super) trait Look: Send + Sync {
    /// Everything `name` stands for; `last` is the kind of record it had before.
    fn look<'a>(
        &'a self,
        name: &'a str,
        last: Option<Kind>,
    ) -> BoxFuture<'a, Result<Answer, Failure>>;
}

/// The hosts file and the servers, as they were when read.
pub(super) struct Source {
    hosts: Hosts,
    servers: Result<TokioResolver, Failure>,
    order: Box<[Step]>,
}

/// Entries of the hosts file hold until the file is read again.
const FOR_GOOD: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

impl Source {
    /// Reads the hosts file and the system's `resolv.conf`. Neither has to be there.
    pub(super) fn read(options: &NameOptions) -> Self {
        let mut hosts = Hosts::default();
        let read = std::fs::File::open(&options.hosts_file);
        if let Err(error) = read.and_then(|file| hosts.read_hosts_conf(file)) {
            tracing::warn!("names in {} do not count: {error}", options.hosts_file.display());
        }
        let order = options.order.clone().into_boxed_slice();
        Self { hosts, servers: servers(options), order }
    }

    fn in_hosts(&self, name: &str) -> Option<Answer> {
        let name = Name::from_str_relaxed(name.to_ascii_lowercase()).ok()?;
        [RecordType::A, RecordType::AAAA].into_iter().find_map(|kind| {
            let found = self.hosts.lookup_static_host(&Query::query(name.clone(), kind))?;
            let endpoints = found.answers().iter().filter_map(|one| one.data.ip_addr());
            Answer::new(endpoints.map(Endpoint::of).collect(), None, FOR_GOOD)
        })
    }

    async fn ask(&self, name: &str, kind: Kind) -> Result<Answer, Failure> {
        let records = self.records(name, kind).await?;
        let ttl = least_ttl(&records);
        let made = |endpoints, ttl| Answer::new(endpoints, Some(kind), ttl).ok_or(Failure::Absent);
        match kind {
            Kind::A | Kind::Aaaa => {
                let ips = records.iter().filter_map(|one| one.data.ip_addr());
                made(ips.map(Endpoint::of).collect(), ttl)
            }
            Kind::Srv => {
                let (endpoints, of_hosts) = self.services(&records).await?;
                made(endpoints, ttl.min(of_hosts))
            }
            Kind::Cname => {
                let target = records.iter().find_map(|one| match &one.data {
                    RData::CNAME(target) => Some(target.0.to_ascii()),
                    _ => None,
                });
                let (ips, of_host) = self.addresses(&target.ok_or(Failure::Absent)?).await?;
                made(ips.into_iter().map(Endpoint::of).collect(), ttl.min(of_host))
            }
        }
    }

    /// The endpoints of the services that come first (RFC 2782: the lowest priority).
    async fn services(&self, records: &[Record]) -> Result<(Vec<Endpoint>, Duration), Failure> {
        let services = records.iter().filter_map(|one| match &one.data {
            RData::SRV(service) if !service.target.is_root() => Some(service),
            _ => None,
        });
        let services: Vec<&SRV> = services.collect();
        let first = services.iter().map(|one| one.priority).min().ok_or(Failure::Absent)?;
        let services: Vec<_> = services.into_iter().filter(|one| one.priority == first).collect();
        let hosts = join_all(services.iter().map(|one| async {
            let name = one.target.to_ascii();
            let found = self.addresses(&name).await;
            (name, found)
        }));
        let (mut endpoints, mut ttl, mut failure) = (Vec::new(), FOR_GOOD, Failure::Absent);
        for (service, (name, found)) in services.iter().zip(hosts.await) {
            let name: Arc<str> = name.trim_end_matches('.').into();
            match found {
                Ok((ips, of_host)) => {
                    ttl = ttl.min(of_host);
                    endpoints.extend(ips.into_iter().map(|ip| {
                        let (port, weight) = (service.port, service.weight);
                        let name = Arc::clone(&name);
                        Endpoint { ip, service: Some(ServiceRecord { port, weight, name }) }
                    }));
                }
                Err(why) => failure = why,
            }
        }
        if endpoints.is_empty() { Err(failure) } else { Ok((endpoints, ttl)) }
    }

    /// The addresses of a host a record named.
    async fn addresses(&self, name: &str) -> Result<(Vec<IpAddr>, Duration), Failure> {
        if let Some(found) = self.in_hosts(name) {
            return Ok((found.endpoints.iter().map(|one| one.ip).collect(), found.ttl));
        }
        let mut failure = Failure::Absent;
        let both = [Kind::A, Kind::Aaaa];
        let asked = both
            .into_iter()
            .filter(|kind| *kind == Kind::A || self.order.contains(&Step::Ask(Kind::Aaaa)));
        for kind in asked {
            match self.records(name, kind).await {
                Ok(records) => {
                    let ips = records.iter().filter_map(|one| one.data.ip_addr());
                    return Ok((ips.collect(), least_ttl(&records)));
                }
                Err(why) => failure = why,
            }
        }
        Err(failure)
    }

    /// The records of one kind, at least one.
    async fn records(&self, name: &str, kind: Kind) -> Result<Vec<Record>, Failure> {
        let wanted = kind.record_type();
        let servers = self.servers.as_ref().map_err(Clone::clone)?;
        let found = servers.lookup(name, wanted).await.map_err(|why| failure(&why))?;
        let answers = found.answers().iter().filter(|one| one.record_type() == wanted);
        let records: Vec<Record> = answers.cloned().collect();
        if records.is_empty() { Err(Failure::Absent) } else { Ok(records) }
    }
}

impl Look for Source {
    fn look<'a>(
        &'a self,
        name: &'a str,
        last: Option<Kind>,
    ) -> BoxFuture<'a, Result<Answer, Failure>> {
        async move {
            if let Some(found) = self.in_hosts(name) {
                return Ok(found);
            }
            let mut asked = Vec::with_capacity(self.order.len());
            let mut outcome = Failure::Absent;
            for step in &self.order {
                let kind = match step {
                    Step::Ask(kind) => *kind,
                    Step::Last => match last {
                        Some(kind) => kind,
                        None => continue,
                    },
                };
                if asked.contains(&kind) {
                    continue;
                }
                asked.push(kind);
                match self.ask(name, kind).await {
                    Ok(answer) => return Ok(answer),
                    Err(Failure::Absent) => {}
                    Err(failed) => outcome = failed,
                }
            }
            Err(outcome)
        }
        .boxed()
    }
}

impl Kind {
    const fn record_type(self) -> RecordType {
        match self {
            Self::Srv => RecordType::SRV,
            Self::A => RecordType::A,
            Self::Aaaa => RecordType::AAAA,
            Self::Cname => RecordType::CNAME,
        }
    }
}

/// A client of the servers configured, else of the system's, else of this host's (resolv.conf(5)).
/// It keeps nothing: that is the resolver's affair.
fn servers(options: &NameOptions) -> Result<TokioResolver, Failure> {
    let (mut config, mut opts) = system_conf::read_system_conf().unwrap_or_else(|error| {
        tracing::debug!("no servers in resolv.conf: {error}");
        let local = NameServerConfig::udp_and_tcp(IpAddr::from([127, 0, 0, 1]));
        (ResolverConfig::from_parts(None, Vec::new(), vec![local]), ResolverOpts::default())
    });
    if !options.servers.is_empty() {
        let servers = options.servers.iter().map(|server| {
            let mut one = NameServerConfig::udp_and_tcp(server.ip());
            for connection in &mut one.connections {
                connection.port = server.port();
            }
            one
        });
        config.name_servers = servers.collect();
    }
    opts.cache_size = 0;
    opts.use_hosts_file = ResolveHosts::Never;
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    *builder.options_mut() = opts;
    builder.build().map_err(|why| failure(&why))
}

fn least_ttl(records: &[Record]) -> Duration {
    let least = records.iter().map(|one| one.ttl).min().unwrap_or(0);
    Duration::from_secs(least.into())
}

fn failure(error: &NetError) -> Failure {
    if error.is_no_records_found() {
        Failure::Absent
    } else {
        Failure::Failed(error.to_string().into())
    }
}
