//! [`State`]: what is known of one session, and how long it lasts.

use gateway_model::{Id, random_text};
use serde::{Deserialize, Serialize};

use super::config::Config;

/// What is known of one session: what a cookie holds, or names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    /// 32 letters and digits.
    pub(super) id: String,
    pub(super) audience: String,
    /// Unix seconds at which it began.
    pub(super) created: u64,
    /// Unix seconds at which it was renewed.
    pub(super) renewed: u64,
    /// Unix seconds of the last request it is known of; a minute's imprecision is saved cookies.
    pub(super) seen: u64,
    /// Who logged in; in the store where sessions are there.
    pub(super) login: Option<Login>,
}

/// Who logged in, and how that was proved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Login {
    pub(super) consumer: Id,
    pub(super) credential: Id,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) groups: Vec<String>,
}

/// How long sessions last, in seconds; 0 for ever.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) idling: u64,
    pub(super) rolling: u64,
    pub(super) absolute: u64,
}

/// What has to be done for a session to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Upkeep {
    /// Nothing.
    Nothing,
    /// The cookie is to tell that it was seen.
    Touch,
    /// It is to be renewed.
    Renew,
}

/// Seconds between two cookies that only tell that a session was seen.
const TOUCH: u64 = 60;

impl Limits {
    pub(super) fn session(config: &Config) -> Self {
        Self {
            idling: seconds(config.idling_timeout),
            rolling: seconds(config.rolling_timeout),
            absolute: seconds(config.absolute_timeout),
        }
    }

    pub(super) fn remember(config: &Config) -> Self {
        Self {
            idling: 0,
            rolling: seconds(config.remember_rolling_timeout),
            absolute: seconds(config.remember_absolute_timeout),
        }
    }
}

/// Whole seconds of a configured number.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
pub(super) fn seconds(number: Option<f64>) -> u64 {
    number.unwrap_or_default().max(0.0) as u64
}

impl State {
    pub(super) fn new(audience: &str, login: Login, now: u64) -> Self {
        Self {
            id: random_text(),
            audience: audience.to_owned(),
            created: now,
            renewed: now,
            seen: now,
            login: Some(login),
        }
    }

    /// Seconds left by each limit: idling, rolling, absolute; `None` where there is none.
    pub(super) fn left(&self, limits: &Limits, now: u64) -> [Option<u64>; 3] {
        let left = |since: u64, limit: u64| {
            (limit > 0).then(|| since.saturating_add(limit).saturating_sub(now))
        };
        [
            left(self.seen, limits.idling),
            left(self.renewed, limits.rolling),
            left(self.created, limits.absolute),
        ]
    }

    /// Seconds left in all; `None` for ever.
    pub(super) fn lasts(&self, limits: &Limits, now: u64) -> Option<u64> {
        self.left(limits, now).into_iter().flatten().min()
    }

    pub(super) fn is_over(&self, limits: &Limits, now: u64) -> bool {
        self.lasts(limits, now) == Some(0)
    }

    /// A session is renewed in the last quarter of its time.
    pub(super) fn upkeep(&self, limits: &Limits, now: u64) -> Upkeep {
        let [_, rolling, _] = self.left(limits, now);
        if rolling.is_some_and(|left| left <= limits.rolling / 4) {
            return Upkeep::Renew;
        }
        let unseen = now.saturating_sub(self.seen);
        let touch = limits.idling > 0 && unseen >= TOUCH.min(limits.idling.div_ceil(4));
        if touch { Upkeep::Touch } else { Upkeep::Nothing }
    }

    /// The same session, seen now.
    #[must_use]
    pub(super) fn touched(&self, now: u64) -> Self {
        Self { seen: now, ..self.clone() }
    }

    /// The session that follows this one.
    #[must_use]
    pub(super) fn renewed(&self, now: u64) -> Self {
        Self { id: random_text(), renewed: now, seen: now, ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use gateway_model::Id;

    use super::{Limits, Login, State, Upkeep};

    #[test]
    fn how_long_a_session_lasts() {
        let id = Id::derived("x", "y");
        let login = Login { consumer: id, credential: id, groups: Vec::new() };
        let state = State::new("a", login, 1000);
        let limits = |idling, rolling, absolute| Limits { idling, rolling, absolute };
        let check =
            |state: &State, limits: Limits, now: u64, lasts: Option<u64>, upkeep: Upkeep| {
                assert_eq!(state.lasts(&limits, now), lasts, "{limits:?} at {now}");
                assert_eq!(state.is_over(&limits, now), lasts == Some(0));
                if lasts != Some(0) {
                    assert_eq!(state.upkeep(&limits, now), upkeep, "{limits:?} at {now}");
                }
            };
        check(&state, limits(0, 0, 0), 9_999_999, None, Upkeep::Nothing);
        check(&state, limits(900, 3600, 86_400), 1000, Some(900), Upkeep::Nothing);
        check(&state, limits(900, 3600, 86_400), 1059, Some(841), Upkeep::Nothing);
        check(&state, limits(900, 3600, 86_400), 1060, Some(840), Upkeep::Touch);
        check(&state, limits(900, 3600, 86_400), 1899, Some(1), Upkeep::Touch);
        check(&state, limits(900, 3600, 86_400), 1900, Some(0), Upkeep::Nothing);
        check(&state, limits(8, 3600, 86_400), 1002, Some(6), Upkeep::Touch);
        check(&state, limits(0, 3600, 86_400), 3699, Some(901), Upkeep::Nothing);
        check(&state, limits(0, 3600, 86_400), 3700, Some(900), Upkeep::Renew);
        let touched = state.touched(1800);
        check(&touched, limits(900, 3600, 86_400), 2000, Some(700), Upkeep::Touch);
        let renewed = touched.renewed(4000);
        assert_ne!(renewed.id, state.id);
        check(&renewed, limits(0, 3600, 86_400), 4001, Some(3599), Upkeep::Nothing);
        check(&renewed, limits(0, 3600, 3_600), 4600, Some(0), Upkeep::Nothing);
    }
}
