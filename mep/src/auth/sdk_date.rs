//! The `x-sdk-date` a token request carries, and how far from our clock it may be.
//!
//! The original had no such limit: a captured request worked for ever. Agents in the field write
//! their local time and mark it `Z`, hence a wide default and, for who wants a narrow one, a list of
//! zone offsets.

use jiff::civil::DateTime;
use jiff::tz::Offset;

/// A date of the layout `YYYYMMDDTHHMMSSZ`, in seconds since the Unix epoch as if it were UTC.
///
/// A fraction of one to nine digits may follow the seconds (`…10.5Z`); it is dropped, which moves a
/// date by less than the second that freshness is measured in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SdkDate {
    unix_seconds: i64,
}

impl SdkDate {
    /// Reads the layout and checks it against the calendar.
    ///
    /// Returns `None` for another layout, a day that does not exist, an hour past 23 and a second
    /// past 59.
    pub fn parse(text: &str) -> Option<Self> {
        let (whole, rest) = text.as_bytes().split_at_checked("YYYYMMDDTHHMMSS".len())?;
        let fraction = rest.strip_suffix(b"Z")?;
        if !fraction.is_empty() {
            let digits = fraction.strip_prefix(b".")?;
            if !(1..=9).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
                return None;
            }
        }
        if whole[8] != b'T' {
            return None;
        }
        let number = |from: usize, to: usize| {
            whole[from..to].iter().try_fold(0_i16, |value, byte| {
                byte.is_ascii_digit().then(|| value * 10 + i16::from(byte - b'0'))
            })
        };
        // Two digits always fit.
        let pair = |at: usize| number(at, at + 2).and_then(|value| i8::try_from(value).ok());
        let date =
            DateTime::new(number(0, 4)?, pair(4)?, pair(6)?, pair(9)?, pair(11)?, pair(13)?, 0)
                .ok()?;
        let unix_seconds = Offset::UTC.to_timestamp(date).ok()?.as_second();
        Some(Self { unix_seconds })
    }

    /// Seconds since the Unix epoch.
    pub fn unix_seconds(self) -> i64 {
        self.unix_seconds
    }
}

/// How old, or how far ahead, a date may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Freshness {
    /// The largest difference accepted, in seconds either way; 0 accepts every date.
    pub skew_seconds: u32,
    /// Zone offsets, in seconds east of UTC, whose local time is accepted although it is marked `Z`.
    /// UTC itself always is.
    pub zone_offsets: Vec<i32>,
}

impl Default for Freshness {
    /// 15 hours, and no further zones: wider than any zone is from UTC.
    fn default() -> Self {
        Self { skew_seconds: 54_000, zone_offsets: Vec::new() }
    }
}

impl Freshness {
    /// Whether `date` is acceptable at `now_ms`, milliseconds since the Unix epoch.
    pub fn accepts(&self, date: SdkDate, now_ms: u64) -> bool {
        if self.skew_seconds == 0 {
            return true;
        }
        let now = i64::try_from(now_ms / 1000).unwrap_or(i64::MAX);
        std::iter::once(0).chain(self.zone_offsets.iter().copied()).any(|offset| {
            let utc = date.unix_seconds.saturating_sub(offset.into());
            now.abs_diff(utc) <= self.skew_seconds.into()
        })
    }

    /// The last moment, in milliseconds since the Unix epoch, at which `date` can still be accepted;
    /// `None` when it never lapses.
    pub fn lapses_ms(&self, date: SdkDate) -> Option<u64> {
        if self.skew_seconds == 0 {
            return None;
        }
        let westmost = self.zone_offsets.iter().copied().min().unwrap_or(0).min(0);
        let last_second = date
            .unix_seconds
            .saturating_sub(westmost.into())
            .saturating_add(self.skew_seconds.into());
        // `accepts` looks at whole seconds, so the last one counts to its end.
        let last = u64::try_from(last_second).unwrap_or(0);
        Some(last.saturating_mul(1000).saturating_add(999))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn the_layout_is_exact_and_the_calendar_counts() {
        let check = |text: &str, unix_seconds: Option<i64>| {
            let parsed = SdkDate::parse(text).map(SdkDate::unix_seconds);
            assert_eq!(parsed, unix_seconds, "{text:?}");
        };
        check("19700101T000000Z", Some(0));
        check("20220501T080000Z", Some(1_651_392_000));
        check("20220501T080000.5Z", Some(1_651_392_000));
        check("20220501T080000.999999999Z", Some(1_651_392_000));
        check("20240229T235959Z", Some(1_709_251_199));
        check("20230229T000000Z", None);
        check("20200930", None);
        check("20201301T101010Z", None);
        check("20200001T101010Z", None);
        check("20200100T101010Z", None);
        check("20200101T240000Z", None);
        check("20200101T006000Z", None);
        check("20200101T000060Z", None);
        check("20200101t000000Z", None);
        check("20200101T000000z", None);
        check("20200101T000000", None);
        check("20200101T000000.Z", None);
        check("20200101T000000.1234567890Z", None);
        check("20200101T000000.xZ", None);
        check("20200101T000000,5Z", None);
        check("20200101T000000ZZ", None);
        check("+2020101T000000Z", None);
        check("2020-01-01T00:00:00Z", None);
        check(" 20200101T000000Z", None);
        check("2020010éT000000Z", None);
        check("", None);
        check("99991231T235959Z", None); // later than any timestamp jiff holds with every offset
    }

    #[test]
    fn freshness_is_a_distance_from_now_or_from_a_named_zone() {
        const NOON: i64 = 1_651_406_400; // 2022-05-01T12:00:00Z
        let check = |date: &str, skew_seconds, zone_offsets: &[i32], expected: bool| {
            let freshness = Freshness { skew_seconds, zone_offsets: zone_offsets.to_vec() };
            let date = SdkDate::parse(date).unwrap();
            let now_ms = u64::try_from(NOON).unwrap() * 1000 + 400;
            assert_eq!(freshness.accepts(date, now_ms), expected, "{date:?}");
        };
        check("20220501T120000Z", 900, &[], true);
        check("20220501T114500Z", 900, &[], true);
        check("20220501T114459Z", 900, &[], false);
        check("20220501T121500Z", 900, &[], true);
        check("20220501T121501Z", 900, &[], false);
        check("20220501T200000Z", 900, &[], false);
        check("20220501T200000Z", 900, &[28_800], true);
        check("20220501T201501Z", 900, &[28_800], false);
        check("20220501T120000Z", 900, &[28_800], true);
        check("20220501T070000Z", 900, &[28_800, -18_000], true);
        check("20220501T200000Z", 54_000, &[], true);
        check("20220430T205959Z", 54_000, &[], false);
        check("19700101T000000Z", 0, &[], true);
    }

    #[test]
    fn a_date_is_refused_right_after_it_lapses() {
        let date = SdkDate::parse("20220501T120000Z").unwrap();
        for zone_offsets in [vec![], vec![28_800], vec![-18_000, 3_600]] {
            let freshness = Freshness { skew_seconds: 900, zone_offsets };
            let lapses = freshness.lapses_ms(date).unwrap();
            assert!(freshness.accepts(date, lapses), "{freshness:?}");
            assert!(!freshness.accepts(date, lapses + 1), "{freshness:?}");
        }
        let off = Freshness { skew_seconds: 0, ..Freshness::default() };
        assert_eq!(off.lapses_ms(date), None);
    }
}
