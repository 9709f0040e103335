//! [`Health`] of one address: counters of results, and when they turn it.
//!
//! The rules are those of Kong's checker (lua-resty-healthcheck, `incr_counter`): a result that
//! confirms the state is not counted, one of the other kind starts a count, and results of opposite
//! kinds reset each other. A count whose limit is 0 is off and resets nothing.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use gateway_model::entities::{ActiveCheck, CheckType, PassiveCheck};

/// What became of a try or a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// An answer with this status.
    Status(u16),
    /// Nobody accepted the connection, or it broke.
    TcpFailure,
    /// Connecting, writing or reading took too long.
    Timeout,
    /// The connection was accepted, and that is all that was asked; or the target says that it
    /// serves.
    Connected,
    /// The target says that it does not serve.
    NotServing,
}

/// When outcomes turn an address. A limit of 0 never does.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Limits {
    successes: u8,
    http_failures: u8,
    tcp_failures: u8,
    timeouts: u8,
    good: Vec<u16>,
    bad: Vec<u16>,
    /// Whether statuses are judged at all.
    judges_status: bool,
    /// Whether successes bring an unhealthy address back.
    revives: bool,
}

impl Limits {
    pub(crate) fn active(check: &ActiveCheck) -> Self {
        Self {
            successes: check.healthy.successes.unwrap_or(0),
            http_failures: check.unhealthy.http_failures.unwrap_or(0),
            tcp_failures: check.unhealthy.tcp_failures.unwrap_or(0),
            timeouts: check.unhealthy.timeouts.unwrap_or(0),
            good: check.healthy.http_statuses.clone().unwrap_or_default(),
            bad: check.unhealthy.http_statuses.clone().unwrap_or_default(),
            judges_status: true,
            revives: true,
        }
    }

    /// Exchanges of clients never revive a target: one that is unhealthy gets none, and an answer
    /// that was under way says nothing new.
    pub(crate) fn passive(check: &PassiveCheck) -> Self {
        Self {
            successes: check.healthy.successes.unwrap_or(0),
            http_failures: check.unhealthy.http_failures.unwrap_or(0),
            tcp_failures: check.unhealthy.tcp_failures.unwrap_or(0),
            timeouts: check.unhealthy.timeouts.unwrap_or(0),
            good: check.healthy.http_statuses.clone().unwrap_or_default(),
            bad: check.unhealthy.http_statuses.clone().unwrap_or_default(),
            judges_status: check.r#type != Some(CheckType::Tcp),
            revives: false,
        }
    }

    /// Which count an outcome is for, and its limit; `None` when it is not judged.
    fn judge(&self, outcome: Outcome) -> Option<(Count, u8)> {
        match outcome {
            Outcome::Connected => Some((Count::Success, self.successes)),
            Outcome::NotServing => Some((Count::HttpFailure, self.http_failures)),
            Outcome::TcpFailure => Some((Count::TcpFailure, self.tcp_failures)),
            Outcome::Timeout => Some((Count::Timeout, self.timeouts)),
            Outcome::Status(_) if !self.judges_status => None,
            Outcome::Status(status) if self.good.contains(&status) => {
                Some((Count::Success, self.successes))
            }
            Outcome::Status(status) if self.bad.contains(&status) => {
                Some((Count::HttpFailure, self.http_failures))
            }
            Outcome::Status(_) => None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Count {
    Success,
    HttpFailure,
    TcpFailure,
    Timeout,
}

/// Whether an address gets traffic, and what speaks for a change.
#[derive(Debug, Default)]
pub(crate) struct Health {
    unhealthy: AtomicBool,
    counters: Mutex<Counters>,
}

/// Results since the last one of the opposite kind. Never more than a limit, so they fit.
#[derive(Debug, Default)]
struct Counters {
    successes: u8,
    http_failures: u8,
    tcp_failures: u8,
    timeouts: u8,
}

impl Health {
    pub(crate) fn is_good(&self) -> bool {
        !self.unhealthy.load(Ordering::Relaxed)
    }

    /// Takes an outcome into account; true when it turned the address.
    pub(crate) fn note(&self, outcome: Outcome, limits: &Limits) -> bool {
        let Some((count, limit)) = limits.judge(outcome) else { return false };
        if limit == 0 {
            return false;
        }
        let mut counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        let good = self.is_good();
        if count == Count::Success {
            let successes = counters.successes;
            *counters = Counters::default();
            if good || !limits.revives {
                return false;
            }
            counters.successes = successes.saturating_add(1);
            if counters.successes < limit {
                return false;
            }
        } else {
            counters.successes = 0;
            if !good {
                return false;
            }
            let counter = match count {
                Count::TcpFailure => &mut counters.tcp_failures,
                Count::Timeout => &mut counters.timeouts,
                _ => &mut counters.http_failures,
            };
            *counter = counter.saturating_add(1);
            if *counter < limit {
                return false;
            }
        }
        *counters = Counters::default();
        self.unhealthy.store(good, Ordering::Relaxed);
        true
    }

    /// Sets the state, as an operator says it is.
    pub(crate) fn set(&self, good: bool) {
        let mut counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        *counters = Counters::default();
        self.unhealthy.store(!good, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::Outcome::{Connected, Status, TcpFailure, Timeout};
    use super::{Health, Limits, Outcome};

    fn limits(revives: bool, successes: u8) -> Limits {
        Limits {
            successes,
            http_failures: 2,
            tcp_failures: 3,
            timeouts: 1,
            good: vec![200],
            bad: vec![500],
            judges_status: true,
            revives,
        }
    }

    /// Whether an address is healthy after these outcomes.
    fn check(limits: &Limits, outcomes: &[Outcome], good: bool) {
        let health = Health::default();
        for outcome in outcomes {
            health.note(*outcome, limits);
        }
        assert_eq!(health.is_good(), good, "after {outcomes:?}");
    }

    #[test]
    fn counts_turn_an_address_and_opposites_reset_them() {
        let active = limits(true, 2);
        let (ok, bad) = (Status(200), Status(500));
        check(&active, &[bad], true);
        check(&active, &[bad, bad], false);
        check(&active, &[bad, ok, bad], true);
        check(&active, &[Status(404), Status(404), Status(404)], true);
        check(&active, &[Timeout], false);
        check(&active, &[TcpFailure, TcpFailure, bad], true);
        check(&active, &[TcpFailure, TcpFailure, TcpFailure], false);
        check(&active, &[Timeout, ok], false);
        check(&active, &[Timeout, ok, ok], true);
        check(&active, &[Timeout, ok, bad, ok], false);
        check(&active, &[Timeout, Connected, Connected], true);
    }

    #[test]
    fn passive_outcomes_revive_nobody() {
        check(&limits(false, 1), &[Timeout, Status(200), Status(200)], false);
        check(&limits(false, 1), &[Status(500), Status(200), Status(500)], true);
    }

    #[test]
    fn a_limit_of_zero_is_off_and_resets_nothing() {
        check(&limits(false, 0), &[Status(500), Status(200), Status(500)], false);
        let off = Limits { http_failures: 0, ..limits(false, 0) };
        check(&off, &[Status(500); 9], true);
    }

    #[test]
    fn an_operator_has_the_last_word() {
        let (health, limits) = (Health::default(), limits(true, 1));
        health.note(Status(500), &limits);
        health.set(true);
        health.note(Status(500), &limits);
        assert!(health.is_good(), "the count began anew");
        health.set(false);
        assert!(!health.is_good());
    }
}
