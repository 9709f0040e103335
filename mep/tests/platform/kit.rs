//! [`Rig`]: a platform to ask things, and [`Ask`]: one request.

use std::net::IpAddr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use gateway_control::store::memory::Memory;
use gateway_control::{Control, Peers};
use gateway_model::ports::Caller;
use gateway_model::{Catalog, Clock, Registry};
use http::{HeaderMap, Method, Request};
use http_body_util::BodyExt as _;
use mep::auth::keyfile::RsaPrivateKey;
use mep::auth::sealing::SealingKey;
use mep::auth::token::TokenIssuer;
use mep::{Platform, PlatformSettings, Ports};
use serde_json::{Value, json};
use tokio::sync::watch;
use tower::ServiceExt as _;

pub(crate) const A: &str = "5abe4782-2c70-4e47-9a4e-0ee3a1a0fd1f";
pub(crate) const B: &str = "6abe4782-2c70-4e47-9a4e-0ee3a1a0fd1f";
pub(crate) const SM: &str = "/mep/mec_service_mgmt/v1";
pub(crate) const AS: &str = "/mep/mec_app_support/v1";
/// 2022-05-01T08:00:00Z, when the contract's known requests were signed.
pub(crate) const NOW_MS: u64 = 1_651_392_000_000;

pub(crate) static ISSUER: LazyLock<Arc<TokenIssuer>> =
    LazyLock::new(|| Arc::new(TokenIssuer::from(RsaPrivateKey::generate().unwrap())));

pub(crate) struct Rig {
    pub(crate) platform: Arc<Platform>,
    pub(crate) control: Control,
    pub(crate) clock: Clock,
    pub(crate) metrics: prometheus::Registry,
    mp1: Router,
    auth: Router,
    /// Dropped with the rig, which ends the platform's tasks.
    _running: watch::Sender<bool>,
}

impl Rig {
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(edit: impl FnOnce(&mut PlatformSettings)) -> Self {
        let mut settings = PlatformSettings::default();
        edit(&mut settings);
        Self::over(control().await, settings, Arc::clone(&ISSUER), NOW_MS)
    }

    /// A platform with these connections.
    pub(crate) async fn connected(ports: Ports) -> Self {
        let settings = PlatformSettings::default();
        Self::built(control().await, settings, ports, Arc::clone(&ISSUER), NOW_MS)
    }

    /// One node of those that share a store.
    pub(crate) async fn node(store: &Arc<Memory>, ports: Ports) -> Self {
        let control = control_over(Arc::clone(store)).await;
        let ports = Ports { peers: Some(Arc::clone(store) as Arc<dyn Peers>), ..ports };
        Self::built(control, PlatformSettings::default(), ports, Arc::clone(&ISSUER), NOW_MS)
    }

    /// A platform over a control plane that may have been used before.
    pub(crate) fn over(
        control: Control,
        settings: PlatformSettings,
        issuer: Arc<TokenIssuer>,
        now_ms: u64,
    ) -> Self {
        Self::built(control, settings, Ports::default(), issuer, now_ms)
    }

    fn built(
        control: Control,
        settings: PlatformSettings,
        ports: Ports,
        issuer: Arc<TokenIssuer>,
        now_ms: u64,
    ) -> Self {
        let clock = Clock::fixed(now_ms);
        let metrics = prometheus::Registry::new();
        let sealing = Arc::new(SealingKey::new(&[7; 32]).unwrap());
        let platform = Platform::new(
            settings,
            ports,
            control.clone(),
            sealing,
            issuer,
            clock.clone(),
            &metrics,
        )
        .unwrap();
        let (running, shutdown) = watch::channel(false);
        tokio::spawn(platform.tasks(shutdown));
        Self {
            mp1: platform.mepserver_router(),
            auth: platform.mepauth_router(),
            platform,
            control,
            clock,
            metrics,
            _running: running,
        }
    }

    pub(crate) fn catalog(&self) -> Arc<Catalog> {
        self.control.catalog()
    }

    /// A request to mepserver, directly.
    pub(crate) fn mp1(&self, method: Method, path: impl AsRef<str>) -> Ask {
        Ask::new(self.mp1.clone(), method, path.as_ref())
    }

    /// A request to mepauth, directly.
    pub(crate) fn auth(&self, method: Method, path: impl AsRef<str>) -> Ask {
        Ask::new(self.auth.clone(), method, path.as_ref())
    }

    /// Registers a service of an app and gives its id.
    pub(crate) async fn register(&self, app: &str, body: Value) -> String {
        let answer = self.post_service(app, body).send().await;
        answer.expect(201);
        answer.json()["serInstanceId"].as_str().unwrap().to_owned()
    }

    pub(crate) fn post_service(&self, app: &str, body: Value) -> Ask {
        self.mp1(Method::POST, format!("{SM}/applications/{app}/services")).of(app).json(&body)
    }

    /// One sample of a metric family with this label value, or of a plain one.
    pub(crate) fn metric(&self, family: &str, label: Option<&str>) -> f64 {
        let families = self.metrics.gather();
        let family = families.iter().find(|one| one.name() == family).unwrap();
        let labelled = |one: &&prometheus::proto::Metric| {
            label.is_none_or(|label| one.get_label().iter().any(|pair| pair.value() == label))
        };
        family
            .get_metric()
            .iter()
            .find(labelled)
            .map_or(0.0, |one| one.get_counter().get_value() + one.get_gauge().get_value())
    }
}

pub(crate) async fn control() -> Control {
    control_over(Arc::new(Memory::new())).await
}

async fn control_over(store: Arc<Memory>) -> Control {
    let kinds = gateway_model::entities::ALL
        .into_iter()
        .chain(plugins::entity_types())
        .chain(mep::ENTITIES);
    let mut registry = Registry::new(kinds);
    plugins::register(&mut registry);
    Control::start(Arc::new(registry), store, Vec::new(), Clock::fixed(NOW_MS)).await.unwrap()
}

/// One request.
pub(crate) struct Ask {
    router: Router,
    request: http::request::Builder,
    caller: Caller,
    body: Body,
}

impl Ask {
    fn new(router: Router, method: Method, path: &str) -> Self {
        let client = IpAddr::from([127, 0, 0, 1]);
        let caller = Caller { subject: None, client, by_gateway: false, certified: false };
        let request = Request::builder().method(method).uri(path);
        Self { router, request, caller, body: Body::empty() }
    }

    /// Says who calls, as direct callers do.
    pub(crate) fn of(self, app: &str) -> Self {
        self.header("X-AppinstanceID", app)
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.request = self.request.header(name, value);
        self
    }

    /// From this address.
    pub(crate) fn from(mut self, client: &str) -> Self {
        self.caller.client = client.parse().unwrap();
        self
    }

    /// By the gateway, which verified a token of `subject`.
    pub(crate) fn by_gateway(mut self, subject: Option<&str>) -> Self {
        self.caller.by_gateway = true;
        self.caller.subject = subject.map(Arc::from);
        self
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.body(body.to_string())
    }

    pub(crate) fn body(mut self, body: impl Into<Body>) -> Self {
        self.body = body.into();
        self
    }

    pub(crate) async fn send(self) -> Answer {
        let mut request = self.request.body(self.body).unwrap();
        let asked = format!("{} {}", request.method(), request.uri());
        request.extensions_mut().insert(self.caller);
        let (parts, body) = self.router.oneshot(request).await.unwrap().into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        Answer { asked, status: parts.status.as_u16(), headers: parts.headers, text }
    }

    /// Sends, and expects one of the platform's problems.
    pub(crate) async fn refused(self, status: u16, code: u8, title: &str, detail: &str) {
        let answer = self.send().await;
        answer.expect(status);
        let wanted = format!(r#"{{"title":"{title}","status":{code},"detail":"{detail}"}}"#);
        assert_eq!(answer.text, wanted + "\n", "{}", answer.asked);
        assert_eq!(answer.headers["content-type"], "application/json; charset=UTF-8");
        assert_eq!(answer.headers["x-response-status"], status.to_string());
    }
}

pub(crate) struct Answer {
    asked: String,
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    #[track_caller]
    pub(crate) fn expect(&self, status: u16) {
        assert_eq!(self.status, status, "{}: {}", self.asked, self.text);
    }

    #[track_caller]
    pub(crate) fn is(&self, status: u16, text: &str) {
        assert_eq!((self.status, self.text.as_str()), (status, text), "{}", self.asked);
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }
}

/// The body an agent sends, contract section 8.1.
pub(crate) fn agent_body() -> Value {
    let body = r#"{"serName":"sampleapp","serCategory":{"href":"/example/catalogue1","id":"id12345","name":"RNI","version":"version1"},"version":"v1","state":"ACTIVE","transportId":"Rest1","transportInfo":{"id":"33b13d69-79ff-4d4f-bb61-eb7d81f59b44","name":"REST","description":"REST API","type":"REST_HTTP","protocol":"http","version":"2.0","endpoint":{"addresses":[{"host":"sampleapp.default","port":32115}]},"security":{"oAuth2Info":{"grantTypes":null,"tokenEndpoint":""}},"implSpecificInfo":{}},"serializer":"JSON","scopeOfLocality":"MEC_SYSTEM","consumedLocalOnly":false,"isLocal":true,"livenessInterval":10,"_links":{"self":{"liveness":""}}}"#;
    serde_json::from_str(body).unwrap()
}

/// The least a service can be.
pub(crate) fn service(name: &str) -> Value {
    json!({"serName": name, "version": "1", "state": "ACTIVE", "serializer": "JSON"})
}

pub(crate) fn service_at(name: &str, uris: &[&str]) -> Value {
    let mut body = service(name);
    body["transportInfo"] = json!({"endpoint": {"uris": uris}});
    body
}

/// Waits until `holds` does, for as long as a slow machine may take.
pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while !holds().await {
        assert!(tokio::time::Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
