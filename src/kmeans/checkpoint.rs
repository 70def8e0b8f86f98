//! Checkpoints: what a fit that was ended needs to go on to the bit as if it had not been, in one .safetensors file.
//!
//! Labels are not in it: the centroids before the last iteration give them again. The tensors `centroids`,
//! `centroids_before` and `best_centroids` (of the best start so far) are `[k, d]` as they lie on the device: with the
//! euclidean metric, less the tensor `mean` (`[d]`).

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::lloyd::Outcome;
use super::points::Source;
use crate::io::hash::Hasher;
use crate::io::output::check_writable;
use crate::io::quoted;
use crate::io::safetensors::{self, Part, Safetensors, Tensor};
use crate::random::Random;
use crate::{Error, Result};

/// Where and when a fit keeps its state. A resumed fit ends with the same bits as one that was never ended, on the same
/// adapter. The file stays as it is when the fit is done.
#[derive(Clone, Debug)]
pub struct Checkpoints {
    /// The file, which is replaced all at once by each checkpoint.
    pub path: PathBuf,
    /// The least time from one checkpoint to the next. They are written between iterations.
    pub every: Duration,
    /// Once this is set, from another thread or a signal handler, the fit writes a checkpoint and ends with
    /// [`Error::Interrupted`].
    pub stop: Arc<AtomicBool>,
    /// Whether to go on from the file, if there is one. One of other data or settings is an [`Error::File`].
    pub resume: bool,
}

/// Which kind of file this is, and which version.
const FORMAT: &str = "lowbit k-means checkpoint 1";
/// The key of the file's own hash.
const HASH: &str = "sha256";
/// Bytes of a tensor that are hashed at a time.
const PIECE: u64 = 1 << 20;

/// Where the loop of a start stands. Centroids are `[k, d]`, without padding.
#[derive(Clone, Debug, PartialEq)]
pub struct Position {
    /// Iterations completed.
    pub n_iter: u32,
    /// The centroids that gave the labels of the last iteration, if there was one.
    pub before: Option<Vec<f32>>,
    /// The centroids now.
    pub centroids: Vec<f32>,
    /// [`Outcome::history`] so far.
    pub history: Vec<f64>,
}

/// A start that has ended.
#[derive(Clone, Debug)]
pub struct Best {
    /// Its inertia.
    pub inertia: f64,
    /// How it ended.
    pub outcome: Outcome,
    /// `[k, d]`, without padding.
    pub centroids: Vec<f32>,
    /// `[n]`; a checkpoint has none.
    pub labels: Option<Vec<u32>>,
}

/// Where a fit stands among its starts.
#[derive(Clone, Debug)]
pub struct Stand {
    /// The start that is under way, from 0.
    pub start: u32,
    /// The random numbers yet to come.
    pub random: Random,
    /// What the caller will have to know.
    pub notices: Vec<String>,
    /// The best start that has ended.
    pub best: Option<Best>,
}

impl Stand {
    /// The beginning.
    pub fn new(random: Random) -> Self {
        Self { start: 0, random, notices: Vec::new(), best: None }
    }
}

/// What a checkpoint holds: a start without a position has not chosen its centroids.
pub type State = (Stand, Option<Position>);

/// Data that is hashed as it is read, if it is read once and in order.
pub struct Hashed<'a> {
    source: &'a dyn Source,
    /// The rows hashed.
    hash: Mutex<(u64, Hasher)>,
}

impl<'a> Hashed<'a> {
    /// Nothing is hashed yet.
    pub fn new(source: &'a dyn Source) -> Self {
        Self { source, hash: Mutex::default() }
    }

    /// The SHA-256 of all rows, as packed little-endian floats.
    ///
    /// # Errors
    /// [`Error::Input`] if they were not all read.
    pub fn finish(self) -> Result<String> {
        let (rows, hash) = self.hash.into_inner().unwrap_or_else(PoisonError::into_inner);
        let all = self.source.rows();
        if rows != all {
            return Err(Error::Input(format!(
                "{rows} of {all} rows were read: the data has changed meanwhile"
            )));
        }
        Ok(hash.finish())
    }
}

impl Source for Hashed<'_> {
    fn rows(&self) -> u64 {
        self.source.rows()
    }

    fn cols(&self) -> usize {
        self.source.cols()
    }

    fn read(&self, rows: Range<u64>, out: &mut [f32]) -> Result<()> {
        self.source.read(rows.clone(), out)?;
        let mut hash = self.hash.lock().unwrap_or_else(PoisonError::into_inner);
        if hash.0 == rows.start {
            hash.0 = rows.end;
            hash.1.update(bytes_of(out));
        }
        Ok(())
    }
}

/// The SHA-256 of packed little-endian floats.
pub fn sha256_of(values: &[f32]) -> String {
    crate::io::hash::sha256(&bytes_of(values))
}

fn bytes_of(values: &[f32]) -> Vec<u8> {
    let mut bytes = vec![0; 4 * values.len()];
    for (to, value) in bytes.as_chunks_mut().0.iter_mut().zip(values) {
        *to = value.to_le_bytes();
    }
    bytes
}

/// Writes the checkpoints of one fit.
#[derive(Debug)]
pub struct Keeper {
    checkpoints: Checkpoints,
    /// Data and settings.
    identity: Vec<(&'static str, String)>,
    shape: [u64; 2],
    /// The file that is resumed from.
    file: Option<Saved>,
    adapter: String,
    /// What has been taken off the points, if anything.
    pub mean: Vec<f64>,
    last: Instant,
}

impl Keeper {
    /// Prepares checkpoints of `k` centroids in `d` dimensions, and reads the one to resume from if there is one.
    ///
    /// # Errors
    /// [`Error::File`] if it is damaged or of other settings, or could not be written; [`Error::Io`].
    pub fn open(
        checkpoints: &Checkpoints,
        identity: Vec<(&'static str, String)>,
        (k, d): (usize, usize),
    ) -> Result<Self> {
        let path = &checkpoints.path;
        check_writable(path)?;
        let found = checkpoints.resume && path.try_exists().map_err(|error| Error::io(path, error))?;
        let file = if found { Some(Saved::open(path)?) } else { None };
        if let Some(file) = &file {
            file.compare(&identity)?;
        }
        Ok(Self {
            checkpoints: checkpoints.clone(),
            identity,
            shape: [k as u64, d as u64],
            file,
            adapter: String::new(),
            mean: Vec::new(),
            last: Instant::now(),
        })
    }

    /// The data has this SHA-256.
    ///
    /// # Errors
    /// [`Error::File`] if the checkpoint is of other data.
    pub fn identify(&mut self, data: String) -> Result<()> {
        self.identity.push(("data_sha256", data));
        self.file.as_ref().map_or(Ok(()), |file| file.compare(&self.identity))
    }

    /// Where to go on from, if there was a checkpoint of a fit of so many `starts`.
    ///
    /// # Errors
    /// [`Error::File`] if something is missing in it or cannot be.
    pub fn begin(&mut self, adapter: &str, starts: u32) -> Result<Option<State>> {
        adapter.clone_into(&mut self.adapter);
        self.last = Instant::now();
        let Some(file) = self.file.take() else { return Ok(None) };
        let (mut stand, position) = file.state(&self.shape)?;
        if stand.start >= starts {
            return Err(file.problem(format!("it is in start {} of {starts}", stand.start)));
        }
        let before = file.text("adapter")?;
        if before != adapter {
            stand.notices.push(format!(
                "{}: it was written on {}: on another adapter, the last digits of a result may differ",
                file.path().display(),
                quoted(before)
            ));
        }
        Ok(Some((stand, position)))
    }

    fn stopped(&self) -> bool {
        self.checkpoints.stop.load(Ordering::Relaxed)
    }

    fn write(&mut self, stand: &Stand, position: Option<&Position>) -> Result<()> {
        let mut pairs = vec![("format", FORMAT.to_owned()), ("adapter", self.adapter.clone())];
        pairs.extend(self.identity.iter().cloned());
        pairs.push(("start", stand.start.to_string()));
        pairs.push(("random", stand.random.state().to_string()));
        pairs.push(("notices", serde_json::Value::from(stand.notices.as_slice()).to_string()));
        let mut tensors = Vec::new();
        if let Some(position) = position {
            pairs.push(("n_iter", position.n_iter.to_string()));
            pairs.push(("history", text_of(&position.history)));
            tensors.push(("centroids", bytes_of(&position.centroids)));
            tensors.extend(position.before.as_ref().map(|before| ("centroids_before", bytes_of(before))));
        }
        if let Some(Best { inertia, outcome, centroids, .. }) = &stand.best {
            pairs.push(("best_inertia", inertia.to_string()));
            pairs.push(("best_n_iter", outcome.n_iter.to_string()));
            pairs.push(("best_history", text_of(&outcome.history)));
            pairs.push(("best_converged", outcome.converged.to_string()));
            pairs.push(("best_seconds_per_iteration", outcome.iteration.as_secs_f64().to_string()));
            tensors.push(("best_centroids", bytes_of(centroids)));
        }
        let mean: Vec<u8> = self.mean.iter().flat_map(|value| value.to_le_bytes()).collect();
        let mut parts = Vec::new();
        // The type of 8 bytes first, so that everything is aligned.
        if !self.mean.is_empty() {
            parts.push(Part { name: "mean", dtype: "F64", shape: &self.shape[1..], data: &mean });
        }
        for (name, data) in &tensors {
            parts.push(Part { name, dtype: "F32", shape: &self.shape, data });
        }
        let mut pairs: Vec<(String, String)> =
            pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        let mut hash = hash_of_pairs(&pairs);
        for Part { name, dtype, shape, data } in &parts {
            hash.update(title(name, dtype, shape));
            hash.update(data);
        }
        pairs.push((HASH.to_owned(), hash.finish()));
        safetensors::write(&self.checkpoints.path, &pairs, &parts)?;
        self.last = Instant::now();
        Ok(())
    }
}

/// A [`Keeper`], and what it is to keep besides a position.
#[derive(Debug)]
pub struct Keeping<'a> {
    /// What writes.
    pub keeper: &'a mut Keeper,
    /// The fit.
    pub stand: &'a Stand,
}

impl Keeping<'_> {
    /// Whether a checkpoint should be written.
    pub fn due(&self) -> bool {
        self.keeper.stopped() || self.keeper.last.elapsed() >= self.keeper.checkpoints.every
    }

    /// Writes one.
    ///
    /// # Errors
    /// [`Error::Interrupted`] if the fit is to end; those of writing.
    pub fn keep(&mut self, position: Option<Position>) -> Result<()> {
        // Asked once: a stop that comes while the file is written waits for the next one.
        let stopped = self.keeper.stopped();
        self.keeper.write(self.stand, position.as_ref())?;
        if !stopped {
            return Ok(());
        }
        let mut reached = match position {
            Some(position) => format!("after {} iterations", position.n_iter),
            None => "before the first iteration".into(),
        };
        if self.stand.start > 0 {
            reached += &format!(" of start {}", self.stand.start + 1);
        }
        Err(Error::Interrupted { path: self.keeper.checkpoints.path.clone(), reached })
    }

    /// Writes one if it is due, while a start has no centroids yet.
    ///
    /// # Errors
    /// Those of [`Keeping::keep`].
    pub fn between_starts(&mut self) -> Result<()> {
        if self.due() { self.keep(None) } else { Ok(()) }
    }
}

/// Numbers as text, from which they come back to the bit.
fn text_of(numbers: &[f64]) -> String {
    numbers.iter().map(f64::to_string).collect::<Vec<_>>().join(" ")
}

/// A checkpoint that is whole.
#[derive(Debug)]
struct Saved(Safetensors);

impl Saved {
    fn open(path: &Path) -> Result<Self> {
        // What a reader of any safetensors file says does not say what to do here.
        let saved = Self(Safetensors::open(path).map_err(|error| match error {
            Error::File { path, problem } => Error::file(path, advise(&problem)),
            other => other,
        })?);
        if saved.text("format")? != FORMAT {
            let found = quoted(saved.text("format")?);
            return Err(saved.problem(format!("its format is {found}, not '{FORMAT}'")));
        }
        let pairs: Vec<(String, String)> =
            saved.0.metadata().iter().filter(|(key, _)| key != HASH).cloned().collect();
        let mut hash = hash_of_pairs(&pairs);
        let mut piece = vec![0; PIECE as usize];
        for tensor in saved.0.tensors() {
            hash.update(title(&tensor.name, tensor.dtype.name, &tensor.shape));
            for from in (0..tensor.bytes).step_by(PIECE as usize) {
                let range = from..(from + PIECE).min(tensor.bytes);
                let piece = &mut piece[..(range.end - range.start) as usize];
                saved.0.read(tensor, range, piece)?;
                hash.update(piece);
            }
        }
        if saved.text(HASH)? != hash.finish() {
            return Err(saved.problem("it is damaged: its SHA-256 is another than the one it states".into()));
        }
        Ok(saved)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn problem(&self, problem: String) -> Error {
        Error::file(self.path(), advise(&problem))
    }

    /// Refuses a checkpoint of anything else.
    fn compare(&self, identity: &[(&'static str, String)]) -> Result<()> {
        let mut different = Vec::new();
        for (key, here) in identity {
            let there = self.text(key)?;
            if there != here {
                different.push(format!("{key} is {} in it, and {} here", quoted(there), quoted(here)));
            }
        }
        if different.is_empty() {
            return Ok(());
        }
        Err(Error::file(
            self.path(),
            format!(
                "this checkpoint is of another clustering: {}; give the data and settings it was made with, or do not \
                 resume",
                different.join("; ")
            ),
        ))
    }

    fn find(&self, key: &str) -> Option<&str> {
        self.0.metadata().iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    fn text(&self, key: &str) -> Result<&str> {
        self.find(key).ok_or_else(|| self.problem(format!("it says nothing of {key}")))
    }

    fn value<T: std::str::FromStr>(&self, key: &str) -> Result<T> {
        let text = self.text(key)?;
        text.parse().map_err(|_| self.problem(format!("its {key} is {}", quoted(text))))
    }

    fn numbers(&self, key: &str) -> Result<Vec<f64>> {
        let numbers =
            self.text(key)?.split_whitespace().map(str::parse).collect::<std::result::Result<_, _>>();
        numbers.map_err(|_| self.problem(format!("its {key} is no list of numbers")))
    }

    fn state(&self, shape: &[u64; 2]) -> Result<State> {
        let notices = serde_json::from_str(self.text("notices")?)
            .map_err(|_| self.problem("its notices are no list of strings".into()))?;
        let best = if self.find("best_inertia").is_some() {
            let iteration = Duration::try_from_secs_f64(self.value("best_seconds_per_iteration")?);
            let outcome = Outcome {
                n_iter: self.value("best_n_iter")?,
                converged: self.value("best_converged")?,
                iteration: iteration
                    .map_err(|_| self.problem("its best_seconds_per_iteration are no time".into()))?,
                history: self.numbers("best_history")?,
            };
            let centroids = self.centroids("best_centroids", shape)?;
            Some(Best { inertia: self.value("best_inertia")?, outcome, centroids, labels: None })
        } else {
            None
        };
        let random = Random::at(self.value("random")?);
        let stand = Stand { start: self.value("start")?, random, notices, best };
        if self.find("n_iter").is_none() {
            return Ok((stand, None));
        }
        let n_iter = self.value("n_iter")?;
        let before = if n_iter > 0 { Some(self.centroids("centroids_before", shape)?) } else { None };
        let (centroids, history) = (self.centroids("centroids", shape)?, self.numbers("history")?);
        Ok((stand, Some(Position { n_iter, before, centroids, history })))
    }

    fn centroids(&self, name: &str, shape: &[u64; 2]) -> Result<Vec<f32>> {
        let tensor: &Tensor = self.0.tensor(name)?;
        if tensor.dtype.name != "F32" || tensor.shape != shape {
            let (dtype, found) = (tensor.dtype.name, &tensor.shape);
            return Err(self.problem(format!("its {name} are {dtype} {found:?}, not F32 {shape:?}")));
        }
        let mut bytes = vec![0; tensor.bytes as usize];
        self.0.read(tensor, 0..tensor.bytes, &mut bytes)?;
        let values: Vec<f32> = bytes.as_chunks().0.iter().map(|&value| f32::from_le_bytes(value)).collect();
        if values.iter().any(|value| !value.is_finite()) {
            return Err(self.problem(format!("its {name} are not finite")));
        }
        Ok(values)
    }
}

fn advise(problem: &str) -> String {
    format!("this cannot be resumed from: {problem}; do not resume, or give another checkpoint")
}

/// A hash that has seen these pairs, in any order.
fn hash_of_pairs(pairs: &[(String, String)]) -> Hasher {
    let mut lines: Vec<String> = pairs.iter().map(|(key, value)| format!("{key:?}: {value:?}\n")).collect();
    lines.sort_unstable();
    let mut hash = Hasher::default();
    lines.into_iter().for_each(|line| hash.update(line));
    hash
}

fn title(name: &str, dtype: &str, shape: &[u64]) -> String {
    format!("{name:?} {dtype} {shape:?}\n")
}
