//! What the library reports, as Python has it.

use std::sync::atomic::{AtomicBool, Ordering};

use lowbit::{Error, Result};
use numpy::{Element, PyReadonlyArray1, PyReadonlyArray2, PyReadonlyArray3, PyReadonlyArrayDyn};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyString;
use serde::Serialize;

use crate::devices::{fault, from_json};
use crate::run::Watch;

/// A report as dicts and lists, with the keys that the command line's JSON has.
pub fn document(py: Python<'_>, report: &impl Serialize) -> PyResult<Py<PyAny>> {
    from_json(py, &serde_json::to_string(report).map_err(|error| fault(py, &error))?)
}

/// Calls the callback with a step in words.
pub fn say_step(watch: &Watch, step: &str) {
    watch.say(|py| Ok(PyString::new(py, step).into_any().unbind()));
}

/// Ends work once a stop was asked for.
pub fn check_stop(stop: &AtomicBool, doing: &str) -> Result<()> {
    if stop.load(Ordering::Relaxed) {
        return Err(Error::Interrupted { path: None, reached: doing.into() });
    }
    Ok(())
}

/// The values of an array, which py/lowbit has made C-contiguous.
pub trait Values<T> {
    /// Where they lie.
    ///
    /// # Errors
    /// ValueError for an array that is not C-contiguous.
    fn values(&self) -> PyResult<&[T]>;
}

macro_rules! values {
    ($($array:ident)*) => {$(
        impl<T: Element> Values<T> for $array<'_, T> {
            fn values(&self) -> PyResult<&[T]> {
                self.as_slice().map_err(|error| PyValueError::new_err(error.to_string()))
            }
        }
    )*};
}

values! { PyReadonlyArray1 PyReadonlyArray2 PyReadonlyArray3 PyReadonlyArrayDyn }
