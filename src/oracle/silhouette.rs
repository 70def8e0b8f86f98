//! Oracle of silhouettes: Rousseeuw's definition (1987), row by row.

use super::distance::{distance, product};

fn between(x: &[f32], y: &[f32], cosine: bool) -> f64 {
    if cosine { 1.0 - product(x, y) / (product(x, x) * product(y, y)).sqrt() } else { distance(x, y).sqrt() }
}

/// The mean silhouette coefficient of `points` (`[n, d]`) by their labels, from 0 on, of which there are several.
pub fn silhouette(points: &[f32], labels: &[i32], d: usize, cosine: bool) -> f64 {
    let row = |i: usize| &points[i * d..][..d];
    let clusters = labels.iter().max().map_or(0, |&most| most as usize + 1);
    let coefficient = |i: usize| {
        let mean = |cluster: usize| {
            let members = (0..labels.len()).filter(|&j| j != i && labels[j] as usize == cluster);
            let found: Vec<f64> = members.map(|j| between(row(i), row(j), cosine)).collect();
            (!found.is_empty()).then(|| found.iter().sum::<f64>() / found.len() as f64)
        };
        let own = labels[i] as usize;
        let Some(a) = mean(own) else { return 0.0 };
        let b = (0..clusters).filter(|&c| c != own).filter_map(mean).fold(f64::INFINITY, f64::min);
        if a.max(b) == 0.0 { 0.0 } else { (b - a) / a.max(b) }
    };
    (0..labels.len()).map(coefficient).sum::<f64>() / labels.len() as f64
}
