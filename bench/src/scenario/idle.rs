//! Connections that clients keep and do not use: what each costs in memory, with and without TLS.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::Measured;
use super::proxied::{configure, prefix};
use crate::Bench;
use crate::gateway::Gateway;
use crate::load::{Bound, Get, Load, Traffic};
use crate::peer::{Choice, Running, Setup};
use crate::process::Process;
use crate::report::{Fact, GATEWAY};

/// Connections that are made at a time.
const TOGETHER: usize = 64;
/// Descriptors that are needed besides. The gateway lets clients have two thirds of its own.
const OTHERS: u64 = 500;

/// Both ends of a connection, whatever it is carried by.
trait Connection: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Connection for T {}

/// Facts for the gateway and each peer, a process of its own for each measurement.
pub(super) async fn run(bench: &Bench, name: &str) -> Result<Measured> {
    let wanted = u64::try_from(bench.sizes.idle)?;
    let count = usize::try_from(wanted.min((descriptors()? / 3 * 2).saturating_sub(OTHERS)))?;
    if count < bench.sizes.idle {
        println!("  {count} connections instead of {wanted}: more descriptors are not allowed");
    }
    let mut facts = Vec::new();
    for scheme in ["http", "https"] {
        let name = format!("{name}-{scheme}");
        for peer in bench.peers.chosen(Choice::All) {
            let setup = Setup::plain(bench, prefix(0));
            let told = async {
                let running = Running::start(peer, &bench.machine, &setup).await?;
                let origin = running.origin(scheme);
                let costs = costs(bench, &running.process, &origin, count).await?;
                running.process.stop().await?;
                anyhow::Ok(costs)
            };
            match told.await {
                Ok(costs) => facts.push(Fact::new(&name, peer.name(), UNIT, vec![costs])),
                Err(why) if peer.may_be_unable() => println!("  without {}: {why:#}", peer.name()),
                Err(why) => return Err(why.context(peer.name().to_owned())),
            }
        }
        let gateway = Gateway::start(bench).await?;
        configure(bench, &gateway, false, 1).await?;
        let origin = gateway.origin("proxy", scheme)?;
        let costs = costs(bench, &gateway.process, origin, count).await.context(GATEWAY)?;
        facts.push(Fact::new(&name, GATEWAY, UNIT, vec![costs]));
        gateway.process.stop().await?;
    }
    Ok(Measured { rows: Vec::new(), facts })
}

const UNIT: &str = "KiB of memory for an idle connection";

/// KiB that each connection adds once it has had an answer.
async fn costs(bench: &Bench, process: &Process, origin: &str, count: usize) -> Result<f64> {
    let path = format!("{}one", prefix(0));
    let tls = origin.starts_with("https");
    // So that what is made once is there before.
    let warm = Traffic {
        scheme: if tls { "https" } else { "http" },
        authority: tls.then(|| bench.certificate.pem.clone()),
        ..Traffic::plain(vec![Get { path: path.clone(), token: None }])
    };
    bench.generator.send(Load::Kept, &warm, origin, Bound::Count(500)).await?;
    let (_, address) = origin.split_once("://").context("an origin")?;
    let address: SocketAddr = address.parse()?;
    let connector = tls.then(|| connector(&bench.certificate.pem)).transpose()?;
    let before = process.rss_kib()?;
    let connect = |_| async { kept(address, connector.as_ref(), &path).await };
    let connections = stream::iter(0..count).map(connect).buffer_unordered(TOGETHER);
    let mut connections: Vec<Box<dyn Connection>> = connections.try_collect().await?;
    let after = process.rss_kib()?;
    // The first and the last still serve.
    for at in [0, count.saturating_sub(1)] {
        let connection = connections.get_mut(at).context("a connection")?;
        exchange(connection, &path).await.context("on an idle connection")?;
    }
    Ok(after.saturating_sub(before) as f64 / count as f64)
}

fn connector(authority: &str) -> Result<TlsConnector> {
    let mut authorities = RootCertStore::empty();
    authorities.add(CertificateDer::from_pem_slice(authority.as_bytes())?)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(authorities)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// A connection that has had one answer.
async fn kept(
    address: SocketAddr,
    connector: Option<&TlsConnector>,
    path: &str,
) -> Result<Box<dyn Connection>> {
    let plain = TcpStream::connect(address).await?;
    plain.set_nodelay(true)?;
    let mut connection: Box<dyn Connection> = match connector {
        None => Box::new(plain),
        Some(connector) => {
            let name = ServerName::IpAddress(address.ip().into());
            Box::new(connector.connect(name, plain).await?)
        }
    };
    exchange(&mut connection, path).await?;
    Ok(connection)
}

async fn exchange(connection: &mut Box<dyn Connection>, path: &str) -> Result<()> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    connection.write_all(request.as_bytes()).await?;
    connection.flush().await?;
    let mut received = Vec::new();
    loop {
        if connection.read_buf(&mut received).await? == 0 {
            bail!("the connection was closed");
        }
        if let Some((status, length)) = crate::load::answer(&received)?
            && received.len() >= length
        {
            ensure!(status == 200, "{status}");
            return Ok(());
        }
    }
}

/// How many descriptors this process and those it starts may have, after asking for all there are.
fn descriptors() -> Result<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(u64::MAX);
    setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum: limit.maximum })?;
    Ok(most)
}
