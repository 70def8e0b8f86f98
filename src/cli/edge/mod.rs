//! `lowbit edge identify`

mod identify;

use clap::Subcommand;

use super::{Session, Traced, about, check_outputs};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Find the parameters of the flow model from a telemetry log: k_e, k_base, tau, gamma, and how certain they are
    Identify(identify::Arguments),
}

pub fn run(command: &Command, session: &Session) -> anyhow::Result<()> {
    match command {
        Command::Identify(arguments) => identify::run(arguments, session),
    }
}
