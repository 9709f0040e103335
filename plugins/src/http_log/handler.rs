use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use futures::FutureExt;
use gateway_model::Violations;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use reqwest::Url;

use super::config::Config;
use crate::contract::{ANY, Handler, Phases, Plugin, Setup, Summary, Tools};
use crate::kit::entries::{self, CustomMembers};
use crate::kit::http::{endpoint, finish, reason};
use crate::kit::queue::{Deliver, Queue, Queues, milliseconds};

/// One instance (kong/plugins/http-log/handler.lua).
pub(crate) struct HttpLog {
    queue: Arc<Queue>,
    members: CustomMembers,
}

impl Plugin for HttpLog {
    const NAME: &'static str = "http-log";
    const PRIORITY: i32 = 12;
    const PHASES: Phases = Phases::LOG;
    const PROTOCOLS: &'static [&'static str] = ANY;
    type Config = Config;

    fn build(config: Config, setup: &Setup<'_>) -> Result<Self, Violations> {
        let members = CustomMembers::prepare(config.custom_fields_by_lua.as_ref(), setup)?;
        let mut parameters = config.queue.parameters();
        parameters.deprecated(config.queue_size, config.flush_timeout);
        let one_by_one = parameters.max_batch_size == 1;
        let collector = || Collector::new(&config, one_by_one, setup.tools).map(Collector::deliver);
        Ok(Self { queue: Queues::of(setup, parameters, collector)?, members })
    }
}

impl Handler for HttpLog {
    fn log(&self, summary: &Summary<'_>) {
        entries::push(&self.queue, summary, &self.members);
    }
}

/// Where entries go, and how.
struct Collector {
    client: reqwest::Client,
    method: Method,
    url: Url,
    headers: HeaderMap,
    timeout: Duration,
    one_by_one: bool,
}

impl Collector {
    fn new(config: &Config, one_by_one: bool, tools: &Tools) -> Result<Self, Violations> {
        let refuse = |field: &str, text: &str| Violations::one(field, text);
        let url = endpoint(config.http_endpoint.expose());
        let mut url = url.map_err(|text| refuse("http_endpoint", text))?;
        url.set_query(None);
        let content_type = config.content_type.as_deref().unwrap_or("application/json");
        let mut headers = HeaderMap::new();
        let content_type = HeaderValue::try_from(content_type);
        headers.insert(
            header::CONTENT_TYPE,
            content_type.map_err(|_| refuse("content_type", "not usable in a header"))?,
        );
        for (name, value) in config.headers.iter().flatten() {
            let usable = name.parse::<HeaderName>().ok().zip(value.expose().parse().ok());
            let (name, mut value): (HeaderName, HeaderValue) =
                usable.ok_or_else(|| refuse("headers", "not usable as a header"))?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        let client = crate::kit::http::client(tools, milliseconds(config.keepalive, 60_000.0));
        Ok(Self {
            client: client.map_err(|why| refuse("http_endpoint", &why.to_string()))?,
            method: config.method.as_deref().unwrap_or("POST").parse().unwrap_or(Method::POST),
            url,
            headers,
            timeout: milliseconds(config.timeout, 10_000.0),
            one_by_one,
        })
    }

    fn deliver(self) -> Deliver {
        let collector = Arc::new(self);
        Arc::new(move |batch| {
            let collector = Arc::clone(&collector);
            async move { collector.send(&batch).await }.boxed()
        })
    }

    async fn send(&self, batch: &[Bytes]) -> Result<(), String> {
        let response = self
            .client
            .request(self.method.clone(), self.url.clone())
            .headers(self.headers.clone())
            .timeout(self.timeout)
            .body(self.body(batch))
            .send()
            .await
            // The address may hold a password.
            .map_err(|why| reason(&why.without_url()))?;
        let status = response.status();
        finish(response).await;
        if status.as_u16() < 300 { Ok(()) } else { Err(format!("the collector says {status}")) }
    }

    /// One entry as it is, when batches have one; else a list.
    fn body(&self, batch: &[Bytes]) -> Bytes {
        if let ([entry], true) = (batch, self.one_by_one) {
            return entry.clone();
        }
        let size = batch.iter().map(|entry| entry.len() + 1).sum::<usize>() + 1;
        let mut body = BytesMut::with_capacity(size);
        for (at, entry) in batch.iter().enumerate() {
            body.put_u8(if at == 0 { b'[' } else { b',' });
            body.put_slice(entry);
        }
        body.put_u8(b']');
        body.freeze()
    }
}
