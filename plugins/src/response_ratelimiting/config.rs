use std::collections::BTreeMap;

use gateway_model::schema::{Check, Record, Rule};
use serde::Deserialize;
use serde_json::Value;

use crate::kit::counter::{Period, ascending};
use crate::kit::redis::RedisConfig;

/// So many uses of named objects in a second, minute, hour, day, month or year
/// (kong/plugins/response-ratelimiting/schema.lua).
#[derive(Deserialize, Record)]
#[record(moved("redis_host", "redis.host"), moved("redis_port", "redis.port"))]
#[record(moved("redis_password", "redis.password"), moved("redis_username", "redis.username"))]
#[record(moved("redis_ssl", "redis.ssl"), moved("redis_ssl_verify", "redis.ssl_verify"))]
#[record(moved("redis_server_name", "redis.server_name"))]
#[record(moved("redis_timeout", "redis.timeout"), moved("redis_database", "redis.database"))]
#[record(check(needs("redis.host")), check(needs("redis.port")), check(needs("redis.timeout")))]
pub(crate) struct Config {
    /// The header an upstream tells uses in: `x-kong-limit: video=2, image=1`.
    #[record(default = "x-kong-limit")]
    pub(super) header_name: Option<String>,
    /// Whose uses are counted together. Where a request does not have it, its client address
    /// counts.
    #[record(default = "consumer")]
    pub(super) limit_by: Option<LimitBy>,
    /// Where uses are counted.
    #[record(default = "local")]
    pub(super) policy: Option<Policy>,
    /// Whether requests pass when uses cannot be counted. Counting locally cannot fail.
    #[record(default = true)]
    pub(super) fault_tolerant: bool,
    /// The Redis of policy `redis`.
    pub(super) redis: RedisConfig,
    /// Whether requests are refused while one limit is used up, whatever they will use.
    #[record(default = false)]
    pub(super) block_on_first_violation: bool,
    /// Whether the headers that tell limits and uses are left out.
    #[record(default = false)]
    pub(super) hide_client_headers: bool,
    /// Limits by object.
    #[record(len_min(1), values(|v| v.is("response_rate_limit_periods", periods)))]
    pub(super) limits: BTreeMap<String, Limits>,
}

/// Limits of one object.
#[derive(Deserialize, Record)]
#[record(check = Check::AtLeastOneOf(&["second", "minute", "hour", "day", "month", "year"]))]
pub(crate) struct Limits {
    /// Uses in a second.
    #[record(gt(0))]
    second: Option<f64>,
    /// Uses in a minute.
    #[record(gt(0))]
    minute: Option<f64>,
    /// Uses in an hour.
    #[record(gt(0))]
    hour: Option<f64>,
    /// Uses in a day.
    #[record(gt(0))]
    day: Option<f64>,
    /// Uses in a month.
    #[record(gt(0))]
    month: Option<f64>,
    /// Uses in a year.
    #[record(gt(0))]
    year: Option<f64>,
}

impl Limits {
    pub(super) fn given(&self) -> impl Iterator<Item = (Period, f64)> {
        let limits = [self.second, self.minute, self.hour, self.day, self.month, self.year];
        Period::ALL.into_iter().zip(limits).filter_map(|(period, limit)| Some((period, limit?)))
    }
}

/// Whose uses are counted together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Record)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LimitBy {
    /// The consumer, else the credential.
    #[default]
    Consumer,
    /// The credential.
    Credential,
    /// The client address.
    Ip,
}

/// Where uses are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Record)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Policy {
    /// In this process.
    #[default]
    Local,
    /// In the store, which nodes may share; counts are exchanged five times a second.
    Cluster,
    /// In Redis.
    Redis,
}

fn needs(then_field: &'static str) -> Check {
    Check::conditional("policy", Rule::Eq("redis".into()), then_field, Rule::Required)
}

fn periods(limits: &Value) -> Result<(), String> {
    limits.as_object().map_or(Ok(()), ascending)
}
