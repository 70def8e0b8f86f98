//! What the host learns of work in batches, and how large it makes them.

use std::time::Duration;

/// A submission of several steps should not take longer than this, so that progress shows and no driver takes it for a
/// hang.
const BATCH_TIME: Duration = Duration::from_millis(250);

/// What the host learns between batches.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Progress {
    /// The first centroids are being chosen.
    Seeding {
        /// Centroids chosen.
        chosen: usize,
        /// Centroids to choose.
        of: usize,
    },
    /// The loop is at work.
    Iterating {
        /// Iterations completed; of several problems, those of the one that went farthest.
        n_iter: u32,
        /// Labels that the last of them changed.
        changed: u32,
        /// Sum of the centroids' squared shifts in the last of them.
        shift: f32,
        /// Sum of the points' squared distances to their centroids; of one euclidean problem without weights.
        inertia: Option<f64>,
        /// Problems whose loop goes on.
        running: usize,
    },
}

impl Progress {
    /// What it is of points times a factor.
    pub(super) fn scaled(self, factor: f32) -> Self {
        match self {
            Self::Iterating { n_iter, changed, shift, inertia, running } => Self::Iterating {
                n_iter,
                changed,
                shift: shift * factor * factor,
                inertia: inertia.map(|inertia| inertia * f64::from(factor).powi(2)),
                running,
            },
            seeding @ Self::Seeding { .. } => seeding,
        }
    }
}

/// How the loop ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Iterations completed.
    pub n_iter: u32,
    /// Whether it ended by itself rather than at the most iterations allowed.
    pub converged: bool,
    /// Mean time of an iteration. The first is left out where there are more: drivers compile a kernel when it first
    /// runs.
    pub iteration: Duration,
    /// The inertia that each iteration found, where asked for.
    pub history: Vec<f64>,
}

/// How many steps to put into the next submission, learnt from the time that the last ones took.
#[derive(Debug)]
pub(super) struct Batch {
    /// Steps in the next submission.
    pub(super) size: u32,
    most: u32,
    first: Option<Duration>,
    later: (Duration, u32),
}

impl Batch {
    pub(super) fn new(most: u32) -> Self {
        Self { size: 1, most, first: None, later: (Duration::ZERO, 0) }
    }

    /// `steps` steps took `time`.
    pub(super) fn took(&mut self, time: Duration, steps: u32) {
        // The first submission includes the driver's compilation, and tells nothing about the next.
        if self.first.is_none() {
            self.first = Some(time / steps);
            return;
        }
        self.later = (self.later.0 + time, self.later.1 + steps);
        let each = (time / steps).as_secs_f64().max(1e-9);
        let fit = (BATCH_TIME.as_secs_f64() / each) as u32;
        self.size = (self.size * 2).min(fit).clamp(1, self.most);
    }

    /// Mean time of a step, the first submission left out if there were more.
    pub(super) fn each(&self) -> Duration {
        if self.later.1 > 0 { self.later.0 / self.later.1 } else { self.first.unwrap_or_default() }
    }
}
