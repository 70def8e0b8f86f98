//! `lowbit bench matmul|kmeans|kv|compare`

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Session, bench_kmeans, bench_kv, bench_matmul, share};
use lowbit::internals::Error;
use lowbit::internals::report::compare::{Results, compare};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Time products with quantized weights: every format, every shape
    Matmul(bench_matmul::Arguments),
    /// Time an iteration of k-means: the assignment and the update, at given shapes
    Kmeans(bench_kmeans::Arguments),
    /// Time the attention of a decode step over a KV cache: every cache type, at given contexts
    Kv(bench_kv::Arguments),
    /// Compare two files of measurements, such as report.json; exits with 1 if a kernel has become slower
    Compare(Compare),
}

#[derive(Args, Debug)]
pub struct Compare {
    /// The measurements to compare with
    #[arg(value_name = "OLD.json")]
    old: PathBuf,
    /// The measurements in question
    #[arg(value_name = "NEW.json")]
    new: PathBuf,
    /// Compare measurements of different adapters too
    #[arg(long)]
    any_adapter: bool,
    /// The largest share of its speed that a kernel may lose: one that is SLOWER by less passes
    #[arg(long, value_name = "X", default_value_t = 0.0, value_parser = share)]
    max_drop: f64,
}

pub fn run(command: &Command, session: &Session) -> anyhow::Result<()> {
    match command {
        Command::Matmul(arguments) => bench_matmul::run(arguments, session),
        Command::Kmeans(arguments) => bench_kmeans::run(arguments, session),
        Command::Kv(arguments) => bench_kv::run(arguments, session),
        Command::Compare(compare) => compare.run(session),
    }
}

impl Compare {
    fn run(&self, session: &Session) -> anyhow::Result<()> {
        let (old, new) = (Results::read(&self.old)?, Results::read(&self.new)?);
        if old.adapter != new.adapter && !self.any_adapter {
            let problem = format!(
                "this was measured on {}, but {} on {}; --any-adapter compares them all the same",
                new.adapter,
                self.old.display(),
                old.adapter
            );
            return Err(Error::file(&self.new, problem).into());
        }
        let comparison = compare(&old, &new)?;
        session.terminal.result(&comparison, || comparison.text())?;
        Ok(comparison.check(self.max_drop)?)
    }
}
