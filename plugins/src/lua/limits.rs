//! How long code may compute. The deadline belongs to the thread: one call runs on it at a time.

use std::cell::Cell;
use std::time::{Duration, Instant};

use mlua::{HookTriggers, Lua, Result, VmState};

use super::abort::Abort;

/// Instructions between two looks at the clock. Some functions of the libraries work long for one
/// instruction, so it is small.
const EVERY: u32 = 200;

thread_local! {
    static DEADLINE: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Has a machine look at the clock while it runs.
pub(super) fn watch(lua: &Lua) -> Result<()> {
    lua.set_global_hook(HookTriggers::new().every_nth_instruction(EVERY), |_, _| {
        check()?;
        Ok(VmState::Continue)
    })
}

/// Whether the deadline has passed.
///
/// # Errors
///
/// [`Abort::Time`].
pub(super) fn check() -> Result<()> {
    match DEADLINE.get() {
        Some(deadline) if Instant::now() >= deadline => Err(Abort::Time.into()),
        _ => Ok(()),
    }
}

/// Runs `work`, which may compute for `time`; a deadline that ends sooner stays. Gives what it took.
pub(super) fn within<R>(time: Duration, work: impl FnOnce() -> R) -> (R, Duration) {
    struct Restore(Option<Instant>);
    impl Drop for Restore {
        fn drop(&mut self) {
            DEADLINE.set(self.0);
        }
    }
    let began = Instant::now();
    let outer = DEADLINE.get();
    let deadline = began + time;
    let _restore = Restore(outer);
    DEADLINE.set(Some(outer.map_or(deadline, |outer| outer.min(deadline))));
    let made = work();
    (made, began.elapsed())
}
