//! The roofs of an adapter, and plans for models.

use std::path::{Path, PathBuf};

use lowbit::format::Format;
use lowbit::gpu::AdapterReport;
use lowbit::internals::plan::cache::{self, CacheOptions, CachePlan};
use lowbit::internals::plan::geometry::{FORM, Geometry, Layers};
use lowbit::internals::plan::input::{Input, weights};
use lowbit::internals::plan::model::Model;
use lowbit::internals::plan::{Plan, PlanOptions, make};
use lowbit::internals::quantize::format_by_name;
use lowbit::io::gguf::Gguf;
use lowbit::kv::Pair;
use lowbit::roofline::{Effort, MeasureOptions, Roofs, measure};
use lowbit::{Error, Result};
use pyo3::prelude::*;
use serde::Serialize;

use crate::devices::device;
use crate::results::{document, say_step};
use crate::run::{Watch, run};

fn effort(name: &str) -> Result<Effort> {
    match name {
        "quick" => Ok(Effort::Quick),
        "full" => Ok(Effort::Full),
        other => Err(Error::Input(format!("effort is {other:?}: expected \"quick\" or \"full\""))),
    }
}

fn roofs(watch: &Watch, adapter: Option<&str>, options: &MeasureOptions) -> Result<Roofs> {
    let gpu = device(adapter)?;
    let _heeding = gpu.heed(&watch.stop);
    measure(&gpu, options, &mut |step| say_step(watch, step))
}

/// The measured roofs, as `lowbit roofline --json` has them.
#[pyfunction]
#[pyo3(signature = (effort, peak_gbs, sweep, adapter, callback=None))]
pub fn roofline(
    py: Python<'_>,
    effort: &str,
    peak_gbs: Option<f64>,
    sweep: bool,
    adapter: Option<&str>,
    callback: Option<Py<PyAny>>,
) -> PyResult<Py<PyAny>> {
    let found = run(py, callback, |watch| {
        let options = MeasureOptions { effort: self::effort(effort)?, peak_gbs, sweep };
        roofs(watch, adapter, &options)
    })?;
    document(py, &found)
}

/// What a plan is told.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub struct PlanSettings {
    file: Option<PathBuf>,
    context: Option<u64>,
    layers: Vec<String>,
    kv: Vec<String>,
    residual: u64,
    bandwidth: Option<f64>,
    measure_bandwidth: bool,
    against: Option<PathBuf>,
    weights: Vec<String>,
    parameters: Option<u64>,
    vram: Option<f64>,
    effort: String,
    adapter: Option<String>,
}

/// A plan as the command line's JSON has it.
#[derive(Serialize)]
#[serde(untagged)]
enum Planned {
    Model(Box<Plan>),
    Cache(Box<PlannedCache>),
}

/// Of a cache alone.
#[derive(Serialize)]
struct PlannedCache {
    adapter: Option<AdapterReport>,
    not_counted: Vec<String>,
    context: u64,
    vram_gb: Option<f64>,
    cache: CachePlan,
    notices: Vec<String>,
}

fn by_hand(path: &Path, problem: &str) -> Error {
    Error::file(path, format!("{problem}; give its layers by hand: layers=[\"{FORM}\"]"))
}

/// Which number format and which cache to run a model with.
#[pyfunction]
#[pyo3(signature = (settings, callback=None))]
pub fn plan(py: Python<'_>, settings: PlanSettings, callback: Option<Py<PyAny>>) -> PyResult<Py<PyAny>> {
    let found = run(py, callback, |watch| planned(&settings, watch))?;
    document(py, &found)
}

fn planned(settings: &PlanSettings, watch: &Watch) -> Result<Planned> {
    let against = settings.against.as_deref();
    let against = against.map(|path| Ok((path.display().to_string(), Input::of(path)?.geometry(by_hand)?)));
    let layers = settings.layers.iter().map(|text| text.parse()).collect::<Result<Vec<Layers>>>()?;
    let types = settings.kv.iter().map(|text| text.parse()).collect::<Result<Vec<Pair>>>()?;
    let cache = |against| {
        settings.context.map(|context| CacheOptions {
            types,
            context,
            residual: settings.residual,
            vram_gb: settings.vram,
            bandwidth_gb_s: settings.bandwidth,
            against,
        })
    };
    let cache = cache(against.transpose()?);
    let formats = settings.weights.iter().map(|name| format_by_name(name)).collect::<Result<Vec<_>>>()?;
    match settings.file.as_deref().map(Input::of).transpose()? {
        Some(Input::Gguf(path)) => model(settings, watch, path, &layers, formats, cache),
        input => cache_alone(settings, watch, input, &layers, &formats, cache),
    }
}

/// The roof of reading.
fn read_roof(settings: &PlanSettings, watch: &Watch) -> Result<f64> {
    let options = MeasureOptions { effort: Effort::Quick, peak_gbs: None, sweep: false };
    Ok(roofs(watch, settings.adapter.as_deref(), &options)?.read.value)
}

/// The weights and the cache of a GGUF file.
fn model(
    settings: &PlanSettings,
    watch: &Watch,
    path: &Path,
    layers: &[Layers],
    formats: Vec<&'static Format>,
    mut cache: Option<CacheOptions>,
) -> Result<Planned> {
    if settings.parameters.is_some() {
        let problem = "the file says how many weights there are; leave parameters out";
        return Err(Error::Input(format!("{}: {problem}", path.display())));
    }
    let mut model = Model::of(&Gguf::open(path)?)?;
    if !layers.is_empty() {
        model.kv = Ok(Geometry::by_hand(layers));
    }
    if let (Some(_), Err(problem)) = (&cache, &model.kv) {
        return Err(by_hand(path, problem));
    }
    if let Some(cache) = cache.as_mut().filter(|cache| cache.bandwidth_gb_s.is_none()) {
        cache.bandwidth_gb_s = Some(read_roof(settings, watch)?);
    }
    let effort = self::effort(&settings.effort)?;
    let options = PlanOptions { formats, cache, vram_gb: settings.vram, effort };
    let gpu = device(settings.adapter.as_deref())?;
    let _heeding = gpu.heed(&watch.stop);
    let plan = make(&gpu, model, &options, &mut |step| say_step(watch, step))?;
    Ok(Planned::Model(Box::new(plan)))
}

/// The cache that a config.json describes, or layers that are given.
fn cache_alone(
    settings: &PlanSettings,
    watch: &Watch,
    input: Option<Input<'_>>,
    layers: &[Layers],
    formats: &[&'static Format],
    options: Option<CacheOptions>,
) -> Result<Planned> {
    let Some(mut options) = options else {
        return Err(Error::Input("give a context: the tokens whose KV cache is to be planned".into()));
    };
    let geometry = match input {
        Some(input) if layers.is_empty() => input.geometry(by_hand)?,
        _ if layers.is_empty() => return Err(Error::Input("give a model, or layers".into())),
        _ => Geometry::by_hand(layers),
    };
    let weights = weights(input, formats, settings.parameters)?;
    // What is wrong with the sizes is said before anything is measured.
    let mut plan = cache::make(geometry.clone(), weights.clone(), &options)?;
    let mut adapter = None;
    if settings.measure_bandwidth {
        options.bandwidth_gb_s = Some(read_roof(settings, watch)?);
        plan = cache::make(geometry.clone(), weights, &options)?;
        adapter = Some(device(settings.adapter.as_deref())?.adapter.clone());
    }
    Ok(Planned::Cache(Box::new(PlannedCache {
        adapter,
        not_counted: plan.not_counted.clone(),
        context: plan.context,
        vram_gb: plan.vram_gb,
        cache: plan,
        notices: geometry.notices,
    })))
}
