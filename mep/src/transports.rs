//! Transports the platform offers itself: HTTP by the gateway.

use gateway_model::Id;

use crate::entities::{Endpoint, OAuth2, Security, TransportInfo};

/// The id of [`rest`]: the same on every platform and after every start.
pub(crate) fn rest_id() -> String {
    hex::encode(Id::derived("mep_transports", "REST").as_bytes())
}

/// RESTful services by the gateway. Where the gateway is, the face that is asked says.
pub(crate) fn rest() -> TransportInfo {
    TransportInfo {
        id: rest_id(),
        name: "REST".to_owned(),
        description: "REST API".to_owned(),
        kind: "REST_HTTP".to_owned(),
        protocol: "HTTP".to_owned(),
        version: "2.0".to_owned(),
        endpoint: Endpoint::default(),
        security: Security {
            o_auth2_info: OAuth2 {
                grant_types: Some(vec!["OAUTH2_CLIENT_CREDENTIALS".to_owned()]),
                token_endpoint: "/mep/token".to_owned(),
            },
        },
        impl_specific_info: serde_json::Value::Null,
    }
}
