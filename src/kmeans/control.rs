//! The control blocks of the loops on the device, one for each problem.

use crate::gpu::params;

params! {
    /// The control block as it lies in memory (shaders/lib/lloyd.wgsl).
    #[derive(PartialEq)]
    pub struct Control {
        /// One of the states below.
        state: u32,
        /// Iterations completed.
        n_iter: u32,
        /// Whether the last centroids were taken over.
        accept: u32,
        /// Clusters without a point, frozen ones aside.
        empty: u32,
        /// Labels changed by the last iteration.
        changed: u32,
        /// Sum of the centroids' squared shifts in the last iteration.
        shift: f32,
    }
}

/// The loop goes on.
pub const RUNNING: u32 = 0;
/// No label changed: the centroids are a fixed point.
pub const LABELS_UNCHANGED: u32 = 1;
/// The centroids moved by no more than the tolerance.
pub const SHIFT_WITHIN_TOL: u32 = 2;
/// Clusters are empty, and the host is to relocate them.
pub const EMPTY_CLUSTERS: u32 = 3;
/// The host keeps the loop from going on.
pub const PAUSED: u32 = 4;

/// A label that no centroid has, so that the first assignment changes every point.
pub const NO_LABEL: u32 = u32::MAX;
