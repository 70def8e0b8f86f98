//! `lowbit classify calibrate`

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::{ModelArguments, Session, Traced, about, check_outputs, method};
use lowbit::internals::Error;
use lowbit::internals::calibration::{Cache, Data, Manifest, Method, Model, manifest_path};
use lowbit::internals::classify::{calibrate, judge};
use lowbit::internals::io::kind::Kind;
use lowbit::internals::io::table::check_left;
use lowbit::internals::report::classify;

#[derive(Args, Debug)]
pub struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    /// Rows as the model will see them, [rows, …]: .npy, .npz or .csv
    data: PathBuf,
    /// Write the calibration cache here, in TensorRT's text format; its manifest goes to CACHE.json
    #[arg(short, long, value_name = "CACHE")]
    output: PathBuf,
    /// How ranges are chosen: entropy, min-max, percentile:99.99 or mse
    #[arg(long, default_value = "entropy", value_parser = method)]
    method: Method,
    /// A column of the .csv that is no feature, such as the label
    #[arg(long, value_name = "COLUMN")]
    without: Vec<String>,
    #[command(flatten)]
    traced: Traced,
}

pub fn run(arguments: &Arguments, session: &Session) -> anyhow::Result<()> {
    let Arguments { data, output, method, .. } = arguments;
    let manifest = manifest_path(output);
    check_outputs(vec![output, &manifest], &[&arguments.model.model, data], &arguments.traced)?;
    if let Some(name) = Kind::promised(output).filter(|name| *name != "text") {
        let problem =
            format!("a calibration cache is written, which is text, and not {name}: give another ending");
        return Err(Error::file(output, problem).into());
    }
    let loaded = arguments.model.load()?;
    loaded.check_floats()?;
    let features = loaded.examples(data, None, &arguments.without, &session.terminal)?;
    check_left(&arguments.without, None, &[(data, &features)])?;
    let rows = features.matrix.rows as u64;
    session.with_device(&arguments.traced, |gpu| {
        let spinner = session.terminal.spinner();
        spinner.set_message(format!("calibrating with {rows} rows"));
        let ranges = calibrate::ranges(gpu, &loaded.network, &features.matrix.values, *method);
        spinner.finish_and_clear();
        let ranges = ranges.map_err(about(data))?;
        let weights = judge::weights(&loaded.network, |_| true)?;
        let warnings = classify::warnings(&ranges, rows);
        let model = Model::of(&arguments.model.model, &loaded.model.sha256);
        let document = json!({
            "model": arguments.model.model, "model_sha256": model.sha256, "data": data, "rows": rows, "method": method,
            "cache": output, "manifest": manifest, "ranges": ranges, "weights": weights, "warnings": warnings,
            "adapter": gpu.adapter, "version": env!("CARGO_PKG_VERSION"),
        });
        let mut text = classify::ranges(&ranges);
        text += "\n";
        text += &classify::weights(&weights);
        for warning in &warnings {
            text += &format!("warning: {warning}\n");
        }
        let cache = Cache::new(*method, &ranges);
        let made = Manifest::new(*method, model, Data::of(data, rows, features.names)?, ranges);
        // The cache last: without its manifest it is refused.
        made.write(&manifest)?;
        cache.write(output)?;
        text += &format!("{rows} rows, {method}; written: {}, {}\n", output.display(), manifest.display());
        session.terminal.result(&document, || text)?;
        Ok(None)
    })
}
