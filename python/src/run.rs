//! Work on a device, called from Python: other threads run meanwhile, Ctrl-C ends it, and no panic leaves it.

use std::any::Any;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use pyo3::exceptions::PyException;
use pyo3::prelude::*;

use crate::devices::log_now;
use crate::errors::{made, raise};

/// How often signals are looked for.
const LOOK: Duration = Duration::from_millis(50);

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

/// What ends the work that is at hand, each while it is.
static AT_WORK: Mutex<Vec<Arc<AtomicBool>>> = Mutex::new(Vec::new());

/// Work that is at hand until this is dropped.
struct AtWork(Arc<AtomicBool>);

impl AtWork {
    fn begin(stop: &Arc<AtomicBool>) -> Self {
        at_work().push(Arc::clone(stop));
        Self(Arc::clone(stop))
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        at_work().retain(|stop| !Arc::ptr_eq(stop, &self.0));
    }
}

fn at_work() -> MutexGuard<'static, Vec<Arc<AtomicBool>>> {
    AT_WORK.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How often all work was ended.
static ENDED: AtomicUsize = AtomicUsize::new(0);

/// Ends all work that is at hand, and waits for its end: daemon threads are in it while the process ends. They do not return to
/// Python, as Python's own do not.
pub fn end_all() {
    ENDED.fetch_add(1, Ordering::Relaxed);
    at_work().iter().for_each(|stop| stop.store(true, Ordering::Relaxed));
    while !at_work().is_empty() {
        thread::sleep(LOOK / 10);
    }
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
    let times_ended = ENDED.load(Ordering::Relaxed);
    let (ended, signal) = py.detach(|| {
        let all = thread::scope(|scope| {
            let (sender, said) = channel::<News>();
            let watch = &watch;
            let at_work = AtWork::begin(&watch.stop);
            let worker = scope.spawn(move || {
                let _at_work = at_work;
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
        while ENDED.load(Ordering::Relaxed) != times_ended {
            thread::park();
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
