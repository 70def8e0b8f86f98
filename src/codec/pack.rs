//! Codes in words, the order that kernels read: value v of a vector lies in word `v / (32 / bits)`; inside it, with
//! `w = v % (32 / bits)`, at bit `8 * (w % 4) + bits * (w / 4)`. So `unpack4xU8((word >> (bits * s)) & mask)` gives four
//! neighbouring values. Codes of 16 bits lie two to a word, the first one low. Rows end in whole words.

/// Words that `values` codes take.
pub fn words(bits: usize, values: usize) -> usize {
    (values * bits).div_ceil(32)
}

fn place(bits: usize, v: usize) -> (usize, usize) {
    let (word, w) = (v / (32 / bits), v % (32 / bits));
    (word, if bits == 16 { 16 * w } else { 8 * (w % 4) + bits * (w / 4) })
}

/// Puts codes, `sum of planes` bits each, into the words of their row, which are 0: planes lie one behind another, the first
/// has the lowest bits.
pub fn put(planes: &[usize], codes: &[u32], row: &mut [u32]) {
    let (mut first, mut below) = (0, 0);
    for &bits in planes {
        for (v, &code) in codes.iter().enumerate() {
            let (word, bit) = place(bits, v);
            row[first + word] |= ((code >> below) & ((1 << bits) - 1)) << bit;
        }
        first += words(bits, codes.len());
        below += bits;
    }
}

/// Takes them out again.
pub fn take(planes: &[usize], row: &[u32], codes: &mut [u32]) {
    codes.fill(0);
    let (mut first, mut below) = (0, 0);
    for &bits in planes {
        let count = codes.len();
        for (v, code) in codes.iter_mut().enumerate() {
            let (word, bit) = place(bits, v);
            *code |= ((row[first + word] >> bit) & ((1 << bits) - 1)) << below;
        }
        first += words(bits, count);
        below += bits;
    }
}
