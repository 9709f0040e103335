use gateway_model::schema::{Check, Record};
use serde::Deserialize;

/// Code that runs before every other plugin (kong/plugins/pre-function/_schema.lua).
///
/// `functions`, the name of Kong 1, is accepted for `access`.
#[derive(Deserialize, Record)]
#[record(check = Check::AtLeastOneOf(PHASES))]
#[record(alias("functions", "access"))]
pub(crate) struct Config {
    /// Chunks run during the TLS handshake.
    #[record(default([""; 0]))]
    pub(super) certificate: Vec<String>,
    /// Chunks run before routing.
    #[record(default([""; 0]))]
    pub(super) rewrite: Vec<String>,
    /// Chunks run once a route is found.
    #[record(default([""; 0]))]
    pub(super) access: Vec<String>,
    /// Chunks run when the response's headers are known.
    #[record(default([""; 0]))]
    pub(super) header_filter: Vec<String>,
    /// Chunks run for every piece of the response's body.
    #[record(default([""; 0]))]
    pub(super) body_filter: Vec<String>,
    /// Chunks run after the exchange.
    #[record(default([""; 0]))]
    pub(super) log: Vec<String>,
}

const PHASES: &[&str] =
    &["certificate", "rewrite", "access", "header_filter", "body_filter", "log"];
