use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use gateway_model::{Clock, Scopes, Violations};
use http::StatusCode;

use super::config::Config;
use crate::contract::{Flow, Handler, Needs, Phases, Plugin, Reply, Request, Setup};

/// One instance (kong/plugins/standard-webhooks/internal.lua).
pub(crate) struct StandardWebhooks {
    key: hmac::Key,
    tolerance: u64,
    clock: Clock,
}

impl Plugin for StandardWebhooks {
    const NAME: &'static str = "standard-webhooks";
    const PRIORITY: i32 = 760;
    const PHASES: Phases = Phases::ACCESS;
    const SCOPES: Scopes = Scopes::NO_CONSUMER;
    type Config = Config;

    fn build(config: Config, setup: &Setup<'_>) -> Result<Self, Violations> {
        let secret = config.secret_v1.expose();
        Ok(Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()),
            tolerance: u64::try_from(config.tolerance_second).unwrap_or_default(),
            clock: setup.tools.clock.clone(),
        })
    }
}

impl Handler for StandardWebhooks {
    fn needs(&self) -> Needs {
        Needs::BODY
    }

    fn access<'a>(&'a self, request: &'a mut Request<'_>) -> Flow<'a> {
        if self.verifies(request).is_some() {
            return Flow::Continue;
        }
        Flow::reply(Reply::message(StatusCode::BAD_REQUEST, "Bad request"))
    }
}

impl StandardWebhooks {
    /// Nothing when anything is missing or wrong: a sender is not told what.
    fn verifies(&self, request: &Request<'_>) -> Option<()> {
        let id = request.header("webhook-id")?;
        let told = request.header("webhook-timestamp")?;
        let signature = request.header("webhook-signature")?;
        let seconds: u64 = told.parse().ok()?;
        let body = request.facts.body.bytes().filter(|body| !body.is_empty())?;
        if self.clock.unix_seconds().saturating_sub(seconds) > self.tolerance {
            return None;
        }
        let mut signed = format!("{id}.{seconds}.").into_bytes();
        signed.extend_from_slice(body);
        let tag = BASE64_STANDARD.decode(signature.strip_prefix("v1,")?).ok()?;
        hmac::verify(&self.key, &signed, &tag).ok()
    }
}
