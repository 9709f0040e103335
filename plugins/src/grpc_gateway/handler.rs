use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use gateway_model::Violations;
use http::{HeaderValue, Method, StatusCode, header};
use prost_reflect::MessageDescriptor;

use super::config::Config;
use super::transcode::Routes;
use crate::contract::{
    ANY, Chunk, Flow, HTTP, Handler, Needs, Phases, Plugin, Reply, ReplyBody, Request, RequestBody,
    Response, Setup,
};
use crate::kit::grpc::{Services, decode, encode, frame, http_status, unframe};

/// One instance (kong/plugins/grpc-gateway/handler.lua).
pub(crate) struct GrpcGateway {
    routes: Option<Arc<Routes>>,
}

/// What answers are, in the notes of an exchange.
#[derive(Clone)]
struct Answering {
    output: MessageDescriptor,
    /// What is not yet a whole frame.
    held: BytesMut,
    /// Whether a message was read: else what came is passed on.
    read: bool,
}

impl Plugin for GrpcGateway {
    const NAME: &'static str = "grpc-gateway";
    const PRIORITY: i32 = 998;
    const PHASES: Phases = Phases::ACCESS.and(Phases::HEADER_FILTER).and(Phases::BODY_FILTER);
    const PROTOCOLS: &'static [&'static str] = ANY;
    const DEFAULT_PROTOCOLS: &'static [&'static str] = HTTP;
    type Config = Config;

    fn build(config: Config, _: &Setup<'_>) -> Result<Self, Violations> {
        let refuse = |why| Violations::one("proto", why);
        let routes = match config.proto.as_deref() {
            None => None,
            Some(file) => {
                let services = Services::load(file).map_err(refuse)?;
                Some(Arc::new(Routes::of(&services).map_err(refuse)?))
            }
        };
        Ok(Self { routes })
    }
}

const ANY_ORIGIN: HeaderValue = HeaderValue::from_static("*");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

impl Handler for GrpcGateway {
    fn needs(&self) -> Needs {
        Needs::BODY
    }

    fn access<'a>(&'a self, request: &'a mut Request<'_>) -> Flow<'a> {
        if request.head.method == Method::OPTIONS {
            return Flow::reply(preflight());
        }
        let allowed = (header::ACCESS_CONTROL_ALLOW_ORIGIN, ANY_ORIGIN);
        request.facts.response_headers.push(allowed);
        match self.translate(request) {
            Ok(()) => Flow::Continue,
            Err((status, why)) => {
                tracing::info!(request.id = &*request.facts.request_id, why, "grpc-gateway: {why}");
                let body = ReplyBody::Untyped(why.into());
                Flow::reply(Reply { status, headers: Vec::new(), body })
            }
        }
    }

    fn header_filter(&self, response: &mut Response<'_>) {
        if response.facts.notes.get::<Answering>().is_none() {
            return;
        }
        // Valid names and values are always taken.
        let _ = response.head.insert_header("Content-Type", JSON);
        response.head.remove_header(&header::CONTENT_LENGTH);
        let told = response.head.headers.get("grpc-status").and_then(|value| value.to_str().ok());
        if let Some(told) = told {
            let status = told.parse().map_or(500, http_status);
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let _ = response.head.set_status(status);
        }
    }

    fn body_filter(&self, chunk: &mut Chunk<'_>) {
        let Some(answering) = chunk.facts.notes.get_mut::<Answering>() else { return };
        if let Some(data) = chunk.data.take() {
            answering.held.extend_from_slice(&data);
        }
        let mut out = BytesMut::new();
        while let Some((_, message)) = unframe(&mut answering.held) {
            answering.read = true;
            match decode(answering.output.clone(), message) {
                Ok(json) => out.extend_from_slice(&json),
                Err(why) => tracing::warn!(why, "grpc-gateway: an answer is no message: {why}"),
            }
        }
        if chunk.end && !answering.read {
            // An error of somebody on the way, in words of its own.
            out = std::mem::take(&mut answering.held);
        }
        *chunk.data = (!out.is_empty()).then(|| out.freeze());
    }
}

fn preflight() -> Reply {
    let body = ReplyBody::Bytes(JSON, Bytes::from_static(b"OK"));
    let methods = HeaderValue::from_static("GET,POST,PATCH,DELETE");
    let headers = HeaderValue::from_static("content-type");
    Reply { status: StatusCode::OK, headers: Vec::new(), body }
        .header(header::ACCESS_CONTROL_ALLOW_ORIGIN, ANY_ORIGIN)
        .header(header::ACCESS_CONTROL_ALLOW_METHODS, methods)
        .header(header::ACCESS_CONTROL_ALLOW_HEADERS, headers)
}

impl GrpcGateway {
    fn translate(&self, request: &mut Request<'_>) -> Result<(), (StatusCode, String)> {
        let refuse = |why: String| (StatusCode::BAD_REQUEST, why);
        let needed = "transcoding requests require a .proto file defining the service";
        let routes = self.routes.as_ref().ok_or_else(|| refuse(needed.to_owned()))?;
        if request.facts.body == RequestBody::TooLarge {
            let why = "the request's body is too large to be translated".to_owned();
            return Err((StatusCode::PAYLOAD_TOO_LARGE, why));
        }
        let body = request.facts.body.bytes().cloned().unwrap_or_default();
        let uri = &request.head.uri;
        let query = uri.query().unwrap_or_default();
        let call = routes.call(request.head.method.as_str(), uri.path(), query, &body);
        let call = call.map_err(refuse)?;
        let message = encode(call.method.input(), call.message).map_err(refuse)?;
        request.facts.body = RequestBody::Replaced(frame(0, &message));
        request.facts.overrides().path = Some(call.path);
        crate::kit::query::set(request.head, "");
        request.head.set_method(Method::POST);
        // Valid names and values are always taken.
        let _ = request.head.insert_header("Content-Type", "application/grpc");
        let _ = request.head.insert_header("TE", "trailers");
        let output = call.method.output();
        request.facts.notes.insert(Answering { output, held: BytesMut::new(), read: false });
        Ok(())
    }
}
