//! Products by cooperative matrices, where the adapter has them.

use lowbit::internals::Error;
use lowbit::internals::format::Format;
use lowbit::internals::matmul::{Activations, Path, Weights};
use lowbit::internals::random::Random;

#[test]
fn agrees_with_the_oracle() {
    crate::harness::check("matmul_matrix");
}

#[test]
fn the_half_path_is_right_or_refused() {
    let gpu = crate::harness::device();
    let mut random = Random::new(1);
    let (rows, cols, n) = (40, 96, 17);
    let (w, x) = (random.floats(rows * cols), random.floats(n * cols));
    let blocks: &[u8] = bytemuck::cast_slice(&w);
    let weights = Weights::from_blocks(&gpu, Format::by_name("F32").unwrap(), cols as u64, blocks).unwrap();
    let columns = Activations::upload(&gpu, &x, cols).unwrap();
    let half = weights.times(&gpu, &columns, &[], Path::Half);
    if !gpu.adapter.has_matrices(16) && !gpu.adapter.has_matrices(8) {
        assert!(
            matches!(half, Err(Error::Unsupported(problem)) if problem.contains("no cooperative matrices"))
        );
        return;
    }
    let exact = weights.times(&gpu, &columns, &[], Path::Float).unwrap();
    let error: f32 = exact.values.iter().zip(half.unwrap().values).map(|(a, b)| (a - b).powi(2)).sum();
    let right = error <= 1e-6 * exact.values.iter().map(|a| a * a).sum::<f32>();
    assert!(right, "squared error {error:e}");
}
