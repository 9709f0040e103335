//! `schema.lua` as a schema of ours (kong/db/schema/init.lua, kong/db/schema/plugin.lua).

use gateway_model::schema::{Auto, Field, Kind, Record};
use gateway_model::{PluginSchema, Scopes};
use mlua::{Table, Value};
use serde_json::Value as Json;

use super::super::json;
use super::{Loader, rules};
use crate::contract::HTTP;

type Made<T> = Result<T, String>;

/// The schema a table declares.
///
/// # Errors
///
/// What of it is no schema.
pub(super) fn of(
    loader: &'static Loader,
    name: &'static str,
    version: &'static str,
    priority: i32,
    declared: &Table,
) -> Made<PluginSchema> {
    let mut schema = PluginSchema {
        name,
        version,
        priority,
        record: Record::default(),
        scopes: Scopes::ALL,
        protocols: HTTP,
        default_protocols: HTTP,
    };
    let mut found = false;
    for (field, attributes) in named(declared)? {
        match field.as_str() {
            "config" => {
                found = true;
                schema.record = record(loader, &attributes)?;
            }
            "consumer" => schema.scopes.consumer = !is_forbidden(&attributes)?,
            "service" => schema.scopes.service = !is_forbidden(&attributes)?,
            "route" => schema.scopes.route = !is_forbidden(&attributes)?,
            "protocols" => protocols(&mut schema, &attributes)?,
            _ => {}
        }
    }
    if !found {
        return Err("no field 'config'".to_owned());
    }
    let checks = rules::checks(loader, declared, "config.")?;
    schema.record.checks.extend(checks);
    Ok(schema)
}

/// `{ { name = attributes }, … }` in order.
fn named(table: &Table) -> Made<Vec<(String, Table)>> {
    let fields: Option<Table> = get(table, "fields")?;
    let mut all = Vec::new();
    for entry in
        fields.into_iter().flat_map(|fields| fields.sequence_values::<Table>().collect::<Vec<_>>())
    {
        let entry = entry.map_err(|_| "a field is no table".to_owned())?;
        let pair = entry.pairs::<String, Table>().next();
        let pair = pair.ok_or_else(|| "a field has no name".to_owned())?;
        all.push(pair.map_err(|why| format!("a field: {}", super::abort::text(&why)))?);
    }
    Ok(all)
}

fn get<T: mlua::FromLua>(table: &Table, name: &str) -> Made<T> {
    table.get(name).map_err(|why| format!("{name}: {}", super::abort::text(&why)))
}

/// `eq = null` on a reference: an instance may not have it.
fn is_forbidden(attributes: &Table) -> Made<bool> {
    Ok(get::<Value>(attributes, "eq")?.is_null())
}

fn protocols(schema: &mut PluginSchema, attributes: &Table) -> Made<()> {
    if let Some(elements) = get::<Option<Table>>(attributes, "elements")?
        && let Some(allowed) = get::<Option<Vec<String>>>(&elements, "one_of")?
    {
        schema.protocols = leaked(allowed);
    }
    if let Some(default) = get::<Option<Vec<String>>>(attributes, "default")? {
        schema.default_protocols = leaked(default);
    }
    Ok(())
}

/// Names that live as long as the process, which schemas do.
pub(super) fn leaked(names: Vec<String>) -> &'static [&'static str] {
    let names: Vec<&'static str> = names.into_iter().map(|name| &*name.leak()).collect();
    names.leak()
}

fn record(loader: &'static Loader, attributes: &Table) -> Made<Record> {
    let mut record = Record::default();
    for (name, attributes) in named(attributes)? {
        let made = field(loader, name.clone().leak(), &attributes);
        record.fields.push(made.map_err(|why| format!("{name}: {why}"))?);
    }
    record.checks = rules::checks(loader, attributes, "")?;
    Ok(record)
}

fn field(loader: &'static Loader, name: &'static str, attributes: &Table) -> Made<Field> {
    let mut field = Field::of::<Option<String>>(name);
    field.kind = kind(loader, attributes)?;
    field.required = get::<Option<bool>>(attributes, "required")?.unwrap_or(false);
    field.unique = get::<Option<bool>>(attributes, "unique")?.unwrap_or(false);
    field.referenceable = get::<Option<bool>>(attributes, "referenceable")?.unwrap_or(false);
    if get::<Option<bool>>(attributes, "encrypted")?.unwrap_or(false) {
        field = field.encrypted();
    }
    if get::<Option<i64>>(attributes, "len_min")? == Some(0) {
        field.may_be_empty = true;
    }
    if get::<Option<bool>>(attributes, "auto")?.unwrap_or(false) {
        field.auto = match &field.kind {
            Kind::String if get::<Option<bool>>(attributes, "uuid")?.unwrap_or(false) => {
                Some(Auto::Id)
            }
            Kind::String => Some(Auto::RandomText),
            _ => Some(Auto::CreatedAt),
        };
    }
    if let Some(text) = get::<Option<String>>(attributes, "description")? {
        field.doc = text.leak();
    }
    if let Some(text) = get::<Option<String>>(attributes, "err")? {
        field.error = Some(text.leak());
    }
    field.default = default(loader, &field.kind, attributes)?;
    field.rules = rules::of(loader, attributes)?;
    Ok(field)
}

/// What absence means. An empty table is a list where a list is wanted.
fn default(loader: &Loader, kind: &Kind, attributes: &Table) -> Made<Option<Json>> {
    let value: Value = get(attributes, "default")?;
    if value.is_nil() {
        return Ok(None);
    }
    let value = json::from_lua(&loader.vm.lua, &value).map_err(|why| super::abort::text(&why))?;
    Ok(Some(match (kind, value) {
        (Kind::Array(_) | Kind::Set(_), Json::Object(empty)) if empty.is_empty() => {
            Json::Array(Vec::new())
        }
        (_, value) => value,
    }))
}

fn kind(loader: &'static Loader, attributes: &Table) -> Made<Kind> {
    let inner = |name: &str| -> Made<Box<Field>> {
        let inner: Option<Table> = get(attributes, name)?;
        let inner = inner.ok_or_else(|| format!("no '{name}'"))?;
        let mut made = field(loader, "", &inner).map_err(|why| format!("{name}: {why}"))?;
        // What lists and maps hold is never null.
        made.required = true;
        Ok(Box::new(made))
    };
    let name: Option<String> = get(attributes, "type")?;
    Ok(match name.as_deref().unwrap_or_default() {
        "string" => Kind::String,
        "integer" => Kind::Integer,
        "number" => Kind::Number,
        "boolean" => Kind::Boolean,
        "array" => Kind::Array(inner("elements")?),
        "set" => Kind::Set(inner("elements")?),
        "map" => Kind::Map { keys: inner("keys")?, values: inner("values")? },
        "record" => Kind::Record(Box::new(record(loader, attributes)?)),
        "json" | "any" | "function" => Kind::Any,
        "foreign" => Kind::Any,
        other => return Err(format!("the type '{other}' is not known")),
    })
}
