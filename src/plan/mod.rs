//! `lowbit plan`: which number format to run a model in on this adapter, by sizes and by measured products.

pub mod cache;
pub mod checkpoint;
pub mod geometry;
pub mod input;
pub mod model;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::format::{ALL, Format};
use crate::gpu::{AdapterReport, Context};
use crate::io::gguf::TensorType;
use crate::roofline::Effort;
use crate::roofline::products::{Shape, speed};
use crate::table;
use crate::{Error, Result};
pub use cache::{AS_IT_IS, HEAD_ROOM};
use cache::{CacheOptions, CachePlan, Weights};
use model::{Matrices, Model};

/// Formats that are compared if none is asked for, and the file as it is.
pub const FORMATS: [&str; 9] = ["F16", "Q8_0", "Q6_K", "Q5_K", "Q4_K", "Q4_0", "Q3_K", "Q2_K", "TQ2_0"];

/// What to plan for.
#[derive(Clone, Debug, Default)]
pub struct PlanOptions {
    /// The formats to compare; the file as it is and [`FORMATS`] if there are none.
    pub formats: Vec<&'static Format>,
    /// The KV cache, which takes memory and time too. Its memory is the plan's.
    pub cache: Option<CacheOptions>,
    /// Memory in base-10 gigabytes.
    pub vram_gb: Option<f64>,
    /// With [`Effort::Quick`] one shape is measured in each format.
    pub effort: Effort,
}

/// What `lowbit plan` found out.
#[derive(Debug, Serialize)]
pub struct Plan {
    /// The adapter that was measured.
    pub adapter: AdapterReport,
    /// lowbit's version.
    pub version: &'static str,
    /// The commit it was built from; null outside a checkout.
    pub commit: Option<&'static str>,
    /// What the numbers leave out.
    pub not_counted: Vec<String>,
    /// What the file holds.
    pub model: Model,
    /// Tokens of context, if asked for.
    pub context: Option<u64>,
    /// Bytes of their KV cache, in the first of its types; null if it is not counted.
    pub kv_bytes: Option<u64>,
    /// That cache in each of its types, beside the weights that are recommended; null if it is not counted.
    pub cache: Option<CachePlan>,
    /// Memory in base-10 gigabytes, if given.
    pub vram_gb: Option<f64>,
    /// Memory that must be left, in shares of what weights and cache take.
    pub head_room: f64,
    /// A row for each format.
    pub formats: Vec<PlanRow>,
    /// Which to take.
    #[serde(flatten)]
    pub advice: Advice,
    /// What must be known before trusting a number.
    pub notices: Vec<String>,
}

/// The model in one format.
#[derive(Clone, Debug, Default, Serialize)]
pub struct PlanRow {
    /// The format, or [`AS_IT_IS`].
    pub format: &'static str,
    /// Formats of other matrices: those whose rows are no whole blocks of `format`, and those that stay as they are.
    pub others: Vec<&'static str>,
    /// Bytes of all tensors.
    pub bytes: u64,
    /// Bits for each weight of them.
    pub bits_per_weight: f64,
    /// Bytes of tensors that a token reads.
    pub read_bytes: u64,
    /// Milliseconds that the products for a token take.
    pub ms_per_token: f64,
    /// Tokens a second, were there nothing but these products.
    pub tokens_per_s: f64,
    /// Bytes of tensors and KV cache.
    pub memory_bytes: u64,
    /// Whether that and [`HEAD_ROOM`] is within the memory; null if none was given.
    pub fits: Option<bool>,
    /// The products, those that read most first.
    pub products: Vec<Product>,
}

/// The products with the matrices of one shape and type.
#[derive(Clone, Debug, Serialize)]
pub struct Product {
    /// The matrices; how many of them a token is multiplied with.
    #[serde(flatten)]
    pub matrices: Matrices,
    /// Time of one, in microseconds.
    pub us: f64,
    /// Bytes of the weights over time.
    pub gb_s: f64,
    /// Whether it was timed itself; otherwise it is taken to be as fast as the first product in its format.
    pub measured: bool,
    /// What was timed: the format, and fewer rows if there are very many.
    pub trial: Trial,
}

/// A product that was timed.
#[derive(Clone, Debug, Serialize)]
pub struct Trial {
    /// The kernel's number format: the nearest one for types that have no kernel.
    pub format: &'static str,
    /// Rows of the weights.
    pub rows: u64,
    /// Columns of the weights.
    pub cols: u64,
    /// The variant that was fastest.
    pub variant: String,
    /// Its median time, in microseconds.
    pub us: f64,
    /// Bytes of its weights.
    #[serde(skip)]
    bytes: u64,
}

/// Which formats to take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Advice {
    /// The one to run; null if none fits.
    pub recommended: Option<&'static str>,
    /// The fastest that fits.
    pub fastest: Option<&'static str>,
    /// Both in words.
    pub advice: String,
}

/// Products that read less than this share of a token's bytes are not timed themselves.
const LEAST_SHARE: f64 = 0.01;

/// The most columns that are timed: more than matrices of models have, few enough for a buffer of any adapter.
const MOST_COLS: u64 = 1 << 18;

/// No row takes less than so many weights would on a device.
const PADDED: u64 = 256;

/// Measures the products of `model` in every format.
///
/// Each matrix gets the format, except what [`Model::matrices_in`] says: a mixture such as llama.cpp's `Q4_K_M` lies
/// between two of them.
///
/// # Errors
/// [`Error::Input`] if a cache is wanted, and the model's is not known; the device's.
pub fn make(
    gpu: &Context,
    model: Model,
    options: &PlanOptions,
    progress: &mut dyn FnMut(&str),
) -> Result<Plan> {
    let mut notices = model.notices.clone();
    let wanted = options.cache.clone().map(|cache| CacheOptions { vram_gb: options.vram_gb, ..cache });
    let mut cache = match (&wanted, &model.kv) {
        (Some(_), Ok(geometry)) if geometry.values_per_token() == 0 => {
            notices.push("none of its layers has attention: there is no KV cache".into());
            None
        }
        (Some(options), Ok(geometry)) => {
            notices.extend(geometry.notices.iter().cloned());
            Some(cache::make(geometry.clone(), None, options)?)
        }
        (Some(_), Err(problem)) => return Err(Error::Input(problem.clone())),
        (None, _) => None,
    };
    let kv_bytes = cache.as_ref().and_then(|cache| cache.types.first()).map(|row| row.bytes);
    let formats: Vec<Option<&'static Format>> = if options.formats.is_empty() {
        [None].into_iter().chain(FORMATS.into_iter().map(Format::by_name)).collect()
    } else {
        options.formats.iter().copied().map(Some).collect()
    };
    let mut bench = Bench { gpu, effort: options.effort, done: BTreeMap::new(), progress };
    let mut rows = Vec::new();
    for format in formats {
        let matrices = model.matrices_in(format);
        let products = bench.products(&matrices)?;
        let mut row = row(&model, format, &matrices, products);
        row.memory_bytes = row.bytes.saturating_add(kv_bytes.unwrap_or(0));
        row.fits = options.vram_gb.map(|gb| needed(&row) <= gb * 1e9);
        rows.push(row);
    }
    let without: Vec<&str> =
        model.matrices.iter().map(|of| of.ty.name).filter(|name| Format::by_name(name).is_none()).collect();
    if let (Some(name), true) = (without.first(), rows.iter().any(|row| row.format == AS_IT_IS)) {
        notices
            .push(format!("{name} has no kernel here: it is taken to be as fast as what is nearest to it"));
    }
    let advice = advise(&rows, options.vram_gb);
    let taken = advice.recommended.and_then(|name| rows.iter().find(|row| row.format == name));
    // Where none fits, what comes nearest.
    let taken = taken.or_else(|| rows.iter().min_by_key(|row| row.memory_bytes));
    if let (Some(wanted), Some(before), Some(row)) = (&wanted, &cache, taken) {
        let weights = Weights { format: row.format, bytes: row.bytes, ms_per_token: Some(row.ms_per_token) };
        cache = Some(cache::make(before.geometry.clone(), Some(weights), wanted)?);
    }
    let not_counted = match (&cache, &wanted) {
        (Some(cache), _) => cache.not_counted.clone(),
        (None, wanted) => {
            let mut found = Vec::new();
            match wanted {
                Some(_) => found.extend(model.kv.iter().flat_map(|kv| kv.not_counted.clone())),
                None => found.push("the KV cache, of which no context is known".to_owned()),
            }
            found.extend(options.vram_gb.map(|_| cache::ACTIVATIONS.to_owned()));
            found
        }
    };
    notices.splice(0..0, gpu.notices());
    Ok(Plan {
        adapter: gpu.adapter.clone(),
        version: env!("CARGO_PKG_VERSION"),
        commit: option_env!("LOWBIT_COMMIT").filter(|commit| !commit.is_empty()),
        not_counted,
        model,
        context: wanted.map(|cache| cache.context),
        kv_bytes,
        cache,
        vram_gb: options.vram_gb,
        head_room: HEAD_ROOM,
        formats: rows,
        advice,
        notices,
    })
}

/// Bytes that a row needs with head room.
fn needed(row: &PlanRow) -> f64 {
    row.memory_bytes as f64 * (1.0 + HEAD_ROOM)
}

/// The sums; what depends on the memory is left open.
fn row(model: &Model, format: Option<&Format>, matrices: &[Matrices], products: Vec<Product>) -> PlanRow {
    let name = format.map_or(AS_IT_IS, |format| format.name);
    let mut others: Vec<&str> = Vec::new();
    for of in matrices.iter().map(|of| of.ty.name).filter(|&of| of != name) {
        if !others.contains(&of) {
            others.push(of);
        }
    }
    let sum =
        |of: fn(&Matrices) -> u64| matrices.iter().map(of).fold(model.vector_bytes, u64::saturating_add);
    let bytes = sum(|of| of.bytes().saturating_mul(of.count));
    let us: f64 = products.iter().map(|product| product.us * product.matrices.per_token as f64).sum();
    PlanRow {
        format: name,
        others,
        bytes,
        bits_per_weight: bytes as f64 * 8.0 / model.weights as f64,
        read_bytes: sum(Matrices::read_bytes),
        ms_per_token: us / 1e3,
        tokens_per_s: 1e6 / us,
        products,
        ..PlanRow::default()
    }
}

/// Times each product once.
struct Bench<'a> {
    gpu: &'a Context,
    effort: Effort,
    done: BTreeMap<(&'static str, u64, u64), Trial>,
    progress: &'a mut dyn FnMut(&str),
}

impl Bench<'_> {
    /// The products for a token with `matrices`, which begin with those that are read most.
    fn products(&mut self, matrices: &[Matrices]) -> Result<Vec<Product>> {
        let read: f64 = matrices.iter().map(|of| of.read_bytes() as f64).sum();
        // The first trial in each format is the largest.
        let mut first: BTreeMap<&str, Trial> = BTreeMap::new();
        let mut products = Vec::new();
        for of in matrices.iter().filter(|of| of.per_token > 0) {
            let format = kernel_of(of.ty, of.cols);
            let small = of.read_bytes() as f64 / read < LEAST_SHARE || self.effort == Effort::Quick;
            let known = self.done.contains_key(&(format.name, of.rows, of.cols));
            let (trial, own) = match first.get(format.name) {
                Some(largest) if small && !known => (largest.clone(), false),
                _ => (self.trial(format, of)?, true),
            };
            let us = trial.us * (of.bytes() as f64 / trial.bytes as f64);
            first.entry(format.name).or_insert_with(|| trial.clone());
            products.push(Product {
                matrices: of.clone(),
                us,
                gb_s: of.bytes() as f64 / us / 1e3,
                measured: own && format.ggml_type == Some(of.ty.id),
                trial,
            });
        }
        Ok(products)
    }

    fn trial(&mut self, format: &'static Format, of: &Matrices) -> Result<Trial> {
        let key = (format.name, of.rows, of.cols);
        if let Some(done) = self.done.get(&key) {
            return Ok(done.clone());
        }
        (self.progress)(&format!("{} {} x {}", format.name, of.rows, of.cols));
        let most = if self.gpu.adapter.is_software() { 64 << 20 } else { 1 << 30 };
        let cols = of.cols.min(MOST_COLS);
        let bytes_of = |cols: u64| cols / format.elements as u64 * format.bytes as u64;
        // On the device, short rows are padded.
        let rows = of.rows.min((most / bytes_of(cols.next_multiple_of(PADDED))).max(1));
        let budget = Duration::from_millis(if self.effort == Effort::Quick { 100 } else { 200 });
        let (variant, timing) = speed(self.gpu, format, Shape { m: rows, k: cols, n: 1 }, budget)?;
        let trial =
            Trial { format: format.name, rows, cols, variant, us: timing.us, bytes: rows * bytes_of(cols) };
        self.done.insert(key, trial.clone());
        Ok(trial)
    }
}

/// The format whose kernels stand for a type: its own, or the one of the nearest size.
fn kernel_of(ty: &TensorType, cols: u64) -> &'static Format {
    let own = Format::by_type(ty.id);
    own.unwrap_or_else(|| {
        let distance = |format: &&Format| (format.bits_per_weight() - ty.bits()).abs();
        let fits = ALL.iter().filter(|format| cols.is_multiple_of(format.elements as u64));
        fits.min_by(|a, b| distance(a).total_cmp(&distance(b))).unwrap_or(&ALL[0])
    })
}

/// Which of `rows` to take. With a memory of `vram_gb`, what has the most bits per weight and fits; without one, what
/// has the most bits per weight and is at most a tenth slower than the fastest.
pub fn advise(rows: &[PlanRow], vram_gb: Option<f64>) -> Advice {
    let candidates = || rows.iter().filter(|row| row.fits != Some(false));
    // Of equals the better one in what else is shown, and of those the first: the file as it is needs no quantizing.
    let bits = |a: &PlanRow, b: &PlanRow| b.bits_per_weight.total_cmp(&a.bits_per_weight);
    let time = |a: &PlanRow, b: &PlanRow| a.ms_per_token.total_cmp(&b.ms_per_token);
    let size = |a: &PlanRow, b: &PlanRow| {
        (a.memory_bytes, a.read_bytes, a.bytes).cmp(&(b.memory_bytes, b.read_bytes, b.bytes))
    };
    let fastest = candidates().min_by(|a, b| time(a, b).then(bits(a, b)).then(size(a, b)));
    let Some(fastest) = fastest else {
        let smallest = rows.iter().min_by_key(|row| row.memory_bytes);
        let advice = smallest.map_or_else(String::new, |row| {
            let (name, needs) = (row.format, needed(row) / 1e9);
            // As many digits as tell it from a small limit.
            let digits = if needs < 0.1 { 6 } else { 3 };
            format!("none fits: the smallest, {name}, needs {needs:.digits$} GB with head room")
        });
        return Advice { recommended: None, fastest: None, advice };
    };
    let most = if vram_gb.is_some() { f64::INFINITY } else { fastest.ms_per_token * 1.1 };
    let within = candidates().filter(|row| row.ms_per_token <= most);
    let best = within.min_by(|a, b| bits(a, b).then(time(a, b)).then(size(a, b))).unwrap_or(fastest);
    let words = |row: &PlanRow| {
        let (name, bits, speed) = (row.format, row.bits_per_weight, row.tokens_per_s);
        format!("{name} ({bits:.2} bits per weight, at most {speed:.1} tokens/s)")
    };
    let why = match vram_gb {
        Some(gb) => format!("the most bits per weight that fits in {gb} GB"),
        None => "the most bits per weight within 10 % of the fastest's time".to_owned(),
    };
    let mut advice = format!("recommended: {}, {why}\nfastest: {}", words(best), words(fastest));
    let file = rows.iter().find(|row| row.format == AS_IT_IS);
    if file.is_some_and(|file| best.bits_per_weight > file.bits_per_weight) {
        advice += "\nthe recommended one has more bits than this file: it is worth them only if made from a \
                   file that has as many";
    }
    Advice { recommended: Some(best.format), fastest: Some(fastest.format), advice }
}

impl Plan {
    /// The plan for a terminal.
    pub fn text(&self) -> String {
        let gb = |bytes: u64| format!("{:.3}", bytes as f64 / 1e9);
        let mut header =
            vec!["format", "size GB", "bits per weight", "read GB/token", "ms/token", "tokens/s ceiling"];
        header.extend(self.kv_bytes.map(|_| "memory GB"));
        header.extend(self.vram_gb.map(|_| "fits"));
        let row = |row: &PlanRow| {
            let others =
                if row.others.is_empty() { String::new() } else { format!(" ({})", row.others.join(", ")) };
            let mut cells = vec![
                row.format.to_owned() + &others,
                gb(row.bytes),
                format!("{:.2}", row.bits_per_weight),
                gb(row.read_bytes),
                format!("{:.3}", row.ms_per_token),
                format!("{:.1}", row.tokens_per_s),
            ];
            cells.extend(self.kv_bytes.map(|_| gb(row.memory_bytes)));
            cells.extend(row.fits.map(|fits| if fits { "yes" } else { "no" }.to_owned()));
            cells
        };
        let Self { adapter, model, .. } = self;
        let (weights, matrices) = (model.weights as f64 / 1e9, model.matrices.iter().map(|of| of.count));
        let mut text = cache::first_line(&self.not_counted);
        text += &format!(
            "{:.3} billion weights in {} matrices, on {}\n",
            weights,
            matrices.fold(0, u64::saturating_add),
            adapter.name
        );
        text += &table::render(&header, self.formats.iter().map(row).collect());
        text += "\nceiling: the time of the products alone; attention, norms and sampling come on top\n";
        if let Some((cache, row)) = self.cache.as_ref().and_then(|cache| Some((cache, cache.types.first()?)))
        {
            let (context, types, bytes) = (cache.context, row.types, gb(row.bytes));
            text +=
                &format!("memory: weights, and {bytes} GB for the {types} KV cache of {context} tokens\n");
        }
        if let Some(vram) = self.vram_gb {
            text +=
                &format!("fits: the memory and {:.0} % of it as head room in {vram} GB\n", HEAD_ROOM * 100.0);
        }
        text += &self.advice.advice;
        text += "\n";
        if let Some(cache) = &self.cache {
            text += "\n";
            text += &cache.body();
        }
        text
    }
}
