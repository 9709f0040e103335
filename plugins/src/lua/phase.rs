//! [`Phase`]: when code runs.

/// When code runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// During a TLS handshake.
    Certificate,
    /// Before a route is known.
    Rewrite,
    /// Once a route is known.
    Access,
    /// On the whole of an answer.
    Response,
    /// On the head of an answer.
    HeaderFilter,
    /// On a piece of an answer's body.
    BodyFilter,
    /// After the exchange.
    Log,
}

impl Phase {
    /// As handlers and configurations call it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::Rewrite => "rewrite",
            Self::Access => "access",
            Self::Response => "response",
            Self::HeaderFilter => "header_filter",
            Self::BodyFilter => "body_filter",
            Self::Log => "log",
        }
    }

    /// What `ngx.get_phase` gives.
    pub(super) const fn ngx(self) -> &'static str {
        match self {
            Self::Certificate => "ssl_cert",
            Self::Response => "access",
            other => other.name(),
        }
    }

    /// Whether code may wait in it.
    pub(super) const fn may_wait(self) -> bool {
        matches!(self, Self::Certificate | Self::Rewrite | Self::Access | Self::Response)
    }
}
