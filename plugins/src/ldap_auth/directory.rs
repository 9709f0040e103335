//! [`Directory`]: an LDAP server, asked whether a password is good.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_queue::ArrayQueue;
use ldap3::{Ldap, LdapConnAsync, LdapConnSettings, LdapError, dn_escape};
use rustls::ClientConfig;

/// An LDAP server and the idle connections to it.
pub(super) struct Directory {
    url: String,
    settings: LdapConnSettings,
    attribute: String,
    base: String,
    timeout: Duration,
    keep: Duration,
    idle: ArrayQueue<(Ldap, Instant)>,
}

/// Idle connections kept, as many as Kong keeps a worker.
const IDLE: usize = 30;

/// How to speak to a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    Plain,
    Tls,
    StartTls,
}

/// Where a directory is and how to speak to it.
pub(super) struct Place<'a> {
    pub(super) host: &'a str,
    pub(super) port: u16,
    pub(super) transport: Transport,
    /// How its certificate is looked at; `None`: not at all.
    pub(super) verify: Option<Arc<ClientConfig>>,
    /// How long it may take for one step.
    pub(super) timeout: Duration,
    /// How long an idle connection is kept.
    pub(super) keep: Duration,
}

impl Directory {
    /// Names are values of `attribute` directly below `base`.
    pub(super) fn new(place: Place<'_>, attribute: String, base: String) -> Self {
        let scheme = if place.transport == Transport::Tls { "ldaps" } else { "ldap" };
        let host = if place.host.contains(':') && !place.host.starts_with('[') {
            format!("[{}]", place.host)
        } else {
            place.host.to_owned()
        };
        let settings = LdapConnSettings::new()
            .set_conn_timeout(place.timeout)
            .set_starttls(place.transport == Transport::StartTls);
        let settings = match place.verify {
            Some(config) => settings.set_config(config),
            None => settings.set_no_tls_verify(true),
        };
        Self {
            url: format!("{scheme}://{host}:{}", place.port),
            settings,
            attribute,
            base,
            timeout: place.timeout,
            keep: place.keep,
            idle: ArrayQueue::new(IDLE),
        }
    }

    /// Whether the directory takes this password for this name. Neither is empty: a bind without a
    /// password says nothing about the name (RFC 4513, section 5.1.2).
    ///
    /// # Errors
    ///
    /// When it cannot be asked.
    pub(super) async fn accepts(&self, name: &str, password: &str) -> Result<bool, LdapError> {
        let dn = format!("{}={},{}", self.attribute, dn_escape(name), self.base);
        // One that was closed meanwhile is no reason to refuse anybody.
        while let Some((connection, since)) = self.idle.pop() {
            if since.elapsed() < self.keep
                && let Ok(verdict) = self.bind(connection, &dn, password).await
            {
                return Ok(verdict);
            }
        }
        let (driver, connection) =
            LdapConnAsync::with_settings(self.settings.clone(), &self.url).await?;
        tokio::spawn(async move {
            if let Err(why) = driver.drive().await {
                tracing::debug!(%why, "a connection to a directory ended: {why}");
            }
        });
        self.bind(connection, &dn, password).await
    }

    async fn bind(&self, mut ldap: Ldap, dn: &str, password: &str) -> Result<bool, LdapError> {
        let answer = ldap.with_timeout(self.timeout).simple_bind(dn, password).await?;
        // Whoever is bound now, the next bind replaces it.
        let _ = self.idle.push((ldap, Instant::now()));
        if answer.rc != 0 {
            tracing::debug!(code = answer.rc, "the directory refused: {}", answer.text);
        }
        Ok(answer.rc == 0)
    }
}
