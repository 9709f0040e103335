//! A MEC application: its keys, its tokens, its registrations.

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use mep::auth::credential::{AccessKey, AppInstanceId, SecretKey};
use mep::auth::signature::{Authorization, SignedRequest};
use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};

use super::{Answer, Answered as _, Gateway, plain};

/// The prefix of every service management path.
pub(crate) const SERVICE_MGMT: &str = "/mep/mec_service_mgmt/v1";

/// An application instance and its key pair.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) id: String,
    pub(crate) access_key: AccessKey,
    pub(crate) secret_key: SecretKey,
}

impl App {
    /// The app the gateway made on its first start.
    pub(crate) fn bootstrap(gateway: &Gateway) -> Self {
        let printed = |name| gateway.printed(name).unwrap_or_else(|| panic!("{name} was printed"));
        Self {
            id: printed("APP_INST_ID").to_owned(),
            access_key: AccessKey::parse(printed("ACCESS_KEY")).expect("an access key"),
            secret_key: SecretKey::parse(printed("SECRET_KEY")).expect("a secret key"),
        }
    }

    /// A new app that nobody knows yet.
    pub(crate) fn random() -> Self {
        Self {
            id: AppInstanceId::random().as_str().to_owned(),
            access_key: AccessKey::random().expect("randomness"),
            secret_key: SecretKey::random().expect("randomness"),
        }
    }

    /// A new app that the life-cycle manager announced, allowed to see `services`.
    pub(crate) async fn announced(gateway: &Gateway, services: &[&str]) -> Self {
        let app = Self::random();
        app.announce(gateway, services).await.expect(200);
        app
    }

    /// Stores the key pair through the AK/SK API on the direct listener.
    pub(crate) async fn announce(&self, gateway: &Gateway, services: &[&str]) -> Answer {
        let url =
            gateway.url("mep-auth", &format!("/mep/appMng/v1/applications/{}/confs", self.id));
        let body = self.confs(services);
        plain().put(url).header("X-Real-Ip", "127.0.0.1").body(body.to_string()).answer().await
    }

    /// The body that does so.
    pub(crate) fn confs(&self, services: &[&str]) -> Value {
        json!({
            "authInfo": {"credentials": {
                "accessKeyId": self.access_key.as_str(),
                "secretKey": self.secret_key.expose(),
            }},
            "appInfo": {"appName": "tested", "requiredServices": services},
        })
    }

    /// A signed token request to `url`, as the agents send it now.
    pub(crate) fn token_request(&self, client: &Client, url: &str) -> RequestBuilder {
        let now = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
        self.token_request_at(client, url, &now)
    }

    /// As [`Self::token_request`], with a date of one's own.
    pub(crate) fn token_request_at(
        &self,
        client: &Client,
        url: &str,
        date: &str,
    ) -> RequestBuilder {
        let mut request = client.post(url).build().expect("a request");
        let headers = signed_headers(date);
        let url = request.url();
        let host = match url.port() {
            Some(port) => format!("{}:{port}", url.host_str().expect("a host")),
            None => url.host_str().expect("a host").to_owned(),
        };
        let signed = SignedRequest {
            method: "POST",
            path: url.path(),
            query: url.query().unwrap_or_default(),
            host: &host,
            headers: &headers,
        };
        let authorization = Authorization::sign(self.access_key.clone(), &self.secret_key, &signed);
        let authorization = authorization.to_string().parse().expect("a header value");
        *request.headers_mut() = headers;
        request.headers_mut().insert("authorization", authorization);
        RequestBuilder::from_parts(client.clone(), request)
    }

    /// A token got through the plain proxy by `client`.
    pub(crate) async fn token_by(&self, gateway: &Gateway, client: &Client) -> String {
        let request = self.token_request(client, &gateway.url("proxy", "/mep/token"));
        let body = request.answer().await.expect(200).json();
        body["access_token"].as_str().expect("a token").to_owned()
    }

    /// A token got through the plain proxy from 127.0.0.1.
    pub(crate) async fn token(&self, gateway: &Gateway) -> String {
        self.token_by(gateway, &plain()).await
    }

    /// The path of this app's part of service management.
    pub(crate) fn path(&self, rest: &str) -> String {
        format!("{SERVICE_MGMT}/applications/{}{rest}", self.id)
    }

    /// A service as the agents register it, at `uri`.
    pub(crate) fn service(name: &str, uri: &str) -> Value {
        json!({
            "serName": name,
            "serCategory": {
                "href": "/example/catalogue1", "id": "id12345", "name": "RNI", "version": "version1",
            },
            "version": "v1",
            "state": "ACTIVE",
            "transportId": "Rest1",
            "transportInfo": {
                "id": "33b13d69-79ff-4d4f-bb61-eb7d81f59b44",
                "name": "REST",
                "description": "REST API",
                "type": "REST_HTTP",
                "protocol": "http",
                "version": "2.0",
                "endpoint": {"uris": [uri]},
                "security": {"oAuth2Info": {"grantTypes": null, "tokenEndpoint": ""}},
                "implSpecificInfo": {},
            },
            "serializer": "JSON",
            "scopeOfLocality": "MEC_SYSTEM",
            "consumedLocalOnly": false,
            "isLocal": true,
            "livenessInterval": 10,
            "_links": {"self": {"liveness": ""}},
        })
    }

    /// Registers a service through the proxy; the answer is not looked at.
    pub(crate) async fn register(&self, gateway: &Gateway, token: &str, body: &Value) -> Answer {
        // Agents send no Content-Type.
        let request = plain().post(gateway.url("proxy", &self.path("/services")));
        request.bearer_auth(token).body(body.to_string()).answer().await
    }

    /// The first URI under which the service is published, without scheme and host.
    pub(crate) async fn published(&self, gateway: &Gateway, token: &str, service: &str) -> String {
        let path = self.path(&format!("/services/{service}"));
        let found = plain().get(gateway.url("proxy", &path)).bearer_auth(token).answer().await;
        let found = found.expect(200).json();
        let uri = found["transportInfo"]["endpoint"]["uris"][0].as_str().expect("a URI").to_owned();
        uri.splitn(4, '/').nth(3).map(|path| format!("/{path}")).expect("a path")
    }
}

/// A request on the direct Mp1 listener in the name of `app`.
pub(crate) fn mp1(
    gateway: &Gateway,
    app: &str,
    method: http::Method,
    path: &str,
) -> RequestBuilder {
    plain().request(method, gateway.url("mep", path)).header("X-AppinstanceID", app)
}

fn signed_headers(date: &str) -> HeaderMap {
    HeaderMap::from_iter([
        (CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (http::HeaderName::from_static("x-sdk-date"), date.parse().expect("a header value")),
    ])
}
