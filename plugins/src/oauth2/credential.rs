//! [`OAuth2Credential`]: an application of one consumer.

use gateway_model::entities::Consumer;
use gateway_model::schema::Record;
use gateway_model::{Document, Entity, EntityType, Id, Ref, Secret, Violations};
use serde::Deserialize;
use serde_json::Value;

use super::secret;

pub(super) static OAUTH2_CREDENTIALS: EntityType = EntityType::of::<OAuth2Credential>()
    .at("oauth2", Some("client_id"))
    .nested("oauth2")
    .input(mark)
    .transform(hash);

/// An application of one consumer (kong/plugins/oauth2/daos.lua).
#[derive(Deserialize, Record)]
pub(crate) struct OAuth2Credential {
    /// Primary key.
    #[record(auto = Auto::Id)]
    #[expect(dead_code, reason = "read from the document")]
    id: Id,
    /// Unix seconds of creation.
    #[record(auto = Auto::CreatedAt)]
    #[expect(dead_code, reason = "for the Admin API")]
    created_at: u64,
    /// Whose application this is.
    #[record(cascade)]
    pub(super) consumer: Ref<Consumer>,
    /// What it is called.
    #[expect(dead_code, reason = "for the Admin API")]
    name: String,
    /// What it calls itself in requests; random when it is not given.
    #[record(auto = Auto::RandomText, unique)]
    pub(super) client_id: String,
    /// What it proves itself with; random when it is not given.
    #[record(auto = Auto::RandomText, encrypted)]
    client_secret: Secret<String>,
    /// Whether the secret is kept as a hash only.
    #[record(default = false)]
    pub(super) hash_secret: bool,
    /// Where end users may be sent back to, the first one unless another is asked for.
    #[record(elements(|e| e.is("redirect_uri", redirect_uri)))]
    pub(super) redirect_uris: Option<Vec<String>>,
    /// Free labels.
    #[record(set, elements(|e| e.is("tag", types::tag)))]
    #[expect(dead_code, reason = "for the Admin API")]
    tags: Option<Vec<String>>,
    /// Whether it can keep a secret.
    #[record(default = "confidential")]
    pub(super) client_type: ClientType,
}

/// Whether an application can keep a secret (RFC 6749, section 2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Record)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ClientType {
    Confidential,
    Public,
}

impl ClientType {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Confidential => "confidential",
            Self::Public => "public",
        }
    }
}

impl Entity for OAuth2Credential {
    const KIND: &'static str = "oauth2_credentials";
}

impl OAuth2Credential {
    /// Whether this is its secret. Takes as long for a wrong one; a hashed one takes milliseconds.
    pub(super) fn accepts(&self, secret: &str) -> bool {
        let kept = self.client_secret.expose();
        if self.hash_secret { secret::is_of(secret, kept) } else { secret::same(secret, kept) }
    }
}

/// Marks a secret where it arrives: what is stored must not be hashed again when something else is
/// written. No text a client sends is without the mark then, and no hash has it.
const MARK: &str = "plain:";

fn mark(sent: &mut Document) {
    if let Some(Value::String(secret)) = sent.get_mut("client_secret")
        && !secret.is_empty()
    {
        secret.insert_str(0, MARK);
    }
}

fn hash(document: &mut Document) -> Result<(), Violations> {
    let hashed = document.get("hash_secret") == Some(&Value::Bool(true));
    let Some(Value::String(secret)) = document.get_mut("client_secret") else { return Ok(()) };
    let arrived = secret.strip_prefix(MARK).map(str::to_owned);
    let is_plain = arrived.is_some() || !secret::is_hash(secret);
    let plain = arrived.unwrap_or_else(|| secret.clone());
    *secret = if hashed && is_plain {
        secret::hash(&plain).map_err(|why| Violations::one("client_secret", why))?
    } else {
        plain
    };
    Ok(())
}

/// An absolute URI with a host and without a fragment.
fn redirect_uri(value: &Value) -> Result<(), String> {
    let uri = value.as_str().unwrap_or_default();
    match url::Url::parse(uri) {
        Ok(parsed) if parsed.has_host() && parsed.fragment().is_some() => {
            Err(format!("fragment not allowed in '{uri}'"))
        }
        Ok(parsed) if parsed.has_host() => Ok(()),
        _ => Err(format!("cannot parse '{uri}'")),
    }
}
