//! lowbit's errors as exceptions of py/lowbit/errors.py.

use lowbit::Error;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

/// Raises what `error` is in Python.
pub fn raise(py: Python<'_>, error: Error) -> PyErr {
    let class = match &error {
        Error::Io { path, reason } => return os_error(py, path.display().to_string(), reason),
        Error::NotFinite(_) => "NotFiniteError",
        Error::Unsupported(_) => "UnsupportedError",
        Error::OutOfMemory { .. } => "OutOfMemoryError",
        Error::Interrupted { .. } => "Interrupted",
        Error::File { .. } => "FileError",
        Error::Fault(_) => "Fault",
        error if error.exit_code() == 2 => "InputError",
        _ => "DeviceError",
    };
    made(py, class, error.to_string())
}

/// An instance of a class of py/lowbit/errors.py.
pub fn made(py: Python<'_>, class: &str, text: String) -> PyErr {
    let instance = || py.import("lowbit.errors")?.getattr(class)?.call1((text.as_str(),));
    match instance() {
        Ok(instance) => PyErr::from_value(instance),
        Err(cause) => {
            let error = PyRuntimeError::new_err(text);
            error.set_cause(py, Some(cause));
            error
        }
    }
}

/// As `open` raises it: FileNotFoundError and its relatives, with the number, the words and the file.
fn os_error(py: Python<'_>, path: String, reason: &std::io::Error) -> PyErr {
    let Some(number) = reason.raw_os_error() else {
        return made(py, "FileError", format!("{path}: {reason}"));
    };
    let instance = || {
        let text = py.import("os")?.getattr("strerror")?.call1((number,))?;
        py.get_type::<pyo3::exceptions::PyOSError>().call1((number, text, path.as_str()))
    };
    match instance() {
        Ok(instance) => PyErr::from_value(instance),
        Err(error) => error,
    }
}
