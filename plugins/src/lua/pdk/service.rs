//! `kong.service`: where the request goes (kong/pdk/service.lua).

use std::ops::RangeInclusive;
use std::sync::Arc;

use mlua::{Error, Lua, Result, Table, Value};

use super::super::ssl::Parsed;
use super::{ACCESS, TO_PREREAD, permit, text, within};
use crate::contract::{Authorities, ClientPair, Timeouts};

pub(super) fn namespace(lua: &Lua) -> Result<Table> {
    let service = lua.create_table()?;
    service.set(
        "set_target",
        lua.create_function(|_, (host, port): (Value, Value)| {
            permit(TO_PREREAD)?;
            let host = text(host, "host")?;
            let port = port_of(&port)?;
            within(TO_PREREAD, |now| {
                now.facts.overrides().destination = Some((host.into(), port));
                Ok(())
            })
        })?,
    )?;
    service.set(
        "set_upstream",
        lua.create_function(|_, host: Value| {
            permit(ACCESS)?;
            let host = text(host, "host")?;
            within(ACCESS, |now| {
                let catalog = &now.facts.catalog;
                if catalog.collection("upstreams").and_then(|all| all.by("name", &host)).is_none() {
                    let why = format!("could not find an Upstream named '{host}'");
                    return Ok((None, Some(why)));
                }
                let port = now.facts.service.as_ref().map_or(80, |service| service.port);
                now.facts.overrides().destination = Some((host.into(), port));
                Ok((Some(true), None))
            })
        })?,
    )?;
    connection(lua, &service)?;
    Ok(service)
}

/// How the connection is made and secured.
fn connection(lua: &Lua, service: &Table) -> Result<()> {
    service.set(
        "set_timeouts",
        lua.create_function(|_, (connect, write, read): (Value, Value, Value)| {
            permit(ACCESS)?;
            let millis = |value: &Value, what: &str| {
                let number = integer(value, what, 1..=2_147_483_646)?;
                u64::try_from(number).map_err(Error::external)
            };
            let connect = millis(&connect, "connect_timeout")?;
            let write = millis(&write, "write_timeout")?;
            let read = millis(&read, "read_timeout")?;
            within(ACCESS, |now| {
                now.facts.overrides().timeouts = Some(Timeouts { connect, write, read });
                Ok(())
            })
        })?,
    )?;
    service.set(
        "set_retries",
        lua.create_function(|_, retries: Value| {
            permit(ACCESS)?;
            let retries = integer(&retries, "retries", 0..=32_767)?;
            let retries = u16::try_from(retries).map_err(Error::external)?;
            within(ACCESS, |now| {
                now.facts.overrides().retries = Some(retries);
                Ok(())
            })
        })?,
    )?;
    service.set(
        "set_tls_verify",
        lua.create_function(|_, on: Value| {
            permit(TO_PREREAD)?;
            let Value::Boolean(on) = on else {
                return Err(Error::runtime("argument must be a boolean"));
            };
            within(TO_PREREAD, |now| {
                now.facts.overrides().tls_verify = Some(on);
                Ok(Some(true))
            })
        })?,
    )?;
    service.set(
        "set_tls_verify_depth",
        lua.create_function(|_, depth: Value| {
            permit(TO_PREREAD)?;
            if !matches!(depth, Value::Integer(_) | Value::Number(_)) {
                return Err(Error::runtime("argument must be a number"));
            }
            let depth = integer(&depth, "depth", 0..=255)?;
            let depth = u8::try_from(depth).map_err(Error::external)?;
            within(TO_PREREAD, |now| {
                now.facts.overrides().tls_verify_depth = Some(depth);
                Ok(Some(true))
            })
        })?,
    )?;
    service.set(
        "set_tls_cert_key",
        lua.create_function(|_, (chain, key): (Value, Value)| {
            permit(TO_PREREAD)?;
            let told = |what: &str| Error::runtime(format!("{what} must be a parsed cdata object"));
            let chain = Parsed::chain(&chain).ok_or_else(|| told("chain"))?;
            let key = Parsed::key(&key).ok_or_else(|| told("key"))?;
            let pair = Arc::new(ClientPair { chain, key: key.into() });
            within(TO_PREREAD, |now| {
                now.facts.overrides().client_pair = Some(pair);
                Ok(Some(true))
            })
        })?,
    )?;
    service.set(
        "set_tls_verify_store",
        lua.create_function(|_, store: Value| {
            permit(TO_PREREAD)?;
            let Value::Table(store) = store else {
                let wanted = "argument must be a resty.openssl.x509.store object";
                return Err(Error::runtime(wanted));
            };
            // An empty store believes nobody.
            let believed = Parsed::chain(&store.get("ctx")?).unwrap_or_default();
            within(TO_PREREAD, |now| {
                now.facts.overrides().authorities = Some(Arc::new(Authorities(believed)));
                Ok(Some(true))
            })
        })?,
    )
}

fn port_of(value: &Value) -> Result<u16> {
    u16::try_from(integer(value, "port", 0..=65_535)?).map_err(Error::external)
}

fn integer(value: &Value, what: &str, range: RangeInclusive<i64>) -> Result<i64> {
    let number = match value {
        Value::Integer(number) => *number,
        #[expect(clippy::cast_possible_truncation, reason = "a fraction is refused")]
        Value::Number(number) if number.fract() == 0.0 => *number as i64,
        _ => return Err(Error::runtime(format!("{what} must be an integer"))),
    };
    if range.contains(&number) {
        return Ok(number);
    }
    let (least, most) = (range.start(), range.end());
    let told = format!("{what} must be an integer between {least} and {most}: given {number}");
    Err(Error::runtime(told))
}
