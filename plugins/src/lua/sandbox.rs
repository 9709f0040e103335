//! What untrusted code sees (`untrusted_lua`, kong/tools/sandbox.lua).

use mlua::{Error, Function, Lua, Result, Table, Value};

use super::settings::{Settings, Untrusted};

/// Plain functions and values.
const GLOBALS: &[&str] = &[
    "_VERSION", "assert", "error", "ipairs", "next", "pairs", "pcall", "print", "rawequal",
    "rawget", "select", "tonumber", "tostring", "type", "unpack", "xpcall",
];

/// Of these libraries, these functions. Left out is what reaches files, other code, or the
/// metatables other code relies on.
const LIBRARIES: &[(&str, &[&str])] = &[
    (
        "bit",
        &[
            "arshift", "band", "bnot", "bor", "bswap", "bxor", "lshift", "rol", "ror", "rshift",
            "tobit", "tohex",
        ],
    ),
    ("coroutine", &["create", "resume", "running", "status", "wrap", "yield"]),
    ("io", &["type"]),
    ("jit", &["os", "arch", "version", "version_num"]),
    (
        "math",
        &[
            "abs", "acos", "asin", "atan", "atan2", "ceil", "cos", "cosh", "deg", "exp", "floor",
            "fmod", "frexp", "huge", "ldexp", "log", "log10", "max", "min", "modf", "pi", "pow",
            "rad", "random", "sin", "sinh", "sqrt", "tan", "tanh",
        ],
    ),
    ("os", &["clock", "date", "difftime", "time"]),
    (
        "string",
        &[
            "byte", "char", "find", "format", "gmatch", "gsub", "len", "lower", "match", "rep",
            "reverse", "sub", "upper",
        ],
    ),
    (
        "table",
        &[
            "clear", "clone", "concat", "foreach", "foreachi", "getn", "insert", "isarray",
            "isempty", "maxn", "move", "new", "nkeys", "pack", "remove", "sort", "unpack",
        ],
    ),
];

/// What stands behind the own globals of untrusted code.
///
/// # Errors
///
/// When there is no memory.
pub(super) fn environment(lua: &Lua, settings: &Settings, kit: &Table) -> Result<Table> {
    let globals = lua.globals();
    if settings.untrusted == Untrusted::On {
        return Ok(globals);
    }
    let seen = lua.create_table()?;
    for name in GLOBALS {
        seen.raw_set(*name, globals.get::<Value>(*name)?)?;
    }
    let view: Function = kit.get("view")?;
    for (library, names) in LIBRARIES {
        let Value::Table(whole) = globals.get::<Value>(*library)? else { continue };
        let part = lua.create_table()?;
        for name in *names {
            part.raw_set(*name, whole.get::<Value>(*name)?)?;
        }
        seen.raw_set(*library, view.call::<Table>((*library, part, 0))?)?;
    }
    for namespace in ["kong", "ngx"] {
        let whole: Table = globals.get(namespace)?;
        seen.raw_set(namespace, view.call::<Table>((namespace, whole, 4))?)?;
    }
    seen.raw_set("require", require(lua, settings)?)?;
    let link: Function = kit.get("link")?;
    for path in &settings.environment {
        link.call::<()>((path.as_str(), &globals, &seen))?;
    }
    Ok(seen)
}

/// `require` of the modules that are listed.
fn require(lua: &Lua, settings: &Settings) -> Result<Function> {
    let allowed = settings.requires.clone();
    lua.create_function(move |lua, name: String| {
        if !allowed.contains(&name) {
            let text = format!("require '{name}' not allowed within sandbox");
            return Err(Error::runtime(text));
        }
        lua.globals().get::<Function>("require")?.call::<Value>(name)
    })
}
