//! `lowbit classify budget`

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::super::share;
use super::{ModelArguments, Session, Traced, about, check_outputs};
use lowbit::internals::classify::starnet::{self, Accuracy, Limits};
use lowbit::internals::gpu::Context;
use lowbit::internals::io::labels::Column;
use lowbit::internals::io::table::check_left;
use lowbit::internals::network::Network;
use lowbit::internals::network::low_bit::{Budgets, has_floats};
use lowbit::internals::network::registers::{Budget, Proof, check, prove, prove_without_data};
use lowbit::internals::report::starnet::proofs;
use lowbit::internals::{Error, report};

#[derive(Args, Debug)]
pub struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    /// Bits of a register, its sign among them; it does not saturate
    #[arg(long, value_name = "BITS", default_value_t = Budget::DEFAULT.register_bits)]
    register_bits: u32,
    /// Bits of an activation, beside its sign: 2 are codes from -3 to 3
    #[arg(long, value_name = "BITS", default_value_t = Budget::DEFAULT.activation_bits)]
    activation_bits: u32,
    /// Bits of a weight, beside its sign: 1 is -1, 0 and 1
    #[arg(long, value_name = "BITS", default_value_t = Budget::DEFAULT.weight_bits)]
    weight_bits: u32,
    /// Bits of a register of the first layer, which reads 8 bits of input
    #[arg(long, value_name = "BITS", default_value_t = Budget::FIRST.register_bits)]
    first_register_bits: u32,
    /// Bits of a weight of the first layer, beside its sign
    #[arg(long, value_name = "BITS", default_value_t = Budget::FIRST.weight_bits)]
    first_weight_bits: u32,
    /// Find scales, zero points and biases with these rows, [rows, …]: .npy, .npz or .csv
    #[arg(long, value_name = "DATA")]
    calibration: Option<PathBuf>,
    /// Compare the classes of these rows in f32 and in few bits: as --calibration
    #[arg(long, value_name = "X", requires = "calibration", requires = "labels")]
    test: Option<PathBuf>,
    /// The classes of the test: whole numbers from 0, one-hot rows, or text, sorted; .npy, .npz, or a column of a table, as
    /// data.csv:class
    #[arg(long, value_name = "Y", requires = "test")]
    labels: Option<Column>,
    /// A column of the tables that is no feature
    #[arg(long, value_name = "COLUMN", requires = "calibration")]
    without: Vec<String>,
    /// The largest drop of the accuracy, and of its upper bound at 95 %, that passes
    #[arg(long, value_name = "X", default_value_t = Limits::default().max_drop, value_parser = share, requires = "test")]
    max_drop: f64,
    /// The largest share of rows that may get another class
    #[arg(long, value_name = "X", default_value_t = Limits::default().max_flipped, value_parser = share, requires = "test")]
    max_flipped: f64,
    /// Gate on the drop alone, however uncertain it is
    #[arg(long, requires = "test")]
    point: bool,
}

impl Arguments {
    fn limits(&self) -> Limits {
        let &Self { max_drop, max_flipped, point, .. } = self;
        Limits { max_drop, max_flipped, point, ..Limits::default() }
    }

    fn budgets(&self) -> Budgets {
        Budgets {
            first: Budget {
                register_bits: self.first_register_bits,
                weight_bits: self.first_weight_bits,
                ..Budget::FIRST
            },
            rest: Budget {
                register_bits: self.register_bits,
                activation_bits: self.activation_bits,
                weight_bits: self.weight_bits,
            },
        }
    }
}

/// What was found, and what is to be known of it.
struct Found {
    proofs: Vec<Proof>,
    accuracy: Option<Accuracy>,
    notice: Option<&'static str>,
}

/// A test: its rows, and their classes.
type Test = (Vec<f32>, Vec<i32>);

pub fn run(arguments: &Arguments, session: &Session) -> anyhow::Result<()> {
    let Arguments { calibration, test, labels, .. } = arguments;
    let inputs = [Some(&arguments.model.model), calibration.as_ref(), test.as_ref()];
    let inputs: Vec<&Path> = inputs.into_iter().flatten().map(PathBuf::as_path).collect();
    check_outputs(Vec::new(), &inputs, &Traced::default())?;
    let budgets = arguments.budgets();
    budgets.check()?;
    // A proof needs no output of floats.
    let loaded = if calibration.is_some() { arguments.model.load()? } else { arguments.model.read()? };
    let network = &loaded.network;
    let found = match calibration {
        None => without_data(network, &budgets)?,
        Some(path) => {
            let read = |path: &Path| loaded.examples(path, None, &arguments.without, &session.terminal);
            let rows = read(path)?;
            let tests = match (test, labels) {
                (Some(test), Some(labels)) => {
                    let rows = read(test)?;
                    let (classes, notice) = labels.read_classes()?;
                    notice.iter().for_each(|text| session.terminal.notice(text));
                    if rows.matrix.rows != classes.len() {
                        let problem =
                            format!("it has {} classes for {} rows", classes.len(), rows.matrix.rows);
                        return Err(Error::file(&labels.path, problem).into());
                    }
                    Some((labels.path.as_path(), (rows.matrix.values, classes)))
                }
                _ => None,
            };
            check_left(&arguments.without, None, &[(path, &rows)])?;
            let mut found = None;
            session.with_device(&Traced::default(), |gpu| {
                let with = (path.as_path(), rows.matrix.values.as_slice());
                found = Some(with_data(gpu, network, &budgets, with, tests)?);
                Ok(None)
            })?;
            found.ok_or_else(|| Error::Input("nothing was found".into()))?
        }
    };
    if found.proofs.is_empty() {
        let problem = "it has no layer with weights: no Gemm, MatMul or Conv";
        return Err(Error::file(&arguments.model.model, problem).into());
    }
    let (verdict, limits) = (check(&found.proofs), arguments.limits());
    let kept = found.accuracy.as_ref().map(|accuracy| accuracy.gate(&limits));
    let document = json!({
        "model": arguments.model.model, "model_sha256": loaded.model.sha256, "budgets": budgets,
        "proven": verdict.is_ok(), "biases_known": found.notice.is_none(), "layers": found.proofs,
        "accuracy": found.accuracy, "accuracy_kept": kept.as_ref().map(|kept| kept.is_ok()),
        "limits": found.accuracy.map(|_| limits), "version": env!("CARGO_PKG_VERSION"),
    });
    session.terminal.result(&document, || {
        let mut text = proofs(&found.proofs);
        if let Some(accuracy) = &found.accuracy {
            text += &report::starnet::accuracy(accuracy, &limits);
        }
        if verdict.is_ok() {
            text += match found.notice {
                None => "no input can make a sum leave its register\n",
                Some(_) => "no input can make the products of a sum leave its register\n",
            };
        }
        if let Some(notice) = found.notice {
            text += notice;
            text += "\n";
        }
        text
    })?;
    verdict?;
    Ok(kept.unwrap_or(Ok(()))?)
}

/// Of layers of integers all is known; of those of floats what their products are.
fn without_data(network: &Network, budgets: &Budgets) -> lowbit::internals::Result<Found> {
    let notice = has_floats(network).then_some(
        "biases and zero points need a part of the headroom; how much is known with --calibration DATA",
    );
    Ok(Found { proofs: prove_without_data(network, budgets)?, accuracy: None, notice })
}

fn with_data(
    gpu: &Context,
    network: &Network,
    budgets: &Budgets,
    (path, rows): (&Path, &[f32]),
    test: Option<(&Path, Test)>,
) -> anyhow::Result<Found> {
    let low_bit = starnet::calibrated(gpu, network, budgets, rows).map_err(about(path))?;
    let accuracy = test.map(|(labels, (rows, classes))| {
        starnet::accuracy(gpu, network, &low_bit, &rows, &classes).map_err(about(labels))
    });
    Ok(Found { proofs: prove(&low_bit), accuracy: accuracy.transpose()?, notice: None })
}
