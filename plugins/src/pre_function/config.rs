use gateway_model::schema::{Check, Record};
use serde::Deserialize;

use crate::lua::chunks::Chunks;
use crate::lua::phase::Phase;

/// Code that runs before or after every other plugin (kong/plugins/pre-function/schema.lua).
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

impl Config {
    /// The chunks of each phase.
    pub(crate) fn chunks(self) -> Chunks {
        vec![
            (Phase::Certificate, self.certificate),
            (Phase::Rewrite, self.rewrite),
            (Phase::Access, self.access),
            (Phase::HeaderFilter, self.header_filter),
            (Phase::BodyFilter, self.body_filter),
            (Phase::Log, self.log),
        ]
    }
}
