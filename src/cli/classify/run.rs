//! `lowbit classify run`

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::{ModelArguments, Session, Traced, check_outputs, files};
use lowbit::internals::classify::calibrate::BATCH;
use lowbit::internals::classify::engine::{Engine, Keep};
use lowbit::internals::io::arrays;
use lowbit::internals::io::table::check_left;
use lowbit::internals::network::quantize::quantize;
use lowbit::internals::report::classify;

#[derive(Args, Debug)]
pub struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    /// Rows to classify, [rows, …]: .npy, .npz or .csv
    x: PathBuf,
    /// Write the outputs here: .npy or .csv, float32, [rows, outputs]
    #[arg(short, long, value_name = "P.npy")]
    output: PathBuf,
    /// Run in INT8, by the scales of this calibration cache
    #[arg(long, value_name = "CACHE")]
    int8: Option<PathBuf>,
    /// Take a cache that has no manifest beside it
    #[arg(long, requires = "int8")]
    accept_cache: bool,
    /// A column of the .csv that is no feature, such as the label
    #[arg(long, value_name = "COLUMN")]
    without: Vec<String>,
    #[command(flatten)]
    traced: Traced,
}

pub fn run(arguments: &Arguments, session: &Session) -> anyhow::Result<()> {
    let Arguments { x, output, int8, .. } = arguments;
    let cache: Vec<PathBuf> = files(int8.as_ref()).collect();
    let inputs: Vec<&Path> =
        [&arguments.model.model, x].into_iter().chain(&cache).map(PathBuf::as_path).collect();
    check_outputs(vec![output], &inputs, &arguments.traced)?;
    arrays::check(output, 2)?;
    let terminal = &session.terminal;
    let loaded = arguments.model.load()?;
    let calibrated = int8.as_ref().map(|path| loaded.cache(path, arguments.accept_cache)).transpose()?;
    let names = calibrated.as_ref().and_then(|found| found.features());
    let features = loaded.examples(x, names, &arguments.without, terminal)?;
    check_left(&arguments.without, names, &[(x, &features)])?;
    let warning = calibrated.as_ref().and_then(|found| found.warning.as_deref());
    if let Some(warning) = warning {
        terminal.notice(warning);
    }
    let quantized =
        calibrated.as_ref().map(|found| quantize(&loaded.network, |name| found.cache.scale(name), |_| true));
    let (network, layers) = match &quantized {
        Some(made) => (&made.network, made.layers.as_slice()),
        None => (&loaded.network, [].as_slice()),
    };
    for plan in layers.iter().filter(|plan| !plan.int8) {
        let reason = plan.reason.as_deref().unwrap_or("it cannot be quantized");
        terminal.notice(&format!("{} stays in f32: {reason}", plan.layer.escape_debug()));
    }
    let rows = features.matrix.rows;
    session.with_device(&arguments.traced, |gpu| {
        let engine = Engine::new(gpu, network, BATCH.min(rows as u64), Keep::Output)?;
        let bar = terminal.bar(rows as u64, "rows {bar:20} {pos}/{len} {rate} ETA {eta}");
        let outputs = engine.output().elements();
        let mut values = Vec::with_capacity(rows * outputs);
        let ran = engine.run_batches(gpu, &features.matrix.values, |count, batch| {
            values.extend_from_slice(batch);
            bar.inc(count);
            Ok(())
        });
        bar.finish_and_clear();
        ran?;
        arrays::write(output, &[rows, outputs], &values)?;
        let document = json!({
            "model": arguments.model.model, "model_sha256": loaded.model.sha256, "rows": rows, "outputs": outputs,
            "int8": int8, "layers": layers, "warnings": warning.into_iter().collect::<Vec<_>>(), "output": output,
            "adapter": gpu.adapter, "version": env!("CARGO_PKG_VERSION"),
        });
        terminal.result(&document, || {
            let plan = if layers.is_empty() { String::new() } else { classify::plan(layers) + "\n" };
            format!("{plan}{rows} rows, {outputs} output{}: {}\n", if outputs == 1 { "" } else { "s" }, output.display())
        })?;
        Ok(None)
    })
}
