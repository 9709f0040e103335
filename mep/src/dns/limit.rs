//! [`RateLimit`]: how many answers a network gets, so that forged questions cannot turn this name
//! server against somebody else.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use governor::clock::{Clock, DefaultClock};
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use quick_cache::sync::Cache;

/// Networks remembered at once. One that is forgotten begins anew, which an attacker who forges
/// that many does not need.
const REMEMBERED: usize = 65_536;

/// Answers over UDP that each network gets in a second: a /24 of IPv4, a /56 of IPv6, as other name
/// servers count. TCP proves the address and is not limited.
pub struct RateLimit<C: Clock = DefaultClock> {
    quota: Quota,
    clock: C,
    networks: Cache<u64, Arc<Bucket<C>>>,
}

struct Bucket<C: Clock> {
    limiter: RateLimiter<NotKeyed, InMemoryState, C, NoOpMiddleware<C::Instant>>,
    /// Whether the next question too many is answered, with TC: a real client comes back by TCP.
    slip: AtomicBool,
}

/// What becomes of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is answered.
    Answer,
    /// It is answered with TC and nothing else.
    Truncate,
    /// It is not answered.
    Drop,
}

impl RateLimit {
    /// As many answers a second, and as many at once.
    pub fn new(per_second: NonZeroU32) -> Self {
        Self::with_clock(per_second, DefaultClock::default())
    }
}

impl<C: Clock + Clone> RateLimit<C> {
    fn with_clock(per_second: NonZeroU32, clock: C) -> Self {
        Self { quota: Quota::per_second(per_second), clock, networks: Cache::new(REMEMBERED) }
    }

    /// Counts a question from `client`.
    pub(crate) fn check(&self, client: IpAddr) -> Verdict {
        let network = network(client.to_canonical());
        let bucket = self.networks.get(&network).unwrap_or_else(|| {
            let made = Arc::new(Bucket {
                limiter: RateLimiter::direct_with_clock(self.quota, self.clock.clone()),
                slip: AtomicBool::new(true),
            });
            self.networks.insert(network, Arc::clone(&made));
            made
        });
        if bucket.limiter.check().is_ok() {
            Verdict::Answer
        } else if bucket.slip.fetch_xor(true, Ordering::Relaxed) {
            Verdict::Truncate
        } else {
            Verdict::Drop
        }
    }
}

/// The network of an address, as a number no network of the other family has: the first 56 bits
/// of an IPv6 address, or the first 24 of an IPv4 one below a bit those never reach.
fn network(address: IpAddr) -> u64 {
    match address {
        IpAddr::V4(v4) => u64::from(v4.to_bits() >> 8) | 1 << 63,
        IpAddr::V6(v6) => (v6.to_bits() >> 72) as u64,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::time::Duration;

    use governor::clock::FakeRelativeClock;

    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn networks_are_counted_apart_and_refill() {
        let clock = FakeRelativeClock::default();
        let limit = RateLimit::with_clock(NonZeroU32::new(2).unwrap(), clock.clone());
        let check = |client: &str, wanted: &[Verdict]| {
            let found: Vec<Verdict> = wanted.iter().map(|_| limit.check(address(client))).collect();
            assert_eq!(found, wanted, "{client}");
        };
        use Verdict::{Answer, Drop, Truncate};
        check("192.0.2.1", &[Answer, Answer, Truncate, Drop, Truncate, Drop]);
        check("192.0.2.200", &[Truncate]);
        check("::ffff:192.0.2.7", &[Drop]);
        check("192.0.3.1", &[Answer]);
        check("2001:db8::1", &[Answer, Answer, Truncate]);
        check("2001:db8:0:ff::1", &[Drop]);
        check("2001:db8:0:100::1", &[Answer]);
        clock.advance(Duration::from_secs(1));
        check("192.0.2.1", &[Answer, Answer, Truncate]);
    }

    #[test]
    fn no_ipv6_network_is_an_ipv4_one() {
        for (v4, v6) in [("255.255.255.255", "ffff:ffff:ffff:ffff::"), ("0.0.0.1", "::1")] {
            assert_ne!(network(address(v4)), network(address(v6)));
        }
    }
}
