//! The oracles themselves, on cases small enough to work out by hand.

use lowbit::internals::io::npy;
use lowbit::internals::network::Window;
use lowbit::internals::oracle::{
    assign, average_pool, centroid, distance, gather, lloyd, matvec, matvec_fixed, max_pool, radix_sort,
    rerank, seed, silhouette, softmax,
};

#[test]
fn the_nearest_centroid_and_the_lowest_of_equals() {
    let points = [0.0, 0.0, 3.0, 0.0, 1.0, 0.0];
    let centroids = [0.0, 0.0, 2.0, 0.0, 4.0, 0.0];
    assert_eq!(assign::assign(&points, &centroids, 2), [0, 1, 0]);
}

#[test]
fn nearest_without_rounding() {
    // Far from 0, the difference of two distances is below the last digit of either in f64.
    let far = 1e30f32;
    let centroids = [far, 1.0, far, 1.0 + 2.0 * f32::EPSILON];
    assert_eq!(assign::assign(&[0.0, 2.0, 0.0, 0.0], &centroids, 2), [1, 0]);
    // The same distance, by other numbers.
    assert_eq!(assign::assign(&[0.0, 0.0], &[3.0, 4.0, 5.0, 0.0, 0.0, -5.0], 2), [0]);
    let step = f32::from_bits(1);
    assert_eq!(assign::assign(&[step], &[2.0 * step, step, 0.0], 1), [1]);
    assert_eq!(assign::nearest(&[1.0, 2.0], &[1.0, 1.0, 3.0, 0.0, 0.0, 1.5 + f32::EPSILON], 2, true), [2]);
    let mut random = lowbit::internals::random::Random::new(1);
    for d in [1, 2, 5] {
        // Whole numbers, which i64 ranks without rounding.
        let (points, centroids) = (random.integers(40 * d, 50), random.integers(30 * d, 50));
        let far = |x: &[f32], c: &[f32]| -> i64 {
            x.iter().zip(c).map(|(x, c)| (*x as i64 - *c as i64).pow(2)).sum()
        };
        for (x, label) in points.chunks(d).zip(rerank::rerank(&points, &centroids, d, false)) {
            let best = (0u32..).zip(centroids.chunks(d)).min_by_key(|(_, c)| far(x, c));
            assert_eq!(best.map(|(label, _)| label), Some(label));
        }
    }
}

#[test]
fn means_counts_and_shifts() {
    let means = centroid::centroid(&[0.0, 2.0, 10.0], &[0, 0, 2], None, &[0.0, 7.0, 10.0], 1, false, 0);
    assert_eq!(means.counts, [2, 0, 1]);
    assert_eq!(means.next, [1.0, 7.0, 10.0]);
    assert_eq!(means.shift, [1.0, 0.0, 0.0]);
}

#[test]
fn distances_and_sorts() {
    assert_eq!(distance::distance(&[1.0, 2.0], &[4.0, 6.0]), 25.0);
    let (keys, values) = radix_sort::radix_sort(&[3, 1, 3, 0], &[10, 11, 12, 13]);
    assert_eq!((keys, values), (vec![0, 1, 3, 3], vec![13, 11, 10, 12]));
}

#[test]
fn silhouettes_of_a_few_points_and_of_embeddings() {
    // a = 1 and b = 5 or 4 for the first two; the third is alone.
    let found = silhouette::silhouette(&[0.0, 1.0, 5.0], &[0, 0, 1], 1, false);
    assert!((found - (0.8 + 0.75) / 3.0).abs() < 1e-15, "{found}");
    assert_eq!(silhouette::silhouette(&[2.0; 4], &[0, 1, 1, 0], 1, false), 0.0);
    // scikit-learn 1.9.1: silhouette_score(points[:300].astype("f8"), labels[:300]), and with metric="cosine".
    let points = npy::read_matrix("assets/kmeans/points.npy".as_ref()).unwrap();
    let labels = npy::read_labels("assets/kmeans/labels.npy".as_ref()).unwrap();
    let (rows, d) = (&points.values[..300 * points.cols], points.cols);
    for (cosine, expected) in [(false, 0.04160391916765368), (true, 0.0719537797403145)] {
        let found = silhouette::silhouette(rows, &labels[..300], d, cosine);
        assert!((found - expected).abs() < 1e-12, "{found} {expected}");
    }
}

#[test]
fn the_loop_follows_scikit_learn_on_its_published_cases() {
    // Without weights, with an empty cluster to relocate: labels 0,0,1,1, inertia .25, three iterations.
    let x = [0.0, 0.0, 0.5, 0.0, 0.5, 1.0, 1.0, 1.0];
    let found = lloyd::lloyd(&x, &[0.5, 0.5, 3.0, 3.0], 2, 300, 0.0);
    assert_eq!(found.labels, [0, 0, 1, 1]);
    assert_eq!(found.centroids, [0.25, 0.0, 0.75, 1.0]);
    assert_eq!((found.inertia, found.n_iter), (0.25, 3));
}

#[test]
fn a_draw_follows_the_weights_and_skips_zeros() {
    let weights = [0.0, 1.0, 0.0, 3.0, 0.0];
    assert_eq!([0.0, 0.24, 0.26, 0.999_999].map(|unit| seed::draw(&weights, unit)), [1, 1, 3, 3]);
    assert_eq!(seed::draw(&[0.0; 4], 0.5), 2);
    assert_eq!(seed::best(&[1.0, 5.0, 1.0, 0.0, 5.0, 0.0], 3), 0);
}

#[test]
fn random_words_are_those_of_the_hash() {
    // By the formulas of O'Neill 2014 in another language.
    let words = [(1, 2, 3), (1, 3, 2), (0, 0, 0), (12_345, 1, 0)].map(|(a, b, c)| seed::random_word(a, b, c));
    assert_eq!(words, [0xcae5_6952, 0x27b3_de71, 0x7fdd_b461, 0x8cc8_585d]);
    assert!((seed::random_unit(1, 2, 3) - f64::from(0xca_e569) / 16_777_216.0).abs() < 1e-15);
}

#[test]
fn the_bound_of_a_product_covers_f32_and_is_not_lax() {
    let mut random = lowbit::internals::random::Random::new(2);
    for cols in [32, 256, 4096] {
        let (weights, x) = (random.floats(cols), random.floats(cols));
        let f32_sum: f32 = weights.iter().zip(&x).map(|(w, x)| w * x).sum();
        let bound = matvec::bound(&weights, &x, 0.5, 32);
        assert!((f64::from(f32_sum + 0.5) - matvec::product(&weights, &x, 0.5)).abs() <= bound);
        // Some units of the last place of what is added up: 1,005 with the widest sums.
        let size: f64 = weights.iter().zip(&x).map(|(w, x)| f64::from((w * x).abs())).sum();
        assert!(bound < 2000.0 / 16_777_216.0 * (size + 0.5), "{cols}: {bound} of {size}");
    }
}

#[test]
fn fixed_point_has_three_digits_and_loses_less_than_the_bound_of_f32() {
    for number in
        [0, 1, -1, 127, 128, -128, -129, 32_767, 32_768, -8_323_072, 8_323_072, 8_355_711, -8_355_711]
    {
        let digits = matvec_fixed::digits(number);
        assert_eq!(digits.iter().rev().fold(0, |sum, &digit| 256 * sum + i32::from(digit)), number);
    }
    let mut random = lowbit::internals::random::Random::new(3);
    for size in [1.0, 1e-29, 3.4e38] {
        let x: Vec<f32> = random.floats(4096).iter().map(|x| x * size).collect();
        let weights = random.floats(4096);
        for (unit, values) in x.chunks(32).map(|values| (matvec_fixed::fixed(values), values)) {
            let most = values.iter().fold(0f32, |most, x| most.max(x.abs()));
            assert!(
                unit.scale >= f32::MIN_POSITIVE
                    && f64::from(unit.scale) <= f64::from(most) * 1.01 / 4_194_304.0
            );
            assert!(unit.numbers.iter().all(|number| number.abs() <= 8_323_072));
        }
        let lost = matvec_fixed::error(&weights, &x);
        assert!(lost > 0.0 && lost < matvec::bound(&weights, &x, 0.0, 32) / 4.0, "{size}: {lost}");
    }
    let zeros = matvec_fixed::fixed(&[0.0, 1e-39, -0.0]);
    assert_eq!((zeros.scale, zeros.numbers), (f32::MIN_POSITIVE, [0; 32]));
}

#[test]
fn pools_see_their_windows() {
    // 3 x 3, windows of 2 x 2 every 2 places from one above and left on.
    let x = [-1.0, -2.0, -3.0, -4.0, -5.0, -6.0, -7.0, -8.0, -9.0];
    let window = Window { kernel: [2, 2], strides: [2, 2], dilations: [1, 1], pads: [1, 1], star: false };
    let largest = max_pool::max_pool(&x, [3, 3], [2, 2], &window);
    assert_eq!(largest, [Some(-1.0), Some(-2.0), Some(-4.0), Some(-5.0)]);
    let means = |include_pad| average_pool::average_pool(&x, [3, 3], [2, 2], &window, include_pad).0;
    assert_eq!(means(false), [-1.0, -2.5, -5.5, -7.0]);
    assert_eq!(means(true), [-0.25, -1.25, -2.75, -7.0]);
    let corners = Window { kernel: [2, 2], strides: [1, 1], dilations: [2, 2], pads: [0, 0], star: false };
    assert_eq!(average_pool::average_pool(&x, [3, 3], [1, 1], &corners, false).0, [-5.0]);
    let beside = Window { kernel: [1, 1], strides: [1, 1], dilations: [1, 1], pads: [1, 0], star: false };
    assert_eq!(max_pool::max_pool(&x, [3, 3], [1, 1], &beside), [None]);
}

#[test]
fn shares_sum_to_one_and_their_bound_is_not_lax() {
    let shares = softmax::softmax(&[0.0, 2f64.ln(), 0.0]);
    for (share, expected) in shares.iter().zip([0.25, 0.5, 0.25]) {
        assert!((share - expected).abs() < 1e-7);
    }
    assert_eq!(softmax::softmax(&[1e38, -1e38]), [1.0, 0.0]);
    let x = lowbit::internals::random::Random::new(1).floats(100);
    let f32_sum: f32 = x.iter().map(|x| x.exp()).sum();
    let wide: Vec<f64> = x.iter().map(|&x| f64::from(x)).collect();
    for ((x, share), bound) in x.iter().zip(softmax::softmax(&wide)).zip(softmax::bounds(&wide)) {
        assert!((f64::from(x.exp() / f32_sum) - share).abs() <= bound);
        assert!(bound < 2e-5 * share, "{bound} for {share}");
    }
}

#[test]
fn elements_are_numbered_through_all_inputs() {
    assert_eq!(gather::gather(&[3, 0, 0, 4], &[&[1i8, 2, 3], &[4, 5]]), [4, 1, 1, 5]);
}
