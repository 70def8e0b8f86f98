//! What a plan counts: shapes, sizes, what a token reads, the KV cache; and what it recommends. No device.

use std::path::Path;

use lowbit::codec::{CacheType, Pair};
use lowbit::format::Format;
use lowbit::io::gguf::{Array, Gguf, TensorType, Value, Writer};
use lowbit::quantize::fitting;
use lowbit::report::cache::{self, CacheOptions, Weights, difference};
use lowbit::report::geometry::{Attention, Geometry, Layer, Layers};
use lowbit::report::model::{Matrices, Model};
use lowbit::report::plan::{AS_IT_IS, FORMATS, PlanRow, advise};
use lowbit::{Error, Result};
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

/// The geometry in the metadata of a GGUF file: numbers, whose keys are without the architecture, and others.
fn of_gguf(architecture: &str, numbers: &[(&str, u64)], more: &[(&str, Value)]) -> Found<Geometry> {
    let tensors: [(&str, &[u64], &str); 1] = [("output.weight", &[4, 32], "F16")];
    let mut all: Vec<(String, Value)> = vec![("general.architecture".into(), architecture.into())];
    all.extend(numbers.iter().map(|(key, value)| (format!("{architecture}.{key}"), Value::U64(*value))));
    all.extend(more.iter().map(|(key, value)| (format!("{architecture}.{key}"), value.clone())));
    let all: Vec<(&str, Value)> = all.iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
    model(&tensors, &all).unwrap().kv
}

type Found<T> = std::result::Result<T, String>;

const F16: Pair = Pair { keys: CacheType::F16, values: CacheType::F16 };

/// Bytes of a token in f16.
fn a_token(geometry: Found<Geometry>) -> u64 {
    geometry.unwrap().bytes(F16, 1, 0).unwrap()
}

fn heads(kv_heads: u64, key_dim: u64, value_dim: u64) -> Attention {
    Attention::Heads { kv_heads, key_dim, value_dim }
}

fn layers(count: u64, attention: Attention, window: Option<u64>) -> Layers {
    Layers { count, layer: Layer { attention, window, shared: false } }
}

#[test]
fn the_kv_cache_follows_from_the_metadata() {
    let kv = |metadata: &[(&str, u64)], more: &[(&str, Value)]| of_gguf("llama", metadata, more);
    let count = ("block_count", 3);
    let all = [count, ("attention.head_count", 8), ("embedding_length", 512)];
    // Keys and values of 64 in 8 heads of 3 layers, 2 bytes each.
    assert_eq!(a_token(kv(&all, &[])), 3 * 8 * (64 + 64) * 2);
    assert_eq!(a_token(kv(&[&all[..], &[("attention.head_count_kv", 2)]].concat(), &[])), 3 * 2 * 128 * 2);
    let lengths = [("attention.key_length", 192), ("attention.value_length", 128)];
    assert_eq!(a_token(kv(&[&all[..], &lengths].concat(), &[])), 3 * 8 * 320 * 2);
    // A number for each layer; some have no attention.
    let own = |heads| [("attention.head_count_kv", Value::Array(heads))];
    assert_eq!(a_token(kv(&all, &own(Array::I32(vec![4, 0, 2])))), 6 * 128 * 2);
    let queries = ("attention.head_count", Value::Array(Array::U32(vec![8, 0, 8])));
    let both = [queries, own(Array::I32(vec![4, 0, 2]))[0].clone()];
    assert_eq!(a_token(kv(&[count, ("embedding_length", 512)], &both)), 6 * 128 * 2);

    let latent = [count, ("attention.kv_lora_rank", 512), ("rope.dimension_count", 64)];
    assert_eq!(a_token(kv(&latent, &[])), 3 * 576 * 2);
    assert_eq!(kv(&latent[..2], &[]), Err("it has no rope.dimension_count".into()));

    // Layers for further tokens do not run, shared ones keep nothing and are read.
    assert_eq!(a_token(kv(&[&all[..], &[("nextn_predict_layers", 1)]].concat(), &[])), 2 * 8 * 128 * 2);
    let shared = kv(&[&all[..], &[("attention.shared_kv_layers", 1)]].concat(), &[]).unwrap();
    assert_eq!(shared.bytes(F16, 1, 0).unwrap(), 2 * 8 * 128 * 2);
    assert_eq!(shared.read_bytes(F16, 1, 0).unwrap(), 3 * 8 * 128 * 2);

    for (metadata, more, words) in [
        (&all[..], &own(Array::I32(vec![4, 0]))[..], "attention.head_count_kv has 2 entries for 3 layers"),
        (&all, &own(Array::I32(vec![4, 0, -1])), "attention.head_count_kv is not a whole number"),
        (&all, &own(Array::I32(vec![4, 0, 3])), "layer 2: its 8 query heads are not a multiple of its 3"),
        (&all[1..], &[], "it has no block_count"),
        (&all[..1], &[], "it has no attention.head_count_kv"),
        (&all[..2], &[], "it has no attention.key_length"),
        (&[count, ("attention.head_count", 0), all[2]], &[], "it has no attention.key_length"),
        (&[count, all[1], ("embedding_length", 513)], &[], "it has no attention.key_length"),
        (&[("block_count", u64::MAX)], &[], "block_count is 18446744073709551615; 1 to 65536 can be"),
        (&[("block_count", 0)], &[], "block_count is 0; 1 to 65536 can be"),
        (&[count, ("attention.head_count", 65_537)], &[], "attention.head_count is 65537; 0 to 65536"),
        (&[count, ("nextn_predict_layers", 3)], &[], "leaves none of its 3 layers"),
        (&[&all[..], &[("attention.shared_kv_layers", 3)]].concat(), &[], "leaves none of its 3 layers"),
    ] {
        let problem = kv(metadata, more).unwrap_err();
        assert!(problem.contains(words), "{words:?}: {problem:?}");
    }
    assert!(model(&[("output.weight", &[4, 32], "F16")], &[]).unwrap().kv.is_err());
}

#[test]
fn windows_are_those_of_the_file_or_of_the_architecture() {
    let numbers = [
        ("block_count", 6),
        ("attention.head_count", 4),
        ("embedding_length", 512),
        ("attention.sliding_window", 9),
    ];
    let expected = [layers(5, heads(4, 128, 128), Some(9)), layers(1, heads(4, 128, 128), None)];
    assert_eq!(of_gguf("gemma3", &numbers, &[]).unwrap().layers, expected);

    let pattern = |sees: Array| [("attention.sliding_window_pattern", Value::Array(sees))];
    let own = pattern(Array::Bool(vec![true, false, true, false, false, false]));
    let expected = [layers(2, heads(4, 128, 128), Some(9)), layers(4, heads(4, 128, 128), None)];
    assert_eq!(of_gguf("gemma3", &numbers, &own).unwrap().layers, expected);
    let period = [("attention.sliding_window_pattern", Value::U32(3))];
    let found = of_gguf("other", &numbers, &period).unwrap();
    assert_eq!((found.layers[0].count, found.layers[1].count, found.notices.len()), (4, 2, 0));
    // Heads where a window is may be others.
    let swa = [&numbers[..], &[("attention.key_length_swa", 64)]].concat();
    let expected = [layers(2, heads(4, 64, 128), Some(9)), layers(4, heads(4, 128, 128), None)];
    assert_eq!(of_gguf("gemma3", &swa, &own).unwrap().layers, expected);

    // Too much is counted rather than too little, and it is said.
    let found = of_gguf("other", &numbers, &[]).unwrap();
    assert_eq!(found.layers, [layers(6, heads(4, 128, 128), None)]);
    assert!(found.notices[0].contains("sliding window of 9 tokens"), "{:?}", found.notices);
    for wrong in [Array::Bool(vec![true; 5]), Array::U8(vec![1; 6])] {
        assert!(of_gguf("gemma3", &numbers, &pattern(wrong)).unwrap_err().contains("for 6 layers"));
    }
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
    let windows = json!({ "model_type": "mistral", "num_hidden_layers": 2, "num_attention_heads": 4, "head_dim": 128,
        "sliding_window": 4096 });
    let mistral = Geometry::of_config(&windows).unwrap();
    assert_eq!(mistral.longest(F16, 2 * 4096 * 4 * 512, 0), None);
    assert_eq!(mistral.longest(F16, 2 * 4096 * 4 * 512 - 1, 0), Some(4095));
}

#[test]
fn a_cache_costs_time_as_it_grows() {
    let weights = Weights { format: "Q8_0", bytes: 8_000_000_000, ms_per_token: 10.0 };
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
    for words in ["weights as Q8_0, cache and 5 %", "products with weights as Q8_0 (10.000 ms)", "15258"] {
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

/// A config.json with `change` in it; null takes a key away.
fn config(change: serde_json::Value) -> Found<Geometry> {
    let mut config = json!({ "model_type": "llama", "num_hidden_layers": 4, "num_attention_heads": 8,
        "num_key_value_heads": 2, "hidden_size": 1024 });
    config.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    Geometry::of_config(&config)
}

#[test]
fn a_config_says_what_each_layer_keeps() {
    let usual = heads(2, 128, 128);
    let (full, window) = (|count| layers(count, usual, None), |count| layers(count, usual, Some(16)));
    let none = |count| layers(count, Attention::None, None);
    let types =
        |list: [&str; 4]| json!({ "layer_types": list, "sliding_window": 16, "attention_chunk_size": 99 });
    let [f, s, c, l] = ["full_attention", "sliding_attention", "chunked_attention", "linear_attention"];
    for (change, expected) in [
        (json!({}), vec![full(4)]),
        (json!({ "num_key_value_heads": null }), vec![layers(4, heads(8, 128, 128), None)]),
        (json!({ "num_key_value_heads": 1 }), vec![layers(4, heads(1, 128, 128), None)]),
        (json!({ "head_dim": 80, "v_head_dim": 64 }), vec![layers(4, heads(2, 80, 64), None)]),
        (types([f, s, s, f]), vec![full(2), window(2)]),
        (types([s, l, c, l]), vec![window(1), none(2), layers(1, usual, Some(99))]),
        (json!({ "full_attention_interval": 4 }), vec![none(3), full(1)]),
        (json!({ "sliding_window": 16, "sliding_window_pattern": 2 }), vec![window(2), full(2)]),
        (json!({ "sliding_window": 16, "sliding_window_pattern": "LLLG" }), vec![window(3), full(1)]),
        (json!({ "sliding_window": 16, "use_sliding_window": false }), vec![full(4)]),
        (json!({ "sliding_window": 16, "max_window_layers": 3 }), vec![full(3), window(1)]),
        (json!({ "sliding_window": 16, "model_type": "mistral" }), vec![window(4)]),
        (json!({ "sliding_window": 16, "model_type": "gpt_oss" }), vec![window(2), full(2)]),
        // Said of no layer: all are counted.
        (json!({ "sliding_window": 16 }), vec![full(4)]),
        (
            json!({ "sliding_window": 16, "sliding_window_pattern": 4, "global_head_dim": 256,
                "num_global_key_value_heads": 1, "head_dim": 64 }),
            vec![layers(3, heads(2, 64, 64), Some(16)), layers(1, heads(1, 256, 256), None)],
        ),
    ] {
        assert_eq!(config(change.clone()).unwrap().layers, expected, "{change}");
    }
    let shared = config(json!({ "num_kv_shared_layers": 3 })).unwrap();
    assert_eq!((shared.kept_layers(), shared.values_per_token()), (1, 2 * 256));
    assert_eq!(shared.read_bytes(F16, 1, 0).unwrap(), 4 * 2 * 256 * 2);
    for change in
        [json!({ "head_dim": 192 }), json!({ "sliding_window": 16 }), json!({ "index_head_dim": 128 })]
    {
        assert_eq!(config(change.clone()).unwrap().notices.len(), 1, "{change}");
    }
}

#[test]
fn a_config_that_makes_no_sense_is_refused() {
    let block = |attention: serde_json::Value| json!({ "num_hidden_layers": 1, "block_configs": [{ "attention": attention }] });
    for (change, words) in [
        (json!({ "num_hidden_layers": null }), "it has no num_hidden_layers"),
        (json!({ "num_hidden_layers": -1 }), "num_hidden_layers is -1, not a whole number"),
        (json!({ "num_hidden_layers": 4.0 }), "num_hidden_layers is 4.0, not a whole number"),
        (json!({ "num_hidden_layers": "4" }), "num_hidden_layers is '4', not a whole number"),
        (json!({ "num_hidden_layers": 0 }), "num_hidden_layers is 0; 1 to 65536 can be"),
        (json!({ "num_hidden_layers": u64::MAX }), "num_hidden_layers is 18446744073709551615; 1 to"),
        (json!({ "num_attention_heads": null }), "it has no num_attention_heads"),
        (json!({ "num_attention_heads": [8] }), "num_attention_heads is a list of 1, not"),
        (json!({ "num_key_value_heads": {} }), "num_key_value_heads is an object, not"),
        (json!({ "num_key_value_heads": 3 }), "its 8 query heads are not a multiple of its 3 heads"),
        (json!({ "num_key_value_heads": 16 }), "its 8 query heads are not a multiple of its 16 heads"),
        (json!({ "num_key_value_heads": 0 }), "num_key_value_heads is 0; 1 to"),
        (json!({ "head_dim": 1_000_000 }), "head_dim is 1000000; 1 to 65536 can be"),
        (json!({ "hidden_size": null }), "it has no head_dim, and no hidden_size"),
        (json!({ "hidden_size": 1025 }), "hidden_size of 1025 is not a multiple of its 8 heads"),
        (
            json!({ "hidden_size": u64::MAX - 7 }),
            "hidden_size / num_attention_heads is 2305843009213693951; 1 to",
        ),
        (json!({ "sliding_window": 0 }), "sliding_window is 0"),
        (json!({ "sliding_window": true }), "sliding_window is true, not a whole number"),
        (json!({ "use_sliding_window": 1 }), "use_sliding_window is 1, not true or false"),
        (json!({ "sliding_window": 9, "sliding_window_pattern": "LXG" }), "'LXG'; letters L and G"),
        (json!({ "sliding_window": 9, "sliding_window_pattern": "" }), "letters L and G"),
        (json!({ "sliding_window": 9, "sliding_window_pattern": 0 }), "sliding_window_pattern is 0; 1 to"),
        (json!({ "layer_types": "full_attention" }), "layer_types is 'full_attention', not a list"),
        (json!({ "layer_types": ["full_attention"] }), "layer_types has 1 entries for 4 layers"),
        (json!({ "layer_types": [1, 2, 3, 4] }), "no layer is known as 1"),
        (json!({ "layer_types": ["a\u{1b}[2J", "", "", ""] }), r"no layer is known as 'a\u{1b}[2J'"),
        (json!({ "layer_types": vec!["sliding_attention"; 4] }), "it has no sliding_window"),
        (json!({ "kv_lora_rank": 512 }), "it has no qk_rope_head_dim"),
        (json!({ "kv_lora_rank": 0 }), "kv_lora_rank is 0"),
        (
            json!({ "num_kv_shared_layers": 4 }),
            "num_kv_shared_layers is 4, which leaves none of its 4 layers",
        ),
        (json!({ "text_config": [] }), "text_config is a list of 0, not an object"),
        (json!({ "hybrid_override_pattern": "M*M*" }), "hybrid_override_pattern: caches of models"),
        (json!({ "block_configs": [] }), "block_configs has 0 entries for 4 layers"),
        (block(json!(null)), "block_configs, layer 0: attention is not an object"),
        (block(json!({ "n_heads_in_group": null })), "layer 0: it has no n_heads_in_group"),
        (block(json!({ "n_heads_in_group": 3 })), "n_heads_in_group is 3, which does not divide its 8 heads"),
        (block(json!({ "no_op": "yes" })), "layer 0: no_op is 'yes', not true or false"),
        (block(json!({ "mamba": {} })), "layer 0: mamba: such layers cannot be planned"),
    ] {
        let problem = config(change.clone()).unwrap_err();
        assert!(problem.contains(words), "{change}: {problem:?} has no {words:?}");
    }
    assert!(Geometry::of_config(&json!([])).unwrap_err().contains("not an object"));
    let nothing = config(json!({ "layer_types": vec!["mamba"; 4] })).unwrap();
    let options = CacheOptions { context: 1, ..CacheOptions::default() };
    assert!(cache::make(nothing, None, &options).unwrap_err().to_string().contains("no cache to plan"));
}

#[test]
fn a_file_that_is_no_config_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.json");
    let deep = "[".repeat(1 << 20);
    for (text, words) in [
        (&b""[..], "the file is empty"),
        (b"{", "this is not JSON: EOF"),
        (b"{\"num_hidden_layers\": 1e400}", "this is not JSON: number out of range"),
        (b"{\"model_type\": \"\xff\"}", "this is not JSON: "),
        (deep.as_bytes(), "this is not JSON: recursion limit"),
        (b"{}", "it has no num_hidden_layers"),
        (b"3", "it is not an object"),
    ] {
        std::fs::write(&path, text).unwrap();
        let error = Geometry::read_config(&path).unwrap_err();
        assert!(matches!(error, Error::File { .. }) && error.to_string().contains(words), "{words}: {error}");
    }
    std::fs::File::create(&path).unwrap().set_len((16 << 20) + 1).unwrap();
    assert!(Geometry::read_config(&path).unwrap_err().to_string().contains("larger than 16 MiB"));
    // As many layers as can be, each of its own kind.
    let blocks: Vec<String> = (1..=65_536)
        .map(|i| format!("{{\"attention\":{{\"n_heads_in_group\":1,\"window_length\":{i}}}}}"))
        .collect();
    let text = format!(
        "{{\"num_hidden_layers\":65536,\"num_attention_heads\":65536,\"head_dim\":65536,\"block_configs\":[{}]}}",
        blocks.join(",")
    );
    std::fs::write(&path, text).unwrap();
    let geometry = Geometry::read_config(&path).unwrap();
    assert_eq!(geometry.layers.len(), 65_536);
    assert!(geometry.bytes(F16, 1, 0).is_ok() && geometry.bytes(F16, u64::MAX, 0).is_err());
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

    let advice = advise(&rows([Some(false); 4]), Some(1.0));
    assert_eq!((advice.recommended, advice.fastest), (None, None));
    assert!(advice.advice.contains("Q2_K, needs 2.730 GB with head room"), "{advice:?}");
}

#[test]
fn the_usual_formats_exist() {
    assert!(FORMATS.iter().all(|name| Format::by_name(name).is_some()));
}
