//! [`Parameters`]: what a request says in its query and in its body, by name.

use http::Method;
use serde_json::{Map, Value};

use super::body::Arguments;
use crate::contract::Request;

/// What a request says, by name. A repeated name has all its values; one without a value is `true`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Parameters(Map<String, Value>);

impl Parameters {
    /// Those of the query, and over them those of the body of a POST, PUT or PATCH.
    pub(crate) fn of(request: &Request<'_>) -> Self {
        let mut all = Self::of_query(request).0;
        if has_body(&request.head.method) {
            all.extend(Self::of_body(request).0);
        }
        Self(all)
    }

    fn of_query(request: &Request<'_>) -> Self {
        let mut all = Map::new();
        for part in request.head.uri.query().unwrap_or_default().split('&') {
            for (name, value) in url::form_urlencoded::parse(part.as_bytes()) {
                let value = if part.contains('=') { value.into() } else { Value::Bool(true) };
                add(&mut all, name.into_owned(), value);
            }
        }
        Self(all)
    }

    /// Those of the body alone.
    pub(crate) fn of_body(request: &Request<'_>) -> Self {
        let mut all = Map::new();
        match Arguments::of(request) {
            Some(Arguments::Json(members)) => return Self(members),
            Some(Arguments::Form(pairs)) => {
                pairs.into_iter().for_each(|(name, value)| add(&mut all, name, value.into()));
            }
            Some(Arguments::Multipart(_, parts)) => {
                for part in parts {
                    let value = String::from_utf8_lossy(&part.data).into_owned();
                    add(&mut all, part.name, value.into());
                }
            }
            None => {}
        }
        Self(all)
    }

    /// A value as it is.
    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// A value that is text, once.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str()
    }
}

/// Whether bodies of requests with this method are looked at.
pub(crate) fn has_body(method: &Method) -> bool {
    [Method::POST, Method::PUT, Method::PATCH].contains(method)
}

fn add(all: &mut Map<String, Value>, name: String, value: Value) {
    match all.get_mut(&name) {
        None => drop(all.insert(name, value)),
        Some(Value::Array(values)) => values.push(value),
        Some(first) => *first = Value::Array(vec![first.take(), value]),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::Parameters;
    use crate::test_kit::rig;

    #[test]
    fn the_body_is_over_the_query() {
        const FORM: &str = "application/x-www-form-urlencoded";
        const JSON: &str = "application/json";
        let rig = rig();
        for (method, kind, body, wanted) in [
            ("POST", FORM, "a=body", "body"),
            ("PUT", JSON, "{\"a\":\"body\"}", "body"),
            ("POST", "text/plain", "a=body", "query"),
            ("GET", FORM, "a=body", "query"),
        ] {
            let mut exchange = rig.get("/?a=query&b=1&c&d=1&d=2").method(method).body(kind, body);
            let read = Parameters::of(&exchange.request());
            assert_eq!((read.text("a"), read.text("b")), (Some(wanted), Some("1")), "{kind}");
            assert_eq!(read.get("c"), Some(&json!(true)));
            assert_eq!(read.get("d"), Some(&json!(["1", "2"])));
            assert_eq!((read.text("c"), read.text("d"), read.get("e")), (None, None, None));
        }
    }
}
