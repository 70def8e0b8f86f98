// The state of Lloyd's loop on the device; the host reads it between submissions (src/kmeans/lloyd.rs mirrors it).
struct Control {
    state: u32,     // RUNNING, or why the loop stands still
    n_iter: u32,    // iterations completed
    accept: u32,    // 1: the centroids just computed are to be taken over
    empty: u32,     // clusters without a point in the last iteration
    changed: u32,   // labels changed by the last iteration
    shift: f32,     // sum over centroids of the squared shift of the last iteration
}

const RUNNING: u32 = 0u;
const LABELS_UNCHANGED: u32 = 1u;
const SHIFT_WITHIN_TOL: u32 = 2u;
const EMPTY_CLUSTERS: u32 = 3u;
const PAUSED: u32 = 4u;     // by the host, while it fills the empty clusters of others
