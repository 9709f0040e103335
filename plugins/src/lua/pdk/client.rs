//! `kong.client`: who asks (kong/pdk/client.lua).

use gateway_model::entities::Consumer;
use gateway_model::{Catalog, Id, Item};
use mlua::{Error, Lua, Result, Table, Value};

use super::super::current::{self, Current};
use super::super::json;
use super::{ACCESS, ROUTED, permit, within};
use crate::contract::{Credential, Scheme};

pub(super) fn namespace(lua: &Lua) -> Result<Table> {
    let client = lua.create_table()?;
    address(lua, &client)?;
    identity(lua, &client)?;
    Ok(client)
}

fn address(lua: &Lua, client: &Table) -> Result<()> {
    client.set(
        "get_ip",
        lua.create_function(|_, ()| {
            current::with(|now| Ok(now.facts.client.peer.ip().to_canonical().to_string()))
        })?,
    )?;
    client.set(
        "get_forwarded_ip",
        lua.create_function(|_, ()| {
            current::with(|now| Ok(now.facts.client.ip.to_canonical().to_string()))
        })?,
    )?;
    for name in ["get_port", "get_forwarded_port"] {
        client.set(
            name,
            lua.create_function(|_, ()| current::with(|now| Ok(now.facts.client.peer.port())))?,
        )?;
    }
    client.set(
        "get_protocol",
        lua.create_function(|_, terminated: Option<bool>| {
            within(ROUTED, |now| Ok(protocol(now, terminated.unwrap_or(false))))
        })?,
    )
}

/// The protocol of a route that has one, else by the connection; a trusted proxy's word counts where
/// the caller allows that TLS ended there.
fn protocol(now: &Current, terminated: bool) -> (Option<String>, Option<&'static str>) {
    let Some(route) = &now.facts.route else { return (None, Some("No active route found")) };
    if let [only] = &route.protocols[..] {
        return (Some(only.clone()), None);
    }
    let client = &now.facts.client;
    let tls = client.tls.is_some() || terminated && client.scheme == Scheme::Https;
    (Some(if tls { "https" } else { "http" }.to_owned()), None)
}

fn identity(lua: &Lua, client: &Table) -> Result<()> {
    client.set(
        "get_consumer",
        lua.create_function(|lua, ()| {
            within(ROUTED, |now| match &now.facts.identity.consumer {
                Some(consumer) => consumer_table(lua, consumer),
                None => Ok(Value::Nil),
            })
        })?,
    )?;
    client.set(
        "get_credential",
        lua.create_function(|lua, ()| {
            within(ROUTED, |now| match &now.facts.identity.credential {
                Some(credential) => credential_table(lua, &now.facts.catalog, credential),
                None => Ok(Value::Nil),
            })
        })?,
    )?;
    client.set(
        "load_consumer",
        lua.create_function(|lua, (key, by_name): (Value, Option<bool>)| {
            permit(ROUTED)?;
            let key = super::text(key, "consumer_id")?;
            let (id, by_name) = (Id::parse(&key), by_name == Some(true));
            if id.is_none() && !by_name {
                let told = "cannot load a consumer with an id that is not a uuid";
                return Err(Error::runtime(told));
            }
            within(ROUTED, |now| {
                let catalog = &now.facts.catalog;
                let by_id = || id.and_then(|id| catalog.get::<Consumer>(id));
                let named = || catalog.by::<Consumer>("username", &key).filter(|_| by_name);
                match by_id().or_else(named) {
                    Some(consumer) => consumer_table(lua, &consumer),
                    None => Ok(Value::Nil),
                }
            })
        })?,
    )?;
    client.set(
        "authenticate",
        lua.create_function(|_, (consumer, credential): (Value, Value)| {
            permit(ACCESS)?;
            let consumer = table_or_nil(consumer, "consumer")?;
            let credential = table_or_nil(credential, "credential")?;
            if consumer.is_none() && credential.is_none() {
                return Err(Error::runtime("either credential or consumer must be provided"));
            }
            let consumer_id = consumer.map(|table| id_of(&table)).transpose()?.flatten();
            let proof = credential.map(|table| proof(&table)).transpose()?.flatten();
            within(ACCESS, |now| {
                let identity = &mut now.facts.identity;
                identity.consumer =
                    consumer_id.and_then(|id| now.facts.catalog.get::<Consumer>(id));
                identity.credential = proof;
                Ok(())
            })
        })?,
    )?;
    for name in ["get_consumer_group", "get_consumer_groups"] {
        client.set(name, lua.create_function(|_, ()| Ok(Value::Nil))?)?;
    }
    Ok(())
}

fn consumer_table(lua: &Lua, consumer: &Item<Consumer>) -> Result<Value> {
    json::object(lua, &consumer.document(), &Value::NULL).map(Value::Table)
}

/// What proved the consumer: its entity where the catalog has it.
fn credential_table(lua: &Lua, catalog: &Catalog, credential: &Credential) -> Result<Value> {
    let kinds = catalog.registry().kinds().iter();
    let stored = kinds.filter_map(|kind| catalog.collection(kind.kind)?.get(credential.id)).next();
    let table = match stored {
        Some(stored) => json::object(lua, &stored.document(), &Value::NULL)?,
        None => lua.create_table()?,
    };
    table.raw_set("id", credential.id.to_string())?;
    Ok(Value::Table(table))
}

fn table_or_nil(value: Value, what: &str) -> Result<Option<Table>> {
    match value {
        Value::Nil => Ok(None),
        Value::Table(table) => Ok(Some(table)),
        _ => Err(Error::runtime(format!("{what} must be a table or nil"))),
    }
}

fn id_of(table: &Table) -> Result<Option<Id>> {
    Ok(table.get::<Option<String>>("id")?.as_deref().and_then(Id::parse))
}

/// A credential by its id; what it is called by is its key, name or id.
fn proof(table: &Table) -> Result<Option<Credential>> {
    let Some(id) = id_of(table)? else { return Ok(None) };
    let mut identifier = id.to_string();
    for name in ["key", "username"] {
        if let Some(text) = table.get::<Option<String>>(name)? {
            identifier = text;
            break;
        }
    }
    Ok(Some(Credential { id, identifier: identifier.into() }))
}
