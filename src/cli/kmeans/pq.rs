//! `lowbit kmeans pq`

use std::path::{Path, PathBuf};

use clap::Args;

use super::{
    Points, Seeded, Session, Terminal, Traced, about, borrowed, check_outputs, facts, notices, written,
};
use lowbit::internals::io::arrays;
use lowbit::internals::kmeans::Metric;
use lowbit::internals::kmeans::product::{ProductQuantizer, Quantized};

#[derive(Args, Debug)]
pub struct Arguments {
    #[command(flatten)]
    points: Points,
    /// Into how many sub-spaces of equal width to cut the columns: bytes of a vector's codes
    #[arg(short, long, allow_negative_numbers = true)]
    m: usize,
    /// Bits of a code, 4 to 8: 2^bits centroids in each sub-space
    #[arg(long, default_value_t = 8, value_name = "BITS", value_parser = clap::value_parser!(u32).range(4..=8))]
    bits: u32,
    /// How many points to train on for each centroid, at most
    #[arg(long, default_value = "256", value_name = "all|N", value_parser = training)]
    train: Training,
    #[command(flatten)]
    random: Seeded,
    /// Most iterations in a sub-space
    #[arg(long, default_value_t = 300, allow_negative_numbers = true)]
    max_iter: u32,
    /// Write the centroids here: .npy, float32, [m, 2^bits, d / m]
    #[arg(long, value_name = "OUT.npy")]
    codebooks: Option<PathBuf>,
    /// Write the codes here: .npy or .csv, uint8, [n, m]
    #[arg(long, value_name = "OUT.npy")]
    codes: Option<PathBuf>,
    #[command(flatten)]
    traced: Traced,
}

/// Points to train on for each centroid; all if `None`.
#[derive(Clone, Copy, Debug)]
struct Training(Option<u64>);

fn training(text: &str) -> Result<Training, String> {
    match (text, text.parse()) {
        ("all", _) => Ok(Training(None)),
        (_, Ok(count)) if count > 0 => Ok(Training(Some(count))),
        _ => Err("give 'all', or a number of points above 0".into()),
    }
}

pub fn run(arguments: &Arguments, session: &Session) -> anyhow::Result<()> {
    if arguments.points.metric != Metric::Euclidean {
        anyhow::bail!("--metric: codes are chosen by euclidean distance alone; leave it out");
    }
    check_outputs(arguments.outputs().collect(), &borrowed(&arguments.points.files()), &arguments.traced)?;
    arguments.codebooks.iter().try_for_each(|path| arrays::check(path, 3))?;
    arguments.codes.iter().try_for_each(|path| arrays::check(path, 2))?;
    arguments.run(session)
}

impl Arguments {
    fn outputs(&self) -> impl Iterator<Item = &Path> {
        self.codebooks.iter().chain(&self.codes).map(PathBuf::as_path)
    }

    fn run(&self, session: &Session) -> anyhow::Result<()> {
        let data = self.points.open(false, &session.terminal)?;
        let quantizer = ProductQuantizer::new(self.m).bits(self.bits).seed(self.random.seed);
        let quantizer =
            quantizer.max_iter(self.max_iter).subsample(self.train.0).memory(self.points.memory());
        session.with_device(&self.traced, |gpu| {
            let bar = session.terminal.bar(self.m as u64, "sub-spaces {bar:20} {pos}/{len} ETA {eta}");
            let quantized = quantizer.fit(gpu, &data, |part, _| bar.set_position(part as u64));
            bar.finish_and_clear();
            self.finish(&quantized.map_err(about(data.path()))?, &session.terminal)?;
            Ok(None)
        })
    }

    fn finish(&self, quantized: &Quantized, terminal: &Terminal) -> anyhow::Result<()> {
        notices(terminal, &quantized.notices);
        let books = &quantized.codebooks;
        if let Some(path) = &self.codebooks {
            arrays::write(path, &[books.m, books.k, books.width], &books.values)?;
        }
        if let Some(path) = &self.codes {
            arrays::write(path, &[quantized.n, quantized.m], &quantized.codes)?;
        }
        written(terminal, self.outputs());
        terminal.result(quantized, || {
            let rows = [
                ("vectors", format!("{} x {}", quantized.n, quantized.d)),
                ("codebooks", format!("{} x {} x {}", books.m, books.k, books.width)),
                ("bytes per vector", format!("{}, as float32 {}", quantized.m, 4 * quantized.d)),
                ("relative squared error", format!("{:.6}", quantized.relative_squared_error)),
                ("mean squared error", format!("{:.6e}", quantized.mean_squared_error)),
                ("seconds", format!("{:.3}", quantized.seconds)),
            ];
            facts("product quantization", rows)
        })
    }
}
