//! A device's fit is the one that the definition gives, to the bit: labels, centroids, inertia and iterations.

use lowbit::internals::cases::problems::problem;
use lowbit::internals::gpu::Context;
use lowbit::internals::io::npy::Matrix;
use lowbit::internals::kmeans::definition::{self, Defined};
use lowbit::internals::kmeans::{Init, KMeans};

use crate::harness::device;
use crate::kmeans::matrix;

/// The fit by a device and by the definition; what is refused is refused in the same words.
fn compare(gpu: &Context, kmeans: &KMeans, data: &Matrix, weights: Option<&[f32]>, name: &str) {
    let fitted = kmeans.fit_weighted(gpu, data, weights, |_| ());
    let fitted = fitted.map(|of| Defined {
        labels: of.labels,
        cluster_centers: of.cluster_centers,
        inertia: of.inertia,
        n_iter: of.n_iter,
    });
    let defined = definition::fit(kmeans, data, weights);
    assert_eq!(fitted.map_err(|e| e.to_string()), defined.map_err(|e| e.to_string()), "{name}");
}

#[test]
fn random_problems() {
    let gpu = device();
    for number in 0..72 {
        let problem = problem(number);
        compare(&gpu, &problem.fit(), &problem.data, problem.weights.as_deref(), &problem.name);
    }
}

#[test]
fn several_starts_and_frozen_centroids() {
    let gpu = device();
    for number in 0..18 {
        let problem = problem(number);
        let (data, name) = (&problem.data, &problem.name);
        let weights = problem.weights.as_deref();
        let cols = data.cols;
        let kmeans = KMeans::new(problem.k).metric(problem.metric).seed(problem.seed).max_iter(9).n_init(2);
        let init = [Init::PlusPlus, Init::Parallel, Init::Random][number % 3].clone();
        compare(&gpu, &kmeans.clone().init(init.clone()), data, weights, name);
        let frozen = matrix(cols, &data.values[..problem.k / 2 * cols]);
        if frozen.rows > 0 {
            compare(&gpu, &kmeans.init(init).frozen(frozen), data, weights, name);
        }
    }
}
