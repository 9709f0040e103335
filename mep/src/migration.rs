//! Taking over the key pairs of an original installation.

use std::collections::BTreeSet;

use gateway_model::{Catalog, Change, Id};

use crate::auth::import::{ImportedCredential, OriginalInstallation, OriginalRow};
use crate::auth::sealing::SealingKey;
use crate::entities::{self, AppCredential};

/// What becomes of the rows of an original installation.
#[derive(Debug, Default)]
pub struct Migration {
    /// What puts the key pairs into the catalog.
    pub changes: Vec<Change>,
    /// The app instances whose key pairs these are.
    pub taken: Vec<String>,
    /// App instances that have the same key pair here already.
    pub present: Vec<String>,
    /// App instances that are left out, each with the reason in words for the operator.
    pub left_out: Vec<(String, String)>,
}

impl Migration {
    /// Looks at all rows. What is in `catalog` is never replaced; secrets are sealed anew with
    /// `sealing`. Key pairs that were published are taken only if `allow_defaults`.
    pub fn plan(
        catalog: &Catalog,
        installation: &OriginalInstallation,
        rows: &[OriginalRow],
        sealing: &SealingKey,
        allow_defaults: bool,
    ) -> Self {
        let mut plan = Self::default();
        let mut access_keys = BTreeSet::new();
        for row in rows {
            let id = row.app_ins_id.clone();
            let credential = match installation.credential(row) {
                Ok(credential) => credential,
                Err(why) => {
                    plan.left_out.push((id, why.reason.to_string()));
                    continue;
                }
            };
            let verdict = match verdict(catalog, &credential, sealing, allow_defaults) {
                Ok(_) if !access_keys.insert(row.ak.clone()) => Err(TAKEN.to_owned()),
                other => other,
            };
            match verdict {
                Ok(Some(change)) => {
                    plan.changes.push(change);
                    plan.taken.push(id);
                }
                Ok(None) => plan.present.push(id),
                Err(why) => plan.left_out.push((id, why)),
            }
        }
        plan
    }
}

/// The change that takes a key pair over, none when it is here; else the reason not to.
fn verdict(
    catalog: &Catalog,
    credential: &ImportedCredential,
    sealing: &SealingKey,
    allow_defaults: bool,
) -> Result<Option<Change>, String> {
    let ImportedCredential { app_instance, access_key, secret_key, .. } = credential;
    let published = access_key.is_published_default() || secret_key.is_published_default();
    if published && !allow_defaults {
        return Err("its key pair was published: everybody knows it".to_owned());
    }
    let id = Id::parse(app_instance.as_str()).ok_or("its id is no UUID")?;
    let secret = secret_key.expose().as_bytes();
    if let Some(present) = catalog.get::<AppCredential>(id) {
        let same = present.access_key == access_key.as_str()
            && sealing.open(&present.sealed()).is_ok_and(|opened| *opened == secret);
        return if same { Ok(None) } else { Err("it has another key pair here".to_owned()) };
    }
    if catalog.by::<AppCredential>("access_key", access_key.as_str()).is_some() {
        return Err(TAKEN.to_owned());
    }
    let sealed = sealing.seal(secret).map_err(|why| why.to_string())?;
    let services = &credential.required_services;
    let new = AppCredential::new(id, access_key.as_str(), sealed, &credential.app_name, services);
    Ok(Some(entities::put(id, &new)))
}

const TAKEN: &str = "its access key is another app's";
