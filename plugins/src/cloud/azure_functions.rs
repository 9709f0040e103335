//! `azure-functions`: has a function at Azure answer requests.

use gateway_model::Secret;
use gateway_model::schema::Record;
use serde::Deserialize;

use super::Known;
use crate::contract::ANY;

/// `azure-functions` in the list of plugins.
pub(crate) struct AzureFunctions;

impl Known for AzureFunctions {
    const NAME: &'static str = "azure-functions";
    const PRIORITY: i32 = 749;
    const PROTOCOLS: &'static [&'static str] = ANY;
    const MISSING: &'static str = "call a function of Azure and give its answer";
    type Config = Config;
}

/// Has a function at Azure answer requests; known, and refused at use
/// (kong/plugins/azure-functions/schema.lua).
#[derive(Deserialize, Record)]
#[expect(dead_code, reason = "known, not carried out")]
pub(crate) struct Config {
    /// Milliseconds a call may take.
    #[record(default = 600_000)]
    timeout: Option<f64>,
    /// Milliseconds an idle connection is kept.
    #[record(default = 60_000)]
    keepalive: Option<f64>,
    /// Whether it is called over TLS.
    #[record(default = true)]
    https: Option<bool>,
    /// Whether its certificate is looked at.
    #[record(default = false)]
    https_verify: Option<bool>,
    /// The key calls bring.
    #[record(referenceable(), encrypted())]
    apikey: Option<Secret<String>>,
    /// The client calls name.
    #[record(referenceable(), encrypted())]
    clientid: Option<Secret<String>>,
    /// The application the function belongs to.
    appname: String,
    /// The domain of its host.
    #[record(default = "azurewebsites.net")]
    hostdomain: String,
    /// The first part of its path.
    #[record(default = "api")]
    routeprefix: Option<String>,
    /// The function.
    functionname: String,
}
