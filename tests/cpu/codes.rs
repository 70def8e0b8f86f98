//! Codes of checkpoints: what they are worth with every scale that there can be, and that those whose scale is not known
//! are refused, by their names and that of their kind.

use lowbit::internals::io::vecs::{How, Vectors};
use lowbit::internals::quantize::source::{self, Source};
use lowbit::internals::quantize::{Options, Plan};
use lowbit::internals::random::Random;
use serde_json::{Value, json};

use super::checkpoint::{
    Described, Folder, bf16s, f16s, f32s, float8, i32s, options, read_f32, same, tensor,
};

/// What a plan says of a model, or that it has none to say.
fn plan(source: &dyn Source, options: &Options) -> Result<(), String> {
    Plan::new(source, options).map(drop).map_err(|error| error.to_string())
}

#[track_caller]
fn doubted(folder: &Folder, tensors: &[Described], words: &[&str]) {
    let path = folder.file(tensors, &[]);
    let refused =
        source::open(&path, None).and_then(|source| Plan::new(source.as_ref(), &options("F32")).map(drop));
    let error = refused.expect_err("this should have been refused").to_string();
    assert!(error.starts_with(&path.display().to_string()), "{error}");
    assert!(words.iter().all(|word| error.contains(word)), "{words:?}: {error}");
    assert!(error.lines().count() <= 2, "{error}");
}

/// Scales of any shape that broadcasts, of groups, and of blocks, against their definition.
#[test]
fn codes_times_scales_of_any_shape_are_what_the_definition_says() {
    let folder = Folder::new();
    let mut random = Random::new(3);
    // The codes' shape, and how many values of each dimension share a scale.
    let cases: [(&[u64], &[u64]); 14] = [
        (&[64, 256], &[64, 256]),
        (&[64, 256], &[1, 256]),
        (&[64, 256], &[1, 64]),
        (&[64, 256], &[64, 1]),
        (&[64, 64], &[64, 1]),
        (&[3, 7], &[1, 7]),
        (&[257, 129], &[128, 128]),
        (&[128, 384], &[128, 128]),
        (&[3, 8, 10], &[1, 8, 10]),
        (&[3, 8, 10], &[1, 1, 10]),
        (&[3, 8, 10], &[1, 8, 1]),
        (&[2, 130, 256], &[1, 128, 128]),
        (&[2, 3, 4, 6], &[1, 3, 4, 2]),
        (&[9], &[1]),
    ];
    for (shape, block) in cases {
        let of: Vec<u64> = shape.iter().zip(block).map(|(n, b)| n.div_ceil(*b)).collect();
        if shape.len() == 4 {
            // Groups only lie in rows that have scales of their own.
            let source = [
                tensor("x.weight", "I8", shape, vec![1; 144]),
                tensor("x.weight_scale", "F32", &of, vec![0; of.iter().product::<u64>() as usize * 4]),
            ];
            folder.refused(
                &source,
                &format!(
                    "tensor 'x.weight_scale': its shape is {of:?}; for 'x.weight' of {shape:?} it has to be 1"
                ),
            );
            continue;
        }
        let count = shape.iter().product::<u64>();
        let scales: Vec<f32> = (0..of.iter().product::<u64>()).map(|i| 0.25 + i as f32 / 8.0).collect();
        let codes: Vec<u8> = (0..count).map(|_| random.below(256) as u8 & 0xf7).collect();
        let expected = |value: &dyn Fn(u8) -> f32| {
            let weight = |at: u64| {
                let (mut rest, mut scale, mut stride) = (at, 0, 1);
                for ((n, b), s) in shape.iter().zip(block).zip(&of).rev() {
                    scale += rest % n / b * stride;
                    (rest, stride) = (rest / n, stride * s);
                }
                value(codes[at as usize]) * scales[scale as usize]
            };
            (0..count).map(weight).collect::<Vec<f32>>()
        };
        for (name, dtype) in
            [("x.weight_scale", "F32"), ("x.weight_scale_inv", "BF16"), ("x.scale_weight", "F16")]
        {
            // Small fractions of 8 are numbers of every type.
            let bytes = match dtype {
                "F32" => f32s(scales.clone()),
                "F16" => f16s(scales.clone()),
                _ if scales.iter().all(|&scale| half::bf16::from_f32(scale).to_f32() == scale) => {
                    bf16s(scales.clone())
                }
                _ => continue,
            };
            for (of_codes, value) in [
                ("F8_E4M3", &(|code| float8(code, 4, false)) as &dyn Fn(u8) -> f32),
                ("F8_E5M2", &|code| float8(code, 5, true)),
                ("I8", &|code| f32::from(code as i8)),
            ] {
                let tensors = [
                    tensor("x.weight", of_codes, shape, codes.clone()),
                    tensor(name, dtype, &of, bytes.clone()),
                    tensor("x.input_scale", "F32", &[], f32s([3.0])),
                ];
                let source = folder.open(&tensors);
                assert_eq!(source.tensors().len(), 2);
                same(&read_f32(source.as_ref(), "x.weight"), &expected(value));
                plan(source.as_ref(), &options("F32")).unwrap();
            }
        }
    }
}

#[test]
fn config_json_says_how_large_blocks_are() {
    let folder = Folder::new();
    let tensors = [
        tensor("x.weight", "F8_E4M3", &[96, 160], vec![0x38; 96 * 160]),
        tensor("x.weight_scale_inv", "F32", &[3, 5], f32s((0..15).map(|i| i as f32))),
    ];
    doubted(&folder, &tensors, &["'x.weight_scale_inv'", "[3, 5]", "[1, 2]"]);
    for config in [
        json!({ "quantization_config": { "quant_method": "fp8", "weight_block_size": [32, 32] } }),
        json!({ "text_config": { "quantization_config": { "quant_method": "fp8", "weight_block_size": [32, 32] } } }),
        json!({ "compression_config": { "format": "float-quantized", "config_groups": {
            "group_0": { "weights": { "strategy": "block", "block_structure": "32x32" } } } } }),
    ] {
        folder.says("config.json", &config);
        let expected: Vec<f32> = (0..96 * 160).map(|at| (at / 160 / 32 * 5 + at % 160 / 32) as f32).collect();
        same(&read_f32(folder.open(&tensors).as_ref(), "x.weight"), &expected);
    }
}

/// `gptq_v2` stores zeros as they are, the first format less 1.
#[test]
fn config_json_says_how_zeros_are_stored() {
    let folder = Folder::new();
    let tensors = [
        tensor("x.qweight", "I32", &[4, 8], i32s([0x9999_9999; 32])),
        tensor("x.qzeros", "I32", &[1, 1], i32s([0x7777_7777])),
        tensor("x.scales", "F16", &[1, 8], f16s([0.5; 8])),
    ];
    for (file, config, weight) in [
        (
            "config.json",
            json!({ "quantization_config": { "quant_method": "gptq", "checkpoint_format": "gptq_v2" } }),
            1.0,
        ),
        (
            "config.json",
            json!({ "quantization_config": { "quant_method": "gptq", "checkpoint_format": "gptq" } }),
            0.5,
        ),
        ("quantize_config.json", json!({ "bits": 4, "group_size": 32, "checkpoint_format": "gptq_v2" }), 1.0),
        ("quantize_config.json", json!({ "bits": 4, "group_size": -1 }), 0.5),
    ] {
        folder.says(file, &config);
        same(&read_f32(folder.open(&tensors).as_ref(), "x.weight"), &[weight; 256]);
        std::fs::remove_file(folder.path(file)).unwrap();
    }
    // What one of two files does not say, the other does; what a package says of something else is nothing.
    folder.says(
        "config.json",
        &json!({ "quantization_config": { "quant_method": "gptq", "checkpoint_format": "gptq_v2" } }),
    );
    folder.says("quantize_config.json", &json!({ "bits": 4, "group_size": 32, "desc_act": false }));
    folder.says("quant_config.json", &json!({ "modes": ["q8"] }));
    same(&read_f32(folder.open(&tensors).as_ref(), "x.weight"), &[1.0; 256]);
    folder.says("quantize_config.json", &json!({ "bits": 4, "checkpoint_format": "gptq" }));
    let error = source::open(&folder.file(&tensors, &[]), None).unwrap_err().to_string();
    assert!(error.contains("quantize_config.json: ") && error.contains("'config.json'"), "{error}");
    for file in ["config.json", "quantize_config.json"] {
        std::fs::remove_file(folder.path(file)).unwrap();
    }
    doubted(&folder, &tensors, &["'x.qweight'", "gptq_v2", "config.json"]);
}

#[test]
fn methods_that_are_not_known_are_refused_by_their_names() {
    let folder = Folder::new();
    let plain = [tensor("x.weight", "F16", &[2, 2], f16s([1.0; 4]))];
    let under = |config: Value| json!({ "quantization_config": config });
    let compressed = |format: &str| under(json!({ "quant_method": "compressed-tensors", "format": format }));
    for (file, config, word) in [
        (
            "config.json",
            under(json!({ "quant_method": "bitsandbytes", "load_in_4bit": true })),
            "'bitsandbytes'",
        ),
        ("config.json", under(json!({ "quant_method": "mxfp4" })), "'mxfp4'"),
        ("config.json", under(json!({ "quant_method": "HQQ" })), "'hqq'"),
        ("config.json", under(json!({ "quant_method": "modelopt", "quant_algo": "NVFP4" })), "'NVFP4'"),
        ("config.json", under(json!({ "quant_algo": "MIXED_PRECISION" })), "'MIXED_PRECISION'"),
        ("config.json", compressed("nvfp4-pack-quantized"), "'nvfp4-pack-quantized'"),
        ("config.json", compressed("marlin-24"), "'marlin-24'"),
        ("config.json", json!({ "quantization": { "group_size": 64, "bits": 4 } }), "MLX"),
        ("config.json", under(json!({ "group_size": 64, "bits": 4 })), "MLX"),
        ("config.json", under(json!({ "quant_method": "gptq", "checkpoint_format": "marlin" })), "'marlin'"),
        ("config.json", under(json!({ "quant_method": "gptq", "group_size": "all" })), "group_size"),
        ("config.json", under(json!({ "quant_method": "awq", "version": "gemv" })), "'gemv'"),
        ("config.json", under(json!({ "quant_method": "fp8", "weight_block_size": [128] })), "[128]"),
        ("config.json", under(json!({ "bits": 4 })), "no quant_method"),
        ("hf_quant_config.json", json!({ "quantization": { "quant_algo": "W4A8_AWQ" } }), "'W4A8_AWQ'"),
        ("quant_config.json", json!({ "w_bit": 4, "version": "GEMV_FAST" }), "'GEMV_FAST'"),
    ] {
        folder.says(file, &config);
        let error = source::open(&folder.file(&plain, &[]), None).unwrap_err().to_string();
        assert!(
            error.starts_with(&folder.path(file).display().to_string()) && error.contains(word),
            "{error}"
        );
        std::fs::remove_file(folder.path(file)).unwrap();
    }
    std::fs::write(folder.path("config.json"), "{").unwrap();
    assert!(source::open(&folder.file(&plain, &[]), None).unwrap_err().to_string().contains("no JSON"));
    let only_cache =
        under(json!({ "quant_method": "modelopt", "quant_algo": null, "kv_cache_quant_algo": "FP8" }));
    for config in [
        json!({}),
        under(json!(null)),
        only_cache,
        under(json!({ "quant_method": "fbgemm_fp8" })),
        compressed("dense"),
    ] {
        folder.says("config.json", &config);
        assert_eq!(folder.open(&plain).tensors().len(), 1);
    }
}

/// Packed by hand, 8 codes a word, with a rest in each row.
#[test]
fn packed_codes_of_compressed_tensors_are_less_half_of_their_range() {
    let folder = Folder::new();
    for (bits, cols, group) in [(4u32, 24u64, 12u64), (4, 21, 21), (8, 10, 5), (2, 32, 8)] {
        let (rows, per_word) = (3u64, u64::from(32 / bits));
        let code = |row: u64, col: u64| ((row * 7 + col * 5) % (1 << bits)) as u32;
        let mut words = Vec::new();
        for row in 0..rows {
            for word in 0..cols.div_ceil(per_word) {
                let of = (0..per_word).map(|i| word * per_word + i).filter(|&col| col < cols);
                words.push(
                    of.fold(0, |word, col| word | code(row, col) << (col % per_word * u64::from(bits))),
                );
            }
        }
        let scales: Vec<f32> = (0..rows * cols / group).map(|i| 0.5 + i as f32).collect();
        let mut tensors = vec![
            tensor("x.weight_packed", "I32", &[rows, cols.div_ceil(per_word)], i32s(words)),
            tensor("x.weight_scale", "BF16", &[rows, cols / group], bf16s(scales.clone())),
            tensor("x.weight_shape", "I64", &[2], [rows, cols].map(u64::to_le_bytes).concat()),
        ];
        let source = folder.open(&tensors);
        assert_eq!(source.tensors().len(), 1);
        assert_eq!(source.tensors()[0].shape(), [rows, cols]);
        let weight = |at: u64| {
            let (row, col) = (at / cols, at % cols);
            scales[(row * (cols / group) + col / group) as usize]
                * (code(row, col) as f32 - (1 << (bits - 1)) as f32)
        };
        same(&read_f32(source.as_ref(), "x.weight"), &(0..rows * cols).map(weight).collect::<Vec<_>>());

        // Not without what says what they are, nor with what changes them.
        doubted(&folder, &tensors[..2], &["'x.weight_packed'", "'x.weight_shape'"]);
        doubted(
            &folder,
            &[tensors[0].clone(), tensors[2].clone()],
            &["'x.weight_packed'", "scale is missing"],
        );
        for (name, dtype) in [("x.weight_zero_point", "I32"), ("x.weight_g_idx", "I32")] {
            doubted(
                &folder,
                &[&tensors[..], &[tensor(name, dtype, &[1], vec![0; 4])]].concat(),
                &["'x.weight_packed'", name],
            );
        }
        tensors[2].3 = [rows + 1, cols].map(u64::to_le_bytes).concat();
        doubted(&folder, &tensors, &["'x.weight_packed'", "not the codes"]);
    }
}

#[test]
fn zero_points_and_unknown_companions_are_not_passed_over() {
    let folder = Folder::new();
    let with = |name: &str, dtype: &'static str, data: Vec<u8>| {
        let shape = [data.len() as u64 / if dtype == "F32" { 4 } else { 1 }];
        [
            tensor("x.weight", "I8", &[4, 2], vec![2; 8]),
            tensor("x.weight_scale", "F32", &[4, 1], f32s([0.5; 4])),
            tensor(name, dtype, &shape, data),
        ]
    };
    let harmless = folder.open(&with("x.weight_zero_point", "I8", vec![0; 4]));
    assert_eq!(harmless.tensors().len(), 1);
    same(&read_f32(harmless.as_ref(), "x.weight"), &[1.0; 8]);
    for (name, data) in
        [("x.weight_zero_point", vec![0, 0, 1, 0]), ("x.comfy_quant", br#"{"format":"int8"}"#.to_vec())]
    {
        doubted(&folder, &with(name, "U8", data), &["'x.weight'", name]);
    }
    for name in ["x.weight_scale_3", "x.smooth", "x.weight_g_idx", "x.quantizer"] {
        doubted(&folder, &with(name, "F32", f32s([1.0])), &["'x.weight'", name, "not known"]);
    }
    // What has nothing to do with weights.
    for name in
        ["x.input_scale", "x.activation_scale", "x.input_scale_ub", "x.k_scale", "x.bias", "y.weight_norm"]
    {
        plan(folder.open(&with(name, "F32", f32s([1.0]))).as_ref(), &options("F32")).unwrap();
    }
    folder.says(
        "config.json",
        &json!({ "quantization_config": { "quant_method": "compressed-tensors",
        "format": "int-quantized", "config_groups": { "group_0": { "weights": { "symmetric": false } } } } }),
    );
    doubted(&folder, &with("x.bias", "F32", f32s([1.0])), &["'x.weight'", "'x.weight_zero_point'"]);
    // ComfyUI's description of plain codes.
    std::fs::remove_file(folder.path("config.json")).unwrap();
    let description = br#"{"format": "float8_e4m3fn"}"#.to_vec();
    let plain = folder.open(&[
        tensor("x.weight", "F8_E4M3", &[2, 2], vec![0x38; 4]),
        tensor("x.weight_scale", "F32", &[], f32s([0.5])),
        tensor("x.comfy_quant", "U8", &[description.len() as u64], description),
    ]);
    same(&read_f32(plain.as_ref(), "x.weight"), &[0.5; 4]);
    plan(plain.as_ref(), &options("F32")).unwrap();
}

/// Each kind by the names that its files have.
#[test]
fn kinds_of_codes_that_are_not_read_are_refused_by_their_names() {
    let folder = Folder::new();
    let byte = |name: &str| tensor(name, "U8", &[4, 4], vec![1; 16]);
    for (codes, beside, kind) in [
        (
            byte("x.weight"),
            vec![byte("x.weight.absmax"), byte("x.weight.quant_state.bitsandbytes__nf4")],
            "NF4 of bitsandbytes",
        ),
        (byte("x.weight"), vec![byte("x.weight.quant_state.bitsandbytes__fp4")], "FP4 of bitsandbytes"),
        (byte("x.weight"), vec![byte("x.weight.absmax")], "bitsandbytes"),
        (
            tensor("x.weight", "I8", &[4, 4], vec![1; 16]),
            vec![tensor("x.SCB", "F32", &[4], f32s([1.0; 4]))],
            "LLM.int8",
        ),
        (byte("x.weight_packed"), vec![byte("x.weight_global_scale")], "NVFP4 of compressed-tensors"),
        (byte("x.weight"), vec![tensor("x.weight_scale_2", "F32", &[], f32s([1.0]))], "NVFP4 of ModelOpt"),
        (tensor("x.weight", "U32", &[4, 4], vec![1; 64]), vec![byte("x.scales"), byte("x.biases")], "MLX"),
        (tensor("x.weight", "U32", &[4, 4], vec![1; 64]), vec![byte("x.scales")], "MLX"),
        (
            tensor("x.weight", "I8", &[4, 4], vec![1; 16]),
            vec![tensor("x.scale", "F8_E8M0", &[4, 1], vec![1; 4])],
            "DeepSeek V4",
        ),
        (
            tensor("x.weight", "F8_E4M3", &[4, 4], vec![1; 16]),
            vec![tensor("x.scale", "F8_E8M0", &[1, 1], vec![1])],
            "DeepSeek V4",
        ),
        (byte("x.gate_up_proj_blocks"), vec![byte("x.gate_up_proj_scales")], "MXFP4 of gpt-oss"),
        (tensor("x.q_weight", "I32", &[4, 4], vec![1; 64]), vec![byte("x.q_scale")], "EXL2"),
        (tensor("x.trellis", "I16", &[4, 4], vec![1; 32]), vec![byte("x.svh")], "EXL3"),
        (byte("x.codes"), vec![byte("x.codebooks")], "AQLM"),
        (tensor("x.Qidxs", "I64", &[2, 2], vec![1; 32]), vec![byte("x.SU")], "QuIP#"),
        (byte("x.W_q"), vec![byte("x.scale")], "HQQ"),
        (byte("x.weight._data"), vec![byte("x.weight._scale")], "quanto"),
        (tensor("x.B", "I32", &[4, 4], vec![1; 64]), vec![byte("x.s")], "Marlin"),
    ] {
        let name = codes.0.clone();
        doubted(&folder, &[&[codes], &beside[..]].concat(), &[&name, kind, "start from"]);
    }
    // MXFP4 of compressed-tensors: no words, and no floats.
    let mx = [byte("x.weight_packed"), tensor("x.weight_scale", "U8", &[4, 1], vec![1; 4])];
    doubted(&folder, &mx, &["'x.weight_packed'"]);
}

/// Without anything beside them: by their names, types and shapes.
#[test]
fn integers_that_look_like_codes_are_refused_and_others_are_not() {
    let folder = Folder::new();
    for (name, dtype, shape, bytes) in [
        ("x.weight", "I8", vec![4, 8], 1),
        ("x.weight", "U8", vec![32, 1], 1),
        ("x.weight", "I32", vec![4, 8], 4),
        ("x.weight", "I64", vec![4, 8], 8),
        ("x.weight", "F8_E4M3FNUZ", vec![4, 8], 1),
        ("x.weight", "F8_E8M0", vec![32], 1),
        ("x.conv.weight", "I8", vec![2, 2, 2, 4], 1),
        ("experts.gate_up_proj", "I8", vec![2, 4, 4], 1),
        ("x.kernel", "U32", vec![4, 8], 4),
        ("w", "I16", vec![4, 8], 2),
        ("a.int_weight", "I8", vec![32], 1),
    ] {
        let codes = tensor(name, dtype, &shape, vec![1; 32 * bytes]);
        doubted(
            &folder,
            std::slice::from_ref(&codes),
            &[&format!("tensor '{name}'"), dtype, "scale is missing"],
        );
        // The user may know better.
        let source = folder.open(&[codes.clone(), tensor("y", "F32", &[2, 2], f32s([1.0; 4]))]);
        let dropped = Options { drop: vec![name.into()], ..options("F32") };
        let kept = Options { keep: vec![name.into()], ..options("F32") };
        plan(source.as_ref(), &dropped).unwrap();
        assert_eq!(plan(source.as_ref(), &kept).is_ok(), dtype.starts_with('I'), "{name} {dtype}");
        let written =
            Plan::new(source.as_ref(), &dropped).unwrap().write(&folder.path("o.gguf"), &mut |_| ()).unwrap();
        assert_eq!((written.quantized.tensors.len(), written.quantized.left_out.len()), (1, 1));
        assert_eq!(written.quantized.left_out[0].why, format!("`drop` {name}"));
    }
    let mut all = vec![tensor("y", "F32", &[2, 2], f32s([1.0; 4]))];
    for (name, dtype, shape, bytes) in [
        ("position_ids", "I64", vec![1u64, 8], 8),
        ("relative_position_index", "I32", vec![2, 4], 4),
        ("bn.num_batches_tracked", "I64", vec![1, 1, 8], 8),
        ("h.0.attn.bias", "U8", vec![1, 1, 2, 4], 1),
        ("causal_mask", "I8", vec![2, 4], 1),
        ("mask.weight", "BOOL", vec![2, 4], 1),
        ("lengths", "I32", vec![8], 4),
        ("order", "I64", vec![2, 4], 8),
    ] {
        all.push(tensor(name, dtype, &shape, vec![1; 8 * bytes]));
    }
    plan(folder.open(&all).as_ref(), &options("F32")).unwrap();
}

/// A scale beside floats, and one whose codes are in a file that is not there.
#[test]
fn scales_without_codes_are_refused() {
    let folder = Folder::new();
    let scale = |name: &str| tensor(name, "F32", &[1], f32s([0.5]));
    for name in ["x.weight_scale", "x.weight_scale_inv", "x.scale_weight"] {
        doubted(&folder, &[scale(name)], &[name, "'x.weight'", "is missing"]);
        let source = folder.open(&[scale(name), tensor("y", "F32", &[1], f32s([1.0]))]);
        plan(source.as_ref(), &Options { drop: vec![name.into()], ..options("F32") }).unwrap();
        let floats = tensor("x.weight", "BF16", &[2, 2], bf16s([1.0; 4]));
        doubted(&folder, &[floats, scale(name)], &["'x.weight'", name, "BF16 are no codes"]);
    }
    let codes = tensor("x.weight", "F8_E4M3", &[2, 2], vec![0x38; 4]);
    doubted(&folder, &[codes, scale("x.weight_scale"), scale("x.scale_weight")], &["scales twice"]);
}

/// K-means reads integers as points, but not codes.
#[test]
fn points_are_values_and_no_codes() {
    let folder = Folder::new();
    let points = |name: &str| tensor(name, "I8", &[4, 2], vec![2; 8]);
    let open = |tensors: &[Described]| Vectors::open(&folder.file(tensors, &[]), &How::default());
    assert_eq!(open(&[points("x.weight"), tensor("y_scale", "F32", &[1], f32s([0.5]))]).unwrap().rows(), 4);
    for name in ["x.weight_scale", "x.weight_scale_inv", "x.scale_weight"] {
        let error = open(&[points("x.weight"), tensor(name, "F32", &[1], f32s([0.5]))]).unwrap_err();
        assert!(
            error.to_string().contains(&format!("tensor 'x.weight' has codes, whose scale is '{name}'")),
            "{error}"
        );
    }
}

/// Files of the field with the answers of others.
#[test]
#[ignore = "reads LOWBIT_SHARED: make check-shared"]
fn shared_codes_of_the_field_are_what_others_read() {
    let shared = std::env::var_os("LOWBIT_SHARED").expect("LOWBIT_SHARED names the folder");
    let field = |path: &str| std::path::PathBuf::from(&shared).join("data/field").join(path);
    for (input, name, right) in [
        (
            "fp8_scale_weight/comfy_fp8.safetensors",
            "blocks.0.attn.q.weight",
            "fp8_scale_weight/comfy_right.npy",
        ),
        (
            "fp8_scale_weight/comfy_fp8_nomarker.safetensors",
            "blocks.0.attn.q.weight",
            "fp8_scale_weight/comfy_right.npy",
        ),
        (
            "int8_compressed_tensors/ct_int8.safetensors",
            "model.layers.0.mlp.up_proj.weight",
            "int8_compressed_tensors/ct_int8_right.npy",
        ),
    ] {
        let source = source::open(&field(input), None).unwrap();
        plan(source.as_ref(), &options("F32")).unwrap();
        let right = lowbit::internals::io::npy::read_matrix(&field(right)).unwrap();
        same(&read_f32(source.as_ref(), name), &right.values);
    }
    for (input, tensors, left_out) in [
        ("fp8_scale_in_other_shard", 1, 0),
        ("fp8_scale_in_other_shard/model-00002-of-00002.safetensors", 1, 0),
        ("int8_compressed_tensors/ct_pack.safetensors", 1, 0),
        ("safetensors_bool/bool.safetensors", 3, 1),
        ("plan_split_gguf/split-00002-of-00003.gguf", 5, 0),
        ("gguf_scalar_or_empty_tensor/dims0.gguf", 2, 0),
    ] {
        let source = source::open(&field(input), None).unwrap();
        plan(source.as_ref(), &options("F32")).unwrap();
        assert_eq!((source.tensors().len(), source.left_out().len()), (tensors, left_out), "{input}");
    }
}
