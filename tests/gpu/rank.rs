use lowbit::internals::audit::{Input, Options, audit, on_cpu};
use lowbit::internals::classify::rank::counts;
use lowbit::internals::oracle::rank::rank;
use lowbit::internals::random::Random;

#[test]
fn agrees_with_the_oracle() {
    crate::harness::check("rank");
}

#[test]
fn audits_on_gpu_and_cpu_are_the_same() {
    let gpu = crate::harness::device();
    let mut random = Random::new(11);
    let rows = 100_000;
    let labels: Vec<bool> = (0..rows).map(|_| random.below(12) == 0).collect();
    // Hundreds of scores for each level.
    let mut scores = |levels: f64| -> Vec<f32> {
        let score = |&label: &bool| random.unit() * 0.7 + if label { 0.3 } else { 0.0 };
        labels.iter().map(score).map(|p| ((p * levels).round() / levels) as f32).collect()
    };
    let (baseline, quantized) = (scores(997.0), scores(97.0));
    let input = Input { labels: &labels, baseline: &baseline, quantized: &quantized, groups: None };
    let on_gpu = audit(&input, &Options::default(), &mut |x, others| counts(&gpu, x, others)).unwrap();
    assert_eq!(on_gpu, audit(&input, &Options::default(), &mut on_cpu).unwrap());
    assert!(on_gpu.auc_fp32_baseline > 0.7 && on_gpu.standard_error > 0.0);
}

#[test]
fn nothing_and_no_number_are_answered() {
    let gpu = crate::harness::device();
    assert!(counts(&gpu, &[], &[1.0]).unwrap().is_empty());
    assert_eq!(counts(&gpu, &[1.0, 2.0], &[]).unwrap(), [0, 0]);
    assert!(counts(&gpu, &[f32::NAN], &[1.0]).is_err());
    let (x, others) = ([-0.0, 0.0, -1.0, f32::INFINITY, 1e-40], [0.0, -0.0, 1.0, -1e-40]);
    assert_eq!(counts(&gpu, &x, &others).unwrap(), rank(&x, &others));
}
