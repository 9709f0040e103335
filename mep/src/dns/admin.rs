//! The management API of the original's name server: records over plain HTTP, without a token.
//!
//! Contract, section 6.2. Answers are text; only what the original's HTTP framework said itself is
//! JSON. Whoever it lets in may change every record: who shows a certificate, or is on a list of
//! addresses.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Query, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use gateway_control::Control;
use gateway_model::ports::Caller;
use gateway_model::{Change, Entity as _, Id, Rejection};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use ipnet::IpNet;
use serde::Deserialize;
use utoipa::ToSchema;

use super::CurrentZone;
use super::zone::{absolute, is_host};
use crate::commit::require;
use crate::dialect::casefold;
use crate::entities::{Addresses, DnsClass, DnsRecord, Family, put as put_entity, remove};
use crate::guard::lets_in;
use crate::openapi::{self, Api, Described, Operation, Routes};
use crate::problem::{Message, NOT_ALLOWED, json_reply};

/// Larger bodies are refused, bytes.
const READABLE: usize = 4096;

/// The management API over `control`; names that DNS rules hold in `zone` are taken.
///
/// Requests carry a [`Caller`]. One without, and one that shows no certificate and is in none of the
/// `trusted` networks, is told about nothing but health.
pub fn router(control: Control, zone: CurrentZone, trusted: Vec<IpNet>) -> Router {
    routes()
        .into_router()
        .method_not_allowed_fallback(async || {
            framework(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed")
        })
        .fallback(async || framework(StatusCode::NOT_FOUND, "Not Found"))
        .layer(axum::extract::DefaultBodyLimit::disable())
        .layer(middleware::from_fn_with_state(Arc::<[IpNet]>::from(trusted), admitted))
        .with_state(Admin { control, zone })
}

async fn admitted(State(trusted): State<Arc<[IpNet]>>, request: Request, next: Next) -> Response {
    let caller = request.extensions().get::<Caller>();
    if request.uri().path() == "/health" || caller.is_some_and(|caller| lets_in(&trusted, caller)) {
        return next.run(request).await;
    }
    framework(StatusCode::FORBIDDEN, NOT_ALLOWED.message)
}

/// What the documents tell of it.
pub(crate) fn described() -> Described {
    routes().into_described()
}

fn routes() -> Routes<Admin> {
    const RECORDS: &str = "/mep/dns_server_mgmt/v1/rrecord";
    let well = || Operation::new("Whether the name server is well").answers_text("It is: `OK`.");
    let records = |summary: &str, says: &str| {
        let statuses = [StatusCode::BAD_REQUEST, StatusCode::INTERNAL_SERVER_ERROR];
        let told = Operation::new(summary)
            .answers_text(says)
            .fails::<Message<'static>>("application/json", &[StatusCode::FORBIDDEN]);
        statuses.into_iter().fold(told, |told, status| {
            told.responds(status, "What is wrong.", Some(("text/plain", openapi::text())))
        })
    };
    let written = |summary: &str, says: &str| {
        let example = serde_json::json!({
            "name": "www.example.com.", "type": "A", "class": "IN", "ttl": 30,
            "rData": ["192.0.2.10"],
        });
        records(summary, says)
            .query("zone", "The zone it is in; `.` when left out.")
            .takes::<Sent>(example)
            .fails::<Message<'static>>("application/json", &[StatusCode::PAYLOAD_TOO_LARGE])
    };
    let health = Routes::of(Api::Health)
        .at("/health", |on| on.get(async || text(StatusCode::OK, "OK"), well()));
    let records = Routes::of(Api::Records)
        .at(RECORDS, |on| on.post(add, written("Adds a record", "It is there.")))
        .at(&format!("{RECORDS}/{{fqdn}}/{{rrtype}}"), |on| {
            on.put(update, written("Replaces a record", "It is replaced."))
                .delete(delete, records("Removes a record", "It is gone."))
        });
    health.merge(records)
}

#[derive(Clone)]
struct Admin {
    control: Control,
    zone: CurrentZone,
}

#[derive(Deserialize)]
struct InZone {
    zone: Option<String>,
}

/// A record as it is sent. Absent members are empty, which breaks a rule.
#[derive(Deserialize, Default, ToSchema)]
#[serde(default)]
#[schema(as = edgegallery::DnsRecord)]
struct Sent {
    name: String,
    #[serde(rename = "type")]
    rr_type: String,
    class: String,
    ttl: u32,
    #[serde(rename = "rData")]
    r_data: Vec<String>,
}

/// Why a request is refused; the text is the answer's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum Refusal {
    #[error("invalid input!")]
    Input,
    #[error("invalid input parameters!")]
    Parameters,
    #[error("input not match with rr resource")]
    Mismatch,
    #[error("record already exists!")]
    Exists,
    #[error("record not exist, cannot update!")]
    Missing,
    #[error("unsupported rrtype({0}) entry")]
    Type(String),
    #[error("unsupported rrclass({0}) entry")]
    Class(String),
    #[error("Error in retrieving the data.")]
    Unknown,
    /// Ours: the original's text for a failing store is not known.
    #[error("Error in storing the data.")]
    Store,
    #[error("Request Entity Too Large")]
    TooLarge,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = match &self {
            Self::Input | Self::Parameters | Self::Mismatch | Self::Exists | Self::Missing => {
                StatusCode::BAD_REQUEST
            }
            Self::Type(_) | Self::Class(_) | Self::Unknown | Self::Store => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
            Self::TooLarge => return framework(StatusCode::PAYLOAD_TOO_LARGE, &self.to_string()),
        };
        text(status, self.to_string())
    }
}

async fn add(
    State(admin): State<Admin>,
    Query(within): Query<InZone>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let sent = Sent::read(&headers, whole(body).await?)?;
    let record = sent.record(within.zone.as_deref())?;
    admin.add(&record).await?;
    Ok(text(StatusCode::OK, "success in adding rr entry."))
}

async fn update(
    State(admin): State<Admin>,
    Path((fqdn, rrtype)): Path<(String, String)>,
    Query(within): Query<InZone>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let sent = Sent::read(&headers, whole(body).await?)?;
    let matches = sent.name == fqdn && sent.rr_type == rrtype;
    let record = match sent.record(within.zone.as_deref()) {
        Err(Refusal::Input) => return Err(Refusal::Input),
        _ if !matches => return Err(Refusal::Mismatch),
        record => record?,
    };
    admin.replace(&record).await?;
    Ok(text(StatusCode::OK, "success in updating rr entry."))
}

async fn delete(
    State(admin): State<Admin>,
    Path((fqdn, rrtype)): Path<(String, String)>,
    body: Body,
) -> Result<Response, Refusal> {
    // mepserver sends one; nobody reads it.
    whole(body).await?;
    if !is_short(&fqdn) || !is_short(&rrtype) {
        return Err(Refusal::Parameters);
    }
    let family = Family::of_type(&rrtype).ok_or(Refusal::Unknown)?;
    let id = DnsRecord::id_of(&fqdn.to_ascii_lowercase(), family);
    admin.forget(id).await?;
    Ok(text(StatusCode::OK, "Success"))
}

impl Admin {
    /// Creates a record, unless another one or a rule holds its name and type.
    async fn add(&self, record: &DnsRecord) -> Result<(), Refusal> {
        let by_rule = absolute(&record.name)
            .is_some_and(|name| self.zone.load().holder(&name, record.family).is_some());
        if by_rule {
            return Err(Refusal::Exists);
        }
        let document = crate::entities::document(record);
        let insert = Change::Insert { kind: DnsRecord::KIND, document };
        match self.control.apply(vec![insert]).await {
            Ok(_) => Ok(()),
            // Present in whatever zone, or a rule that came meanwhile holds the name.
            Err(Rejection::PrimaryKey { .. } | Rejection::Condition(_)) => Err(Refusal::Exists),
            Err(rejection) => Err(failed(&rejection)),
        }
    }

    /// Replaces a record of the same zone.
    async fn replace(&self, record: &DnsRecord) -> Result<(), Refusal> {
        let (id, zone) = (record.id, record.zone.clone());
        let present = require(move |catalog| {
            catalog.get::<DnsRecord>(id).is_some_and(|stored| stored.zone == zone)
        });
        match self.control.apply(vec![present, put_entity(id, record)]).await {
            Ok(_) => Ok(()),
            Err(Rejection::Condition(_)) => Err(Refusal::Missing),
            Err(rejection) => Err(failed(&rejection)),
        }
    }

    async fn forget(&self, id: Id) -> Result<(), Refusal> {
        let present = require(move |catalog| catalog.get::<DnsRecord>(id).is_some());
        match self.control.apply(vec![present, remove::<DnsRecord>(id)]).await {
            Ok(_) => Ok(()),
            Err(Rejection::Condition(_)) => Err(Refusal::Unknown),
            Err(rejection) => Err(failed(&rejection)),
        }
    }
}

fn failed(rejection: &Rejection) -> Refusal {
    tracing::error!(%rejection, "a record could not be written");
    Refusal::Store
}

impl Sent {
    /// Reads a body; it has to be called JSON.
    fn read(headers: &HeaderMap, body: Bytes) -> Result<Self, Refusal> {
        let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        if !kind.is_some_and(|kind| kind.starts_with("application/json")) {
            return Err(Refusal::Input);
        }
        casefold::from_slice(&body).map_err(|_| Refusal::Input)
    }

    /// The record to store, in this zone.
    fn record(&self, zone: Option<&str>) -> Result<DnsRecord, Refusal> {
        let zone = zone.filter(|zone| !zone.is_empty()).unwrap_or(".").to_ascii_lowercase();
        let within = zone.len() < 253 && is_name(&zone);
        let short = [&self.name, &self.rr_type, &self.class].into_iter().all(|text| is_short(text));
        let addresses = self.addresses()?;
        if !within || !short || !is_name(&self.name) || self.ttl == 0 {
            return Err(Refusal::Input);
        }
        let family =
            Family::of_type(&self.rr_type).ok_or_else(|| Refusal::Type(self.rr_type.clone()))?;
        let class =
            DnsClass::named(&self.class).ok_or_else(|| Refusal::Class(self.class.clone()))?;
        // The original answered 0.0.0.0 for those.
        if addresses.iter().any(|address| Family::of(*address) != family) {
            return Err(Refusal::Input);
        }
        let name = self.name.to_ascii_lowercase();
        Ok(DnsRecord {
            id: DnsRecord::id_of(&name, family),
            zone,
            name,
            family,
            class,
            ttl: self.ttl,
            addresses: Addresses(addresses),
        })
    }

    fn addresses(&self) -> Result<Vec<IpAddr>, Refusal> {
        let address = |text: &String| {
            let literal = text.parse().ok().filter(|_| text.len() <= 45);
            literal.filter(|address| is_host(*address)).ok_or(Refusal::Input)
        };
        let addresses: Vec<IpAddr> = self.r_data.iter().map(address).collect::<Result<_, _>>()?;
        if addresses.is_empty() { Err(Refusal::Input) } else { Ok(addresses) }
    }
}

fn is_short(text: &str) -> bool {
    (1..=253).contains(&text.len())
}

/// Whether a name can stand in a question, its last dot aside.
fn is_name(text: &str) -> bool {
    text == "." || absolute(&format!("{}.", text.trim_end_matches('.'))).is_some()
}

async fn whole(body: Body) -> Result<Bytes, Refusal> {
    let read = Limited::new(body, READABLE).collect().await;
    read.map(http_body_util::Collected::to_bytes).map_err(|error| {
        if error.is::<LengthLimitError>() { Refusal::TooLarge } else { Refusal::Input }
    })
}

fn text(status: StatusCode, body: impl Into<Body>) -> Response {
    let kind = HeaderValue::from_static("text/plain; charset=UTF-8");
    (status, [(header::CONTENT_TYPE, kind)], body.into()).into_response()
}

/// What the original's HTTP framework said by itself.
fn framework(status: StatusCode, message: &str) -> Response {
    json_reply(status, &Message { message })
}
