use gateway_model::schema::{Check, Record, Rule};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::kit::counter::{Period, ascending};
use crate::kit::redis::RedisConfig;

/// So many requests in a second, minute, hour, day, month or year
/// (kong/plugins/rate-limiting/schema.lua).
#[derive(Deserialize, Record)]
#[record(moved("redis_host", "redis.host"), moved("redis_port", "redis.port"))]
#[record(moved("redis_password", "redis.password"), moved("redis_username", "redis.username"))]
#[record(moved("redis_ssl", "redis.ssl"), moved("redis_ssl_verify", "redis.ssl_verify"))]
#[record(moved("redis_server_name", "redis.server_name"))]
#[record(moved("redis_timeout", "redis.timeout"), moved("redis_database", "redis.database"))]
#[record(check = Check::AtLeastOneOf(&["second", "minute", "hour", "day", "month", "year"]))]
#[record(check(needs("policy", "redis", "redis.host")))]
#[record(check(needs("policy", "redis", "redis.port")))]
#[record(check(needs("policy", "redis", "redis.timeout")))]
#[record(check(needs("limit_by", "header", "header_name")))]
#[record(check(needs("limit_by", "path", "path")))]
#[record(custom = periods_and_sync_rate)]
pub(crate) struct Config {
    /// Requests in a second.
    #[record(gt(0))]
    pub(super) second: Option<f64>,
    /// Requests in a minute.
    #[record(gt(0))]
    pub(super) minute: Option<f64>,
    /// Requests in an hour.
    #[record(gt(0))]
    pub(super) hour: Option<f64>,
    /// Requests in a day.
    #[record(gt(0))]
    pub(super) day: Option<f64>,
    /// Requests in a month.
    #[record(gt(0))]
    pub(super) month: Option<f64>,
    /// Requests in a year.
    #[record(gt(0))]
    pub(super) year: Option<f64>,
    /// Whose requests are counted together. Where a request does not have it, its client address
    /// counts.
    #[record(default = "consumer")]
    pub(super) limit_by: Option<LimitBy>,
    /// The header of `limit_by` header.
    #[record(is("header_name", types::header_name))]
    pub(super) header_name: Option<String>,
    /// The path of `limit_by` path: requests for it count together.
    #[record(rule = Rule::match_none(&[("//", "must not have empty segments")]))]
    #[record(starts_with("/"), is("path", types::path))]
    pub(super) path: Option<String>,
    /// Where uses are counted.
    #[record(default = "local", len_min(0))]
    pub(super) policy: Option<Policy>,
    /// Whether requests pass when uses cannot be counted. Counting locally cannot fail.
    #[record(default = true)]
    pub(super) fault_tolerant: bool,
    /// The Redis of policy `redis`.
    pub(super) redis: RedisConfig,
    /// Whether the headers that tell limits and uses are left out.
    #[record(default = false)]
    pub(super) hide_client_headers: bool,
    /// Status of a refusal.
    #[record(default = 429, gt(0))]
    pub(super) error_code: Option<f64>,
    /// Text of a refusal.
    #[record(default = "API rate limit exceeded")]
    pub(super) error_message: Option<String>,
    /// Seconds between two exchanges of counts with Redis; -1 counts there at once.
    #[record(default = -1)]
    pub(super) sync_rate: f64,
}

/// Whose requests are counted together.
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
    /// The service.
    Service,
    /// The value of a header.
    Header,
    /// One path.
    Path,
    /// The subject of the verified token, else the consumer. Not Kong's: on the MEP routes all apps
    /// are one consumer and would share one budget.
    Subject,
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

fn needs(if_field: &'static str, value: &'static str, then_field: &'static str) -> Check {
    Check::conditional(if_field, Rule::Eq(value.into()), then_field, Rule::Required)
}

impl Config {
    /// The limit of a period.
    pub(super) const fn limit(&self, period: Period) -> Option<f64> {
        match period {
            Period::Second => self.second,
            Period::Minute => self.minute,
            Period::Hour => self.hour,
            Period::Day => self.day,
            Period::Month => self.month,
            Period::Year => self.year,
        }
    }
}

/// A longer period may not have the lower limit, and counts are synchronised with Redis only.
fn periods_and_sync_rate(config: &Map<String, Value>) -> Result<(), String> {
    ascending(config)?;
    let rate = config.get("sync_rate").and_then(Value::as_f64).unwrap_or(-1.0);
    let redis = config.get("policy").and_then(Value::as_str) == Some("redis");
    match rate {
        -1.0 => Ok(()),
        _ if !redis => Err("sync_rate can only be used with the redis policy".into()),
        rate if rate < 0.02 => Err("sync_rate must be greater than 0.02, or -1 to disable".into()),
        _ => Ok(()),
    }
}
