//! [`BasicAuthCredential`]: user name and password of one consumer.
//!
//! Of a password only a digest is kept. Digesting it has no way back, and a patch of the user name
//! must not digest the digest, so a password is marked where it arrives and only a marked one is
//! digested.

use aws_lc_rs::{constant_time, digest};
use gateway_model::entities::Consumer;
use gateway_model::schema::Record;
use gateway_model::{Document, Entity, EntityType, Id, Ref, Secret, Violations};
use serde::Deserialize;
use serde_json::Value;

pub(super) static BASICAUTH_CREDENTIALS: EntityType = EntityType::of::<BasicAuthCredential>()
    .at("basic-auths", Some("username"))
    .nested("basic-auth")
    .input(mark)
    .transform(digest_marked);

/// User name and password of one consumer (kong/plugins/basic-auth/daos.lua).
#[derive(Deserialize, Record)]
pub(crate) struct BasicAuthCredential {
    /// Primary key.
    #[record(auto = Auto::Id)]
    #[expect(dead_code, reason = "read from the document")]
    id: Id,
    /// Unix seconds of creation.
    #[record(auto = Auto::CreatedAt)]
    #[expect(dead_code, reason = "for the Admin API")]
    created_at: u64,
    /// Whose credential this is.
    #[record(cascade)]
    pub(super) consumer: Ref<Consumer>,
    /// The user name.
    #[record(unique)]
    pub(super) username: String,
    /// The password; kept and shown as a hexadecimal digest of it and the consumer's id.
    #[record(encrypted)]
    password: Secret<String>,
    /// Free labels.
    #[record(set, elements(|e| e.is("tag", types::tag)))]
    #[expect(dead_code, reason = "for the Admin API")]
    tags: Option<Vec<String>>,
}

impl Entity for BasicAuthCredential {
    const KIND: &'static str = "basicauth_credentials";
}

impl BasicAuthCredential {
    /// Whether this is the password. Takes as long for a wrong one.
    pub(super) fn accepts(&self, password: &str) -> bool {
        let given = digested(password, &self.consumer.id.to_string());
        let kept = self.password.expose().as_bytes();
        constant_time::verify_slices_are_equal(given.as_bytes(), kept).is_ok()
    }
}

/// No text a client sends is without it once it arrived, no digest has it.
const MARK: &str = "plain:";

fn mark(sent: &mut Document) {
    if let Some(Value::String(password)) = sent.get_mut("password")
        && !password.is_empty()
    {
        password.insert_str(0, MARK);
    }
}

fn digest_marked(document: &mut Document) -> Result<(), Violations> {
    let consumer = document.get("consumer").and_then(|to| to.get("id")).and_then(Value::as_str);
    let consumer = consumer.unwrap_or_default().to_owned();
    if let Some(Value::String(password)) = document.get_mut("password")
        && let Some(plain) = password.strip_prefix(MARK)
    {
        *password = digested(plain, &consumer);
    }
    Ok(())
}

/// SHA-1, as Kong's databases have it (kong/plugins/basic-auth/crypto.lua).
fn digested(password: &str, consumer: &str) -> String {
    let mut context = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    context.update(password.as_bytes());
    context.update(consumer.as_bytes());
    hex::encode(context.finish())
}
