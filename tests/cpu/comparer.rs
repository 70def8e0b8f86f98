//! The comparer must reject what is wrong; a comparer that accepts everything makes every other test worthless.

use lowbit::internals::cases::{Expected, Measured, compare};

const VALUES: [f64; 5] = [1.0, -2.5, 3.25, 1e-3, 1e6];

fn bits(values: &[f32]) -> Measured {
    Measured::forged(values.iter().map(|x| x.to_bits()).collect())
}

fn within(bound: f64) -> Expected {
    Expected::Within { values: VALUES.to_vec(), bounds: vec![bound; VALUES.len()] }
}

fn right() -> Vec<f32> {
    VALUES.iter().map(|&x| x as f32).collect()
}

#[test]
fn right_values_pass() {
    assert!(compare(&bits(&right()), &within(1e-4)).is_ok());
    assert!(compare(&Measured::forged(vec![1, 2, 3]), &Expected::Exact(vec![1, 2, 3])).is_ok());
    assert!(compare(&Measured::forged(vec![4]), &Expected::OneOf(vec![vec![3, 4]])).is_ok());
    assert!(compare(&Measured::forged(vec![]), &Expected::Exact(vec![])).is_ok());
}

#[test]
fn one_wrong_value_fails_wherever_it_is() {
    for i in 0..VALUES.len() {
        let mut values = right();
        values[i] += 0.01 + values[i].abs() * 0.01;
        let error = compare(&bits(&values), &within(1e-4)).unwrap_err();
        assert!(error.starts_with(&format!("[{i}]")), "{error}");
    }
    let error = compare(&Measured::forged(vec![1, 2, 4]), &Expected::Exact(vec![1, 2, 3])).unwrap_err();
    assert!(error.starts_with("[2]"), "{error}");
}

#[test]
fn one_flipped_bit_fails_an_exact_comparison() {
    for bit in 0..32 {
        let measured = Measured::forged(vec![0xdead_beef ^ (1 << bit)]);
        assert!(compare(&measured, &Expected::Exact(vec![0xdead_beef])).is_err());
    }
}

#[test]
fn swapped_rows_fail() {
    let mut values = right();
    values.swap(0, 2);
    assert!(compare(&bits(&values), &within(1e-4)).is_err());
}

#[test]
fn nan_infinity_zeros_and_poison_fail() {
    for wrong in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0, f32::from_bits(0x7fc0_dead)] {
        let mut values = right();
        values[1] = wrong;
        assert!(compare(&bits(&values), &within(1e-4)).is_err(), "{wrong}");
    }
    assert!(compare(&bits(&[0.0; 5]), &within(1e-4)).is_err());
}

#[test]
fn a_nan_bound_or_expectation_fails() {
    assert!(compare(&bits(&right()), &within(f64::NAN)).is_err());
    let expected = Expected::Within { values: vec![f64::NAN], bounds: vec![1.0] };
    assert!(compare(&bits(&[1.0]), &expected).is_err());
}

#[test]
fn too_few_or_too_many_values_fail() {
    assert!(compare(&bits(&right()[..4]), &within(1e-4)).is_err());
    assert!(compare(&Measured::forged(vec![1, 2]), &Expected::Exact(vec![1])).is_err());
    assert!(compare(&Measured::forged(vec![]), &Expected::OneOf(vec![vec![1]])).is_err());
}

#[test]
fn a_label_outside_its_set_fails() {
    assert!(compare(&Measured::forged(vec![5]), &Expected::OneOf(vec![vec![3, 4]])).is_err());
    assert!(compare(&Measured::forged(vec![5]), &Expected::OneOf(vec![vec![]])).is_err());
}
