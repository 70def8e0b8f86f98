//! Who keeps the state of a fit, of whatever kind it is: when it is due, where one was asked to end, and what it goes on from.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::frame::Transform;
use super::source::Source;
use crate::io::hash::Hasher;
use crate::io::output::check_writable;
use crate::io::safetensors::Part;
use crate::io::saved::{Kind, Saved};
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

/// What a kind of fit needs to go on, and how a file has it.
pub trait Kept: Clone {
    /// The name and version of its files.
    const FORMAT: &'static str;
    /// Which kind of file it is in.
    const KIND: &'static Kind = &Kind {
        format: Self::FORMAT,
        refusal: "this cannot be resumed from",
        advice: "remove it, or give another checkpoint",
    };

    /// What the file has of it, for `k` centroids in `d` dimensions.
    fn written(&self, shape: (usize, usize)) -> Written;

    /// The same out of a file.
    ///
    /// # Errors
    /// [`Error::File`] if something is missing in it or cannot be.
    fn read(file: &Saved, shape: (usize, usize)) -> Result<Self>;
}

/// Texts and tensors of a file.
#[derive(Debug, Default)]
pub struct Written {
    pub pairs: Vec<(&'static str, String)>,
    pub tensors: Vec<Tensor>,
}

/// A tensor of a file.
#[derive(Debug)]
pub struct Tensor {
    name: &'static str,
    dtype: &'static str,
    shape: Vec<u64>,
    data: Vec<u8>,
}

impl Tensor {
    /// Of floats.
    pub fn f32(name: &'static str, shape: &[usize], values: &[f32]) -> Self {
        Self { name, dtype: "F32", shape: sizes(shape), data: bytes_of(values) }
    }

    /// Of doubles.
    pub fn f64(name: &'static str, shape: &[usize], values: &[f64]) -> Self {
        let data = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Self { name, dtype: "F64", shape: sizes(shape), data }
    }
}

fn sizes(shape: &[usize]) -> Vec<u64> {
    shape.iter().map(|&size| size as u64).collect()
}

/// The floats of a tensor, all of them finite.
///
/// # Errors
/// [`Error::File`] if it is missing, has another shape, or values that are not finite.
pub(super) fn floats(file: &Saved, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
    let bytes = file.tensor(name, "F32", &sizes(shape))?;
    let values: Vec<f32> = bytes.as_chunks().0.iter().map(|&value| f32::from_le_bytes(value)).collect();
    finite(file, name, values.iter().all(|value| value.is_finite())).map(|()| values)
}

/// The doubles of a tensor, all of them finite.
///
/// # Errors
/// Those of [`floats`].
pub(super) fn doubles(file: &Saved, name: &str, shape: &[usize]) -> Result<Vec<f64>> {
    let bytes = file.tensor(name, "F64", &sizes(shape))?;
    let values: Vec<f64> = bytes.as_chunks().0.iter().map(|&value| f64::from_le_bytes(value)).collect();
    finite(file, name, values.iter().all(|value| value.is_finite())).map(|()| values)
}

fn finite(file: &Saved, name: &str, all: bool) -> Result<()> {
    if all { Ok(()) } else { Err(file.problem(&format!("its {name} are not finite"))) }
}

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
pub struct Keeper<S> {
    checkpoints: Checkpoints,
    /// Data and settings.
    identity: Vec<(&'static str, String)>,
    shape: (usize, usize),
    /// The file that is resumed from.
    file: Option<Saved>,
    adapter: String,
    /// The newest state that is whole, once there is one.
    whole: Option<S>,
    /// What has been taken off the points, if anything.
    mean: Vec<f64>,
    last: Instant,
}

impl<S: Kept> Keeper<S> {
    /// Prepares checkpoints of `k` centroids in `d` dimensions, and reads the one to resume from if there is one.
    ///
    /// # Errors
    /// [`Error::File`] if it is damaged or of other settings, or could not be written; [`Error::Io`].
    pub fn open(
        checkpoints: &Checkpoints,
        identity: Vec<(&'static str, String)>,
        shape: (usize, usize),
    ) -> Result<Self> {
        let path = &checkpoints.path;
        check_writable(path)?;
        let found = checkpoints.resume && path.try_exists().map_err(|error| Error::io(path, error))?;
        let file = if found { Some(S::KIND.open(path, &|| Ok(()))?) } else { None };
        if let Some(file) = &file {
            compare(file, &identity)?;
        }
        Ok(Self {
            checkpoints: checkpoints.clone(),
            identity,
            shape,
            file,
            adapter: String::new(),
            whole: None,
            mean: Vec::new(),
            last: Instant::now(),
        })
    }

    /// What `read` finds in all rows of `data`, which have to be those of the checkpoint.
    ///
    /// # Errors
    /// [`Error::File`] if the checkpoint is of other data; those of reading.
    pub fn identify<T>(
        &mut self,
        data: &dyn Source,
        read: impl FnOnce(&dyn Source) -> Result<T>,
    ) -> Result<T> {
        let hashed = Hashed::new(data, &self.checkpoints);
        let found = read(&hashed)?;
        let hash = hashed.finish()?;
        self.identity.push(("data_sha256", hash));
        self.file.as_ref().map_or(Ok(()), |file| compare(file, &self.identity))?;
        Ok(found)
    }

    /// Where to go on from, if there was a checkpoint, `checked`; of points that are so transformed.
    ///
    /// # Errors
    /// [`Error::File`] if something is missing in it or cannot be; those of `checked`.
    pub fn begin(
        &mut self,
        adapter: &str,
        transform: &Transform,
        checked: impl FnOnce(&Saved, &S) -> Result<()>,
    ) -> Result<Option<S>> {
        adapter.clone_into(&mut self.adapter);
        if let Transform::Centred(mean) = transform {
            self.mean = mean.iter().copied().map(f64::from).collect();
        }
        self.last = Instant::now();
        let Some(file) = self.file.take() else { return Ok(None) };
        let state = S::read(&file, self.shape)?;
        checked(&file, &state)?;
        self.whole = Some(state.clone());
        Ok(Some(state))
    }

    fn stopped(&self) -> bool {
        self.checkpoints.stop.load(Ordering::Relaxed)
    }

    /// Whether a checkpoint should be written.
    pub fn due(&self) -> bool {
        self.stopped() || self.last.elapsed() >= self.checkpoints.every
    }

    /// A state that is whole; it is written if that is `due`. What it `reached` is for who asked for an end.
    ///
    /// # Errors
    /// [`Error::Interrupted`] if it was written and the fit is to end; those of writing.
    pub fn reach(&mut self, state: S, due: bool, reached: impl FnOnce() -> String) -> Result<()> {
        self.whole = Some(state);
        if !due {
            return Ok(());
        }
        // Asked once: a stop that comes while the file is written waits for the next one.
        let stopped = self.stopped();
        self.write()?;
        if !stopped {
            return Ok(());
        }
        Err(Error::Interrupted { path: Some(self.checkpoints.path.clone()), reached: reached() })
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
        let Some(state) = &self.whole else { return Ok(()) };
        let Written { pairs: own, mut tensors } = state.written(self.shape);
        let mut pairs = vec![("adapter", self.adapter.clone())];
        pairs.extend(self.identity.iter().cloned());
        pairs.extend(own);
        if !self.mean.is_empty() {
            tensors.push(Tensor::f64("mean", &[self.shape.1], &self.mean));
        }
        // Types of 8 bytes first, so that everything is aligned.
        tensors.sort_by_key(|tensor| tensor.dtype != "F64");
        let parts: Vec<Part<'_>> = tensors
            .iter()
            .map(|Tensor { name, dtype, shape, data }| Part { name, dtype, shape, data })
            .collect();
        // It is written where an end was asked for, too.
        S::KIND.write(&self.checkpoints.path, &pairs, &parts, &|| Ok(()))?;
        self.last = Instant::now();
        Ok(())
    }
}

/// Refuses a checkpoint of anything else.
fn compare(file: &Saved, identity: &[(&'static str, String)]) -> Result<()> {
    let Some(different) = file.differences(identity)? else { return Ok(()) };
    Err(Error::file(
        file.path(),
        format!(
            "this checkpoint is of another clustering: {different}; give the data and settings it was made with, or \
             another checkpoint"
        ),
    ))
}

/// Numbers as text, from which they come back to the bit.
pub(super) fn text_of(numbers: &[f64]) -> String {
    numbers.iter().map(f64::to_string).collect::<Vec<_>>().join(" ")
}

/// The numbers of such a text.
///
/// # Errors
/// [`Error::File`] if it is missing, or no list of numbers.
pub(super) fn numbers(file: &Saved, key: &str) -> Result<Vec<f64>> {
    let numbers = file.text(key)?.split_whitespace().map(str::parse).collect::<std::result::Result<_, _>>();
    numbers.map_err(|_| file.problem(&format!("its {key} is no list of numbers")))
}
