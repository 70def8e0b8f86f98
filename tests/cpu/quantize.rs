//! Files in other number formats: what is written, what stays, and what a damaged copy is called.

use std::fs;
use std::path::{Path, PathBuf};

use lowbit::internals::Result;
use lowbit::internals::format::{ALL, Format};
use lowbit::internals::io::gguf::{Gguf, TensorType, Value, Writer};
use lowbit::internals::io::npy::{self, Floats};
use lowbit::internals::quantize::{Options, Plan, Quantized, format_by_name, source};
use lowbit::internals::random::Random;

fn options(to: &str) -> Options {
    Options {
        format: format_by_name(to).unwrap(),
        keep: Vec::new(),
        drop: Vec::new(),
        unscaled: false,
        allow_nonfinite: false,
    }
}

fn quantize(input: &Path, out: &Path, options: &Options) -> Result<(Quantized, Vec<String>)> {
    let source = source::open(input, None)?;
    let plan = Plan::new(source.as_ref(), options)?;
    let mut last = 0;
    let mut written = plan.write(out, &mut |bytes| last = bytes)?;
    assert_eq!(last, plan.bytes());
    let mut last = 0;
    plan.verify(&mut written, out, &mut |bytes| last = bytes)?;
    assert_eq!(last, written.quantized.bytes_after);
    assert!(written.quantized.verified);
    Ok((written.quantized, plan.notices))
}

fn asset(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/gguf").join(name)
}

/// The bytes of a tensor.
fn bytes_of(path: &Path, name: &str) -> Vec<u8> {
    let gguf = Gguf::open(path).unwrap();
    let tensor = gguf.tensor(name).unwrap();
    let mut bytes = vec![0; tensor.bytes as usize];
    gguf.read(tensor, 0..tensor.bytes, &mut bytes).unwrap();
    bytes
}

/// Writes tensors of the given names, dimensions, types and bytes.
fn write(path: &Path, tensors: &[(&str, &[u64], &str, Vec<u8>)], pairs: &[(&str, Value)]) {
    let mut writer = Writer::new();
    for (key, value) in pairs {
        writer.metadata(key, value.clone()).unwrap();
    }
    for (name, dims, ty, _) in tensors {
        writer.tensor(name, dims, TensorType::by_name(ty).unwrap()).unwrap();
    }
    let bytes = |name: &str| &tensors.iter().find(|tensor| tensor.0 == name).unwrap().3;
    writer.write(path, |tensor, out| out.write(bytes(&tensor.name))).unwrap();
}

fn f32s(count: usize) -> Vec<u8> {
    let mut random = Random::new(count as u64);
    (0..count).flat_map(|_| (random.below(2001) as f32 / 1000.0 - 1.0).to_le_bytes()).collect()
}

/// What a GGUF file can hold.
fn of_ggml() -> impl Iterator<Item = &'static Format> {
    ALL.iter().filter(|format| format.ggml_type.is_some())
}

#[test]
fn every_format_becomes_every_other() {
    let folder = tempfile::tempdir().unwrap();
    let (input, out) = (folder.path().join("in.gguf"), folder.path().join("out.gguf"));
    let mut random = Random::new(1);
    for from in of_ggml() {
        let blocks = fs::read(asset(&format!("{}.bin", from.name))).unwrap();
        let weights = npy::read_matrix(&asset(&format!("{}.npy", from.name))).unwrap().values;
        write(&input, &[("w", &[1536, 2], from.name, blocks.clone())], &[]);
        // All to F32 and themselves; of the others some.
        let some = of_ggml().filter(|to| ["F32", from.name].contains(&to.name) || random.below(4) == 0);
        for to in some {
            let (quantized, notices) = quantize(&input, &out, &options(to.name)).unwrap();
            let mut expected = vec![0; weights.len() / to.elements * to.bytes];
            to.quantize(&weights, &mut expected).unwrap();
            if from.name == to.name {
                expected = blocks.clone();
            }
            assert!(bytes_of(&out, "w") == expected, "{} to {}", from.name, to.name);
            let mut back = vec![0.0; weights.len()];
            to.dequantize(&expected, &mut back).unwrap();
            let sum = |of: &dyn Fn(f64, f64) -> f64| {
                let pairs = weights.iter().zip(&back);
                pairs.map(|(&a, &b)| of(f64::from(a), f64::from(b))).sum::<f64>()
            };
            let error = sum(&|a, b| (a - b).powi(2)) / sum(&|a, _| a * a);
            let found = quantized.tensors[0].relative_squared_error.unwrap();
            assert!((found - error).abs() <= 1e-9 * error, "{found} is not {error}");
            assert_eq!(quantized.bits_per_weight_after, to.bits_per_weight());
            assert_eq!(notices.is_empty(), from.elements == 1 || from.name == to.name, "{notices:?}");
        }
    }
}

#[test]
fn large_and_many_tensors_come_out_in_their_order() {
    let folder = tempfile::tempdir().unwrap();
    let (input, out) = (folder.path().join("in.gguf"), folder.path().join("out.gguf"));
    // Several pieces with a rest, then many tensors of less than one.
    let mut tensors = vec![("large", vec![1504u64, 403], f32s(1504 * 403))];
    let names: Vec<String> = (0..50).map(|i| format!("t{i}")).collect();
    tensors.extend(names.iter().enumerate().map(|(i, name)| {
        let dims = vec![32 * (1 + i as u64 % 7), 2, 3];
        let count = dims.iter().product::<u64>() as usize;
        (name.as_str(), dims, f32s(count))
    }));
    let described: Vec<(&str, &[u64], &str, Vec<u8>)> =
        tensors.iter().map(|(name, dims, bytes)| (*name, dims.as_slice(), "F32", bytes.clone())).collect();
    write(&input, &described, &[]);
    let format = Format::by_name("Q8_0").unwrap();
    quantize(&input, &out, &options("q8_0")).unwrap();
    for (name, _, bytes) in &tensors {
        let weights: Vec<f32> = bytes.chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
        let mut expected = vec![0; weights.len() / 32 * 34];
        format.quantize(&weights, &mut expected).unwrap();
        assert!(bytes_of(&out, name) == expected, "{name}");
    }
}

#[test]
fn what_llama_cpp_keeps_and_what_the_user_keeps_stays_byte_for_byte() {
    let folder = tempfile::tempdir().unwrap();
    let (input, out) = (folder.path().join("in.gguf"), folder.path().join("out.gguf"));
    let long = format!("blk.0.{}.weight", "x".repeat(60));
    let nan = f32::NAN.to_le_bytes().repeat(512);
    let tensors: Vec<(&str, &[u64], &str, Vec<u8>)> = vec![
        ("norm.weight", &[512], "F32", f32s(512)),
        ("blk.0.attn_norm.weight", &[256, 2], "F32", f32s(512)),
        ("blk.0.ffn_gate_inp.weight", &[256, 2], "F32", f32s(512)),
        ("blk.0.time_mix_w1.weight", &[256, 2], "F32", f32s(512)),
        ("blk.0.time_mix_key.weight", &[256, 2], "F32", f32s(512)),
        ("token_embd.weight", &[256, 2], "F32", nan.clone()),
        ("blk.0.ffn_up.weight", &[96, 2], "F32", f32s(192)),
        ("blk.0.odd.weight", &[33, 2], "F32", f32s(66)),
        ("blk.0.ids.weight", &[256, 2], "I32", nan),
        (&long, &[256, 2], "F32", f32s(512)),
    ];
    let pairs = [
        ("general.architecture", "llama".into()),
        ("general.file_type", Value::U32(0)),
        ("general.alignment", Value::U32(64)),
    ];
    write(&input, &tensors, &pairs);
    let mut q4_k = options("Q4_K");
    q4_k.keep = vec!["token_*".into(), "nothing?".into()];
    let (quantized, notices) = quantize(&input, &out, &q4_k).unwrap();

    let became: Vec<&str> = quantized.tensors.iter().map(|row| row.to).collect();
    let expected = ["F32", "F32", "F32", "F32", "Q4_K", "F32", "Q5_0", "F32", "I32", "Q4_K"];
    assert_eq!(became, expected);
    for ((name, _, ty, bytes), to) in tensors.iter().zip(expected) {
        assert!(ty != &to || bytes_of(&out, name) == *bytes, "{name}");
    }
    let row = |name: &str| quantized.tensors.iter().find(|row| row.name == name).unwrap();
    assert_eq!(row("norm.weight").note, "kept: one dimension");
    assert_eq!(row("token_embd.weight").note, "kept: `keep` token_*");
    assert_eq!(row("token_embd.weight").relative_squared_error, None);
    assert_eq!(row("blk.0.odd.weight").note, "kept: rows of 33, not a multiple of 32");
    for words in [
        "'blk.0.ffn_up.weight': rows that are not a multiple of Q4_K's 256: Q5_0 instead",
        "'blk.0.odd.weight': rows that are not a multiple of the block of Q4_K: kept",
        "'blk.0.ids.weight': a type that is not read",
        "more than 63 bytes: llama.cpp refuses",
        "`keep` nothing?: no tensor",
    ] {
        assert!(notices.iter().any(|notice| notice.contains(words)), "{words}: {notices:?}");
    }
    assert_eq!(notices.len(), 5, "{notices:?}");

    let gguf = Gguf::open(&out).unwrap();
    assert_eq!((gguf.alignment(), gguf.metadata().len()), (64, 4));
    assert_eq!(gguf.get("general.architecture").unwrap().as_str(), Some("llama"));
    assert_eq!(gguf.get("general.file_type"), Some(&Value::U32(14)));
    assert_eq!(gguf.get("general.quantization_version"), Some(&Value::U32(2)));

    // The others' fallbacks, and nothing left to do.
    for (to, instead) in
        [("Q2_K", "IQ4_NL"), ("Q3_K", "IQ4_NL"), ("Q5_K", "Q5_1"), ("Q6_K", "Q8_0"), ("TQ1_0", "Q4_0")]
    {
        let (quantized, _) =
            quantize(&input, &out, &Options { format: format_by_name(to).unwrap(), ..q4_k.clone() }).unwrap();
        assert_eq!(quantized.tensors[6].to, instead);
    }
    q4_k.keep = vec!["*".into()];
    let (quantized, notices) = quantize(&input, &out, &q4_k).unwrap();
    assert_eq!((quantized.relative_squared_error, quantized.bytes_before), (None, quantized.bytes_after));
    assert!(notices.iter().any(|notice| notice.contains("nothing becomes Q4_K")), "{notices:?}");
}

#[test]
fn weights_that_a_format_cannot_hold_are_refused_by_their_place() {
    let folder = tempfile::tempdir().unwrap();
    let (input, out) = (folder.path().join("in.npy"), folder.path().join("out.gguf"));
    let with = |weight: f32| {
        let mut values: Vec<f32> = (0..1024).map(|i| i as f32 / 1024.0).collect();
        values[2 * 256 + 7] = weight;
        npy::write_matrix(&input, 4, 256, &values).unwrap();
    };
    for weight in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        with(weight);
        for format in of_ggml() {
            let error = quantize(&input, &out, &options(format.name)).unwrap_err();
            assert!(error.is_input(), "{error:?}");
            let expected = format!("tensor 'in': row 2, column 7 (counted from 0) is {weight}: ");
            assert!(error.to_string().starts_with(&expected), "{error}");
            let allowed = Options { allow_nonfinite: true, ..options(format.name) };
            let again = quantize(&input, &out, &allowed);
            assert_eq!(again.is_ok(), format.elements == 1, "{}: {again:?}", format.name);
            if again.is_ok() {
                let mut values = [0.0; 1024];
                format.dequantize(&bytes_of(&out, "in"), &mut values).unwrap();
                assert!(values[519] == weight || values[519].is_nan() && weight.is_nan(), "{}", values[519]);
                assert_eq!(values[512], 0.5);
                fs::remove_file(&out).unwrap();
            }
            assert!(!out.exists());
        }
    }
    // No scale in f16 reaches these.
    for weight in [1e10, -1e30, f32::MAX, f32::MIN] {
        with(weight);
        for format in of_ggml().filter(|format| !["F32", "BF16", "MXFP4"].contains(&format.name)) {
            let error = quantize(&input, &out, &options(format.name)).unwrap_err().to_string();
            assert!(
                error.contains("row 2, column ") && error.contains("too large for"),
                "{}: {error}",
                format.name
            );
        }
    }
    assert!(!out.exists());
}

#[test]
fn a_damaged_copy_is_noticed_by_tensor_and_rows() {
    let folder = tempfile::tempdir().unwrap();
    let (input, out) = (folder.path().join("in.gguf"), folder.path().join("out.gguf"));
    let tensors: [(&str, &[u64], &str, Vec<u8>); 2] =
        [("first", &[1024, 600], "F32", f32s(1024 * 600)), ("kept", &[64], "F32", f32s(64))];
    write(&input, &tensors, &[]);
    let source = source::open(&input, None).unwrap();
    let plan = Plan::new(source.as_ref(), &options("Q8_0")).unwrap();
    let mut written = plan.write(&out, &mut |_| ()).unwrap();
    let good = fs::read(&out).unwrap();
    let gguf = Gguf::open(&out).unwrap();
    let start = |name: &str| gguf.tensor(name).unwrap().offset as usize;
    let name_at = good.windows(5).position(|bytes| bytes == b"first").unwrap();
    for (at, words) in [
        (start("first") + 5, "tensor 'first': wrong result: rows 0 to 255 are not what was written"),
        (start("first") + 599 * 34 * 32, "rows 512 to 599 are not"),
        (start("kept") + 3, "tensor 'kept': wrong result: rows 0 to 0"),
        (name_at, "tensor 'first': wrong result"),
    ] {
        let mut bad = good.clone();
        bad[at] ^= 4;
        fs::write(&out, bad).unwrap();
        let error = plan.verify(&mut written, &out, &mut |_| ()).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!((error.exit_code(), written.quantized.verified), (1, false));
    }
    fs::write(&out, &good[..good.len() - 100]).unwrap();
    assert!(plan.verify(&mut written, &out, &mut |_| ()).is_err());
    fs::write(&out, good).unwrap();
    plan.verify(&mut written, &out, &mut |_| ()).unwrap();
}

#[test]
fn arrays_are_read_in_both_byte_orders_and_by_pieces() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.npy");
    let header = |dtype: &str, shape: &str| {
        let text = format!("{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}\n");
        [b"\x93NUMPY\x01\x00", &(text.len() as u16).to_le_bytes()[..], text.as_bytes()].concat()
    };
    for (dtype, bytes) in [
        ("<f4", [1.5f32, -2.0].map(f32::to_le_bytes).concat()),
        (">f4", [1.5f32, -2.0].map(f32::to_be_bytes).concat()),
        ("<f2", [1.5, -2.0].map(|x| half::f16::from_f32(x).to_le_bytes()).concat()),
        (">f2", [1.5, -2.0].map(|x| half::f16::from_f32(x).to_be_bytes()).concat()),
    ] {
        fs::write(&path, [header(dtype, "(2, 1)"), bytes.clone()].concat()).unwrap();
        let floats = Floats::open(&path).unwrap();
        let width = bytes.len() / 2;
        assert_eq!(
            (floats.is_half(), floats.bytes(), floats.shape()),
            (width == 2, bytes.len() as u64, &[2, 1][..])
        );
        let mut second = vec![0; width];
        floats.read(width as u64..bytes.len() as u64, &mut second).unwrap();
        let expected = if width == 2 {
            half::f16::from_f32(-2.0).to_le_bytes().to_vec()
        } else {
            (-2f32).to_le_bytes().to_vec()
        };
        assert_eq!(second, expected, "{dtype}");
        assert!(floats.read(0..width as u64 - 1, &mut second[1..]).is_err());
        assert!(floats.read(width as u64..bytes.len() as u64 + 1, &mut [0; 5]).is_err());
    }
    for (dtype, shape, words) in [
        ("<c8", "(1, 1)", "complex64"),
        ("<f4", "(1, 1, 2)", "2-D, [rows, columns], or 1-D"),
        ("<f4", "()", "0-D"),
        ("<f4", "(0, 2)", "empty"),
        ("<f4", "(3, 1)", "truncated"),
    ] {
        fs::write(&path, [header(dtype, shape), vec![0; 8]].concat()).unwrap();
        let error = Floats::open(&path).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn any_bits_and_any_damage_give_a_file_or_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let (input, out) = (folder.path().join("in.gguf"), folder.path().join("out.gguf"));
    let mut random = Random::new(9);
    for from in of_ggml() {
        for allow_nonfinite in [false, true] {
            let all: Vec<_> = of_ggml().collect();
            let to = all[random.below(all.len() as u64) as usize];
            // Of some magnitude, so that not all of them have a NaN.
            let least = [0, 0x3c][random.below(2) as usize];
            let mut byte = || (random.below(256) as u8 & !least) | (least / 2);
            let blocks: Vec<u8> = (0..1024 / from.elements * from.bytes).map(|_| byte()).collect();
            write(&input, &[("w", &[512, 2], from.name, blocks)], &[]);
            match quantize(&input, &out, &Options { allow_nonfinite, ..options(to.name) }) {
                Ok((quantized, _)) => assert_eq!(quantized.weights, 1024),
                Err(error) => assert!(error.to_string().contains("tensor 'w': row "), "{error}"),
            }
        }
    }
    let tensors: [(&str, &[u64], &str, Vec<u8>); 2] =
        [("a.weight", &[64, 2], "F32", f32s(128)), ("b.weight", &[32, 3], "F16", vec![0x30; 192])];
    write(&input, &tensors, &[("general.file_type", Value::U32(1))]);
    let whole = fs::read(&input).unwrap();
    for at in 0..whole.len() - 512 {
        for flip in [1, 0x80] {
            let mut bytes = whole.clone();
            bytes[at] ^= flip;
            fs::write(&input, bytes).unwrap();
            // A flipped bit may well be another name or shape.
            if let Err(error) = quantize(&input, &out, &options("Q4_0")) {
                assert!(matches!(error.exit_code(), 2), "{error}");
            }
        }
    }
}
