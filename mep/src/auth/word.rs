//! [`Word`]: what a node tells the others of token requests, so that a captured one works at none
//! of them, and guesses at all of them count together.

use std::fmt;
use std::net::IpAddr;

use super::credential::AccessKey;
use super::replay::SignatureDigest;

/// What happened to a token request, for the other nodes. Its text is one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// A signature was accepted for the first time; it is this client's until it lapses.
    Used {
        /// Which signature. The signature itself is a secret as long as its date is fresh.
        signature: SignatureDigest,
        /// Whose it is now.
        client: IpAddr,
        /// The last moment its date is accepted at, Unix milliseconds; `None` for never.
        lapses_ms: Option<u64>,
    },
    /// A signature was wrong.
    Wrong {
        /// Of a key that exists.
        access_key: AccessKey,
        /// From here.
        client: IpAddr,
    },
    /// A signature was right after others that were wrong.
    Right {
        /// Of this key.
        access_key: AccessKey,
        /// From here.
        client: IpAddr,
    },
}

const USED: &str = "signature-used";
const WRONG: &str = "signature-wrong";
const RIGHT: &str = "signature-right";

impl Word {
    /// Reads a line; `None` for a line about something else.
    pub fn parse(line: &str) -> Option<Self> {
        let mut parts = line.split(' ');
        let (kind, what, client) = (parts.next()?, parts.next()?, parts.next()?.parse().ok()?);
        let key = || AccessKey::parse(what).ok();
        let word = match kind {
            USED => Self::Used {
                signature: SignatureDigest::parse(what)?,
                client,
                lapses_ms: match parts.next()? {
                    "never" => None,
                    moment => Some(moment.parse().ok()?),
                },
            },
            WRONG => Self::Wrong { access_key: key()?, client },
            RIGHT => Self::Right { access_key: key()?, client },
            _ => return None,
        };
        parts.next().is_none().then_some(word)
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Used { signature, client, lapses_ms: Some(moment) } => {
                write!(f, "{USED} {signature} {client} {moment}")
            }
            Self::Used { signature, client, lapses_ms: None } => {
                write!(f, "{USED} {signature} {client} never")
            }
            Self::Wrong { access_key, client } => {
                write!(f, "{WRONG} {} {client}", access_key.as_str())
            }
            Self::Right { access_key, client } => {
                write!(f, "{RIGHT} {} {client}", access_key.as_str())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn words_come_back_and_noise_does_not() {
        let signature = SignatureDigest::of("05bad66145ad18e5aba24fe435016f96");
        let access_key = AccessKey::parse("AbCdEfGhIjKlMnOpQr+=").unwrap();
        let client = |text: &str| text.parse::<IpAddr>().unwrap();
        let words = [
            Word::Used { signature, client: client("10.1.2.3"), lapses_ms: Some(u64::MAX) },
            Word::Used { signature, client: client("2001:db8::1"), lapses_ms: None },
            Word::Wrong { access_key: access_key.clone(), client: client("::1") },
            Word::Right { access_key, client: client("192.0.2.1") },
        ];
        for word in words {
            let line = word.to_string();
            assert!(line.len() < gateway_control::peers::LINE && !line.contains('\n'), "{line}");
            assert_eq!(Word::parse(&line), Some(word), "{line}");
            assert_eq!(Word::parse(&format!("{line} x")), None);
            let (start, _) = line.rsplit_once(' ').unwrap();
            assert_eq!(Word::parse(start), None, "{start}");
        }
        for line in ["", "heartbeat x", "signature-used x 10.1.2.3 5", "signature-wrong x ::1"] {
            assert_eq!(Word::parse(line), None, "{line}");
        }
    }
}
