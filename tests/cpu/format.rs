//! Every number format against the `gguf` Python package, to the bit.

use lowbit::internals::format::{ALL, Format};
use lowbit::internals::io::npy::read_matrix;

fn asset(name: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/gguf").join(name)
}

fn of_ggml() -> impl Iterator<Item = &'static Format> {
    ALL.iter().filter(|format| format.ggml_type.is_some())
}

#[test]
fn every_format_dequantizes_as_gguf_py_does_to_the_bit() {
    for format in of_ggml() {
        let blocks = std::fs::read(asset(&format!("{}.bin", format.name))).unwrap();
        let expected = read_matrix(&asset(&format!("{}.npy", format.name))).unwrap();
        let mut weights = vec![f32::NAN; expected.values.len()];
        format.dequantize(&blocks, &mut weights).unwrap();
        for (i, (got, want)) in weights.iter().zip(&expected.values).enumerate() {
            assert_eq!(got.to_bits(), want.to_bits(), "{} [{i}]: {got:e}, not {want:e}", format.name);
        }
    }
}

#[test]
fn numbers_and_names_lead_to_one_format_each() {
    for format in ALL {
        assert_eq!(Format::by_name(&format.name.to_lowercase()).unwrap().name, format.name);
        if let Some(ty) = format.ggml_type {
            assert_eq!(Format::by_type(ty).unwrap().name, format.name);
        }
    }
    let types: Vec<_> = of_ggml().map(|format| format.ggml_type).collect();
    assert!(types.is_sorted() && types.len() == 17);
    assert!(Format::by_name("Q9_9").is_none() && Format::by_type(999).is_none());
    assert_eq!(Format::by_name("q4_K").unwrap().bits_per_weight(), 4.5);
}

#[test]
fn the_lowest_exponents_of_mxfp4_are_subnormal() {
    let format = Format::by_name("MXFP4").unwrap();
    let mut weights = [0.0; 32];
    for (e, power) in [(0, -128), (1, -127), (2, -126), (128, 0), (254, 126)] {
        let mut block = [0; 17];
        (block[0], block[1]) = (e, 0x91);
        format.dequantize(&block, &mut weights).unwrap();
        assert_eq!(f64::from(weights[0]), 2f64.powi(power), "e = {e}");
        assert_eq!(weights[16], -weights[0]);
    }
}

#[test]
fn partial_blocks_and_wrong_lengths_are_refused() {
    let format = Format::by_name("Q8_0").unwrap();
    let mut weights = [0.0; 32];
    assert!(format.dequantize(&[0; 33], &mut weights).unwrap_err().to_string().contains("Q8_0: 33 bytes"));
    assert!(format.dequantize(&[0; 68], &mut weights).is_err());
    assert!(format.dequantize(&[0; 34], &mut weights).is_ok());
}

/// Formats whose quantizers search: any that searches as well will do.
const SEARCHED: [&str; 6] = ["Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL"];

#[test]
fn the_searched_formats_come_within_5_percent_of_ggmls_error() {
    let weights = read_matrix(&asset("F32.npy")).unwrap().values;
    for name in SEARCHED {
        let format = Format::by_name(name).unwrap();
        let error = |blocks: &[u8]| {
            let mut back = vec![0.0; weights.len()];
            format.dequantize(blocks, &mut back).unwrap();
            weights.iter().zip(&back).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>()
        };
        let theirs = std::fs::read(asset(&format!("{name}.bin"))).unwrap();
        let mut ours = vec![0; theirs.len()];
        format.quantize(&weights, &mut ours).unwrap();
        let ratio = error(&ours) / error(&theirs);
        println!("{name}: {ratio:.4} of ggml's squared error");
        assert!(ratio <= 1.05, "{name}: {ratio}");
    }
}

#[test]
fn the_simple_formats_quantize_as_ggml_does_to_the_bit() {
    let weights = read_matrix(&asset("F32.npy")).unwrap().values;
    for format in of_ggml().filter(|format| !SEARCHED.contains(&format.name)) {
        let expected = std::fs::read(asset(&format!("{}.bin", format.name))).unwrap();
        let mut blocks = vec![0xff; expected.len()];
        format.quantize(&weights, &mut blocks).unwrap();
        let at = blocks.iter().zip(&expected).position(|(got, want)| got != want);
        assert_eq!(at, None, "{}: byte {at:?} of {}", format.name, expected.len());
    }
}

#[test]
fn what_dequantizing_gives_quantizes_to_itself() {
    // A search may find a better scale for what it made of another one; a range that is rounded to f16, a narrower one.
    for format in of_ggml().filter(|format| !SEARCHED.contains(&format.name)) {
        let weights: Vec<f32> = (0..256).map(|i| ((i * 37) % 101) as f32 / 50.0 - 1.0).collect();
        let mut blocks = vec![0; 256 / format.elements * format.bytes];
        let (mut once, mut twice) = (vec![0.0; 256], vec![0.0; 256]);
        format.quantize(&weights, &mut blocks).unwrap();
        format.dequantize(&blocks, &mut once).unwrap();
        let step = 2.0 / f32::from(u16::from(format.bytes > 17) + 1);
        assert!(once.iter().zip(&weights).all(|(a, b)| (a - b).abs() <= step), "{}", format.name);
        format.quantize(&once, &mut blocks).unwrap();
        format.dequantize(&blocks, &mut twice).unwrap();
        let far = once.iter().zip(&twice).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(far <= 2e-3, "{}: {far}", format.name);
    }
}

/// Of formats without a reference: the size of a step where weights reach from -1 to 1.
const STEPS: [(&str, f32); 7] = [
    ("INT4_32", 2.0 / 15.0),
    ("INT4_64", 2.0 / 15.0),
    ("INT4_128", 2.0 / 15.0),
    ("INT8_32", 2.0 / 255.0),
    ("INT8_64", 2.0 / 255.0),
    ("INT8_128", 2.0 / 255.0),
    ("FP8_128", 0.125),
];

#[test]
fn formats_of_our_own_come_within_a_step() {
    for format in ALL.iter().filter(|format| format.ggml_type.is_none()) {
        let (_, step) = STEPS.iter().find(|(name, _)| *name == format.name).expect(format.name);
        let weights: Vec<f32> = (0..256).map(|i| ((i * 37) % 101) as f32 / 50.0 - 1.0).collect();
        let mut blocks = vec![0; 256 / format.elements * format.bytes];
        let mut back = vec![0.0; 256];
        format.quantize(&weights, &mut blocks).unwrap();
        format.dequantize(&blocks, &mut back).unwrap();
        let far = back.iter().zip(&weights).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(far <= 1.01 * step && far >= step / 20.0, "{}: {far}, steps of {step}", format.name);
    }
}

#[test]
fn zeros_stay_zeros_and_what_is_not_finite_is_refused_by_place() {
    for format in ALL.iter() {
        let mut blocks = vec![0xff; 256 / format.elements * format.bytes];
        let mut weights = vec![0.0; 256];
        format.quantize(&weights, &mut blocks).unwrap();
        format.dequantize(&blocks, &mut weights).unwrap();
        assert!(weights.iter().all(|&weight| weight == 0.0), "{}", format.name);
        for wrong in [f32::NAN, f32::INFINITY] {
            weights[77] = wrong;
            let error = format.quantize(&weights, &mut blocks).unwrap_err().to_string();
            assert!(error.starts_with("weight 77 is "), "{error}");
        }
    }
}

#[test]
fn the_file_format_and_the_number_formats_agree_on_every_block() {
    for format in of_ggml() {
        let ty = lowbit::internals::io::gguf::TensorType::by_id(format.ggml_type.unwrap()).unwrap();
        assert_eq!(ty.name, format.name);
        assert_eq!((ty.block as usize, ty.bytes as usize), (format.elements, format.bytes), "{}", ty.name);
    }
}
