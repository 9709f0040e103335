//! Files of operators.

use std::sync::{Arc, LazyLock};

use gateway_control::declarative::{changes, export};
use gateway_model::{Catalog, Registry, entities};
use mep::auth::keyfile::{RsaPrivateKey, RsaPublicKey};

/// Every kind and plugin of the gateway.
pub(crate) static REGISTRY: LazyLock<Arc<Registry>> = LazyLock::new(|| {
    let kinds = entities::ALL.into_iter().chain(plugins::entity_types());
    let mut registry = Registry::new(kinds);
    plugins::register(&mut registry);
    Arc::new(registry)
});

/// A declarative file: it is refused with a reason, or what is exported of it reads as the same.
pub(crate) fn declarative(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let read = match changes(&text, &REGISTRY) {
        Ok(read) => read,
        Err(why) => {
            assert!(!why.to_string().is_empty());
            return;
        }
    };
    let apply = |changes: &[_]| {
        let mut edit = Arc::new(Catalog::empty(Arc::clone(&REGISTRY))).edit(1);
        edit.apply(changes).map(|_| edit.finish().0)
    };
    let Ok(catalog) = apply(&read) else { return };
    let exported = export(&catalog);
    let again = changes(&exported, &REGISTRY).unwrap_or_else(|why| panic!("{why}: {exported}"));
    let again = apply(&again).unwrap_or_else(|why| panic!("{why}: {exported}"));
    assert_eq!(export(&again), exported);
}

/// A key pair's file, of any form there is: it is refused with a reason that does not tell the
/// password, or what is written of it reads as the same.
pub(crate) fn key_file(data: &[u8]) {
    const PASSWORD: &str = "te9Fmv%qaq";
    for password in [None, Some(PASSWORD.as_bytes())] {
        match RsaPrivateKey::from_pem(data, password) {
            Ok(key) => {
                let written = key.to_pem().expect("as text");
                let again =
                    RsaPrivateKey::from_pem(written.as_bytes(), None).expect("our own text");
                assert_eq!(again.public_key_pem().ok(), key.public_key_pem().ok());
            }
            Err(why) => assert!(!why.to_string().is_empty() && !why.to_string().contains(PASSWORD)),
        }
    }
    match RsaPublicKey::from_pem(data) {
        Ok(key) => drop(RsaPublicKey::from_pem(key.to_pem().as_bytes()).expect("our own text")),
        Err(why) => assert!(!why.to_string().is_empty()),
    }
}
