//! The audit's statistics against scikit-learn, against a double loop over all pairs, and against what must fail.

use std::path::{Path, PathBuf};

use lowbit::internals::Error;
use lowbit::internals::audit::{
    Areas, Audit, Bound, Input, Options, Part, Parts, Status, area, areas, audit, on_cpu, roc, telemetry,
};
use lowbit::internals::io::npy;
use lowbit::internals::oracle::rank::rank;
use lowbit::internals::random::Random;
use serde_json::Value;

fn assets() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/audit")
}

/// Labels, f32 scores, int8 scores of a fixture.
fn fixture(name: &str) -> (Vec<bool>, Vec<f32>, Vec<f32>) {
    let matrix = npy::read_matrix(&assets().join(name).with_extension("npy")).unwrap();
    let column = |at: usize| matrix.values.chunks(3).map(|row| row[at]).collect::<Vec<f32>>();
    (column(0).iter().map(|&label| label == 1.0).collect(), column(1), column(2))
}

fn expected() -> Value {
    serde_json::from_str(&std::fs::read_to_string(assets().join("expected.json")).unwrap()).unwrap()
}

#[track_caller]
fn near(found: f64, expected: &Value) {
    let expected = expected.as_f64().unwrap();
    assert!((found - expected).abs() <= 1e-12, "{found}, {expected} expected");
}

pub fn judge(labels: &[bool], baseline: &[f32], quantized: &[f32], options: &Options) -> Audit {
    audit(&Input { labels, baseline, quantized, groups: None }, options, &mut on_cpu).unwrap()
}

pub fn compare(labels: &[bool], baseline: &[f32], quantized: &[f32]) -> Areas {
    areas(labels, baseline, quantized, &mut on_cpu).unwrap()
}

/// A test set that quantization hardly hurts: probabilities, and the same with a little noise.
pub fn good(rows: usize, seed: u64) -> (Vec<bool>, Vec<f32>, Vec<f32>) {
    let mut random = Random::new(seed);
    let labels: Vec<bool> = (0..rows).map(|_| random.below(10) == 0).collect();
    let mut score =
        |label: bool| (0.4 * random.unit() + 0.4 * random.unit() + if label { 0.2 } else { 0.0 }) as f32;
    let baseline: Vec<f32> = labels.iter().map(|&label| score(label)).collect();
    let mut random = Random::new(seed + 1);
    let quantized = baseline.iter().map(|&p| (p + (random.unit() as f32 - 0.5) * 0.004).clamp(0.0, 1.0));
    let quantized = quantized.collect();
    (labels, baseline, quantized)
}

#[test]
fn worked_figures() {
    let labels = [false, false, true, true];
    let of = |scores: &[f32]| area(&labels, scores, &mut on_cpu).unwrap();
    assert_eq!(of(&[0.1, 0.5, 0.5, 0.9]), 0.875);
    assert_eq!(of(&[0.5; 4]), 0.5);
    assert_eq!(of(&[0.0, 0.1, 0.2, 0.3]), 1.0);
    assert_eq!(of(&[0.3, 0.2, 0.1, 0.0]), 0.0);
    assert_eq!(of(&[-0.0, 0.0, 0.0, -0.0]), 0.5);
}

#[test]
fn real_classifiers_have_the_reference_figures() {
    // As the reference prints them: both areas, the standard error, the upper bound.
    let printed = [
        ("breast_cancer", [0.99220, 0.99209, 0.00020, 0.00043]),
        ("digits", [0.97817, 0.97680, 0.00093, 0.00291]),
    ];
    for (name, figures) in printed {
        let (labels, a, b) = fixture(name);
        // So few rows are certain of the AUC alone.
        let options = Options { only: Parts::of(&[Part::Auc]), ..Options::default() };
        let audit = judge(&labels, &a, &b, &options);
        let found =
            [audit.auc_fp32_baseline, audit.auc_int8_quantized, audit.standard_error, audit.upper_bound];
        assert_eq!(
            found.map(|value| format!("{value:.5}")),
            figures.map(|value| format!("{value:.5}")),
            "{name}"
        );
        assert_eq!(audit.status, Status::Pass);
    }
}

#[test]
fn figures_are_those_of_scikit_learn_and_of_all_pairs() {
    let answers = expected();
    for name in ["breast_cancer", "digits", "ties"] {
        let (labels, a, b) = fixture(name);
        let (audit, answer) = (judge(&labels, &a, &b, &Options::default()), &answers[name]);
        for (area, figures, answer) in [
            (audit.auc_fp32_baseline, &audit.fp32, &answer["fp32"]),
            (audit.auc_int8_quantized, &audit.int8, &answer["int8"]),
        ] {
            near(area, &answer["auc"]);
            near(figures.average_precision, &answer["average_precision"]);
            near(figures.f1, &answer["f1"]);
            near(figures.recall, &answer["recall"]);
            near(figures.precision, &answer["precision"]);
        }
        near(audit.auc_degradation_gap, &answer["drop"]);
        near(audit.standard_error, &answer["standard_error"]);
        near(audit.upper_bound, &answer["upper_bound"]);
        near(audit.max_probability_difference, &answer["max_abs"]);
        for (flips, answer) in audit.flips.iter().zip(answer["flips"].as_array().unwrap()) {
            assert_eq!(flips.rows, answer.as_u64().unwrap());
        }
    }
}

#[test]
fn counts_are_those_of_a_double_loop() {
    let mut random = Random::new(4);
    for (n, m, reach) in [(1, 1, 1), (200, 300, 3), (300, 200, 1000), (0, 5, 2), (5, 0, 2)] {
        let (x, mut others) = (random.integers(n, reach), random.integers(m, reach));
        others.iter_mut().filter(|value| **value == 0.0).for_each(|value| *value = -0.0);
        let loops = x
            .iter()
            .map(|x| others.iter().map(|other| u32::from(other < x) + u32::from(other <= x)).sum::<u32>());
        assert_eq!(rank(&x, &others), loops.collect::<Vec<u32>>());
    }
}

#[test]
fn quantiles_are_those_of_scipy() {
    // With a known error, the bound gives the quantile away.
    let (labels, a, b) = fixture("ties");
    for pair in expected()["normal"].as_array().unwrap() {
        let (confidence, z) = (pair[0].as_f64().unwrap(), pair[1].as_f64().unwrap());
        if confidence < 0.5 {
            continue;
        }
        let found = judge(&labels, &a, &b, &Options { confidence, ..Options::default() });
        let bound = found.auc_degradation_gap + z * found.standard_error;
        assert!((found.upper_bound - bound).abs() <= 1e-13, "{confidence}");
    }
}

#[test]
fn a_good_engine_passes() {
    let (labels, a, b) = good(20_000, 1);
    let audit = judge(&labels, &a, &b, &Options::default());
    assert_eq!(audit.status, Status::Pass, "{}", audit.verdict);
    assert!(audit.gate().is_ok() && audit.warnings.is_empty(), "{:?}", audit.warnings);
    assert!(audit.auc_fp32_baseline > 0.6 && audit.standard_error > 0.0);
    let json = serde_json::to_value(&audit).unwrap();
    assert_eq!((&json["status"], &json["meets_specification"]), (&"PASS".into(), &true.into()));
    for key in ["auc_fp32_baseline", "auc_int8_quantized", "auc_degradation_gap"] {
        assert!(json[key].is_f64(), "{key}");
    }
}

#[test]
fn what_must_fail_fails() {
    let (labels, a, b) = good(20_000, 2);
    let fails = |labels: &[bool], a: &[f32], b: &[f32], words: &str| {
        let audit = judge(labels, a, b, &Options::default());
        assert_eq!(audit.status, Status::Fail, "{}", audit.verdict);
        assert!(audit.verdict.contains(words), "{}", audit.verdict);
        let error = audit.gate().unwrap_err();
        assert!(matches!(error, Error::Gate(_)) && error.exit_code() == 1);
    };
    let inverted: Vec<bool> = labels.iter().map(|label| !label).collect();
    fails(&inverted, &a, &b, "no better than chance");
    let mut shuffled = b.clone();
    let mut random = Random::new(3);
    for i in (1..shuffled.len()).rev() {
        shuffled.swap(i, random.below(i as u64 + 1) as usize);
    }
    fails(&labels, &a, &shuffled, "the AUC drops by");
    fails(&labels, &a, &vec![0.5; b.len()], "the AUC drops by");
    let inverse: Vec<f32> = b.iter().map(|p| 1.0 - p).collect();
    fails(&labels, &a, &inverse, "the AUC drops by");
    fails(&labels, &vec![0.5; a.len()], &b, "no better than chance");
    // A coarse engine: eight levels of probability.
    let coarse: Vec<f32> = b.iter().map(|p| (p * 4.0).round() / 4.0).collect();
    fails(&labels, &a, &coarse, "the AUC drops by");
}

#[test]
fn a_swapped_pair_moves_the_area_by_one_pair() {
    // Neighbouring scores of a positive above a negative: swapped, one pair of m n is out of order.
    let labels = [false, true, false, false, true, true];
    let (a, b) = ([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], [0.1, 0.2, 0.3, 0.5, 0.4, 0.6]);
    let found = compare(&labels, &a, &b);
    assert!((found.drop - 1.0 / 9.0).abs() < 1e-15, "{}", found.drop);
    assert!(found.standard_error > 0.0);
}

#[test]
fn too_few_rows_fail_by_the_bound_alone() {
    let (labels, a, b) = fixture("digits");
    let options = Options { max_drop: 0.002, ..Options::default() };
    let strict = judge(&labels, &a, &b, &options);
    assert_eq!(strict.status, Status::Fail);
    for words in ["within the limit of 0.002", "N = 899 is too small to be certain", "upper bound 0.0029"] {
        assert!(strict.verdict.contains(words), "{}", strict.verdict);
    }
    let point = judge(&labels, &a, &b, &Options { point: true, ..options });
    assert_eq!(point.status, Status::Pass);
    assert!(point.verdict.contains("too small to be certain"), "{}", point.verdict);
    assert!(point.warnings.iter().any(|warning| warning.contains("899 rows")), "{:?}", point.warnings);
    assert!(point.warnings.iter().any(|warning| warning.contains("87 rows are positive")));
}

#[test]
fn identical_scores_and_no_error_are_said() {
    let (labels, a, _) = good(500, 5);
    let same = judge(&labels, &a, &a, &Options::default());
    assert_eq!((same.status, same.auc_degradation_gap, same.standard_error), (Status::Fail, 0.0, 0.0));
    assert!(same.warnings.iter().any(|warning| warning.contains("same probabilities")));
    assert!(same.verdict.contains("by the rule of three"), "{}", same.verdict);
    let point = judge(&labels, &a, &a, &Options { point: true, ..Options::default() });
    assert_eq!((point.status, point.upper_bound), (Status::Pass, same.upper_bound));
    // A perfect model against a constant one: each row would change the drop alike.
    let labels = [false, false, true, true];
    let (perfect, constant) = ([0.1, 0.2, 0.8, 0.9], [0.5; 4]);
    let found = judge(&labels, &perfect, &constant, &Options::default());
    assert_eq!((found.standard_error, found.upper_bound, found.status), (0.0, 1.0, Status::Fail));
    assert!(found.warnings.iter().any(|warning| warning.contains("standard error is 0")));
}

/// Positives and negatives that two models separate, each in its own way.
fn separated(positives: usize, negatives: usize) -> (Vec<bool>, Vec<f32>, Vec<f32>) {
    let labels: Vec<bool> = (0..positives + negatives).map(|row| row < positives).collect();
    let scores = |high: f32| labels.iter().map(|&label| if label { high } else { 0.1 }).collect();
    (labels.clone(), scores(0.9), scores(0.86))
}

#[test]
fn a_few_rows_without_error_fail_by_the_rule_of_three() {
    // 1 - 0.05^(1 / 298) is above 0.01, and with 299 below it. The rarer class counts.
    for (positives, negatives, status) in [
        (4, 4, Status::Fail),
        (298, 5000, Status::Fail),
        (5000, 298, Status::Fail),
        (299, 299, Status::Pass),
        (299, 5000, Status::Pass),
    ] {
        let (labels, a, b) = separated(positives, negatives);
        let found = judge(&labels, &a, &b, &Options::default());
        assert_eq!((found.status, found.standard_error), (status, 0.0), "{positives}: {}", found.verdict);
        let cases = positives.min(negatives);
        let bound = 1.0 - 0.05f64.powf(1.0 / cases as f64);
        assert!((found.upper_bound - bound).abs() < 1e-12, "{positives}: {}", found.upper_bound);
        assert_eq!((found.rule_of_three, found.upper_bound_by), (Some(cases), Bound::RuleOfThree));
        assert!(
            found.verdict.contains(&format!("by the rule of three (none of {cases} ")),
            "{}",
            found.verdict
        );
        let json = serde_json::to_value(&found).unwrap();
        assert_eq!(
            (&json["upper_bound_by"], &json["rule_of_three"]),
            (&"rule_of_three".into(), &cases.into())
        );
        assert!(lowbit::internals::report::audit::text(&found).contains(&format!("^(1 / {cases})")));
        // The drop alone is the gate.
        assert_eq!(
            judge(&labels, &a, &b, &Options { point: true, ..Options::default() }).status,
            Status::Pass
        );
    }
    // By groups it is groups that count, however many rows they have.
    let (labels, a, b) = separated(1000, 1000);
    let groups: Vec<i32> = (0..2000).map(|row| row % 10).collect();
    let input = Input { labels: &labels, baseline: &a, quantized: &b, groups: Some(&groups) };
    let found = audit(&input, &Options::default(), &mut on_cpu).unwrap();
    let bootstrap = found.bootstrap.as_ref().unwrap();
    assert_eq!((bootstrap.rule_of_three, found.status), (Some(10), Status::Fail));
    assert!((found.upper_bound - (1.0 - 0.05f64.powf(0.1))).abs() < 1e-12, "{}", found.upper_bound);
    assert!(found.verdict.contains("none of 10 groups"), "{}", found.verdict);
}

#[test]
fn figures_at_a_threshold() {
    let labels = [true, true, true, false, false, false];
    let (a, b) = ([0.9, 0.8, 0.5, 0.6, 0.1, 0.2], [0.9, 0.4, 0.51, 0.5, 0.1, 0.86]);
    let found = judge(&labels, &a, &b, &Options::default());
    // A probability of 0.5 is not above 0.5.
    assert_eq!((found.fp32.true_positives, found.fp32.false_positives), (2, 1));
    assert_eq!((found.fp32.recall, found.fp32.precision), (2.0 / 3.0, 2.0 / 3.0));
    let flips: Vec<_> = found.flips.iter().map(|f| (f.threshold, f.to_positive, f.to_negative)).collect();
    assert_eq!(flips, [(0.5, 2, 2), (0.85, 1, 0)]);
    let check = |name: &str| found.checks.iter().find(|check| check.name == name).unwrap();
    assert!(!check("INT8 recall").pass && !check("INT8 recall").gates);
    let custom = judge(&labels, &a, &b, &Options { threshold: 0.7, ..Options::default() });
    assert_eq!(custom.flips.iter().map(|f| f.threshold).collect::<Vec<_>>(), [0.7, 0.5, 0.85]);
}

#[test]
fn bootstrap_over_groups() {
    let (labels, a, b) = good(20_000, 7);
    let mut single: Vec<i32> = (0..20_000).collect();
    single.reverse();
    let options = Options { replicates: 400, ..Options::default() };
    let with = |groups: &[i32]| {
        let input = Input { labels: &labels, baseline: &a, quantized: &b, groups: Some(groups) };
        audit(&input, &options, &mut on_cpu)
    };
    // Where every row is a group, it estimates what DeLong's error does.
    let found = with(&single).unwrap();
    assert!(found.rule_of_three.is_none() && found.upper_bound_by != Bound::RuleOfThree);
    let bootstrap = found.bootstrap.as_ref().unwrap();
    let margin = found.upper_bound_delong - found.auc_degradation_gap;
    assert!((bootstrap.upper_bound - found.upper_bound_delong).abs() < 0.25 * margin, "{bootstrap:?}");
    assert_eq!(found.upper_bound, bootstrap.upper_bound.max(found.upper_bound_delong));
    assert_eq!(with(&single).unwrap(), found);
    // Rows that are there ten times over know no more than one of them does, but DeLong's error takes them for ten.
    let tenth = |values: &[f32]| values.iter().take(2000).cycle().take(20_000).copied().collect::<Vec<f32>>();
    let (copied, a, b) =
        (labels.iter().take(2000).cycle().take(20_000).copied().collect::<Vec<_>>(), tenth(&a), tenth(&b));
    let groups: Vec<i32> = (0..20_000).map(|row| row % 2000).collect();
    let input = Input { labels: &copied, baseline: &a, quantized: &b, groups: Some(&groups) };
    let found = audit(&input, &options, &mut on_cpu).unwrap();
    let wide = found.bootstrap.as_ref().unwrap().upper_bound - found.auc_degradation_gap;
    let narrow = found.upper_bound_delong - found.auc_degradation_gap;
    assert!((2.3..4.2).contains(&(wide / narrow)), "{wide} {narrow}");
}

#[test]
fn groups_of_one_class_are_drawn_again_or_refused() {
    let labels: Vec<bool> = (0..400).map(|row| row % 100 < 50).collect();
    let scores: Vec<f32> = (0..400).map(|row| (row * 7 % 100) as f32 / 100.0 * 0.5 + 0.2).collect();
    let better: Vec<f32> = scores.iter().zip(&labels).map(|(s, &l)| if l { s + 0.2 } else { *s }).collect();
    let run = |groups: &[i32]| {
        let input = Input { labels: &labels, baseline: &better, quantized: &better, groups: Some(groups) };
        audit(&input, &Options::default(), &mut on_cpu)
    };
    let classes: Vec<i32> = labels.iter().map(|&label| i32::from(label)).collect();
    let found = run(&classes).unwrap().bootstrap.unwrap();
    assert!((800..1200).contains(&found.redrawn), "{found:?}");
    let error = run(&vec![3; 400]).unwrap_err().to_string();
    assert!(error.contains("all rows are of one group"), "{error}");
}

#[test]
fn bad_input_is_named() {
    let labels = [false, true, false, true];
    let fine = [0.1f32, 0.9, 0.2, 0.8];
    let refused =
        |labels: &[bool], a: &[f32], b: &[f32], groups: Option<&[i32]>, options: Options, words: &str| {
            let error = audit(&Input { labels, baseline: a, quantized: b, groups }, &options, &mut on_cpu)
                .unwrap_err();
            assert!(error.is_input() && error.exit_code() == 2, "{error:?}");
            assert!(error.to_string().contains(words), "{error}");
        };
    let standard = Options::default();
    refused(&labels, &fine[..3], &fine, None, standard, "4 labels, but 3 f32");
    refused(
        &labels,
        &fine,
        &[0.1, f32::NAN, 0.2, 0.3],
        None,
        standard,
        "row 1 (from 0): the INT8 probability is NaN",
    );
    refused(
        &labels,
        &fine,
        &[0.1, 0.2, 0.2, 1.5],
        None,
        standard,
        "row 3 (from 0): the INT8 probability is 1.5",
    );
    refused(
        &labels,
        &[-0.1, 0.2, 0.2, 0.5],
        &fine,
        None,
        standard,
        "row 0 (from 0): the f32 probability is -0.1",
    );
    refused(&[true; 4], &fine, &fine, None, standard, "4 positives and 0 negatives");
    refused(&[true, true, true, false], &fine, &fine, None, standard, "3 positives and 1 negatives");
    refused(&[], &[], &[], None, standard, "0 positives");
    refused(&labels, &fine, &fine, Some(&[1, 2]), standard, "4 labels, but 2 groups");
    refused(&labels, &fine, &fine, None, Options { confidence: 1.0, ..standard }, "confidence");
    refused(&labels, &fine, &fine, None, Options { confidence: f64::NAN, ..standard }, "confidence");
    refused(&labels, &fine, &fine, None, Options { max_drop: -0.1, ..standard }, "largest drop");
    refused(&labels, &fine, &fine, None, Options { threshold: 1.0, ..standard }, "threshold");
    refused(&labels, &fine, &fine, None, Options { max_f1_drop: 1.5, ..standard }, "largest drop of F1");
    refused(&labels, &fine, &fine, None, Options { max_recall_drop: f64::NAN, ..standard }, "of the recall");
    refused(&labels, &fine, &fine, None, Options { max_saturated: -0.1, ..standard }, "saturated codes");
    refused(&labels, &fine, &fine, None, Options { max_flipped: 2.0, ..standard }, "flipped decisions");
    refused(&labels, &fine, &fine, None, Options { min_recall: Some(2.0), ..standard }, "least recall");
    refused(&labels, &fine, &fine, None, Options { only: Parts::of(&[]), ..standard }, "no part of the gate");
    assert!(areas(&labels, &fine, &[0.1, f32::NAN, 0.2, 0.3], &mut on_cpu).is_err());
}

#[test]
fn whoever_counts_may_fail() {
    let mut broken = |_: &[f32], _: &[f32]| Err(Error::DeviceLost("gone".into()));
    let error = areas(&[true, true, false, false], &[0.0; 4], &[0.0; 4], &mut broken).unwrap_err();
    assert_eq!(error.exit_code(), 3);
    let mut short = |_: &[f32], _: &[f32]| Ok(vec![1]);
    assert!(areas(&[true, true, false, false], &[0.0; 4], &[0.0; 4], &mut short).is_err());
}

#[test]
fn curves_end_where_they_must() {
    let labels = [false, false, true, true];
    assert_eq!(roc(&labels, &[0.1, 0.5, 0.5, 0.9]), [(0, 0), (0, 1), (1, 2), (2, 2)]);
}

#[test]
fn the_table_and_the_picture_say_what_the_audit_found() {
    let (labels, a, b) = fixture("digits");
    let audit = judge(&labels, &a, &b, &Options { max_drop: 0.002, ..Options::default() });
    let text = lowbit::internals::report::audit::text(&audit);
    for words in ["FAIL: ", "0.97817", "0.97680", "0.00093", "warning: ", "decisions flipped at 0.85: "] {
        assert!(text.contains(words), "{words} is not in\n{text}");
    }
    let svg = lowbit::internals::report::roc::svg(&audit, &labels, &a, &b).unwrap();
    assert!(svg.starts_with("<svg") && svg.contains("INT8: AUC 0.97680"), "{svg}");
    assert!(lowbit::internals::report::roc::svg(&audit, &labels, &a, &b[1..]).is_err());
}

// ---- telemetry

/// The delamination model, in f64.
fn logit(row: &[f32]) -> f64 {
    let weights = [-0.15, 0.25, -0.40, 0.18];
    row.iter().zip(weights).map(|(&x, w)| f64::from(x) * w).sum::<f64>() - 1.2
}

#[test]
fn telemetry_is_what_it_says() {
    for (data, rows) in
        [(telemetry::calibration(), telemetry::CALIBRATION_ROWS), (telemetry::test(), telemetry::TEST_ROWS)]
    {
        assert_eq!((data.features.rows, data.features.cols), (rows, 4));
        assert_eq!(
            (data.features.values.len(), data.labels.len(), data.groups.len()),
            (4 * rows, rows, rows)
        );
        assert_eq!(data.features.first_non_finite(), None);
        let positives = data.labels.iter().filter(|&&label| label).count() as f64 / rows as f64;
        assert!((0.05..0.10).contains(&positives), "{positives}");
        for feature in 0..4 {
            let column: Vec<f64> =
                data.features.values.chunks(4).map(|row| f64::from(row[feature])).collect();
            let mean = column.iter().sum::<f64>() / rows as f64;
            let sigma = (column.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / rows as f64).sqrt();
            let beyond = column.iter().filter(|x| (*x - mean).abs() > 3.0 * sigma).count();
            assert!(beyond > rows / 1000 && beyond < rows / 20, "feature {feature}: {beyond} beyond 3 sigma");
            assert!(column.iter().all(|x| x.abs() < 10.0), "feature {feature}");
        }
        let scores: Vec<f32> = data.features.values.chunks(4).map(|row| logit(row) as f32).collect();
        let area = area(&data.labels, &scores, &mut on_cpu).unwrap();
        assert!((0.9..0.97).contains(&area), "{area}");
        // Every state of the model occurs: nominal, warning, critical.
        for (low, high) in [(-20.0, 0.0), (0.0, 1.73), (1.74, 20.0)] {
            assert!(scores.iter().any(|&score| score > low && score < high), "none in {low}..{high}");
        }
        let found = scores.iter().zip(&data.labels).filter(|(score, label)| **label && **score > 0.0).count();
        let recall = found as f64 / (positives * rows as f64);
        assert!(recall > 0.75, "{recall}");
        // Layers follow one another.
        assert!(data.groups.windows(2).all(|pair| pair[1] == pair[0] || pair[1] == pair[0] + 1));
        let layers = data.groups.last().unwrap() + 1;
        assert!((rows / 550..=rows / 250 + 1).contains(&(layers as usize)), "{layers}");
    }
}

#[test]
fn telemetry_is_the_same_everywhere_and_another_for_each_seed() {
    let hash = |data: &telemetry::Telemetry| {
        let words = data.features.values.iter().map(|value| value.to_bits());
        let labels = data.labels.iter().map(|&label| u32::from(label));
        words.chain(labels).fold(0xcbf2_9ce4_8422_2325u64, |hash, word| {
            (hash ^ u64::from(word)).wrapping_mul(0x0100_0000_01b3)
        })
    };
    // What this generator gave when it was written: other numbers would make other figures of the report.
    assert_eq!(hash(&telemetry::generate(5000, 1)), 4_548_956_603_653_520_892);
    let (short, long) = (telemetry::generate(700, 4), telemetry::generate(1000, 4));
    assert_eq!(short.features.values, long.features.values[..2800]);
    assert_ne!(short.features.values, telemetry::generate(700, 5).features.values);
    assert!(telemetry::generate(0, 1).labels.is_empty());
}
