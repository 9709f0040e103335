//! [`Template`]: text with `$( … )` in it, as penlight's templates have it.
//!
//! What stands in the parentheses is an [`Expression`]; nil and false print nothing. Parentheses
//! without a partner are text like any other.

use super::expression::{Expression, Scope, Value, parse};

/// A prepared text.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Template(Vec<Piece>);

#[derive(Clone, Debug, PartialEq)]
enum Piece {
    Text(Box<[u8]>),
    Expression(Expression),
}

impl Template {
    /// # Errors
    ///
    /// What is in a pair of parentheses and no expression that could be had.
    pub(crate) fn parse(source: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let (mut text_from, mut at) = (0, 0);
        while let Some(dollar) = source[at..].find("$(").map(|found| at + found) {
            let Some(length) = balanced(&source[dollar + 1..]) else {
                at = dollar + 2;
                continue;
            };
            if text_from < dollar {
                pieces.push(Piece::Text(source.as_bytes()[text_from..dollar].into()));
            }
            let inner = &source[dollar + 2..dollar + length];
            pieces.push(Piece::Expression(
                parse(inner).map_err(|why| format!("{why} in '{inner}'"))?,
            ));
            at = dollar + 1 + length;
            text_from = at;
        }
        if text_from < source.len() {
            pieces.push(Piece::Text(source.as_bytes()[text_from..].into()));
        }
        Ok(Self(pieces))
    }

    /// # Errors
    ///
    /// What Lua would fail with.
    pub(crate) fn render(&self, scope: &dyn Scope) -> Result<Vec<u8>, String> {
        let mut made = Vec::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => made.extend_from_slice(text),
                Piece::Expression(expression) => match expression.evaluate(scope)? {
                    Value::Nil | Value::Boolean(false) => {}
                    value => made.extend(value.print().ok_or("a table cannot be printed")?),
                },
            }
        }
        Ok(made)
    }

    /// The text of a template without expressions.
    pub(crate) fn fixed(&self) -> Option<&[u8]> {
        match self.0.as_slice() {
            [] => Some(b""),
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }
}

/// The length of the parentheses a text begins with, both included.
fn balanced(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'(' => depth += 1,
            b')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(at + 1);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::super::expression::{Global, Scope, Value};
    use super::Template;

    struct Nothing;

    impl Scope for Nothing {
        fn member(&self, _: Global, key: &Value) -> Value {
            if *key == Value::text("x") { Value::text("X") } else { Value::Nil }
        }
    }

    #[test]
    fn text_around_expressions_is_kept() {
        let check = |source: &str, wanted: &str| {
            let made = Template::parse(source).unwrap().render(&Nothing).unwrap();
            assert_eq!(String::from_utf8(made).unwrap(), wanted, "{source}");
        };
        check("", "");
        check("plain $5 (text)", "plain $5 (text)");
        check("pre-$(headers.x)-post", "pre-X-post");
        check("$(headers.x)$(headers.x)", "XX");
        check("a$(headers.none)b$(false)c", "abc");
        check("$(headers.x or (\"y\"))", "X");
        check("x:$(bad syntax", "x:$(bad syntax");
        check("$(1 + 1)", "2");
        assert_eq!(Template::parse("a:b").unwrap().fixed(), Some(&b"a:b"[..]));
        assert_eq!(Template::parse("$(1)").unwrap().fixed(), None);
    }

    #[test]
    fn what_cannot_be_had_is_told() {
        let refused = Template::parse("a $(foo()) b").err().unwrap();
        assert!(refused.starts_with("unknown name 'foo'") && refused.ends_with("in 'foo()'"));
        let failed = Template::parse("$(headers)").unwrap().render(&Nothing);
        assert_eq!(failed.err().as_deref(), Some("a table cannot be printed"));
    }
}
