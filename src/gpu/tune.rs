//! Which variant of a kernel is fastest here: measured once per adapter, driver, kernel and shape, then remembered. On a
//! guarded device nothing is timed: it is there for verification, whose variants should not depend on a moment's speed.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use super::context::lock;
use super::source::FILES;
use super::{Context, Spec};
use crate::{Error, Result, io};

/// Set to `off`, no variant is timed and no cache is used: the first that the adapter can run is taken.
pub const VARIABLE: &str = "LOWBIT_TUNE";

/// The variants of `list` that this adapter can run, in their order.
pub fn supported<'a>(gpu: &Context, list: &'a [Spec]) -> Result<Vec<&'a Spec>> {
    let mut able = Vec::new();
    for spec in list {
        if super::Reflection::of(spec)?.runs_on(gpu).is_ok() {
            able.push(spec);
        }
    }
    Ok(able)
}

/// The fastest of `list` for work of the shape `class`, by `time` (any unit, smaller is better).
///
/// The answer is kept in the user's cache folder. A cache that cannot be read or written costs a notice
/// ([`Context::notices`]) and a measurement, never a wrong choice.
pub fn choose<'a>(
    gpu: &Context,
    list: &'a [Spec],
    class: &str,
    mut time: impl FnMut(&Spec) -> Result<f64>,
) -> Result<&'a Spec> {
    let able = supported(gpu, list)?;
    let Some(&first) = able.first() else {
        return Err(Error::NoDevice {
            adapter: gpu.adapter.name.clone(),
            reason: "it can run no variant of a kernel".into(),
        });
    };
    if able.len() == 1 || gpu.guarded || std::env::var(VARIABLE).is_ok_and(|value| value == "off") {
        return Ok(first);
    }
    let key = format!(
        "{} | {} | {} | {class} | {:016x}",
        gpu.adapter.name,
        gpu.adapter.driver,
        first.file,
        shaders()
    );
    let path = cache_file();
    let mut cache = path.as_deref().map_or_else(BTreeMap::new, |path| read(gpu, path));
    if let Some(&known) = cache.get(&key).and_then(|label| able.iter().find(|spec| spec.label() == *label)) {
        return Ok(known);
    }
    gpu.tell(&format!("trying {} variants of {} (once per adapter and shape)", able.len(), first.file));
    let mut best = (f64::INFINITY, first);
    // What is only tried is nobody's work, and does not belong in a trace.
    let passes = gpu.take_passes();
    // Twice, so that a slow moment of the machine decides nothing.
    for spec in able.iter().chain(&able) {
        let taken = time(spec)?;
        if taken < best.0 {
            best = (taken, spec);
        }
    }
    *lock(&gpu.passes) = passes;
    if let Some(path) = path {
        // Answers for other shaders than these are of no more use to anyone.
        let fingerprint = format!("{:016x}", shaders());
        cache.retain(|key, _| key.ends_with(&fingerprint));
        cache.insert(key, best.1.label());
        if let Err(error) = write(&path, &cache) {
            gpu.notice(format!("the tuning result is not kept: {error}"));
        }
    }
    Ok(best.1)
}

/// A fingerprint of every shader: a change to any of them makes all answers stale.
fn shaders() -> u64 {
    let mut hasher = DefaultHasher::new();
    FILES.hash(&mut hasher);
    hasher.finish()
}

fn cache_file() -> Option<PathBuf> {
    let variable = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let folder = variable("XDG_CACHE_HOME")
        .or_else(|| variable("LOCALAPPDATA"))
        .or_else(|| variable("HOME").map(|home| home.join(".cache")))?;
    Some(folder.join("lowbit").join("tune.json"))
}

fn read(gpu: &Context, path: &Path) -> BTreeMap<String, String> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return BTreeMap::new(),
        Err(error) => {
            gpu.notice(format!("{}: the tuning cache is not used: {error}", path.display()));
            return BTreeMap::new();
        }
    };
    serde_json::from_str(&text).unwrap_or_else(|error| {
        gpu.notice(format!("{}: the tuning cache is broken and is made anew: {error}", path.display()));
        BTreeMap::new()
    })
}

fn write(path: &Path, cache: &BTreeMap<String, String>) -> Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|error| Error::io(folder, error))?;
    }
    io::output::write_whole(path, |out| {
        serde_json::to_writer_pretty(out, cache).map_err(std::io::Error::from)
    })
}
