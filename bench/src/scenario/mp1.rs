//! Mp1 through the gateway: the platform answers in the gateway's process, behind the plugins that
//! guard it.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use anyhow::{Context as _, Result, ensure};
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};

use super::measured;
use super::turns::Turns;
use crate::Bench;
use crate::gateway::{Gateway, client};
use crate::load::{Bound, CONNECTIONS, Get, Traffic, drive};
use crate::report::{GATEWAY, Row};
use crate::tokens::{self, Signer};
use crate::upstream;

pub(super) const MP1: &str = "/mep/mec_service_mgmt/v1";
/// Services one app may register.
const PER_APP: usize = 50;
/// Services one discovery finds.
const FOUND: usize = 10;

/// Registers services of different names until the time is over, among as many as are present.
pub(super) async fn register(bench: &Bench, name: &str) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for &present in bench.sizes.present {
        let gateway = Gateway::start(bench).await?;
        let apps = Apps::of(&gateway, bench)?;
        apps.check(&gateway).await?;
        let there = |number| apps.registration(&format!("present{number}"));
        if present > 0 {
            drive(CONNECTIONS, Bound::Count(present.try_into()?), 201, there).await?;
        }
        for clients in [1, CONNECTIONS] {
            let name = format!("{name}-{present}-by-{clients}");
            let mut rounds = Vec::new();
            for round in 0..bench.rounds {
                let service = |number| apps.registration(&format!("c{clients}r{round}n{number}"));
                let load = drive(clients, Bound::Time(bench.length), 201, service);
                rounds.push(measured(&name, GATEWAY, Some(&gateway.process), load).await?);
            }
            rows.push(Row::new(&name, GATEWAY, rounds, Some(&gateway.process))?);
        }
        gateway.process.stop().await?;
    }
    Ok(rows)
}

/// Discovers services by their name.
pub(super) async fn discover(bench: &Bench, name: &str) -> Result<Vec<Row>> {
    let gateway = Gateway::start(bench).await?;
    let apps = Apps::of(&gateway, bench)?;
    let found = Bound::Count(FOUND.try_into()?);
    drive(1, found, 201, |_| apps.registration("wanted")).await?;
    drive(1, found, 201, |number| apps.registration(&format!("other{number}"))).await?;

    apps.announce(&gateway, 0, &["wanted"]).await?;
    let path = format!("{MP1}/services?ser_name=wanted");
    let url = format!("{}{path}", gateway.origin("proxy", "http")?);
    let (_, token) = apps.app(0)?;
    let answer = apps.client.get(url).bearer_auth(&token).send().await?;
    let (status, body) = (answer.status(), answer.text().await?);
    let listed: Vec<Value> = serde_json::from_str(&body).unwrap_or_default();
    ensure!(status == 200 && listed.len() == FOUND, "discovery: {status} {body}");

    let traffic = Traffic::plain(vec![Get { path, token: Some(token) }]);
    Turns::beside_nginx(bench, name).take(bench, gateway, &[traffic]).await
}

/// Application instances that register services, as many as it takes.
pub(super) struct Apps {
    signer: Signer,
    client: Client,
    /// `http://HOST:PORT` of the proxy.
    origin: String,
    /// What the services are at.
    upstream: String,
    registered: Cell<usize>,
    /// The tokens of apps by their number.
    tokens: RefCell<HashMap<usize, String>>,
}

impl Apps {
    pub(super) fn of(gateway: &Gateway, bench: &Bench) -> Result<Self> {
        Ok(Self {
            signer: Signer::of(gateway.prefix.path())?,
            client: client().build()?,
            origin: gateway.origin("proxy", "http")?.to_owned(),
            upstream: format!("http://{}", bench.upstream.address),
            registered: Cell::new(0),
            tokens: RefCell::default(),
        })
    }

    /// Tells the platform, as a life-cycle manager does, which services an app may discover.
    pub(super) async fn announce(
        &self,
        gateway: &Gateway,
        number: usize,
        services: &[&str],
    ) -> Result<()> {
        let (id, _) = self.app(number)?;
        let origin = gateway.origin("mep-auth", "http")?;
        let url = format!("{origin}/mep/appMng/v1/applications/{id}/confs");
        // Keys nobody signs with: the tokens here are signed for the platform.
        let keys = json!({"accessKeyId": "A".repeat(20), "secretKey": "S".repeat(64)});
        let body = json!({
            "authInfo": {"credentials": keys},
            "appInfo": {"appName": "bench", "requiredServices": services},
        });
        let request = self.client.put(url).header("X-Real-Ip", "127.0.0.1").json(&body);
        let answer = request.send().await?;
        let (status, body) = (answer.status(), answer.text().await?);
        ensure!(status == 200, "announcing an app: {status} {body}");
        Ok(())
    }

    /// Registers a service and calls it at once, by the name the gateway published it under.
    async fn check(&self, gateway: &Gateway) -> Result<()> {
        let answer = self.registration("called")?.send().await?;
        let (status, body) = (answer.status(), answer.text().await?);
        ensure!(status == 201, "a registration: {status} {body}");
        let listed = gateway.admin(Method::GET, "/services?size=1000")?.send().await?;
        let listed: Value = listed.json().await?;
        let services = listed["data"].as_array().context("services")?;
        let names = services.iter().filter_map(|service| service["name"].as_str());
        let name = names.into_iter().find(|name| name.starts_with("called"));
        let name = name.with_context(|| format!("not published: {listed}"))?;
        let (_, token) = self.app(0)?;
        let url = format!("{}/{name}/one", self.origin);
        let answer = self.client.get(url).bearer_auth(token).send().await?;
        let (status, body) = (answer.status(), answer.bytes().await?);
        ensure!(status == 200 && body.len() == upstream::BODY, "calling {name}: {status}");
        Ok(())
    }

    /// A request that registers one more service.
    pub(super) fn registration(&self, name: &str) -> Result<RequestBuilder> {
        let registered = self.registered.replace(self.registered.get() + 1);
        let (id, token) = self.app(registered / PER_APP)?;
        let url = format!("{}{MP1}/applications/{id}/services", self.origin);
        Ok(self.client.post(url).bearer_auth(token).json(&service(name, &self.upstream)))
    }

    /// The same, and the number of its app.
    pub(super) fn numbered(&self, name: &str) -> Result<(usize, RequestBuilder)> {
        Ok((self.registered.get() / PER_APP, self.registration(name)?))
    }

    /// What such a service is replaced by.
    pub(super) fn body(&self, name: &str, version: &str) -> Value {
        let mut body = service(name, &self.upstream);
        body["version"] = version.into();
        body
    }

    /// The same of one that sends heartbeats, as often as the platform says, and the number of its
    /// app.
    pub(super) fn beating(&self) -> Result<(usize, RequestBuilder)> {
        let name = format!("beating{}", self.registered.get());
        let mut body = service(&name, &self.upstream);
        body["livenessInterval"] = 60.into();
        let (app, request) = self.numbered(&name)?;
        Ok((app, request.json(&body)))
    }

    /// A request of an app's, to a path of Mp1.
    pub(super) fn request(&self, method: Method, app: usize, path: &str) -> Result<RequestBuilder> {
        let (_, token) = self.app(app)?;
        let url = format!("{}{MP1}{path}", self.origin);
        Ok(self.client.request(method, url).bearer_auth(token))
    }

    /// The id of an app and its token, which is signed once.
    fn app(&self, number: usize) -> Result<(String, String)> {
        let id = tokens::app(number);
        let mut tokens = self.tokens.borrow_mut();
        if let Some(token) = tokens.get(&number) {
            return Ok((id, token.clone()));
        }
        let token = self.signer.token(&id)?;
        tokens.insert(number, token.clone());
        Ok((id, token))
    }
}

/// A service as applications register it.
fn service(name: &str, uri: &str) -> Value {
    json!({
        "serName": name,
        "version": "1.0",
        "state": "ACTIVE",
        "transportInfo": {
            "id": "rest",
            "name": "REST",
            "type": "REST_HTTP",
            "protocol": "HTTP",
            "version": "2.0",
            "endpoint": {"uris": [uri]},
        },
        "serializer": "JSON",
    })
}
