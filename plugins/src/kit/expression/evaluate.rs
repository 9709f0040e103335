//! [`Expression`] to [`Value`].

use super::{Expression, Global, Operator, Value, number_text};

/// Where the names of an expression come from.
pub(crate) trait Scope {
    /// A member of a table; nil when there is none.
    fn member(&self, table: Global, key: &Value) -> Value;
}

/// The longest text an expression may make, bytes.
pub(super) const LONGEST: usize = 64 * 1024;

impl Expression {
    /// # Errors
    ///
    /// What Lua would fail with.
    pub(crate) fn evaluate(&self, scope: &dyn Scope) -> Result<Value, String> {
        Ok(match self {
            Self::Constant(value) => value.clone(),
            Self::Global(global) => Value::Table(*global),
            Self::Index(table, key) => {
                let (table, key) = (table.evaluate(scope)?, key.evaluate(scope)?);
                index(&table, &key, scope)?
            }
            Self::Method(on, method, arguments) => {
                let on = match on.evaluate(scope)? {
                    Value::Text(text) => text,
                    Value::Number(number) => number_text(number).into_bytes(),
                    other => return Err(format!("attempt to index a {} value", other.kind())),
                };
                let arguments: Vec<Value> =
                    arguments.iter().map(|one| one.evaluate(scope)).collect::<Result<_, _>>()?;
                method.call(&on, &arguments)?
            }
            Self::Call(body) => body.evaluate(scope)?,
            Self::Function(_) => return Err("a function is no value here".into()),
            Self::Not(value) => Value::Boolean(!value.evaluate(scope)?.is_true()),
            Self::Negate(value) => Value::Number(-arithmetic(&value.evaluate(scope)?)?),
            Self::Length(value) => match value.evaluate(scope)? {
                Value::Text(text) => number(text.len()),
                Value::List(list) => number(list.len()),
                Value::Object(_) | Value::Table(_) => Value::Number(0.0),
                other => return Err(format!("attempt to get length of a {} value", other.kind())),
            },
            Self::And(left, right) => match left.evaluate(scope)? {
                left if left.is_true() => right.evaluate(scope)?,
                left => left,
            },
            Self::Or(left, right) => match left.evaluate(scope)? {
                left if left.is_true() => left,
                _ => right.evaluate(scope)?,
            },
            Self::Binary(operator, left, right) => {
                operator.apply(&left.evaluate(scope)?, &right.evaluate(scope)?)?
            }
        })
    }
}

#[expect(clippy::cast_precision_loss, reason = "lengths of texts in memory")]
pub(super) fn number(n: usize) -> Value {
    Value::Number(n as f64)
}

fn index(table: &Value, key: &Value, scope: &dyn Scope) -> Result<Value, String> {
    match table {
        Value::Table(table) => Ok(scope.member(*table, key)),
        Value::List(list) => Ok(match key {
            Value::Number(at) if *at >= 1.0 && at.fract() == 0.0 => {
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "≥ 1")]
                let at = *at as usize;
                list.get(at - 1).cloned().unwrap_or(Value::Nil)
            }
            _ => Value::Nil,
        }),
        Value::Object(map) => Ok(match key {
            Value::Text(name) => std::str::from_utf8(name)
                .ok()
                .and_then(|name| map.get(name))
                .map_or(Value::Nil, Value::from),
            _ => Value::Nil,
        }),
        // Texts have methods, which are called and never read.
        Value::Text(_) => Ok(Value::Nil),
        other => Err(format!("attempt to index a {} value", other.kind())),
    }
}

/// A number, or a text that is one.
pub(super) fn arithmetic(value: &Value) -> Result<f64, String> {
    let parsed = match value {
        Value::Number(number) => Some(*number),
        Value::Text(text) => {
            std::str::from_utf8(text).ok().and_then(|text| text.trim().parse().ok())
        }
        _ => None,
    };
    parsed.ok_or_else(|| format!("attempt to perform arithmetic on a {} value", value.kind()))
}

fn concatenable(value: &Value) -> Result<Vec<u8>, String> {
    match value {
        Value::Text(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number_text(*number).into_bytes()),
        other => Err(format!("attempt to concatenate a {} value", other.kind())),
    }
}

impl Operator {
    fn apply(self, left: &Value, right: &Value) -> Result<Value, String> {
        let calculated = |calculate: fn(f64, f64) -> f64| {
            Ok(Value::Number(calculate(arithmetic(left)?, arithmetic(right)?)))
        };
        match self {
            Self::Add => calculated(|a, b| a + b),
            Self::Subtract => calculated(|a, b| a - b),
            Self::Multiply => calculated(|a, b| a * b),
            Self::Divide => calculated(|a, b| a / b),
            Self::Modulo => calculated(|a, b| a - (a / b).floor() * b),
            Self::Power => calculated(f64::powf),
            Self::Concat => {
                let mut text = concatenable(left)?;
                text.extend(concatenable(right)?);
                if text.len() > LONGEST {
                    return Err("the text is too long".into());
                }
                Ok(Value::Text(text))
            }
            Self::Equal => Ok(Value::Boolean(left == right)),
            Self::Different => Ok(Value::Boolean(left != right)),
            Self::Less => ordered(left, right, |order| order.is_lt()),
            Self::LessOrEqual => ordered(left, right, |order| order.is_le()),
            Self::Greater => ordered(left, right, |order| order.is_gt()),
            Self::GreaterOrEqual => ordered(left, right, |order| order.is_ge()),
        }
    }
}

fn ordered(
    left: &Value,
    right: &Value,
    holds: fn(std::cmp::Ordering) -> bool,
) -> Result<Value, String> {
    let order = match (left, right) {
        (Value::Number(a), Value::Number(b)) => a.partial_cmp(b),
        (Value::Text(a), Value::Text(b)) => Some(a.cmp(b)),
        _ => {
            return Err(format!("attempt to compare {} with {}", left.kind(), right.kind()));
        }
    };
    Ok(Value::Boolean(order.is_some_and(holds)))
}
