//! `lowbit classify bench`

use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::RangedU64ValueParser;
use serde_json::json;

use super::{ModelArguments, Session, Traced, check_outputs, files};
use lowbit::internals::classify::latency::{LEAST_RUNS, has_integers, made_up};
use lowbit::internals::network::quantize::{calibrated, quantize};
use lowbit::internals::report::classify::{self, SpeedOptions, speed};
use lowbit::internals::roofline::{self, Effort, MeasureOptions};

/// Largest batch.
const MOST_BATCH: u64 = 1 << 24;
/// Most runs.
const MOST_RUNS: u64 = 10_000_000;

#[derive(Args, Debug)]
pub struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    /// Take the scales of this calibration cache; without one they are made up, which changes no time
    #[arg(long, value_name = "CACHE")]
    int8: Option<PathBuf>,
    /// Take a cache that has no manifest beside it
    #[arg(long, requires = "int8")]
    accept_cache: bool,
    /// Runs of one example, 1000 or more [default: 10000, with --quick 1000]
    #[arg(long, value_parser = RangedU64ValueParser::<usize>::new().range(LEAST_RUNS as u64..=MOST_RUNS))]
    runs: Option<usize>,
    /// Sizes of batches
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "1,64,1024,8192,65536",
        value_parser = clap::value_parser!(u64).range(1..=MOST_BATCH))]
    batch: Vec<u64>,
    /// Measure for a short time
    #[arg(long)]
    quick: bool,
    #[command(flatten)]
    traced: Traced,
}

pub fn run(arguments: &Arguments, session: &Session) -> anyhow::Result<()> {
    let terminal = &session.terminal;
    let cache: Vec<PathBuf> = files(arguments.int8.as_ref()).collect();
    let inputs: Vec<&Path> =
        [&arguments.model.model].into_iter().chain(&cache).map(PathBuf::as_path).collect();
    check_outputs(Vec::new(), &inputs, &arguments.traced)?;
    let loaded = arguments.model.load()?;
    let network = &loaded.network;
    let quantized = match &arguments.int8 {
        Some(path) => {
            let found = loaded.cache(path, arguments.accept_cache)?;
            quantize(network, |name| found.cache.scale(name), |_| true)
        }
        None => made_up(network),
    };
    for plan in quantized.layers.iter().filter(|plan| !plan.int8) {
        let reason = plan.reason.as_deref().unwrap_or("it cannot be quantized");
        terminal.notice(&format!("{} stays in f32: {reason}", plan.layer.escape_debug()));
    }
    let mut engines = vec![(if has_integers(network) { "as in the file" } else { "f32" }, network)];
    if quantized.network != *network {
        engines.push(("INT8", &quantized.network));
    }
    let nothing = calibrated(network).is_empty();
    let made_up = arguments.int8.is_none() && engines.len() > 1;
    if arguments.traced.trace.is_some() {
        terminal.notice("with --trace every pass is sent by itself: latencies are longer than without");
    }
    let options = SpeedOptions {
        runs: arguments.runs.unwrap_or(if arguments.quick { LEAST_RUNS } else { 10_000 }),
        batches: arguments.batch.clone(),
        effort: if arguments.quick { Effort::Quick } else { Effort::Full },
    };
    session.with_device(&arguments.traced, |gpu| {
        let spinner = terminal.spinner();
        let mut progress = |step: &str| spinner.set_message(step.to_owned());
        let measure = MeasureOptions { effort: Effort::Quick, peak_gbs: None, sweep: false };
        let roofs = roofline::measure(gpu, &measure, &mut progress)?;
        let mut speeds = Vec::new();
        for (name, network) in &engines {
            speeds.push(speed(gpu, &roofs, name, network, &options, &mut progress)?);
        }
        spinner.finish_and_clear();
        let document = json!({
            "model": arguments.model.model, "model_sha256": loaded.model.sha256, "int8": arguments.int8,
            "made_up_scales": made_up, "engines": speeds, "layers": quantized.layers, "roofs": roofs,
            "adapter": roofs.adapter, "version": roofs.version, "commit": roofs.commit,
        });
        terminal.result(&document, || {
            let mut text = classify::speeds(&speeds);
            if nothing {
                text += "there is nothing to quantize: no Gemm, MatMul or Conv with weights of floats, so there is no INT8\n";
            }
            if made_up {
                text +=
                    "the scales of INT8 are made up, for want of --int8: they change results, not times\n";
            }
            text
        })?;
        Ok(Some(roofs))
    })
}
