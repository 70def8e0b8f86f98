//! The devices of this process: each is opened once, when something first runs on it.

use std::collections::BTreeMap;
use std::process;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use lowbit::gpu::{AdapterReport, Context, Listener, Options, adapters};
use lowbit::{Error, Result};
use pyo3::prelude::*;

use crate::run::run;

/// By the name that was asked for.
static OPEN: Mutex<BTreeMap<Option<String>, Arc<Context>>> = Mutex::new(BTreeMap::new());

/// The process that opened the first one.
static OWNER: OnceLock<u32> = OnceLock::new();

/// What is to be asked before a device is used that is already open.
///
/// # Errors
/// [`Error::Unsupported`] in a process that was forked from one that had opened a device.
pub fn check_process() -> Result<()> {
    if OWNER.get().is_none_or(|&owner| owner == process::id()) {
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
    OWNER.get_or_init(process::id);
    check_process()?;
    let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    let name = adapter.map(str::to_owned);
    if let Some(gpu) = open.get(&name) {
        return Ok(Arc::clone(gpu));
    }
    let listener = Some(Listener::new(|notice| {
        // What cannot be logged is no reason to fail.
        let _ = Python::attach(|py| {
            let logger = py.import("logging")?.call_method1("getLogger", ("lowbit",))?;
            logger.call_method1("info", ("%s", notice)).map(drop)
        });
    }));
    let gpu = Arc::new(Context::open(&Options { adapter: name.clone(), listener, ..Options::default() })?);
    open.insert(name, Arc::clone(&gpu));
    Ok(gpu)
}

/// The adapters of this machine, each a dict as `lowbit devices --json` has it.
#[pyfunction]
pub fn devices(py: Python<'_>) -> PyResult<Py<PyAny>> {
    let found: Vec<AdapterReport> = run(py, None, |_| check_process().map(|()| adapters()))?;
    from_json(py, &serde_json::to_string(&found).map_err(fault)?)
}

/// What JSON is in Python.
pub fn from_json(py: Python<'_>, text: &str) -> PyResult<Py<PyAny>> {
    Ok(py.import("json")?.call_method1("loads", (text,))?.unbind())
}

/// What cannot happen: a report that is no JSON.
pub fn fault(error: serde_json::Error) -> PyErr {
    pyo3::exceptions::PyRuntimeError::new_err(error.to_string())
}
