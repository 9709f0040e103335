//! EdgeGallery's own clients, replayed request by request with the headers and bodies they send:
//! contract section 8. Those in Go make a new connection of TLS 1.2 for each request, offer the two
//! suites of the installer and ask for `edgegallery`; those in Python speak to the same port.

use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mep::auth::credential::{AccessKey, SecretKey};
use serde_json::{Value, json};
use tokio::io::{AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use crate::harness::{
    App, DEADLINE, Gateway, Options, Upstream, eventually, go_client, handshake, http1, plain,
};

/// The whole installation with TLS everywhere, as the charts have it by default.
async fn installation() -> Gateway {
    let both = "127.0.0.1:0, 127.0.0.1:0 ssl";
    let options = Options::new()
        .set("mep_ssrf_allow", "127.0.0.1")
        .set("mep_listen", both)
        .set("mep_auth_listen", both);
    options.start().await
}

/// A client, and where it believes to send to.
struct Client {
    to: SocketAddr,
    /// What it puts into `Host`.
    host: String,
    /// What its library adds, on both sides of its own headers.
    adds: [&'static str; 2],
}

/// What came back: the status, and the body.
struct Told(u16, String);

impl Told {
    #[track_caller]
    fn expect(self, status: u16) -> Value {
        assert_eq!(self.0, status, "{}", self.1);
        serde_json::from_str(&self.1).unwrap_or(Value::Null)
    }
}

impl Client {
    /// Go's `net/http`, with a transport of its own for each request.
    fn go(to: SocketAddr, host: &str) -> Self {
        let adds = ["User-Agent: Go-http-client/1.1\r\n", "Accept-Encoding: gzip\r\n"];
        Self { to, host: format!("{host}:{}", to.port()), adds }
    }

    /// Python's `requests`.
    fn python(to: SocketAddr, host: &str) -> Self {
        let adds = [
            "User-Agent: python-requests/2.23.0\r\nAccept-Encoding: gzip, deflate\r\n\
             Accept: */*\r\nConnection: keep-alive\r\n",
            "",
        ];
        Self { to, host: format!("{host}:{}", to.port()), adds }
    }

    /// One request over a connection of its own.
    async fn send(&self, line: &str, headers: &[(&str, &str)], body: &str) -> Told {
        let mut request = format!("{line} HTTP/1.1\r\nHost: {}\r\n{}", self.host, self.adds[0]);
        let reads = line.starts_with("GET ") || line.starts_with("DELETE ");
        if !reads || !body.is_empty() {
            request += &format!("Content-Length: {}\r\n", body.len());
        }
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        request += self.adds[1];
        request += "\r\n";
        request += body;
        let exchange = async {
            let stream = TcpStream::connect(self.to).await?;
            let stream = handshake(stream, "edgegallery", go_client()).await?;
            let mut stream = BufReader::new(stream);
            stream.write_all(request.as_bytes()).await?;
            stream.flush().await?;
            let head = http1::read_head(&mut stream).await?;
            let head = head.ok_or_else(|| std::io::Error::other("closed without an answer"))?;
            let body = match head.status() {
                204 => Vec::new(),
                _ => http1::read_body(&mut stream, &head, true).await?,
            };
            std::io::Result::Ok(Told(head.status(), String::from_utf8_lossy(&body).into_owned()))
        };
        let told = tokio::time::timeout(DEADLINE, exchange).await.expect("an answer in time");
        told.unwrap_or_else(|why| panic!("{why}: {request}"))
    }
}

/// 8.1, the side-car of an application.
struct Agent {
    client: Client,
    app: App,
}

impl Agent {
    fn new(gateway: &Gateway, app: &App) -> Self {
        let client = Client::go(gateway.tls_addr("proxy"), "mep-api-gw.mep");
        Self { client, app: app.clone() }
    }

    /// Step 1: a token, and how long it lives.
    async fn token(&self) -> (String, u64) {
        let url = format!("https://{}/mep/token", self.client.host);
        let signed = self.app.token_request(&plain(), &url).build().unwrap();
        let header = |name: &str| signed.headers()[name].to_str().unwrap();
        let headers = [
            ("Authorization", header("authorization")),
            ("Content-Type", "application/json"),
            ("X-Sdk-Date", header("x-sdk-date")),
        ];
        let told = self.client.send("POST /mep/token", &headers, "").await.expect(200);
        assert_eq!(told["token_type"], "Bearer");
        let token = told["access_token"].as_str().unwrap().to_owned();
        (token, told["expires_in"].as_u64().expect("a number"))
    }
}

/// A service of the side-car's YAML file, byte for byte but for the address.
fn agents_service(name: &str, at: SocketAddr) -> String {
    format!(
        r#"{{"serName":"{name}","serCategory":{{"href":"/example/catalogue1","id":"id12345","name":"RNI","version":"version1"}},"version":"v1","state":"ACTIVE","transportId":"Rest1","transportInfo":{{"id":"33b13d69-79ff-4d4f-bb61-eb7d81f59b44","name":"REST","description":"REST API","type":"REST_HTTP","protocol":"http","version":"2.0","endpoint":{{"addresses":[{{"host":"{}","port":{}}}]}},"security":{{"oAuth2Info":{{"grantTypes":null,"tokenEndpoint":""}}}},"implSpecificInfo":{{}}}},"serializer":"JSON","scopeOfLocality":"MEC_SYSTEM","consumedLocalOnly":false,"isLocal":true,"livenessInterval":10,"_links":{{"self":{{"liveness":""}}}}}}"#,
        at.ip(),
        at.port()
    )
}

/// 8.1: token, registration of several services, heartbeats of the first, discovery and a call.
#[tokio::test]
async fn the_side_car_of_an_application() {
    let gateway = installation().await;
    let provider = Upstream::start().await;
    let app = App::announced(&gateway, &["sampleapp", "second"]).await;
    let agent = Agent::new(&gateway, &app);
    let (token, lifetime) = agent.token().await;
    assert_eq!(lifetime, 3600);
    let bearer = format!("Bearer {token}");
    let bearer = [("Authorization", bearer.as_str())];

    let services = format!("POST {}", app.path("/services"));
    let mut liveness = Vec::new();
    for name in ["sampleapp", "second"] {
        let body = agents_service(name, provider.addr());
        let told = agent.client.send(&services, &bearer, &body).await.expect(201);
        assert_eq!(told["livenessInterval"], 60);
        liveness.push(told["_links"]["self"]["liveness"].as_str().unwrap().to_owned());
    }
    // Its ticker blocks: only the first is kept alive. It takes 200 and 204.
    for _ in 0..2 {
        let beat = format!("PUT {}", liveness[0]);
        agent.client.send(&beat, &bearer, r#"{"state":"ACTIVE"}"#).await.expect(204);
    }
    for name in ["sampleapp", "second"] {
        let find = format!("GET /mep/mec_service_mgmt/v1/services?ser_name={name}");
        let headers = [bearer[0], ("X-Appinstanceid", app.id.as_str())];
        let found = agent.client.send(&find, &headers, "").await.expect(200);
        let uri = found[0]["transportInfo"]["endpoint"]["uris"][0].as_str().unwrap();
        let path = format!("/{}/notify?x=1", uri.splitn(4, '/').nth(3).unwrap());
        agent.client.send(&format!("GET {path}"), &bearer, "").await.expect(200);
        assert_eq!(provider.only().uri, "/notify?x=1");
    }
    // A new token for each call; the one before stays good.
    let (next, _) = agent.token().await;
    assert_ne!(next, token);
    let list = format!("GET {}", app.path("/services"));
    agent.client.send(&list, &bearer, "").await.expect(200);
}

/// 8.2: what lcmcontroller asks of mepauth and of Mm5, for an application that never came and for
/// one that did.
#[tokio::test]
async fn the_life_cycle_manager() {
    let gateway = installation().await;
    let auth = Client::go(gateway.tls_addr("mep-auth"), "mepauth.mep");
    let mm5 = Client::go(gateway.tls_addr("mep"), "mep-mm5.mep");
    let provider = Upstream::start().await;
    // Its keys: 14 and 48 bytes in base64, so that the access key ends with an equals sign.
    let app = App {
        access_key: AccessKey::parse(&STANDARD.encode([0xfb; 14])).unwrap(),
        secret_key: SecretKey::parse(&STANDARD.encode([0xff; 48])).unwrap(),
        ..App::random()
    };
    assert!(app.access_key.as_str().ends_with('=') && app.secret_key.expose().contains('/'));
    let confs = format!("PUT /mep/appMng/v1/applications/{}/confs", app.id);
    let body = format!(
        r#"{{"authInfo":{{"credentials":{{"accessKeyId":"{}","secretKey":"{}","appName":"demo"}}}},"appInfo":{{"appName":"demo","requiredServices":["sampleapp"]}}}}"#,
        app.access_key.as_str(),
        app.secret_key.expose()
    );
    let from = [("X-Real-Ip", "127.0.0.1")];
    auth.send(&confs, &from, &body).await.expect(200);
    let unnamed = App::random();
    let body = format!(
        r#"{{"authInfo":{{"credentials":{{"accessKeyId":"{}","secretKey":"{}","appName":"x"}}}},"appInfo":{{"appName":"x","requiredServices":null}}}}"#,
        unnamed.access_key.as_str(),
        unnamed.secret_key.expose()
    );
    let confs = format!("PUT /mep/appMng/v1/applications/{}/confs", unnamed.id);
    auth.send(&confs, &from, &body).await.expect(200);

    // The portal's questions, whose answers it passes on as they are.
    let agent = Agent::new(&gateway, &app);
    let (token, _) = agent.token().await;
    let bearer = format!("Bearer {token}");
    let services = format!("POST {}", app.path("/services"));
    let body = agents_service("sampleapp", provider.addr());
    let made = agent.client.send(&services, &[("Authorization", &bearer)], &body).await;
    let id = made.expect(201)["serInstanceId"].as_str().unwrap().to_owned();
    for name in ["services", "kong_log", "subscribe_statistic"] {
        let told = mm5.send(&format!("GET /mep/service_govern/v1/{name}"), &[], "").await;
        let told = told.expect(200);
        assert_eq!((&told["retCode"], &told["message"]), (&json!(0), &json!("")), "{name}");
    }
    let capabilities = "GET /mepcfg/mec_platform_config/v1/capabilities";
    let all = mm5.send(capabilities, &[], "").await.expect(200);
    let one = mm5.send(&format!("{capabilities}/{id}"), &[], "").await.expect(200);
    assert_eq!((&all[0], &one["capabilityName"]), (&one, &json!("sampleapp")));

    // Rolled back before it came; ended after it did; and once more.
    for app in [&unnamed, &app, &app] {
        let end = format!("/mep/mec_app_support/v1/applications/{}/AppInstanceTermination", app.id);
        let headers = [("X-Appinstanceid", app.id.as_str()), ("X-Real-Ip", "127.0.0.1")];
        let told = mm5.send(&format!("DELETE {end}"), &headers, "").await;
        assert_eq!((told.0, told.1.as_str()), (200, "\"\"\n"));
    }
    assert_eq!(mm5.send(capabilities, &[], "").await.expect(200), json!([]));
}

/// 8.3: apprulemgr, which knows other spellings, polls for results and reads `detail` and `status`
/// of whatever is not 200.
#[tokio::test]
async fn the_rule_manager() {
    let gateway = installation().await;
    let client = Client::go(gateway.tls_addr("mep"), "edgegallery");
    let app = App::random();
    let path = format!("/mepcfg/app_lcm/v1/applications/{}/appd_configuration", app.id);
    let body = |priority: u8| {
        format!(
            r#"{{"appName":"app1","appSupportMp1":true,"appTrafficRule":[{{"trafficRuleId":"r1","filterType":"FLOW","priority":{priority},"action":"DROP","trafficFilter":[{{"trafficFilterId":"","srcAddress":["192.168.1.1/28"],"srcPort":["8080"],"dstAddress":["192.168.1.1/28"],"dstPort":["8080"],"protocol":["TCP"],"qCI":1,"dSCP":0,"tC":1,"tag":null,"srcTunnelAddress":null,"dstTunnelAddress":null,"srcTunnelPort":null,"dstTunnelPort":null}}],"dstInterface":[{{"dstInterfaceId":"","interfaceType":"TUNNEL","TunnelInfo":{{"tunnelType":"GTP_U","tunnelDstAddress":"1.1.1.1","tunnelSrcAddress":"1.1.1.1","tunnelSpecificData":""}},"srcMacAddress":"02-00-5E-10-00-00","dstMacAddress":"02-00-5E-10-00-00","dstIpAddress":"1.1.1.1"}}]}}],"appDnsRule":[{{"dnsRuleId":"d1","domainName":"www.example.com","ipAddressType":"IP_V4","ipAddress":"10.0.0.1","ttl":30}}]}}"#
        )
    };
    let done = async |told: Told| {
        let told = told.expect(200);
        let task = told["taskId"].as_str().unwrap().to_owned();
        let task = format!("GET /mepcfg/app_lcm/v1/tasks/{task}/appd_configuration");
        eventually("SUCCESS or FAILURE", async || {
            let now = client.send(&task, &[], "").await.expect(200);
            let result = now["configResult"].as_str().unwrap().to_owned();
            (result != "PROCESSING").then_some(result)
        })
        .await
    };
    let missing = async |method: &str, body: &str| {
        let told = client.send(&format!("{method} {path}"), &[], body).await.expect(404);
        assert!(told["detail"].is_string() && told["status"].is_u64(), "{told}");
    };
    missing("GET", "").await;
    missing("PUT", &body(1)).await;
    missing("DELETE", "").await;
    assert_eq!(done(client.send(&format!("POST {path}"), &[], &body(1)).await).await, "SUCCESS");
    let stored = client.send(&format!("GET {path}"), &[], "").await.expect(200);
    assert_eq!(stored["appName"], "app1");
    assert_eq!(stored["appDNSRule"][0]["domainName"], "www.example.com");
    let tunnel = &stored["appTrafficRule"][0]["dstInterface"][0]["tunnelInfo"];
    assert_eq!(tunnel["tunnelDstAddress"], "1.1.1.1");
    let refused = client.send(&format!("POST {path}"), &[], &body(1)).await.expect(400);
    assert!(refused["detail"].is_string() && refused["status"].is_u64(), "{refused}");
    let unknown = body(1).replace("DROP", "DUPLICATED_DECAPSULATED");
    let refused = client.send(&format!("PUT {path}"), &[], &unknown).await.expect(400);
    assert!(refused["detail"].is_string() && refused["status"].is_u64(), "{refused}");
    assert_eq!(done(client.send(&format!("PUT {path}"), &[], &body(2)).await).await, "SUCCESS");
    assert_eq!(done(client.send(&format!("DELETE {path}"), &[], "").await).await, "SUCCESS");
    missing("GET", "").await;
}

/// 8.4: an example application in Python, with the token its side-car got.
#[tokio::test]
async fn an_example_application() {
    let gateway = installation().await;
    let app = App::announced(&gateway, &["provided"]).await;
    let provider = App::announced(&gateway, &["provided"]).await;
    let upstream = Upstream::start().await;
    let made = Agent::new(&gateway, &provider);
    let (token, _) = made.token().await;
    let bearer = format!("Bearer {token}");
    let services = format!("POST {}", provider.path("/services"));
    let body = agents_service("provided", upstream.addr());
    made.client.send(&services, &[("Authorization", &bearer)], &body).await.expect(201);

    // Step 1: from the side-car.
    let (token, _) = Agent::new(&gateway, &app).token().await;
    let client = Client::python(gateway.tls_addr("proxy"), "mep-api-gw.mep");
    let bearer = format!("Bearer {token}");
    let headers = [
        ("Content-Type", "application/json"),
        ("Authorization", bearer.as_str()),
        ("X-AppinstanceID", app.id.as_str()),
    ];
    let support = |rest: &str| format!("/mep/mec_app_support/v1/applications/{}{rest}", app.id);
    let post = async |rest: &str, body: &str| {
        client.send(&format!("POST {}", support(rest)), &headers, body).await
    };
    post("/confirm_ready", r#"{"indication": "READY"}"#).await.expect(204);
    let callback = Upstream::start().await;
    let wish = format!(
        r#"{{"subscriptionType": "AppTerminationNotificationSubscription", "callbackReference": "{}{}", "appInstanceId": "{}"}}"#,
        callback.url(),
        support("/callback"),
        app.id
    );
    post("/subscriptions", &wish).await.expect(201);
    // Step 5.
    let find = "GET /mep/mec_service_mgmt/v1/services?ser_name=provided";
    let found = client.send(find, &headers[1..], "").await.expect(200);
    let uri = found[0]["transportInfo"]["endpoint"]["uris"][0].as_str().unwrap();
    let path = format!("GET /{}/v1/face", uri.splitn(4, '/').nth(3).unwrap());
    client.send(&path, &headers[1..], "").await.expect(200);
    assert_eq!(upstream.only().uri, "/v1/face");

    // Step 4: it answers 200 at once, and confirms.
    let mm5 = Client::go(gateway.tls_addr("mep"), "mep-mm5.mep");
    let end = format!("DELETE {}", support("/AppInstanceTermination"));
    mm5.send(&end, &[("X-Appinstanceid", &app.id)], "").await.expect(200);
    let told = callback.next().await;
    assert_eq!(told.uri, support("/callback"));
    assert_eq!(told.json()["operationAction"], "TERMINATING");
    post("/confirm_termination", r#"{"operationAction": "TERMINATING"}"#).await.expect(204);
    post("/confirm_ready", r#"{"indication": "READY"}"#).await.expect(401);
}
