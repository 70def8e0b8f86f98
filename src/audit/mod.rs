//! The audit: what a quantized classifier lost against its f32 original, and with what certainty. Never a GPU type.
//!
//! The gate is the drop of the area under the ROC curve. It passes where the drop, and the upper bound of it at the wanted
//! confidence (`drop + z * standard error`, one-sided, DeLong's error; with groups the larger of that and a block
//! bootstrap's), stay within the limit: the claim is non-inferiority, so that too few rows fail instead of passing unseen.
//!
//! Where the standard error is 0, as for a few rows that both models rank alike, the bound is by the rule of three (Hanley
//! and Lippman-Hand, JAMA 249, 1983): of N cases, the fewer of positives and negatives, none was seen to differ from the
//! others, so that such cases are at most a share of `1 - (1 - confidence)^(1 / N)` of all (about 3 / N at 95 %), and an
//! AUC changes by no more than the share of cases that move. A limit of 0.01 takes 299 of either class. The same goes for
//! groups where all samples of the bootstrap have one drop.
//!
//! A baseline that ranks no better than chance fails too: its drop means nothing, and inverted labels look like that.
//!
//! ```
//! use lowbit::audit::{Input, Options, Status, audit, on_cpu};
//!
//! let labels = [false, false, true, true];
//! let (baseline, quantized) = ([0.1, 0.5, 0.6, 0.9], [0.1, 0.5, 0.5, 0.9]);
//! let input = Input { labels: &labels, baseline: &baseline, quantized: &quantized, groups: None };
//! let audit = audit(&input, &Options::default(), &mut on_cpu)?;
//! assert_eq!((audit.auc_fp32_baseline, audit.auc_int8_quantized), (1.0, 0.875));
//! assert_eq!(audit.status, Status::Fail);
//! # Ok::<(), lowbit::Error>(())
//! ```

mod bootstrap;
mod delong;
mod scores;
pub mod telemetry;

use serde::Serialize;

pub use bootstrap::{Bootstrap, check_groups};
pub use delong::{Areas, Counts, area, areas, check_labels, on_cpu};
pub use scores::{Figures, Flips, roc};

use crate::{Error, Result};

/// Fewer rows than this are warned of.
pub const ENOUGH_ROWS: usize = 10_000;
/// Fewer positives than this are warned of.
pub const ENOUGH_POSITIVES: usize = 100;
/// A smaller share of positives is warned of.
pub const ENOUGH_SHARE: f64 = 0.001;
/// Fewer groups than this are warned of.
const ENOUGH_GROUPS: usize = 30;
/// A drop of F1 as large as this fails its check.
pub const F1_DROP: f64 = 0.01;
/// A recall below this fails its check.
pub const LEAST_RECALL: f64 = 0.75;
/// Thresholds at which flips are counted besides the user's: of a warning, and of a critical state.
pub const THRESHOLDS: [f32; 2] = [0.5, 0.85];

/// How to judge.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// The largest drop of the AUC that passes.
    pub max_drop: f64,
    /// The confidence of the upper bound, one-sided: at least 0.5 and less than 1.
    pub confidence: f64,
    /// A probability above it is a positive. Compared as an f32, which the probabilities are.
    pub threshold: f32,
    /// Whether the gate is the drop alone, however uncertain it is.
    pub point: bool,
    /// Samples of the bootstrap over groups.
    pub replicates: usize,
    /// Its seed.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { max_drop: 0.01, confidence: 0.95, threshold: 0.5, point: false, replicates: 1000, seed: 0 }
    }
}

impl Options {
    /// Whether every option is in its range.
    ///
    /// # Errors
    /// [`Error::Input`] for the first that is not.
    pub fn check(&self) -> Result<()> {
        let wrong = |problem: String| Err(Error::Input(problem));
        if !(0.5..1.0).contains(&self.confidence) {
            return wrong(format!("the confidence is {}: it has to be in [0.5, 1)", self.confidence));
        }
        if !(0.0..=1.0).contains(&self.max_drop) {
            return wrong(format!("the largest drop is {}: it has to be in [0, 1]", self.max_drop));
        }
        if !(0.0..1.0).contains(&self.threshold) {
            return wrong(format!("the threshold is {}: it has to be in [0, 1)", self.threshold));
        }
        Ok(())
    }
}

/// What is judged: one entry for each row of the test set.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// What is true.
    pub labels: &'a [bool],
    /// Probabilities by the f32 model.
    pub baseline: &'a [f32],
    /// Probabilities by the INT8 model.
    pub quantized: &'a [f32],
    /// Which print, layer or patient each row belongs to, if rows are not independent.
    pub groups: Option<&'a [i32]>,
}

/// Whether the gate is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Status {
    /// The INT8 model may be used.
    Pass,
    /// It may not.
    Fail,
}

/// Where an upper bound comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// DeLong's error.
    Delong,
    /// The bootstrap over groups.
    Bootstrap,
    /// The number of rows, or groups, of which none differs from the others.
    RuleOfThree,
}

/// One condition.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Check {
    /// What is compared.
    pub name: &'static str,
    /// What was found.
    pub value: f64,
    /// How it has to be to `limit`: `<=`, `<`, `>=` or `>`.
    pub relation: &'static str,
    /// What it is compared with.
    pub limit: f64,
    /// Whether it holds.
    pub pass: bool,
    /// Whether the status depends on it.
    pub gates: bool,
}

/// The verdict, and everything that it rests on.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Audit {
    /// The verdict in a word.
    pub status: Status,
    /// Area under the ROC curve of the f32 model.
    pub auc_fp32_baseline: f64,
    /// Area under the ROC curve of the INT8 model.
    pub auc_int8_quantized: f64,
    /// The first less the second.
    pub auc_degradation_gap: f64,
    /// The verdict as a truth value.
    pub meets_specification: bool,
    /// The verdict as a sentence.
    pub verdict: String,
    /// Rows of the test set.
    pub rows: usize,
    /// How many of them are positive.
    pub positives: usize,
    /// How many are not.
    pub negatives: usize,
    /// The largest drop that passes.
    pub max_drop: f64,
    /// Whether the gate is the drop alone.
    pub point: bool,
    /// The confidence of the upper bounds.
    pub confidence: f64,
    /// DeLong's standard error of the drop.
    pub standard_error: f64,
    /// Where the standard error is 0: of how many cases the rule of three is, the fewer of positives and negatives.
    pub rule_of_three: Option<usize>,
    /// The drop is at most this, by DeLong's error, or by the rule of three where that is 0.
    pub upper_bound_delong: f64,
    /// The block bootstrap over groups, if there are groups.
    pub bootstrap: Option<Bootstrap>,
    /// What the gate goes by: the larger of both bounds.
    pub upper_bound: f64,
    /// Where that comes from.
    pub upper_bound_by: Bound,
    /// A probability above it is a positive.
    pub threshold: f32,
    /// The f32 model's figures.
    pub fp32: Figures,
    /// The INT8 model's figures.
    pub int8: Figures,
    /// Decisions that differ, at the threshold and at [`THRESHOLDS`].
    pub flips: Vec<Flips>,
    /// The largest difference of two probabilities.
    pub max_probability_difference: f64,
    /// The mean difference of two probabilities, without sign.
    pub mean_probability_difference: f64,
    /// Every condition, those that decide first.
    pub checks: Vec<Check>,
    /// What must be known before trusting the verdict.
    pub warnings: Vec<String>,
}

impl Audit {
    /// The verdict as a `Result`, for an exit code.
    ///
    /// # Errors
    /// [`Error::Gate`] with the verdict, unless the status is [`Status::Pass`].
    pub fn gate(&self) -> Result<()> {
        match self.status {
            Status::Pass => Ok(()),
            Status::Fail => Err(Error::Gate(format!("the audit failed: {}", self.verdict))),
        }
    }
}

/// Judges; `counts` counts ranks: [`on_cpu`], or the kernel `rank`, which gives the same numbers.
///
/// # Errors
/// [`Error::Input`] if the lengths differ, a probability is NaN or not between 0 and 1, there are fewer than two positives
/// or negatives, an option is out of its range, or resamples of the groups hardly ever have both classes; whatever
/// `counts` says.
pub fn audit(input: &Input, options: &Options, counts: &mut Counts) -> Result<Audit> {
    check(input, options)?;
    let &Input { labels, baseline, quantized, groups } = input;
    let &Options { max_drop, confidence, threshold, point, .. } = options;
    let positives = labels.iter().filter(|&&label| label).count();
    let areas = areas(labels, baseline, quantized, counts)?;
    let fewer = positives.min(labels.len() - positives);
    let rule_of_three = (areas.standard_error == 0.0).then_some(fewer);
    let upper_bound_delong = match rule_of_three {
        Some(cases) => unvaried(areas.drop, cases, confidence),
        None => areas.drop + delong::normal_quantile(confidence) * areas.standard_error,
    };
    let bootstrap = groups
        .map(|groups| {
            let effort = (options.replicates, options.seed);
            bootstrap::bootstrap(labels, [baseline, quantized], groups, confidence, effort)
        })
        .transpose()?;
    let larger = bootstrap.as_ref().filter(|found| found.upper_bound > upper_bound_delong);
    let upper_bound = larger.map_or(upper_bound_delong, |found| found.upper_bound);
    let upper_bound_by = match (larger, larger.map_or(rule_of_three, |found| found.rule_of_three)) {
        (_, Some(_)) => Bound::RuleOfThree,
        (Some(_), None) => Bound::Bootstrap,
        (None, None) => Bound::Delong,
    };

    let fp32 = Figures::of(labels, baseline, threshold);
    let int8 = Figures::of(labels, quantized, threshold);
    let mut flips = vec![Flips::of(baseline, quantized, threshold)];
    let others = THRESHOLDS.iter().filter(|&&other| other != threshold);
    flips.extend(others.map(|&other| Flips::of(baseline, quantized, other)));
    let differences = || baseline.iter().zip(quantized).map(|(&a, &b)| (f64::from(a) - f64::from(b)).abs());

    let checks = vec![
        checked("AUC of f32", areas.baseline, ">", 0.5, true),
        checked("AUC drop", areas.drop, "<=", max_drop, true),
        checked("its upper bound", upper_bound, "<=", max_drop, !point),
        checked("F1 drop", fp32.f1 - int8.f1, "<", F1_DROP, false),
        checked("INT8 recall", int8.recall, ">=", LEAST_RECALL, false),
    ];
    let meets_specification = checks.iter().all(|check| check.pass || !check.gates);
    let mut audit = Audit {
        status: if meets_specification { Status::Pass } else { Status::Fail },
        auc_fp32_baseline: areas.baseline,
        auc_int8_quantized: areas.quantized,
        auc_degradation_gap: areas.drop,
        meets_specification,
        verdict: String::new(),
        rows: labels.len(),
        positives,
        negatives: labels.len() - positives,
        max_drop,
        point,
        confidence,
        standard_error: areas.standard_error,
        rule_of_three,
        upper_bound_delong,
        bootstrap,
        upper_bound,
        upper_bound_by,
        threshold,
        fp32,
        int8,
        flips,
        max_probability_difference: differences().fold(0.0, f64::max),
        mean_probability_difference: differences().sum::<f64>() / labels.len() as f64,
        checks,
        warnings: Vec::new(),
    };
    audit.warnings = warnings(&audit);
    audit.verdict = verdict(&audit);
    Ok(audit)
}

/// The upper bound of a drop that is the same in all of `cases`: of those not seen, a share may do anything.
fn unvaried(drop: f64, cases: usize, confidence: f64) -> f64 {
    (drop + 1.0 - libm::pow(1.0 - confidence, 1.0 / cases as f64)).min(1.0)
}

fn check(input: &Input, options: &Options) -> Result<()> {
    let &Input { labels, baseline, quantized, groups } = input;
    options.check()?;
    let wrong = |problem: String| Err(Error::Input(problem));
    let rows = labels.len();
    if let Some(groups) = groups.filter(|groups| groups.len() != rows) {
        return wrong(format!("there are {rows} labels, but {} groups: one for each row", groups.len()));
    }
    for (scores, name) in [(baseline, "f32"), (quantized, "INT8")] {
        if scores.len() != rows {
            return wrong(format!("there are {rows} labels, but {} {name} probabilities", scores.len()));
        }
        // A quotient by a sum may exceed 1 by its rounding. NaN is in no range.
        let wild = |score: &f32| !(0.0..=1.0 + 1e-6).contains(score);
        if let Some(row) = scores.iter().position(wild) {
            let score = scores[row];
            return wrong(format!(
                "row {row} (from 0): the {name} probability is {score}: it has to be between 0 and 1; where the model \
                 ends in logits, put a Sigmoid (or a Softmax) at its end"
            ));
        }
    }
    Ok(())
}

fn checked(name: &'static str, value: f64, relation: &'static str, limit: f64, gates: bool) -> Check {
    let pass = match relation {
        "<=" => value <= limit,
        "<" => value < limit,
        ">=" => value >= limit,
        _ => value > limit,
    };
    Check { name, value, relation, limit, pass, gates }
}

fn warnings(audit: &Audit) -> Vec<String> {
    let &Audit { rows, positives, .. } = audit;
    let share = positives as f64 / rows as f64;
    let mut warnings = Vec::new();
    if rows < ENOUGH_ROWS {
        warnings.push(format!("the test set has {rows} rows: {ENOUGH_ROWS} or more are asked for"));
    }
    if positives < ENOUGH_POSITIVES {
        warnings.push(format!("only {positives} rows are positive: fewer than {ENOUGH_POSITIVES}"));
    }
    if share < ENOUGH_SHARE {
        warnings.push(format!("only {:.3} % of the rows are positive: fewer than 0.1 %", share * 100.0));
    }
    if audit.max_probability_difference == 0.0 {
        warnings.push(
            "both models gave the same probabilities for every row: is one of them compared with itself?"
                .into(),
        );
    }
    if let Some(cases) = audit.rule_of_three {
        warnings.push(format!(
            "the standard error is 0: no case differs from the others, and the bound is what {cases} of the rarer class \
             allow by the rule of three"
        ));
    }
    if let Some(few) = audit.bootstrap.as_ref().map(|found| found.groups).filter(|&n| n < ENOUGH_GROUPS) {
        warnings.push(format!("the bootstrap has only {few} groups: its bound is rough"));
    }
    warnings
}

fn verdict(audit: &Audit) -> String {
    let &Audit { max_drop, auc_degradation_gap: drop, upper_bound, rows, .. } = audit;
    let (limit, certainty) = (max_drop, format!("{} %", round(audit.confidence * 100.0)));
    if !holds(audit, 0) {
        return format!(
            "the f32 model ranks no better than chance (AUC {:.5}), so that a drop means nothing: are the labels \
             inverted, or is this another model's test set?",
            audit.auc_fp32_baseline
        );
    }
    if !holds(audit, 1) {
        return format!("the AUC drops by {drop:.6}, more than the limit of {limit}");
    }
    let why = rule_of_three(audit).map_or(String::new(), |cases| format!(" by the rule of three ({cases})"));
    match (holds(audit, 2), audit.point) {
        (true, _) => format!(
            "the AUC drop of {drop:.6} is within the limit of {limit}, and with {certainty} certainty at most \
             {upper_bound:.6}{why}"
        ),
        (false, true) => format!(
            "the AUC drop of {drop:.6} is within the limit of {limit}; the gate was that alone, for N = {rows} is too \
             small to be certain: upper bound {upper_bound:.6} at {certainty}{why}"
        ),
        (false, false) => format!(
            "the AUC drop of {drop:.6} is within the limit of {limit}, but N = {rows} is too small to be certain: \
             upper bound {upper_bound:.6} at {certainty}{why}; measure more rows, or gate on the drop alone"
        ),
    }
}

/// What the rule of three is of, where it decides.
fn rule_of_three(audit: &Audit) -> Option<String> {
    let &Audit { upper_bound_by, upper_bound, upper_bound_delong, .. } = audit;
    let groups = audit.bootstrap.as_ref().filter(|_| upper_bound > upper_bound_delong);
    let (cases, what) = match groups {
        Some(found) => (found.rule_of_three?, "groups"),
        None => {
            (audit.rule_of_three?, if audit.positives <= audit.negatives { "positives" } else { "negatives" })
        }
    };
    (upper_bound_by == Bound::RuleOfThree).then(|| format!("none of {cases} {what} differs from the others"))
}

fn holds(audit: &Audit, check: usize) -> bool {
    audit.checks.get(check).is_some_and(|check| check.pass)
}

/// Without the digits that a product with 100 leaves.
fn round(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}
