//! Repeated int8 dot product.

/// Each of `x` after `steps` steps of v = v + dot(v, weight), where a word is four signed bytes, modulo 2^32.
pub fn dot_i8(x: &[u32], weight: u32, steps: u64) -> Vec<u32> {
    let bytes = |word: u32| word.to_le_bytes().map(|byte| i64::from(byte as i8));
    let weight = bytes(weight);
    let step = |value: u32| {
        let dot: i64 = bytes(value).iter().zip(&weight).map(|(a, b)| a * b).sum();
        value.wrapping_add(dot as u32)
    };
    x.iter().map(|&start| (0..steps).fold(start, |value, _| step(value))).collect()
}
