//! Work in another process, a piece at a time: a driver that crashes or hangs costs one piece.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What became of a piece of work.
#[derive(Clone, Debug)]
pub enum Outcome<T> {
    /// It was done.
    Done(T),
    /// The process died or hung over it.
    Died(String),
}

/// A process that ends with its owner.
pub struct Ended(pub Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a process says before its first piece.
const READY: &str = "READY";

/// Runs `make(from)` until all `count` pieces are done or have failed: a process that is to do the pieces from `from` on by
/// [`serve`]. What it says on standard error is passed on.
pub fn run<T: DeserializeOwned + Send + 'static>(
    count: usize,
    patience: Duration,
    make: impl Fn(usize) -> Result<Command>,
) -> Result<Vec<Outcome<T>>> {
    let mut outcomes = Vec::with_capacity(count);
    while outcomes.len() < count {
        let begun = outcomes.len();
        let mut child = Ended(make(begun)?.stdout(Stdio::piped()).spawn().context("starting a driver")?);
        let lines = child.0.stdout.take().context("a process without output")?;
        let (sender, receiver) = channel();
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(lines).lines().map_while(std::io::Result::ok) {
                let made = line.strip_prefix("DONE ").map(serde_json::from_str::<T>);
                if (made.is_some() || line == READY) && sender.send(made).is_err() {
                    break;
                }
            }
        });
        let mut ready = false;
        let hung = loop {
            match receiver.recv_timeout(patience) {
                Ok(None) => ready = true,
                Ok(Some(made)) => outcomes.push(Outcome::Done(made?)),
                Err(RecvTimeoutError::Timeout) => break true,
                Err(RecvTimeoutError::Disconnected) => break false,
            }
        };
        if hung {
            child.0.kill()?;
        }
        let status = child.0.wait()?;
        let _ = reader.join();
        if !ready {
            anyhow::bail!("a driver could not be opened: its process ended with {status}");
        }
        if outcomes.len() < count {
            let how =
                if hung { format!("no answer in {} s", patience.as_secs()) } else { status.to_string() };
            outcomes.push(Outcome::Died(how));
        }
    }
    Ok(outcomes)
}

/// The other side, once its device is open: does each piece, and says so.
pub fn serve<I, T: Serialize>(
    pieces: impl IntoIterator<Item = I>,
    mut work: impl FnMut(I) -> Result<T>,
) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{READY}")?;
    out.flush()?;
    for piece in pieces {
        let done = serde_json::to_string(&work(piece)?)?;
        writeln!(out, "DONE {done}")?;
        out.flush()?;
    }
    Ok(())
}
