//! The devices of this process: each is opened once, when something first runs on it, and anew once it was lost.

use std::collections::BTreeMap;
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use lowbit::gpu::{AdapterReport, Context, Listener, Options, adapters};
use lowbit::{Error, Result};
use pyo3::prelude::*;

use crate::errors::made;
use crate::run::{self, run};

/// Between two looks whether work has ended.
const SHORT: Duration = Duration::from_millis(5);

/// By the names that were asked for; several can be of one device.
static OPEN: Mutex<BTreeMap<Option<String>, Arc<Context>>> = Mutex::new(BTreeMap::new());

/// The process that opened the first one, or is about to; 0 while there is none.
static OWNER: AtomicU32 = AtomicU32::new(0);

/// What is to be asked before a device is used that is already open.
///
/// # Errors
/// [`Error::Unsupported`] in a process that was forked from one that had opened a device.
pub fn check_process() -> Result<()> {
    if [0, process::id()].contains(&OWNER.load(Ordering::Relaxed)) {
        return Ok(());
    }
    Err(Error::Unsupported(
        "this process was forked from one that had a device open, which it cannot use; start processes by \
         multiprocessing's \"spawn\" or \"forkserver\""
            .into(),
    ))
}

/// The device of the adapter with this in its name, or of the one that lowbit takes by itself.
///
/// # Errors
/// Those of [`Context::open`] and [`check_process`].
pub fn device(adapter: Option<&str>) -> Result<Arc<Context>> {
    check_process()?;
    let (gpu, news, lost) = {
        let mut open = lock(&OPEN);
        let name = adapter.map(str::to_owned);
        let count = open.len();
        open.retain(|_, gpu| !gpu.is_lost());
        let lost = open.len() < count;
        if let Some(gpu) = open.get(&name) {
            return Ok(Arc::clone(gpu));
        }
        OWNER.store(process::id(), Ordering::Relaxed);
        let (gpu, news) = opened(name.clone()).inspect_err(|_| {
            if open.is_empty() {
                OWNER.store(0, Ordering::Relaxed);
            }
        })?;
        let same = |other: &&Arc<Context>| {
            (&other.adapter.name, &other.adapter.backend) == (&gpu.adapter.name, &gpu.adapter.backend)
        };
        // By another name it was open already.
        let (gpu, news) = match open.values().find(same) {
            Some(other) => (Arc::clone(other), Vec::new()),
            None => (Arc::new(gpu), news),
        };
        open.insert(name, Arc::clone(&gpu));
        (gpu, news, lost)
    };
    if lost {
        log("warning", "a device was lost, and what lay on it; it is opened anew");
    }
    // Whoever handles what is logged may use lowbit.
    let warnings = gpu.notices();
    for text in news {
        log(if warnings.contains(&text) { "warning" } else { "info" }, &text);
    }
    Ok(gpu)
}

/// A device, and what it said while it was opened. What it says later is logged as it comes.
fn opened(adapter: Option<String>) -> Result<(Context, Vec<String>)> {
    let said = Arc::new(Mutex::new(Some(Vec::new())));
    let hears = Arc::clone(&said);
    let listener = Some(Listener::new(move |text| {
        if let Some(said) = lock(&hears).as_mut() {
            return said.push(text.to_owned());
        }
        log("info", text);
    }));
    let gpu = Context::open(&Options { adapter, listener, ..Options::default() })?;
    let said = lock(&said).take().unwrap_or_default();
    Ok((gpu, said))
}

/// Ends what is at work on this process's devices, and waits for it; called as the process ends.
///
/// # Errors
/// What a signal raises meanwhile.
#[pyfunction]
pub fn end(py: Python<'_>) -> PyResult<()> {
    if check_process().is_err() {
        return Ok(());
    }
    run::end_all(|| {
        py.detach(|| thread::sleep(SHORT));
        py.check_signals()
    })?;
    py.detach(|| {
        let open: Vec<_> = lock(&OPEN).values().map(Arc::clone).collect();
        open.iter().for_each(|gpu| gpu.settle());
    });
    Ok(())
}

/// Has the caller of the work on this thread log it, or does so at once where there is none.
pub fn log(level: &'static str, text: &str) {
    if !run::hand_over(level, text) {
        let _ = Python::attach(|py| log_now(py, level, text));
    }
}

/// Logs it.
pub fn log_now(py: Python<'_>, level: &str, text: &str) -> PyResult<()> {
    let logger = py.import("logging")?.call_method1("getLogger", ("lowbit",))?;
    logger.call_method1(level, ("%s", text)).map(drop)
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The adapters of this machine, each a dict as `lowbit devices --json` has it.
#[pyfunction]
pub fn devices(py: Python<'_>) -> PyResult<Py<PyAny>> {
    let found: Vec<AdapterReport> = run(py, None, |_| check_process().map(|()| adapters()))?;
    from_json(py, &serde_json::to_string(&found).map_err(|error| fault(py, &error))?)
}

/// Loses the device, as a crash of its driver would, for the test of what follows.
#[pyfunction]
#[pyo3(signature = (adapter=None))]
pub fn lose_device_for_a_test(py: Python<'_>, adapter: Option<&str>) -> PyResult<()> {
    run(py, None, |_| device(adapter).map(|gpu| gpu.destroy_device()))
}

/// Bytes that are allocated on the device, and how many pieces of them, as far as its backend tells.
#[pyfunction]
#[pyo3(signature = (adapter=None))]
pub fn allocated_for_a_test(py: Python<'_>, adapter: Option<&str>) -> PyResult<Option<(u64, usize)>> {
    run(py, None, |_| {
        let gpu = device(adapter)?;
        gpu.wait()?;
        let report = gpu.device().generate_allocator_report();
        Ok(report.map(|report| (report.total_allocated_bytes, report.allocations.len())))
    })
}

/// What JSON is in Python.
pub fn from_json(py: Python<'_>, text: &str) -> PyResult<Py<PyAny>> {
    Ok(py.import("json")?.call_method1("loads", (text,))?.unbind())
}

/// What cannot happen: a report that is no JSON.
pub fn fault(py: Python<'_>, error: &serde_json::Error) -> PyErr {
    made(py, "Fault", error.to_string())
}
