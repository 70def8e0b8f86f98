//! Oracle of `rank`: where each score lies among others, ties by halves. Its counts are also the CPU's way to an AUC.

/// For each of `x`, how many of `others` are less, and how many less or equal, added up: twice its midrank among them. The
/// two zeros are equal; there must be no NaN, and fewer than 2^31 of `others`.
pub fn rank(x: &[f32], others: &[f32]) -> Vec<u32> {
    let mut sorted = others.to_vec();
    sorted.sort_unstable_by(f32::total_cmp);
    let less = |x: f32| sorted.partition_point(|&other| other < x);
    let up_to = |x: f32| sorted.partition_point(|&other| other <= x);
    x.iter().map(|&x| (less(x) + up_to(x)) as u32).collect()
}
