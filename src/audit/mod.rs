//! The audit: what a quantized classifier lost against its f32 original, and with what certainty. Never a GPU type.
//!
//! The gate has five parts ([`Part`]), each with a limit of its own ([`Options`]), and one that fails fails the gate; for
//! none of them sees everything. The area under the ROC curve is a matter of ranks: it rises where all probabilities fall
//! below the threshold and no positive is found any more.
//! - **The drop of the AUC.** It passes where the drop, and the upper bound of it at the wanted confidence (`drop + z * standard
//!   error`, one-sided, DeLong's error; with groups the larger of that and a block bootstrap's), stay within the limit: the
//!   claim is non-inferiority, so that too few rows fail instead of passing unseen. A baseline that ranks no better than
//!   chance fails too: its drop means nothing, and inverted labels look like that.
//! - **The drops of F1 and of the recall** at the threshold, with paired upper bounds, as the AUC's. A baseline that finds no
//!   positive there fails: its F1 and recall are 0, and have nothing to lose. F1 and recall of a model that finds nothing are
//!   0, and so is its precision: no figure is undefined, since there are two positives or more.
//! - **Saturation**: the share of codes that the range of their tensor cuts off, in the worst tensor
//!   ([`Audit::add_saturation`]; `classify::judge` counts them).
//! - **Flips**: the share of decisions that differ, at the threshold and at [`THRESHOLDS`]; of a model of several classes also
//!   those of its largest output ([`Audit::add_class_flips`]).
//!
//! Where the standard error is 0, as for a few rows that both models rank alike, the bound is by the rule of three (Hanley
//! and Lippman-Hand, JAMA 249, 1983): of N cases, the fewer of positives and negatives, none was seen to differ from the
//! others, so that such cases are at most a share of `1 - (1 - confidence)^(1 / N)` of all (about 3 / N at 95 %), and an
//! AUC changes by no more than the share of cases that move. A limit of 0.01 takes 299 of either class. The same goes for
//! groups where all samples of the bootstrap have one drop; and for decisions, of rows, where none differs.
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
mod gate;
mod paired;
mod scores;
pub(crate) mod telemetry;

use serde::Serialize;

pub use bootstrap::{Bootstrap, check_groups};
pub use delong::{Areas, Counts, area, areas, check_labels, on_cpu};
pub use gate::{Check, LEAST_RECALL, Options, Part, Parts, THRESHOLDS};
pub use paired::Paired;
pub use scores::{Figures, Flips, roc};

use paired::Decided;

use crate::{Error, Result};

/// Fewer rows than this are warned of.
pub const ENOUGH_ROWS: usize = 10_000;
/// Fewer positives than this are warned of.
pub const ENOUGH_POSITIVES: usize = 100;
/// A smaller share of positives is warned of.
pub const ENOUGH_SHARE: f64 = 0.001;
/// Fewer groups than this are warned of.
const ENOUGH_GROUPS: usize = 30;

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
    /// The adjusted Wald error of paired decisions.
    AdjustedWald,
    /// The bootstrap over groups.
    Bootstrap,
    /// The number of rows, or groups, of which none differs from the others.
    RuleOfThree,
}

/// The verdict, and everything that it rests on.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
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
    /// Whether the gate is the drops alone.
    pub point: bool,
    /// The parts that decide.
    pub decides: Vec<Part>,
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
    /// The drop of F1 at the threshold.
    pub f1: Paired,
    /// The drop of the recall at the threshold.
    pub recall: Paired,
    /// Decisions that differ, at the threshold and at [`THRESHOLDS`].
    pub flips: Vec<Flips>,
    /// The largest difference of two probabilities.
    pub max_probability_difference: f64,
    /// The mean difference of two probabilities, without sign.
    pub mean_probability_difference: f64,
    /// Every condition.
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

    /// Judges the share of codes that the range of a tensor cuts off: that of the worst one.
    pub fn add_saturation(&mut self, tensor: &str, share: f64, options: &Options) {
        self.checks.push(gate::saturation(tensor, share, options));
        gate::decide(self);
    }

    /// Judges how many rows get another class: another place of the largest output.
    pub fn add_class_flips(&mut self, rows: u64, options: &Options) {
        self.checks.push(gate::class_flips(rows, self.rows, options));
        gate::decide(self);
    }
}

/// Judges; `counts` counts ranks: [`on_cpu`], or the kernel `rank`, which gives the same numbers.
///
/// # Errors
/// [`Error::Input`] if the lengths differ, a probability is NaN or not between 0 and 1, there are fewer than two positives
/// or negatives, an option is out of its range, or resamples of the groups hardly ever have both classes; whatever
/// `counts` says.
pub fn audit(input: &Input, options: &Options, counts: &mut Counts) -> Result<Audit> {
    audit_while(input, options, counts, &|| Ok(()))
}

/// The same, which asks `go_on` between its steps, and fails as that does.
pub(crate) fn audit_while(
    input: &Input,
    options: &Options,
    counts: &mut Counts,
    go_on: &dyn Fn() -> Result<()>,
) -> Result<Audit> {
    check(input, options)?;
    let &Input { labels, baseline, quantized, groups } = input;
    let &Options { max_drop, confidence, threshold, point, only, .. } = options;
    let positives = labels.iter().filter(|&&label| label).count();
    let areas = areas(labels, baseline, quantized, counts)?;
    let fewer = positives.min(labels.len() - positives);
    let rule_of_three = (areas.standard_error == 0.0).then_some(fewer);
    let upper_bound_delong = match rule_of_three {
        Some(cases) => unvaried(areas.drop, cases, confidence),
        None => areas.drop + delong::normal_quantile(confidence) * areas.standard_error,
    };
    let decided = Decided::of(labels, [baseline, quantized], threshold);
    let (mut f1, mut recall) = (decided.f1(confidence), decided.recall(confidence));
    let bootstrap = groups.map(|groups| bootstrap::bootstrap(input, groups, options, go_on)).transpose()?;
    if let Some(found) = &bootstrap {
        f1 = f1.or_bootstrap(found.upper_bound_f1);
        recall = recall.or_bootstrap(found.upper_bound_recall);
    }
    let larger = bootstrap.as_ref().filter(|found| found.upper_bound > upper_bound_delong);
    let upper_bound = larger.map_or(upper_bound_delong, |found| found.upper_bound);
    let upper_bound_by = match (larger, larger.map_or(rule_of_three, |found| found.rule_of_three)) {
        (_, Some(_)) => Bound::RuleOfThree,
        (Some(_), None) => Bound::Bootstrap,
        (None, None) => Bound::Delong,
    };

    let fp32 = Figures::of(labels, baseline, threshold);
    let int8 = Figures::of(labels, quantized, threshold);
    let at = |threshold: &f32| Flips::of(baseline, quantized, *threshold);
    let flips = options.thresholds().iter().map(at).collect();
    let differences = || baseline.iter().zip(quantized).map(|(&a, &b)| (f64::from(a) - f64::from(b)).abs());

    let mut audit = Audit {
        status: Status::Fail,
        auc_fp32_baseline: areas.baseline,
        auc_int8_quantized: areas.quantized,
        auc_degradation_gap: areas.drop,
        meets_specification: false,
        verdict: String::new(),
        rows: labels.len(),
        positives,
        negatives: labels.len() - positives,
        max_drop,
        point,
        decides: only.list(),
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
        f1,
        recall,
        flips,
        max_probability_difference: differences().fold(0.0, f64::max),
        mean_probability_difference: differences().sum::<f64>() / labels.len() as f64,
        checks: Vec::new(),
        warnings: Vec::new(),
    };
    audit.warnings = warnings(&audit);
    audit.checks = gate::checks(&audit, options);
    gate::decide(&mut audit);
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
        return Err(Error::Shape(format!(
            "there are {rows} labels, but {} groups: one for each row",
            groups.len()
        )));
    }
    for (scores, name) in [(baseline, "f32"), (quantized, "INT8")] {
        if scores.len() != rows {
            return Err(Error::Shape(format!(
                "there are {rows} labels, but {} {name} probabilities",
                scores.len()
            )));
        }
        // A quotient by a sum may exceed 1 by its rounding. NaN is in no range.
        let wild = |score: &f32| !(0.0..=1.0 + 1e-6).contains(score);
        if let Some(row) = scores.iter().position(wild) {
            let score = scores[row];
            if !score.is_finite() {
                let text = format!(
                    "row {row} (from 0): the {name} probability is {score}: it has to be between 0 and 1"
                );
                return Err(Error::NotFinite(text));
            }
            return wrong(format!(
                "row {row} (from 0): the {name} probability is {score}: it has to be between 0 and 1; where the model \
                 ends in logits, put a Sigmoid (or a Softmax) at its end"
            ));
        }
    }
    Ok(())
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
