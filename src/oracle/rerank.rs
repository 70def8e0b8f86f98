//! Oracle of `rerank`: the nearest centroid of the numbers as they are, without any rounding.
//!
//! Products of two f32 are f64 numbers; a sum of them is kept as an expansion: f64 numbers that do not overlap (Shewchuk
//! 1997), whose largest has the sum's sign.

use std::cmp::Ordering;

/// Adds `term` to an expansion, whose components grow in size.
fn grow(expansion: &mut Vec<f64>, term: f64) {
    let mut carried = term;
    expansion.retain_mut(|component| {
        let sum = *component + carried;
        let virtually = sum - *component;
        let rest = (*component - (sum - virtually)) + (carried - virtually);
        carried = sum;
        *component = rest;
        rest != 0.0
    });
    if carried != 0.0 {
        expansion.push(carried);
    }
}

/// How `|x - a|^2` compares with `|x - b|^2`; with `dot`, how `-x.a` does with `-x.b`.
pub fn compare(x: &[f32], a: &[f32], b: &[f32], dot: bool) -> Ordering {
    let mut sum = Vec::new();
    for ((&x, &a), &b) in x.iter().zip(a).zip(b) {
        let (x, a, b) = (f64::from(x), f64::from(a), f64::from(b));
        if !dot {
            grow(&mut sum, a * a);
            grow(&mut sum, -b * b);
        }
        grow(&mut sum, -2.0 * x * a);
        grow(&mut sum, 2.0 * x * b);
    }
    sum.last().map_or(Ordering::Equal, |largest| largest.total_cmp(&0.0))
}

/// The index of the nearest of `centroids` (`[k, d]`) for each of `points` (`[n, d]`), the lowest of equals; with `dot`, of the
/// one of the largest product.
pub fn rerank(points: &[f32], centroids: &[f32], d: usize, dot: bool) -> Vec<u32> {
    let nearest = |x: &[f32]| {
        let mut rows = (0..).zip(centroids.chunks(d));
        let first = rows.next();
        first.map(|first| {
            rows.fold(
                first,
                |best, row| {
                    if compare(x, row.1, best.1, dot) == Ordering::Less { row } else { best }
                },
            )
        })
    };
    points.chunks(d).map(|x| nearest(x).map_or(0, |(label, _)| label)).collect()
}
