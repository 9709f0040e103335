//! Text to tokens.

/// A piece of an expression.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    Name(String),
    Number(f64),
    Text(Vec<u8>),
    /// An operator or bracket.
    Sign(&'static str),
}

const SIGNS: [&str; 26] = [
    "...", "..", "==", "~=", "<=", ">=", "<", ">", "+", "-", "*", "/", "%", "^", "#", "(", ")",
    "[", "]", ".", ":", ",", ";", "{", "}", "=",
];

/// # Errors
///
/// What is no token.
pub(super) fn tokens(source: &str) -> Result<Vec<Token>, String> {
    let mut found = Vec::new();
    let mut rest = source;
    loop {
        rest = rest.trim_start();
        let Some(first) = rest.chars().next() else { return Ok(found) };
        if first.is_ascii_alphabetic() || first == '_' {
            let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
            let (name, after) = rest.split_at(end.unwrap_or(rest.len()));
            found.push(Token::Name(name.to_owned()));
            rest = after;
        } else if first.is_ascii_digit()
            || first == '.' && rest[1..].starts_with(|c: char| c.is_ascii_digit())
        {
            let (number, after) = number(rest)?;
            found.push(Token::Number(number));
            rest = after;
        } else if first == '"' || first == '\'' {
            let (text, after) = quoted(&rest[1..], first)?;
            found.push(Token::Text(text));
            rest = after;
        } else if let Some(long) = rest.strip_prefix("[[") {
            let (text, after) = long.split_once("]]").ok_or("unfinished long string")?;
            let text = text.strip_prefix('\n').unwrap_or(text);
            found.push(Token::Text(text.as_bytes().to_vec()));
            rest = after;
        } else {
            let sign = SIGNS.iter().find(|sign| rest.starts_with(**sign));
            let sign = sign.ok_or_else(|| format!("unexpected symbol near '{first}'"))?;
            found.push(Token::Sign(sign));
            rest = &rest[sign.len()..];
        }
    }
}

fn number(text: &str) -> Result<(f64, &str), String> {
    let malformed = |text: &str| format!("malformed number near '{text}'");
    if let Some(digits) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        let end = digits.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(digits.len());
        let value = u32::from_str_radix(&digits[..end], 16).map_err(|_| malformed(text))?;
        return Ok((value.into(), &digits[end..]));
    }
    let mut end = 0;
    let bytes = text.as_bytes();
    while end < bytes.len() {
        let exponent = end > 0 && matches!(bytes[end - 1], b'e' | b'E');
        match bytes[end] {
            b'+' | b'-' if exponent => end += 1,
            // Two dots are an operator, not a number's.
            b'.' if text[end..].starts_with("..") => break,
            b'.' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => end += 1,
            _ => break,
        }
    }
    let value = text[..end].parse().map_err(|_| malformed(&text[..end]))?;
    Ok((value, &text[end..]))
}

fn quoted(text: &str, quote: char) -> Result<(Vec<u8>, &str), String> {
    let mut bytes = Vec::new();
    let mut rest = text.chars();
    loop {
        match rest.next() {
            None | Some('\n') => return Err("unfinished string".into()),
            Some(c) if c == quote => return Ok((bytes, rest.as_str())),
            Some('\\') => {
                let after = rest.as_str();
                let digits = after.bytes().take(3).take_while(u8::is_ascii_digit).count();
                if digits > 0 {
                    let byte = after[..digits].parse().map_err(|_| "escape sequence too large")?;
                    bytes.push(byte);
                    rest = after[digits..].chars();
                    continue;
                }
                bytes.push(match rest.next() {
                    Some('n' | '\n') => b'\n',
                    Some('t') => b'\t',
                    Some('r') => b'\r',
                    Some('a') => 7,
                    Some('b') => 8,
                    Some('f') => 12,
                    Some('v') => 11,
                    Some(c @ ('\\' | '"' | '\'')) => c as u8,
                    _ => return Err("invalid escape sequence".into()),
                });
            }
            Some(c) => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}
