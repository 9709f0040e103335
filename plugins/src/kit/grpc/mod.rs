//! gRPC on HTTP/1: message frames, services described by `.proto` files, JSON for messages.

mod proto;

#[cfg(test)]
pub(crate) mod tests;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::HeaderMap;

pub(crate) use proto::{Binding, Services, decode, encode};

/// Puts a message into a frame: flags, length, message.
pub(crate) fn frame(flags: u8, message: &[u8]) -> Bytes {
    let mut framed = BytesMut::with_capacity(message.len() + 5);
    framed.put_u8(flags);
    framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    framed.put_slice(message);
    framed.freeze()
}

/// Takes the first whole frame off: its flags and message.
pub(crate) fn unframe(bytes: &mut BytesMut) -> Option<(u8, Bytes)> {
    let flags = *bytes.first()?;
    let length = bytes.get(1..5)?;
    let length = u32::from_be_bytes(length.try_into().ok()?) as usize;
    if bytes.len() < length.checked_add(5)? {
        return None;
    }
    bytes.advance(5);
    Some((flags, bytes.split_to(length).freeze()))
}

/// The last frame of gRPC-Web: what HTTP/2 says in trailers.
pub(crate) fn trailers_frame(trailers: &HeaderMap) -> Bytes {
    let text = |name: &str| {
        let value = trailers.get(name).and_then(|value| value.to_str().ok());
        value.map(str::to_owned)
    };
    let status = text("grpc-status").unwrap_or_else(|| "0".to_owned());
    let message = text("grpc-message").unwrap_or_default();
    frame(0x80, format!("grpc-status:{status}\r\ngrpc-message:{message}\r\n").as_bytes())
}

/// The HTTP status of a gRPC status
/// (kong/plugins/grpc-gateway/handler.lua; google/rpc/code.proto).
pub(crate) const fn http_status(grpc: u32) -> u16 {
    match grpc {
        0 => 200,
        1 => 499,
        3 | 9 | 11 => 400,
        4 => 504,
        5 => 404,
        6 | 10 => 409,
        7 => 403,
        8 => 429,
        14 => 503,
        16 => 401,
        _ => 500,
    }
}
