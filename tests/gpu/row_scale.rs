//! Powers of two that bring rows and columns into the range of f16.

use lowbit::internals::format::Format;
use lowbit::internals::matmul::{Activations, Weights};
use lowbit::internals::oracle::row_scale::scale;
use lowbit::internals::random::Random;

#[test]
fn agrees_with_the_oracle() {
    crate::harness::check("row_scale");
}

#[test]
fn scales_follow_the_weights_that_are_written() {
    let gpu = crate::harness::device();
    let (rows, cols) = (5, 70);
    let mut values = Random::new(1).floats(rows * cols);
    let format = Format::by_name("F32").unwrap();
    let weights = Weights::from_blocks(&gpu, format, cols as u64, bytemuck::cast_slice(&values)).unwrap();
    let expected = |values: &[f32]| values.chunks(cols).map(scale).collect::<Vec<_>>();
    assert_eq!(weights.scales(&gpu).unwrap().read::<f32>(&gpu).unwrap(), expected(&values));
    values[3 * cols..].iter_mut().for_each(|value| *value *= 1e6);
    weights.write_rows(&gpu, 3, bytemuck::cast_slice(&values[3 * cols..])).unwrap();
    assert_eq!(weights.scales(&gpu).unwrap().read::<f32>(&gpu).unwrap(), expected(&values));
}

#[test]
fn columns_have_scales_and_so_has_their_padding() {
    let gpu = crate::harness::device();
    let values: Vec<f32> = Random::new(2).floats(3 * 100).iter().map(|value| value * 1e20).collect();
    let x = Activations::upload(&gpu, &values, 100).unwrap();
    let mut expected: Vec<f32> = values.chunks(100).map(scale).collect();
    expected.resize(x.padded() as usize, f32::MIN_POSITIVE);
    assert_eq!(x.scales(&gpu).unwrap().read::<f32>(&gpu).unwrap(), expected);
}
