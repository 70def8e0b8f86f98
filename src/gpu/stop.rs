//! A request to end: long work on a device looks at it between its steps.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use super::Context;
use super::context::lock;
use crate::{Error, Result};

/// What [`Context::heed`] was given last.
pub(super) type Stop = Mutex<Option<Arc<AtomicBool>>>;

/// While it lives, a device heeds a request to end ([`Context::heed`]).
#[derive(Debug)]
pub struct Heeding<'a>(&'a Context);

impl Drop for Heeding<'_> {
    fn drop(&mut self) {
        *lock(&self.0.stop) = None;
    }
}

impl Context {
    /// Has long work on this device end with [`Error::Interrupted`] once `stop` is set, from another thread or a signal handler,
    /// for as long as what this returns lives. The last one that was given counts, in all threads.
    #[must_use = "the request is heeded only while this lives"]
    pub fn heed(&self, stop: &Arc<AtomicBool>) -> Heeding<'_> {
        *lock(&self.stop) = Some(Arc::clone(stop));
        Heeding(self)
    }

    /// Asked between the steps of what takes long; `doing` says what that is ("while points were read").
    ///
    /// # Errors
    /// [`Error::Interrupted`], without a file, if it is to end.
    pub(crate) fn go_on(&self, doing: impl FnOnce() -> String) -> Result<()> {
        let stop = lock(&self.stop).as_ref().is_some_and(|stop| stop.load(Ordering::Relaxed));
        if stop { Err(Error::Interrupted { path: None, reached: doing() }) } else { Ok(()) }
    }
}
