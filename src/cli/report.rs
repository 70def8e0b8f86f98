//! `lowbit report`

use std::path::PathBuf;

use clap::Args;

use super::{Measured, Session, Traced, check_outputs};
use lowbit::internals::io::output;
use lowbit::internals::report::{ReportOptions, classifiers, html, make, starnet};
use lowbit::internals::roofline::Effort;

#[derive(Args, Debug)]
pub struct Arguments {
    /// The folder that report.json and report.html are written to; made if it does not exist
    #[arg(long, default_value = ".", value_name = "DIR")]
    out: PathBuf,
    #[command(flatten)]
    measured: Measured,
    #[command(flatten)]
    traced: Traced,
}

pub fn run(arguments: &Arguments, session: &Session) -> anyhow::Result<()> {
    let terminal = &session.terminal;
    if arguments.out.exists() && !arguments.out.is_dir() {
        anyhow::bail!("{}: this is a file; --out is the folder of the report", arguments.out.display());
    }
    std::fs::create_dir_all(&arguments.out)
        .map_err(|error| lowbit::internals::Error::io(&arguments.out, error))?;
    let (json, page) = (arguments.out.join("report.json"), arguments.out.join("report.html"));
    check_outputs(vec![&json, &page], &[], &arguments.traced)?;
    let mut gate = Ok(());
    session.with_device(&arguments.traced, |gpu| {
        let default = if gpu.adapter.is_software() { Effort::Quick } else { Effort::Full };
        let effort = arguments.measured.effort(default);
        if effort == Effort::Quick && !arguments.measured.quick {
            terminal.notice("a software device: measured quickly, at small sizes (--full: at full ones)");
        }
        let options = ReportOptions { effort, peak_gbs: arguments.measured.peak_gbs };
        let spinner = terminal.spinner();
        let report = make(gpu, &options, &mut |step| spinner.set_message(step.to_owned()));
        spinner.finish_and_clear();
        let report = report?;
        let text = html::page(&report)?;
        output::write_whole(&json, |out| serde_json::to_writer_pretty(out, &report).map_err(Into::into))?;
        output::write_whole(&page, |out| out.write_all(text.as_bytes()))?;
        for notice in report.notices.iter().skip(gpu.notices().len()) {
            terminal.notice(notice);
        }
        terminal.result(&report, || report.text())?;
        terminal.notice(&format!("written: {} and {}", json.display(), page.display()));
        gate = classifiers::gate(&report.classifiers).and_then(|()| starnet::gate(&report.starnets));
        Ok(Some(report.roofs))
    })?;
    Ok(gate?)
}
