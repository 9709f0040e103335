//! [`Platform`]: everything of the MEC platform in one place.

use std::future::Future;
use std::sync::Arc;

use axum::Router;
use dashmap::DashMap;
use gateway_control::{Control, Peers};
use gateway_model::ports::{Calls, Reach};
use gateway_model::{Clock, Id};
use reqwest::dns::Resolve;
use tokio::sync::watch;

use crate::auth::sealing::SealingKey;
use crate::auth::service::TokenService;
use crate::auth::token::TokenIssuer;
use crate::auth_api::{self, KeyPairs};
use crate::entities::{RuleState, TrafficRule};
use crate::guard::Guard;
use crate::life;
use crate::listed::Listed;
use crate::liveness::{Heartbeats, Herald, Watchman};
use crate::metrics::Metrics;
use crate::mm5::{Left, abandoned, end_overdue};
use crate::mp1;
use crate::notification::{Notifier, Outbound, SystemNames};
use crate::peers::Words;
use crate::rules::{self, Turns};
use crate::seed::{self, SeedError, Seeded};
use crate::settings::PlatformSettings;
use crate::statistics::Statistics;
use crate::timing::{NoSource, TimeSource};
use crate::traffic::{Idle, TrafficDriver};

/// What the platform is connected to besides the catalog.
#[derive(Clone)]
pub struct Ports {
    /// Who moves packets.
    pub traffic: Arc<dyn TrafficDriver>,
    /// Where time comes from.
    pub time: Arc<dyn TimeSource>,
    /// Who knows the addresses of notified applications; the ports of what it finds count for
    /// nothing.
    pub names: Arc<dyn Resolve>,
    /// The other nodes on the same store; `None` on a node of its own.
    pub peers: Option<Arc<dyn Peers>>,
}

impl Default for Ports {
    /// Nobody moves packets, no server is asked for the time, the system knows names,
    /// and there is no other node.
    fn default() -> Self {
        Self {
            traffic: Arc::new(Idle),
            time: Arc::new(NoSource),
            names: Arc::new(SystemNames),
            peers: None,
        }
    }
}

/// The MEC platform: its routers, its tasks, what it puts into the catalog.
pub struct Platform {
    pub(crate) settings: PlatformSettings,
    pub(crate) control: Control,
    pub(crate) clock: Clock,
    pub(crate) guard: Arc<Guard>,
    pub(crate) sealing: Arc<SealingKey>,
    pub(crate) issuer: Arc<TokenIssuer>,
    pub(crate) tokens: TokenService<KeyPairs>,
    /// What other nodes are told of token requests.
    words: Words,
    pub(crate) heartbeats: Arc<Heartbeats>,
    pub(crate) metrics: Metrics,
    pub(crate) ports: Ports,
    pub(crate) outbound: Arc<Outbound>,
    pub(crate) statistics: Arc<Statistics>,
    /// Whose turn it is to change rules.
    pub(crate) turns: Turns,
    /// How far tasks have come, percent.
    pub(crate) progress: DashMap<Id, u32>,
    pub(crate) notifier: Arc<Notifier>,
    /// All services, in the dialect and as the standard has them.
    pub(crate) listed: [Listed; 2],
}

impl Platform {
    /// A platform over `control`, whose registry must know [`crate::ENTITIES`]. Nothing runs and
    /// nothing is written yet: see [`Platform::seed`] and [`Platform::tasks`].
    ///
    /// `sealing` keeps secret keys at rest; `issuer` signs tokens. Families of metrics are added to
    /// `metrics`.
    ///
    /// # Errors
    ///
    /// When the families are there already, or no HTTP client can be made.
    pub fn new(
        settings: PlatformSettings,
        ports: Ports,
        control: Control,
        sealing: Arc<SealingKey>,
        issuer: Arc<TokenIssuer>,
        clock: Clock,
        metrics: &prometheus::Registry,
    ) -> Result<Arc<Self>, PlatformError> {
        let registry = metrics;
        let metrics = Metrics::new().map_err(PlatformError::Metrics)?;
        metrics.register(registry).map_err(PlatformError::Metrics)?;
        let guard = Arc::new(Guard {
            allow: settings.destinations.clone(),
            own: settings.own_listeners.clone(),
            published: Some((settings.published.host.clone(), settings.published.port)),
        });
        let outbound = Outbound::new(
            &settings.delivery,
            settings.own_address,
            Arc::clone(&guard),
            Arc::clone(&ports.names),
        )
        .map_err(PlatformError::Client)?;
        let outbound = Arc::new(outbound);
        let notifier = Notifier::new(
            settings.delivery.clone(),
            Arc::clone(&outbound),
            settings.published.clone(),
            control.clone(),
            metrics.clone(),
        );
        let tokens = TokenService::new(
            KeyPairs(control.clone()),
            Arc::clone(&sealing),
            Arc::clone(&issuer),
            settings.freshness.clone(),
        );
        let words = Words::new();
        let tokens = match ports.peers {
            Some(_) => tokens.among_others(words.taker()),
            None => tokens,
        };
        let heartbeats = Arc::new(Heartbeats::new(clock.unix_ms(), ports.peers.is_some()));
        let statistics = Arc::new(Statistics::new(clock.clone()));
        Ok(Arc::new(Self {
            settings,
            control,
            clock,
            guard,
            sealing,
            issuer,
            tokens,
            words,
            heartbeats,
            metrics,
            ports,
            outbound,
            statistics,
            turns: Turns::new(),
            progress: DashMap::new(),
            notifier: Arc::new(notifier),
            listed: Default::default(),
        }))
    }

    /// What answers for [`crate::MEPSERVER_HOST`] and on the direct listener: Mp1 and Mm5.
    ///
    /// Requests carry a [`gateway_model::ports::Caller`]; one without is taken as direct.
    pub fn mepserver_router(self: &Arc<Self>) -> Router {
        mp1::router(Arc::clone(self))
    }

    /// Who counts calls of services: the proxy is to tell it.
    pub fn calls(&self) -> Arc<dyn Calls> {
        Arc::clone(&self.statistics) as Arc<dyn Calls>
    }

    /// Who says where the services apps published may be called: the proxy is to ask it.
    pub fn reach(&self) -> Arc<dyn Reach> {
        Arc::clone(&self.guard) as Arc<dyn Reach>
    }

    /// What answers for [`crate::MEPAUTH_HOST`] and on the direct listener: the token API and the
    /// AK/SK API.
    ///
    /// Requests carry a [`gateway_model::ports::Caller`]; one without is refused, because both APIs
    /// depend on the client's address.
    pub fn mepauth_router(self: &Arc<Self>) -> Router {
        auth_api::router(Arc::clone(self))
    }

    /// Puts into the catalog what the platform needs there, and the bootstrap app.
    ///
    /// Run again it changes nothing an operator edited or deleted. Plugins it uses have to be in the
    /// registry.
    ///
    /// # Errors
    ///
    /// When the catalog refuses, or the published default key pair may not be used.
    pub async fn seed(&self) -> Result<Seeded, SeedError> {
        seed::seed(self).await
    }

    /// Gives the data plane the rules that are active, and takes all others from it. Called before
    /// anybody is served, so that no rule is written here meanwhile; those of other nodes of the
    /// store are followed from [`Self::tasks`] on, which therefore comes first.
    pub async fn reconcile(&self) {
        let catalog = self.control.catalog();
        let active = catalog.all::<TrafficRule>().filter(|rule| rule.state == RuleState::Active);
        let active: Vec<TrafficRule> = active.map(|rule| (*rule).clone()).collect();
        let traffic = &self.ports.traffic;
        if let Err(why) = traffic.reconcile(&active).await {
            tracing::error!(driver = traffic.name(), %why, "traffic rules are not in effect");
        }
    }

    /// What goes on in the background: heartbeats and notifications. Events from this call on are
    /// noticed; the future ends soon after `shutdown` holds `true`, or its sender is gone.
    pub fn tasks(
        self: &Arc<Self>,
        shutdown: watch::Receiver<bool>,
    ) -> impl Future<Output = ()> + Send + use<> {
        let watchman = Watchman::new(
            self.control.clone(),
            self.clock.clone(),
            Arc::clone(&self.heartbeats),
            self.metrics.clone(),
        );
        let watching = watchman.run(self.control.feed(), shutdown.clone());
        let herald = Herald {
            peers: self.ports.peers.clone(),
            control: self.control.clone(),
            clock: self.clock.clone(),
            heartbeats: Arc::clone(&self.heartbeats),
        };
        let telling = herald.run(shutdown.clone());
        let notifying = Arc::clone(&self.notifier).run(self.control.feed(), shutdown.clone());
        let feed = self.control.feed();
        let platform = Arc::clone(self);
        let traffic = Arc::clone(&self.ports.traffic);
        // Somebody may be served before the future is polled; what begins then is not left behind.
        let found = self.control.catalog();
        async move {
            let left = if platform.settings.takes_over { Left::Overdue } else { Left::BeforeStart };
            abandoned(&platform, &found, left).await;
            life::resume(&platform, &found);
            drop(found);
            let counting = platform.statistics.run(platform.control.clone(), shutdown.clone());
            let peers = platform.ports.peers.clone();
            let Platform { words, tokens, clock, .. } = &*platform;
            let sharing = words.exchange(peers, tokens, clock, shutdown.clone());
            let ruling = rules::follow(&platform, feed, shutdown);
            let working =
                async { tokio::join!(watching, telling, notifying, counting, sharing, ruling) };
            tokio::select! {
                _ = working => {}
                () = end_overdue(&platform) => {}
            }
            traffic.stop().await;
        }
    }
}

/// Waits until the flag is up, or nobody is left to raise it.
pub(crate) async fn over(flag: &mut watch::Receiver<bool>) {
    let _ = flag.wait_for(|over| *over).await;
}

/// Why there is no platform.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlatformError {
    /// The metric families could not be made.
    #[error("creating metrics")]
    Metrics(#[source] prometheus::Error),
    /// The HTTP client for notifications could not be made.
    #[error("creating the client for notifications")]
    Client(#[source] reqwest::Error),
}
