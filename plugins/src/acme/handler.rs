use std::borrow::Cow;
use std::sync::Arc;

use gateway_model::{EntityType, Scopes, Violations};
use http::{HeaderValue, StatusCode};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::account_key::{self, KeyError};
use super::config::{Config, Storage as Kept};
use super::consul::Consul;
use super::entity::ACME_STORAGE;
use super::keeper::Keeper;
use super::names::Names;
use super::order::{Authority, challenge_name};
use super::pages::{self, Keepers};
use super::remote::Remote;
use super::storage::{Place, Storage};
use super::vault::Vault;
use crate::contract::{
    AdminPage, Flow, Handler, Phases, Plugin, Reply, ReplyBody, Request, Setup, Tools,
    UnservedNames,
};
use crate::kit::redis::Redis;

/// One instance (kong/plugins/acme/handler.lua, client.lua).
pub(crate) struct Acme {
    names: Names,
    work: AbortHandle,
    /// Tells the work what names clients ask for.
    unserved: Arc<UnservedNames>,
    listener: u64,
    storage: Storage,
    /// The work, for the Admin API's pages.
    _keeper: Arc<Keeper>,
}

impl Plugin for Acme {
    const NAME: &'static str = "acme";
    const PRIORITY: i32 = 1705;
    const PHASES: Phases = Phases::REWRITE;
    const SCOPES: Scopes = Scopes { service: false, route: false, consumer: false, global: true };
    const ENTITIES: &'static [&'static EntityType] = &[&ACME_STORAGE];
    const PAGES: &'static [AdminPage] = pages::PAGES;
    type Config = Config;

    fn build(config: Config, setup: &Setup<'_>) -> Result<Self, Violations> {
        let tools = setup.tools;
        check_account_key(&config, setup)?;
        let names = Names::new(&config);
        let (asked, queue) = mpsc::channel(64);
        let storage = storage(&config, tools)?;
        let keeper = Arc::new(Keeper {
            instance: setup.instance.clone(),
            names: names.clone(),
            authority: Authority::new(&config, storage.clone()),
            threshold: seconds(config.renew_threshold_days.unwrap_or(14.0) * 86_400.0),
            backoff: seconds(config.fail_backoff_minutes.unwrap_or(5.0) * 60.0),
            tools: Arc::clone(tools),
        });
        Keepers::of(tools).add(&keeper);
        let work = tools.runtime.spawn(Arc::clone(&keeper).run(queue)).abort_handle();
        let unserved = tools.shared(|_| UnservedNames::default());
        let listener = unserved.listen(asked);
        Ok(Self { names, work, unserved, listener, storage, _keeper: keeper })
    }
}

/// Refuses at once a key that could not be used. One that is not there may come later. At a start it
/// is stored, and keeps nobody else from being served: there it is only told of.
fn check_account_key(config: &Config, setup: &Setup<'_>) -> Result<(), Violations> {
    let Some(named) = &config.account_key else { return Ok(()) };
    let starting = setup.tools.entities.catalog().is_none();
    match account_key::find(setup.catalog, named) {
        Ok(_) | Err(KeyError::Missing(_)) => Ok(()),
        Err(why) if starting => {
            tracing::error!(plugin = ?setup.instance, %why, "account_key cannot be used: {why}");
            Ok(())
        }
        Err(why) => Err(Violations::one("account_key", why.to_string())),
    }
}

fn storage(config: &Config, tools: &Arc<Tools>) -> Result<Storage, Violations> {
    let told = |place: &str, why: String| Violations::one(&format!("storage_config.{place}"), why);
    let places = &config.storage_config;
    let place = match config.storage {
        Some(Kept::Redis) => match places.redis.place() {
            None => Place::Store,
            Some((place, namespace)) => {
                let made = Redis::new(place, tools).map_err(|why| told("redis", why))?;
                Place::Redis(Arc::new(made), namespace.into())
            }
        },
        Some(Kept::Consul) => {
            let made = Consul::new(&places.consul, tools).map_err(|why| told("consul", why))?;
            Place::Remote(Arc::new(Remote::Consul(made)))
        }
        Some(Kept::Vault) => {
            let made = Vault::new(&places.vault, tools).map_err(|why| told("vault", why))?;
            Place::Remote(Arc::new(Remote::Vault(made)))
        }
        Some(Kept::Shm | Kept::Kong) | None => Place::Store,
    };
    Ok(Storage { tools: Arc::clone(tools), place })
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
fn seconds(number: f64) -> u64 {
    number.max(0.0) as u64
}

impl Drop for Acme {
    fn drop(&mut self) {
        self.unserved.leave(self.listener);
        self.work.abort();
    }
}

/// Where an authority looks (RFC 8555, section 8.3).
const PREFIX: &str = "/.well-known/acme-challenge/";

impl Handler for Acme {
    /// Answers challenges, whatever routes there are.
    fn rewrite<'a>(&'a self, request: &'a mut Request<'_>) -> Flow<'a> {
        let token = request.head.uri.path().strip_prefix(PREFIX);
        let (Some(token), None) = (token, &request.facts.client.tls) else {
            return Flow::Continue;
        };
        if token.is_empty() || !self.names.allow(&host(request)) {
            return Flow::Continue;
        }
        let name = challenge_name(token);
        Flow::Wait(Box::pin(async move {
            let (status, text) = match self.storage.get(&name).await {
                Ok(Some(answer)) => (StatusCode::OK, format!("{answer}\n")),
                Ok(None) => (StatusCode::NOT_FOUND, "Not found\n".to_owned()),
                Err(why) => {
                    tracing::error!(%why, "cannot look for a challenge's answer: {why}");
                    let told = "An unexpected error occurred\n".to_owned();
                    (StatusCode::INTERNAL_SERVER_ERROR, told)
                }
            };
            let kind = HeaderValue::from_static("text/plain; charset=utf-8");
            let body = ReplyBody::Bytes(kind, text.into());
            Flow::reply(Reply { status, headers: Vec::new(), body })
        }))
    }
}

/// The host asked for, lower case and without port.
fn host<'r>(request: &'r Request<'_>) -> Cow<'r, str> {
    let authority = || request.head.uri.authority().map(http::uri::Authority::as_str);
    let host = request.header("host").or_else(authority).unwrap_or_default();
    crate::contract::entry::without_port(host).to_ascii_lowercase().into()
}
