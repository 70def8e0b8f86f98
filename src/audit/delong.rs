//! The area under the ROC curve of two scores of the same rows, and how certain their difference is.
//!
//! The area is that of midranks: a pair of a positive and a negative counts 1 where the positive has the higher score, and
//! 1/2 where both have the same. The standard error of the difference is DeLong's (DeLong, DeLong and Clarke-Pearson,
//! Biometrics 44, 1988), by ranks (Sun and Xu, IEEE Signal Processing Letters 21, 2014). Everything up to the last
//! division and root is whole numbers, so that whoever counts ranks, CPU or GPU, comes to the same bits.

use crate::oracle::rank::rank;
use crate::{Error, Result};

/// Counts ranks as [`crate::oracle::rank::rank`] does: `(x, others)`, for each of `x` how many of `others` are less, and
/// how many less or equal, added up.
pub type Counts<'a> = dyn FnMut(&[f32], &[f32]) -> Result<Vec<u32>> + 'a;

/// Counts on the CPU.
///
/// # Errors
/// None.
pub fn on_cpu(x: &[f32], others: &[f32]) -> Result<Vec<u32>> {
    Ok(rank(x, others))
}

/// Two areas under the ROC curve, over the same rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Areas {
    /// Of the first scores.
    pub baseline: f64,
    /// Of the second scores.
    pub quantized: f64,
    /// The first less the second.
    pub drop: f64,
    /// The standard error of `drop`. Exactly 0 where the rows say nothing about it: every positive, and every negative,
    /// would change the drop alike.
    pub standard_error: f64,
}

/// Counts positives and negatives.
///
/// # Errors
/// [`Error::Input`] if there are fewer than two of either.
pub fn check_labels(labels: &[bool]) -> Result<(usize, usize)> {
    let positives = labels.iter().filter(|&&label| label).count();
    let negatives = labels.len() - positives;
    if positives < 2 || negatives < 2 {
        return Err(Error::Input(format!(
            "the labels have {positives} positives and {negatives} negatives: an AUC and its error need two of each"
        )));
    }
    Ok((positives, negatives))
}

/// Compares two scores of the same rows.
///
/// # Errors
/// [`Error::Input`] if the lengths differ, a score is NaN, there are fewer than two positives or negatives, or 2^31 rows
/// and more; whatever `counts` says.
pub fn areas(labels: &[bool], baseline: &[f32], quantized: &[f32], counts: &mut Counts) -> Result<Areas> {
    for (scores, name) in [(baseline, "f32"), (quantized, "INT8")] {
        if scores.len() != labels.len() {
            let (found, rows) = (scores.len(), labels.len());
            return Err(Error::Shape(format!("there are {rows} labels, but {found} {name} scores")));
        }
        if let Some(row) = scores.iter().position(|score| score.is_nan()) {
            return Err(Error::NotFinite(format!("row {row} (from 0): the {name} score is NaN")));
        }
    }
    let (positives, negatives) = check_labels(labels)?;
    if labels.len() >= 1 << 31 {
        return Err(Error::Input(format!(
            "there are {} rows; fewer than 2^31 can be compared",
            labels.len()
        )));
    }
    let mut count = |scores: &[f32]| -> Result<[Vec<u32>; 2]> {
        let part = |wanted: bool| -> Vec<f32> {
            scores
                .iter()
                .zip(labels)
                .filter(|(_, label)| **label == wanted)
                .map(|(score, _)| *score)
                .collect()
        };
        let (positive, negative) = (part(true), part(false));
        let found = [counts(&positive, &negative)?, counts(&negative, &positive)?];
        if found.each_ref().map(Vec::len) != [positive.len(), negative.len()] {
            return Err(Error::Shape("there has to be a count for each score".into()));
        }
        Ok(found)
    };
    let ([positive_a, negative_a], [positive_b, negative_b]) = (count(baseline)?, count(quantized)?);
    // psi of a positive is its count over twice the negatives, that of a negative 1 less its count over twice the
    // positives.
    let (m, n) = (positives as f64, negatives as f64);
    let area = |counts: &[u32]| sum(counts) as f64 / (2.0 * m * n);
    let difference = sum(&positive_a) - sum(&positive_b);
    let variance = variance(&positive_a, &positive_b) / (4.0 * n * n * m)
        + variance(&negative_a, &negative_b) / (4.0 * m * m * n);
    Ok(Areas {
        baseline: area(&positive_a),
        quantized: area(&positive_b),
        drop: difference as f64 / (2.0 * m * n),
        standard_error: variance.sqrt(),
    })
}

/// The area under the ROC curve of one score, as [`areas`] has it.
///
/// # Errors
/// Those of [`areas`].
pub fn area(labels: &[bool], scores: &[f32], counts: &mut Counts) -> Result<f64> {
    areas(labels, scores, scores, counts).map(|areas| areas.baseline)
}

fn sum(counts: &[u32]) -> i64 {
    counts.iter().map(|&count| i64::from(count)).sum()
}

/// The variance of `a - b`, by one less than their number.
// Fewer than 2^31 differences below 2^32: their squares sum to less than 2^95, and that times their number is less than
// 2^126.
fn variance(a: &[u32], b: &[u32]) -> f64 {
    let (mut sum, mut squares) = (0i128, 0i128);
    for (&a, &b) in a.iter().zip(b) {
        let difference = i128::from(a) - i128::from(b);
        sum += difference;
        squares += difference * difference;
    }
    let count = a.len() as i128;
    (count * squares - sum * sum) as f64 / (count as f64 * (count - 1) as f64)
}

/// The number that a standard normal variable stays below with probability `confidence`, from 0.5 on.
pub(super) fn normal_quantile(confidence: f64) -> f64 {
    // By Newton's method from 0: the upper tail is convex from there on, so that no step goes too far.
    let (tail, mut z) = (1.0 - confidence, 0.0);
    for _ in 0..200 {
        let excess = 0.5 * libm::erfc(z / std::f64::consts::SQRT_2) - tail;
        let density = libm::exp(-0.5 * z * z) / (2.0 * std::f64::consts::PI).sqrt();
        let step = excess / density;
        z += step;
        if step.abs() <= 1e-15 * z {
            break;
        }
    }
    z
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_the_normal_distribution() {
        // scipy.stats.norm.ppf
        for (confidence, z) in [
            (0.5, 0.0),
            (0.9, 1.2815515655446004),
            (0.95, 1.6448536269514722),
            (0.975, 1.959963984540054),
            (0.99, 2.3263478740408408),
            (0.999999, 4.753424308817087),
        ] {
            let found = normal_quantile(confidence);
            assert!((found - z).abs() <= 2e-12, "{confidence}: {found}, {z} expected");
        }
    }
}
