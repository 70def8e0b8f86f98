//! Puts the macro on a printer, and has it called before each layer.
//!
//! A file is replaced in steps, each of which leaves either the old file or the new one:
//!
//! 1. its old bytes are put under a name of their own (`….lowbit-CRC.bak`), which is never overwritten;
//! 2. the new bytes are uploaded under a temporary name (`….lowbit-new`) and read back;
//! 3. the file is read again: if it is no longer what it was, that ends the work;
//! 4. the temporary file is renamed over it (`rr_move`), and it is read back.
//!
//! A plain `rr_upload` to the name itself survives less: old firmware truncates the file first, newer firmware deletes it
//! and renames by itself, but before anybody has read the bytes from the card. A rename has the bytes on the card, proven.
//! Where there was no file, the rename may not replace one, so that a false 404 costs nothing.
//!
//! If the rename fails, what became of the file decides: the new bytes are a success, the old bytes are a file that was not
//! changed. Anything else is repaired from the bytes in hand, in the same steps, or deleted if there was no file and the
//! printer has just given the name to ours.

use serde::Serialize;

use super::client::{Fault, Session, TRIES, crc32};
use super::hook;
use crate::Error;

/// The macro on the printer.
pub const MACRO_NAME: &str = "sys/M573.g";
/// Its text.
pub const MACRO: &str = include_str!("../../../assets/edge/M573.g");
/// The user's file that calls it.
pub const HOOKED: &str = "sys/beforeLayerChange.g";
/// The line that is put in front of that. `M98 P"sys/M573.g"` would be looked for in /sys/sys.
pub const HOOK: &str = "M573 ; put here by lowbit: announces the constants of HDPA";

/// What was done, or would be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Deployment {
    /// The printer.
    pub host: String,
    /// Whether writing was allowed.
    pub write: bool,
    /// Whether anything is other than it was, or would be.
    pub changed: bool,
    /// The line that comes first in [`HOOKED`] now, or would.
    pub hook: Option<&'static str>,
    /// In order.
    pub steps: Vec<Step>,
    /// What else must be known.
    pub notices: Vec<String>,
}

/// One step of a deployment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// What is done: `read`, `back up`, `create` or `replace`.
    pub action: &'static str,
    /// The file on the printer.
    pub file: String,
    /// Its bytes, if there is a file.
    pub bytes: Option<usize>,
    /// Their CRC-32.
    pub crc32: Option<String>,
    /// What became of it, or would.
    pub result: String,
}

impl Step {
    fn new(action: &'static str, file: &str, bytes: Option<&[u8]>, result: impl Into<String>) -> Self {
        let (size, crc32) = (bytes.map(<[u8]>::len), bytes.map(crc32));
        Self { action, file: file.to_owned(), bytes: size, crc32, result: result.into() }
    }
}

/// A file that is to become another.
struct Change {
    name: &'static str,
    before: Option<Vec<u8>>,
    after: Vec<u8>,
    /// Where its old bytes are kept, and whether they are there already.
    backup: Option<(String, bool)>,
}

/// Puts the macro on the printer and the hook into the user's file, or says what that would do (`write` is false).
/// A second deployment changes nothing.
///
/// # Errors
/// [`Error::Peer`] if the printer fails, with the state that it is in. Nothing is written unless all files could be read.
pub fn deploy(session: &Session, write: bool) -> crate::Result<Deployment> {
    let (made, layers) = (read(session, MACRO_NAME)?, read(session, HOOKED)?);
    let found = hook::find(layers.as_deref().unwrap_or_default());
    let notices = match found {
        Some((line, true)) => vec![format!(
            "{HOOKED}, line {line}: a path such as sys/M573.g is looked for below /sys, so this calls nothing; write M573"
        )],
        _ => Vec::new(),
    };
    let new_macro = (made.as_deref() != Some(MACRO.as_bytes())).then(|| MACRO.into());
    let new_layers = found.is_none().then(|| hook::prepend(layers.as_deref().unwrap_or_default(), HOOK));
    let (mut steps, mut changes) = (Vec::new(), Vec::new());
    for (name, before, after, there) in
        [(MACRO_NAME, made, new_macro, "already there"), (HOOKED, layers, new_layers, "calls it already")]
    {
        let result = match (&before, &after) {
            (None, _) => "there is none",
            (_, None) => there,
            _ => "read",
        };
        steps.push(Step::new("read", name, before.as_deref(), result));
        if let Some(after) = after {
            let backup = backup(session, name, before.as_deref())?;
            changes.push(Change { name, before, after, backup });
        }
    }
    let changed = !changes.is_empty();
    let mut done: Vec<&str> = Vec::new();
    for change in &changes {
        let Change { name, before, after, backup } = change;
        let old = before.as_deref();
        if let (Some((kept, there)), Some(old)) = (backup, old) {
            let result = match (there, write) {
                (true, _) => "already there",
                (false, false) => "would be written",
                (false, true) => {
                    place(session, kept, None, old, None)
                        .map_err(|problem| also(session, &problem, &done))?;
                    "written"
                }
            };
            steps.push(Step::new("back up", kept, Some(old), result));
        }
        let action = if old.is_some() { "replace" } else { "create" };
        let result = if write {
            let kept = backup.as_ref().map(|(kept, _)| kept.as_str());
            place(session, name, old, after, kept).map_err(|problem| also(session, &problem, &done))?;
            done.push(name);
            "written"
        } else {
            "would be written"
        };
        steps.push(Step::new(action, name, Some(after), result));
    }
    let hook = changes.iter().any(|change| change.name == HOOKED).then_some(HOOK);
    Ok(Deployment { host: session.host().to_string(), write, changed, hook, steps, notices })
}

/// A file, as long as nothing is written.
fn read(session: &Session, name: &str) -> crate::Result<Option<Vec<u8>>> {
    session
        .download(name)
        .map_err(|fault| session.peer(format!("{name} could not be read: {fault}\nnothing was written")))
}

/// An error, and what was written before it.
fn also(session: &Session, problem: &str, done: &[&str]) -> Error {
    match done {
        [] => session.peer(problem),
        done => session.peer(format!("{problem}; {} was written before that, and stays", done.join(", "))),
    }
}

/// Where a file's bytes will be kept, and whether they are. An empty file has none.
fn backup(session: &Session, name: &str, before: Option<&[u8]>) -> crate::Result<Option<(String, bool)>> {
    let Some(before) = before.filter(|before| !before.is_empty()) else { return Ok(None) };
    let kept = format!("{name}.lowbit-{}.bak", crc32(before));
    match read(session, &kept)? {
        None => Ok(Some((kept, false))),
        Some(held) if held == before => Ok(Some((kept, true))),
        Some(_) => Err(session.peer(format!(
            "{kept} exists with other bytes than those of {name}, and is not overwritten\nnothing was written; rename it"
        ))),
    }
}

/// What a file was found to be.
enum State {
    After,
    Before,
    Other(Option<usize>),
    Unread(Fault),
}

/// Makes `before` into `after`, where `backup` holds `before`. The error says what the file is then.
fn place(
    session: &Session,
    name: &str,
    before: Option<&[u8]>,
    after: &[u8],
    backup: Option<&str>,
) -> Result<(), String> {
    let temporary = format!("{name}.lowbit-new");
    let was = if before.is_some() { "it is as it was" } else { "there is none, as before" };
    stage(session, &temporary, after)
        .map_err(|problem| format!("{name} was not written: {problem}; {was}"))?;
    match look(session, name, before, after) {
        State::Before => {}
        State::After => {
            // Somebody else wrote the same.
            let _ = session.delete(&temporary);
            return Ok(());
        }
        State::Other(_) => {
            let _ = session.delete(&temporary);
            return Err(format!(
                "{name} was not written: it changed meanwhile; deploy again when nobody else writes"
            ));
        }
        State::Unread(fault) => {
            let _ = session.delete(&temporary);
            return Err(format!("{name} was not written: it could not be read again: {fault}; {was}"));
        }
    }
    let replace = || session.rename(&temporary, name, before.is_some());
    let mut renamed = replace();
    let mut tries = 1..TRIES;
    loop {
        let state = look(session, name, before, after);
        if matches!(state, State::After) {
            return Ok(());
        }
        let problem = match &renamed {
            Ok(()) => "it was renamed, but is not what was written".to_owned(),
            Err(fault) => fault.to_string(),
        };
        match state {
            State::Before if !matches!(renamed, Err(Fault::Refused(_))) && tries.next().is_some() => {
                std::thread::sleep(session.deadlines.pause);
                match renamed {
                    Err(Fault::Busy) => renamed = replace(),
                    // A rename that is only late has nothing to rename any more when it comes.
                    Err(_) => drop(session.delete(&temporary)),
                    Ok(()) => {}
                }
            }
            State::Before | State::After => {
                let _ = session.delete(&temporary);
                return Err(format!("{name} was not written: {problem}; {was}"));
            }
            // The printer said that there was none, and gave the name to ours: so it is ours.
            State::Other(Some(_)) if before.is_none() && renamed.is_ok() => {
                let _ = session.delete(name);
                return Err(match look(session, name, None, after) {
                    State::Before => format!("{name} was not written: {problem}; it was deleted again"),
                    _ => format!("{name} was not written: {problem}; it may be broken, and must be deleted"),
                });
            }
            State::Other(found) => return Err(restore(session, name, before, found, backup, &problem)),
            State::Unread(fault) => {
                return Err(format!(
                    "whether {name} was written is not known: {problem}; then it could not be read: {fault}\n\
                     it is as it was, or new and whole{}; deploy again",
                    kept_in(backup)
                ));
            }
        }
    }
}

/// Uploads the temporary file and reads it back.
fn stage(session: &Session, temporary: &str, bytes: &[u8]) -> Result<(), String> {
    let staged =
        session.upload(temporary, bytes).map_err(|fault| fault.to_string()).and_then(|()| {
            match look(session, temporary, None, bytes) {
                State::After => Ok(()),
                State::Unread(fault) => Err(format!("what was uploaded could not be read back: {fault}")),
                _ => {
                    Err("what was uploaded reads back otherwise: the card or the connection is faulty".into())
                }
            }
        });
    if staged.is_err() {
        let _ = session.delete(temporary);
    }
    staged
}

/// Reads a file until it is one of two, or for the last time.
fn look(session: &Session, name: &str, before: Option<&[u8]>, after: &[u8]) -> State {
    let mut tries = 1..TRIES;
    loop {
        let state = match session.download(name) {
            Ok(found) if found.as_deref() == Some(after) => return State::After,
            Ok(found) if found.as_deref() == before => return State::Before,
            Ok(found) => State::Other(found.map(|found| found.len())),
            Err(fault) => State::Unread(fault),
        };
        if tries.next().is_none() {
            return state;
        }
        std::thread::sleep(session.deadlines.pause);
    }
}

/// Puts the old bytes of a file back, and says how that went.
fn restore(
    session: &Session,
    name: &str,
    before: Option<&[u8]>,
    found: Option<usize>,
    backup: Option<&str>,
    problem: &str,
) -> String {
    let state = match found {
        Some(bytes) => format!("it reads as {bytes} bytes, neither the old nor the new ones"),
        None => "it is gone".to_owned(),
    };
    let Some(before) = before.filter(|before| !before.is_empty()) else {
        let was = if before.is_some() { "it was empty" } else { "there was none" };
        return format!(
            "{name} was not written: {problem}\n{state}; {was} before; look at it, and deploy again"
        );
    };
    let temporary = format!("{name}.lowbit-new");
    let mut last = String::new();
    for _ in 0..TRIES {
        let put = stage(session, &temporary, before).and_then(|()| {
            let renamed = session.rename(&temporary, name, true);
            match (look(session, name, None, before), renamed) {
                (State::After, _) => Ok(()),
                (_, Err(fault)) => Err(fault.to_string()),
                (_, Ok(())) => Err("it reads back otherwise".to_owned()),
            }
        });
        match put {
            Ok(()) => {
                return format!(
                    "{name} was not written: {problem}\nits old bytes were put back and read back"
                );
            }
            Err(problem) => last = problem,
        }
    }
    format!(
        "{name} may be broken: {problem}\n{state}, and its old bytes could not be put back: {last}{}",
        kept_in(backup)
    )
}

fn kept_in(backup: Option<&str>) -> String {
    backup.map_or(String::new(), |kept| format!("; its old bytes are in {kept} on the printer"))
}
