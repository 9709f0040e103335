use std::borrow::Cow;
use std::sync::Arc;

use gateway_model::{Clock, Id, Violations};
use http::{HeaderName, HeaderValue, StatusCode, header};

use super::config::{Config, LimitBy, Policy};
use crate::contract::{Facts, Flow, Handler, Phases, Plugin, Reply, Request, Setup};
use crate::kit::counter::{Counters, Identifier, Key, Limit, Moment, Period, Taken};
use crate::kit::counting::{Shared, Sharing, Window, counter_name, expiry, window_name};
use crate::kit::http::status;

/// One instance (kong/plugins/rate-limiting/handler.lua).
pub(crate) struct RateLimiting {
    limits: Vec<Limit>,
    /// The limits as headers show them.
    shown: Vec<HeaderValue>,
    by: By,
    hide_headers: bool,
    status: StatusCode,
    message: String,
    /// The scope of the instance: every scope has counters of its own.
    route: Option<Id>,
    service: Option<Id>,
    counts: Counts,
    fault_tolerant: bool,
    clock: Clock,
}

/// Where uses are counted.
enum Counts {
    Local(Arc<Counters>),
    Shared(Shared),
}

/// [`LimitBy`] with what it needs.
enum By {
    Consumer,
    Credential,
    Ip,
    Service,
    Header(HeaderName),
    Path(String),
    Subject,
}

impl Plugin for RateLimiting {
    const NAME: &'static str = "rate-limiting";
    const PRIORITY: i32 = 910;
    const PHASES: Phases = Phases::ACCESS;
    type Config = Config;

    fn build(config: Config, setup: &Setup<'_>) -> Result<Self, Violations> {
        let mut violations = Violations::new();
        let status = config.error_code.map_or(Ok(StatusCode::TOO_MANY_REQUESTS), status);
        let status = status.unwrap_or_else(|text| {
            violations.add("error_code", text.into());
            StatusCode::TOO_MANY_REQUESTS
        });
        let by = by(&config).unwrap_or_else(|(field, text)| {
            violations.add(field, text.into());
            By::Ip
        });
        if !violations.is_empty() {
            return Err(violations);
        }
        let limits = Period::ALL.map(|period| config.limit(period));
        let counts = match config.policy.unwrap_or_default() {
            Policy::Local => Counts::Local(setup.tools.shared(|_| Counters::new())),
            Policy::Redis => {
                Counts::Shared(Sharing::in_redis(setup.tools, config.redis, config.sync_rate)?)
            }
            Policy::Cluster => {
                let refused = || Violations::one("policy", "expected one of: local, redis");
                Counts::Shared(Sharing::in_store(setup.tools).ok_or_else(refused)?)
            }
        };
        let given: Vec<(Period, f64)> = Period::ALL
            .into_iter()
            .filter_map(|period| Some((period, limits[period as usize]?)))
            .collect();
        Ok(Self {
            limits: given.iter().map(|(period, limit)| Limit::whole(*period, *limit)).collect(),
            shown: given
                .iter()
                .map(|(_, limit)| HeaderValue::try_from(limit.to_string()))
                .collect::<Result<_, _>>()
                .map_err(|why| Violations::one("minute", why.to_string()))?,
            by,
            hide_headers: config.hide_client_headers,
            status,
            message: config.error_message.unwrap_or_else(|| "API rate limit exceeded".into()),
            route: setup.instance.route.map(|route| route.id),
            service: setup.instance.service.map(|service| service.id),
            counts,
            fault_tolerant: config.fault_tolerant,
            clock: setup.tools.clock.clone(),
        })
    }
}

fn by(config: &Config) -> Result<By, (&'static str, &'static str)> {
    Ok(match config.limit_by.unwrap_or_default() {
        LimitBy::Consumer => By::Consumer,
        LimitBy::Credential => By::Credential,
        LimitBy::Ip => By::Ip,
        LimitBy::Service => By::Service,
        LimitBy::Subject => By::Subject,
        LimitBy::Path => By::Path(config.path.clone().ok_or(("path", "required field missing"))?),
        LimitBy::Header => {
            let name = config.header_name.as_deref();
            let name = name.ok_or(("header_name", "required field missing"))?;
            By::Header(name.parse().map_err(|_| ("header_name", "not usable as a header name"))?)
        }
    })
}

impl Handler for RateLimiting {
    fn access<'a>(&'a self, request: &'a mut Request<'_>) -> Flow<'a> {
        let now = Moment::new(self.clock.unix_seconds());
        let counters = match &self.counts {
            Counts::Local(counters) => counters,
            Counts::Shared(shared) => {
                let windows = self.windows(request, now);
                return Flow::Wait(Box::pin(async move {
                    match shared.take(&windows, now.unix_seconds()).await {
                        Ok(taken) => self.decide(&taken, now, request.facts),
                        Err(why) => self.uncounted(&why, request.facts),
                    }
                }));
            }
        };
        let identifier = match self.who(request) {
            Who::Id(id) => Identifier::Id(id),
            Who::Text(text) => counters.text(&text),
            Who::Client => Identifier::Ip(request.facts.client.ip.to_canonical()),
        };
        let key = Key { route: self.route, service: self.service, identifier };
        let taken = counters.cells(&key).take(&self.limits, now);
        self.decide(&taken, now, request.facts)
    }
}

/// Whose use it is.
enum Who<'r> {
    Id(Id),
    Text(Cow<'r, [u8]>),
    /// The client's address.
    Client,
}

impl RateLimiting {
    /// Lets a request pass or refuses it, and tells how much is left.
    fn decide(&self, taken: &Taken, now: Moment, facts: &mut Facts) -> Flow<'static> {
        if taken.granted {
            if !self.hide_headers {
                self.tell(taken, now, &mut facts.response_headers);
            }
            return Flow::Continue;
        }
        let mut reply = Reply::message(self.status, self.message.as_str());
        if !self.hide_headers {
            let reset = self.tell(taken, now, &mut reply.headers);
            reply.headers.push((header::RETRY_AFTER, reset.into()));
        }
        Flow::reply(reply)
    }

    /// Where nobody knows how many uses there were.
    fn uncounted(&self, why: &str, facts: &Facts) -> Flow<'static> {
        tracing::error!(request.id = &*facts.request_id, why, "rate-limiting cannot count: {why}");
        if self.fault_tolerant {
            return Flow::Continue;
        }
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        Flow::reply(Reply::message(status, "An unexpected error occurred"))
    }

    /// The counters of a request that other nodes count in too.
    fn windows(&self, request: &Request<'_>, now: Moment) -> Vec<Window> {
        let who = match self.who(request) {
            Who::Id(id) => id.to_string(),
            Who::Text(text) => String::from_utf8_lossy(&text).into_owned(),
            Who::Client => request.facts.client.ip.to_canonical().to_string(),
        };
        let window = |limit: &Limit| {
            let window = window_name(limit.period, now);
            Window {
                key: counter_name("ratelimit", self.route, self.service, &who, &window),
                uses: limit.uses,
                expires: expiry(limit.period, now.unix_seconds()),
            }
        };
        self.limits.iter().map(window).collect()
    }

    fn who<'r>(&self, request: &'r Request<'_>) -> Who<'r> {
        let facts = &*request.facts;
        let identity = &facts.identity;
        let consumer = || identity.consumer.as_ref().map(|consumer| Who::Id(consumer.id()));
        let credential = || identity.credential.as_ref().map(|credential| Who::Id(credential.id));
        let text = |text: &'r [u8]| Who::Text(Cow::Borrowed(text));
        let found = match &self.by {
            By::Ip => None,
            By::Consumer => consumer().or_else(credential),
            By::Credential => credential(),
            By::Service => facts.service.as_ref().map(|service| Who::Id(service.id())),
            By::Header(name) => request.head.headers.get(name).map(|value| text(value.as_bytes())),
            By::Path(path) => {
                let here = request.head.uri.path();
                (here == path).then(|| text(here.as_bytes()))
            }
            By::Subject => subject(facts).map(|sub| text(sub.as_bytes())).or_else(consumer),
        };
        found.unwrap_or(Who::Client)
    }

    /// Adds the headers that tell limits and uses; gives the seconds until the tightest window ends.
    fn tell(
        &self,
        taken: &Taken,
        now: Moment,
        headers: &mut Vec<(HeaderName, HeaderValue)>,
    ) -> u64 {
        headers.reserve(2 * self.limits.len() + 4);
        let mut tightest = 0;
        for (at, limit) in self.limits.iter().enumerate() {
            let names = NAMES[limit.period as usize].clone();
            headers.push((names.limit, self.shown[at].clone()));
            headers.push((names.remaining, taken.left[at].into()));
            // Among equals the longer window, which comes later, counts.
            if taken.left[at] <= taken.left[tightest] {
                tightest = at;
            }
        }
        let reset = now.seconds_left(self.limits[tightest].period);
        headers.push((LIMIT, self.shown[tightest].clone()));
        headers.push((REMAINING, taken.left[tightest].into()));
        headers.push((RESET, reset.into()));
        reset
    }
}

/// The subject of the token that was verified.
fn subject(facts: &Facts) -> Option<&str> {
    facts.identity.claims.as_ref()?.get("sub")?.as_str()
}

const LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("ratelimit-reset");

#[derive(Clone)]
struct Names {
    limit: HeaderName,
    remaining: HeaderName,
}

impl Names {
    const fn new(limit: &'static str, remaining: &'static str) -> Self {
        Self {
            limit: HeaderName::from_static(limit),
            remaining: HeaderName::from_static(remaining),
        }
    }
}

/// The headers of each period, in the order of [`Period::ALL`].
static NAMES: [Names; 6] = [
    Names::new("x-ratelimit-limit-second", "x-ratelimit-remaining-second"),
    Names::new("x-ratelimit-limit-minute", "x-ratelimit-remaining-minute"),
    Names::new("x-ratelimit-limit-hour", "x-ratelimit-remaining-hour"),
    Names::new("x-ratelimit-limit-day", "x-ratelimit-remaining-day"),
    Names::new("x-ratelimit-limit-month", "x-ratelimit-remaining-month"),
    Names::new("x-ratelimit-limit-year", "x-ratelimit-remaining-year"),
];
