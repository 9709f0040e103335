//! [`VerifiedTokens`]: tokens whose signature was found good.
//!
//! Only successes are kept, and an entry says no more than "this text was signed with this write of
//! this credential". Whether the credential still is the catalog's, and whether the token is good
//! now, is asked with every request.

use std::sync::Arc;

use gateway_model::{Document, Item};
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use serde_json::Value;

use super::JwtSecret;

/// A token whose signature was found good.
pub(super) struct Verified {
    pub(super) claims: Arc<Document>,
    /// Unix seconds; `None` when absent or not a number.
    pub(super) exp: Option<f64>,
    /// Unix seconds; `None` when absent or not a number.
    pub(super) nbf: Option<f64>,
    /// What signed it.
    pub(super) credential: Item<JwtSecret>,
    /// The credential's key, as `X-Credential-Identifier` shows it.
    pub(super) identifier: Arc<str>,
    /// How the credential was found and read: the parts of a configuration this result depends on.
    pub(super) key_claim_name: Arc<str>,
    pub(super) secret_is_base64: bool,
}

impl Verified {
    pub(super) fn new(
        claims: Document,
        credential: Item<JwtSecret>,
        key_claim_name: &Arc<str>,
        secret_is_base64: bool,
    ) -> Self {
        let number = |name: &str| claims.get(name).and_then(Value::as_f64);
        Self {
            exp: number("exp"),
            nbf: number("nbf"),
            identifier: credential.key.as_str().into(),
            claims: Arc::new(claims),
            credential,
            key_claim_name: Arc::clone(key_claim_name),
            secret_is_base64,
        }
    }
}

/// The tokens of this process whose signature was found good, oldest and least used first out.
pub(super) struct VerifiedTokens(Cache<Box<str>, Arc<Verified>, TextWeight>);

/// Longer tokens are verified every time.
const LONGEST: usize = 8 * 1024;
/// Bytes of token text kept. A token of 700 bytes costs about three times that, claims included:
/// some 10,000 tokens in some 20 MB.
const CAPACITY: u64 = 7_000_000;

#[derive(Clone)]
struct TextWeight;

impl Weighter<Box<str>, Arc<Verified>> for TextWeight {
    fn weight(&self, text: &Box<str>, _: &Arc<Verified>) -> u64 {
        text.len() as u64
    }
}

impl VerifiedTokens {
    pub(super) fn new() -> Self {
        Self(Cache::with_weighter(10_000, CAPACITY, TextWeight))
    }

    pub(super) fn get(&self, text: &str) -> Option<Arc<Verified>> {
        self.0.get(text)
    }

    pub(super) fn put(&self, text: &str, verified: &Arc<Verified>) {
        if text.len() <= LONGEST {
            self.0.insert(text.into(), Arc::clone(verified));
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
