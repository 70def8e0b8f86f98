//! Which variant of a kernel is fastest here: measured once per adapter, driver, kernel and shape, then remembered. On a
//! guarded device nothing is timed: it is there for verification, whose variants should not depend on a moment's speed.
//!
//! A variant is timed only once its results were right ([`trial`]): one that is wrong is left out, with a notice, however fast.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

use super::context::lock;
use super::source::FILES;
use super::verify::{Answer, check};
use super::{Bound, Context, Reflection, Spec, time};
use crate::{Error, Result, io};

/// Set to `off`, no variant is timed and no cache is used: the first that the adapter can run is taken.
pub const VARIABLE: &str = "LOWBIT_TUNE";

/// The variants of `list` that this adapter can run, in their order.
pub fn supported<'a>(gpu: &Context, list: &'a [Spec]) -> Result<Vec<&'a Spec>> {
    let mut able = Vec::new();
    for spec in list {
        if Reflection::of(spec)?.runs_on(gpu).is_ok() {
            able.push(spec);
        }
    }
    Ok(able)
}

/// How long a variant takes whose results were right: what [`trial`] gives.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Score(f64);

impl Score {
    /// One that was not measured: for the tuner's own tests.
    #[doc(hidden)]
    pub fn forged(us: f64) -> Self {
        Self(us)
    }
}

/// Runs a variant and compares its results with their `answers`, then times a part of it for about `budget`.
///
/// # Errors
/// [`Error::Mismatch`] for wrong results, which [`choose`] knows what to do with; the device's.
pub fn trial(
    gpu: &Context,
    spec: &Spec,
    passes: &[&Bound],
    answers: &[Answer<'_>],
    timed: &[&Bound],
    budget: Duration,
) -> Result<Score> {
    check(gpu, &spec.label(), passes.iter().copied(), answers)?;
    // The fastest tenth: what else the machine does must not decide.
    Ok(Score(time(gpu, &[timed.to_vec()], budget)?.low_us))
}

/// The fastest of `list` for work of the shape `class`, by `attempt`.
///
/// The answer is kept in the user's cache folder. A cache that cannot be read or written costs a notice
/// ([`Context::notices`]) and a measurement, never a wrong choice; so does a variant whose results are wrong.
///
/// # Errors
/// [`Error::NoDevice`] if the adapter can run none; [`Error::Mismatch`] if it runs none rightly; those of `attempt`.
pub fn choose<'a>(
    gpu: &Context,
    list: &'a [Spec],
    class: &str,
    attempt: impl FnMut(&Spec) -> Result<Score>,
) -> Result<&'a Spec> {
    let able = supported(gpu, list)?;
    let Some(&first) = able.first() else {
        return Err(Error::NoDevice {
            adapter: gpu.adapter.name.clone(),
            reason: "it can run no variant of a kernel".into(),
        });
    };
    let (adapter, driver) = (&gpu.adapter.name, &gpu.adapter.driver);
    let try_all = || {
        gpu.tell(&format!("trying {} variants of {} (once per adapter and shape)", able.len(), first.file));
        // What is only tried is nobody's work, and does not belong in a trace.
        let passes = gpu.take_passes();
        let best = fastest(&able, attempt, &mut |error| {
            gpu.notice(format!("this driver ({driver}) gives wrong results, it is not used: {error}"));
        });
        *lock(&gpu.passes) = passes;
        best
    };
    if gpu.fresh {
        return try_all();
    }
    if able.len() == 1 || gpu.guarded || std::env::var(VARIABLE).is_ok_and(|value| value == "off") {
        return Ok(first);
    }
    let fingerprint = *SHADERS;
    let key = format!("{adapter} | {driver} | {} | {class} | {fingerprint:016x}", first.file);
    let known = |label: &String| able.iter().find(|spec| spec.label() == *label).copied();
    if let Some(spec) = lock(&gpu.answers).get(&key).and_then(known) {
        return Ok(spec);
    }
    let path = cache_file();
    let mut cache = path.as_deref().map_or_else(BTreeMap::new, |path| read(gpu, path));
    let best = match cache.get(&key).and_then(known) {
        Some(spec) => spec,
        None => {
            let best = try_all()?;
            keep(&mut cache, key.clone(), best.label());
            if let Some(Err(error)) = path.map(|path| write(&path, &cache)) {
                gpu.notice(format!("the tuning result is not kept: {error}"));
            }
            best
        }
    };
    lock(&gpu.answers).insert(key, best.label());
    Ok(best)
}

/// The one with the best of two scores, so that a slow moment of the machine decides nothing. What gives wrong results once is
/// left out and told of.
fn fastest<'a>(
    able: &[&'a Spec],
    mut attempt: impl FnMut(&Spec) -> Result<Score>,
    wrong: &mut dyn FnMut(&Error),
) -> Result<&'a Spec> {
    let mut scores = vec![Some(f64::INFINITY); able.len()];
    let mut last = None;
    for at in (0..able.len()).chain(0..able.len()) {
        let Some(score) = scores[at] else { continue };
        match attempt(able[at]) {
            Ok(Score(us)) => scores[at] = Some(us.min(score)),
            Err(error @ Error::Mismatch { .. }) => {
                wrong(&error);
                scores[at] = None;
                last = Some(error);
            }
            Err(error) => return Err(error),
        }
    }
    let right = able.iter().zip(&scores).filter_map(|(spec, score)| Some((*spec, (*score)?)));
    let best = right.min_by(|(_, a), (_, b)| a.total_cmp(b)).map(|(spec, _)| spec);
    best.ok_or_else(|| last.unwrap_or_else(|| Error::Input("there is no variant to try".into())))
}

/// A fingerprint of every shader: a change to any of them makes all answers stale.
static SHADERS: LazyLock<u64> = LazyLock::new(|| {
    let mut hasher = DefaultHasher::new();
    FILES.hash(&mut hasher);
    hasher.finish()
});

/// Adds an answer; those for other shaders than its own are of no more use to anyone.
fn keep(cache: &mut BTreeMap<String, String>, key: String, label: String) {
    let fingerprint = key.rsplit(' ').next().unwrap_or_default().to_owned();
    cache.retain(|key, _| key.ends_with(&fingerprint));
    cache.insert(key, label);
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

#[cfg(test)]
mod tests {
    use super::*;

    const A: Spec = Spec::new("x/a");
    const B: Spec = Spec::new("x/b");
    const C: Spec = Spec::new("x/c");

    fn mismatch(spec: &Spec) -> Error {
        Error::Mismatch { case: spec.file.into(), problem: "[0] is 1, 2 expected".into() }
    }

    #[test]
    fn each_variant_is_tried_twice_and_its_better_time_counts() {
        let (mut tried, mut slow) = (Vec::new(), true);
        let best = fastest(
            &[&A, &B],
            |spec| {
                tried.push(spec.file);
                // B is the faster one, but for its first moment.
                let us = if *spec == A {
                    2.0
                } else if std::mem::take(&mut slow) {
                    9.0
                } else {
                    1.0
                };
                Ok(Score(us))
            },
            &mut |_| panic!("nothing is wrong"),
        );
        assert_eq!(best.unwrap(), &B);
        assert_eq!(tried, ["x/a", "x/b", "x/a", "x/b"]);
    }

    #[test]
    fn a_wrong_variant_never_wins_and_is_told_of_once() {
        let mut told = Vec::new();
        let mut count = 0;
        let attempt = |spec: &Spec| match spec.file {
            "x/a" => Err(mismatch(spec)),
            // Right at first, and wrong the second time.
            "x/b" => {
                count += 1;
                if count == 1 { Ok(Score(0.5)) } else { Err(mismatch(spec)) }
            }
            _ => Ok(Score(7.0)),
        };
        let best = fastest(&[&A, &B, &C], attempt, &mut |error| told.push(error.to_string()));
        assert_eq!(best.unwrap(), &C);
        assert_eq!(told.len(), 2);
        assert!(told[0].starts_with("x/a: wrong result") && told[1].starts_with("x/b"), "{told:?}");
        let none = fastest(&[&A, &B], |spec| Err(mismatch(spec)), &mut |_| ());
        assert!(matches!(none, Err(Error::Mismatch { .. })));
        let other = fastest(&[&A], |_| Err(Error::Input("no room".into())), &mut |_| ());
        assert_eq!(other.unwrap_err().to_string(), "no room");
    }

    #[test]
    fn answers_for_other_shaders_are_forgotten() {
        let mut cache = BTreeMap::new();
        keep(&mut cache, "card | driver | x/a | k1 | 0001".into(), "a".into());
        keep(&mut cache, "card | driver | x/a | k2 | 0001".into(), "b".into());
        assert_eq!(cache.len(), 2);
        keep(&mut cache, "card | driver | x/a | k1 | 0002".into(), "c".into());
        let left: Vec<_> = cache.into_iter().collect();
        assert_eq!(left, [("card | driver | x/a | k1 | 0002".to_owned(), "c".to_owned())]);
    }
}
