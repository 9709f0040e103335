#![allow(clippy::unwrap_used, reason = "tests")]

use serde_json::{Value, json};

use crate::test_kit::rig;

const SECRET: &str = "a secret";
const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
const TIME: &str = "1614265330";
const BODY: &str = r#"{"test": 2432232314}"#;
/// Of `ID.TIME.BODY`, made by another implementation.
const SIGNATURE: &str = "v1,erSEI+Imfi9Cxkkf1dTb8weVmcNQOMUMzaeKy1OUry0=";

fn status(config: Value, headers: &[(&str, &str)], body: &str, later: u64) -> Option<u16> {
    let mut rig = rig();
    rig.clock.set_unix_ms((1_614_265_330 + later) * 1000);
    let plugin = rig.plugin("standard-webhooks", config);
    let mut exchange = rig.get("/hook").method("POST").body("application/json", body);
    for (name, value) in headers {
        exchange = exchange.header(name, value);
    }
    let answer = exchange.access(&plugin)?;
    assert_eq!(answer.body, json!({"message": "Bad request"}));
    Some(answer.status)
}

#[test]
fn a_signed_webhook_passes() {
    let config = || json!({"secret_v1": SECRET});
    let sent = |signature| {
        [("webhook-id", ID), ("webhook-timestamp", TIME), ("webhook-signature", signature)]
    };
    assert_eq!(status(config(), &sent(SIGNATURE), BODY, 0), None);
    assert_eq!(status(config(), &sent(SIGNATURE), BODY, 300), None);
    assert_eq!(status(config(), &sent(SIGNATURE), BODY, 301), Some(400), "too old");
    assert_eq!(status(config(), &sent(SIGNATURE), "{}", 0), Some(400), "another body");
    assert_eq!(status(config(), &sent(SIGNATURE), "", 0), Some(400), "no body");
    assert_eq!(status(config(), &sent("v2,AAAA"), BODY, 0), Some(400), "another scheme");
    assert_eq!(status(json!({"secret_v1": "other"}), &sent(SIGNATURE), BODY, 0), Some(400));
    for missing in 0..3 {
        let mut headers = sent(SIGNATURE).to_vec();
        headers.remove(missing);
        assert_eq!(status(config(), &headers, BODY, 0), Some(400), "{missing} is missing");
    }
}

#[test]
fn what_is_refused() {
    let refused =
        rig().try_plugin("standard-webhooks", json!({"secret_v1": "s", "tolerance_second": -1}));
    assert!(refused.err().unwrap().contains("value must be greater than -1"));
}
