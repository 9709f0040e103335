//! [`Http`]: the gateway's HTTP client, as the ACME library wants it.

use std::pin::Pin;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};

/// The gateway's HTTP client: with its trust and its timeouts.
pub(super) struct Http(pub(super) reqwest::Client);

impl HttpClient for Http {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let client = self.0.clone();
        Box::pin(async move {
            let other = |why: reqwest::Error| Error::Other(Box::new(why));
            let (parts, body) = request.into_parts();
            // A body in memory: it cannot fail.
            let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
            let request = reqwest::Request::try_from(Request::from_parts(parts, body));
            let answer = client.execute(request.map_err(other)?).await.map_err(other)?;
            let mut response = Response::new(Full::new(Bytes::new()));
            *response.status_mut() = answer.status();
            *response.headers_mut() = answer.headers().clone();
            *response.body_mut() = Full::new(answer.bytes().await.map_err(other)?);
            Ok(response.into())
        })
    }
}
