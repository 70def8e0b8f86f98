//! The measured roofs as a whole: what `lowbit roofline` and the report build on.

use lowbit::internals::gpu::OpKind;
use lowbit::internals::gpu::{Context, Options, Work};
use lowbit::internals::roofline::{Effort, MeasureOptions, Roof, measure};
use serde_json::Value;

#[test]
fn every_roof_is_a_number_and_follows_from_its_formula() {
    let gpu = Context::open(&Options::default()).unwrap();
    let options = MeasureOptions { effort: Effort::Quick, peak_gbs: Some(1e-3), sweep: true };
    let mut said = Vec::new();
    let roofs = measure(&gpu, &options, &mut |line| said.push(line.to_owned())).unwrap();
    assert!(!said.is_empty());

    let check = |roof: &Roof, least_buffer: u64| {
        assert!(0.0 < roof.low && roof.low <= roof.value && roof.value <= roof.high, "{roof:?}");
        assert!(roof.samples >= 5, "{roof:?}");
        // The formula shows a tenth of a microsecond.
        let (given, off) = (evaluate(&roof.formula).unwrap(), 0.06 / roof.us);
        assert!((given / roof.value - 1.0).abs() <= off, "{given} is not {roof:?}");
        assert!(roof.value * roof.us * 1e3 > least_buffer as f64 * 0.999, "{roof:?} moved too little");
    };
    check(&roofs.copy, 2 * roofs.buffer_bytes);
    check(&roofs.read, roofs.buffer_bytes);
    check(&roofs.write, roofs.buffer_bytes);
    check(&roofs.fma_f32, 0);
    assert_eq!(roofs.fma_f16.is_some(), gpu.adapter.shader_f16);
    assert_eq!(roofs.dot_i8.is_some(), gpu.integer_dot);
    roofs.fma_f16.iter().chain(&roofs.dot_i8).for_each(|roof| check(roof, 0));

    // Nothing is slower than a megabyte per second, so this datasheet must be contradicted.
    for roof in [&roofs.copy, &roofs.read, &roofs.write] {
        assert!(!roof.valid && roof.note.is_some(), "{roof:?}");
    }
    assert!(roofs.fma_f32.valid, "a bandwidth says nothing about arithmetic");

    assert!(roofs.launch.round_trip_us > 0.0);
    assert!(roofs.launch.points.iter().all(|point| point.us > 0.0));
    let sizes: Vec<u64> = roofs.sweep.iter().map(|point| point.bytes).collect();
    assert_eq!(sizes.first(), Some(&65_536));
    assert_eq!(sizes.last(), Some(&roofs.buffer_bytes));
    assert!(sizes.is_sorted() && roofs.sweep.iter().all(|point| point.gb_s > 0.0));

    // Work that is exactly at a roof has all of its share, and a tenth more of it cannot be.
    let memory = Work { bytes: (roofs.memory_gb_s() * 1e6) as u64, ops: 0 };
    let floor = roofs.floor_us(memory, OpKind::F32);
    assert!((floor - 1000.0).abs() < 0.1, "{floor}");
    let share = roofs.share(memory, OpKind::F32, 2000.0);
    assert!(share.valid && share.bound == "memory" && (share.value - 0.5).abs() < 1e-3, "{share:?}");
    let share = roofs.share(memory, OpKind::F32, 900.0);
    assert!(!share.valid && share.value > 1.0, "{share:?}");
    assert!(!roofs.share(memory, OpKind::F32, 0.0).valid);
    let arithmetic = Work { bytes: 1, ops: (roofs.fma_f32.value * 1e6) as u64 };
    let share = roofs.share(arithmetic, OpKind::F32, 1250.0);
    assert!(share.valid && share.bound == "arithmetic" && (share.value - 0.8).abs() < 1e-3, "{share:?}");

    let json = serde_json::to_value(&roofs).unwrap();
    for path in
        ["/copy/value", "/read/low", "/write/us", "/fma_f32/high", "/launch/round_trip_us", "/peak_gbs"]
    {
        assert!(json.pointer(path).is_some_and(Value::is_number), "{path}: {json}");
    }
    let f16 = json.pointer("/fma_f16").unwrap();
    assert!(f16.is_null() || f16.pointer("/value").is_some_and(Value::is_number), "{f16}");
}

/// The value of `2 x 1000 bytes / 61.2 us`, in 10^9 per second.
fn evaluate(formula: &str) -> Option<f64> {
    let (amount, us) = formula.split_once(" / ")?;
    let number = |text: &str| text.split(' ').next()?.parse::<f64>().ok();
    Some(amount.split(" x ").map(number).product::<Option<f64>>()? / number(us)? / 1e3)
}
