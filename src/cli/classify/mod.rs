//! `lowbit classify calibrate|run|audit|bench|budget|telemetry|watch`

mod audit;
mod bench;
mod budget;
mod calibrate;
mod gate;
mod run;
mod telemetry;
mod watch;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::terminal::Terminal;
use super::{Session, Traced, about, check_outputs};
use lowbit::internals::Error;
use lowbit::internals::calibration::{Cache, Manifest, Method, manifest_path};
use lowbit::internals::io::npy;
use lowbit::internals::io::onnx::{self, Model};
use lowbit::internals::io::table::{Features, read_features};
use lowbit::internals::network::lower::{Names, lower};
use lowbit::internals::network::quantize::calibrated;
use lowbit::internals::network::{Element, Network};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Find the range of every tensor of an ONNX classifier, and write them as a calibration cache
    Calibrate(calibrate::Arguments),
    /// Run an ONNX classifier, in f32 or in INT8
    Run(run::Arguments),
    /// Judge whether INT8 costs too much: exit code 1 where AUC, F1, recall, saturation or flips are beyond their limits
    Audit(Box<audit::Arguments>),
    /// Measure latency and throughput, in f32 and in INT8
    Bench(bench::Arguments),
    /// Answer rows as they come, with a probability and a level for each
    Watch(watch::Arguments),
    /// Prove that no sum can leave small registers, layer by layer: exit code 1 where one can, or where accuracy is lost
    Budget(Box<budget::Arguments>),
    /// Write synthetic telemetry of a 3D printer, to try calibration and audits with
    Telemetry(telemetry::Arguments),
}

pub fn run(command: &Command, session: &Session) -> anyhow::Result<()> {
    match command {
        Command::Calibrate(arguments) => calibrate::run(arguments, session),
        Command::Run(arguments) => run::run(arguments, session),
        Command::Audit(arguments) => audit::run(arguments, session),
        Command::Bench(arguments) => bench::run(arguments, session),
        Command::Budget(arguments) => budget::run(arguments, session),
        Command::Watch(arguments) => watch::run(arguments, session),
        Command::Telemetry(arguments) => telemetry::run(arguments, session),
    }
}

/// Which network.
#[derive(Args, Debug)]
struct ModelArguments {
    /// An ONNX classifier
    #[arg(value_name = "MODEL.onnx")]
    model: PathBuf,
    /// The model's input, where it has several
    #[arg(long, value_name = "NAME")]
    model_input: Option<String>,
    /// The model's output, where it has several
    #[arg(long, value_name = "NAME")]
    model_output: Option<String>,
}

/// A model as it is in its file, and as it runs.
struct Loaded {
    model: Model,
    network: Network,
}

impl ModelArguments {
    /// The output that is a probability: the one that is asked for, the only one, or the second of two.
    fn class(&self, loaded: &Loaded, class: Option<usize>) -> anyhow::Result<usize> {
        let output = &loaded.network.values[loaded.network.output];
        let outputs = output.elements();
        let problem = match (class, outputs) {
            (Some(class), _) if class < outputs => return Ok(class),
            (None, 1) => return Ok(0),
            (None, 2) => return Ok(1),
            (Some(class), _) => format!(
                "there is no output {class}: '{}' has {outputs}, counted from 0",
                output.name.escape_debug()
            ),
            (None, _) => format!(
                "'{}' has {outputs} outputs: say which is the probability of a positive, as --class 0",
                output.name.escape_debug()
            ),
        };
        Err(Error::file(&self.model, problem).into())
    }

    /// The model, whatever its output is of.
    fn read(&self) -> anyhow::Result<Loaded> {
        let model = onnx::read(&self.model)?;
        let names = Names { input: self.model_input.clone(), output: self.model_output.clone() };
        let network = lower(&model, &names)?;
        Ok(Loaded { model, network })
    }

    /// The model, whose output has to be of floats.
    fn load(&self) -> anyhow::Result<Loaded> {
        let Loaded { model, network } = self.read()?;
        if network.values[network.output].element != Element::F32 {
            let problem = format!(
                "its output '{}' is of integers: put a DequantizeLinear behind it",
                network.values[network.output].name.escape_debug()
            );
            return Err(Error::file(&self.model, problem).into());
        }
        Ok(Loaded { model, network })
    }
}

impl Loaded {
    /// Refuses a network with nothing to quantize.
    fn check_floats(&self) -> anyhow::Result<()> {
        if calibrated(&self.network).is_empty() {
            let problem = "it has no layer to quantize: no Gemm, MatMul or Conv with weights of floats";
            return Err(Error::file(&self.model.path, problem).into());
        }
        Ok(())
    }

    /// Reads examples of the network's input. `names` are its features, where known; columns called as in `without` are
    /// none.
    fn examples(
        &self,
        path: &Path,
        names: Option<&[String]>,
        without: &[String],
        terminal: &Terminal,
    ) -> anyhow::Result<Features> {
        let input = &self.network.values[self.network.input];
        let names = names.filter(|names| names.len() == input.elements());
        let features = read_features(path, names, without)?;
        features.check(path, &input.name, &input.shape)?;
        for notice in npy::conversion(path).iter().chain(&features.notices) {
            terminal.notice(notice);
        }
        Ok(features)
    }

    /// Reads a calibration cache, and checks that it is this model's.
    fn cache(&self, path: &Path, accept: bool) -> anyhow::Result<Calibrated> {
        self.check_floats()?;
        let cache = Cache::read(path)?;
        let manifest = Manifest::beside(path)?;
        // A cache may also have what lowering left out.
        let nodes = self.model.nodes.iter().flat_map(|node| &node.outputs).map(String::as_str);
        let values = self.network.values.iter().map(|value| value.name.as_str());
        let known: Vec<&str> = nodes.chain(values).collect();
        let needed = calibrated(&self.network);
        cache.check(manifest.as_ref(), accept, &self.model.sha256, &needed, &known).map_err(about(path))?;
        let warning = manifest.is_none().then(|| {
            format!("{}: without a manifest nothing says which model and data it was made of", path.display())
        });
        Ok(Calibrated { cache, manifest, warning })
    }
}

/// The files that a calibration cache is read from.
fn files(cache: Option<&PathBuf>) -> impl Iterator<Item = PathBuf> {
    cache.into_iter().flat_map(|cache| [cache.clone(), manifest_path(cache)])
}

/// A cache, and what is known of it.
struct Calibrated {
    cache: Cache,
    manifest: Option<Manifest>,
    warning: Option<String>,
}

impl Calibrated {
    /// The names of the features in the model's order, where known.
    fn features(&self) -> Option<&[String]> {
        self.manifest.as_ref()?.data.features.as_deref()
    }
}

/// A method by its name.
fn method(text: &str) -> Result<Method, String> {
    text.parse().map_err(|error: Error| error.to_string())
}
