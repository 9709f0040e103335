//! `ngx.re`: regular expressions with Perl's syntax, bounded in their backtracking.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use fancy_regex::{Captures, Regex, RegexBuilder};
use mlua::{Error, Function, Lua, MultiValue, Result, Table, Value};

use super::super::engine::Engine;
use super::super::values::brief;
use super::super::{limits, vm};

/// Steps of backtracking of one match (`lua_regex_match_limit`).
const MOST_STEPS: usize = 100_000;
/// Compiled expressions kept.
const MOST_KEPT: usize = 1024;

pub(super) fn install(lua: &Lua, ngx: &Table, engine: &Weak<Engine>) -> Result<()> {
    let re = lua.create_table()?;
    let weak = engine.clone();
    re.set(
        "match",
        lua.create_function(move |lua, args: Search| brief(lua, matched(lua, &weak, args)?))?,
    )?;
    let weak = engine.clone();
    re.set("find", lua.create_function(move |lua, args: Find| brief(lua, find(&weak, args)?))?)?;
    let weak = engine.clone();
    re.set(
        "gmatch",
        lua.create_function(move |lua, args: Search| brief(lua, gmatch(lua, &weak, args)?))?,
    )?;
    for (name, all) in [("sub", false), ("gsub", true)] {
        let weak = engine.clone();
        let replace = lua.create_function(move |lua, args: Replace| {
            brief(lua, replace(lua, &weak, args, all)?)
        })?;
        re.set(name, replace)?;
    }
    re.set("opt", lua.create_function(|_, _: MultiValue| Ok(()))?)?;
    ngx.set("re", re)
}

/// Subject, expression, options, place to begin at and to put the end in, a table to fill.
type Search = (mlua::LuaString, String, Option<String>, Option<Table>, Option<Table>);
type Find = (mlua::LuaString, String, Option<String>, Option<Table>, Option<usize>);
type Replace = (mlua::LuaString, String, Value, Option<String>);

/// The compiled form of an expression.
fn compiled(
    engine: &Weak<Engine>,
    pattern: &str,
    options: &str,
) -> std::result::Result<Arc<Regex>, String> {
    let engine = vm::engine(engine).map_err(|why| why.to_string())?;
    let key = (pattern.to_owned(), options.to_owned());
    if let Some(known) = engine.expressions.get(&key) {
        return Ok(Arc::clone(&known));
    }
    let mut builder = RegexBuilder::new(pattern);
    builder.backtrack_limit(MOST_STEPS);
    for option in options.chars() {
        match option {
            'i' => drop(builder.case_insensitive(true)),
            's' => drop(builder.dot_matches_new_line(true)),
            'm' => drop(builder.multi_line(true)),
            'x' => drop(builder.verbose_mode(true)),
            'a' => builder = anchored(pattern, options),
            // Unicode is what this library always does; the others are about speed.
            'u' | 'U' | 'j' | 'o' | 'd' | 'D' | 'J' => {}
            other => return Err(format!("unknown flag \"{other}\" (flags \"{options}\")")),
        }
    }
    let regex = builder.build().map_err(|why| format!("pcre_compile() failed: {why}"))?;
    let regex = Arc::new(regex);
    if engine.expressions.len() >= MOST_KEPT {
        engine.expressions.clear();
    }
    engine.expressions.insert(key, Arc::clone(&regex));
    Ok(regex)
}

/// An expression that matches only where the search begins.
fn anchored(pattern: &str, options: &str) -> RegexBuilder {
    let mut builder = RegexBuilder::new(&format!("\\G(?:{pattern})"));
    builder.backtrack_limit(MOST_STEPS);
    for option in options.chars() {
        match option {
            'i' => drop(builder.case_insensitive(true)),
            's' => drop(builder.dot_matches_new_line(true)),
            'm' => drop(builder.multi_line(true)),
            'x' => drop(builder.verbose_mode(true)),
            _ => {}
        }
    }
    builder
}

/// Where to begin, counted from 0, as `ctx.pos` says.
fn start(ctx: Option<&Table>, length: usize) -> Result<usize> {
    let position = match ctx {
        Some(ctx) => ctx.get::<Option<usize>>("pos")?.unwrap_or(1),
        None => 1,
    };
    Ok(position.saturating_sub(1).min(length))
}

fn table_of(
    lua: &Lua,
    regex: &Regex,
    captures: &Captures<'_, str>,
    into: Option<Table>,
) -> Result<Table> {
    let table = match into {
        Some(table) => table,
        None => lua.create_table()?,
    };
    for (index, group) in captures.iter().enumerate() {
        match group {
            Some(group) => table.raw_set(index, group.as_str())?,
            None => table.raw_set(index, false)?,
        }
    }
    for name in regex.capture_names().flatten() {
        match captures.name(name) {
            Some(group) => table.raw_set(name, group.as_str())?,
            None => table.raw_set(name, false)?,
        }
    }
    Ok(table)
}

/// nil and the reason.
fn failed<T>(why: impl std::fmt::Display) -> (Option<T>, Option<String>) {
    (None, Some(why.to_string()))
}

type Told<T> = (Option<T>, Option<String>);

fn matched(lua: &Lua, engine: &Weak<Engine>, args: Search) -> Result<Told<Table>> {
    let (subject, pattern, options, ctx, into) = args;
    let subject = subject.to_string_lossy();
    let regex = match compiled(engine, &pattern, options.as_deref().unwrap_or_default()) {
        Ok(regex) => regex,
        Err(why) => return Ok(failed(why)),
    };
    let from = subject.ceil_char_boundary(start(ctx.as_ref(), subject.len())?);
    match regex.captures_from_pos(subject.as_str(), from) {
        Ok(Some(captures)) => {
            if let (Some(ctx), Some(whole)) = (&ctx, captures.get(0)) {
                ctx.set("pos", whole.end() + 1)?;
            }
            Ok((Some(table_of(lua, &regex, &captures, into)?), None))
        }
        Ok(None) => Ok((None, None)),
        Err(why) => Ok(failed(format!("pcre_exec() failed: {why}"))),
    }
}

fn find(
    engine: &Weak<Engine>,
    args: Find,
) -> Result<(Option<usize>, Option<usize>, Option<String>)> {
    let (subject, pattern, options, ctx, group) = args;
    let subject = subject.to_string_lossy();
    let regex = match compiled(engine, &pattern, options.as_deref().unwrap_or_default()) {
        Ok(regex) => regex,
        Err(why) => return Ok((None, None, Some(why))),
    };
    let from = subject.ceil_char_boundary(start(ctx.as_ref(), subject.len())?);
    match regex.captures_from_pos(subject.as_str(), from) {
        Ok(Some(captures)) => {
            if let (Some(ctx), Some(whole)) = (&ctx, captures.get(0)) {
                ctx.set("pos", whole.end() + 1)?;
            }
            let group = captures.get(group.unwrap_or(0));
            Ok((group.map(|group| group.start() + 1), group.map(|group| group.end()), None))
        }
        Ok(None) => Ok((None, None, None)),
        Err(why) => Ok((None, None, Some(format!("pcre_exec() failed: {why}")))),
    }
}

fn gmatch(lua: &Lua, engine: &Weak<Engine>, args: Search) -> Result<Told<Function>> {
    let (subject, pattern, options, _, _) = args;
    let subject = subject.to_string_lossy();
    let regex = match compiled(engine, &pattern, options.as_deref().unwrap_or_default()) {
        Ok(regex) => regex,
        Err(why) => return Ok(failed(why)),
    };
    let next = AtomicUsize::new(0);
    let iterate = lua.create_function(move |lua, ()| -> Result<Told<Table>> {
        let from = next.load(Ordering::Relaxed);
        if from > subject.len() {
            return Ok((None, None));
        }
        limits::check()?;
        match regex.captures_from_pos(subject.as_str(), from) {
            Ok(Some(captures)) => {
                let (start, end) =
                    captures.get(0).map_or((0, 0), |whole| (whole.start(), whole.end()));
                let step = if start == end {
                    subject.ceil_char_boundary((end + 1).min(subject.len())).max(end + 1)
                } else {
                    end
                };
                next.store(step, Ordering::Relaxed);
                Ok((Some(table_of(lua, &regex, &captures, None)?), None))
            }
            Ok(None) => {
                next.store(usize::MAX, Ordering::Relaxed);
                Ok((None, None))
            }
            Err(why) => Ok(failed(format!("pcre_exec() failed: {why}"))),
        }
    })?;
    Ok((Some(iterate), None))
}

fn replace(
    lua: &Lua,
    engine: &Weak<Engine>,
    (subject, pattern, with, options): Replace,
    all: bool,
) -> Result<(Option<String>, Option<usize>, Option<String>)> {
    const MOST: usize = 32 * 1024 * 1024;
    let subject = subject.to_string_lossy();
    let regex = match compiled(engine, &pattern, options.as_deref().unwrap_or_default()) {
        Ok(regex) => regex,
        Err(why) => return Ok((None, None, Some(why))),
    };
    let (mut out, mut at, mut count) = (String::with_capacity(subject.len()), 0, 0);
    for captures in regex.captures_iter(subject.as_str()) {
        limits::check()?;
        let captures = match captures {
            Ok(captures) => captures,
            Err(why) => return Ok((None, None, Some(format!("pcre_exec() failed: {why}")))),
        };
        let Some(whole) = captures.get(0) else { break };
        out.push_str(&subject[at..whole.start()]);
        match &with {
            Value::Function(function) => {
                let made: Value = function.call(table_of(lua, &regex, &captures, None)?)?;
                out.push_str(&made.to_string()?);
            }
            Value::String(text) => {
                if let Err(why) = template(&text.to_string_lossy(), &captures, &mut out) {
                    return Ok((None, None, Some(why)));
                }
            }
            Value::Integer(_) | Value::Number(_) => out.push_str(&with.to_string()?),
            other => {
                let kind = other.type_name();
                return Err(Error::runtime(format!(
                    "bad argument #3 to 'sub' (string, number, or function expected, got {kind})"
                )));
            }
        }
        at = whole.end();
        count += 1;
        if out.len() > MOST {
            return Err(Error::MemoryError("a text grew too large".to_owned()));
        }
        if !all {
            break;
        }
    }
    out.push_str(&subject[at..]);
    Ok((Some(out), Some(count), None))
}

/// `$1`, `${1}` and `$$` in a replacement.
fn template(
    with: &str,
    captures: &Captures<'_, str>,
    out: &mut String,
) -> std::result::Result<(), String> {
    let mut rest = with;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
            continue;
        }
        let (braced, body) = match rest.strip_prefix('{') {
            Some(body) => (true, body),
            None => (false, rest),
        };
        let length = body.bytes().take_while(u8::is_ascii_digit).count();
        let number: Option<usize> = body[..length].parse().ok();
        let after = &body[length..];
        let after = if braced { after.strip_prefix('}') } else { Some(after) };
        let (Some(number), Some(after)) = (number, after) else {
            let mut why = String::new();
            let _ = write!(why, "invalid capturing variable name found in \"{with}\"");
            return Err(why);
        };
        out.push_str(captures.get(number).map_or("", |group| group.as_str()));
        rest = after;
    }
    out.push_str(rest);
    Ok(())
}
