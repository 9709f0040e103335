//! Clients: a library's, for what every client does, and raw bytes for what only some do.

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use http::HeaderMap;
use reqwest::{Certificate, Client, ClientBuilder, RequestBuilder};
use serde_json::Value;
use tokio::io::{AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use super::http1::{self, Head};
use super::{DEADLINE, Gateway};

/// A client without TLS.
pub(crate) fn plain() -> Client {
    build(Client::builder().http1_only())
}

/// As [`plain`], from another address of this host.
pub(crate) fn plain_from(address: [u8; 4]) -> Client {
    build(Client::builder().http1_only().local_address(IpAddr::from(address)))
}

/// A builder for a client that trusts the authority the gateway made, and no other.
pub(crate) fn trusting(gateway: &Gateway) -> ClientBuilder {
    let file = gateway.prefix().join("certs/ca.crt");
    let pem = std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let authority = Certificate::from_pem(&pem).expect("a certificate");
    Client::builder().tls_certs_only([authority])
}

fn build(builder: ClientBuilder) -> Client {
    // Reading the system's authorities would cost more than the request.
    let builder = builder.tls_certs_only([]).no_proxy().redirect(reqwest::redirect::Policy::none());
    builder.build().expect("a client")
}

/// A whole answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) version: http::Version,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{} {error}: {:?}", self.status, self.body))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("text"))
    }

    /// The answer itself when it has this status.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{:?} {:?}", self.headers, self.body);
        self
    }
}

/// Sends a request and reads the whole answer.
pub(crate) trait Answered {
    async fn answer(self) -> Answer;
}

impl Answered for RequestBuilder {
    async fn answer(self) -> Answer {
        let response = self.timeout(DEADLINE).send().await.expect("an answer");
        Answer {
            status: response.status().as_u16(),
            version: response.version(),
            headers: response.headers().clone(),
            body: response.bytes().await.expect("a whole body"),
        }
    }
}

/// Sends `request` as it is and reads one response: its head as sent, and its body.
pub(crate) async fn raw(to: SocketAddr, request: &[u8]) -> (Head, Vec<u8>) {
    let exchange = async {
        let mut connection = BufReader::new(TcpStream::connect(to).await?);
        connection.write_all(request).await?;
        let head = http1::read_head(&mut connection).await?;
        let head = head.ok_or_else(|| std::io::Error::other("closed without an answer"))?;
        let bodiless = request.starts_with(b"HEAD ") || matches!(head.status(), 204 | 304);
        let body = match bodiless {
            true => Vec::new(),
            false => http1::read_body(&mut connection, &head, true).await?,
        };
        std::io::Result::Ok((head, body))
    };
    let told = tokio::time::timeout(DEADLINE, exchange).await.expect("an answer in time");
    told.unwrap_or_else(|error| panic!("{error}, to {:?}", String::from_utf8_lossy(request)))
}
