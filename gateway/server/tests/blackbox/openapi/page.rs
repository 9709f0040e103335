//! The page to try the APIs, and what it may ask.

use std::io::Read as _;

use http::Method;
use serde_json::json;

use super::{WHOLE, gateway};
use crate::harness::{Answered as _, App, plain};

/// The page is there with all it needs, asks nobody outside, and may ask the platform.
#[tokio::test]
async fn a_page_to_try_them() {
    let gateway = gateway().await;
    let get = async |path: &str| plain().get(gateway.url("status", path)).answer().await;
    let moved = get("/docs").await;
    assert_eq!((moved.status, moved.header("location")), (303, Some("/docs/")));
    let page = get("/docs/").await.expect(200);
    assert_eq!(page.header("content-type"), Some("text/html"));
    for name in ["swagger-ui.css", "index.css", "swagger-ui-bundle.js", "favicon-32x32.png"] {
        let path = format!("/docs/{name}");
        let file = get(&path).await.expect(200);
        assert!(!file.body.is_empty(), "{name}");
        assert_eq!(file.header("content-encoding"), None, "{name}");
        // Compressed for those who take it, and the same.
        let asked = plain().get(gateway.url("status", &path));
        let packed = asked.header("Accept-Encoding", "br, gzip;q=0.5").answer().await.expect(200);
        assert_eq!(packed.header("content-encoding"), Some("gzip"), "{name}");
        let mut unpacked = Vec::new();
        flate2::read::GzDecoder::new(&packed.body[..]).read_to_end(&mut unpacked).unwrap();
        assert!(unpacked == file.body, "{name}");
    }
    let script = get("/docs/swagger-initializer.js").await.expect(200);
    for part in [WHOLE, "/openapi/etsi.json", "/openapi/edgegallery.json"] {
        assert!(script.text().contains(&format!("\"{part}\"")), "{}", script.text());
    }
    assert!(script.text().contains("\"validatorUrl\": \"none\""), "{}", script.text());
    assert!(!script.text().contains("://"), "{}", script.text());
    assert_eq!(get("/docs/nosuch.js").await.status, 404);

    let app = App::announced(&gateway, &[]).await;
    let time = gateway.url("mep", "/mec_app_support/v1/timing/current_time");
    let port = gateway.addr("status").port();
    let rows = [
        (format!("http://127.0.0.1:{port}"), true),
        (format!("http://localhost:{port}"), true),
        (format!("http://example.com:{port}"), false),
        (format!("http://127.0.0.1:{}", gateway.addr("admin").port()), false),
    ];
    for (origin, may) in rows {
        let from = |method| plain().request(method, &time).header("Origin", &origin);
        let allowed = may.then_some(origin.as_str());
        let asks = from(Method::OPTIONS)
            .header("Access-Control-Request-Method", "GET")
            .header("Access-Control-Request-Headers", "x-appinstanceid")
            .answer()
            .await;
        assert_eq!(asks.header("access-control-allow-origin"), allowed);
        let headers = may.then_some("x-appinstanceid");
        assert_eq!(asks.header("access-control-allow-headers"), headers);
        let told = from(Method::GET).header("X-AppInstanceID", &app.id).answer().await.expect(200);
        assert_eq!(told.header("access-control-allow-origin"), allowed);
    }
}

/// By the gateway the page is let in by a plugin, as the README says.
#[tokio::test]
async fn the_page_tries_the_gateway_with_a_plugin() {
    let gateway = gateway().await;
    let app = App::announced(&gateway, &[]).await;
    let token = app.token(&gateway).await;
    let origin = gateway.url("status", "");
    let plugin = json!({"name": "cors", "config": {"origins": [origin]}});
    let plugins = gateway.url("admin", "/plugins");
    plain().post(plugins).json(&plugin).answer().await.expect(201);
    for root in ["", "/mep"] {
        let path = format!("{root}/mec_service_mgmt/v1/services");
        let url = gateway.url("proxy", &path);
        let from = |method| plain().request(method, &url).header("Origin", &origin);
        let asks = from(Method::OPTIONS)
            .header("Access-Control-Request-Method", "GET")
            .header("Access-Control-Request-Headers", "authorization")
            .answer()
            .await;
        assert_eq!(asks.header("access-control-allow-origin"), Some(origin.as_str()), "{asks:?}");
        assert_eq!(asks.header("access-control-allow-headers"), Some("authorization"), "{asks:?}");
        let told = from(Method::GET).bearer_auth(&token).answer().await.expect(200);
        assert_eq!(told.header("access-control-allow-origin"), Some(origin.as_str()), "{told:?}");
    }
}
