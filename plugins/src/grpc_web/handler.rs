use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::{Bytes, BytesMut};
use gateway_model::Violations;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use pingora_http::RequestHeader;
use prost_reflect::MessageDescriptor;

use super::config::Config;
use super::encoding::Encoding;
use crate::contract::{
    ANY, Chunk, Flow, HTTP, Handler, Needs, OutcomeInBody, Phases, Plugin, Reply, ReplyBody,
    Request, RequestBody, Response, Setup, Trailers,
};
use crate::kit::grpc::{Services, decode, encode, frame, trailers_frame, unframe};

/// One instance (kong/plugins/grpc-web/handler.lua).
pub(crate) struct GrpcWeb {
    services: Option<Arc<Services>>,
    stripped: bool,
    origin: HeaderValue,
}

/// How the answer is to be written, in the notes of an exchange.
#[derive(Clone)]
struct Answering {
    media_type: HeaderValue,
    encoding: Encoding,
    /// What answers are, where they become JSON.
    output: Option<MessageDescriptor>,
    /// What is not yet a whole frame.
    held: BytesMut,
    /// What headers or trailers say of the outcome.
    trailers: HeaderMap,
    done: bool,
}

impl Plugin for GrpcWeb {
    const NAME: &'static str = "grpc-web";
    const PRIORITY: i32 = 3;
    const PHASES: Phases = Phases::ACCESS.and(Phases::HEADER_FILTER).and(Phases::BODY_FILTER);
    const PROTOCOLS: &'static [&'static str] = ANY;
    const DEFAULT_PROTOCOLS: &'static [&'static str] = HTTP;
    type Config = Config;

    fn build(config: Config, _: &Setup<'_>) -> Result<Self, Violations> {
        let services = config.proto.as_deref().map(Services::load).transpose();
        let services = services.map_err(|why| Violations::one("proto", why))?;
        let origin = config.allow_origin_header.as_deref().unwrap_or("*");
        let origin = HeaderValue::try_from(origin)
            .map_err(|_| Violations::one("allow_origin_header", "not usable in a header"))?;
        Ok(Self {
            services: services.map(Arc::new),
            stripped: config.pass_stripped_path.unwrap_or_default(),
            origin,
        })
    }
}

const REQUEST_HEADERS: HeaderValue =
    HeaderValue::from_static("content-type,x-grpc-web,x-user-agent");
const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");

impl Handler for GrpcWeb {
    fn needs(&self) -> Needs {
        Needs::BODY
    }

    /// Frames that go on as they are need not be seen: a client may stream them.
    fn needs_of(&self, head: &RequestHeader) -> Needs {
        let encoding = head.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let rewrites = encoding.and_then(Encoding::of).is_some_and(Encoding::rewrites);
        if rewrites { Needs::BODY } else { Needs::NOTHING }
    }

    fn access<'a>(&'a self, request: &'a mut Request<'_>) -> Flow<'a> {
        if request.head.method == Method::OPTIONS {
            return Flow::reply(self.preflight());
        }
        let allowed = (header::ACCESS_CONTROL_ALLOW_ORIGIN, self.origin.clone());
        request.facts.response_headers.push(allowed);
        match self.translate(request) {
            Ok(()) => Flow::Continue,
            Err((status, why)) => {
                tracing::info!(request.id = &*request.facts.request_id, why, "grpc-web: {why}");
                let body = ReplyBody::Untyped(why.into());
                Flow::reply(Reply { status, headers: Vec::new(), body })
            }
        }
    }

    fn header_filter(&self, response: &mut Response<'_>) {
        let Some(answering) = response.facts.notes.get_mut::<Answering>() else { return };
        // Valid names and values are always taken.
        let _ = response.head.insert_header("Content-Type", answering.media_type.clone());
        response.head.remove_header(&header::CONTENT_LENGTH);
        // An answer without a body says it all in its headers.
        for name in ["grpc-status", "grpc-message"] {
            if let (Some(value), Ok(name)) =
                (response.head.headers.get(name).cloned(), HeaderName::try_from(name))
            {
                answering.trailers.insert(name, value);
            }
        }
    }

    fn body_filter(&self, chunk: &mut Chunk<'_>) {
        let trailers = chunk.end.then(|| chunk.facts.notes.remove::<Trailers>()).flatten();
        let Some(answering) = chunk.facts.notes.get_mut::<Answering>() else { return };
        if let Some(Trailers(trailers)) = trailers {
            answering.trailers.extend(trailers);
        }
        let mut out = BytesMut::new();
        if let Some(data) = chunk.data.take() {
            answering.write(&data, &mut out);
        }
        if chunk.end {
            answering.finish(&mut out);
        }
        *chunk.data = (!out.is_empty()).then(|| out.freeze());
    }
}

impl GrpcWeb {
    fn preflight(&self) -> Reply {
        let kind = HeaderValue::from_static("application/grpc-web-text+proto");
        let body = ReplyBody::Bytes(kind, Bytes::from_static(b"OK"));
        Reply { status: StatusCode::OK, headers: Vec::new(), body }
            .header(header::ACCESS_CONTROL_ALLOW_ORIGIN, self.origin.clone())
            .header(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST"))
            .header(header::ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS)
    }

    fn translate(&self, request: &mut Request<'_>) -> Result<(), (StatusCode, String)> {
        let refuse = |why: &str| (StatusCode::BAD_REQUEST, why.to_owned());
        let media_type = request.head.headers.get(header::CONTENT_TYPE).cloned();
        let media_type = media_type.ok_or_else(|| refuse("a content type is needed"))?;
        let encoding = media_type.to_str().ok().and_then(Encoding::of);
        let encoding = encoding.ok_or_else(|| refuse("not a content type of gRPC-Web"))?;
        let mut output = None;
        let mut input = None;
        let path = request.head.uri.path().to_owned();
        if encoding.json {
            let services = self.services.as_ref();
            let needed = "transcoding requests require a .proto file defining the service";
            let services = services.ok_or_else(|| refuse(needed))?;
            let method = services.method(&path);
            let method = method.ok_or_else(|| refuse(&format!("Unkown path \"{path}\"")))?;
            (input, output) = (Some(method.input()), Some(method.output()));
        }
        if encoding.rewrites() {
            let body = match &request.facts.body {
                RequestBody::TooLarge => {
                    let why = "the request's body is too large to be translated";
                    return Err((StatusCode::PAYLOAD_TOO_LARGE, why.to_owned()));
                }
                known => known.bytes().cloned().unwrap_or_default(),
            };
            let body = upstream_body(encoding, input, body).map_err(|why| refuse(&why))?;
            request.facts.body = RequestBody::Replaced(body);
        }
        // Valid names and values are always taken.
        let _ = request.head.insert_header("Content-Type", GRPC);
        let _ = request.head.insert_header("TE", "trailers");
        if !self.stripped {
            request.facts.overrides().path = Some(path);
        }
        if encoding.framed {
            request.facts.notes.insert(OutcomeInBody);
        }
        request.facts.notes.insert(Answering {
            media_type,
            encoding,
            output,
            held: BytesMut::new(),
            trailers: HeaderMap::new(),
            done: false,
        });
        Ok(())
    }
}

fn upstream_body(
    encoding: Encoding,
    input: Option<MessageDescriptor>,
    body: Bytes,
) -> Result<Bytes, String> {
    let body = if encoding.base64 {
        Bytes::from(BASE64_STANDARD.decode(&body).map_err(|why| why.to_string())?)
    } else {
        body
    };
    let Some(input) = input else { return Ok(body) };
    let message = if encoding.framed {
        unframe(&mut BytesMut::from(&body[..])).ok_or("the frame is not whole")?.1
    } else {
        body
    };
    let json = serde_json::from_slice(&message).map_err(|why| why.to_string())?;
    Ok(frame(0, &encode(input, json)?))
}

impl Answering {
    /// What clients get of a piece of the answer.
    fn write(&mut self, data: &[u8], out: &mut BytesMut) {
        let Some(output) = self.output.clone() else {
            return self.put(data, out);
        };
        self.held.extend_from_slice(data);
        while let Some((_, message)) = unframe(&mut self.held) {
            match decode(output.clone(), message) {
                Ok(json) if self.encoding.framed => self.put(&frame(0, &json), out),
                Ok(json) => self.put(&json, out),
                Err(why) => tracing::warn!(why, "grpc-web: an answer is no message: {why}"),
            }
        }
    }

    /// The outcome, once, where frames have a place for it.
    fn finish(&mut self, out: &mut BytesMut) {
        if self.encoding.framed && !std::mem::replace(&mut self.done, true) {
            self.put(&trailers_frame(&self.trailers), out);
        }
    }

    /// Pieces are encoded one by one, each with its padding: clients of gRPC-Web expect that.
    fn put(&self, bytes: &[u8], out: &mut BytesMut) {
        if self.encoding.base64 {
            out.extend_from_slice(BASE64_STANDARD.encode(bytes).as_bytes());
        } else {
            out.extend_from_slice(bytes);
        }
    }
}
