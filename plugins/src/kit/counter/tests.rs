#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::atomic::AtomicUsize;

use super::*;

fn at(text: &str) -> Moment {
    let time: jiff::Timestamp = text.parse().unwrap();
    Moment::new(u64::try_from(time.as_second()).unwrap())
}

fn limit(period: Period, uses: u64) -> Limit {
    Limit { period, uses }
}

#[test]
fn windows_are_those_of_the_calendar() {
    let check = |period, first: &str, last: &str, next: &str| {
        assert_eq!(at(first).window(period), at(last).window(period), "{period:?}");
        assert_eq!(at(last).window(period) + 1, at(next).window(period), "{period:?}");
    };
    use Period::*;
    check(Second, "2026-03-01T00:00:07Z", "2026-03-01T00:00:07Z", "2026-03-01T00:00:08Z");
    check(Minute, "2026-03-01T00:01:00Z", "2026-03-01T00:01:59Z", "2026-03-01T00:02:00Z");
    check(Hour, "2026-03-01T01:00:00Z", "2026-03-01T01:59:59Z", "2026-03-01T02:00:00Z");
    check(Day, "2026-03-01T00:00:00Z", "2026-03-01T23:59:59Z", "2026-03-02T00:00:00Z");
    check(Month, "2024-02-01T00:00:00Z", "2024-02-29T23:59:59Z", "2024-03-01T00:00:00Z");
    check(Month, "2026-12-01T00:00:00Z", "2026-12-31T23:59:59Z", "2027-01-01T00:00:00Z");
    check(Year, "2024-01-01T00:00:00Z", "2024-12-31T23:59:59Z", "2025-01-01T00:00:00Z");
}

#[test]
fn seconds_left() {
    use Period::*;
    for (period, time, wanted) in [
        (Second, "2026-03-01T00:00:07Z", 1),
        (Minute, "2026-03-01T00:00:00Z", 60),
        (Minute, "2026-03-01T00:00:59Z", 1),
        (Hour, "2026-03-01T00:10:00Z", 3000),
        (Day, "2026-03-01T23:59:58Z", 2),
        (Month, "2026-03-01T00:00:01Z", 30 * 86_400 - 1),
        // The 31st is past the 30 days a month counts as.
        (Month, "2026-03-31T12:00:00Z", 1),
        (Year, "2026-01-02T00:00:00Z", 364 * 86_400),
        (Year, "2024-12-31T23:00:00Z", 1),
    ] {
        assert_eq!(at(time).seconds_left(period), wanted, "{period:?} at {time}");
    }
}

#[test]
fn every_window_of_every_period_has_room_in_its_cell() {
    let far = at("2200-01-01T00:00:00Z");
    for period in Period::ALL {
        let window = far.window(period);
        assert_eq!((window << period.count_bits()) >> period.count_bits(), window, "{period:?}");
    }
}

#[test]
fn a_refused_use_is_counted_nowhere() {
    let cells = Cells::default();
    let limits = [limit(Period::Minute, 2), limit(Period::Hour, 5)];
    let now = at("2026-03-01T00:00:00Z");
    let left = |minute, hour| [minute, hour, 0, 0, 0, 0];
    assert_eq!(cells.take(&limits, now), Taken { granted: true, left: left(1, 4) });
    assert_eq!(cells.take(&limits, now), Taken { granted: true, left: left(0, 3) });
    for _ in 0..3 {
        assert_eq!(cells.take(&limits, now), Taken { granted: false, left: left(0, 3) });
    }
    let now = at("2026-03-01T00:01:00Z");
    assert_eq!(cells.take(&limits, now), Taken { granted: true, left: left(1, 2) });
}

#[test]
fn a_late_thread_counts_where_the_others_do() {
    let cells = Cells::default();
    let limits = [limit(Period::Minute, 2)];
    assert!(cells.take(&limits, at("2026-03-01T00:01:00Z")).granted);
    assert!(cells.take(&limits, at("2026-03-01T00:00:59Z")).granted);
    assert!(!cells.take(&limits, at("2026-03-01T00:01:00Z")).granted);
    // A clock set back by more than a window does not lock anybody out.
    assert!(cells.take(&limits, at("2026-02-28T00:00:00Z")).granted);
}

#[test]
fn threads_together_get_a_limit_and_no_more() {
    let cells = Cells::default();
    // The hour is the tighter one, so that the minute has to be given back.
    let limits = [limit(Period::Minute, 1000), limit(Period::Hour, 500)];
    let now = at("2026-03-01T00:00:00Z");
    let granted = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..500 {
                    if cells.take(&limits, now).granted {
                        granted.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    assert_eq!(granted.into_inner(), 500);
    assert_eq!(count(cells.0[1].load(Ordering::Relaxed), Period::Minute, now).1, 500);
}

#[test]
fn users_are_told_apart_and_their_number_is_bounded() {
    let counters = Counters::new();
    let key = |identifier| Key { route: None, service: None, identifier };
    let one = key(counters.text(b"a"));
    assert!(Arc::ptr_eq(&counters.cells(&one), &counters.cells(&key(counters.text(b"a")))));
    for other in [
        key(counters.text(b"b")),
        key(Identifier::Ip("127.0.0.1".parse().unwrap())),
        Key { route: Some(Id::random()), ..one },
        Key { service: Some(Id::random()), ..one },
    ] {
        assert!(!Arc::ptr_eq(&counters.cells(&one), &counters.cells(&other)), "{other:?}");
    }
    for number in 0..(CAPACITY as u64 + 50_000) {
        counters.cells(&key(Identifier::Text([number, 0])));
    }
    assert!(counters.cells.len() <= CAPACITY);
}
