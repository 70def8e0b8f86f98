//! Safetensors files as sources of weights: every type, and the packings of GPTQ and AWQ against their formulas.

use std::fs;
use std::path::{Path, PathBuf};

use lowbit::internals::Error;
use lowbit::internals::io::gguf::{Gguf, Value};
use lowbit::internals::quantize::source::{self, Source};
use lowbit::internals::quantize::{Options, Plan, Quantized, format_by_name};
use lowbit::internals::random::Random;
use serde_json::{Map, json};
use tempfile::TempDir;

/// Name, type, shape and data of a tensor.
pub(super) type Described = (String, &'static str, Vec<u64>, Vec<u8>);

pub(super) fn tensor(name: &str, dtype: &'static str, shape: &[u64], data: Vec<u8>) -> Described {
    (name.to_owned(), dtype, shape.to_vec(), data)
}

pub(super) fn i32s(values: impl IntoIterator<Item = u32>) -> Vec<u8> {
    values.into_iter().flat_map(u32::to_le_bytes).collect()
}

pub(super) fn f32s(values: impl IntoIterator<Item = f32>) -> Vec<u8> {
    values.into_iter().flat_map(f32::to_le_bytes).collect()
}

pub(super) fn f16s(values: impl IntoIterator<Item = f32>) -> Vec<u8> {
    values.into_iter().flat_map(|value| half::f16::from_f32(value).to_le_bytes()).collect()
}

pub(super) fn bf16s(values: impl IntoIterator<Item = f32>) -> Vec<u8> {
    values.into_iter().flat_map(|value| half::bf16::from_f32(value).to_le_bytes()).collect()
}

pub(super) struct Folder(TempDir);

impl Folder {
    pub(super) fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    pub(super) fn file(&self, tensors: &[Described], metadata: &[(&str, &str)]) -> PathBuf {
        let path = self.path("model.safetensors");
        fs::write(&path, bytes_of(tensors, metadata)).unwrap();
        path
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file that says something about the weights.
    pub(super) fn says(&self, name: &str, json: &serde_json::Value) {
        fs::write(self.path(name), json.to_string()).unwrap();
    }

    pub(super) fn open(&self, tensors: &[Described]) -> Box<dyn Source> {
        source::open(&self.file(tensors, &[]), None).unwrap()
    }

    #[track_caller]
    pub(super) fn refused(&self, tensors: &[Described], problem: &str) {
        let path = self.file(tensors, &[]);
        let plan = source::open(&path, None)
            .and_then(|source| Plan::new(source.as_ref(), &options("F32")).map(drop));
        let error = plan.expect_err("this should have been refused");
        assert!(matches!(error, Error::File { .. }), "{error:?}");
        assert_eq!(error.to_string(), format!("{}: {problem}", path.display()));
    }
}

/// A safetensors file.
pub(super) fn bytes_of(tensors: &[Described], metadata: &[(&str, &str)]) -> Vec<u8> {
    let (mut header, mut data) = (Map::new(), Vec::new());
    if !metadata.is_empty() {
        header.insert("__metadata__".into(), metadata.iter().copied().collect());
    }
    for (name, dtype, shape, bytes) in tensors {
        let begin = data.len();
        data.extend(bytes);
        let description = json!({ "dtype": dtype, "shape": shape, "data_offsets": [begin, data.len()] });
        assert!(header.insert(name.clone(), description).is_none());
    }
    let header = serde_json::to_string(&header).unwrap();
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &data].concat()
}

pub(super) fn options(to: &str) -> Options {
    Options {
        format: format_by_name(to).unwrap(),
        keep: Vec::new(),
        drop: Vec::new(),
        unscaled: false,
        allow_nonfinite: false,
    }
}

/// The data of a tensor, read whole, after parts of it have been found to be the same.
pub(super) fn read(source: &dyn Source, name: &str) -> Vec<u8> {
    let tensor = source.tensors().iter().find(|tensor| tensor.name == name).unwrap();
    let mut whole = vec![0; tensor.bytes as usize];
    source.read(tensor, 0..tensor.bytes, &mut whole).unwrap();
    let (mut random, width) = (Random::new(tensor.bytes), u64::from(tensor.ty.bytes));
    for _ in 0..20 {
        let begin = random.below(tensor.values() + 1);
        let end = begin + random.below(tensor.values() - begin + 1);
        let range = begin * width..end * width;
        let mut part = vec![0; (range.end - range.start) as usize];
        source.read(tensor, range.clone(), &mut part).unwrap();
        assert!(part == whole[range.start as usize..range.end as usize], "{name} {range:?}");
    }
    for (range, length) in [(0..tensor.bytes + width, tensor.bytes + width), (0..width, width + 1)] {
        let mut out = vec![0; length as usize];
        assert!(matches!(source.read(tensor, range, &mut out), Err(error) if error.is_input()));
    }
    whole
}

pub(super) fn read_f32(source: &dyn Source, name: &str) -> Vec<f32> {
    read(source, name).chunks(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect()
}

/// Equal to the bit, and NaN is NaN.
#[track_caller]
pub(super) fn same(found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        let equal = found.to_bits() == expected.to_bits() || found.is_nan() && expected.is_nan();
        assert!(equal, "{at}: {found} is not {expected}");
    }
}

fn quantize(input: &Path, to: &str) -> (Quantized, Vec<String>, Gguf) {
    let out = input.with_extension("gguf");
    let source = source::open(input, None).unwrap();
    let plan = Plan::new(source.as_ref(), &options(to)).unwrap();
    let mut written = plan.write(&out, &mut |_| ()).unwrap();
    plan.verify(&mut written, &out, &mut |_| ()).unwrap();
    (written.quantized, plan.notices, Gguf::open(&out).unwrap())
}

// ---- plain types

#[test]
fn what_gguf_files_can_have_stays_and_the_rest_becomes_f32() {
    let folder = Folder::new();
    let values = [1.5f32, -2.0, 0.25, 3.0, 0.0, -0.5];
    let doubles = [1.0 / 3.0, -2.0, f64::NAN, f64::INFINITY, 1e-300, 16777217.0];
    let bytes = |count| (0..count).collect::<Vec<u8>>();
    let tensors = [
        tensor("f32", "F32", &[2, 3], f32s(values)),
        tensor("f16", "F16", &[3, 2], f16s(values)),
        tensor("bf16", "BF16", &[1, 2, 3], bf16s(values)),
        tensor("f64", "F64", &[2, 3], doubles.map(f64::to_le_bytes).concat()),
        tensor("i8", "I8", &[5], bytes(5)),
        tensor("i16", "I16", &[5], bytes(10)),
        tensor("i32", "I32", &[5], bytes(20)),
        tensor("i64", "I64", &[], bytes(8)),
        tensor("x_scale", "F32", &[], f32s([2.0])),
    ];
    let source = folder.open(&tensors);
    let found: Vec<_> = source
        .tensors()
        .iter()
        .map(|tensor| (tensor.name.as_str(), tensor.ty.name, tensor.dims.as_slice()))
        .collect();
    let expected: [(_, _, &[u64]); 9] = [
        ("f32", "F32", &[3, 2]),
        ("f16", "F16", &[2, 3]),
        ("bf16", "BF16", &[3, 2, 1]),
        ("f64", "F32", &[3, 2]),
        ("i8", "I8", &[5]),
        ("i16", "I16", &[5]),
        ("i32", "I32", &[5]),
        ("i64", "I64", &[1]),
        ("x_scale", "F32", &[1]),
    ];
    assert_eq!(found, expected);
    for (name, dtype, _, bytes) in &tensors {
        if *dtype == "F64" {
            same(&read_f32(source.as_ref(), name), &doubles.map(|double| double as f32));
        } else {
            assert_eq!(&read(source.as_ref(), name), bytes, "{name}");
        }
    }
    // Another file's tensor of the same name may be larger.
    let other = Folder::new().open(&[tensor("f64", "F32", &[9], f32s([0.0; 9]))]);
    assert!(matches!(source.read(&other.tensors()[0], 0..36, &mut [0; 36]), Err(error) if error.is_input()));
    assert_eq!(source.notices().len(), 1, "{:?}", source.notices());
    assert!(source.notices()[0].contains("use its converter first"), "{:?}", source.notices());

    let far = tensor("far", "F64", &[2, 2], [0.0, 1.0, -1e39, 0.0].map(f64::to_le_bytes).concat());
    let source = folder.open(&[far]);
    let error = source.read(&source.tensors()[0], 0..16, &mut [0; 16]).unwrap_err().to_string();
    let expected =
        format!("tensor 'far': row 1, column 0 (counted from 0) is {}: too large for F32", -1e39f64);
    assert_eq!(error, expected);
}

#[test]
fn what_no_gguf_file_can_have_is_left_out_and_said() {
    let folder = Folder::new();
    let mut all = vec![tensor("w", "F32", &[2, 3], f32s([1.0; 6]))];
    for (name, dtype, shape, width) in [
        ("mask", "BOOL", vec![2, 3], 1),
        ("a.attn.bias", "U8", vec![1, 1, 2, 3], 1),
        ("position_ids", "U16", vec![2, 3], 2),
        ("one row", "U32", vec![1, 6], 4),
        ("hashes", "U64", vec![2, 3], 8),
        ("waves", "C64", vec![2, 3], 8),
    ] {
        all.push(tensor(name, dtype, &shape, vec![0; 6 * width]));
    }
    for (name, dtype) in [("none", "F32"), ("no codes.weight", "I8"), ("x.scaled_fp8", "F8_E4M3")] {
        all.push(tensor(name, dtype, &[2, 0], vec![]));
    }
    let source = folder.open(&all);
    assert_eq!(source.tensors().len(), 1);
    assert!(source.doubts().is_empty(), "{:?}", source.doubts());
    let plan = Plan::new(source.as_ref(), &options("F16")).unwrap();
    let quantized = plan.write(&folder.path("out.gguf"), &mut |_| ()).unwrap().quantized;
    assert_eq!((quantized.tensors.len(), quantized.left_out.len()), (1, 9));
    let said = quantized.left_out();
    for line in [
        "'mask': GGUF files cannot hold BOOL",
        "'no codes.weight' and 1 other: it has no values",
        "'x.scaled_fp8': it only marks",
    ] {
        assert!(said.iter().any(|found| found.starts_with(line)), "{line}: {said:?}");
    }
    assert_eq!(said.len(), 8, "{said:?}");
    let five = folder.open(&[tensor("a", "F32", &[1, 1, 1, 1, 2], f32s([0.0, 1.0]))]);
    let error = Plan::new(five.as_ref(), &options("F16")).unwrap_err().to_string();
    assert!(error.contains("tensor 'a': it has 5 dimensions"), "{error}");
    let path = folder.file(&[tensor("a", "F32", &[1], f32s([0.0]))], &[]);
    let error = source::open(&path, Some("w")).unwrap_err().to_string();
    assert!(error.contains("tensors of a safetensors file have names"), "{error}");
}

#[test]
fn a_file_becomes_a_gguf_with_its_names_and_metadata() {
    let folder = Folder::new();
    let mut random = Random::new(5);
    let mut values =
        |count: u64| (0..count).map(|_| random.below(2001) as f32 / 1000.0 - 1.0).collect::<Vec<_>>();
    let (weights, norm) = (values(2048), values(512));
    let tensors = [
        tensor("model.norm.weight", "BF16", &[512], bf16s(norm)),
        tensor("model.layers.0.up.weight", "F16", &[4, 512], f16s(weights.iter().copied())),
        tensor("steps", "I64", &[2, 2], vec![7; 32]),
    ];
    let path = folder.file(&tensors, &[("format", "pt"), ("ü", "")]);
    let (quantized, notices, gguf) = quantize(&path, "Q4_K");
    let became: Vec<_> = quantized.tensors.iter().map(|row| (row.from, row.to)).collect();
    assert_eq!(became, [("BF16", "BF16"), ("F16", "Q4_K"), ("I64", "I64")]);
    assert_eq!(gguf.get("safetensors.format"), Some(&Value::from("pt")));
    assert_eq!(gguf.get("safetensors.ü"), Some(&Value::from("")));
    assert_eq!(gguf.get("general.file_type"), Some(&Value::U32(14)));
    assert!(quantized.relative_squared_error.is_some_and(|error| error < 0.01));
    assert_eq!(notices.len(), 2, "{notices:?}");
}

// ---- 8-bit floats

/// What a code is worth, by the formula.
pub(super) fn float8(code: u8, exponent_bits: u32, infinities: bool) -> f32 {
    let mantissa_bits = 7 - exponent_bits;
    let bias = (1 << (exponent_bits - 1)) - 1;
    let exponent = i32::from(code & 0x7f) >> mantissa_bits;
    let mantissa = i32::from(code) & ((1 << mantissa_bits) - 1);
    let sign = if code & 0x80 != 0 { -1.0 } else { 1.0 };
    if infinities && exponent == (1 << exponent_bits) - 1 {
        return if mantissa == 0 { sign * f32::INFINITY } else { f32::NAN };
    }
    if !infinities && code & 0x7f == 0x7f {
        return f32::NAN;
    }
    let fraction = f64::from(mantissa) / f64::from(1 << mantissa_bits);
    let size = match exponent {
        0 => fraction * 2f64.powi(1 - bias),
        _ => (1.0 + fraction) * 2f64.powi(exponent - bias),
    };
    sign * size as f32
}

#[test]
fn eight_bit_floats_are_what_their_formulas_say() {
    let folder = Folder::new();
    let codes: Vec<u8> = (0..=255).collect();
    let source = folder.open(&[
        tensor("e4m3", "F8_E4M3", &[16, 16], codes.clone()),
        tensor("e5m2", "F8_E5M2", &[256], codes.clone()),
    ]);
    let e4m3 = read_f32(source.as_ref(), "e4m3");
    same(&e4m3, &codes.iter().map(|&code| float8(code, 4, false)).collect::<Vec<_>>());
    same(
        &read_f32(source.as_ref(), "e5m2"),
        &codes.iter().map(|&code| float8(code, 5, true)).collect::<Vec<_>>(),
    );
    // Landmarks of the formats' definition.
    assert_eq!([e4m3[0x7e], e4m3[0x08], e4m3[0x01], e4m3[0xb8]], [448.0, 1.0 / 64.0, 1.0 / 512.0, -1.0]);
    let error = Plan::new(source.as_ref(), &options("F16")).unwrap_err().to_string();
    assert!(
        error.contains("tensor 'e4m3': F8_E4M3 [16, 16] are codes, and their scale is missing"),
        "{error}"
    );
    let unscaled = Options { unscaled: true, ..options("F32") };
    let notices = Plan::new(source.as_ref(), &unscaled).unwrap().notices;
    assert!(
        notices.iter().any(|notice| notice.starts_with("'e4m3' and 1 other: 8-bit floats without a scale"))
    );
    for code in [0x7f, 0xff] {
        let mut codes = vec![0x38; 1024];
        codes[2 * 256 + 7] = code;
        let path = folder.file(&[tensor("w", "F8_E4M3", &[4, 256], codes)], &[]);
        let source = source::open(&path, None).unwrap();
        let plan = Plan::new(source.as_ref(), &Options { unscaled: true, ..options("Q8_0") }).unwrap();
        let error = plan.write(&path.with_extension("gguf"), &mut |_| ()).unwrap_err().to_string();
        assert!(error.starts_with("tensor 'w': row 2, column 7 (counted from 0) is NaN"), "{error}");
    }
}

/// The scale of a row and a column.
type Scale<'a> = &'a dyn Fn(u64, u64) -> f32;

#[test]
fn eight_bit_floats_are_multiplied_by_their_scales() {
    let folder = Folder::new();
    let mut random = Random::new(8);
    for (rows, cols) in [(1u64, 1u64), (3, 128), (130, 300), (256, 257), (128, 1)] {
        let codes: Vec<u8> = (0..rows * cols).map(|_| (random.below(256) as u8) & 0xfe).collect();
        let [tall, wide] = [rows.div_ceil(128), cols.div_ceil(128)];
        let blocks: Vec<f32> = (0..tall * wide).map(|i| 0.1 + i as f32).collect();
        let of_rows: Vec<f32> = (0..rows).map(|i| 0.5 + i as f32).collect();
        let cases: [(Described, Scale<'_>); 5] = [
            (tensor("w_scale_inv", "F32", &[tall, wide], f32s(blocks.clone())), &|r, c| {
                blocks[(r / 128 * wide + c / 128) as usize]
            }),
            (tensor("w_scale", "F32", &[], f32s([0.3])), &|_, _| 0.3),
            (tensor("w_scale_inv", "F16", &[1, 1], f16s([0.375])), &|_, _| 0.375),
            (tensor("w_scale", "BF16", &[rows, 1], bf16s(of_rows.clone())), &|r, _| {
                half::bf16::from_f32(of_rows[r as usize]).to_f32()
            }),
            (tensor("w_scale", "F32", &[rows], f32s(of_rows.clone())), &|r, _| of_rows[r as usize]),
        ];
        for (scales, scale) in cases {
            for before in [true, false] {
                let mut tensors = vec![tensor("w", "F8_E4M3", &[rows, cols], codes.clone())];
                tensors.insert(usize::from(before), scales.clone());
                let source = folder.open(&tensors);
                assert_eq!(source.tensors().len(), 1);
                let value = |at: u64| float8(codes[at as usize], 4, false) * scale(at / cols, at % cols);
                let expected: Vec<f32> = (0..rows * cols).map(value).collect();
                same(&read_f32(source.as_ref(), "w"), &expected);
                assert_eq!(source.notices().len(), 1, "{:?}", source.notices());
            }
        }
    }
    // One scale for any number of dimensions.
    let source = folder.open(&[
        tensor("w", "F8_E5M2", &[2, 1, 2], vec![0x3c; 4]),
        tensor("w_scale", "F32", &[1], f32s([0.7])),
    ]);
    same(&read_f32(source.as_ref(), "w"), &[0.7; 4]);
}

#[test]
fn scales_that_do_not_fit_are_refused_by_their_names() {
    let folder = Folder::new();
    let weights = || tensor("w", "F8_E4M3", &[200, 300], vec![0; 60_000]);
    let scale = |name: &str, shape: &[u64]| {
        tensor(name, "F32", shape, vec![0; shape.iter().product::<u64>() as usize * 4])
    };
    for shape in [&[2u64, 2][..], &[3, 2], &[300], &[200, 7], &[1, 3], &[2, 300], &[2, 3, 1], &[]] {
        let problem = format!(
            "tensor 'w_scale_inv': its shape is {shape:?}; for 'w' of [200, 300] it has to be 1, 200 or [2, 3]"
        );
        if shape.is_empty() {
            assert_eq!(folder.open(&[weights(), scale("w_scale_inv", shape)]).tensors().len(), 1);
        } else {
            folder.refused(&[weights(), scale("w_scale_inv", shape)], &problem);
        }
    }
    folder.refused(
        &[weights(), scale("w_scale_inv", &[2, 3]), scale("w_scale", &[])],
        "tensor 'w': it has scales twice, in 'w_scale_inv' and 'w_scale'",
    );
    folder.refused(
        &[weights(), tensor("w_scale", "I32", &[], vec![0; 4])],
        "tensor 'w_scale': its type is I32, not F32, F16 or BF16",
    );
    folder.refused(
        &[scale("w_scale_inv", &[2, 3])],
        "tensor 'w_scale_inv': 'w', to which it belongs, is missing: is it in another file of the model?",
    );
    let cube = tensor("w", "F8_E4M3", &[2, 1, 2], vec![0; 4]);
    folder.refused(
        &[cube, scale("w_scale", &[2])],
        "tensor 'w_scale': its shape is [2]; for 'w' of [2, 1, 2] it has to be 1",
    );
}

// ---- GPTQ and AWQ

/// A matrix of codes with its zeros and scales.
struct Matrix {
    inputs: usize,
    outputs: usize,
    bits: usize,
    /// The group of each input.
    groups: Vec<usize>,
    /// `[in, out]`
    codes: Vec<u32>,
    /// `[groups, out]`
    zeros: Vec<u32>,
    /// `[groups, out]`; what f16 and bf16 hold.
    scales: Vec<f32>,
}

impl Matrix {
    fn new(inputs: usize, outputs: usize, bits: usize, group: usize) -> Self {
        let mut random = Random::new((inputs * outputs + bits) as u64);
        let count = inputs.div_ceil(group);
        let mut below = |most: u64, count: usize| (0..count).map(|_| random.below(most) as u32).collect();
        let codes: Vec<u32> = below(1 << bits, inputs * outputs);
        // Those that GPTQ can store less 1, and AWQ as they are.
        let zeros: Vec<u32> = below((1 << bits) - 1, count * outputs);
        let scales: Vec<u32> = below(128, count * outputs);
        Self {
            inputs,
            outputs,
            bits,
            groups: (0..inputs).map(|input| input / group).collect(),
            codes,
            zeros: zeros.iter().map(|zero| zero + 1).collect(),
            scales: scales.iter().map(|&scale| (scale as f32 - 50.0) / 1024.0).collect(),
        }
    }

    /// `[out, in]`, by the formula.
    fn weights(&self) -> Vec<f32> {
        let weight = |output: usize, input: usize| {
            let of = self.groups[input] * self.outputs + output;
            let code = self.codes[input * self.outputs + output] as f32;
            self.scales[of] * (code - self.zeros[of] as f32)
        };
        (0..self.outputs)
            .flat_map(|o| (0..self.inputs).map(move |i| (o, i)))
            .map(|(o, i)| weight(o, i))
            .collect()
    }

    fn group_count(&self) -> usize {
        self.scales.len() / self.outputs
    }

    /// As AutoGPTQ's `pack` does: row after row of words, and column after column of the zeros'.
    fn gptq(&self, stem: &str) -> Vec<Described> {
        let per_word = 32 / self.bits;
        let mut words = vec![0u32; self.inputs / per_word * self.outputs];
        for row in 0..self.inputs / per_word {
            for j in row * per_word..(row + 1) * per_word {
                for output in 0..self.outputs {
                    words[row * self.outputs + output] |=
                        self.codes[j * self.outputs + output] << (self.bits * (j - row * per_word));
                }
            }
        }
        let mut zeros = vec![0u32; self.group_count() * (self.outputs / per_word)];
        for col in 0..self.outputs / per_word {
            for j in col * per_word..(col + 1) * per_word {
                for group in 0..self.group_count() {
                    zeros[group * (self.outputs / per_word) + col] |=
                        (self.zeros[group * self.outputs + j] - 1) << (self.bits * (j - col * per_word));
                }
            }
        }
        let order = self.groups.iter().map(|&group| group as u32);
        let mut tensors = self.triplet(stem, [self.inputs / per_word, self.outputs], words, zeros);
        tensors.push(tensor(&format!("{stem}.g_idx"), "I32", &[self.inputs as u64], i32s(order)));
        tensors
    }

    /// As AutoAWQ's `WQLinear_GEMM.from_linear` does.
    fn awq(&self, stem: &str) -> Vec<Described> {
        let order_map = [0, 2, 4, 6, 1, 3, 5, 7];
        let pack = |rows: usize, values: &[u32]| {
            let mut words = vec![0u32; rows * (self.outputs / 8)];
            for col in 0..self.outputs / 8 {
                for (i, from) in order_map.iter().enumerate() {
                    for row in 0..rows {
                        words[row * (self.outputs / 8) + col] |=
                            values[row * self.outputs + col * 8 + from] << (i * 4);
                    }
                }
            }
            words
        };
        let words = pack(self.inputs, &self.codes);
        let zeros = pack(self.group_count(), &self.zeros);
        self.triplet(stem, [self.inputs, self.outputs / 8], words, zeros)
    }

    fn triplet(&self, stem: &str, shape: [usize; 2], words: Vec<u32>, zeros: Vec<u32>) -> Vec<Described> {
        let (groups, outputs) = (self.group_count() as u64, self.outputs as u64);
        let per_word = 32 / self.bits as u64;
        vec![
            tensor(&format!("{stem}.scales"), "F16", &[groups, outputs], f16s(self.scales.iter().copied())),
            tensor(&format!("{stem}.qweight"), "I32", &shape.map(|n| n as u64), i32s(words)),
            tensor(&format!("{stem}.qzeros"), "I32", &[groups, outputs / per_word], i32s(zeros)),
        ]
    }
}

#[test]
fn gptq_weights_are_what_the_formula_says() {
    let folder = Folder::new();
    for (inputs, outputs, bits, group) in [
        (32, 8, 4, 32),
        (128, 40, 4, 64),
        (256, 32, 4, 128),
        (96, 24, 4, 96),
        (8, 8, 4, 8),
        (64, 4, 8, 32),
        (384, 36, 8, 128),
        (160, 12, 8, 160),
        // A last group of fewer.
        (160, 16, 4, 128),
    ] {
        let mut matrix = Matrix::new(inputs, outputs, bits, group);
        folder.says("quantize_config.json", &json!({ "bits": bits, "group_size": group, "desc_act": false }));
        let bias = tensor("a.bias", "F16", &[outputs as u64], f16s((0..outputs).map(|i| i as f32)));
        let mut tensors = matrix.gptq("a");
        tensors.push(bias.clone());
        for (dtype, of) in [("F16", None), ("F32", Some(f32s as fn(_) -> _)), ("BF16", Some(bf16s))] {
            if let Some(of) = of {
                let of: fn(Vec<f32>) -> Vec<u8> = of;
                (tensors[0].1, tensors[0].3) = (dtype, of(matrix.scales.clone()));
            }
            let source = folder.open(&tensors);
            let names: Vec<_> = source.tensors().iter().map(|tensor| tensor.name.as_str()).collect();
            assert_eq!(names, ["a.weight", "a.bias"]);
            assert_eq!(source.tensors()[0].shape(), [outputs as u64, inputs as u64]);
            same(&read_f32(source.as_ref(), "a.weight"), &matrix.weights());
            assert_eq!(read(source.as_ref(), "a.bias"), bias.3);
        }
        // Without g_idx, and with another order.
        let without = [&tensors[..3], &tensors[4..]].concat();
        same(&read_f32(folder.open(&without).as_ref(), "a.weight"), &matrix.weights());
        matrix.groups.reverse();
        matrix.groups.rotate_left(inputs / 3);
        let ordered = folder.open(&matrix.gptq("a"));
        same(&read_f32(ordered.as_ref(), "a.weight"), &matrix.weights());
        let notices = ordered.notices();
        assert!(notices.len() == 2 && notices[1].contains("'a.weight': quantized already"), "{notices:?}");
    }
}

#[test]
fn awq_weights_are_what_the_formula_says() {
    let folder = Folder::new();
    for (inputs, outputs, group) in [(32, 8, 32), (128, 40, 64), (256, 32, 128), (96, 24, 96), (8, 64, 8)] {
        let mut matrix = Matrix::new(inputs, outputs, 4, group);
        matrix.zeros.iter_mut().for_each(|zero| *zero -= 1);
        let source = folder.open(&matrix.awq("a"));
        assert_eq!(source.tensors().len(), 1);
        assert_eq!(source.tensors()[0].shape(), [outputs as u64, inputs as u64]);
        same(&read_f32(source.as_ref(), "a.weight"), &matrix.weights());
        assert_eq!(source.notices().len(), 2, "{:?}", source.notices());
    }
}

#[test]
fn words_are_unpacked_as_by_hand() {
    let folder = Folder::new();
    folder
        .says("config.json", &json!({ "quantization_config": { "quant_method": "gptq", "group_size": -1 } }));
    // 8 inputs and 8 outputs: output 2 has the codes 0 to 7, the others 15; a zero of 4 less 1.
    let mut words = vec![u32::MAX; 8];
    words[2] = 0x7654_3210;
    let gptq = folder.open(&[
        tensor("g.qweight", "I32", &[1, 8], i32s(words)),
        tensor("g.qzeros", "I32", &[1, 1], i32s([0x3333_3333])),
        tensor("g.scales", "F32", &[1, 8], f32s([0.5; 8])),
    ]);
    let mut expected = vec![5.5; 64];
    expected[16..24].copy_from_slice(&[-2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5]);
    same(&read_f32(gptq.as_ref(), "g.weight"), &expected);
    fs::remove_file(folder.path("config.json")).unwrap();
    // 2 inputs: the first has, from the lowest bits up, the codes of the outputs 0, 2, 4, 6, 1, 3, 5, 7.
    let awq = folder.open(&[
        tensor("a.qweight", "I32", &[2, 1], i32s([0x7531_6420, 0x0000_f000])),
        tensor("a.qzeros", "I32", &[1, 1], i32s([0x0000_0010])),
        tensor("a.scales", "F32", &[1, 8], f32s([1.0; 8])),
    ]);
    let expected =
        [[0.0, 0.0], [1.0, 0.0], [1.0, -1.0], [3.0, 0.0], [4.0, 0.0], [5.0, 0.0], [6.0, 15.0], [7.0, 0.0]];
    same(&read_f32(awq.as_ref(), "a.weight"), expected.as_flattened());
}

#[test]
fn packed_weights_that_do_not_fit_together_are_refused_by_their_names() {
    let folder = Folder::new();
    let matrix = Matrix::new(64, 16, 4, 32);
    let whole = matrix.gptq("a");
    let says = |group: i64| folder.says("quantize_config.json", &json!({ "bits": 4, "group_size": group }));
    says(32);
    let of = |suffix: &str| whole.iter().position(|tensor| tensor.0.ends_with(suffix)).unwrap();
    let missing = "to which it belongs, is missing: is it in another file of the model?";
    for suffix in [".qzeros", ".scales"] {
        let mut tensors = whole.clone();
        tensors.remove(of(suffix));
        folder.refused(&tensors, &format!("tensor 'a.qweight': 'a{suffix}', {missing}"));
    }
    let mut tensors = whole.clone();
    tensors.remove(of(".qweight"));
    folder.refused(&tensors, &format!("tensor 'a.qzeros': 'a.qweight', {missing}"));

    let with = |suffix: &str, dtype: &'static str, shape: &[u64]| {
        let mut tensors = whole.clone();
        let bytes = shape.iter().product::<u64>() * if dtype == "F16" { 2 } else { 4 };
        tensors[of(suffix)] = tensor(&format!("a{suffix}"), dtype, shape, vec![0; bytes as usize]);
        tensors
    };
    for (suffix, dtype, problem) in [
        (".qweight", "F32", "'a.qweight': its type is F32, not I32, as GPTQ and AWQ have it"),
        (".qzeros", "U32", "'a.qzeros': its type is U32, not I32, as GPTQ and AWQ have it"),
        (".g_idx", "F32", "'a.g_idx': its type is F32, not I32, as GPTQ and AWQ have it"),
        (".scales", "I32", "'a.scales': its type is I32, not F32, F16 or BF16"),
    ] {
        let shape = whole[of(suffix)].2.clone();
        folder.refused(&with(suffix, dtype, &shape), &format!("tensor {problem}"));
    }
    // Its own: [8, 16], [2, 2] and [2, 16].
    let neither = |codes: &str, zeros: &str, scales: &str| {
        format!(
            "tensor 'a.qweight': the shapes {codes}, {zeros} of qzeros and {scales} of scales are neither GPTQ's, \
             [in/8, out], [groups, out/8] and [groups, out] (/4 with 8 bits), nor AWQ's, [in, out/8], [groups, out/8] \
             and [groups, out]"
        )
    };
    for (suffix, shape) in [
        (".qweight", &[8u64, 15][..]),
        (".qweight", &[128]),
        (".qweight", &[8, 4]),
        (".qzeros", &[2, 1]),
        (".qzeros", &[3, 2]),
        (".scales", &[2, 17]),
        (".scales", &[1, 16]),
        (".scales", &[32]),
        (".scales", &[2, 0]),
    ] {
        let [codes, zeros, scales] = [".qweight", ".qzeros", ".scales"].map(|name| {
            let shape = if name == suffix { shape } else { &whole[of(name)].2 };
            format!("{shape:?}")
        });
        let dtype = if suffix == ".scales" { "F16" } else { "I32" };
        folder.refused(&with(suffix, dtype, shape), &neither(&codes, &zeros, &scales));
    }
    // Without an order, by what config.json says.
    let without = |mut tensors: Vec<Described>| {
        tensors.remove(of(".g_idx"));
        tensors
    };
    for rows in [1, 2, 4, 64] {
        let problem = format!(
            "tensor 'a.qweight': there are 2 groups for {} inputs: these are no groups of 32, as config.json says",
            rows * 8
        );
        folder.refused(&without(with(".qweight", "I32", &[rows, 16])), &problem);
    }
    for group in [64, 128, -1, 31] {
        says(group);
        let group = if group == -1 { 64 } else { group };
        let problem = format!(
            "tensor 'a.qweight': there are 2 groups for 64 inputs: these are no groups of {group}, as config.json says"
        );
        folder.refused(&without(whole.clone()), &problem);
    }
    folder.says("quantize_config.json", &json!({ "bits": 4, "desc_act": true }));
    folder.refused(&without(whole.clone()), &format!("tensor 'a.qweight': 'a.g_idx', {missing}"));
    fs::remove_file(folder.path("quantize_config.json")).unwrap();
    folder.refused(
        &with(".qweight", "I32", &[89, 2]),
        "tensor 'a.qweight': there are 2 groups for 89 inputs: these are no groups",
    );
    let unsaid = "tensor 'a.qweight': it is packed as GPTQ's, and nothing says whether its zeros are stored less 1 (gptq) or \
                  as they are (gptq_v2): put the model's config.json or quantize_config.json beside it";
    folder.refused(&whole, unsaid);
    says(32);
    folder.refused(
        &matrix.awq("a"),
        "tensor 'a.qweight': it is packed as AWQ has it, which is not what config.json says",
    );
    let both = |of: &str| json!({ "quantization_config": { "quant_method": of, "group_size": 32 } });
    folder.says("config.json", &both("awq"));
    let error = source::open(&folder.file(&whole, &[]), None).unwrap_err().to_string();
    assert!(error.ends_with("it does not say of the weights what 'config.json' beside it says"), "{error}");
    fs::remove_file(folder.path("quantize_config.json")).unwrap();
    folder.refused(
        &whole,
        "tensor 'a.qweight': it is packed as GPTQ has it, which is not what config.json says",
    );
    assert_eq!(folder.open(&matrix.awq("a")).tensors().len(), 1);
    folder.says("config.json", &both("gptq"));
    folder.refused(&with(".g_idx", "I32", &[63]), "tensor 'a.g_idx': its shape is [63]; for 64 inputs: [64]");
    folder.says("config.json", &both("awq"));
    folder.refused(
        &[matrix.awq("a"), vec![whole[of(".g_idx")].clone()]].concat(),
        "tensor 'a.g_idx': its weights are packed as AWQ's, which have no order",
    );
    folder.says("config.json", &both("gptq"));
    let weight = tensor("a.weight", "F32", &[1], vec![0; 4]);
    folder.refused(&[whole.clone(), vec![weight]].concat(), "tensor 'a.qweight': there is 'a.weight' too");
    for group in [2, -1] {
        let mut tensors = whole.clone();
        tensors[of(".g_idx")].3[20..24].copy_from_slice(&i32::to_le_bytes(group));
        let source = folder.open(&tensors);
        let error = source.read(&source.tensors()[0], 0..4, &mut [0; 4]).unwrap_err().to_string();
        let problem = format!("tensor 'a.g_idx': the group of input 5 is {group}; there are 2");
        assert!(error.ends_with(&problem), "{error}");
    }
}

#[test]
fn several_packed_matrices_are_quantized_by_pieces() {
    let folder = Folder::new();
    // Of more than a piece, whose borders lie within rows, and several of less.
    let matrices: Vec<Matrix> = [(1120, 256, 4, 32), (1120, 256, 8, 1120), (64, 32, 4, 64), (96, 8, 4, 32)]
        .map(|(inputs, outputs, bits, group)| Matrix::new(inputs, outputs, bits, group))
        .into();
    let tensors: Vec<_> =
        matrices.iter().enumerate().flat_map(|(i, matrix)| matrix.gptq(&format!("m{i}"))).collect();
    let path = folder.file(&tensors, &[]);
    folder.says("config.json", &json!({ "quantization_config": { "quant_method": "gptq", "bits": 4 } }));
    for to in ["F32", "Q8_0"] {
        let (quantized, notices, gguf) = quantize(&path, to);
        assert_eq!(quantized.tensors.len(), matrices.len());
        assert!(
            notices.iter().any(|notice| notice.starts_with("'m0.weight' and 3 others: quantized already"))
        );
        let format = format_by_name(to).unwrap();
        for (i, matrix) in matrices.iter().enumerate() {
            let tensor = gguf.tensor(&format!("m{i}.weight")).unwrap();
            let mut expected = vec![0; tensor.bytes as usize];
            format.quantize(&matrix.weights(), &mut expected).unwrap();
            let mut bytes = vec![0; tensor.bytes as usize];
            gguf.read(tensor, 0..tensor.bytes, &mut bytes).unwrap();
            assert!(bytes == expected, "m{i} as {to}");
        }
    }
}

#[test]
fn any_shapes_and_types_give_a_source_or_an_error() {
    let folder = Folder::new();
    let mut random = Random::new(12);
    let names = ["a.qweight", "a.qzeros", "a.scales", "a.g_idx", "b", "b_scale", "b_scale_inv", "c.weight"];
    let (mut opened, mut refused) = (0, 0);
    folder.says("quantize_config.json", &json!({ "bits": 4, "group_size": 32 }));
    for _ in 0..1000 {
        let mut any = |of: u64| random.below(of) as usize;
        let mut tensors = Vec::new();
        for name in names {
            let usual: &[(&'static str, usize)] = match name {
                "a.qweight" | "a.qzeros" | "a.g_idx" => &[("I32", 4)],
                "b" => &[("F8_E4M3", 1)],
                _ => &[("F32", 4), ("F16", 2), ("BF16", 2)],
            };
            let rare: &[(&'static str, usize)] = &[("F64", 8), ("I64", 8), ("U8", 1), ("I32", 4), ("F32", 4)];
            let of = if any(20) == 0 { rare } else { usual };
            let (dtype, width) = of[any(of.len() as u64)];
            let mut shape: Vec<u64> = match name {
                "a.qweight" => [vec![4, 8], vec![32, 1]][any(2)].clone(),
                "a.qzeros" => vec![1, 1],
                "a.scales" => vec![1, 8],
                "a.g_idx" => vec![32],
                "b_scale" | "b_scale_inv" => vec![1],
                _ => vec![2, 3],
            };
            if any(12) == 0 {
                let at = any(shape.len() as u64);
                shape[at] = any(4) as u64;
            }
            if any(30) == 0 {
                shape.pop();
            }
            let bytes = shape.iter().product::<u64>() as usize * width;
            let data = (0..bytes).map(|_| any(256) as u8).collect();
            if any(10) > 0 && (!name.starts_with("b_") || any(2) == 0) {
                tensors.push(tensor(name, dtype, &shape, data));
            }
        }
        match source::open(&folder.file(&tensors, &[]), None) {
            Ok(source) => {
                opened += 1;
                for tensor in source.tensors() {
                    let mut out = vec![0; tensor.bytes as usize];
                    let read = source.read(tensor, 0..tensor.bytes, &mut out);
                    assert!(read.is_ok() || tensor.ty.name == "F32", "{read:?}");
                }
            }
            Err(error) => {
                refused += 1;
                assert!(error.to_string().contains("tensor '"), "{error}");
            }
        }
    }
    assert!(opened > 100 && refused > 100, "{opened} {refused}");
}
