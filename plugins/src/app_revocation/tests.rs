#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use serde_json::{Value, json};

use crate::test_kit::rig;

#[test]
fn tokens_from_before_are_refused() {
    let mut rig = rig();
    let plugin = rig.plugin("app-revocation", json!({}));
    rig.insert("mep_revocations", json!({"subject": "gone", "expiring_until_ms": 5_000_000}));
    let rows: [(Option<Value>, bool); 7] = [
        (None, true),
        (Some(json!({"sub": "there", "exp": 1})), true),
        (Some(json!({"exp": 1})), true),
        (Some(json!({"sub": "gone", "exp": 4999})), false),
        (Some(json!({"sub": "gone", "exp": 5000})), false),
        (Some(json!({"sub": "gone", "exp": 5000.001})), true),
        (Some(json!({"sub": "gone"})), false),
    ];
    for (claims, good) in rows {
        let mut exchange = rig.get("/");
        exchange.facts.identity.claims =
            claims.clone().map(|claims| Arc::new(claims.as_object().unwrap().clone()));
        let answer = exchange.access(&plugin);
        assert_eq!(answer.is_none(), good, "{claims:?}");
        if let Some(answer) = answer {
            assert_eq!((answer.status, answer.body), (401, json!({"message": "Unauthorized"})));
        }
    }
}
