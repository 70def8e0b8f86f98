//! Products with quantized weights, timed: `lowbit bench matmul`, and what `lowbit plan` builds on.

use std::time::Duration;

use serde::Serialize;

use super::kernels::op_of;
use super::{Roofs, Share};
use crate::Result;
use crate::format::Format;
use crate::gpu::verify::{Answer, check};
use crate::gpu::{Bound, Buffer, Context, Spec, Timing, time};
use crate::matmul::known::Known;
use crate::matmul::{Activations, Operands, Path, Weights, bind, tuned};
use crate::oracle::matvec::product;

/// y = W x, with W `[m, k]` and x `[k, n]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Shape {
    /// Rows of the weights.
    pub m: u64,
    /// Columns of the weights.
    pub k: u64,
    /// Columns of x.
    pub n: u64,
}

/// One product.
#[derive(Clone, Debug, Serialize)]
pub struct ProductRow {
    /// `matmul`.
    pub kernel: &'static str,
    /// Format and shape.
    pub case: String,
    /// The weights' format.
    pub format: &'static str,
    /// The shape.
    #[serde(flatten)]
    pub shape: Shape,
    /// The variant that was fastest.
    pub variant: String,
    /// Its time, with the activations already laid out: they serve several products.
    #[serde(flatten)]
    pub timing: Timing,
    /// Bytes of weights, activations and results.
    pub bytes: u64,
    /// Multiplications and additions.
    pub ops: u64,
    /// Bytes over time.
    pub gb_s: f64,
    /// Bytes over time, over the read roof.
    pub of_read_roof: f64,
    /// Operations over time.
    pub gflop_s: f64,
    /// Floor over time.
    pub share: Share,
    /// Squared error over squared size, against the f64 product of the weights as their format defines them.
    pub nmse: f64,
}

/// Bytes of weights over which runs rotate, so that no cache serves them.
fn rotation(gpu: &Context) -> u64 {
    if gpu.adapter.is_software() { 128 << 20 } else { 1 << 30 }
}

/// Most copies of weights: each is compiled for anew.
const MOST_COPIES: u64 = 8;

/// A product that was verified, bound as often as there are copies of its weights: so many that no cache holds them.
struct Trial {
    spec: Spec,
    y: Buffer,
    bounds: Vec<Vec<Bound>>,
    known: Known,
}

impl Trial {
    /// Of random operands in `format` on `path`.
    fn new(gpu: &Context, format: &'static Format, Shape { m, k, n }: Shape, path: Path) -> Result<Self> {
        let known = Known::new(format, m, k, n)?;
        let x = Activations::upload(gpu, &known.x, k as usize)?;
        let bias = Buffer::new(gpu, "bias", 0, 4)?;
        let first = known.upload(gpu)?;
        let spec = tuned(gpu, format, [m, k, n], path)?;
        let copies = rotation(gpu).div_ceil(first.bytes().max(1)).min(MOST_COPIES);
        let bind = |weights: &Weights| {
            let y = Buffer::new(gpu, "y", m, 4 * n)?;
            Ok((bind(gpu, &spec, &Operands { weights, x: &x, bias: &bias, y: &y })?.all, y))
        };
        let (bound, y) = bind(&first)?;
        // This very pipeline, at this very size.
        let mut known = known.around(&bound);
        let (what, sample) = (format!("{} m={m} k={k} n={n}", spec.label()), known.sample().clone());
        let answer = Answer { name: "y", buffer: &y, sample: Some(&sample), expected: known.expected(&spec) };
        check(gpu, &what, &bound, &[answer])?;
        let mut bounds = vec![bound];
        for _ in 1..copies {
            bounds.push(bind(&known.upload(gpu)?)?.0);
        }
        Ok(Self { spec, y, bounds, known })
    }

    /// Takes about `budget`.
    fn time(&self, gpu: &Context, budget: Duration) -> Result<Timing> {
        let runs: Vec<Vec<&Bound>> = self.bounds.iter().map(|passes| passes.iter().collect()).collect();
        time(gpu, &runs, budget)
    }
}

/// Times a product of random weights in `format` on the faster path, and names the variant: what [`measure`] does, without its
/// figures. The activations are laid out already.
///
/// # Errors
/// Those of [`measure`].
pub fn speed(
    gpu: &Context,
    format: &'static Format,
    shape: Shape,
    budget: Duration,
) -> Result<(String, Timing)> {
    let trial = Trial::new(gpu, format, shape, Path::Auto)?;
    Ok((trial.spec.label(), trial.time(gpu, budget)?))
}

/// Checks a product of random operands in `format` on `path`, and times it.
///
/// # Errors
/// [`crate::Error::Mismatch`] for a result that is not the oracle's; the device's.
pub fn measure(
    gpu: &Context,
    roofs: &Roofs,
    format: &'static Format,
    shape: Shape,
    path: Path,
) -> Result<ProductRow> {
    let Shape { m, k, n } = shape;
    let trial = Trial::new(gpu, format, shape, path)?;
    let known = &trial.known;
    let (mut error, mut size) = (0.0, 0.0);
    for &row in known.sample().rows() {
        let y: Vec<f32> = trial.y.read_rows(gpu, row as u64..row as u64 + 1)?;
        for (x, &y) in known.x.chunks(k as usize).zip(&y) {
            let exact = product(known.row(row), x, 0.0);
            error += (f64::from(y) - exact).powi(2);
            size += exact * exact;
        }
    }

    let (spec, timing) = (&trial.spec, trial.time(gpu, Duration::from_millis(500))?);
    // The first pass states the least work of the whole product.
    let work = trial.bounds[0][0].work();
    let op = op_of(spec.file);
    Ok(ProductRow {
        kernel: "matmul",
        case: format!("{} m={m} k={k} n={n}", format.name),
        format: format.name,
        shape,
        variant: spec.label(),
        timing,
        bytes: work.bytes,
        ops: work.ops,
        gb_s: timing.gb_s(work),
        of_read_roof: timing.gb_s(work) / roofs.read.value,
        gflop_s: timing.gop_s(work),
        share: roofs.share(work, op, timing.us),
        nmse: if size > 0.0 { error / size } else { error },
    })
}
