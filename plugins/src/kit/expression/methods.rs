//! [`Method`]: what texts can do.

use super::evaluate::{LONGEST, arithmetic, number};
use super::pattern::{Pattern, first};
use super::{Expression, Value, number_text};

/// A method of Lua's strings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Byte,
    Find,
    Gsub,
    Len,
    Lower,
    Match,
    Rep,
    Reverse,
    Sub,
    Upper,
}

impl Method {
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "byte" => Self::Byte,
            "find" => Self::Find,
            "gsub" => Self::Gsub,
            "len" => Self::Len,
            "lower" => Self::Lower,
            "match" => Self::Match,
            "rep" => Self::Rep,
            "reverse" => Self::Reverse,
            "sub" => Self::Sub,
            "upper" => Self::Upper,
            _ => return None,
        })
    }

    /// Refuses calls that could only fail.
    pub(super) fn check(self, arguments: &[Expression]) -> Result<(), String> {
        let needed = match self {
            Self::Find | Self::Match | Self::Rep | Self::Sub => 1,
            Self::Gsub => 2,
            Self::Byte | Self::Len | Self::Lower | Self::Reverse | Self::Upper => 0,
        };
        if arguments.len() < needed {
            return Err(format!("the method needs {needed} arguments, not {}", arguments.len()));
        }
        if let (Self::Gsub | Self::Match, Some(Expression::Constant(Value::Text(pattern)))) =
            (self, arguments.first())
        {
            Pattern::new(pattern)?;
        }
        if self == Self::Gsub && !matches!(arguments[1], Expression::Constant(Value::Text(_))) {
            return Err("the second argument of gsub must be a string".into());
        }
        Ok(())
    }

    pub(super) fn call(self, on: &[u8], arguments: &[Value]) -> Result<Value, String> {
        let given = |at: usize| arguments.get(at).unwrap_or(&Value::Nil);
        Ok(match self {
            Self::Len => number(on.len()),
            Self::Lower => Value::Text(on.to_ascii_lowercase()),
            Self::Upper => Value::Text(on.to_ascii_uppercase()),
            Self::Reverse => Value::Text(on.iter().rev().copied().collect()),
            Self::Rep => {
                let times = integer(given(0))?.unwrap_or(0);
                let times = usize::try_from(times).unwrap_or(0);
                if on.len().saturating_mul(times) > LONGEST {
                    return Err("the text is too long".into());
                }
                Value::Text(on.repeat(times))
            }
            Self::Sub => Value::Text(sub(on, given(0), given(1))?.to_vec()),
            Self::Byte => {
                let at = integer(given(0))?.unwrap_or(1);
                let at = Value::Number(at as f64);
                sub(on, &at, &at)?.first().map_or(Value::Nil, |byte| Value::Number((*byte).into()))
            }
            Self::Find => {
                let start = position(on.len(), integer(given(1))?.unwrap_or(1));
                if start > on.len() {
                    return Ok(Value::Nil);
                }
                let wanted = text(given(0))?;
                let found = if given(2).is_true() {
                    plain(&on[start..], &wanted).map(|at| start + at)
                } else {
                    Pattern::new(&wanted)?.find(on, start)?.map(|found| found.start)
                };
                found.map_or(Value::Nil, |at| number(at + 1))
            }
            Self::Match => {
                let start = position(on.len(), integer(given(1))?.unwrap_or(1));
                if start > on.len() {
                    return Ok(Value::Nil);
                }
                let source = text(given(0))?;
                let pattern = Pattern::new(&source)?;
                match pattern.find(on, start)? {
                    None => Value::Nil,
                    Some(found) => Value::Text(first(&found, on)),
                }
            }
            Self::Gsub => {
                let source = text(given(0))?;
                let pattern = Pattern::new(&source)?;
                let most = integer(given(2))?.map(|n| usize::try_from(n).unwrap_or(0));
                let replaced = pattern.replace(on, &text(given(1))?, most.unwrap_or(usize::MAX))?;
                if replaced.len() > LONGEST {
                    return Err("the text is too long".into());
                }
                Value::Text(replaced)
            }
        })
    }
}

fn text(value: &Value) -> Result<Vec<u8>, String> {
    match value {
        Value::Text(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number_text(*number).into_bytes()),
        other => Err(format!("bad argument (string expected, got {})", other.kind())),
    }
}

fn integer(value: &Value) -> Result<Option<i64>, String> {
    match value {
        Value::Nil => Ok(None),
        #[expect(clippy::cast_possible_truncation, reason = "saturates, as positions may")]
        other => Ok(Some(arithmetic(other)? as i64)),
    }
}

/// A position counted from 1, or from the end when it is negative, as an offset.
fn position(length: usize, at: i64) -> usize {
    let length = i64::try_from(length).unwrap_or(i64::MAX);
    let at = match at {
        0 => 0,
        at if at > 0 => at - 1,
        at => (length + at).max(0),
    };
    usize::try_from(at).unwrap_or(usize::MAX)
}

fn sub<'t>(on: &'t [u8], from: &Value, to: &Value) -> Result<&'t [u8], String> {
    let length = i64::try_from(on.len()).unwrap_or(i64::MAX);
    let counted = |at: i64| if at < 0 { length.saturating_add(at).saturating_add(1) } else { at };
    let from = counted(integer(from)?.unwrap_or(1)).max(1);
    let to = counted(integer(to)?.unwrap_or(-1)).min(length);
    if from > to {
        return Ok(b"");
    }
    let offset = |at: i64| usize::try_from(at).unwrap_or(0);
    Ok(&on[offset(from - 1)..offset(to)])
}

fn plain(text: &[u8], wanted: &[u8]) -> Option<usize> {
    if wanted.is_empty() {
        return Some(0);
    }
    text.windows(wanted.len()).position(|window| window == wanted)
}
