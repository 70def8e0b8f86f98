//! Oracle of `lloyd`: when the loop ends, and the whole loop as scikit-learn defines it, in f64.

use super::{assign, distance};

/// What the control block says after an iteration, by the rules of the shader's header.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Control {
    /// 0 running, 1 no label changed, 2 shift within the tolerance, 3 empty clusters to relocate.
    pub state: u32,
    /// Iterations completed.
    pub n_iter: u32,
    /// Whether new centroids are taken over.
    pub accept: u32,
    /// Clusters without a point, frozen ones aside.
    pub empty: u32,
    /// Labels changed.
    pub changed: u32,
    /// Sum of squared shifts.
    pub shift: f32,
}

/// The decision after an iteration that found `mass`, `shift` and `changed`; the first `frozen` clusters may be empty.
pub fn decide(
    before: Control,
    mass: &[f32],
    shift: &[f32],
    changed: u32,
    tol: f32,
    relocate: bool,
    frozen: usize,
) -> Control {
    let mut after = Control { accept: 0, ..before };
    if before.state != 0 {
        return after;
    }
    after.empty = mass.iter().skip(frozen).filter(|&&mass| mass == 0.0).count() as u32;
    if after.empty > 0 && relocate {
        return Control { state: 3, ..after };
    }
    let moved: f64 = shift.iter().map(|&x| f64::from(x)).sum();
    let state = if changed == 0 {
        1
    } else if moved <= f64::from(tol) {
        2
    } else {
        0
    };
    Control { state, n_iter: before.n_iter + 1, accept: 1, changed, shift: moved as f32, ..after }
}

/// A clustering by the definition.
#[derive(Clone, Debug)]
pub struct Clustering {
    /// `[k, d]`
    pub centroids: Vec<f64>,
    /// `[n]`
    pub labels: Vec<u32>,
    /// Sum of squared distances.
    pub inertia: f64,
    /// Iterations.
    pub n_iter: u32,
}

/// Lloyd's loop from `init` (`[k, d]`) over `points` (`[n, d]`), ending at squared shifts of `tol` in sum.
pub fn lloyd(points: &[f32], init: &[f32], d: usize, max_iter: u32, tol: f64) -> Clustering {
    let mut centroids: Vec<f32> = init.to_vec();
    let mut labels: Vec<u32> = vec![u32::MAX; points.len() / d];
    let mut n_iter = 0;
    let mut settled = false;
    while n_iter < max_iter && !settled {
        n_iter += 1;
        let new_labels = assign::assign(points, &centroids, d);
        let mut members = new_labels.clone();
        let mut counts = vec![0u32; centroids.len() / d];
        for &label in &members {
            counts[label as usize] += 1;
        }
        let empty: Vec<u32> = (0..).zip(&counts).filter(|(_, count)| **count == 0).map(|(c, _)| c).collect();
        let far = |i: &usize| {
            distance::distance(&points[i * d..][..d], &centroids[new_labels[*i] as usize * d..][..d])
        };
        let mut order: Vec<usize> = (0..members.len()).collect();
        order.sort_by(|a, b| far(b).total_cmp(&far(a)).then(b.cmp(a)));
        let relocates = !empty.is_empty() && order.first().is_some_and(|i| far(i) > 0.0);
        if relocates {
            for (&point, &cluster) in order.iter().zip(&empty) {
                members[point] = cluster;
            }
        }
        let means = super::centroid::centroid(points, &members, None, &centroids, d, false, 0);
        centroids = means.next.iter().map(|&x| x as f32).collect();
        settled = new_labels == labels || means.shift.iter().sum::<f64>() <= tol;
        labels = new_labels;
    }
    labels = assign::assign(points, &centroids, d);
    let inertia = points
        .chunks(d)
        .zip(&labels)
        .map(|(x, &c)| distance::distance(x, &centroids[c as usize * d..][..d]))
        .sum();
    Clustering { centroids: centroids.iter().map(|&x| f64::from(x)).collect(), labels, inertia, n_iter }
}
