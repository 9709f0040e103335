//! Which client used a signature first.
//!
//! A signed token request is a bearer secret while its date is fresh: whoever captured it could ask
//! for a token bound to the capturer's own address. So a signature belongs to the address that first
//! used it. From that address it may be sent again, since agents retry, and each time a new token is
//! issued.
//!
//! Two honest clients that share a key pair, sign the same host and start in the same second make the
//! same signature; the later one is refused and succeeds with the next second's date.
//!
//! Nodes of one store tell each other ([`super::word`]). For the moment a word is on its way, a
//! signature captured from one node could still be used at another; no request waits for that.

use std::fmt;
use std::net::IpAddr;

use aws_lc_rs::digest::{SHA256, SHA256_OUTPUT_LEN, digest};

use super::recent::Recent;

/// Stands for a signature without giving it away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SignatureDigest([u8; SHA256_OUTPUT_LEN]);

impl SignatureDigest {
    /// The digest of a signature as the header carries it.
    pub fn of(signature: &str) -> Self {
        let mut bytes = [0; SHA256_OUTPUT_LEN];
        bytes.copy_from_slice(digest(&SHA256, signature.as_bytes()).as_ref());
        Self(bytes)
    }

    /// Reads what [`fmt::Display`] wrote: 64 hexadecimal characters.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; SHA256_OUTPUT_LEN];
        hex::decode_to_slice(text, &mut bytes).ok()?;
        Some(Self(bytes))
    }
}

impl fmt::Display for SignatureDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// Remembers accepted signatures until they lapse by their date. Bounded: past `capacity`, those
/// that lapse soonest are forgotten, and could then be replayed for the rest of their time.
pub struct ReplayGuard {
    first_used_by: Recent<SignatureDigest, IpAddr>,
}

/// Whether a client may use a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It is its first user, and its owner now.
    First,
    /// It is the owner, and uses it again.
    Again,
    /// Somebody else is the owner.
    Refused,
}

impl ReplayGuard {
    /// A guard that knows no signature yet and will know about `capacity` of them.
    pub fn new(capacity: usize) -> Self {
        Self { first_used_by: Recent::new(capacity) }
    }

    /// Whether `client` may use a signature, which is now known to be right: nobody else has
    /// before. The first caller becomes its owner.
    ///
    /// `lapses_ms` is the last moment the signature's date is accepted at, `None` for never; both
    /// moments are milliseconds since the Unix epoch.
    pub fn admit(
        &self,
        signature: SignatureDigest,
        client: IpAddr,
        now_ms: u64,
        lapses_ms: Option<u64>,
    ) -> Admission {
        let client = client.to_canonical();
        let mut admission = Admission::First;
        self.first_used_by.update(signature, now_ms, |present| {
            admission = match present {
                None => Admission::First,
                Some(owner) if owner == client => Admission::Again,
                Some(_) => Admission::Refused,
            };
            (present.unwrap_or(client), lapses_ms.unwrap_or(u64::MAX))
        });
        admission
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
            let digest = SignatureDigest::of(signature);
            let got = guard.admit(digest, client, now_ms, Some(1000));
            assert_eq!(got != Admission::Refused, admitted, "event {at}");
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
        let digest = SignatureDigest::of("a");
        assert_eq!(guard.admit(digest, owner, 0, None), Admission::First);
        assert_eq!(guard.admit(digest, owner, 1, None), Admission::Again);
        assert_eq!(guard.admit(digest, other, u64::MAX - 1, None), Admission::Refused);
    }

    #[test]
    fn concurrent_claims_have_one_winner() {
        let guard = ReplayGuard::default();
        let winners: usize = std::thread::scope(|scope| {
            let claims: Vec<_> = (1..=8_u8)
                .map(|last| {
                    let guard = &guard;
                    let digest = SignatureDigest::of("a");
                    scope.spawn(move || guard.admit(digest, [10, 0, 0, last].into(), 0, Some(1000)))
                })
                .collect();
            claims
                .into_iter()
                .map(|claim| claim.join().unwrap())
                .filter(|won| *won == Admission::First)
                .count()
        });
        assert_eq!(winners, 1);
    }
}
