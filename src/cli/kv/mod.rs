//! `lowbit kv eval`

mod eval;

use clap::Subcommand;

use super::{Session, Traced, about, tokens};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Measure what each cache type costs in the attention of a model's queries, keys and values
    Eval(eval::Arguments),
}

pub fn run(command: &Command, session: &Session) -> anyhow::Result<()> {
    match command {
        Command::Eval(arguments) => eval::run(arguments, session),
    }
}
