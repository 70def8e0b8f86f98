//! `lowbit kmeans predict`

use std::path::PathBuf;

use clap::Args;

use super::{Given, Session, Traced, about, check_outputs};
use lowbit::io::npy;

#[derive(Args, Debug)]
pub struct Arguments {
    #[command(flatten)]
    given: Given,
    /// Write the labels here: .npy, int32, [n]
    #[arg(short, long, value_name = "LABELS.npy")]
    output: PathBuf,
    #[command(flatten)]
    traced: Traced,
}

pub fn run(arguments: &Arguments, session: &Session) -> anyhow::Result<()> {
    let Arguments { given, output, traced } = arguments;
    check_outputs(vec![output], &given.files(), traced)?;
    let (data, centroids) = given.open()?;
    session.with_device(traced, |gpu| {
        let predicted = given.points.settings(centroids.rows).predict(gpu, &data, &centroids);
        let predicted = predicted.map_err(about(&given.points.data))?;
        npy::write_labels(output, &predicted.labels)?;
        session.terminal.result(&predicted, || {
            format!(
                "{} points of {} dimensions labelled by {} centroids, inertia {}: {}",
                predicted.n,
                predicted.d,
                predicted.k,
                predicted.inertia,
                output.display()
            )
        })?;
        Ok(None)
    })
}
