//! Products whose tiles are shared by several workgroups each.

use lowbit::internals::cases::Random;
use lowbit::internals::format::Format;
use lowbit::internals::gpu::{Buffer, Context, Options, Recorder, Spec};
use lowbit::internals::matmul::choice::{Operands, bind};
use lowbit::internals::matmul::split_sum::{paying, splits};
use lowbit::internals::matmul::{Activations, Order, Weights, matmul, matmul_integer};

#[test]
fn agrees_with_the_oracle() {
    crate::harness::check("split_sum");
}

/// The variant that cuts a product into the most splits, and the same tiles without.
fn most(list: &[Spec]) -> (Spec, Spec) {
    let cut = list.iter().max_by_key(|spec| splits(spec)).unwrap();
    let whole = list.iter().find(|spec| spec.consts == &cut.consts[..cut.consts.len() - 1]).unwrap();
    (*cut, *whole)
}

#[test]
fn sums_that_are_larger_than_a_binding_are_made_in_windows() {
    let gpu = Context::open(&Options::default()).unwrap();
    let format = Format::by_name("F16").unwrap();
    // 16 splits of 64 columns: 160 MB, more than lavapipe's 128 MiB. Few of a row's splits have a pair.
    let (rows, cols, n, same) = (39_104, 128, 64, 32);
    let mut random = Random::new(3);
    let values = random.floats(same * cols).repeat(rows / same);
    let weights = Weights::from_values(&gpu, format, &values, cols as u64, Order::RowMajor).unwrap();
    let x = Activations::upload(&gpu, &random.floats(n * cols), cols).unwrap();
    let bias =
        Buffer::from_slice(&gpu, "bias", rows as u64, &random.floats(same).repeat(rows / same)).unwrap();
    let results = |spec: &Spec| {
        let y = Buffer::new(&gpu, "y", rows as u64, 4 * n as u64).unwrap();
        let on = Operands { weights: &weights, x: &x, bias: &bias, y: &y };
        let bound = bind(&gpu, &spec.slot("format", format.decoder), &on).unwrap();
        Recorder::run(&gpu, &bound.all).unwrap();
        (bound.all.iter().map(|pass| pass.windows()).collect::<Vec<_>>(), y.read::<f32>(&gpu).unwrap())
    };
    let (cut, whole) = most(matmul::VARIANTS);
    let (windows, y) = results(&cut);
    assert!(windows.len() == 2 && windows.iter().all(|&windows| windows > 1), "{windows:?}");
    assert!(y.chunks(same * n).all(|rows| rows == &y[..same * n]), "windows differ");
    let (one, exact) = results(&whole);
    assert_eq!(one.len(), 1);
    let near = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-4;
    assert!(y.iter().zip(&exact).all(near));
}

#[test]
fn only_products_of_few_tiles_and_many_pairs_are_cut() {
    for list in [matmul::VARIANTS, matmul_integer::VARIANTS] {
        let list: Vec<Spec> = list.iter().map(|spec| spec.slot("format", "format/q4_0")).collect();
        let most = |shape| paying(&list, shape).unwrap().iter().map(splits).max().unwrap();
        assert_eq!(most([512, 4096, 64]), 16);
        assert_eq!(most([1024, 4096, 64]), 4);
        assert_eq!(most([4096, 14_336, 64]), 1);
        // Of few pairs.
        assert_eq!((most([64, 1024, 9]), most([64, 1023, 9]), most([64, 1024 - 64, 9])), (4, 4, 1));
        assert_eq!(most([u64::MAX, 4096, u64::MAX]), 1);
    }
}
