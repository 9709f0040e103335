use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use gateway_model::{Clock, EntityType, Violations};
use http::{HeaderValue, Method, StatusCode, header};
use pingora_http::ResponseHeader;

use super::cache::{Answer, Answers, LONGEST, Place};
use super::config::{Config, ResponseHeaders};
use super::key::key;
use super::pages::PAGES;
use super::purge::{PURGES, Watch};
use super::rules::{Directives, good_for};
use crate::contract::{
    ANY, AdminPage, Chunk, Flow, HTTP, Handler, Phases, Plugin, Relayed, Reply, ReplyBody, Request,
    Response, Setup,
};

/// One instance (kong/plugins/proxy-cache/handler.lua).
pub(crate) struct ProxyCache {
    statuses: Vec<u16>,
    methods: Vec<Method>,
    types: Vec<String>,
    ttl: u64,
    storage_ttl: Option<u64>,
    cache_control: bool,
    ignore_case: bool,
    vary_query: Vec<String>,
    vary_headers: Vec<String>,
    told: ResponseHeaders,
    memory: Arc<str>,
    answers: Arc<Answers>,
    /// Looks for what other nodes purge.
    _watch: Arc<Watch>,
    clock: Clock,
}

/// What becomes of an exchange, in its notes.
#[derive(Clone)]
struct Caching {
    /// None when the client is not told.
    status: Option<Status>,
    key: Option<String>,
    /// The answer so far, while it is to be kept.
    keeping: Option<Keeping>,
}

#[derive(Clone)]
struct Keeping {
    head: ResponseHeader,
    body: BytesMut,
    good_for: u64,
}

/// What the client is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Hit,
    Miss,
    Refresh,
    Bypass,
}

impl Status {
    const fn text(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Hit => "Hit",
            Self::Miss => "Miss",
            Self::Refresh => "Refresh",
            Self::Bypass => "Bypass",
        })
    }
}

const STATUS: &str = "X-Cache-Status";
const KEY: &str = "X-Cache-Key";

impl Plugin for ProxyCache {
    const NAME: &'static str = "proxy-cache";
    const PRIORITY: i32 = 100;
    const PHASES: Phases = Phases::ACCESS.and(Phases::HEADER_FILTER).and(Phases::BODY_FILTER);
    const PROTOCOLS: &'static [&'static str] = ANY;
    const DEFAULT_PROTOCOLS: &'static [&'static str] = HTTP;
    const ENTITIES: &'static [&'static EntityType] = &[&PURGES];
    const PAGES: &'static [AdminPage] = PAGES;
    type Config = Config;

    fn build(config: Config, setup: &Setup<'_>) -> Result<Self, Violations> {
        let methods = config.request_method.iter().map(|name| name.parse());
        let methods = methods.collect::<Result<_, _>>();
        Ok(Self {
            statuses: config.response_code,
            methods: methods.map_err(|_| Violations::one("request_method", "no methods"))?,
            types: config.content_type,
            ttl: config.cache_ttl.unwrap_or(300),
            storage_ttl: config.storage_ttl,
            cache_control: config.cache_control,
            ignore_case: config.ignore_uri_case.unwrap_or_default(),
            vary_query: config.vary_query_params.unwrap_or_default(),
            vary_headers: config.vary_headers.unwrap_or_default(),
            told: config.response_headers,
            memory: config.memory.dictionary_name.into(),
            _watch: Watch::of(setup.tools),
            answers: Answers::of(setup.tools),
            clock: setup.tools.clock.clone(),
        })
    }
}

impl Handler for ProxyCache {
    fn access<'a>(&'a self, request: &'a mut Request<'_>) -> Flow<'a> {
        let wanted = Directives::of(&request.head.headers);
        if !self.may_be_kept(request, &wanted) {
            let caching = Caching { status: Some(Status::Bypass), key: None, keeping: None };
            request.facts.notes.insert(caching);
            return Flow::Continue;
        }
        let key = key(request, self.ignore_case, &self.vary_query, &self.vary_headers);
        let now = self.clock.unix_seconds();
        let place = Place { memory: Arc::clone(&self.memory), key };
        let kept = self.answers.get(&place, now);
        let only = self.cache_control && wanted.has("only-if-cached");
        let status = match &kept {
            Some(answer) if self.is_good(answer, &wanted, now) => Status::Hit,
            Some(_) => Status::Refresh,
            None => Status::Miss,
        };
        let told = (kept.is_some() || !only).then_some(status);
        request.facts.notes.insert(Caching { status: told, key: Some(place.key), keeping: None });
        match kept {
            Some(answer) if status == Status::Hit => {
                request.facts.notes.insert(Relayed);
                Flow::reply(self.again(&answer, now))
            }
            None if only => Flow::reply(Reply::empty(StatusCode::GATEWAY_TIMEOUT)),
            _ => Flow::Continue,
        }
    }

    fn header_filter(&self, response: &mut Response<'_>) {
        let Some(mut caching) = response.facts.notes.remove::<Caching>() else { return };
        if matches!(caching.status, Some(Status::Miss | Status::Refresh)) {
            match self.good_for(response.head) {
                Some(good_for) => {
                    let head = response.head.clone();
                    let keeping = Keeping { head, body: BytesMut::new(), good_for };
                    // An answer to HEAD has no body to wait for.
                    if response.request.method == Method::HEAD {
                        self.keep(caching.key.clone(), keeping);
                    } else {
                        caching.keeping = Some(keeping);
                    }
                }
                None => caching.status = Some(Status::Bypass),
            }
        }
        // Valid names and values are always taken.
        if self.told.key.unwrap_or(true)
            && let Some(key) = &caching.key
        {
            let _ = response.head.insert_header(KEY, key.as_str());
        }
        if self.told.status.unwrap_or(true)
            && let Some(status) = caching.status
        {
            let _ = response.head.insert_header(STATUS, status.text());
        }
        response.facts.notes.insert(caching);
    }

    fn body_filter(&self, chunk: &mut Chunk<'_>) {
        let Some(caching) = chunk.facts.notes.get_mut::<Caching>() else { return };
        let Some(keeping) = &mut caching.keeping else { return };
        if let Some(data) = chunk.data {
            keeping.body.extend_from_slice(data);
        }
        if keeping.body.len() > LONGEST {
            caching.keeping = None;
            tracing::debug!(request.id = &*chunk.facts.request_id, "an answer is too long to keep");
        } else if chunk.end
            && let Some(keeping) = caching.keeping.take()
        {
            self.keep(caching.key.clone(), keeping);
        }
    }
}

impl ProxyCache {
    fn may_be_kept(&self, request: &Request<'_>, wanted: &Directives) -> bool {
        let refused = self.cache_control
            && (wanted.has("no-store")
                || wanted.has("no-cache")
                || request.head.headers.contains_key(header::AUTHORIZATION));
        self.methods.contains(&request.head.method) && !refused
    }

    /// Whether a client takes a kept answer.
    fn is_good(&self, answer: &Answer, wanted: &Directives, now: u64) -> bool {
        let age = now.saturating_sub(answer.kept_at);
        if !self.cache_control {
            return age <= self.ttl;
        }
        let is_too_old = |limit: u64| age > limit;
        let is_too_stale = |limit: u64| age.saturating_sub(answer.good_for) > limit;
        let is_not_fresh = |least: u64| answer.good_for.saturating_sub(age) < least;
        !(wanted.seconds("max-age").is_some_and(is_too_old)
            || wanted.seconds("max-stale").is_some_and(is_too_stale)
            || wanted.seconds("min-fresh").is_some_and(is_not_fresh))
    }

    /// Seconds an answer is good for, `None` when it may not be kept.
    fn good_for(&self, head: &ResponseHeader) -> Option<u64> {
        let mut types = head.headers.get_all(header::CONTENT_TYPE).iter();
        let kind = types.next().filter(|_| types.next().is_none())?;
        let known = self.statuses.contains(&head.status.as_u16())
            && self.types.iter().any(|one| one.as_bytes() == kind.as_bytes());
        if !known {
            return None;
        }
        if !self.cache_control {
            return Some(self.ttl);
        }
        let told = Directives::of(&head.headers);
        if ["private", "no-store", "no-cache"].iter().any(|name| told.has(name)) {
            return None;
        }
        Some(good_for(&told, &head.headers, self.clock.unix_seconds()))
            .filter(|seconds| *seconds > 0)
    }

    fn keep(&self, key: Option<String>, keeping: Keeping) {
        let Some(key) = key else { return };
        let now = self.clock.unix_seconds();
        let Keeping { mut head, body, good_for } = keeping;
        for name in OF_ONE_CONNECTION {
            head.remove_header(name);
        }
        let stored_for = self.storage_ttl.unwrap_or(good_for);
        let answer = Answer {
            head,
            body: body.freeze(),
            kept_at: now,
            good_for,
            gone_at: now.saturating_add(stored_for),
        };
        self.answers.keep(Place { memory: Arc::clone(&self.memory), key }, answer);
    }

    /// The kept answer, given again.
    fn again(&self, answer: &Answer, now: u64) -> Reply {
        let kind = answer.head.headers.get(header::CONTENT_TYPE).cloned();
        let kind = kind.unwrap_or_else(|| HeaderValue::from_static("application/octet-stream"));
        let body = ReplyBody::Bytes(kind, Bytes::clone(&answer.body));
        let mut reply = Reply { status: answer.head.status, headers: Vec::new(), body };
        let told = [header::CONTENT_TYPE, header::VIA];
        for (name, value) in &answer.head.headers {
            if !told.contains(name) && !name.as_str().contains("ratelimit-remaining") {
                reply.headers.push((name.clone(), value.clone()));
            }
        }
        if self.told.age.unwrap_or(true) {
            let age = now.saturating_sub(answer.kept_at);
            reply.headers.retain(|(name, _)| *name != header::AGE);
            reply.headers.push((header::AGE, age.into()));
        }
        reply
    }
}

/// Headers of a connection, not of an answer (RFC 2616, 13.5.1), and what is reckoned anew.
const OF_ONE_CONNECTION: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailers",
    "transfer-encoding",
    "upgrade",
    "content-length",
];
