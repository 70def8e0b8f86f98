//! k-means over arrays. What Python passes has been checked by py/lowbit, and is checked again by the library.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lowbit::io::npy::Matrix;
use lowbit::kmeans::{Checkpoints, Choosing, Empty, Fitted, Init, KMeans, Metric, MiniBatchKMeans, Progress};
use numpy::{PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2, PyUntypedArrayMethods};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::arrays::{Array, Heeded};
use crate::devices::device;
use crate::errors::raise;
use crate::results::{Values, document};
use crate::run::{Watch, run};

/// Settings as Python has them.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub struct Settings<'py> {
    k: usize,
    init: First<'py>,
    frozen: Option<PyReadonlyArray2<'py, f32>>,
    metric: String,
    empty: String,
    balanced: bool,
    n_init: u32,
    seed: u64,
    max_iter: u32,
    tol: f64,
    memory: Option<u64>,
    adapter: Option<String>,
}

/// A method's name, or centroids.
#[derive(FromPyObject)]
enum First<'py> {
    Method(String),
    Given(PyReadonlyArray2<'py, f32>),
}

impl First<'_> {
    fn get(&self) -> PyResult<Init> {
        match self {
            Self::Method(name) => Ok(match name.as_str() {
                "k-means++" => Init::PlusPlus,
                "k-means||" => Init::Parallel,
                "bisecting" => Init::Bisecting,
                "two-level" => Init::TwoLevel,
                "random" => Init::Random,
                other => {
                    return Err(PyValueError::new_err(format!(
                        "init is {other:?}: expected \"k-means++\", \"k-means||\", \"bisecting\", \"two-level\", \"random\" or \
                         centroids"
                    )));
                }
            }),
            Self::Given(given) => Ok(Init::Centroids(matrix(given)?)),
        }
    }
}

/// Centroids of an array.
pub fn matrix(array: &PyReadonlyArray2<'_, f32>) -> PyResult<Matrix> {
    Ok(Matrix { rows: array.shape()[0], cols: array.shape()[1], values: array.values()?.to_vec() })
}

fn metric(name: &str) -> PyResult<Metric> {
    Ok(match name {
        "euclidean" => Metric::Euclidean,
        "cosine" => Metric::Cosine,
        "dot" => Metric::Dot,
        other => {
            return Err(PyValueError::new_err(format!(
                "metric is {other:?}: expected \"euclidean\", \"cosine\" or \"dot\""
            )));
        }
    })
}

fn empty(name: &str) -> PyResult<Empty> {
    Ok(match name {
        "farthest" => Empty::Farthest,
        "split-largest" => Empty::SplitLargest,
        "keep" => Empty::Keep,
        other => {
            return Err(PyValueError::new_err(format!(
                "empty is {other:?}: expected \"farthest\", \"split-largest\" or \"keep\""
            )));
        }
    })
}

impl Settings<'_> {
    fn kmeans(&self) -> PyResult<KMeans> {
        let kmeans = KMeans::new(self.k);
        let kmeans = match &self.frozen {
            Some(frozen) => kmeans.frozen(matrix(frozen)?),
            None => kmeans,
        };
        Ok(kmeans
            .init(self.init.get()?)
            .metric(metric(&self.metric)?)
            .empty(empty(&self.empty)?)
            .balanced(self.balanced)
            .n_init(self.n_init)
            .seed(self.seed)
            .max_iter(self.max_iter)
            .tol(self.tol)
            .memory(self.memory.unwrap_or(u64::MAX)))
    }
}

/// What a callback is given: (step, number, of, changed, shift, inertia), None where there is no such thing.
pub fn say(watch: &Watch, progress: Progress) {
    watch.say(|py| Ok(news_of(py, progress)?.into_any().unbind()));
}

fn news_of(py: Python<'_>, progress: Progress) -> PyResult<Bound<'_, PyDict>> {
    let news = PyDict::new(py);
    match progress {
        Progress::Seeding { chosen, of } => {
            news.set_item("step", "seeding")?;
            news.set_item("chosen", chosen)?;
            news.set_item("of", of)?;
        }
        Progress::Iterating { n_iter, changed, shift, inertia, running } => {
            news.set_item("step", "iterating")?;
            news.set_item("n_iter", n_iter)?;
            news.set_item("changed", changed)?;
            news.set_item("shift", shift)?;
            news.set_item("inertia", inertia)?;
            news.set_item("running", running)?;
        }
        _ => news.set_item("step", "other")?,
    }
    Ok(news)
}

/// As [`say`], with the number of clusters, and of the fits the one that is at work and how many there are.
fn say_choosing(watch: &Watch, choosing: &Choosing<'_>) {
    watch.say(|py| {
        let news = match *choosing {
            Choosing::Fitting { k, done, of, progress } => {
                let news = news_of(py, progress)?;
                news.set_item("k", k)?;
                news.set_item("fit", done)?;
                news.set_item("fits", of)?;
                news
            }
            Choosing::Fitted(fitted) => {
                let news = PyDict::new(py);
                news.set_item("step", "fitted")?;
                news.set_item("k", fitted.k)?;
                news.set_item("n_iter", fitted.n_iter)?;
                news.set_item("inertia", fitted.inertia)?;
                news
            }
            Choosing::Measuring { done, of } => {
                let news = PyDict::new(py);
                news.set_item("step", "measuring")?;
                news.set_item("done", done)?;
                news.set_item("of", of)?;
                news
            }
            _ => PyDict::new(py),
        };
        Ok(news.into_any().unbind())
    });
}

/// What a fit gave, as a dict.
fn fitted<'py>(py: Python<'py>, fitted: Fitted) -> PyResult<Bound<'py, PyDict>> {
    let result = PyDict::new(py);
    result.set_item("cluster_centers", array(py, fitted.cluster_centers)?)?;
    result.set_item("labels", PyArray1::from_vec(py, fitted.labels))?;
    result.set_item("inertia", fitted.inertia)?;
    result.set_item("n_iter", fitted.n_iter)?;
    result.set_item("converged", fitted.converged)?;
    result.set_item("distinct_clusters", fitted.distinct_clusters)?;
    result.set_item("notices", fitted.notices)?;
    Ok(result)
}

fn array(py: Python<'_>, matrix: Matrix) -> PyResult<Bound<'_, PyArray2<f32>>> {
    PyArray1::from_vec(py, matrix.values).reshape([matrix.rows, matrix.cols])
}

/// Where a fit keeps its state.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub struct Kept {
    path: PathBuf,
    seconds: f64,
    resume: bool,
}

/// Fits k-means: see `lowbit.KMeans.fit`.
#[pyfunction]
#[pyo3(signature = (x, settings, weights=None, checkpoint=None, callback=None))]
pub fn kmeans_fit<'py>(
    py: Python<'py>,
    x: Array<'_>,
    settings: Settings<'_>,
    weights: Option<PyReadonlyArray1<'_, f32>>,
    checkpoint: Option<Kept>,
    callback: Option<Py<PyAny>>,
) -> PyResult<Bound<'py, PyDict>> {
    let (rows, kmeans) = (x.rows()?, settings.kmeans()?);
    let weights = weights.as_ref().map(|weights| weights.values()).transpose()?;
    let adapter = settings.adapter.as_deref();
    let result = run(py, callback, move |watch| {
        let gpu = device(adapter)?;
        let data = Heeded { rows, stop: Arc::clone(&watch.stop) };
        let kmeans = match checkpoint {
            Some(Kept { path, seconds, resume }) => kmeans.checkpoints(Checkpoints {
                path,
                every: Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX),
                stop: Arc::clone(&watch.stop),
                resume,
            }),
            None => kmeans,
        };
        let _heeding = gpu.heed(&watch.stop);
        kmeans.fit_weighted(&gpu, &data, weights, |progress| say(watch, progress))
    })?;
    fitted(py, result)
}

/// Fits k-means with several numbers of clusters: see `lowbit.choose_k`.
#[pyfunction]
#[pyo3(signature = (x, ks, settings, sample, weights=None, callback=None))]
pub fn kmeans_choose(
    py: Python<'_>,
    x: Array<'_>,
    ks: Vec<usize>,
    settings: Settings<'_>,
    sample: Option<usize>,
    weights: Option<PyReadonlyArray1<'_, f32>>,
    callback: Option<Py<PyAny>>,
) -> PyResult<Py<PyAny>> {
    let (rows, kmeans) = (x.rows()?, settings.kmeans()?);
    let weights = weights.as_ref().map(|weights| weights.values()).transpose()?;
    let adapter = settings.adapter.as_deref();
    let chosen = run(py, callback, move |watch| {
        let gpu = device(adapter)?;
        let _heeding = gpu.heed(&watch.stop);
        let data = Heeded { rows, stop: Arc::clone(&watch.stop) };
        kmeans.choose(&gpu, &data, weights, &ks, sample, |choosing| say_choosing(watch, &choosing))
    })?;
    document(py, &chosen)
}

/// The labels of new points and their inertia.
#[pyfunction]
#[pyo3(signature = (x, settings, centers, weights=None))]
pub fn kmeans_predict<'py>(
    py: Python<'py>,
    x: Array<'_>,
    settings: Settings<'_>,
    centers: PyReadonlyArray2<'_, f32>,
    weights: Option<PyReadonlyArray1<'_, f32>>,
) -> PyResult<(Bound<'py, PyArray1<i32>>, f64)> {
    let (rows, kmeans, centers) = (x.rows()?, settings.kmeans()?, matrix(&centers)?);
    let weights = weights.as_ref().map(|weights| weights.values()).transpose()?;
    let adapter = settings.adapter.as_deref();
    let predicted = run(py, None, move |watch| {
        let gpu = device(adapter)?;
        let _heeding = gpu.heed(&watch.stop);
        let data = Heeded { rows, stop: Arc::clone(&watch.stop) };
        kmeans.predict_weighted(&gpu, &data, weights, &centers)
    })?;
    Ok((PyArray1::from_vec(py, predicted.labels), predicted.inertia))
}

/// The distances of points to all centroids.
#[pyfunction]
pub fn kmeans_transform<'py>(
    py: Python<'py>,
    x: Array<'_>,
    settings: Settings<'_>,
    centers: PyReadonlyArray2<'_, f32>,
) -> PyResult<Bound<'py, PyArray2<f32>>> {
    let (rows, kmeans, centers) = (x.rows()?, settings.kmeans()?, matrix(&centers)?);
    let adapter = settings.adapter.as_deref();
    let distances = run(py, None, move |watch| {
        let gpu = device(adapter)?;
        let _heeding = gpu.heed(&watch.stop);
        kmeans.transform(&gpu, &Heeded { rows, stop: Arc::clone(&watch.stop) }, &centers)
    })?;
    array(py, distances)
}

/// Fits `problems` problems of equally many rows each: centers `[problems * k, d]`, labels, inertia, n_iter, converged.
#[pyfunction]
#[pyo3(signature = (x, problems, settings, weights=None, callback=None))]
pub fn kmeans_batch<'py>(
    py: Python<'py>,
    x: Array<'_>,
    problems: usize,
    settings: Settings<'_>,
    weights: Option<PyReadonlyArray1<'_, f32>>,
    callback: Option<Py<PyAny>>,
) -> PyResult<Bound<'py, PyDict>> {
    let (rows, kmeans) = (x.rows()?, settings.kmeans()?);
    let weights = weights.as_ref().map(|weights| weights.values()).transpose()?;
    let adapter = settings.adapter.as_deref();
    let fitted = run(py, callback, move |watch| {
        let gpu = device(adapter)?;
        let _heeding = gpu.heed(&watch.stop);
        let data = Heeded { rows, stop: Arc::clone(&watch.stop) };
        kmeans.fit_batch_weighted(&gpu, &data, problems, weights, |progress| say(watch, progress))
    })?;
    let result = PyDict::new(py);
    result.set_item("cluster_centers", array(py, fitted.cluster_centers)?)?;
    result.set_item("labels", PyArray1::from_vec(py, fitted.labels))?;
    result.set_item("inertia", PyArray1::from_vec(py, fitted.inertia))?;
    result.set_item("n_iter", PyArray1::from_vec(py, fitted.n_iter))?;
    result.set_item("converged", fitted.converged)?;
    result.set_item("notices", fitted.notices)?;
    Ok(result)
}

/// A mini-batch clustering and what it has learnt.
#[pyclass]
pub struct MiniBatch {
    settings: MiniBatchKMeans,
    adapter: Option<String>,
}

#[pymethods]
impl MiniBatch {
    #[new]
    fn new(
        settings: Settings<'_>,
        batch_size: u64,
        max_no_improvement: Option<u32>,
        init_size: Option<u64>,
        reassignment_ratio: f64,
    ) -> PyResult<Self> {
        let made = MiniBatchKMeans::new(settings.k)
            .init(settings.init.get()?)
            .metric(metric(&settings.metric)?)
            .n_init(settings.n_init)
            .seed(settings.seed)
            .max_iter(settings.max_iter)
            .tol(settings.tol)
            .batch_size(batch_size)
            .max_no_improvement(max_no_improvement)
            .init_size(init_size)
            .reassignment_ratio(reassignment_ratio)
            .memory(settings.memory.unwrap_or(u64::MAX));
        Ok(Self { settings: made, adapter: settings.adapter.clone() })
    }

    #[pyo3(signature = (x, weights=None, callback=None))]
    fn fit<'py>(
        &mut self,
        py: Python<'py>,
        x: Array<'_>,
        weights: Option<PyReadonlyArray1<'_, f32>>,
        callback: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let (rows, settings, adapter) = (x.rows()?, &mut self.settings, self.adapter.as_deref());
        let weights = weights.as_ref().map(|weights| weights.values()).transpose()?;
        let result = run(py, callback, move |watch| {
            let gpu = device(adapter)?;
            let _heeding = gpu.heed(&watch.stop);
            let data = Heeded { rows, stop: Arc::clone(&watch.stop) };
            settings.learn(&gpu, &data, weights, |progress| say(watch, progress))
        })?;
        let result = fitted(py, result)?;
        result.set_item("counts", self.counts(py))?;
        result.set_item("n_steps", self.settings.n_steps())?;
        Ok(result)
    }

    /// Goes on from centroids that were learnt elsewhere, and how many points each has got.
    fn resume(
        &mut self,
        py: Python<'_>,
        centers: PyReadonlyArray2<'_, f32>,
        counts: PyReadonlyArray1<'_, f64>,
    ) -> PyResult<()> {
        self.settings.resume(&matrix(&centers)?, counts.values()?).map_err(|error| raise(py, error))
    }

    /// Takes in a batch; its inertia by the centroids before it.
    #[pyo3(signature = (x, weights=None))]
    fn partial_fit(
        &mut self,
        py: Python<'_>,
        x: Array<'_>,
        weights: Option<PyReadonlyArray1<'_, f32>>,
    ) -> PyResult<f64> {
        let rows = x.rows()?;
        let weights = weights.as_ref().map(|weights| weights.values()).transpose()?;
        run(py, None, move |watch| {
            let gpu = device(self.adapter.as_deref())?;
            let _heeding = gpu.heed(&watch.stop);
            let data = Heeded { rows, stop: Arc::clone(&watch.stop) };
            self.settings.partial_fit_weighted(&gpu, &data, weights)
        })
    }

    fn cluster_centers<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyArray2<f32>>>> {
        self.settings.cluster_centers().map(|centers| array(py, centers)).transpose()
    }

    fn counts<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        PyArray1::from_slice(py, self.settings.counts())
    }
}
