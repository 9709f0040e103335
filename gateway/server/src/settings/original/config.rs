//! `config.yaml`.

use serde::Deserialize;

use super::Refusal;

/// `config.yaml`: who is told about DNS rules. Parts that are absent keep their default.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct OriginalConfig {
    pub(crate) dns_agent: DnsAgent,
    pub(crate) dataplane: Dataplane,
}

/// `dnsAgent`
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct DnsAgent {
    #[serde(rename = "type")]
    pub(crate) kind: DnsAgentKind,
    pub(crate) end_point: EndPoint,
}

/// Who answers for DNS rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum DnsAgentKind {
    /// Our name server.
    Local,
    /// The data plane's.
    Dataplane,
    /// Both.
    #[default]
    All,
}

/// `endPoint`
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct EndPoint {
    pub(crate) address: Address,
}

/// `address`: the management port of the name server.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Address {
    /// 1 to 253 characters.
    pub(crate) host: String,
    /// Not 0.
    pub(crate) port: u16,
}

impl Default for Address {
    fn default() -> Self {
        Self { host: "localhost".to_owned(), port: 8080 }
    }
}

/// `dataplane`
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Dataplane {
    #[serde(rename = "type")]
    pub(crate) kind: DataplaneKind,
}

/// The driver of the data plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum DataplaneKind {
    #[default]
    None,
}

impl OriginalConfig {
    /// # Errors
    ///
    /// What the YAML reader says, or the broken rule.
    pub(crate) fn parse(text: &str) -> Result<Self, Vec<Refusal>> {
        let options = serde_saphyr::options! { with_snippet: false };
        let config: Self = serde_saphyr::from_str_with_options(text, options).map_err(|error| {
            let line = error.location().map(|place| place.line() as usize);
            vec![Refusal { line, text: error.to_string() }]
        })?;
        let Address { host, port } = &config.dns_agent.end_point.address;
        let mut refusals = Vec::new();
        if !(1..=253).contains(&host.len()) {
            let text = "dnsAgent.endPoint.address.host must have 1 to 253 characters".to_owned();
            refusals.push(Refusal { line: None, text });
        }
        if *port == 0 {
            let text = "dnsAgent.endPoint.address.port must be 1 to 65535".to_owned();
            refusals.push(Refusal { line: None, text });
        }
        if refusals.is_empty() { Ok(config) } else { Err(refusals) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn the_file_as_it_is_shipped() {
        let text = "\
dnsAgent:
  # values: local, dataplane, all
  type: local
  endPoint:
    address:
      host: dns.example
      port: 8053
dataplane:
  type: none
";
        let config = OriginalConfig::parse(text).unwrap();
        assert_eq!(config.dns_agent.kind, DnsAgentKind::Local);
        let address = config.dns_agent.end_point.address;
        assert_eq!((address.host.as_str(), address.port), ("dns.example", 8053));
        assert_eq!(config.dataplane.kind, DataplaneKind::None);
    }

    #[test]
    fn what_is_absent_keeps_its_default() {
        let config = OriginalConfig::parse("dnsAgent: { type: dataplane }").unwrap();
        assert_eq!(config.dns_agent.kind, DnsAgentKind::Dataplane);
        assert_eq!(config.dns_agent.end_point.address, Address::default());
        assert_eq!(OriginalConfig::default().dns_agent.kind, DnsAgentKind::All);
    }

    #[test]
    fn wrong_values() {
        let long =
            format!("dnsAgent: {{ endPoint: {{ address: {{ host: {} }} }} }}", "h".repeat(254));
        let rows = [
            ("dnsAgent:\n  type: remote\n", Some(2), "remote"),
            ("dataplane:\n  type: p4\n", Some(2), "p4"),
            ("dnsAgent:\n  endPoint:\n    address:\n      port: 70000\n", Some(4), ""),
            ("dnsAgent:\n  endPoint:\n    address:\n      port: 0\n", None, "1 to 65535"),
            ("dnsAgent:\n  endPoint:\n    address:\n      host: ''\n", None, "1 to 253"),
            (long.as_str(), None, "1 to 253"),
            ("dnsAgnet:\n  type: all\n", Some(1), "dnsAgnet"),
        ];
        for (text, line, expected) in rows {
            let refusals = OriginalConfig::parse(text).unwrap_err();
            assert_eq!(refusals.len(), 1, "{text}: {refusals:?}");
            assert!(refusals[0].text.contains(expected), "{text}: {refusals:?}");
            assert_eq!(refusals[0].line, line, "{text}: {refusals:?}");
        }
    }
}
