//! The command line: arguments, one call into the library, output. One file per subcommand.

mod bench;
mod bench_kmeans;
mod bench_kv;
mod bench_matmul;
mod classify;
mod devices;
mod edge;
mod inspect;
mod kmeans;
mod kv;
mod matmul;
mod plan;
mod quantize;
mod report;
mod roofline;
mod shell;
mod signals;
mod terminal;
mod tune;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use lowbit::internals::Error;
use lowbit::internals::gpu::{Context, Listener, Options};
use lowbit::internals::io::npy::Matrix;
use lowbit::internals::io::output::{check_ending, check_writable};
use lowbit::internals::io::{npy, split_part};
use lowbit::internals::report::trace;
use lowbit::internals::roofline::{Effort, MeasureOptions, Roofs, measure};
use terminal::Terminal;

/// With the commit, in a checkout.
const VERSION: &str = match env!("LOWBIT_COMMIT").is_empty() {
    true => env!("CARGO_PKG_VERSION"),
    false => concat!(env!("CARGO_PKG_VERSION"), " (", env!("LOWBIT_COMMIT"), ")"),
};

/// Quantization on any GPU: fewer bits, the same answer, at memory speed.
#[derive(Debug, Parser)]
#[command(name = "lowbit", version = VERSION, about, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Options of every command.
#[derive(Args, Debug)]
struct Global {
    /// Use the adapter with this in its name (see `lowbit devices`); also WGPU_ADAPTER_NAME and WGPU_BACKEND
    #[arg(long, global = true, value_name = "NAME")]
    adapter: Option<String>,
    /// Print one JSON document on standard output instead of tables
    #[arg(long, global = true)]
    json: bool,
    /// No progress and no notices on standard error
    #[arg(long, short, global = true)]
    quiet: bool,
}

/// For every command that computes.
#[derive(Args, Debug, Default)]
struct Traced {
    /// Write a Chrome trace of every GPU pass (open it in Perfetto), with GB/s and share of the roof
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the adapters: limits, features, cooperative-matrix shapes
    Devices,
    /// Measure what this adapter really delivers: memory, arithmetic, launches
    Roofline(roofline::Arguments),
    /// Measure the roofs, verify and time every kernel against them, write report.json and report.html
    Report(report::Arguments),
    /// Measure kernels, and compare measurements
    Bench {
        #[command(subcommand)]
        command: bench::Command,
    },
    /// Measure the variants of every kernel here, and keep those that are faster than what lowbit takes by itself
    Tune(tune::Arguments),
    /// Show what is in a .gguf, .safetensors or .npy file: metadata, tensors, types, shapes, bits per weight
    Inspect(inspect::Arguments),
    /// Put the weights of a .gguf, .safetensors or .npy file into another number format, as a .gguf file
    Quantize(quantize::Arguments),
    /// Say which number format to run a model in here: sizes, tokens per second by measured products, the KV cache
    Plan(plan::Arguments),
    /// Multiply the weights of a .gguf file with columns: Y = W X
    Matmul(matmul::Arguments),
    /// Cluster vectors or colours
    Kmeans {
        #[command(subcommand)]
        command: kmeans::Command,
    },
    /// KV caches in few bits: what each type costs in an attention
    Kv {
        #[command(subcommand)]
        command: kv::Command,
    },
    /// Classifiers in INT8: calibrate, run, audit against limits, measure
    Classify {
        #[command(subcommand)]
        command: classify::Command,
    },
    /// The edge loop of a 3D printer: parameters of the flow model from its telemetry, and to its firmware
    Edge {
        #[command(subcommand)]
        command: edge::Command,
    },
    #[command(hide = true)]
    Shell(shell::Arguments),
}

/// For every command that measures.
#[derive(Args, Debug)]
struct Measured {
    /// Measure for a short time, at small sizes
    #[arg(long)]
    quick: bool,
    /// Measure at full sizes: the default but for a report of a software device
    #[arg(long, conflicts_with = "quick")]
    full: bool,
    /// The datasheet's memory bandwidth in GB/s, to compare the copy roof with
    #[arg(long, value_name = "GB/s", allow_negative_numbers = true, value_parser = bandwidth)]
    peak_gbs: Option<f64>,
}

impl Measured {
    /// What is asked for, or the default.
    fn effort(&self, default: Effort) -> Effort {
        match (self.quick, self.full) {
            (true, _) => Effort::Quick,
            (_, true) => Effort::Full,
            _ => default,
        }
    }
}

/// A bandwidth that memory can have.
fn bandwidth(text: &str) -> Result<f64, &'static str> {
    match text.parse() {
        Ok(value) if value > 0.0 && f64::is_finite(value) => Ok(value),
        _ => Err("give a number above 0, such as 936 for 936 GB/s"),
    }
}

/// A share that may be lost.
fn share(text: &str) -> Result<f64, &'static str> {
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("give a number from 0 to 1, such as 0.01"),
    }
}

/// Runs the command line of this process.
pub fn run() -> ExitCode {
    // clap prints usage errors by itself and exits with 2, which is what the house asks for.
    let cli = Cli::parse();
    let terminal = Terminal::new(cli.global.json, cli.global.quiet);
    let session = Session { adapter: cli.global.adapter.clone(), terminal };
    if let Err(error) = signals::end_at_once() {
        terminal.notice(&format!("a signal may leave hidden files behind: {error}"));
    }
    match dispatch(&cli, &session) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            session.terminal.error(&explain(&error));
            ExitCode::from(error.downcast_ref::<Error>().map_or(2, Error::exit_code))
        }
    }
}

/// The error, and what the environment has to do with it.
fn explain(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    if let Some(Error::NoAdapter { found, .. }) = error.downcast_ref()
        && found.is_empty()
        && let Ok(backend) = std::env::var("WGPU_BACKEND")
    {
        text += &format!(", or unset WGPU_BACKEND={backend}: nothing else was looked at");
    }
    text
}

fn dispatch(cli: &Cli, session: &Session) -> anyhow::Result<()> {
    match &cli.command {
        Command::Devices => devices::run(session),
        Command::Roofline(arguments) => roofline::run(arguments, session),
        Command::Report(arguments) => report::run(arguments, session),
        Command::Bench { command } => bench::run(command, session),
        Command::Tune(arguments) => tune::run(arguments, session),
        Command::Quantize(arguments) => quantize::run(arguments, session),
        Command::Inspect(arguments) => inspect::run(arguments, session),
        Command::Matmul(arguments) => matmul::run(arguments, session),
        Command::Plan(arguments) => plan::run(arguments, session),
        Command::Kmeans { command } => kmeans::run(command, session),
        Command::Kv { command } => kv::run(command, session),
        Command::Classify { command } => classify::run(command, session),
        Command::Edge { command } => edge::run(command, session),
        Command::Shell(arguments) => shell::run(arguments, session),
    }
}

/// A number of tokens, k for 1024 of them.
fn tokens(text: &str) -> Result<u64, &'static str> {
    let (number, unit) = text.strip_suffix(['k', 'K']).map_or((text, 1), |number| (number, 1024));
    let tokens = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    tokens.filter(|&tokens| tokens > 0).ok_or("give a number of tokens, such as 8192 or 8k")
}

/// Refuses NaN and infinity.
fn check_finite(path: &Path, matrix: &Matrix) -> anyhow::Result<()> {
    let Some((row, column)) = matrix.first_non_finite() else { return Ok(()) };
    let value = matrix.values[row * matrix.cols + column];
    anyhow::bail!(
        "{}: row {row}, column {column} (counted from 0) is {value}: leave such rows out, or fill them",
        path.display()
    );
}

/// Says which file an error is about.
fn about(path: &Path) -> impl Fn(Error) -> Error {
    move |error| if error.is_input() { Error::file(path, error.to_string()) } else { error }
}

/// Refuses outputs that cannot be written, that are one file, or that would overwrite an input; the trace is one too. What its
/// name has to end in, the caller checks behind it: [`lowbit::internals::io::arrays::check`], [`check_ending`].
fn check_outputs<'a>(mut outputs: Vec<&'a Path>, inputs: &[&Path], traced: &'a Traced) -> anyhow::Result<()> {
    outputs.extend(traced.trace.as_deref());
    for path in &outputs {
        check_writable(path)?;
    }
    let places: Vec<Option<PathBuf>> = outputs.iter().map(|path| place(path)).collect();
    for (i, (path, at)) in outputs.iter().zip(&places).enumerate() {
        if at.is_some() && places[..i].contains(at) {
            anyhow::bail!("{}: two outputs cannot go to one file; give another name", path.display());
        }
        if at.is_some() && inputs.iter().any(|input| place(&split_part(input).0) == *at) {
            anyhow::bail!("{}: this would overwrite an input; give the output another name", path.display());
        }
    }
    if let Some(path) = &traced.trace {
        check_ending(path, "json", "a trace is JSON")?;
    }
    Ok(())
}

/// Where a file really is, if it is an ordinary one: links and detours resolved, also for a file that is yet to be made.
fn place(path: &Path) -> Option<PathBuf> {
    if path.exists() {
        return path.canonicalize().ok().filter(|path| path.is_file());
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Some(folder.canonicalize().ok()?.join(path.file_name()?))
}

/// What every subcommand works with.
struct Session {
    adapter: Option<String>,
    terminal: Terminal,
}

impl Session {
    fn options(&self, adapter: Option<&str>, traced: &Traced) -> Options {
        let terminal = self.terminal;
        Options {
            adapter: adapter.map(str::to_owned),
            profile: traced.trace.is_some(),
            listener: Some(Listener::new(move |news| terminal.notice(news))),
            ..Options::default()
        }
    }

    /// Says which of these arrays are of a type that becomes f32 as it is read.
    fn say_conversions<'a>(&self, arrays: impl IntoIterator<Item = &'a Path>) {
        arrays.into_iter().filter_map(npy::conversion).for_each(|text| self.terminal.notice(&text));
    }

    /// Measures the roofs, quickly.
    fn roofs(&self, gpu: &Context) -> lowbit::internals::Result<Roofs> {
        let spinner = self.terminal.spinner();
        let options = MeasureOptions { effort: Effort::Quick, peak_gbs: None, sweep: false };
        let roofs = measure(gpu, &options, &mut |step| spinner.set_message(step.to_owned()));
        spinner.finish_and_clear();
        roofs
    }

    /// Opens a device for each name, or for each adapter of this machine if the only name is `all`.
    fn open_several(&self, names: &[String]) -> lowbit::internals::Result<Vec<Context>> {
        let options = |name| self.options(name, &Traced::default());
        match names {
            [all] if all == "all" => Context::open_all(&options(None)),
            names => names.iter().map(|name| Context::open(&options(Some(name.trim())))).collect(),
        }
    }

    /// Opens the device, runs `work`, says what must be known of the device, and writes the trace if one is wanted.
    /// What can be refused without a device should have been by then: see [`check_outputs`]. `work` gives the roofs, if it has measured them.
    fn with_device(
        &self,
        traced: &Traced,
        work: impl FnOnce(&Context) -> anyhow::Result<Option<Roofs>>,
    ) -> anyhow::Result<()> {
        let gpu = Context::open(&self.options(self.adapter.as_deref(), traced))?;
        // The self-test's own pass is nobody's work.
        drop(gpu.take_passes());
        let roofs = work(&gpu)?;
        if let Some(path) = &traced.trace {
            if roofs.is_none() {
                self.terminal.notice("measuring the roofs for the trace");
            }
            trace::write(path, &gpu, roofs)?;
            self.terminal
                .notice(&format!("{}: open it at ui.perfetto.dev or chrome://tracing", path.display()));
        }
        Ok(())
    }
}
