//! JSON in Lua, as lua-cjson has it: null is a light pointer, a list is a table of 1 to n.

use mlua::{Error, Lua, LuaString, Result, Table, Value as Lv};
use serde_json::{Map, Number, Value};

/// Nested deeper than this is refused, as cjson does.
const DEEPEST: usize = 1000;
/// Marks tables that are lists even when empty.
const ARRAY: &str = "gateway.array";

/// The metatable of lists (`cjson.array_mt`).
pub(super) fn array_mt(lua: &Lua) -> Result<Table> {
    if let Ok(Some(known)) = lua.named_registry_value::<Option<Table>>(ARRAY) {
        return Ok(known);
    }
    let made = lua.create_table()?;
    lua.set_named_registry_value(ARRAY, &made)?;
    Ok(made)
}

/// A value for Lua; null becomes `null`: `cjson.null` or nil.
pub(super) fn to_lua(lua: &Lua, value: &Value, null: &Lv) -> Result<Lv> {
    Ok(match value {
        Value::Null => null.clone(),
        Value::Bool(flag) => Lv::Boolean(*flag),
        Value::Number(number) => Lv::Number(number.as_f64().unwrap_or(f64::NAN)),
        Value::String(text) => Lv::String(lua.create_string(text)?),
        Value::Array(list) => {
            let table = lua.create_table_with_capacity(list.len(), 0)?;
            for one in list {
                table.raw_push(to_lua(lua, one, null)?)?;
            }
            if list.is_empty() {
                table.set_metatable(Some(array_mt(lua)?))?;
            }
            Lv::Table(table)
        }
        Value::Object(map) => Lv::Table(object(lua, map, null)?),
    })
}

/// An object as a table.
pub(super) fn object(lua: &Lua, map: &Map<String, Value>, null: &Lv) -> Result<Table> {
    let table = lua.create_table_with_capacity(0, map.len())?;
    for (name, one) in map {
        table.raw_set(name.as_str(), to_lua(lua, one, null)?)?;
    }
    Ok(table)
}

/// A value of Lua as JSON.
///
/// # Errors
///
/// cjson's texts: functions and the like, sparse lists, nesting without end.
pub(super) fn from_lua(lua: &Lua, value: &Lv) -> Result<Value> {
    convert(value, &array_mt(lua)?, 1)
}

fn convert(value: &Lv, array: &Table, depth: usize) -> Result<Value> {
    Ok(match value {
        Lv::Nil => Value::Null,
        Lv::LightUserData(pointer) if pointer.0.is_null() => Value::Null,
        Lv::Boolean(flag) => Value::Bool(*flag),
        Lv::Integer(number) => Value::Number((*number).into()),
        Lv::Number(number) => self::number(*number)?,
        Lv::String(text) => Value::String(text.to_string_lossy()),
        Lv::Table(table) => self::table(table, array, depth)?,
        other => {
            let kind = other.type_name();
            return Err(Error::runtime(format!("Cannot serialise {kind}: type not supported")));
        }
    })
}

/// Whole numbers have no fraction in JSON.
fn number(number: f64) -> Result<Value> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0 && number.abs() < EXACT {
        #[expect(clippy::cast_possible_truncation, reason = "exact below 2^53")]
        return Ok(Value::Number((number as i64).into()));
    }
    Number::from_f64(number)
        .map(Value::Number)
        .ok_or_else(|| Error::runtime("Cannot serialise number: must not be NaN or Infinity"))
}

fn table(table: &Table, array: &Table, depth: usize) -> Result<Value> {
    if depth > DEEPEST {
        let text = format!("Cannot serialise, excessive depth ({depth})");
        return Err(Error::runtime(text));
    }
    let marked = table.metatable().is_some_and(|mt| mt == *array);
    let length = table.raw_len();
    let mut entries = Vec::new();
    let mut only_list = true;
    for pair in table.pairs::<Lv, Lv>() {
        let (key, value) = pair?;
        super::limits::check()?;
        only_list &= index(&key).is_some_and(|index| index <= length);
        entries.push((key, value));
    }
    if marked || (only_list && !entries.is_empty()) {
        let mut list = vec![Value::Null; length];
        for (key, value) in &entries {
            if let Some(place) = index(key).and_then(|index| list.get_mut(index - 1)) {
                *place = convert(value, array, depth + 1)?;
            }
        }
        return Ok(Value::Array(list));
    }
    let mut map = Map::new();
    for (key, value) in &entries {
        let name = match key {
            Lv::String(text) => text.to_string_lossy(),
            Lv::Integer(number) => number.to_string(),
            Lv::Number(number) => number.to_string(),
            _ => {
                return Err(Error::runtime(
                    "Cannot serialise table: table key must be a number or string",
                ));
            }
        };
        map.insert(name, convert(value, array, depth + 1)?);
    }
    // Tables have no order; that of names is at least always the same.
    map.sort_keys();
    Ok(Value::Object(map))
}

/// A place in a list, counted from 1.
fn index(key: &Lv) -> Option<usize> {
    let number = match key {
        Lv::Integer(number) => *number,
        #[expect(clippy::cast_possible_truncation, reason = "a fraction is no index")]
        Lv::Number(number) if number.fract() == 0.0 => *number as i64,
        _ => return None,
    };
    usize::try_from(number).ok().filter(|number| *number > 0)
}

/// JSON text as a value of Lua.
///
/// # Errors
///
/// When it is none.
pub(super) fn decode(lua: &Lua, text: &LuaString) -> Result<Lv> {
    let value: Value = serde_json::from_slice(&text.as_bytes())
        .map_err(|why| Error::runtime(format!("Expected value but found invalid token: {why}")))?;
    to_lua(lua, &value, &Lv::NULL)
}

/// A value of Lua as JSON text.
///
/// # Errors
///
/// When it has no such form.
pub(super) fn encode(lua: &Lua, value: &Lv) -> Result<Vec<u8>> {
    serde_json::to_vec(&from_lua(lua, value)?).map_err(Error::external)
}
