//! [`Client`]: whose address a token will name.

use std::net::IpAddr;

use gateway_model::ports::Caller;
use http::request;
use ipnet::IpNet;

use crate::guard::contains;

/// The client's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Client(IpAddr);

impl Client {
    /// As it stands in a token. IPv4 in IPv6 clothing is IPv4.
    pub(super) fn text(self) -> String {
        self.0.to_canonical().to_string()
    }
}

/// The client of a request.
///
/// The gateway knows it. A trusted peer, such as a life-cycle manager calling directly, must name it
/// in `X-Real-Ip`; `None` when it does not. Everybody else is the client, whatever they say.
pub(super) fn of(parts: &request::Parts, caller: &Caller, trusted: &[IpNet]) -> Option<Client> {
    if caller.by_gateway || !contains(trusted, caller.client) {
        return Some(Client(caller.client));
    }
    let named = parts.headers.get("x-real-ip")?.to_str().ok()?;
    named.parse().ok().map(Client)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn only_trusted_peers_are_believed() {
        let trusted = crate::settings::loopback();
        for (peer, by_gateway, header, wanted) in [
            ("10.0.0.1", true, Some("9.9.9.9"), Some("10.0.0.1")),
            ("127.0.0.1", true, Some("9.9.9.9"), Some("127.0.0.1")),
            ("10.0.0.1", false, Some("9.9.9.9"), Some("10.0.0.1")),
            ("10.0.0.1", false, None, Some("10.0.0.1")),
            ("127.0.0.1", false, Some("9.9.9.9"), Some("9.9.9.9")),
            ("::ffff:127.0.0.1", false, Some("::1"), Some("::1")),
            ("127.0.0.1", false, Some("::ffff:9.9.9.9"), Some("9.9.9.9")),
            ("127.0.0.1", false, Some("127.0.0.0.1"), None),
            ("127.0.0.1", false, Some("UNKNOWN_IP"), None),
            ("127.0.0.1", false, None, None),
        ] {
            let mut request = http::Request::new(());
            if let Some(header) = header {
                request.headers_mut().insert("x-real-ip", header.parse().unwrap());
            }
            let client = peer.parse().unwrap();
            let caller = Caller { subject: None, client, by_gateway, certified: false };
            let client = of(&request.into_parts().0, &caller, &trusted).map(Client::text);
            assert_eq!(client.as_deref(), wanted, "{peer} {by_gateway} {header:?}");
        }
    }
}
