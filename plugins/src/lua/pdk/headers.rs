//! Headers between Lua tables and header maps (kong/pdk/private/checks.lua).

use http::{HeaderMap, HeaderName, HeaderValue};
use mlua::{Error, Lua, Result, Table, Value};

use super::super::current::Current;
use super::super::vm;
use super::{Allowed, permit, text, within};

/// The headers a namespace shows.
#[derive(Clone, Copy)]
pub(super) struct Shows {
    /// When they may be looked at.
    pub(super) phases: Allowed,
    /// What a name is called when it is no text.
    pub(super) word: &'static str,
    pub(super) of: fn(&Current) -> Option<&HeaderMap>,
}

impl Shows {
    /// Sets `get_header` and `get_headers`.
    pub(super) fn install(self, lua: &Lua, namespace: &Table) -> Result<()> {
        namespace.set(
            "get_header",
            lua.create_function(move |lua, name: Value| {
                permit(self.phases)?;
                let name = text(name, self.word)?;
                within(self.phases, |now| first(lua, (self.of)(now), &name))
            })?,
        )?;
        namespace.set(
            "get_headers",
            lua.create_function(move |lua, most_shown: Value| {
                permit(self.phases)?;
                let most = most(most_shown, "max_headers")?;
                within(self.phases, |now| {
                    let none = HeaderMap::new();
                    shown(lua, (self.of)(now).unwrap_or(&none), most)
                })
            })?,
        )
    }
}

/// The headers a namespace changes.
#[derive(Clone, Copy)]
pub(super) struct Changes {
    /// When they may be changed.
    pub(super) phases: Allowed,
    /// When one may be set.
    pub(super) set_phases: Allowed,
    /// What a name is called when it is no text.
    pub(super) word: &'static str,
    /// Puts values in the place of those there are; none takes a header away.
    pub(super) set: Change,
    /// Puts values beside those there are.
    pub(super) add: Change,
}

type Change = fn(&mut Current, &Name, Vec<HeaderValue>) -> Result<()>;

impl Changes {
    /// Sets `set_header`, `add_header`, `clear_header` and `set_headers`.
    pub(super) fn install(self, lua: &Lua, namespace: &Table) -> Result<()> {
        let two =
            [("set_header", self.set_phases, self.set), ("add_header", self.phases, self.add)];
        for (function, phases, change) in two {
            namespace.set(
                function,
                lua.create_function(move |_, (name, value): (Value, Value)| {
                    permit(phases)?;
                    let (name, values) = checked(name, &value)?;
                    within(phases, |now| change(now, &name, values))
                })?,
            )?;
        }
        namespace.set(
            "clear_header",
            lua.create_function(move |_, name: Value| {
                permit(self.phases)?;
                let name = Name::new(&text(name, self.word)?)?;
                within(self.phases, |now| (self.set)(now, &name, Vec::new()))
            })?,
        )?;
        namespace.set(
            "set_headers",
            lua.create_function(move |_, given: Value| {
                permit(self.phases)?;
                let Value::Table(given) = given else {
                    return Err(Error::runtime("headers must be a table"));
                };
                let all = table(&given)?;
                within(self.phases, |now| {
                    all.into_iter().try_for_each(|(name, values)| (self.set)(now, &name, values))
                })
            })?,
        )
    }
}

/// Headers as a table: one value a text, several a list; with `"truncated"` when there are more
/// than `most`.
pub(in super::super) fn shown(
    lua: &Lua,
    headers: &HeaderMap,
    most: usize,
) -> Result<(Table, Option<&'static str>)> {
    let table = lua.create_table_with_capacity(0, headers.keys_len())?;
    for (name, value) in headers.iter().take(most) {
        let value = lua.create_string(value.as_bytes())?;
        match table.raw_get::<Value>(name.as_str())? {
            Value::Nil => table.raw_set(name.as_str(), value)?,
            Value::Table(list) => list.raw_push(value)?,
            first => table
                .raw_set(name.as_str(), lua.create_sequence_from([first, Value::String(value)])?)?,
        }
    }
    vm::as_headers(lua, &table)?;
    Ok((table, (headers.len() > most).then_some("truncated")))
}

/// The first value of a header, by any spelling of its name.
fn first(lua: &Lua, headers: Option<&HeaderMap>, name: &str) -> Result<Value> {
    let found = headers
        .and_then(|headers| headers.get(name).or_else(|| headers.get(name.replace('_', "-"))));
    match found {
        Some(value) => lua.create_string(value.as_bytes()).map(Value::String),
        None => Ok(Value::Nil),
    }
}

/// How many to show: the argument, within Kong's bounds.
pub(super) fn most(value: Value, what: &str) -> Result<usize> {
    let number = match value {
        Value::Nil => return Ok(100),
        Value::Integer(number) => number,
        #[expect(clippy::cast_possible_truncation, reason = "checked to be small below")]
        Value::Number(number) => number as i64,
        _ => return Err(Error::runtime(format!("{what} must be a number"))),
    };
    match number {
        ..1 => Err(Error::runtime(format!("{what} must be >= 1"))),
        1001.. => Err(Error::runtime(format!("{what} must be <= 1000"))),
        number => usize::try_from(number).map_err(Error::external),
    }
}

/// A header's name, in the spelling the code gave.
#[derive(Clone, Debug)]
pub(in super::super) struct Name {
    pub(in super::super) spelled: String,
    pub(in super::super) name: HeaderName,
}

impl Name {
    pub(in super::super) fn new(spelled: &str) -> Result<Self> {
        let name = HeaderName::from_bytes(spelled.as_bytes())
            .map_err(|_| Error::runtime(format!("invalid header name {spelled:?}")))?;
        Ok(Self { spelled: spelled.to_owned(), name })
    }
}

/// A header's value: text, number or boolean. Line ends, which would begin another header, are
/// escaped as OpenResty does.
pub(in super::super) fn header_value(value: &Value) -> Result<HeaderValue> {
    let bytes = match value {
        Value::String(text) => text.as_bytes().to_vec(),
        Value::Integer(_) | Value::Number(_) => value.to_string()?.into_bytes(),
        Value::Boolean(flag) => flag.to_string().into_bytes(),
        other => {
            let text = format!(
                "invalid header value: got {}, expected string, number or boolean",
                other.type_name()
            );
            return Err(Error::runtime(text));
        }
    };
    let mut escaped = Vec::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            b'\t' | b' '..=b'~' | 0x80.. => escaped.push(byte),
            control => escaped.extend_from_slice(format!("%{control:02X}").as_bytes()),
        }
    }
    HeaderValue::from_bytes(&escaped).map_err(Error::external)
}

/// A header's values: one, or a list.
pub(in super::super) fn header_values(value: &Value) -> Result<Vec<HeaderValue>> {
    match value {
        Value::Table(list) => {
            list.sequence_values::<Value>().map(|one| header_value(&one?)).collect()
        }
        Value::Nil => Err(Error::runtime(
            "invalid header value: got nil, expected string, number, boolean or array of strings",
        )),
        one => Ok(vec![header_value(one)?]),
    }
}

/// A name and its values, checked.
fn checked(name: Value, value: &Value) -> Result<(Name, Vec<HeaderValue>)> {
    let name = match name {
        Value::String(name) => Name::new(&name.to_string_lossy())?,
        other => {
            let kind = other.type_name();
            return Err(Error::runtime(format!(
                "invalid header name {kind:?}: got {kind}, expected string"
            )));
        }
    };
    Ok((name, header_values(value)?))
}

/// A table of headers, in the order of their names.
pub(super) fn table(table: &Table) -> Result<Vec<(Name, Vec<HeaderValue>)>> {
    let mut all = Vec::new();
    for pair in table.pairs::<Value, Value>() {
        let (name, value) = pair?;
        all.push(checked(name, &value)?);
    }
    all.sort_by(|(a, _), (b, _)| a.name.as_str().cmp(b.name.as_str()));
    Ok(all)
}
