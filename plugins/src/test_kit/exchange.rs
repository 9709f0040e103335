#![allow(clippy::unwrap_used, reason = "tests")]

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use gateway_model::entities::{Route, Service};
use gateway_model::{Id, Item};
use http::{HeaderMap, HeaderName, Method};
use pingora_http::{RequestHeader, ResponseHeader};
use serde_json::Value;

use super::{Instance, Rig};
use crate::contract::{
    Chunk, Client, Facts, Flow, Latencies, Phases, Reply, ReplyBody, Request, RequestBody,
    Response, Scheme, Source, Summary, TlsFacts, Trailers, Try,
};

/// One request and what became of it.
pub(crate) struct Exchange {
    pub(crate) head: RequestHeader,
    pub(crate) facts: Facts,
    pub(crate) uri: String,
    pub(crate) response: Option<ResponseHeader>,
    pub(crate) source: Source,
    pub(crate) tries: Vec<Try>,
    pub(crate) latencies: Latencies,
}

/// A [`Reply`] as the client sees it.
#[derive(Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Lower-case names.
    pub(crate) headers: Vec<(String, String)>,
    /// `{"message": …}` for messages, whose outer form is the proxy's; what is no JSON as text.
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }
}

impl From<Reply> for Answer {
    fn from(reply: Reply) -> Self {
        let text = |value: &http::HeaderValue| value.to_str().unwrap().to_owned();
        Self {
            status: reply.status.as_u16(),
            headers: reply
                .headers
                .iter()
                .map(|(name, value)| (name.to_string(), text(value)))
                .collect(),
            body: match reply.body {
                ReplyBody::Message(text) => serde_json::json!({ "message": text }),
                ReplyBody::Bytes(_, bytes) | ReplyBody::Untyped(bytes) => {
                    let text = std::str::from_utf8(&bytes).unwrap();
                    serde_json::from_str(text).unwrap_or_else(|_| text.into())
                }
                ReplyBody::Empty => Value::Null,
            },
        }
    }
}

impl Exchange {
    pub(super) fn new(rig: &Rig, target: &str) -> Self {
        let mut head = RequestHeader::build(Method::GET, target.as_bytes(), None).unwrap();
        head.insert_header("Host", "gw.test").unwrap();
        let here: SocketAddr = "127.0.0.1:28000".parse().unwrap();
        let client = Client {
            ip: here.ip(),
            peer: "127.0.0.1:40000".parse().unwrap(),
            local: here,
            scheme: Scheme::Http,
            trusted: false,
            tls: None,
        };
        let id = "0123456789abcdef0123456789abcdef".into();
        let facts = Facts::begun(rig.served(), client, id, rig.clock.unix_ms());
        Self {
            head,
            facts,
            uri: target.to_owned(),
            response: None,
            source: Source::Upstream,
            tries: Vec::new(),
            latencies: Latencies::default(),
        }
    }

    pub(crate) fn method(mut self, method: &str) -> Self {
        self.head.set_method(method.parse().unwrap());
        self
    }

    /// Adds a header line.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.head.append_header(name.to_owned(), value).unwrap();
        self
    }

    /// Gives the request a body, already read.
    pub(crate) fn body(mut self, kind: &str, body: &str) -> Self {
        self.facts.body = RequestBody::Whole(Bytes::copy_from_slice(body.as_bytes()));
        self.header("Content-Type", kind)
    }

    /// Gives the request a body larger than handlers may see.
    pub(crate) fn large_body(mut self) -> Self {
        self.facts.body = RequestBody::TooLarge;
        self
    }

    /// The request as a handler sees it.
    pub(crate) fn request(&mut self) -> Request<'_> {
        Request { head: &mut self.head, facts: &mut self.facts }
    }

    pub(crate) fn bearer(self, token: &str) -> Self {
        self.header("Authorization", &format!("Bearer {token}"))
    }

    pub(crate) fn from(mut self, ip: &str) -> Self {
        self.facts.client.ip = ip.parse::<IpAddr>().unwrap();
        self
    }

    pub(crate) fn tls(mut self) -> Self {
        self.facts.client.scheme = Scheme::Https;
        self.facts.client.tls = Some(Arc::new(TlsFacts {
            version: "TLSv1.3".into(),
            cipher: "TLS_AES_256_GCM_SHA384".into(),
            ..TlsFacts::default()
        }));
        self
    }

    /// Puts the exchange on a route and its service.
    pub(crate) fn on(mut self, route: Id) -> Self {
        let route: Item<Route> = self.facts.catalog.get(route).unwrap();
        self.facts.service =
            route.service.and_then(|service| self.facts.catalog.get::<Service>(service.id));
        self.facts.route = Some(route);
        self
    }

    /// Runs the rewrite phase; the answer, if the handler gives one.
    pub(crate) fn rewrite(&mut self, instance: &Instance) -> Option<Answer> {
        assert!(instance.plugin.phases.has(Phases::REWRITE));
        match instance.handler.rewrite(&mut self.request()) {
            Flow::Continue => None,
            Flow::Reply(reply) => Some((*reply).into()),
            Flow::Wait(wait) => match futures::executor::block_on(wait) {
                Flow::Continue => None,
                Flow::Reply(reply) => Some((*reply).into()),
                Flow::Wait(_) => panic!("a wait ends in an answer or goes on"),
            },
        }
    }

    /// Runs the access phase; the answer, if the handler gives one.
    pub(crate) fn access(&mut self, instance: &Instance) -> Option<Answer> {
        assert!(instance.plugin.phases.has(Phases::ACCESS));
        let mut request = Request { head: &mut self.head, facts: &mut self.facts };
        match instance.handler.access(&mut request) {
            Flow::Continue => None,
            Flow::Reply(reply) => Some((*reply).into()),
            Flow::Wait(future) => match futures::executor::block_on(future) {
                Flow::Continue => None,
                Flow::Reply(reply) => Some((*reply).into()),
                Flow::Wait(_) => panic!("a wait ends in an answer or goes on"),
            },
        }
    }

    /// As [`Self::access`], of a handler that waits.
    pub(crate) async fn access_waiting(&mut self, instance: &Instance) -> Option<Answer> {
        let mut request = Request { head: &mut self.head, facts: &mut self.facts };
        let mut flow = instance.handler.access(&mut request);
        loop {
            match flow {
                Flow::Continue => return None,
                Flow::Reply(reply) => return Some((*reply).into()),
                Flow::Wait(wait) => flow = wait.await,
            }
        }
    }

    /// Every value of a request header, as the upstream would get it.
    pub(crate) fn sent(&self, name: &str) -> Vec<&str> {
        self.head.headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
    }

    /// What handlers of the access phase add to the answer.
    pub(crate) fn added(&self) -> Vec<(String, String)> {
        let text = |(name, value): &(HeaderName, http::HeaderValue)| {
            (name.to_string(), value.to_str().unwrap().to_owned())
        };
        self.facts.response_headers.iter().map(text).collect()
    }

    /// Has the upstream answer, in these pieces, and runs the response phases.
    ///
    /// Gives the head and body the client gets.
    pub(crate) fn respond(
        &mut self,
        instance: &Instance,
        head: ResponseHeader,
        pieces: &[&str],
    ) -> (ResponseHeader, String) {
        let pieces: Vec<&[u8]> = pieces.iter().map(|piece| piece.as_bytes()).collect();
        let (head, body) = self.respond_with(instance, head, &pieces, None);
        (head, String::from_utf8(body).unwrap())
    }

    /// As [`Self::respond`], with pieces that are no text, and what comes after them on HTTP/2.
    pub(crate) fn respond_with(
        &mut self,
        instance: &Instance,
        mut head: ResponseHeader,
        pieces: &[&[u8]],
        trailers: Option<HeaderMap>,
    ) -> (ResponseHeader, Vec<u8>) {
        let phases = instance.plugin.phases;
        if phases.has(Phases::HEADER_FILTER) {
            instance.handler.header_filter(&mut Response {
                head: &mut head,
                request: &self.head,
                facts: &mut self.facts,
                source: self.source,
            });
        }
        let after = trailers.is_some();
        let ends = pieces.iter().enumerate().map(|(at, _)| at + 1 == pieces.len() && !after);
        let mut pieces: Vec<(&[u8], bool)> = pieces.iter().copied().zip(ends).collect();
        if let Some(trailers) = trailers {
            self.facts.notes.insert(Trailers(trailers));
            pieces.push((b"", true));
        }
        let mut body = Vec::new();
        for (piece, end) in pieces {
            let mut data = (!piece.is_empty()).then(|| Bytes::copy_from_slice(piece));
            if phases.has(Phases::BODY_FILTER) {
                instance.handler.body_filter(&mut Chunk {
                    data: &mut data,
                    end,
                    facts: &mut self.facts,
                });
            }
            body.extend_from_slice(&data.unwrap_or_default());
        }
        self.response = Some(head.clone());
        (head, body)
    }

    /// The exchange after it is over.
    pub(crate) fn summary(&self, status: u16) -> Summary<'_> {
        Summary {
            facts: &self.facts,
            request: &self.head,
            uri: &self.uri,
            response: self.response.as_ref(),
            status,
            source: self.source,
            request_size: 124,
            response_size: 1102,
            response_body_size: 1000,
            upstream_uri: &self.uri,
            tries: &self.tries,
            latencies: self.latencies,
            entry: OnceLock::new(),
        }
    }

    /// Runs the log phase.
    pub(crate) fn log(&self, instance: &Instance, status: u16) {
        assert!(instance.plugin.phases.has(Phases::LOG));
        instance.handler.log(&self.summary(status));
    }
}
