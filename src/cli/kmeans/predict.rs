//! `lowbit kmeans predict`

use std::path::PathBuf;

use clap::Args;

use super::{Given, Session, Traced, about, borrowed, check_outputs};
use lowbit::internals::io::arrays;

#[derive(Args, Debug)]
pub struct Arguments {
    #[command(flatten)]
    given: Given,
    /// The points are those of B problems, [B, n, d], and the centroids are [B, k, d]
    #[arg(long)]
    batch: bool,
    /// Write the labels here: .npy or .csv, int32, [n], or [B, n]
    #[arg(short, long, value_name = "LABELS.npy")]
    output: PathBuf,
    #[command(flatten)]
    traced: Traced,
}

pub fn run(arguments: &Arguments, session: &Session) -> anyhow::Result<()> {
    let Arguments { given, batch, output, traced } = arguments;
    check_outputs(vec![output], &borrowed(&given.files()), traced)?;
    arrays::check(output, if *batch { 2 } else { 1 })?;
    let (data, centroids) = given.open(*batch, session)?;
    session.with_device(traced, |gpu| {
        if *batch {
            let problems = data.problems() as usize;
            let predicted =
                given.points.settings(centroids.rows).predict_batch(gpu, &data, problems, &centroids);
            let predicted = predicted.map_err(about(data.path()))?;
            let n = predicted.labels.len() / problems;
            arrays::write(output, &[problems, n], &predicted.labels)?;
            let inertia: f64 = predicted.inertia.iter().sum();
            session.terminal.result(&predicted, || {
                format!("{problems} problems of {n} points labelled, inertia {inertia}: {}", output.display())
            })?;
            return Ok(None);
        }
        let predicted = given.points.settings(centroids.rows).predict(gpu, &data, &centroids);
        let predicted = predicted.map_err(about(data.path()))?;
        arrays::write(output, &[predicted.labels.len()], &predicted.labels)?;
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
