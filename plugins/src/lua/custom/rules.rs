//! The rules of a `schema.lua`: attributes of fields, and checks over several.

use std::sync::Arc;

use gateway_model::schema::{Check, MadeCheck, MadeRule, Rule, types};
use mlua::{Function, Table, Value};
use serde_json::{Map, Value as Json};

use super::super::pattern;
use super::super::{abort, json};
use super::schema::leaked;
use super::{Loader, verdict};

type Made<T> = Result<T, String>;
type TypeCheck = fn(&Json) -> Result<(), String>;

/// Checks of the gateway's own that `typedefs` name by `is`.
const TYPES: &[(&str, TypeCheck)] = &[
    ("certificate", types::certificate),
    ("header_name", types::header_name),
    ("host", types::host),
    ("host_with_optional_port", types::host_with_optional_port),
    ("ip", types::ip),
    ("ip_or_cidr", types::ip_or_cidr),
    ("path", types::path),
    ("private_key", types::private_key),
    ("sni", types::sni),
    ("tag", types::tag),
    ("url", types::url),
    ("utf8_name", types::utf8_name),
    ("wildcard_host", types::wildcard_host),
];

fn get<T: mlua::FromLua>(table: &Table, name: &str) -> Made<T> {
    table.get(name).map_err(|why| format!("{name}: {}", abort::text(&why)))
}

fn value(loader: &Loader, table: &Table, name: &str) -> Made<Option<Json>> {
    match get::<Value>(table, name)? {
        Value::Nil => Ok(None),
        value => json::from_lua(&loader.vm.lua, &value).map(Some).map_err(|why| abort::text(&why)),
    }
}

fn list(loader: &Loader, table: &Table, name: &str) -> Made<Option<Vec<Json>>> {
    match value(loader, table, name)? {
        None => Ok(None),
        Some(Json::Array(list)) => Ok(Some(list)),
        Some(_) => Err(format!("{name}: no list")),
    }
}

/// The rules of one field, in the order Kong checks them.
///
/// # Errors
///
/// An attribute that is not as it must be.
pub(super) fn of(loader: &'static Loader, attributes: &Table) -> Made<Vec<Rule>> {
    let mut rules = Vec::new();
    if let Some(wanted) = value(loader, attributes, "eq")? {
        rules.push(Rule::Eq(wanted));
    }
    if let Some(other) = value(loader, attributes, "ne")? {
        rules.push(Rule::Ne(other));
    }
    if let Some(list) = list(loader, attributes, "not_one_of")? {
        rules.push(Rule::NotOneOf(list));
    }
    if let Some(list) = list(loader, attributes, "one_of")? {
        rules.push(Rule::OneOf(list));
    }
    if let Some(low) = get::<Option<f64>>(attributes, "gt")? {
        rules.push(Rule::Gt(low));
    }
    if get::<Option<bool>>(attributes, "uuid")? == Some(true) {
        rules.push(Rule::Uuid);
    }
    if let Some(bounds) = get::<Option<Vec<f64>>>(attributes, "between")? {
        match *bounds {
            [low, high] => rules.push(Rule::Between(low, high)),
            _ => return Err("between: two numbers are needed".to_owned()),
        }
    }
    lengths(attributes, &mut rules)?;
    patterns(attributes, &mut rules)?;
    if let Some(prefix) = get::<Option<String>>(attributes, "starts_with")? {
        rules.push(Rule::StartsWith(prefix.leak()));
    }
    if let Some(wanted) = value(loader, attributes, "contains")? {
        rules.push(Rule::Contains(wanted));
    }
    if let Some(name) = get::<Option<String>>(attributes, "is")? {
        let known = TYPES.iter().find(|(known, _)| *known == name);
        let (name, check) = known.ok_or_else(|| format!("is: no check is called {name}"))?;
        rules.push(Rule::Custom { name, check: *check });
    }
    if let Some(function) = get::<Option<Function>>(attributes, "custom_validator")? {
        rules.push(Rule::Made(MadeRule {
            shown: None,
            check: Arc::new(move |value| {
                let value = json::to_lua(&loader.vm.lua, value, &Value::Nil);
                let value = value.map_err(|why| abort::text(&why))?;
                verdict(loader, &function, value)
            }),
        }));
    }
    Ok(rules)
}

fn lengths(attributes: &Table, rules: &mut Vec<Rule>) -> Made<()> {
    type OfLength = fn(usize) -> Rule;
    let kinds =
        [("len_eq", Rule::LenEq as OfLength), ("len_min", Rule::LenMin), ("len_max", Rule::LenMax)];
    for (name, rule) in kinds {
        match get::<Option<usize>>(attributes, name)? {
            Some(0) if name == "len_min" => {}
            Some(length) => rules.push(rule(length)),
            None => {}
        }
    }
    Ok(())
}

/// Rules with Lua's own patterns.
fn patterns(attributes: &Table, rules: &mut Vec<Rule>) -> Made<()> {
    if let Some(text) = get::<Option<String>>(attributes, "match")? {
        let check = text.clone();
        rules.push(made("match", text.into(), move |value| match matches(&check, value) {
            true => Ok(()),
            false => Err(format!("invalid value: {}", bare(value))),
        }));
    }
    if let Some(text) = get::<Option<String>>(attributes, "not_match")? {
        let check = text.clone();
        rules.push(made("not_match", text.into(), move |value| match matches(&check, value) {
            true => Err(format!("invalid value: {}", bare(value))),
            false => Ok(()),
        }));
    }
    for (name, wanted) in [("match_none", false), ("match_all", true)] {
        let Some(table) = get::<Option<Vec<Table>>>(attributes, name)? else { continue };
        let mut rows = Vec::with_capacity(table.len());
        for row in table {
            rows.push((get::<String>(&row, "pattern")?, get::<Option<String>>(&row, "err")?));
        }
        let shown = rows
            .iter()
            .map(|(pattern, error)| serde_json::json!({"pattern": pattern, "err": error}));
        rules.push(made(name, shown.collect(), move |value| {
            let broken = rows.iter().find(|(pattern, _)| matches(pattern, value) != wanted);
            match broken {
                Some((_, Some(text))) => Err(text.clone()),
                Some((_, None)) => Err(format!("invalid value: {}", bare(value))),
                None => Ok(()),
            }
        }));
    }
    if let Some(table) = get::<Option<Table>>(attributes, "match_any")? {
        let any: Vec<String> = get(&table, "patterns")?;
        let error = get::<Option<String>>(&table, "err")?;
        let shown = serde_json::json!({"patterns": any, "err": error});
        rules.push(made("match_any", shown, move |value| {
            if any.iter().any(|pattern| matches(pattern, value)) {
                return Ok(());
            }
            Err(error.clone().unwrap_or_else(|| format!("invalid value: {}", bare(value))))
        }));
    }
    Ok(())
}

fn made(
    name: &'static str,
    shown: Json,
    check: impl Fn(&Json) -> Result<(), String> + Send + Sync + 'static,
) -> Rule {
    Rule::Made(MadeRule { shown: Some((name, shown)), check: Arc::new(check) })
}

fn matches(pattern: &str, value: &Json) -> bool {
    let Some(text) = value.as_str() else { return false };
    matches!(pattern::find(text.as_bytes(), pattern.as_bytes(), 0), Ok(Some(_)))
}

fn bare(value: &Json) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The checks over several fields; of a plugin's own they name `config.…`, which is left off.
///
/// # Errors
///
/// A check that is not known.
pub(super) fn checks(
    loader: &'static Loader,
    table: &Table,
    prefix: &'static str,
) -> Made<Vec<Check>> {
    let declared: Option<Table> = get(table, "entity_checks")?;
    let mut checks = Vec::new();
    for one in
        declared.into_iter().flat_map(|all| all.sequence_values::<Table>().collect::<Vec<_>>())
    {
        let one = one.map_err(|why| abort::text(&why))?;
        for pair in one.pairs::<String, Value>() {
            let (name, given) = pair.map_err(|why| abort::text(&why))?;
            checks.push(check(loader, &name, given, prefix)?);
        }
    }
    Ok(checks)
}

fn check(loader: &'static Loader, name: &str, given: Value, prefix: &'static str) -> Made<Check> {
    let Value::Table(given) = given else { return Err(format!("{name}: no table")) };
    let names = || -> Made<&'static [&'static str]> {
        let names: mlua::Result<Vec<String>> = given.sequence_values().collect();
        let names = names.map_err(|why| abort::text(&why))?;
        Ok(leaked(names.into_iter().map(|name| without(&name, prefix)).collect()))
    };
    Ok(match name {
        "at_least_one_of" => Check::AtLeastOneOf(names()?),
        "only_one_of" => Check::OnlyOneOf(names()?),
        "distinct" => Check::Distinct(names()?),
        "mutually_required" => Check::MutuallyRequired(names()?),
        "mutually_exclusive" => Check::MutuallyExclusive(names()?),
        "conditional" => {
            let path = |name: &str| -> Made<&'static str> {
                Ok(without(&get::<String>(&given, name)?, prefix).leak())
            };
            let rule = |name: &str| -> Made<Rule> {
                let table: Table = get(&given, name)?;
                if get::<Option<bool>>(&table, "required")? == Some(true) {
                    return Ok(Rule::Required);
                }
                of(loader, &table)?.into_iter().next().ok_or_else(|| format!("{name}: no rule"))
            };
            Check::Conditional {
                if_field: path("if_field")?,
                if_match: rule("if_match")?,
                then_field: path("then_field")?,
                then_match: rule("then_match")?,
                error: get::<Option<String>>(&given, "then_err")?.map(|text| &*text.leak()),
            }
        }
        "custom_entity_check" => {
            let function: Function = get(&given, "fn")?;
            Check::Made(MadeCheck(Arc::new(move |record| {
                let table = seen(loader, record, prefix).map_err(|why| abort::text(&why))?;
                verdict(loader, &function, Value::Table(table))
            })))
        }
        other => return Err(format!("the check '{other}' is not known")),
    })
}

/// The record as the function of a check sees it: below `config` for a plugin's own.
fn seen(loader: &Loader, record: &Map<String, Json>, prefix: &str) -> mlua::Result<Table> {
    let lua = &loader.vm.lua;
    let inner = json::object(lua, record, &Value::NULL)?;
    if prefix.is_empty() {
        return Ok(inner);
    }
    let outer = lua.create_table()?;
    outer.raw_set(prefix.trim_end_matches('.'), inner)?;
    Ok(outer)
}

fn without(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix).unwrap_or(name).to_owned()
}
