//! INT4_G and INT8_G: what AWQ and GPTQ store, in groups of G = 32, 64 or 128 weights along a row: d (f16), zero (u8), G
//! codes of 4 or 8 bits in order, low nibbles first; weight = d * (code - zero).

use super::{
    Format, extremes, half, inverse,
    planes::{Plane, Row, bits},
    put_half,
};

pub const INT4_32: Format = format::<4, 32>("INT4_32", "format/int4_32", true, &planes::<4, 32>());
pub const INT4_64: Format = format::<4, 64>("INT4_64", "format/int4_64", true, &planes::<4, 64>());
pub const INT4_128: Format = format::<4, 128>("INT4_128", "format/int4_128", true, &planes::<4, 128>());
pub const INT8_32: Format = format::<8, 32>("INT8_32", "format/int8_32", true, &planes::<8, 32>());
pub const INT8_64: Format = format::<8, 64>("INT8_64", "format/int8_64", true, &planes::<8, 64>());
pub const INT8_128: Format = format::<8, 128>("INT8_128", "format/int8_128", true, &planes::<8, 128>());

const fn format<const BITS: usize, const GROUP: usize>(
    name: &'static str,
    decoder: &'static str,
    integer: bool,
    planes: &'static [Plane],
) -> Format {
    Format {
        name,
        ggml_type: None,
        elements: GROUP,
        bytes: HEAD + GROUP * BITS / 8,
        block: block::<BITS>,
        pack: pack::<BITS>,
        decoder,
        planes,
        integer,
        spread: spread::<BITS, GROUP>,
    }
}

/// Two scales, or four zeros, in a word.
const fn planes<const BITS: usize, const GROUP: usize>() -> [Plane; 3] {
    [Plane::codes("codes", BITS), Plane::new("scales", 1, GROUP / 32), Plane::new("zeros", 1, GROUP / 16)]
}

/// Bytes before the codes.
const HEAD: usize = 3;

/// The codes in order.
fn codes<const BITS: usize>(block: &[u8]) -> impl Iterator<Item = u8> {
    let mask = (1u16 << BITS) - 1;
    block[HEAD..].iter().flat_map(move |&byte| {
        (0..8).step_by(BITS).map(move |shift| ((u16::from(byte) >> shift) & mask) as u8)
    })
}

fn block<const BITS: usize>(block: &[u8], weights: &mut [f32]) {
    let (d, zero) = (half(block, 0), f32::from(block[2]));
    for (weight, code) in weights.iter_mut().zip(codes::<BITS>(block)) {
        *weight = d * (f32::from(code) - zero);
    }
}

/// Codes of 8 bits lie as int8: less 128, which the decoder knows.
fn spread<const BITS: usize, const GROUP: usize>(block: &[u8], index: usize, row: &mut Row<'_>) {
    let signed = if BITS == 8 { 0x80 } else { 0 };
    row.codes(0, BITS, GROUP * index, codes::<BITS>(block).map(|code| u32::from(code ^ signed)));
    row.put(1, 16, index, bits(&block[..2]));
    row.put(2, 8, index, u32::from(block[2]));
}

/// The range of the weights, widened to hold 0, becomes that of the codes.
fn pack<const BITS: usize>(weights: &[f32], block: &mut [u8]) {
    let (low, high) = extremes(weights);
    let top = ((1u32 << BITS) - 1) as f32;
    put_half(block, 0, (high.max(0.0) - low.min(0.0)) / top);
    let inverse = inverse(half(block, 0));
    let zero = (-low.min(0.0) * inverse).round().clamp(0.0, top);
    block[2] = zero as u8;
    for (at, weight) in weights.iter().enumerate() {
        let code = ((weight * inverse).round() + zero).clamp(0.0, top) as u8;
        let bit = at * BITS;
        block[HEAD + bit / 8] |= code << (bit % 8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_come_back_within_half_a_step_and_zero_exactly() {
        for format in [INT4_32, INT4_64, INT4_128, INT8_32, INT8_64, INT8_128] {
            let weights: Vec<f32> =
                (0..format.elements).map(|i| (i as f32 * 0.37).sin() * 3.0 + 1.0).collect();
            let (low, high) = extremes(&weights);
            let mut bytes = vec![0; format.bytes];
            let mut back = vec![f32::NAN; format.elements];
            format.quantize(&weights, &mut bytes).unwrap();
            format.dequantize(&bytes, &mut back).unwrap();
            let step = (high - low) / if format.name.starts_with("INT4") { 15.0 } else { 255.0 };
            // Half a step, and as much again where the zero point is rounded.
            let most = weights.iter().zip(&back).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(most <= step * 1.01, "{}: {most} of {step}", format.name);
            format.quantize(&vec![0.0; format.elements], &mut bytes).unwrap();
            format.dequantize(&bytes, &mut back).unwrap();
            assert!(back.iter().all(|&weight| weight == 0.0), "{}", format.name);
        }
    }

    #[test]
    fn a_block_is_what_its_formula_says() {
        let mut bytes = vec![0; INT4_32.bytes];
        bytes[..2].copy_from_slice(&half::f16::from_f32(0.5).to_le_bytes());
        bytes[2] = 3;
        bytes[3] = 0x51;
        let mut weights = [f32::NAN; 32];
        INT4_32.dequantize(&bytes, &mut weights).unwrap();
        assert_eq!(weights[..3], [0.5 * (1.0 - 3.0), 0.5 * (5.0 - 3.0), 0.5 * -3.0]);
    }
}
