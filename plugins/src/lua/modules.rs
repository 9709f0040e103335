//! What `require` finds: modules of Kong and OpenResty plugins use, and files of custom plugins.
//!
//! A file is read once in the life of the process, so that all machines run the same code.

use std::path::{Path, PathBuf};
use std::sync::Weak;

use bytes::Bytes;
use mlua::chunk::ChunkMode;
use mlua::{Error, Function, Lua, LuaString, Result, Table, Value};
use pingora_http::RequestHeader;
use uuid::Uuid;

use super::engine::Engine;
use super::ngx::{hmac_sha256, named_digest};
use super::values::brief;
use super::{http, json, vm};
use crate::kit::body::Arguments;

/// Modules in Lua, as they are in `scripts`.
const SCRIPTS: &[(&str, &str)] = &[
    ("kong.constants", include_str!("scripts/constants.lua")),
    ("kong.db.schema.typedefs", include_str!("scripts/typedefs.lua")),
    ("kong.meta", include_str!("scripts/meta.lua")),
    ("kong.plugins.jwt.jwt_parser", include_str!("scripts/jwt_parser.lua")),
    ("kong.tools.string", include_str!("scripts/tools_string.lua")),
    ("kong.tools.table", include_str!("scripts/tools_table.lua")),
    ("kong.tools.uuid", include_str!("scripts/tools_uuid.lua")),
    ("resty.lrucache", include_str!("scripts/lrucache.lua")),
    ("resty.string", include_str!("scripts/resty_string.lua")),
];

/// Digests with OpenResty's interface: `new`, `update`, `final`.
const DIGESTS: &[&str] = &["md5", "sha1", "sha224", "sha256", "sha384", "sha512"];

/// Where system packages of Lua 5.1 are, after what `lua_package_path` names.
const SYSTEM: &str = "/usr/local/share/lua/5.1/?.lua;/usr/local/share/lua/5.1/?/init.lua";

/// Fills `package`.
///
/// # Errors
///
/// When there is no memory.
pub(super) fn install(lua: &Lua, engine: &Weak<Engine>) -> Result<()> {
    let package: Table = lua.globals().get("package")?;
    let preload: Table = package.get("preload")?;
    for (name, text) in SCRIPTS {
        let load = lua.create_function(move |lua, _: Value| {
            lua.load(*text).set_name(format!("={name}")).eval::<Value>()
        })?;
        preload.set(*name, load)?;
    }
    preload.set("cjson", lua.create_function(|lua, _: Value| cjson(lua, false))?)?;
    preload.set("cjson.safe", lua.create_function(|lua, _: Value| cjson(lua, true))?)?;
    preload.set("kong.tools.cjson", lua.create_function(|lua, _: Value| cjson(lua, true))?)?;
    preload.set("gateway.native", lua.create_function(|lua, _: Value| native(lua))?)?;
    for name in DIGESTS {
        let load = lua.create_function(move |lua, _: Value| {
            let text = include_str!("scripts/digest.lua");
            lua.load(text).set_name(format!("=resty.{name}")).call::<Value>(*name)
        })?;
        preload.set(format!("resty.{name}"), load)?;
    }
    for kind in ["x509", "x509.chain", "x509.store"] {
        let load = lua.create_function(move |lua, _: Value| {
            let text = include_str!("scripts/x509.lua");
            lua.load(text).set_name(format!("=resty.openssl.{kind}")).call::<Value>(kind)
        })?;
        preload.set(format!("resty.openssl.{kind}"), load)?;
    }
    preload.set("ngx.ssl", lua.create_function(|lua, _: Value| super::ssl::module(lua))?)?;
    let weak = engine.clone();
    preload
        .set("resty.http", lua.create_function(move |lua, _: Value| http::module(lua, &weak))?)?;
    let settings = vm::engine(engine)?.settings.package_path.clone();
    package.set("path", format!("{settings};{SYSTEM}"))?;
    package.set("cpath", "")?;
    // Of the usual searchers only the first stays: no native module can be loaded.
    let loaders: Table = package.get("loaders")?;
    let preloaded: Function = loaders.get(1)?;
    let weak = engine.clone();
    let files = lua.create_function(move |lua, name: String| load_file(lua, &weak, &name))?;
    package.set("loaders", lua.create_sequence_from([preloaded, files])?)?;
    Ok(())
}

/// A searcher: the module as a function, or a text that tells where it is not.
fn load_file(lua: &Lua, engine: &Weak<Engine>, name: &str) -> Result<Value> {
    let engine = vm::engine(engine)?;
    match engine.source(name) {
        Ok((path, text)) => lua
            .load(text.to_string())
            .set_name(format!("@{}", path.display()))
            .set_mode(ChunkMode::Text)
            .into_function()
            .map(Value::Function),
        Err(tried) => lua.create_string(tried).map(Value::String),
    }
}

/// The first file of a module on a path, or the text `require` tells when there is none.
pub(super) fn find(path: &str, name: &str) -> std::result::Result<PathBuf, String> {
    let inner = name.replace('.', "/");
    let mut tried = String::new();
    for template in path.split(';').chain(SYSTEM.split(';')).filter(|one| !one.is_empty()) {
        let file = template.replace('?', &inner);
        if Path::new(&file).is_file() {
            return Ok(file.into());
        }
        tried.push_str(&format!("\n\tno file '{file}'"));
    }
    Err(tried)
}

/// `cjson`; the safe one gives nil and the reason instead of an error.
fn cjson(lua: &Lua, safe: bool) -> Result<Table> {
    let cjson = lua.create_table()?;
    let encode = lua.create_function(move |lua, value: Value| match json::encode(lua, &value) {
        Ok(bytes) => brief(lua, lua.create_string(bytes)?),
        Err(why) if safe => brief(lua, (Value::Nil, super::abort::text(&why))),
        Err(why) => Err(why),
    })?;
    let decode = lua.create_function(move |lua, text: Value| {
        let Value::String(text) = text else {
            let kind = text.type_name();
            let why = format!("bad argument #1 to 'decode' (string expected, got {kind})");
            return if safe { brief(lua, (Value::Nil, why)) } else { Err(Error::runtime(why)) };
        };
        match json::decode(lua, &text) {
            Ok(value) => brief(lua, value),
            Err(why) if safe => brief(lua, (Value::Nil, super::abort::text(&why))),
            Err(why) => Err(why),
        }
    })?;
    cjson.set("encode", encode)?;
    cjson.set("decode", decode)?;
    cjson.set("null", Value::NULL)?;
    let array = json::array_mt(lua)?;
    cjson.set("empty_array_mt", &array)?;
    cjson.set("array_mt", &array)?;
    let empty = lua.create_table()?;
    empty.set_metatable(Some(array))?;
    cjson.set("empty_array", empty)?;
    for name in [
        "decode_array_with_array_mt",
        "decode_max_depth",
        "encode_empty_table_as_object",
        "encode_escape_forward_slash",
        "encode_invalid_numbers",
        "encode_keep_buffer",
        "encode_max_depth",
        "encode_number_precision",
        "encode_sparse_array",
    ] {
        cjson.set(name, lua.create_function(|_, value: Value| Ok(value))?)?;
    }
    cjson.set("_NAME", if safe { "cjson.safe" } else { "cjson" })?;
    cjson.set("_VERSION", "2.1.0")?;
    let this = cjson.clone();
    cjson.set("new", lua.create_function(move |_, ()| Ok(this.clone()))?)?;
    Ok(cjson)
}

/// What the modules in Lua are made of.
fn native(lua: &Lua) -> Result<Table> {
    let native = lua.create_table()?;
    native.set(
        "digest",
        lua.create_function(|lua, (name, text): (String, LuaString)| {
            lua.create_string(named_digest(&name, &text.as_bytes())?)
        })?,
    )?;
    native.set(
        "hmac_sha256",
        lua.create_function(|lua, (key, text): (LuaString, LuaString)| {
            hmac_sha256(lua, &key.as_bytes(), &text.as_bytes())
        })?,
    )?;
    native.set(
        "certificates",
        lua.create_function(|lua, text: LuaString| super::ssl::parsed(lua, &text, false))?,
    )?;
    native.set("uuid", lua.create_function(|_, ()| Ok(Uuid::new_v4().to_string()))?)?;
    native.set(
        "to_hex",
        lua.create_function(|_, text: LuaString| Ok(hex::encode(&*text.as_bytes())))?,
    )?;
    Ok(native)
}

/// The fields of a multipart form, in order.
pub(super) fn multipart(bytes: &[u8], media: &str) -> Vec<(String, Bytes)> {
    let read = || {
        let mut head = RequestHeader::build("POST", b"/", None).ok()?;
        head.insert_header("Content-Type", media).ok()?;
        match Arguments::read(&head, &Bytes::copy_from_slice(bytes))? {
            Arguments::Multipart(_, parts) => {
                Some(parts.into_iter().map(|part| (part.name, part.data)).collect())
            }
            _ => None,
        }
    };
    read().unwrap_or_default()
}
