//! [`Expression`]: the language routes may be written in (`router_flavor = expressions`).
//!
//! The words are parsed by Kong's own parser, so what is refused, and with which text, is Kong's
//! too. What this module adds is a bound on nesting and length, without which a text could exhaust
//! the stack, and a form that is easily walked. Evaluating is the data plane's.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::LazyLock;

use atc_router::ast::{self, LogicalExpression, Type};
use atc_router::schema::Schema;
use atc_router::semantics::Validate as _;
use ipnet::IpNet;
use regex::Regex;

/// An expression that is well-formed and speaks of fields that exist.
#[derive(Clone, Debug)]
pub enum Expression {
    /// Each holds (`&&`).
    All(Vec<Self>),
    /// One holds (`||`).
    Any(Vec<Self>),
    /// It does not hold (`!`).
    Not(Box<Self>),
    /// A comparison.
    Test(Test),
}

/// A field compared with a value.
#[derive(Clone, Debug)]
pub struct Test {
    /// `http.path`.
    pub field: String,
    /// Whether the field is taken in lower case (`lower()`).
    pub lower: bool,
    /// Whether one of several values of the field suffices (`any()`); else all must fit.
    pub any: bool,
    /// How they are compared.
    pub operator: Operator,
    /// What the field is compared with. Its kind fits the operator.
    pub operand: Operand,
}

/// How a field is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is named as what it does")]
pub enum Operator {
    Equals,
    NotEquals,
    Matches,
    BeginsWith,
    EndsWith,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
    In,
    NotIn,
    Contains,
}

/// What a field is compared with.
#[derive(Clone, Debug)]
pub enum Operand {
    /// Text.
    Text(String),
    /// For [`Operator::Matches`]; not anchored.
    Regex(Regex),
    /// A number.
    Number(i64),
    /// An address.
    Address(IpAddr),
    /// A range, for [`Operator::In`] and [`Operator::NotIn`].
    Range(IpNet),
}

/// What an expression is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// HTTP requests.
    Requests,
    /// Streams.
    Streams,
}

/// Our own: Kong has no bounds.
const DEEPEST: usize = 64;
const MOST_OPERATORS: usize = 1_000;

impl Expression {
    /// Reads an expression.
    ///
    /// # Errors
    ///
    /// Kong's text of what is wrong.
    pub fn parse(text: &str, subject: Subject) -> Result<Self, String> {
        let text = tame(text)?;
        let parsed = atc_router::parser::parse(&text).map_err(|why| why.to_string())?;
        let schema = match subject {
            Subject::Requests => &REQUESTS,
            Subject::Streams => &STREAMS,
        };
        parsed.validate(&schema.0)?;
        convert(parsed)
    }
}

/// The fields there are (kong/router/fields.lua). Only ever read.
struct Fields(Schema);

static REQUESTS: LazyLock<Fields> = LazyLock::new(|| {
    let mut fields = STREAM_FIELDS.to_vec();
    fields.extend([
        ("http.method", 's'),
        ("http.host", 's'),
        ("http.path", 's'),
        ("http.path.segments.*", 's'),
        ("http.path.segments.len", 'n'),
        ("http.headers.*", 's'),
        ("http.queries.*", 's'),
    ]);
    Fields::new(&fields)
});
static STREAMS: LazyLock<Fields> = LazyLock::new(|| Fields::new(STREAM_FIELDS));

const STREAM_FIELDS: &[(&str, char)] = &[
    ("net.protocol", 's'),
    ("tls.sni", 's'),
    ("net.src.port", 'n'),
    ("net.dst.port", 'n'),
    ("net.src.ip", 'a'),
    ("net.dst.ip", 'a'),
];

impl Fields {
    fn new(fields: &[(&str, char)]) -> Self {
        let mut schema = Schema::default();
        for (name, kind) in fields {
            let kind = match kind {
                's' => Type::String,
                'n' => Type::Int,
                _ => Type::IpAddr,
            };
            schema.add_field(name, kind);
        }
        Self(schema)
    }
}

/// Refuses what nests too deep or is too long, and brings `not in` and the deprecated `net.port`
/// into the one spelling the parser takes. Text in quotes is left alone.
fn tame(text: &str) -> Result<Cow<'_, str>, String> {
    let mut tamed = String::with_capacity(text.len());
    let (mut depth, mut deepest, mut operators) = (0_usize, 0, 0);
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let taken = match first {
            '"' => quoted(rest),
            'r' if rest.starts_with("r#\"") && !follows_word(&tamed) => {
                rest[3..].find("\"#").map_or(rest.len(), |end| end + 5)
            }
            'n' if !follows_word(&tamed) => {
                if let Some(length) = not_in(rest) {
                    tamed.push_str("not in");
                    rest = &rest[length..];
                    continue;
                }
                if let Some(length) = net_port(rest) {
                    tamed.push_str("net.dst.port");
                    rest = &rest[length..];
                    continue;
                }
                1
            }
            '(' => {
                depth += 1;
                deepest = deepest.max(depth);
                1
            }
            ')' => {
                depth = depth.saturating_sub(1);
                1
            }
            '&' | '|' => {
                operators += 1;
                1
            }
            _ => first.len_utf8(),
        };
        tamed.push_str(&rest[..taken]);
        rest = &rest[taken..];
    }
    if deepest > DEEPEST || operators > 2 * MOST_OPERATORS {
        return Err(format!(
            "expression is too complex: more than {DEEPEST} nested parentheses or {MOST_OPERATORS} operators"
        ));
    }
    Ok(if tamed == text { Cow::Borrowed(text) } else { Cow::Owned(tamed) })
}

/// The length of a text in quotes that `rest` begins with.
fn quoted(rest: &str) -> usize {
    let mut escaped = false;
    for (at, letter) in rest.char_indices().skip(1) {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

fn is_word(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '_' || letter == '.'
}

fn follows_word(before: &str) -> bool {
    before.chars().next_back().is_some_and(is_word)
}

/// The parser takes any blanks between the two words, or none, but understands only one.
fn not_in(rest: &str) -> Option<usize> {
    let after = rest.strip_prefix("not")?;
    let blanks = after.len() - after.trim_start_matches([' ', '\t', '\r', '\n']).len();
    after[blanks..].starts_with("in").then_some(3 + blanks + 2)
}

/// `net.port`, where it is compared, means the port connected to
/// (kong/router/transform.lua, amending_expression).
fn net_port(rest: &str) -> Option<usize> {
    let after = rest.strip_prefix("net.port")?;
    let compared = after.trim_start().starts_with(['=', '<', '>', '!']);
    compared.then_some("net.port".len())
}

fn convert(parsed: ast::Expression) -> Result<Expression, String> {
    match parsed {
        ast::Expression::Predicate(predicate) => test(predicate).map(Expression::Test),
        ast::Expression::Logical(logical) => match *logical {
            LogicalExpression::Not(inner) => Ok(Expression::Not(Box::new(convert(inner)?))),
            LogicalExpression::And(first, last) => chain(first, last, true).map(Expression::All),
            LogicalExpression::Or(first, last) => chain(first, last, false).map(Expression::Any),
        },
    }
}

/// The members of `a && b && c`, which lean to the left, in order.
fn chain(
    mut first: ast::Expression,
    last: ast::Expression,
    and: bool,
) -> Result<Vec<Expression>, String> {
    let mut members = vec![convert(last)?];
    loop {
        first = match first {
            ast::Expression::Logical(logical) => match (*logical, and) {
                (LogicalExpression::And(left, right), true)
                | (LogicalExpression::Or(left, right), false) => {
                    members.push(convert(right)?);
                    left
                }
                (other, _) => {
                    members.push(convert(ast::Expression::Logical(Box::new(other)))?);
                    break;
                }
            },
            predicate @ ast::Expression::Predicate(_) => {
                members.push(convert(predicate)?);
                break;
            }
        };
    }
    members.reverse();
    Ok(members)
}

fn test(predicate: ast::Predicate) -> Result<Test, String> {
    let (lower, any) = predicate.lhs.get_transformations();
    let field = predicate.lhs.var_name;
    if let Some(range) = field.strip_prefix("http.path.segments.")
        && !is_segments(range)
    {
        return Err("illformed http.path.segments.* field".into());
    }
    Ok(Test {
        field,
        lower,
        any,
        operator: match predicate.op {
            ast::BinaryOperator::Equals => Operator::Equals,
            ast::BinaryOperator::NotEquals => Operator::NotEquals,
            ast::BinaryOperator::Regex => Operator::Matches,
            ast::BinaryOperator::Prefix => Operator::BeginsWith,
            ast::BinaryOperator::Postfix => Operator::EndsWith,
            ast::BinaryOperator::Greater => Operator::Greater,
            ast::BinaryOperator::GreaterOrEqual => Operator::GreaterOrEqual,
            ast::BinaryOperator::Less => Operator::Less,
            ast::BinaryOperator::LessOrEqual => Operator::LessOrEqual,
            ast::BinaryOperator::In => Operator::In,
            ast::BinaryOperator::NotIn => Operator::NotIn,
            ast::BinaryOperator::Contains => Operator::Contains,
        },
        operand: match predicate.rhs {
            ast::Value::String(text) => Operand::Text(text),
            ast::Value::Regex(regex) => Operand::Regex(regex),
            ast::Value::Int(number) => Operand::Number(number),
            ast::Value::IpAddr(address) => Operand::Address(address),
            ast::Value::IpCidr(range) => {
                // A range of one address is written without its length.
                let text = range.to_string();
                let single = text.parse::<IpAddr>().ok().map(IpNet::from);
                let range = single.or_else(|| text.parse().ok());
                range.map(Operand::Range).ok_or("In/NotIn operators only supports IP in CIDR")?
            }
        },
    })
}

/// `len`, a position, or a first and a later one (`0_2`), without needless zeros.
fn is_segments(range: &str) -> bool {
    let position = |text: &str| {
        let plain = text == "0" || !text.starts_with('0');
        (plain && text.bytes().all(|byte| byte.is_ascii_digit()))
            .then(|| text.parse::<u32>().ok())?
    };
    match range.split_once('_') {
        _ if range == "len" => true,
        None => position(range).is_some(),
        Some((first, last)) => position(first).zip(position(last)).is_some_and(|(a, b)| a < b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        Expression::parse(text, Subject::Requests).expect_err(text)
    }

    #[test]
    fn what_is_taken() {
        for text in [
            r#"http.path ^= "/a""#,
            r##"http.path ~ r#"^/a/[0-9]+$"#"##,
            r#"any(lower(http.headers.x_a)) == "1" && !(net.src.ip in 10.0.0.0/8)"#,
            "net.src.ip not in 10.0.0.0/8",
            "net.src.ip not \t\n in 10.0.0.0/8 && net.src.ip notin fd00::/8",
            "net.port == 80 || net.dst.port >= 443",
            r#"http.path.segments.0 == "a" && http.path.segments.0_2 == "a/b/c""#,
            "http.path.segments.len < 3",
            r#"http.queries.not == "net.port == (((" && tls.sni =^ ".test""#,
            "net.src.ip in 10.0.0.1/32",
        ] {
            Expression::parse(text, Subject::Requests).expect(text);
        }
        Expression::parse(r#"tls.sni == "a" && net.dst.port == 1"#, Subject::Streams)
            .expect("taken");
    }

    #[test]
    fn what_is_refused() {
        for (text, wanted) in [
            (
                "http.path ==",
                " --> 1:13\n  |\n1 | http.path ==\n  |             ^---\n  |\n  = expected rhs",
            ),
            (r#"http.nope == "x""#, "Unknown LHS field"),
            ("http.path == 1", "Type mismatch between the LHS and RHS values of predicate"),
            (r#"http.path.segments.00 == "a""#, "illformed http.path.segments.* field"),
            (r#"http.path.segments.2_1 == "a""#, "illformed http.path.segments.* field"),
            (r#"http.path.segments.x == "a""#, "illformed http.path.segments.* field"),
        ] {
            assert_eq!(refusal(text), wanted, "{text}");
        }
        assert!(refusal(r#"http.path ~ "(""#).contains("unclosed group"));
        let streams = Expression::parse(r#"http.path == "/""#, Subject::Streams);
        assert_eq!(streams.expect_err("refused"), "Unknown LHS field");
    }

    #[test]
    fn a_text_cannot_exhaust_the_stack() {
        let deep = format!("{}net.dst.port == 1{}", "(".repeat(100_000), ")".repeat(100_000));
        let long = vec!["net.dst.port == 1"; 100_000].join(" || ");
        for text in [deep, "!(".repeat(100_000), "lower(".repeat(100_000), long] {
            assert!(refusal(&text).starts_with("expression is too complex"));
        }
        let most = vec!["net.dst.port == 1"; 1_000].join(" && ");
        Expression::parse(&most, Subject::Requests).expect("taken");
    }
}
