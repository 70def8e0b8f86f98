//! The choice among a kernel's variants, and its measurement.
//!
//! [`choose`] takes the one that [`super::dispatch`] names. On a device that was opened to measure ([`super::Options::measure`])
//! it times all of them, once their results were right ([`trial`]), and keeps what it found ([`Context::take_choices`]).

use std::time::Duration;

use serde::Serialize;

use super::context::lock;
use super::dispatch::{self, Class, Row, SHIPPED};
use super::verify::{Answer, check};
use super::{Bound, Context, Reflection, Spec, time};
use crate::percentile::median;
use crate::{Error, Result};

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

/// Those of `list` that run here, the one to take for work of this class first.
fn able<'a>(gpu: &Context, list: &'a [Spec], class: &Class) -> impl Iterator<Item = Result<&'a Spec>> {
    let ranked = dispatch::ranked(&[&gpu.table, &SHIPPED], &gpu.adapter, list, class);
    // A shader is only read once it is its turn.
    ranked.into_iter().filter_map(|spec| match Reflection::of(spec) {
        Ok(shader) => shader.runs_on(gpu).is_ok().then_some(Ok(spec)),
        Err(error) => Some(Err(error)),
    })
}

/// The variant of `list` for work of this class.
///
/// # Errors
/// [`Error::NoDevice`] if the adapter can run none.
pub fn taken<'a>(gpu: &Context, list: &'a [Spec], class: &Class) -> Result<&'a Spec> {
    able(gpu, list, class).next().unwrap_or_else(|| {
        Err(Error::NoDevice {
            adapter: gpu.adapter.name.clone(),
            reason: "it can run no variant of a kernel".into(),
        })
    })
}

/// The variant of `list` for work of this class: [`taken`], or the fastest by `attempt` where the device was opened to measure, or any
/// where it was opened to vary.
///
/// # Errors
/// Those of [`taken`]; while measuring, [`Error::Mismatch`] if the adapter runs none rightly, and those of `attempt`.
pub fn choose<'a>(
    gpu: &Context,
    list: &'a [Spec],
    class: Class,
    attempt: impl FnMut(&Spec) -> Result<Score>,
) -> Result<&'a Spec> {
    let taken = taken(gpu, list, &class)?;
    if let Some(random) = lock(&gpu.vary).as_mut() {
        let able: Vec<&Spec> = able(gpu, list, &class).collect::<Result<_>>()?;
        return Ok(able[random.below(able.len() as u64) as usize]);
    }
    if !gpu.measure {
        return Ok(taken);
    }
    let able: Vec<&Spec> = able(gpu, list, &class).collect::<Result<_>>()?;
    gpu.tell(&format!("measuring {} variants of {} for {class}", able.len(), taken.file));
    // What is only tried is nobody's work, and does not belong in a trace.
    let passes = gpu.take_passes();
    let tried = try_all(&able, attempt, &mut |error| {
        let driver = &gpu.adapter.driver;
        gpu.notice(format!("this driver ({driver}) gives wrong results, it is not used: {error}"));
    });
    *lock(&gpu.passes) = passes;
    let tried = tried?;
    let kernel = list.first().map_or(taken.file, |spec| spec.file);
    let choice = Choice::of(kernel, class, &taken.label(), list, tried);
    let best = able.into_iter().find(|spec| spec.label() == choice.best).unwrap_or(taken);
    lock(&gpu.choices).push(choice);
    Ok(best)
}

/// How often each variant is timed, all of them in turn.
const ROUNDS: usize = 5;

/// What a variant took in each round, in microseconds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Tried {
    /// Its label.
    pub variant: String,
    /// Its times.
    pub us: Vec<f64>,
}

impl Tried {
    fn median(&self) -> f64 {
        median(&self.us).unwrap_or(f64::INFINITY)
    }
}

/// Times every variant in turn, so that a slow moment of the machine is everyone's. What gives wrong results once is left out
/// and told of.
fn try_all(
    able: &[&Spec],
    mut attempt: impl FnMut(&Spec) -> Result<Score>,
    wrong: &mut dyn FnMut(&Error),
) -> Result<Vec<Tried>> {
    let mut times = vec![Some(Vec::new()); able.len()];
    let mut last = None;
    for at in (0..ROUNDS).flat_map(|_| 0..able.len()) {
        let Some(us) = &mut times[at] else { continue };
        match attempt(able[at]) {
            Ok(Score(score)) => us.push(score),
            Err(error @ Error::Mismatch { .. }) => {
                wrong(&error);
                times[at] = None;
                last = Some(error);
            }
            Err(error) => return Err(error),
        }
    }
    let right =
        able.iter().zip(times).filter_map(|(spec, us)| Some(Tried { variant: spec.label(), us: us? }));
    let right: Vec<Tried> = right.collect();
    if right.is_empty() {
        return Err(last.unwrap_or_else(|| Error::Input("there is no variant to try".into())));
    }
    Ok(right)
}

/// A variant counts as faster from this share of time on, and only if it was in every round.
const LEAST_GAIN: f64 = 1.03;

/// What was measured for one piece of work.
#[derive(Clone, Debug, Serialize)]
pub struct Choice {
    /// The file of the first variant of its list.
    pub kernel: String,
    /// The work.
    #[serde(flatten)]
    pub class: Class,
    /// What is taken without the measurement.
    pub taken: String,
    /// What should be: the same, but where another one was faster in every round.
    pub best: String,
    /// How many times as long as the fastest of all the one that is taken needed: median, least, most of the rounds. None if its
    /// results are wrong.
    pub cost: Option<[f64; 3]>,
    /// All that ran rightly, the fastest first.
    pub tried: Vec<Tried>,
    /// Words that name `best` in a table: those of its label that not all variants of the list have.
    pub words: String,
    /// All variants.
    #[serde(skip)]
    pub list: Vec<Spec>,
}

impl Choice {
    /// From what all that ran rightly took; there is at least one.
    pub(crate) fn of(kernel: &str, class: Class, taken: &str, list: &[Spec], mut tried: Vec<Tried>) -> Self {
        tried.sort_by(|a, b| a.median().total_cmp(&b.median()));
        let fastest = &tried[0];
        let own = tried.iter().find(|tried| tried.variant == taken);
        let cost = own.map(|own| {
            let mut ratios: Vec<f64> = own.us.iter().zip(&fastest.us).map(|(own, best)| own / best).collect();
            ratios.sort_by(f64::total_cmp);
            [ratios[ratios.len() / 2], ratios[0], ratios[ratios.len() - 1]]
        });
        let stays = cost.is_some_and(|[median, least, _]| least <= 1.0 || median < LEAST_GAIN);
        let best = if stays { taken.to_owned() } else { fastest.variant.clone() };
        let labels: Vec<String> = list.iter().map(Spec::label).collect();
        let common = |word: &str| labels.iter().all(|label| label.split(' ').any(|own| own == word));
        let own: Vec<&str> = best
            .split(' ')
            .enumerate()
            .filter(|(i, word)| *i == 0 || !common(word))
            .map(|(_, word)| word)
            .collect();
        Self {
            kernel: kernel.to_owned(),
            class,
            taken: taken.to_owned(),
            words: own.join(" "),
            best,
            cost,
            tried,
            list: list.to_vec(),
        }
    }

    /// Its row in a table for the adapters called `on`.
    pub fn row(&self, on: &str) -> Row {
        Row {
            on: on.to_owned(),
            kernel: self.kernel.clone(),
            of: self.class.of.clone(),
            sizes: self.class.sizes.clone(),
            variant: self.words.clone(),
        }
    }

    /// How many times as long as the fastest a variant took, by the medians.
    pub fn cost_of(&self, spec: &str) -> Option<f64> {
        let own = self.tried.iter().find(|tried| tried.variant == spec)?;
        Some(own.median() / self.tried[0].median())
    }
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

    fn tried(times: &[(&str, [f64; 5])]) -> Vec<Tried> {
        times.iter().map(|(name, us)| Tried { variant: (*name).to_owned(), us: us.to_vec() }).collect()
    }

    #[test]
    fn variants_are_timed_in_turn() {
        let mut order = String::new();
        let attempt = |spec: &Spec| {
            order += &spec.label();
            Ok(Score(order.len() as f64))
        };
        let tried = try_all(&[&A, &B], attempt, &mut |_| panic!("nothing is wrong")).unwrap();
        assert_eq!(order, "ab".repeat(ROUNDS));
        assert_eq!(tried[1], Tried { variant: "b".into(), us: vec![2.0, 4.0, 6.0, 8.0, 10.0] });
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
        let tried = try_all(&[&A, &B, &C], attempt, &mut |error| told.push(error.to_string())).unwrap();
        assert_eq!(tried, [Tried { variant: "c".into(), us: vec![7.0; ROUNDS] }]);
        assert_eq!(told.len(), 2);
        assert!(told[0].starts_with("x/a: wrong result") && told[1].starts_with("x/b"), "{told:?}");
        // What was taken is among the wrong ones.
        let choice = Choice::of("x/a", Class::default(), "a", &[A, B, C], tried);
        assert_eq!((choice.best.as_str(), choice.cost), ("c", None));
        let none = try_all(&[&A, &B], |spec| Err(mismatch(spec)), &mut |_| ());
        assert!(matches!(none, Err(Error::Mismatch { .. })));
        let other = try_all(&[&A], |_| Err(Error::Input("no room".into())), &mut |_| ());
        assert_eq!(other.unwrap_err().to_string(), "no room");
    }

    #[test]
    fn what_is_taken_stays_unless_another_was_faster_in_every_round() {
        let choice =
            |times: &[(&str, [f64; 5])]| Choice::of("x/a", Class::default(), "a", &[A, B, C], tried(times));
        let noise = choice(&[("a", [3.0, 3.0, 1.0, 3.0, 3.0]), ("b", [2.0; 5])]);
        assert_eq!((noise.best.as_str(), noise.cost), ("a", Some([1.5, 0.5, 1.5])));
        let little = choice(&[("a", [2.02; 5]), ("b", [2.0; 5])]);
        assert_eq!(little.best, "a");
        let clear = choice(&[("a", [3.0; 5]), ("b", [2.0; 5]), ("c", [2.5; 5])]);
        assert_eq!((clear.best.as_str(), clear.tried[1].variant.as_str()), ("b", "c"));
        assert_eq!(clear.cost_of("c"), Some(1.25));
    }

    #[test]
    fn a_row_names_what_tells_its_variant_from_the_others() {
        const WIDE: Spec = Spec::new("x/a").slot("wide", "lib/wide64").slot("format", "format/q4_0");
        let list = [WIDE, WIDE.consts(&[("ROWS", 2)]), WIDE.consts(&[("ROWS", 2), ("LANES", 8)])];
        let times: Vec<Tried> =
            list.iter().map(|spec| Tried { variant: spec.label(), us: vec![1.0; 5] }).collect();
        let class = Class::new(&[("n", 4)]).of("Q4_0");
        let row = Choice::of("x/a", class, &list[1].label(), &list, times).row("gpu");
        assert_eq!(row.variant, "a ROWS=2");
        assert_eq!(dispatch::named(&list, &row.variant), Some(&list[1]));
    }
}
