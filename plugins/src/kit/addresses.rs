//! [`Addresses`]: a set of address ranges, asked for one address at a time.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

/// A set of address ranges. Asking costs the logarithm of its size; IPv4 addresses inside IPv6
/// (`::ffff:a.b.c.d`) are the IPv4 addresses they carry.
#[derive(Clone, Debug, Default)]
pub(crate) struct Addresses {
    /// Ascending, none overlapping another.
    ranges: Box<[IpNet]>,
}

impl Addresses {
    /// Reads addresses and CIDR ranges.
    ///
    /// # Errors
    ///
    /// The position and text of the first that is neither.
    pub(crate) fn parse<T: AsRef<str>>(texts: &[T]) -> Result<Self, (usize, &str)> {
        let mut ranges = Vec::with_capacity(texts.len());
        for (at, text) in texts.iter().enumerate() {
            let text = text.as_ref();
            let one = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
            ranges.push(canonical(one.map_err(|_| (at, text))?));
        }
        let mut ranges = IpNet::aggregate(&ranges);
        ranges.sort_unstable_by_key(IpNet::network);
        Ok(Self { ranges: ranges.into() })
    }

    /// Whether one of the ranges holds the address.
    pub(crate) fn contains(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        let after = self.ranges.partition_point(|range| range.network() <= ip);
        after.checked_sub(1).is_some_and(|at| self.ranges[at].contains(&ip))
    }
}

/// A range of IPv4 addresses inside IPv6 as a range of IPv4 addresses.
fn canonical(range: IpNet) -> IpNet {
    if let IpNet::V6(inner) = range
        && let Some(prefix) = inner.prefix_len().checked_sub(96)
        && let Some(network) = inner.network().to_ipv4_mapped()
        && let Ok(range) = Ipv4Net::new(network, prefix)
    {
        return range.into();
    }
    range.trunc()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::Addresses;

    fn check(ranges: &[&str], inside: &[&str], outside: &[&str]) {
        let set = Addresses::parse(ranges).unwrap();
        for (ip, wanted) in
            inside.iter().map(|ip| (ip, true)).chain(outside.iter().map(|ip| (ip, false)))
        {
            assert_eq!(set.contains(ip.parse().unwrap()), wanted, "{ip} in {ranges:?}");
        }
    }

    #[test]
    fn ranges() {
        check(&[], &[], &["10.0.0.1", "::1"]);
        check(&["10.0.0.1"], &["10.0.0.1", "::ffff:10.0.0.1"], &["10.0.0.0", "10.0.0.2", "::1"]);
        check(&["10.1.2.3/8"], &["10.0.0.0", "10.255.255.255"], &["9.255.255.255", "11.0.0.0"]);
        check(&["0.0.0.0/0"], &["1.2.3.4", "255.255.255.255"], &["::1"]);
        check(&["::/0"], &["::1", "ff::"], &["1.2.3.4"]);
        check(&["::ffff:10.0.0.0/104"], &["10.1.2.3"], &["11.0.0.0"]);
        check(
            &["10.0.0.0/8", "10.1.0.0/16", "192.168.0.7", "fe80::/10", "2001:db8::1"],
            &["10.1.2.3", "10.200.0.1", "192.168.0.7", "fe80::1", "2001:db8::1"],
            &["192.168.0.8", "11.0.0.1", "fec0::1", "2001:db8::2"],
        );
    }

    #[test]
    fn many_ranges_answer_as_a_linear_search_does() {
        let texts: Vec<String> = (0..=255u32)
            .map(|n| format!("10.{n}.{}.0/{}", n.wrapping_mul(37) % 256, 16 + n % 17))
            .collect();
        let plain: Vec<ipnet::IpNet> = texts.iter().map(|text| text.parse().unwrap()).collect();
        let set = Addresses::parse(&texts).unwrap();
        for n in 0..100_000u32 {
            let ip = std::net::Ipv4Addr::from(0x0a00_0000 | (n.wrapping_mul(2_654_435_761) >> 8));
            let ip = std::net::IpAddr::from(ip);
            assert_eq!(set.contains(ip), plain.iter().any(|range| range.contains(&ip)), "{ip}");
        }
    }

    #[test]
    fn what_is_no_range_is_named() {
        let refused = Addresses::parse(&["10.0.0.1", "10.0.0.0/33"]);
        assert_eq!(refused.err(), Some((1, "10.0.0.0/33")));
    }
}
