//! The preamble by which a proxy in front names the client: HAProxy's PROXY protocol, versions 1
//! and 2. Here is what its bytes mean; reading them off a connection is the listener's.

use std::net::SocketAddr;

use ppp::{v1, v2};

/// A whole preamble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preamble {
    /// How many bytes it takes.
    pub length: usize,
    /// The client and the address it connected to; `None` when the proxy speaks for itself or
    /// names no address of IP.
    pub ends: Option<(SocketAddr, SocketAddr)>,
}

/// The bytes are no preamble, and no more of them would make one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no PROXY protocol preamble")]
pub struct NoPreamble;

/// The longest line of version 1, its end included.
const LONGEST_LINE: usize = 107;
/// Signature, command, family and length of version 2.
const FIXED: usize = 16;
/// nginx takes no longer one either (`NGX_PROXY_PROTOCOL_MAX_HEADER`).
const LONGEST: usize = 4096;

/// Looks at the beginning of a connection; `Ok(None)` when more of it is needed to tell.
///
/// # Errors
///
/// [`NoPreamble`].
pub fn preamble(seen: &[u8]) -> Result<Option<Preamble>, NoPreamble> {
    let begins = |signature: &[u8]| {
        let shared = signature.len().min(seen.len());
        signature[..shared] == seen[..shared]
    };
    if begins(v2::PROTOCOL_PREFIX) {
        binary(seen)
    } else if begins(b"PROXY ") {
        line(seen)
    } else {
        Err(NoPreamble)
    }
}

fn binary(seen: &[u8]) -> Result<Option<Preamble>, NoPreamble> {
    let Some(length) = seen.get(FIXED - 2..FIXED) else { return Ok(None) };
    let length = FIXED + usize::from(u16::from_be_bytes([length[0], length[1]]));
    if length > LONGEST {
        return Err(NoPreamble);
    }
    let Some(whole) = seen.get(..length) else { return Ok(None) };
    let header = v2::Header::try_from(whole).map_err(|_| NoPreamble)?;
    let ends = match (header.command, header.addresses) {
        // A health check of the proxy itself: whatever is named counts for nothing.
        (v2::Command::Local, _) => None,
        (_, v2::Addresses::IPv4(ip)) => Some((
            (ip.source_address, ip.source_port).into(),
            (ip.destination_address, ip.destination_port).into(),
        )),
        (_, v2::Addresses::IPv6(ip)) => Some((
            (ip.source_address, ip.source_port).into(),
            (ip.destination_address, ip.destination_port).into(),
        )),
        (_, v2::Addresses::Unspecified | v2::Addresses::Unix(_)) => None,
    };
    Ok(Some(Preamble { length, ends }))
}

/// Asks the parser about whole lines only: of a line cut short it cannot always tell that.
fn line(seen: &[u8]) -> Result<Option<Preamble>, NoPreamble> {
    let Some(end) = seen.iter().take(LONGEST_LINE).position(|byte| *byte == b'\n') else {
        return if seen.len() < LONGEST_LINE { Ok(None) } else { Err(NoPreamble) };
    };
    let length = end + 1;
    let header = v1::Header::try_from(&seen[..length]).map_err(|_| NoPreamble)?;
    if header.header.len() != length {
        return Err(NoPreamble);
    }
    let ends = match header.addresses {
        v1::Addresses::Tcp4(ip) => Some((
            (ip.source_address, ip.source_port).into(),
            (ip.destination_address, ip.destination_port).into(),
        )),
        v1::Addresses::Tcp6(ip) => Some((
            (ip.source_address, ip.source_port).into(),
            (ip.destination_address, ip.destination_port).into(),
        )),
        v1::Addresses::Unknown => None,
    };
    Ok(Some(Preamble { length, ends }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ends(of: &str, to: &str) -> Option<(SocketAddr, SocketAddr)> {
        Some((of.parse().unwrap(), to.parse().unwrap()))
    }

    fn version_2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        [v2::PROTOCOL_PREFIX, &[0x20 | command, family], &length, body].concat()
    }

    const V4: [u8; 12] = [1, 2, 3, 4, 5, 6, 7, 8, 0x12, 0x34, 0, 80];

    #[test]
    fn whole_preambles() {
        let v4 = ends("1.2.3.4:4660", "5.6.7.8:80");
        let extended = [&V4[..], &[4, 0, 1, 9]].concat();
        let v6 = [[0xfd; 16], [0xfe; 16]].concat();
        let v6 = [&v6[..], &V4[8..]].concat();
        let six = |byte: &str| [byte; 8].join(":");
        let rows: Vec<(Vec<u8>, _)> = vec![
            (b"PROXY TCP4 1.2.3.4 5.6.7.8 4660 80\r\n".to_vec(), v4),
            (b"PROXY TCP6 ::1 ::2 1 2\r\n".to_vec(), ends("[::1]:1", "[::2]:2")),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN ::1 ::2 1 2\r\n".to_vec(), None),
            (version_2(1, 0x11, &V4), v4),
            (version_2(1, 0x11, &extended), v4),
            (version_2(0, 0x11, &V4), None),
            (version_2(0, 0x00, &[]), None),
            (version_2(1, 0x31, &[0; 216]), None),
            (
                version_2(1, 0x21, &v6),
                ends(&format!("[{}]:4660", six("fdfd")), &format!("[{}]:80", six("fefe"))),
            ),
        ];
        for (bytes, ends) in rows {
            let whole = Preamble { length: bytes.len(), ends };
            assert_eq!(preamble(&bytes), Ok(Some(whole)), "{bytes:?}");
            assert_eq!(preamble(&[&bytes, &b"GET /"[..]].concat()), Ok(Some(whole)), "{bytes:?}");
            for cut in 0..bytes.len() {
                assert_eq!(preamble(&bytes[..cut]), Ok(None), "{cut} bytes of {bytes:?}");
            }
        }
    }

    #[test]
    fn anything_else() {
        let long = [b"PROXY TCP4 ", &[b'1'; 107][..]].concat();
        for bytes in [
            &b"GET / HTTP/1.1\r\n\r\n"[..],
            b"PROXY TCP4 1.2.3.4 5.6.7.8 4660\r\n",
            b"PROXY TCP4 1.2.3.4 5.6.7.8 4660 99999\r\n",
            b"PROXY TCP4 1.2.3.4 5.6.7.8 4660 80\n",
            b"PROXY TCP4 ::1 ::2 1 2\r\n",
            b"PROXY SCTP 1.2.3.4 5.6.7.8 4660 80\r\n",
            b"\x16\x03\x01",
            &long,
            &version_2(7, 0x11, &V4),
            &version_2(1, 0x11, &V4[..11]),
            &version_2(1, 0x11, &[0; 4096]),
        ] {
            assert_eq!(preamble(bytes), Err(NoPreamble), "{bytes:?}");
        }
    }

    proptest! {
        /// However a preamble is cut into pieces, the outcome is that of the whole.
        #[test]
        fn more_bytes_never_change_what_was_told(bytes in prop::collection::vec(any::<u8>(), 0..300), v2 in any::<bool>()) {
            let signature: &[u8] = if v2 { v2::PROTOCOL_PREFIX } else { b"PROXY " };
            let all = [signature, &bytes].concat();
            let mut told = Ok(None);
            for seen in 0..=all.len() {
                let now = preamble(&all[..seen]);
                prop_assert!(told == Ok(None) || told == now);
                if let Ok(Some(whole)) = now {
                    prop_assert!(whole.length <= seen);
                }
                told = now;
            }
        }
    }
}
