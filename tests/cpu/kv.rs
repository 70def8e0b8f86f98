//! What cache types cost in an attention, and which is recommended.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use lowbit::internals::Error;
use lowbit::internals::codec::{CacheType, Codec, Pair, Side};
use lowbit::internals::quality::{Inputs, Options, Tensor, measure};
use lowbit::internals::random::Random;
use lowbit::internals::report::attention::{Evaluation, EvaluationOptions, Form, MAX_KL, MAX_L2, evaluate};

fn asset(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/kv").join(name)
}

fn inputs() -> Inputs {
    Inputs::read(&asset("q.npy"), &asset("k.npy"), &asset("v.npy")).unwrap()
}

fn pairs(names: &str) -> Vec<Pair> {
    names.split(' ').filter(|name| !name.is_empty()).map(|name| name.parse().unwrap()).collect()
}

fn options(types: &str) -> EvaluationOptions {
    EvaluationOptions {
        types: pairs(types),
        causal: true,
        sinks: 0,
        window: 0,
        form: None,
        max_kl: Some(MAX_KL),
        max_l2: None,
        context: None,
    }
}

fn evaluated(inputs: &Inputs, options: &EvaluationOptions) -> Evaluation {
    evaluate(inputs, options, &|_, _| (), &|| Ok(())).unwrap()
}

const BOTH: Form = Form { center: true, rotate: true };

#[test]
fn a_row_is_what_measuring_its_form_alone_gives() {
    let inputs = inputs();
    let options = EvaluationOptions { sinks: 4, window: 40, ..options("q8_0 q8_0:turbo3 kivi4 q4_0:q8_0") };
    let found = evaluated(&inputs, &options);
    assert_eq!(found.types.iter().map(|row| row.types).collect::<Vec<_>>(), options.types);
    for row in &found.types {
        let rotates = row.types.to_string().contains('q');
        assert_eq!(row.forms.len(), if rotates { 4 } else { 2 }, "{}", row.types);
        for of in &row.forms {
            let Form { center, rotate } = of.form;
            let alone = Options { causal: true, sinks: 4, window: 40, center, rotate, scale: None };
            assert_eq!(of.quality, Some(measure(&inputs, &[row.types], &alone).unwrap()[0]));
        }
        // The row is the form of the least divergence.
        let best = row.forms.iter().find(|of| Some(of.form) == row.form).unwrap();
        let kl = |quality: Option<lowbit::internals::quality::Quality>| quality.unwrap().kl.mean;
        assert_eq!(row.quality, best.quality);
        assert!(row.forms.iter().all(|of| kl(of.quality) >= kl(row.quality)), "{}", row.types);
        // Of one layer.
        assert_eq!(row.layers, [row.quality.unwrap()]);
    }
    // 4 heads of 256 tokens and 32 values: 44 tokens in 16 bits, 212 in 8.5, twice.
    assert_eq!(found.types[0].bytes, 4 * 32 * 2 * (44 * 16 * 2 + 212 * 17) / 16);
}

#[test]
fn layers_have_figures_of_their_own() {
    let inputs = inputs();
    let two = |name: &str, shape: [usize; 4]| {
        let values = Tensor::read(&asset(name)).unwrap().values;
        Tensor { shape: shape.to_vec(), values }
    };
    // The four heads as two layers of two, and the first layer alone.
    let [q, k, v] = ["q.npy", "k.npy", "v.npy"].map(|name| two(name, [2, 2, 256, 32]));
    let first = |of: &Tensor| Tensor { shape: vec![2, 256, 32], values: of.values[..2 * 256 * 32].to_vec() };
    let alone = Inputs::new(first(&q), first(&k), first(&v)).unwrap();
    let layers = Inputs::new(q, k, v).unwrap();
    let fixed = EvaluationOptions { form: Some(BOTH), ..options("q4_0 turbo2") };
    let (whole, split) = (evaluated(&inputs, &fixed), evaluated(&layers, &fixed));
    let alone = evaluated(&alone, &fixed);
    for ((whole, split), alone) in whole.types.iter().zip(&split.types).zip(&alone.types) {
        assert_eq!((whole.quality, whole.bytes), (split.quality, split.bytes));
        assert_eq!((split.layers.len(), alone.layers.len()), (2, 1));
        assert_eq!(split.layers[0], alone.quality.unwrap());
        assert_eq!((split.form, split.forms.len()), (Some(BOTH), 1));
    }
}

#[test]
fn the_recommendation_follows_from_the_rows() {
    let inputs = inputs();
    let found = evaluated(&inputs, &options(""));
    assert_eq!(found.types.len(), 13);
    assert!(CacheType::ALL.iter().all(|&ty| found.types.iter().any(|row| row.types == ty.into())));
    assert_eq!((found.context, found.max_kl), (256, Some(MAX_KL)));
    let limits = [0.0, 1e-5, 1e-3, 0.01, 1.0].map(|max_kl| (Some(max_kl), None));
    for (max_kl, max_l2) in
        limits.into_iter().chain([(None, None), (None, Some(0.1)), (Some(MAX_KL), Some(MAX_L2))])
    {
        let options = EvaluationOptions { max_kl, max_l2, ..options("q8_0 kivi4 turbo3 kivi2 kivi4:turbo2") };
        let found = evaluated(&inputs, &options);
        let within = |row: &&lowbit::internals::report::attention::TypeRow| {
            let quality = row.quality.unwrap();
            max_kl.is_none_or(|most| quality.kl.mean <= most)
                && max_l2.is_none_or(|most| quality.output_error <= most)
        };
        let smallest = found.types.iter().filter(within).map(|row| row.bytes).min();
        match (found.recommended, smallest) {
            (None, None) => assert!(found.recommendation.starts_with("none of these types has a mean KL")),
            (Some(choice), Some(bytes)) => {
                let row = found.types.iter().find(|row| row.types == choice.types).unwrap();
                assert_eq!((row.bytes, row.form), (bytes, Some(choice.form)));
                assert!(found.recommendation.starts_with(&choice.types.to_string()));
                assert!(found.text().contains(&found.recommendation));
            }
            other => panic!("{max_kl:?} {max_l2:?}: {other:?}"),
        }
    }
    // What numpy has, with the bound of the project.
    let q8_0 = found.types.iter().find(|row| row.types == CacheType::Q8_0.into()).unwrap();
    assert!(q8_0.quality.unwrap().kl.mean <= 1e-4);
}

#[test]
fn whoever_is_asked_can_end_an_evaluation() {
    let heard = AtomicUsize::new(0);
    let end = || {
        heard.fetch_add(1, Ordering::Relaxed);
        Err(Error::Interrupted { path: None, reached: "here".into() })
    };
    let error = evaluate(&inputs(), &options("q8_0"), &|_, _| (), &end).unwrap_err();
    assert!(matches!(error, Error::Interrupted { .. }), "{error}");
    let most = std::thread::available_parallelism().map_or(1, usize::from);
    assert!(heard.into_inner() <= most, "each thread asks once");
}

#[test]
fn what_leaves_nothing_to_measure_is_refused() {
    let inputs = inputs();
    let refused = |options: EvaluationOptions| {
        let error = evaluate(&inputs, &options, &|_, _| (), &|| Ok(())).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        error.to_string()
    };
    for (sinks, window) in [(0, 256), (0, 300), (256, 0), (200, 100), (usize::MAX, usize::MAX)] {
        let text = refused(EvaluationOptions { sinks, window, ..options("q8_0") });
        assert!(text.contains("none of the 256 tokens"), "{text}");
    }
    assert!(refused(options("q8_0 f16 q8_0:q8_0")).contains("q8_0 is given twice"));
    for max_kl in [-1.0, f64::NAN, f64::INFINITY] {
        let max_kl = Some(max_kl);
        assert!(refused(EvaluationOptions { max_kl, ..options("f16") }).contains("divergence"));
        assert!(refused(EvaluationOptions { max_l2: max_kl, ..options("f16") }).contains("relative L2"));
    }
    let text = refused(EvaluationOptions { context: Some(u64::MAX), ..options("f16") });
    assert!(text.contains("2^64"), "{text}");

    // Fewer tokens than a group of KIVI keys.
    let found = evaluated(&inputs, &EvaluationOptions { window: 225, ..options("kivi4 q4_0 q4_0:kivi2") });
    assert!(found.types[0].refused.as_ref().unwrap().contains("only 31"), "{:?}", found.types[0]);
    assert!(found.text().contains("kivi4: refused"), "{}", found.text());
    assert!(found.types[1..].iter().all(|row| row.refused.is_none()));
}

fn tensor(heads: usize, tokens: usize, values: Vec<f32>) -> Tensor {
    Tensor { shape: vec![heads, tokens, values.len() / heads / tokens], values }
}

#[test]
fn a_type_that_cannot_hold_the_keys_is_refused_in_its_row() {
    let mut random = Random::new(3);
    let mut floats = |n: usize| random.floats(n);
    let q = tensor(2, 40, floats(2 * 40 * 64));
    let v = tensor(1, 40, floats(40 * 64));
    let mut keys = floats(40 * 64);
    // Its norm is above what f16 holds, its values are not.
    keys[5 * 64..6 * 64].fill(60000.0);
    let inputs = Inputs::new(q.clone(), tensor(1, 40, keys.clone()), v.clone()).unwrap();
    let found = evaluated(&inputs, &options("turbo4 f16 q8_0"));
    let why = found.types[0].refused.as_ref().unwrap();
    assert!(why.contains("layer 0, head 0") && why.contains("token 5") && why.contains("65504"), "{why}");
    assert_eq!((found.types[0].quality, found.types[0].form), (None, None));
    assert!(found.types[0].layers.is_empty() && found.types[1].quality.is_some());
    let text = found.text();
    assert!(text.contains("turbo4: refused: layer 0"), "{text}");

    // A mean of the other sign: what is left of a key is larger than the key.
    let mut keys = vec![-60000.0; 40 * 64];
    keys[..64].fill(60000.0);
    let inputs = Inputs::new(q.clone(), tensor(1, 40, keys), v.clone()).unwrap();
    let found = evaluated(&inputs, &options("q8_0"));
    assert!(!found.types[0].form.unwrap().center && found.types[0].refused.is_none());
    assert!(found.types[0].forms[1].refused.as_ref().unwrap().contains("token 0, channel 0"));
    let form = Some(Form { center: true, rotate: false });
    let found = evaluated(&inputs, &EvaluationOptions { form, ..options("f16") });
    assert_eq!(found.recommended, None);
    assert!(found.recommendation.contains("none of these types holds"), "{}", found.recommendation);

    // Zeros, and groups of one value.
    let mut keys = vec![0.5; 40 * 64];
    keys[..64].fill(0.0);
    let inputs = Inputs::new(q, tensor(1, 40, keys), tensor(1, 40, vec![0.0; 40 * 64])).unwrap();
    let found = evaluated(&inputs, &options(""));
    for row in &found.types {
        let quality = row.quality.unwrap();
        assert!(quality.values_error == 0.0 && quality.cosine.is_finite(), "{}: {quality:?}", row.types);
        assert!(quality.kl.max.is_finite() && quality.output_error == 0.0, "{}: {quality:?}", row.types);
    }
    assert!(found.recommended.is_some());
}

/// A query's attention in f64, the plain way: shares and output.
fn plain(q: &[f32], k: &[f32], v: &[f32], value_dim: usize) -> (Vec<f64>, Vec<f64>) {
    let dim = q.len();
    let dot = |key: &[f32]| q.iter().zip(key).map(|(&q, &k)| f64::from(q) * f64::from(k)).sum::<f64>();
    let logits: Vec<f64> = k.chunks(dim).map(|key| dot(key) / (dim as f64).sqrt()).collect();
    let most = logits.iter().copied().fold(f64::MIN, f64::max);
    let sizes: Vec<f64> = logits.iter().map(|logit| (logit - most).exp()).collect();
    let all: f64 = sizes.iter().sum();
    let shares: Vec<f64> = sizes.iter().map(|size| size / all).collect();
    let channel = |c: usize| {
        shares.iter().zip(v.chunks(value_dim)).map(|(share, value)| share * f64::from(value[c])).sum()
    };
    let output = (0..value_dim).map(channel).collect();
    (shares, output)
}

#[test]
fn any_dimensions_and_fewer_queries_are_what_plain_arithmetic_gives() {
    let mut random = Random::new(8);
    let (layers, heads, kv_heads, tokens) = (2, 6, 2, 70);
    for (dim, value_dim, queries, causal) in [
        (72, 72, 70, true),
        (192, 128, 1, true),
        (65, 40, 7, true),
        (112, 17, 70, false),
        (80, 576, 5, false),
        (24, 24, 90, false),
    ] {
        let mut tensor = |heads: usize, tokens: usize, dim: usize| Tensor {
            shape: vec![layers, heads, tokens, dim],
            values: random.floats(layers * heads * tokens * dim),
        };
        let (q, k, v) =
            (tensor(heads, queries, dim), tensor(kv_heads, tokens, dim), tensor(kv_heads, tokens, value_dim));
        let inputs = Inputs::new(q.clone(), k.clone(), v.clone()).unwrap();
        for name in ["f16", "q8_0", "q4_0:turbo3", "kivi4:kivi2"] {
            let types: Pair = name.parse().unwrap();
            let options = Options { causal, sinks: 2, window: 3, ..Options::default() };
            let found = measure(&inputs, &[types], &options).unwrap()[0];
            let (mut kl, mut error, mut size, mut count) = (0.0, 0.0, 0.0, 0);
            for head in 0..layers * heads {
                let kv = head / heads * kv_heads + head % heads / (heads / kv_heads);
                let keys = &k.values[kv * tokens * dim..][..tokens * dim];
                let values = &v.values[kv * tokens * value_dim..][..tokens * value_dim];
                let kept_keys = cached(types.keys, Side::Keys, keys, dim);
                let kept_values = cached(types.values, Side::Values, values, value_dim);
                for query in 0..queries {
                    let q = &q.values[(head * queries + query) * dim..][..dim];
                    let seen = if causal { tokens - queries + query + 1 } else { tokens };
                    let (shares, output) =
                        plain(q, &keys[..seen * dim], &values[..seen * value_dim], value_dim);
                    let (kept_shares, kept) =
                        plain(q, &kept_keys[..seen * dim], &kept_values[..seen * value_dim], value_dim);
                    kl += shares.iter().zip(&kept_shares).map(|(p, q)| p * (p / q).ln()).sum::<f64>();
                    error += output.iter().zip(&kept).map(|(a, b)| (a - b).powi(2)).sum::<f64>();
                    size += output.iter().map(|a| a * a).sum::<f64>();
                    count += 1;
                }
            }
            let (kl, l2) = (kl / f64::from(count), (error / size).sqrt());
            let what = format!("{name} {dim} {value_dim} {queries}: {found:?}, {kl:e} {l2:e}");
            assert!((found.kl.mean - kl).abs() <= 1e-9 * kl + 1e-12, "{what}");
            assert!((found.output_error - l2).abs() <= 1e-9 * l2, "{what}");
            assert_eq!(found.bits_per_value, types.bits_per_value_of(dim, value_dim));
        }
        let refused = Inputs::new(q, v.clone(), v).is_err();
        assert_eq!(refused, dim != value_dim, "keys of the queries' dimension");
    }
}

/// What a cache gives back with two sinks and a window of three; keys of KIVI have whole groups of 32 tokens.
fn cached(ty: CacheType, side: Side, x: &[f32], dim: usize) -> Vec<f32> {
    let tokens = x.len() / dim;
    let codec = Codec::any(ty, side, dim).unwrap();
    let end = 2 + (tokens - 5) / codec.tokens_together() * codec.tokens_together();
    let through = |codec: &Codec, x: &[f32]| codec.decode(&codec.encode(x).unwrap()).unwrap();
    let plain = Codec::any(CacheType::F16, side, dim).unwrap();
    [
        through(&plain, &x[..2 * dim]),
        through(&codec, &x[2 * dim..end * dim]),
        through(&plain, &x[end * dim..]),
    ]
    .concat()
}

#[test]
fn queries_without_a_position_are_refused_where_positions_matter() {
    let mut random = Random::new(9);
    let mut tensor =
        |tokens: usize| Tensor { shape: vec![1, tokens, 72], values: random.floats(tokens * 72) };
    let inputs = Inputs::new(tensor(41), tensor(40), tensor(40)).unwrap();
    let error = evaluate(&inputs, &options("q8_0"), &|_, _| (), &|| Ok(())).unwrap_err();
    assert!(error.exit_code() == 2 && error.to_string().contains("41 queries"), "{error}");
    let found = evaluated(&inputs, &EvaluationOptions { causal: false, ..options("q8_0") });
    assert!(found.text().contains("41 queries of a head, which see all tokens"), "{}", found.text());
    let inputs = Inputs::new(tensor(1), tensor(40), tensor(40)).unwrap();
    let found = evaluated(&inputs, &options("q8_0"));
    assert!(found.text().contains("causal: the 1 query of a head"), "{}", found.text());
}

#[test]
fn no_type_within_the_limits_is_better_than_the_recommended_one() {
    let real = inputs();
    let mut random = Random::new(10);
    let mut tensor = |dim: usize| tensor(1, 64, random.floats(64 * dim));
    // At 32 channels q4_0 and turbo4 take the same bits, and so do others.
    let drawn: Vec<Inputs> = [32, 64, 72, 128]
        .into_iter()
        .map(|dim| Inputs::new(tensor(dim), tensor(dim), tensor(dim)).unwrap())
        .collect();
    for inputs in std::iter::once(&real).chain(&drawn) {
        let mut found = Vec::new();
        for limits in [
            (None, None),
            (Some(0.01), None),
            (None, Some(0.1)),
            (Some(MAX_KL), Some(MAX_L2)),
            (Some(1e-3), Some(0.3)),
        ] {
            let options = EvaluationOptions { max_kl: limits.0, max_l2: limits.1, ..options("") };
            found.push(evaluated(inputs, &options));
        }
        for found in found {
            let Some(choice) = found.recommended else { continue };
            let figures = |row: &lowbit::internals::report::attention::TypeRow| {
                let of = row.quality.unwrap();
                (row.bytes, of.output_error, of.kl.mean)
            };
            let best = figures(found.types.iter().find(|row| row.types == choice.types).unwrap());
            let limits = (found.max_kl.unwrap_or(f64::MAX), found.max_l2.unwrap_or(f64::MAX));
            assert!(best.2 <= limits.0 && best.1 <= limits.1);
            for row in &found.types {
                let of = figures(row);
                if of.2 > limits.0 || of.1 > limits.1 {
                    continue;
                }
                assert!(of.0 >= best.0, "{} takes fewer bytes: {}", row.types, found.text());
                // Of as many bytes none is better in what is shown of the output, and none in all.
                let shown = |error: f64| format!("{:.2}", error * 100.0).parse::<f64>().unwrap();
                assert!(of.0 > best.0 || shown(of.1) >= shown(best.1), "{}: {}", row.types, found.text());
                let better = of.0 <= best.0 && of.1 <= best.1 && of.2 <= best.2 && of != best;
                assert!(!better, "{} is better: {}", row.types, found.text());
            }
        }
    }
}

#[test]
fn a_form_within_the_limits_comes_before_one_of_less_divergence() {
    let inputs = inputs();
    for types in ["q4_0", "q4_0:turbo2", "q8_0:q4_0"] {
        let all = evaluated(&inputs, &EvaluationOptions { max_kl: None, ..options(types) });
        let forms: Vec<_> = all.types[0].forms.iter().map(|form| form.quality.unwrap()).collect();
        // Each form's own output is a limit that it keeps, and that others may not.
        for limit in forms.iter().map(|form| form.output_error) {
            let found = evaluated(
                &inputs,
                &EvaluationOptions { max_kl: None, max_l2: Some(limit), ..options(types) },
            );
            let within = |error: f64| error <= limit;
            let row = found.types[0].quality.unwrap();
            assert!(within(row.output_error), "{types} {limit}");
            let least = forms.iter().filter(|form| within(form.output_error)).map(|form| form.kl.mean);
            assert_eq!(row.kl.mean, least.fold(f64::MAX, f64::min));
        }
    }
}

#[test]
#[ignore = "reads LOWBIT_SHARED: make check-shared"]
fn shared_attention_is_kept_by_few_bits() {
    let shared = PathBuf::from(std::env::var_os("LOWBIT_SHARED").expect("LOWBIT_SHARED names the folder"));
    let [q, k, v] = ["q.npy", "k.npy", "v.npy"].map(|name| shared.join("data/kv").join(name));
    let inputs = Inputs::read(&q, &k, &v).unwrap();
    for causal in [false, true] {
        let found = evaluated(&inputs, &EvaluationOptions { causal, ..options("") });
        println!("{}", found.text());
        let row = |name: &str| found.types.iter().find(|row| row.types.to_string() == name).unwrap();
        assert!(row("q8_0").quality.unwrap().kl.mean <= 1e-4);
        let plain = row("q4_0").forms[0].quality.unwrap().output_error;
        let few = found.types.iter().filter(|row| (4.0..=5.0).contains(&row.bits_per_value));
        let best = few.map(|row| row.quality.unwrap().output_error).fold(f64::INFINITY, f64::min);
        assert!(best <= 0.8 * plain, "{best} {plain}");
    }
}
