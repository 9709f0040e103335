//! [`AppCredential`]: the key pair of an app instance and what that app may discover.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use gateway_model::schema::Record;
use gateway_model::{Entity, Id};
use serde::{Deserialize, Serialize};

use crate::auth::sealing::Sealed;

/// The key pair of an app instance. The secret key arrives here sealed.
#[derive(Clone, Debug, Serialize, Deserialize, Record)]
pub struct AppCredential {
    /// The app instance id.
    #[record(auto = Auto::Id)]
    pub id: Id,
    /// 20 characters; no two apps share one.
    #[record(unique)]
    pub access_key: String,
    /// Ciphertext of the secret key, hexadecimal.
    pub sk: String,
    /// Its nonce, hexadecimal.
    pub nonce: String,
    /// The app's name; may be empty.
    #[record(len_min = 0)]
    pub app_name: String,
    /// Which services the app may discover, as it was given: `*`, or JSON text.
    #[record(len_min = 0)]
    pub required_services: String,
    #[serde(skip)]
    #[record(skip)]
    visible: OnceLock<Visibility>,
}

impl Entity for AppCredential {
    const KIND: &'static str = "mep_app_credentials";
}

impl AppCredential {
    /// A key pair of the app instance `id`.
    pub fn new(
        id: Id,
        access_key: &str,
        sealed: Sealed,
        app_name: &str,
        required_services: &str,
    ) -> Self {
        Self {
            id,
            access_key: access_key.to_owned(),
            sk: sealed.ciphertext_hex,
            nonce: sealed.nonce_hex,
            app_name: app_name.to_owned(),
            required_services: required_services.to_owned(),
            visible: OnceLock::new(),
        }
    }

    /// The secret key as it is kept.
    pub fn sealed(&self) -> Sealed {
        Sealed { ciphertext_hex: self.sk.clone(), nonce_hex: self.nonce.clone() }
    }

    /// Which services the app may discover.
    pub fn visible(&self) -> &Visibility {
        self.visible.get_or_init(|| Visibility::read(&self.required_services))
    }
}

/// Which services an app may discover.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Visibility {
    /// All.
    All,
    /// Those of these names.
    Named(BTreeSet<String>),
}

impl Visibility {
    /// No service at all.
    pub const NONE: Self = Self::Named(BTreeSet::new());

    /// Reads the `required_services` text. What is neither `*`, nor mentions `service-discovery`,
    /// nor is a JSON array of names, allows nothing.
    pub fn read(text: &str) -> Self {
        if text == "*" || text.contains("service-discovery") {
            return Self::All;
        }
        Self::Named(serde_json::from_str(text).unwrap_or_default())
    }

    /// Whether a service of this name may be discovered.
    pub fn allows(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Named(names) => names.contains(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Visibility;

    #[test]
    fn required_services_decide_what_is_visible() {
        for (text, x, y) in [
            ("*", true, true),
            (r#"["service-discovery"]"#, true, true),
            (r#"["x"]"#, true, false),
            (r#"["x","y"]"#, true, true),
            (r#"["*"]"#, false, false),
            ("null", false, false),
            ("[]", false, false),
            ("", false, false),
            ("x", false, false),
            (r#"{"x":1}"#, false, false),
        ] {
            let visible = Visibility::read(text);
            assert_eq!((visible.allows("x"), visible.allows("y")), (x, y), "{text:?}");
        }
    }
}
