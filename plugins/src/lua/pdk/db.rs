//! `kong.db`: entities of the catalog the exchange is pinned to, to be read
//! (kong/db/dao/init.lua). Nothing can be written from here.

use gateway_model::{Catalog, Id, Stored};
use mlua::{Lua, MultiValue, Result, Table, Value};

use super::super::current;
use super::super::json;

/// Kinds, and the unique fields they are found by.
const KINDS: &[(&str, &[&str])] = &[
    ("certificates", &[]),
    ("consumers", &["username", "custom_id"]),
    ("keys", &["name"]),
    ("plugins", &["instance_name"]),
    ("routes", &["name"]),
    ("services", &["name"]),
    ("snis", &["name"]),
    ("targets", &[]),
    ("upstreams", &["name"]),
    ("acls", &[]),
    ("basicauth_credentials", &["username"]),
    ("jwt_secrets", &["key"]),
    ("keyauth_credentials", &["key"]),
];

pub(super) fn namespace(lua: &Lua) -> Result<Table> {
    let db = lua.create_table()?;
    for (kind, unique) in KINDS.iter().copied() {
        let dao = lua.create_table()?;
        dao.set(
            "select",
            lua.create_function(move |lua, (_, key): (Table, Table)| {
                let id = key.get::<Option<String>>("id")?;
                shown(lua, |catalog| catalog.collection(kind)?.get(Id::parse(id.as_deref()?)?))
            })?,
        )?;
        for field in unique.iter().copied() {
            dao.set(
                format!("select_by_{field}"),
                lua.create_function(move |lua, (_, value): (Table, String)| {
                    shown(lua, |catalog| catalog.collection(kind)?.by(field, &value))
                })?,
            )?;
        }
        dao.set(
            "cache_key",
            lua.create_function(move |_, (_, parts): (Table, MultiValue)| {
                let mut key = kind.to_owned();
                for part in parts {
                    let part = match part {
                        Value::Table(entity) => entity.get::<Value>("id")?,
                        other => other,
                    };
                    key.push(':');
                    key.push_str(&part.to_string()?);
                }
                Ok(key)
            })?,
        )?;
        dao.set(
            "each",
            lua.create_function(move |lua, _: MultiValue| {
                let all = current::with(|now| {
                    let all = now.facts.catalog.collection(kind);
                    let ids = all.into_iter().flat_map(|all| all.iter().map(|one| one.id()));
                    Ok(ids.collect::<Vec<_>>())
                })?;
                let ids = std::sync::Arc::new(crossbeam_queue::ArrayQueue::new(all.len().max(1)));
                for id in all {
                    let _ = ids.push(id);
                }
                lua.create_function(move |lua, ()| match ids.pop() {
                    Some(id) => shown(lua, |catalog| catalog.collection(kind)?.get(id)),
                    None => Ok(Value::Nil),
                })
            })?,
        )?;
        db.set(kind, dao)?;
    }
    Ok(db)
}

fn shown(
    lua: &Lua,
    find: impl for<'a> FnOnce(&'a Catalog) -> Option<&'a std::sync::Arc<Stored>>,
) -> Result<Value> {
    current::with(|now| match find(&now.facts.catalog) {
        Some(stored) => json::object(lua, &stored.document(), &Value::Nil).map(Value::Table),
        None => Ok(Value::Nil),
    })
}
