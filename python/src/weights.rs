//! Quantized weights: blocks as arrays, and products with them on a device.

use std::num::NonZero;
use std::panic::resume_unwind;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use lowbit::format::{ALL, Format};
use lowbit::gpu::Context;
use lowbit::matmul::{Activations, Path, Weights};
use lowbit::{Error, Result};
use numpy::{PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::devices::{check_process, device};
use crate::errors::raise;
use crate::results::{Values, check_stop};
use crate::run::run;

/// Weights that a thread takes at a time: a signal is heeded between two pieces.
const PIECE: usize = 1 << 16;

/// Every number format as a dict.
#[pyfunction]
pub fn formats(py: Python<'_>) -> PyResult<Vec<Bound<'_, PyDict>>> {
    let described = |format: &Format| {
        let of = PyDict::new(py);
        of.set_item("name", format.name)?;
        of.set_item("ggml_type", format.ggml_type)?;
        of.set_item("block_weights", format.elements)?;
        of.set_item("block_bytes", format.bytes)?;
        of.set_item("bits_per_weight", format.bits_per_weight())?;
        of.set_item("integer", format.integer)?;
        Ok(of)
    };
    ALL.iter().map(described).collect()
}

fn known(name: &str) -> Result<&'static Format> {
    Format::by_name(name).ok_or_else(|| {
        let names: Vec<&str> = ALL.iter().map(|format| format.name).collect();
        Error::Input(format!("no format is called {name:?}; there is {}", names.join(", ")))
    })
}

/// Bytes of a row of `cols` weights.
fn row_bytes(format: &Format, cols: usize) -> Result<usize> {
    if cols == 0 || !cols.is_multiple_of(format.elements) {
        return Err(Error::Shape(format!(
            "rows of {cols} weights are no whole blocks of {}, which have {} weights each",
            format.name, format.elements
        )));
    }
    cols.checked_div(format.elements)
        .and_then(|blocks| blocks.checked_mul(format.bytes))
        .ok_or_else(|| Error::Shape(format!("rows of {cols} weights are too long")))
}

/// Refuses blocks that are not rows of `cols` weights.
fn check_blocks(format: &Format, cols: usize, found: usize) -> Result<()> {
    let expected = row_bytes(format, cols)?;
    if found == expected {
        return Ok(());
    }
    Err(Error::Shape(format!(
        "rows of {cols} weights in {} are {expected} bytes, and blocks have {found} in a row",
        format.name
    )))
}

/// Does `each` piece on all cores.
fn on_all_cores<T>(
    stop: &AtomicBool,
    pieces: impl Iterator<Item = T> + Send,
    each: impl Fn(T) -> Result<()> + Sync,
) -> Result<()> {
    let pieces = Mutex::new(pieces);
    let next = || pieces.lock().unwrap_or_else(PoisonError::into_inner).next();
    let work = || {
        while let Some(piece) = next() {
            check_stop(stop, "between rows of weights")?;
            each(piece)?;
        }
        Ok(())
    };
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().try_for_each(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)))
    })
}

/// The first place of `values`, rows of `cols`, that is not finite.
fn not_finite(values: &[f32], cols: usize) -> Option<(usize, usize, f32)> {
    let at = values.iter().position(|value| !value.is_finite())?;
    Some((at / cols, at % cols, values[at]))
}

/// Rows of weights as rows of blocks: `[rows, bytes of a row]`.
#[pyfunction]
pub fn quantize<'py>(
    py: Python<'py>,
    x: PyReadonlyArray2<'_, f32>,
    format: &str,
) -> PyResult<Bound<'py, PyArray2<u8>>> {
    let (rows, cols, values) = (x.shape()[0], x.shape()[1], x.values()?);
    let (blocks, bytes) = run(py, None, |watch| {
        let format = known(format)?;
        let bytes = row_bytes(format, cols)?;
        if let Some((row, col, value)) = not_finite(values, cols) {
            let text = format!("the weight [{row}, {col}] is {value}: only finite weights are quantized");
            return Err(Error::NotFinite(text));
        }
        let mut blocks = vec![0; rows * bytes];
        let of_piece = (PIECE / cols).max(1);
        let pieces = values.chunks(of_piece * cols).zip(blocks.chunks_mut(of_piece * bytes)).enumerate();
        on_all_cores(&watch.stop, pieces, |(at, (values, blocks))| {
            format.quantize(values, blocks)?;
            let mut back = vec![0.0; values.len()];
            format.dequantize(blocks, &mut back)?;
            match not_finite(&back, cols) {
                None => Ok(()),
                Some((row, col, _)) => Err(Error::Input(format!(
                    "the weight [{}, {col}] is {}: it, or its block, is too large for {}",
                    at * of_piece + row,
                    values[row * cols + col],
                    format.name
                ))),
            }
        })?;
        Ok((blocks, bytes))
    })?;
    PyArray1::from_vec(py, blocks).reshape([rows, bytes])
}

/// What rows of blocks stand for: `[rows, cols]`.
#[pyfunction]
pub fn dequantize<'py>(
    py: Python<'py>,
    blocks: PyReadonlyArray2<'_, u8>,
    format: &str,
    cols: usize,
) -> PyResult<Bound<'py, PyArray2<f32>>> {
    let (rows, bytes, blocks) = (blocks.shape()[0], blocks.shape()[1], blocks.values()?);
    let values = run(py, None, |watch| {
        let format = known(format)?;
        check_blocks(format, cols, bytes)?;
        let mut values = vec![0.0; rows * cols];
        let of_piece = (PIECE / cols).max(1);
        let pieces = blocks.chunks(of_piece * bytes).zip(values.chunks_mut(of_piece * cols));
        on_all_cores(&watch.stop, pieces, |(blocks, values)| format.dequantize(blocks, values))?;
        Ok(values)
    })?;
    PyArray1::from_vec(py, values).reshape([rows, cols])
}

fn path(name: &str) -> Result<Path> {
    Ok(match name {
        "auto" => Path::Auto,
        "float" => Path::Float,
        "integer" => Path::Integer,
        "half" => Path::Half,
        other => {
            return Err(Error::Input(format!(
                "path is {other:?}: expected \"auto\", \"float\", \"integer\" or \"half\""
            )));
        }
    })
}

/// Weights on a device.
#[pyclass(frozen)]
pub struct DeviceWeights {
    gpu: Arc<Context>,
    weights: Weights,
}

#[pymethods]
impl DeviceWeights {
    #[new]
    #[pyo3(signature = (blocks, format, cols, adapter=None, allow_nonfinite=false))]
    fn new(
        py: Python<'_>,
        blocks: PyReadonlyArray2<'_, u8>,
        format: &str,
        cols: usize,
        adapter: Option<&str>,
        allow_nonfinite: bool,
    ) -> PyResult<Self> {
        let (bytes, blocks) = (blocks.shape()[1], blocks.values()?);
        run(py, None, |watch| {
            let format = known(format)?;
            check_blocks(format, cols, bytes)?;
            if !allow_nonfinite {
                let of_piece = (PIECE / cols).max(1);
                let pieces = blocks.chunks(of_piece * bytes).enumerate();
                on_all_cores(&watch.stop, pieces, |(at, blocks)| {
                    let mut values = vec![0.0; blocks.len() / bytes * cols];
                    format.dequantize(blocks, &mut values)?;
                    not_finite(&values, cols).map_or(Ok(()), |(row, col, value)| {
                        let row = at * of_piece + row;
                        Err(Error::NotFinite(format!("the weight [{row}, {col}] is {value}")))
                    })
                })?;
            }
            let gpu = device(adapter)?;
            let _heeding = gpu.heed(&watch.stop);
            let weights = Weights::from_blocks(&gpu, format, cols as u64, blocks)?;
            Ok(Self { gpu: Arc::clone(&gpu), weights })
        })
    }

    /// Whether they are gone, with the device that they were on.
    #[getter]
    fn lost(&self) -> bool {
        self.gpu.is_lost()
    }

    /// Bytes on the device.
    #[getter]
    fn bytes(&self) -> u64 {
        self.weights.bytes()
    }

    /// The products with rows of `x`, `[n, cols]`, as the library has them: `[rows, n]`, and the variant that made them.
    #[pyo3(signature = (x, bias, path))]
    fn times<'py>(
        &self,
        py: Python<'py>,
        x: PyReadonlyArray2<'_, f32>,
        bias: Option<PyReadonlyArray1<'_, f32>>,
        path: &str,
    ) -> PyResult<(Bound<'py, PyArray2<f32>>, String)> {
        let path = self::path(path).map_err(|error| raise(py, error))?;
        let (n, cols, x) = (x.shape()[0], x.shape()[1], x.values()?);
        let bias = bias.as_ref().map_or(Ok(&[][..]), |bias| bias.values())?;
        let product = run(py, None, |watch| {
            if cols as u64 != self.weights.cols {
                let wanted = self.weights.cols;
                return Err(Error::Shape(format!(
                    "x has {cols} columns, and the weights have {wanted}: x is [n, cols]"
                )));
            }
            check_process()?;
            let _heeding = self.gpu.heed(&watch.stop);
            let x = Activations::upload(&self.gpu, x, cols)?;
            self.weights.times(&self.gpu, &x, bias, path)
        })?;
        let values = PyArray1::from_vec(py, product.values).reshape([self.weights.rows as usize, n])?;
        Ok((values, product.variant))
    }
}
