//! [`Courier`]: brings notifications to subscribers, each in its own order.

use std::collections::VecDeque;
use std::error::Error as _;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder, Retryable as _};
use dashmap::mapref::entry::Entry;
use dashmap::{DashMap, DashSet};
use gateway_control::Control;
use gateway_model::Id;
use http::StatusCode;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout};

use super::message::{Notice, Telling};
use super::outbound::{CallError, Outbound};
use crate::entities::Subscription;
use crate::metrics::Metrics;
use crate::platform::over;
use crate::settings::{Delivery, Published};

/// Brings notifications to subscribers.
///
/// Every subscription with something waiting has a task of its own that delivers in order and ends
/// with its queue. The number of attempts under way is limited, and subscribers that keep us
/// waiting have a part of it for themselves: the others are delayed neither by them nor, for longer
/// than [`PROMPT`], by finding out.
pub(super) struct Courier {
    outbound: Arc<Outbound>,
    settings: Delivery,
    telling: Telling,
    control: Control,
    metrics: Metrics,
    queues: DashMap<Id, VecDeque<Notice>>,
    /// Who kept us waiting last time.
    tardy: DashSet<Id>,
    prompt_attempts: Semaphore,
    tardy_attempts: Semaphore,
    stopped: watch::Sender<bool>,
}

/// Whoever needs longer than this to answer is tardy.
const PROMPT: Duration = Duration::from_secs(1);

impl Courier {
    pub(super) fn new(
        settings: Delivery,
        outbound: Arc<Outbound>,
        published: Published,
        control: Control,
        metrics: Metrics,
    ) -> Self {
        let for_tardy = (settings.concurrency / 4).max(1);
        Self {
            outbound,
            telling: Telling { state_changed: settings.state_changed, published },
            control,
            metrics,
            queues: DashMap::new(),
            tardy: DashSet::new(),
            prompt_attempts: Semaphore::new(settings.concurrency.saturating_sub(for_tardy).max(1)),
            tardy_attempts: Semaphore::new(for_tardy),
            stopped: watch::Sender::new(false),
            settings,
        }
    }

    /// Queues a notification for a subscription. When the queue is full the oldest in it is lost
    /// and counted: a subscriber that comes back is better served by what is true now.
    pub(super) fn send(self: &Arc<Self>, id: Id, event: Notice) {
        let waiting = &self.metrics.waiting_notifications;
        waiting.inc();
        match self.queues.entry(id) {
            Entry::Occupied(mut queue) => {
                let queue = queue.get_mut();
                queue.push_back(event);
                if queue.len() > self.settings.queue.max(1) {
                    queue.pop_front();
                    waiting.dec();
                    self.count("dropped", 1);
                }
            }
            Entry::Vacant(place) => {
                place.insert(VecDeque::from([event]));
                tokio::spawn(Arc::clone(self).deliver_all(id));
            }
        }
    }

    /// Drops what waits for a subscription that is gone.
    pub(super) fn forget(&self, id: Id) {
        self.tardy.remove(&id);
        self.abandon(id, 0);
    }

    /// Ends all deliveries; what waits is lost and counted.
    pub(super) fn stop(&self) {
        self.stopped.send_replace(true);
    }

    /// How many subscriptions kept us waiting last time.
    #[cfg(test)]
    pub(super) fn known_tardy(&self) -> usize {
        self.tardy.len()
    }

    /// How many notifications wait for their turn.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.queues.iter().map(|queue| queue.len()).sum()
    }

    /// Delivers what waits for one subscription, until nothing does or it is gone.
    async fn deliver_all(self: Arc<Self>, id: Id) {
        let mut stopped = self.stopped.subscribe();
        while let Some(event) = self.next(id) {
            let outcome = tokio::select! {
                outcome = self.deliver(id, &event) => outcome,
                () = over(&mut stopped) => return self.abandon(id, 1),
            };
            match outcome {
                Ok(()) => self.count("delivered", 1),
                Err(Failure::Gone) => return self.abandon(id, 1),
                Err(failure) => {
                    let why = failure.to_string();
                    let cause = failure.source().map(ToString::to_string);
                    tracing::warn!(subscription.id = %id, why, cause, "not notified");
                    self.count(if failure.may_pass() { "failed" } else { "refused" }, 1);
                }
            }
        }
    }

    /// The next event, and the end of the queue when there is none: whoever sends after that begins
    /// a new one.
    fn next(&self, id: Id) -> Option<Notice> {
        match self.queues.entry(id) {
            Entry::Occupied(mut queue) => {
                let event = queue.get_mut().pop_front();
                match event {
                    Some(_) => self.metrics.waiting_notifications.dec(),
                    None => drop(queue.remove()),
                }
                event
            }
            Entry::Vacant(_) => None,
        }
    }

    fn abandon(&self, id: Id, in_hand: usize) {
        let waiting = self.queues.remove(&id).map_or(0, |(_, queue)| queue.len());
        self.metrics.waiting_notifications.sub(i64::try_from(waiting).unwrap_or(i64::MAX));
        self.count("dropped", waiting + in_hand);
    }

    fn count(&self, result: &str, number: usize) {
        let number = u64::try_from(number).unwrap_or(u64::MAX);
        self.metrics.notifications.with_label_values(&[result]).inc_by(number);
    }

    async fn deliver(&self, id: Id, event: &Notice) -> Result<(), Failure> {
        let backoff = ExponentialBuilder::default()
            .with_min_delay(self.settings.pause)
            .with_max_delay(self.settings.longest_pause)
            .with_max_times(self.settings.retries)
            .with_factor(4.0);
        let attempt = || self.attempt(id, event);
        let again = |_: &Failure, _| self.metrics.retried_notifications.inc();
        attempt.retry(backoff.build()).when(Failure::may_pass).notify(again).await
    }

    /// One attempt, in the lane its subscriber belongs to. One that turns out to be slow changes
    /// lanes while it waits, and is given up for now when the other is full.
    async fn attempt(&self, id: Id, event: &Notice) -> Result<(), Failure> {
        let tardy = self.tardy.contains(&id);
        let lane = if tardy { &self.tardy_attempts } else { &self.prompt_attempts };
        // Semaphores are never closed; without a permit the attempt is made all the same.
        let permit = lane.acquire().await.ok();
        let subscription = self.control.catalog().get::<Subscription>(id).ok_or(Failure::Gone)?;
        let (form, body) = event.written(&subscription, &self.telling);
        let mut call = pin!(self.outbound.post(&subscription.callback_reference, form, body));
        if tardy {
            let began = Instant::now();
            let answer = call.await;
            if answer.is_ok() && began.elapsed() <= PROMPT {
                self.tardy.remove(&id);
            }
            return judge(answer);
        }
        if let Ok(answer) = timeout(PROMPT, &mut call).await {
            return judge(answer);
        }
        self.mark_tardy(id);
        drop(permit);
        let _permit = self.tardy_attempts.try_acquire().map_err(|_| Failure::Crowded)?;
        judge(call.await)
    }

    fn mark_tardy(&self, id: Id) {
        self.tardy.insert(id);
        // The subscription may have gone in between, after which nobody would forget it here.
        if self.control.catalog().get::<Subscription>(id).is_none() {
            self.tardy.remove(&id);
        }
    }
}

fn judge(answer: Result<StatusCode, CallError>) -> Result<(), Failure> {
    match answer? {
        status if status.is_success() => Ok(()),
        status => Err(Failure::Status(status)),
    }
}

/// Why an attempt failed.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// The subscriber answered, but not with success.
    #[error("the subscriber answered {0}")]
    Status(StatusCode),
    /// It did not answer.
    #[error(transparent)]
    Call(#[from] CallError),
    /// It is slow, and so are too many others.
    #[error("no answer within {} s", PROMPT.as_secs())]
    Crowded,
    /// The subscription is gone.
    #[error("the subscription is gone")]
    Gone,
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
            Self::Call(CallError::Transport(_)) | Self::Crowded => true,
            Self::Call(CallError::Forbidden(_)) | Self::Gone => false,
        }
    }
}
