//! `ngx.timer`: work for later, on the same machine.

use std::sync::Weak;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mlua::{Function, Lua, MultiValue, Result, Table, Value};

use super::super::engine::Engine;
use super::super::{abort, call, vm};

/// How many may wait at once, `lua_max_pending_timers`.
const MOST: usize = 4096;
static PENDING: AtomicUsize = AtomicUsize::new(0);

/// One timer that waits or runs.
struct Pending;

impl Pending {
    fn begin() -> Option<Self> {
        if PENDING.fetch_add(1, Ordering::Relaxed) < MOST {
            return Some(Self);
        }
        PENDING.fetch_sub(1, Ordering::Relaxed);
        None
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        PENDING.fetch_sub(1, Ordering::Relaxed);
    }
}

pub(super) fn install(lua: &Lua, ngx: &Table, engine: &Weak<Engine>) -> Result<()> {
    let timer = lua.create_table()?;
    let weak = engine.clone();
    timer.set(
        "at",
        lua.create_function(move |_, (delay, work, args): (f64, Function, MultiValue)| {
            start(&weak, delay, None, work, args)
        })?,
    )?;
    let weak = engine.clone();
    timer.set(
        "every",
        lua.create_function(move |_, (delay, work, args): (f64, Function, MultiValue)| {
            start(&weak, delay, Some(delay), work, args)
        })?,
    )?;
    timer
        .set("pending_count", lua.create_function(|_, ()| Ok(PENDING.load(Ordering::Relaxed)))?)?;
    ngx.set("timer", timer)
}

fn start(
    engine: &Weak<Engine>,
    delay: f64,
    every: Option<f64>,
    work: Function,
    args: MultiValue,
) -> Result<(Option<bool>, Option<&'static str>)> {
    const SHORTEST: f64 = 0.001;
    const LONGEST: f64 = 1e9;
    let engine = vm::engine(engine)?;
    let Some(runtime) = engine.runtime.clone() else {
        return Ok((None, Some("no timers while a schema is read")));
    };
    let Some(pending) = Pending::begin() else {
        return Ok((None, Some("too many pending timers")));
    };
    let machine = engine.machine()?;
    let delay = if delay.is_finite() { delay.clamp(0.0, LONGEST) } else { LONGEST };
    let every = every.map(|every| every.clamp(SHORTEST, LONGEST));
    runtime.spawn(async move {
        let _pending = pending;
        let mut wait = delay;
        loop {
            tokio::time::sleep(Duration::from_secs_f64(wait)).await;
            let mut given = args.clone();
            given.push_front(Value::Boolean(false));
            if let Err(why) = call::detached(&engine, &machine, &work, given).await {
                tracing::error!("[lua] a timer failed: {}", abort::text(&why));
            }
            match every {
                Some(every) => wait = every,
                None => break,
            }
        }
    });
    Ok((Some(true), None))
}
