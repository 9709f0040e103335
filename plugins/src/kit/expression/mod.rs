//! Lua expressions without Lua: the part of the language that templates of Kong's configurations use.
//!
//! An [`Expression`] is parsed once, when a configuration is built, and evaluated on requests. There
//! are constants, the operators, indexing, `:method()` of texts, and functions written in place;
//! the only names are those of [`Global`]. Everything else is refused with a text that says so.
//!
//! Absent from here: statements, table constructors, loops: what makes a program run for long.

mod evaluate;
mod lex;
mod methods;
mod parse;
mod pattern;

#[cfg(test)]
mod tests;

pub(crate) use evaluate::Scope;
pub(crate) use methods::Method;
pub(crate) use parse::parse;

/// A name an expression may use (kong/plugins/request-transformer/access.lua).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Global {
    /// Headers of the request.
    Headers,
    /// Arguments of the query.
    QueryParams,
    /// Captures of the route's path.
    UriCaptures,
    /// What plugins share during a request.
    Shared,
}

/// A value of Lua.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Nil,
    Boolean(bool),
    Number(f64),
    Text(Vec<u8>),
    /// Several values of one name, counted from 1.
    List(Vec<Value>),
    /// What a name stands for.
    Table(Global),
    /// Members by name.
    Object(serde_json::Map<String, serde_json::Value>),
}

/// A parsed expression.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Expression {
    Constant(Value),
    Global(Global),
    Index(Box<Expression>, Box<Expression>),
    Method(Box<Expression>, Method, Vec<Expression>),
    /// A function written in place and called at once: `(function() return x end)()`.
    Call(Box<Expression>),
    Function(Box<Expression>),
    Not(Box<Expression>),
    Negate(Box<Expression>),
    Length(Box<Expression>),
    And(Box<Expression>, Box<Expression>),
    Or(Box<Expression>, Box<Expression>),
    Binary(Operator, Box<Expression>, Box<Expression>),
}

/// An operator that needs both its sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Power,
    Concat,
    Equal,
    Different,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Value {
    pub(crate) fn text(text: impl Into<Vec<u8>>) -> Self {
        Self::Text(text.into())
    }

    /// Everything but nil and false.
    pub(crate) const fn is_true(&self) -> bool {
        !matches!(self, Self::Nil | Self::Boolean(false))
    }

    /// The name of its type, as Lua's errors tell it.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Nil => "nil",
            Self::Boolean(_) => "boolean",
            Self::Number(_) => "number",
            Self::Text(_) => "string",
            Self::List(_) | Self::Table(_) | Self::Object(_) => "table",
        }
    }

    /// As Lua prints it; none for tables, whose text would be an address.
    pub(crate) fn print(&self) -> Option<Vec<u8>> {
        match self {
            Self::Nil => Some(b"nil".to_vec()),
            Self::Boolean(flag) => Some(flag.to_string().into_bytes()),
            Self::Number(number) => Some(number_text(*number).into_bytes()),
            Self::Text(text) => Some(text.clone()),
            Self::List(_) | Self::Table(_) | Self::Object(_) => None,
        }
    }
}

impl From<&serde_json::Value> for Value {
    fn from(value: &serde_json::Value) -> Self {
        match value {
            serde_json::Value::Null => Self::Nil,
            serde_json::Value::Bool(flag) => Self::Boolean(*flag),
            serde_json::Value::Number(number) => Self::Number(number.as_f64().unwrap_or(f64::NAN)),
            serde_json::Value::String(text) => Self::text(text.as_str()),
            serde_json::Value::Array(list) => Self::List(list.iter().map(Self::from).collect()),
            serde_json::Value::Object(map) => Self::Object(map.clone()),
        }
    }
}

/// Lua's `%.14g`, for the numbers templates meet: whole ones without a point.
pub(crate) fn number_text(number: f64) -> String {
    if number.is_nan() {
        return "nan".into();
    }
    if number.is_infinite() {
        return if number > 0.0 { "inf".into() } else { "-inf".into() };
    }
    if number.fract() == 0.0 && number.abs() < 1e15 {
        return format!("{number:.0}");
    }
    let scientific = format!("{number:.13e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-5..15).contains(&exponent) {
        let places = usize::try_from(13 - exponent).unwrap_or(0);
        let plain = format!("{number:.places$}");
        return trimmed(&plain).to_owned();
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{}e{sign}{:02}", trimmed(digits), exponent.abs())
}

fn trimmed(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}
