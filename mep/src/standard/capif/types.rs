//! What CAPIF calls its types (3GPP TS 29.222): what [`super::description`] and [`super::events`] read
//! and write member by member.
#![expect(dead_code, reason = "describes what is read and written member by member")]

use serde_json::Value;
use utoipa::ToSchema;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;

use super::super::service_mgmt::serializers;
use super::description::{METHODS, PROTOCOLS};
use crate::openapi::one_of;

/// A service, as CAPIF describes it. Members CAPIF has besides are taken and not kept.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase", as = ServiceAPIDescription)]
pub(super) struct ServiceApiDescription {
    /// The name it is found by.
    #[schema(min_length = 1, max_length = 128)]
    api_name: String,
    /// The id the platform gave it.
    #[schema(nullable = false, read_only)]
    api_id: Option<String>,
    #[schema(nullable = false, max_length = 4096)]
    description: Option<String>,
    /// The id of its category.
    #[schema(rename = "serviceAPICategory", nullable = false, max_length = 64)]
    service_api_category: Option<String>,
    /// How it is reached.
    #[schema(min_items = 1, max_items = 1)]
    aef_profiles: Vec<AefProfile>,
    /// Features, hexadecimal; 100 for MEC's extensions.
    #[schema(nullable = false)]
    supported_features: Option<String>,
    /// What CAPIF has no member for.
    #[schema(
        rename = "vendorSpecific-urn:etsi:mec:capifext:service-info",
        nullable = false,
        value_type = Option<Object>
    )]
    service_info: Option<Value>,
}

/// A change of a service: what is given takes the place of what is there.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase", as = ServiceAPIDescriptionPatch)]
pub(super) struct ServiceApiDescriptionPatch {
    #[schema(max_length = 4096)]
    description: Option<String>,
    /// The id of its category.
    #[schema(rename = "serviceAPICategory", max_length = 64)]
    service_api_category: Option<String>,
    /// How it is reached.
    #[schema(nullable = false, min_items = 1, max_items = 1)]
    aef_profiles: Option<Vec<AefProfile>>,
    #[schema(nullable = false)]
    supported_features: Option<String>,
    #[schema(
        rename = "vendorSpecific-urn:etsi:mec:capifext:service-info",
        value_type = Option<Object>
    )]
    service_info: Option<Value>,
}

/// How a service is reached. In a request it has either interfaces or a domain name.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
struct AefProfile {
    #[schema(min_length = 1, max_length = 64)]
    aef_id: String,
    #[schema(min_items = 1)]
    versions: Vec<Version>,
    #[schema(schema_with = protocols, required = false)]
    protocol: Option<String>,
    #[schema(schema_with = serializers, required = false)]
    data_format: Option<String>,
    #[schema(schema_with = methods, required = false)]
    security_methods: Option<Vec<String>>,
    #[schema(nullable = false, min_items = 1)]
    interface_descriptions: Option<Vec<InterfaceDescription>>,
    /// Shown as an interface.
    #[schema(nullable = false, write_only, min_length = 1, max_length = 253)]
    domain_name: Option<String>,
    /// What CAPIF has no member for.
    #[schema(
        rename = "vendorSpecific-urn:etsi:mec:capifext:transport-info",
        nullable = false,
        value_type = Option<Object>
    )]
    transport_info: Option<Value>,
}

fn protocols() -> RefOr<Schema> {
    one_of(&PROTOCOLS.map(|(name, _)| name))
}

fn methods() -> RefOr<Schema> {
    utoipa::openapi::schema::ArrayBuilder::new().items(one_of(&METHODS)).into()
}

#[derive(ToSchema)]
#[schema(rename_all = "camelCase", as = ApiVersion)]
struct Version {
    #[schema(min_length = 1, max_length = 128)]
    api_version: String,
}

/// Where a service is, by exactly one of an address and a name.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
struct InterfaceDescription {
    #[schema(nullable = false)]
    ipv4_addr: Option<String>,
    #[schema(nullable = false)]
    ipv6_addr: Option<String>,
    #[schema(nullable = false)]
    fqdn: Option<String>,
    #[schema(nullable = false)]
    port: Option<u16>,
    #[schema(nullable = false)]
    api_prefix: Option<String>,
}

/// Services that were found.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase", as = DiscoveredAPIs)]
pub(super) struct DiscoveredApis {
    #[schema(rename = "serviceAPIDescriptions", nullable = false, min_items = 1)]
    service_api_descriptions: Option<Vec<ServiceApiDescription>>,
    /// The features of the client that are ours too.
    #[schema(nullable = false)]
    supported_features: Option<String>,
}

/// What a subscriber wants to be told of.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(super) struct EventSubscription {
    /// Names of events. Known are SERVICE_API_AVAILABLE, SERVICE_API_UNAVAILABLE and
    /// SERVICE_API_UPDATE; others are taken and never happen.
    #[schema(min_items = 1)]
    events: Vec<String>,
    #[schema(nullable = false)]
    event_filters: Option<Vec<EventFilter>>,
    #[schema(nullable = false)]
    event_req: Option<EventReq>,
    /// Where notifications go.
    #[schema(format = "uri", max_length = 2048)]
    notification_destination: String,
    /// Whether one notification is to be sent at once, to see whether it arrives.
    #[schema(nullable = false)]
    request_test_notification: Option<bool>,
    /// Features, hexadecimal.
    #[schema(nullable = false)]
    supported_features: Option<String>,
}

/// A change of a subscription: what is given takes the place of what is there.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(super) struct EventSubscriptionPatch {
    #[schema(nullable = false, min_items = 1)]
    events: Option<Vec<String>>,
    event_filters: Option<Vec<EventFilter>>,
    event_req: Option<EventReq>,
    #[schema(nullable = false, format = "uri", max_length = 2048)]
    notification_destination: Option<String>,
    request_test_notification: Option<bool>,
    supported_features: Option<String>,
}

/// How a subscriber wants to be told; members it has besides are not offered and left out of answers.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase", as = ReportingInformation)]
struct EventReq {
    /// Until when.
    #[schema(nullable = false, format = DateTime)]
    mon_dur: Option<String>,
}

/// Which services events are about: those any filter fits.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
struct EventFilter {
    #[schema(nullable = false)]
    api_ids: Option<Vec<String>>,
    /// Taken and not looked at.
    #[schema(nullable = false)]
    api_invoker_ids: Option<Vec<String>>,
    #[schema(nullable = false)]
    aef_ids: Option<Vec<String>>,
}
