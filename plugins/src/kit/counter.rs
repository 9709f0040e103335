//! [`Counters`]: how often something happened in the second, minute … year that is now.
//!
//! Windows are those of the calendar in UTC. One number holds window and count, so that taking one
//! use is a compare-and-swap and a new window needs nobody to clear the old one. Counters live as
//! long as the process and know nothing of the plugin instance that asks.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use gateway_model::Id;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::Offset;
use quick_cache::sync::Cache;

/// A unit of the calendar that limits are given in. Ascending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Period {
    Second,
    Minute,
    Hour,
    Day,
    Month,
    Year,
}

impl Period {
    pub(crate) const ALL: [Self; 6] =
        [Self::Second, Self::Minute, Self::Hour, Self::Day, Self::Month, Self::Year];

    /// As configurations and counters spell it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Second => "second",
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Month => "month",
            Self::Year => "year",
        }
    }

    /// Nominal seconds: a month counts as 30 days, a year as 365.
    pub(crate) const fn seconds(self) -> u64 {
        match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 3600,
            Self::Day => 86_400,
            Self::Month => 2_592_000,
            Self::Year => 31_536_000,
        }
    }

    /// How many low bits of a cell hold the count; the number of the window is above them. Each
    /// leaves room for the windows of centuries and for 100 million uses a second.
    const fn count_bits(self) -> u32 {
        match self {
            Self::Second => 30,
            Self::Minute => 36,
            Self::Hour => 42,
            Self::Day => 47,
            Self::Month => 48,
            Self::Year => 52,
        }
    }

    /// The greatest limit that can be told from no limit.
    pub(crate) const fn largest(self) -> u64 {
        (1 << self.count_bits()) - 1
    }
}

/// A moment, as windows see it.
#[derive(Clone, Copy)]
pub(crate) struct Moment {
    unix_seconds: u64,
}

impl Moment {
    pub(crate) const fn new(unix_seconds: u64) -> Self {
        Self { unix_seconds }
    }

    pub(crate) const fn unix_seconds(self) -> u64 {
        self.unix_seconds
    }

    /// The number of the window this moment is in: one more than that of the window before.
    fn window(self, period: Period) -> u64 {
        match period {
            Period::Month => self.year_and_month().map_or(0, |(year, month)| year * 12 + month),
            Period::Year => self.year_and_month().map_or(0, |(year, _)| year),
            _ => self.unix_seconds / period.seconds(),
        }
    }

    /// Seconds until the window ends, at least one.
    pub(crate) fn seconds_left(self, period: Period) -> u64 {
        period.seconds().saturating_sub(self.into(period)).max(1)
    }

    /// When the window began, Unix seconds.
    pub(crate) fn window_start(self, period: Period) -> u64 {
        self.unix_seconds - self.into(period)
    }

    fn into(self, period: Period) -> u64 {
        match period {
            Period::Month | Period::Year => self.seconds_into(period).unwrap_or_default(),
            _ => self.unix_seconds % period.seconds(),
        }
    }

    fn date(self) -> Option<Date> {
        let second = i64::try_from(self.unix_seconds).ok()?;
        Some(Offset::UTC.to_datetime(Timestamp::from_second(second).ok()?).date())
    }

    fn year_and_month(self) -> Option<(u64, u64)> {
        let date = self.date()?;
        let number = |n: i64| u64::try_from(n).ok();
        Some((number(date.year().into())?, number(i64::from(date.month()) - 1)?))
    }

    fn seconds_into(self, period: Period) -> Option<u64> {
        let date = self.date()?;
        let days = match period {
            Period::Month => i64::from(date.day()) - 1,
            _ => i64::from(date.day_of_year()) - 1,
        };
        Some(u64::try_from(days).ok()? * 86_400 + self.unix_seconds % 86_400)
    }
}

/// Whose uses are counted together.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Key {
    pub(crate) route: Option<Id>,
    pub(crate) service: Option<Id>,
    pub(crate) identifier: Identifier,
}

/// What tells one user of a limit from another.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Identifier {
    Id(Id),
    Ip(IpAddr),
    /// A text, as two hashes under secret keys: nobody can choose two that meet.
    Text([u64; 2]),
}

/// The counters of this process, those least used first out.
pub(crate) struct Counters {
    cells: Cache<Key, Arc<Cells>>,
    hashers: [RandomState; 2],
}

/// Users remembered. One costs some 200 bytes.
const CAPACITY: usize = 250_000;

/// The counts of one user: one cell a period.
#[derive(Default)]
pub(crate) struct Cells([AtomicU64; 6]);

/// A limit: so many uses in a window.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limit {
    pub(crate) period: Period,
    /// At most [`Period::largest`].
    pub(crate) uses: u64,
}

impl Limit {
    /// Uses are whole: a limit of 2.5 stops the fourth use, as 3 does.
    pub(crate) fn whole(period: Period, limit: f64) -> Self {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
        let uses = limit.ceil() as u64;
        Self { period, uses: uses.min(period.largest()) }
    }
}

/// A longer period may not have the lower limit; members are those of a configuration.
///
/// # Errors
///
/// The first that has, in Kong's words.
pub(crate) fn ascending(limits: &serde_json::Map<String, serde_json::Value>) -> Result<(), String> {
    let limit = |period: &Period| Some((period.name(), limits.get(period.name())?.as_f64()?));
    let limits: Vec<(&str, f64)> = Period::ALL.iter().filter_map(limit).collect();
    for pair in limits.windows(2) {
        let [(lower, less), (upper, more)] = pair else { continue };
        if more < less {
            return Err(format!(
                "The limit for {upper}({more:.1}) cannot be lower than the limit for \
                 {lower}({less:.1})"
            ));
        }
    }
    Ok(())
}

/// What became of an attempt to take one use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    /// Whether every window had room. If not, none was counted.
    pub(crate) granted: bool,
    /// Uses left in each window afterwards, in the order of the limits.
    pub(crate) left: [u64; 6],
}

impl Counters {
    pub(crate) fn new() -> Self {
        Self { cells: Cache::new(CAPACITY), hashers: [RandomState::new(), RandomState::new()] }
    }

    pub(crate) fn text(&self, text: &[u8]) -> Identifier {
        Identifier::Text([self.hashers[0].hash_one(text), self.hashers[1].hash_one(text)])
    }

    pub(crate) fn cells(&self, key: &Key) -> Arc<Cells> {
        if let Some(cells) = self.cells.get(key) {
            return cells;
        }
        let made: Result<_, std::convert::Infallible> =
            self.cells.get_or_insert_with(key, || Ok(Arc::default()));
        let Ok(cells) = made;
        cells
    }
}

impl Cells {
    /// Takes one use of every limit, or none when one of them is used up. Attempts made at the same
    /// time are never granted more than a limit between them.
    pub(crate) fn take(&self, limits: &[Limit], now: Moment) -> Taken {
        let mut left = [0; 6];
        let mut granted = true;
        for (limit, left) in limits.iter().zip(&mut left) {
            let cell = self.cell(limit.period).load(Ordering::Relaxed);
            *left = limit.uses.saturating_sub(count(cell, limit.period, now).1);
            granted &= *left > 0;
        }
        if !granted {
            return Taken { granted, left };
        }
        for (at, limit) in limits.iter().enumerate() {
            match self.take_one(*limit, now) {
                Some(used) => left[at] = limit.uses - used,
                None => {
                    // Somebody else took the last use just now.
                    left[at] = 0;
                    for (limit, left) in limits[..at].iter().zip(&mut left) {
                        self.give_back(limit.period, now);
                        *left += 1;
                    }
                    return Taken { granted: false, left };
                }
            }
        }
        Taken { granted, left }
    }

    /// Uses in the window that is now.
    pub(crate) fn used(&self, period: Period, now: Moment) -> u64 {
        count(self.cell(period).load(Ordering::Relaxed), period, now).1
    }

    /// Counts uses, however many there are already.
    pub(crate) fn add(&self, period: Period, uses: u64, now: Moment) {
        let bits = period.count_bits();
        // Always stored: the closure never says no.
        let _ = self.cell(period).fetch_update(Ordering::Relaxed, Ordering::Relaxed, |cell| {
            let (window, used) = count(cell, period, now);
            Some((window << bits) | used.saturating_add(uses).min(period.largest()))
        });
    }

    fn cell(&self, period: Period) -> &AtomicU64 {
        &self.0[period as usize]
    }

    /// How many uses there are with this one, `None` when it would be one too many.
    fn take_one(&self, limit: Limit, now: Moment) -> Option<u64> {
        let bits = limit.period.count_bits();
        let taken =
            self.cell(limit.period).fetch_update(Ordering::Relaxed, Ordering::Relaxed, |cell| {
                let (window, used) = count(cell, limit.period, now);
                (used < limit.uses).then_some((window << bits) | (used + 1))
            });
        taken.ok().map(|before| count(before, limit.period, now).1 + 1)
    }

    fn give_back(&self, period: Period, now: Moment) {
        // Fails when the window is a new one: what was taken went with the old.
        let _ = self.cell(period).fetch_update(Ordering::Relaxed, Ordering::Relaxed, |cell| {
            (count(cell, period, now).1 > 0).then(|| cell - 1)
        });
    }
}

/// The window that counts now, and the uses in it.
///
/// Threads read the clock before they come here, so one may come late from the window before; it is
/// counted where the others are. A clock set back further begins anew.
fn count(cell: u64, period: Period, now: Moment) -> (u64, u64) {
    let window = now.window(period);
    let (stored, used) = (cell >> period.count_bits(), cell & period.largest());
    if stored == window || stored == window + 1 { (stored, used) } else { (window, 0) }
}

#[cfg(test)]
mod tests;
