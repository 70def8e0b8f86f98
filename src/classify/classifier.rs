//! A classifier of a model file on a device, for programs that only want its answers.

use std::path::Path;

use super::calibrate;
use super::engine::{Engine, Keep};
use crate::calibration::Method;
use crate::gpu::Context;
use crate::io::onnx;
use crate::network::Network;
use crate::network::lower::{Names, lower};
use crate::network::quantize::quantize;
use crate::{Error, Result};

/// A classifier on a device: its outputs for any number of rows, in batches.
#[derive(Debug)]
pub struct Classifier {
    engine: Engine,
    /// Layers on integers.
    integers: usize,
}

impl Classifier {
    /// Reads an ONNX model, and runs it as it is: in f32, and in integers where the model says so. Batches are of up to `batch`
    /// rows.
    ///
    /// # Errors
    /// [`Error::File`] for what is no such model or is not supported, with the node; [`Error::Input`] for no batch, and a layer
    /// that is too large for the adapter; the device's.
    pub fn read(gpu: &Context, path: &Path, names: &Names, batch: u64) -> Result<Self> {
        Self::new(gpu, &lower(&onnx::read(path)?, names)?, batch, 0)
    }

    /// The same with its products in INT8, where they are of f32: calibrated with `rows`, data as the model will see it, of
    /// which `method` makes ranges. What it loses, [`mod@crate::audit`] says.
    ///
    /// # Errors
    /// Those of [`Classifier::read`]; [`Error::Input`] for too few rows; [`Error::Shape`] and [`Error::NotFinite`] for others.
    pub fn int8(
        gpu: &Context,
        path: &Path,
        names: &Names,
        batch: u64,
        (rows, method): (&[f32], Method),
    ) -> Result<Self> {
        check(rows)?;
        let network = lower(&onnx::read(path)?, names)?;
        let ranges = calibrate::ranges(gpu, &network, rows, method)?;
        let scale = |name: &str| ranges.iter().find(|range| range.name == name).map(|range| range.scale);
        let made = quantize(&network, scale, |_| true);
        let integers = made.layers.iter().filter(|layer| layer.int8).count();
        Self::new(gpu, &made.network, batch, integers)
    }

    fn new(gpu: &Context, network: &Network, batch: u64, integers: usize) -> Result<Self> {
        if batch == 0 {
            return Err(Error::Input("a batch has one row or more".into()));
        }
        Ok(Self { engine: Engine::new(gpu, network, batch, Keep::Output)?, integers })
    }

    /// Values of a row.
    pub fn features(&self) -> usize {
        self.engine.input().elements()
    }

    /// Values that it gives for each.
    pub fn outputs(&self) -> usize {
        self.engine.output().elements()
    }

    /// Layers that [`Classifier::int8`] has put on integers.
    pub fn int8_layers(&self) -> usize {
        self.integers
    }

    /// The outputs (`[n, outputs]`) for `rows` (`[n, features]`; of pictures, channels first).
    ///
    /// # Errors
    /// [`Error::Shape`] for values that are no rows, [`Error::NotFinite`] for NaN and infinity among them, of which no output
    /// would mean anything; the device's.
    pub fn run(&self, gpu: &Context, rows: &[f32]) -> Result<Vec<f32>> {
        check(rows)?;
        self.engine.run(gpu, rows)
    }
}

fn check(rows: &[f32]) -> Result<()> {
    match rows.iter().position(|value| !value.is_finite()) {
        Some(at) => Err(Error::NotFinite(format!("value {at} (from 0) of the rows is {}", rows[at]))),
        None => Ok(()),
    }
}
