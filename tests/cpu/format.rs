//! Every number format against the `gguf` Python package, to the bit.

use lowbit::format::{ALL, Format};
use lowbit::io::npy::read_matrix;

fn asset(name: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/gguf").join(name)
}

#[test]
fn every_format_dequantizes_as_gguf_py_does_to_the_bit() {
    for format in ALL {
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
        assert_eq!(Format::by_type(format.ggml_type).unwrap().name, format.name);
    }
    assert!(ALL.windows(2).all(|pair| pair[0].ggml_type < pair[1].ggml_type));
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
