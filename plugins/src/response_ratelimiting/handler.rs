use std::sync::Arc;

use gateway_model::ports::CounterStep;
use gateway_model::{Clock, Id, Violations};
use http::{HeaderName, HeaderValue, StatusCode, header};

use super::config::{Config, LimitBy, Policy};
use crate::contract::{
    Chunk, Facts, Flow, Handler, Phases, Plugin, Reply, Request, Response, Setup, Summary,
};
use crate::kit::counter::{Cells, Counters, Identifier, Key, Limit, Moment};
use crate::kit::counting::{Shared, Sharing, Window, counter_name, expiry};

/// One instance (kong/plugins/response-ratelimiting/handler.lua).
pub(crate) struct ResponseRateLimiting {
    header: HeaderName,
    objects: Vec<Object>,
    by: LimitBy,
    counts: Counts,
    block: bool,
    hide_headers: bool,
    fault_tolerant: bool,
    route: Option<Id>,
    service: Option<Id>,
    clock: Clock,
}

/// Limits of one object, and the headers that tell of it.
struct Object {
    name: String,
    limits: Vec<Shown>,
    /// `X-RateLimit-Remaining-video`, for upstreams.
    remaining: String,
}

struct Shown {
    limit: Limit,
    text: HeaderValue,
    /// `X-RateLimit-Limit-video-minute`
    name: String,
    /// `X-RateLimit-Remaining-video-minute`
    remaining: String,
}

enum Counts {
    Local(Arc<ResponseCounters>),
    Shared(Shared),
}

/// Counters of this plugin alone: those of rate-limiting have the same keys.
struct ResponseCounters(Counters);

/// What is known of an exchange's uses, in its notes.
#[derive(Clone)]
struct Uses {
    now: Moment,
    counted: Counted,
    /// Of each object, what is left in each window; less than nothing when more was used.
    left: Vec<Vec<i64>>,
    /// What the upstream says was used of each object.
    used: Vec<u64>,
    /// Whether the answer is withheld.
    exceeded: bool,
}

#[derive(Clone)]
enum Counted {
    Local(Vec<Arc<Cells>>),
    Shared(Vec<Vec<Window>>),
}

impl Plugin for ResponseRateLimiting {
    const NAME: &'static str = "response-ratelimiting";
    const PRIORITY: i32 = 900;
    const PHASES: Phases =
        Phases::ACCESS.and(Phases::HEADER_FILTER).and(Phases::BODY_FILTER).and(Phases::LOG);
    type Config = Config;

    fn build(config: Config, setup: &Setup<'_>) -> Result<Self, Violations> {
        let header = config.header_name.as_deref().unwrap_or("x-kong-limit").parse();
        let header =
            header.map_err(|_| Violations::one("header_name", "not usable as a header"))?;
        let counts = match config.policy.unwrap_or_default() {
            Policy::Local => {
                Counts::Local(setup.tools.shared(|_| ResponseCounters(Counters::new())))
            }
            Policy::Redis => Counts::Shared(Sharing::in_redis(setup.tools, config.redis, -1.0)?),
            Policy::Cluster => {
                let refused = || Violations::one("policy", "expected one of: local, redis");
                Counts::Shared(Sharing::in_store(setup.tools).ok_or_else(refused)?)
            }
        };
        let object = |(name, limits): (&String, &super::config::Limits)| {
            let told = |what: &str| format!("X-RateLimit-{what}-{name}");
            HeaderName::from_bytes(told("Limit").as_bytes()).map_err(|_| {
                Violations::one("limits", format!("'{name}' is no part of a header"))
            })?;
            let shown = |(period, limit): (crate::kit::counter::Period, f64)| {
                let period_name = period.name();
                Ok(Shown {
                    limit: Limit::whole(period, limit),
                    text: HeaderValue::try_from(limit.to_string())
                        .map_err(|why| Violations::one("limits", why.to_string()))?,
                    name: format!("{}-{period_name}", told("Limit")),
                    remaining: format!("{}-{period_name}", told("Remaining")),
                })
            };
            let limits = limits.given().map(shown).collect::<Result<_, Violations>>()?;
            Ok(Object { name: name.clone(), limits, remaining: told("Remaining") })
        };
        Ok(Self {
            header,
            objects: config.limits.iter().map(object).collect::<Result<_, Violations>>()?,
            by: config.limit_by.unwrap_or_default(),
            counts,
            block: config.block_on_first_violation,
            hide_headers: config.hide_client_headers,
            fault_tolerant: config.fault_tolerant,
            route: setup.instance.route.map(|route| route.id),
            service: setup.instance.service.map(|service| service.id),
            clock: setup.tools.clock.clone(),
        })
    }
}

impl Handler for ResponseRateLimiting {
    fn access<'a>(&'a self, request: &'a mut Request<'_>) -> Flow<'a> {
        let now = Moment::new(self.clock.unix_seconds());
        let who = self.who(request.facts);
        match &self.counts {
            Counts::Local(counters) => {
                let cells: Vec<Arc<Cells>> =
                    self.objects.iter().map(|one| self.cells(counters, &who, &one.name)).collect();
                let left = self.left(|object, at| {
                    cells[object].used(self.objects[object].limits[at].limit.period, now)
                });
                self.decide(request, now, Counted::Local(cells), left)
            }
            Counts::Shared(shared) => {
                let windows = self.windows(&who, now);
                Flow::Wait(Box::pin(async move {
                    let all: Vec<Window> = windows.iter().flatten().cloned().collect();
                    let used = match shared.used(&all, now.unix_seconds()).await {
                        Ok(used) => used,
                        Err(why) => return self.uncounted(&why, request.facts),
                    };
                    let mut used = used.into_iter();
                    let left = self.left(|_, _| used.next().unwrap_or_default());
                    self.decide(request, now, Counted::Shared(windows), left)
                }))
            }
        }
    }

    fn header_filter(&self, response: &mut Response<'_>) {
        let used = self.told(response);
        let Some(uses) = response.facts.notes.get_mut::<Uses>() else { return };
        for ((object, left), used) in self.objects.iter().zip(&uses.left).zip(&used) {
            for (shown, left) in object.limits.iter().zip(left) {
                uses.exceeded |= *used > 0 && *left <= 0;
                if self.hide_headers {
                    continue;
                }
                let after = left.saturating_sub_unsigned(*used).max(0);
                // Names and values are valid: checked when this was built.
                let _ = response.head.insert_header(shown.name.clone(), shown.text.clone());
                let _ = response.head.insert_header(shown.remaining.clone(), after.to_string());
            }
        }
        uses.used = used;
        response.head.remove_header(&self.header);
        if uses.exceeded {
            let _ = response.head.set_status(StatusCode::TOO_MANY_REQUESTS);
            response.head.remove_header(&header::TRANSFER_ENCODING);
            let _ = response.head.insert_header(header::CONTENT_LENGTH, "0");
        }
    }

    fn body_filter(&self, chunk: &mut Chunk<'_>) {
        if chunk.facts.notes.get::<Uses>().is_some_and(|uses| uses.exceeded) {
            *chunk.data = None;
        }
    }

    fn log(&self, summary: &Summary<'_>) {
        let Some(uses) = summary.facts.notes.get::<Uses>().filter(|uses| !uses.exceeded) else {
            return;
        };
        let now = uses.now;
        match (&uses.counted, &self.counts) {
            (Counted::Local(cells), _) => {
                for ((object, cells), used) in self.objects.iter().zip(cells).zip(&uses.used) {
                    for shown in object.limits.iter().filter(|_| *used > 0) {
                        cells.add(shown.limit.period, *used, now);
                    }
                }
            }
            (Counted::Shared(windows), Counts::Shared(shared)) => {
                let objects = windows.iter().zip(&uses.used).filter(|(_, used)| **used > 0);
                let steps: Vec<CounterStep> = objects
                    .flat_map(|(windows, used)| {
                        windows.iter().map(|window| CounterStep {
                            key: window.key.clone(),
                            by: *used,
                            expires: window.expires,
                        })
                    })
                    .collect();
                if !steps.is_empty() {
                    shared.add(steps, now.unix_seconds());
                }
            }
            (Counted::Shared(_), Counts::Local(_)) => {}
        }
    }
}

impl ResponseRateLimiting {
    fn who(&self, facts: &Facts) -> String {
        let identity = &facts.identity;
        let consumer = || identity.consumer.as_ref().map(|consumer| consumer.id());
        let credential = || identity.credential.as_ref().map(|credential| credential.id);
        let found = match self.by {
            LimitBy::Consumer => consumer().or_else(credential),
            LimitBy::Credential => credential(),
            LimitBy::Ip => None,
        };
        found.map_or_else(|| facts.client.ip.to_canonical().to_string(), |id| id.to_string())
    }

    fn cells(&self, counters: &ResponseCounters, who: &str, object: &str) -> Arc<Cells> {
        let identifier: Identifier = counters.0.text(format!("{who}:{object}").as_bytes());
        counters.0.cells(&Key { route: self.route, service: self.service, identifier })
    }

    fn windows(&self, who: &str, now: Moment) -> Vec<Vec<Window>> {
        let of = |object: &Object| {
            let window = |shown: &Shown| {
                let period = shown.limit.period;
                let start = now.window_start(period) * 1000;
                let window = format!("{start}:{}:{}", object.name, period.name());
                Window {
                    key: counter_name("response-ratelimit", self.route, self.service, who, &window),
                    uses: shown.limit.uses,
                    expires: expiry(period, now.unix_seconds()),
                }
            };
            object.limits.iter().map(window).collect()
        };
        self.objects.iter().map(of).collect()
    }

    /// What is left of each limit, given what was used.
    fn left(&self, mut used: impl FnMut(usize, usize) -> u64) -> Vec<Vec<i64>> {
        let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let mut all = Vec::with_capacity(self.objects.len());
        for (object, shown) in self.objects.iter().enumerate() {
            let limits = shown.limits.iter().enumerate();
            all.push(
                limits.map(|(at, one)| signed(one.limit.uses) - signed(used(object, at))).collect(),
            );
        }
        all
    }

    fn decide(
        &self,
        request: &mut Request<'_>,
        now: Moment,
        counted: Counted,
        left: Vec<Vec<i64>>,
    ) -> Flow<'static> {
        for (object, left) in self.objects.iter().zip(&left) {
            if self.block && left.iter().any(|left| *left <= 0) {
                let text = format!("API rate limit exceeded for '{}'", object.name);
                return Flow::reply(Reply::message(StatusCode::TOO_MANY_REQUESTS, text));
            }
            let least = left.iter().min().copied().unwrap_or_default();
            // A valid name and value are always taken.
            let _ = request.head.insert_header(object.remaining.clone(), least.to_string());
        }
        let used = vec![0; self.objects.len()];
        request.facts.notes.insert(Uses { now, counted, left, used, exceeded: false });
        Flow::Continue
    }

    fn uncounted(&self, why: &str, facts: &Facts) -> Flow<'static> {
        let request = &*facts.request_id;
        tracing::error!(request.id = request, why, "response-ratelimiting cannot count: {why}");
        if self.fault_tolerant {
            return Flow::Continue;
        }
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        Flow::reply(Reply::message(status, "An unexpected error occurred"))
    }

    /// What the answer says was used of each object.
    fn told(&self, response: &Response<'_>) -> Vec<u64> {
        let told = response.head.headers.get(&self.header).and_then(|value| value.to_str().ok());
        let of = |object: &Object| {
            let mut used = 0;
            for part in told.unwrap_or_default().split(',') {
                if let Some((name, count)) = part.split_once('=')
                    && name.trim() == object.name
                {
                    used = count.trim().parse().unwrap_or(0);
                }
            }
            used
        };
        self.objects.iter().map(of).collect()
    }
}
