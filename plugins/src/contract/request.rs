//! [`Request`]: what a handler sees of the client's request.

use pingora_http::RequestHeader;

use super::Facts;

/// The client's request. What a handler changes in the head, the upstream receives.
pub struct Request<'a> {
    /// Method, URI and headers. Handlers of lower priority see the changes.
    pub head: &'a mut RequestHeader,
    /// What is known of the exchange.
    pub facts: &'a mut Facts,
}

impl Request<'_> {
    /// A header as text; the first of several, `None` when absent or not text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.headers.get(name)?.to_str().ok()
    }

    /// The value of a query argument, decoded; the first of several.
    pub fn query(&self, name: &str) -> Option<std::borrow::Cow<'_, str>> {
        self.queries().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// All query arguments, decoded, in order.
    pub fn queries(
        &self,
    ) -> impl Iterator<Item = (std::borrow::Cow<'_, str>, std::borrow::Cow<'_, str>)> {
        let query = self.head.uri.query().unwrap_or_default();
        url::form_urlencoded::parse(query.as_bytes())
    }
}
