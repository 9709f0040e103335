//! [`Rule`]: one condition on one value, with Kong's text for breaking it.

use std::fmt;
use std::sync::Arc;

use regex::Regex;
use serde_json::Value;

use crate::Id;

/// One condition on one value.
#[derive(Clone, Debug)]
pub enum Rule {
    /// Equal to this; null means "must not be set".
    Eq(Value),
    /// Different from this.
    Ne(Value),
    /// Not one of these.
    NotOneOf(Vec<Value>),
    /// One of these.
    OneOf(Vec<Value>),
    /// Greater than.
    Gt(f64),
    /// A UUID.
    Uuid,
    /// Within these bounds, both included.
    Between(f64, f64),
    /// Exactly so many elements or characters.
    LenEq(usize),
    /// At least so many.
    LenMin(usize),
    /// At most so many.
    LenMax(usize),
    /// Matches the pattern.
    Match(Regex),
    /// None of the patterns; each has its own text.
    MatchNone(Vec<(Regex, &'static str)>),
    /// Any of the patterns.
    MatchAny(Vec<Regex>, &'static str),
    /// All of the patterns; each has its own text.
    MatchAll(Vec<(Regex, &'static str)>),
    /// Begins with.
    StartsWith(&'static str),
    /// A list that holds this value.
    Contains(Value),
    /// Elements come from one of these sets only.
    ExclusiveSubsets(&'static [&'static [&'static str]]),
    /// Must be set (in conditional checks).
    Required,
    /// A rule in code.
    Custom {
        /// For `/schemas` and documentation.
        name: &'static str,
        /// Gives the text when the value is refused.
        check: fn(&Value) -> Result<(), String>,
    },
    /// A rule made while the process starts, of a schema that is a file.
    Made(MadeRule),
}

/// A rule made while the process starts.
#[derive(Clone)]
pub struct MadeRule {
    /// The attribute `/schemas` shows, and its value; none is shown for code.
    pub shown: Option<(&'static str, Value)>,
    /// Gives the text when the value is refused.
    pub check: Arc<JudgeValue>,
}

/// Gives the text when a value is refused.
pub type JudgeValue = dyn Fn(&Value) -> Result<(), String> + Send + Sync;

impl fmt::Debug for MadeRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MadeRule({:?})", self.shown)
    }
}

impl Rule {
    /// [`Rule::Match`] of a pattern written in the program.
    ///
    /// # Panics
    ///
    /// When the pattern does not compile: a mistake in this program, met by any test that builds
    /// the schema.
    pub fn matching(pattern: &'static str) -> Self {
        Self::Match(compile(pattern))
    }

    /// [`Rule::MatchNone`] of patterns written in the program; panics as [`Rule::matching`] does.
    pub fn match_none(rows: &[(&'static str, &'static str)]) -> Self {
        Self::MatchNone(rows.iter().map(|(pattern, text)| (compile(pattern), *text)).collect())
    }

    /// [`Rule::MatchAll`] of patterns written in the program; panics as [`Rule::matching`] does.
    pub fn match_all(rows: &[(&'static str, &'static str)]) -> Self {
        Self::MatchAll(rows.iter().map(|(pattern, text)| (compile(pattern), *text)).collect())
    }

    /// [`Rule::MatchAny`] of patterns written in the program; panics as [`Rule::matching`] does.
    pub fn match_any(patterns: &[&'static str], text: &'static str) -> Self {
        Self::MatchAny(patterns.iter().map(|pattern| compile(pattern)).collect(), text)
    }

    /// Checks a value that is not null.
    ///
    /// # Errors
    ///
    /// Kong's text for the broken rule.
    pub fn check(&self, value: &Value) -> Result<(), String> {
        let (holds, text): (bool, String) = match self {
            Self::Eq(Value::Null) => (value.is_null(), "value must be null".into()),
            Self::Eq(wanted) => (same(value, wanted), format!("value must be {}", bare(wanted))),
            Self::Ne(other) => (!same(value, other), format!("value must not be {}", bare(other))),
            Self::OneOf(list) => (
                list.iter().any(|one| same(value, one)),
                format!("expected one of: {}", join(list)),
            ),
            Self::NotOneOf(list) => (
                !list.iter().any(|one| same(value, one)),
                format!("must not be one of: {}", join(list)),
            ),
            Self::Gt(low) => (
                value.as_f64().is_none_or(|n| n > *low),
                format!("value must be greater than {low}"),
            ),
            Self::Between(low, high) => (
                value.as_f64().is_none_or(|n| (*low..=*high).contains(&n)),
                format!("value should be between {low} and {high}"),
            ),
            Self::Uuid => (
                value.as_str().is_some_and(|text| Id::parse(text).is_some()),
                "expected a valid UUID".into(),
            ),
            Self::LenEq(n) => (length(value) == *n, format!("length must be {n}")),
            Self::LenMin(n) => (length(value) >= *n, format!("length must be at least {n}")),
            Self::LenMax(n) => (length(value) <= *n, format!("length must be at most {n}")),
            Self::Match(pattern) => {
                (matches(pattern, value), format!("invalid value: {}", bare(value)))
            }
            Self::MatchNone(rows) => {
                let broken = rows.iter().find(|(pattern, _)| matches(pattern, value));
                (broken.is_none(), broken.map_or(String::new(), |(_, text)| (*text).into()))
            }
            Self::MatchAll(rows) => {
                let broken = rows.iter().find(|(pattern, _)| !matches(pattern, value));
                (broken.is_none(), broken.map_or(String::new(), |(_, text)| (*text).into()))
            }
            Self::MatchAny(patterns, text) => {
                (patterns.iter().any(|pattern| matches(pattern, value)), (*text).into())
            }
            Self::StartsWith(prefix) => (
                value.as_str().is_some_and(|text| text.starts_with(prefix)),
                format!("should start with: {prefix}"),
            ),
            Self::Contains(wanted) => (
                value.as_array().is_some_and(|list| list.iter().any(|one| same(one, wanted))),
                format!("expected to contain: {}", bare(wanted)),
            ),
            Self::ExclusiveSubsets(sets) => return exclusive(sets, value),
            Self::Required => (!value.is_null(), "required field missing".into()),
            Self::Custom { check, .. } => return check(value),
            Self::Made(rule) => return (rule.check)(value),
        };
        if holds { Ok(()) } else { Err(text) }
    }
}

fn compile(pattern: &str) -> Regex {
    Regex::new(pattern).expect("a pattern written in this program compiles")
}

fn matches(pattern: &Regex, value: &Value) -> bool {
    value.as_str().is_some_and(|text| pattern.is_match(text))
}

fn length(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(list) => list.len(),
        Value::Object(map) => map.len(),
        _ => 0,
    }
}

/// Equality as Lua sees it: `5` and `5.0` are the same number.
fn same(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a == b,
        _ => a == b,
    }
}

fn bare(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn join(list: &[Value]) -> String {
    list.iter().map(bare).collect::<Vec<_>>().join(", ")
}

fn exclusive(sets: &[&[&str]], value: &Value) -> Result<(), String> {
    let elements: Vec<&str> =
        value.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let touched: Vec<&&[&str]> =
        sets.iter().filter(|set| elements.iter().any(|element| set.contains(element))).collect();
    if touched.len() <= 1 {
        return Ok(());
    }
    let shown: Vec<String> =
        touched.iter().map(|set| format!("('{}')", set.join("', '"))).collect();
    Err(format!("these sets are mutually exclusive: {}", shown.join(", ")))
}
