//! Shader text: finds a file by name, resolves its includes and slots, and fixes its constants.
//!
//! A shader's header may say `//! use lib/reduce` (the file is included once, before its user, depth first)
//! and `//! slot format` (the host names the file that fills it). `const NAME: u32 = 4u;` is a register-tile
//! size that a variant may set to another value; everything else that varies is an `override`.

use std::path::Path;
use std::sync::OnceLock;

use super::OpKind;
use crate::{Error, Result};

/// Every shader of the crate: name (`kmeans/assign`) and text.
pub static FILES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/shaders.rs"));

/// What [`read_from`] read.
static READ: OnceLock<Vec<(&str, &str)>> = OnceLock::new();

/// Takes the texts of all shaders from the files of this folder from now on, in this process: for tools that try changes of them
/// without building the crate anew.
///
/// # Errors
/// [`Error::Io`] for a file that cannot be read.
#[doc(hidden)]
pub fn read_from(folder: &Path) -> Result<()> {
    let read = |&(name, _): &(&'static str, &str)| {
        let path = folder.join(name).with_extension("wgsl");
        let text = std::fs::read_to_string(&path).map_err(|error| Error::io(&path, error))?;
        // It is read once, and stays as long as the process.
        Ok((name, &*text.leak()))
    };
    let all: Vec<(&str, &str)> = FILES.iter().map(read).collect::<Result<_>>()?;
    // A second folder would change what was read already.
    READ.set(all).map_err(|_| Error::Input("the shaders were read from a folder before".into()))
}

/// Most slots that a shader can have.
const SLOTS: usize = 4;
/// Most settings that a variant can have.
const SETTINGS: usize = 16;

/// One specialization of a shader: what a kernel's variant is made of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spec {
    /// The file below `shaders/`, without its ending.
    pub file: &'static str,
    /// Slot name to the file that fills it.
    pub slots: [Option<(&'static str, &'static str)>; SLOTS],
    /// New values for `const NAME: u32`.
    pub consts: &'static [(&'static str, u32)],
    /// New values for `override NAME`.
    pub overrides: &'static [(&'static str, f64)],
    /// New values for `override NAME: u32` that are known when the program runs.
    pub settings: [Option<(&'static str, u32)>; SETTINGS],
    /// The first slot or setting that there was no room for: such a specialization cannot be assembled.
    excess: Option<&'static str>,
}

impl Spec {
    /// The shader as its file stands, without any change.
    pub const fn new(file: &'static str) -> Self {
        let (slots, settings) = ([None; SLOTS], [None; SETTINGS]);
        Self { file, slots, consts: &[], overrides: &[], settings, excess: None }
    }

    /// The same with `file` in the slot `name`. There is room for four; with more, or with one filled twice, it does not
    /// assemble.
    pub const fn slot(mut self, name: &'static str, file: &'static str) -> Self {
        let mut at = 0;
        while at < SLOTS && self.slots[at].is_some() {
            at += 1;
        }
        if at < SLOTS {
            self.slots[at] = Some((name, file));
        } else if self.excess.is_none() {
            self.excess = Some(name);
        }
        self
    }

    /// The same with `const` values set.
    pub const fn consts(self, consts: &'static [(&'static str, u32)]) -> Self {
        Self { consts, ..self }
    }

    /// The same with `override` values set.
    pub const fn overrides(self, overrides: &'static [(&'static str, f64)]) -> Self {
        Self { overrides, ..self }
    }

    /// The same with `file` in the slot `name`, which may have been filled before.
    pub fn refill(mut self, name: &'static str, file: &'static str) -> Self {
        match self.slots.iter_mut().flatten().find(|(slot, _)| *slot == name) {
            Some(slot) => slot.1 = file,
            None => self = self.slot(name, file),
        }
        self
    }

    /// What the operations of this variant are, of a kernel that does those of `kind` without matrices.
    pub fn arithmetic(&self, kind: OpKind) -> OpKind {
        if self.slots.iter().flatten().any(|(slot, _)| *slot == "matrix") { OpKind::Matrix } else { kind }
    }

    /// The same with the override `name` set. There is room for sixteen; with more, it does not assemble.
    pub fn set(mut self, name: &'static str, value: u32) -> Self {
        match self.settings.iter_mut().find(|setting| setting.is_none_or(|(set, _)| set == name)) {
            Some(setting) => *setting = Some((name, value)),
            None => self.excess = self.excess.or(Some(name)),
        }
        self
    }

    /// The values of all overrides that are set.
    pub fn constants(&self) -> Vec<(&'static str, f64)> {
        let settings = self.settings.iter().flatten().map(|&(name, value)| (name, f64::from(value)));
        self.overrides.iter().copied().chain(settings).collect()
    }

    /// A short name of what is special: `assign_subgroup POINTS=4 WG=64`.
    pub fn label(&self) -> String {
        let stem = self.file.rsplit('/').next().unwrap_or(self.file);
        let mut label = stem.to_owned();
        for (_, file) in self.slots.iter().flatten() {
            label += &format!(" {}", file.rsplit('/').next().unwrap_or(file));
        }
        for (name, value) in self.consts {
            label += &format!(" {name}={value}");
        }
        for (name, value) in self.constants() {
            label += &format!(" {name}={value}");
        }
        label
    }

    /// The whole WGSL text.
    pub fn assemble(&self) -> Result<String> {
        assemble(self, READ.get().map_or(FILES, Vec::as_slice))
    }
}

/// The WGSL text of `spec`, looked up in `files`.
///
/// # Errors
/// [`Error::Shader`] for a file, a slot or a constant that does not exist, and for more slots or settings than a spec has room
/// for.
pub fn assemble(spec: &Spec, files: &[(&str, &str)]) -> Result<String> {
    if let Some(name) = spec.excess {
        let problem = format!("no room for {name}: at most {SLOTS} slots and {SETTINGS} settings");
        return Err(fault(spec.file, problem));
    }
    let filled: Vec<&str> = spec.slots.iter().flatten().map(|(slot, _)| *slot).collect();
    if let Some((_, slot)) = filled.iter().enumerate().find(|(i, slot)| filled[..*i].contains(slot)) {
        return Err(fault(spec.file, format!("the slot {slot} is filled twice")));
    }
    let mut assembly =
        Assembly { spec, files, done: Vec::new(), text: String::new(), slots_used: Vec::new() };
    assembly.include(spec.file, &mut Vec::new())?;
    if let Some((slot, _)) = spec.slots.iter().flatten().find(|(slot, _)| !assembly.slots_used.contains(slot))
    {
        return Err(fault(spec.file, format!("it has no slot called {slot}")));
    }
    let mut text = assembly.text;
    for &(name, value) in spec.consts {
        text = set_const(&text, name, value)
            .ok_or_else(|| fault(spec.file, format!("it has no `const {name}: u32 = …;` to set")))?;
    }
    Ok(text)
}

struct Assembly<'a> {
    spec: &'a Spec,
    files: &'a [(&'a str, &'a str)],
    done: Vec<String>,
    text: String,
    slots_used: Vec<&'a str>,
}

impl<'a> Assembly<'a> {
    fn include(&mut self, name: &str, open: &mut Vec<String>) -> Result<()> {
        if self.done.iter().any(|d| d == name) {
            return Ok(());
        }
        if open.iter().any(|o| o == name) {
            return Err(fault(
                self.spec.file,
                format!("{name} includes itself by way of {}", open.join(" > ")),
            ));
        }
        let Some(&(_, text)) = self.files.iter().find(|(n, _)| *n == name) else {
            let user = open.last().map_or(self.spec.file, String::as_str);
            return Err(fault(self.spec.file, format!("{user} uses {name}, and there is no such file")));
        };
        open.push(name.to_owned());
        for line in text.lines() {
            let Some(header) = line.strip_prefix("//!") else { break };
            if let Some(used) = header.trim().strip_prefix("use ") {
                self.include(used.trim().trim_end_matches(".wgsl"), open)?;
            } else if let Some(slot) = header.trim().strip_prefix("slot ") {
                let slot = slot.trim();
                let Some(&(key, file)) = self.spec.slots.iter().flatten().find(|(s, _)| *s == slot) else {
                    return Err(fault(self.spec.file, format!("the slot {slot} of {name} is not filled")));
                };
                self.slots_used.push(key);
                self.include(file, open)?;
            }
        }
        open.pop();
        self.done.push(name.to_owned());
        // `enable` directives must come before every declaration of the whole text.
        for line in text.lines() {
            let line =
                line.strip_prefix("//!").map_or_else(|| line.to_owned(), |header| format!("//{header}"));
            if line.starts_with("enable ") {
                self.text.insert_str(0, &format!("{line}\n"));
            } else {
                self.text += &line;
                self.text.push('\n');
            }
        }
        Ok(())
    }
}

fn set_const(text: &str, name: &str, value: u32) -> Option<String> {
    let start = text.find(&format!("\nconst {name}: u32 = "))? + 1;
    let end = start + text[start..].find(';')?;
    Some(format!("{}const {name}: u32 = {value}u{}", &text[..start], &text[end..]))
}

fn fault(shader: &str, problem: impl Into<String>) -> Error {
    Error::Shader { shader: shader.to_owned(), problem: problem.into() }
}
