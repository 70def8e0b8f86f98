//! What Lloyd's loop keeps, so that a fit that was ended goes on to the bit as if it had not been.
//!
//! Labels are not in it: the centroids before the last iteration give them again. The tensors `centroids`,
//! `centroids_before` and `best_centroids` (of the best start so far) are `[k, d]` as they lie on the device: with the
//! euclidean metric, less the tensor `mean` (`[d]`).

use std::time::Duration;

use super::control::{LABELS_UNCHANGED, PAUSED, RUNNING, SHIFT_WITHIN_TOL};
use super::frame::Transform;
use super::keeper::{Keeper, Kept, Tensor, Written, floats, numbers, text_of};
use super::progress::Outcome;
use crate::Result;
use crate::io::saved::Saved;
use crate::random::Random;

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

impl Kept for State {
    const FORMAT: &'static str = "lowbit k-means checkpoint 2";

    fn written(&self, (k, d): (usize, usize)) -> Written {
        let (stand, position) = self;
        let mut written = Written::default();
        let pairs = &mut written.pairs;
        pairs.push(("start", stand.start.to_string()));
        pairs.push(("random", stand.random.state().to_string()));
        pairs.push(("notices", serde_json::Value::from(stand.notices.as_slice()).to_string()));
        let mut centroids = |name, values: &[f32]| written.tensors.push(Tensor::f32(name, &[k, d], values));
        if let Some(position) = position {
            pairs.push(("n_iter", position.n_iter.to_string()));
            pairs.push(("state", position.state.to_string()));
            pairs.push(("history", text_of(&position.history)));
            centroids("centroids", &position.centroids);
            position.before.iter().for_each(|before| centroids("centroids_before", before));
        }
        if let Some(Best { inertia, outcome, centroids: best, .. }) = &stand.best {
            pairs.push(("best_inertia", inertia.to_string()));
            pairs.push(("best_n_iter", outcome.n_iter.to_string()));
            pairs.push(("best_history", text_of(&outcome.history)));
            pairs.push(("best_converged", outcome.converged.to_string()));
            pairs.push(("best_seconds_per_iteration", outcome.iteration.as_secs_f64().to_string()));
            centroids("best_centroids", best);
        }
        written
    }

    fn read(file: &Saved, (k, d): (usize, usize)) -> Result<Self> {
        let notices = serde_json::from_str(file.text("notices")?)
            .map_err(|_| file.problem("its notices are no list of strings"))?;
        let centroids = |name| floats(file, name, &[k, d]);
        let best = if file.find("best_inertia").is_some() {
            let iteration = Duration::try_from_secs_f64(file.value("best_seconds_per_iteration")?);
            let outcome = Outcome {
                n_iter: file.value("best_n_iter")?,
                converged: file.value("best_converged")?,
                iteration: iteration
                    .map_err(|_| file.problem("its best_seconds_per_iteration are no time"))?,
                history: numbers(file, "best_history")?,
            };
            let (inertia, centroids) = (file.value("best_inertia")?, centroids("best_centroids")?);
            Some(Best { inertia, outcome, centroids, labels: None })
        } else {
            None
        };
        let random = Random::at(file.value("random")?);
        let stand = Stand { start: file.value("start")?, random, notices, best };
        if file.find("n_iter").is_none() {
            return Ok((stand, None));
        }
        let (n_iter, state) = (file.value("n_iter")?, file.value("state")?);
        if ![RUNNING, LABELS_UNCHANGED, SHIFT_WITHIN_TOL, PAUSED].contains(&state) {
            return Err(file.problem(&format!("its state is {state}")));
        }
        let before = if n_iter > 0 { Some(centroids("centroids_before")?) } else { None };
        let (centroids, history) = (centroids("centroids")?, numbers(file, "history")?);
        Ok((stand, Some(Position { n_iter, state, before, centroids, history })))
    }
}

impl Keeper<State> {
    /// Where to go on from, if there was a checkpoint of a fit of so many `starts`; otherwise the `beginning`.
    ///
    /// # Errors
    /// Those of [`Keeper::begin`].
    pub fn begin_at(
        &mut self,
        adapter: &str,
        transform: &Transform,
        starts: u32,
        beginning: Stand,
    ) -> Result<State> {
        let found = self.begin(adapter, transform, |file, (stand, _)| match stand.start < starts {
            true => Ok(()),
            false => Err(file.problem(&format!("it is in start {} of {starts}", stand.start))),
        })?;
        match found {
            Some(state) => Ok(state),
            None => {
                self.reach((beginning.clone(), None), false, String::new)?;
                Ok((beginning, None))
            }
        }
    }
}

/// A [`Keeper`], and what it is to keep besides a position.
#[derive(Debug)]
pub struct Keeping<'a> {
    /// What writes.
    pub keeper: &'a mut Keeper<State>,
    /// The fit.
    pub stand: &'a Stand,
}

impl Keeping<'_> {
    /// As [`Keeper::due`].
    pub fn due(&self) -> bool {
        self.keeper.due()
    }

    /// As [`Keeper::reach`]: a start that has chosen its centroids has a position.
    ///
    /// # Errors
    /// Those of [`Keeper::reach`].
    pub fn reach(&mut self, position: Option<Position>, due: bool) -> Result<()> {
        let reached = position.as_ref().map(|position| position.n_iter);
        let start = self.stand.start;
        self.keeper.reach((self.stand.kept(), position), due, || {
            let of = if start > 0 { format!(" of start {}", start + 1) } else { String::new() };
            match reached {
                Some(n_iter) => format!("after {n_iter} iterations{of}"),
                None => format!("before the first iteration{of}"),
            }
        })
    }
}
