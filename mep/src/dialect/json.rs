//! JSON text as Go's `encoding/json` writes it: compact, without a trailing line feed, and with the
//! characters that HTML gives a meaning escaped.

use serde::Serialize;

/// The text of `value`, with `<`, `>`, `&` and the two Unicode line separators written as `\u…`.
///
/// # Errors
///
/// serde's, when a map has keys that are not strings.
pub fn to_string<T: Serialize + ?Sized>(value: &T) -> Result<String, serde_json::Error> {
    let plain = serde_json::to_string(value)?;
    let mut escaped = String::with_capacity(plain.len());
    // Outside of strings JSON has none of these characters.
    for character in plain.chars() {
        match character {
            '<' => escaped.push_str("\\u003c"),
            '>' => escaped.push_str("\\u003e"),
            '&' => escaped.push_str("\\u0026"),
            '\u{2028}' => escaped.push_str("\\u2028"),
            '\u{2029}' => escaped.push_str("\\u2029"),
            other => escaped.push(other),
        }
    }
    Ok(escaped)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn escapes() {
        let check = |value: serde_json::Value, text: &str| {
            assert_eq!(to_string(&value).unwrap(), text);
            assert_eq!(serde_json::from_str::<serde_json::Value>(text).unwrap(), value);
        };
        check("Bad auth header format".into(), r#""Bad auth header format""#);
        check("<QuerySeter> no row found".into(), r#""\u003cQuerySeter\u003e no row found""#);
        check("a&b\u{2028}\u{2029}".into(), r#""a\u0026b\u2028\u2029""#);
        check("\"\\\u{1}\n é 你".into(), r#""\"\\\u0001\n é 你""#);
        check(
            serde_json::json!({"b<": [1, "x>"], "a": null}),
            r#"{"b\u003c":[1,"x\u003e"],"a":null}"#,
        );
    }
}
