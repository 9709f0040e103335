//! `aws-lambda`: has a function at AWS answer requests.

use gateway_model::Secret;
use gateway_model::schema::{Check, Record};
use serde::Deserialize;
use serde_json::Value;

use super::Known;

/// `aws-lambda` in the list of plugins.
pub(crate) struct AwsLambda;

impl Known for AwsLambda {
    const NAME: &'static str = "aws-lambda";
    const PRIORITY: i32 = 750;
    const MISSING: &'static str = "sign requests (AWS Signature Version 4), get credentials of an \
                                   instance or a role, and invoke a function of AWS Lambda";
    type Config = Config;
}

/// Has a function at AWS answer requests; known, and refused at use
/// (kong/plugins/aws-lambda/schema.lua).
#[derive(Deserialize, Record)]
#[record(
    check = Check::MutuallyRequired(&["aws_key", "aws_secret"]),
    check = Check::Custom(proxy_is_plain)
)]
#[expect(dead_code, reason = "known, not carried out")]
pub(crate) struct Config {
    /// Milliseconds an invocation may take.
    #[record(default = 60_000)]
    timeout: f64,
    /// Milliseconds an idle connection is kept.
    #[record(default = 60_000)]
    keepalive: f64,
    /// The id of an access key; unset takes the credentials of the machine.
    #[record(referenceable(), encrypted())]
    aws_key: Option<Secret<String>>,
    /// The access key.
    #[record(referenceable(), encrypted())]
    aws_secret: Option<Secret<String>>,
    /// The role to take on.
    #[record(referenceable(), encrypted())]
    aws_assume_role_arn: Option<Secret<String>>,
    /// What the session of that role is called.
    #[record(default = "kong")]
    aws_role_session_name: Option<String>,
    /// Where roles are taken on, when not at the usual place.
    #[record(is("url", types::url))]
    aws_sts_endpoint_url: Option<String>,
    /// The region of the function.
    #[record(is("host", types::host))]
    aws_region: Option<String>,
    /// The function.
    function_name: Option<String>,
    /// A version or alias of it.
    qualifier: Option<String>,
    /// Whether its answer is waited for.
    #[record(default = "RequestResponse")]
    invocation_type: InvocationType,
    /// Whether the end of its log comes along.
    #[record(default = "Tail")]
    log_type: LogType,
    /// Where it is called, when not at the usual place.
    #[record(is("host", types::host))]
    host: Option<String>,
    /// The port it is called at.
    #[record(default = 443, between(0, 65535))]
    port: Option<u16>,
    /// Whether it is called without TLS.
    #[record(default = false)]
    disable_https: Option<bool>,
    /// The status of answers of a function that failed.
    #[record(between(100, 999))]
    unhandled_status: Option<u16>,
    /// Whether it is told the method.
    #[record(default = false)]
    forward_request_method: Option<bool>,
    /// Whether it is told path and query.
    #[record(default = false)]
    forward_request_uri: Option<bool>,
    /// Whether it is told the headers.
    #[record(default = false)]
    forward_request_headers: Option<bool>,
    /// Whether it gets the body as it is.
    #[record(default = false)]
    forward_request_body: Option<bool>,
    /// Whether its answer tells status, headers and body, as for AWS's API gateway.
    #[record(default = false)]
    is_proxy_integration: Option<bool>,
    /// Whether it is told what AWS's API gateway tells.
    #[record(default = false)]
    awsgateway_compatible: Option<bool>,
    /// A proxy on the way to AWS.
    #[record(is("url", types::url))]
    proxy_url: Option<String>,
    /// Whether bodies too large to be held are left out.
    #[record(default = true)]
    skip_large_bodies: Option<bool>,
    /// Whether it gets the body in base64.
    #[record(default = true)]
    base64_encode_body: Option<bool>,
    /// How the machine is asked for credentials.
    #[record(default = "v1")]
    aws_imds_protocol_version: ImdsVersion,
    /// Whether empty lists are told as lists.
    #[record(default = "legacy")]
    empty_arrays_mode: EmptyArrays,
}

/// Whether a function's answer is waited for.
#[derive(Deserialize, Record)]
pub(crate) enum InvocationType {
    RequestResponse,
    Event,
    DryRun,
}

/// Whether the end of a function's log comes along.
#[derive(Deserialize, Record)]
pub(crate) enum LogType {
    Tail,
    None,
}

/// How a machine is asked for credentials.
#[derive(Deserialize, Record)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ImdsVersion {
    V1,
    V2,
}

/// Whether empty lists are told as lists.
#[derive(Deserialize, Record)]
#[serde(rename_all = "lowercase")]
pub(crate) enum EmptyArrays {
    Legacy,
    Correct,
}

fn proxy_is_plain(
    config: &serde_json::Map<String, Value>,
    violations: &mut gateway_model::Violations,
) {
    let proxy = config.get("proxy_url").and_then(Value::as_str);
    if proxy.is_some_and(|proxy| !proxy.starts_with("http://")) {
        violations.add_entity("proxy_url scheme must be http".to_owned());
    }
}
