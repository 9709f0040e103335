use aws_lc_rs::hmac;
use gateway_model::schema::Record;
use serde::Deserialize;

/// Lets in who signs a request with a known secret (kong/plugins/hmac-auth/schema.lua).
#[derive(Deserialize, Record)]
pub(crate) struct Config {
    /// Whether the upstream does not get the signature.
    #[record(default = false)]
    pub(super) hide_credentials: bool,
    /// Seconds the client's date may differ from ours, either way.
    #[record(default = 300, gt(0))]
    pub(super) clock_skew: Option<f64>,
    /// Consumer (id or user name) of requests that are not authenticated; unset refuses them.
    pub(super) anonymous: Option<String>,
    /// Whether a body must come with its SHA-256 in a `Digest` header.
    #[record(default = false)]
    pub(super) validate_request_body: bool,
    /// Headers the client has to sign, `request-line` and `@request-target` among them.
    #[record(default([""; 0]))]
    pub(super) enforce_headers: Option<Vec<String>>,
    /// Algorithms the client may sign with.
    #[record(default(["hmac-sha1", "hmac-sha256", "hmac-sha384", "hmac-sha512"]))]
    pub(super) algorithms: Option<Vec<Algorithm>>,
    /// The realm named in `WWW-Authenticate`.
    pub(super) realm: Option<String>,
}

/// How a signature is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Record)]
pub(crate) enum Algorithm {
    #[serde(rename = "hmac-sha1")]
    Sha1,
    #[serde(rename = "hmac-sha256")]
    Sha256,
    #[serde(rename = "hmac-sha384")]
    Sha384,
    #[serde(rename = "hmac-sha512")]
    Sha512,
}

impl Algorithm {
    /// As a client spells it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "hmac-sha1",
            Self::Sha256 => "hmac-sha256",
            Self::Sha384 => "hmac-sha384",
            Self::Sha512 => "hmac-sha512",
        }
    }

    pub(super) fn digest(self) -> hmac::Algorithm {
        match self {
            Self::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => hmac::HMAC_SHA256,
            Self::Sha384 => hmac::HMAC_SHA384,
            Self::Sha512 => hmac::HMAC_SHA512,
        }
    }
}
