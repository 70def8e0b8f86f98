//! Work on a device, called from Python: other threads run meanwhile, Ctrl-C ends it, and no panic leaves it.

use std::any::Any;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use pyo3::exceptions::PyException;
use pyo3::prelude::*;

use crate::devices::log_now;
use crate::errors::{made, raise};

/// How often signals are looked for.
const LOOK: Duration = Duration::from_millis(50);

/// How long the end of a process waits for that of its work.
const PATIENCE: Duration = Duration::from_secs(10);

/// Something to log: its level, and the text.
type News = (&'static str, String);

thread_local! {
    /// To the thread that waits for the work of this one.
    static CALLER: RefCell<Option<Sender<News>>> = const { RefCell::new(None) };
}

/// Hands over what is to be logged to the thread that waits for the work of this one, if there is one: what hears it may use
/// lowbit, and the work may hold what that waits for.
pub fn hand_over(level: &'static str, text: &str) -> bool {
    let send = |caller: &Sender<News>| caller.send((level, text.to_owned())).is_ok();
    CALLER.with_borrow(|caller| caller.as_ref().is_some_and(send))
}

/// The work that is at hand in this process.
struct AtHand {
    /// A forked one begins without any.
    process: u32,
    /// What ends each piece of it.
    stops: Vec<Arc<AtomicBool>>,
    /// The thread that ends the process, once it does.
    ending: Option<ThreadId>,
}

static AT_HAND: Mutex<AtHand> = Mutex::new(AtHand { process: 0, stops: Vec::new(), ending: None });

impl AtHand {
    /// Whether another thread than this one ends the process.
    fn is_over(&self) -> bool {
        self.ending.is_some_and(|thread| thread != thread::current().id())
    }
}

fn at_hand() -> MutexGuard<'static, AtHand> {
    let mut at_hand = AT_HAND.lock().unwrap_or_else(PoisonError::into_inner);
    if at_hand.process != process::id() {
        *at_hand = AtHand { process: process::id(), stops: Vec::new(), ending: None };
    }
    at_hand
}

/// Work that is at hand until this is dropped.
struct AtWork(Arc<AtomicBool>);

impl AtWork {
    /// Does not return once another thread ends the process.
    fn begin(stop: &Arc<AtomicBool>) -> Self {
        let mut at_hand = at_hand();
        if at_hand.is_over() {
            drop(at_hand);
            stay();
        }
        at_hand.stops.push(Arc::clone(stop));
        Self(Arc::clone(stop))
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        at_hand().stops.retain(|stop| !Arc::ptr_eq(stop, &self.0));
    }
}

/// Stays for as long as the process lives: daemon threads that were at work do not return to a Python that ends, as Python's own do
/// not.
fn stay() -> ! {
    loop {
        thread::park();
    }
}

/// Ends all work that is at hand, and any that other threads begin; what `wait` does is done until there is none.
///
/// # Errors
/// Those of `wait`.
pub fn end_all(mut wait: impl FnMut() -> PyResult<()>) -> PyResult<()> {
    let mut hand = at_hand();
    hand.ending = Some(thread::current().id());
    hand.stops.iter().for_each(|stop| stop.store(true, Ordering::Relaxed));
    drop(hand);
    let begun = Instant::now();
    // A callback may wait for what does not come any more.
    while !at_hand().stops.is_empty() && begun.elapsed() < PATIENCE {
        wait()?;
    }
    Ok(())
}

/// What work looks at and says while it runs.
#[derive(Clone)]
pub struct Watch {
    /// Set to end the work.
    pub stop: Arc<AtomicBool>,
    /// Called with what there is to say.
    callback: Option<Arc<Py<PyAny>>>,
    /// What the callback raised first.
    raised: Arc<Mutex<Option<PyErr>>>,
}

impl Watch {
    /// Calls the callback, if there is one, with what `news` makes; what it raises ends the work.
    pub fn say(&self, news: impl FnOnce(Python<'_>) -> PyResult<Py<PyAny>>) {
        let Some(callback) = &self.callback else { return };
        if self.stop.load(Ordering::Relaxed) {
            return;
        }
        let said = Python::attach(|py| callback.call1(py, (news(py)?,)).map(drop));
        if let Err(error) = said {
            self.stop.store(true, Ordering::Relaxed);
            if let Ok(mut raised) = self.raised.lock() {
                raised.get_or_insert(error);
            }
        }
    }
}

/// Runs `work` on a thread of its own, while Python's other threads run and this one looks for signals.
///
/// # Errors
/// What a signal handler or the callback raised, before what the work failed with; lowbit.errors.Fault for a panic. What the work
/// made is dropped where something was raised though it succeeded.
pub fn run<T: Send>(
    py: Python<'_>,
    callback: Option<Py<PyAny>>,
    work: impl FnOnce(&Watch) -> lowbit::Result<T> + Send,
) -> PyResult<T> {
    let watch = Watch { stop: Arc::default(), callback: callback.map(Arc::new), raised: Arc::default() };
    let (ended, signal) = py.detach(|| {
        let at_work = AtWork::begin(&watch.stop);
        let all = thread::scope(|scope| {
            let (sender, said) = channel::<News>();
            let watch = &watch;
            let worker = scope.spawn(move || {
                CALLER.set(Some(sender));
                let ended = caught(|| work(watch));
                // Whoever waits sees the end of it.
                CALLER.set(None);
                ended
            });
            let mut signal = None;
            let mut heard = |looked: PyResult<()>| {
                if let Err(error) = looked {
                    watch.stop.store(true, Ordering::Relaxed);
                    signal.get_or_insert(error);
                }
            };
            let mut looked = Instant::now();
            loop {
                match said.recv_timeout(LOOK) {
                    // What cannot be logged is no reason to fail; a signal that arrives meanwhile is.
                    Ok((level, text)) => heard(Python::attach(|py| {
                        let logged = log_now(py, level, &text);
                        logged.or_else(|error| {
                            if error.is_instance_of::<PyException>(py) { Ok(()) } else { Err(error) }
                        })
                    })),
                    Err(RecvTimeoutError::Timeout) => (),
                    Err(RecvTimeoutError::Disconnected) => break,
                }
                if looked.elapsed() >= LOOK {
                    heard(Python::attach(|py| py.check_signals()));
                    looked = Instant::now();
                }
            }
            (worker.join().flatten(), signal)
        });
        drop(at_work);
        if at_hand().is_over() {
            stay();
        }
        all
    });
    let raised = watch.raised.lock().ok().and_then(|mut raised| raised.take());
    if let Some(error) = signal.or(raised) {
        return Err(error);
    }
    result_of(py, ended)
}

/// Does `work` on this thread, while Python's other threads run: for what takes no time.
///
/// # Errors
/// What the work failed with; lowbit.errors.Fault for a panic.
pub fn at_once<T: Send>(py: Python<'_>, work: impl FnOnce() -> lowbit::Result<T> + Send) -> PyResult<T> {
    let ended = py.detach(|| caught(work));
    result_of(py, ended)
}

/// What work gave, or what it panicked with.
type Ended<T> = thread::Result<lowbit::Result<T>>;

fn caught<T>(work: impl FnOnce() -> lowbit::Result<T>) -> Ended<T> {
    catch_unwind(AssertUnwindSafe(work))
}

fn result_of<T>(py: Python<'_>, ended: Ended<T>) -> PyResult<T> {
    match ended {
        Ok(result) => result.map_err(|error| raise(py, error)),
        Err(panic) => {
            let what = text_of(panic.as_ref());
            let text = format!("a fault of lowbit, please report it with what led to it: {what}");
            Err(made(py, "Fault", text))
        }
    }
}

fn text_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it panicked")
}

/// Panics on a thread of its own or on the caller's, for the test of what becomes of a panic.
#[pyfunction]
#[pyo3(signature = (here=false))]
pub fn panic_for_a_test(py: Python<'_>, here: bool) -> PyResult<()> {
    let panic = || {
        let none: Option<()> = std::hint::black_box(None);
        #[allow(clippy::expect_used, reason = "it is here to panic")]
        none.expect("a panic for a test");
        Ok(())
    };
    if here { at_once(py, panic) } else { run(py, None, |_| panic()) }
}
