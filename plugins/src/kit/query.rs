//! Arguments of a request's query, and changes of it.

use std::borrow::Cow;

use http::Uri;
use http::uri::PathAndQuery;
use pingora_http::RequestHeader;

/// The arguments of a query, decoded, in order; one without `=` has no value.
pub(crate) fn arguments(query: &str) -> impl Iterator<Item = (Cow<'_, str>, Option<Cow<'_, str>>)> {
    query.split('&').filter_map(|part| {
        let (name, value) = url::form_urlencoded::parse(part.as_bytes()).next()?;
        Some((name, part.contains('=').then_some(value)))
    })
}

/// Takes every argument of this name away. The others keep their place and spelling.
pub(crate) fn remove(head: &mut RequestHeader, name: &str) {
    let Some(query) = head.uri.query() else { return };
    let is_named = |part: &&str| {
        url::form_urlencoded::parse(part.as_bytes()).next().is_some_and(|(key, _)| key == name)
    };
    let kept: Vec<&str> = query.split('&').filter(|part| !is_named(part)).collect();
    let kept = kept.join("&");
    set(head, &kept);
}

/// Puts another query in place; an empty one takes the question mark along.
pub(crate) fn set(head: &mut RequestHeader, query: &str) {
    let path = head.uri.path();
    let target = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
    let mut parts = head.uri.clone().into_parts();
    // Parts of a valid target, encoded, are a valid target: the request stays as it is otherwise.
    let Ok(target) = PathAndQuery::try_from(target) else { return };
    parts.path_and_query = Some(target);
    if let Ok(uri) = Uri::from_parts(parts) {
        head.set_uri(uri);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use http::Method;
    use pingora_http::RequestHeader;

    #[test]
    fn arguments_are_removed_by_decoded_name() {
        let check = |target: &str, wanted: &str| {
            let mut head = RequestHeader::build(Method::GET, b"/", None).unwrap();
            head.set_uri(target.parse().unwrap());
            super::remove(&mut head, "k y");
            assert_eq!(head.uri.to_string(), wanted, "{target}");
        };
        check("/a", "/a");
        check("/a?b=%20&c", "/a?b=%20&c");
        check("/a?k+y=1", "/a");
        check("/a?b=%20&k%20y=1&k+y&c", "/a?b=%20&c");
        check("http://h/a?k+y=1&c", "http://h/a?c");
    }
}
