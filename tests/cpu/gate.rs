//! The gate of the audit: broken engines fail by some part of it, a good one by none, whatever the order and the scale of scores.

use lowbit::internals::audit::{Audit, Bound, Check, Options, Paired, Part, Parts, Status};
use lowbit::internals::random::Random;

use super::audit::{compare, good, judge};

/// A test set and a good engine, whose scores follow `of`.
fn engine(of: impl Fn(f32) -> f32) -> (Vec<bool>, Vec<f32>, Vec<f32>) {
    let (labels, a, b) = good(20_000, 11);
    (labels, a, b.into_iter().map(of).collect())
}

/// The parts that fail.
fn failing(audit: &Audit) -> Vec<Part> {
    let mut parts: Vec<Part> =
        audit.checks.iter().filter(|check| check.gates && !check.pass).map(|check| check.part).collect();
    parts.dedup();
    parts
}

#[test]
fn a_dead_engine_whose_ranks_are_right_fails_by_what_it_decides() {
    // All probabilities fall below the threshold in their order: the AUC says nothing.
    let (labels, a, b) = engine(|p| 0.4 * p);
    let dead = judge(&labels, &a, &b, &Options::default());
    assert_eq!((dead.status, dead.int8.recall), (Status::Fail, 0.0));
    assert!(dead.auc_degradation_gap < 1e-4, "{}", dead.auc_degradation_gap);
    assert_eq!(failing(&dead), [Part::F1, Part::Recall, Part::Flips]);
    for words in ["F1 at 0.5 drops by 0.3", "the recall at 0.5 drops by 0.7", "decisions (", "flip at 0.5"] {
        assert!(dead.verdict.contains(words), "{words}: {}", dead.verdict);
    }
    // A part alone, and what it is told not to look at is said.
    for (only, status) in [
        (vec![Part::Auc], Status::Pass),
        (vec![Part::Auc, Part::Recall], Status::Fail),
        (vec![Part::Flips], Status::Fail),
        (vec![Part::Saturation], Status::Pass),
    ] {
        let options = Options { only: Parts::of(&only), ..Options::default() };
        let found = judge(&labels, &a, &b, &options);
        assert_eq!((found.status, &found.decides), (status, &only), "{}", found.verdict);
        let names: Vec<&str> = only.iter().map(|part| part.name()).collect();
        let words = format!("the gate was narrowed to {}", names.join(" and "));
        assert!(found.verdict.contains(&words), "{}", found.verdict);
        assert_eq!(found.verdict.contains("does not decide"), only.len() < 3, "{}", found.verdict);
        assert!(lowbit::internals::report::audit::text(&found).contains(&words));
    }
    // Each limit is of its own check.
    let wide = Options { max_f1_drop: 1.0, max_recall_drop: 1.0, max_flipped: 1.0, ..Options::default() };
    assert_eq!(judge(&labels, &a, &b, &wide).status, Status::Pass);
    for (options, part) in [
        (Options { max_f1_drop: 0.01, ..wide }, Part::F1),
        (Options { max_recall_drop: 0.5, ..wide }, Part::Recall),
        (Options { max_flipped: 0.2, ..wide }, Part::Flips),
        (Options { min_recall: Some(0.01), ..wide }, Part::Recall),
        (Options { max_drop: 0.0, ..wide }, Part::Auc),
    ] {
        assert_eq!(failing(&judge(&labels, &a, &b, &options)), [part]);
    }
}

#[test]
fn every_broken_engine_fails_by_some_part_and_a_good_one_by_none() {
    let (labels, a, b) = engine(|p| p);
    let good = judge(&labels, &a, &b, &Options::default());
    assert_eq!((good.status, failing(&good)), (Status::Pass, vec![]), "{}", good.verdict);
    assert!(
        good.verdict.contains("; f1, recall, saturation and flips within the limits"),
        "{}",
        good.verdict
    );
    type Broken = (&'static str, fn(f32) -> f32, Part);
    let broken: [Broken; 8] = [
        ("constant", |_| 0.3, Part::Auc),
        ("inverted", |p| 1.0 - p, Part::Auc),
        ("all found", |p| 0.55 + 0.4 * p, Part::F1),
        ("none found", |p| 0.5 * p, Part::Recall),
        ("another bias", |p| (p + 0.05).min(1.0), Part::Flips),
        ("cut off at the top", |p| p.min(0.6), Part::Auc),
        ("cut off at the threshold", |p| p.min(0.5), Part::Recall),
        ("coarse", |p| (p * 8.0).round() / 8.0, Part::Flips),
    ];
    for (name, of, part) in broken {
        let (_, _, b) = engine(of);
        for point in [false, true] {
            let found = judge(&labels, &a, &b, &Options { point, ..Options::default() });
            assert_eq!(found.status, Status::Fail, "{name}: {}", found.verdict);
            assert!(failing(&found).contains(&part), "{name}: {:?}", failing(&found));
        }
    }
}

#[test]
fn what_is_undefined_is_decided() {
    let (labels, a, _) = engine(|p| p);
    let json =
        |audit: &Audit| serde_json::to_string(&(&audit.fp32, &audit.int8, &audit.f1, &audit.checks)).unwrap();
    // Nothing is found by the INT8 model: all is lost. By the f32 model: there is nothing to lose, which is no verdict.
    let zeros = vec![0.0; a.len()];
    let none = judge(&labels, &a, &zeros, &Options::default());
    assert_eq!((none.int8.f1, none.int8.recall, none.int8.precision), (0.0, 0.0, 0.0));
    let low: Vec<f32> = a.iter().map(|p| p * 0.4).collect();
    let found = judge(&labels, &low, &low, &Options::default());
    assert_eq!(failing(&found), [Part::F1, Part::Recall]);
    assert!(found.verdict.contains("the f32 model finds no positive above 0.5"), "{}", found.verdict);
    assert_eq!(found.verdict.matches("finds no positive").count(), 1, "{}", found.verdict);
    let lower = judge(&labels, &low, &low, &Options { threshold: 0.2, ..Options::default() });
    assert_eq!(lower.status, Status::Pass, "{}", lower.verdict);
    for audit in [&none, &found, &lower] {
        assert!(
            !json(audit).contains("null,\"limit") && !json(audit).contains("\"f1\":null"),
            "{}",
            json(audit)
        );
        assert!(audit.checks.iter().all(|check| check.value.is_finite() && check.limit.is_finite()));
    }
}

#[test]
fn saturation_and_classes_are_parts_of_the_gate() {
    let (labels, a, b) = engine(|p| p);
    let options = Options::default();
    for (share, flips, parts) in [
        (0.0, 0, vec![]),
        (0.05, 200, vec![]),
        (0.0501, 0, vec![Part::Saturation]),
        (1.0, 201, vec![Part::Saturation, Part::Flips]),
    ] {
        let mut found = judge(&labels, &a, &b, &options);
        found.add_saturation("x", share, &options);
        found.add_class_flips(flips, &options);
        assert_eq!(failing(&found), parts, "{}", found.verdict);
        assert_eq!(found.status == Status::Pass, parts.is_empty());
        assert_eq!(found.verdict.contains("codes of 'x' are saturated, more than 5 %"), share > 0.05);
        assert_eq!(found.verdict.contains("rows (1.005 %) get another class, more than 1 %"), flips == 201);
    }
    let only = Options { only: Parts::of(&[Part::Auc]), ..options };
    let mut found = judge(&labels, &a, &b, &only);
    found.add_saturation("x", 1.0, &only);
    assert_eq!(found.status, Status::Pass);
    assert!(found.verdict.ends_with("does not decide: saturated codes"), "{}", found.verdict);
}

/// What an audit says but for the picture of the order of rows.
fn gist(audit: &Audit) -> (Status, Vec<(String, f64, bool)>) {
    let check = |check: &Check| (check.label(), check.value, check.pass);
    (audit.status, audit.checks.iter().map(check).collect())
}

#[test]
fn the_order_of_rows_does_not_matter() {
    for seed in 20..24 {
        let (labels, a, b) = good(3000, seed);
        let mut order: Vec<usize> = (0..labels.len()).collect();
        let mut random = Random::new(seed);
        (1..order.len()).rev().for_each(|i| order.swap(i, random.below(i as u64 + 1) as usize));
        let shuffled = |scores: &[f32]| order.iter().map(|&row| scores[row]).collect::<Vec<f32>>();
        let mixed: Vec<bool> = order.iter().map(|&row| labels[row]).collect();
        let options = Options { threshold: 0.37, ..Options::default() };
        let (found, again) =
            (judge(&labels, &a, &b, &options), judge(&mixed, &shuffled(&a), &shuffled(&b), &options));
        assert_eq!(gist(&found), gist(&again));
    }
}

#[test]
fn areas_do_not_see_how_scores_are_written_and_decisions_do() {
    let (labels, a, b) = good(3000, 30);
    let options = Options::default();
    let found = judge(&labels, &a, &b, &options);
    // In order, to the bit: any power of two, and anything that keeps the order of all scores.
    let of = |scores: &[f32], of: fn(f32) -> f32| scores.iter().map(|&p| of(p)).collect::<Vec<f32>>();
    for monotone in [(|p| 0.25 * p) as fn(f32) -> f32, |p| 0.5 + 0.5 * p * p * p, |p| (p + 7.0) / 8.0] {
        let (x, y) = (of(&a, monotone), of(&b, monotone));
        let (areas, known) = (compare(&labels, &x, &y), compare(&labels, &a, &b));
        // A few scores may fall together as f32 numbers.
        assert!((areas.drop - known.drop).abs() < 1e-6 && (areas.baseline - known.baseline).abs() < 1e-6);
        assert!((areas.standard_error / known.standard_error - 1.0).abs() < 1e-2);
    }
    // The other class as the positive: its probability is the rest, its area the same.
    let rest: Vec<bool> = labels.iter().map(|label| !label).collect();
    let (x, y) = (of(&a, |p| 1.0 - p), of(&b, |p| 1.0 - p));
    let other = judge(&rest, &x, &y, &options);
    assert!((other.auc_degradation_gap - found.auc_degradation_gap).abs() < 1e-6);
    assert_eq!((other.positives, other.flips[0].rows), (found.negatives, found.flips[0].rows));
    // Both models in each other's place: each drop has the other sign.
    let swapped = judge(&labels, &b, &a, &options);
    assert_eq!(swapped.auc_degradation_gap, -found.auc_degradation_gap);
    assert_eq!((swapped.f1.drop, swapped.recall.drop), (-found.f1.drop, -found.recall.drop));
    assert_eq!(swapped.flips[0].rows, found.flips[0].rows);
}

/// Rows of which `counts` are: found by both, lost, gained, missed; then alarms of both, dropped, new; then none.
fn decided(counts: [usize; 8]) -> (Vec<bool>, Vec<f32>, Vec<f32>) {
    let (mut labels, mut a, mut b) = (Vec::new(), Vec::new(), Vec::new());
    for (kind, rows) in counts.into_iter().enumerate() {
        let score = |found: bool| if found { 0.8 } else { 0.2 };
        labels.extend(vec![kind < 4; rows]);
        a.extend(vec![score(kind % 4 < 2); rows]);
        b.extend(vec![score(kind % 2 == 0 && kind % 4 < 3); rows]);
    }
    (labels, a, b)
}

#[test]
fn bounds_of_decisions_are_those_of_their_definition() {
    let counts = [700, 12, 5, 190, 300, 9, 15, 9000];
    let (labels, a, b) = decided(counts);
    let found = judge(&labels, &a, &b, &Options::default());
    let [both, lost, gained, missed, alarms, dropped, new, none] = counts.map(|count| count as f64);
    let f1 = |hits: f64, alarms: f64, missed: f64| 2.0 * hits / (2.0 * hits + alarms + missed);
    let drop =
        f1(both + lost, alarms + dropped, gained + missed) - f1(both + gained, alarms + new, lost + missed);
    assert!((found.f1.drop - drop).abs() < 1e-12);
    let positives = both + lost + gained + missed;
    assert!((found.recall.drop - (lost - gained) / positives).abs() < 1e-12);
    // Bonett and Price: a lost and a gained row more.
    let z = 1.6448536269514722;
    let (p, q, n) = ((lost + 1.0) / (positives + 2.0), (gained + 1.0) / (positives + 2.0), positives + 2.0);
    let bound = p - q + z * ((p + q - (p - q).powi(2)) / n).sqrt();
    assert!((found.recall.upper_bound - bound).abs() < 1e-12, "{} {bound}", found.recall.upper_bound);
    // The same by the jackknife of rows, with one more of each kind that differs.
    let rows = [both, lost + 1.0, gained + 1.0, missed, alarms, dropped + 1.0, new + 1.0, none];
    let whole = |rows: [f64; 8]| {
        let [both, lost, gained, missed, alarms, dropped, new, _] = rows;
        f1(both + lost, alarms + dropped, gained + missed) - f1(both + gained, alarms + new, lost + missed)
    };
    let total: f64 = rows.iter().sum();
    let without = |kind: usize| {
        let mut less = rows;
        less[kind] -= 1.0;
        whole(less)
    };
    let mean: f64 = (0..8).map(|kind| rows[kind] * without(kind)).sum::<f64>() / total;
    let variance: f64 = (0..8).map(|kind| rows[kind] * (without(kind) - mean).powi(2)).sum::<f64>();
    let bound = whole(rows) + z * variance.sqrt();
    assert!((found.f1.upper_bound / bound - 1.0).abs() < 1e-3, "{} {bound}", found.f1.upper_bound);

    // Nothing differs: by the rule of three, of the positives, and of rows that would be hits.
    let (labels, a, b) = decided([700, 0, 0, 190, 300, 0, 0, 9000]);
    let found = judge(&labels, &a, &b, &Options::default());
    assert_eq!(
        (found.recall.upper_bound_by, found.f1.upper_bound_by),
        (Bound::RuleOfThree, Bound::RuleOfThree)
    );
    assert!((found.recall.upper_bound - (1.0 - 0.05f64.powf(1.0 / 890.0))).abs() < 1e-12);
    let rows = 10190.0 * (1.0 - 0.05f64.powf(1.0 / 10190.0));
    let bound = f1(700.0, 300.0, 190.0) - f1(700.0 - rows, 300.0, 190.0 + rows);
    assert!((found.f1.upper_bound - bound).abs() < 1e-12, "{} {bound}", found.f1.upper_bound);
    // More certainty, a larger bound; none, the drop itself or what is taken in its place.
    let bound = |confidence: f64| Paired::of_shares(12, 5, 907, confidence).upper_bound;
    assert!(bound(0.5) >= 7.0 / 907.0 && bound(0.9) < bound(0.95) && bound(0.95) < bound(0.999));
}

#[test]
fn a_bound_holds_as_often_as_it_says() {
    // The share of samples whose bound is above the truth; by McNemar's variance alone it would be 11 to 95 %.
    let mut random = Random::new(40);
    for (positives, lost, gained) in
        [(30, 0.01, 0.005), (100, 0.02, 0.0), (300, 0.01, 0.005), (300, 0.05, 0.02), (1500, 0.004, 0.0)]
    {
        let mut holds = 0;
        for _ in 0..2000 {
            let mut counts = [0u64; 2];
            for _ in 0..positives {
                let at = random.unit();
                counts[0] += u64::from(at < lost);
                counts[1] += u64::from(at >= lost && at < lost + gained);
            }
            let bound = Paired::of_shares(counts[0], counts[1], positives, 0.95).upper_bound;
            holds += u32::from(bound >= lost - gained);
        }
        assert!(holds >= 1840, "{positives} {lost} {gained}: {holds} of 2000");
    }
}
