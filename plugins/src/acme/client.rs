//! [`Http`]: the gateway's HTTP client, as the ACME library wants it.

use std::pin::Pin;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, Uri, header};
use http_body_util::{BodyExt as _, Full};
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};

/// The gateway's HTTP client: with its trust and its timeouts.
pub(super) struct Http {
    pub(super) client: reqwest::Client,
    pub(super) seen: Arc<Seen>,
}

/// The chain an authority sent last and where it offers others: the library tells neither of these
/// (RFC 8555, section 7.4.2).
#[derive(Default)]
pub(super) struct Seen(ArcSwap<Chain>);

#[derive(Default)]
pub(super) struct Chain {
    /// PEM.
    pub(super) pem: String,
    /// Addresses of the same certificate under other authorities.
    pub(super) others: Vec<String>,
}

impl Seen {
    pub(super) fn last(&self) -> Arc<Chain> {
        self.0.load_full()
    }

    fn note(&self, at: &Uri, headers: &HeaderMap, body: &Bytes) {
        let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        if kind.is_some_and(|kind| kind.starts_with("application/pem-certificate-chain")) {
            let pem = String::from_utf8_lossy(body).into_owned();
            self.0.store(Arc::new(Chain { pem, others: alternates(at, headers) }));
        }
    }
}

/// The targets of `Link` headers whose relation is `alternate` (RFC 8288).
fn alternates(at: &Uri, headers: &HeaderMap) -> Vec<String> {
    let base = url::Url::parse(&at.to_string()).ok();
    let lines = headers.get_all(header::LINK).iter().filter_map(|line| line.to_str().ok());
    let links = lines.flat_map(|line| line.split(','));
    links
        .filter_map(|link| {
            let (target, words) = link.trim().strip_prefix('<')?.split_once('>')?;
            let relation = words.split(';').filter_map(|word| word.split_once('='));
            let is_other = relation.into_iter().any(|(name, value)| {
                name.trim().eq_ignore_ascii_case("rel")
                    && value.trim().trim_matches('"') == "alternate"
            });
            is_other.then(|| base.as_ref()?.join(target).ok())?
        })
        .map(String::from)
        .collect()
}

impl HttpClient for Http {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let (client, seen) = (self.client.clone(), Arc::clone(&self.seen));
        Box::pin(async move {
            let other = |why: reqwest::Error| Error::Other(Box::new(why));
            let (parts, body) = request.into_parts();
            let at = parts.uri.clone();
            // A body in memory: it cannot fail.
            let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
            let request = reqwest::Request::try_from(Request::from_parts(parts, body));
            let answer = client.execute(request.map_err(other)?).await.map_err(other)?;
            let mut response = Response::new(Full::new(Bytes::new()));
            *response.status_mut() = answer.status();
            *response.headers_mut() = answer.headers().clone();
            let body = answer.bytes().await.map_err(other)?;
            seen.note(&at, response.headers(), &body);
            *response.body_mut() = Full::new(body);
            Ok(response.into())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_to_other_chains() {
        let mut headers = HeaderMap::new();
        for line in [
            "</cert/1/1>;rel=\"alternate\", <https://b.test/2>; title=\"x\"; rel=alternate",
            "<https://a.test/directory>;rel=\"index\"",
        ] {
            headers.append(header::LINK, line.parse().unwrap());
        }
        let at = "https://a.test/cert/1".parse().unwrap();
        assert_eq!(alternates(&at, &headers), ["https://a.test/cert/1/1", "https://b.test/2"]);
    }
}
