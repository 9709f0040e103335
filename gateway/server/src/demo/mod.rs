//! `gateway demo`: the main job, step by step, with every request and reply as they were sent.
//!
//! Runs against the gateway named by `--proxy`, `--admin` and `--auth`, or starts one of its own
//! on free ports with a temporary folder, and stops it at the end.

mod client;
mod instance;
mod upstream;

use std::net::IpAddr;

use anyhow::{Context, Result, ensure};
use clap::Args;
use mep::auth::credential::{AccessKey, AppInstanceId, SecretKey};
use serde_json::{Value, json};

use crate::cli::Place;
use client::{Client, Shown};
use instance::Instance;

/// Where the gateway is; all three or none.
#[derive(Args, Debug)]
pub(crate) struct Demo {
    /// Proxy of a running gateway: `https://127.0.0.1:8443`.
    #[arg(long, value_name = "URL", requires_all = ["admin", "auth"])]
    proxy: Option<String>,
    /// Its Admin API: `http://127.0.0.1:8001`.
    #[arg(long, value_name = "URL", requires = "proxy")]
    admin: Option<String>,
    /// Its direct token and AK/SK listener: `http://127.0.0.1:8090`.
    #[arg(long, value_name = "URL", requires = "proxy")]
    auth: Option<String>,
    /// The authority its certificate is verified with; without it nothing is verified.
    #[arg(long, value_name = "FILE", requires = "proxy")]
    ca: Option<std::path::PathBuf>,
}

/// An app with its keys.
struct App {
    id: AppInstanceId,
    access_key: AccessKey,
    secret_key: SecretKey,
}

impl App {
    fn random() -> Result<Self> {
        Ok(Self {
            id: AppInstanceId::random(),
            access_key: AccessKey::random()?,
            secret_key: SecretKey::random()?,
        })
    }
}

const MP1: &str = "/mep/mec_service_mgmt/v1";

impl Demo {
    /// Runs the steps; the first unexpected reply ends it.
    ///
    /// # Errors
    ///
    /// The step and what came instead.
    pub(crate) fn run(self, place: &Place) -> Result<()> {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        provider.install_default().map_err(|_| anyhow::anyhow!("a crypto provider is there"))?;
        runtime.block_on(async {
            let instance = match (self.proxy, self.admin, self.auth) {
                (Some(proxy), Some(admin), Some(auth)) => {
                    Instance::running(proxy, admin, auth, self.ca)
                }
                _ => Instance::start(place)?,
            };
            let told = tour(&instance).await;
            instance.stop()?;
            told
        })
    }
}

async fn tour(gateway: &Instance) -> Result<()> {
    let client = Client::new(gateway, None)?;
    let (provider, consumer) = (App::random()?, App::random()?);
    let (upstream, _serving) = upstream::start().await?;

    step(1, "The operator gives two apps their keys (AK/SK API, loopback only)");
    keys(&client, &provider, &["greeting"]).await?;
    keys(&client, &consumer, &["greeting"]).await?;

    step(2, "The provider signs a request with its keys and gets a token");
    let token = token(&client, &provider).await?;

    step(3, "It registers a service over Mp1; the gateway publishes it in the same change");
    let path = format!("{MP1}/applications/{}/services", provider.id.as_str());
    let registered = client
        .send("POST", &client.proxy(&path), Some(&token), Some(service(&upstream)))
        .await?
        .expect(201)?;
    ensure!(registered["serInstanceId"].is_string(), "no serInstanceId in the reply");

    step(4, "Another app gets its own token and discovers the service");
    let consumer_token = self::token(&client, &consumer).await?;
    let found = client
        .send(
            "GET",
            &client.proxy(&format!("{MP1}/services?ser_name=greeting")),
            Some(&consumer_token),
            None,
        )
        .await?
        .expect(200)?;
    let uri = found[0]["transportInfo"]["endpoint"]["uris"][0]
        .as_str()
        .context("the discovered service has no URI")?
        .to_owned();

    step(5, "It calls the service at that URI, through the gateway");
    client.send("GET", &format!("{uri}/hello"), Some(&consumer_token), None).await?.expect(200)?;

    step(6, "Without a token the gateway refuses");
    client.send("GET", &format!("{uri}/hello"), None, None).await?.expect(401)?;

    step(7, "A token stolen by a client at another address is refused too");
    let thief = Client::new(gateway, Some(IpAddr::from([127, 0, 0, 2])))?;
    thief
        .send("GET", &thief.proxy(&format!("{MP1}/services")), Some(&consumer_token), None)
        .await?
        .expect(401)?;

    step(8, "The operator limits the service to 3 calls a minute, with Kong's Admin API");
    let name = uri.rsplit('/').next().unwrap_or_default();
    let limit = json!({"name": "rate-limiting", "config": {"minute": 3, "policy": "local"}});
    let plugins = client.admin(&format!("/services/{name}/plugins"));
    client.send("POST", &plugins, None, Some(limit)).await?.expect(201)?;
    for _ in 0..3 {
        client.quietly("GET", &format!("{uri}/hello"), &consumer_token).await?;
    }
    client.send("GET", &format!("{uri}/hello"), Some(&consumer_token), None).await?.expect(429)?;

    println!("\nThat is the main job. Everything above went over real sockets.");
    Ok(())
}

fn step(number: u32, title: &str) {
    println!("\n── {number}. {title}");
}

async fn keys(client: &Client, app: &App, required: &[&str]) -> Result<()> {
    let url = client.auth(&format!("/mep/appMng/v1/applications/{}/confs", app.id.as_str()));
    let body = json!({
        "authInfo": {"credentials": {
            "accessKeyId": app.access_key.as_str(),
            "secretKey": app.secret_key.expose(),
        }},
        "appInfo": {"appName": "demo", "requiredServices": required},
    });
    client.send("PUT", &url, None, Some(body)).await?.expect(200).map(drop)
}

async fn token(client: &Client, app: &App) -> Result<String> {
    let reply: Shown = client.signed("/mep/token", &app.access_key, &app.secret_key).await?;
    let reply = reply.expect(200)?;
    let token = reply["access_token"].as_str().context("no access_token in the reply")?;
    Ok(token.to_owned())
}

fn service(upstream: &str) -> Value {
    json!({
        "serName": "greeting",
        "version": "1.0",
        "state": "ACTIVE",
        "transportInfo": {
            "id": "rest",
            "name": "REST",
            "type": "REST_HTTP",
            "protocol": "HTTP",
            "version": "2.0",
            "endpoint": {"uris": [upstream]},
        },
        "serializer": "JSON",
    })
}
