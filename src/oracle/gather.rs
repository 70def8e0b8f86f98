//! Oracle of `gather`: chosen elements, in a given order.

/// Element `index[i]` of all `inputs`, one behind the other.
pub fn gather<T: Copy>(index: &[u32], inputs: &[&[T]]) -> Vec<T> {
    let all = inputs.concat();
    index.iter().map(|&from| all[from as usize]).collect()
}
