//! HTTP odds and ends: the client that log plugins send with, statuses of configurations.

use std::time::Duration;

use http::StatusCode;
use reqwest::redirect::Policy;

/// A client that keeps idle connections this long.
///
/// As Kong's loggers do, it does not verify certificates (collectors are often inside the same
/// host with one of their own making), follows no redirect and heeds no proxy of the environment.
///
/// # Errors
///
/// When the TLS library cannot be set up.
pub(crate) fn client(keep_alive: Duration) -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder()
        .tls_danger_accept_invalid_certs(true)
        .redirect(Policy::none())
        .no_proxy()
        .pool_idle_timeout(keep_alive)
        .build()
}

/// The status a configuration asks for.
///
/// # Errors
///
/// A text that names the range, when it is none.
pub(crate) fn status(number: f64) -> Result<StatusCode, String> {
    let whole = number.fract() == 0.0 && (100.0..600.0).contains(&number);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked above")]
    let code = whole.then_some(number as u16).and_then(|code| StatusCode::from_u16(code).ok());
    code.ok_or_else(|| "value should be between 100 and 599".to_owned())
}
