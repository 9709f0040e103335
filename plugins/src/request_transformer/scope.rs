//! [`RequestScope`]: what templates see of a request.

use pingora_http::RequestHeader;

use crate::contract::Facts;
use crate::kit::expression::{Global, Scope, Value};
use crate::kit::query::arguments;

/// The request as it came.
pub(super) struct RequestScope<'r> {
    pub(super) head: &'r RequestHeader,
    pub(super) facts: &'r Facts,
}

impl Scope for RequestScope<'_> {
    fn member(&self, table: Global, key: &Value) -> Value {
        match (table, key) {
            (Global::Headers, Value::Text(name)) => self.header(name),
            (Global::QueryParams, Value::Text(name)) => self.query(name),
            (Global::UriCaptures, Value::Text(name)) => {
                let named = std::str::from_utf8(name).ok();
                named.and_then(|name| self.facts.captures.get(name)).map_or(Value::Nil, text)
            }
            (Global::UriCaptures, Value::Number(at)) => {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "saturates"
                )]
                let at = *at as usize;
                self.facts.captures.numbered.get(at).map_or(Value::Nil, |found| text(found))
            }
            // Nothing is shared between plugins without Lua.
            _ => Value::Nil,
        }
    }
}

fn text(text: &str) -> Value {
    Value::text(text)
}

impl RequestScope<'_> {
    /// Names mean the same in any case, and with `_` for `-` (ngx.req.get_headers).
    fn header(&self, name: &[u8]) -> Value {
        let name = String::from_utf8_lossy(name).to_ascii_lowercase();
        let find = |name: &str| {
            let all = self.head.headers.get_all(name).iter();
            let mut values: Vec<Value> = all.map(|value| Value::text(value.as_bytes())).collect();
            match values.len() {
                0 => Value::Nil,
                1 => values.remove(0),
                _ => Value::List(values),
            }
        };
        let mut found = find(&name);
        if found == Value::Nil && name.contains('_') {
            found = find(&name.replace('_', "-"));
        }
        if found == Value::Nil
            && name == "host"
            && let Some(authority) = self.head.uri.authority()
        {
            found = Value::text(authority.as_str());
        }
        found
    }

    fn query(&self, name: &[u8]) -> Value {
        let query = self.head.uri.query().unwrap_or_default();
        let named = arguments(query).filter(|(known, _)| known.as_bytes() == name);
        let mut values: Vec<Value> = named
            .map(|(_, value)| value.map_or(Value::Boolean(true), |value| text(&value)))
            .collect();
        match values.len() {
            0 => Value::Nil,
            1 => values.remove(0),
            _ => Value::List(values),
        }
    }
}
