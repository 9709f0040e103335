//! Deliveries to real receivers on this machine.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use gateway_model::{Change, Id};
use http::{HeaderMap, StatusCode};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;

use super::*;
use crate::entities::remove;
use crate::guard::Guard;
use crate::settings::{Destinations, Published, loopback};
use crate::test_kit::{control, instance, register, subscribe, subscription};

/// Long for a machine, short for a person.
const SOON: Duration = Duration::from_secs(30);

/// A notifier that runs.
struct Rig {
    control: Control,
    notifier: Arc<Notifier>,
    shutdown: watch::Sender<bool>,
}

impl Rig {
    async fn start(settings: Delivery) -> Self {
        let control = control().await;
        let feed = control.feed();
        Self::over(control, feed, settings)
    }

    fn over(
        control: Control,
        feed: broadcast::Receiver<Arc<Committed>>,
        settings: Delivery,
    ) -> Self {
        let hosts = vec!["localhost".to_owned()];
        let allow = Destinations { networks: loopback(), hosts };
        let guard = Arc::new(Guard { allow, ..Guard::default() });
        let metrics = Metrics::new().unwrap();
        let outbound =
            Arc::new(Outbound::new(&settings, None, guard, Arc::new(SystemNames)).unwrap());
        let notifier =
            Notifier::new(settings, outbound, Published::default(), control.clone(), metrics);
        let notifier = Arc::new(notifier);
        let (shutdown, over) = watch::channel(false);
        tokio::spawn(Arc::clone(&notifier).run(feed, over));
        Self { control, notifier, shutdown }
    }

    async fn apply(&self, changes: Vec<Change>) {
        self.control.apply(changes).await.unwrap();
    }

    async fn register(&self, name: &str) {
        self.apply(register(&instance(name))).await;
    }

    async fn subscribe(&self, number: u16, callback: &str) -> Id {
        let subscriber = subscription(number, callback, "{}");
        self.apply(subscribe(&subscriber)).await;
        subscriber.id
    }

    fn counted(&self, result: &str) -> u64 {
        self.notifier.metrics.notifications.with_label_values(&[result]).get()
    }

    async fn until(&self, result: &str, number: u64) {
        let counted = async {
            while self.counted(result) < number {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let in_time = timeout(SOON, counted).await;
        assert!(in_time.is_ok(), "{result}: {} of {number}", self.counted(result));
        assert_eq!(self.counted(result), number, "{result}");
    }
}

/// An app that is notified.
struct Receiver {
    port: u16,
    got: mpsc::UnboundedReceiver<(HeaderMap, String)>,
    app: Arc<Answers>,
}

struct Answers {
    got: mpsc::UnboundedSender<(HeaderMap, String)>,
    status: Mutex<StatusCode>,
    /// An answer costs one permit.
    gate: Semaphore,
}

impl Receiver {
    async fn start(answers: usize) -> Self {
        let (send, got) = mpsc::unbounded_channel();
        let status = Mutex::new(StatusCode::NO_CONTENT);
        let app = Arc::new(Answers { got: send, status, gate: Semaphore::new(answers) });
        let receive = async |State(app): State<Arc<Answers>>, headers: HeaderMap, body: String| {
            app.got.send((headers, body)).unwrap();
            app.gate.acquire().await.unwrap().forget();
            *app.status.lock().unwrap()
        };
        let router = Router::new().fallback(receive).with_state(Arc::clone(&app));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { port, got, app }
    }

    fn callback(&self) -> String {
        format!("http://127.0.0.1:{}/cb?secret=s3cret", self.port)
    }

    async fn next(&mut self) -> (HeaderMap, Value) {
        let (headers, body) = timeout(SOON, self.got.recv()).await.expect("in time").unwrap();
        (headers, serde_json::from_str(&body).unwrap())
    }

    async fn named(&mut self) -> String {
        let (_, body) = self.next().await;
        body["serviceReferences"][0]["serName"].as_str().unwrap().to_owned()
    }
}

/// A port that accepts connections and never says a word.
async fn silent() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let callback = format!("http://{}/", listener.local_addr().unwrap());
    (listener, callback)
}

fn settings() -> Delivery {
    let (pause, longest_pause) = (Duration::from_millis(10), Duration::from_millis(20));
    Delivery { pause, longest_pause, ..Delivery::default() }
}

#[tokio::test]
async fn a_name_is_called_and_told_where_from() {
    let rig = Rig::start(settings()).await;
    let mut receiver = Receiver::start(9).await;
    rig.subscribe(1, &format!("http://localhost:{}/cb", receiver.port)).await;
    rig.subscribe(2, &receiver.callback()).await;
    rig.register("x").await;
    let mut sources = Vec::new();
    for _ in 0..2 {
        let (headers, body) = receiver.next().await;
        assert_eq!(headers["content-type"], "application/json; charset=utf-8");
        let source = headers.get("x-real-ip").map(|value| value.to_str().unwrap().to_owned());
        sources.push((body["_links"]["subscription"]["href"].as_str().unwrap().len(), source));
    }
    // Towards an address of this machine there is always a route.
    assert!(sources.iter().any(|(_, source)| source.as_deref() == Some("127.0.0.1")));
    rig.until("delivered", 2).await;
}

#[tokio::test]
async fn the_oldest_gives_way() {
    let rig = Rig::start(Delivery { queue: 2, ..settings() }).await;
    let mut receiver = Receiver::start(0).await;
    rig.subscribe(1, &receiver.callback()).await;
    rig.register("s0").await;
    assert_eq!(receiver.named().await, "s0");
    for name in ["s1", "s2", "s3", "s4", "s5"] {
        rig.register(name).await;
    }
    rig.until("dropped", 3).await;
    receiver.app.gate.add_permits(9);
    assert_eq!(receiver.named().await, "s4");
    assert_eq!(receiver.named().await, "s5");
    rig.until("delivered", 3).await;
}

/// With one place for each lane and a timeout that never comes, any place held for good would
/// starve the last subscriber.
#[tokio::test]
async fn silent_subscribers_delay_nobody() {
    let patient = Delivery { concurrency: 2, timeout: 10 * SOON, ..settings() };
    let rig = Rig::start(patient).await;
    let (_listener, callback) = silent().await;
    for number in 1..=3 {
        rig.subscribe(number, &callback).await;
    }
    let mut receiver = Receiver::start(99).await;
    rig.subscribe(4, &receiver.callback()).await;
    for name in ["a", "b", "c"] {
        rig.register(name).await;
        assert_eq!(receiver.named().await, name);
    }
    // They are known by now: nothing waits for finding out.
    let began = tokio::time::Instant::now();
    for at in 0..20 {
        rig.register(&format!("s{at}")).await;
        receiver.named().await;
    }
    assert!(began.elapsed() < SOON / 2, "{:?}", began.elapsed());
    assert_eq!(rig.notifier.courier.known_tardy(), 3);
}

#[tokio::test]
async fn who_answers_again_is_trusted_again() {
    let rig = Rig::start(Delivery { timeout: SOON, ..settings() }).await;
    let mut receiver = Receiver::start(0).await;
    rig.subscribe(1, &receiver.callback()).await;
    rig.register("a").await;
    assert_eq!(receiver.named().await, "a");
    let slow = async {
        while rig.notifier.courier.known_tardy() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(SOON, slow).await.expect("found out in time");
    receiver.app.gate.add_permits(9);
    rig.until("delivered", 1).await;
    rig.register("b").await;
    rig.until("delivered", 2).await;
    assert_eq!(rig.notifier.courier.known_tardy(), 0);
}

#[tokio::test]
async fn a_subscription_that_goes_takes_its_queue_along() {
    let rig = Rig::start(Delivery { retries: 1_000_000, ..settings() }).await;
    let mut receiver = Receiver::start(usize::MAX >> 4).await;
    *receiver.app.status.lock().unwrap() = StatusCode::SERVICE_UNAVAILABLE;
    let id = rig.subscribe(1, &receiver.callback()).await;
    for name in ["a", "b", "c"] {
        rig.register(name).await;
    }
    // The first is tried over and over.
    for _ in 0..3 {
        assert_eq!(receiver.named().await, "a");
    }
    rig.apply(vec![remove::<Subscription>(id)]).await;
    rig.until("dropped", 3).await;
    // It ended: nothing but attempts made before is there.
    while let Ok((_, body)) = receiver.got.try_recv() {
        assert!(body.contains(r#""serName":"a""#), "{body}");
    }
    *receiver.app.status.lock().unwrap() = StatusCode::NO_CONTENT;
    rig.subscribe(2, &receiver.callback()).await;
    rig.register("d").await;
    assert_eq!(receiver.named().await, "d");
    rig.until("delivered", 1).await;
    assert_eq!((rig.counted("failed"), rig.counted("refused")), (0, 0));
}

#[tokio::test]
async fn answers_and_what_is_counted() {
    for (status, result, attempts) in [
        (200, "delivered", 1),
        (302, "refused", 1),
        (404, "refused", 1),
        (408, "failed", 3),
        (429, "failed", 3),
        (500, "failed", 3),
    ] {
        let rig = Rig::start(Delivery { retries: 2, ..settings() }).await;
        let mut receiver = Receiver::start(99).await;
        *receiver.app.status.lock().unwrap() = StatusCode::from_u16(status).unwrap();
        rig.subscribe(1, &receiver.callback()).await;
        rig.register("x").await;
        rig.until(result, 1).await;
        let mut got = 0;
        while receiver.got.try_recv().is_ok() {
            got += 1;
        }
        assert_eq!(got, attempts, "{status}");
    }
}

#[tokio::test]
async fn nobody_there_is_a_failure_and_a_forbidden_place_a_refusal() {
    let rig = Rig::start(Delivery { retries: 1, ..settings() }).await;
    let (listener, gone) = silent().await;
    drop(listener);
    rig.subscribe(1, &gone).await;
    rig.subscribe(2, "http://169.254.169.254/").await;
    rig.subscribe(3, "http://mepauth.mep.internal/").await;
    rig.register("x").await;
    rig.until("failed", 1).await;
    rig.until("refused", 2).await;
}

#[tokio::test]
async fn the_end_loses_what_waits_and_counts_it() {
    let rig = Rig::start(settings()).await;
    let (_listener, callback) = silent().await;
    rig.subscribe(1, &callback).await;
    rig.subscribe(2, &callback).await;
    for name in ["a", "b"] {
        rig.register(name).await;
    }
    let follows = async {
        while rig.notifier.courier.waiting() != 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(SOON, follows).await.expect("queued in time");
    rig.shutdown.send(true).unwrap();
    rig.until("dropped", 4).await;
}

#[tokio::test]
async fn a_notifier_that_fell_behind_goes_on_with_what_is_true() {
    let control = control().await;
    let feed = control.feed();
    let mut receiver = Receiver::start(usize::MAX >> 4).await;
    let stale = subscription(1, &receiver.callback(), "{}");
    control.apply(subscribe(&stale)).await.unwrap();
    control.apply(vec![remove::<Subscription>(stale.id)]).await.unwrap();
    let kept = subscription(2, &receiver.callback(), r#"{"serNames":["last"]}"#);
    control.apply(subscribe(&kept)).await.unwrap();
    // More commits than the feed keeps, among them the subscriptions'.
    for at in 0..1100 {
        control.apply(register(&instance(&format!("s{at}")))).await.unwrap();
    }
    let rig = Rig::over(control, feed, settings());
    rig.register("last").await;
    assert_eq!(receiver.named().await, "last");
    rig.until("delivered", 1).await;
    // The last commit may have come before the notifier looked.
    let missed = rig.notifier.metrics.missed_commits.get();
    assert!((1103 - 1024..=1104 - 1024).contains(&missed), "{missed}");
    assert_eq!(rig.notifier.metrics.service_instances.get(), 1101);
}

/// Between two commits it hears of, somebody subscribed.
#[tokio::test]
async fn what_was_missed_is_looked_up_again() {
    let control = control().await;
    let mut feed = control.feed();
    let mut receiver = Receiver::start(9).await;
    // What it follows by itself says nothing.
    let (_says_nothing, silence) = broadcast::channel(1);
    let rig = Rig::over(control.clone(), silence, settings());
    let mut index = None;
    let mut missed = 0;
    for (at, (name, lost)) in (1..).zip([("a", false), ("b", true), ("c", false)]) {
        let subscriber = subscription(at, &receiver.callback(), "{}");
        let changes = [subscribe(&subscriber), register(&instance(name))].concat();
        control.apply(changes).await.unwrap();
        let committed = feed.recv().await.unwrap();
        missed += u64::from(lost);
        let heard = if lost { Err(RecvError::Lagged(1)) } else { Ok(committed) };
        assert!(rig.notifier.hear(heard, &mut index).is_continue());
    }
    let mut named = Vec::new();
    for _ in 0..4 {
        named.push(receiver.named().await);
    }
    named.sort();
    assert_eq!(named, ["a", "c", "c", "c"]);
    assert_eq!(rig.notifier.metrics.missed_commits.get(), missed);
}

/// A receiver whose certificate nobody signed; gives what was asked of it.
async fn self_signed(listener: TcpListener) -> std::io::Result<String> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio_rustls::rustls::ServerConfig;

    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = made.signing_key.serialize_der().try_into().unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let (stream, _) = listener.accept().await?;
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let mut stream = acceptor.accept(stream).await?;
    let mut asked = vec![0; 16];
    stream.read_exact(&mut asked).await?;
    stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await?;
    stream.flush().await?;
    Ok(String::from_utf8_lossy(&asked).into_owned())
}

#[tokio::test]
async fn certificates_are_verified_unless_told_otherwise() {
    for (verify_certificates, result) in [(true, "failed"), (false, "delivered")] {
        let settings = Delivery { verify_certificates, retries: 0, ..settings() };
        let rig = Rig::start(settings).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        rig.subscribe(1, &format!("https://{address}/callback")).await;
        let receiver = tokio::spawn(self_signed(listener));
        rig.register("x").await;
        rig.until(result, 1).await;
        let asked = timeout(SOON, receiver).await.expect("in time").unwrap();
        match asked {
            Ok(asked) => assert_eq!((verify_certificates, &*asked), (false, "POST /callback H")),
            Err(_) => assert!(verify_certificates),
        }
    }
}
