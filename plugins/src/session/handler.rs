use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use gateway_model::entities::Consumer;
use gateway_model::{Change, Entity, EntityType, Id, Item, Key, Scopes, Violations};
use http::{HeaderName, HeaderValue, StatusCode, header};
use pingora_http::RequestHeader;

use super::config::{Config, LogoutMethod, Storage, Told};
use super::cookie::Cookies;
use super::entity::{Metadata, SESSION_METADATAS, SESSIONS, Stored};
use super::seal::Seal;
use super::state::{Limits, Login, State, Upkeep, seconds};
use crate::contract::{
    ANY, AuthenticatedGroups, Credential, Flow, Handler, Needs, Phases, Plugin, Reply, Request,
    Response, Setup, Tools,
};
use crate::kit::parameters::Parameters;

/// One instance (kong/plugins/session/access.lua, header_filter.lua, session.lua).
pub(crate) struct SessionPlugin {
    config: Config,
    name: String,
    audience: String,
    limits: Limits,
    remember: Option<(String, Limits)>,
    seal: Seal,
    cookies: Cookies,
    tools: Arc<Tools>,
}

/// The session of this exchange, as its cookie says.
#[derive(Clone)]
struct Open(Login);

impl Plugin for SessionPlugin {
    const NAME: &'static str = "session";
    const PRIORITY: i32 = 1900;
    const PHASES: Phases = Phases::ACCESS.and(Phases::HEADER_FILTER);
    const SCOPES: Scopes = Scopes::NO_CONSUMER;
    const PROTOCOLS: &'static [&'static str] = ANY;
    const ENTITIES: &'static [&'static EntityType] = &[&SESSIONS, &SESSION_METADATAS];
    type Config = Config;

    fn build(config: Config, setup: &Setup<'_>) -> Result<Self, Violations> {
        let secret = config.secret.as_ref().map(|secret| secret.expose().as_str());
        let seal = secret.and_then(Seal::new);
        let seal = seal.ok_or_else(|| Violations::one("secret", "required field missing"))?;
        let remember = config.remember.unwrap_or_default().then(|| {
            let name = config.remember_cookie_name.clone();
            (name.unwrap_or_else(|| "remember".to_owned()), Limits::remember(&config))
        });
        let cookies = Cookies::new(&config);
        let name = config.cookie_name.clone().unwrap_or_else(|| "session".to_owned());
        if cookies.write(&name, "", None).is_none() {
            return Err(Violations::one("cookie_name", "not usable in a header"));
        }
        Ok(Self {
            audience: config.audience.clone().unwrap_or_else(|| "default".to_owned()),
            limits: Limits::session(&config),
            tools: Arc::clone(setup.tools),
            config,
            name,
            remember,
            seal,
            cookies,
        })
    }
}

impl Handler for SessionPlugin {
    fn needs(&self) -> Needs {
        let body = self.config.read_body_for_logout.unwrap_or_default();
        if body { Needs::BODY } else { Needs::NOTHING }
    }

    fn needs_of(&self, head: &RequestHeader) -> Needs {
        if self.may_log_out(head) { self.needs() } else { Needs::NOTHING }
    }

    fn access<'a>(&'a self, request: &'a mut Request<'_>) -> Flow<'a> {
        let now = self.tools.clock.unix_seconds();
        let Some((state, login, brought_back)) = self.find(request, now) else {
            return Flow::Continue;
        };
        if self.is_logout(request) {
            self.end(&state, request);
            return Flow::reply(Reply::empty(StatusCode::OK));
        }
        let Some(consumer) = request.facts.catalog.get::<Consumer>(login.consumer) else {
            self.end(&state, request);
            return Flow::Continue;
        };
        let state = self.keep_up(state, brought_back, request, now);
        self.tell(&self.facts(&state, &login, now), request);
        self.let_in(consumer, login, request);
        Flow::Continue
    }

    fn header_filter(&self, response: &mut Response<'_>) {
        let identity = &response.facts.identity;
        // Nothing is kept of anonymous callers, nor of those who have no consumer.
        let (Some(consumer), Some(credential)) = (&identity.consumer, &identity.credential) else {
            return;
        };
        let groups = response.facts.notes.get::<AuthenticatedGroups>();
        let login = Login {
            consumer: consumer.id(),
            credential: credential.id,
            groups: groups.map(|groups| groups.0.clone()).unwrap_or_default(),
        };
        if response.facts.notes.get::<Open>().is_some_and(|open| open.0 == login) {
            return;
        }
        let now = self.tools.clock.unix_seconds();
        let state = State::new(&self.audience, login.clone(), now);
        for line in self.give(&state, now) {
            // Appending a valid name and value cannot fail; pingora's signature says it may.
            let _ = response.head.append_header(header::SET_COOKIE, line);
        }
        let facts = self.facts(&state, &login, now);
        for (name, value) in told(self.config.response_headers.as_deref(), &facts) {
            let _ = response.head.insert_header(name, value);
        }
    }
}

impl SessionPlugin {
    /// The session of a request, who logged in, and whether the second cookie brought it back.
    fn find(&self, request: &Request<'_>, now: u64) -> Option<(State, Login, bool)> {
        let headers = &request.head.headers;
        let open = |name: &str, limits: &Limits| {
            let state: State = self.seal.open(&Cookies::read(headers, name)?, name)?;
            let good = state.audience == self.audience && !state.is_over(limits, now);
            let state = good.then_some(state)?;
            let login = match (&state.login, self.storage()) {
                (Some(login), Storage::Cookie) => login.clone(),
                (None, Storage::Kong) => self.stored(request, &state, now)?,
                // Made when sessions were kept elsewhere.
                _ => return None,
            };
            Some((state, login))
        };
        if let Some((state, login)) = open(&self.name, &self.limits) {
            return Some((state, login, false));
        }
        let (name, limits) = self.remember.as_ref()?;
        open(name, limits).map(|(state, login)| (state, login, true))
    }

    fn stored(&self, request: &Request<'_>, state: &State, now: u64) -> Option<Login> {
        let stored = request.facts.catalog.by::<Stored>("session_id", &state.id)?;
        let data = stored.data.as_deref().filter(|_| !stored.is_gone(now))?;
        self.seal.open(data, &state.id)
    }

    fn storage(&self) -> Storage {
        self.config.storage.unwrap_or_default()
    }

    /// Whether requests with this method may log out.
    fn may_log_out(&self, head: &RequestHeader) -> bool {
        let method = match head.method.as_str() {
            "GET" => LogoutMethod::Get,
            "POST" => LogoutMethod::Post,
            "DELETE" => LogoutMethod::Delete,
            _ => return false,
        };
        self.config.logout_methods.iter().flatten().any(|one| *one == method)
    }

    fn is_logout(&self, request: &Request<'_>) -> bool {
        if !self.may_log_out(request.head) {
            return false;
        }
        let in_query = self.config.logout_query_arg.as_deref();
        if in_query.is_some_and(|name| request.query(name).is_some()) {
            return true;
        }
        let in_body = self.config.logout_post_arg.as_deref();
        self.config.read_body_for_logout.unwrap_or_default()
            && in_body.is_some_and(|name| Parameters::of_body(request).get(name).is_some())
    }

    /// Ends a session: its cookies go, and what is stored of it.
    fn end(&self, state: &State, request: &mut Request<'_>) {
        let remember = self.remember.as_ref().map(|(name, _)| name);
        for name in [&self.name].into_iter().chain(remember) {
            let lines = self.cookies.remove(&request.head.headers, name);
            set(request, lines);
        }
        if self.storage() == Storage::Kong {
            let key = Key::Unique("session_id", state.id.clone());
            self.write(vec![Change::Delete { kind: Stored::KIND, key }]);
        }
    }

    /// Tells the browser what a session needs to go on.
    fn keep_up(
        &self,
        state: State,
        brought_back: bool,
        request: &mut Request<'_>,
        now: u64,
    ) -> State {
        let upkeep = if brought_back { Upkeep::Renew } else { state.upkeep(&self.limits, now) };
        match upkeep {
            Upkeep::Nothing => state,
            Upkeep::Touch => {
                let touched = state.touched(now);
                let sealed = self.seal.close(&touched, &self.name);
                let lines = sealed.and_then(|sealed| self.cookies.write(&self.name, &sealed, None));
                set(request, lines.unwrap_or_default());
                touched
            }
            Upkeep::Renew => {
                let old = state.id.clone();
                let mut next = state.renewed(now);
                if self.storage() == Storage::Kong {
                    next.login = self.stored(request, &state, now);
                }
                set(request, self.give(&next, now));
                if self.storage() == Storage::Kong {
                    self.outlive(request, &old, now);
                }
                next
            }
        }
    }

    /// Lets the session that was renewed go on for requests under way.
    fn outlive(&self, request: &Request<'_>, id: &str, now: u64) {
        let Some(stored) = request.facts.catalog.by::<Stored>("session_id", id) else { return };
        let end = now.saturating_add(seconds(self.config.stale_ttl));
        let end = stored.expires.map_or(end, |sooner| sooner.min(end));
        let document = gateway_model::Document::from_iter([("expires".to_owned(), end.into())]);
        let key = Key::Id(stored.id());
        self.write(vec![Change::Patch { kind: Stored::KIND, key, document }]);
    }

    /// The cookies of a session that begins or is renewed; stores it where it is to be.
    fn give(&self, state: &State, now: u64) -> Vec<HeaderValue> {
        let mut shown = state.clone();
        if self.storage() == Storage::Kong {
            self.store(state, now);
            shown.login = None;
        }
        let sealed = |name: &str, age| {
            let sealed = self.seal.close(&shown, name)?;
            let lines = self.cookies.write(name, &sealed, age);
            if lines.is_none() {
                tracing::warn!(cookie = name, "a session is too large for cookies");
            }
            lines
        };
        let second = self
            .remember
            .as_ref()
            .and_then(|(name, limits)| sealed(name, shown.lasts(limits, now)));
        sealed(&self.name, None).into_iter().chain(second).flatten().collect()
    }

    fn store(&self, state: &State, now: u64) {
        let sealed = state.login.as_ref().and_then(|login| self.seal.close(login, &state.id));
        // How long nobody asked is told by the cookie.
        let own = Limits { idling: 0, ..self.limits };
        let limits = self.remember.as_ref().map_or(&own, |(_, limits)| limits);
        let (own, remembered) = (state.lasts(&own, now), state.lasts(limits, now));
        let lasts = own.zip(remembered).map(|(one, other)| one.max(other));
        let id = Id::random();
        let document = serde_json::json!({
            "id": id, "session_id": state.id, "data": sealed, "ttl": lasts,
            "expires": lasts.map(|lasts| now.saturating_add(lasts)),
        });
        let mut changes = vec![insert(Stored::KIND, document)];
        if self.config.store_metadata.unwrap_or_default() {
            let document = serde_json::json!({
                "session": {"id": id}, "sid": state.id, "audience": state.audience,
                "subject": state.login.as_ref().map(|login| self.subject(login)),
            });
            changes.push(insert(Metadata::KIND, document));
        }
        self.write(changes);
    }

    /// Writes without waiting: header filters cannot, and Kong does not either.
    fn write(&self, changes: Vec<Change>) {
        let tools = Arc::clone(&self.tools);
        self.tools.runtime.spawn(async move {
            if let Err(why) = tools.entities.apply(changes).await {
                tracing::error!(%why, "a session could not be written: {why}");
            }
        });
    }

    fn subject(&self, login: &Login) -> String {
        let subject = login.consumer.to_string();
        if self.config.hash_subject.unwrap_or_default() {
            return BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, subject.as_bytes()));
        }
        subject
    }

    /// What may be told of a session.
    fn facts(&self, state: &State, login: &Login, now: u64) -> Vec<Fact> {
        let [idling, rolling, absolute] = state.left(&self.limits, now);
        let number = |left: Option<u64>| left.unwrap_or_default().to_string();
        vec![
            (Told::Id, "session-id", state.id.clone()),
            (Told::Audience, "session-audience", state.audience.clone()),
            (Told::Subject, "session-subject", self.subject(login)),
            (Told::Timeout, "session-timeout", number(state.lasts(&self.limits, now))),
            (Told::IdlingTimeout, "session-idling-timeout", number(idling)),
            (Told::RollingTimeout, "session-rolling-timeout", number(rolling)),
            (Told::AbsoluteTimeout, "session-absolute-timeout", number(absolute)),
        ]
    }

    fn tell(&self, facts: &[Fact], request: &mut Request<'_>) {
        for (name, value) in told(self.config.request_headers.as_deref(), facts) {
            // Inserting a valid name and value cannot fail; pingora's signature says it may.
            let _ = request.head.insert_header(name, value);
        }
        let client = told(self.config.response_headers.as_deref(), facts);
        request.facts.response_headers.extend(client);
    }

    fn let_in(&self, consumer: Item<Consumer>, login: Login, request: &mut Request<'_>) {
        const GROUPS: HeaderName = HeaderName::from_static("x-authenticated-groups");
        request.head.remove_header(&GROUPS);
        if !login.groups.is_empty() {
            if let Ok(value) = HeaderValue::try_from(login.groups.join(", ")) {
                // As above.
                let _ = request.head.insert_header(GROUPS, value);
            }
            request.facts.notes.insert(AuthenticatedGroups(login.groups.clone()));
        }
        let identifier = login.credential.to_string().into();
        let credential = Credential { id: login.credential, identifier };
        request.facts.identity.authenticate(request.head, Some(consumer), Some(credential));
        request.facts.notes.insert(Open(login));
    }
}

fn insert(kind: &'static str, document: serde_json::Value) -> Change {
    let serde_json::Value::Object(document) = document else {
        unreachable!("callers give objects")
    };
    Change::Insert { kind, document }
}

/// Adds cookies to whatever answer the client gets.
fn set(request: &mut Request<'_>, lines: Vec<HeaderValue>) {
    let lines = lines.into_iter().map(|line| (header::SET_COOKIE, line));
    request.facts.response_headers.extend(lines);
}

/// What may be told of a session, the header that tells it, and its value.
type Fact = (Told, &'static str, String);

/// The headers that tell what is wanted.
fn told(wanted: Option<&[Told]>, facts: &[Fact]) -> Vec<(HeaderName, HeaderValue)> {
    let is_wanted = |told: &Told| wanted.is_some_and(|wanted| wanted.contains(told));
    let facts = facts.iter().filter(|(told, ..)| is_wanted(told));
    let pair = |(_, name, value): &Fact| {
        Some((HeaderName::from_static(name), HeaderValue::try_from(value.as_str()).ok()?))
    };
    facts.filter_map(pair).collect()
}
