//! `kong.table`: tables made, emptied, joined (kong/pdk/table.lua).

use mlua::{Lua, Result, Table, Value};

pub(super) fn namespace(lua: &Lua) -> Result<Table> {
    let tables = lua.create_table()?;
    tables.set(
        "new",
        lua.create_function(|lua, (list, map): (Option<usize>, Option<usize>)| {
            const MOST: usize = 4096;
            let bounded = |count: Option<usize>| count.unwrap_or(0).min(MOST);
            lua.create_table_with_capacity(bounded(list), bounded(map))
        })?,
    )?;
    tables.set("clear", lua.create_function(|_, table: Table| table.clear())?)?;
    tables.set(
        "merge",
        lua.create_function(|lua, (first, second): (Option<Table>, Option<Table>)| {
            let merged = lua.create_table()?;
            for table in [first, second].into_iter().flatten() {
                for pair in table.pairs::<Value, Value>() {
                    let (key, value) = pair?;
                    merged.raw_set(key, value)?;
                }
            }
            Ok(merged)
        })?,
    )?;
    Ok(tables)
}
