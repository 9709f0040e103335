//! The one statement of Lua that is understood: what upstreams get as `X-Forwarded-For`.

/// What the statement makes of the header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Assignment {
    /// `= nil`, or a name nobody defined, which is the same: the header is not sent.
    Nothing,
    /// `= "text"`: the header is this text.
    Text(String),
}

const VARIABLE: [&str; 5] = ["ngx", ".", "var", ".", "upstream_x_forwarded_for"];

/// Reads `ngx.var.upstream_x_forwarded_for = …`, with any blanks between its parts and one `;` after
/// it if need be. `None` is everything else.
pub(super) fn parse(chunk: &str) -> Option<Assignment> {
    let mut rest = chunk;
    for part in VARIABLE.into_iter().chain(["="]) {
        rest = rest.trim_start().strip_prefix(part)?;
    }
    let value = rest.trim();
    let value = value.strip_suffix(';').unwrap_or(value).trim_end();
    match value.chars().next()? {
        quote @ ('"' | '\'') => text(value, quote).map(Assignment::Text),
        _ => is_undefined(value).then_some(Assignment::Nothing),
    }
}

/// A quoted text. Escapes are not understood; a text with one is none.
fn text(value: &str, quote: char) -> Option<String> {
    let inner = value.strip_prefix(quote)?.strip_suffix(quote)?;
    let plain = |c: char| c != quote && c != '\\' && !c.is_control();
    inner.chars().all(plain).then(|| inner.to_owned())
}

/// Whether a name is nil to a chunk that is one statement: no keyword but `nil`, and nothing the
/// language or the gateway defines.
fn is_undefined(name: &str) -> bool {
    const KEYWORDS: &[&str] = &[
        "and", "break", "do", "else", "elseif", "end", "false", "for", "function", "goto", "if",
        "in", "local", "not", "or", "repeat", "return", "then", "true", "until", "while",
    ];
    const DEFINED: &[&str] = &[
        "_G",
        "_VERSION",
        "assert",
        "bit",
        "collectgarbage",
        "coroutine",
        "debug",
        "dofile",
        "error",
        "gcinfo",
        "getfenv",
        "getmetatable",
        "io",
        "ipairs",
        "jit",
        "kong",
        "load",
        "loadfile",
        "loadstring",
        "math",
        "module",
        "ndk",
        "newproxy",
        "next",
        "ngx",
        "os",
        "package",
        "pairs",
        "pcall",
        "print",
        "rawequal",
        "rawget",
        "rawlen",
        "rawset",
        "require",
        "select",
        "setfenv",
        "setmetatable",
        "string",
        "table",
        "tonumber",
        "tostring",
        "type",
        "unpack",
        "utf8",
        "xpcall",
    ];
    let mut letters = name.bytes();
    letters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && letters.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && !KEYWORDS.contains(&name)
        && !DEFINED.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::{Assignment, parse};

    fn check(chunk: &str, wanted: Option<Assignment>) {
        assert_eq!(parse(chunk), wanted, "{chunk}");
    }

    #[test]
    fn what_is_understood() {
        let nothing = Some(Assignment::Nothing);
        let text = |text: &str| Some(Assignment::Text(text.into()));
        check("ngx.var.upstream_x_forwarded_for=UNKNOWN", nothing.clone());
        check("\n ngx . var.upstream_x_forwarded_for =\tUNKNOWN ; ", nothing.clone());
        check("ngx.var.upstream_x_forwarded_for = nil", nothing);
        check("ngx.var.upstream_x_forwarded_for = '1.2.3.4'", text("1.2.3.4"));
        check("ngx.var.upstream_x_forwarded_for = \"\";", text(""));
    }

    #[test]
    fn what_is_not() {
        for chunk in [
            "",
            "ngx.var.upstream_x_forwarded_for",
            "ngx.var.upstream_x_forwarded_for=",
            "ngx.var.upstream_x_forwarded_for=;",
            "ngx.var.upstream_x_forwarded_for == UNKNOWN",
            "ngx.var.upstream_x_forwarded_for = UNKNOWN;;",
            "ngx.var.upstream_x_forwarded_for = UNKNOWN os.exit()",
            "ngx.var.upstream_x_forwarded_for = UNKNOWN -- why",
            "ngx.var.upstream_x_forwarded_for = kong",
            "ngx.var.upstream_x_forwarded_for = true",
            "ngx.var.upstream_x_forwarded_for = 7",
            "ngx.var.upstream_x_forwarded_for = f()",
            "ngx.var.upstream_x_forwarded_for = 'a' .. 'b'",
            "ngx.var.upstream_x_forwarded_for = 'a",
            "ngx.var.upstream_x_forwarded_for = 'a\\n'",
            "ngx.var.upstream_x_forwarded_for = '",
            "ngx.var.upstream_x_forwarded_for2 = UNKNOWN",
            "ngx.var.upstream_host = UNKNOWN",
            "kong.service.request.set_header('X-PF', 'yes')",
        ] {
            check(chunk, None);
        }
    }
}
