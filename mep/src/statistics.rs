//! How often services are called: counted where the gateway's traffic passes, kept a week.

use std::sync::Arc;
use std::time::Duration;

use dashmap::DashMap;
use gateway_control::Control;
use gateway_model::ports::{Call, Calls};
use gateway_model::{Catalog, Change, Clock};
use tokio::sync::watch;

use crate::MEPSERVER_HOST;
use crate::entities::{self, CallCount};
use crate::exposure::TAG;
use crate::platform::over;

/// What registrations of services are counted as.
pub(crate) const REGISTRATION: &str = "serviceRegister";
/// What discoveries are counted as.
pub(crate) const DISCOVERY: &str = "serviceDiscovery";

/// Days that are shown.
const SHOWN: usize = 7;
/// Milliseconds of a day.
const DAY_MS: u64 = 24 * 3600 * 1000;
/// How often counts are stored. What was counted since is lost when the process is killed.
const STORED_EVERY: Duration = Duration::from_secs(10);

/// Calls that are not stored yet.
pub(crate) struct Statistics {
    clock: Clock,
    /// By day and subject.
    fresh: DashMap<(u64, Arc<str>), u64>,
}

impl Calls for Statistics {
    fn called(&self, call: &Call<'_>) {
        let subject = if call.service_host == MEPSERVER_HOST {
            match own(call) {
                Some(subject) => subject,
                None => return,
            }
        } else if call.tags.iter().any(|tag| tag == TAG) {
            call.service_name
        } else {
            return;
        };
        let day = self.clock.unix_ms() / DAY_MS;
        *self.fresh.entry((day, subject.into())).or_default() += 1;
    }
}

/// What a request to the platform itself counts as, in either face.
fn own(call: &Call<'_>) -> Option<&'static str> {
    let path = call.path.strip_prefix("/mep").unwrap_or(call.path);
    let path = path.strip_prefix("/mec_service_mgmt/v1/")?;
    match call.method {
        "GET" if path.starts_with("services") => Some(DISCOVERY),
        "POST" => {
            let app = path.strip_prefix("applications/")?.strip_suffix("/services")?;
            let plain = |byte: u8| byte == b'-' || byte.is_ascii_alphanumeric();
            (!app.is_empty() && app.bytes().all(plain)).then_some(REGISTRATION)
        }
        _ => None,
    }
}

impl Statistics {
    pub(crate) fn new(clock: Clock) -> Self {
        Self { clock, fresh: DashMap::new() }
    }

    /// Calls of these subjects together, today first, then of the days before (UTC).
    pub(crate) fn week(
        &self,
        catalog: &Catalog,
        subjects: &mut dyn Iterator<Item = &str>,
        now_ms: u64,
    ) -> [u64; SHOWN] {
        let today = now_ms / DAY_MS;
        let mut calls = [0; SHOWN];
        for subject in subjects {
            for (ago, calls) in (0..).zip(&mut calls) {
                let Some(day) = today.checked_sub(ago) else { break };
                let stored = catalog.get::<CallCount>(CallCount::id_of(day, subject));
                *calls += stored.map_or(0, |stored| stored.calls);
                *calls += self.fresh.get(&(day, subject.into())).map_or(0, |fresh| *fresh);
            }
        }
        calls
    }

    /// Stores counts until `shutdown` says so, and once more then.
    pub(crate) async fn run(&self, control: Control, mut shutdown: watch::Receiver<bool>) {
        let mut tick = tokio::time::interval(STORED_EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = over(&mut shutdown) => break,
                _ = tick.tick() => self.store(&control).await,
            }
        }
        self.store(&control).await;
    }

    /// Adds what is fresh to what is stored, and forgets what is too old to be shown.
    pub(crate) async fn store(&self, control: &Control) {
        let taken: Vec<((u64, Arc<str>), u64)> =
            self.fresh.iter().map(|one| (one.key().clone(), *one.value())).collect();
        if taken.is_empty() {
            return;
        }
        let written = crate::commit::commit(control, |catalog| {
            Ok::<_, std::convert::Infallible>((self.changes(catalog, &taken), ()))
        })
        .await;
        if let Err(crate::commit::Refused::Rejection(rejection)) = written {
            tracing::warn!(%rejection, "counts of calls are not stored; later");
            return;
        }
        for (key, number) in taken {
            self.fresh.alter(&key, |_, now| now - number);
            self.fresh.remove_if(&key, |_, now| *now == 0);
        }
    }

    fn changes(&self, catalog: &Catalog, taken: &[((u64, Arc<str>), u64)]) -> Vec<Change> {
        let today = self.clock.unix_ms() / DAY_MS;
        let oldest = today.saturating_sub(SHOWN as u64);
        let mut changes = Vec::new();
        for ((day, subject), number) in taken.iter().filter(|((day, _), _)| *day >= oldest) {
            let id = CallCount::id_of(*day, subject);
            let stored = catalog.get::<CallCount>(id);
            let calls = stored.as_ref().map_or(0, |stored| stored.calls) + number;
            changes.push(match &stored {
                Some(stored) => crate::commit::unchanged(stored),
                None => crate::commit::absent::<CallCount>(id),
            });
            let count = CallCount { id, day: *day, subject: subject.to_string(), calls };
            changes.push(entities::put(id, &count));
        }
        let old = catalog.all::<CallCount>().filter(|count| count.day < oldest);
        changes.extend(old.map(|count| entities::remove::<CallCount>(count.id())));
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_kit;

    fn call<'a>(host: &'a str, name: &'a str, method: &'a str, path: &'a str) -> Call<'a> {
        const TAGS: &[String] = &[];
        Call { service_host: host, service_name: name, tags: TAGS, method, path }
    }

    #[test]
    fn requests_to_the_platform_count_by_kind() {
        let rows = [
            ("POST", "/mep/mec_service_mgmt/v1/applications/a-1/services", Some(REGISTRATION)),
            ("POST", "/mec_service_mgmt/v1/applications/a-1/services", Some(REGISTRATION)),
            ("PUT", "/mep/mec_service_mgmt/v1/applications/a-1/services", None),
            ("POST", "/mep/mec_service_mgmt/v1/applications/a/b/services", None),
            ("POST", "/mep/mec_service_mgmt/v1/applications//services", None),
            ("GET", "/mep/mec_service_mgmt/v1/services", Some(DISCOVERY)),
            ("GET", "/mep/mec_service_mgmt/v1/services/x", Some(DISCOVERY)),
            ("GET", "/mep/mec_service_mgmt/v1/applications/a/services", None),
        ];
        for (method, path, wanted) in rows {
            assert_eq!(own(&call(MEPSERVER_HOST, "mepserver", method, path)), wanted, "{path}");
        }
    }

    #[tokio::test]
    async fn counts_outlive_the_process_and_grow_old() {
        let control = test_kit::control().await;
        let clock = Clock::fixed(20 * DAY_MS);
        let tags = [TAG.to_owned()];
        let published = Call { tags: &tags, ..call("10.0.0.1", "x1", "GET", "/") };
        let week = |statistics: &Statistics, now: u64| {
            statistics.week(&control.catalog(), &mut std::iter::once("x1"), now)
        };
        let first = Statistics::new(clock.clone());
        first.called(&published);
        first.called(&call("10.0.0.1", "x1", "GET", "/"));
        assert_eq!(week(&first, clock.unix_ms())[0], 1, "what is not ours is not counted");
        first.store(&control).await;
        first.called(&published);
        first.store(&control).await;
        let second = Statistics::new(clock.clone());
        assert_eq!(week(&second, clock.unix_ms())[0], 2);
        clock.set_unix_ms(22 * DAY_MS);
        second.called(&published);
        assert_eq!(week(&second, clock.unix_ms()), [1, 0, 2, 0, 0, 0, 0]);
        clock.set_unix_ms(40 * DAY_MS);
        second.called(&published);
        second.store(&control).await;
        assert_eq!(control.catalog().all::<CallCount>().count(), 1);
    }
}
