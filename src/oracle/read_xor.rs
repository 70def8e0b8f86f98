//! Exclusive-or over the words that one invocation reads.

/// y[r, j] = xor over i in 0..16 and c in 0..4 of word c of the vec4 x[r, i * 8 + j]; a row is 512 words.
pub fn read_xor(x: &[u32]) -> Vec<u32> {
    let mut y = vec![0; x.len() / 64];
    for (at, word) in x.iter().enumerate() {
        let (row, vector) = (at / 512, at % 512 / 4);
        y[row * 8 + vector % 8] ^= word;
    }
    y
}
