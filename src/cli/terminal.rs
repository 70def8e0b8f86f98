//! What goes where: results on standard output, everything else on standard error.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt::{self, Display};
use std::io::{ErrorKind, IsTerminal, Write};
use std::sync::LazyLock;
use std::time::Duration;

use clap::CommandFactory;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use serde::Serialize;

use lowbit::internals::Error;

/// How to speak to whoever called.
#[derive(Clone, Copy)]
pub struct Terminal {
    json: bool,
    quiet: bool,
}

impl Terminal {
    pub fn new(json: bool, quiet: bool) -> Self {
        Self { json, quiet }
    }

    /// Whether results are JSON.
    pub fn json(&self) -> bool {
        self.json
    }

    /// The result: `value` as JSON, or `text` for people.
    pub fn result(&self, value: &impl Serialize, text: impl FnOnce() -> String) -> anyhow::Result<()> {
        let mut out = std::io::stdout().lock();
        let print = || -> std::io::Result<()> {
            let text = if self.json { serde_json::to_string_pretty(value)? } else { text() };
            writeln!(out, "{}", with_flags(text.trim_end()))?;
            out.flush()
        };
        match print() {
            // A reader that has seen enough (`lowbit … | head`) is no failure.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            done => Ok(done.map_err(|error| Error::io("standard output", error))?),
        }
    }

    /// Something worth knowing that is no result.
    pub fn notice(&self, text: &str) {
        if !self.quiet {
            say(format_args!("lowbit: {}", with_flags(text)));
        }
    }

    pub fn error(&self, text: &str) {
        say(format_args!("error: {}", with_flags(text)));
    }

    /// A bar over `length` steps where a person watches, nothing elsewhere.
    pub fn bar(&self, length: u64, template: &str) -> ProgressBar {
        if self.quiet || !std::io::stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template(template) {
            // indicatif's own rate has as many digits as a float.
            let rate = |state: &ProgressState, text: &mut dyn fmt::Write| {
                let _ = write!(text, "{:.1}/s", state.per_sec());
            };
            bar.set_style(style.progress_chars("=> ").with_key("rate", rate));
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        bar
    }

    /// A line that says what is going on, where a person watches.
    pub fn spinner(&self) -> ProgressBar {
        let bar = self.bar(0, "{spinner} {elapsed} {msg}");
        bar.unset_length();
        bar
    }

    /// Whether standard output takes colours.
    pub fn colours(&self) -> bool {
        std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
    }
}

/// The flags of all commands.
static FLAGS: LazyLock<HashSet<String>> = LazyLock::new(|| {
    fn add(command: &clap::Command, flags: &mut HashSet<String>) {
        flags.extend(command.get_arguments().filter_map(|argument| argument.get_long()).map(str::to_owned));
        command.get_subcommands().for_each(|command| add(command, flags));
    }
    let mut flags = HashSet::new();
    add(&super::Cli::command(), &mut flags);
    flags
});

/// The library calls an option by its name, `max-iter`; here that is a flag.
fn with_flags(text: &str) -> Cow<'_, str> {
    if !text.contains('`') {
        return text.into();
    }
    let mut parts = text.split('`').peekable();
    let mut all = parts.next().unwrap_or_default().to_owned();
    while let Some(part) = parts.next() {
        if let (true, Some(rest)) = (FLAGS.contains(part), parts.peek()) {
            all += &format!("--{part}{rest}");
            parts.next();
        } else {
            all += &format!("`{part}");
        }
    }
    all.into()
}

/// A line on standard error. If nobody reads it there is nobody to tell, and `eprintln!` would panic.
fn say(line: impl Display) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::with_flags;

    #[test]
    fn options_become_flags_and_other_words_stay() {
        let text = "not converged (`max-iter`), try `raw` f32 `dim` 128; `make setup` and `max-iter";
        let flags = "not converged (--max-iter), try --raw f32 --dim 128; `make setup` and `max-iter";
        assert_eq!(with_flags(text), flags);
        assert_eq!(with_flags("nothing"), "nothing");
        assert_eq!(with_flags("`x` `dim`"), "`x` --dim");
    }
}
