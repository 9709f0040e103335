//! [`Ntp`]: a time server, asked as RFC 5905 says.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use gateway_model::Clock;
use reqwest::dns::Resolve;
use rsntp::{
    AsyncSntpClient, Config, KissCode, ProtocolError, SynchronizationError, SynchronizationResult,
};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::{NtpServer, Reading, TimeSource, Unreachable};

/// How long the server may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long an answer counts: the shortest pause we tell applications to keep (2⁴ s), so that they
/// do not make us break it.
const KEPT: Duration = Duration::from_secs(16);
/// How long a failure counts, so that those who wait together wait once.
const FAILED: Duration = Duration::from_secs(1);

/// Asks an NTP server, not more often than it may be asked.
///
/// The time is the system's, corrected by what the server said; it counts as traceable when the
/// server was synchronised (stratum 1 to 15).
pub struct Ntp {
    host: String,
    port: u16,
    /// Who knows its address.
    names: Arc<dyn Resolve>,
    /// What is told when the server does not know the time itself.
    clock: Clock,
    said: Mutex<Option<(Instant, Said)>>,
}

/// What a server said last.
#[derive(Clone)]
enum Said {
    /// How far off the system's clock is.
    Offset(Arc<SynchronizationResult>),
    /// That it does not know the time.
    Unsynchronised,
    /// Nothing.
    Nothing(String),
}

impl Ntp {
    /// A server by host name or address; `names` is asked for a name each time the server is.
    pub fn new(host: &str, port: u16, names: Arc<dyn Resolve>, clock: Clock) -> Self {
        Self { host: host.to_owned(), port, names, clock, said: Mutex::new(None) }
    }

    async fn ask(&self) -> Said {
        match tokio::time::timeout(PATIENCE, self.query()).await {
            Ok(Ok(result)) => Said::Offset(Arc::new(result)),
            Ok(Err(SynchronizationError::ProtocolError(why))) if is_unsynchronised(&why) => {
                Said::Unsynchronised
            }
            Ok(Err(why)) => Said::Nothing(why.to_string()),
            Err(_) => Said::Nothing(format!("no answer within {} s", PATIENCE.as_secs())),
        }
    }

    async fn query(&self) -> Result<SynchronizationResult, SynchronizationError> {
        let server = SocketAddr::new(self.address().await?, self.port);
        let any: SocketAddr = match server {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let config = Config::default().bind_address(any).timeout(PATIENCE).connect_ip(true);
        AsyncSntpClient::with_config(config).synchronize(server).await
    }

    async fn address(&self) -> std::io::Result<IpAddr> {
        if let Ok(literal) = self.host.parse() {
            return Ok(literal);
        }
        let name = self.host.parse().map_err(|_| std::io::Error::other("it is no host name"))?;
        let mut found = self.names.resolve(name).await.map_err(std::io::Error::other)?;
        let first = found.next().ok_or_else(|| std::io::Error::other("it has no address"))?;
        Ok(first.ip())
    }
}

impl Ntp {
    fn reading(&self, said: Said) -> Result<Reading, String> {
        match said {
            Said::Offset(result) => {
                let now = result.datetime().unix_timestamp().map_err(|why| why.to_string())?;
                Ok(Reading { unix_ns: now.as_nanos(), traceable: true })
            }
            Said::Unsynchronised => Ok(Reading::of(&self.clock)),
            Said::Nothing(why) => Err(why),
        }
    }
}

#[async_trait]
impl TimeSource for Ntp {
    async fn now(&self) -> Result<Reading, Unreachable> {
        let mut kept = self.said.lock().await;
        let said = match &*kept {
            Some((until, said)) if *until > Instant::now() => said.clone(),
            _ => {
                let said = self.ask().await;
                let lasts = if matches!(said, Said::Nothing(_)) { FAILED } else { KEPT };
                *kept = Some((Instant::now() + lasts, said.clone()));
                said
            }
        };
        drop(kept);
        self.reading(said).map_err(|why| Unreachable(format!("{}: {why}", self.host)))
    }

    fn server(&self) -> Option<NtpServer> {
        Some(NtpServer::new(&self.host))
    }
}

/// Whether a server says that it does not know the time, rather than that it will not tell.
const fn is_unsynchronised(why: &ProtocolError) -> bool {
    use KissCode::{AssociationNotYetSynchronized, StepChange, Unknown};
    matches!(
        why,
        ProtocolError::ServerNotSynchronized
            // Stratum 0 without a code is how chronyd puts it.
            | ProtocolError::KissODeath(Unknown | AssociationNotYetSynchronized | StepChange)
    )
}

impl fmt::Debug for Ntp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ntp({}:{})", self.host, self.port)
    }
}
