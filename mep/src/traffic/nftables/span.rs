//! [`Spans`]: addresses or ports as ranges that do not touch, which is what the kernel's sets want.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use serde_json::{Value, json};

/// Ranges, both ends included, ascending and apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spans<T>(Vec<(T, T)>);

/// What ranges may be made of.
pub(super) trait Point: Copy + Ord {
    /// The one after, if there is one.
    fn next(self) -> Option<Self>;
    /// As the kernel's tool writes it.
    fn shown(self) -> Value;
}

impl Point for u16 {
    fn next(self) -> Option<Self> {
        self.checked_add(1)
    }

    fn shown(self) -> Value {
        self.into()
    }
}

impl Point for u8 {
    fn next(self) -> Option<Self> {
        self.checked_add(1)
    }

    fn shown(self) -> Value {
        self.into()
    }
}

impl Point for Ipv4Addr {
    fn next(self) -> Option<Self> {
        self.to_bits().checked_add(1).map(Self::from_bits)
    }

    fn shown(self) -> Value {
        self.to_string().into()
    }
}

impl Point for Ipv6Addr {
    fn next(self) -> Option<Self> {
        self.to_bits().checked_add(1).map(Self::from_bits)
    }

    fn shown(self) -> Value {
        self.to_string().into()
    }
}

impl<T: Point> Spans<T> {
    /// The union of ranges, whose first end is not after the second.
    pub(super) fn new(mut ranges: Vec<(T, T)>) -> Self {
        ranges.sort_unstable();
        let mut apart: Vec<(T, T)> = Vec::with_capacity(ranges.len());
        for (first, last) in ranges {
            match apart.last_mut() {
                Some((_, end)) if end.next().is_none_or(|next| first <= next) => {
                    *end = (*end).max(last);
                }
                _ => apart.push((first, last)),
            }
        }
        Self(apart)
    }

    /// Whether there is nothing in it.
    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether every one is in it.
    pub(super) fn all(&self, holds: impl Fn(T) -> bool) -> bool {
        self.0.iter().all(|(first, last)| first == last && holds(*first))
    }

    /// The right side of a match.
    pub(super) fn value(&self) -> Value {
        let one = |(first, last): &(T, T)| {
            if first == last {
                first.shown()
            } else {
                json!({ "range": [first.shown(), last.shown()] })
            }
        };
        match self.0.as_slice() {
            [single] => one(single),
            several => json!({ "set": several.iter().map(one).collect::<Vec<_>>() }),
        }
    }
}

/// Addresses of both families.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Addresses {
    pub(super) v4: Spans<Ipv4Addr>,
    pub(super) v6: Spans<Ipv6Addr>,
}

impl Addresses {
    /// Addresses, prefixes (`192.0.2.0/24`) and ranges (`192.0.2.1-192.0.2.9`); the text that is
    /// none of them otherwise.
    pub(super) fn read(texts: &[String]) -> Result<Self, &str> {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for text in texts {
            match range(text.trim()).ok_or(text.as_str())? {
                (IpAddr::V4(first), IpAddr::V4(last)) if first <= last => v4.push((first, last)),
                (IpAddr::V6(first), IpAddr::V6(last)) if first <= last => v6.push((first, last)),
                _ => return Err(text),
            }
        }
        Ok(Self { v4: Spans::new(v4), v6: Spans::new(v6) })
    }

    /// Whether nothing is said about addresses.
    pub(super) const fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }
}

fn range(text: &str) -> Option<(IpAddr, IpAddr)> {
    if let Some((first, last)) = text.split_once('-') {
        return Some((first.trim().parse().ok()?, last.trim().parse().ok()?));
    }
    let network = match text.parse::<IpAddr>() {
        Ok(address) => IpNet::from(address),
        Err(_) => text.parse().ok()?,
    };
    Some((network.network(), network.broadcast()))
}

/// Ports and ranges of them; the text that is none otherwise.
pub(super) fn ports(texts: &[String]) -> Result<Spans<u16>, &str> {
    let read = |text: &str| -> Option<(u16, u16)> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let ends = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        (ends.0 <= ends.1).then_some(ends)
    };
    let ranges = texts.iter().map(|text| read(text.trim()).ok_or(text.as_str()));
    Ok(Spans::new(ranges.collect::<Result<_, _>>()?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_can_be_read() {
        let read = |texts: &[&str]| {
            let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
            Addresses::read(&texts).map(|all| (all.v4.0, all.v6.0)).map_err(str::to_owned)
        };
        let v4 = |text: &str| text.parse::<Ipv4Addr>().unwrap();
        let (v4s, v6s) =
            read(&["10.1.2.3/8", "10.200.0.0/16", "11.0.0.0 - 11.0.0.9", "::1"]).unwrap();
        assert_eq!(v4s, [(v4("10.0.0.0"), v4("11.0.0.9"))], "they overlap and touch");
        assert_eq!(v6s.len(), 1);
        for text in ["", "host", "10.0.0.0/33", "10.0.0.9-10.0.0.1", "10.0.0.1-::1"] {
            assert_eq!(read(&[text]), Err(text.to_owned()), "{text}");
        }
        for (text, valid) in
            [("80", true), ("80-90", true), ("90-80", false), ("x", false), ("65536", false)]
        {
            assert_eq!(ports(&[text.to_owned()]).is_ok(), valid, "{text}");
        }
    }

    proptest! {
        /// The same numbers, in ranges that do not touch.
        #[test]
        fn union(ranges in prop::collection::vec((any::<u8>(), any::<u8>()), 0..8)) {
            let ranges: Vec<(u8, u8)> =
                ranges.into_iter().map(|(a, b)| (a.min(b), a.max(b))).collect();
            let spans = Spans::new(ranges.clone());
            let within = |all: &[(u8, u8)], n: u8| all.iter().any(|(a, b)| (*a..=*b).contains(&n));
            for n in 0..=u8::MAX {
                prop_assert_eq!(within(&ranges, n), within(&spans.0, n), "{}", n);
            }
            for pair in spans.0.windows(2) {
                prop_assert!(u16::from(pair[0].1) + 1 < u16::from(pair[1].0));
            }
        }
    }
}
