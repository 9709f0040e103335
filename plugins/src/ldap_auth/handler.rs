use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures::FutureExt as _;
use gateway_model::{Id, Scopes, Violations};
use http::{HeaderName, StatusCode, header};

use super::config::Config;
use super::directory::{Directory, Place, Transport};
use super::verdicts::{Question, Verdicts};
use crate::contract::{Credential, Flow, Handler, Phases, Plugin, Reply, Request, Setup, Tools};
use crate::kit::auth::{Authentication, Proof, UNAUTHORIZED};
use crate::kit::tls;

/// One instance (kong/plugins/ldap-auth/handler.lua, access.lua).
pub(crate) struct LdapAuth {
    scheme: String,
    hide_credentials: bool,
    directory: Arc<Directory>,
    /// Tells the directory, and how long to remember what it says.
    place: String,
    remember: Duration,
    verdicts: Arc<Verdicts>,
    authentication: Authentication,
    tools: Arc<Tools>,
}

impl Plugin for LdapAuth {
    const NAME: &'static str = "ldap-auth";
    const PRIORITY: i32 = 1200;
    const PHASES: Phases = Phases::ACCESS;
    const SCOPES: Scopes = Scopes::NO_CONSUMER;
    type Config = Config;

    fn build(config: Config, setup: &Setup<'_>) -> Result<Self, Violations> {
        let transport = match (config.ldaps, config.start_tls) {
            (true, _) => Transport::Tls,
            (false, true) => Transport::StartTls,
            (false, false) => Transport::Plain,
        };
        let verify = match config.verify_ldap_host && transport != Transport::Plain {
            true => {
                let made = tls::verified(setup.tools.trusted.as_ref());
                Some(made.map_err(|why| Violations::one("verify_ldap_host", why))?)
            }
            false => None,
        };
        let place = Place {
            host: &config.ldap_host,
            port: config.ldap_port,
            transport,
            verify,
            timeout: milliseconds(config.timeout.unwrap_or(10_000.0)),
            keep: milliseconds(config.keepalive.unwrap_or(60_000.0)),
        };
        let described = format!(
            "{} {} {} {} {}",
            config.ldap_host.to_ascii_lowercase(),
            config.ldap_port,
            config.attribute,
            config.base_dn,
            config.cache_ttl
        );
        let scheme = config.header_type.unwrap_or_else(|| "ldap".to_owned());
        // Kong's own spelling of its default, from older days.
        let told = if scheme == "ldap" { "LDAP" } else { &scheme };
        Ok(Self {
            hide_credentials: config.hide_credentials,
            directory: Arc::new(Directory::new(place, config.attribute, config.base_dn)),
            place: described,
            remember: milliseconds(config.cache_ttl * 1000.0),
            verdicts: setup.tools.shared(|_| Verdicts::new()),
            authentication: Authentication::new(told, config.realm.as_deref(), config.anonymous)?,
            tools: Arc::clone(setup.tools),
            scheme,
        })
    }
}

fn milliseconds(number: f64) -> Duration {
    Duration::try_from_secs_f64(number.max(0.0) / 1000.0).unwrap_or(Duration::MAX)
}

/// Where name and password are looked for, in order.
const PLACES: [HeaderName; 2] = [header::PROXY_AUTHORIZATION, header::AUTHORIZATION];

/// A name and its password.
type Given = (String, String);

impl Handler for LdapAuth {
    fn access<'a>(&'a self, request: &'a mut Request<'_>) -> Flow<'a> {
        if self.authentication.settled(request) {
            return Flow::Continue;
        }
        let given = PLACES.iter().filter_map(|place| self.read(request.header(place.as_str())?));
        let mut open = Vec::new();
        for one in given.collect::<Vec<Given>>() {
            match self.known(&one) {
                Some(false) => {}
                Some(true) if open.is_empty() => return self.let_in(request, &one),
                _ => open.push(one),
            }
        }
        if open.is_empty() {
            return self.authentication.conclude(request, Err(UNAUTHORIZED));
        }
        // Only the directory itself is waited for.
        Flow::Wait(async move { self.ask(request, open).await }.boxed())
    }
}

impl LdapAuth {
    async fn ask(&self, request: &mut Request<'_>, given: Vec<Given>) -> Flow<'static> {
        for one in given {
            match self.verdict(&one).await {
                Ok(true) => return self.let_in(request, &one),
                Ok(false) => {}
                Err(why) => {
                    tracing::error!(directory = self.place, %why, "cannot ask the directory: {why}");
                    let text = "An unexpected error occurred";
                    return Flow::reply(Reply::message(StatusCode::INTERNAL_SERVER_ERROR, text));
                }
            }
        }
        self.authentication.conclude(request, Err(UNAUTHORIZED))
    }

    async fn verdict(&self, given: &Given) -> Result<bool, String> {
        if let Some(known) = self.known(given) {
            return Ok(known);
        }
        let question = self.question(given);
        let directory = Arc::clone(&self.directory);
        let (name, password) = given.clone();
        // Connections outlive requests: they live where background work does.
        let asked = self.tools.runtime.spawn(async move {
            directory.accepts(&name, &password).await.map_err(|why| why.to_string())
        });
        let accepted = asked.await.map_err(|why| why.to_string())??;
        let lasts = u64::try_from(self.remember.as_millis()).unwrap_or(u64::MAX);
        if lasts > 0 {
            let until = self.tools.clock.unix_ms().saturating_add(lasts);
            self.verdicts.put(question, accepted, until);
        }
        Ok(accepted)
    }

    fn known(&self, given: &Given) -> Option<bool> {
        self.verdicts.get(&self.question(given), self.tools.clock.unix_ms())
    }

    fn question(&self, (name, password): &Given) -> Question {
        Question::new(&self.place, name, password)
    }

    /// There is no consumer: the directory's people are not ours.
    fn let_in<'a>(&self, request: &mut Request<'_>, given: &Given) -> Flow<'a> {
        if self.hide_credentials {
            for place in PLACES {
                request.head.remove_header(&place);
            }
        }
        let id = Id::derived("ldap_auth_cache", &self.question(given).text());
        let credential = Credential { id, identifier: given.0.as_str().into() };
        self.authentication.conclude(request, Ok(Proof { consumer: None, credential }))
    }

    /// Name and password behind the scheme. The name ends at the first colon; neither is empty.
    fn read(&self, value: &str) -> Option<Given> {
        let (scheme, rest) = value.trim_start().split_once(char::is_whitespace)?;
        if !scheme.eq_ignore_ascii_case(&self.scheme) {
            return None;
        }
        let decoded = String::from_utf8(BASE64_STANDARD.decode(rest.trim()).ok()?).ok()?;
        let (name, password) = decoded.split_once(':')?;
        let given = !name.is_empty() && !password.is_empty();
        given.then(|| (name.to_owned(), password.to_owned()))
    }
}
