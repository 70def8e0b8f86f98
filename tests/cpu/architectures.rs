//! Every architecture whose cache is known, with a config of its kind and the bytes of its cache, counted here by hand.

use std::collections::BTreeSet;
use std::path::Path;

use lowbit::internals::codec::CacheType;
use lowbit::internals::plan::geometry::{Geometry, known};
use serde_json::{Map, Value, json};

const T: u64 = 32_768;

/// Bytes of keys and values in f16.
const fn kv(layers: u64, heads: u64, dim: u64, tokens: u64) -> u64 {
    layers * heads * dim * 2 * 2 * tokens
}

/// Bytes of latents and rope keys in f16.
const fn mla(layers: u64, rank: u64, rope: u64) -> u64 {
    layers * (rank + rope) * 2 * T
}

fn bytes(geometry: &Geometry) -> u64 {
    geometry.bytes(CacheType::F16.into(), T, 0).unwrap()
}

fn geometry(text: &str) -> Result<Geometry, String> {
    Geometry::of_config(&serde_json::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}")))
}

/// The `model_type`, the rest of the file, and the bytes of [`T`] tokens.
#[rustfmt::skip]
const CASES: &[(&str, &str, u64)] = &[
    // As LLaMA.
    ("llama", r#""hidden_size": 2048, "num_hidden_layers": 16, "num_attention_heads": 32, "num_key_value_heads": 8"#, kv(16, 8, 64, T)),
    ("llama", r#""hidden_size": 5120, "num_hidden_layers": 40, "num_attention_heads": 40"#, kv(40, 40, 128, T)),
    ("llama", r#""num_key_value_heads": null"#, kv(32, 32, 128, T)),
    ("llama", r#""num_hidden_layers": 4, "num_key_value_heads": [8, 0, 2, 1]"#, kv(1, 11, 128, T)),
    ("arcee", r#""hidden_size": 2560, "num_hidden_layers": 36, "num_attention_heads": 20, "num_key_value_heads": 4, "head_dim": 128"#, kv(36, 4, 128, T)),
    ("apertus", r#""num_key_value_heads": 8"#, kv(32, 8, 128, T)),
    ("gemma", r#""num_hidden_layers": 18, "hidden_size": 2048, "num_attention_heads": 8, "num_key_value_heads": 1"#, kv(18, 1, 256, T)),
    ("gemma", r#""head_dim": null, "hidden_size": 2048"#, kv(28, 16, 128, T)),
    ("phi", r#""hidden_size": 2560, "num_hidden_layers": 32"#, kv(32, 32, 80, T)),
    ("glm", "", kv(40, 2, 128, T)),
    ("glm4", r#""num_hidden_layers": 61, "num_attention_heads": 48, "hidden_size": 6144"#, kv(61, 2, 128, T)),
    ("glm4_moe", r#""num_hidden_layers": 92, "head_dim": 128, "hidden_size": 5120"#, kv(92, 8, 128, T)),
    ("stablelm", r#""hidden_size": 5120, "num_hidden_layers": 40, "num_key_value_heads": 8"#, kv(40, 8, 160, T)),
    ("stablelm_epoch", r#""hidden_size": 2560, "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 32"#, kv(32, 32, 80, T)),
    ("cohere", "", kv(40, 64, 128, T)),
    ("olmo", "", kv(32, 32, 128, T)),
    ("olmo2", r#""num_hidden_layers": 40, "hidden_size": 5120, "num_attention_heads": 40"#, kv(40, 40, 128, T)),
    ("olmoe", "", kv(16, 16, 128, T)),
    ("flex_olmo", r#""num_key_value_heads": 8"#, kv(32, 8, 128, T)),
    ("granite", r#""num_hidden_layers": 40, "num_key_value_heads": 8"#, kv(40, 8, 128, T)),
    ("granitemoe", r#""hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "num_key_value_heads": 8"#, kv(24, 8, 64, T)),
    ("granitemoeshared", r#""num_key_value_heads": 2"#, kv(32, 2, 128, T)),
    ("nemotron", r#""hidden_size": 18432, "num_hidden_layers": 96, "num_attention_heads": 96, "num_key_value_heads": 8"#, kv(96, 8, 192, T)),
    ("ernie4_5", "", kv(18, 2, 128, T)),
    ("ernie4_5_moe", "", kv(28, 4, 128, T)),
    ("seed_oss", "", kv(64, 8, 128, T)),
    ("helium", "", kv(24, 20, 128, T)),
    ("bitnet", "", kv(30, 5, 128, T)),
    ("aria_text", r#""num_key_value_heads": 20, "num_attention_heads": 20, "hidden_size": 2560, "num_hidden_layers": 28"#, kv(28, 20, 128, T)),
    ("emu3_text_model", "", kv(32, 8, 128, T)),
    ("chameleon", "", kv(32, 32, 128, T)),
    ("internlm3", "", kv(48, 2, 128, T)),
    ("minimax_m2", "", kv(62, 8, 128, T)),
    ("minimax_m2", r#""num_hidden_layers": 3, "attn_type_list": [1, 1, 1]"#, kv(3, 8, 128, T)),
    ("hy_v3", "", kv(80, 8, 128, T)),
    ("solar_open", "", kv(48, 8, 128, T)),
    ("ministral3", "", kv(34, 8, 128, T)),
    ("qwen3_vl_text", r#""num_hidden_layers": 36, "num_key_value_heads": 8"#, kv(36, 8, 128, T)),
    ("qwen3_vl_moe_text", r#""head_dim": 128, "num_key_value_heads": 4, "num_hidden_layers": 48"#, kv(48, 4, 128, T)),
    ("glm4v_text", "", kv(40, 2, 128, T)),
    ("glm4v_moe_text", r#""head_dim": 128"#, kv(46, 8, 128, T)),
    ("minicpm", r#""num_hidden_layers": 40, "hidden_size": 2304, "num_attention_heads": 36, "num_key_value_heads": 36"#, kv(40, 36, 64, T)),
    ("internlm2", r#""num_key_value_heads": 8"#, kv(32, 8, 128, T)),
    ("deepseek", r#""num_hidden_layers": 28, "hidden_size": 2048, "num_attention_heads": 16"#, kv(28, 16, 128, T)),
    ("exaone", r#""num_layers": 32, "hidden_size": 4096, "num_key_value_heads": 8"#, kv(32, 8, 128, T)),
    ("jetmoe", r#""num_hidden_layers": 24"#, kv(24, 16, 128, T)),
    // Other names, one head, all heads.
    ("gpt2", r#""n_embd": 1600, "n_layer": 48, "n_head": 25"#, kv(48, 25, 64, T)),
    ("gpt2", "", kv(12, 12, 64, T)),
    ("openai-gpt", "", kv(12, 12, 64, T)),
    ("gptj", "", kv(28, 16, 256, T)),
    ("codegen", r#""n_embd": 1024, "n_layer": 20, "n_head": 16"#, kv(20, 16, 64, T)),
    ("gpt_bigcode", r#""n_embd": 6144, "n_layer": 40, "n_head": 48"#, kv(40, 1, 128, T)),
    ("gpt_bigcode", r#""n_embd": 2048, "n_layer": 24, "n_head": 16, "multi_query": false"#, kv(24, 16, 128, T)),
    ("gpt_bigcode", r#""n_layer": 24, "num_key_value_heads": 1"#, kv(24, 1, 64, T)),
    ("gpt_neox", "", kv(44, 64, 96, T)),
    ("gpt_neox_japanese", "", kv(32, 32, 80, T)),
    ("opt", r#""hidden_size": 2048, "num_hidden_layers": 24, "num_attention_heads": 32"#, kv(24, 32, 64, T)),
    ("persimmon", "", kv(36, 64, 64, T)),
    ("biogpt", "", kv(24, 16, 64, T)),
    ("xglm", r#""d_model": 2048"#, kv(24, 16, 128, T)),
    ("bloom", r#""n_embed": 1024, "n_layer": 24, "num_attention_heads": 16"#, kv(24, 16, 64, T)),
    ("mpt", r#""d_model": 4096, "n_heads": 32, "n_layers": 32, "attn_config": {"attn_type": "multihead_attention"}"#, kv(32, 32, 128, T)),
    ("mpt", r#""attn_config": {"attn_type": "multiquery_attention"}"#, kv(24, 1, 128, T)),
    ("mpt", r#""attn_config": {"attn_type": "grouped_query_attention", "kv_n_heads": 4}"#, kv(24, 4, 128, T)),
    ("dbrx", r#""d_model": 6144, "n_heads": 48, "n_layers": 40, "attn_config": {"kv_n_heads": 8}"#, kv(40, 8, 128, T)),
    ("dbrx", "", kv(24, 1, 128, T)),
    ("falcon", r#""num_hidden_layers": 32, "num_attention_heads": 71, "hidden_size": 4544, "multi_query": true"#, kv(32, 1, 64, T)),
    ("falcon", r#""num_hidden_layers": 60, "num_attention_heads": 128, "hidden_size": 8192, "num_kv_heads": 8, "new_decoder_architecture": true"#, kv(60, 8, 64, T)),
    ("falcon", r#""num_hidden_layers": 24, "num_attention_heads": 32, "hidden_size": 2048, "multi_query": false, "alibi": true"#, kv(24, 32, 64, T)),
    ("RefinedWebModel", r#""n_layer": 32, "n_head": 71, "hidden_size": 4544, "multi_query": true"#, kv(32, 1, 64, T)),
    ("RefinedWeb", r#""n_layer": 60, "n_head": 128, "n_head_kv": 8, "hidden_size": 8192"#, kv(60, 8, 64, T)),
    ("chatglm", r#""num_layers": 28, "kv_channels": 128, "num_attention_heads": 32, "multi_query_attention": true, "multi_query_group_num": 2"#, kv(28, 2, 128, T)),
    ("chatglm", r#""num_layers": 40, "num_hidden_layers": 40, "multi_query_group_num": 2"#, kv(40, 32, 128, T)),
    ("internlm", "", kv(32, 32, 128, T)),
    ("baichuan", r#""hidden_size": 5120, "num_hidden_layers": 40, "num_attention_heads": 40"#, kv(40, 40, 128, T)),
    ("qwen", r#""hidden_size": 5120, "num_hidden_layers": 40, "num_attention_heads": 40, "kv_channels": 128"#, kv(40, 40, 128, T)),
    ("openelm", r#""num_transformer_layers": 3, "num_query_heads": [12, 12, 16], "num_kv_heads": [3, 3, 4], "head_dim": 64"#, kv(1, 10, 64, T)),
    // Windows.
    ("mistral", "", kv(32, 8, 128, 4096)),
    ("mistral", r#""sliding_window": null"#, kv(32, 8, 128, T)),
    ("mistral", r#""sliding_window": null, "head_dim": 128, "hidden_size": 5120, "num_hidden_layers": 40"#, kv(40, 8, 128, T)),
    ("ministral", r#""num_hidden_layers": 4, "sliding_window": 1000, "layer_types": ["full_attention", "sliding_attention", "sliding_attention", "sliding_attention"]"#, kv(1, 8, 128, T) + kv(3, 8, 128, 1000)),
    ("mixtral", "", kv(32, 8, 128, T)),
    ("phi3", r#""sliding_window": 2047"#, kv(32, 32, 96, 2047)),
    ("phi3", r#""sliding_window": 262144, "num_key_value_heads": 8, "num_attention_heads": 24"#, kv(32, 8, 128, T)),
    ("phimoe", r#""sliding_window": 2047"#, kv(32, 8, 128, 2047)),
    ("phi4_multimodal", r#""num_attention_heads": 24"#, kv(32, 8, 128, T)),
    ("starcoder2", r#""sliding_window": 4096"#, kv(30, 2, 128, 4096)),
    ("qwen2", r#""hidden_size": 3584, "num_hidden_layers": 28, "num_attention_heads": 28, "num_key_value_heads": 4, "sliding_window": 131072"#, kv(28, 4, 128, T)),
    ("qwen2", r#""num_hidden_layers": 28, "num_key_value_heads": 4, "use_sliding_window": true, "max_window_layers": 21"#, kv(21, 4, 128, T) + kv(7, 4, 128, 4096)),
    ("qwen2_moe", r#""hidden_size": 3584, "num_hidden_layers": 28, "num_attention_heads": 28, "num_key_value_heads": 4"#, kv(28, 4, 128, T)),
    ("qwen3", r#""hidden_size": 1024, "num_hidden_layers": 28, "num_attention_heads": 16, "num_key_value_heads": 8"#, kv(28, 8, 128, T)),
    ("qwen3_moe", r#""num_hidden_layers": 48, "head_dim": 128"#, kv(48, 4, 128, T)),
    ("qwen3_omni_moe_text", r#""num_hidden_layers": 48, "num_attention_heads": 32, "head_dim": 128"#, kv(48, 4, 128, T)),
    ("qwen2_5_omni_text", "", kv(28, 4, 128, T)),
    ("qwen2_vl", r#""hidden_size": 1536, "num_hidden_layers": 28, "num_attention_heads": 12, "num_key_value_heads": 2"#, kv(28, 2, 128, T)),
    ("qwen2_vl", r#""text_config": {"hidden_size": 1536, "num_hidden_layers": 28, "num_attention_heads": 12, "num_key_value_heads": 2}"#, kv(28, 2, 128, T)),
    ("qwen2_vl_text", "", kv(80, 8, 128, T)),
    ("qwen2_5_vl", r#""text_config": {"model_type": "qwen2_5_vl_text", "num_hidden_layers": 64, "hidden_size": 5120, "num_attention_heads": 40}"#, kv(64, 8, 128, T)),
    ("qwen2_5_vl_text", "", kv(80, 8, 128, T)),
    ("dots1", r#""hidden_size": 4096, "num_hidden_layers": 62"#, kv(62, 32, 128, T)),
    ("gemma2", r#""num_hidden_layers": 42, "num_attention_heads": 16, "num_key_value_heads": 8, "hidden_size": 3584"#, kv(21, 8, 256, T) + kv(21, 8, 256, 4096)),
    ("vaultgemma", "", kv(13, 4, 256, T) + kv(13, 4, 256, 4096)),
    ("gemma3_text", r#""num_attention_heads": 4, "num_key_value_heads": 1, "hidden_size": 1152, "sliding_window": 512"#, kv(4, 1, 256, T) + kv(22, 1, 256, 512)),
    ("gemma3_text", r#""num_hidden_layers": 8, "sliding_window_pattern": 4"#, kv(2, 4, 256, T) + kv(6, 4, 256, 4096)),
    ("gemma3n_text", "", kv(4, 2, 256, T) + kv(16, 2, 256, 512)),
    ("gemma3n_text", r#""num_hidden_layers": 30, "num_kv_shared_layers": 10"#, kv(4, 2, 256, T) + kv(16, 2, 256, 512)),
    ("gemma4_text", r#""num_hidden_layers": 6, "sliding_window": 1024, "attention_k_eq_v": true, "num_global_key_value_heads": 2"#, kv(1, 2, 512, T) + kv(5, 4, 256, 1024)),
    ("gemma4_text", r#""num_hidden_layers": 7, "global_head_dim": 256, "num_global_key_value_heads": 2"#, kv(2, 4, 256, T) + kv(5, 4, 256, 512)),
    ("cohere2", r#""hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8"#, kv(8, 8, 128, T) + kv(24, 8, 128, 4096)),
    ("olmo3", "", kv(8, 32, 128, T) + kv(24, 32, 128, 4096)),
    ("exaone4", r#""hidden_size": 5120, "num_hidden_layers": 64, "num_attention_heads": 40, "num_key_value_heads": 8, "sliding_window_pattern": "LLLG""#, kv(16, 8, 128, T) + kv(48, 8, 128, 4096)),
    ("exaone4", r#""num_hidden_layers": 30, "num_key_value_heads": 8, "hidden_size": 2048, "sliding_window": null, "sliding_window_pattern": null"#, kv(30, 8, 64, T)),
    ("exaone_moe", r#""num_key_value_heads": 8, "sliding_window": 128"#, kv(8, 8, 128, T) + kv(24, 8, 128, 128)),
    ("gpt_oss", r#""num_hidden_layers": 24"#, kv(12, 8, 64, T) + kv(12, 8, 64, 128)),
    ("afmoe", r#""num_key_value_heads": 4"#, kv(8, 4, 128, T) + kv(24, 4, 128, 1024)),
    ("cwm", "", kv(16, 8, 128, T) + kv(48, 8, 128, 8192)),
    ("smollm3", "", kv(36, 4, 128, T)),
    ("smollm3", r#""use_sliding_window": true, "sliding_window": 1024"#, kv(27, 4, 128, T) + kv(9, 4, 128, 1024)),
    ("llama4_text", "", kv(12, 8, 128, T) + kv(36, 8, 128, 8192)),
    ("llama4_text", r#""num_hidden_layers": 4, "no_rope_layers": [1, 1, 0, 0], "attention_chunk_size": 512"#, kv(2, 8, 128, T) + kv(2, 8, 128, 512)),
    ("gpt_neo", "", kv(12, 16, 128, T) + kv(12, 16, 128, 256)),
    ("gpt_neo", r#""num_layers": 3, "attention_types": [[["global"], 2], [["local"], 1]], "window_size": 100"#, kv(2, 16, 128, T) + kv(1, 16, 128, 100)),
    // Latents.
    ("deepseek_v2", r#""num_hidden_layers": 27, "num_attention_heads": 16, "hidden_size": 2048"#, mla(27, 512, 64)),
    ("deepseek_v2", r#""num_hidden_layers": 12, "num_attention_heads": 10, "hidden_size": 1280, "use_mla": false, "kv_lora_rank": null, "v_head_dim": 0"#, kv(12, 10, 128, T)),
    ("deepseek_v3", "", mla(61, 512, 64)),
    ("kimi_k2", r#""num_attention_heads": 64"#, mla(61, 512, 64)),
    ("deepseek_v32", "", mla(61, 512, 64)),
    ("minicpm3", "", mla(62, 256, 32)),
    ("mistral4", "", mla(36, 256, 64)),
    ("glm4_moe_lite", "", mla(47, 512, 64)),
    ("kimi_linear", r#""linear_attn_config": {"full_attn_layers": [4, 8, 12, 16, 20, 24, 27], "kda_layers": [1, 2, 3]}"#, mla(7, 512, 64)),
    // Layers that share.
    ("hunyuan", r#""num_hidden_layers": 64, "num_attention_heads": 80, "num_key_value_heads": 8, "attention_head_dim": 128, "hidden_size": 6400, "use_cla": true, "cla_share_factor": 2"#, kv(32, 8, 128, T)),
    ("hunyuan", r#""num_hidden_layers": 7, "num_key_value_heads": 8, "use_cla": true, "cla_share_factor": 3"#, kv(3, 8, 128, T)),
    ("hunyuan", r#""num_key_value_heads": 8, "use_cla": false, "cla_share_factor": 2, "v_head_dim": 128, "kv_lora_rank": 512"#, kv(32, 8, 128, T)),
    ("hunyuan_v1_dense", r#""num_key_value_heads": 8, "head_dim": 128, "attention_head_dim": 128, "use_cla": false, "cla_share_factor": 2"#, kv(32, 8, 128, T)),
    ("hunyuan_v1_moe", r#""num_key_value_heads": 8, "num_hidden_layers": 8, "use_cla": true, "cla_share_factor": 2"#, kv(4, 8, 128, T)),
    // Layers without attention.
    ("bamba", r#""attn_layer_indices": [9, 18, 27]"#, kv(3, 8, 128, T)),
    ("lfm2", r#""num_hidden_layers": 16, "hidden_size": 2048, "full_attn_idxs": [2, 5, 8, 10, 12, 14]"#, kv(6, 8, 64, T)),
    ("lfm2", "", kv(32, 8, 80, T)),
    ("lfm2_moe", r#""num_hidden_layers": 4, "layer_types": ["conv", "conv", "full_attention", "conv"]"#, kv(1, 8, 64, T)),
    ("jamba", "", kv(4, 8, 128, T)),
    ("jamba", r#""num_hidden_layers": 3, "layers_block_type": ["mamba", "attention", "attention"]"#, kv(2, 8, 128, T)),
    ("jamba", r#""num_hidden_layers": 12, "attn_layer_period": 5, "attn_layer_offset": 0"#, kv(3, 8, 128, T)),
    ("granitemoehybrid", r#""num_hidden_layers": 4, "num_attention_heads": 12, "num_key_value_heads": 4, "hidden_size": 1536, "layer_types": ["mamba", "mamba", "mamba", "attention"]"#, kv(1, 4, 128, T)),
    ("granitemoehybrid", r#""num_hidden_layers": 2, "layers_block_type": ["mamba", "attention"]"#, kv(1, 32, 128, T)),
    ("qwen3_next", "", kv(12, 2, 256, T)),
    ("qwen3_next", r#""full_attention_interval": 6"#, kv(8, 2, 256, T)),
    ("qwen3_5_text", "", kv(8, 4, 256, T)),
    ("qwen3_5_moe_text", "", kv(10, 2, 256, T)),
    ("falcon_h1", r#""num_hidden_layers": 24, "num_attention_heads": 8, "num_key_value_heads": 2, "head_dim": 128"#, kv(24, 2, 128, T)),
    ("zamba", r#""num_hidden_layers": 3, "layers_block_type": ["mamba", "mamba", "hybrid"]"#, kv(1, 16, 464, T)),
    ("zamba2", "", kv(9, 32, 160, T)),
    ("nemotron_h", r#""num_hidden_layers": 8, "hybrid_override_pattern": "M-M*M-*E", "attention_head_dim": 128"#, kv(2, 8, 128, T)),
    ("nemotron_h", r#""layers_block_type": ["mamba", "moe", "attention"], "num_key_value_heads": 2"#, kv(1, 2, 128, T)),
    ("recurrent_gemma", r#""num_key_value_heads": 1"#, kv(8, 1, 256, 2048)),
    ("minimax", "", kv(16, 8, 128, T)),
    ("minimax", r#""num_hidden_layers": 4, "layer_types": ["linear_attention", "linear_attention", "linear_attention", "full_attention"]"#, kv(1, 8, 128, T)),
    ("minimax_text_01", r#""num_hidden_layers": 4, "num_attention_heads": 64, "num_key_value_heads": 8, "head_dim": 128, "attn_type_list": [0, 0, 0, 1]"#, kv(1, 8, 128, T)),
    ("mllama_text_model", "", kv(32, 8, 128, T)),
    ("nemotron-nas", r#""num_hidden_layers": 3, "num_attention_heads": 64, "hidden_size": 8192, "num_key_value_heads": null, "block_configs": [{"attention": {"n_heads_in_group": 8}}, {"attention": {"no_op": true, "n_heads_in_group": null}}, {"attention": {"n_heads_in_group": 16}}]"#, kv(1, 8 + 4, 128, T)),
    ("deci", r#""num_hidden_layers": 4, "num_attention_heads": 32, "hidden_size": 4096, "num_key_value_heads_per_layer": [4, 4, 2, 1]"#, kv(1, 11, 128, T)),
    ("mamba", "", 0),
    ("mamba2", r#""num_heads": 80, "head_dim": 64"#, 0),
    ("falcon_mamba", "", 0),
    ("rwkv", "", 0),
    ("xlstm", "", 0),
    // Models of more than text. What their part does not say is that of its architecture.
    ("llava", r#""text_config": {}"#, kv(32, 32, 128, T)),
    ("llava_next", r#""text_config": {"model_type": "mistral", "sliding_window": null}"#, kv(32, 8, 128, T)),
    ("llava_next_video", r#""text_config": {}"#, kv(32, 32, 128, T)),
    ("video_llava", r#""text_config": {}"#, kv(32, 32, 128, T)),
    ("vipllava", r#""text_config": {}"#, kv(32, 32, 128, T)),
    ("idefics3", r#""text_config": {"num_key_value_heads": 8}"#, kv(32, 8, 128, T)),
    ("smolvlm", r#""text_config": {"num_hidden_layers": 24, "num_attention_heads": 32, "hidden_size": 2048}"#, kv(24, 32, 64, T)),
    ("deepseek_vl", r#""text_config": {}"#, kv(32, 32, 128, T)),
    ("janus", r#""text_config": {}"#, kv(32, 32, 128, T)),
    ("perception_lm", r#""text_config": {}"#, kv(32, 32, 128, T)),
    ("llava_onevision", r#""text_config": {"num_key_value_heads": 4}"#, kv(32, 4, 128, T)),
    ("internvl", r#""text_config": {"num_key_value_heads": 4}"#, kv(32, 4, 128, T)),
    ("ovis2", r#""text_config": {}"#, kv(32, 32, 128, T)),
    ("qwen2_audio", r#""text_config": {}"#, kv(32, 32, 128, T)),
    ("video_llama_3", r#""text_config": {}"#, kv(32, 32, 128, T)),
    ("mistral3", r#""text_config": {"head_dim": 128, "hidden_size": 5120, "num_hidden_layers": 40, "sliding_window": null}"#, kv(40, 8, 128, T)),
    ("idefics2", r#""text_config": {}"#, kv(32, 8, 128, 4096)),
    ("paligemma", r#""text_config": {"num_hidden_layers": 18, "num_key_value_heads": 1}"#, kv(18, 1, 256, T)),
    ("aya_vision", r#""text_config": {"num_key_value_heads": 8}"#, kv(10, 8, 128, T) + kv(30, 8, 128, 4096)),
    ("cohere2_vision", r#""text_config": {"num_key_value_heads": 8}"#, kv(10, 8, 128, T) + kv(30, 8, 128, 4096)),
    ("lfm2_vl", r#""text_config": {"num_hidden_layers": 4, "full_attn_idxs": [1]}"#, kv(1, 8, 80, T)),
    ("granite_speech", r#""text_config": {"num_key_value_heads": 8}"#, kv(32, 8, 128, T)),
    ("kimi_k25", r#""text_config": {"model_type": "kimi_k2"}"#, mla(61, 512, 64)),
    ("kimi_vl", r#""text_config": {"model_type": "deepseek_v3", "num_hidden_layers": 27}"#, mla(27, 512, 64)),
    ("shieldgemma2", r#""text_config": {"num_hidden_layers": 6}"#, kv(1, 4, 256, T) + kv(5, 4, 256, 4096)),
    ("gemma3", r#""text_config": {"num_hidden_layers": 34, "sliding_window": 1024}"#, kv(5, 4, 256, T) + kv(29, 4, 256, 1024)),
    ("gemma3n", r#""text_config": {}"#, kv(4, 2, 256, T) + kv(16, 2, 256, 512)),
    ("gemma4", r#""text_config": {"num_hidden_layers": 6}"#, kv(1, 4, 512, T) + kv(5, 4, 256, 512)),
    ("llama4", r#""text_config": {"model_type": "llama4_text"}"#, kv(12, 8, 128, T) + kv(36, 8, 128, 8192)),
    ("mllama", r#""text_config": {"num_hidden_layers": 10, "cross_attention_layers": [3, 8]}"#, kv(8, 8, 128, T)),
    ("qwen3_vl", r#""text_config": {"model_type": "qwen3_vl_text"}"#, kv(32, 32, 128, T)),
    ("qwen3_vl_moe", r#""text_config": {"head_dim": 128}"#, kv(24, 16, 128, T)),
    ("qwen3_5", r#""text_config": {}"#, kv(8, 4, 256, T)),
    ("qwen3_5_moe", r#""text_config": {}"#, kv(10, 2, 256, T)),
    ("glm4v", r#""text_config": {}"#, kv(40, 2, 128, T)),
    ("glm4v_moe", r#""text_config": {"head_dim": 128}"#, kv(46, 8, 128, T)),
    ("aria", r#""text_config": {"num_key_value_heads": 20, "num_attention_heads": 20, "hidden_size": 2560}"#, kv(32, 20, 128, T)),
    ("emu3", r#""text_config": {}"#, kv(32, 8, 128, T)),
    ("qwen2_5_omni", r#""thinker_config": {"text_config": {}}"#, kv(28, 4, 128, T)),
    ("qwen3_omni_moe", r#""thinker_config": {"text_config": {"head_dim": 128}}"#, kv(28, 4, 128, T)),
    ("internvl_chat", r#""llm_config": {"model_type": "internlm2", "num_key_value_heads": 8}"#, kv(32, 8, 128, T)),
    ("deepseek_vl_v2", r#""language_config": {"model_type": "deepseek_v2", "num_hidden_layers": 27}"#, mla(27, 512, 64)),
];

#[test]
fn every_known_architecture_has_the_cache_that_is_counted_by_hand() {
    let mut tested = BTreeSet::new();
    for (kind, rest, expected) in CASES {
        let comma = if rest.is_empty() { "" } else { ", " };
        let text = format!("{{\"model_type\": \"{kind}\"{comma}{rest}}}");
        let found = geometry(&text).unwrap_or_else(|problem| panic!("{text}: {problem}"));
        assert_eq!(bytes(&found), *expected, "{text}: {:?}", found.layers);
        tested.insert(*kind);
    }
    let [known, _] = known();
    let names: BTreeSet<&str> = known.iter().map(|(name, _)| *name).collect();
    assert_eq!(names.len(), known.len(), "an architecture has two rows");
    assert_eq!(tested, names);
    assert!(known.iter().all(|(_, source)| source.contains("configuration_")), "{known:?}");
}

/// The configurations' own defaults, as transformers has them.
fn defaults() -> Vec<(String, Map<String, Value>)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/plan/defaults.json");
    let all: Map<String, Value> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    all.into_iter().map(|(kind, defaults)| (kind, defaults.as_object().unwrap().clone())).collect()
}

#[test]
fn what_a_config_leaves_out_is_the_default_of_its_class() {
    let defaults = defaults();
    assert!(defaults.len() > 90);
    for (kind, defaults) in defaults {
        let with = |keys: Map<String, Value>| {
            let mut config = keys;
            config.insert("model_type".into(), kind.clone().into());
            Geometry::of_config(&Value::Object(config.clone()))
                .unwrap_or_else(|problem| panic!("{config:?}: {problem}"))
        };
        let whole = with(defaults.clone());
        assert_eq!(with(Map::new()), whole, "{kind}");
        for key in defaults.keys() {
            let mut rest = defaults.clone();
            rest.remove(key);
            assert_eq!(with(rest), whole, "{kind} without {key}");
        }
    }
}

#[test]
fn an_architecture_that_is_not_known_is_refused_by_name() {
    let refused = |config: &Value, words: &[&str]| {
        let problem = Geometry::of_config(config).unwrap_err();
        assert!(words.iter().all(|word| problem.contains(word)), "{config}: {problem}");
    };
    let [known, _] = known();
    // Every other name, also one that is nearly known, with any keys that a known one has.
    for (kind, defaults) in defaults() {
        for name in [format!("{kind}x"), kind.to_uppercase(), format!(" {kind}"), String::new()] {
            if known.iter().any(|(known, _)| *known == name) {
                continue;
            }
            let mut config = defaults.clone();
            config.insert("model_type".into(), name.clone().into());
            refused(&Value::Object(config.clone()), &["model_type is", &name, "not known"]);
            refused(
                &json!({ "model_type": "llava", "text_config": config }),
                &["text_config: ", &name, "not known"],
            );
            config.remove("model_type");
            refused(&Value::Object(config), &["it has no model_type"]);
        }
    }
    // A part that is known does not make the whole known.
    refused(
        &json!({ "model_type": "newvlm", "text_config": { "model_type": "llama" } }),
        &["'newvlm'", "not known"],
    );
    refused(&json!({ "model_type": "llava" }), &["it has no text_config"]);
    refused(&json!({ "model_type": "kimi_vl", "text_config": {} }), &["text_config: it has no model_type"]);
    refused(&json!({ "model_type": 3 }), &["model_type is 3, not a name"]);
    refused(&json!({ "model_type": "t5", "is_encoder_decoder": true }), &["is_encoder_decoder"]);
}

#[test]
fn a_key_that_an_architecture_is_not_known_to_read_is_refused() {
    for (key, value) in [
        ("num_kv_shared_layers", json!(4)),
        ("cla_share_factor", json!(2)),
        ("attn_layer_indices", json!([1])),
        ("full_attn_idxs", json!([1])),
        ("attn_layer_period", json!(8)),
        ("hybrid_override_pattern", json!("M*")),
        ("hybrid_layer_pattern", json!([0, 1])),
        ("layers_block_type", json!(["mamba"])),
        ("attn_type_list", json!([0, 1])),
        ("linear_attn_config", json!({ "full_attn_layers": [1] })),
        ("cross_attention_layers", json!([1])),
        ("block_configs", json!([{}])),
        ("kv_lora_rank", json!(512)),
        ("v_head_dim", json!(64)),
        ("full_attention_interval", json!(4)),
        ("multi_query", json!(true)),
        ("num_kv_heads", json!(2)),
        ("attn_config", json!({ "kv_n_heads": 2 })),
        ("swa_head_dim", json!(64)),
        ("global_head_dim", json!(512)),
        ("index_head_dim", json!(128)),
    ] {
        let problem = Geometry::of_config(&json!({ "model_type": "llama", key: value })).unwrap_err();
        assert!(problem.starts_with(&format!("{key}: ")) && problem.contains("not known"), "{problem}");
        // What says that it is off says nothing.
        for off in [json!(null), json!(false), json!(0), json!([])] {
            assert!(Geometry::of_config(&json!({ "model_type": "llama", key: off })).is_ok(), "{key} {off}");
        }
    }
    for (kind, rest, words) in [
        (
            "gpt2",
            json!({ "num_key_value_heads": 4 }),
            "num_key_value_heads is 4, but by num_attention_heads there are 12",
        ),
        ("gpt_bigcode", json!({ "num_key_value_heads": 4 }), "but by its other keys there are 1"),
        (
            "gpt2",
            json!({ "n_layer": 12, "num_hidden_layers": 24 }),
            "n_layer is 12, but num_hidden_layers, which is the same, is 24",
        ),
        ("baichuan", json!({}), "it has no num_hidden_layers"),
        (
            "exaone",
            json!({ "hidden_size": 4096 }),
            "it has no num_key_value_heads, and files of its kind have no common default",
        ),
        ("nemotron_h", json!({}), "it has no num_hidden_layers"),
        ("nemotron_h", json!({ "num_hidden_layers": 2 }), "it has no layers_block_type"),
        (
            "nemotron_h",
            json!({ "num_hidden_layers": 2, "hybrid_override_pattern": "M?" }),
            "no layer is known as '?'",
        ),
        (
            "nemotron_h",
            json!({ "num_hidden_layers": 3, "hybrid_override_pattern": "M*" }),
            "has 2 entries for 3 layers",
        ),
        (
            "bamba",
            json!({ "attn_layer_indices": [40] }),
            "attn_layer_indices names layer 40, but there are 32",
        ),
        ("kimi_linear", json!({ "linear_attn_config": { "full_attn_layers": [0] } }), "names layer 0"),
        ("jamba", json!({ "attn_layer_offset": 8 }), "attn_layer_period is 8, which leaves out the layer 8"),
        ("gpt_neo", json!({ "num_layers": 12 }), "attention_types has 24 entries for 12 layers"),
        (
            "gpt_neo",
            json!({ "attention_types": [[["global"], 1_000_000]] }),
            "attention_types is 1000000; 1 to",
        ),
        ("gpt_neo", json!({ "attention_types": [["global", 1]] }), "attention_types is 'global', not a list"),
        ("hunyuan", json!({ "use_cla": "yes" }), "use_cla is 'yes', not true or false"),
        ("hunyuan", json!({ "use_cla": true, "cla_share_factor": 0 }), "cla_share_factor is 0; 1 to"),
        (
            "mpt",
            json!({ "attn_config": { "attn_type": "grouped_query_attention", "kv_n_heads": 5 } }),
            "16 query heads are not a multiple of its 5",
        ),
        (
            "llama",
            json!({ "num_key_value_heads": [8, 8] }),
            "num_key_value_heads has 2 entries for 32 layers",
        ),
        ("zamba", json!({}), "it has no layers_block_type"),
    ] {
        let mut config = rest;
        config.as_object_mut().unwrap().insert("model_type".into(), kind.into());
        let problem = Geometry::of_config(&config).unwrap_err();
        assert!(problem.contains(words), "{config}: {problem:?} has no {words:?}");
    }
}

#[test]
fn what_is_not_counted_is_named() {
    let of = |text: &str| geometry(text).unwrap().not_counted.join("; ");
    assert!(of(r#"{"model_type": "jamba"}"#).contains("states of layers without attention"));
    assert!(of(r#"{"model_type": "jamba"}"#).contains("28 layers"));
    assert!(of(r#"{"model_type": "mllama", "text_config": {}}"#).contains("cross attention (8 layers)"));
    assert!(of(r#"{"model_type": "falcon_h1"}"#).contains("Mamba mixers"));
    assert!(of(r#"{"model_type": "deepseek_v32"}"#).contains("indexer"));
    assert_eq!(of(r#"{"model_type": "llama"}"#), "");
    // It is called by the name of its row, also where the file has none.
    assert_eq!(geometry(r#"{"model_type": "llava", "text_config": {}}"#).unwrap().kind, "llama");
    // No cache at all.
    assert_eq!(geometry(r#"{"model_type": "rwkv"}"#).unwrap().kept_layers(), 0);
}

#[test]
#[ignore = "reads LOWBIT_SHARED: make check-shared"]
fn shared_configs_have_the_caches_that_are_right() {
    let shared = std::env::var_os("LOWBIT_SHARED").expect("LOWBIT_SHARED names the folder");
    let folder = Path::new(&shared).join("data/field/plan_kv_config");
    let right: Map<String, Value> =
        serde_json::from_slice(&std::fs::read(folder.join("right.json")).unwrap()).unwrap();
    assert!(!right.is_empty());
    for (name, expected) in right {
        let found = Geometry::read_config(&folder.join(name).with_extension("json")).unwrap();
        assert_eq!(bytes(&found), expected.as_u64().unwrap());
    }
}
