use lowbit::internals::gpu::{Buffer, Recorder, tune};
use lowbit::internals::kmeans::element::Layout;
use lowbit::internals::kmeans::seed::{Seed, VARIANTS};
use lowbit::internals::random::Random;

use crate::harness::device;

#[test]
fn agrees_with_the_oracle() {
    crate::harness::check("seed");
}

#[test]
fn every_variant_gives_the_same_bits() {
    let gpu = device();
    let points = Buffer::from_slice(&gpu, "points", 3000, &Random::new(8).floats(3000 * 12)).unwrap();
    let mut first: Option<Vec<Vec<u32>>> = None;
    for spec in tune::supported(&gpu, &Layout::F32.fill_all(VARIANTS)).unwrap() {
        let kernels = Seed::load(&gpu, spec, 3000).unwrap();
        let state = kernels.state(&gpu, (3000, 1), 100, &[7], None).unwrap();
        for step in 0..4 {
            let bound = kernels.bind(&gpu, (&points).into(), &state, 12, 5, step % 2).unwrap();
            let mut record = Recorder::new(&gpu);
            bound.iter().for_each(|bound| record.dispatch(bound));
            record.submit().unwrap();
        }
        let outputs = [&state.nearest[0], &state.nearest[1], &state.potential, &state.candidates];
        let bits: Vec<Vec<u32>> = outputs.iter().map(|buffer| buffer.read(&gpu).unwrap()).collect();
        assert!(first.get_or_insert_with(|| bits.clone()) == &bits, "{}", spec.label());
    }
}
