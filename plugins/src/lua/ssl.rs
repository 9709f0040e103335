//! `ngx.ssl`: certificates and keys in PEM, read, and what a handshake shows of them
//! (lua-resty-core, ngx/ssl.lua).

use gateway_model::pem;
use mlua::{Error, Lua, LuaString, MultiValue, Result, Table, UserData, Value};

use super::current;
use super::phase::Phase;
use super::values::brief;
use crate::contract::Handshake;

/// A certificate with those above it, or a key, that was found good.
pub(super) struct Parsed {
    pem: String,
    is_key: bool,
}

impl UserData for Parsed {}

impl Parsed {
    /// The PEM of a chain.
    pub(super) fn chain(value: &Value) -> Option<String> {
        Self::of(value, false)
    }

    /// The PEM of a key.
    pub(super) fn key(value: &Value) -> Option<String> {
        Self::of(value, true)
    }

    fn of(value: &Value, is_key: bool) -> Option<String> {
        let Value::UserData(parsed) = value else { return None };
        let parsed = parsed.borrow::<Self>().ok()?;
        (parsed.is_key == is_key).then(|| parsed.pem.clone())
    }
}

/// The module.
pub(super) fn module(lua: &Lua) -> Result<Table> {
    let ssl = lua.create_table()?;
    ssl.set("parse_pem_cert", parser(lua, false)?)?;
    ssl.set("parse_pem_priv_key", parser(lua, true)?)?;
    ssl.set(
        "server_name",
        lua.create_function(|_, ()| {
            current::with(|now| Ok(now.facts.client.tls.as_ref().and_then(|tls| tls.sni.clone())))
        })?,
    )?;
    ssl.set(
        "server_port",
        lua.create_function(|_, ()| current::with(|now| Ok(now.facts.client.local.port())))?,
    )?;
    ssl.set(
        "get_tls1_version_str",
        lua.create_function(|lua, ()| {
            let version = current::with(|now| {
                Ok(now.facts.client.tls.as_ref().map(|tls| tls.version.clone()))
            })?;
            match version {
                Some(version) if !version.is_empty() => brief(lua, version),
                // The certificate phase runs before the hello is answered.
                Some(_) => brief(lua, (Value::Nil, "the TLS version is not agreed on yet")),
                None => brief(lua, (Value::Nil, "the connection has no TLS")),
            }
        })?,
    )?;
    ssl.set(
        "clear_certs",
        lua.create_function(|_, ()| {
            shaking()?;
            on_handshake(|handshake| {
                *handshake =
                    Handshake { cleared: true, chain: None, key: None, ..handshake.clone() };
            })
        })?,
    )?;
    ssl.set(
        "set_cert",
        lua.create_function(|_, chain: Value| {
            shaking()?;
            let chain = Parsed::chain(&chain).ok_or_else(|| Error::runtime("bad cert chain"))?;
            on_handshake(|handshake| handshake.chain = Some(chain))
        })?,
    )?;
    ssl.set(
        "set_priv_key",
        lua.create_function(|_, key: Value| {
            shaking()?;
            let key = Parsed::key(&key).ok_or_else(|| Error::runtime("bad private key"))?;
            on_handshake(|handshake| handshake.key = Some(key.into()))
        })?,
    )?;
    Ok(ssl)
}

fn shaking() -> Result<()> {
    current::with(|now| match now.phase {
        Phase::Certificate => Ok(()),
        phase => {
            let name = phase.ngx();
            Err(Error::runtime(format!("API disabled in the context of {name}_by_lua*")))
        }
    })
}

/// Changes what the handshake becomes; gives true, as what is made of it does.
pub(super) fn on_handshake(change: impl FnOnce(&mut Handshake)) -> Result<bool> {
    current::with(|now| {
        change(now.facts.notes.get_or_insert_default::<Handshake>());
        Ok(true)
    })
}

fn parser(lua: &Lua, is_key: bool) -> Result<mlua::Function> {
    lua.create_function(move |lua, text: LuaString| parsed(lua, &text, is_key))
}

/// A PEM text read, or nil and why it cannot be.
pub(super) fn parsed(lua: &Lua, text: &LuaString, is_key: bool) -> Result<MultiValue> {
    let pem = text.to_string_lossy();
    let read = match is_key {
        true => pem::private_key(&pem).map(drop),
        false => pem::certificates(&pem).map(drop),
    };
    match read {
        Ok(()) => brief(lua, lua.create_userdata(Parsed { pem, is_key })?),
        Err(why) => brief(lua, (Value::Nil, why)),
    }
}
