//! k-means||: the same choice wherever points lie, as good as k-means++, in few passes.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use lowbit::internals::Result;
use lowbit::internals::io::npy::Matrix;
use lowbit::internals::kmeans::{Init, KMeans, Metric, Source};
use lowbit::internals::random::Random;

use crate::harness::device;
use crate::kmeans::{bits_of, blobs, matrix};

/// Counts the rows that are read.
struct Counted<'a>(&'a Matrix, AtomicU64);

impl Source for Counted<'_> {
    fn rows(&self) -> u64 {
        Source::rows(self.0)
    }

    fn cols(&self) -> usize {
        self.0.cols
    }

    fn read(&self, rows: Range<u64>, out: &mut [f32]) -> Result<()> {
        self.1.fetch_add(rows.end - rows.start, Ordering::Relaxed);
        self.0.read(rows, out)
    }
}

#[test]
fn the_choice_does_not_depend_on_chunks_and_memory() {
    let gpu = device();
    let x = blobs(1501, 5, 23, 0.4, 7);
    let weights: Vec<f32> = Random::new(5).integers(1501, 3).iter().map(|w| w.abs()).collect();
    for (metric, weights) in
        [(Metric::Euclidean, None), (Metric::Euclidean, Some(&weights[..])), (Metric::Cosine, None)]
    {
        let kmeans = KMeans::new(23).metric(metric).init(Init::Parallel).seed(3).max_iter(2);
        let fit = |kmeans: KMeans| bits_of(&kmeans.fit_weighted(&gpu, &x, weights, |_| ()).unwrap());
        let whole = fit(kmeans.clone());
        assert_eq!(fit(kmeans.clone()), whole);
        assert_eq!(fit(kmeans.clone().chunk_rows(400)), whole);
        assert_eq!(fit(kmeans.clone().memory(40_000)), whole);
        assert_ne!(fit(kmeans.clone().seed(4)), whole);
    }
}

#[test]
fn ends_as_low_as_plus_plus() {
    let gpu = device();
    let k = 25;
    let mut random = Random::new(2);
    let centres = random.floats(k * 6);
    let values = (0..3000)
        .flat_map(|_| {
            let centre = random.below(k as u64) as usize;
            let near = random.floats(6);
            (0..6).map(move |i| (centre, i, near[i])).collect::<Vec<_>>()
        })
        .map(|(centre, i, near)| 5.0 * centres[centre * 6 + i] + near)
        .collect();
    let x = Matrix { rows: 3000, cols: 6, values };
    let mean = |init: Init| {
        let inertia = |seed| {
            KMeans::new(k).init(init.clone()).seed(seed).max_iter(30).fit(&gpu, &x, |_| ()).unwrap().inertia
        };
        (0..10).map(inertia).sum::<f64>() / 10.0
    };
    let (parallel, plus_plus) = (mean(Init::Parallel), mean(Init::PlusPlus));
    println!("mean inertia of 10 seeds: k-means|| {parallel}, k-means++ {plus_plus}");
    assert!(parallel <= 1.02 * plus_plus, "{parallel} {plus_plus}");
}

#[test]
fn reads_all_points_six_times_whatever_k_is() {
    let gpu = device();
    let n = 20_000;
    let x = Matrix { rows: n, cols: 4, values: Random::new(1).floats(n * 4) };
    for k in [20, 300] {
        let read = |init: Init| {
            let counted = Counted(&x, AtomicU64::new(0));
            let kmeans = KMeans::new(k).init(init).max_iter(1).memory(200_000);
            kmeans.fit(&gpu, &counted, |_| ()).unwrap();
            counted.1.into_inner() as usize
        };
        let more = read(Init::Parallel) - read(Init::Random);
        println!("k {k}: {more} more rows read than with --init random");
        // A little of the points stays on the device. Some 10 k candidates are read once to measure by them, and once to
        // choose among them.
        assert!((5 * n..6 * n + 30 * k).contains(&more), "k {k}: {more}");
    }
}

#[test]
fn few_different_points_are_enough() {
    let gpu = device();
    let x = matrix(1, &[0.0, 1.0, 2.0, 3.0, 4.0, 0.0, 1.0, 2.0, 3.0, 4.0, 4.0]);
    for seed in 0..5 {
        let kmeans = KMeans::new(10).init(Init::Parallel).seed(seed);
        let fitted = kmeans.fit(&gpu, &x, |_| ()).unwrap();
        assert!(fitted.inertia < 1e-9);
        assert_eq!(fitted.distinct_clusters, 5);
        let all = KMeans::new(11).init(Init::Parallel).seed(seed).fit(&gpu, &x, |_| ()).unwrap();
        assert!(all.inertia < 1e-9);
        let weights = [0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 2.0, 0.0, 0.0];
        let kmeans = KMeans::new(3).init(Init::Parallel).seed(seed);
        let fitted = kmeans.fit_weighted(&gpu, &x, Some(&weights), |_| ()).unwrap();
        let mut centers = fitted.cluster_centers.values;
        centers.sort_by(f32::total_cmp);
        assert_eq!(centers, [1.0, 2.0, 3.0]);
    }
}
