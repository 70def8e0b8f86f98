//! What goes where: results on standard output, everything else on standard error.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

/// How to speak to whoever called.
pub struct Terminal {
    json: bool,
    quiet: bool,
}

impl Terminal {
    pub fn new(json: bool, quiet: bool) -> Self {
        Self { json, quiet }
    }

    /// The result: `value` as JSON, or `text` for people.
    pub fn result(&self, value: &impl Serialize, text: impl FnOnce() -> String) -> anyhow::Result<()> {
        let mut out = std::io::stdout().lock();
        if self.json {
            serde_json::to_writer_pretty(&mut out, value).map_err(std::io::Error::from)?;
            writeln!(out)?;
        } else {
            writeln!(out, "{}", text().trim_end())?;
        }
        out.flush()?;
        Ok(())
    }

    /// Something worth knowing that is no result.
    pub fn notice(&self, text: &str) {
        if !self.quiet {
            eprintln!("lowbit: {text}");
        }
    }

    pub fn error(&self, text: &str) {
        eprintln!("error: {text}");
    }

    /// A bar over `length` steps where a person watches, nothing elsewhere.
    pub fn bar(&self, length: u64, template: &str) -> ProgressBar {
        if self.quiet || !std::io::stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
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
