//! Checkpoints: what a fit that was ended needs to go on to the bit as if it had not been, in one .safetensors file.
//!
//! Labels are not in it: the centroids before the last iteration give them again. The tensors `centroids`,
//! `centroids_before` and `best_centroids` (of the best start so far) are `[k, d]` as they lie on the device: with the
//! euclidean metric, less the tensor `mean` (`[d]`).

use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::control::{LABELS_UNCHANGED, PAUSED, RUNNING, SHIFT_WITHIN_TOL};
use super::progress::Outcome;
use super::source::Source;
use crate::io::hash::Hasher;
use crate::io::output::check_writable;
use crate::io::safetensors::Part;
use crate::io::saved::{Kind, Saved};
use crate::random::Random;
use crate::{Error, Result};

/// Where and when a fit keeps its state. A resumed fit ends with the same bits as one that was never ended, on
/// whatever adapter. The file stays as it is when the fit is done.
#[derive(Clone, Debug)]
pub struct Checkpoints {
    /// The file, which is replaced all at once by each checkpoint.
    pub path: PathBuf,
    /// The least time from one checkpoint to the next. They are written between iterations.
    pub every: Duration,
    /// Once this is set, from another thread or a signal handler, the fit ends with [`Error::Interrupted`]: between two
    /// iterations, chunks of points that are read, variants of a kernel that are tried, or kernels that are compiled. It
    /// writes what it has by then, but for the time before all points were read once.
    pub stop: Arc<AtomicBool>,
    /// Whether to go on from the file, if there is one. One of other data or settings is an [`Error::File`].
    pub resume: bool,
}

/// Which kind of file this is, and which version.
static KIND: Kind = Kind {
    format: "lowbit k-means checkpoint 2",
    refusal: "this cannot be resumed from",
    advice: "remove it, or give another checkpoint",
};

/// Where the loop of a start stands. Centroids are `[k, d]`, without padding.
#[derive(Clone, Debug, PartialEq)]
pub struct Position {
    /// Iterations completed.
    pub n_iter: u32,
    /// How the loop has ended, or that it goes on: [`Control::state`](super::control::Control::state).
    pub state: u32,
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

    /// What a checkpoint holds of it.
    fn kept(&self) -> Self {
        let best = self.best.as_ref();
        let best = best.map(|best| Best {
            labels: None,
            outcome: best.outcome.clone(),
            centroids: best.centroids.clone(),
            ..*best
        });
        Self { start: self.start, random: self.random.clone(), notices: self.notices.clone(), best }
    }
}

/// What a checkpoint holds: a start without a position has not chosen its centroids.
pub type State = (Stand, Option<Position>);

/// Data that is hashed as it is read, if it is read once and in order, until the fit is to end.
pub struct Hashed<'a> {
    source: &'a dyn Source,
    checkpoints: &'a Checkpoints,
    /// The rows hashed.
    hash: Mutex<(u64, Hasher)>,
}

impl<'a> Hashed<'a> {
    /// Nothing is hashed yet.
    pub fn new(source: &'a dyn Source, checkpoints: &'a Checkpoints) -> Self {
        Self { source, checkpoints, hash: Mutex::default() }
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
        let Checkpoints { path, stop, resume, .. } = self.checkpoints;
        if stop.load(Ordering::Relaxed) {
            let reached = "while points were read for the first time".into();
            let path = (*resume && path.exists()).then(|| path.clone());
            return Err(Error::Interrupted { path, reached });
        }
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
    file: Option<Checkpoint>,
    adapter: String,
    /// The newest state that is whole, once there is one.
    whole: Option<State>,
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
        let file = if found { Some(Checkpoint(KIND.open(path, &|| Ok(()))?)) } else { None };
        if let Some(file) = &file {
            file.compare(&identity)?;
        }
        Ok(Self {
            checkpoints: checkpoints.clone(),
            identity,
            shape: [k as u64, d as u64],
            file,
            adapter: String::new(),
            whole: None,
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

    /// Where to go on from, if there was a checkpoint of a fit of so many `starts`; otherwise the `beginning`.
    ///
    /// # Errors
    /// [`Error::File`] if something is missing in it or cannot be.
    pub fn begin(&mut self, adapter: &str, starts: u32, beginning: Stand) -> Result<State> {
        adapter.clone_into(&mut self.adapter);
        self.last = Instant::now();
        let state = match self.resumed(starts)? {
            Some(state) => state,
            None => (beginning, None),
        };
        self.whole = Some(state.clone());
        Ok(state)
    }

    fn resumed(&mut self, starts: u32) -> Result<Option<State>> {
        let Some(file) = self.file.take() else { return Ok(None) };
        let (stand, position) = file.state(&self.shape)?;
        if stand.start >= starts {
            return Err(file.0.problem(&format!("it is in start {} of {starts}", stand.start)));
        }
        Ok(Some((stand, position)))
    }

    fn stopped(&self) -> bool {
        self.checkpoints.stop.load(Ordering::Relaxed)
    }

    /// Ends a fit that failed: if it was to end, with what it had by then.
    pub fn close(&mut self, error: Error) -> Error {
        let Error::Interrupted { path: None, reached } = error else { return error };
        let path = self.whole.is_some().then(|| self.checkpoints.path.clone());
        match self.write() {
            Ok(()) => Error::Interrupted { path, reached },
            Err(error) => error,
        }
    }

    /// Writes the newest state.
    fn write(&mut self) -> Result<()> {
        let Some((stand, position)) = &self.whole else { return Ok(()) };
        let mut pairs = vec![("adapter", self.adapter.clone())];
        pairs.extend(self.identity.iter().cloned());
        pairs.push(("start", stand.start.to_string()));
        pairs.push(("random", stand.random.state().to_string()));
        pairs.push(("notices", serde_json::Value::from(stand.notices.as_slice()).to_string()));
        let mut tensors = Vec::new();
        if let Some(position) = position {
            pairs.push(("n_iter", position.n_iter.to_string()));
            pairs.push(("state", position.state.to_string()));
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
        // It is written where an end was asked for, too.
        KIND.write(&self.checkpoints.path, &pairs, &parts, &|| Ok(()))?;
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

    /// A state that is whole, of a start that has chosen its centroids if it has a position; it is written if that is `due`.
    ///
    /// # Errors
    /// [`Error::Interrupted`] if it was written and the fit is to end; those of writing.
    pub fn reach(&mut self, position: Option<Position>, due: bool) -> Result<()> {
        let reached = match &position {
            Some(position) => format!("after {} iterations", position.n_iter),
            None => "before the first iteration".into(),
        };
        self.keeper.whole = Some((self.stand.kept(), position));
        if !due {
            return Ok(());
        }
        // Asked once: a stop that comes while the file is written waits for the next one.
        let stopped = self.keeper.stopped();
        self.keeper.write()?;
        if !stopped {
            return Ok(());
        }
        let of =
            if self.stand.start > 0 { format!(" of start {}", self.stand.start + 1) } else { String::new() };
        let path = Some(self.keeper.checkpoints.path.clone());
        Err(Error::Interrupted { path, reached: reached + &of })
    }
}

/// Numbers as text, from which they come back to the bit.
fn text_of(numbers: &[f64]) -> String {
    numbers.iter().map(f64::to_string).collect::<Vec<_>>().join(" ")
}

/// A checkpoint that is whole.
#[derive(Debug)]
struct Checkpoint(Saved);

impl Checkpoint {
    /// Refuses a checkpoint of anything else.
    fn compare(&self, identity: &[(&'static str, String)]) -> Result<()> {
        let Some(different) = self.0.differences(identity)? else { return Ok(()) };
        Err(Error::file(
            self.0.path(),
            format!(
                "this checkpoint is of another clustering: {different}; give the data and settings it was made with, or \
                 another checkpoint"
            ),
        ))
    }

    fn numbers(&self, key: &str) -> Result<Vec<f64>> {
        let numbers =
            self.0.text(key)?.split_whitespace().map(str::parse).collect::<std::result::Result<_, _>>();
        numbers.map_err(|_| self.0.problem(&format!("its {key} is no list of numbers")))
    }

    fn state(&self, shape: &[u64; 2]) -> Result<State> {
        let notices = serde_json::from_str(self.0.text("notices")?)
            .map_err(|_| self.0.problem("its notices are no list of strings"))?;
        let best = if self.0.find("best_inertia").is_some() {
            let iteration = Duration::try_from_secs_f64(self.0.value("best_seconds_per_iteration")?);
            let outcome = Outcome {
                n_iter: self.0.value("best_n_iter")?,
                converged: self.0.value("best_converged")?,
                iteration: iteration
                    .map_err(|_| self.0.problem("its best_seconds_per_iteration are no time"))?,
                history: self.numbers("best_history")?,
            };
            let centroids = self.centroids("best_centroids", shape)?;
            Some(Best { inertia: self.0.value("best_inertia")?, outcome, centroids, labels: None })
        } else {
            None
        };
        let random = Random::at(self.0.value("random")?);
        let stand = Stand { start: self.0.value("start")?, random, notices, best };
        if self.0.find("n_iter").is_none() {
            return Ok((stand, None));
        }
        let (n_iter, state) = (self.0.value("n_iter")?, self.0.value("state")?);
        if ![RUNNING, LABELS_UNCHANGED, SHIFT_WITHIN_TOL, PAUSED].contains(&state) {
            return Err(self.0.problem(&format!("its state is {state}")));
        }
        let before = if n_iter > 0 { Some(self.centroids("centroids_before", shape)?) } else { None };
        let (centroids, history) = (self.centroids("centroids", shape)?, self.numbers("history")?);
        Ok((stand, Some(Position { n_iter, state, before, centroids, history })))
    }

    fn centroids(&self, name: &str, shape: &[u64; 2]) -> Result<Vec<f32>> {
        let bytes = self.0.tensor(name, "F32", shape)?;
        let values: Vec<f32> = bytes.as_chunks().0.iter().map(|&value| f32::from_le_bytes(value)).collect();
        if values.iter().any(|value| !value.is_finite()) {
            return Err(self.0.problem(&format!("its {name} are not finite")));
        }
        Ok(values)
    }
}
