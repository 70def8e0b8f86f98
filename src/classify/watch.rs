//! A classifier that watches: an answer for each row as it comes.

use serde::Serialize;

use super::engine::{Engine, Keep};
use crate::gpu::Context;
use crate::network::Network;
use crate::{Error, Result};

/// What is to be thought of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Level {
    /// Nothing special.
    Nominal,
    /// More likely than not.
    Warning,
    /// So likely that an abort is recommended.
    Critical,
}

impl Level {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nominal => "NOMINAL",
            Self::Warning => "WARNING",
            Self::Critical => "CRITICAL",
        }
    }
}

/// Above which probabilities a row is more than nominal.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Thresholds {
    /// [`Level::Warning`].
    pub warning: f32,
    /// [`Level::Critical`].
    pub critical: f32,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self { warning: 0.5, critical: 0.85 }
    }
}

impl Thresholds {
    /// Refuses thresholds that are no probabilities, or in the wrong order.
    ///
    /// # Errors
    /// [`Error::Input`].
    pub fn check(&self) -> Result<()> {
        let Self { warning, critical } = *self;
        if 0.0 < warning && warning <= critical && critical < 1.0 {
            return Ok(());
        }
        Err(Error::Input(format!(
            "a warning above {warning} and a critical row above {critical}: both have to lie between 0 and 1, the first not above the second"
        )))
    }

    /// What `probability`, from 0 to 1, means.
    pub fn level(&self, probability: f32) -> Level {
        match probability {
            p if p > self.critical => Level::Critical,
            p if p > self.warning => Level::Warning,
            _ => Level::Nominal,
        }
    }
}

/// The answer to a row.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Answer {
    /// Of the class that is watched for.
    pub probability: f32,
    /// What it means.
    pub level: Level,
    /// Whether a code of int8 was at its end, so that a value may have been larger than calibration saw.
    pub saturated: bool,
}

/// Rows that are answered at once when they come faster than one by one.
pub const BATCH: usize = 64;

/// Runs before the first row: pipelines and clocks are cold.
const WARM_UP: usize = 200;

/// A network that answers rows, one or up to [`BATCH`] at a time.
#[derive(Debug)]
pub struct Watcher {
    one: Engine,
    many: Engine,
    class: usize,
    thresholds: Thresholds,
}

impl Watcher {
    /// Binds `network`, of which output `class` is the probability, and warms up.
    ///
    /// # Errors
    /// [`Error::Input`] for a class that it does not have, and thresholds that cannot be; the device's.
    pub fn new(gpu: &Context, network: &Network, class: usize, thresholds: Thresholds) -> Result<Self> {
        thresholds.check()?;
        let outputs = network.values[network.output].elements();
        if class >= outputs {
            return Err(Error::Input(format!(
                "there is no output {class}: the network has {outputs}, counted from 0"
            )));
        }
        let one = Engine::new(gpu, network, 1, Keep::Codes)?;
        let many = Engine::new(gpu, network, BATCH as u64, Keep::Codes)?;
        let made = Self { one, many, class, thresholds };
        let zeros = vec![0.0; made.features()];
        for _ in 0..WARM_UP {
            made.answer(gpu, &zeros)?;
        }
        made.answer(gpu, &zeros.repeat(2))?;
        Ok(made)
    }

    /// Numbers of a row.
    pub fn features(&self) -> usize {
        self.one.input().elements()
    }

    /// Answers `rows`, one behind the other; or says why there is no answer: an output that is no probability.
    ///
    /// # Errors
    /// [`Error::Input`] for values that are no rows; the device's.
    pub fn answer(&self, gpu: &Context, rows: &[f32]) -> Result<Vec<std::result::Result<Answer, String>>> {
        let engine = if rows.len() > self.features() { &self.many } else { &self.one };
        let (outputs, saturated) = engine.run_marked(gpu, rows)?;
        let rows = outputs.chunks_exact(engine.output().elements()).zip(saturated);
        let answers = rows.map(|(outputs, saturated)| {
            let probability = outputs[self.class];
            if !(0.0..=1.0).contains(&probability) {
                return Err(format!("the model's output is {probability}, which is no probability"));
            }
            Ok(Answer { probability, level: self.thresholds.level(probability), saturated })
        });
        Ok(answers.collect())
    }
}
