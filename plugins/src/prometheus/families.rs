//! [`Families`]: what exchanges are counted in, and the way from an exchange to its counters.

use std::borrow::Cow;
use std::sync::{Arc, Once, OnceLock};

use dashmap::DashMap;
use gateway_model::entities::{Consumer, Route, Service};
use gateway_model::{Id, Item};
use prometheus::core::Collector;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry,
};

use crate::contract::{Source, Summary, Tools, WORKSPACE};

/// The families of this process, registered once.
pub(super) struct Families {
    requests: IntCounterVec,
    sessions: IntCounterVec,
    bandwidth: IntCounterVec,
    kong_latency: HistogramVec,
    upstream_latency: HistogramVec,
    request_latency: HistogramVec,
    session_duration: HistogramVec,
    errors: IntCounter,
    series: DashMap<Key, Arc<Series>>,
    shown: Once,
}

/// What tells the counters of one exchange from those of another.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    route: Id,
    consumer: Option<Id>,
    status: u16,
    from_upstream: bool,
}

/// Counters found by their labels before, so that an exchange need not write labels. It holds as
/// long as the entities the labels were made of are the same writes.
pub(super) struct Series {
    route: Item<Route>,
    service: Option<Item<Service>>,
    consumer: Option<Item<Consumer>>,
    requests: OnceLock<IntCounter>,
    /// Received and sent.
    bandwidth: OnceLock<[IntCounter; 2]>,
    latency: OnceLock<Latency>,
}

struct Latency {
    kong: Histogram,
    /// Made when an upstream was asked.
    upstream: OnceLock<Histogram>,
    request: Histogram,
}

/// Series remembered before all are forgotten and counting begins anew, which readers of counters
/// expect of them. Routes, consumers and statuses are few; this is for a process whose routes come
/// and go for months.
const REMEMBERED: usize = 50_000;

const KONG_BUCKETS: &[f64] = &[
    1.0, 2.0, 5.0, 7.0, 10.0, 15.0, 20.0, 30.0, 50.0, 75.0, 100.0, 200.0, 500.0, 750.0, 1000.0,
    3000.0, 6000.0,
];
const UPSTREAM_BUCKETS: &[f64] = &[
    25.0, 50.0, 80.0, 100.0, 250.0, 400.0, 700.0, 1000.0, 2000.0, 5000.0, 10_000.0, 30_000.0,
    60_000.0,
];

impl Families {
    /// The families of this process.
    pub(super) fn of(tools: &Tools) -> Arc<Self> {
        let families = tools.shared(|_| Self::new());
        // Two that ask first at once both make families. Those that are kept are shown.
        families.shown.call_once(|| families.show(&tools.metrics));
        families
    }

    fn new() -> Self {
        Self {
            requests: counters(
                "kong_http_requests_total",
                "Exchanges by service, route, status, source and consumer",
                &["service", "route", "code", "source", "workspace", "consumer"],
            ),
            sessions: counters(
                "kong_stream_sessions_total",
                "Streams by service, route, status and source",
                &["service", "route", "code", "source", "workspace"],
            ),
            bandwidth: counters(
                "kong_bandwidth_bytes",
                "Bytes received from clients (ingress) and sent to them (egress)",
                &["service", "route", "direction", "workspace", "consumer"],
            ),
            kong_latency: histograms(
                "kong_kong_latency_ms",
                "Milliseconds the gateway took itself",
                KONG_BUCKETS,
            ),
            upstream_latency: histograms(
                "kong_upstream_latency_ms",
                "Milliseconds waited for the upstream",
                UPSTREAM_BUCKETS,
            ),
            request_latency: histograms(
                "kong_request_latency_ms",
                "Milliseconds from the request's first byte to the answer's last",
                UPSTREAM_BUCKETS,
            ),
            session_duration: histograms(
                "kong_session_duration_ms",
                "Milliseconds a stream lasted",
                UPSTREAM_BUCKETS,
            ),
            errors: IntCounter::new(
                "kong_nginx_metric_errors_total",
                "Metrics that could not be shown",
            )
            .expect("the name is valid"),
            series: DashMap::new(),
            shown: Once::new(),
        }
    }

    fn show(&self, registry: &Registry) {
        let all: [Box<dyn Collector>; 8] = [
            Box::new(self.requests.clone()),
            Box::new(self.sessions.clone()),
            Box::new(self.bandwidth.clone()),
            Box::new(self.kong_latency.clone()),
            Box::new(self.upstream_latency.clone()),
            Box::new(self.request_latency.clone()),
            Box::new(self.session_duration.clone()),
            Box::new(self.errors.clone()),
        ];
        for family in all {
            if let Err(why) = registry.register(family) {
                self.errors.inc();
                tracing::error!(%why, "a metric family is not shown: {why}");
            }
        }
    }

    /// The counters of an exchange, `None` when it found no route.
    pub(super) fn series(&self, summary: &Summary<'_>, per_consumer: bool) -> Option<Arc<Series>> {
        let facts = summary.facts;
        let route = facts.route.as_ref()?;
        let consumer = facts.identity.consumer.as_ref().filter(|_| per_consumer);
        let key = Key {
            route: route.id(),
            consumer: consumer.map(Item::id),
            status: summary.status,
            from_upstream: summary.source == Source::Upstream,
        };
        let known = self.series.get(&key).map(|series| Arc::clone(&series));
        if let Some(series) = known.filter(|series| series.holds(summary, consumer)) {
            return Some(series);
        }
        let series = Arc::new(Series {
            route: route.clone(),
            service: facts.service.clone(),
            consumer: consumer.cloned(),
            requests: OnceLock::new(),
            bandwidth: OnceLock::new(),
            latency: OnceLock::new(),
        });
        if self.series.len() >= REMEMBERED {
            self.forget();
        }
        self.series.insert(key, Arc::clone(&series));
        Some(series)
    }

    /// Counters first: a series made meanwhile is forgotten with the rest, while one that stayed
    /// would count where nobody looks any more.
    fn forget(&self) {
        for counters in [&self.requests, &self.sessions, &self.bandwidth] {
            counters.reset();
        }
        let of_requests = [&self.kong_latency, &self.upstream_latency, &self.request_latency];
        for histograms in of_requests.into_iter().chain([&self.session_duration]) {
            histograms.reset();
        }
        self.series.clear();
    }

    pub(super) fn count_request(&self, series: &Series, summary: &Summary<'_>) {
        let counter = series.requests.get_or_init(|| {
            let source = match summary.source {
                Source::Upstream => "service",
                Source::Gateway => "kong",
            };
            let code = summary.status.to_string();
            let (service, route) = (series.service(), series.route());
            let labels = [service, &*route, &code, source, WORKSPACE.1, series.consumer()];
            match summary.is_stream() {
                // Nobody is known to call.
                true => self.sessions.with_label_values(&labels[..5]),
                false => self.requests.with_label_values(&labels),
            }
        });
        counter.inc();
    }

    pub(super) fn count_bytes(&self, series: &Series, summary: &Summary<'_>) {
        let counters = series.bandwidth.get_or_init(|| {
            ["ingress", "egress"].map(|direction| {
                self.bandwidth.with_label_values(&[
                    series.service(),
                    &*series.route(),
                    direction,
                    WORKSPACE.1,
                    series.consumer(),
                ])
            })
        });
        counters[0].inc_by(summary.request_size);
        counters[1].inc_by(summary.response_size);
    }

    pub(super) fn measure(&self, series: &Series, summary: &Summary<'_>) {
        let route = series.route();
        let labels = || [series.service(), &*route, WORKSPACE.1];
        let latency = series.latency.get_or_init(|| Latency {
            kong: self.kong_latency.with_label_values(&labels()),
            upstream: OnceLock::new(),
            request: match summary.is_stream() {
                true => self.session_duration.with_label_values(&labels()),
                false => self.request_latency.with_label_values(&labels()),
            },
        });
        #[expect(clippy::cast_precision_loss, reason = "milliseconds are far below 2^53")]
        let observe = |histogram: &Histogram, ms: u64| histogram.observe(ms as f64);
        observe(&latency.kong, summary.latencies.kong);
        observe(&latency.request, summary.latencies.request);
        if let Some(ms) = summary.latencies.upstream {
            let child = || self.upstream_latency.with_label_values(&labels());
            observe(latency.upstream.get_or_init(child), ms);
        }
    }
}

impl Series {
    /// Whether the labels would come out the same today.
    fn holds(&self, summary: &Summary<'_>, consumer: Option<&Item<Consumer>>) -> bool {
        fn same<T>(a: Option<&Item<T>>, b: Option<&Item<T>>) -> bool {
            match (a, b) {
                (Some(a), Some(b)) => a.same(b),
                (None, None) => true,
                _ => false,
            }
        }
        let facts = summary.facts;
        same(Some(&self.route), facts.route.as_ref())
            && same(self.service.as_ref(), facts.service.as_ref())
            && same(self.consumer.as_ref(), consumer)
    }

    fn service(&self) -> &str {
        self.service.as_ref().map_or("", |service| service.name.as_deref().unwrap_or(&service.host))
    }

    fn route(&self) -> Cow<'_, str> {
        let named = self.route.name.as_deref().map(Cow::Borrowed);
        named.unwrap_or_else(|| self.route.id().to_string().into())
    }

    fn consumer(&self) -> &str {
        self.consumer.as_ref().and_then(|consumer| consumer.username.as_deref()).unwrap_or_default()
    }
}

fn counters(name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    IntCounterVec::new(Opts::new(name, help), labels).expect("names and labels are valid")
}

fn histograms(name: &str, help: &str, buckets: &[f64]) -> HistogramVec {
    let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
    HistogramVec::new(options, &["service", "route", "workspace"])
        .expect("names, labels and buckets are valid")
}
