//! What decisions at a threshold lose: recall and F1 of two models on the same rows, with an upper bound of each drop.
//!
//! **Recall** is a proportion of the positives, and both models decide on the same ones: only positives that one of them
//! finds and the other does not say something about the difference. Its bound is the adjusted Wald bound for paired
//! proportions (Bonett and Price, Journal of Educational and Behavioral Statistics 37, 2012): one more row is taken to be
//! lost, and one more to be gained, than were. Without that, a few rows that differ make the bound too small (McNemar's
//! variance alone covers 11 to 95 % of the cases where 95 % are wanted, this one 92 % and more).
//!
//! **F1** is a quotient of two sums over rows, `sum 2 y d / sum (y + d)` for label y and decision d, so its drop has a
//! variance by the delta method: that of each row's share in it, `(2 y d - F1 (y + d)) / sum (y + d)` of the first model less
//! that of the second. It is adjusted in the same way, by one more row of each of the four kinds that differ.
//!
//! Where no decision differs, both are by the rule of three, as for the AUC. For recall it is of the positives. For F1 it is
//! of all rows, and the worst that so many can do is to be lost hits, which costs more than as many false alarms.

use serde::Serialize;

use super::{Bound, delong, unvaried};

/// A drop between two models on the same rows, and its upper bound.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Paired {
    /// The f32 model's figure less the INT8 model's.
    pub drop: f64,
    /// The drop is at most this, at the wanted confidence.
    pub upper_bound: f64,
    /// Where that comes from.
    pub upper_bound_by: Bound,
}

impl Paired {
    /// Of the share of `rows`, one or more, that are found: `lost` of them are by the f32 model alone, and `gained` by the other
    /// alone.
    pub fn of_shares(lost: u64, gained: u64, rows: u64, confidence: f64) -> Self {
        if lost + gained == 0 {
            return Self::unvaried(unvaried(0.0, rows as usize, confidence));
        }
        let (lost, gained, adjusted) = (lost as f64, gained as f64, rows as f64 + 2.0);
        let center = (lost - gained) / adjusted;
        let variance = ((lost + gained + 2.0) / adjusted - center * center) / adjusted;
        Self::new((lost - gained) / rows as f64, center, variance.max(0.0).sqrt(), confidence)
    }

    fn new(drop: f64, center: f64, error: f64, confidence: f64) -> Self {
        let bound = center + delong::normal_quantile(confidence) * error;
        Self { drop, upper_bound: bound.clamp(drop, 1.0), upper_bound_by: Bound::AdjustedWald }
    }

    fn unvaried(bound: f64) -> Self {
        Self { drop: 0.0, upper_bound: bound, upper_bound_by: Bound::RuleOfThree }
    }

    /// With the bound by a bootstrap over groups, where that is larger.
    pub(super) fn or_bootstrap(self, bound: f64) -> Self {
        if bound > self.upper_bound {
            return Self { upper_bound: bound, upper_bound_by: Bound::Bootstrap, ..self };
        }
        self
    }
}

/// How many rows there are of each label, each decision of the f32 model, and each of the INT8 model.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Decided([[[u64; 2]; 2]; 2]);

impl Decided {
    pub fn of(labels: &[bool], [baseline, quantized]: [&[f32]; 2], threshold: f32) -> Self {
        let mut counts = Self::default();
        for ((&label, &a), &b) in labels.iter().zip(baseline).zip(quantized) {
            counts.add(label, [a > threshold, b > threshold], 1);
        }
        counts
    }

    pub fn add(&mut self, label: bool, [a, b]: [bool; 2], rows: u64) {
        self.0[usize::from(label)][usize::from(a)][usize::from(b)] += rows;
    }

    /// All of `other`, so often.
    pub fn add_all(&mut self, other: &Self, times: u64) {
        for ((label, a, b), rows) in other.cells() {
            self.add(label, [a, b], rows * times);
        }
    }

    fn cells(&self) -> impl Iterator<Item = ((bool, bool, bool), u64)> {
        let both = || [false, true].into_iter();
        let all = both().flat_map(move |y| both().flat_map(move |a| both().map(move |b| (y, a, b))));
        let counts = self.0;
        all.map(move |(y, a, b)| ((y, a, b), counts[usize::from(y)][usize::from(a)][usize::from(b)]))
    }

    fn rows(&self) -> u64 {
        self.cells().map(|(_, rows)| rows).sum()
    }

    pub fn positives(&self) -> u64 {
        self.cells().filter(|((label, ..), _)| *label).map(|(_, rows)| rows).sum()
    }

    /// Positives that only the f32 model finds, and that only the INT8 model finds.
    fn lost_and_gained(&self) -> [u64; 2] {
        [self.0[1][1][0], self.0[1][0][1]]
    }

    fn differing(&self) -> u64 {
        self.cells().filter(|((_, a, b), _)| a != b).map(|(_, rows)| rows).sum()
    }

    /// The recall's drop.
    pub fn recall_drop(&self) -> f64 {
        let [lost, gained] = self.lost_and_gained();
        (lost as f64 - gained as f64) / self.positives().max(1) as f64
    }

    /// The drop of F1.
    pub fn f1_drop(&self) -> f64 {
        let [a, b] = self.f1_sums(0.0);
        a.f1() - b.f1()
    }

    /// Numerator and denominator of both F1, with `more` rows of each kind that differs.
    fn f1_sums(&self, more: f64) -> [Sums; 2] {
        let mut sums = [Sums::default(); 2];
        for ((label, a, b), rows) in self.cells() {
            let rows = rows as f64 + if a == b { 0.0 } else { more };
            sums[0].add(label, a, rows);
            sums[1].add(label, b, rows);
        }
        sums
    }

    /// The recall's drop with its bound.
    pub fn recall(&self, confidence: f64) -> Paired {
        let [lost, gained] = self.lost_and_gained();
        Paired::of_shares(lost, gained, self.positives(), confidence)
    }

    /// The drop of F1 with its bound.
    pub fn f1(&self, confidence: f64) -> Paired {
        if self.differing() == 0 {
            let share = unvaried(0.0, self.rows() as usize, confidence);
            return Paired::unvaried(self.f1_without(share * self.rows() as f64));
        }
        let [a, b] = self.f1_sums(1.0);
        let share = |of: &Sums, label: bool, found: bool| {
            let (top, bottom) = terms(label, found);
            (top - of.f1() * bottom) / of.bottom
        };
        let variance: f64 = self
            .cells()
            .map(|((label, by_a, by_b), rows)| {
                let rows = rows as f64 + if by_a == by_b { 0.0 } else { 1.0 };
                rows * (share(&a, label, by_a) - share(&b, label, by_b)).powi(2)
            })
            .sum();
        Paired::new(self.f1_drop(), a.f1() - b.f1(), variance.sqrt(), confidence)
    }

    /// What F1 drops by where `rows` of the hits are lost.
    fn f1_without(&self, rows: f64) -> f64 {
        let [a, _] = self.f1_sums(0.0);
        let lost = rows.min(a.top / 2.0);
        a.f1() - Sums { top: a.top - 2.0 * lost, bottom: a.bottom - lost }.f1()
    }
}

/// What a row adds to the numerator and to the denominator of F1.
fn terms(label: bool, found: bool) -> (f64, f64) {
    let (label, found) = (f64::from(label), f64::from(found));
    (2.0 * label * found, label + found)
}

/// Numerator and denominator of F1.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    top: f64,
    bottom: f64,
}

impl Sums {
    fn add(&mut self, label: bool, found: bool, rows: f64) {
        let (top, bottom) = terms(label, found);
        self.top += rows * top;
        self.bottom += rows * bottom;
    }

    /// 0 where there is nothing to find, and nothing found.
    fn f1(&self) -> f64 {
        if self.bottom > 0.0 { self.top / self.bottom } else { 0.0 }
    }
}
