//! References such as `{vault://env/pg-password}` in place of a value, resolved once at start.
//!
//! Only the environment is a vault here, as in Kong's open-source edition.

use gateway_model::reference::{ENV, Environment, Reference};

/// Whether the whole value is a reference.
pub(super) fn is_reference(text: &str) -> bool {
    Reference::is(text)
}

/// The value a reference stands for.
///
/// # Errors
///
/// Why there is no such value, as the end of a sentence. No value is repeated.
pub(super) fn resolve(text: &str, environment: &Environment) -> Result<String, String> {
    let reference = Reference::parse(text).filter(|reference| reference.vault == ENV);
    let reference =
        reference.ok_or_else(|| format!("'{text}' names no vault of this gateway (env)"))?;
    environment.get(&reference, None).map_err(|why| format!("'{text}' {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references() {
        let variables = [("HOME_X", "plain"), ("APP_KEY", "k")];
        let owned = variables.map(|(name, text)| (name.to_owned(), text.to_owned()));
        let environment = Environment::new(owned.into(), "app_");
        for (reference, expected) in [
            ("{vault://env/home-x?prefix=}", Some("plain")),
            ("{vault://env/key}", Some("k")),
            ("{vault://env/absent}", None),
            ("{vault://env}", None),
            ("{vault://hcv/home-x}", None),
        ] {
            assert!(is_reference(reference));
            let found = resolve(reference, &environment);
            assert_eq!(found.ok().as_deref(), expected, "{reference}");
        }
        assert!(!is_reference("x{vault://env/a}"));
    }
}
