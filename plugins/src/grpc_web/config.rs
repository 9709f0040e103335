use gateway_model::schema::Record;
use serde::Deserialize;

/// Turns gRPC-Web into gRPC and back (kong/plugins/grpc-web/schema.lua).
#[derive(Deserialize, Record)]
pub(crate) struct Config {
    /// The file that describes the services; needed for JSON only.
    #[record(optional)]
    pub(super) proto: Option<String>,
    /// Whether services see the path without what the route strips.
    #[record(optional)]
    pub(super) pass_stripped_path: Option<bool>,
    /// Value of Access-Control-Allow-Origin.
    #[record(default = "*")]
    pub(super) allow_origin_header: Option<String>,
}
