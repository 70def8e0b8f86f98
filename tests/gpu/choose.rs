//! Fits with several numbers of clusters: each is the fit alone, and elbow and silhouette are those of the definitions.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use lowbit::internals::gpu::Context;
use lowbit::internals::io::npy::{Matrix, read_matrix};
use lowbit::internals::kmeans::{Choice, Choosing, Fitted, Init, KMeans, Metric, Source};
use lowbit::internals::oracle::silhouette::silhouette;
use lowbit::internals::random::Random;
use lowbit::internals::{Error, Result};

use crate::harness::device;
use crate::kmeans::bits_of;

/// `n` points around `clusters` centres at random, which are far from each other.
fn blobs(n: usize, d: usize, clusters: usize, seed: u64) -> Matrix {
    let mut random = Random::new(seed);
    let centres = random.floats(clusters * d);
    let of = |i: usize| centres[i % clusters * d..][..d].to_vec();
    let noise = random.floats(n * d);
    let rows = noise.chunks(d).enumerate();
    let values = rows.flat_map(|(i, row)| {
        of(i).into_iter().zip(row).map(|(centre, x)| 20.0 * centre + x).collect::<Vec<_>>()
    });
    Matrix { rows: n, cols: d, values: values.collect() }
}

/// The choice, and what was fitted on the way.
fn choose(
    gpu: &Context,
    kmeans: &KMeans,
    data: &dyn Source,
    ks: &[usize],
    sample: Option<usize>,
) -> (Choice, Vec<Fitted>) {
    let mut fits = Vec::new();
    let watch = |news: Choosing<'_>| {
        if let Choosing::Fitted(fitted) = news {
            fits.push(fitted.clone());
        }
    };
    let choice = kmeans.choose(gpu, data, None, ks, sample, watch).unwrap();
    (choice, fits)
}

/// A clustering by its number of clusters, and weights.
type Setting<'a> = (fn(usize) -> KMeans, Option<&'a [f32]>);

#[test]
fn each_row_is_the_fit_alone() {
    let (gpu, data) = (device(), blobs(700, 5, 6, 3));
    let weights: Vec<f32> = (0..700).map(|i| (i % 7) as f32).collect();
    let ks = [1, 3, 8, 20];
    let settings: [Setting<'_>; 5] = [
        (|k| KMeans::new(k).seed(5), None),
        (|k| KMeans::new(k).init(Init::Random).n_init(3), Some(&weights[..])),
        (|k| KMeans::new(k).init(Init::Parallel).metric(Metric::Cosine), Some(&weights)),
        (|k| KMeans::new(k).metric(Metric::Dot).max_iter(2), None),
        (|k| KMeans::new(k).subsample(Some(20)).memory(16 << 10), None),
    ];
    for (kmeans, weights) in settings {
        let mut fits = Vec::new();
        let watch = |news: Choosing<'_>| match news {
            Choosing::Fitted(fitted) => fits.push(fitted.clone()),
            Choosing::Fitting { k, done, of, .. } => {
                assert_eq!((k, fits.len(), ks.len()), (ks[done], done, of))
            }
            _ => (),
        };
        // Its own number of clusters has no part in it, nor has its history.
        let choice = kmeans(700).history(true).choose(&gpu, &data, weights, &ks, Some(100), watch).unwrap();
        assert_eq!((choice.n, choice.d, choice.candidates.len()), (700, 5, ks.len()));
        for ((row, fitted), &k) in choice.candidates.iter().zip(&fits).zip(&ks) {
            let alone = kmeans(k).fit_weighted(&gpu, &data, weights, |_| ()).unwrap();
            assert_eq!(bits_of(fitted), bits_of(&alone));
            assert_eq!(
                (row.k, row.inertia.to_bits(), row.n_iter),
                (k, alone.inertia.to_bits(), alone.n_iter)
            );
            assert_eq!((row.converged, row.distinct_clusters), (alone.converged, alone.distinct_clusters));
            assert_eq!(row.imbalance, alone.imbalance);
        }
    }
}

#[test]
fn clusters_that_are_there_are_found() {
    let gpu = device();
    for (clusters, d, seed) in [(4, 8, 1), (9, 32, 3)] {
        let data = blobs(500, d, clusters, seed);
        let ks: Vec<usize> = (1..=14).collect();
        let (choice, _) = choose(&gpu, &KMeans::new(1).n_init(4), &data, &ks, Some(1000));
        assert_eq!((choice.elbow, choice.best_silhouette), (Some(clusters), Some(clusters)), "{choice:?}");
        let best = choice.candidates[clusters - 1].silhouette.unwrap();
        assert!(best > 0.8 && choice.candidates[0].silhouette.is_none(), "{best}");
        assert_eq!(choice.sample, 500);
    }
}

/// A source that notes the rows that are read one by one.
struct Noted<'a>(&'a Matrix, Mutex<Vec<u64>>);

impl Source for Noted<'_> {
    fn rows(&self) -> u64 {
        self.0.rows as u64
    }

    fn cols(&self) -> usize {
        self.0.cols
    }

    fn read(&self, rows: Range<u64>, out: &mut [f32]) -> Result<()> {
        if rows.end - rows.start == 1 {
            self.1.lock().unwrap().push(rows.start);
        }
        Source::read(self.0, rows, out)
    }
}

#[test]
fn silhouettes_are_those_of_the_definition() {
    let gpu = device();
    let all = read_matrix("assets/kmeans/points.npy".as_ref()).unwrap();
    let embeddings = Matrix { rows: 300, cols: all.cols, values: all.values[..300 * all.cols].to_vec() };
    for (metric, cosine) in [(Metric::Euclidean, false), (Metric::Cosine, true)] {
        for sample in [300, 150] {
            let data = Noted(&embeddings, Mutex::default());
            let kmeans = KMeans::new(1).metric(metric).max_iter(5);
            let mut fits = Vec::new();
            let watch = |news: Choosing<'_>| {
                if let Choosing::Fitted(fitted) = news {
                    fits.push(fitted.clone());
                    data.1.lock().unwrap().clear();
                }
            };
            let choice = kmeans.choose(&gpu, &data, None, &[2, 12, 40], Some(sample), watch).unwrap();
            let noted = data.1.into_inner().unwrap();
            let rows: Vec<usize> = if sample == 300 {
                (0..300).collect()
            } else {
                noted.iter().map(|&row| row as usize).collect()
            };
            assert_eq!((rows.len(), choice.sample), (sample, sample));
            assert!(rows.is_sorted_by(|a, b| a < b));
            let d = embeddings.cols;
            let values: Vec<f32> =
                rows.iter().flat_map(|&row| &embeddings.values[row * d..][..d]).copied().collect();
            for (row, fitted) in choice.candidates.iter().zip(&fits) {
                let labels: Vec<i32> = rows.iter().map(|&row| fitted.labels[row]).collect();
                let (found, expected) = (row.silhouette.unwrap(), silhouette(&values, &labels, d, cosine));
                assert!((found - expected).abs() <= 2e-6, "{metric:?} {}: {found} {expected}", row.k);
            }
        }
    }
}

#[test]
fn a_silhouette_does_not_depend_on_scale_or_on_where_points_are_kept() {
    let (gpu, data) = (device(), blobs(600, 3, 5, 9));
    let kmeans = KMeans::new(1);
    let bits = |kmeans: &KMeans, data: &Matrix| {
        let (choice, _) = choose(&gpu, kmeans, data, &[2, 5, 9], Some(550));
        choice.candidates.iter().map(|row| row.silhouette.unwrap().to_bits()).collect::<Vec<_>>()
    };
    let whole = bits(&kmeans, &data);
    for factor in [2f32.powi(100), 2f32.powi(-100)] {
        assert_eq!(bits(&kmeans, &data.scaled(factor)), whole);
    }
    for kmeans in [kmeans.clone().chunk_rows(64), kmeans.clone().memory(16 << 10)] {
        assert_eq!(bits(&kmeans, &data), whole);
    }
}

#[test]
fn where_nothing_can_be_said_nothing_is() {
    let (gpu, data) = (device(), blobs(40, 3, 4, 11));
    let none = |choice: &Choice| choice.candidates.iter().all(|row| row.silhouette.is_none());
    let (choice, _) = choose(&gpu, &KMeans::new(1), &data, &[2, 3, 4], None);
    assert!(none(&choice) && choice.best_silhouette.is_none() && choice.sample == 0);
    let (choice, _) = choose(&gpu, &KMeans::new(1).metric(Metric::Dot), &data, &[2, 3], Some(40));
    assert!(none(&choice) && choice.notices.iter().any(|text| text.contains("products are no distances")));
    // One cluster, and one for each point.
    let (choice, _) = choose(&gpu, &KMeans::new(1), &data, &[1, 40], Some(40));
    assert_eq!(choice.candidates.iter().map(|row| row.silhouette).collect::<Vec<_>>(), [None, Some(0.0)]);
    assert_eq!(choice.elbow, None);
    let same = Matrix { rows: 60, cols: 2, values: vec![3.0; 120] };
    let (choice, _) = choose(&gpu, &KMeans::new(1), &same, &[1, 2, 3, 4, 5], Some(60));
    assert!(none(&choice) && choice.elbow.is_none(), "{choice:?}");
    assert!(choice.candidates.iter().all(|row| row.distinct_clusters == 1));
}

#[test]
fn numbers_of_clusters_are_tried_once_each_and_notices_are_joined() {
    let (gpu, data) = (device(), blobs(200, 3, 4, 12));
    let (choice, _) = choose(&gpu, &KMeans::new(1).max_iter(1), &data, &[5, 2, 3, 5, 7, 8], None);
    assert_eq!(choice.candidates.iter().map(|row| row.k).collect::<Vec<_>>(), [2, 3, 5, 7, 8]);
    let said = |text: &str| choice.notices.iter().filter(|notice| notice.contains(text)).count();
    assert_eq!(said("numbers of clusters: 2, 3, 5, 7, 8, rising, each once"), 1, "{:?}", choice.notices);
    assert_eq!(said("not converged after 1 iterations"), 1, "{:?}", choice.notices);
    assert_eq!(said("k=7, 8: 39 or more points for each cluster are advised"), 1, "{:?}", choice.notices);
}

#[test]
fn what_cannot_be_tried_is_refused_before_the_work() {
    let (gpu, data) = (device(), blobs(30, 3, 4, 13));
    let given = KMeans::new(4).init(Init::Centroids(Matrix { rows: 4, cols: 3, values: vec![0.0; 12] }));
    let plain = KMeans::new(1);
    let few: Vec<f32> = (0..30).map(|i| if i < 3 { 1.0 } else { 0.0 }).collect();
    for (kmeans, weights, ks, sample, words) in [
        (&plain, None, &[][..], None, "no number of clusters"),
        (&plain, None, &[2, 0], None, "n_clusters=0 should be >= 1"),
        (&plain, None, &[2, 31], None, "n_samples=30 should be >= n_clusters=31"),
        (&plain, None, &[2, 3], Some(1), "sample=1 should be >= 2"),
        (&plain, Some(&few[..]), &[2, 4], None, "3 points have a weight above 0"),
        (&plain, Some(&few[..7]), &[2], None, "there are 7 weights for 30 points"),
        (&given, None, &[4], None, "given centroids are of one number of clusters"),
    ] {
        let none = |news: Choosing<'_>| panic!("{words}: {news:?}");
        let error = kmeans.choose(&gpu, &data, weights, ks, sample, none).unwrap_err();
        assert!(error.exit_code() == 2 && error.to_string().contains(words), "{error}");
    }
    let nan = Matrix { rows: 3, cols: 1, values: vec![1.0, f32::NAN, 2.0] };
    let error = plain.choose(&gpu, &nan, None, &[1, 2], Some(10), |_| ()).unwrap_err();
    assert!(matches!(error, Error::NotFinite(_)), "{error}");
}

#[test]
fn it_ends_when_it_is_asked_to() {
    let (gpu, data) = (device(), blobs(1500, 4, 4, 14));
    for (between, words) in
        [(true, "after 1 of 3 numbers of clusters"), (false, "after the silhouettes of 512 of 1500 rows")]
    {
        let stop = Arc::new(AtomicBool::new(false));
        let _heeding = gpu.heed(&stop);
        let watch = |news: Choosing<'_>| match news {
            Choosing::Fitted(_) if between => stop.store(true, Ordering::Relaxed),
            Choosing::Measuring { .. } => stop.store(true, Ordering::Relaxed),
            _ => (),
        };
        let error = KMeans::new(1).choose(&gpu, &data, None, &[2, 3, 4], Some(2000), watch).unwrap_err();
        assert!(matches!(&error, Error::Interrupted { reached, .. } if reached == words), "{error}");
    }
}
