//! Which client used a signature first.
//!
//! A signed token request is a bearer secret while its date is fresh: whoever captured it could ask
//! for a token bound to the capturer's own address. So a signature belongs to the address that first
//! used it. From that address it may be sent again, since agents retry, and each time a new token is
//! issued.
//!
//! Two honest clients that share a key pair, sign the same host and start in the same second make the
//! same signature; the later one is refused and succeeds with the next second's date.

use std::net::IpAddr;

use super::recent::Recent;

/// Remembers accepted signatures until they lapse by their date. Bounded: past `capacity`, those
/// that lapse soonest are forgotten, and could then be replayed for the rest of their time.
pub struct ReplayGuard {
    first_used_by: Recent<Box<str>, IpAddr>,
}

impl ReplayGuard {
    /// A guard that knows no signature yet and will know about `capacity` of them.
    pub fn new(capacity: usize) -> Self {
        Self { first_used_by: Recent::new(capacity) }
    }

    /// Whether `client` may use `signature`, which is now known to be right: nobody else has before.
    /// The first caller becomes its owner.
    ///
    /// `lapses_ms` is the last moment the signature's date is accepted at, `None` for never; both
    /// moments are milliseconds since the Unix epoch.
    pub fn admit(
        &self,
        signature: &str,
        client: IpAddr,
        now_ms: u64,
        lapses_ms: Option<u64>,
    ) -> bool {
        let client = client.to_canonical();
        let mut owner = client;
        self.first_used_by.update(signature.into(), now_ms, |present| {
            owner = present.unwrap_or(client);
            (owner, lapses_ms.unwrap_or(u64::MAX))
        });
        owner == client
    }
}

impl Default for ReplayGuard {
    fn default() -> Self {
        Self::new(65_536)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    /// Plays (signature, client, now, admitted) on one guard; every signature lapses after 1000.
    fn check(events: &[(&str, &str, u64, bool)]) {
        let guard = ReplayGuard::default();
        for (at, &(signature, client, now_ms, admitted)) in events.iter().enumerate() {
            let client = client.parse().unwrap();
            let got = guard.admit(signature, client, now_ms, Some(1000));
            assert_eq!(got, admitted, "event {at}");
        }
    }

    #[test]
    fn a_signature_belongs_to_the_address_that_used_it_first() {
        check(&[
            ("a", "10.1.2.3", 0, true),
            ("a", "10.1.2.3", 1, true),
            ("a", "::ffff:10.1.2.3", 1, true),
            ("a", "10.1.2.4", 2, false),
            ("a", "::1", 2, false),
            ("a", "10.1.2.3", 3, true), // the attempt of another took nothing away
            ("b", "10.1.2.4", 4, true),
            ("b", "10.1.2.3", 1000, false),
        ]);
    }

    #[test]
    fn a_date_that_never_lapses_keeps_its_owner() {
        let guard = ReplayGuard::default();
        let (owner, other) = ("10.1.2.3".parse().unwrap(), "10.1.2.4".parse().unwrap());
        assert!(guard.admit("a", owner, 0, None));
        assert!(!guard.admit("a", other, u64::MAX - 1, None));
    }

    #[test]
    fn concurrent_claims_have_one_winner() {
        let guard = ReplayGuard::default();
        let winners: usize = std::thread::scope(|scope| {
            let claims: Vec<_> = (1..=8_u8)
                .map(|last| {
                    let guard = &guard;
                    scope.spawn(move || guard.admit("a", [10, 0, 0, last].into(), 0, Some(1000)))
                })
                .collect();
            claims.into_iter().map(|claim| usize::from(claim.join().unwrap())).sum()
        });
        assert_eq!(winners, 1);
    }
}
