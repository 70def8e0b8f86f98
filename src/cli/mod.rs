//! The command line: arguments, one call into the library, output. One file per subcommand.

mod devices;
mod kmeans;
mod report;
mod roofline;
mod terminal;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::Error;
use crate::gpu::{Context, Options};
use crate::report::trace;
use terminal::Terminal;

/// Quantization on any GPU: fewer bits, the same answer, at memory speed.
#[derive(Debug, Parser)]
#[command(name = "lowbit", version, about, max_term_width = 100)]
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
#[derive(Args, Debug)]
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
    /// Cluster vectors or colours
    Kmeans {
        #[command(subcommand)]
        command: kmeans::Command,
    },
}

/// A bandwidth that memory can have.
fn bandwidth(text: &str) -> Result<f64, &'static str> {
    match text.parse() {
        Ok(value) if value > 0.0 && f64::is_finite(value) => Ok(value),
        _ => Err("give a number above 0, such as 936 for 936 GB/s"),
    }
}

/// Runs the command line of this process.
pub fn run() -> ExitCode {
    // clap prints usage errors by itself and exits with 2, which is what the house asks for.
    let cli = Cli::parse();
    let terminal = Terminal::new(cli.global.json, cli.global.quiet);
    match dispatch(&cli, &terminal) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            terminal.error(&explain(&error));
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

fn dispatch(cli: &Cli, terminal: &Terminal) -> anyhow::Result<()> {
    match &cli.command {
        Command::Devices => devices::run(cli.global.adapter.as_deref(), terminal),
        Command::Roofline(arguments) => {
            with_device(cli, &arguments.traced, terminal, |gpu| roofline::run(arguments, gpu, terminal))
        }
        Command::Report(arguments) => {
            with_device(cli, &arguments.traced, terminal, |gpu| report::run(arguments, gpu, terminal))
        }
        Command::Kmeans { command } => {
            command.check()?;
            with_device(cli, command.traced(), terminal, |gpu| command.run(gpu, terminal))
        }
    }
}

/// Opens the device, says what must be known of it, runs `work`, and writes the trace if one is wanted.
fn with_device(
    cli: &Cli,
    traced: &Traced,
    terminal: &Terminal,
    work: impl FnOnce(&Context) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    if let Some(path) = &traced.trace {
        crate::io::output::check_writable(path)?;
    }
    let options =
        Options { adapter: cli.global.adapter.clone(), guarded: false, profile: traced.trace.is_some() };
    let gpu = Context::open(&options)?;
    for notice in &gpu.notices {
        terminal.notice(notice);
    }
    // The self-test's own pass is nobody's work.
    drop(gpu.take_passes());
    work(&gpu)?;
    if let Some(path) = &traced.trace {
        terminal.notice("measuring the roofs for the trace");
        trace::write(path, &gpu)?;
        terminal.notice(&format!("{}: open it at ui.perfetto.dev or chrome://tracing", path.display()));
    }
    Ok(())
}
