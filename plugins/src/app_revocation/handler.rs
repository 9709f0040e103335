use gateway_model::schema::Record;
use gateway_model::{EntityType, Violations};
use http::{HeaderValue, StatusCode, header};
use serde::Deserialize;
use serde_json::Value;

use super::revocation::{REVOCATIONS, Revocation};
use crate::contract::{Flow, Handler, Phases, Plugin, Reply, Request, Setup};

/// Refuses tokens of applications that are gone. The platform puts it in place; nothing is configured.
#[derive(Deserialize, Record)]
pub(crate) struct Config {}

/// One instance.
pub(crate) struct AppRevocation;

impl Plugin for AppRevocation {
    const NAME: &'static str = "app-revocation";
    const VERSION: &'static str = "1.0.0";
    /// Right after the token was verified.
    const PRIORITY: i32 = 1449;
    const PHASES: Phases = Phases::ACCESS;
    const ENTITIES: &'static [&'static EntityType] = &[&REVOCATIONS];
    type Config = Config;

    fn build(_: Config, _: &Setup<'_>) -> Result<Self, Violations> {
        Ok(Self)
    }
}

impl Handler for AppRevocation {
    fn access<'a>(&'a self, request: &'a mut Request<'_>) -> Flow<'a> {
        if is_revoked(request) {
            let challenge = HeaderValue::from_static("Bearer error=\"invalid_token\"");
            let reply = Reply::table(StatusCode::UNAUTHORIZED, "Unauthorized");
            return Flow::reply(reply.header(header::WWW_AUTHENTICATE, challenge));
        }
        Flow::Continue
    }
}

fn is_revoked(request: &Request<'_>) -> bool {
    let Some(claims) = request.facts.identity.claims.as_deref() else { return false };
    let Some(subject) = claims.get("sub").and_then(Value::as_str) else { return false };
    let Some(revocation) = request.facts.catalog.by::<Revocation>("subject", subject) else {
        return false;
    };
    #[expect(clippy::cast_precision_loss, reason = "milliseconds are far below 2^53")]
    let until = revocation.expiring_until_ms as f64;
    // A token without an end was not issued by the platform.
    claims.get("exp").and_then(Value::as_f64).is_none_or(|exp| exp * 1000.0 <= until)
}
