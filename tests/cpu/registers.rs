//! Proofs that no sum leaves its register, and networks in few bits.

use lowbit::internals::cases::Random;
use lowbit::internals::network::low_bit::{Budgets, Input, affine, low_bit, weight_codes};
use lowbit::internals::network::registers::{
    Budget, Conversion, Overflow, Proof, check, prove, prove_without_data,
};
use lowbit::internals::network::{
    Affine, Dense, Element, FixedPoint, Integer, Layer, Network, Op, Output, Unary, Value, Window,
};
use lowbit::internals::oracle::network::{Values, run};

fn value(name: &str, shape: &[usize], element: Element) -> Value {
    Value { name: name.into(), shape: shape.into(), element }
}

fn layer(name: &str, input: usize, output: usize, op: Op) -> Layer {
    Layer { name: name.into(), operator: "Conv", inputs: vec![input], output, op }
}

/// One layer of integers behind codes from `low` to `high`.
fn of_one(integer: Integer, [low, high]: [i32; 2], shape: &[usize]) -> Network {
    let zero = integer.input_zero;
    let bound = |code: i32| (code - zero) as f32;
    let clip = Op::Unary(Unary::Clip { low: bound(low), high: bound(high) });
    let affine = Affine { scale: vec![1.0], zero: vec![zero] };
    let outs = integer.bias.len();
    let mut to = shape.to_vec();
    to[0] = outs;
    Network {
        values: vec![
            value("x", shape, Element::F32),
            value("bounded", shape, Element::F32),
            value("codes", shape, Element::I8),
            value("y", &to, Element::F32),
        ],
        layers: vec![
            layer("clip", 0, 1, clip),
            layer("quantize", 1, 2, Op::Quantize(affine)),
            layer("sum", 2, 3, Op::Integer(integer)),
        ],
        input: 0,
        output: 3,
    }
}

fn products(weights: Vec<i8>, outs: usize, register: u32) -> Integer {
    Integer {
        weights,
        weight_zero: vec![0; outs],
        input_zero: 0,
        bias: vec![0; outs],
        window: Window::POINT,
        groups: 1,
        register,
        output: Output::Scaled { scale: vec![1.0; outs] },
    }
}

fn proof(integer: Integer, codes: [i32; 2], inputs: usize) -> Proof {
    prove(&of_one(integer, codes, &[inputs, 4, 4])).remove(0)
}

#[test]
fn the_published_budgets() {
    let budget = |activation_bits, weight_bits| Budget { register_bits: 8, activation_bits, weight_bits };
    let published = [(32, budget(2, 1), 96), (16, budget(3, 1), 112), (8, budget(2, 2), 72)];
    for (inputs, budget, worst) in published {
        assert_eq!((budget.worst(inputs), budget.limit()), (worst, 127));
        let (a, w) = (budget.activation(), budget.weight() as i8);
        let found = proof(products(vec![w; inputs], 1, 8), [-a, a], inputs);
        assert_eq!((found.any_weights, found.sums, found.headroom), (worst, [-worst, worst], 127 - worst));
        assert_eq!(found.overflow, None);
        // One product more than fits is one too many.
        let fits = (127 / (worst / inputs as i64)) as usize;
        assert_eq!(proof(products(vec![w; fits], 1, 8), [-a, a], fits).overflow, None);
        let beyond = proof(products(vec![w; fits + 1], 1, 8), [-a, a], fits + 1).overflow.unwrap();
        assert_eq!((beyond.channel, beyond.products), (0, fits + 1));
        assert!(beyond.sum.abs() > 127);
    }
}

#[test]
fn a_star_has_five_products_for_each_channel_of_its_group() {
    let window = Window { kernel: [3, 3], pads: [1, 1], star: true, ..Window::POINT };
    let integer = Integer { window, groups: 2, ..products(vec![1; 2 * 6 * 5], 2, 8) };
    let found = proof(integer, [-3, 3], 12);
    assert_eq!((found.operator, found.products, found.sums), ("star-conv", 30, [-90, 90]));
}

#[test]
fn weights_as_they_are_stored_can_prove_what_any_weights_do_not() {
    let half: Vec<i8> = (0..64).map(|at| i8::from(at % 2 == 0)).collect();
    let found = proof(products(half, 1, 8), [-3, 3], 64);
    assert_eq!((found.any_weights, found.sums, found.overflow), (192, [-96, 96], None));
}

#[test]
fn codes_of_one_sign_leave_room() {
    let found = proof(products([1i8, -1].repeat(32), 1, 8), [0, 3], 64);
    assert_eq!((found.sums, found.overflow), ([-96, 96], None));
}

#[test]
fn zero_points_and_biases_take_room() {
    // 20 weights of 1, codes from -3 with the zero point -3: the register begins with 60.
    let integer = Integer { input_zero: -3, ..products(vec![1; 20], 1, 8) };
    let found = proof(integer.clone(), [-3, 3], 20);
    assert_eq!((found.sums, found.headroom, found.overflow), ([0, 120], 7, None));
    // A bias of 8 is one more than there is room for, and it takes all products to see it.
    let found = proof(Integer { bias: vec![8], ..integer.clone() }, [-3, 3], 20);
    assert_eq!(found.overflow, Some(Overflow { channel: 0, products: 20, sum: 128 }));
    let found = proof(Integer { bias: vec![70], ..integer }, [-3, 3], 20);
    assert_eq!(found.overflow, Some(Overflow { channel: 0, products: 0, sum: 130 }));
    let error = check(&[found]).unwrap_err();
    assert_eq!(error.exit_code(), 1);
    let text = error.to_string();
    assert!(text.contains("'sum': channel 0 can reach 130 by its bias and zero points alone"), "{text}");
}

#[test]
fn partial_sums_count_and_not_only_the_last() {
    // Codes of one value: 50 weights of 1, then 50 of -1. The sum is 0 in the end, and 150 on the way.
    let weights: Vec<i8> = [vec![1; 50], vec![-1; 50]].concat();
    let found = proof(Integer { input_zero: 3, bias: vec![0], ..products(weights, 1, 8) }, [3, 3], 100);
    assert_eq!(found.sums, [0, 150]);
    assert_eq!(found.overflow, Some(Overflow { channel: 0, products: 43, sum: 129 }));
}

#[test]
fn the_channel_that_breaks_is_named() {
    let mut weights = vec![0i8; 5 * 40];
    weights[2 * 40..3 * 40].fill(1);
    weights[4 * 40..].fill(-1);
    let found = proof(products(weights, 5, 8), [0, 4], 40);
    assert_eq!(found.overflow, Some(Overflow { channel: 2, products: 32, sum: 128 }));
    assert_eq!((found.channel, found.headroom), (2, -33));
}

/// Every partial sum of a channel by every input: the definition.
fn all_sums(integer: &Integer, channel: usize, [low, high]: [i32; 2]) -> [i64; 2] {
    let each = integer.weights.len() / integer.bias.len();
    let weights = &integer.weights[channel * each..][..each];
    let zero = i64::from(integer.weight_zero[channel]);
    let start = integer.constants()[channel];
    let mut found = [start, start];
    let mut see = |sum: i64| found = [found[0].min(sum), found[1].max(sum)];
    let size = (high - low + 1) as usize;
    for number in 0..size.pow(each as u32) {
        let (mut sum, mut of_codes) = (start, 0i64);
        for (at, &weight) in weights.iter().enumerate() {
            let code = i64::from(low) + (number / size.pow(at as u32) % size) as i64;
            sum += i64::from(weight) * code;
            of_codes += code;
            see(sum);
            if zero != 0 {
                see(of_codes);
            }
        }
        if zero != 0 {
            see(of_codes * zero);
            see(sum - of_codes * zero);
        }
    }
    found
}

#[test]
fn the_worst_case_is_the_one_that_trying_all_inputs_finds() {
    let mut random = Random::new(7);
    for _ in 0..60 {
        let (inputs, outs) = (1 + random.below(4) as usize, 1 + random.below(3) as usize);
        let mut any = |most: u64| random.below(2 * most + 1) as i32 - most as i32;
        let weights = (0..inputs * outs).map(|_| any(7) as i8).collect();
        let input_zero = any(3);
        let weight_zero: Vec<i32> = (0..outs).map(|_| any(2)).collect();
        let bias = (0..outs).map(|_| any(40)).collect();
        let (low, high) = (input_zero - 1 - any(1).abs(), input_zero + any(2).abs());
        let integer = Integer { input_zero, weight_zero, bias, ..products(weights, outs, 8) };
        let found = proof(integer.clone(), [low, high], inputs);
        let all: Vec<[i64; 2]> = (0..outs).map(|channel| all_sums(&integer, channel, [low, high])).collect();
        let least = all.iter().map(|sums| sums[0]).min().unwrap();
        let most = all.iter().map(|sums| sums[1]).max().unwrap();
        assert_eq!(found.activations, [low, high]);
        assert_eq!(found.sums, [least, most], "{integer:?}");
        let leaves = least < -127 || most > 127;
        assert_eq!(found.overflow.is_some(), leaves);
    }
}

#[test]
fn scales_and_zero_points_by_the_least_and_the_largest_value() {
    let close = |found: Affine, scale: f32, zero: i32| {
        assert!((found.scale[0] / scale - 1.0).abs() < 1e-6, "{found:?}");
        assert_eq!(found.zero, [zero]);
    };
    // A = (6 - 0) / 6, B = 0 / A + 3.
    close(affine(0.0, 6.0, [-3, 3]).unwrap(), 1.0, -3);
    close(affine(-1.0, 2.0, [-3, 3]).unwrap(), 0.5, -1);
    // 0 has a code wherever values lie.
    close(affine(5.0, 12.0, [-3, 3]).unwrap(), 2.0, -3);
    close(affine(-2.0, -1.0, [-7, 7]).unwrap(), 2.0 / 14.0, 7);
    assert_eq!(affine(0.0, 0.0, [-3, 3]), None);
    assert_eq!(Input::of(&[0.0, 17.0, 255.0]), Input::Pixels);
    assert_eq!(Input::of(&[0.0, 17.5]), Input::Range { min: 0.0, max: 17.5 });
}

#[test]
fn weights_take_the_step_of_the_least_error() {
    let weights = [0.9f32, -1.1, 1.0, 0.1, 10.0, -10.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
    let (codes, steps) = weight_codes(&weights, 3, 1);
    assert_eq!(codes, [1, -1, 1, 0, 1, -1, 0, 0, 0, 0, 0, 0]);
    assert!((steps[0] - 1.0).abs() < 0.02 && (steps[1] - 10.0).abs() < 1e-6 && steps[2] == 1.0, "{steps:?}");
    // No other step of a fine grid is better by more than the candidates are apart.
    let mut random = Random::new(3);
    let weights = random.floats(64);
    let (codes, steps) = weight_codes(&weights, 1, 3);
    let error = |step: f32| -> f32 {
        weights.iter().map(|w| ((w / step).round_ties_even().clamp(-3.0, 3.0) * step - w).powi(2)).sum()
    };
    let own: f32 =
        weights.iter().zip(&codes).map(|(w, &code)| (f32::from(code) * steps[0] - w).powi(2)).sum();
    let best = (1..2000).map(|i| error(i as f32 / 4000.0)).fold(f32::MAX, f32::min);
    assert!(own <= best * 1.05, "{own} {best}");
}

#[test]
fn integers_rescale_as_numbers_would() {
    let mut random = Random::new(11);
    for _ in 0..300 {
        let ratio = 2f64.powf(f64::from(random.below(1400) as u32) / 100.0 - 9.0);
        let zero = random.below(15) as i32 - 7;
        let Some(step) = FixedPoint::new(ratio, zero, 128) else { panic!("no integers for {ratio}") };
        assert!(step.multiplier <= 32_767 && step.shift <= FixedPoint::MOST_SHIFT);
        for x in -128i64..128 {
            let exact = x as f64 * ratio + f64::from(zero);
            let found = step.of(x) as f64;
            // Half a unit, and what 15 bits of a multiplier leave over.
            assert!(
                (found - exact).abs() <= 0.5 + exact.abs() * 2f64.powi(-14) + 1e-9,
                "{ratio} {x}: {found} {exact}"
            );
        }
    }
    assert_eq!(FixedPoint::new(1.0, 0, 128).unwrap().of(5), 5);
    assert_eq!(FixedPoint::new(1e9, 0, 128), None);
}

/// Two layers of 1 x 1 in floats, with a Relu between.
fn of_floats(first: Vec<f32>, second: Vec<f32>, bias: f32) -> Network {
    let dense = |weights: Vec<f32>, bias: f32| {
        Op::Dense(Dense { weights, bias: vec![bias], window: Window::POINT, groups: 1, quantized: None })
    };
    let shape = |name: &str, channels: usize| value(name, &[channels], Element::F32);
    Network {
        values: vec![shape("x", first.len()), shape("sum", 1), shape("relu", 1), shape("y", 1)],
        layers: vec![
            layer("one", 0, 1, dense(first, bias)),
            layer("relu", 1, 2, Op::Unary(Unary::Relu)),
            layer("two", 2, 3, dense(second, 0.0)),
        ],
        input: 0,
        output: 3,
    }
}

const BUDGETS: Budgets = Budgets { first: Budget::FIRST, rest: Budget::DEFAULT };

#[test]
fn layers_in_few_bits_are_proven_as_they_will_run() {
    let network = of_floats(vec![0.5; 20], vec![2.0], 0.3);
    let proofs = prove_without_data(&network, &BUDGETS).unwrap();
    let of = |proof: &Proof| (proof.register_bits, proof.activations, proof.weights[1], proof.sums[1]);
    // What is not known without data is not claimed.
    assert_eq!(of(&proofs[0]), (16, [-128, 127], 15, 20 * 127 * 15));
    assert_eq!(of(&proofs[1]), (8, [-3, 3], 1, 3));
    assert!(proofs.iter().all(|proof| proof.conversion == Conversion::Unknown));
    let made =
        low_bit(&network, &BUDGETS, Input::Pixels, |name| (name == "relu").then_some((0.0, 60.0))).unwrap();
    let proofs = prove(&made);
    assert_eq!((proofs.len(), proofs[0].register_bits, proofs[1].register_bits), (2, 16, 8));
    // Pixels from 0 to 255 in codes around -128; the bias is 0.3 in steps of 0.5 / 15.
    assert_eq!(proofs[0].activations, [-128, 127]);
    assert_eq!(proofs[0].sums, [9, 20 * 255 * 15 + 9]);
    assert_eq!(proofs[0].overflow, Some(Overflow { channel: 0, products: 0, sum: 20 * 128 * 15 + 9 }));
    assert_eq!(proofs[1].activations, [-3, 3]);
    assert_eq!(
        (proofs[0].conversion, proofs[1].conversion),
        (Conversion::FixedPoint, Conversion::Dequantized)
    );
}

#[test]
fn conversions_are_left_out_where_they_change_nothing() {
    // Weights of 1, pixels, and a Relu from 0 to 6 whose steps are those of the sums: q' = q - 3 is no identity, q' = q is one.
    let network = of_floats(vec![15.0, -15.0], vec![1.0], 0.0);
    let symmetric = |name: &str| (name == "relu").then_some((-3.0, 3.0));
    let made = low_bit(&network, &BUDGETS, Input::Pixels, symmetric).unwrap();
    let proofs = prove(&made);
    assert_eq!(proofs[0].conversion, Conversion::LeftOut, "{made:?}");
    // Wide registers leave no room for a multiplier.
    let wide = Budgets { first: Budget { register_bits: 17, ..Budget::FIRST }, ..BUDGETS };
    let made = low_bit(&network, &wide, Input::Pixels, symmetric).unwrap();
    assert_eq!(prove(&made)[0].conversion, Conversion::Float, "{made:?}");
    // Twice the step is a shift.
    let made = low_bit(&network, &BUDGETS, Input::Pixels, |_| Some((-6.0, 6.0))).unwrap();
    assert_eq!(prove(&made)[0].conversion, Conversion::Shift, "{made:?}");
}

#[test]
fn what_cannot_be_put_into_few_bits_is_refused_by_name() {
    let network = of_floats(vec![0.5; 20], vec![2.0], 0.3);
    let error = |result: lowbit::internals::Result<Network>| result.unwrap_err().to_string();
    let text = error(low_bit(&network, &BUDGETS, Input::Pixels, |_| None));
    assert!(
        text.contains("'two'") && text.contains("'relu'") && text.contains("no calibrated range"),
        "{text}"
    );
    let text = error(low_bit(&network, &BUDGETS, Input::Pixels, |_| Some((0.0, 0.0))));
    assert!(text.contains("it was 0 throughout calibration"), "{text}");
    let wild = of_floats(vec![1e-30; 20], vec![2.0], 1e30);
    let text = error(low_bit(&wild, &BUDGETS, Input::Pixels, |_| Some((0.0, 1.0))));
    assert!(text.contains("'one'"), "{text}");
    let none = Budget { activation_bits: 0, ..Budget::DEFAULT };
    let text =
        error(low_bit(&network, &Budgets { rest: none, ..BUDGETS }, Input::Pixels, |_| Some((0.0, 1.0))));
    assert!(text.contains("an activation of 0 bits"), "{text}");
    let integers = of_one(products(vec![1; 4], 1, 8), [-3, 3], &[4]);
    assert!(error(low_bit(&integers, &BUDGETS, Input::Pixels, |_| None)).contains("of integers already"));
}

#[test]
fn layers_of_integers_are_proven_beside_those_of_floats() {
    let mut network = of_floats(vec![0.5; 20], vec![2.0], 0.3);
    network.values[2].element = Element::I8;
    network.layers[2].op = Op::Integer(products(vec![127], 1, 32));
    let proofs = prove_without_data(&network, &BUDGETS).unwrap();
    assert_eq!(proofs.len(), 2);
    assert_eq!((proofs[1].register_bits, proofs[1].sums), (8, [-128 * 127, 127 * 127]));
    assert!(proofs[1].overflow.is_some());
    let none = Budget { register_bits: 0, ..Budget::DEFAULT };
    assert!(prove_without_data(&network, &Budgets { rest: none, ..BUDGETS }).is_err());
}

#[test]
fn a_channel_without_weights_keeps_its_bias() {
    let network = of_floats(vec![0.0; 4], vec![1.0], 0.4);
    let made = low_bit(&network, &BUDGETS, Input::Pixels, |_| Some((0.0, 0.6))).unwrap();
    let relu = run(&made, &[0.0, 1.0, 2.0, 3.0]);
    let codes = relu.iter().map(Values::integers).find(|codes| codes.len() == 1).unwrap();
    // 0.4 of 0.6 in steps of 0.1, from -3 on.
    assert_eq!(codes, [1]);
    assert_eq!(prove(&made)[0].overflow, None);
}
