//! The gate: what is asked of a quantized classifier, and the verdict in words.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use super::{Audit, Bound, Status};
use crate::io::quoted;
use crate::{Error, Result};

/// A recall below this is shown as too small. It decides only where it is asked for.
pub const LEAST_RECALL: f64 = 0.75;
/// Thresholds at which flips are counted besides the user's: of a warning, and of a critical state.
pub const THRESHOLDS: [f32; 2] = [0.5, 0.85];

/// A part of the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Part {
    /// The drop of the area under the ROC curve.
    Auc,
    /// The drop of F1 at the threshold.
    F1,
    /// The drop of the recall at the threshold.
    Recall,
    /// Codes that the range of their tensor cuts off.
    Saturation,
    /// Decisions that differ.
    Flips,
}

impl Part {
    /// Every part.
    pub const ALL: [Self; 5] = [Self::Auc, Self::F1, Self::Recall, Self::Saturation, Self::Flips];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auc => "auc",
            Self::F1 => "f1",
            Self::Recall => "recall",
            Self::Saturation => "saturation",
            Self::Flips => "flips",
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Part {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|part| part.name() == text).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            Error::Input(format!("no part of the gate is called {}; there are {names}", quoted(text)))
        })
    }
}

/// The parts that decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts([bool; Part::ALL.len()]);

impl Parts {
    /// All of them.
    pub const ALL: Self = Self([true; Part::ALL.len()]);

    /// Those of a list.
    pub fn of(list: &[Part]) -> Self {
        Self(Part::ALL.map(|part| list.contains(&part)))
    }

    /// Whether a part is one of them.
    pub fn has(self, part: Part) -> bool {
        self.0[part as usize]
    }

    /// All of them, in their order.
    pub fn list(self) -> Vec<Part> {
        Part::ALL.into_iter().filter(|&part| self.has(part)).collect()
    }
}

/// How to judge.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// The largest drop of the AUC that passes.
    pub max_drop: f64,
    /// A drop of F1 at the threshold as large as this fails.
    pub max_f1_drop: f64,
    /// The largest drop of the recall at the threshold that passes.
    pub max_recall_drop: f64,
    /// The largest share of a tensor's codes that its range may cut off.
    pub max_saturated: f64,
    /// The largest share of decisions that may differ, at each threshold.
    pub max_flipped: f64,
    /// A smaller recall of the INT8 model fails, whatever that of the f32 model is.
    pub min_recall: Option<f64>,
    /// The parts that decide.
    pub only: Parts,
    /// The confidence of the upper bounds, one-sided: at least 0.5 and less than 1.
    pub confidence: f64,
    /// A probability above it is a positive. Compared as an f32, which the probabilities are.
    pub threshold: f32,
    /// Whether the gate is the drops alone, however uncertain they are.
    pub point: bool,
    /// Samples of the bootstrap over groups.
    pub replicates: usize,
    /// Its seed.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_drop: 0.01,
            max_f1_drop: 0.01,
            max_recall_drop: 0.01,
            max_saturated: 0.05,
            max_flipped: 0.01,
            min_recall: None,
            only: Parts::ALL,
            confidence: 0.95,
            threshold: 0.5,
            point: false,
            replicates: 1000,
            seed: 0,
        }
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
        for (limit, what) in [
            (self.max_drop, "largest drop"),
            (self.max_f1_drop, "largest drop of F1"),
            (self.max_recall_drop, "largest drop of the recall"),
            (self.max_saturated, "largest share of saturated codes"),
            (self.max_flipped, "largest share of flipped decisions"),
            (self.min_recall.unwrap_or(LEAST_RECALL), "least recall"),
        ] {
            if !(0.0..=1.0).contains(&limit) {
                return wrong(format!("the {what} is {limit}: it has to be in [0, 1]"));
            }
        }
        if !(0.0..1.0).contains(&self.threshold) {
            return wrong(format!("the threshold is {}: it has to be in [0, 1)", self.threshold));
        }
        if self.only.list().is_empty() {
            return wrong("no part of the gate is to decide: name one or more".into());
        }
        Ok(())
    }

    /// The thresholds at which flips are counted, the user's first.
    pub fn thresholds(&self) -> Vec<f32> {
        let others = THRESHOLDS.into_iter().filter(|&other| other != self.threshold);
        std::iter::once(self.threshold).chain(others).collect()
    }
}

/// One condition.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Check {
    /// The part of the gate that it belongs to.
    pub part: Part,
    /// What is compared.
    pub name: &'static str,
    /// At which threshold, where there is one.
    pub threshold: Option<f32>,
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
    /// Whether the status depended on it if every part decided.
    #[serde(skip)]
    asked: bool,
    /// What is wrong if it does not hold, in words.
    #[serde(skip)]
    problem: String,
    /// Whether it is the bound of the drop in front of it, which is all that is said where both fail.
    #[serde(skip)]
    bound: bool,
}

impl Check {
    fn new(part: Part, name: &'static str, value: f64, relation: &'static str, limit: f64) -> Self {
        let pass = match relation {
            "<=" => value <= limit,
            "<" => value < limit,
            ">=" => value >= limit,
            _ => value > limit,
        };
        Self {
            part,
            name,
            threshold: None,
            value,
            relation,
            limit,
            pass,
            gates: true,
            asked: true,
            problem: String::new(),
            bound: false,
        }
    }

    fn at(self, threshold: f32) -> Self {
        Self { threshold: Some(threshold), ..self }
    }

    fn or(self, problem: String) -> Self {
        Self { problem, ..self }
    }

    /// The name, and the threshold.
    pub fn label(&self) -> String {
        self.threshold.map_or(self.name.into(), |threshold| format!("{} at {threshold}", self.name))
    }

    fn fails(&self) -> bool {
        self.gates && !self.pass
    }
}

/// Every check of scores.
pub(super) fn checks(audit: &Audit, options: &Options) -> Vec<Check> {
    let &Options { max_drop, max_f1_drop, max_recall_drop, max_flipped, point, only, .. } = options;
    let &Audit { auc_degradation_gap: drop, upper_bound, threshold: at, rows, .. } = audit;
    let bound = |check: Check| Check { asked: !point, bound: true, ..check };
    let uncertain = |what: String, drop: f64, limit: f64, bound: f64, why: String| {
        format!(
            "{what} of {drop:.6} is within the limit of {limit}, but N = {rows} is too small to be certain: upper bound \
             {bound:.6} at {}{why}",
            certainty(audit)
        )
    };
    let why = rule_of_three(audit).map_or(String::new(), |cases| format!(" by the rule of three ({cases})"));
    let mut checks = vec![
        Check::new(Part::Auc, "AUC of f32", audit.auc_fp32_baseline, ">", 0.5).or(format!(
            "the f32 model ranks no better than chance (AUC {:.5}), so that a drop means nothing: are the labels \
             inverted, or is this another model's test set?",
            audit.auc_fp32_baseline
        )),
        Check::new(Part::Auc, "AUC drop", drop, "<=", max_drop)
            .or(format!("the AUC drops by {drop:.6}, more than the limit of {max_drop}")),
        bound(Check::new(Part::Auc, "AUC drop, upper bound", upper_bound, "<=", max_drop).or(uncertain(
            "the AUC drop".into(),
            drop,
            max_drop,
            upper_bound,
            why,
        ))),
    ];
    let nothing = format!(
        "the f32 model finds no positive above {at}, so that its F1 and recall have nothing to lose there: choose another \
         threshold"
    );
    for (part, [baseline, drop, most], [of, relation, past], by, limit) in [
        (
            Part::F1,
            [
                ("F1 of f32", audit.fp32.f1),
                ("F1 drop", audit.f1.drop),
                ("F1 drop, upper bound", audit.f1.upper_bound),
            ],
            ["F1", "<", "which is the limit of {} or more"],
            audit.f1.upper_bound_by,
            max_f1_drop,
        ),
        (
            Part::Recall,
            [
                ("recall of f32", audit.fp32.recall),
                ("recall drop", audit.recall.drop),
                ("recall drop, upper bound", audit.recall.upper_bound),
            ],
            ["the recall", "<=", "more than the limit of {}"],
            audit.recall.upper_bound_by,
            max_recall_drop,
        ),
    ] {
        let by = if by == Bound::RuleOfThree { " by the rule of three" } else { "" };
        let check = |(name, value), relation, limit| Check::new(part, name, value, relation, limit).at(at);
        let past = past.replace("{}", &limit.to_string());
        checks.push(check(baseline, ">", 0.0).or(nothing.clone()));
        checks.push(check(drop, relation, limit).or(format!("{of} at {at} drops by {:.6}, {past}", drop.1)));
        checks.push(bound(check(most, relation, limit).or(uncertain(
            format!("the drop of {of} at {at}"),
            drop.1,
            limit,
            most.1,
            by.into(),
        ))));
    }
    let least = options.min_recall.unwrap_or(LEAST_RECALL);
    let recall = Check::new(Part::Recall, "INT8 recall", audit.int8.recall, ">=", least)
        .at(at)
        .or(format!("the recall at {at} is {:.6}, less than {least}", audit.int8.recall));
    checks.push(Check { asked: options.min_recall.is_some(), ..recall });
    for flips in &audit.flips {
        let share = flips.rows as f64 / rows as f64;
        checks.push(Check::new(Part::Flips, "flipped", share, "<=", max_flipped).at(flips.threshold).or(
            format!(
                "{} of {rows} decisions ({}) flip at {}, more than {}",
                flips.rows,
                percent(share),
                flips.threshold,
                percent(max_flipped)
            ),
        ));
    }
    checks.iter_mut().for_each(|check| check.gates = check.asked && only.has(check.part));
    checks
}

/// The check of the tensor of which the range cuts off the largest share.
pub(super) fn saturation(tensor: &str, share: f64, options: &Options) -> Check {
    let limit = options.max_saturated;
    let check = Check::new(Part::Saturation, "saturated codes", share, "<=", limit).or(format!(
        "{} of the codes of {} are saturated, more than {}: its range is too small, or the test set is unlike the \
         calibration data",
        percent(share),
        quoted(tensor),
        percent(limit)
    ));
    Check { gates: options.only.has(Part::Saturation), ..check }
}

/// The check of the classes that models of several outputs name.
pub(super) fn class_flips(rows: u64, of: usize, options: &Options) -> Check {
    let (share, limit) = (rows as f64 / of as f64, options.max_flipped);
    let check = Check::new(Part::Flips, "another class", share, "<=", limit).or(format!(
        "{rows} of {of} rows ({}) get another class, more than {}",
        percent(share),
        percent(limit)
    ));
    Check { gates: options.only.has(Part::Flips), ..check }
}

/// The status and the verdict that follow from the checks.
pub(super) fn decide(audit: &mut Audit) {
    audit.meets_specification = !audit.checks.iter().any(Check::fails);
    audit.status = if audit.meets_specification { Status::Pass } else { Status::Fail };
    audit.verdict = verdict(audit);
}

fn verdict(audit: &Audit) -> String {
    let &Audit { max_drop, auc_degradation_gap: drop, upper_bound, rows, .. } = audit;
    let failing: Vec<&Check> = audit.checks.iter().filter(|check| check.fails()).collect();
    // A part whose drop fails needs no word about its bound, and one whose baseline has nothing to lose none about its drop.
    let first = |check: &&&Check| {
        failing
            .iter()
            .find(|other| other.part == check.part)
            .is_some_and(|other| std::ptr::eq(*other, **check))
    };
    let mut said: Vec<&str> = Vec::new();
    for check in failing.iter().filter(|check| check.part == Part::Flips || first(check)) {
        if !said.contains(&check.problem.as_str()) {
            said.push(&check.problem);
        }
    }
    let certainty = certainty(audit);
    let mut text = said.join("; ");
    if said.is_empty() {
        let parts: Vec<&str> =
            audit.decides.iter().filter(|&&part| part != Part::Auc).map(|part| part.name()).collect();
        if audit.decides.contains(&Part::Auc) {
            let why =
                rule_of_three(audit).map_or(String::new(), |of| format!(" by the rule of three ({of})"));
            text = match upper_bound <= max_drop {
                true => format!(
                    "the AUC drop of {drop:.6} is within the limit of {max_drop}, and with {certainty} certainty at most \
                     {upper_bound:.6}{why}"
                ),
                false => format!(
                    "the AUC drop of {drop:.6} is within the limit of {max_drop}; the gate was that alone, for N = {rows} is \
                     too small to be certain: upper bound {upper_bound:.6} at {certainty}{why}"
                ),
            };
        }
        if !parts.is_empty() {
            let rest = format!("{} within the limits", listed(&parts));
            text = if text.is_empty() { rest } else { format!("{text}; {rest}") };
        }
    } else if failing.iter().all(|check| check.bound) {
        text += "; measure more rows, or gate on the drops alone";
    }
    if audit.decides.len() < Part::ALL.len() {
        let names: Vec<&str> = audit.decides.iter().map(|part| part.name()).collect();
        text += &format!("; the gate was narrowed to {}", listed(&names));
        let others = |check: &&Check| check.asked && !check.pass && !check.gates;
        let mut labels: Vec<String> = audit.checks.iter().filter(others).map(Check::label).collect();
        labels.dedup();
        if !labels.is_empty() {
            text += &format!(", and what fails does not decide: {}", labels.join(", "));
        }
    }
    text
}

/// `a`, `a and b`, `a, b and c`.
fn listed(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [one] => (*one).into(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}

fn certainty(audit: &Audit) -> String {
    percent(audit.confidence)
}

fn percent(share: f64) -> String {
    // Without the digits that a product with 100 leaves.
    format!("{} %", (share * 1e6).round() / 1e4)
}

/// What the AUC's rule of three is of, where it decides.
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
