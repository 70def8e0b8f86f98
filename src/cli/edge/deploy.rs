//! `lowbit edge deploy`

use clap::Args;

use super::{CLOCK, PrinterArguments, Session};
use lowbit::internals::edge::duet::{Deployment, HOOKED, deploy};
use lowbit::internals::table::render;

/// What is not seen from the steps.
const MORE: &str = "The firmware does not run sys/beforeLayerChange.g by itself: the slicer's G-code has to have\n\
                    M98 P\"beforeLayerChange.g\" at each change of layer.";

#[derive(Args, Debug)]
#[command(after_help = format!("{MORE}\n{CLOCK}"))]
pub struct Arguments {
    #[command(flatten)]
    printer: PrinterArguments,
    /// Write; without it the printer's files are only read
    #[arg(long)]
    yes: bool,
}

pub fn run(arguments: &Arguments, session: &Session) -> anyhow::Result<()> {
    let printer = arguments.printer.open()?;
    let deployed = deploy(&printer, arguments.yes)?;
    drop(printer);
    deployed.notices.iter().for_each(|notice| session.terminal.notice(notice));
    session.terminal.result(&deployed, || text(&deployed))
}

fn text(deployed: &Deployment) -> String {
    let rows = deployed.steps.iter().map(|step| {
        vec![
            step.action.to_owned(),
            step.file.clone(),
            step.bytes.map_or("-".into(), |bytes| bytes.to_string()),
            step.crc32.clone().unwrap_or_else(|| "-".into()),
            step.result.clone(),
        ]
    });
    let mut text = format!("{}\n", deployed.host);
    text += &render(&["step", "file", "bytes", "CRC-32", "result"], rows.collect());
    if let Some(hook) = deployed.hook {
        text += &format!("the first line of {HOOKED}: {hook}\n");
    }
    text += match (deployed.changed, deployed.write) {
        (false, _) => "all of it was there already; nothing was written\n",
        (true, false) => "nothing was written; --yes does it\n",
        (true, true) => "written, and read back\n",
    };
    text
}
