//! Oracle of `extent`: the least, the largest, and how many are not finite.

/// What a kernel may count of `rows` rows: for each position `channels` values, and padding to a multiple of 4.
pub fn counted(x: &[f32], rows: usize, positions: usize, channels: usize) -> Vec<f32> {
    let place = channels.next_multiple_of(4);
    let all = x.chunks(place).take(rows * positions);
    all.flat_map(|position| &position[..channels]).copied().collect()
}

/// Least and largest finite value, with -0 below 0, and how many values are NaN or infinite.
pub fn extent(values: &[f32]) -> (Option<[f32; 2]>, u64) {
    let mut finite: Vec<f32> = values.iter().copied().filter(|value| value.is_finite()).collect();
    let strange = values.len() - finite.len();
    finite.sort_by(f32::total_cmp);
    (finite.first().zip(finite.last()).map(|(least, largest)| [*least, *largest]), strange as u64)
}
