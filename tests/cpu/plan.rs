//! What a plan counts: shapes, sizes, what a token reads, the KV cache; and what it recommends. No device.

use lowbit::format::Format;
use lowbit::io::gguf::{Array, Gguf, TensorType, Value, Writer};
use lowbit::quantize::fitting;
use lowbit::report::model::{Matrices, Model};
use lowbit::report::plan::{AS_IT_IS, FORMATS, PlanRow, advise};
use lowbit::{Error, Result};

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

#[test]
fn the_kv_cache_follows_from_the_metadata() {
    let tensors: [(&str, &[u64], &str); 1] = [("output.weight", &[4, 32], "F16")];
    let kv = |metadata: &[(&str, u64)], more: &[(&str, Value)]| {
        let mut all: Vec<(String, Value)> = vec![("general.architecture".into(), "llama".into())];
        all.extend(metadata.iter().map(|(key, value)| (format!("llama.{key}"), Value::U64(*value))));
        all.extend(more.iter().map(|(key, value)| (format!("llama.{key}"), value.clone())));
        let all: Vec<(&str, Value)> = all.iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
        model(&tensors, &all).unwrap().kv
    };
    let layers = ("block_count", 3);
    let heads = [layers, ("attention.head_count", 8), ("embedding_length", 512)];
    // Keys and values of 64 in 8 heads of 3 layers, 2 bytes each.
    assert_eq!(kv(&heads, &[]), Ok(3 * 8 * (64 + 64) * 2));
    assert_eq!(kv(&[&heads[..], &[("attention.head_count_kv", 2)]].concat(), &[]), Ok(3 * 2 * 128 * 2));
    let lengths = [("attention.key_length", 192), ("attention.value_length", 128)];
    assert_eq!(kv(&[&heads[..], &lengths].concat(), &[]), Ok(3 * 8 * 320 * 2));
    // A number for each layer; some have no attention.
    let own = |heads| [("attention.head_count_kv", Value::Array(heads))];
    assert_eq!(kv(&heads, &own(Array::I32(vec![4, 0, 2]))), Ok(6 * 128 * 2));

    let missing = |kv: std::result::Result<u64, String>, key: &str| assert!(kv.unwrap_err().ends_with(key));
    missing(kv(&heads, &own(Array::I32(vec![4, 0]))), "no attention.head_count_kv");
    missing(kv(&heads, &own(Array::I32(vec![4, 0, -1]))), "no attention.head_count_kv");
    missing(kv(&heads[1..], &[]), "no block_count");
    missing(kv(&heads[..2], &[]), "no attention.key_length");
    missing(kv(&[layers, ("attention.head_count", 0), heads[2]], &[]), "no attention.key_length");
    assert!(model(&tensors, &[]).unwrap().kv.is_err());

    // Absurd numbers end at the largest.
    let absurd = [("block_count", u64::MAX), ("attention.head_count", u64::MAX)];
    assert_eq!(kv(&[&absurd[..], &lengths].concat(), &[]), Ok(u64::MAX));
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
