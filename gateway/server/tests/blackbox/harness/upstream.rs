//! An upstream that answers with what it received, and can be asked for it.
//!
//! Parts of the path change the answer: `/status/N`, `/delay/SECONDS`, `/close` (no answer at all),
//! `/json/`, `/text`, `/reshdr` (headers a gateway might treat in its own way).

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::{eventually, http1};

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) method: String,
    /// As sent, with the query.
    pub(crate) uri: String,
    /// In order, names as sent.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Received {
    /// Every value of a header, whatever the case of its name.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let named = self.headers.iter().filter(|(one, _)| one.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_str()).collect()
    }

    /// The first value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.all(name).first().copied()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body)
            .unwrap_or_else(|error| panic!("{error} in the body {:?}", self.body))
    }

    fn describe(&self) -> String {
        json!({"method": self.method, "uri": self.uri, "headers": self.headers, "body": self.body})
            .to_string()
    }
}

/// A running upstream; it ends when dropped.
pub(crate) struct Upstream {
    addr: SocketAddr,
    seen: Arc<Mutex<Vec<Received>>>,
    task: JoinHandle<()>,
}

impl Upstream {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("an address");
        let seen = Arc::<Mutex<Vec<Received>>>::default();
        let task = tokio::spawn({
            let seen = Arc::clone(&seen);
            async move {
                while let Ok((client, _)) = listener.accept().await {
                    tokio::spawn(serve(client, Arc::clone(&seen)));
                }
            }
        });
        Self { addr, seen, task }
    }

    pub(crate) const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// `http://127.0.0.1:PORT`, without a slash at the end.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// What arrived since the last call.
    pub(crate) fn take(&self) -> Vec<Received> {
        std::mem::take(&mut self.seen.lock().expect("no test panics while it holds this"))
    }

    /// The one request that arrived since the last call.
    pub(crate) fn only(&self) -> Received {
        let mut seen = self.take();
        assert_eq!(seen.len(), 1, "requests that reached the upstream: {seen:?}");
        seen.remove(0)
    }

    /// Waits until so many more requests arrived, and takes them.
    pub(crate) async fn more(&self, wanted: usize) {
        let mut seen = 0;
        while seen < wanted {
            self.next().await;
            seen += 1 + self.take().len();
        }
    }

    /// Waits until something arrives.
    pub(crate) async fn next(&self) -> Received {
        eventually("a request to the upstream", async || {
            let mut seen = self.seen.lock().expect("no test panics while it holds this");
            (!seen.is_empty()).then(|| seen.remove(0))
        })
        .await
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(client: TcpStream, seen: Arc<Mutex<Vec<Received>>>) {
    let mut client = BufReader::new(client);
    while let Ok(Some(head)) = http1::read_head(&mut client).await {
        let Ok(body) = http1::read_body(&mut client, &head, false).await else { return };
        let mut line = head.start.split(' ').map(str::to_owned);
        let received = Received {
            method: line.next().unwrap_or_default(),
            uri: line.next().unwrap_or_default(),
            headers: head.headers,
            body: String::from_utf8_lossy(&body).into_owned(),
        };
        seen.lock().expect("no test panics while it holds this").push(received.clone());
        let Some(answer) = answer(&received).await else { return };
        if client.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn answer(request: &Received) -> Option<String> {
    let path = request.uri.split('?').next().unwrap_or_default();
    let number = |part: &str| {
        let rest = path.split_once(part)?.1;
        rest.split('/').next()?.parse::<f64>().ok()
    };
    if let Some(seconds) = number("/delay/") {
        tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
    }
    if path.ends_with("/close") {
        return None;
    }
    let status = number("/status/").unwrap_or(200.0);
    let (kind, body) = if path.contains("/json/") {
        ("application/json", json!({"p1": "v1", "p2": 2, "p3": [1, 2], "p4": "a.b"}).to_string())
    } else if path.ends_with("/text") {
        ("text/plain; charset=UTF-8", "hello".to_owned())
    } else {
        ("application/json", request.describe())
    };
    let mut answer = format!("HTTP/1.1 {status} Told\r\n");
    if path.ends_with("/reshdr") {
        answer += "Server: mock/1\r\nVia: 1.1 up\r\nX-Kong-Upstream-Latency: 999\r\nX-Up: 1\r\n\
                   Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nCache-Control: max-age=60\r\n";
    }
    if status == 204.0 || status == 304.0 {
        return Some(answer + "\r\n");
    }
    answer += &format!("Content-Type: {kind}\r\nContent-Length: {}\r\n\r\n", body.len());
    if request.method != "HEAD" {
        answer += &body;
    }
    Some(answer)
}
