//! [`Compiler`]: the thread on which configurations are compiled.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Sender, channel};
use std::{io, thread};

use gateway_model::Rejection;
use rustix::process::setpriority_process;
use rustix::thread::gettid;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tracing::error;

/// How far the thread steps back for those that serve requests (`nice`): it gets a tenth of a core
/// that both want.
const NICENESS: i32 = 10;

type Work = Box<dyn FnOnce() + Send>;

/// One thread for work that may take long, so that what configurations are made of lies together
/// in memory and requests do not wait for it.
pub(crate) struct Compiler(Sender<Work>);

impl Compiler {
    /// Starts the thread; it ends with this. What it runs is in the runtime of the caller.
    ///
    /// # Errors
    ///
    /// When the system has no thread to give.
    pub(crate) fn start() -> io::Result<Self> {
        let (sender, receiver) = channel::<Work>();
        let runtime = Handle::current();
        let run = move || {
            let _entered = runtime.enter();
            // Forbidden, it only takes more from requests.
            let _ = setpriority_process(Some(gettid()), NICENESS);
            receiver.iter().for_each(|work| work());
        };
        thread::Builder::new().name("compile".to_owned()).spawn(run)?;
        Ok(Self(sender))
    }

    /// Does some work. A panic in it is the refusal of that work.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Rejection> + Send + 'static,
    ) -> Result<T, Rejection> {
        let (answer, answered) = oneshot::channel();
        let work = move || {
            // Nothing of it is looked at after a panic.
            let outcome = catch_unwind(AssertUnwindSafe(work));
            // An error means that the caller stopped waiting.
            let _ = answer.send(outcome.unwrap_or_else(|panic| Err(panicked(&*panic))));
        };
        let gone = || Rejection::Store("no configuration is compiled any more".to_owned());
        self.0.send(Box::new(work)).map_err(|_| gone())?;
        answered.await.unwrap_or_else(|_| Err(gone()))
    }
}

fn panicked(panic: &(dyn Any + Send)) -> Rejection {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    error!("compiling a configuration panicked: {}", text.unwrap_or("no reason given"));
    Rejection::Store("the configuration could not be compiled".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_ends_the_work_and_not_the_thread() {
        let compiler = Compiler::start().expect("a thread");
        let refused = compiler.run(|| -> Result<(), _> { panic!("on purpose") }).await;
        assert!(matches!(refused, Err(Rejection::Store(_))), "{refused:?}");
        // In the caller's runtime, and behind those that serve requests.
        let spawned = compiler.run(|| Ok(tokio::spawn(async { 7 }))).await.expect("done");
        assert_eq!(spawned.await.expect("no panic"), 7);
        let nice = compiler.run(|| Ok(rustix::process::getpriority_process(Some(gettid()))));
        assert_eq!(nice.await.expect("done").ok(), Some(NICENESS));
    }
}
