//! The lock list: who signed wrongly too often and has to wait.
//!
//! The original counted per access key alone, so whoever had seen a key (it travels in clear) could
//! lock its owner out. Here the strict count is per key *and* client address; a much looser one per
//! key still bounds guessing from many addresses. In memory only: a restart forgets it, as it did in
//! the original. Nodes of one store tell each other what they counted ([`super::word`]).

use std::net::IpAddr;

use super::credential::AccessKey;
use super::recent::Recent;

/// When wrong signatures lead to a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockRule {
    /// The wrong signature, within one window, that locks.
    pub attempts: u32,
    /// The length of the window that the first wrong signature opens, in seconds. It does not slide.
    pub window_seconds: u32,
    /// How long a lock lasts from the moment it is set, in seconds.
    pub lock_seconds: u32,
}

impl LockRule {
    /// The contract's numbers, for one access key from one client address.
    pub const PER_CLIENT: Self = Self { attempts: 3, window_seconds: 300, lock_seconds: 900 };

    /// For one access key from all addresses together. The number is ours: high enough that a few
    /// misconfigured agents do not lock out the rest, far too low to guess a 64-character secret.
    pub const PER_ACCESS_KEY: Self = Self { attempts: 100, window_seconds: 300, lock_seconds: 900 };
}

/// Counts wrong signatures and remembers locks. Bounded: past `capacity` pairs, those that would be
/// forgotten soonest are forgotten at once.
///
/// Every moment is in milliseconds since the Unix epoch.
pub struct LockList {
    per_client: Counters<(AccessKey, IpAddr)>,
    per_access_key: Counters<AccessKey>,
}

impl LockList {
    /// An empty list. `capacity` bounds the (access key, client) pairs, and the keys.
    pub fn new(per_client: LockRule, per_access_key: LockRule, capacity: usize) -> Self {
        Self {
            per_client: Counters::new(per_client, capacity),
            per_access_key: Counters::new(per_access_key, capacity),
        }
    }

    /// Whether a request with this key from this client is to be refused unread.
    pub fn is_locked(&self, access_key: &AccessKey, client: IpAddr, now_ms: u64) -> bool {
        self.per_client.is_locked(&(access_key.clone(), client.to_canonical()), now_ms)
            || self.per_access_key.is_locked(access_key, now_ms)
    }

    /// Counts one wrong signature. Only for a key that exists: that bounds who can be counted.
    pub fn failed(&self, access_key: &AccessKey, client: IpAddr, now_ms: u64) {
        self.per_client.count((access_key.clone(), client.to_canonical()), now_ms);
        self.per_access_key.count(access_key.clone(), now_ms);
    }

    /// Forgets what was counted for this key from this client, and tells whether there was
    /// anything.
    ///
    /// The count over all clients stays, or one honest client would hide all the others.
    pub fn succeeded(&self, access_key: &AccessKey, client: IpAddr) -> bool {
        let pair = (access_key.clone(), client.to_canonical());
        self.per_client.recent.remove(&pair)
    }
}

impl Default for LockList {
    fn default() -> Self {
        Self::new(LockRule::PER_CLIENT, LockRule::PER_ACCESS_KEY, 65_536)
    }
}

struct Counters<K> {
    rule: LockRule,
    recent: Recent<K, State>,
}

#[derive(Clone, Copy)]
enum State {
    Counting { wrong: u32, window_ends_ms: u64 },
    Locked { until_ms: u64 },
}

impl<K: Eq + std::hash::Hash> Counters<K> {
    fn new(rule: LockRule, capacity: usize) -> Self {
        Self { rule, recent: Recent::new(capacity) }
    }

    fn is_locked(&self, key: &K, now_ms: u64) -> bool {
        self.recent
            .read(key, now_ms, |state| matches!(state, State::Locked { .. }))
            .unwrap_or(false)
    }

    fn count(&self, key: K, now_ms: u64) {
        // The last millisecond of a period that begins now.
        let last =
            |seconds: u32| now_ms.saturating_add((u64::from(seconds) * 1000).saturating_sub(1));
        self.recent.update(key, now_ms, |present| {
            let (wrong, window_ends_ms) = match present {
                // Requests already past the lock check when it fell do not prolong it.
                Some(State::Locked { until_ms }) => return (State::Locked { until_ms }, until_ms),
                Some(State::Counting { wrong, window_ends_ms }) => {
                    (wrong.saturating_add(1), window_ends_ms)
                }
                None => (1, last(self.rule.window_seconds)),
            };
            if wrong >= self.rule.attempts {
                let until_ms = last(self.rule.lock_seconds);
                (State::Locked { until_ms }, until_ms)
            } else {
                let state = State::Counting { wrong, window_ends_ms };
                (state, window_ends_ms)
            }
        });
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    const HERE: &str = "10.1.2.3";

    /// Plays events of (second, event, client) for one key and checks each `locked` or `free`.
    fn check(events: &[(u64, &str, &str)]) {
        let locks = LockList::default();
        let key = AccessKey::parse("QVUJMSUMgS0VZLS0tLS0").unwrap();
        for (at, &(second, event, client)) in events.iter().enumerate() {
            let now_ms = 1_651_392_000_000 + second * 1000;
            let client: IpAddr = client.parse().unwrap();
            match event {
                "wrong" => locks.failed(&key, client, now_ms),
                "right" => drop(locks.succeeded(&key, client)),
                "locked" => assert!(locks.is_locked(&key, client, now_ms), "event {at}"),
                "free" => assert!(!locks.is_locked(&key, client, now_ms), "event {at}"),
                other => panic!("no event {other}"),
            }
        }
    }

    #[test]
    fn the_third_wrong_signature_locks_for_900_seconds() {
        check(&[
            (0, "wrong", HERE),
            (1, "wrong", HERE),
            (2, "free", HERE),
            (2, "wrong", HERE),
            (2, "locked", HERE),
            (901, "locked", HERE),
            (902, "free", HERE),
            // and starts from zero
            (902, "wrong", HERE),
            (903, "wrong", HERE),
            (904, "free", HERE),
        ]);
    }

    #[test]
    fn the_window_is_300_seconds_and_does_not_slide() {
        check(&[
            (0, "wrong", HERE),
            (299, "wrong", HERE),
            (300, "wrong", HERE), // a new window
            (301, "free", HERE),
            (302, "wrong", HERE),
            (303, "wrong", HERE),
            (303, "locked", HERE),
        ]);
        check(&[
            (0, "wrong", HERE),
            (1, "wrong", HERE),
            (299, "wrong", HERE),
            (299, "locked", HERE),
        ]);
    }

    #[test]
    fn a_right_signature_forgets_the_count() {
        check(&[
            (0, "wrong", HERE),
            (1, "wrong", HERE),
            (2, "right", HERE),
            (3, "wrong", HERE),
            (4, "wrong", HERE),
            (5, "free", HERE),
        ]);
    }

    #[test]
    fn a_lock_is_not_prolonged_by_requests_that_were_under_way() {
        check(&[
            (0, "wrong", HERE),
            (0, "wrong", HERE),
            (0, "wrong", HERE),
            (500, "wrong", HERE),
            (899, "locked", HERE),
            (900, "free", HERE),
        ]);
    }

    #[test]
    fn another_client_of_the_same_key_is_not_locked_out() {
        check(&[
            (0, "wrong", HERE),
            (0, "wrong", HERE),
            (0, "wrong", HERE),
            (0, "locked", HERE),
            (0, "locked", "::ffff:10.1.2.3"), // the same address, spelled as IPv6
            (0, "free", "10.1.2.4"),
            (0, "free", "::1"),
        ]);
    }

    #[test]
    fn many_clients_together_lock_the_key_for_all() {
        let locks = LockList::default();
        let key = AccessKey::parse("QVUJMSUMgS0VZLS0tLS0").unwrap();
        let other = AccessKey::parse("AbCdEfGhIjKlMnOpQr+=").unwrap();
        let stranger: IpAddr = HERE.parse().unwrap();
        for last in 1..=100_u8 {
            assert!(!locks.is_locked(&key, stranger, 0), "after {last}");
            let client = IpAddr::from([192, 0, 2, last]);
            locks.failed(&key, client, 0);
            locks.succeeded(&key, client);
        }
        assert!(locks.is_locked(&key, stranger, 0));
        assert!(locks.is_locked(&key, stranger, 899_999));
        assert!(!locks.is_locked(&key, stranger, 900_000));
        assert!(!locks.is_locked(&other, stranger, 0));
    }
}
