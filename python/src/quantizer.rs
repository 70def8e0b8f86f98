//! Product quantization, and k-means with FAISS's habits.

use lowbit::kmeans::{Codebooks, Empty, Fitted, Init, KMeans, Metric, ProductQuantizer};
use numpy::{
    PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2, PyReadonlyArray3,
    PyUntypedArrayMethods,
};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::arrays::{Array, Heeded};
use crate::devices::device;
use crate::kmeans::{matrix, say};
use crate::results::{Values, check_stop, say_step};
use crate::run::run;

/// Values that are decoded at a time: a signal is heeded between two pieces.
const PIECE: usize = 1 << 22;

/// What a product quantizer is told.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub struct ProductSettings {
    m: usize,
    bits: u32,
    seed: u64,
    max_iter: u32,
    subsample: Option<u64>,
    memory: Option<u64>,
    adapter: Option<String>,
}

/// Trains codebooks `[m, 2^bits, d / m]` and encodes the rows of `x`.
#[pyfunction]
#[pyo3(signature = (x, settings, callback=None))]
pub fn pq_fit<'py>(
    py: Python<'py>,
    x: Array<'_>,
    settings: ProductSettings,
    callback: Option<Py<PyAny>>,
) -> PyResult<Bound<'py, PyDict>> {
    let rows = x.rows()?;
    let found = run(py, callback, |watch| {
        let quantizer = ProductQuantizer::new(settings.m)
            .bits(settings.bits)
            .seed(settings.seed)
            .max_iter(settings.max_iter)
            .subsample(settings.subsample)
            .memory(settings.memory.unwrap_or(u64::MAX));
        let gpu = device(settings.adapter.as_deref())?;
        let _heeding = gpu.heed(&watch.stop);
        let data = Heeded { rows, stop: watch.stop.clone() };
        let mut last = None;
        quantizer.fit(&gpu, &data, |part, _| {
            if last.replace(part) != Some(part) {
                say_step(watch, &format!("sub-space {} of {}", part + 1, settings.m));
            }
        })
    })?;
    let result = PyDict::new(py);
    let books = found.codebooks;
    let codebooks = PyArray1::from_vec(py, books.values).reshape([books.m, books.k, books.width])?;
    result.set_item("codebooks", codebooks)?;
    result.set_item("codes", PyArray1::from_vec(py, found.codes).reshape([found.n, found.m])?)?;
    result.set_item("relative_squared_error", found.relative_squared_error)?;
    result.set_item("mean_squared_error", found.mean_squared_error)?;
    result.set_item("n_iter", found.n_iter)?;
    result.set_item("notices", found.notices)?;
    Ok(result)
}

fn codebooks(array: &PyReadonlyArray3<'_, f32>) -> PyResult<Codebooks> {
    let shape = array.shape();
    Ok(Codebooks { m: shape[0], k: shape[1], width: shape[2], values: array.values()?.to_vec() })
}

/// The codes `[n, m]` of rows.
#[pyfunction]
pub fn pq_encode<'py>(
    py: Python<'py>,
    x: Array<'_>,
    books: PyReadonlyArray3<'_, f32>,
    adapter: Option<&str>,
) -> PyResult<Bound<'py, PyArray2<u8>>> {
    let (rows, books) = (x.rows()?, codebooks(&books)?);
    let codes = run(py, None, |watch| {
        let gpu = device(adapter)?;
        let _heeding = gpu.heed(&watch.stop);
        books.encode(&gpu, &Heeded { rows, stop: watch.stop.clone() })
    })?;
    let n = codes.len() / books.m.max(1);
    PyArray1::from_vec(py, codes).reshape([n, books.m])
}

/// The vectors `[n, d]` of codes `[n, m]`.
#[pyfunction]
pub fn pq_decode<'py>(
    py: Python<'py>,
    codes: PyReadonlyArray2<'_, u8>,
    books: PyReadonlyArray3<'_, f32>,
) -> PyResult<Bound<'py, PyArray2<f32>>> {
    let (codes, books) = (codes.values()?, codebooks(&books)?);
    let (of_piece, d) =
        ((PIECE / (books.m * books.width).max(1)).max(1) * books.m.max(1), books.m * books.width);
    let values = run(py, None, |watch| {
        let mut values = Vec::with_capacity(codes.len() / books.m.max(1) * d);
        for codes in codes.chunks(of_piece) {
            check_stop(&watch.stop, "between rows of codes")?;
            values.extend(books.decode(codes)?.values);
        }
        Ok(values)
    })?;
    PyArray1::from_vec(py, values).reshape([codes.len() / books.m.max(1), d])
}

/// What FAISS's k-means is told.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub struct FaissSettings<'py> {
    k: usize,
    niter: u32,
    nredo: u32,
    spherical: bool,
    seed: u64,
    subsample: Option<u64>,
    init: Option<PyReadonlyArray2<'py, f32>>,
    frozen: Option<PyReadonlyArray2<'py, f32>>,
    adapter: Option<String>,
}

/// Fits k-means for a fixed number of iterations, and tells what each of them found.
#[pyfunction]
#[pyo3(signature = (x, settings, weights=None, callback=None))]
pub fn faiss_fit<'py>(
    py: Python<'py>,
    x: Array<'_>,
    settings: FaissSettings<'_>,
    weights: Option<PyReadonlyArray1<'_, f32>>,
    callback: Option<Py<PyAny>>,
) -> PyResult<Bound<'py, PyDict>> {
    let rows = x.rows()?;
    let init = match &settings.init {
        Some(given) => Init::Centroids(matrix(given)?),
        None => Init::Random,
    };
    let weights = weights.as_ref().map(|weights| weights.values()).transpose()?;
    let kmeans = KMeans::new(settings.k);
    let kmeans = match &settings.frozen {
        Some(frozen) => kmeans.frozen(matrix(frozen)?),
        None => kmeans,
    };
    let kmeans = kmeans
        .init(init)
        .metric(if settings.spherical { Metric::Cosine } else { Metric::Euclidean })
        .empty(Empty::SplitLargest)
        .n_init(settings.nredo)
        .seed(settings.seed)
        .max_iter(settings.niter)
        .tol(0.0)
        .subsample(settings.subsample)
        .history(true);
    let adapter = settings.adapter.as_deref();
    let fitted: Fitted = run(py, callback, |watch| {
        let gpu = device(adapter)?;
        let _heeding = gpu.heed(&watch.stop);
        let data = Heeded { rows, stop: watch.stop.clone() };
        kmeans.fit_weighted(&gpu, &data, weights, |progress| say(watch, progress))
    })?;
    let result = PyDict::new(py);
    let centers = fitted.cluster_centers;
    result.set_item(
        "centroids",
        PyArray1::from_vec(py, centers.values).reshape([centers.rows, centers.cols])?,
    )?;
    result.set_item("history", PyArray1::from_vec(py, fitted.history))?;
    result.set_item("inertia", fitted.inertia)?;
    result.set_item("imbalance", fitted.imbalance)?;
    result.set_item("n_iter", fitted.n_iter)?;
    result.set_item("seconds_per_iteration", fitted.ms_per_iteration / 1e3)?;
    result.set_item("notices", fitted.notices)?;
    Ok(result)
}
