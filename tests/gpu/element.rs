//! Points that lie on the device as they are in their file: the bits of a clustering are those of the same values as f32.

use std::path::Path;
use std::time::Duration;

use half::f16;
use lowbit::internals::gpu::{Context, Options, time};
use lowbit::internals::io::npy::{self, Matrix};
use lowbit::internals::io::vecs::{How, Vectors};
use lowbit::internals::kmeans::centroid::Scales;
use lowbit::internals::kmeans::element::Element;
use lowbit::internals::kmeans::frame::Transform;
use lowbit::internals::kmeans::iterate::Lloyd;
use lowbit::internals::kmeans::points::{Points, Room};
use lowbit::internals::kmeans::{Empty, Init, KMeans, Metric, MiniBatchKMeans, Source};
use lowbit::internals::random::Random;

use crate::harness::device;
use crate::kmeans::{bits_of, matrix};

/// A file of `values` as `element`, which can hold them, and the same as f32.
struct Pair {
    typed: Vectors,
    floats: Matrix,
}

fn bytes_of(values: &[f32], element: Element) -> Vec<u8> {
    match element {
        Element::F16 => values.iter().flat_map(|&x| f16::from_f32(x).to_le_bytes()).collect(),
        Element::U8 => values.iter().map(|&x| x as u8).collect(),
        _ => values.iter().map(|&x| x as i8 as u8).collect(),
    }
}

impl Pair {
    fn new(folder: &Path, values: &[f32], cols: usize, element: Element) -> Self {
        let rows = values.len() / cols;
        let descr = match element {
            Element::F16 => "<f2",
            Element::U8 => "|u1",
            _ => "|i1",
        };
        let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({rows}, {cols}), }}");
        let header = format!("{header:<117}\n");
        let mut file = b"\x93NUMPY\x01\x00".to_vec();
        file.extend((header.len() as u16).to_le_bytes());
        file.extend(header.as_bytes());
        file.extend(bytes_of(values, element));
        let path = folder.join(format!("{element:?}.npy"));
        std::fs::write(&path, file).unwrap();
        let typed = Vectors::open(&path, &How::default()).unwrap();
        assert_eq!(typed.element(), element);
        let mut floats = Matrix { rows, cols, values: vec![0.0; rows * cols] };
        typed.read(0..rows as u64, &mut floats.values).unwrap();
        Self { typed, floats }
    }

    /// `n` rows around some centres off 0; f16 have small and large columns too.
    fn random(folder: &Path, (n, d): (usize, usize), element: Element) -> Self {
        let mut random = Random::new(n as u64);
        let values: Vec<f32> = (0..n * d)
            .map(|i| {
                let (centre, noise) = ((i / d % 5) as f32 * 9.0, random.unit() as f32 * 20.0);
                match element {
                    Element::F16 => {
                        let scale = [1.0, 1e-4, 500.0, 1e-6][i % d % 4];
                        f16::from_f32((centre + noise + 3.3) * scale).to_f32()
                    }
                    Element::U8 => (centre + noise + 100.0).round(),
                    _ => (centre + noise - 60.0).round(),
                }
            })
            .collect();
        Self::new(folder, &values, d, element)
    }

    /// Two parts of the points go to the same device: what two devices do to points, tests/gpu/adapters.rs shows.
    fn check(&self, gpu: &Context, name: &str, kmeans: &KMeans, weights: Option<&[f32]>) {
        let fit = |kmeans: &KMeans, parts: usize, data: &dyn Source| {
            kmeans.fit_on(&[gpu; 2][..parts], data, weights, |_| ()).unwrap()
        };
        let whole = fit(kmeans, 1, &self.floats);
        let bits = bits_of(&whole);
        let streamed = kmeans.clone().memory(100_000).chunk_rows(271);
        for (place, kmeans, parts) in
            [("resident", kmeans, 1), ("streamed", &streamed, 1), ("streamed", &streamed, 2)]
        {
            let fitted = fit(kmeans, parts, &self.typed);
            let element = self.typed.element();
            assert!(bits_of(&fitted) == bits, "{name}, {element:?}, {place}, {parts} parts");
        }
    }
}

// A type under a transform is a set of pipelines, and a driver takes seconds for each. So each of the nine is in one test of
// this file, and what does not depend on them is asked of one type.

#[test]
fn every_type_gives_the_bits_of_f32() {
    let (gpu, folder) = (device(), tempfile::tempdir().unwrap());
    let weights: Vec<f32> = (0..1500).map(|i| (i % 5) as f32 * 0.37).collect();
    let kmeans = KMeans::new(9).seed(3).max_iter(8).tol(0.0);
    let far = |x: &Pair, d: usize, empty: Empty| {
        let far: Vec<f32> = [200.0, 250.0].into_iter().flat_map(|at| vec![at; d]).collect();
        let start = matrix(d, &[&x.floats.values[..2 * d], &far].concat());
        KMeans::new(4).init(Init::Centroids(start)).max_iter(5).empty(empty)
    };

    let x = Pair::random(folder.path(), (1500, 7), Element::F16);
    x.check(&gpu, "euclidean", &kmeans, None);
    x.check(&gpu, "weighted", &kmeans, Some(&weights));
    x.check(&gpu, "k-means||, history", &kmeans.clone().init(Init::Parallel).history(true), None);
    x.check(&gpu, "the farthest points", &far(&x, 7, Empty::Farthest), None);

    let x = Pair::random(folder.path(), (1500, 12), Element::U8);
    x.check(&gpu, "a sample", &kmeans.clone().subsample(Some(60)), None);
    x.check(&gpu, "a sample to seed", &kmeans.clone().seed_bytes(20_000), None);
    x.check(&gpu, "bisecting", &kmeans.clone().init(Init::Bisecting), None);
    let frozen = matrix(12, &x.floats.values[..24]);
    x.check(&gpu, "two levels beside frozen", &kmeans.clone().init(Init::TwoLevel).frozen(frozen), None);
    x.check(&gpu, "halves of the largest", &far(&x, 12, Empty::SplitLargest), None);
    let dot = kmeans.clone().metric(Metric::Dot).init(Init::Random);
    x.check(&gpu, "dot, weighted, random", &dot, Some(&weights));

    let x = Pair::random(folder.path(), (1500, 6), Element::I8);
    let cosine = kmeans.metric(Metric::Cosine);
    x.check(&gpu, "cosine", &cosine, None);
    x.check(&gpu, "cosine, weighted, k-means||", &cosine.init(Init::Parallel), Some(&weights));
}

#[test]
fn embeddings_give_the_bits_of_f32() {
    let (gpu, folder) = (device(), tempfile::tempdir().unwrap());
    let all = npy::read_matrix("assets/kmeans/points.npy".as_ref()).unwrap();
    let init = npy::read_matrix("assets/kmeans/init.npy".as_ref()).unwrap();
    let most = all.values.iter().fold(0.0f32, |most, x| most.max(x.abs()));
    for (element, metric) in [(Element::F16, Metric::Cosine), (Element::I8, Metric::Euclidean)] {
        let scale = if element == Element::F16 { 1.0 } else { 127.0 / most };
        let values: Vec<f32> = all.values.iter().map(|x| x * scale).collect();
        let x = Pair::new(folder.path(), &values, all.cols, element);
        let init = Matrix { values: init.values.iter().map(|x| x * scale).collect(), ..init.clone() };
        let given = KMeans::new(init.rows).metric(metric).init(Init::Centroids(init)).max_iter(6);
        x.check(&gpu, "given", &given, None);
        x.check(&gpu, "chosen", &KMeans::new(16).metric(metric).max_iter(4), None);
    }
}

#[test]
fn labels_distances_and_batches_have_the_bits_of_f32_too() {
    let (gpu, folder) = (device(), tempfile::tempdir().unwrap());
    for (element, d, metric) in
        [(Element::F16, 5, Metric::Dot), (Element::U8, 4, Metric::Cosine), (Element::I8, 9, Metric::Dot)]
    {
        let x = Pair::random(folder.path(), (1200, d), element);
        let centroids = matrix(d, &x.floats.values[..11 * d]);
        for kmeans in [KMeans::new(11).metric(metric), KMeans::new(11).metric(metric).memory(20_000)] {
            let of = |data: &dyn Source| {
                let predicted = kmeans.predict(&gpu, data, &centroids).unwrap();
                let distances = kmeans.transform(&gpu, data, &centroids).unwrap();
                let distances: Vec<u32> = distances.values.iter().map(|x| x.to_bits()).collect();
                (predicted.labels, predicted.inertia.to_bits(), distances)
            };
            assert!(of(&x.typed) == of(&x.floats), "{element:?} {metric:?}");
        }
        let mini = MiniBatchKMeans::new(7).metric(metric).batch_size(100).max_iter(2);
        let of = |data: &dyn Source| bits_of(&mini.fit(&gpu, data, |_| ()).unwrap());
        assert!(of(&x.typed) == of(&x.floats), "{element:?} {metric:?}");
        let batch = KMeans::new(4).metric(metric).max_iter(5);
        let of = |data: &dyn Source| batch.fit_batch(&gpu, data, 3, |_| ()).unwrap().labels;
        assert!(of(&x.typed) == of(&x.floats), "{element:?} {metric:?}");
    }
}

#[test]
#[ignore = "times: cargo test --test gpu element -- --ignored --nocapture"]
fn an_iteration_over_points_of_each_type() {
    let gpu = Context::open(&Options::default()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (n, k, d) = (65_536, 256, 64);
    let typed = [Element::F16, Element::U8].map(|element| Pair::random(folder.path(), (n, d), element));
    let sources: [&dyn Source; 3] = [&typed[0].floats, &typed[0].typed, &typed[1].typed];
    for transform in [Transform::Centred(vec![100.0; d]), Transform::Unit, Transform::Plain] {
        for _ in 0..2 {
            for source in sources {
                let points = Points::new(&gpu, source, None, &transform, Room::default()).unwrap();
                let scales = Scales::new(65_536.0, None);
                let lloyd = Lloyd::new(&gpu, &points, k, Metric::Euclidean, scales, &[0.0]).unwrap();
                let first = transform.apply(&typed[1].floats.values[..k as usize * d], d);
                lloyd.labeller.start_from(&first).unwrap();
                let [assign, update] =
                    lloyd.stages().map(|stage| time(&gpu, &[stage], Duration::from_millis(500)).unwrap());
                println!(
                    "{:?}: assign {:.1} ms, update {:.1} ms",
                    points.layout(),
                    assign.low_us / 1e3,
                    update.low_us / 1e3
                );
            }
        }
    }
}

#[test]
fn rows_times_powers_of_two_are_clustered_alike_by_cosine() {
    let (gpu, folders) = (device(), [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()]);
    let (n, d) = (210, 6);
    for (element, reach, most) in [(Element::F16, 100, 9), (Element::I8, 15, 3)] {
        let values: Vec<f32> = Random::new(5).integers(n * d, reach).iter().map(|x| x + 0.0).collect();
        let by = |row: usize| 2f32.powi((row * 5 % most) as i32);
        let scaled: Vec<f32> = values.iter().enumerate().map(|(i, x)| x * by(i / d)).collect();
        let [own, other] = [(&folders[0], &values), (&folders[1], &scaled)]
            .map(|(folder, values)| Pair::new(folder.path(), values, d, element));
        let kmeans = KMeans::new(5).metric(Metric::Cosine).seed(2);
        let fit = |pair: &Pair| bits_of(&kmeans.fit(&gpu, &pair.typed, |_| ()).unwrap());
        assert_eq!(fit(&own), fit(&other), "{element:?}");
        let batches = MiniBatchKMeans::new(5).metric(Metric::Cosine).batch_size(50).max_iter(3).tol(1e-3);
        let fit = |pair: &Pair| bits_of(&batches.fit(&gpu, &pair.typed, |_| ()).unwrap());
        assert_eq!(fit(&own), fit(&other), "{element:?}");
    }
}
