use std::net::IpAddr;

use gateway_model::{Document, Scopes, Violations};
use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::Value;

use super::config::Config;
use crate::contract::{Flow, Handler, Phases, Plugin, Reply, Request, Setup};

const APP_INSTANCE_ID: HeaderName = HeaderName::from_static("x-appinstanceid");
/// What a token's `clientip` says when its issuer did not know: good from nowhere.
const UNKNOWN_IP: &str = "UNKNOWN_IP";

/// One instance.
pub(crate) struct AppIdHeader {
    clientip_check: bool,
    issuer: Option<String>,
}

impl Plugin for AppIdHeader {
    const NAME: &'static str = "appid-header";
    const VERSION: &'static str = "1.0.0";
    const PRIORITY: i32 = 10;
    const PHASES: Phases = Phases::ACCESS;
    const SCOPES: Scopes = Scopes::NO_CONSUMER;
    type Config = Config;

    fn build(config: Config, _: &Setup<'_>) -> Result<Self, Violations> {
        Ok(Self { clientip_check: config.clientip_check, issuer: config.issuer })
    }
}

impl Handler for AppIdHeader {
    fn access<'a>(&'a self, request: &'a mut Request<'_>) -> Flow<'a> {
        // Whatever comes of it, the client's own word is dropped, every copy.
        request.head.remove_header(&APP_INSTANCE_ID);
        let claims = request.facts.identity.claims.clone();
        let subject = claims.as_deref().and_then(|claims| self.subject(claims, request));
        let named =
            subject.and_then(|subject| Some((subject, HeaderValue::try_from(subject).ok()?)));
        let Some((subject, value)) = named else {
            return Flow::reply(Reply::table(StatusCode::UNAUTHORIZED, "Unauthorized"));
        };
        request.facts.identity.subject = Some(subject.into());
        // Cannot fail with a name and a value that are valid.
        drop(request.head.insert_header(APP_INSTANCE_ID, value));
        Flow::Continue
    }
}

impl AppIdHeader {
    /// The subject of a token that may be used from where the client is.
    fn subject<'c>(&self, claims: &'c Document, request: &Request<'_>) -> Option<&'c str> {
        let text = |name: &str| claims.get(name).and_then(Value::as_str);
        if let Some(issuer) = &self.issuer {
            let credential = request.facts.identity.credential.as_ref()?;
            if *credential.identifier != **issuer {
                return None;
            }
        }
        if self.clientip_check {
            let allowed = text("clientip").filter(|claim| *claim != UNKNOWN_IP)?;
            let allowed: IpAddr = allowed.parse().ok()?;
            if allowed.to_canonical() != request.facts.client.ip.to_canonical() {
                return None;
            }
        }
        text("sub").filter(|subject| !subject.is_empty())
    }
}
