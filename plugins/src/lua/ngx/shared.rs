//! `ngx.shared`: small values all machines of the process see.

use std::sync::Weak;
use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use mlua::{Error, Lua, MultiValue, Result, Table, UserData, UserDataMethods, Value};

use super::super::engine::Engine;
use super::super::values::brief;
use super::super::vm;

/// Bytes one dictionary holds at most: Kong's usual `lua_shared_dict … 5m`.
const MOST: usize = 5 * 1024 * 1024;
/// What a key costs besides its bytes.
const OVERHEAD: usize = 64;

/// The dictionaries Kong's nginx configuration declares.
const NAMES: &[&str] = &[
    "kong",
    "kong_locks",
    "kong_healthchecks",
    "kong_cluster_events",
    "kong_rate_limiting_counters",
    "kong_core_db_cache",
    "kong_core_db_cache_miss",
    "kong_db_cache",
    "kong_db_cache_miss",
    "kong_secrets",
    "prometheus_metrics",
];

/// Every dictionary.
#[derive(Default)]
pub(in super::super) struct Dictionaries(DashMap<&'static str, Dictionary>);

impl Dictionaries {
    /// Bytes used and bytes there are, of each.
    pub(in super::super) fn sizes(&self) -> impl Iterator<Item = (&'static str, usize, usize)> {
        NAMES.iter().map(|name| {
            let used = self.0.get(name).map(|one| one.used.load(Ordering::Relaxed));
            (*name, used.unwrap_or_default(), MOST)
        })
    }
}

#[derive(Default)]
struct Dictionary {
    entries: DashMap<Vec<u8>, Held>,
    used: AtomicUsize,
}

#[derive(Clone)]
struct Held {
    value: Scalar,
    /// Unix milliseconds.
    ends: Option<u64>,
    flags: u32,
}

#[derive(Clone)]
enum Scalar {
    Bytes(Vec<u8>),
    Number(f64),
    Boolean(bool),
}

impl Held {
    fn is_over(&self, now: u64) -> bool {
        self.ends.is_some_and(|ends| ends <= now)
    }

    fn size(&self) -> usize {
        match &self.value {
            Scalar::Bytes(bytes) => bytes.len(),
            _ => 8,
        }
    }
}

/// One dictionary, as code holds it.
struct Handle {
    engine: Weak<Engine>,
    name: &'static str,
}

pub(super) fn install(lua: &Lua, ngx: &Table, engine: &Weak<Engine>) -> Result<()> {
    let shared = lua.create_table()?;
    for name in NAMES {
        let handle = Handle { engine: engine.clone(), name };
        shared.set(*name, lua.create_userdata(handle)?)?;
    }
    ngx.set("shared", shared)
}

impl Handle {
    fn with<R>(&self, work: impl FnOnce(&Dictionary, u64) -> R) -> Result<R> {
        let engine = vm::engine(&self.engine)?;
        let now = engine.clock.unix_ms();
        let dictionary = engine.dictionaries.0.entry(self.name).or_default().downgrade();
        Ok(work(&dictionary, now))
    }
}

impl Dictionary {
    fn get(&self, key: &[u8], now: u64, stale: bool) -> Option<(Held, bool)> {
        let held = self.entries.get(key)?.clone();
        let over = held.is_over(now);
        (!over || stale).then_some((held, over))
    }

    /// Puts a value in, where `when` agrees with what is there.
    fn put(
        &self,
        key: Vec<u8>,
        held: Held,
        now: u64,
        when: impl FnOnce(bool) -> std::result::Result<(), &'static str>,
    ) -> std::result::Result<(), &'static str> {
        let size = key.len() + OVERHEAD + held.size();
        if self.used.load(Ordering::Relaxed) + size > MOST {
            self.flush_expired(now);
            if self.used.load(Ordering::Relaxed) + size > MOST {
                return Err("no memory");
            }
        }
        match self.entries.entry(key) {
            Entry::Occupied(mut known) => {
                when(!known.get().is_over(now))?;
                let before = known.key().len() + OVERHEAD + known.get().size();
                self.used.fetch_sub(before, Ordering::Relaxed);
                known.insert(held);
            }
            Entry::Vacant(free) => {
                when(false)?;
                free.insert(held);
            }
        }
        self.used.fetch_add(size, Ordering::Relaxed);
        Ok(())
    }

    fn remove(&self, key: &[u8]) {
        if let Some((key, held)) = self.entries.remove(key) {
            self.used.fetch_sub(key.len() + OVERHEAD + held.size(), Ordering::Relaxed);
        }
    }

    fn flush_expired(&self, now: u64) -> usize {
        let over: Vec<_> = self
            .entries
            .iter()
            .filter(|one| one.is_over(now))
            .map(|one| one.key().clone())
            .collect();
        over.iter().for_each(|key| self.remove(key));
        over.len()
    }
}

fn key_of(key: &Value) -> Result<Vec<u8>> {
    match key {
        Value::String(text) => Ok(text.as_bytes().to_vec()),
        Value::Integer(_) | Value::Number(_) => Ok(key.to_string()?.into_bytes()),
        _ => Err(Error::runtime("nil key")),
    }
}

fn shown(lua: &Lua, held: &Held) -> Result<Value> {
    Ok(match &held.value {
        Scalar::Bytes(bytes) => Value::String(lua.create_string(bytes)?),
        Scalar::Number(number) => Value::Number(*number),
        Scalar::Boolean(flag) => Value::Boolean(*flag),
    })
}

fn ends(now: u64, seconds: Option<f64>) -> Option<u64> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
    seconds
        .filter(|seconds| *seconds > 0.0)
        .map(|seconds| now.saturating_add((seconds * 1000.0) as u64))
}

type Put = (Value, Value, Option<f64>, Option<u32>);
type Done = (Option<bool>, Option<&'static str>, bool);

fn put(
    handle: &Handle,
    (key, value, lives, flags): Put,
    when: fn(bool) -> std::result::Result<(), &'static str>,
) -> Result<Done> {
    let key = key_of(&key)?;
    let value = match value {
        Value::Nil => None,
        Value::String(text) => Some(Scalar::Bytes(text.as_bytes().to_vec())),
        Value::Boolean(flag) => Some(Scalar::Boolean(flag)),
        other => match other.as_number().or_else(|| other.as_i32().map(f64::from)) {
            Some(number) => Some(Scalar::Number(number)),
            None => return Ok((None, Some("bad value type"), false)),
        },
    };
    handle.with(|dictionary, now| {
        let Some(value) = value else {
            dictionary.remove(&key);
            return (Some(true), None, false);
        };
        let held = Held { value, ends: ends(now, lives), flags: flags.unwrap_or(0) };
        match dictionary.put(key, held, now, when) {
            Ok(()) => (Some(true), None, false),
            Err(why) => (Some(false), Some(why), false),
        }
    })
}

impl UserData for Handle {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_method("get", |lua, this, key: Value| {
            let key = key_of(&key)?;
            match this.with(|dictionary, now| dictionary.get(&key, now, false))? {
                Some((held, _)) => {
                    let flags = (held.flags != 0).then_some(held.flags);
                    brief(lua, (shown(lua, &held)?, flags))
                }
                None => brief(lua, Value::Nil),
            }
        });
        methods.add_method("get_stale", |lua, this, key: Value| {
            let key = key_of(&key)?;
            match this.with(|dictionary, now| dictionary.get(&key, now, true))? {
                Some((held, over)) => Ok((shown(lua, &held)?, Some(held.flags), Some(over))),
                None => Ok((Value::Nil, None, None)),
            }
        });
        for name in ["set", "safe_set"] {
            methods.add_method(name, |_, this, args: Put| put(this, args, |_| Ok(())));
        }
        for name in ["add", "safe_add"] {
            methods.add_method(name, |_, this, args: Put| {
                put(this, args, |known| if known { Err("exists") } else { Ok(()) })
            });
        }
        methods.add_method("replace", |_, this, args: Put| {
            put(this, args, |known| if known { Ok(()) } else { Err("not found") })
        });
        methods.add_method("delete", |_, this, key: Value| {
            let key = key_of(&key)?;
            this.with(|dictionary, _| dictionary.remove(&key))
        });
        methods.add_method(
            "incr",
            |_, this, (key, by, first, lives): (Value, f64, Option<f64>, Option<f64>)| {
                let key = key_of(&key)?;
                this.with(|dictionary, now| incr(dictionary, key, by, first, ends(now, lives), now))
            },
        );
        methods.add_method("ttl", |_, this, key: Value| {
            let key = key_of(&key)?;
            this.with(|dictionary, now| match dictionary.get(&key, now, false) {
                #[expect(clippy::cast_precision_loss, reason = "milliseconds are below 2^53")]
                Some((held, _)) => {
                    (Some(held.ends.map_or(0.0, |ends| (ends - now) as f64 / 1000.0)), None)
                }
                None => (None, Some("not found")),
            })
        });
        methods.add_method("flush_all", |_, this, ()| {
            this.with(|dictionary, _| {
                dictionary.entries.clear();
                dictionary.used.store(0, Ordering::Relaxed);
            })
        });
        methods.add_method("flush_expired", |_, this, _: MultiValue| {
            this.with(Dictionary::flush_expired)
        });
        methods.add_method("get_keys", |lua, this, most: Option<usize>| {
            let most = match most.unwrap_or(1024) {
                0 => usize::MAX,
                most => most,
            };
            let keys = this.with(|dictionary, now| {
                let live = dictionary.entries.iter().filter(|one| !one.is_over(now));
                live.take(most).map(|one| one.key().clone()).collect::<Vec<_>>()
            })?;
            let table = lua.create_table()?;
            for key in keys {
                table.raw_push(lua.create_string(key)?)?;
            }
            Ok(table)
        });
        methods.add_method("capacity", |_, _, ()| Ok(MOST));
        methods.add_method("free_space", |_, this, ()| {
            this.with(|dictionary, _| MOST.saturating_sub(dictionary.used.load(Ordering::Relaxed)))
        });
    }
}

fn incr(
    dictionary: &Dictionary,
    key: Vec<u8>,
    by: f64,
    first: Option<f64>,
    ends: Option<u64>,
    now: u64,
) -> (Option<f64>, Option<&'static str>) {
    // One step of the map, so that no increment is lost.
    if let Some(mut known) = dictionary.entries.get_mut(&key)
        && !known.is_over(now)
    {
        let Scalar::Number(number) = &mut known.value else { return (None, Some("not a number")) };
        *number += by;
        return (Some(*number), None);
    }
    let Some(first) = first else { return (None, Some("not found")) };
    let held = Held { value: Scalar::Number(first + by), ends, flags: 0 };
    match dictionary.put(key.clone(), held, now, |known| if known { Err("exists") } else { Ok(()) })
    {
        Ok(()) => (Some(first + by), None),
        // Another thread was first.
        Err("exists") => incr(dictionary, key, by, None, ends, now),
        Err(why) => (None, Some(why)),
    }
}
