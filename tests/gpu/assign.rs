use lowbit::internals::cases::{Expected, Measured, compare};
use lowbit::internals::gpu::{Bound, Context, Recorder, tune};
use lowbit::internals::kmeans::Metric;
use lowbit::internals::kmeans::assign::{Assign, Trial, VARIANTS};
use lowbit::internals::kmeans::element::{Element, Layout, Stored};
use lowbit::internals::kmeans::frame::Transform;
use lowbit::internals::kmeans::rerank::Rerank;
use lowbit::internals::random::Random;

use crate::harness::{check, device};

#[test]
fn agrees_with_the_oracle() {
    check("assign");
}

const N: usize = 5000;
const K: usize = 100;
const D: usize = 37;

fn run(gpu: &Context, passes: &[Bound], trial: &Trial) -> Vec<u32> {
    let mut record = Recorder::new(gpu);
    passes.iter().for_each(|pass| record.dispatch(pass));
    record.submit().unwrap();
    trial.labels.read(gpu).unwrap()
}

#[test]
fn every_variant_gives_the_same_labels_even_where_two_centroids_are_as_near() {
    let gpu = device();
    let mut random = Random::new(3);
    let centroids = random.floats(K * D);
    // Points half-way between two centroids, up to rounding: the last bit decides.
    let row = |c: u64| &centroids[c as usize * D..][..D];
    let points: Vec<f32> = (0..N)
        .flat_map(|_| {
            let (a, b) = (random.below(K as u64), random.below(K as u64));
            row(a).iter().zip(row(b)).map(|(a, b)| (a + b) / 2.0).collect::<Vec<_>>()
        })
        .collect();
    let mut first: Option<Vec<u32>> = None;
    for spec in tune::supported(&gpu, &Layout::F32.fill_all(VARIANTS)).unwrap() {
        let stored = Stored::upload(&gpu, &points, D, Element::F32, &Transform::Plain).unwrap();
        let trial = Trial::upload(&gpu, stored, &centroids, D, 1).unwrap();
        let on = trial.assignment();
        let passes = [
            Assign::load(&gpu, spec, None).unwrap().bind(&gpu, &on, D as u64, Metric::Euclidean).unwrap(),
            Rerank::load(&gpu, Layout::F32).unwrap().bind(&gpu, &on, D as u64, Metric::Euclidean).unwrap(),
        ];
        let labels = run(&gpu, &passes, &trial);
        let first = first.get_or_insert_with(|| labels.clone());
        let expected = Expected::Exact(first.clone());
        compare(&Measured::forged(labels), &expected)
            .unwrap_or_else(|error| panic!("{}: {error}", spec.label()));
    }
}
