//! What a plan counts: shapes, sizes, what a token reads, the KV cache; and what it recommends. No device.

use std::path::Path;

use lowbit::internals::codec::{CacheType, Pair};
use lowbit::internals::format::Format;
use lowbit::internals::io::gguf::{Gguf, TensorType, Value, Writer};
use lowbit::internals::plan::cache::{self, CacheOptions, Weights, difference};
use lowbit::internals::plan::geometry::{Attention, Geometry, Layer, Layers};
use lowbit::internals::plan::model::{Matrices, Model};
use lowbit::internals::plan::{AS_IT_IS, FORMATS, PlanRow, advise};
use lowbit::internals::quantize::fitting;
use lowbit::internals::random::Random;
use lowbit::internals::{Error, Result};
use serde_json::json;

fn ty(name: &str) -> &'static TensorType {
    TensorType::by_name(name).unwrap()
}

/// The model in a file with these tensors, whose dimensions are rows before columns, and metadata.
fn model(tensors: &[(&str, &[u64], &str)], metadata: &[(&str, Value)]) -> Result<Model> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    let mut writer = Writer::new();
    for (key, value) in metadata {
        writer.metadata(key, value.clone()).unwrap();
    }
    for (name, shape, of) in tensors {
        let dims: Vec<u64> = shape.iter().rev().copied().collect();
        writer.tensor(name, &dims, ty(of)).unwrap();
    }
    writer.write(&path, |tensor, out| out.write(&vec![0; tensor.bytes as usize])).unwrap();
    Model::of(&Gguf::open(&path).unwrap())
}

fn group(shape: [u64; 2], of: &str, count: u64, per_token: u64) -> Matrices {
    Matrices { rows: shape[0], cols: shape[1], ty: ty(of), count, per_token, kept: false }
}

#[test]
fn matrices_of_one_shape_and_type_are_one_group() {
    let tensors: [(&str, &[u64], &str); 7] = [
        ("token_embd.weight", &[100, 256], "Q4_0"),
        ("blk.0.attn_q.weight", &[64, 256], "Q4_0"),
        ("blk.0.attn_norm.weight", &[256], "F32"),
        ("blk.1.attn_q.weight", &[64, 256], "Q4_0"),
        ("blk.1.attn_v.weight", &[64, 256], "Q6_K"),
        ("output_norm.weight", &[256], "F32"),
        ("output.weight", &[100, 256], "Q6_K"),
    ];
    let found = model(&tensors, &[]).unwrap();
    let expected = [
        group([100, 256], "Q6_K", 1, 1),
        group([64, 256], "Q4_0", 2, 2),
        group([64, 256], "Q6_K", 1, 1),
        // A token takes one row of it.
        group([100, 256], "Q4_0", 1, 0),
    ];
    assert_eq!(found.matrices, expected);
    assert_eq!((found.weights, found.vector_bytes), (2 * 25_600 + 3 * 16_384 + 512, 2048));
    assert_eq!(found.matrices[0].bytes(), 100 * 210);
    assert_eq!(found.matrices[1].read_bytes(), 2 * 64 * 8 * 18);

    // In one format, what differed in its type alone is one group.
    let q8 = Format::by_name("Q8_0");
    let expected = [group([64, 256], "Q8_0", 3, 3), group([100, 256], "Q8_0", 2, 1)];
    assert_eq!(found.matrices_in(q8), expected);
    assert_eq!(found.matrices_in(None), found.matrices);

    // Without an output matrix, the table of tokens is it.
    let tied = model(&tensors[..6], &[]).unwrap();
    let table = tied.matrices.iter().find(|of| of.rows == 100).unwrap();
    assert_eq!(table, &group([100, 256], "Q4_0", 1, 1));
}

#[test]
fn a_token_reads_only_the_experts_that_it_uses() {
    let tensors: [(&str, &[u64], &str); 3] = [
        ("blk.0.ffn_up_exps.weight", &[8, 64, 256], "Q4_K"),
        ("blk.0.attn_k_b.weight", &[4, 64, 256], "Q4_K"),
        ("blk.0.ffn_gate_inp.weight", &[8, 256], "F32"),
    ];
    let used = |count| [("general.architecture", "moe".into()), ("moe.expert_used_count", count)];
    let router = Matrices { kept: true, ..group([8, 256], "F32", 1, 1) };
    for (metadata, used, notices) in [
        (&used(Value::U32(2))[..], 2, 0),
        // More than there are, and none that is said.
        (&used(Value::U64(u64::MAX)), 8, 0),
        (&used("two".into()), 8, 1),
        (&[], 8, 1),
    ] {
        let found = model(&tensors, metadata).unwrap();
        let expected = [group([64, 256], "Q4_K", 12, 4 + used), router.clone()];
        assert_eq!(found.matrices, expected, "{metadata:?}");
        assert_eq!(found.notices.len(), notices, "{:?}", found.notices);
        // Routers stay as they are.
        let expected = [group([64, 256], "Q2_K", 12, 4 + used), router.clone()];
        assert_eq!(found.matrices_in(Format::by_name("Q2_K")), expected);
    }
}

#[test]
fn rows_that_are_no_whole_blocks_get_what_llama_cpp_takes() {
    for (wanted, cols, found) in [
        ("Q4_K", 512, Some("Q4_K")),
        ("Q4_K", 896, Some("Q5_0")),
        ("Q5_K", 896, Some("Q5_1")),
        ("Q6_K", 896, Some("Q8_0")),
        ("Q3_K", 896, Some("IQ4_NL")),
        ("Q2_K", 896, Some("IQ4_NL")),
        ("TQ2_0", 896, Some("Q4_0")),
        ("Q4_0", 896, Some("Q4_0")),
        ("Q4_0", 33, None),
        ("Q4_K", 33, None),
        ("F32", 33, Some("F32")),
    ] {
        let format = Format::by_name(wanted).unwrap();
        assert_eq!(fitting(format, cols).map(|format| format.name), found, "{wanted} {cols}");
    }
}

const F16: Pair = Pair { keys: CacheType::F16, values: CacheType::F16 };

fn heads(kv_heads: u64, key_dim: u64, value_dim: u64) -> Attention {
    Attention::Heads { kv_heads, key_dim, value_dim }
}

fn layers(count: u64, attention: Attention, window: Option<u64>) -> Layers {
    Layers { count, layer: Layer { attention, window, shared: false } }
}

fn asset(name: &str) -> Geometry {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("assets/plan/{name}.json"));
    Geometry::read_config(&path).unwrap()
}

#[test]
fn published_models_have_the_caches_that_are_known() {
    // Sizes in GiB of an f16 cache of 131,072 tokens.
    for (name, gib) in [
        ("llama-3.1-8b", "16.000"),
        ("llama-3.1-70b", "40.000"),
        ("nemotron-super-49b", "24.500"),
        ("qwen2.5-32b", "32.000"),
        ("gemma-3-27b-full", "62.000"),
        ("gemma-3-27b", "10.406"),
        ("deepseek-v2-lite", "3.797"),
        ("deepseek-v3", "8.578"),
    ] {
        let options = CacheOptions { types: vec![F16], context: 131_072, ..CacheOptions::default() };
        let geometry = asset(name);
        assert!(geometry.notices.is_empty(), "{name}: {:?}", geometry.notices);
        let plan = cache::make(geometry, None, &options).unwrap();
        let found = plan.types[0].bytes as f64 / f64::from(1 << 30);
        assert_eq!(format!("{found:.3}"), gib, "{name}");
        assert!(plan.text().contains(&format!(" {gib}  100.00 %")), "{}", plan.text());
    }
    let expected = [layers(52, heads(16, 128, 128), Some(1024)), layers(10, heads(16, 128, 128), None)];
    assert_eq!(asset("gemma-3-27b").layers, expected);
    let nemotron = asset("nemotron-super-49b");
    assert_eq!((nemotron.layer_count(), nemotron.kept_layers()), (80, 49));
    let latent = Attention::Latent { rank: 512, rope_dim: 64 };
    assert_eq!(asset("deepseek-v3").layers, [layers(61, latent, None)]);
    // Multi-head latent attention keeps one vector, not two.
    assert_eq!(asset("deepseek-v3").values_per_token(), 61 * 576);
}

#[test]
fn nemotron_saves_38_75_percent_against_llama_70b() {
    let options = CacheOptions {
        context: 131_072,
        against: Some(("Llama".into(), asset("llama-3.1-70b"))),
        ..CacheOptions::default()
    };
    let plan = cache::make(asset("nemotron-super-49b"), None, &options).unwrap();
    assert_eq!(plan.types.len(), 4);
    for row in &plan.types {
        assert_eq!(difference(row.bytes, row.against_bytes.unwrap()), "38.75 % less", "{}", row.types);
    }
    assert!(plan.text().contains("38.75 % less") && plan.text().contains("against Llama"), "{}", plan.text());
    assert_eq!([difference(5, 4), difference(4, 4), difference(4, 0)], ["25.00 % more", "none", "-"]);
}

#[test]
fn a_cache_is_counted_in_each_type() {
    let llama = asset("llama-3.1-8b");
    let values = 32 * 8 * 128;
    let bytes =
        |types: &str, tokens, residual| llama.bytes(types.parse().unwrap(), tokens, residual).unwrap();
    for (types, bits) in
        [("f16", 32.0), ("q8_0", 17.0), ("q4_0", 9.0), ("q8_0:turbo3", 11.625), ("kivi2", 6.0)]
    {
        assert_eq!(bytes(types, 1000, 0) as f64, 1000.0 * f64::from(values) * bits / 8.0, "{types}");
    }
    // What stays f16 is at most everything.
    assert_eq!(bytes("q4_0", 1000, 100), bytes("q4_0", 900, 0) + bytes("f16", 100, 0));
    assert_eq!(bytes("q4_0", 1000, 5000), bytes("f16", 1000, 0));
    // In a window of 1024, as many stay as there are.
    let gemma = asset("gemma-3-27b");
    let q4: Pair = "q4_0".parse().unwrap();
    let (all, in_window) = (10 * 4096, 52 * 4096);
    let expected = (all * (9000 * 9 + 1000 * 32) + in_window * (24 * 9 + 1000 * 32)) / 16;
    assert_eq!(gemma.bytes(q4, 10_000, 1000).unwrap(), expected);
    // Latents have the type of values, rope keys that of keys or f16.
    let deepseek = asset("deepseek-v3");
    let of = |types: &str| deepseek.bytes(types.parse().unwrap(), 100, 0).unwrap();
    assert_eq!(of("q8_0:turbo3"), 100 * 61 * (194 + 68));
    assert_eq!(of("turbo3"), 100 * 61 * (194 + 128));
    assert_eq!(of("q8_0"), 100 * 61 * 576 * 17 / 16);

    // No overflow, and no size that is none.
    let error = llama.bytes(F16, u64::MAX, 0).unwrap_err();
    assert!(matches!(&error, Error::Input(problem) if problem.contains("more than 2^64 bytes")), "{error}");
}

#[test]
fn what_fits_is_the_longest_context() {
    let llama = asset("llama-3.1-8b");
    for (types, room) in
        [("f16", 0), ("f16", 131_071), ("f16", 131_072), ("q4_0", 12_345_678_901), ("turbo2", u64::MAX)]
    {
        let types: Pair = types.parse().unwrap();
        let longest = llama.longest(types, room, 0).unwrap();
        assert!(llama.bytes(types, longest, 0).unwrap() <= room);
        assert!(llama.bytes(types, longest + 1, 0).is_ok_and(|bytes| bytes > room) || room == u64::MAX);
    }
    // Where every layer has a window, memory ends.
    let windows = json!({ "model_type": "mistral", "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 4, "head_dim": 128,
        "sliding_window": 4096 });
    let mistral = Geometry::of_config(&windows).unwrap();
    assert_eq!(mistral.longest(F16, 2 * 4096 * 4 * 512, 0), None);
    assert_eq!(mistral.longest(F16, 2 * 4096 * 4 * 512 - 1, 0), Some(4095));
}

#[test]
fn a_cache_costs_time_as_it_grows() {
    let weights = Weights { format: "Q8_0", bytes: 8_000_000_000, ms_per_token: Some(10.0) };
    let options = CacheOptions {
        types: vec![F16],
        context: 3000,
        vram_gb: Some(10.5),
        bandwidth_gb_s: Some(100.0),
        ..CacheOptions::default()
    };
    let plan = cache::make(asset("llama-3.1-8b"), Some(weights.clone()), &options).unwrap();
    let tokens: Vec<u64> = plan.contexts.iter().map(|row| row.tokens).collect();
    assert_eq!(tokens, [1024, 2048, 3000]);
    for row in &plan.contexts {
        let bytes = row.tokens * 131_072;
        assert_eq!((row.types[0].bytes, row.types[0].read_bytes), (bytes, bytes));
        let expected = 1.0 / (0.010 + bytes as f64 / 1e11);
        assert!((row.types[0].tokens_per_s.unwrap() / expected - 1.0).abs() < 1e-12, "{row:?}");
    }
    // 10 GB but for 5 % head room, of which the weights take 8.
    assert_eq!(
        (plan.types[0].longest_context, plan.types[0].fits),
        (Some(2_000_000_000 / 131_072), Some(true))
    );
    let text = plan.text();
    for words in
        ["weights as Q8_0 (8.000 GB), cache and 5 %", "products with weights as Q8_0 (10.000 ms)", "15258"]
    {
        assert!(text.contains(words), "{words:?}: {text}");
    }
    let none = CacheOptions { vram_gb: Some(8.0), bandwidth_gb_s: None, ..options.clone() };
    let plan = cache::make(asset("llama-3.1-8b"), Some(weights), &none).unwrap();
    assert_eq!((plan.types[0].longest_context, plan.types[0].fits), (Some(0), Some(false)));
    assert_eq!(plan.contexts[0].types[0].tokens_per_s, None);

    let error =
        cache::make(asset("llama-3.1-8b"), None, &CacheOptions { context: 0, ..options }).unwrap_err();
    assert!(error.to_string().contains("context of 1 or more"), "{error}");
}

#[test]
fn a_file_without_products_is_refused() {
    let vector: (&str, &[u64], &str) = ("output_norm.weight", &[32], "F32");
    let lookup: (&str, &[u64], &str) = ("position_embd.weight", &[4, 32], "F32");
    for tensors in [&[vector][..], &[vector, lookup], &[]] {
        let error = model(tensors, &[]).unwrap_err();
        assert!(matches!(error, Error::File { .. }), "{error:?}");
        let words = format!("none of its {} tensors", tensors.len());
        assert!(error.to_string().contains(&words), "{error}");
    }
}

#[test]
fn sizes_without_measure_saturate() {
    let huge = Matrices { rows: 1 << 40, cols: 1 << 40, ty: ty("F32"), count: 3, per_token: 3, kept: false };
    assert_eq!((huge.bytes(), huge.read_bytes()), (u64::MAX, u64::MAX));
}

#[test]
fn the_most_precise_that_fits_is_recommended() {
    let row = |format, bits: f64, ms: f64, fits| PlanRow {
        format,
        bits_per_weight: bits,
        ms_per_token: ms,
        tokens_per_s: 1e3 / ms,
        memory_bytes: (bits * 1e9) as u64,
        fits,
        ..PlanRow::default()
    };
    let rows = |fits: [Option<bool>; 4]| {
        let [a, b, c, d] = fits;
        [
            row(AS_IT_IS, 4.5, 5.0, a),
            row("Q8_0", 8.5, 8.0, b),
            row("Q4_0", 4.5, 5.0, c),
            row("Q2_K", 2.6, 4.6, d),
        ]
    };
    // Within 10 % of the fastest, and of equals the file itself.
    let advice = advise(&rows([None; 4]), None);
    assert_eq!((advice.recommended, advice.fastest), (Some(AS_IT_IS), Some("Q2_K")));
    assert!(!advice.advice.contains("more bits"), "{advice:?}");

    let advice = advise(&rows([Some(true); 4]), Some(24.0));
    assert_eq!((advice.recommended, advice.fastest), (Some("Q8_0"), Some("Q2_K")));
    assert!(advice.advice.contains("fits in 24 GB") && advice.advice.contains("more bits than this file"));

    let advice = advise(&rows([Some(true), Some(false), Some(true), Some(false)]), Some(5.0));
    assert_eq!((advice.recommended, advice.fastest), (Some(AS_IT_IS), Some(AS_IT_IS)));

    // No row is recommended while another is better in something shown and worse in nothing.
    let mut equal = rows([Some(true); 4]);
    equal[2].ms_per_token = 4.9;
    equal[1].fits = Some(false);
    let advice = advise(&equal, Some(5.0));
    assert_eq!((advice.recommended, advice.fastest), (Some("Q4_0"), Some("Q2_K")));
    equal[3].ms_per_token = 4.9;
    let advice = advise(&equal, None);
    assert_eq!((advice.recommended, advice.fastest), (Some("Q4_0"), Some("Q4_0")));
    equal[0] = PlanRow { ms_per_token: 4.9, memory_bytes: equal[2].memory_bytes + 1, ..equal[0].clone() };
    assert_eq!(advise(&equal, None).recommended, Some("Q4_0"));

    let advice = advise(&rows([Some(false); 4]), Some(1.0));
    assert_eq!((advice.recommended, advice.fastest), (None, None));
    assert!(advice.advice.contains("Q2_K, needs 2.730 GB with head room"), "{advice:?}");
}

#[test]
fn nothing_that_is_dominated_is_recommended() {
    let mut random = Random::new(16);
    let mut few = |most: u64| 1.0 + random.below(most) as f64;
    for _ in 0..2000 {
        let names = ["as it is", "F16", "Q8_0", "Q4_0", "Q2_K"];
        let rows: Vec<PlanRow> = names
            .into_iter()
            .map(|format| PlanRow {
                format,
                bits_per_weight: few(3),
                ms_per_token: few(3),
                memory_bytes: few(3) as u64,
                read_bytes: few(2) as u64,
                fits: Some(few(4) > 1.0),
                ..PlanRow::default()
            })
            .collect();
        let shown = |row: &PlanRow| {
            [-row.bits_per_weight, row.ms_per_token, row.memory_bytes as f64, row.read_bytes as f64]
        };
        let better = |a: &PlanRow, b: &PlanRow| {
            let (a, b) = (shown(a), shown(b));
            a != b && a.iter().zip(b).all(|(a, b)| *a <= b)
        };
        for vram in [None, Some(8.0)] {
            let advice = advise(&rows, vram);
            let fitting = || rows.iter().filter(|row| row.fits == Some(true));
            assert_eq!(advice.recommended.is_some(), fitting().next().is_some());
            for name in advice.recommended.iter().chain(&advice.fastest) {
                let row = rows.iter().find(|row| row.format == *name).unwrap();
                assert!(fitting().all(|other| !better(other, row)), "{name} of {rows:?}");
            }
        }
    }
}

#[test]
fn what_is_not_counted_is_in_the_first_line() {
    let first = |options: &CacheOptions, weights| {
        let plan = cache::make(asset("llama-3.1-8b"), weights, options).unwrap();
        (plan.text().lines().next().unwrap().to_owned(), plan.types[0].clone())
    };
    let options =
        CacheOptions { types: vec![F16], context: 1000, vram_gb: Some(8.5), ..CacheOptions::default() };
    let (line, alone) = first(&options, None);
    assert!(line.starts_with("not counted: the weights") && line.contains("activations"), "{line}");
    // The same memory with weights: 8.5 GB less 5 %, less 8.
    let weights = Weights { format: "Q8_0", bytes: 8_000_000_000, ms_per_token: None };
    let (line, row) = first(&options, Some(weights.clone()));
    assert!(line.starts_with("not counted: activations") && !line.contains("weights"), "{line}");
    assert_eq!((alone.longest_context, row.longest_context), (Some(61_761), Some(726)));
    assert_eq!((alone.fits, row.fits), (Some(true), Some(false)));
    // Times of weights that were not measured are not in tokens/s.
    let timed = CacheOptions { bandwidth_gb_s: Some(100.0), vram_gb: None, ..options.clone() };
    let (line, _) = first(&timed, Some(weights));
    assert!(line.starts_with("not counted: the weights in tokens/s"), "{line}");
    // Keys of KIVI wait for a group.
    let kivi = CacheOptions { types: vec!["kivi2".parse().unwrap()], ..options.clone() };
    assert!(first(&kivi, None).0.contains("up to 31 newest tokens"));
    assert!(!first(&CacheOptions { residual: 32, ..kivi }, None).0.contains("31"));
}

#[test]
fn bits_of_a_value_are_those_of_the_vectors_that_are_encoded() {
    for (dim, turbo3, kivi2) in
        [(32, 3.5, 3.0), (64, 3.25, 3.0), (80, 3.4, 3.1), (128, 3.125, 3.0), (256, 3.0625, 3.0)]
    {
        let config = json!({ "model_type": "llama", "num_attention_heads": 8, "num_hidden_layers": 3, "head_dim": dim });
        let options = CacheOptions {
            types: ["turbo3", "kivi2"].map(|name| name.parse().unwrap()).to_vec(),
            context: 100,
            ..CacheOptions::default()
        };
        let plan = cache::make(Geometry::of_config(&config).unwrap(), None, &options).unwrap();
        let bits: Vec<f64> = plan.types.iter().map(|row| row.bits_per_value).collect();
        assert_eq!(bits, [turbo3, kivi2], "{dim}");
        assert_eq!(plan.types[0].bytes as f64, 3.0 * 8.0 * 2.0 * 100.0 * dim as f64 * turbo3 / 8.0);
        for (row, types) in plan.types.iter().zip(&options.types) {
            assert_eq!(row.bits_per_value, types.bits_per_value(dim));
        }
        assert!(
            plan.text().contains(&format!("codes and scales, in vectors of {dim} values")),
            "{}",
            plan.text()
        );
    }
}

#[test]
fn layers_are_given_by_hand() {
    let of = |text: &str| {
        let layers = text.split(',').map(str::parse).collect::<Result<Vec<Layers>>>();
        layers.map(|layers| Geometry::by_hand(&layers))
    };
    for (text, expected) in [
        ("32x8x128", vec![layers(32, heads(8, 128, 128), None)]),
        (
            "10x16x128,52x16x128@1024",
            vec![layers(10, heads(16, 128, 128), None), layers(52, heads(16, 128, 128), Some(1024))],
        ),
        ("32x8x192:128", vec![layers(32, heads(8, 192, 128), None)]),
        ("61x512+64", vec![layers(61, Attention::Latent { rank: 512, rope_dim: 64 }, None)]),
    ] {
        assert_eq!(of(text).unwrap().layers, expected, "{text}");
    }
    assert_eq!(
        of("10x16x128,52x16x128@1024").unwrap().layers,
        asset("gemma-3-27b").layers.into_iter().rev().collect::<Vec<_>>()
    );
    for text in [
        "",
        "32",
        "32x8",
        "0x8x128",
        "32x8x0",
        "32x8x128@0",
        "32x8x128@",
        "32x8x128x2",
        "32x8x1:",
        "-1x8x128",
        "65537x1x1",
        "32x8 x128",
    ] {
        let error = of(text).unwrap_err();
        assert!(error.to_string().contains("32x8x128"), "{text}: {error}");
    }
}

#[test]
fn the_usual_formats_exist() {
    assert!(FORMATS.iter().all(|name| Format::by_name(name).is_some()));
}
