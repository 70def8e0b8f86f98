//! The command-line tool; see [`lowbit::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    lowbit::cli::run()
}
