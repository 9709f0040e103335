//! [`Target`]: one weighted member of an upstream.

use std::net::IpAddr;

use serde::Deserialize;
use serde_json::Value;

use super::Upstream;
use crate::schema::{Record, types};
use crate::{Document, Entity, Id, Ref, Violations};

/// One weighted member of an upstream (kong/db/schema/entities/targets.lua).
#[derive(Clone, Debug, Deserialize, Record)]
pub struct Target {
    /// Primary key.
    #[record(auto = Auto::Id)]
    pub id: Id,
    /// Unix seconds of creation, with milliseconds.
    #[record(auto = Auto::CreatedAt)]
    pub created_at: f64,
    /// Unix seconds of the last write, with milliseconds.
    #[record(auto = Auto::UpdatedAt)]
    pub updated_at: f64,
    /// Whose.
    #[record(cascade)]
    pub upstream: Ref<Upstream>,
    /// `host:port` in normal form.
    #[record(is("target", types::target))]
    pub target: String,
    /// Its share of the load; 0 gets none.
    #[record(default = 100, between(0, 65535))]
    pub weight: Option<u16>,
    /// Free labels.
    #[record(set, elements(|e| e.is("tag", types::tag)))]
    pub tags: Option<Vec<String>>,
}

impl Entity for Target {
    const KIND: &'static str = "targets";
}

impl Target {
    /// Host and port of the normal form.
    pub fn host_and_port(&self) -> (&str, u16) {
        split(&self.target)
    }
}

const DEFAULT_PORT: u16 = 8000;

fn split(target: &str) -> (&str, u16) {
    let (host, port) = types::split_port(target);
    (host, port.and_then(|port| port.parse().ok()).unwrap_or(DEFAULT_PORT))
}

/// Writes the port out, and an IPv6 address in full between brackets.
pub(super) fn normalise(document: &mut Document) -> Result<(), Violations> {
    if let Some(Value::String(target)) = document.get_mut("target") {
        let (host, port) = split(target);
        *target = match host.parse::<IpAddr>() {
            Ok(address) => format!("{}:{port}", types::in_full(address)),
            Err(_) => format!("{host}:{port}"),
        };
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::normalise;

    #[test]
    fn normal_form() {
        let one = "[0000:0000:0000:0000:0000:0000:0000:0001]";
        for (target, wanted) in [
            ("h.test", "h.test:8000".to_owned()),
            ("h.test:81", "h.test:81".to_owned()),
            ("10.0.0.1", "10.0.0.1:8000".to_owned()),
            ("::1", format!("{one}:8000")),
            ("[::1]:80", format!("{one}:80")),
            (&format!("{one}:80"), format!("{one}:80")),
        ] {
            let mut document = json!({ "target": target }).as_object().expect("object").clone();
            normalise(&mut document).expect("has a normal form");
            assert_eq!(document["target"], wanted, "for {target}");
        }
    }
}
