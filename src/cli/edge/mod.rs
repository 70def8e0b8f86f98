//! `lowbit edge identify|deploy|swap`

mod deploy;
mod identify;
mod swap;

use clap::{Args, Subcommand};

use super::{Session, Traced, about, check_outputs};
use lowbit::internals::edge::duet::{self, Deadlines, Password};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Find the parameters of the flow model from a telemetry log: k_e, k_base, tau, gamma, and how certain they are
    Identify(identify::Arguments),
    /// Put the macro sys/M573.g on a Duet3D printer, and call it before each layer
    Deploy(deploy::Arguments),
    /// Give a Duet3D printer new constants while it runs
    Swap(swap::Arguments),
}

pub fn run(command: &Command, session: &Session) -> anyhow::Result<()> {
    match command {
        Command::Identify(arguments) => identify::run(arguments, session),
        Command::Deploy(arguments) => deploy::run(arguments, session),
        Command::Swap(arguments) => swap::run(arguments, session),
    }
}

/// What opening a session does, for the help of what only reads without --yes.
const CLOCK: &str =
    "Opening a session tells the printer the time, in UTC: it sets its clock by that if it is not set.";

/// Which printer.
#[derive(Args, Debug)]
struct PrinterArguments {
    // A `Host` would be refused by clap, which repeats the text: it may hold a password.
    /// A Duet3D printer: http://HOST or http://HOST:PORT
    #[arg(long, value_name = "URL")]
    host: String,
    /// The environment variable with the printer's password; without it, that of a printer that has none ("reprap")
    #[arg(long, value_name = "NAME")]
    password_env: Option<String>,
}

impl PrinterArguments {
    fn open(&self) -> lowbit::internals::Result<duet::Session> {
        let host = self.host.parse()?;
        let password = self.password_env.as_deref().map(Password::from_env).transpose()?.unwrap_or_default();
        duet::Session::open(&host, password, Deadlines::default())
    }
}
