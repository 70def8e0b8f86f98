//! `lowbit roofline`

use std::path::PathBuf;

use clap::Args;

use super::{Session, Traced};
use lowbit::io::output;
use lowbit::report::{svg, table};
use lowbit::roofline::{Effort, MeasureOptions, measure};

#[derive(Args, Debug)]
pub struct Arguments {
    /// Draw the roofs here
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Measure for a short time, in smaller buffers
    #[arg(long)]
    quick: bool,
    /// The datasheet's memory bandwidth in GB/s, to compare the copy roof with
    #[arg(long, value_name = "GB/s", value_parser = super::bandwidth, allow_negative_numbers = true)]
    peak_gbs: Option<f64>,
    #[command(flatten)]
    traced: Traced,
}

pub fn run(arguments: &Arguments, session: &Session) -> anyhow::Result<()> {
    let terminal = &session.terminal;
    if let Some(path) = &arguments.svg {
        output::check_writable(path)?;
    }
    let effort = if arguments.quick { Effort::Quick } else { Effort::Full };
    let options = MeasureOptions { effort, peak_gbs: arguments.peak_gbs, sweep: true };
    session.with_device(&arguments.traced, |gpu| {
        let spinner = terminal.spinner();
        let roofs = measure(gpu, &options, &mut |step| spinner.set_message(step.to_owned()));
        spinner.finish_and_clear();
        let roofs = roofs?;
        if let Some(path) = &arguments.svg {
            let picture = svg::roofline(&roofs, &[])?;
            output::write_whole(path, |out| out.write_all(picture.as_bytes()))?;
        }
        terminal.result(&roofs, || table::roofs(&roofs))
    })
}
