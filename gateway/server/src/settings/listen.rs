//! `0.0.0.0:8443 http2 ssl reuseport backlog=16384, [::]:8000` to listeners.
//!
//! Kong refuses port 0; it is taken here, so that tests may let the system choose. The `unix:`
//! addresses Kong takes for some listeners are not.

use std::net::SocketAddr;
use std::time::Duration;

use super::keys::Transport;
use super::scalar;

/// Connections the system may keep waiting when `backlog` is not given; NGINX's default on Linux.
const BACKLOG: u32 = 511;

/// One address to accept on, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listen {
    /// Port 0 lets the system choose.
    pub(crate) addr: SocketAddr,
    /// TLS.
    pub(crate) ssl: bool,
    /// HTTP/2: offered by ALPN over TLS, and with prior knowledge without.
    pub(crate) http2: bool,
    /// Datagrams rather than connections; stream listeners only.
    pub(crate) udp: bool,
    /// The PROXY protocol comes first and names the client.
    pub(crate) proxy_protocol: bool,
    /// Accept only once there is something to read.
    pub(crate) deferred: bool,
    /// Every worker has a socket of its own (`SO_REUSEPORT`).
    pub(crate) reuseport: bool,
    /// Connections the system may keep waiting.
    pub(crate) backlog: u32,
    /// Whether `[::]` leaves IPv4 alone. On unless said otherwise, as in NGINX.
    pub(crate) ipv6only: bool,
    pub(crate) keepalive: TcpKeepalive,
}

/// `so_keepalive`: probes on silent connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TcpKeepalive {
    /// As the system has it.
    System,
    Off,
    /// On; what is absent is the system's.
    On {
        idle: Option<Duration>,
        interval: Option<Duration>,
        count: Option<u32>,
    },
}

/// Reads the value of a listen key; `off` gives none.
///
/// # Errors
///
/// Kong's sentence, followed by the entry that is at fault.
pub(super) fn parse(key: &str, text: &str, transport: Transport) -> Result<Vec<Listen>, String> {
    if text == "off" {
        return Ok(Vec::new());
    }
    scalar::list(text)
        .map(|entry| {
            parse_entry(entry, transport).ok_or_else(|| {
                let flags = flags(transport).join("] [");
                format!(
                    "{key} must be of form: [off] | <ip>:<port> [{flags}], [... next entry ...], not '{entry}'"
                )
            })
        })
        .collect()
}

fn parse_entry(entry: &str, transport: Transport) -> Option<Listen> {
    let mut words = entry.split_whitespace();
    let mut listen = Listen {
        addr: words.next()?.parse().ok()?,
        ssl: false,
        http2: false,
        udp: false,
        proxy_protocol: false,
        deferred: false,
        reuseport: false,
        backlog: BACKLOG,
        ipv6only: true,
        keepalive: TcpKeepalive::System,
    };
    for word in words {
        match (word.split_once('=').unwrap_or((word, "")), transport) {
            (("ssl", ""), _) => listen.ssl = true,
            (("http2", ""), Transport::Http) => listen.http2 = true,
            (("udp", ""), Transport::Stream) => listen.udp = true,
            (("proxy_protocol", ""), _) => listen.proxy_protocol = true,
            (("deferred", ""), Transport::Http) => listen.deferred = true,
            // A socket of its own for this address; it always has one here.
            (("bind", ""), _) => {}
            (("reuseport", ""), _) => listen.reuseport = true,
            (("backlog", number), _) => listen.backlog = positive(number)?,
            (("ipv6only", switch @ ("on" | "off")), Transport::Http) => {
                listen.ipv6only = switch == "on"
            }
            (("so_keepalive", value), _) => listen.keepalive = keepalive(value)?,
            _ => return None,
        }
    }
    let datagrams_with_tls = listen.udp && listen.ssl;
    (!datagrams_with_tls).then_some(listen)
}

/// `on`, `off` or `idle:interval:count`, each part optional.
fn keepalive(value: &str) -> Option<TcpKeepalive> {
    match value {
        "off" => return Some(TcpKeepalive::Off),
        "on" => return Some(TcpKeepalive::On { idle: None, interval: None, count: None }),
        _ => {}
    }
    let parts: Vec<&str> = value.split(':').collect();
    let &[idle, interval, count] = parts.as_slice() else {
        return None;
    };
    let span = |text: &str| match text {
        "" => Some(None),
        text => scalar::span(text).filter(|span| !span.is_zero()).map(Some),
    };
    let count = match count {
        "" => None,
        count => Some(positive(count)?),
    };
    let (idle, interval) = (span(idle)?, span(interval)?);
    let says_something = idle.is_some() || interval.is_some() || count.is_some();
    says_something.then_some(TcpKeepalive::On { idle, interval, count })
}

/// A system call takes these as a signed number.
fn positive(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok())?.filter(|number| (1..=i32::MAX as u32).contains(number))
}

/// The flags in the order of Kong's sentence (`kong/conf_loader/listeners.lua`).
fn flags(transport: Transport) -> &'static [&'static str] {
    match transport {
        Transport::Http => &[
            "ssl",
            "http2",
            "proxy_protocol",
            "deferred",
            "bind",
            "reuseport",
            "backlog=%d+",
            "ipv6only=on",
            "ipv6only=off",
            "so_keepalive=on",
            "so_keepalive=off",
            "so_keepalive=%w*:%w*:%d*",
        ],
        Transport::Stream => &[
            "udp",
            "ssl",
            "proxy_protocol",
            "bind",
            "reuseport",
            "backlog=%d+",
            "so_keepalive=on",
            "so_keepalive=off",
            "so_keepalive=%w*:%w*:%d*",
        ],
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn plain(addr: &str) -> Listen {
        let mut listen = parse_entry("0.0.0.0:0", Transport::Http).unwrap();
        listen.addr = addr.parse().unwrap();
        listen
    }

    #[test]
    fn http_listeners() {
        let rows = [
            ("off", vec![]),
            ("0.0.0.0:8000", vec![plain("0.0.0.0:8000")]),
            ("127.0.0.1:0", vec![plain("127.0.0.1:0")]),
            (
                "0.0.0.0:8000 reuseport backlog=16384, 0.0.0.0:8443 http2 ssl reuseport backlog=16384",
                vec![
                    Listen { reuseport: true, backlog: 16384, ..plain("0.0.0.0:8000") },
                    Listen {
                        ssl: true,
                        http2: true,
                        reuseport: true,
                        backlog: 16384,
                        ..plain("0.0.0.0:8443")
                    },
                ],
            ),
            (
                " [::]:8000   proxy_protocol   bind deferred ipv6only=off,",
                vec![Listen {
                    proxy_protocol: true,
                    deferred: true,
                    ipv6only: false,
                    ..plain("[::]:8000")
                }],
            ),
            (
                "10.0.0.1:1 so_keepalive=off",
                vec![Listen { keepalive: TcpKeepalive::Off, ..plain("10.0.0.1:1") }],
            ),
            (
                "10.0.0.1:1 so_keepalive=30m::10",
                vec![Listen {
                    keepalive: TcpKeepalive::On {
                        idle: Some(Duration::from_secs(1800)),
                        interval: None,
                        count: Some(10),
                    },
                    ..plain("10.0.0.1:1")
                }],
            ),
        ];
        for (text, expected) in rows {
            assert_eq!(parse("proxy_listen", text, Transport::Http), Ok(expected), "{text:?}");
        }
    }

    #[test]
    fn refused_entries() {
        for text in [
            "8000",
            "localhost:8000",
            "0.0.0.0",
            "0.0.0.0:65536",
            "::1:8000",
            "unix:/tmp/x",
            "0.0.0.0:8000 tls",
            "0.0.0.0:8000 ssl=on",
            "0.0.0.0:8000 udp",
            "0.0.0.0:8000 backlog",
            "0.0.0.0:8000 backlog=0",
            "0.0.0.0:8000 backlog=+1",
            "0.0.0.0:8000 backlog=4294967295",
            "0.0.0.0:8000 ipv6only=maybe",
            "0.0.0.0:8000 so_keepalive=::",
            "0.0.0.0:8000 so_keepalive=1:2",
            "off, 0.0.0.0:8000",
        ] {
            let refusal = parse("admin_listen", text, Transport::Http).unwrap_err();
            assert!(
                refusal.starts_with(
                    "admin_listen must be of form: [off] | <ip>:<port> [ssl] [http2] "
                ),
                "{text:?}: {refusal}"
            );
        }
        let refusal =
            parse("proxy_listen", "127.0.0.1:1, 127.0.0.1:2 tls", Transport::Http).unwrap_err();
        assert!(refusal.ends_with("[... next entry ...], not '127.0.0.1:2 tls'"), "{refusal}");
    }

    #[test]
    fn stream_listeners() {
        let found = parse("mep_dns_listen", "0.0.0.0:8053 udp reuseport", Transport::Stream);
        assert_eq!(found, Ok(vec![Listen { udp: true, reuseport: true, ..plain("0.0.0.0:8053") }]));
        for text in ["0.0.0.0:53 http2", "0.0.0.0:53 udp ssl"] {
            assert!(parse("mep_dns_listen", text, Transport::Stream).is_err(), "{text}");
        }
    }
}
