//! `lowbit edge swap`

use clap::Args;
use serde_json::json;

use super::{CLOCK, PrinterArguments, Session};
use lowbit::internals::Error;
use lowbit::internals::edge::duet::{Constants, Status, Swap, swap};

/// How it ends.
const ENDS: &str = "SUCCESS: exit code 0; the printer took the line within 50 ms, and what the macro then said is shown.\n\
                    TIMEOUT_WARNING: exit code 1; it did not answer in time, and may have taken it.\n\
                    ERROR: exit code 3; it or the macro refused, or there was no connection: its constants are the old ones.\n\
                    The replies that are read are common to all of its clients, which may miss them.";

#[derive(Args, Debug)]
#[command(after_help = format!("{ENDS}\n{CLOCK}"))]
pub struct Arguments {
    #[command(flatten)]
    printer: PrinterArguments,
    /// tau in seconds, 0.001 to 0.5
    #[arg(long, value_name = "S", allow_negative_numbers = true)]
    tau: f64,
    /// gamma, 0 to 1
    #[arg(long, value_name = "GAMMA", allow_negative_numbers = true)]
    gamma: f64,
    /// Send it; without it the session is only opened
    #[arg(long)]
    yes: bool,
}

pub fn run(arguments: &Arguments, session: &Session) -> anyhow::Result<()> {
    let constants = Constants::new(arguments.tau, arguments.gamma)?;
    let printer = arguments.printer.open()?;
    if !arguments.yes {
        let (host, line) = (printer.host().to_string(), constants.line());
        let document = json!({
            "host": host, "tau": arguments.tau, "gamma": arguments.gamma, "line": line, "status": null,
        });
        return session
            .terminal
            .result(&document, || format!("{host}\n{line}\nnothing was sent; --yes does it\n"));
    }
    let swapped = swap(&printer, constants);
    let host = printer.host().to_string();
    drop(printer);
    session.terminal.result(&swapped, || text(&swapped))?;
    let problem = format!("{}: {}", swapped.status, swapped.problem.unwrap_or_default());
    match swapped.status {
        Status::Success => Ok(()),
        Status::Error => Err(Error::Peer { host, problem }.into()),
        // The budget is a gate, which was not met; the printer itself may be well.
        Status::TimeoutWarning => Err(Error::Gate(format!("{host}: {problem}")).into()),
    }
}

fn text(swapped: &Swap) -> String {
    let Swap { host, line, status, milliseconds, budget_milliseconds, .. } = swapped;
    let mut text = format!(
        "{host}\n{line}\n{status}: {milliseconds:.1} of {budget_milliseconds} ms (connection, request and answer)\n"
    );
    if let Some(reply) = &swapped.reply {
        text += &format!("reply: {}\n", reply.replace('\n', "\n       "));
    }
    match &swapped.problem {
        Some(problem) if *status == Status::Success => text += problem,
        None if swapped.confirmed => text += "the printer announces these constants",
        // An error says it.
        _ => {}
    }
    text
}
