//! A probe of a gRPC target by its health service (`grpc.health.v1.Health/Check`).

use bytes::Bytes;
use gateway_model::entities::ActiveCheck;
use http::{Uri, Version, header};
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{Error, ErrorType, OrErr as _, Result};
use pingora_http::RequestHeader;

use super::called::Called;
use super::health::Outcome;
use super::probe::CONNECTOR;

const PATH: &str = "/grpc.health.v1.Health/Check";
/// A message without members asks for the server as a whole.
const EVERYTHING: &[u8] = &[0, 0, 0, 0, 0];
/// More than an answer needs.
const LARGEST: usize = 4 * 1024;
const OK: &str = "0";
const UNIMPLEMENTED: &str = "12";

/// Asks a target for its health. One that does not know the service is alive: it accepts
/// connections and speaks gRPC, which is all Kong finds out.
pub(super) async fn check(
    check: &ActiveCheck,
    target: &Called,
    peer: &HttpPeer,
    tls: bool,
) -> Result<Outcome> {
    let (mut session, _) = CONNECTOR.get_http_session(peer).await?;
    session.write_request_header(Box::new(head(check, target, tls)?)).await?;
    session.write_request_body(Bytes::from_static(EVERYTHING), true).await?;
    session.read_response_header().await?;
    let mut status = session.response_header().and_then(|head| told(&head.headers));
    let mut message = Vec::new();
    while let Some(piece) = session.read_response_body().await? {
        message.extend_from_slice(&piece);
        if message.len() > LARGEST {
            return Error::e_explain(ErrorType::InvalidHTTPHeader, "an answer beyond all measure");
        }
    }
    if status.is_none()
        && let pingora_core::protocols::http::client::HttpSession::H2(session) = &mut session
    {
        status = session.read_trailers().await?.and_then(|trailers| told(&trailers));
    }
    Ok(match status.as_deref() {
        // Message header, then member 1, the status, as SERVING.
        Some(OK) if message.get(5..) == Some(&[8, 1]) => Outcome::Connected,
        Some(UNIMPLEMENTED) => Outcome::Connected,
        _ => Outcome::NotServing,
    })
}

fn told(headers: &http::HeaderMap) -> Option<String> {
    Some(headers.get("grpc-status")?.to_str().ok()?.to_owned())
}

fn head(check: &ActiveCheck, target: &Called, tls: bool) -> Result<RequestHeader> {
    let authority = target.host_header(tls).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let uri = Uri::builder()
        .scheme(if tls { "https" } else { "http" })
        .authority(authority)
        .path_and_query(PATH)
        .build()
        .or_err(ErrorType::InvalidHTTPHeader, "the authority of a target")?;
    let mut head = RequestHeader::build("POST", PATH.as_bytes(), None)?;
    head.set_version(Version::HTTP_2);
    head.set_uri(uri);
    head.insert_header(header::CONTENT_TYPE, "application/grpc")?;
    head.insert_header(header::TE, "trailers")?;
    for (name, values) in check.headers.iter().flatten() {
        for value in values {
            head.append_header(name.clone(), value.as_str())?;
        }
    }
    Ok(head)
}
