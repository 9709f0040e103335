use gateway_model::Violations;
use http::StatusCode;
use serde_json::Value;

use super::config::Config;
use crate::contract::{ANY, Flow, Handler, Phases, Plugin, Reply, Request, Setup};
use crate::kit::addresses::Addresses;
use crate::kit::http::status;

/// One instance (kong/plugins/ip-restriction/handler.lua).
pub(crate) struct IpRestriction {
    /// `None` lets in everybody who is not denied.
    allow: Option<Addresses>,
    deny: Addresses,
    status: StatusCode,
    message: Option<String>,
}

impl Plugin for IpRestriction {
    const NAME: &'static str = "ip-restriction";
    const PRIORITY: i32 = 990;
    const PHASES: Phases = Phases::ACCESS;
    const PROTOCOLS: &'static [&'static str] = ANY;
    const DEFAULT_PROTOCOLS: &'static [&'static str] =
        &["http", "https", "tcp", "tls", "grpc", "grpcs"];
    type Config = Config;

    fn build(config: Config, _: &Setup<'_>) -> Result<Self, Violations> {
        let mut violations = Violations::new();
        let mut read = |field: &str, list: Option<&Vec<String>>| {
            let list = list.filter(|list| !list.is_empty())?;
            Addresses::parse(list)
                .inspect_err(|(at, text)| {
                    let mut problems = vec![Value::Null; *at];
                    problems.push(format!("invalid ip or cidr range: '{text}'").into());
                    violations.add(field, problems.into());
                })
                .ok()
        };
        let allow = read("allow", config.allow.as_ref());
        let deny = read("deny", config.deny.as_ref()).unwrap_or_default();
        let status = match config.status.map(status) {
            None => StatusCode::FORBIDDEN,
            Some(Ok(status)) => status,
            Some(Err(text)) => {
                violations.add("status", text.into());
                StatusCode::FORBIDDEN
            }
        };
        if !violations.is_empty() {
            return Err(violations);
        }
        Ok(Self { allow, deny, status, message: config.message })
    }
}

impl Handler for IpRestriction {
    fn access<'a>(&'a self, request: &'a mut Request<'_>) -> Flow<'a> {
        let ip = request.facts.client.ip;
        let allowed = self.allow.as_ref().is_none_or(|allow| allow.contains(ip));
        if allowed && !self.deny.contains(ip) {
            return Flow::Continue;
        }
        let message = match &self.message {
            Some(message) => message.clone(),
            None => format!("IP address not allowed: {}", ip.to_canonical()),
        };
        Flow::reply(Reply::message(self.status, message))
    }
}
