//! References such as `{vault://env/pg-password}` in place of a value, resolved once at start.
//!
//! Only the environment is a vault here, as in Kong's open-source edition.

use std::collections::HashMap;

use serde_json::Value;

/// Whether the whole value is a reference.
pub(super) fn is_reference(text: &str) -> bool {
    text.starts_with("{vault://") && text.ends_with('}')
}

/// The value a reference stands for: variable `prefix` + resource, upper case, `-` as `_`; with a
/// key, that member of the JSON object in it.
///
/// # Errors
///
/// Why there is no such value, as the end of a sentence. No value is repeated.
pub(super) fn resolve(
    reference: &str,
    prefix: &str,
    environment: &HashMap<String, String>,
) -> Result<String, String> {
    let inner = reference.trim_start_matches("{vault://").trim_end_matches('}');
    // A version and options may follow; the environment has no versions.
    let inner = inner.split('#').next().unwrap_or_default();
    let (path, options) = inner.split_once('?').unwrap_or((inner, ""));
    let prefix =
        options.split('&').find_map(|option| option.strip_prefix("prefix=")).unwrap_or(prefix);
    let mut parts = path.splitn(3, '/');
    let (vault, resource, key) = (parts.next(), parts.next().unwrap_or_default(), parts.next());
    if vault != Some("env") || resource.is_empty() {
        return Err(format!("'{reference}' names no vault of this gateway (env)"));
    }
    let variable = format!("{prefix}{resource}").to_uppercase().replace('-', "_");
    let missing = || format!("'{reference}' has no value in {variable}");
    let text = environment.get(&variable).ok_or_else(missing)?;
    let Some(key) = key else {
        return Ok(text.clone());
    };
    let object: Value = serde_json::from_str(text).map_err(|_| missing())?;
    match object.get(key) {
        Some(Value::String(member)) => Ok(member.clone()),
        Some(Value::Number(member)) => Ok(member.to_string()),
        Some(Value::Bool(member)) => Ok(member.to_string()),
        _ => Err(missing()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references() {
        let environment = HashMap::from(
            [
                ("HOME_X", "plain"),
                ("PG", r#"{"password":"p","port":5432,"x":{}}"#),
                ("APP_KEY", "k"),
            ]
            .map(|(name, text)| (name.to_owned(), text.to_owned())),
        );
        for (reference, expected) in [
            ("{vault://env/home-x}", Some("plain")),
            ("{vault://env/home-x#2}", Some("plain")),
            ("{vault://env/pg/password}", Some("p")),
            ("{vault://env/pg/port?ttl=10}", Some("5432")),
            ("{vault://env/key?prefix=app_}", Some("k")),
            ("{vault://env/pg/x}", None),
            ("{vault://env/home-x/y}", None),
            ("{vault://env/absent}", None),
            ("{vault://env}", None),
            ("{vault://hcv/home-x}", None),
        ] {
            assert!(is_reference(reference));
            let found = resolve(reference, "", &environment);
            assert_eq!(found.ok().as_deref(), expected, "{reference}");
        }
        assert!(!is_reference("x{vault://env/a}"));
    }
}
