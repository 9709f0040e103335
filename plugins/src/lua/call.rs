//! One call of Lua code on behalf of an exchange: at once, or waiting where the code waits.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use mlua::thread::AsyncThread;
use mlua::{Error, Function, IntoLuaMulti, Result};
use tokio::time::Sleep;

use super::abort::Abort;
use super::current::{Current, on_behalf};
use super::engine::Engine;
use super::limits;
use super::vm::Vm;

/// How long a call may take with all its waiting.
const LONGEST: Duration = Duration::from_secs(60);

/// Runs a function that may not wait.
pub(super) fn now(slot: &mut Option<Box<Current>>, function: &Function) -> Result<()> {
    let Some(current) = slot else { return Ok(()) };
    let (engine, vm) = (Arc::clone(&current.engine), Arc::clone(&current.vm));
    let time = engine.settings.time;
    let result = on_behalf(slot, || limits::within(time, || function.call::<()>(())).0);
    result.inspect_err(|why| engine.heed(&vm, why))
}

/// Runs a function that may wait; others are served meanwhile.
pub(super) async fn waiting(slot: &mut Option<Box<Current>>, function: &Function) -> Result<()> {
    let Some(current) = slot else { return Ok(()) };
    let (engine, vm) = (Arc::clone(&current.engine), Arc::clone(&current.vm));
    let result = run(&engine, &vm, slot, function, ()).await;
    result.inspect_err(|why| engine.heed(&vm, why))
}

/// Runs a function that is about no exchange.
pub(super) async fn detached(
    engine: &Arc<Engine>,
    vm: &Arc<Vm>,
    function: &Function,
    args: impl IntoLuaMulti,
) -> Result<()> {
    let result = run(engine, vm, &mut None, function, args).await;
    result.inspect_err(|why| engine.heed(vm, why))
}

async fn run(
    engine: &Engine,
    vm: &Vm,
    slot: &mut Option<Box<Current>>,
    function: &Function,
    args: impl IntoLuaMulti,
) -> Result<()> {
    let thread = vm.lua.create_thread(function.clone())?.into_async::<()>(args)?;
    Running { slot, thread, left: engine.settings.time, ends: None }.await
}

/// A call on its way. While it is polled, its exchange is the thread's current one.
struct Running<'s> {
    slot: &'s mut Option<Box<Current>>,
    thread: AsyncThread<()>,
    /// How long it may compute yet.
    left: Duration,
    /// When its waiting ends, once it waits.
    ends: Option<Pin<Box<Sleep>>>,
}

impl Future for Running<'_> {
    type Output = Result<()>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if this.left.is_zero() {
            return Poll::Ready(Err(Abort::Time.into()));
        }
        let (slot, thread, left) = (&mut *this.slot, &mut this.thread, this.left);
        let (polled, took) =
            on_behalf(slot, || limits::within(left, || Pin::new(thread).poll(context)));
        this.left = left.saturating_sub(took);
        if polled.is_pending() {
            let ends = this.ends.get_or_insert_with(|| Box::pin(tokio::time::sleep(LONGEST)));
            if ends.as_mut().poll(context).is_ready() {
                let text = format!("the code waited for more than {LONGEST:?}");
                return Poll::Ready(Err(Error::runtime(text)));
            }
        }
        polled
    }
}
