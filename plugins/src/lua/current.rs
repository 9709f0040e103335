//! [`Current`]: the exchange a call is about.
//!
//! Functions of the PDK are registered once a machine and have no arguments that name the exchange.
//! A call puts what it is about into the thread while it runs and takes it out again; where the code
//! waits, it goes with the call. So no lock is needed, and no function can reach another's exchange.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use gateway_model::Id;
use http::{HeaderMap, StatusCode};
use mlua::{Error, Result, Table};
use pingora_http::{RequestHeader, ResponseHeader};
use serde_json::Value;

use super::engine::Engine;
use super::phase::Phase;
use super::vm::Vm;
use crate::contract::{Facts, Latencies, LogMembers, Reply, Source, Summary};

/// The exchange a call is about: copies, written back by who made the call.
pub(super) struct Current {
    pub(super) engine: Arc<Engine>,
    pub(super) vm: Arc<Vm>,
    pub(super) phase: Phase,
    /// Whose code runs.
    pub(super) plugin: PluginRun,
    pub(super) request: Arc<RequestHeader>,
    pub(super) facts: Facts,
    /// From the header filter on.
    pub(super) response: Option<Arc<ResponseHeader>>,
    pub(super) source: Source,
    /// In the body filter.
    pub(super) piece: Option<Piece>,
    /// The whole answer's body, in the response phase.
    pub(super) whole: Option<Bytes>,
    /// After the exchange.
    pub(super) log: Option<Log>,
    /// What ends the request, once the code asked for it.
    pub(super) exit: Option<Exit>,
    /// `ngx.status` before there is an answer.
    pub(super) status: Option<StatusCode>,
    /// What `ngx.say` and `ngx.print` wrote.
    pub(super) said: Vec<u8>,
}

/// Whose code runs.
#[derive(Clone)]
pub(super) struct PluginRun {
    pub(super) name: Arc<str>,
    pub(super) id: Id,
}

/// One piece of an answer's body.
pub(super) struct Piece {
    pub(super) data: Option<Bytes>,
    pub(super) end: bool,
}

/// What is known after the exchange.
pub(super) struct Log {
    pub(super) entry: Value,
    /// How many of the exchange's [`LogMembers`] the entry holds.
    pub(super) members: usize,
    pub(super) status: u16,
    pub(super) latencies: Latencies,
    pub(super) request_size: u64,
    pub(super) response_size: u64,
    pub(super) body_size: u64,
    pub(super) upstream_uri: String,
    pub(super) upstream: Vec<(SocketAddr, Option<u16>)>,
}

impl Log {
    pub(super) fn of(summary: &Summary<'_>, entry: Value) -> Self {
        let tries = summary.tries.iter();
        // The entry of a stream is made of what was counted, without members.
        let members = if summary.is_stream() { 0 } else { LogMembers::count(summary.facts) };
        Self {
            entry,
            members,
            status: summary.status,
            latencies: summary.latencies,
            request_size: summary.request_size,
            response_size: summary.response_size,
            body_size: summary.response_body_size,
            upstream_uri: summary.upstream_uri.to_owned(),
            upstream: tries.map(|one| (one.address, one.status.or(one.failed))).collect(),
        }
    }
}

/// How a call ends the request.
#[derive(Clone, Debug)]
pub(super) enum Exit {
    /// With this answer.
    Reply(Box<Reply>),
    /// Only this phase ends.
    Phase,
}

/// What Lua keeps for one exchange, between calls and phases. In [`Facts::notes`].
#[derive(Clone)]
pub(super) struct Kept {
    /// The machine it lives in; every call of the exchange runs there.
    pub(super) vm: Arc<Vm>,
    /// `ngx.ctx`.
    pub(super) ctx: Table,
    /// `kong.ctx.shared`.
    pub(super) shared: Table,
    /// `kong.ctx.plugin`, by instance.
    pub(super) plugins: Arc<HashMap<Id, Table>>,
    /// The request as it was, for phases that are not told.
    pub(super) request: Option<Arc<RequestHeader>>,
    /// The answer's head, likewise.
    pub(super) response: Option<Arc<ResponseHeader>>,
    /// The body so far, for `kong.response.get_raw_body`.
    pub(super) collected: Vec<u8>,
    /// The body a header filter's exit put in the place of the answer's.
    pub(super) replaced: Option<Bytes>,
    /// Whether a handler ended the request by an exit.
    pub(super) exited: bool,
}

impl Kept {
    pub(super) fn new(vm: &Arc<Vm>) -> Result<Self> {
        Ok(Self {
            vm: Arc::clone(vm),
            ctx: vm.lua.create_table()?,
            shared: vm.lua.create_table()?,
            plugins: Arc::default(),
            request: None,
            response: None,
            collected: Vec::new(),
            replaced: None,
            exited: false,
        })
    }
}

impl Current {
    pub(super) fn kept(&mut self) -> Result<&mut Kept> {
        self.facts.notes.get_mut::<Kept>().ok_or_else(none)
    }

    /// Headers of the answer, where there is one.
    pub(super) fn response_headers(&self) -> Option<&HeaderMap> {
        self.response.as_ref().map(|head| &head.headers)
    }
}

thread_local! {
    static CURRENT: RefCell<Option<Box<Current>>> = const { RefCell::new(None) };
}

/// Does something with the exchange of the call that runs on this thread. `f` must not call Lua.
///
/// # Errors
///
/// When no exchange is served, as while a node starts.
pub(super) fn with<R>(f: impl FnOnce(&mut Current) -> Result<R>) -> Result<R> {
    CURRENT.with_borrow_mut(|current| match current {
        Some(current) => f(current),
        None => Err(none()),
    })
}

fn none() -> Error {
    Error::runtime("no request found")
}

/// Runs `work` on behalf of an exchange.
pub(super) fn on_behalf<R>(current: &mut Option<Box<Current>>, work: impl FnOnce() -> R) -> R {
    /// Puts back what was there, also when `work` panics.
    struct Swapped<'c>(&'c mut Option<Box<Current>>);
    impl Drop for Swapped<'_> {
        fn drop(&mut self) {
            CURRENT.with_borrow_mut(|here| std::mem::swap(here, self.0));
        }
    }
    CURRENT.with_borrow_mut(|here| std::mem::swap(here, current));
    let _swapped = Swapped(current);
    work()
}
