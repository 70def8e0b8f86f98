//! Puts the macro on a printer, and has it called before each layer.
//!
//! RepRapFirmware never runs `sys/beforeLayerChange.g` by itself: the slicer's G-code has to have
//! `M98 P"beforeLayerChange.g"` at each change of layer.
//!
//! A file is replaced in steps:
//!
//! 1. its old bytes are put under a name of their own (`….lowbit-CRC.bak`), which is never overwritten;
//! 2. the new bytes are uploaded under a temporary name (`….lowbit-new`) and read back;
//! 3. the file is read again: if it is no longer what it was, that ends the work;
//! 4. the temporary file is renamed over it (`rr_move`), and it is read back.
//!
//! Each step leaves either the old file or the new one, but for the rename: the firmware deletes the file first, and then
//! renames. A printer that dies between the two has no file of the name, but the whole new one under the temporary name,
//! and the backup. So where there is no file, the temporary name is read too: if what is there is what the backup, with
//! or without the hook, says, the rename is finished first; anything else ends the work, and nothing is written over it.
//! The macro needs none of that: its text is always the same.
//!
//! A plain `rr_upload` to the name itself survives less: old firmware truncates the file first, newer firmware deletes it
//! and renames by itself, but before anybody has read the bytes from the card. A rename has the bytes on the card, proven.
//! Where there was no file, the rename may not replace one, so that a false 404 costs nothing.
//!
//! If the rename fails, what became of the file decides: the new bytes are a success, the old bytes are a file that was not
//! changed. Anything else is repaired from the bytes in hand, in the same steps, or deleted if there was no file and the
//! printer has just given the name to ours. A repair that fails and leaves no file leaves the temporary one, for the
//! next deployment to see.

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
    /// What is done: `read`, `finish` (a rename that was interrupted), `back up`, `create` or `replace`.
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
/// What calls the macro already is left alone, in an indented block too, where the call is conditional: whoever wrote that
/// knows when. A call of another file of the name is none.
///
/// # Errors
/// [`Error::Peer`] if the printer fails, with the state that it is in. Nothing is written unless all files could be read.
pub fn deploy(session: &Session, write: bool) -> crate::Result<Deployment> {
    let (made, mut layers) = (read(session, MACRO_NAME)?, read(session, HOOKED)?);
    let unfinished = if layers.is_none() { unfinished(session, HOOKED)? } else { None };
    let mut notices = Vec::new();
    if layers.is_none() && unfinished.is_none() {
        notices.push(format!(
            "the firmware does not run {HOOKED} by itself: the slicer's G-code has to have M98 P\"beforeLayerChange.g\" at each layer"
        ));
    }
    let result = match &made {
        None => "there is none",
        Some(made) if made == MACRO.as_bytes() => "already there",
        Some(_) => "read",
    };
    let mut steps = vec![Step::new("read", MACRO_NAME, made.as_deref(), result)];
    if let Some(staged) = &unfinished {
        let result = if write { "renamed" } else { "would be renamed" };
        let result = format!("{result} to {HOOKED}: a deployment was interrupted");
        steps.push(Step::new("finish", &temporary(HOOKED), Some(staged), result));
        layers.clone_from(&unfinished);
    }
    let calls = hook::find(layers.as_deref().unwrap_or_default());
    let called = calls.always.is_some() || calls.conditional.is_some();
    let new_macro = (made.as_deref() != Some(MACRO.as_bytes())).then(|| MACRO.into());
    let new_layers = (!called).then(|| hook::prepend(layers.as_deref().unwrap_or_default(), HOOK));
    let mut changes = Vec::new();
    steps.push(Step::new("read", HOOKED, layers.as_deref(), reading(layers.is_some(), calls)));
    for (name, before, after) in [(MACRO_NAME, made, new_macro), (HOOKED, layers, new_layers)] {
        if let Some(after) = after {
            let backup = backup(session, name, before.as_deref())?;
            changes.push(Change { name, before, after, backup });
        }
    }
    let changed = !changes.is_empty() || unfinished.is_some();
    let mut done: Vec<&str> = Vec::new();
    if let Some(staged) = unfinished.as_deref().filter(|_| write) {
        finish(session, HOOKED, staged)?;
    }
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
    let hooked = unfinished.is_some() || changes.iter().any(|change| change.name == HOOKED);
    let hook = hooked.then_some(HOOK);
    Ok(Deployment { host: session.host().to_string(), write, changed, hook, steps, notices })
}

/// A file, as long as nothing is written.
fn read(session: &Session, name: &str) -> crate::Result<Option<Vec<u8>>> {
    session
        .download(name)
        .map_err(|fault| session.peer(format!("{name} could not be read: {fault}\nnothing was written")))
}

/// What was found in the user's file.
fn reading(there: bool, calls: hook::Calls) -> String {
    let mut text = match (calls.always, calls.conditional) {
        _ if !there => "there is none".to_owned(),
        (Some(_), _) => "calls it already".to_owned(),
        (None, Some(line)) => {
            format!("calls it already, in line {line}: in a block, so only on its condition")
        }
        (None, None) => "read".to_owned(),
    };
    if let Some(line) = calls.astray {
        text += &format!("; line {line} calls another file, /sys/sys/M573.g: M573 is enough");
    }
    text
}

/// The name under which new bytes lie until they are renamed.
fn temporary(name: &str) -> String {
    format!("{name}.lowbit-new")
}

/// The name of the copy of these bytes of a file.
fn kept(name: &str, bytes: &[u8]) -> String {
    format!("{name}.lowbit-{}.bak", crc32(bytes))
}

/// Of a file that is not there: what a deployment that was interrupted between the two halves of its rename left of it.
/// That is the file with the hook, or the file that was to be restored: its backup says so.
fn unfinished(session: &Session, name: &str) -> crate::Result<Option<Vec<u8>>> {
    let temporary = temporary(name);
    let Some(staged) = read(session, &temporary)? else { return Ok(None) };
    let without = hook::strip(&staged, HOOK);
    // The hook alone is what a first deployment makes.
    let mut proven = without.as_ref().is_some_and(Vec::is_empty);
    for original in without.iter().chain([&staged]).filter(|original| !original.is_empty()) {
        proven = proven || read(session, &kept(name, original))?.as_ref() == Some(original);
    }
    if proven {
        return Ok(Some(staged));
    }
    Err(session.peer(format!(
        "{name} is missing, and {temporary} is not what a deployment makes of one of {name}.lowbit-*.bak\n\
         nothing was written; put the right one of these back under the name, if there was one, and delete {temporary}"
    )))
}

/// Gives a file that is not there the name that it was to have.
fn finish(session: &Session, name: &str, staged: &[u8]) -> crate::Result<()> {
    let renamed = session.rename(&temporary(name), name, false);
    let problem = match (look(session, name, None, staged), renamed) {
        (State::After, _) => return Ok(()),
        (_, Err(fault)) | (State::Unread(fault), Ok(())) => fault.to_string(),
        (_, Ok(())) => "it reads back otherwise".to_owned(),
    };
    Err(session.peer(format!(
        "{} could not be renamed to {name}: {problem}\nnothing else was done; deploy again",
        temporary(name)
    )))
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
    let kept = kept(name, before);
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
    let temporary = temporary(name);
    let was = if before.is_some() { "it is as it was" } else { "there is none, as before" };
    stage(session, &temporary, after).map_err(|problem| {
        let _ = session.delete(&temporary);
        format!("{name} was not written: {problem}; {was}")
    })?;
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
                     it is as it was, new and whole, or gone, with its new bytes in {temporary}{}; deploy again",
                    kept_in(backup)
                ));
            }
        }
    }
}

/// Uploads the temporary file and reads it back.
fn stage(session: &Session, temporary: &str, bytes: &[u8]) -> Result<(), String> {
    session.upload(temporary, bytes).map_err(|fault| fault.to_string())?;
    match look(session, temporary, None, bytes) {
        State::After => Ok(()),
        State::Unread(fault) => Err(format!("what was uploaded could not be read back: {fault}")),
        _ => Err("what was uploaded reads back otherwise: the card or the connection is faulty".into()),
    }
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
    let temporary = temporary(name);
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
    // Where the name is gone, this is the sign of it.
    if matches!(session.download(name), Ok(Some(_))) {
        let _ = session.delete(&temporary);
    }
    format!(
        "{name} may be broken: {problem}\n{state}, and its old bytes could not be put back: {last}{}",
        kept_in(backup)
    )
}

fn kept_in(backup: Option<&str>) -> String {
    backup.map_or(String::new(), |kept| format!("; its old bytes are in {kept} on the printer"))
}
