//! What one model's scores are worth at a threshold, over all thresholds, and as a curve.

use serde::Serialize;

/// A model's figures, with `score > threshold` for a positive.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figures {
    /// The mean of the precision over the recall: `sum (recall_k - recall_(k-1)) precision_k` over the distinct scores
    /// from the highest on, as scikit-learn has it.
    pub average_precision: f64,
    /// `2 tp / (2 tp + fp + fn)`
    pub f1: f64,
    /// `tp / (tp + fn)`
    pub recall: f64,
    /// `tp / (tp + fp)`; 0 where nothing is above the threshold.
    pub precision: f64,
    /// Positives above the threshold.
    pub true_positives: u64,
    /// Negatives above the threshold.
    pub false_positives: u64,
}

impl Figures {
    /// Those of `scores`, of which none is NaN; both classes are there.
    pub(super) fn of(labels: &[bool], scores: &[f32], threshold: f32) -> Self {
        let positives = labels.iter().filter(|&&label| label).count() as u64;
        let above = |wanted: bool| {
            scores
                .iter()
                .zip(labels)
                .filter(|(score, label)| **label == wanted && **score > threshold)
                .count() as u64
        };
        let (hits, alarms) = (above(true), above(false));
        Self {
            average_precision: average_precision(labels, scores),
            f1: 2.0 * hits as f64 / (hits + alarms + positives).max(1) as f64,
            recall: hits as f64 / positives.max(1) as f64,
            precision: hits as f64 / (hits + alarms).max(1) as f64,
            true_positives: hits,
            false_positives: alarms,
        }
    }
}

/// The ROC curve: the number of negatives and of positives with at least a score, for each score from the highest on.
/// It begins with (0, 0) and ends with all of both. There must be no NaN.
#[doc(hidden)]
pub fn roc(labels: &[bool], scores: &[f32]) -> Vec<(u64, u64)> {
    let mut rows: Vec<(f32, bool)> = scores.iter().copied().zip(labels.iter().copied()).collect();
    rows.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
    let (mut curve, mut here) = (vec![(0, 0)], (0, 0));
    for (i, &(score, label)) in rows.iter().enumerate() {
        if label {
            here.1 += 1;
        } else {
            here.0 += 1;
        }
        if rows.get(i + 1).is_none_or(|next| next.0 != score) {
            curve.push(here);
        }
    }
    curve
}

fn average_precision(labels: &[bool], scores: &[f32]) -> f64 {
    let curve = roc(labels, scores);
    let positives = curve.last().map_or(0, |end| end.1) as f64;
    let step = |pair: &[(u64, u64)]| match *pair {
        [before, (alarms, hits)] => {
            (hits - before.1) as f64 / positives * (hits as f64 / (hits + alarms) as f64)
        }
        _ => 0.0,
    };
    curve.windows(2).map(step).sum()
}

/// Rows that two models decide differently.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Flips {
    /// A score above it is a positive.
    pub threshold: f32,
    /// Rows that become positive.
    pub to_positive: u64,
    /// Rows that become negative.
    pub to_negative: u64,
    /// Both.
    pub rows: u64,
}

impl Flips {
    pub(super) fn of(baseline: &[f32], quantized: &[f32], threshold: f32) -> Self {
        let (mut to_positive, mut to_negative) = (0, 0);
        for (a, b) in baseline.iter().zip(quantized) {
            match (*a > threshold, *b > threshold) {
                (false, true) => to_positive += 1,
                (true, false) => to_negative += 1,
                _ => {}
            }
        }
        Self { threshold, to_positive, to_negative, rows: to_positive + to_negative }
    }
}
