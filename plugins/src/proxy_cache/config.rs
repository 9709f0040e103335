use gateway_model::schema::Record;
use serde::Deserialize;

/// Keeps answers of upstreams and gives them again (kong/plugins/proxy-cache/schema.lua).
#[derive(Deserialize, Record)]
pub(crate) struct Config {
    /// Statuses of answers that are kept.
    #[record(default([200, 301, 404]), len_min(1), elements(|e| e.between(100, 900)))]
    pub(super) response_code: Vec<u16>,
    /// Methods whose answers are kept.
    #[record(default(["GET", "HEAD"]))]
    #[record(elements(|e| e.one_of(["HEAD", "GET", "POST", "PATCH", "PUT"])))]
    pub(super) request_method: Vec<String>,
    /// Types of answers that are kept, parameters included.
    #[record(default(["text/plain", "application/json"]))]
    pub(super) content_type: Vec<String>,
    /// Seconds an answer is good for.
    #[record(default = 300, gt(0))]
    pub(super) cache_ttl: Option<u64>,
    /// Where answers are kept.
    #[record(one_of(["memory"]))]
    #[expect(dead_code, reason = "there is one")]
    strategy: String,
    /// Whether Cache-Control of requests and answers is heeded (RFC 7234).
    #[record(default = false)]
    pub(super) cache_control: bool,
    /// Whether paths are the same in any case.
    #[record(default = false)]
    pub(super) ignore_uri_case: Option<bool>,
    /// Seconds an answer is kept; unset means as long as it is good.
    pub(super) storage_ttl: Option<u64>,
    /// The memory answers are kept in.
    pub(super) memory: Memory,
    /// Arguments of the query that answers depend on; unset means all.
    pub(super) vary_query_params: Option<Vec<String>>,
    /// Headers that answers depend on.
    pub(super) vary_headers: Option<Vec<String>>,
    /// Headers that tell of the cache.
    pub(super) response_headers: ResponseHeaders,
}

/// The memory answers are kept in.
#[derive(Deserialize, Record)]
pub(crate) struct Memory {
    /// Its name. Instances of the same name share what they keep.
    #[record(default = "kong_db_cache")]
    pub(super) dictionary_name: String,
}

/// Headers that tell of the cache.
#[derive(Clone, Copy, Deserialize, Record)]
pub(crate) struct ResponseHeaders {
    /// How many seconds ago the answer was kept.
    #[record(default = true)]
    pub(super) age: Option<bool>,
    /// Hit, Miss, Refresh or Bypass.
    #[serde(rename = "X-Cache-Status")]
    #[record(default = true)]
    pub(super) status: Option<bool>,
    /// What the answer is kept by.
    #[serde(rename = "X-Cache-Key")]
    #[record(default = true)]
    pub(super) key: Option<bool>,
}
