//! The gateway's own errors, in forms the operator chose.

use serde_json::json;

use crate::harness::{Answered as _, Gateway, Options, plain};

async fn publish(gateway: &Gateway) {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let service = json!({"name": "s", "url": format!("http://{closed}"), "retries": 0});
    plain().post(gateway.url("admin", "/services")).json(&service).answer().await.expect(201);
    let route = json!({"paths": ["/s"]});
    let routes = gateway.url("admin", "/services/s/routes");
    plain().post(routes).json(&route).answer().await.expect(201);
}

#[tokio::test]
async fn templates_by_what_a_client_accepts() {
    let mut options = Options::new();
    for (form, template) in [
        ("html", "<p>%s</p><i>%s</i>"),
        ("json", r#"{"told":"%s","id":"%s"}"#),
        ("plain", "%s / %s"),
        ("xml", "<e m='%s' id='%s'/>"),
    ] {
        let file = options.file(form, template);
        options = options.set(&format!("error_template_{form}"), file.to_str().unwrap());
    }
    let gateway = options.start().await;
    publish(&gateway).await;
    for (path, status, told) in [
        ("/s", 502, "An invalid response was received from the upstream server"),
        ("/none", 404, "no Route matched with those values"),
    ] {
        for (accept, kind, form) in [
            ("text/html", "text/html; charset=utf-8", "<p>M</p><i>ID</i>"),
            ("application/json", "application/json; charset=utf-8", r#"{"told":"M","id":"ID"}"#),
            ("text/plain", "text/plain; charset=utf-8", "M / ID"),
            ("application/xml", "application/xml; charset=utf-8", "<e m='M' id='ID'/>"),
        ] {
            let asked = plain().get(gateway.url("proxy", path)).header("Accept", accept);
            let answer = asked.answer().await.expect(status);
            // What gateway logic refuses is JSON whatever is accepted, as Kong's is.
            if status == 404 {
                assert!(answer.text().contains(told), "{}", answer.text());
                continue;
            }
            let id = answer.header("x-kong-request-id").unwrap();
            let wanted = form.replace("ID", id).replace('M', told);
            assert_eq!((answer.header("content-type"), answer.text()), (Some(kind), &*wanted));
        }
    }
}
