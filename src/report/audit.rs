//! An audit as tables.

use crate::audit::{Audit, Bound, Status};
use crate::table;

/// The audit for a terminal.
pub fn text(audit: &Audit) -> String {
    let status = match audit.status {
        Status::Pass => "PASS",
        Status::Fail => "FAIL",
    };
    let mut text = format!("{status}: {}\n\n", audit.verdict);
    let (a, b, at) = (&audit.fp32, &audit.int8, audit.threshold);
    let figures = [
        ("AUC".into(), audit.auc_fp32_baseline, audit.auc_int8_quantized),
        ("average precision".into(), a.average_precision, b.average_precision),
        (format!("F1 at {at}"), a.f1, b.f1),
        (format!("recall at {at}"), a.recall, b.recall),
        (format!("precision at {at}"), a.precision, b.precision),
    ];
    let figure = |value: f64| format!("{value:.5}");
    text += &table::render(
        &["figure", "f32", "INT8", "drop"],
        figures.into_iter().map(|(name, a, b)| vec![name, figure(a), figure(b), figure(a - b)]).collect(),
    );
    text += "\n";
    let outcome = |pass: bool| if pass { "holds" } else { "FAILS" };
    text += &table::render(
        &["check", "value", "limit", "outcome", "decides"],
        audit
            .checks
            .iter()
            .map(|check| {
                vec![
                    check.label(),
                    figure(check.value),
                    format!("{} {}", check.relation, check.limit),
                    outcome(check.pass).into(),
                    if check.gates { "yes" } else { "no" }.into(),
                ]
            })
            .collect(),
    );
    text += &format!(
        "\n{} rows, {} of them positive; standard error of the AUC drop {:.5} (DeLong, paired)\n",
        audit.rows, audit.positives, audit.standard_error
    );
    if let Some(cases) = audit.rule_of_three {
        text += &format!(
            "with an error of 0 the bound is by the rule of three: drop + 1 - (1 - {})^(1 / {cases}), of the rarer class\n",
            audit.confidence
        );
    }
    let by = |bound: Bound| match bound {
        Bound::Delong => "DeLong",
        Bound::AdjustedWald => "adjusted Wald error, paired",
        Bound::Bootstrap => "the bootstrap",
        Bound::RuleOfThree => "the rule of three",
    };
    text += &format!(
        "upper bounds at {} %: F1 by {}, recall by {}\n",
        (audit.confidence * 1e6).round() / 1e4,
        by(audit.f1.upper_bound_by),
        by(audit.recall.upper_bound_by)
    );
    if let Some(found) = &audit.bootstrap {
        let redrawn = match found.redrawn {
            0 => String::new(),
            n => format!(", {n} of one class drawn again"),
        };
        text += &format!(
            "upper bound of the AUC drop by DeLong {:.5}, by a bootstrap of {} groups {:.5} ({} samples{redrawn})\n",
            audit.upper_bound_delong, found.groups, found.upper_bound, found.replicates
        );
    }
    for flips in &audit.flips {
        text += &format!(
            "decisions flipped at {}: {} ({} to positive, {} to negative)\n",
            flips.threshold, flips.rows, flips.to_positive, flips.to_negative
        );
    }
    text += &format!(
        "difference of probabilities: at most {:.5}, {:.6} on average\n",
        audit.max_probability_difference, audit.mean_probability_difference
    );
    for warning in &audit.warnings {
        text += &format!("warning: {warning}\n");
    }
    text
}
