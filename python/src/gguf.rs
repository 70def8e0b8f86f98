//! GGUF files: what is in front of the data. The data itself is mapped by numpy.

use std::path::PathBuf;

use lowbit::io::gguf::{Array, Gguf, TensorType, Text, Value, Writer};
use lowbit::{Error, Result};
use numpy::{PyArray1, PyReadonlyArray1};
use pyo3::IntoPyObjectExt;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};

use crate::results::{Values, check_stop};
use crate::run::{Watch, run};

/// Bytes that are written at a time: a signal is heeded between two pieces.
const PIECE: usize = 1 << 22;

/// The header of a model, in one file or cut into several.
#[pyfunction]
pub fn gguf_open(py: Python<'_>, path: PathBuf) -> PyResult<Bound<'_, PyDict>> {
    let file = run(py, None, |_| Gguf::open(&path))?;
    let metadata = PyDict::new(py);
    for (key, of) in file.metadata() {
        metadata.set_item(key, value(py, of)?)?;
    }
    let tensors = PyList::empty(py);
    for tensor in file.tensors() {
        let of = PyDict::new(py);
        of.set_item("name", &tensor.name)?;
        of.set_item("type", tensor.ty.name)?;
        of.set_item("shape", tensor.shape())?;
        of.set_item("file", tensor.file)?;
        of.set_item("offset", tensor.offset)?;
        of.set_item("nbytes", tensor.bytes)?;
        of.set_item("row_bytes", tensor.row_bytes())?;
        tensors.append(of)?;
    }
    let header = PyDict::new(py);
    header.set_item("files", file.files().map(|path| path.to_owned()).collect::<Vec<PathBuf>>())?;
    header.set_item("version", file.version())?;
    header.set_item("alignment", file.alignment())?;
    header.set_item("metadata", metadata)?;
    header.set_item("tensors", tensors)?;
    Ok(header)
}

fn value<'py>(py: Python<'py>, value: &Value) -> PyResult<Bound<'py, PyAny>> {
    match value {
        Value::U8(v) => v.into_bound_py_any(py),
        Value::I8(v) => v.into_bound_py_any(py),
        Value::U16(v) => v.into_bound_py_any(py),
        Value::I16(v) => v.into_bound_py_any(py),
        Value::U32(v) => v.into_bound_py_any(py),
        Value::I32(v) => v.into_bound_py_any(py),
        Value::U64(v) => v.into_bound_py_any(py),
        Value::I64(v) => v.into_bound_py_any(py),
        Value::F32(v) => v.into_bound_py_any(py),
        Value::F64(v) => v.into_bound_py_any(py),
        Value::Bool(v) => v.into_bound_py_any(py),
        Value::String(v) => text(py, v),
        Value::Array(v) => array(py, v),
    }
}

/// Text is str, and bytes where it is not UTF-8.
fn text<'py>(py: Python<'py>, text: &Text) -> PyResult<Bound<'py, PyAny>> {
    match str::from_utf8(&text.0) {
        Ok(text) => text.into_bound_py_any(py),
        Err(_) => PyBytes::new(py, &text.0).into_bound_py_any(py),
    }
}

fn array<'py>(py: Python<'py>, array: &Array) -> PyResult<Bound<'py, PyAny>> {
    Ok(match array {
        Array::U8(v) => PyArray1::from_slice(py, v).into_any(),
        Array::I8(v) => PyArray1::from_slice(py, v).into_any(),
        Array::U16(v) => PyArray1::from_slice(py, v).into_any(),
        Array::I16(v) => PyArray1::from_slice(py, v).into_any(),
        Array::U32(v) => PyArray1::from_slice(py, v).into_any(),
        Array::I32(v) => PyArray1::from_slice(py, v).into_any(),
        Array::U64(v) => PyArray1::from_slice(py, v).into_any(),
        Array::I64(v) => PyArray1::from_slice(py, v).into_any(),
        Array::F32(v) => PyArray1::from_slice(py, v).into_any(),
        Array::F64(v) => PyArray1::from_slice(py, v).into_any(),
        Array::Bool(v) => PyArray1::from_slice(py, v).into_any(),
        Array::String(v) => {
            PyList::new(py, v.iter().map(|of| text(py, of)).collect::<PyResult<Vec<_>>>()?)?.into_any()
        }
        Array::Array(v) => {
            let arrays = v.iter().map(|of| self::array(py, of));
            PyList::new(py, arrays.collect::<PyResult<Vec<_>>>()?)?.into_any()
        }
    })
}

/// A value of the metadata by the name of its type.
fn typed(ty: &str, value: &Bound<'_, PyAny>) -> PyResult<Value> {
    Ok(match ty {
        "u32" => Value::U32(value.extract()?),
        "i32" => Value::I32(value.extract()?),
        "u64" => Value::U64(value.extract()?),
        "i64" => Value::I64(value.extract()?),
        "f32" => Value::F32(value.extract()?),
        "f64" => Value::F64(value.extract()?),
        "u8" => Value::U8(value.extract()?),
        "i8" => Value::I8(value.extract()?),
        "u16" => Value::U16(value.extract()?),
        "i16" => Value::I16(value.extract()?),
        "bool" => Value::Bool(value.extract()?),
        "string" => Value::String(Text(value.extract()?)),
        "[u8]" => Value::Array(Array::U8(value.extract()?)),
        "[i8]" => Value::Array(Array::I8(value.extract()?)),
        "[u16]" => Value::Array(Array::U16(value.extract()?)),
        "[i16]" => Value::Array(Array::I16(value.extract()?)),
        "[u32]" => Value::Array(Array::U32(value.extract()?)),
        "[i32]" => Value::Array(Array::I32(value.extract()?)),
        "[u64]" => Value::Array(Array::U64(value.extract()?)),
        "[i64]" => Value::Array(Array::I64(value.extract()?)),
        "[f32]" => Value::Array(Array::F32(value.extract()?)),
        "[f64]" => Value::Array(Array::F64(value.extract()?)),
        "[bool]" => Value::Array(Array::Bool(value.extract()?)),
        "[string]" => {
            let texts: Vec<Vec<u8>> = value.extract()?;
            Value::Array(Array::String(texts.into_iter().map(Text).collect()))
        }
        other => return Err(PyValueError::new_err(format!("metadata has no type {other:?}"))),
    })
}

/// A tensor to be written: name, type, dimensions with the contiguous one first, bytes.
type Given<'py> = (String, String, Vec<u64>, PyReadonlyArray1<'py, u8>);

/// Writes a file.
#[pyfunction]
pub fn gguf_write(
    py: Python<'_>,
    path: PathBuf,
    metadata: Vec<(String, String, Bound<'_, PyAny>)>,
    tensors: Vec<Given<'_>>,
) -> PyResult<()> {
    let metadata: Vec<(String, Value)> = metadata
        .iter()
        .map(|(key, ty, value)| Ok((key.clone(), typed(ty, value)?)))
        .collect::<PyResult<_>>()?;
    let tensors: Vec<(&str, &str, &[u64], &[u8])> = tensors
        .iter()
        .map(|(name, ty, dims, data)| Ok((name.as_str(), ty.as_str(), dims.as_slice(), data.values()?)))
        .collect::<PyResult<_>>()?;
    run(py, None, |watch| write(&path, metadata, &tensors, watch))
}

fn write(
    path: &std::path::Path,
    metadata: Vec<(String, Value)>,
    tensors: &[(&str, &str, &[u64], &[u8])],
    watch: &Watch,
) -> Result<()> {
    let mut writer = Writer::new();
    for (key, value) in metadata {
        writer.metadata(&key, value)?;
    }
    for &(name, ty, dims, data) in tensors {
        let known = TensorType::by_name(ty);
        let ty =
            known.ok_or_else(|| Error::Input(format!("tensor {name:?}: a GGUF file cannot hold {ty}")))?;
        let bytes = writer.tensor(name, dims, ty)?;
        if bytes != data.len() as u64 {
            let found = data.len();
            let problem = format!("tensor {name:?}: {found} bytes are given, and its shape takes {bytes}");
            return Err(Error::Shape(problem));
        }
    }
    // The writer asks for tensors in the order in which they were added.
    let mut data = tensors.iter().map(|&(.., data)| data);
    writer.write(path, |_, sink| {
        data.next().unwrap_or_default().chunks(PIECE).try_for_each(|piece| {
            check_stop(&watch.stop, "while a file was written")?;
            sink.write(piece)
        })
    })
}
