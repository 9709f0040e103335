//! [`Authority`]: a certificate authority, asked for one certificate (RFC 8555, section 7.4).

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use instant_acme::{
    Account, AccountCredentials, AuthorizationStatus, ChallengeType, ExternalAccountKey,
    Identifier, NewAccount, NewOrder, OrderStatus, RetryPolicy,
};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, RsaKeySize};

use super::account_key::{self, KeyError};
use super::client::{Http, Seen};
use super::config::{AccountKey, CertType, Config};
use super::storage::{Storage, StorageError};

/// A certificate authority, and how we are known to it.
pub(super) struct Authority {
    directory: String,
    email: String,
    tos_accepted: bool,
    external: Option<(String, String)>,
    key: KeyKind,
    account_key: Option<AccountKey>,
    /// The common name of the root's issuer in the chain wanted.
    preferred: Option<String>,
    pub(super) storage: Storage,
}

/// What keys certificates are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum KeyKind {
    P256,
    Rsa(RsaBits),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RsaBits {
    B2048,
    B3072,
    B4096,
}

/// A certificate and its key, PEM.
pub(super) struct Issued {
    pub(super) chain: String,
    pub(super) key: String,
}

/// Why no certificate was got.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(super) enum OrderError {
    #[error("the authority: {0}")]
    Authority(#[from] instant_acme::Error),
    #[error("making a key: {0}")]
    Key(#[from] rcgen::Error),
    #[error("writing: {0}")]
    Store(#[from] StorageError),
    #[error("account_key: {0}")]
    AccountKey(#[from] KeyError),
    #[error("nothing is served yet")]
    NotYet,
    #[error("eab_hmac_key is not base64url")]
    ExternalKey,
    #[error("the authority offers no HTTP-01 challenge")]
    NoChallenge,
    #[error("the authority could not see that the name is ours")]
    Invalid,
    #[error("a key was not made")]
    Interrupted,
}

/// Seconds a challenge is answered.
const CHALLENGE_TTL: u64 = 3600;

/// How long the authority may take to look and to sign.
const PATIENCE: RetryPolicy =
    RetryPolicy::new().initial_delay(Duration::from_millis(250)).timeout(Duration::from_secs(120));

/// The name a challenge's answer is kept by (lua-resty-acme, challenge/http-01.lua).
pub(super) fn challenge_name(token: &str) -> String {
    format!("{token}#http-01")
}

/// Who issued the last certificate of a chain, by the common name.
fn root_issuer(chain: &str) -> Option<String> {
    let last = x509_parser::pem::Pem::iter_from_buffer(chain.as_bytes()).last()?.ok()?;
    let root = last.parse_x509().ok()?;
    let name = root.issuer().iter_common_name().next()?;
    name.as_str().ok().map(str::to_owned)
}

impl Authority {
    pub(super) fn new(config: &Config, storage: Storage) -> Self {
        let text = |secret: &gateway_model::Secret<String>| secret.expose().clone();
        let (kid, key) = (config.eab_kid.as_ref(), config.eab_hmac_key.as_ref());
        Self {
            directory: config.api_uri.clone().unwrap_or_default(),
            email: text(&config.account_email),
            tos_accepted: config.tos_accepted.unwrap_or_default(),
            external: kid.zip(key).map(|(kid, key)| (text(kid), text(key))),
            key: match (config.cert_type.unwrap_or_default(), config.rsa_key_size) {
                (CertType::Ecc, _) => KeyKind::P256,
                (CertType::Rsa, Some(2048.0)) => KeyKind::Rsa(RsaBits::B2048),
                (CertType::Rsa, Some(3072.0)) => KeyKind::Rsa(RsaBits::B3072),
                (CertType::Rsa, _) => KeyKind::Rsa(RsaBits::B4096),
            },
            account_key: config.account_key.clone(),
            preferred: config.preferred_chain.clone(),
            storage,
        }
    }

    /// Gets a certificate for one name. Blocks no thread, but may take minutes.
    ///
    /// # Errors
    ///
    /// Why there is none.
    pub(super) async fn order(&self, name: &str) -> Result<Issued, OrderError> {
        let seen = Arc::default();
        let account = self.account(&seen).await?;
        let identifiers = [Identifier::Dns(name.to_owned())];
        let mut order = account.new_order(&NewOrder::new(&identifiers)).await?;
        let mut answered = Vec::new();
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            if authorization.status == AuthorizationStatus::Valid {
                continue;
            }
            let mut challenge =
                authorization.challenge(ChallengeType::Http01).ok_or(OrderError::NoChallenge)?;
            let kept = challenge_name(&challenge.token);
            let answer = challenge.key_authorization();
            self.storage.put(&kept, answer.as_str(), Some(CHALLENGE_TTL)).await?;
            answered.push(kept);
            challenge.set_ready().await?;
        }
        let ready = order.poll_ready(&PATIENCE).await;
        for kept in answered {
            self.storage.remove(&kept).await?;
        }
        if ready? != OrderStatus::Ready {
            return Err(OrderError::Invalid);
        }
        let key = self.make_key().await?;
        let mut params = CertificateParams::new([name.to_owned()])?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        let request = params.serialize_request(&key)?;
        order.finalize_csr(request.der()).await?;
        let chain = order.poll_certificate(&PATIENCE).await?;
        let chain = self.preferred(&account, &seen, chain).await;
        Ok(Issued { chain, key: key.serialize_pem() })
    }

    /// The chain under the root that is wanted, if the authority offers it; else the one it sent.
    async fn preferred(&self, account: &Account, seen: &Seen, sent: String) -> String {
        let Some(preferred) = &self.preferred else { return sent };
        if root_issuer(&sent).as_deref() == Some(preferred) {
            return sent;
        }
        for other in &seen.last().others {
            // The library has a signed request for orders alone: what comes is no order, and seen.
            let _ = account.order(other.clone()).await;
            let chain = seen.last();
            if root_issuer(&chain.pem).as_deref() == Some(preferred) {
                return chain.pem.clone();
            }
        }
        tracing::warn!("the authority offers no chain of the issuer {preferred:?}");
        sent
    }

    /// The account kept, else a new one.
    async fn account(&self, seen: &Arc<Seen>) -> Result<Account, OrderError> {
        let mut kept = format!("kong_acme:account:{}:{}", self.directory, self.email);
        if let Some(AccountKey { key_id, key_set }) = &self.account_key {
            kept.push_str(&format!(":{}:{key_id}", key_set.as_deref().unwrap_or_default()));
        }
        let client = &self.storage.tools.client;
        let http = || Box::new(Http { client: client.clone(), seen: Arc::clone(seen) });
        let known = self.storage.get(&kept).await?;
        let known = known.and_then(|text| serde_json::from_str::<AccountCredentials>(&text).ok());
        if let Some(known) = known {
            return Ok(Account::builder_with_http(http()).from_credentials(known).await?);
        }
        let external = match &self.external {
            Some((kid, key)) => {
                let key = BASE64_URL_SAFE_NO_PAD.decode(key.trim_end_matches('='));
                let key = key.map_err(|_| OrderError::ExternalKey)?;
                Some(ExternalAccountKey::new(kid.clone(), &key))
            }
            None => None,
        };
        let contact = format!("mailto:{}", self.email);
        let wanted = NewAccount {
            contact: &[&contact],
            terms_of_service_agreed: self.tos_accepted,
            only_return_existing: false,
        };
        let builder = Account::builder_with_http(http());
        let (account, credentials) = match &self.account_key {
            None => builder.create(&wanted, self.directory.clone(), external.as_ref()).await?,
            Some(named) => {
                let catalog = self.storage.tools.entities.catalog().ok_or(OrderError::NotYet)?;
                let key = account_key::find(&catalog, named)?;
                let made = builder.create_from_key(key, self.directory.clone()).await?;
                made.0.update_contacts(&[&contact]).await?;
                made
            }
        };
        let text = serde_json::to_string(&credentials)
            .map_err(|why| instant_acme::Error::Other(Box::new(why)))?;
        self.storage.put(&kept, &text, None).await?;
        Ok(account)
    }

    /// RSA keys take seconds to make.
    async fn make_key(&self) -> Result<KeyPair, OrderError> {
        let bits = match self.key {
            KeyKind::P256 => return Ok(KeyPair::generate()?),
            KeyKind::Rsa(RsaBits::B2048) => RsaKeySize::_2048,
            KeyKind::Rsa(RsaBits::B3072) => RsaKeySize::_3072,
            KeyKind::Rsa(RsaBits::B4096) => RsaKeySize::_4096,
        };
        let work = move || KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, bits);
        let made = tokio::task::spawn_blocking(work).await;
        Ok(made.map_err(|_| OrderError::Interrupted)??)
    }
}
