//! What cache types cost in an attention, and which is recommended.

use std::path::{Path, PathBuf};

use lowbit::codec::quality::{Inputs, Options, Tensor, measure};
use lowbit::codec::{CacheType, Pair};
use lowbit::random::Random;
use lowbit::report::attention::{Evaluation, EvaluationOptions, Form, MAX_KL, MAX_L2, evaluate};

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
    evaluate(inputs, options, &|_, _| ()).unwrap()
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
        let kl = |quality: Option<lowbit::codec::quality::Quality>| quality.unwrap().kl.mean;
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
        let within = |row: &&lowbit::report::attention::TypeRow| {
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
fn what_leaves_nothing_to_measure_is_refused() {
    let inputs = inputs();
    let refused = |options: EvaluationOptions| {
        let error = evaluate(&inputs, &options, &|_, _| ()).unwrap_err();
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
