//! Secrets of applications, kept as they are or as a hash (kong/plugins/oauth2/secret.lua).

use aws_lc_rs::{constant_time, rand};
use pbkdf2::password_hash::phc::PasswordHash;
use pbkdf2::{Algorithm, Params, PasswordHasher as _, PasswordVerifier as _, Pbkdf2};

/// Kong's default; hashes that say other numbers are verified by those.
const ROUNDS: u32 = 10_000;
const SALT: usize = 16;

/// A hash in the PHC string format, `$pbkdf2-sha512$i=10000,l=32$…`.
///
/// # Errors
///
/// A text for people; nothing of the secret is in it.
pub(super) fn hash(secret: &str) -> Result<String, String> {
    let failed = || "the secret could not be hashed".to_owned();
    let mut salt = [0; SALT];
    rand::fill(&mut salt).map_err(|_| failed())?;
    let params = Params::new(ROUNDS).map_err(|_| failed())?;
    let hasher = Pbkdf2::new(Algorithm::Pbkdf2Sha512, params);
    let hash = hasher.hash_password_with_salt(secret.as_bytes(), &salt).map_err(|_| failed())?;
    Ok(hash.to_string())
}

/// Whether a text is such a hash.
pub(super) fn is_hash(text: &str) -> bool {
    text.starts_with("$pbkdf2-") && PasswordHash::new(text).is_ok_and(|hash| hash.hash.is_some())
}

/// Whether this is the secret of a hash.
pub(super) fn is_of(secret: &str, hash: &str) -> bool {
    let Ok(hash) = PasswordHash::new(hash) else { return false };
    Pbkdf2::default().verify_password(secret.as_bytes(), &hash).is_ok()
}

/// Whether two secrets are the same. Takes as long when they are not.
pub(super) fn same(one: &str, other: &str) -> bool {
    constant_time::verify_slices_are_equal(one.as_bytes(), other.as_bytes()).is_ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    #[test]
    fn hashes() {
        let hash = super::hash("s3cret").unwrap();
        assert!(hash.starts_with("$pbkdf2-sha512$i=10000,l=32$"), "{hash}");
        assert!(super::is_hash(&hash));
        assert!(super::is_of("s3cret", &hash));
        assert!(!super::is_of("s3cre", &hash));
        assert_ne!(super::hash("s3cret").unwrap(), hash, "salted");
        for text in ["", "s3cret", "$pbkdf2-", "$argon2id$v=19$m=1,t=1,p=1$AAAA$AAAA"] {
            assert!(!super::is_hash(text), "{text}");
            assert!(!super::is_of("s3cret", text), "{text}");
        }
    }
}
