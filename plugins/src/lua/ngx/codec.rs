//! `ngx.encode_base64` and its like: texts in other forms, digests.

use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD};
use md5::{Digest as _, Md5};
use mlua::{Error, Lua, LuaString, Result, Table, Value};
use percent_encoding::{percent_decode, percent_encode};

use super::super::pdk;
use pdk::service_request::ARGUMENT;

/// Takes texts with and without padding, as OpenResty does.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

pub(super) fn install(lua: &Lua, ngx: &Table) -> Result<()> {
    base64(lua, ngx)?;
    digests(lua, ngx)?;
    urls(lua, ngx)?;
    ngx.set(
        "quote_sql_str",
        lua.create_function(|lua, text: LuaString| {
            let mut out = vec![b'\''];
            for &byte in text.as_bytes().iter() {
                match byte {
                    0 => out.extend_from_slice(b"\\0"),
                    b'\n' => out.extend_from_slice(b"\\n"),
                    b'\r' => out.extend_from_slice(b"\\r"),
                    0x1a => out.extend_from_slice(b"\\Z"),
                    b'\'' | b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
                    byte => out.push(byte),
                }
            }
            out.push(b'\'');
            lua.create_string(out)
        })?,
    )
}

fn base64(lua: &Lua, ngx: &Table) -> Result<()> {
    ngx.set(
        "encode_base64",
        lua.create_function(|_, (text, no_padding): (LuaString, Option<bool>)| {
            let bytes = text.as_bytes();
            Ok(match no_padding {
                Some(true) => BASE64_STANDARD_NO_PAD.encode(&*bytes),
                _ => BASE64_STANDARD.encode(&*bytes),
            })
        })?,
    )?;
    ngx.set(
        "decode_base64",
        lua.create_function(|lua, text: LuaString| {
            LENIENT.decode(&*text.as_bytes()).ok().map(|bytes| lua.create_string(bytes)).transpose()
        })?,
    )
}

fn digests(lua: &Lua, ngx: &Table) -> Result<()> {
    ngx.set(
        "md5",
        lua.create_function(|_, text: LuaString| Ok(hex::encode(Md5::digest(&*text.as_bytes()))))?,
    )?;
    ngx.set(
        "md5_bin",
        lua.create_function(|lua, text: LuaString| {
            lua.create_string(Md5::digest(&*text.as_bytes()).as_slice())
        })?,
    )?;
    ngx.set(
        "sha1_bin",
        lua.create_function(|lua, text: LuaString| {
            let made = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &text.as_bytes());
            lua.create_string(made.as_ref())
        })?,
    )?;
    ngx.set(
        "hmac_sha1",
        lua.create_function(|lua, (key, text): (LuaString, LuaString)| {
            let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &key.as_bytes());
            lua.create_string(hmac::sign(&key, &text.as_bytes()).as_ref())
        })?,
    )?;
    for name in ["crc32_short", "crc32_long"] {
        ngx.set(
            name,
            lua.create_function(|_, text: LuaString| Ok(f64::from(crc32(&text.as_bytes()))))?,
        )?;
    }
    Ok(())
}

/// CRC-32 as in gzip (RFC 1952, 8).
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for &byte in bytes {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            let carry = crc & 1;
            crc = (crc >> 1) ^ (0xedb8_8320 * carry);
        }
    }
    !crc
}

fn urls(lua: &Lua, ngx: &Table) -> Result<()> {
    ngx.set(
        "escape_uri",
        lua.create_function(|_, (text, _): (LuaString, Option<i64>)| {
            Ok(percent_encode(&text.as_bytes(), ARGUMENT).to_string())
        })?,
    )?;
    ngx.set(
        "unescape_uri",
        lua.create_function(|lua, text: LuaString| {
            let bytes = text.as_bytes();
            let spaced: Vec<u8> =
                bytes.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
            lua.create_string(percent_decode(&spaced).collect::<Vec<u8>>())
        })?,
    )?;
    ngx.set(
        "encode_args",
        lua.create_function(|_, args: Table| {
            pdk::service_request::encoded(&args).map(|parts| parts.join("&"))
        })?,
    )?;
    ngx.set(
        "decode_args",
        lua.create_function(|lua, (text, most): (LuaString, Option<f64>)| {
            let most = match most.unwrap_or(100.0) {
                0.0 => usize::MAX,
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "saturates"
                )]
                most => most as usize,
            };
            pdk::args_table(lua, &text.as_bytes(), most)
        })?,
    )
}

/// For modules: a digest by its name.
pub(in super::super) fn named_digest(name: &str, bytes: &[u8]) -> Result<Vec<u8>> {
    let algorithm = match name {
        "sha1" => &digest::SHA1_FOR_LEGACY_USE_ONLY,
        "sha224" => &digest::SHA224,
        "sha256" => &digest::SHA256,
        "sha384" => &digest::SHA384,
        "sha512" => &digest::SHA512,
        "md5" => return Ok(Md5::digest(bytes).to_vec()),
        _ => return Err(Error::runtime(format!("no digest is called {name}"))),
    };
    Ok(digest::digest(algorithm, bytes).as_ref().to_vec())
}

/// For modules: HMAC-SHA256.
pub(in super::super) fn hmac_sha256(lua: &Lua, key: &[u8], bytes: &[u8]) -> Result<Value> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    lua.create_string(hmac::sign(&key, bytes).as_ref()).map(Value::String)
}
