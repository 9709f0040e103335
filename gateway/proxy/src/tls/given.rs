//! [`Given`]: the key pairs and authorities that handlers give as PEM with each request, read once.

use std::sync::Arc;

use quick_cache::sync::Cache;

use super::pair::PairError;
use super::upstream::{ClientPair, Trust, client_pair};

/// How many of each are remembered: code gives the same few again and again.
const MOST: usize = 64;

/// What was read of the PEM handlers gave.
pub(crate) struct Given {
    /// By their chain; a pair is the one that is meant only with its key.
    pairs: Cache<Box<str>, (Arc<str>, Arc<ClientPair>)>,
    trusts: Cache<Box<str>, Arc<Trust>>,
}

impl Default for Given {
    fn default() -> Self {
        Self { pairs: Cache::new(MOST), trusts: Cache::new(MOST) }
    }
}

impl Given {
    /// The pair of a chain and its key.
    ///
    /// # Errors
    ///
    /// See [`PairError`].
    pub(crate) fn pair(&self, chain: &str, key: &str) -> Result<Arc<ClientPair>, PairError> {
        if let Some((_, pair)) = self.pairs.get(chain).filter(|(known, _)| **known == *key) {
            return Ok(pair);
        }
        let pair = client_pair(chain, key)?;
        self.pairs.insert(chain.into(), (key.into(), Arc::clone(&pair)));
        Ok(pair)
    }

    /// The authorities of a text; those that cannot be read are left out.
    pub(crate) fn authorities(&self, text: &str) -> Arc<Trust> {
        if let Some(trust) = self.trusts.get(text) {
            return trust;
        }
        let trust = Arc::new(Trust::new(std::iter::once(text)));
        self.trusts.insert(text.into(), Arc::clone(&trust));
        trust
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn what_is_given_again_is_not_read_again() {
        let issue = || rcgen::generate_simple_self_signed(vec!["up.test".to_owned()]).unwrap();
        let (one, two) = (issue(), issue());
        let given = Given::default();
        let pair = |key: &str| given.pair(&one.cert.pem(), key);
        let first = pair(&one.signing_key.serialize_pem()).unwrap();
        assert!(Arc::ptr_eq(&first, &pair(&one.signing_key.serialize_pem()).unwrap()));
        // The chain alone opens nothing.
        assert!(pair(&two.signing_key.serialize_pem()).is_err());
        assert!(given.pair(&two.cert.pem(), &two.signing_key.serialize_pem()).is_ok());
        let trust = given.authorities(&one.cert.pem());
        assert!(Arc::ptr_eq(&trust, &given.authorities(&one.cert.pem())));
        assert!(!Arc::ptr_eq(&trust, &given.authorities(&two.cert.pem())));
    }
}
