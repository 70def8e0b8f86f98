//! Measuring the roofs: every variant of every kernel is verified, then timed in rounds.

use std::time::{Duration, Instant};

use super::{Launch, LaunchPoint, Roof, Roofs, SweepPoint};
use crate::cases::{self, Entry, Random};
use crate::gpu::verify::{Answer, Expected, Sample, check};
use crate::gpu::{Bound, Buffer, Context, Kernel, Recorder, Spec, Timing, Work, time, tune};
use crate::percentile::median;
use crate::roofs::{copy, dot_i8, fma_f32, read_xor, write};
use crate::{Error, Result, oracle};

/// How long to measure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Effort {
    /// One round, and smaller buffers on a software device.
    Quick,
    /// Several rounds, some time apart, so that a passing disturbance does not decide; more of them until the best two
    /// of copy and of read agree.
    #[default]
    Full,
}

/// What to measure.
#[derive(Clone, Copy, Debug, Default)]
pub struct MeasureOptions {
    /// How long to measure.
    pub effort: Effort,
    /// The datasheet's memory bandwidth in GB/s: a roof above it is invalid.
    pub peak_gbs: Option<f64>,
    /// Whether to measure copies of growing size.
    pub sweep: bool,
}

/// Buffers of each kind; kernels use them in turn, so that together they must exceed the last cache.
const ROTATING: usize = 4;
/// Buffer sizes are multiples of this, which is 64 rows of every kernel.
const STEP_BYTES: u64 = 1 << 20;

impl MeasureOptions {
    /// Least and most rounds.
    fn rounds(&self) -> (usize, usize) {
        match self.effort {
            Effort::Quick => (1, 1),
            Effort::Full => (4, 24),
        }
    }

    /// Time for one variant in one round; a slow device takes longer, since there is a least number of samples.
    fn budget(&self) -> Duration {
        Duration::from_millis(match self.effort {
            Effort::Quick => 20,
            Effort::Full => 60,
        })
    }

    /// Bytes of a buffer: four of them are several times the largest cache of a GPU, or of a processor.
    fn buffer_bytes(&self, gpu: &Context) -> u64 {
        let wanted: u64 = match (gpu.adapter.is_software(), self.effort) {
            (true, Effort::Quick) => 32 << 20,
            (true, Effort::Full) => 64 << 20,
            // Each copy waits for the one before: it should take long next to that.
            (false, _) if gpu.adapter.kind == "discrete" => 1 << 30,
            (false, _) => 256 << 20,
        };
        let most = gpu.adapter.max_binding_bytes.min(gpu.adapter.max_buffer_bytes / 2);
        (wanted.min(most) / STEP_BYTES * STEP_BYTES).max(STEP_BYTES)
    }
}

/// Rows of four values for arithmetic: enough invocations to fill the device, and no more than its speed allows.
fn arithmetic_rows(gpu: &Context) -> u64 {
    if gpu.adapter.is_software() { 1 << 14 } else { 1 << 22 }
}

/// Batches of the first arithmetic run, from whose time their number follows.
const FIRST_BATCHES: u32 = 64;
/// An arithmetic run should take about this long, so that its loads and stores do not show.
const ARITHMETIC_US: f64 = 2000.0;
/// Near 1, so that the values keep moving for a while; f16 holds it, and the values tend to 1.
const FMA: [f32; 2] = [255.0 / 256.0, 1.0 / 256.0];
const WEIGHT: u32 = 0x7f81_35fb;

/// An oracle of chains of multiply-adds: values and bounds.
type Chains = fn(&[f32], f32, f32, u64) -> (Vec<f64>, Vec<f64>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Copy,
    Read,
    Write,
    FmaF32,
    FmaF16,
    DotI8,
}

impl Kind {
    /// In the order of declaration.
    const ALL: [Self; 6] = [Self::Copy, Self::Read, Self::Write, Self::FmaF32, Self::FmaF16, Self::DotI8];

    fn entry(self) -> Entry {
        match self {
            Self::Copy => cases::copy::ENTRY,
            Self::Read => cases::read_xor::ENTRY,
            Self::Write => cases::write::ENTRY,
            Self::FmaF32 => cases::fma_f32::ENTRY,
            Self::FmaF16 => cases::fma_f16::ENTRY,
            Self::DotI8 => cases::dot_i8::ENTRY,
        }
    }

    fn is_memory(self) -> bool {
        matches!(self, Self::Copy | Self::Read | Self::Write)
    }

    fn unit(self) -> &'static str {
        match self {
            Self::Copy | Self::Read | Self::Write => "GB/s",
            Self::FmaF32 | Self::FmaF16 => "GFLOP/s",
            Self::DotI8 => "GOP/s",
        }
    }

    fn rate(self, work: Work, us: f64) -> f64 {
        (if self.is_memory() { work.bytes } else { work.ops }) as f64 / us / 1e3
    }

    fn formula(self, work: Work, us: f64) -> String {
        let Work { bytes, ops } = work;
        match self {
            Self::Copy => format!("2 x {} bytes / {us:.1} us", bytes / 2),
            Self::Read | Self::Write => format!("{bytes} bytes / {us:.1} us"),
            Self::FmaF32 | Self::FmaF16 => format!("2 x {} multiply-adds / {us:.1} us", ops / 2),
            Self::DotI8 => format!("8 x {} dot products / {us:.1} us", ops / 8),
        }
    }
}

/// One variant of a kernel, bound to each set of buffers, and its times so far.
struct Contender {
    kind: Kind,
    spec: Spec,
    runs: Vec<Bound>,
    rounds: Vec<Timing>,
}

impl Contender {
    fn work(&self) -> Work {
        self.runs.first().map_or(Work::default(), Bound::work)
    }

    fn best(&self) -> Option<&Timing> {
        self.rounds.iter().min_by(|a, b| a.us.total_cmp(&b.us))
    }

    fn rate(&self, timing: &Timing) -> f64 {
        self.kind.rate(self.work(), timing.us)
    }
}

/// Measures the roofs of `gpu`, and says through `progress` what it is at.
///
/// # Errors
/// [`Error::Mismatch`] where a kernel's result is wrong: then its time means nothing. [`Error::OutOfMemory`] only where
/// not even buffers of 1 MiB fit; larger ones that do not fit are halved.
pub fn measure(gpu: &Context, options: &MeasureOptions, progress: &mut dyn FnMut(&str)) -> Result<Roofs> {
    let mut able = Vec::new();
    for kind in Kind::ALL {
        if kind == Kind::DotI8 && !gpu.integer_dot {
            progress("the int8 dot product is not measured: this driver computes it wrongly");
            continue;
        }
        progress(&format!("verifying {}", kind.entry().stem));
        for spec in tune::supported(gpu, kind.entry().variants)? {
            // The last test case is a whole buffer with a full and a partial workgroup.
            if let Some(case) = (kind.entry().tests)().last() {
                cases::verify(gpu, case.as_ref(), spec)?;
            }
            able.push((kind, *spec));
        }
    }
    let mut bytes = options.buffer_bytes(gpu);
    loop {
        match with_buffers_of(gpu, options, &able, bytes, progress) {
            Err(Error::OutOfMemory { .. }) if bytes > STEP_BYTES => {
                bytes = (bytes / 2).next_multiple_of(STEP_BYTES);
                // Only a device that has come to rest gives back what was allocated.
                gpu.wait()?;
                progress(&format!("out of device memory: trying again with buffers of {bytes} bytes"));
            }
            other => return other,
        }
    }
}

/// The buffers that all variants share.
struct Pool {
    /// For copy and write.
    rows: Vec<Buffer>,
    /// For read.
    blocks: Vec<Buffer>,
    read_out: Buffer,
    floats: Buffer,
    words: Buffer,
    arithmetic_out: Buffer,
}

impl Pool {
    fn new(gpu: &Context, bytes: u64) -> Result<Self> {
        let several = |label: &str, row_bytes: u64| -> Result<Vec<Buffer>> {
            (0..ROTATING).map(|_| Buffer::new(gpu, label, bytes / row_bytes, row_bytes)).collect()
        };
        let rows = several("roofline rows", copy::ROW_BYTES)?;
        let blocks = several("roofline blocks", read_xor::ROW_BYTES)?;
        let read_out = Buffer::new(gpu, "xor", bytes / read_xor::ROW_BYTES, read_xor::OUT_ROW_BYTES)?;
        let values = arithmetic_rows(gpu);
        let mut random = Random::new(bytes);
        let floats = Buffer::from_slice(gpu, "floats", values, &halves(&mut random, values as usize * 4))?;
        let words = Buffer::from_slice(gpu, "words", values, &random.words(values as usize * 4))?;
        let arithmetic_out = Buffer::new(gpu, "results", values, fma_f32::ROW_BYTES)?;

        let kernel = Kernel::load(gpu, &write::VARIANTS[0])?;
        let fills = rows.iter().map(|y| write::bind(gpu, &kernel, y, y.rows(), random.word()));
        let fills = fills.collect::<Result<Vec<_>>>()?;
        let mut record = Recorder::new(gpu);
        for fill in &fills {
            record.dispatch(fill);
        }
        record.submit()?;
        for (from, to) in rows.iter().zip(&blocks) {
            from.copy_to(gpu, to)?;
        }
        gpu.wait()?;
        Ok(Self { rows, blocks, read_out, floats, words, arithmetic_out })
    }

    /// Whether a run over the arithmetic's buffers is right in some rows.
    fn check_arithmetic(
        &self,
        gpu: &Context,
        kind: Kind,
        spec: &Spec,
        run: &Bound,
        batches: u32,
    ) -> Result<()> {
        let sample = Sample::of(self.arithmetic_out.rows() as usize, [run]);
        let (factor, addend, batches) = (FMA[0], FMA[1], u64::from(batches));
        let chains = |oracle: Chains| {
            let x = sample.read::<f32>(gpu, &self.floats)?;
            let (values, bounds) = oracle(&x, factor, addend, fma_f32::STEPS * batches);
            Ok::<_, Error>(Expected::Within { values, bounds })
        };
        let expected = match kind {
            Kind::FmaF16 => chains(oracle::fma_f16::fma_f16)?,
            Kind::DotI8 => {
                let x = sample.read::<u32>(gpu, &self.words)?;
                Expected::Exact(oracle::dot_i8::dot_i8(&x, WEIGHT, dot_i8::STEPS * batches))
            }
            _ => chains(oracle::fma_f32::fma_f32)?,
        };
        let what = format!("{} batches={batches}", spec.label());
        checked(gpu, &what, run, (&self.arithmetic_out, sample, expected))
    }

    /// Whether runs over the memory's buffers are right in some rows, as [`Self::bind`] made them.
    fn check_memory(&self, gpu: &Context, kind: Kind, spec: &Spec, runs: &[Bound]) -> Result<()> {
        let what = spec.label();
        for (i, run) in runs.iter().enumerate() {
            match kind {
                Kind::Copy => check_copy(gpu, &what, run, &self.rows[2 * i], &self.rows[2 * i + 1])?,
                Kind::Read => {
                    let sample = Sample::of(self.read_out.rows() as usize, [run]);
                    let x = sample.read::<u32>(gpu, &self.blocks[i])?;
                    let expected = Expected::Exact(oracle::read_xor::read_xor(&x));
                    checked(gpu, &what, run, (&self.read_out, sample, expected))?;
                }
                Kind::Write => check_write(gpu, &what, run, &self.rows[i], i as u32 + 1)?,
                // Checked when it was bound.
                Kind::FmaF32 | Kind::FmaF16 | Kind::DotI8 => (),
            }
        }
        Ok(())
    }

    /// `spec` on each set of buffers.
    fn bind(&self, gpu: &Context, kind: Kind, spec: &Spec) -> Result<Vec<Bound>> {
        // Runs of as many batches as take long enough.
        let long = |of: &dyn Fn(u32) -> Result<Bound>| {
            let checked = |batches| {
                let bound = of(batches)?;
                self.check_arithmetic(gpu, kind, spec, &bound, batches)?;
                Ok::<_, Error>(bound)
            };
            let once = time(gpu, &[vec![&checked(FIRST_BATCHES)?]], Duration::ZERO)?.low_us;
            let more = (ARITHMETIC_US / once).clamp(1.0, 64.0) as u32;
            Ok(vec![checked(FIRST_BATCHES * more)?])
        };
        match kind {
            Kind::Copy => {
                let kernel = Kernel::load(gpu, spec)?;
                let pairs = self.rows.chunks_exact(2);
                pairs.map(|pair| copy::bind(gpu, &kernel, &pair[0], &pair[1], pair[0].rows())).collect()
            }
            Kind::Read => {
                let kernel = Kernel::load(gpu, spec)?;
                self.blocks.iter().map(|x| read_xor::bind(gpu, &kernel, x, &self.read_out)).collect()
            }
            Kind::Write => {
                let kernel = Kernel::load(gpu, spec)?;
                self.rows
                    .iter()
                    .zip(1..)
                    .map(|(y, seed)| write::bind(gpu, &kernel, y, y.rows(), seed))
                    .collect()
            }
            Kind::FmaF32 | Kind::FmaF16 => {
                let kernel = Kernel::load(gpu, spec)?;
                long(&|batches| fma_f32::bind(gpu, &kernel, &self.floats, &self.arithmetic_out, batches, FMA))
            }
            Kind::DotI8 => {
                let kernel = Kernel::load(gpu, spec)?;
                long(&|batches| {
                    dot_i8::bind(gpu, &kernel, &self.words, &self.arithmetic_out, batches, WEIGHT)
                })
            }
        }
    }
}

/// Compares some rows of what a run writes.
fn checked(
    gpu: &Context,
    what: &str,
    run: &Bound,
    (buffer, sample, expected): (&Buffer, Sample, Expected),
) -> Result<()> {
    check(gpu, what, [run], &[Answer { name: "y", buffer, sample: Some(&sample), expected: &expected }])
}

/// A copy of the first rows of `x`, as many as the run has.
fn check_copy(gpu: &Context, what: &str, run: &Bound, x: &Buffer, y: &Buffer) -> Result<()> {
    let sample = Sample::of(run.rows() as usize, [run]);
    let expected = Expected::Exact(oracle::copy::copy(&sample.read::<u32>(gpu, x)?));
    checked(gpu, what, run, (y, sample, expected))
}

/// The first rows of a pattern.
fn check_write(gpu: &Context, what: &str, run: &Bound, y: &Buffer, seed: u32) -> Result<()> {
    let sample = Sample::of(run.rows() as usize, [run]);
    let expected = sample.rows().iter().flat_map(|&row| oracle::write::row(row as u32, seed)).collect();
    checked(gpu, what, run, (y, sample, Expected::Exact(expected)))
}

/// `n` values that f16 holds, in [-1, 1).
fn halves(random: &mut Random, n: usize) -> Vec<f32> {
    (0..n).map(|_| (random.word() >> 23) as f32 / 256.0 - 1.0).collect()
}

fn with_buffers_of(
    gpu: &Context,
    options: &MeasureOptions,
    able: &[(Kind, Spec)],
    bytes: u64,
    progress: &mut dyn FnMut(&str),
) -> Result<Roofs> {
    progress(&format!("filling {} buffers of {bytes} bytes", 2 * ROTATING));
    let pool = Pool::new(gpu, bytes)?;
    let mut contenders = Vec::new();
    for &(kind, spec) in able {
        let runs = pool.bind(gpu, kind, &spec)?;
        pool.check_memory(gpu, kind, &spec, &runs)?;
        contenders.push(Contender { kind, spec, runs, rounds: Vec::new() });
    }
    let mut fit = LaunchFit::new(gpu, &pool.rows[0])?;
    let (least, most) = options.rounds();
    let mut round = 0;
    while round < least || (round < most && !agreed(&contenders)) {
        round += 1;
        let leaders =
            Kind::ALL.map(|kind| winner(&contenders, kind).map_or(0.0, |(leader, best)| leader.rate(best)));
        for contender in &mut contenders {
            // What is this far behind the leader of the rounds before will not become the roof.
            let leader = leaders[contender.kind as usize];
            if contender.best().is_some_and(|best| contender.rate(best) < leader / 1.5) {
                continue;
            }
            let runs: Vec<Vec<&Bound>> = contender.runs.iter().map(|run| vec![run]).collect();
            let timing = time(gpu, &runs, options.budget())?;
            progress(&format!(
                "round {round}: {}: {:.1} {}",
                contender.spec.label(),
                contender.rate(&timing),
                contender.kind.unit(),
            ));
            contender.rounds.push(timing);
        }
        progress(&format!("round {round}: launches"));
        fit.round(gpu)?;
    }
    let roof = |kind| roof(gpu, options, &contenders, kind);
    let needed = |kind: Kind| {
        roof(kind).ok_or_else(|| Error::Validation(format!("no variant of {} was timed", kind.entry().stem)))
    };
    let sweep = if options.sweep {
        progress("copies of growing size");
        sweep(gpu, options, &contenders, &pool)?
    } else {
        Vec::new()
    };
    Ok(Roofs {
        adapter: gpu.adapter.clone(),
        version: env!("CARGO_PKG_VERSION"),
        commit: option_env!("LOWBIT_COMMIT").filter(|commit| !commit.is_empty()),
        buffer_bytes: bytes,
        copy: needed(Kind::Copy)?,
        read: needed(Kind::Read)?,
        write: needed(Kind::Write)?,
        fma_f32: needed(Kind::FmaF32)?,
        fma_f16: roof(Kind::FmaF16),
        dot_i8: roof(Kind::DotI8),
        launch: fit.finish(gpu)?,
        sweep,
        peak_gbs: options.peak_gbs,
    })
}

/// The contender of `kind` with the best rate.
fn winner(contenders: &[Contender], kind: Kind) -> Option<(&Contender, &Timing)> {
    let timed = contenders.iter().filter(|c| c.kind == kind).filter_map(|c| Some((c, c.best()?)));
    timed.max_by(|(a, at), (b, bt)| a.rate(at).total_cmp(&b.rate(bt)))
}

/// Whether the best two rounds of copy and of read are within 5 % of each other, and of the fastest tenth of all samples
/// within 7 %: a machine that is shared has slow spells in which whole rounds agree on too low a rate.
fn agreed(contenders: &[Contender]) -> bool {
    [Kind::Copy, Kind::Read].into_iter().all(|kind| {
        winner(contenders, kind).is_some_and(|(leader, best)| {
            let fastest = leader.rounds.iter().map(|round| round.low_us).fold(best.us, f64::min);
            let near = leader.rounds.iter().filter(|round| round.us <= best.us * 1.05).count();
            near >= 2 && best.us <= fastest * 1.07
        })
    })
}

fn roof(gpu: &Context, options: &MeasureOptions, contenders: &[Contender], kind: Kind) -> Option<Roof> {
    let (contender, best) = winner(contenders, kind)?;
    let work = contender.work();
    let slowest = contender.rounds.iter().map(|t| t.high_us).fold(best.us, f64::max);
    let fastest = contender.rounds.iter().map(|t| t.low_us).fold(best.us, f64::min);
    let value = contender.rate(best);
    let (low, high) = (kind.rate(work, slowest), kind.rate(work, fastest));
    let above = options.peak_gbs.filter(|&peak| kind.is_memory() && value > peak);
    let note = if let Some(peak) = above {
        Some(format!("above the datasheet's {peak} GB/s: the measurement or the datasheet's figure is wrong"))
    } else if low < value / 2.0 {
        Some("unsteady: some samples took more than twice as long".into())
    } else if !best.timestamps && !gpu.adapter.is_software() {
        Some("timed by the wall clock, launches included".into())
    } else {
        None
    };
    Some(Roof {
        value,
        low,
        high,
        unit: kind.unit(),
        formula: kind.formula(work, best.us),
        variant: contender.spec.label(),
        us: best.us,
        samples: contender.rounds.iter().map(|t| t.samples).sum(),
        timestamps: best.timestamps,
        valid: above.is_none(),
        note,
    })
}

/// Copies between one pair of buffers, from 64 KiB up by factors of four to all of it.
fn sweep(
    gpu: &Context,
    options: &MeasureOptions,
    contenders: &[Contender],
    pool: &Pool,
) -> Result<Vec<SweepPoint>> {
    let (Some((contender, _)), [x, y, ..]) = (winner(contenders, Kind::Copy), pool.rows.as_slice()) else {
        return Ok(Vec::new());
    };
    let kernel = Kernel::load(gpu, &contender.spec)?;
    let mut sizes: Vec<u64> =
        (0..).map(|i| (64 << 10) << (2 * i)).take_while(|&size| size < x.bytes()).collect();
    sizes.push(x.bytes());
    let copies = sizes.iter().map(|bytes| copy::bind(gpu, &kernel, x, y, bytes / copy::ROW_BYTES));
    let copies = copies.collect::<Result<Vec<_>>>()?;
    for copy in &copies {
        check_copy(gpu, &contender.spec.label(), copy, x, y)?;
    }
    let mut best = vec![f64::INFINITY; copies.len()];
    for _ in 0..options.rounds().0 {
        for (bound, us) in copies.iter().zip(&mut best) {
            *us = us.min(time(gpu, &[vec![bound]], options.budget() / 2)?.us);
        }
    }
    let point = |((&bytes, bound), &us): ((&u64, &Bound), &f64)| {
        let gb_s = Kind::Copy.rate(bound.work(), us);
        SweepPoint { bytes, us, gb_s }
    };
    Ok(sizes.iter().zip(&copies).zip(&best).map(point).collect())
}

/// Times of small writes into one buffer. Each waits for the one before, as the steps of an algorithm do.
struct LaunchFit {
    writes: Vec<(Bound, f64)>,
}

/// From one workgroup up: small enough that the launch is a good part of the time.
const LAUNCH_BYTES: [u64; 6] = [1 << 10, 16 << 10, 32 << 10, 64 << 10, 128 << 10, 256 << 10];

impl LaunchFit {
    fn new(gpu: &Context, y: &Buffer) -> Result<Self> {
        let kernel = Kernel::load(gpu, &write::VARIANTS[0])?;
        let bind = |bytes| {
            let bound = write::bind(gpu, &kernel, y, bytes / write::ROW_BYTES, 0)?;
            check_write(gpu, &write::VARIANTS[0].label(), &bound, y, 0)?;
            Ok((bound, f64::INFINITY))
        };
        Ok(Self { writes: LAUNCH_BYTES.into_iter().map(bind).collect::<Result<_>>()? })
    }

    fn round(&mut self, gpu: &Context) -> Result<()> {
        for (bound, us) in &mut self.writes {
            *us = us.min(time(gpu, &[vec![bound]], Duration::from_millis(20))?.us);
        }
        Ok(())
    }

    fn finish(&self, gpu: &Context) -> Result<Launch> {
        let points: Vec<LaunchPoint> = self
            .writes
            .iter()
            .map(|(bound, us)| LaunchPoint { bytes: bound.work().bytes, us: *us })
            .collect();
        let (intercept, slope) = line(&points);
        let mut trips = Vec::new();
        for _ in 0..50 {
            let mut record = Recorder::new(gpu);
            for (smallest, _) in self.writes.iter().take(1) {
                record.dispatch(smallest);
            }
            let begun = Instant::now();
            record.submit()?;
            gpu.wait()?;
            trips.push(begun.elapsed().as_secs_f64() * 1e6);
        }
        Ok(Launch {
            us: Some(intercept).filter(|&us| us > 0.0),
            gb_s: Some(1e-3 / slope).filter(|&rate| rate > 0.0 && rate.is_finite()),
            round_trip_us: median(&trips).unwrap_or_default(),
            points,
        })
    }
}

/// Intercept and slope of the line with the least sum of squared relative errors: noise grows with the time.
fn line(points: &[LaunchPoint]) -> (f64, f64) {
    let (mut w, mut wx, mut wxx, mut wy, mut wxy) = (0.0, 0.0, 0.0, 0.0, 0.0);
    for point in points {
        let (x, y) = (point.bytes as f64, point.us);
        let weight = 1.0 / (y * y);
        w += weight;
        wx += weight * x;
        wxx += weight * x * x;
        wy += weight * y;
        wxy += weight * x * y;
    }
    let slope = (w * wxy - wx * wy) / (w * wxx - wx * wx);
    ((wy - slope * wx) / w, slope)
}

#[cfg(test)]
mod tests {
    use super::{LAUNCH_BYTES, LaunchPoint, line};

    #[test]
    fn a_line_is_found_again() {
        let points = LAUNCH_BYTES.map(|bytes| LaunchPoint { bytes, us: 7.5 + bytes as f64 / 9.0e3 });
        let (intercept, slope) = line(&points);
        assert!((intercept - 7.5).abs() < 1e-6, "{intercept}");
        assert!((1e-3 / slope - 9.0).abs() < 1e-6, "{slope}");
    }
}
