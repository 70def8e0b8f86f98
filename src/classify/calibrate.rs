//! What every tensor of a network holds when calibration rows run through it.

use super::engine::{Engine, Keep};
use super::histogram::Observer;
use super::layout::Layout;
use crate::calibration::{Histogram, Method, Range};
use crate::gpu::{Buffer, Context, Recorder};
use crate::network::{Element, Network, Op};
use crate::{Error, Result};

/// Least rows: with fewer, ranges say more about the sample than about the data.
pub const LEAST_ROWS: usize = 64;
/// So many rows are asked for; with fewer, a calibration comes with a warning.
pub const WANTED_ROWS: usize = 100_000;
/// Examples that run at once.
pub const BATCH: u64 = 4096;

/// The places of the values that are calibrated: those of floats, but for reshapes, which have the range of what they
/// reshape.
fn observed(network: &Network) -> Vec<usize> {
    let reshaped =
        |at: usize| network.layers.iter().any(|layer| layer.output == at && matches!(layer.op, Op::Reshape));
    let floats = |at: &usize| network.values[*at].element == Element::F32;
    let used = |at: &usize| *at == network.input || network.layers.iter().any(|layer| layer.output == *at);
    (0..network.values.len()).filter(floats).filter(used).filter(|&at| !reshaped(at)).collect()
}

/// The names of the tensors that a calibration has scales of.
pub fn tensors(network: &Network) -> Vec<&str> {
    observed(network).into_iter().map(|at| network.values[at].name.as_str()).collect()
}

/// The histogram of every tensor of `network` over `rows`, which are examples, channels first. They run twice: for the
/// extents of tensors, then for the histograms.
///
/// # Errors
/// [`Error::Input`] for fewer than [`LEAST_ROWS`] rows, and where a tensor has values that are not finite; the device's.
pub fn histograms(gpu: &Context, network: &Network, rows: &[f32]) -> Result<Vec<(String, Histogram)>> {
    let elements = network.values[network.input].elements();
    let count = rows.len() / elements.max(1);
    if count < LEAST_ROWS {
        return Err(Error::Input(format!(
            "{count} rows are too few to calibrate with: a batch is {LEAST_ROWS}, and {WANTED_ROWS} rows are wanted"
        )));
    }
    let engine = Engine::new(gpu, network, BATCH.min(count as u64), Keep::All)?;
    let mut observers: Vec<(Observer, &Buffer)> = Vec::new();
    for at in observed(network) {
        if let Some((value, buffer)) = engine.buffer(at) {
            observers.push((Observer::new(gpu, &value.name, Layout::of(value))?, buffer));
        }
    }
    for second in [false, true] {
        engine.run_batches(gpu, rows, |count, _| {
            for (observer, buffer) in &mut observers {
                let mut record = Recorder::new(gpu);
                record.dispatch(match second {
                    false => observer.extent(gpu, buffer, count)?,
                    true => observer.histogram(gpu, buffer, count)?,
                });
                record.submit()?;
            }
            Ok(())
        })?;
        if !second {
            for (observer, _) in &mut observers {
                observer.finish_extent(gpu)?;
            }
        }
    }
    let names: Vec<String> = tensors(network).into_iter().map(str::to_owned).collect();
    let finished = observers.into_iter().map(|(observer, _)| observer.finish(gpu));
    names.into_iter().zip(finished).map(|(name, histogram)| Ok((name, histogram?))).collect()
}

/// The range of every tensor, by `method`.
///
/// # Errors
/// Those of [`histograms`]; [`Error::Input`] if the input itself never changes.
pub fn ranges(gpu: &Context, network: &Network, rows: &[f32], method: Method) -> Result<Vec<Range>> {
    let histograms = histograms(gpu, network, rows)?;
    let input = &network.values[network.input].name;
    if let Some((name, found)) =
        histograms.iter().find(|(name, found)| name == input && found.min == found.max)
    {
        return Err(Error::Input(format!(
            "the calibration data is {} throughout ({}): ranges need data as the model will see it",
            found.min,
            crate::io::quoted(name)
        )));
    }
    histograms.iter().map(|(name, histogram)| Range::of(name, histogram, method)).collect()
}
