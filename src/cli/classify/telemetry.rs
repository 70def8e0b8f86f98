//! `lowbit classify telemetry`

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::{Session, Traced, check_outputs};
use lowbit::internals::Error;
use lowbit::internals::audit::telemetry::{self, FEATURES};
use lowbit::internals::io::npy::{self, Matrix};

#[derive(Args, Debug)]
pub struct Arguments {
    /// Write calibration.npy, test.npy, labels.npy and groups.npy into this folder
    #[arg(short, long, value_name = "FOLDER")]
    output: PathBuf,
    /// Overwrite these files where they exist
    #[arg(long)]
    force: bool,
}

pub fn run(arguments: &Arguments, session: &Session) -> anyhow::Result<()> {
    let folder = arguments.output.as_path();
    if folder.exists() && !folder.is_dir() {
        return Err(Error::file(folder, "this is a file; -o takes a folder, which may be a new one").into());
    }
    std::fs::create_dir_all(folder).map_err(|error| Error::io(folder, error))?;
    let paths = ["calibration.npy", "test.npy", "labels.npy", "groups.npy"].map(|name| folder.join(name));
    if !arguments.force
        && let Some(path) = paths.iter().find(|path| path.symlink_metadata().is_ok())
    {
        let problem = "it exists already; give another folder, or --force to overwrite it";
        return Err(Error::file(path, problem).into());
    }
    check_outputs(paths.iter().map(PathBuf::as_path).collect(), &[], &Traced::default())?;
    let [calibration, features, labels, groups] = &paths;
    let (seen, test) = (telemetry::calibration(), telemetry::test());
    let matrix =
        |path: &Path, matrix: &Matrix| npy::write_matrix(path, matrix.rows, matrix.cols, &matrix.values);
    matrix(calibration, &seen.features)?;
    matrix(features, &test.features)?;
    npy::write_labels(labels, &test.labels.iter().map(|&label| i32::from(label)).collect::<Vec<_>>())?;
    npy::write_labels(groups, &test.groups)?;
    let positives = test.labels.iter().filter(|&&label| label).count();
    let (rows, tests) = (seen.features.rows, test.features.rows);
    let document = json!({
        "synthetic": true, "features": FEATURES, "calibration_rows": rows, "test_rows": tests, "positives": positives,
        "calibration": calibration, "test": features, "labels": labels, "groups": groups,
    });
    session.terminal.result(&document, || {
        let files: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
        format!(
            "synthetic telemetry, made here and from no machine: {}\n{rows} rows to calibrate with, {tests} to judge by, of \
             which {positives} are positive; the group is the layer\nwritten: {}\n",
            FEATURES.join(", "),
            files.join(", ")
        )
    })
}
