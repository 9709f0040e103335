//! [`Outbound`]: one call to a callback, under the guard's rules.

use std::error::Error as _;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use http::StatusCode;
use http::header::CONTENT_TYPE;
use reqwest::Certificate;
use reqwest::dns::Resolve;
use url::{Host, Url};

use super::resolver::{GuardedResolver, PORT};
use crate::guard::{Guard, source_towards};
use crate::settings::Delivery;

/// Makes calls to callbacks. Redirects are answers like others; proxies of the environment are not
/// used, as they would resolve names without our rules.
pub(crate) struct Outbound {
    client: reqwest::Client,
    guard: Arc<Guard>,
    own_address: Option<IpAddr>,
}

impl Outbound {
    /// # Errors
    ///
    /// When the HTTP client cannot be made.
    pub(crate) fn new(
        settings: &Delivery,
        own_address: Option<IpAddr>,
        guard: Arc<Guard>,
        names: Arc<dyn Resolve>,
    ) -> Result<Self, reqwest::Error> {
        let names = Arc::new(GuardedResolver { guard: Arc::clone(&guard), names });
        let builder = || {
            reqwest::Client::builder()
                .timeout(settings.timeout)
                .redirect(reqwest::redirect::Policy::none())
                .no_proxy()
                .dns_resolver(Arc::clone(&names))
                .tls_danger_accept_invalid_certs(!settings.verify_certificates)
        };
        let roots = settings.roots.iter().flat_map(|pem| Certificate::from_pem_bundle(pem).ok());
        let roots: Vec<Certificate> = roots.flatten().collect();
        if !roots.is_empty() {
            let client = builder().tls_certs_only(roots).build()?;
            return Ok(Self { client, guard, own_address });
        }
        // A machine without certificate authorities is one where no `https` callback can be
        // verified, not one without notifications.
        let client = builder().build().or_else(|why| {
            tracing::warn!(
                why = why.source().map(ToString::to_string),
                "this machine has no certificate authorities: https callbacks cannot be verified"
            );
            builder().tls_certs_only([]).build()
        })?;
        Ok(Self { client, guard, own_address })
    }

    /// Posts a JSON text and gives the status of the answer.
    pub(crate) async fn post(
        &self,
        callback: &str,
        form: Form,
        body: String,
    ) -> Result<StatusCode, CallError> {
        // The rules may have changed since the callback was stored.
        let url = Url::parse(callback).map_err(|why| CallError::Forbidden(why.to_string()))?;
        self.guard.check(&url).map_err(|why| CallError::Forbidden(why.to_string()))?;
        let port = url.port_or_known_default().unwrap_or_default();
        let own_address =
            form.names_sender.then(|| self.own_address.or_else(|| source_address(&url))).flatten();
        let mut request = self.client.post(url).body(body);
        if let Some(kind) = form.content_type {
            request = request.header(CONTENT_TYPE, kind);
        }
        if let Some(address) = own_address {
            request = request.header("X-Real-Ip", address.to_string());
        }
        let answer = PORT.scope(port, request.send()).await;
        // A callback's URI may hold secrets of the subscriber: it stays out of logs.
        Ok(answer.map_err(|why| CallError::Transport(why.without_url()))?.status())
    }
}

/// What stands around the body of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Form {
    content_type: Option<&'static str>,
    /// Whether `X-Real-Ip` tells who sends.
    names_sender: bool,
}

impl Form {
    /// As the original's services were told of.
    pub(crate) const DIALECT: Self =
        Self { content_type: Some("application/json; charset=utf-8"), names_sender: true };
    /// As the original told of an end: without a type.
    pub(crate) const BARE: Self = Self { content_type: None, names_sender: true };
    /// As the standard has it.
    pub(crate) const STANDARD: Self =
        Self { content_type: Some("application/json"), names_sender: false };
}

/// Why a call was not answered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// It may not be made.
    #[error("the callback may not be called: {0}")]
    Forbidden(String),
    /// It got no answer.
    #[error("no answer")]
    Transport(#[source] reqwest::Error),
}

/// The address this machine sends from towards `url`, or into the world when that is a name.
fn source_address(url: &Url) -> Option<IpAddr> {
    /// Reserved for documentation (RFC 5737): any route out of here.
    const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    let there = match url.host()? {
        Host::Ipv4(address) => address.into(),
        Host::Ipv6(address) => address.into(),
        Host::Domain(_) => ELSEWHERE,
    };
    source_towards(there)
}
