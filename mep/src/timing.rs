//! Where the platform's time comes from, as applications are told (ETSI GS MEC 011, clauses 7.2.5
//! and 7.2.6).

mod ntp;

pub use ntp::Ntp;

use async_trait::async_trait;
use gateway_model::Clock;

/// A source of time.
#[async_trait]
pub trait TimeSource: Send + Sync + 'static {
    /// The time now, asked of the source; it may take as long as a network round trip.
    ///
    /// # Errors
    ///
    /// When the source did not answer. Whoever asks decides whether the system's clock will do.
    async fn now(&self) -> Result<Reading, Unreachable>;

    /// The server applications may ask themselves; `None` when there is none to name.
    fn server(&self) -> Option<NtpServer>;
}

/// One reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Since the Unix epoch, nanoseconds.
    pub unix_ns: u128,
    /// Whether the source is locked to UTC.
    pub traceable: bool,
}

impl Reading {
    /// A reading of a clock that nobody vouches for.
    pub fn of(clock: &Clock) -> Self {
        Self { unix_ns: u128::from(clock.unix_ms()) * 1_000_000, traceable: false }
    }

    /// Whole seconds, as far as 32 bits tell them.
    pub fn seconds(self) -> u32 {
        u32::try_from(self.unix_ns / 1_000_000_000).unwrap_or(u32::MAX)
    }

    /// Nanoseconds after the second.
    pub fn nanoseconds(self) -> u32 {
        u32::try_from(self.unix_ns % 1_000_000_000).unwrap_or_default()
    }
}

/// A time server as applications are told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NtpServer {
    /// Host name or address, without a port.
    pub host: String,
    /// The shortest pause between two questions: seconds as a power of two, 3 to 17.
    pub min_polling_interval: u8,
    /// The longest pause: seconds as a power of two, 3 to 17.
    pub max_polling_interval: u8,
    /// Its rank among several.
    pub local_priority: u32,
}

impl NtpServer {
    /// A server with the original's intervals and rank.
    pub fn new(host: &str) -> Self {
        Self {
            host: host.to_owned(),
            min_polling_interval: 4,
            max_polling_interval: 17,
            local_priority: 1,
        }
    }
}

/// The source did not answer.
#[derive(Debug, thiserror::Error)]
#[error("no time server answered: {0}")]
pub struct Unreachable(pub String);

/// No source at all: a platform of which nobody said where its time comes from.
#[derive(Clone, Debug, Default)]
pub struct NoSource;

#[async_trait]
impl TimeSource for NoSource {
    async fn now(&self) -> Result<Reading, Unreachable> {
        Err(Unreachable("none is configured".to_owned()))
    }

    fn server(&self) -> Option<NtpServer> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readings_split_at_the_second() {
        let reading = Reading { unix_ns: 1_623_770_544_468_538_768, traceable: true };
        assert_eq!((reading.seconds(), reading.nanoseconds()), (1_623_770_544, 468_538_768));
        let own = Reading::of(&Clock::fixed(1_500));
        assert_eq!((own.seconds(), own.nanoseconds(), own.traceable), (1, 500_000_000, false));
    }
}
