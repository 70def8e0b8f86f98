//! How certain a drop is when rows come in groups: a block bootstrap.
//!
//! Rows of one print or layer resemble each other, and then DeLong's error, which takes rows for independent, is too
//! small. Here whole groups are drawn with replacement, as many as there are, again and again (Field and Welsh, Journal
//! of the Royal Statistical Society B 69, 2007); the drop of each such sample shows how much the drop depends on which
//! groups were measured.

use serde::Serialize;

use super::paired::Decided;
use super::{Input, Options, unvaried};
use crate::percentile::{percentile, sorted};
use crate::random::Random;
use crate::{Error, Result};

/// Samples of one class only are drawn again, at most so many times for each sample that is kept.
const PATIENCE: usize = 20;

/// What the bootstrap found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Bootstrap {
    /// The number of groups.
    pub groups: usize,
    /// Samples drawn.
    pub replicates: usize,
    /// Samples of one class only, which were drawn again.
    pub redrawn: usize,
    /// The seed of the drawing.
    pub seed: u64,
    /// Where every sample has the same drop: of how many groups the rule of three is, the fewer of those with positives
    /// and those with negatives.
    pub rule_of_three: Option<usize>,
    /// The least drop that `confidence` of the samples do not exceed, or the bound by the rule of three.
    pub upper_bound: f64,
    /// The least drop of F1 at the threshold that `confidence` of the samples do not exceed. Where no decision differs it is 0,
    /// and the bound of rows is the larger.
    pub upper_bound_f1: f64,
    /// The same of the recall.
    pub upper_bound_recall: f64,
}

/// Checks that there are groups to draw from.
///
/// # Errors
/// [`Error::Input`] if there are fewer than two.
pub fn check_groups(groups: &[i32]) -> Result<()> {
    if groups.windows(2).all(|pair| pair[0] == pair[1]) {
        return Err(Error::Input(
            "all rows are of one group: a bootstrap over groups needs two or more, so leave the groups out or take finer \
             ones"
                .into(),
        ));
    }
    Ok(())
}

/// One model's rows in the order of their scores.
struct Ranked {
    /// Group and label of each row.
    rows: Vec<(u32, bool)>,
    /// Where rows of the same score end.
    ends: Vec<usize>,
}

impl Ranked {
    fn new(labels: &[bool], scores: &[f32], groups: &[u32]) -> Self {
        let mut order: Vec<usize> = (0..scores.len()).collect();
        order.sort_by(|&a, &b| scores[a].total_cmp(&scores[b]));
        let ends =
            (1..=order.len()).filter(|&i| i == order.len() || scores[order[i - 1]] != scores[order[i]]);
        Self { ends: ends.collect(), rows: order.iter().map(|&row| (groups[row], labels[row])).collect() }
    }

    /// Twice the number of pairs that are in order, ties by halves, where group g is there `weights[g]` times.
    fn ordered(&self, weights: &[u64]) -> u128 {
        let (mut sum, mut below, mut start) = (0u128, 0u64, 0);
        for &end in &self.ends {
            let mut here = [0u64; 2];
            for &(group, label) in &self.rows[start..end] {
                here[usize::from(label)] += weights[group as usize];
            }
            sum += u128::from(here[1]) * u128::from(2 * below + here[0]);
            below += here[0];
            start = end;
        }
        sum
    }
}

/// Draws samples of groups, and asks `go_on` before each. The inputs are as long as each other and have no NaN.
pub(super) fn bootstrap(
    input: &Input,
    groups: &[i32],
    options: &Options,
    go_on: &dyn Fn() -> Result<()>,
) -> Result<Bootstrap> {
    let &Input { labels, baseline, quantized, .. } = input;
    let &Options { confidence, threshold, replicates, seed, .. } = options;
    check_groups(groups)?;
    if replicates == 0 {
        return Err(Error::Input("a bootstrap needs one sample or more: 0 were asked for".into()));
    }
    let mut names = groups.to_vec();
    names.sort_unstable();
    names.dedup();
    let places: Vec<u32> =
        groups.iter().map(|group| names.partition_point(|name| name < group) as u32).collect();
    let mut classes = vec![[0u64; 2]; names.len()];
    let mut decisions = vec![Decided::default(); names.len()];
    for (row, (&place, &label)) in places.iter().zip(labels).enumerate() {
        classes[place as usize][usize::from(label)] += 1;
        decisions[place as usize].add(label, [baseline[row] > threshold, quantized[row] > threshold], 1);
    }
    let (a, b) = (Ranked::new(labels, baseline, &places), Ranked::new(labels, quantized, &places));
    let (mut random, mut redrawn) = (Random::new(seed), 0);
    let (mut drops, mut f1, mut recall) = (Vec::new(), Vec::new(), Vec::new());
    while drops.len() < replicates {
        go_on()?;
        let mut weights = vec![0u64; names.len()];
        for _ in 0..names.len() {
            weights[random.below(names.len() as u64) as usize] += 1;
        }
        let [negatives, positives] = [0, 1].map(|class| {
            classes.iter().zip(&weights).map(|(group, weight)| group[class] * weight).sum::<u64>()
        });
        if negatives == 0 || positives == 0 {
            redrawn += 1;
            if redrawn > PATIENCE * replicates {
                return Err(Error::Input(
                    "almost no sample of the groups has positives and negatives: use finer groups, or none"
                        .into(),
                ));
            }
            continue;
        }
        let difference = a.ordered(&weights) as i128 - b.ordered(&weights) as i128;
        drops.push(difference as f64 / (2.0 * positives as f64 * negatives as f64));
        let mut sample = Decided::default();
        for (of, &weight) in decisions.iter().zip(&weights) {
            sample.add_all(of, weight);
        }
        f1.push(sample.f1_drop());
        recall.push(sample.recall_drop());
    }
    let [drops, f1, recall] = [drops, f1, recall].map(sorted);
    let [upper_bound, upper_bound_f1, upper_bound_recall] =
        [&drops, &f1, &recall].map(|drops| percentile(drops, confidence).unwrap_or(f64::NAN));
    let having = |class: usize| classes.iter().filter(|group| group[class] > 0).count();
    let rule_of_three = (drops.first() == drops.last()).then(|| having(0).min(having(1)));
    let upper_bound = rule_of_three.map_or(upper_bound, |groups| unvaried(upper_bound, groups, confidence));
    let groups = names.len();
    Ok(Bootstrap {
        groups,
        replicates,
        redrawn,
        seed,
        rule_of_three,
        upper_bound,
        upper_bound_f1,
        upper_bound_recall,
    })
}
