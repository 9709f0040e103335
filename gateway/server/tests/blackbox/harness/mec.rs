//! An application that speaks to the standard's own face, through the gateway, with a real token.

use http::Method;
use reqwest::RequestBuilder;
use serde_json::{Value, json};

use super::{Answer, Answered as _, App, Gateway, plain};

/// Where service management is.
pub(crate) const SM: &str = "/mec_service_mgmt/v1";
/// Where application support is.
pub(crate) const AS: &str = "/mec_app_support/v1";

/// An application with a token.
pub(crate) struct Mec<'a> {
    gateway: &'a Gateway,
    pub(crate) app: App,
    pub(crate) token: String,
}

impl<'a> Mec<'a> {
    /// A new application that may see all services.
    pub(crate) async fn start(gateway: &'a Gateway) -> Self {
        let app = App::announced(gateway, &["service-discovery"]).await;
        let token = app.token(gateway).await;
        Self { gateway, app, token }
    }

    /// A path of this application's part of service management.
    pub(crate) fn sm(&self, rest: &str) -> String {
        format!("{SM}/applications/{}{rest}", self.app.id)
    }

    /// A path of this application's part of application support.
    pub(crate) fn support(&self, rest: &str) -> String {
        format!("{AS}/applications/{}{rest}", self.app.id)
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        plain().request(method, self.gateway.url("proxy", path)).bearer_auth(&self.token)
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.request(Method::GET, path).answer().await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.request(Method::DELETE, path).answer().await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.request(Method::POST, path).json(body).answer().await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Answer {
        self.request(Method::PUT, path).json(body).answer().await
    }

    /// Registers a service and gives its id.
    pub(crate) async fn register(&self, body: &Value) -> String {
        let made = self.post(&self.sm("/services"), body).await.expect(201).json();
        made["serInstanceId"].as_str().expect("an id").to_owned()
    }
}

/// The registration of the contract's example, with members changed; `null` takes one away.
pub(crate) fn svc(changes: Value) -> Value {
    let mut body = json!({
        "serName": "rni",
        "serCategory": {"href": "/catalogue/1", "id": "cat-1", "name": "RNI", "version": "v1"},
        "version": "1.4",
        "state": "ACTIVE",
        "serializer": "JSON",
        "transportInfo": {
            "id": "t1", "name": "rest", "type": "REST_HTTP", "protocol": "HTTP", "version": "1.1",
            "security": {},
            "endpoint": {"addresses": [{"host": "192.0.2.7", "port": 8080}]},
        },
    });
    for (name, value) in changes.as_object().expect("an object") {
        if value.is_null() {
            body.as_object_mut().expect("an object").remove(name);
        } else {
            body[name] = value.clone();
        }
    }
    body
}

impl Answer {
    /// The detail of a problem in the standard's form with this status.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{:?} {:?}", self.headers, self.body);
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        let body = self.json();
        assert_eq!(body["status"], status, "{body}");
        body["detail"].as_str().unwrap_or_else(|| panic!("no detail in {body}")).to_owned()
    }
}
