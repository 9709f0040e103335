//! [`Token`] and [`Code`]: what applications are given.

use gateway_model::entities::{PluginInstance, Service};
use gateway_model::schema::Record;
use gateway_model::{Entity, EntityType, Id, Ref};
use serde::Deserialize;

use super::credential::OAuth2Credential;

pub(super) static OAUTH2_TOKENS: EntityType =
    EntityType::of::<Token>().at("oauth2_tokens", Some("access_token")).nested("oauth2_tokens");

pub(super) static OAUTH2_AUTHORIZATION_CODES: EntityType = EntityType::of::<Code>();

/// An access token and the token that renews it (kong/plugins/oauth2/daos.lua).
#[derive(Deserialize, Record)]
pub(crate) struct Token {
    /// Primary key.
    #[record(auto = Auto::Id)]
    #[expect(dead_code, reason = "read from the document")]
    id: Id,
    /// Unix seconds of creation, or of the last renewal where refresh tokens are reused.
    #[record(auto = Auto::CreatedAt)]
    created_at: u64,
    /// The service it is good for; unset for every one.
    #[record(cascade)]
    pub(super) service: Option<Ref<Service>>,
    /// The application it was given to.
    #[record(cascade)]
    pub(super) credential: Ref<OAuth2Credential>,
    /// How it is presented.
    #[record(default = "bearer")]
    #[expect(dead_code, reason = "there is one")]
    token_type: TokenType,
    /// Seconds it is good for; 0 for ever.
    expires_in: i64,
    /// The token; random when it is not given.
    #[record(auto = Auto::RandomText, unique, sealed)]
    #[expect(dead_code, reason = "found by the catalog's index")]
    access_token: String,
    /// What it is renewed with.
    #[record(unique, sealed)]
    #[expect(dead_code, reason = "found by the catalog's index")]
    refresh_token: Option<String>,
    /// The end user it was given for.
    pub(super) authenticated_userid: Option<String>,
    /// What it may be used for, by spaces.
    pub(super) scope: Option<String>,
    /// When it stops to be known, the refresh token with it, in Unix milliseconds; unset keeps it for
    /// ever.
    #[record(expires)]
    ttl: Option<u64>,
}

/// How a token is presented.
#[derive(Clone, Copy, Debug, Deserialize, Record)]
#[serde(rename_all = "lowercase")]
pub(crate) enum TokenType {
    Bearer,
}

impl Entity for Token {
    const KIND: &'static str = "oauth2_tokens";
}

impl Token {
    /// Whether it does not let in any more at `now`, in Unix milliseconds. It may still be renewed.
    pub(super) fn is_expired(&self, now: u64) -> bool {
        let age = (now / 1000).saturating_sub(self.created_at);
        let age = i64::try_from(age).unwrap_or(i64::MAX);
        self.expires_in > 0 && age > self.expires_in
    }

    /// Whether it is not known any more at `now`, in Unix milliseconds.
    pub(super) fn is_gone(&self, now: u64) -> bool {
        self.ttl.is_some_and(|end| end <= now)
    }

    /// When it was made, in Unix seconds.
    pub(super) fn created_at(&self) -> u64 {
        self.created_at
    }

    /// When it stops to let in, in Unix seconds.
    pub(super) fn expires_at(&self) -> Option<u64> {
        let lifetime = u64::try_from(self.expires_in).ok().filter(|seconds| *seconds > 0);
        lifetime.map(|seconds| self.created_at.saturating_add(seconds))
    }

    /// When it stops to be known, and to be renewed, in Unix seconds.
    pub(super) fn known_until(&self) -> Option<u64> {
        self.ttl.map(|end| end / 1000)
    }
}

/// What an application turns into a token, once (kong/plugins/oauth2/daos.lua).
#[derive(Deserialize, Record)]
pub(crate) struct Code {
    /// Primary key.
    #[record(auto = Auto::Id)]
    #[expect(dead_code, reason = "read from the document")]
    id: Id,
    /// Unix seconds of creation.
    #[record(auto = Auto::CreatedAt)]
    #[expect(dead_code, reason = "for operators")]
    created_at: u64,
    /// The service its token will be good for; unset for every one.
    #[record(cascade)]
    pub(super) service: Option<Ref<Service>>,
    /// The application it was given to.
    #[record(cascade)]
    pub(super) credential: Ref<OAuth2Credential>,
    /// The code; random.
    #[record(auto = Auto::RandomText, unique, sealed)]
    #[expect(dead_code, reason = "found by the catalog's index")]
    code: String,
    /// The end user who agreed.
    pub(super) authenticated_userid: Option<String>,
    /// What the token may be used for, by spaces.
    pub(super) scope: Option<String>,
    /// The hash of a secret of who asked, base64url (RFC 7636, section 4.2).
    pub(super) challenge: Option<String>,
    /// How the hash was made.
    pub(super) challenge_method: Option<ChallengeMethod>,
    /// The instance that gave it.
    #[record(cascade)]
    pub(super) plugin: Option<Ref<PluginInstance>>,
    /// When it stops to be known, in Unix milliseconds.
    #[record(expires)]
    ttl: Option<u64>,
}

/// How the hash of a code challenge is made. `plain` is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Record)]
pub(crate) enum ChallengeMethod {
    #[serde(rename = "S256")]
    Sha256,
}

impl Entity for Code {
    const KIND: &'static str = "oauth2_authorization_codes";
}

impl Code {
    /// Whether it is not known any more at `now`, in Unix milliseconds.
    pub(super) fn is_gone(&self, now: u64) -> bool {
        self.ttl.is_some_and(|end| end <= now)
    }
}
