//! Host of `histogram`, and the observer that makes a [`Histogram`] of all batches of a tensor.
//!
//! The data pass twice: first for their extent, then, when it is known, for the histogram. With one pass, a batch
//! with larger values than those before would mean to widen the bins, and to spread counts over bins that nobody knows
//! any more; with two, bins are what they would be for all data at once, in whatever order they come.

use super::extent::{Extent, START, choose, value_of};
use super::layout::Layout;
use crate::calibration::{BINS, Histogram};
use crate::gpu::{Bound, Buffer, Context, Kernel, Spec, Work, params, to_u32};
use crate::network::Element;
use crate::{Error, Result};

const FILE: Spec = Spec::new("classify/histogram");

/// From one row for each workgroup to thousands.
pub const VARIANTS: &[Spec] = &[
    FILE.overrides(&[("ROWS_PER_GROUP", 1.0)]),
    FILE.overrides(&[("ROWS_PER_GROUP", 8.0)]),
    FILE.overrides(&[("ROWS_PER_GROUP", 64.0)]),
    FILE.overrides(&[("ROWS_PER_GROUP", 512.0)]),
    FILE.overrides(&[("ROWS_PER_GROUP", 4096.0)]),
];

params! {
    struct HistogramParams {
        rows: u32,
        words: u32,
        channels: u32,
        scale: f32,
    }
}

/// The compiled kernel.
#[derive(Debug)]
pub struct Count(Kernel<HistogramParams>);

impl Count {
    /// Compiles `spec`.
    pub fn load(gpu: &Context, spec: &Spec) -> Result<Self> {
        Kernel::load(gpu, spec).map(Self)
    }

    /// Binds the counting of the first `rows` rows of `x`, with `scale` bins in a unit, into `counts`, which is
    /// `[BINS]`.
    ///
    /// # Errors
    /// [`crate::Error::Binding`] where a buffer does not fit.
    pub fn bind(
        &self,
        gpu: &Context,
        x: &Buffer,
        rows: u64,
        layout: Layout,
        scale: f32,
        counts: &Buffer,
    ) -> Result<Bound> {
        let params = HistogramParams {
            rows: to_u32(rows, "the number of rows")?,
            words: to_u32(layout.words(), "the words of a row")?,
            channels: to_u32(layout.channels, "the number of channels")?,
            scale,
        };
        let work =
            Work { bytes: rows * layout.row_bytes(Element::F32), ops: 2 * rows * layout.elements() as u64 };
        self.0.bind(gpu, &[("x", x), ("counts", counts)], params, work)
    }
}

/// Watches one tensor: all batches for their extent, then all batches again for the histogram.
///
/// For each batch, dispatch what [`Observer::extent`] gives, behind the layer that computes the tensor; then
/// [`Observer::finish_extent`]; the same with [`Observer::histogram`] and [`Observer::finish`].
#[derive(Debug)]
pub struct Observer {
    name: String,
    layout: Layout,
    /// What waits for the second pass.
    count: Count,
    counts: Buffer,
    extent: Extent,
    state: Buffer,
    /// What has been bound, by rows: the full batch, and the last one.
    bound: Vec<(u64, Bound)>,
    /// Values taken in since counts were last taken off the device, where they are modulo 2^32.
    waiting: u64,
    found: Histogram,
    non_finite: u64,
    keys: [u32; 2],
    second: bool,
}

impl Observer {
    /// An observer that has seen nothing; `name` is for messages.
    pub fn new(gpu: &Context, name: &str, layout: Layout) -> Result<Self> {
        let observer = Self {
            name: name.to_owned(),
            layout,
            extent: Extent::load(gpu, choose(layout, super::extent::VARIANTS))?,
            state: Buffer::new(gpu, "extent", 3, 4)?,
            count: Count::load(gpu, choose(layout, VARIANTS))?,
            counts: Buffer::new(gpu, "histogram", BINS as u64, 4)?,
            bound: Vec::new(),
            waiting: 0,
            found: Histogram::default(),
            non_finite: 0,
            keys: [START[0], START[1]],
            second: false,
        };
        observer.state.write(gpu, &START)?;
        observer.counts.write(gpu, &[0u32; BINS])?;
        Ok(observer)
    }

    /// The pass that takes the first `rows` rows of `x` into the extent; `x` is the same buffer each time. Submit it
    /// before asking for the next: the observer counts it as run.
    ///
    /// # Errors
    /// [`Error::Binding`] if `x` has other rows; [`Error::Input`] after [`Observer::finish_extent`], or for a batch of
    /// 2^32 values.
    pub fn extent(&mut self, gpu: &Context, x: &Buffer, rows: u64) -> Result<&Bound> {
        if self.second {
            return Err(self.fault("its extent has been taken already"));
        }
        self.expect(gpu, rows)?;
        let at = match self.bound.iter().position(|(bound, _)| *bound == rows) {
            Some(at) => at,
            None => {
                let bound = self.extent.bind(gpu, x, rows, self.layout, &self.state)?;
                self.bound.push((rows, bound));
                self.bound.len() - 1
            }
        };
        Ok(&self.bound[at].1)
    }

    /// Ends the first pass, and gives the least and the largest value. Waits for the device.
    ///
    /// # Errors
    /// [`Error::Input`] if there was no value, or one that is NaN or infinite.
    pub fn finish_extent(&mut self, gpu: &Context) -> Result<(f32, f32)> {
        self.drain(gpu)?;
        if self.non_finite > 0 {
            let many = self.non_finite;
            return Err(self.fault(&format!(
                "{many} of its values are NaN or infinite; calibration takes finite ones: look for the rows that give them"
            )));
        }
        if self.keys[0] > self.keys[1] {
            return Err(self.fault("it has no values; calibration needs at least one row"));
        }
        self.found.min = value_of(self.keys[0]);
        self.found.max = value_of(self.keys[1]);
        self.found.amax = self.found.min.abs().max(self.found.max.abs());
        self.bound.clear();
        self.second = true;
        Ok((self.found.min, self.found.max))
    }

    /// The pass that takes the first `rows` rows of `x` into the histogram, as [`Observer::extent`].
    ///
    /// # Errors
    /// As there; [`Error::Input`] before [`Observer::finish_extent`].
    pub fn histogram(&mut self, gpu: &Context, x: &Buffer, rows: u64) -> Result<&Bound> {
        if !self.second {
            return Err(self.fault("a histogram needs its extent first"));
        }
        self.expect(gpu, rows)?;
        let at = match self.bound.iter().position(|(bound, _)| *bound == rows) {
            Some(at) => at,
            None => {
                let scale = self.found.bins_per_unit();
                let bound = self.count.bind(gpu, x, rows, self.layout, scale, &self.counts)?;
                self.bound.push((rows, bound));
                self.bound.len() - 1
            }
        };
        Ok(&self.bound[at].1)
    }

    /// Ends the second pass. Waits for the device.
    ///
    /// # Errors
    /// [`Error::Input`] without a first pass.
    pub fn finish(mut self, gpu: &Context) -> Result<Histogram> {
        if !self.second {
            return Err(self.fault("a histogram needs its extent first"));
        }
        self.drain(gpu)?;
        self.found.count = self.found.bins.iter().sum();
        Ok(self.found)
    }

    fn fault(&self, problem: &str) -> Error {
        Error::Input(format!("tensor {}: {problem}", crate::io::quoted(&self.name)))
    }

    /// Makes room on the device for the counts of `rows` more rows.
    fn expect(&mut self, gpu: &Context, rows: u64) -> Result<()> {
        let values = rows.saturating_mul(self.layout.elements() as u64);
        if values > u64::from(u32::MAX) {
            return Err(
                self.fault(&format!("a batch of {values} values; at most {} can be counted", u32::MAX))
            );
        }
        if self.waiting + values > u64::from(u32::MAX) {
            self.drain(gpu)?;
        }
        self.waiting += values;
        Ok(())
    }

    /// Takes off the device what it has counted.
    fn drain(&mut self, gpu: &Context) -> Result<()> {
        self.waiting = 0;
        if self.second {
            for (sum, count) in self.found.bins.iter_mut().zip(self.counts.read::<u32>(gpu)?) {
                *sum += u64::from(count);
            }
            return self.counts.write(gpu, &[0u32; BINS]);
        }
        if let [least, largest, non_finite] = self.state.read::<u32>(gpu)?[..] {
            self.keys = [self.keys[0].min(least), self.keys[1].max(largest)];
            self.non_finite += u64::from(non_finite);
        }
        self.state.write(gpu, &START)
    }
}
