//! Oracle of `radix_sort`: a stable sort.

/// `keys` in order, each with its value; equal keys stay in their order.
pub fn radix_sort(keys: &[u32], values: &[u32]) -> (Vec<u32>, Vec<u32>) {
    let mut pairs: Vec<(u32, u32)> = keys.iter().copied().zip(values.iter().copied()).collect();
    pairs.sort_by_key(|&(key, _)| key);
    pairs.into_iter().unzip()
}
