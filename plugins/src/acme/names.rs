//! [`Names`]: which names there may be certificates for.

use std::net::Ipv4Addr;

use super::config::Config;

/// Which names there may be certificates for.
#[derive(Clone, Debug)]
pub(super) struct Names {
    plain: Vec<String>,
    /// What a name may end with: `.example.com`.
    ends: Vec<String>,
    /// What a name may begin with: `example.`.
    begins: Vec<String>,
    any: bool,
    addresses: bool,
}

impl Names {
    pub(super) fn new(config: &Config) -> Self {
        let (mut plain, mut ends, mut begins) = (Vec::new(), Vec::new(), Vec::new());
        for domain in config.domains.iter().flatten() {
            let domain = domain.to_ascii_lowercase();
            match (domain.strip_prefix('*'), domain.strip_suffix('*')) {
                (Some(end), _) => ends.push(end.to_owned()),
                (None, Some(begin)) => begins.push(begin.to_owned()),
                (None, None) => plain.push(domain),
            }
        }
        let any = config.allow_any_domain.unwrap_or_default();
        let addresses = config.enable_ipv4_common_name.unwrap_or(true);
        Self { plain, ends, begins, any, addresses }
    }

    /// Whether there may be a certificate for this name, lower case and without port.
    pub(super) fn allow(&self, name: &str) -> bool {
        if name.is_empty() || !self.addresses && name.parse::<Ipv4Addr>().is_ok() {
            return false;
        }
        let longer = |part: &String| name.len() > part.len();
        self.any
            || self.plain.iter().any(|one| one == name)
            || self.ends.iter().any(|end| longer(end) && name.ends_with(end.as_str()))
            || self.begins.iter().any(|begin| longer(begin) && name.starts_with(begin.as_str()))
    }

    /// The names that are told in full.
    pub(super) fn in_full(&self) -> impl Iterator<Item = &str> {
        self.plain.iter().map(String::as_str).filter(|name| self.allow(name))
    }
}
