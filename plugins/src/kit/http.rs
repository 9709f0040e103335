//! The client that log plugins send with.

use std::time::Duration;

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
