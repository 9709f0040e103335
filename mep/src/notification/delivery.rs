//! [`Courier`]: brings notifications to subscribers, each in its own order.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;

use backon::{BackoffBuilder as _, ExponentialBuilder, Retryable as _};
use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use gateway_control::Control;
use gateway_model::Id;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use tokio::sync::{Semaphore, watch};
use url::Url;

use super::resolver::GuardedResolver;
use crate::entities::Subscription;
use crate::guard::Guard;
use crate::metrics::Metrics;
use crate::platform::over;
use crate::settings::Delivery;

/// Brings notifications to subscribers.
///
/// Every subscription with something waiting has a task of its own that delivers in order and ends
/// with its queue. All share the number of attempts that may be under way.
pub(super) struct Courier {
    client: reqwest::Client,
    settings: Delivery,
    own_address: Option<IpAddr>,
    control: Control,
    guard: Arc<Guard>,
    metrics: Metrics,
    queues: DashMap<Id, VecDeque<String>>,
    attempts: Semaphore,
    stopped: watch::Sender<bool>,
}

impl Courier {
    pub(super) fn new(
        settings: Delivery,
        own_address: Option<IpAddr>,
        control: Control,
        guard: Arc<Guard>,
        metrics: Metrics,
    ) -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder()
            .timeout(settings.timeout)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .dns_resolver(Arc::new(GuardedResolver(Arc::clone(&guard))))
            .tls_danger_accept_invalid_certs(!settings.verify_certificates)
            .build()?;
        Ok(Self {
            client,
            own_address,
            control,
            guard,
            metrics,
            queues: DashMap::new(),
            attempts: Semaphore::new(settings.concurrency.max(1)),
            stopped: watch::Sender::new(false),
            settings,
        })
    }

    /// Queues a notification; one too many is lost and counted.
    pub(super) fn send(self: &Arc<Self>, subscription: &Subscription, body: String) {
        match self.queues.entry(subscription.id) {
            Entry::Occupied(mut queue) if queue.get().len() < self.settings.queue => {
                queue.get_mut().push_back(body);
            }
            Entry::Occupied(_) => self.count("dropped", 1),
            Entry::Vacant(place) => {
                place.insert(VecDeque::from([body]));
                tokio::spawn(Arc::clone(self).deliver_all(subscription.id));
            }
        }
    }

    /// Ends all deliveries; what waits is lost and counted.
    pub(super) fn stop(&self) {
        self.stopped.send_replace(true);
    }

    /// Delivers what waits for one subscription, until nothing does or it is gone.
    async fn deliver_all(self: Arc<Self>, id: Id) {
        let mut stopped = self.stopped.subscribe();
        while let Some(body) = self.next(id) {
            let Some(subscription) = self.control.catalog().get::<Subscription>(id) else {
                self.abandon(id, 1);
                return;
            };
            tokio::select! {
                outcome = self.deliver(&subscription, body) => self.count(outcome, 1),
                () = over(&mut stopped) => {
                    self.abandon(id, 1);
                    return;
                }
            }
        }
    }

    /// The next body, and the end of the queue when there is none: whoever sends after that begins
    /// a new one.
    fn next(&self, id: Id) -> Option<String> {
        match self.queues.entry(id) {
            Entry::Occupied(mut queue) => {
                let body = queue.get_mut().pop_front();
                if body.is_none() {
                    queue.remove();
                }
                body
            }
            Entry::Vacant(_) => None,
        }
    }

    fn abandon(&self, id: Id, in_hand: usize) {
        let waiting = self.queues.remove(&id).map_or(0, |(_, queue)| queue.len());
        self.count("dropped", waiting + in_hand);
    }

    fn count(&self, result: &str, number: usize) {
        let number = u64::try_from(number).unwrap_or(u64::MAX);
        self.metrics.notifications.with_label_values(&[result]).inc_by(number);
    }

    async fn deliver(&self, subscription: &Subscription, body: String) -> &'static str {
        let id = subscription.id;
        let callback = match self.destination(&subscription.callback_reference) {
            Ok(callback) => callback,
            Err(why) => {
                tracing::warn!(subscription.id = %id, why, "a callback is not called");
                return "refused";
            }
        };
        let backoff = ExponentialBuilder::default()
            .with_min_delay(self.settings.pause)
            .with_max_delay(self.settings.longest_pause)
            .with_max_times(self.settings.retries)
            .with_jitter();
        let attempt = || self.attempt(&callback, &body);
        match attempt.retry(backoff.build()).when(Failure::may_pass).await {
            Ok(()) => "delivered",
            Err(Failure::Status(status)) => {
                tracing::info!(subscription.id = %id, %status, "a notification was refused");
                "refused"
            }
            Err(Failure::Transport(cause)) => {
                tracing::warn!(subscription.id = %id, %cause, "a notification was not delivered");
                "failed"
            }
        }
    }

    /// The callback as a URL that may be called. The rules may have changed since it was stored.
    fn destination(&self, callback: &str) -> Result<Url, String> {
        let url = Url::parse(callback).map_err(|why| why.to_string())?;
        self.guard.check(&url).map_err(|why| why.to_string())?;
        Ok(url)
    }

    async fn attempt(&self, callback: &Url, body: &str) -> Result<(), Failure> {
        // The semaphore is never closed; without a permit the attempt is made all the same.
        let _permit = self.attempts.acquire().await.ok();
        let mut request = self
            .client
            .post(callback.clone())
            .header(CONTENT_TYPE, "application/json; charset=utf-8")
            .body(body.to_owned());
        if let Some(address) = self.own_address {
            request = request.header("X-Real-Ip", address.to_string());
        }
        let status = request.send().await.map_err(Failure::Transport)?.status();
        if status.is_success() { Ok(()) } else { Err(Failure::Status(status)) }
    }
}

/// Why an attempt failed.
enum Failure {
    /// The subscriber answered, but not with success.
    Status(StatusCode),
    /// No answer.
    Transport(reqwest::Error),
}

impl Failure {
    /// Whether another attempt may succeed: a subscriber that says no says no again.
    fn may_pass(&self) -> bool {
        match self {
            Self::Status(status) => {
                status.is_server_error()
                    || matches!(
                        *status,
                        StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT
                    )
            }
            Self::Transport(_) => true,
        }
    }
}
