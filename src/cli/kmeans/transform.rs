//! `lowbit kmeans transform`

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::{Given, Session, Traced, about, borrowed, check_outputs};
use lowbit::internals::io::arrays;

#[derive(Args, Debug)]
pub struct Arguments {
    #[command(flatten)]
    given: Given,
    /// Write the distances here, plain ones for euclidean: .npy or .csv, float32, [n, k]
    #[arg(short, long, value_name = "DISTANCES.npy")]
    output: PathBuf,
    #[command(flatten)]
    traced: Traced,
}

pub fn run(arguments: &Arguments, session: &Session) -> anyhow::Result<()> {
    let Arguments { given, output, traced } = arguments;
    check_outputs(vec![output], &borrowed(&given.files()), traced)?;
    arrays::check(output, 2)?;
    let (data, centroids) = given.open(false, session)?;
    let (n, d, k, metric) = (data.rows(), data.cols(), centroids.rows, given.points.metric);
    session.with_device(traced, |gpu| {
        let kmeans = given.points.settings(k);
        let written = arrays::write_pieces(output, &[n as usize, k], |write| {
            kmeans.transform_into(gpu, &data, &centroids, write)
        });
        written.map_err(about(data.path()))?;
        let document = json!({ "n": n, "d": d, "k": k, "metric": metric, "output": output });
        session.terminal.result(&document, || {
            format!("distances of {n} points of {d} dimensions to {k} centroids: {}", output.display())
        })?;
        Ok(None)
    })
}
