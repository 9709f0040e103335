//! [`Handshake`]: what handlers make of a TLS handshake that has just begun.

use gateway_model::Secret;

/// What a client's handshake becomes. Handlers of the certificate phase leave it in
/// [`Facts::notes`](super::Facts::notes); without one it goes on by the settings and the catalog.
#[derive(Clone, Debug, Default)]
pub struct Handshake {
    /// The client is asked for a certificate. It need not have one, and nobody judges it.
    pub asks_certificate: bool,
    /// The certificates, PEM, whose subjects the client is told to be believed.
    pub authorities: Option<String>,
    /// The session is never resumed.
    pub single_use: bool,
    /// Nothing of the catalog is shown: what follows is, or the handshake fails.
    pub cleared: bool,
    /// The chain shown, PEM, its own certificate first. It needs a key.
    pub chain: Option<String>,
    /// That certificate's key, PEM.
    pub key: Option<Secret<String>>,
}
