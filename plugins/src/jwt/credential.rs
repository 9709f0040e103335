//! [`JwtSecret`]: a key tokens of one consumer are signed with.

use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use gateway_model::entities::Consumer;
use gateway_model::schema::{Check, Record, Rule};
use gateway_model::{Entity, EntityType, Id, Ref, Secret};
use serde::Deserialize;

use crate::kit::jws::{self, Algorithm, Key};

pub(super) static JWT_SECRETS: EntityType =
    EntityType::of::<JwtSecret>().at("jwts", Some("key")).nested("jwt");

/// A key tokens of one consumer are signed with (kong/plugins/jwt/daos.lua).
#[derive(Deserialize, Record)]
#[record(check = needs_public_key())]
pub struct JwtSecret {
    /// Primary key.
    #[record(auto = Auto::Id)]
    pub id: Id,
    /// Unix seconds of creation.
    #[record(auto = Auto::CreatedAt)]
    pub created_at: u64,
    /// Whose tokens these are.
    #[record(cascade)]
    pub consumer: Ref<Consumer>,
    /// What tokens name it by.
    #[record(auto = Auto::RandomText, unique)]
    pub key: String,
    /// What HS* tokens are signed with.
    #[record(auto = Auto::RandomText, sealed)]
    pub(super) secret: Secret<String>,
    /// What the other algorithms are checked with, PEM.
    pub(super) rsa_public_key: Option<String>,
    /// The one algorithm its tokens may use.
    #[record(default = "HS256")]
    pub(super) algorithm: Option<Algorithm>,
    /// Free labels.
    #[record(set, elements(|e| e.is("tag", types::tag)))]
    pub tags: Option<Vec<String>>,
    #[serde(skip)]
    #[record(skip)]
    ready: Ready,
}

impl Entity for JwtSecret {
    const KIND: &'static str = "jwt_secrets";
}

/// The key made ready at first use. A written credential is another entity with another `Ready`,
/// so this can never be out of date.
#[derive(Default)]
struct Ready {
    plain: OnceLock<Option<Key>>,
    decoded: OnceLock<Option<Key>>,
}

/// Both alphabets, padded or not: how Kong reads stored secrets.
const SECRET: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

impl JwtSecret {
    /// The one algorithm its tokens may use.
    pub(super) fn algorithm(&self) -> Algorithm {
        self.algorithm.unwrap_or_default()
    }

    /// What signatures are checked with; `None` when what is stored cannot serve the algorithm.
    pub(super) fn verifier(&self, secret_is_base64: bool) -> Option<&Key> {
        let algorithm = self.algorithm();
        let decode = secret_is_base64 && algorithm.is_shared();
        let slot = if decode { &self.ready.decoded } else { &self.ready.plain };
        slot.get_or_init(|| {
            if !algorithm.is_shared() {
                return Key::public(algorithm, self.rsa_public_key.as_deref()?);
            }
            let secret = self.secret.expose();
            if !decode {
                return Key::shared(algorithm, secret.as_bytes());
            }
            let secret = secret.replace('-', "+").replace('_', "/");
            Key::shared(algorithm, &SECRET.decode(secret).ok()?)
        })
        .as_ref()
    }
}

/// Kong asks for a key with every algorithm that has a public one, except ES*, where it is missed
/// only when a token comes.
fn needs_public_key() -> Check {
    let asymmetric = Rule::match_any(
        &["^RS256$", "^RS384$", "^RS512$", "^PS256$", "^PS384$", "^PS512$", "^EdDSA$"],
        "",
    );
    let readable = Rule::Custom {
        name: "public_key_pem",
        check: |value| {
            let good = value.as_str().is_some_and(jws::is_public_key);
            if good { Ok(()) } else { Err("invalid key".into()) }
        },
    };
    Check::conditional("algorithm", asymmetric, "rsa_public_key", readable)
}
