//! Time and the life of applications on the wire, the same for both faces (ETSI GS MEC 011, clause
//! 7.1.2).

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;

use crate::entities::OperationAction;
use crate::openapi::one_of;
use crate::timing::{NtpServer, Reading};

/// That an application is up.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default)]
pub(crate) struct AppReadyConfirmation {
    #[schema(required = true, schema_with = ready)]
    pub(crate) indication: String,
}

fn ready() -> RefOr<Schema> {
    one_of(&["READY"])
}

/// That an application is done.
#[derive(Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct AppTerminationConfirmation {
    /// What it was told to do.
    #[schema(required = true, value_type = OperationAction)]
    pub(crate) operation_action: String,
}

/// A moment since the Unix epoch.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TimeStamp {
    pub(crate) seconds: u64,
    #[schema(maximum = 999_999_999)]
    pub(crate) nano_seconds: u64,
}

impl TimeStamp {
    pub(crate) fn of(now: Reading) -> Self {
        Self { seconds: now.seconds().into(), nano_seconds: now.nanoseconds().into() }
    }

    /// Of milliseconds.
    pub(crate) const fn of_ms(unix_ms: u64) -> Self {
        Self { seconds: unix_ms / 1000, nano_seconds: unix_ms % 1000 * 1_000_000 }
    }
}

/// What time it is.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CurrentTime {
    seconds: u32,
    #[schema(maximum = 999_999_999)]
    nano_seconds: u32,
    #[schema(schema_with = statuses)]
    time_source_status: &'static str,
}

const STATUSES: [&str; 2] = ["NONTRACEABLE", "TRACEABLE"];

fn statuses() -> RefOr<Schema> {
    one_of(&STATUSES)
}

impl CurrentTime {
    pub(crate) fn of(now: Reading) -> Self {
        Self {
            seconds: now.seconds(),
            nano_seconds: now.nanoseconds(),
            time_source_status: STATUSES[usize::from(now.traceable)],
        }
    }
}

/// Where applications may ask for the time themselves.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TimingCaps {
    #[schema(required = false)]
    pub(crate) time_stamp: TimeStamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) ntp_servers: Option<Vec<NtpServerView>>,
}

/// A time server.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = NtpServer)]
pub(crate) struct NtpServerView {
    #[schema(schema_with = address_types)]
    ntp_server_addr_type: &'static str,
    ntp_server_addr: String,
    /// Seconds as a power of two.
    #[schema(minimum = 3, maximum = 17)]
    min_polling_interval: u8,
    /// Seconds as a power of two.
    #[schema(minimum = 3, maximum = 17)]
    max_polling_interval: u8,
    local_priority: u32,
    #[schema(schema_with = authentications)]
    authentication_option: &'static str,
    authentication_key_num: u32,
}

const ADDRESS_TYPES: [&str; 2] = ["DNS_NAME", "IP_ADDRESS"];

fn address_types() -> RefOr<Schema> {
    one_of(&ADDRESS_TYPES)
}

fn authentications() -> RefOr<Schema> {
    one_of(&["NONE", "SYMMETRIC_KEY", "AUTO_KEY"])
}

impl NtpServerView {
    pub(crate) fn of(server: &NtpServer) -> Self {
        let by_address = server.host.parse::<std::net::IpAddr>().is_ok();
        Self {
            ntp_server_addr_type: ADDRESS_TYPES[usize::from(by_address)],
            ntp_server_addr: server.host.clone(),
            min_polling_interval: server.min_polling_interval,
            max_polling_interval: server.max_polling_interval,
            local_priority: server.local_priority,
            authentication_option: "NONE",
            authentication_key_num: 0,
        }
    }
}

/// The state of a service and its last heartbeat.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ServiceLivenessInfo {
    pub(crate) state: crate::entities::State,
    /// Of the last heartbeat, or of the registration if none came yet.
    pub(crate) time_stamp: TimeStamp,
    /// Seconds.
    pub(crate) interval: i64,
}

/// A heartbeat.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default)]
pub(crate) struct ServiceLivenessUpdate {
    #[schema(required = true, schema_with = active)]
    pub(crate) state: String,
}

fn active() -> RefOr<Schema> {
    one_of(&["ACTIVE"])
}
