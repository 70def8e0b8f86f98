//! `lowbit edge identify`

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::{Session, Traced, about, check_outputs};
use lowbit::internals::edge::identify::{self, Fix, Identification, Log, Options, filter};
use lowbit::internals::io::output;
use lowbit::internals::report::identification;

/// I = k_e Q + k_base dQ + tau ddQ + gamma w_rot Q, with tau in [0.001, 0.5] s and gamma in [0, 1]
#[derive(Args, Debug)]
pub struct Arguments {
    /// A table with the columns dt (seconds since the row before), Q, w_rot, I_actual (A) and perhaps dQ, among any others
    #[arg(value_name = "LOG.csv")]
    log: PathBuf,
    /// Take a parameter to be known; k_e=12 and k_base=0.05 are usual in the field
    #[arg(long, value_name = "NAME=VALUE")]
    fix: Vec<Fix>,
    /// Least squares, a Bayesian search, or one held against the other: exit code 1 where they disagree
    #[arg(long, value_enum, default_value_t = Method::Both)]
    method: Method,
    /// Rows of the window of the local polynomials that derivatives come from, an odd number
    #[arg(long, value_name = "N", default_value_t = filter::WINDOW)]
    window: usize,
    /// The order of these polynomials
    #[arg(long, value_name = "N", default_value_t = filter::ORDER)]
    order: usize,
    /// The seed of the search
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Draw the measured and the fitted current, and what is left, here
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Method {
    LeastSquares,
    Bayesian,
    Both,
}

/// What was found, and in what.
#[derive(Serialize)]
struct Document<'a> {
    log: &'a Path,
    #[serde(flatten)]
    found: &'a Identification,
    version: &'static str,
}

pub fn run(arguments: &Arguments, session: &Session) -> anyhow::Result<()> {
    let options = Options {
        method: match arguments.method {
            Method::LeastSquares => identify::Method::LeastSquares,
            Method::Bayesian => identify::Method::Bayesian,
            Method::Both => identify::Method::Both,
        },
        fixed: arguments.fix.clone(),
        window: arguments.window,
        order: arguments.order,
        seed: arguments.seed,
    };
    options.check()?;
    let path = arguments.log.as_path();
    let outputs = arguments.svg.iter().map(PathBuf::as_path).collect();
    check_outputs(outputs, &[path], &Traced::default())?;
    arguments
        .svg
        .iter()
        .try_for_each(|path| output::check_ending(path, "svg", "an SVG picture is written"))?;
    let found = identify::identify(&Log::read(path)?, &options).map_err(about(path))?;
    if let Some(to) = &arguments.svg {
        let picture = identification::svg(&found)?;
        output::write_whole(to, |out| out.write_all(picture.as_bytes()))?;
    }
    let document = Document { log: path, found: &found, version: env!("CARGO_PKG_VERSION") };
    session.terminal.result(&document, || identification::text(&found))?;
    Ok(found.gate()?)
}
