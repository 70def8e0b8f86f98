//! The checkpoint of `lowbit kmeans fit`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::Terminal;
use crate::cli::signals;
use lowbit::internals::kmeans::Checkpoints;

/// How a fit that was ended can go on.
#[derive(Args, Debug)]
pub struct Checkpoint {
    /// Keep the state of the fit in this .safetensors file; Ctrl-C and SIGTERM write what there is by then, and
    /// exit with 130; a second one ends at once
    #[arg(long, value_name = "FILE")]
    pub checkpoint: Option<PathBuf>,
    /// The least time from one checkpoint to the next
    #[arg(long, value_name = "SECONDS", default_value_t = 60, requires = "checkpoint")]
    checkpoint_every: u32,
    /// Go on from the checkpoint, if there is one, to the same result as without the interruption
    #[arg(long, requires = "checkpoint")]
    resume: bool,
}

impl Checkpoint {
    /// Has signals stop the fit instead of the process; a second one ends the process at once.
    pub fn open(&self, terminal: &Terminal) -> anyhow::Result<Option<Checkpoints>> {
        let Some(path) = &self.checkpoint else { return Ok(None) };
        let stop = signals::stop()?;
        let (name, exists) = (path.display(), path.exists());
        match (self.resume, exists) {
            (true, true) => terminal.notice(&format!("resuming from {name}")),
            (true, false) => terminal.notice(&format!("there is no {name}: starting from the beginning")),
            (false, true) => {
                terminal.notice(&format!("{name} will be replaced; --resume would go on from it"))
            }
            (false, false) => (),
        }
        let every = Duration::from_secs(self.checkpoint_every.into());
        Ok(Some(Checkpoints { path: path.clone(), every, stop, resume: self.resume }))
    }
}
