//! `lowbit shell`: what packages install beside the program. Hidden, as only they call it.

use std::path::PathBuf;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Cli, Session};
use lowbit::internals::Error;

/// Writes FOLDER/completions for bash, zsh, fish, PowerShell and elvish, and FOLDER/man/man1 with a page for each command.
#[derive(Args, Debug)]
pub struct Arguments {
    /// Where they go
    folder: PathBuf,
}

const SHELLS: [Shell; 5] = [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::PowerShell, Shell::Elvish];

pub fn run(arguments: &Arguments, session: &Session) -> anyhow::Result<()> {
    let (completions, pages) = (arguments.folder.join("completions"), arguments.folder.join("man/man1"));
    for folder in [&completions, &pages] {
        std::fs::create_dir_all(folder).map_err(|reason| Error::io(folder, reason))?;
    }
    for shell in SHELLS {
        clap_complete::generate_to(shell, &mut Cli::command(), "lowbit", &completions)
            .map_err(|reason| Error::io(&completions, reason))?;
    }
    clap_mangen::generate_to(Cli::command(), &pages).map_err(|reason| Error::io(&pages, reason))?;
    session.terminal.notice(&format!("completions and pages are in {}", arguments.folder.display()));
    Ok(())
}
