//! Geometries of KV caches, from config.json and GGUF metadata: patterns, windows, shared layers, and what makes no sense.

use std::collections::BTreeSet;

use lowbit::internals::Error;
use lowbit::internals::codec::{CacheType, Pair};
use lowbit::internals::io::gguf::{Array, Gguf, TensorType, Value, Writer};
use lowbit::internals::plan::cache::{self, CacheOptions};
use lowbit::internals::plan::geometry::{Attention, Geometry, Layer, Layers, known};
use serde_json::json;

type Found<T> = std::result::Result<T, String>;

const F16: Pair = Pair { keys: CacheType::F16, values: CacheType::F16 };

/// What a GGUF file with this metadata says.
fn gguf(metadata: &[(&str, Value)]) -> Found<Geometry> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    let mut writer = Writer::new();
    for (key, value) in metadata {
        writer.metadata(key, value.clone()).unwrap();
    }
    writer.tensor("output.weight", &[32, 4], TensorType::by_name("F16").unwrap()).unwrap();
    writer.write(&path, |tensor, out| out.write(&vec![0; tensor.bytes as usize])).unwrap();
    Geometry::of_gguf(&Gguf::open(&path).unwrap())
}

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

/// The geometry in the metadata of a GGUF file: numbers, whose keys are without the architecture, and others.
fn of_gguf(architecture: &str, numbers: &[(&str, u64)], more: &[(&str, Value)]) -> Found<Geometry> {
    let mut all: Vec<(String, Value)> = vec![("general.architecture".into(), architecture.into())];
    all.extend(numbers.iter().map(|(key, value)| (format!("{architecture}.{key}"), Value::U64(*value))));
    all.extend(more.iter().map(|(key, value)| (format!("{architecture}.{key}"), value.clone())));
    let all: Vec<(&str, Value)> = all.iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
    gguf(&all)
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
    assert_eq!(a_token(of_gguf("deepseek2", &latent, &[])), 3 * 576 * 2);
    assert_eq!(of_gguf("deepseek2", &latent[..2], &[]), Err("it has no rope.dimension_count".into()));
    assert!(kv(&latent, &[]).unwrap_err().contains("attention.kv_lora_rank: that the cache"));

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
    assert_eq!(gguf(&[]), Err("it has no general.architecture".into()));
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
    let found = of_gguf("llama", &numbers, &period).unwrap();
    assert_eq!((found.layers[0].count, found.layers[1].count, found.notices.len()), (4, 2, 0));
    // Heads where a window is may be others.
    let swa = [&numbers[..], &[("attention.key_length_swa", 64)]].concat();
    let expected = [layers(2, heads(4, 64, 128), Some(9)), layers(4, heads(4, 128, 128), None)];
    assert_eq!(of_gguf("gemma3", &swa, &own).unwrap().layers, expected);

    // llama.cpp keeps all tokens of an architecture that has no windows, and it is said.
    let found = of_gguf("llama", &numbers, &[]).unwrap();
    assert_eq!(found.layers, [layers(6, heads(4, 128, 128), None)]);
    assert!(found.notices[0].contains("attention.sliding_window is 9"), "{:?}", found.notices);
    for wrong in [Array::Bool(vec![true; 5]), Array::U8(vec![1; 6])] {
        assert!(of_gguf("gemma3", &numbers, &pattern(wrong)).unwrap_err().contains("for 6 layers"));
    }
}

type Case = (&'static str, Vec<(&'static str, Value)>, Vec<Layers>);

/// The layers that each architecture of llama.cpp has, of six with four heads of 128, windows of 9 where it can have them,
/// and latents of 512 and 64: names, what more a file needs, and the layers.
fn ggml() -> Vec<Case> {
    let (usual, none) = (heads(4, 128, 128), Attention::None);
    let (full, window) = (|count| layers(count, usual, None), |count| layers(count, usual, Some(9)));
    let swa = || ("attention.sliding_window", Value::U32(9));
    let latent =
        || vec![("attention.kv_lora_rank", Value::U32(512)), ("rope.dimension_count", Value::U32(64))];
    let mla = |count| layers(count, Attention::Latent { rank: 512, rope_dim: 64 }, None);
    let kv = || ("attention.head_count_kv", Value::Array(Array::I32(vec![0, 0, 4, 0, 0, 4])));
    let mut all = vec![
        ("gemma2", vec![swa()], vec![window(3), full(3)]),
        ("gemma2", vec![], vec![layers(3, usual, Some(4096)), full(3)]),
        ("gemma3", vec![swa()], vec![window(5), full(1)]),
        ("gemma3", vec![], vec![full(6)]),
        ("gemma3n", vec![swa()], vec![window(5), full(1)]),
        (
            "gemma4",
            vec![
                swa(),
                (
                    "attention.sliding_window_pattern",
                    Value::Array(Array::Bool(vec![true, false, true, true, false, true])),
                ),
                ("attention.key_length", Value::U32(256)),
                ("attention.value_length", Value::U32(256)),
                ("attention.key_length_swa", Value::U32(128)),
                ("attention.value_length_swa", Value::U32(128)),
            ],
            vec![window(4), layers(2, heads(4, 256, 256), None)],
        ),
        ("cohere2", vec![swa()], vec![window(5), full(1)]),
        ("gpt-oss", vec![swa()], vec![window(3), full(3)]),
        ("exaone4", vec![swa()], vec![window(5), full(1)]),
        ("exaone-moe", vec![swa()], vec![window(5), full(1)]),
        ("olmo2", vec![swa()], vec![window(5), full(1)]),
        ("olmo2", vec![], vec![full(6)]),
        ("afmoe", vec![swa()], vec![window(5), full(1)]),
        ("smallthinker", vec![swa()], vec![full(2), window(4)]),
        ("phi3", vec![swa()], vec![window(6)]),
        ("llama4", vec![], vec![layers(5, usual, Some(8192)), full(1)]),
        ("llama4", vec![("attention.sliding_window", Value::U32(0))], vec![full(6)]),
        ("kimi-linear", [latent(), vec![kv()]].concat(), vec![layers(4, none, None), mla(2)]),
        ("lfm2", vec![kv(), swa()], vec![layers(4, none, None), window(2)]),
        ("falcon-h1", vec![], vec![full(6)]),
        ("qwen3next", vec![], vec![layers(5, none, None), full(1)]),
        ("qwen35", vec![("full_attention_interval", Value::U32(3))], vec![layers(4, none, None), full(2)]),
        (
            "qwen35moe",
            vec![(
                "attention.recurrent_layers",
                Value::Array(Array::Bool(vec![true, false, false, true, true, true])),
            )],
            vec![layers(4, none, None), full(2)],
        ),
        ("minimax-01", vec![], vec![layers(6, none, None)]),
    ];
    for name in ["deepseek2", "deepseek32", "glm-dsa", "minicpm3"] {
        all.push((name, latent(), vec![mla(6)]));
    }
    for name in ["jamba", "granitehybrid", "nemotron_h", "nemotron_h_moe", "lfm2moe", "plamo2"] {
        all.push((name, vec![kv()], vec![layers(4, none, None), full(2)]));
    }
    for name in ["mamba", "mamba2", "rwkv6", "rwkv7", "rwkv6qwen2", "arwkv7"] {
        all.push((name, vec![("attention.head_count", Value::U32(0))], vec![layers(6, none, None)]));
    }
    all
}

#[test]
fn every_architecture_of_llama_cpp_has_the_layers_that_are_known() {
    let numbers = [("block_count", 6), ("attention.head_count", 4), ("embedding_length", 512)];
    let mut special = BTreeSet::new();
    for (name, more, expected) in ggml() {
        let keys: Vec<&str> = more.iter().map(|(key, _)| *key).collect();
        let numbers: Vec<_> = numbers.into_iter().filter(|(key, _)| !keys.contains(key)).collect();
        let found = of_gguf(name, &numbers, &more).unwrap_or_else(|problem| panic!("{name}: {problem}"));
        assert_eq!(found.layers, expected, "{name} {more:?}");
        assert!(found.notices.is_empty(), "{name}: {:?}", found.notices);
        special.insert(name);
    }
    let [_, known] = known();
    let names: BTreeSet<&str> = known.iter().map(|(name, _)| *name).collect();
    assert_eq!(names.len(), known.len(), "an architecture has two rows");
    assert!(special.is_subset(&names) && names.len() > 90, "{special:?}");
    for name in names.difference(&special) {
        let found = of_gguf(name, &numbers, &[("attention.head_count_kv", Value::U32(2))]).unwrap();
        assert_eq!(found.layers, [layers(6, heads(2, 128, 128), None)], "{name}");
        assert!(found.notices.is_empty() && found.not_counted.is_empty());
        // What they are not known to have.
        for key in ["attention.kv_lora_rank", "full_attention_interval", "attention.recurrent_layers"] {
            let problem = of_gguf(name, &numbers, &[(key, Value::U32(4))]).unwrap_err();
            assert!(problem.contains(key) && problem.contains("not known"), "{name}: {problem}");
        }
        for other in [format!("{name}x"), name.to_uppercase(), String::new()] {
            if names.contains(other.as_str()) {
                continue;
            }
            let problem = of_gguf(&other, &numbers, &[]).unwrap_err();
            assert!(problem.starts_with(&format!("its general.architecture is '{other}'")), "{problem}");
        }
    }
    for (name, words) in [
        ("gemma3n", "it has no attention.sliding_window"),
        ("gpt-oss", "it has no attention.sliding_window"),
        ("gemma4", "it has no attention.sliding_window"),
        ("deepseek2", "it has no attention.kv_lora_rank"),
    ] {
        assert_eq!(of_gguf(name, &numbers, &[]), Err(words.into()), "{name}");
    }
    // 20 of Gemma 3n's layers keep what the others read.
    let many = [
        ("block_count", 35),
        ("attention.head_count", 8),
        ("embedding_length", 2048),
        ("attention.sliding_window", 512),
    ];
    let found = of_gguf("gemma3n", &many, &[]).unwrap();
    assert_eq!((found.layer_count(), found.kept_layers()), (35, 20));
    let other = [&many[..], &[("attention.shared_kv_layers", 10)]].concat();
    assert_eq!(of_gguf("gemma3n", &other, &[]).unwrap().kept_layers(), 25);
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
        (json!({ "head_dim": 80 }), vec![layers(4, heads(2, 80, 80), None)]),
        (types([f, s, s, f]), vec![full(2), window(2)]),
        (types([s, l, c, l]), vec![window(1), none(2), layers(1, usual, Some(99))]),
        (
            json!({ "model_type": "qwen3_next", "head_dim": 128, "full_attention_interval": 4 }),
            vec![none(3), full(1)],
        ),
        (json!({ "model_type": "gemma2", "head_dim": 128, "sliding_window": 16 }), vec![window(2), full(2)]),
        (
            json!({ "model_type": "exaone4", "sliding_window": 16, "sliding_window_pattern": "LLLG" }),
            vec![window(3), full(1)],
        ),
        (
            json!({ "model_type": "mistral", "sliding_window": 16, "use_sliding_window": false }),
            vec![full(4)],
        ),
        (
            json!({ "model_type": "qwen2", "use_sliding_window": true, "sliding_window": 16, "max_window_layers": 3 }),
            vec![full(3), window(1)],
        ),
        (json!({ "sliding_window": 16, "model_type": "mistral" }), vec![window(4)]),
        (json!({ "sliding_window": 16, "model_type": "gpt_oss", "head_dim": 128 }), vec![window(2), full(2)]),
        // The class does not look at it.
        (json!({ "sliding_window": 16 }), vec![full(4)]),
        (
            json!({ "model_type": "gemma4_text", "sliding_window": 16, "sliding_window_pattern": 4, "global_head_dim": 256,
                "attention_k_eq_v": true, "num_global_key_value_heads": 1, "head_dim": 64 }),
            vec![layers(3, heads(2, 64, 64), Some(16)), layers(1, heads(1, 256, 256), None)],
        ),
    ] {
        assert_eq!(config(change.clone()).unwrap().layers, expected, "{change}");
    }
    let shared =
        config(json!({ "model_type": "gemma3n_text", "head_dim": 128, "num_kv_shared_layers": 3 })).unwrap();
    assert_eq!((shared.kept_layers(), shared.values_per_token()), (1, 2 * 256));
    assert_eq!(shared.read_bytes(F16, 1, 0).unwrap(), 4 * 2 * 256 * 2);
    for change in [json!({ "head_dim": 192 }), json!({ "sliding_window": 16 })] {
        assert_eq!(config(change.clone()).unwrap().notices.len(), 1, "{change}");
    }
}

#[test]
fn a_config_that_makes_no_sense_is_refused() {
    let block = |attention: serde_json::Value| json!({ "model_type": "nemotron-nas", "num_hidden_layers": 1, "block_configs": [{ "attention": attention }] });
    for (change, words) in [
        (json!({ "num_hidden_layers": null }), "it has no num_hidden_layers"),
        (json!({ "num_hidden_layers": -1 }), "num_hidden_layers is -1, not a whole number"),
        (json!({ "num_hidden_layers": 4.0 }), "num_hidden_layers is 4.0, not a whole number"),
        (json!({ "num_hidden_layers": "4" }), "num_hidden_layers is '4', not a whole number"),
        (json!({ "num_hidden_layers": 0 }), "num_hidden_layers is 0; 1 to 65536 can be"),
        (json!({ "num_hidden_layers": u64::MAX }), "num_hidden_layers is 18446744073709551615; 1 to"),
        (json!({ "num_attention_heads": null }), "it has no num_attention_heads"),
        (json!({ "num_attention_heads": [8] }), "num_attention_heads has 1 entries for 4 layers"),
        (json!({ "num_key_value_heads": {} }), "num_key_value_heads is an object, not"),
        (json!({ "num_key_value_heads": 3 }), "its 8 query heads are not a multiple of its 3 heads"),
        (json!({ "num_key_value_heads": 16 }), "its 8 query heads are not a multiple of its 16 heads"),
        (json!({ "num_key_value_heads": 0 }), "num_key_value_heads is 0; 1 to"),
        (json!({ "num_key_value_heads": [2, 2, 2, -1] }), "num_key_value_heads is -1, not a whole number"),
        (json!({ "head_dim": 1_000_000 }), "head_dim is 1000000; 1 to 65536 can be"),
        (json!({ "hidden_size": null }), "it has no head_dim, and no hidden_size"),
        (json!({ "hidden_size": 1025 }), "hidden_size of 1025 is not a multiple of its 8 heads"),
        (
            json!({ "hidden_size": u64::MAX - 7 }),
            "hidden_size / num_attention_heads is 2305843009213693951; 1 to",
        ),
        (json!({ "model_type": "mistral", "sliding_window": 0 }), "sliding_window is 0"),
        (
            json!({ "model_type": "mistral", "sliding_window": true }),
            "sliding_window is true, not a whole number",
        ),
        (json!({ "use_sliding_window": 1 }), "use_sliding_window is 1, not true or false"),
        (
            json!({ "model_type": "exaone4", "sliding_window": 9, "sliding_window_pattern": "LXG" }),
            "'LXG'; letters L and G",
        ),
        (json!({ "model_type": "exaone4", "sliding_window_pattern": "" }), "sliding_window_pattern is empty"),
        (
            json!({ "model_type": "exaone4", "sliding_window": 9, "sliding_window_pattern": 0 }),
            "sliding_window_pattern is 0; 1 to",
        ),
        (json!({ "layer_types": "full_attention" }), "layer_types is 'full_attention', not a list"),
        (json!({ "layer_types": ["full_attention"] }), "layer_types has 1 entries for 4 layers"),
        (json!({ "layer_types": [1, 2, 3, 4] }), "no layer is known as 1"),
        (json!({ "layer_types": ["a\u{1b}[2J", "", "", ""] }), r"no layer is known as 'a\u{1b}[2J'"),
        (json!({ "layer_types": vec!["sliding_attention"; 4] }), "it has no sliding_window"),
        (json!({ "model_type": "deepseek_v3", "qk_rope_head_dim": null }), "it has no qk_rope_head_dim"),
        (json!({ "model_type": "deepseek_v3", "kv_lora_rank": 0 }), "kv_lora_rank is 0"),
        (
            json!({ "model_type": "gemma3n_text", "num_kv_shared_layers": 4 }),
            "num_kv_shared_layers is 4, which leaves none of its 4 layers",
        ),
        (json!({ "model_type": "llava", "text_config": [] }), "text_config is a list of 0, not an object"),
        (json!({ "hybrid_override_pattern": "M*M*" }), "hybrid_override_pattern: that the cache"),
        (
            json!({ "model_type": "nemotron-nas", "block_configs": [] }),
            "block_configs has 0 entries for 4 layers",
        ),
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
        (b"{}", "it has no model_type"),
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
        "{{\"model_type\":\"nemotron-nas\",\"num_hidden_layers\":65536,\"num_attention_heads\":65536,\"head_dim\":65536,\"block_configs\":[{}]}}",
        blocks.join(",")
    );
    std::fs::write(&path, text).unwrap();
    let geometry = Geometry::read_config(&path).unwrap();
    assert_eq!(geometry.layers.len(), 65_536);
    assert!(geometry.bytes(F16, 1, 0).is_ok() && geometry.bytes(F16, u64::MAX, 0).is_err());
}
