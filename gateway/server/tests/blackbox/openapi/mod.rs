//! The OpenAPI documents of the running binary against its handlers.

mod document;
mod page;

use std::collections::BTreeSet;

use http::Method;
use serde_json::{Value, json};

use self::document::{Document, Operation};
use crate::harness::{Answer, Answered as _, App, Gateway, Options, eventually, plain};

const WHOLE: &str = "/openapi.json";
const SERVICES: &str = "/mec_service_mgmt/v1/applications/{appInstanceId}/services";

async fn gateway() -> Gateway {
    Options::new().set("mep_dns_admin_listen", "127.0.0.1:0").start().await
}

/// A path with something for each of its parameters.
fn filled(path: &str, app: &str) -> String {
    let with = |path: String, (name, value): (&str, &str)| path.replace(name, value);
    let values = [
        ("{appInstanceId}", app),
        ("{apfId}", app),
        ("{subscriberId}", app),
        ("{subscriptionId}", "0f0f0f0f-0f0f-4f0f-8f0f-0f0f0f0f0f0f"),
        ("{taskId}", "0f0f0f0f-0f0f-4f0f-8f0f-0f0f0f0f0f0f"),
        ("{serviceId}", "0123456789abcdef0123456789abcdef"),
        ("{serviceApiId}", "0123456789abcdef0123456789abcdef"),
        ("{dnsRuleId}", "rule-1"),
        ("{trafficRuleId}", "rule-1"),
        ("{fqdn}", "www.example.com."),
        ("{rrtype}", "A"),
    ];
    let path = values.into_iter().fold(path.to_owned(), with);
    assert!(!path.contains('{'), "{path}");
    path
}

/// A request to a listener of the platform itself.
async fn ask(url: &str, method: &Method, app: &str, body: Option<&Value>) -> Answer {
    let request = plain().request(method.clone(), url).header("X-AppInstanceID", app);
    let request = request.header("X-Real-Ip", "127.0.0.1");
    match body {
        Some(body) => request.json(body).answer().await,
        None => request.answer().await,
    }
}

/// Every operation reaches a handler, whose answer the document tells of; every other method of the
/// same path reaches none.
#[tokio::test]
async fn what_is_told_of_is_there_and_nothing_else() {
    let gateway = gateway().await;
    let document = Document::read(&gateway, WHOLE).await;
    let app = App::announced(&gateway, &["service-discovery"]).await;
    let proxies = [gateway.url("proxy", ""), gateway.tls_url("proxy", "")];
    let token_listener = gateway.url("mep-auth", "");
    let mut reached = BTreeSet::new();
    for path in document.paths().keys() {
        let mut servers = document.servers(path);
        servers.retain(|server| !proxies.contains(server));
        assert!(!servers.is_empty(), "{path} is served directly too");
        for server in servers {
            let url = format!("{server}{}", filled(path, &app.id));
            let nowhere = ask(&format!("{url}/x/y/nosuch"), &Method::GET, &app.id, None).await;
            assert_eq!(nowhere.status, 404, "{url}");
            let methods = document.methods(path);
            for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
                let known = methods.contains(method);
                let method: Method = method.parse().unwrap();
                let answer = ask(&url, &method, &app.id, None).await;
                if known {
                    assert_ne!(answer.status, 405, "{method} {url}");
                    assert!(answer.body != nowhere.body || answer.status == 204, "{method} {url}");
                    document.holds(&document.operation(&method, path), &answer);
                    reached.insert(format!("{method} {path}"));
                } else if server == token_listener {
                    // There a wrong method is answered as an unknown path.
                    assert_eq!(
                        (answer.status, &answer.body),
                        (404, &nowhere.body),
                        "{method} {url}"
                    );
                } else {
                    assert_eq!(answer.status, 405, "{method} {url}");
                    let allowed = answer.header("allow").unwrap_or_default().split(',');
                    let mut allowed: BTreeSet<String> = allowed.map(str::to_owned).collect();
                    if allowed.contains("GET") {
                        assert!(allowed.remove("HEAD"), "{url}");
                    }
                    assert_eq!(allowed, methods, "{method} {url}");
                }
            }
        }
    }
    assert_eq!(reached.len(), document.operations().count());
    assert!(reached.len() > 80, "{}", reached.len());
}

/// Together the documents of the faces are the whole one.
#[tokio::test]
async fn each_face_has_its_document() {
    let gateway = gateway().await;
    let whole = Document::read(&gateway, WHOLE).await;
    let etsi = Document::read(&gateway, "/openapi/etsi.json").await;
    let dialect = Document::read(&gateway, "/openapi/edgegallery.json").await;
    let paths = |document: &Document| document.paths().keys().cloned().collect::<BTreeSet<_>>();
    let (own, other) = (paths(&etsi), paths(&dialect));
    assert_eq!(own.union(&other).cloned().collect::<BTreeSet<_>>(), paths(&whole));
    assert_eq!(own.intersection(&other).collect::<Vec<_>>(), ["/mep/token"]);
    for document in [&whole, &etsi, &dialect] {
        assert!(!document.value.to_string().contains("[`"), "no links of the code's");
        let ids: Vec<&str> =
            document.operations().map(|one| one.told["operationId"].as_str().unwrap()).collect();
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "ids are unique");
        let tags = document.value["tags"].as_array().unwrap();
        for operation in document.operations() {
            assert!(tags.iter().any(|tag| tag["name"] == operation.told["tags"][0]));
            document.example(&operation);
        }
    }
    let missing = plain().get(gateway.url("status", "/openapi/none.json")).answer().await;
    assert_eq!(missing.expect(404).json(), json!({"message": "Not found"}));
    let posted = plain().post(gateway.url("status", WHOLE)).answer().await;
    assert_eq!(posted.status, 405);
}

/// Asks as the document says, with its own examples, and holds the answers to it.
struct Client<'a> {
    gateway: &'a Gateway,
    document: Document,
    app: App,
    token: String,
}

impl Client<'_> {
    /// By the gateway, except what management asks.
    async fn ask(&self, method: Method, template: &str, id: &str, body: Option<Value>) -> Answer {
        let operation = self.document.operation(&method, template);
        let by_gateway = self.gateway.url("proxy", "");
        let servers = self.document.servers(template);
        let server = servers.iter().find(|server| **server == by_gateway).unwrap_or(&servers[0]);
        let given = template.rsplit_once('{').filter(|_| !id.is_empty());
        let path = match given {
            Some((before, after)) => format!("{before}{id}{}", after.split_once('}').unwrap().1),
            None => template.to_owned(),
        };
        let url = format!("{server}{}", filled(&path, &self.app.id));
        let mut request = plain().request(method.clone(), url).bearer_auth(&self.token);
        if let Some(body) = body.or_else(|| self.example(&operation)) {
            request = request.json(&body);
        }
        let answer = request.answer().await;
        self.document.holds(&operation, &answer);
        assert!(answer.status < 300, "{method} {path}: {answer:?}");
        answer
    }

    fn example(&self, operation: &Operation<'_>) -> Option<Value> {
        let mut example = self.document.example(operation)?;
        if example.get("appInstanceId").is_some() {
            example["appInstanceId"] = json!(self.app.id);
        }
        Some(example)
    }

    async fn get(&self, template: &str, id: &str) -> Value {
        self.ask(Method::GET, template, id, None).await.json()
    }

    async fn post(&self, template: &str) -> Value {
        self.ask(Method::POST, template, "", None).await.json()
    }
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_else(|| panic!("{name} in {value}")).to_owned()
}

async fn client(gateway: &Gateway) -> Client<'_> {
    let app = App::announced(gateway, &["service-discovery"]).await;
    let token = app.token(gateway).await;
    let document = Document::read(gateway, WHOLE).await;
    Client { gateway, document, app, token }
}

/// Both faces with what they have: services, subscriptions, rules, time, the CAPIF profile.
#[tokio::test]
async fn answers_are_what_the_document_says() {
    let gateway = gateway().await;
    let client = client(&gateway).await;
    for root in ["", "/mep"] {
        let services = format!("{root}{SERVICES}");
        let made = text(&client.post(&services).await, "serInstanceId");
        let one = format!("{services}/{{serviceId}}");
        assert!(!client.get(&services, "").await.as_array().unwrap().is_empty());
        for path in [one.as_str(), &format!("{root}/mec_service_mgmt/v1/services/{{serviceId}}")] {
            assert_eq!(text(&client.get(path, &made).await, "serInstanceId"), made);
        }
        client.get(&format!("{root}/mec_service_mgmt/v1/services"), "").await;
        client.get(&format!("{root}/mec_service_mgmt/v1/transports"), "").await;
        client.ask(Method::PUT, &one, &made, None).await;
        let liveness = format!("{one}/liveness");
        client.get(&liveness, &made).await;
        client.ask(Method::PATCH, &liveness, &made, None).await;
        for api in ["mec_service_mgmt", "mec_app_support"] {
            let all = format!("{root}/{api}/v1/applications/{{appInstanceId}}/subscriptions");
            let made = text(&client.post(&all).await, "subscriptionId");
            client.get(&all, "").await;
            let one = format!("{all}/{{subscriptionId}}");
            client.get(&one, &made).await;
            client.ask(Method::DELETE, &one, &made, None).await;
        }
        client.ask(Method::DELETE, &one, &made, None).await;
    }
    // Without a time server the dialect has no time.
    client.get("/mec_app_support/v1/timing/current_time", "").await;
    client.get("/mec_app_support/v1/timing/timing_caps", "").await;
    let published = "/published-apis/v1/{apfId}/service-apis";
    let one = format!("{published}/{{serviceApiId}}");
    let id = text(&client.post(published).await, "apiId");
    client.get(published, "").await;
    client.get("/service-apis/v1/allServiceAPIs", "").await;
    client.get(&one, &id).await;
    for method in [Method::PUT, Method::PATCH, Method::DELETE] {
        client.ask(method, &one, &id, None).await;
    }
    let events = "/capif-events/v1/{subscriberId}/subscriptions";
    let made = client.ask(Method::POST, events, "", None).await;
    let id = made.header("location").unwrap().rsplit('/').next().unwrap().to_owned();
    for method in [Method::PUT, Method::PATCH, Method::DELETE] {
        client.ask(method, &format!("{events}/{{subscriptionId}}"), &id, None).await;
    }
    let registrations = "/mec_app_support/v1/registrations";
    let id = text(&client.post(registrations).await, "appInstanceId");
    let one = format!("{registrations}/{{appInstanceId}}");
    client.get(&one, &id).await;
    client.ask(Method::PUT, &one, &id, None).await;
    client.ask(Method::DELETE, &one, &id, None).await;
}

/// Rules as management makes them and both faces change them; what portals and operators ask.
#[tokio::test]
async fn rules_and_management_are_what_the_document_says() {
    let gateway = gateway().await;
    let client = client(&gateway).await;
    // While no rule holds the name.
    let records = "/mep/dns_server_mgmt/v1/rrecord";
    client.ask(Method::POST, records, "", None).await;
    let one = format!("{records}/{{fqdn}}/{{rrtype}}");
    client.ask(Method::DELETE, &one, "", None).await;
    let configuration = "/mepcfg/app_lcm/v1/applications/{appInstanceId}/appd_configuration";
    let task = text(&client.post(configuration).await, "taskId");
    let tasks = "/mepcfg/app_lcm/v1/tasks/{taskId}/appd_configuration";
    eventually("the task ends", async || {
        let now = client.get(tasks, &task).await;
        (now["configResult"] != "PROCESSING").then(|| assert_eq!(now["configResult"], "SUCCESS"))
    })
    .await;
    client.get(configuration, "").await;
    for root in ["", "/mep"] {
        let app = format!("{root}/mec_app_support/v1/applications/{{appInstanceId}}");
        for rules in ["dns_rules/{dnsRuleId}", "traffic_rules/{trafficRuleId}"] {
            let all = format!("{app}/{}", rules.split_once('/').unwrap().0);
            assert_eq!(client.get(&all, "").await.as_array().unwrap().len(), 1, "{all}");
            client.get(&format!("{app}/{rules}"), "rule-1").await;
            client.ask(Method::PUT, &format!("{app}/{rules}"), "rule-1", None).await;
        }
        client.ask(Method::POST, &format!("{app}/confirm_ready"), "", None).await;
    }
    client.post(&format!("/mep{SERVICES}")).await;
    for path in [
        "/mepcfg/mec_platform_config/v1/capabilities",
        "/mep/service_govern/v1/services",
        "/mep/service_govern/v1/subscribe_statistic",
        "/mep/service_govern/v1/kong_log",
    ] {
        client.get(path, "").await;
    }
    client.ask(Method::POST, "/mep/service_govern/v1/kong_log", "", None).await;
}

/// What the standard's types require is required, and nothing else is.
#[tokio::test]
async fn what_is_required_is_required() {
    /// One of these and another is needed, which a list of members does not say.
    const EITHER: [&str; 2] = ["transportInfo", "endpoint"];
    let gateway = gateway().await;
    let client = client(&gateway).await;
    let created = [
        SERVICES,
        "/mec_service_mgmt/v1/applications/{appInstanceId}/subscriptions",
        "/mec_app_support/v1/applications/{appInstanceId}/subscriptions",
        "/mec_app_support/v1/applications/{appInstanceId}/confirm_ready",
        "/mec_app_support/v1/registrations",
        "/published-apis/v1/{apfId}/service-apis",
        "/capif-events/v1/{subscriberId}/subscriptions",
    ];
    for path in created {
        let operation = client.document.operation(&Method::POST, path);
        let body = client.example(&operation).unwrap();
        let told = client.document.body_type(&operation).unwrap();
        let required: Vec<&Value> = told["required"].as_array().into_iter().flatten().collect();
        for name in body.as_object().unwrap().keys().filter(|name| !EITHER.contains(&name.as_str()))
        {
            let app = App::announced(&gateway, &["service-discovery"]).await;
            let url = format!("{}{}", client.document.servers(path)[0], filled(path, &app.id));
            let mut less = body.clone();
            less.as_object_mut().unwrap().remove(name);
            if let Some(id) = less.get_mut("appInstanceId") {
                *id = json!(app.id);
            }
            let answer = ask(&url, &Method::POST, &app.id, Some(&less)).await;
            let wanted = required.iter().any(|one| *one == name);
            let refused = answer.status == 400
                && answer.json()["detail"].as_str().unwrap().starts_with(&format!("{name} "));
            assert!(
                refused == wanted && (refused || answer.status < 300),
                "{path} {name}: {answer:?}"
            );
        }
    }
}

/// Parameters of a query that are told of are known; others are refused.
#[tokio::test]
async fn queries_are_what_the_document_says() {
    let gateway = gateway().await;
    let document = Document::read(&gateway, "/openapi/etsi.json").await;
    let app = App::announced(&gateway, &["service-discovery"]).await;
    let unknown = "is not known";
    let mut asked = 0;
    for operation in document.operations().filter(|one| one.method == Method::GET) {
        let server = &document.servers(operation.path)[0];
        let url = format!("{server}{}", filled(operation.path, &app.id));
        let parameters = operation.told["parameters"].as_array().into_iter().flatten();
        for parameter in parameters.filter(|one| one["in"] == "query") {
            let name = parameter["name"].as_str().unwrap();
            let schema = &parameter["schema"];
            let value = match schema["enum"][0].as_str() {
                Some(word) => word,
                None if schema["type"] == "boolean" => "true",
                None => "1",
            };
            let answer = ask(&format!("{url}?{name}={value}"), &Method::GET, &app.id, None).await;
            assert!(!answer.text().contains(unknown), "{url} {name}");
            document.holds(&operation, &answer);
            asked += 1;
        }
        let answer = ask(&format!("{url}?nosuch=1"), &Method::GET, &app.id, None).await;
        // What asks about a thing that is not there may say so first.
        assert!(answer.status == 404 || answer.problem(400).ends_with(unknown), "{url}");
    }
    assert!(asked > 20, "{asked}");
}
