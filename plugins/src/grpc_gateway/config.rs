use gateway_model::schema::Record;
use serde::Deserialize;

/// Turns HTTP with JSON into gRPC and back (kong/plugins/grpc-gateway/schema.lua).
#[derive(Deserialize, Record)]
pub(crate) struct Config {
    /// The file that describes the services.
    #[record(optional)]
    pub(super) proto: Option<String>,
}
