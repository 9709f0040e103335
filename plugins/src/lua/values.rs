//! What functions return to Lua.

use mlua::{IntoLuaMulti, Lua, MultiValue, Result, Value};

/// Values without the nils at their end, at least one: where a second one only tells a reason or a
/// rarity, a call in the middle of arguments shall not pass it on.
pub(super) fn brief(lua: &Lua, values: impl IntoLuaMulti) -> Result<MultiValue> {
    let mut values = values.into_lua_multi(lua)?;
    while values.len() > 1 && matches!(values.back(), Some(Value::Nil)) {
        values.pop_back();
    }
    Ok(values)
}
