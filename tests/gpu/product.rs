//! Products as a user makes them: the acceptance shapes of ggml's test-backend-ops, outliers, batches, large matrices.

use lowbit::internals::cases::Random;
use lowbit::internals::format::{ALL, Format};
use lowbit::internals::gpu::{Buffer, Context, Options, Recorder};
use lowbit::internals::matmul::choice::{Operands, bind, variants, variants_for};
use lowbit::internals::matmul::{Activations, Order, Path, Weights, products};
use lowbit::internals::oracle::matvec::product;

fn device() -> Context {
    Context::open(&Options::default()).unwrap()
}

/// Squared error over squared size, over some of the rows.
fn nmse(format: &Format, blocks: &[u8], cols: usize, x: &[f32], y: &[f32]) -> f64 {
    let mut weights = vec![0.0; blocks.len() / format.bytes * format.elements];
    format.dequantize(blocks, &mut weights).unwrap();
    let (rows, n) = (weights.len() / cols, x.len() / cols);
    let (mut error, mut size) = (0.0, 0.0);
    for row in (0..rows).step_by(rows.div_ceil(24)) {
        for (column, x) in x.chunks(cols).enumerate().step_by(n.div_ceil(24)) {
            let exact = product(&weights[row * cols..][..cols], x, 0.0);
            error += (f64::from(y[row * n + column]) - exact).powi(2);
            size += exact * exact;
        }
    }
    error / size
}

/// Quantized rows; a few are enough, repeated.
fn blocks(format: &Format, rows: usize, cols: usize, random: &mut Random) -> Vec<u8> {
    let row_bytes = cols / format.elements * format.bytes;
    let mut blocks = vec![0; rows.min(16) * row_bytes];
    format.quantize(&random.floats(rows.min(16) * cols), &mut blocks).unwrap();
    blocks.into_iter().cycle().take(rows * row_bytes).collect()
}

/// The product by the first variant of a path, without tuning: every variant is compared with the oracle elsewhere.
fn first(gpu: &Context, weights: &Weights, x: &Activations, path: Path) -> Vec<f32> {
    let list = variants(gpu, weights.format, [weights.rows, weights.cols, x.n], path).unwrap();
    let spec = lowbit::internals::gpu::tune::supported(gpu, &list).unwrap()[0];
    let y = Buffer::new(gpu, "y", weights.rows, 4 * x.n).unwrap();
    let bias = Buffer::new(gpu, "bias", 0, 4).unwrap();
    let bound = bind(gpu, spec, &Operands { weights, x, bias: &bias, y: &y }).unwrap();
    Recorder::run(gpu, &bound.all).unwrap();
    y.read(gpu).unwrap()
}

fn check(gpu: &Context, format: &'static Format, (m, n, k): (usize, usize, usize), outliers: bool) {
    let mut random = Random::new((m * n + k) as u64);
    let blocks = blocks(format, m, k, &mut random);
    let mut values = random.floats(n * k);
    if outliers {
        // Beyond what f16 holds, in a few channels and in a whole one.
        values.iter_mut().step_by(61).for_each(|x| *x *= 3e5);
        values.iter_mut().skip(5).step_by(k).for_each(|x| *x = 1e6);
    }
    let weights = Weights::from_blocks(gpu, format, k as u64, &blocks).unwrap();
    let x = Activations::upload(gpu, &values, k).unwrap();
    for (path, most) in [(Path::Float, 1e-9), (Path::Integer, 5e-4)] {
        if path == Path::Integer && !format.integer {
            continue;
        }
        let y = first(gpu, &weights, &x, path);
        assert!(y.iter().all(|y| y.is_finite()), "{} {path:?} {m} {n} {k}", format.name);
        let error = nmse(format, &blocks, k, &values, &y);
        assert!(error <= most, "{} {path:?} m={m} n={n} k={k}: {error:e}", format.name);
    }
}

#[test]
fn acceptance_shapes_hold_for_every_format() {
    let gpu = device();
    for (i, format) in ALL.iter().enumerate() {
        // Each n several times over all formats.
        check(&gpu, format, (16, 1 + i % 9, 256), false);
        check(&gpu, format, (16, 3, 512), true);
        // The tiles of a few formats; all of them are compared with the oracle elsewhere.
        if i % 4 == 0 {
            check(&gpu, format, (1, 64, 256), false);
        }
        rows_of_zeros_and_scales_of_zero_give_zero(&gpu, format);
    }
}

fn rows_of_zeros_and_scales_of_zero_give_zero(gpu: &Context, format: &'static Format) {
    let cols = format.elements.max(64);
    let mut blocks = vec![0; 2 * cols / format.elements * format.bytes];
    format.quantize(&vec![0.0; 2 * cols], &mut blocks).unwrap();
    let weights = Weights::from_blocks(gpu, format, cols as u64, &blocks).unwrap();
    let x = Activations::upload(gpu, &vec![1e30; cols], cols).unwrap();
    let y = first(gpu, &weights, &x, Path::Float);
    assert!(y.iter().all(|&y| y == 0.0), "{}: {y:?}", format.name);
}

#[test]
fn large_acceptance_shapes_hold() {
    let gpu = device();
    for (name, shape) in [
        ("Q4_0", (2880, 32, 2880)),
        ("Q8_0", (576, 512, 576)),
        ("Q4_K", (1, 2048, 8192)),
        ("Q6_K", (6, 4096, 5120)),
        ("MXFP4", (2880, 32, 2880)),
        ("F16", (576, 512, 576)),
    ] {
        check(&gpu, Format::by_name(name).unwrap(), shape, false);
        check(&gpu, Format::by_name(name).unwrap(), (33, 12, 256), true);
    }
}

#[test]
fn batches_share_weights_or_columns_and_orders_agree() {
    let gpu = device();
    let (rows, cols, mut random) = (5, 96, Random::new(5));
    let values = random.floats(rows * cols);
    let transposed: Vec<f32> = (0..cols)
        .flat_map(|col| values.iter().skip(col).step_by(cols).copied().collect::<Vec<_>>())
        .collect();
    let format = Format::by_name("F32").unwrap();
    let a = Weights::from_values(&gpu, format, &values, cols as u64, Order::RowMajor).unwrap();
    let b = Weights::from_values(&gpu, format, &transposed, cols as u64, Order::ColumnMajor).unwrap();
    let (x, z) = (random.floats(3 * cols), random.floats(3 * cols));
    let x = Activations::upload(&gpu, &x, cols).unwrap();
    let z = Activations::upload(&gpu, &z, cols).unwrap();
    let bias = random.floats(rows);
    let batch: [(&Weights, &Activations, &[f32]); 4] =
        [(&a, &x, &[]), (&b, &x, &[]), (&a, &z, &[]), (&a, &x, &bias)];
    let y = products(&gpu, &batch, Path::Float).unwrap();
    assert_eq!(y[0].values, y[1].values);
    assert_ne!(y[0].values, y[2].values);
    for (row, bias) in bias.iter().enumerate() {
        for column in 0..3 {
            let at = row * 3 + column;
            assert_eq!(y[3].values[at], y[0].values[at] + bias);
        }
    }
}

#[test]
fn a_matrix_larger_than_a_binding_is_split() {
    let gpu = device();
    // 300 MB of F16: more than lavapipe's 128 MiB.
    let format = Format::by_name("F16").unwrap();
    let (rows, cols) = (36_864, 4096);
    let mut random = Random::new(9);
    let blocks = blocks(format, 16, cols, &mut random);
    let values = random.floats(cols);
    let weights = Weights::new(&gpu, format, rows, cols as u64).unwrap();
    for first in (0..rows).step_by(16) {
        weights.write_rows(&gpu, first, &blocks).unwrap();
    }
    assert!(weights.bytes() > 300_000_000);
    let x = Activations::upload(&gpu, &values, cols).unwrap();
    let y = weights.times(&gpu, &x, &[], Path::Float).unwrap().values;
    // Rows repeat, so every window must give the same 16 results.
    assert!(y.chunks(16).all(|sixteen| sixteen == &y[..16]));
    let error = nmse(format, &blocks, cols, &values, &y[..16]);
    assert!(error < 1e-9, "{error:e}");
}

#[test]
fn what_does_not_fit_is_refused() {
    let gpu = device();
    let format = Format::by_name("Q4_0").unwrap();
    let say = |result: lowbit::internals::Result<Vec<lowbit::internals::matmul::Product>>| {
        result.unwrap_err().to_string()
    };
    let weights = Weights::from_values(&gpu, format, &[1.0; 64], 32, Order::RowMajor).unwrap();
    let short = Activations::upload(&gpu, &[1.0; 31], 31).unwrap();
    assert!(say(products(&gpu, &[(&weights, &short, &[])], Path::Auto)).contains("columns of 31 values"));
    let x = Activations::upload(&gpu, &[1.0; 32], 32).unwrap();
    assert!(say(products(&gpu, &[(&weights, &x, &[1.0])], Path::Auto)).contains("1 biases for 2 rows"));
    let infinite = Activations::upload(&gpu, &[f32::INFINITY; 32], 32).unwrap();
    assert!(say(products(&gpu, &[(&weights, &infinite, &[])], Path::Integer)).contains("not finite"));
    let y = products(&gpu, &[(&weights, &infinite, &[])], Path::Auto).unwrap();
    assert!(y[0].values.iter().all(|y| !y.is_finite()), "infinity must not vanish");
    let floats = Weights::from_values(&gpu, &ALL[0], &[1.0; 32], 32, Order::RowMajor).unwrap();
    assert!(say(products(&gpu, &[(&floats, &x, &[])], Path::Integer)).contains("no integer path"));
    assert!(Weights::new(&gpu, format, 1, 33).unwrap_err().to_string().contains("blocks of 32"));
    assert!(Weights::new(&gpu, format, 0, 32).is_err());
    assert!(Activations::upload(&gpu, &[], 32).is_err());
    let nan = Weights::from_values(&gpu, format, &[f32::NAN; 32], 32, Order::RowMajor).unwrap_err();
    assert!(nan.to_string().contains("weight 0 is NaN"), "{nan}");
}

#[test]
fn only_finite_columns_are_brought_to_fixed_point() {
    let gpu = device();
    let fixed = |name, n, path, finite| {
        let list = variants_for(&gpu, Format::by_name(name).unwrap(), [64, 256, n], path, finite).unwrap();
        list.iter().any(|spec| spec.file == "matmul/matvec_fixed")
    };
    assert_eq!(fixed("Q4_K", 1, Path::Float, true), gpu.integer_dot);
    assert!(!fixed("Q4_K", 1, Path::Float, false), "an infinity has no fixed point");
    assert!(!fixed("Q4_K", 1, Path::Auto, true) && !fixed("Q4_K", 9, Path::Float, true));
    assert!(!fixed("F16", 1, Path::Float, true), "its codes are no int8");
}

#[test]
fn a_product_in_fixed_point_is_as_exact_as_one_of_floats() {
    let gpu = device();
    let (rows, cols) = (24, 4096);
    for name in ["Q4_0", "Q6_K"] {
        let format = Format::by_name(name).unwrap();
        let mut random = Random::new(11);
        let blocks = blocks(format, rows, cols, &mut random);
        // Of very different sizes from column to column of weights, as activations are.
        let values: Vec<f32> =
            random.floats(cols).iter().zip(0..).map(|(x, k)| x * [1.0, 0.1, 8.0][k / 7 % 3]).collect();
        let weights = Weights::from_blocks(&gpu, format, cols as u64, &blocks).unwrap();
        let x = Activations::upload(&gpu, &values, cols).unwrap();
        let list = variants(&gpu, format, [rows as u64, cols as u64, 1], Path::Float).unwrap();
        let list = lowbit::internals::gpu::tune::supported(&gpu, &list).unwrap();
        for spec in list.into_iter().filter(|spec| spec.file == "matmul/matvec_fixed") {
            let y = Buffer::new(&gpu, "y", rows as u64, 4).unwrap();
            let bias = Buffer::new(&gpu, "bias", 0, 4).unwrap();
            let bound = bind(&gpu, spec, &Operands { weights: &weights, x: &x, bias: &bias, y: &y }).unwrap();
            Recorder::run(&gpu, &bound.all).unwrap();
            let found = nmse(format, &blocks, cols, &values, &y.read::<f32>(&gpu).unwrap());
            assert!(found < 1e-13, "{name} {}: {found:e}", spec.label());
        }
    }
}
