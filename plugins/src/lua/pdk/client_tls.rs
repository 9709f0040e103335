//! `kong.client.tls`: what a client shows in its handshake (kong/pdk/client/tls.lua).

use std::sync::Arc;

use mlua::{Error, Lua, Result, Table, Value};

use super::super::ssl::{Parsed, on_handshake};
use super::{SHAKING, SHOWING, SHOWN, permit, within};

pub(super) fn namespace(lua: &Lua) -> Result<Table> {
    let tls = lua.create_table()?;
    tls.set(
        "request_client_certificate",
        lua.create_function(|_, _: Value| {
            permit(SHAKING)?;
            on_handshake(|handshake| handshake.asks_certificate = true)
        })?,
    )?;
    tls.set(
        "disable_session_reuse",
        lua.create_function(|_, ()| {
            permit(SHAKING)?;
            on_handshake(|handshake| handshake.single_use = true)
        })?,
    )?;
    tls.set(
        "set_client_ca_list",
        lua.create_function(|_, list: Value| {
            permit(SHAKING)?;
            let list = Parsed::chain(&list)
                .ok_or_else(|| Error::runtime("ca_list must be a parsed cdata object"))?;
            on_handshake(|handshake| handshake.authorities = Some(list))
        })?,
    )?;
    tls.set(
        "get_full_client_certificate_chain",
        lua.create_function(|_, ()| {
            within(SHOWN, |now| {
                let shown = now.facts.client.tls.as_ref().map(|tls| &*tls.client_chain);
                Ok(shown.filter(|chain| !chain.is_empty()).map(|chain| {
                    let block = |der: &bytes::Bytes| ::pem::Pem::new("CERTIFICATE", der.to_vec());
                    ::pem::encode_many(&chain.iter().map(block).collect::<Vec<_>>())
                }))
            })
        })?,
    )?;
    tls.set("set_client_verify", lua.create_function(|_, told: Value| set_verify(told))?)?;
    Ok(tls)
}

/// Says what logs tell became of the certificate.
fn set_verify(told: Value) -> Result<()> {
    permit(SHOWING)?;
    let Value::String(told) = told else { return Err(Error::runtime("assertion failed!")) };
    let told = told.to_string_lossy();
    if !matches!(&*told, "SUCCESS" | "NONE") && !told.starts_with("FAILED:") {
        return Err(Error::runtime(format!(
            "unknown client verify value: {told} accepted values are: \"SUCCESS\", \"NONE\" or \
             \"FAILED:<reason>\""
        )));
    }
    within(SHOWING, |now| {
        if let Some(tls) = &mut now.facts.client.tls {
            Arc::make_mut(tls).client_verify = told;
        }
        Ok(())
    })
}
