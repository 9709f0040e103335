//! A token request from its first check to its token, or to the reason it is refused.
//!
//! [`TokenService::token`] is the whole walk, in the original's order. HTTP, and whose word on the
//! client's address is believed, are the caller's.

use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderMap, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;

use super::credential::{AccessKey, AppInstanceId};
use super::lock::LockList;
use super::replay::{Admission, ReplayGuard, SignatureDigest};
use super::sdk_date::{Freshness, SdkDate};
use super::sealing::{Sealed, SealingKey};
use super::signature::{Authorization, DATE_HEADER, SignedRequest};
use super::token::TokenIssuer;
use super::word::Word;

/// Where key pairs are looked up.
pub trait Credentials {
    /// The key pair with this access key, if an app instance has it.
    fn by_access_key(&self, access_key: &AccessKey) -> Option<StoredCredential>;
}

impl<C: Credentials + ?Sized> Credentials for Arc<C> {
    fn by_access_key(&self, access_key: &AccessKey) -> Option<StoredCredential> {
        (**self).by_access_key(access_key)
    }
}

/// A key pair as it is kept.
#[derive(Clone, Debug)]
pub struct StoredCredential {
    /// Whose it is: the identity a token will carry.
    pub app_instance: AppInstanceId,
    /// Its secret key, sealed.
    pub secret_key: Sealed,
}

/// What a token request says. The body is not part of it: nobody reads or hashes it.
#[derive(Clone, Copy, Debug)]
pub struct TokenRequest<'a> {
    /// The client's address as text, from whoever is trusted with it; checked here.
    pub client: Option<&'a str>,
    /// The path as sent, percent-encoded, without the query.
    pub path: &'a str,
    /// The query as sent, without the `?`; empty when there is none.
    pub query: &'a str,
    /// The authority the client addressed, port included, exactly as sent.
    pub host: &'a str,
    /// The request's headers.
    pub headers: &'a HeaderMap,
}

/// Turns signed requests into tokens.
pub struct TokenService<C> {
    credentials: C,
    sealing: Arc<SealingKey>,
    issuer: Arc<TokenIssuer>,
    freshness: Freshness,
    locks: LockList,
    replays: ReplayGuard,
    tell: Option<Box<Tell>>,
}

/// Takes a word for the other nodes, without waiting.
type Tell = dyn Fn(Word) + Send + Sync;

impl<C: Credentials> TokenService<C> {
    /// A service with the default lock rules that has seen no request yet.
    ///
    /// `sealing` opens the secret keys that `credentials` returns.
    pub fn new(
        credentials: C,
        sealing: Arc<SealingKey>,
        issuer: Arc<TokenIssuer>,
        freshness: Freshness,
    ) -> Self {
        Self {
            credentials,
            sealing,
            issuer,
            freshness,
            locks: LockList::default(),
            replays: ReplayGuard::default(),
            tell: None,
        }
    }

    /// The same service as one of several: `tell` takes what the others must [`Self::hear`].
    #[must_use]
    pub fn among_others(mut self, tell: impl Fn(Word) + Send + Sync + 'static) -> Self {
        self.tell = Some(Box::new(tell));
        self
    }

    /// Takes a word of another node. `now_ms` is in milliseconds since the Unix epoch.
    pub fn hear(&self, word: &Word, now_ms: u64) {
        match word {
            Word::Used { signature, client, lapses_ms } => {
                // Who was first here, at the same moment, stays so here.
                self.replays.admit(*signature, *client, now_ms, *lapses_ms);
            }
            Word::Wrong { access_key, client } => self.locks.failed(access_key, *client, now_ms),
            Word::Right { access_key, client } => {
                self.locks.succeeded(access_key, *client);
            }
        }
    }

    fn tell(&self, word: impl FnOnce() -> Word) {
        if let Some(tell) = &self.tell {
            tell(word());
        }
    }

    /// Checks a request and issues a token for the app instance that signed it.
    ///
    /// `now_ms` is in milliseconds since the Unix epoch. Takes about a quarter of a millisecond when
    /// it succeeds, most of it the token's signature, and does not wait for anything.
    ///
    /// # Errors
    ///
    /// The first [`TokenRefusal`] that applies, in the order of its variants. Only
    /// [`TokenRefusal::WrongSignature`] counts towards a lock, and only success ends a count.
    pub fn token(
        &self,
        request: &TokenRequest<'_>,
        now_ms: u64,
    ) -> Result<TokenReply, TokenRefusal> {
        let client: IpAddr =
            request.client.and_then(|text| text.parse().ok()).ok_or(TokenRefusal::ClientAddress)?;
        let authorization = header(request, http::header::AUTHORIZATION.as_str())
            .and_then(Authorization::parse)
            .ok_or(TokenRefusal::AuthorizationFormat)?;
        let date = header(request, DATE_HEADER)
            .and_then(SdkDate::parse)
            .ok_or(TokenRefusal::DateFormat)?;

        let access_key = &authorization.access_key;
        let refused = |refusal: fn(AccessKey) -> TokenRefusal| refusal(access_key.clone());
        if self.locks.is_locked(access_key, client, now_ms) {
            return Err(refused(TokenRefusal::Locked));
        }
        let credential = self
            .credentials
            .by_access_key(access_key)
            .ok_or_else(|| refused(TokenRefusal::UnknownAccessKey))?;
        let secret = self
            .sealing
            .open(&credential.secret_key)
            .map_err(|_| refused(TokenRefusal::SecretUnreadable))?;
        if !authorization.verify(&secret, &request.as_signed()) {
            self.locks.failed(access_key, client, now_ms);
            self.tell(|| Word::Wrong { access_key: access_key.clone(), client });
            return Err(refused(TokenRefusal::WrongSignature));
        }
        if !self.freshness.accepts(date, now_ms) {
            return Err(refused(TokenRefusal::Stale));
        }
        let lapses_ms = self.freshness.lapses_ms(date);
        let signature = SignatureDigest::of(&authorization.signature);
        match self.replays.admit(signature, client, now_ms, lapses_ms) {
            Admission::First => self.tell(|| Word::Used { signature, client, lapses_ms }),
            Admission::Again => {}
            Admission::Refused => return Err(refused(TokenRefusal::Replayed)),
        }
        if self.locks.succeeded(access_key, client) {
            self.tell(|| Word::Right { access_key: access_key.clone(), client });
        }

        let access_token = self
            .issuer
            .issue(&credential.app_instance, client, now_ms)
            .map_err(|_| TokenRefusal::SigningFailed)?;
        let expires_in = self.issuer.lifetime_seconds();
        Ok(TokenReply { access_token, token_type: "Bearer", expires_in })
    }
}

impl<'a> TokenRequest<'a> {
    fn as_signed(&self) -> SignedRequest<'a> {
        let Self { path, query, host, headers, .. } = *self;
        // Whatever the method was, clients sign this one.
        SignedRequest { method: "POST", path, query, host, headers }
    }
}

/// The first value of a header, when it is text.
fn header<'a>(request: &TokenRequest<'a>, name: &str) -> Option<&'a str> {
    request.headers.get(name)?.to_str().ok()
}

/// The body of a successful reply. It has no `Debug`: the token is a secret.
#[derive(Serialize, ToSchema)]
pub struct TokenReply {
    /// The token.
    pub access_token: String,
    /// Always `Bearer`.
    pub token_type: &'static str,
    /// How long the token lives, in seconds.
    pub expires_in: u64,
}

/// Why a token request was refused.
///
/// Its `Display` is for the operator; the client is told [`TokenRefusal::message`], which does not
/// tell an unknown access key from a wrong signature.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenRefusal {
    /// The client's address is missing or is not an IP address.
    #[error("the client's address is missing or is not an IP address")]
    ClientAddress,
    /// The `Authorization` header is missing or does not have the one accepted layout.
    #[error("the Authorization header is missing or malformed")]
    AuthorizationFormat,
    /// The date is missing, has another layout, or is no date.
    #[error("the x-sdk-date header is missing or malformed")]
    DateFormat,
    /// Too many wrong signatures; refused unread.
    #[error("access key {0} is locked for this client")]
    Locked(AccessKey),
    /// No app instance has this access key.
    #[error("access key {0} is unknown")]
    UnknownAccessKey(AccessKey),
    /// The stored secret key does not open with the present key material.
    #[error("the stored secret key of access key {0} cannot be opened")]
    SecretUnreadable(AccessKey),
    /// The signature is not that of the request.
    #[error("wrong signature for access key {0}")]
    WrongSignature(AccessKey),
    /// The signature is right but its date is too far from now.
    #[error("the request signed with access key {0} is too old or too far ahead")]
    Stale(AccessKey),
    /// The signature is right but another client used it first.
    #[error("the request signed with access key {0} was used by another client before")]
    Replayed(AccessKey),
    /// The token could not be signed.
    #[error("the token could not be signed")]
    SigningFailed,
}

impl TokenRefusal {
    /// The HTTP status to answer with.
    pub fn status(&self) -> StatusCode {
        self.reply().0
    }

    /// What the client is told: the reply's body is this text as a JSON string.
    pub fn message(&self) -> &'static str {
        self.reply().1
    }

    fn reply(&self) -> (StatusCode, &'static str) {
        match self {
            Self::ClientAddress => (StatusCode::BAD_REQUEST, "clientIp address is invalid"),
            Self::AuthorizationFormat => (StatusCode::BAD_REQUEST, "Bad auth header format"),
            // "time" is the original's word.
            Self::DateFormat => (StatusCode::BAD_REQUEST, "Bad x-sdk-time format"),
            Self::Locked(_) => (StatusCode::FORBIDDEN, "Access is locked."),
            Self::UnknownAccessKey(_)
            | Self::WrongSignature(_)
            | Self::Stale(_)
            | Self::Replayed(_) => (StatusCode::UNAUTHORIZED, "Invalid access or signature."),
            Self::SecretUnreadable(_) | Self::SigningFailed => {
                (StatusCode::INTERNAL_SERVER_ERROR, "Internal server error.")
            }
        }
    }
}

#[cfg(test)]
mod tests;
