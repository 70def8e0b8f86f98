//! `lowbit roofline`

use std::path::PathBuf;

use clap::Args;

use super::{Measured, Session, Traced, check_outputs};
use lowbit::internals::io::output;
use lowbit::internals::report::{roofs as shown, svg};
use lowbit::internals::roofline::{Effort, MeasureOptions, measure};

#[derive(Args, Debug)]
pub struct Arguments {
    /// Draw the roofs here
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    #[command(flatten)]
    measured: Measured,
    #[command(flatten)]
    traced: Traced,
}

pub fn run(arguments: &Arguments, session: &Session) -> anyhow::Result<()> {
    let terminal = &session.terminal;
    check_outputs(arguments.svg.iter().map(PathBuf::as_path).collect(), &[], &arguments.traced)?;
    arguments
        .svg
        .iter()
        .try_for_each(|path| output::check_ending(path, "svg", "an SVG picture is written"))?;
    let options = MeasureOptions {
        effort: arguments.measured.effort(Effort::Full),
        peak_gbs: arguments.measured.peak_gbs,
        sweep: true,
    };
    session.with_device(&arguments.traced, |gpu| {
        let spinner = terminal.spinner();
        let roofs = measure(gpu, &options, &mut |step| spinner.set_message(step.to_owned()));
        spinner.finish_and_clear();
        let roofs = roofs?;
        if let Some(path) = &arguments.svg {
            let picture = svg::roofline(&roofs, &[])?;
            output::write_whole(path, |out| out.write_all(picture.as_bytes()))?;
            terminal.notice(&format!("written: {}", path.display()));
        }
        terminal.result(&roofs, || shown::text(&roofs))?;
        Ok(Some(roofs))
    })
}
