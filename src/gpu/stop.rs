//! A request to end: long work on a device looks at it between its steps.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};

use super::Context;
use super::context::lock;
use crate::{Error, Result};

/// What [`Context::heed`] was given, and by which thread.
pub(super) type Stop = Mutex<Vec<(ThreadId, Arc<AtomicBool>)>>;

/// While it lives, a device heeds a request to end ([`Context::heed`]).
#[derive(Debug)]
pub struct Heeding<'a> {
    gpu: &'a Context,
    stop: Arc<AtomicBool>,
}

impl Drop for Heeding<'_> {
    fn drop(&mut self) {
        let mut stops = lock(&self.gpu.stop);
        if let Some(at) = stops.iter().rposition(|(_, stop)| Arc::ptr_eq(stop, &self.stop)) {
            stops.remove(at);
        }
    }
}

impl Context {
    /// Has long work on this device end with [`Error::Interrupted`] once `stop` is set, from another thread or a signal handler,
    /// for as long as what this returns lives: the work of the thread that calls this, and of threads that have asked for nothing.
    #[must_use = "the request is heeded only while this lives"]
    pub fn heed(&self, stop: &Arc<AtomicBool>) -> Heeding<'_> {
        lock(&self.stop).push((thread::current().id(), Arc::clone(stop)));
        Heeding { gpu: self, stop: Arc::clone(stop) }
    }

    /// Whether anybody may ask for an end.
    pub(crate) fn is_heeding(&self) -> bool {
        !lock(&self.stop).is_empty()
    }

    /// Asked between the steps of what takes long; `doing` says what that is ("while points were read").
    ///
    /// # Errors
    /// [`Error::Interrupted`], without a file, if it is to end.
    pub(crate) fn go_on(&self, doing: impl FnOnce() -> String) -> Result<()> {
        let stops = lock(&self.stop);
        let own = thread::current().id();
        let asked = stops.iter().any(|(thread, _)| *thread == own);
        let stop =
            stops.iter().any(|(thread, stop)| (!asked || *thread == own) && stop.load(Ordering::Relaxed));
        drop(stops);
        if stop { Err(Error::Interrupted { path: None, reached: doing() }) } else { Ok(()) }
    }
}
