//! Classifiers of ONNX files: their answers in f32 and INT8, and what INT8 loses.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use lowbit::audit::{Options, Part, Parts, check_groups, check_labels};
use lowbit::classify::{Method, Names};
use lowbit::gpu::Context;
use lowbit::internals::calibration::Range;
use lowbit::internals::classify::calibrate::{self, BATCH};
use lowbit::internals::classify::engine::{Engine, Keep};
use lowbit::internals::classify::judge::{self, Test, WeightRow};
use lowbit::internals::io::onnx;
use lowbit::internals::network::lower::lower;
use lowbit::internals::network::quantize::{calibrated, quantize};
use lowbit::internals::network::{Element, Network};
use lowbit::internals::report::{classify, roc};
use lowbit::{Error, Result};
use numpy::{PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2, PyUntypedArrayMethods};
use pyo3::prelude::*;
use serde::Serialize;
use serde_json::json;

use crate::devices::{check_process, device};
use crate::results::{Values, check_stop, document, say_step};
use crate::run::run;

/// What an engine was made for, and on which device it is.
struct Made {
    /// The ranges as JSON, for INT8.
    ranges: Option<String>,
    batch: u64,
    gpu: Arc<Context>,
    engine: Engine,
}

/// A network of an ONNX file.
#[pyclass(frozen)]
pub struct Model {
    path: PathBuf,
    network: Network,
    sha256: String,
    /// The last engine: most calls want the same one again.
    last: Mutex<Option<Made>>,
}

/// What an audit is told.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub struct AuditSettings {
    max_drop: f64,
    max_f1_drop: f64,
    max_recall_drop: f64,
    max_saturated: f64,
    max_flipped: f64,
    min_recall: Option<f64>,
    only: Option<Vec<String>>,
    confidence: f64,
    threshold: f32,
    point: bool,
    replicates: usize,
    seed: u64,
    class: usize,
    adapter: Option<String>,
}

impl AuditSettings {
    fn options(&self) -> Result<Options> {
        let only = match &self.only {
            None => Parts::ALL,
            Some(names) => Parts::of(&names.iter().map(|name| name.parse()).collect::<Result<Vec<Part>>>()?),
        };
        let options = Options {
            max_drop: self.max_drop,
            max_f1_drop: self.max_f1_drop,
            max_recall_drop: self.max_recall_drop,
            max_saturated: self.max_saturated,
            max_flipped: self.max_flipped,
            min_recall: self.min_recall,
            only,
            confidence: self.confidence,
            threshold: self.threshold,
            point: self.point,
            replicates: self.replicates,
            seed: self.seed,
        };
        options.check()?;
        Ok(options)
    }
}

/// What calibration found.
// No `json!`: it would make f64 of f32, which have other digits.
#[derive(Serialize)]
struct Calibrated {
    method: Method,
    rows: usize,
    ranges: Vec<Range>,
    weights: Vec<WeightRow>,
    warnings: Vec<String>,
}

/// What an audit gives to Python: the judgement, the adapter's name, the probabilities in f32 and in INT8, and the ROC curves as SVG.
type Judged<'py> = (Py<PyAny>, String, Bound<'py, PyArray1<f32>>, Bound<'py, PyArray1<f32>>, String);

/// Ranges as Python keeps them.
fn ranges_of(text: &str) -> Result<Vec<Range>> {
    serde_json::from_str(text)
        .map_err(|error| Error::Input(format!("the calibration has no ranges: {error}")))
}

fn check_finite(rows: &[f32], of_row: usize) -> Result<()> {
    match rows.iter().position(|value| !value.is_finite()) {
        Some(at) => {
            let (row, col) = (at / of_row.max(1), at % of_row.max(1));
            Err(Error::NotFinite(format!("x: row {row}, value {col} is {}", rows[at])))
        }
        None => Ok(()),
    }
}

impl Model {
    fn features(&self) -> usize {
        self.network.values[self.network.input].elements()
    }

    fn check_floats(&self) -> Result<()> {
        if calibrated(&self.network).is_empty() {
            let problem = "it has no layer to quantize: no Gemm, MatMul or Conv with weights of floats";
            return Err(Error::file(&self.path, problem));
        }
        Ok(())
    }

    fn network_of(&self, ranges: Option<&str>) -> Result<Network> {
        let Some(text) = ranges else { return Ok(self.network.clone()) };
        let ranges = ranges_of(text)?;
        let scale = |name: &str| ranges.iter().find(|range| range.name == name).map(|range| range.scale);
        Ok(quantize(&self.network, scale, |_| true).network)
    }
}

#[pymethods]
impl Model {
    #[new]
    #[pyo3(signature = (path, input=None, output=None))]
    fn new(py: Python<'_>, path: PathBuf, input: Option<String>, output: Option<String>) -> PyResult<Self> {
        run(py, None, |watch| {
            let model = onnx::read(&path)?;
            check_stop(&watch.stop, "after a model was read")?;
            let network = lower(&model, &Names { input, output })?;
            let output = &network.values[network.output];
            if output.element != Element::F32 {
                let name = output.name.escape_debug();
                let problem = format!("its output '{name}' is of integers: put a DequantizeLinear behind it");
                return Err(Error::file(&path, problem));
            }
            Ok(Self { path: path.clone(), network, sha256: model.sha256, last: Mutex::new(None) })
        })
    }

    /// The names of input and output, the shape of an example, outputs of each, SHA-256 of the file, layers with weights.
    fn describe(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let (input, output) =
            (&self.network.values[self.network.input], &self.network.values[self.network.output]);
        document(
            py,
            &json!({
                "input": input.name, "output": output.name, "shape": input.shape, "features": input.elements(),
                "outputs": output.elements(), "sha256": self.sha256, "calibrated": calibrated(&self.network),
            }),
        )
    }

    /// Ranges of every tensor over rows `[n, features]`, weights, and what must be known before trusting them.
    fn calibrate(
        &self,
        py: Python<'_>,
        x: PyReadonlyArray2<'_, f32>,
        method: &str,
        adapter: Option<&str>,
    ) -> PyResult<Py<PyAny>> {
        let (rows, x) = (x.shape()[0], x.values()?);
        let found = run(py, None, |watch| {
            let method: Method = method.parse()?;
            self.check_floats()?;
            check_finite(x, self.features())?;
            let gpu = device(adapter)?;
            let _heeding = gpu.heed(&watch.stop);
            let ranges = calibrate::ranges(&gpu, &self.network, x, method)?;
            let weights = judge::weights(&self.network, |_| true)?;
            let warnings = classify::warnings(&ranges, rows as u64);
            Ok(Calibrated { method, rows, ranges, weights, warnings })
        })?;
        document(py, &found)
    }

    /// The outputs `[n, outputs]` of rows `[n, features]`, in INT8 where there are ranges.
    fn run<'py>(
        &self,
        py: Python<'py>,
        x: PyReadonlyArray2<'_, f32>,
        ranges: Option<String>,
        adapter: Option<String>,
    ) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let (rows, x) = (x.shape()[0], x.values()?);
        let outputs = self.network.values[self.network.output].elements();
        let values = run(py, None, |watch| {
            check_process()?;
            check_finite(x, self.features())?;
            // Before the lock: whoever handles what an opening logs may use this model.
            let gpu = device(adapter.as_deref())?;
            let _heeding = gpu.heed(&watch.stop);
            let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            let fits = |made: &&mut Made| {
                // The device may have been lost, and opened anew.
                Arc::ptr_eq(&made.gpu, &gpu)
                    && made.ranges == ranges
                    && (made.batch == BATCH || made.batch >= rows as u64)
            };
            let made = match last.as_mut().filter(fits) {
                Some(_) => last.as_ref(),
                None => {
                    let network = self.network_of(ranges.as_deref())?;
                    let batch = (rows as u64).next_power_of_two().min(BATCH);
                    let engine = Engine::new(&gpu, &network, batch, Keep::Output)?;
                    *last = Some(Made { ranges, batch, gpu: Arc::clone(&gpu), engine });
                    last.as_ref()
                }
            };
            let made = made.ok_or_else(|| Error::Fault("there is no engine".into()))?;
            let mut values = Vec::with_capacity(rows * outputs);
            for rows in x.chunks(BATCH as usize * self.features()) {
                check_stop(&watch.stop, "between batches")?;
                values.extend(made.engine.run(&made.gpu, rows)?);
            }
            Ok(values)
        })?;
        PyArray1::from_vec(py, values).reshape([rows, outputs])
    }

    /// Judges INT8 on labelled rows.
    #[allow(clippy::too_many_arguments, reason = "they are those of the command line")]
    #[pyo3(signature = (x, labels, groups, ranges, settings, callback=None))]
    fn audit<'py>(
        &self,
        py: Python<'py>,
        x: PyReadonlyArray2<'_, f32>,
        labels: PyReadonlyArray1<'_, bool>,
        groups: Option<PyReadonlyArray1<'_, i32>>,
        ranges: &str,
        settings: AuditSettings,
        callback: Option<Py<PyAny>>,
    ) -> PyResult<Judged<'py>> {
        let (rows, x, labels) = (x.shape()[0], x.values()?, labels.values()?);
        let groups = groups.as_ref().map(|groups| groups.values()).transpose()?;
        let (judgement, adapter, picture) = run(py, callback, |watch| {
            let options = settings.options()?;
            self.check_floats()?;
            check_labels(labels)?;
            groups.map_or(Ok(()), check_groups)?;
            for (what, count) in [("labels", Some(labels.len())), ("groups", groups.map(<[i32]>::len))] {
                if let Some(count) = count.filter(|&count| count != rows) {
                    return Err(Error::Shape(format!("x has {rows} rows, but there are {count} {what}")));
                }
            }
            check_finite(x, self.features())?;
            let ranges = ranges_of(ranges)?;
            let scale = |name: &str| ranges.iter().find(|range| range.name == name).map(|range| range.scale);
            let gpu = device(settings.adapter.as_deref())?;
            let _heeding = gpu.heed(&watch.stop);
            let test = Test { rows: x, labels, groups, class: settings.class };
            let progress = &mut |step: &str| say_step(watch, step);
            let judgement = judge::judge(&gpu, &self.network, &ranges, &scale, &test, &options, progress)?;
            let picture = roc::svg(&judgement.audit, labels, &judgement.baseline, &judgement.quantized)?;
            Ok((judgement, gpu.adapter.name.clone(), picture))
        })?;
        Ok((
            document(py, &judgement)?,
            adapter,
            PyArray1::from_vec(py, judgement.baseline),
            PyArray1::from_vec(py, judgement.quantized),
            picture,
        ))
    }
}
