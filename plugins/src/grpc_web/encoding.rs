//! [`Encoding`]: what a media type says of a body (kong/plugins/grpc-web/deco.lua).

/// How messages of a request are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Encoding {
    /// Whether the whole is in base64.
    pub(super) base64: bool,
    /// Whether messages are in frames; else one message is the body.
    pub(super) framed: bool,
    /// Whether messages are JSON rather than protobuf's own form.
    pub(super) json: bool,
}

impl Encoding {
    /// What a media type says; its parameters do not count.
    pub(super) fn of(media_type: &str) -> Option<Self> {
        let media = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let (base64, framed, json) = match media.as_str() {
            "application/grpc-web" | "application/grpc-web+proto" => (false, true, false),
            "application/grpc-web-text" | "application/grpc-web-text+proto" => (true, true, false),
            "application/grpc-web+json" => (false, true, true),
            "application/grpc-web-text+json" => (true, true, true),
            "application/json" => (false, false, true),
            _ => return None,
        };
        Some(Self { base64, framed, json })
    }

    /// Whether a body must be seen whole to be sent on.
    pub(super) const fn rewrites(self) -> bool {
        self.base64 || self.json
    }
}
