#![allow(clippy::unwrap_used, reason = "tests")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use gateway_model::schema::Record;
use gateway_model::{Clock, Violations};
use pingora_core::apps::{HttpServerOptions, ServerApp};
use pingora_core::protocols::l4::stream::Stream;
use pingora_core::server::configuration::ServerConf;
use pingora_proxy::HttpProxy;
use plugins::contract::{Handler, Plugin, PluginType, Response, Setup};
use serde::Deserialize;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::resolve::{NameOptions, Resolver};
use crate::router::Flavour;
use crate::snapshot::test_kit::{World, id, insert, tools_on};
use crate::snapshot::{Current, ProxyPlane, Snapshot};
use crate::{EmbeddedServices, Proxy};
use gateway_model::ports::DataPlane;

/// What the handler does.
#[derive(Clone, Deserialize, Record)]
struct Config {
    /// `shout`, `wait`, `instead` or `ask`.
    #[record(default = "shout")]
    act: String,
}

/// Makes bodies loud, waits before it does, answers instead, or only asks for the body.
struct Loud(String);

impl Handler for Loud {
    fn phases(&self) -> Phases {
        match &*self.0 {
            "ask" => Phases::ACCESS.and(Phases::HEADER_FILTER),
            _ => Phases::RESPONSE,
        }
    }

    fn access<'a>(&'a self, request: &'a mut plugins::contract::Request<'_>) -> Flow<'a> {
        request.facts.notes.insert(HoldAnswer);
        Flow::Continue
    }

    fn response<'a>(&'a self, answer: &'a mut Buffered<'_>) -> Flow<'a> {
        let loud = answer.body.to_ascii_uppercase();
        answer.head.insert_header("X-Seen", answer.body.len().to_string()).unwrap();
        *answer.body = loud.into();
        match &*self.0 {
            "wait" => Flow::Wait(Box::pin(async {
                tokio::task::yield_now().await;
                Flow::Continue
            })),
            "instead" => Flow::reply(Reply::message(StatusCode::IM_A_TEAPOT, "no coffee")),
            _ => Flow::Continue,
        }
    }

    fn header_filter(&self, response: &mut Response<'_>) {
        let known = response.facts.notes.get::<HeldBody>().map_or(0, |body| body.0.len());
        response.head.insert_header("X-Seen", known.to_string()).unwrap();
    }
}

impl Plugin for Loud {
    const NAME: &'static str = "loud";
    const PRIORITY: i32 = 1;
    const PHASES: Phases = Phases::RESPONSE.and(Phases::ACCESS).and(Phases::HEADER_FILTER);
    type Config = Config;

    fn build(config: Config, _: &Setup<'_>) -> Result<Self, Violations> {
        Ok(Self(config.act))
    }
}

static LOUD: &[PluginType] = &[PluginType::of::<Loud>()];

/// A gateway in front of an upstream that says what it is told to, both on loopback.
struct Scene {
    gateway: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Scene {
    /// `act` is the plugin's; none: no plugin. The upstream sends the pieces and closes after them
    /// where it did not say how long they are.
    async fn new(act: Option<&str>, pieces: &'static [&'static str]) -> Self {
        let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = upstream.local_addr().unwrap().port();
        let connections = Arc::new(AtomicUsize::new(0));
        tokio::spawn(answering(upstream, pieces, Arc::clone(&connections)));
        Self { gateway: gateway(act, port).await, connections }
    }

    async fn ask(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.gateway).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let read = stream.read_to_string(&mut answer);
        tokio::time::timeout(Duration::from_secs(20), read).await.unwrap().unwrap();
        answer
    }

    async fn get(&self) -> String {
        self.ask("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await
    }
}

async fn answering(
    listener: TcpListener,
    pieces: &'static [&'static str],
    connections: Arc<AtomicUsize>,
) {
    while let Ok((mut stream, _)) = listener.accept().await {
        connections.fetch_add(1, Ordering::Relaxed);
        tokio::spawn(async move {
            let mut head = Vec::new();
            while stream.read_buf(&mut head).await.unwrap_or(0) > 0 {
                if !head.ends_with(b"\r\n\r\n") {
                    continue;
                }
                head.clear();
                for piece in pieces {
                    if *piece == "close" {
                        return;
                    }
                    stream.write_all(piece.as_bytes()).await.unwrap();
                    tokio::task::yield_now().await;
                }
            }
        });
    }
}

async fn gateway(act: Option<&str>, upstream: u16) -> SocketAddr {
    let mut world = World::with(LOUD);
    let mut changes = vec![
        insert("services", json!({"id": id(1), "host": "127.0.0.1", "port": upstream})),
        insert("routes", json!({"id": id(2), "paths": ["/"], "service": {"id": id(1)}})),
    ];
    if let Some(act) = act {
        let plugin = json!({"id": id(3), "name": "loud", "config": {"act": act}});
        changes.push(insert("plugins", plugin));
    }
    let writes = world.write(&changes);
    let tools = tools_on(&tokio::runtime::Handle::current());
    let flavour = Flavour::default();
    let current = Current::new(Snapshot::empty(Arc::clone(world.catalog.registry()), flavour));
    let runtime = tools.runtime.clone();
    let resolver = Resolver::new(NameOptions::default(), Clock::system(), runtime);
    let plane = ProxyPlane::new(LOUD, tools, current.clone(), flavour, resolver.clone());
    plane.prepare(&world.catalog, &writes).unwrap().publish();
    let options = Options { max_held: 64, ..Options::default() };
    let proxy =
        Proxy::new(current, options, EmbeddedServices::new(), None, Clock::system(), resolver);
    let mut app = HttpProxy::new(proxy, Arc::new(ServerConf::default()));
    let mut server = HttpServerOptions::default();
    server.h2c = true;
    app.server_options = Some(server);
    app.handle_init_modules();
    let app = Arc::new(app);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (_stop, shutdown) = tokio::sync::watch::channel(false);
        while let Ok((stream, _)) = listener.accept().await {
            let (app, shutdown) = (Arc::clone(&app), shutdown.clone());
            tokio::spawn(async move {
                let mut stream = Some(Box::new(Stream::from(stream)) as _);
                while let Some(io) = stream {
                    stream = app.process_new(io, &shutdown).await;
                }
            });
        }
    });
    address
}

const CHUNKED: &[&str] = &[
    "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    "5\r\nhello\r\n",
    "6\r\n world\r\n",
    "0\r\n\r\n",
];
const TWICE: &str = "GET /1 HTTP/1.1\r\nHost: h\r\n\r\n";

#[tokio::test]
async fn a_handler_gets_all_of_an_answer_and_changes_it() {
    for act in ["shout", "wait"] {
        let scene = Scene::new(Some(act), CHUNKED).await;
        let answer = scene.get().await;
        assert!(answer.ends_with("\r\n\r\nHELLO WORLD"), "{answer}");
        let answer = answer.to_ascii_lowercase();
        assert!(answer.contains("\r\ncontent-length: 11\r\n"), "{answer}");
        assert!(!answer.contains("transfer-encoding"), "{answer}");
        assert!(answer.contains("\r\nx-seen: 11\r\n"), "{answer}");
        assert!(answer.contains("\r\nvia: 1.1 kong/"), "{answer}");
    }
}

/// Both connections go on after an answer was held back.
#[tokio::test]
async fn connections_are_kept() {
    let scene = Scene::new(Some("shout"), CHUNKED).await;
    let mut stream = TcpStream::connect(scene.gateway).await.unwrap();
    for _ in 0..3 {
        stream.write_all(TWICE.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"HELLO WORLD") {
            assert!(stream.read_buf(&mut answer).await.unwrap() > 0);
        }
    }
    assert_eq!(scene.connections.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn http2_and_head_and_answers_without_a_body() {
    let scene = Scene::new(Some("shout"), CHUNKED).await;
    let client = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    let answer = client.get(format!("http://{}/", scene.gateway)).send().await.unwrap();
    assert_eq!(answer.headers()["content-length"], "11");
    assert_eq!(answer.text().await.unwrap(), "HELLO WORLD");

    let scene =
        Scene::new(Some("shout"), &["HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n"]).await;
    let answer = scene.ask("HEAD / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await;
    assert!(answer.to_ascii_lowercase().contains("content-length: 900"), "{answer}");
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");

    let scene = Scene::new(Some("shout"), &["HTTP/1.1 204 No Content\r\n\r\n"]).await;
    let answer = scene.get().await;
    assert!(answer.starts_with("HTTP/1.1 204 "), "{answer}");
    assert!(!answer.to_ascii_lowercase().contains("content-length"), "{answer}");
}

#[tokio::test]
async fn a_reply_takes_the_place_of_the_answer() {
    let scene = Scene::new(Some("instead"), CHUNKED).await;
    let answer = scene.get().await;
    assert!(answer.contains("HTTP/1.1 418 "), "{answer}");
    assert!(answer.contains("no coffee"), "{answer}");
    assert!(!answer.contains("HELLO"), "{answer}");
}

#[tokio::test]
async fn an_answer_that_breaks_off_or_is_too_large_is_not_begun() {
    let rows: [&[&str]; 3] = [
        &["HTTP/1.1 200 OK\r\nContent-Length: 60\r\n\r\n", "half", "close"],
        &["HTTP/1.1 200 OK\r\nContent-Length: 65\r\n\r\n", "", "close"],
        &[
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "40\r\n0123456789012345678901234567890123456789012345678901234567890123\r\n",
            "1\r\nx\r\n0\r\n\r\n",
        ],
    ];
    for pieces in rows {
        let scene = Scene::new(Some("shout"), pieces).await;
        let answer = scene.get().await;
        assert!(answer.starts_with("HTTP/1.1 502 "), "{pieces:?}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{pieces:?}: {answer}");
    }
}

/// A handler of another phase may want the body too.
#[tokio::test]
async fn a_handler_may_ask_for_the_body() {
    let scene = Scene::new(Some("ask"), CHUNKED).await;
    let answer = scene.get().await;
    assert!(answer.ends_with("\r\n\r\nhello world"), "{answer}");
    assert!(answer.to_ascii_lowercase().contains("\r\nx-seen: 11\r\n"), "{answer}");
}

/// Without one the first piece is sent on at once: here the upstream never ends.
#[tokio::test]
async fn nothing_is_held_back_otherwise() {
    let scene = Scene::new(None, &CHUNKED[1..3]).await;
    let mut stream = TcpStream::connect(scene.gateway).await.unwrap();
    stream.write_all(TWICE.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"5\r\nhello\r\n") {
        assert!(stream.read_buf(&mut answer).await.unwrap() > 0);
    }
}

/// Leave to send a body is no answer: what goes wrong afterwards is still told.
#[tokio::test]
async fn a_client_given_leave_is_told_of_a_failure() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = gone.local_addr().unwrap().port();
    drop(gone);
    let scene = Scene { gateway: gateway(None, port).await, connections: Arc::default() };
    let request = "PUT / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nExpect: 100-continue\r\n\
                   Content-Length: 2\r\n\r\nhi";
    let answer = scene.ask(request).await;
    assert!(answer.starts_with("HTTP/1.1 100 Continue\r\n\r\n"), "{answer}");
    assert!(answer.contains("HTTP/1.1 502 "), "{answer}");
}
