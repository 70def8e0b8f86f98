//! KV caches on a device, and what their types cost.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lowbit::gpu::Context;
use lowbit::internals::quality::{Inputs, Tensor};
use lowbit::internals::report::attention::{EvaluationOptions, Form, MAX_KL, MAX_L2, evaluate};
use lowbit::internals::report::decode;
use lowbit::kv::{Capacity, KvCache, Layout, Memory, Pair, Queries, Rule};
use lowbit::roofline::{Effort, MeasureOptions, measure};
use lowbit::{Error, Result};
use numpy::{PyArray1, PyReadonlyArrayDyn, PyUntypedArrayMethods};
use pyo3::prelude::*;

use crate::devices::{check_process, device, log};
use crate::results::{Values, check_stop, document, say_step};
use crate::run::{at_once, run};

/// Time to measure a decode step in, as `lowbit kv eval` has it.
const BUDGET: Duration = Duration::from_millis(300);

/// What `lowbit kv eval` is told.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub struct EvaluationSettings {
    types: Vec<String>,
    causal: bool,
    sinks: usize,
    window: usize,
    /// Whether to centre and to rotate, where every type is to have one form.
    form: Option<(bool, bool)>,
    max_kl: Option<f64>,
    max_l2: Option<f64>,
    context: Option<u64>,
    time: bool,
    adapter: Option<String>,
}

/// What cache types cost in the attention of these queries, keys and values.
#[pyfunction]
#[pyo3(signature = (q, k, v, settings, callback=None))]
pub fn kv_evaluate(
    py: Python<'_>,
    q: PyReadonlyArrayDyn<'_, f32>,
    k: PyReadonlyArrayDyn<'_, f32>,
    v: PyReadonlyArrayDyn<'_, f32>,
    settings: EvaluationSettings,
    callback: Option<Py<PyAny>>,
) -> PyResult<Py<PyAny>> {
    let tensor = |of: &PyReadonlyArrayDyn<'_, f32>| -> PyResult<Tensor> {
        Ok(Tensor { shape: of.shape().to_vec(), values: of.values()?.to_vec() })
    };
    let [q, k, v] = [tensor(&q)?, tensor(&k)?, tensor(&v)?];
    let evaluation = run(py, callback, |watch| {
        let inputs = Inputs::new(q, k, v)?;
        if settings.time {
            decode::check_timed(&inputs)?;
        }
        // Whoever gives a limit gets that one alone.
        let (max_kl, max_l2) = match (settings.max_kl, settings.max_l2) {
            (None, None) => (Some(MAX_KL), Some(MAX_L2)),
            given => given,
        };
        let options = EvaluationOptions {
            types: settings.types.iter().map(|name| name.parse()).collect::<Result<Vec<Pair>>>()?,
            causal: settings.causal,
            sinks: settings.sinks,
            window: settings.window,
            form: settings.form.map(|(center, rotate)| Form { center, rotate }),
            max_kl,
            max_l2,
            context: settings.context,
        };
        let progress = |done, of| say_step(watch, &format!("attention: {done} of {of} heads"));
        let go_on = || check_stop(&watch.stop, "between queries");
        let mut evaluation = evaluate(&inputs, &options, &progress, &go_on)?;
        if settings.time {
            let gpu = device(settings.adapter.as_deref())?;
            let _heeding = gpu.heed(&watch.stop);
            let progress = &mut |step: &str| say_step(watch, step);
            let options = MeasureOptions { effort: Effort::Quick, peak_gbs: None, sweep: false };
            let roofs = measure(&gpu, &options, progress)?;
            decode::add_times(&gpu, &roofs, &inputs, &mut evaluation, &|_| true, BUDGET, progress)?;
        }
        Ok(evaluation)
    })?;
    document(py, &evaluation)
}

/// How a cache is laid out.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub struct CacheSettings {
    layers: usize,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    rope: Option<usize>,
    block: u64,
    sinks: u64,
    recent: u64,
    rotate: bool,
    types: String,
    tokens: u64,
    sequences: u64,
    adapter: Option<String>,
}

/// A sequence of a cache.
#[pyclass(frozen)]
#[derive(Clone)]
pub struct Sequence(lowbit::kv::Sequence);

#[pymethods]
impl Sequence {
    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        other.cast::<Self>().is_ok_and(|other| other.get().0 == self.0)
    }

    fn __hash__(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.0.hash(&mut hasher);
        hasher.finish()
    }
}

/// What no handle is left of. It is taken back when the cache is next used: handles are dropped while Python is held, and whoever has
/// the cache then may be waiting for Python.
enum Lost {
    Step(Box<lowbit::kv::Step>),
    Sequence(lowbit::kv::Sequence),
}

/// Of a cache.
type LostOnes = Arc<Mutex<Vec<Lost>>>;

/// A sequence that was made, lost with this unless it is taken: what a signal ends hands nothing out.
struct Made {
    sequence: lowbit::kv::Sequence,
    /// None once it is taken.
    lost: Option<LostOnes>,
}

impl Made {
    fn new(sequence: lowbit::kv::Sequence, lost: &LostOnes) -> Self {
        Self { sequence, lost: Some(Arc::clone(lost)) }
    }

    fn take(mut self) -> Sequence {
        self.lost = None;
        Sequence(self.sequence)
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        if let Some(lost) = &self.lost {
            lock(lost).push(Lost::Sequence(self.sequence));
        }
    }
}

/// A step of a cache, until it is abandoned.
#[pyclass(frozen)]
pub struct Step {
    open: Mutex<Option<Open>>,
    lost: LostOnes,
}

impl Drop for Step {
    fn drop(&mut self) {
        // One of no tokens holds no sequence, and its buffers need not wait.
        let open = lock(&self.open).take().filter(|open| open.step.tokens() > 0);
        if let Some(Open { step, .. }) = open {
            lock(&self.lost).push(Lost::Step(Box::new(step)));
        }
    }
}

struct Open {
    step: lowbit::kv::Step,
    /// Whether all new tokens ask, and not the newest alone. Asking anew forgets what the step has laid out for the device.
    all: bool,
}

impl Step {
    fn with<T>(&self, work: impl FnOnce(&mut Open) -> Result<T>) -> Result<T> {
        let mut step = lock(&self.open);
        work(step.as_mut().ok_or_else(|| Error::Input("the step was abandoned".into()))?)
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A cache on a device.
#[pyclass(frozen)]
pub struct Cache {
    gpu: Arc<Context>,
    cache: Mutex<KvCache>,
    lost: LostOnes,
}

impl Cache {
    /// The cache, without what no handle is left of. Never while Python is held: who has the cache may want to log.
    fn locked(&self) -> MutexGuard<'_, KvCache> {
        let mut cache = lock(&self.cache);
        let lost = std::mem::take(&mut *lock(&self.lost));
        for of in lost {
            // Neither fails for what is of this cache, but for sequences that were freed meanwhile.
            let _ = match of {
                Lost::Step(step) => cache.abandon(*step).map(drop),
                Lost::Sequence(sequence) => cache.free(sequence),
            };
        }
        cache
    }

    /// Work on the device.
    fn with<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut KvCache, &Context) -> Result<T> + Send,
    ) -> PyResult<T> {
        run(py, None, |watch| {
            check_process()?;
            let _heeding = self.gpu.heed(&watch.stop);
            work(&mut self.locked(), &self.gpu)
        })
    }

    /// What takes no time, and nothing of the device.
    fn at_once<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut KvCache) -> Result<T> + Send,
    ) -> PyResult<T> {
        at_once(py, || work(&mut self.locked()))
    }
}

#[pymethods]
impl Cache {
    #[new]
    fn new(py: Python<'_>, settings: CacheSettings) -> PyResult<Self> {
        run(py, None, |watch| {
            let layout = Layout {
                layers: settings.layers,
                heads: settings.heads,
                kv_heads: settings.kv_heads,
                head_dim: settings.head_dim,
                rope: settings.rope,
                block: settings.block,
                sinks: settings.sinks,
                recent: settings.recent,
                rotate: settings.rotate,
            };
            let room = Capacity { tokens: settings.tokens, sequences: settings.sequences };
            let types = settings.types.parse()?;
            let gpu = device(settings.adapter.as_deref())?;
            let cache = {
                let _heeding = gpu.heed(&watch.stop);
                KvCache::new(&gpu, &layout, types, room)?
            };
            Ok(Self { gpu, cache: Mutex::new(cache), lost: LostOnes::default() })
        })
    }

    fn create(&self, py: Python<'_>) -> PyResult<Sequence> {
        self.at_once(py, |cache| cache.create().map(Sequence))
    }

    fn fork(&self, py: Python<'_>, from: &Sequence) -> PyResult<Sequence> {
        let from = from.0;
        let made = self.with(py, move |cache, gpu| Ok(Made::new(cache.fork(gpu, from)?, &self.lost)))?;
        Ok(made.take())
    }

    fn free(&self, py: Python<'_>, sequence: &Sequence) -> PyResult<()> {
        let sequence = sequence.0;
        self.at_once(py, move |cache| cache.free(sequence))
    }

    fn truncate(&self, py: Python<'_>, sequence: &Sequence, length: u64) -> PyResult<()> {
        let sequence = sequence.0;
        self.with(py, move |cache, gpu| cache.truncate(gpu, sequence, length))
    }

    fn center(&self, py: Python<'_>, means: PyReadonlyArrayDyn<'_, f32>) -> PyResult<()> {
        let means = means.values()?;
        self.with(py, |cache, gpu| cache.center(gpu, means))
    }

    fn length(&self, py: Python<'_>, sequence: &Sequence) -> PyResult<u64> {
        let sequence = sequence.0;
        self.at_once(py, move |cache| cache.length(sequence))
    }

    fn sequences(&self, py: Python<'_>) -> PyResult<Vec<Sequence>> {
        self.at_once(py, |cache| Ok(cache.sequences().map(Sequence).collect()))
    }

    /// Reserved bytes, bytes in use, blocks, free blocks.
    fn memory(&self, py: Python<'_>) -> PyResult<(u64, u64, u64, u64)> {
        let Memory { reserved, in_use, blocks, free_blocks } =
            self.at_once(py, |cache| Ok(cache.memory()))?;
        Ok((reserved, in_use, blocks, free_blocks))
    }

    fn save(&self, py: Python<'_>, sequences: Vec<Py<Sequence>>, path: PathBuf) -> PyResult<()> {
        let sequences: Vec<_> = sequences.iter().map(|of| of.get().0).collect();
        self.with(py, |cache, gpu| cache.save(gpu, &sequences, &path))
    }

    fn restore(&self, py: Python<'_>, path: PathBuf) -> PyResult<Vec<Sequence>> {
        let made = self.with(py, |cache, gpu| {
            let restored = cache.restore(gpu, &path)?;
            Ok(restored.into_iter().map(|of| Made::new(of, &self.lost)).collect::<Vec<_>>())
        })?;
        Ok(made.into_iter().map(Made::take).collect())
    }

    /// Says this while the cache is held, for the test of who hears it.
    fn say_for_a_test(&self, py: Python<'_>, text: &str) -> PyResult<()> {
        self.with(py, |_, _| {
            log("warning", text);
            Ok(())
        })
    }

    fn begin(&self, py: Python<'_>, grow: Vec<(Py<Sequence>, u64)>) -> PyResult<Step> {
        let grow: Vec<_> = grow.iter().map(|(sequence, tokens)| (sequence.get().0, *tokens)).collect();
        self.with(py, |cache, gpu| {
            let step = cache.begin(gpu, &grow)?;
            Ok(Step { open: Mutex::new(Some(Open { step, all: false })), lost: Arc::clone(&self.lost) })
        })
    }

    fn append(
        &self,
        py: Python<'_>,
        step: &Step,
        layer: usize,
        keys: PyReadonlyArrayDyn<'_, f32>,
        values: PyReadonlyArrayDyn<'_, f32>,
    ) -> PyResult<()> {
        let (keys, values) = (keys.values()?, values.values()?);
        self.with(py, |cache, gpu| step.with(|open| cache.append(gpu, &mut open.step, layer, keys, values)))
    }

    /// The attention of the newest tokens' queries, or of all new ones; `rule` is scale, soft cap, window, sinks.
    fn attend<'py>(
        &self,
        py: Python<'py>,
        step: &Step,
        layer: usize,
        queries: PyReadonlyArrayDyn<'_, f32>,
        rule: (f32, f32, u32, u32),
        all: bool,
    ) -> PyResult<Bound<'py, PyArray1<f32>>> {
        let queries = queries.values()?;
        let (scale, soft_cap, window, sinks) = rule;
        let rule = Rule { scale, soft_cap, window, sinks };
        let output = self.with(py, |cache, gpu| {
            step.with(|Open { step, all: before }| {
                if *before != all {
                    step.ask(if all { Queries::New } else { Queries::Newest });
                    *before = all;
                }
                cache.attend(gpu, step, layer, queries, &rule)
            })
        })?;
        Ok(PyArray1::from_vec(py, output))
    }

    /// Takes a step back; the sequences that are empty now.
    fn abandon(&self, py: Python<'_>, step: &Step) -> PyResult<Vec<Sequence>> {
        self.at_once(py, |cache| match lock(&step.open).take() {
            Some(Open { step, .. }) => Ok(cache.abandon(step)?.into_iter().map(Sequence).collect()),
            None => Ok(Vec::new()),
        })
    }
}
