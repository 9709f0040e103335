//! [`Called`]: what an upstream is told it is called.

use http::HeaderValue;

/// What an upstream is told it is called, in TLS and in the Host header.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Called {
    /// The name in TLS.
    pub(crate) name: Box<str>,
    port: u16,
    bare_host: Option<HeaderValue>,
    host_and_port: Option<HeaderValue>,
}

impl Called {
    /// A name, or an address with brackets where those belong.
    pub(crate) fn new(shown: &str, port: u16) -> Self {
        let name = shown.trim_start_matches('[').trim_end_matches(']').into();
        let bare_host = HeaderValue::try_from(shown).ok();
        let host_and_port = HeaderValue::try_from(format!("{shown}:{port}")).ok();
        Self { name, port, bare_host, host_and_port }
    }

    /// The Host header: the name, and the port unless that is the protocol's own.
    pub(crate) const fn host_header(&self, tls: bool) -> Option<&HeaderValue> {
        let default = if tls { 443 } else { 80 };
        if self.port == default { self.bare_host.as_ref() } else { self.host_and_port.as_ref() }
    }
}
