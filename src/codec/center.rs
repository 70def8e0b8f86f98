//! Key centring: the softmax does not see what all keys share, so their mean need not be quantized.
//!
//! One mean serves all tokens of a sequence: with another for each group, logits of different groups would shift apart.

/// The mean of each channel of `[tokens, dim]`, summed in f64.
pub fn mean(keys: &[f32], dim: usize) -> Vec<f32> {
    let mut sums = vec![0.0; dim];
    for token in keys.chunks_exact(dim) {
        for (sum, &key) in sums.iter_mut().zip(token) {
            *sum += f64::from(key);
        }
    }
    let tokens = (keys.len() / dim).max(1) as f64;
    sums.iter().map(|sum| (sum / tokens) as f32).collect()
}

/// Adds the mean to every token.
pub fn add(keys: &mut [f32], mean: &[f32]) {
    for token in keys.chunks_exact_mut(mean.len()) {
        for (key, mean) in token.iter_mut().zip(mean) {
            *key += mean;
        }
    }
}

/// Subtracts the mean from every token.
pub fn subtract(keys: &mut [f32], mean: &[f32]) {
    for token in keys.chunks_exact_mut(mean.len()) {
        for (key, mean) in token.iter_mut().zip(mean) {
            *key -= mean;
        }
    }
}
