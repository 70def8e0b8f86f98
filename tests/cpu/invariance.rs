//! What must change nothing, to the bit: units of values that are powers of two, and the order of what has none.

use lowbit::internals::calibration::{Contents, Histogram, Method, Range, channels};
use lowbit::internals::codec::{CacheType, Pair};
use lowbit::internals::quality::{Inputs, Options, Quality, Tensor, measure};
use lowbit::internals::random::Random;

const METHODS: [Method; 5] =
    [Method::Entropy, Method::MinMax, Method::Percentile(99.99), Method::Percentile(60.0), Method::Mse];

/// `values` times 2^`power`.
fn times(values: &[f32], power: i32) -> Vec<f32> {
    let scaled: Vec<f32> = values.iter().map(|&x| (f64::from(x) * f64::from(power).exp2()) as f32).collect();
    // In other units, the same digits.
    assert!(scaled.iter().zip(values).all(|(&a, &b)| f64::from(a) == f64::from(b) * f64::from(power).exp2()));
    scaled
}

/// Values of several kinds of tensors: with a tail, of one sign, of few values, constant, zero.
fn tensors() -> Vec<Vec<f32>> {
    let mut random = Random::new(3);
    let uniform = random.floats(5000);
    let tail = uniform.iter().map(|x| x * x * x / (1.001 - x.abs())).collect();
    let relu = uniform.iter().map(|x| x.max(0.0)).collect();
    vec![uniform.clone(), tail, relu, random.integers(300, 3), vec![-0.7; 40], vec![0.0; 9], vec![0.1, -3.0]]
}

#[test]
fn calibration_follows_the_unit_of_its_values_exactly() {
    for (values, method) in tensors().iter().flat_map(|values| METHODS.map(|method| (values, method))) {
        let own = Range::of("x", &Histogram::of(values).unwrap(), method).unwrap();
        for power in [-70, -31, -1, 5, 64, 100] {
            let scaled = Range::of("x", &Histogram::of(&times(values, power)).unwrap(), method).unwrap();
            let unit = f64::from(power).exp2();
            for (found, own) in [
                (scaled.threshold, own.threshold),
                (scaled.scale, own.scale),
                (scaled.amax, own.amax),
                (scaled.min, own.min),
                (scaled.max, own.max),
            ] {
                assert_eq!(f64::from(found), f64::from(own) * unit, "{method} 2^{power}");
            }
            assert_eq!((scaled.clipped, scaled.contents), (own.clipped, own.contents), "{method} 2^{power}");
        }
        assert_eq!(own.contents == Contents::Zero, values.iter().all(|&x| x == 0.0));
    }
}

#[test]
fn calibration_does_not_see_the_order_of_its_values() {
    for values in tensors() {
        let mut turned = values.clone();
        turned.rotate_left(values.len() / 3);
        turned[values.len() / 2..].reverse();
        assert_eq!(Histogram::of(&turned).unwrap(), Histogram::of(&values).unwrap());
    }
}

#[test]
fn scales_of_weights_follow_each_channels_unit_exactly() {
    let weights = Random::new(8).floats(6 * 50);
    let own = channels("w", &weights, 6).unwrap();
    let powers = [-90, -1, 0, 3, 60, 100];
    let scaled: Vec<f32> =
        weights.chunks(50).zip(powers).flat_map(|(weights, power)| times(weights, power)).collect();
    let found = channels("w", &scaled, 6).unwrap();
    for ((found, own), power) in found.scales.iter().zip(&own.scales).zip(powers) {
        assert_eq!(f64::from(*found), f64::from(*own) * f64::from(power).exp2());
    }
}

const SHAPE: [usize; 3] = [2, 40, 64];

fn tensor(heads: usize, values: Vec<f32>) -> Tensor {
    Tensor { shape: vec![heads, SHAPE[1], SHAPE[2]], values }
}

/// Queries of 4 heads, keys and values of 2, in steps that f16 holds in any of the units below.
fn attention() -> [Vec<f32>; 3] {
    let size: usize = SHAPE.iter().product();
    let mut random = Random::new(12);
    let eighths = |values: Vec<f32>| values.into_iter().map(|x| x / 8.0).collect();
    [random.floats(2 * size), eighths(random.integers(size, 40)), eighths(random.integers(size, 100))]
}

fn measured([q, k, v]: &[Vec<f32>; 3], options: &Options) -> Vec<Quality> {
    let inputs = Inputs::new(tensor(4, q.clone()), tensor(2, k.clone()), tensor(2, v.clone())).unwrap();
    let pairs = CacheType::ALL.map(|ty| Pair { keys: ty, values: ty });
    measure(&inputs, &pairs, options).unwrap()
}

/// All measures of an attention.
fn measures(of: &Quality) -> [f64; 13] {
    let Quality { keys_error, values_error, logit_error, kl, cosine, output_error, output, .. } = *of;
    let [kl, output] = [kl, output].map(|of| [of.mean, of.p99, of.max]);
    let [a, b, c] = kl;
    let [d, e, f] = output;
    [keys_error, values_error, logit_error, a, b, c, cosine, output_error, d, e, f, of.bits_per_value, 0.0]
}

#[test]
fn an_attention_does_not_see_the_units_of_keys_and_queries_nor_those_of_values() {
    let own = attention();
    for options in [
        Options::default(),
        Options { causal: true, rotate: true, sinks: 2, window: 5, ..Options::default() },
    ] {
        let expected = measured(&own, &options);
        for (keys, values) in [(-3, 0), (4, 2), (0, -3)] {
            let scaled = [times(&own[0], -keys), times(&own[1], keys), times(&own[2], values)];
            for (found, expected) in measured(&scaled, &options).iter().zip(&expected) {
                let name = format!("{:?} 2^{keys} 2^{values}", expected.types);
                assert_eq!(measures(found).map(f64::to_bits), measures(expected).map(f64::to_bits), "{name}");
            }
        }
    }
}

#[test]
fn an_attention_does_not_see_the_order_of_its_heads() {
    let own = attention();
    let turned = own.clone().map(|values| {
        let (first, second) = values.split_at(values.len() / 2);
        [second, first].concat()
    });
    let options = Options { center: true, ..Options::default() };
    for (found, expected) in measured(&turned, &options).iter().zip(&measured(&own, &options)) {
        for (found, expected) in measures(found).into_iter().zip(measures(expected)) {
            // Sums of the heads are added up in their order.
            assert!((found - expected).abs() <= 1e-12 * expected.abs(), "{found} {expected}");
        }
    }
}
