//! The model against measured times, on a device that runs: how far its predictions can be trusted.
//!
//! Its use is to order the variants of one kernel at one shape, so that is what is judged first: by the rank correlation of
//! predicted and measured times, and by how much longer the variant takes that it would choose than the fastest. That times of
//! different kernels and shapes are in order says little: their sizes alone put them in order.

use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use lowbit::internals::cases::{Case, Entry, Prepared, REGISTRY};
use lowbit::internals::gpu::{Bound, Context, Options, Recorder, Reflection, Spec};
use lowbit::internals::roofline::{Effort, MeasureOptions, measure};

use crate::model::{Loops, Machine, Times};
use crate::model_works::Dispatch;

/// The kernels that are hot, of those that the model speaks of; variants by subgroups are among them.
const STEMS: [&str; 5] = ["matvec", "matvec_integer", "matmul", "matmul_integer", "assign"];
/// Inputs are made for a device of this size: more than a processor's caches, and every variant has its own.
const MEMORY: u64 = 64 << 20;

/// A variant at a shape.
#[derive(Clone, Debug)]
pub struct Point {
    variant: String,
    times: Times,
    measured_us: f64,
}

/// The variants of a kernel at a shape.
#[derive(Clone, Debug)]
pub struct Group {
    stem: &'static str,
    shape: String,
    points: Vec<Point>,
    /// Variants that run and of which nothing is predicted.
    unknown: usize,
}

/// Times every hot kernel on the adapter here, each variant `rounds` times by turns, and predicts it for `machine`, with the roofs
/// of the adapter. What it is at goes to standard error.
pub fn measured(machine: &Machine, rounds: usize) -> Result<Vec<Group>> {
    let gpu = Context::open(&Options::default())?;
    if gpu.adapter.is_software() != machine.is_software() {
        bail!("{} is not what runs here: {}", machine.name, gpu.adapter.name);
    }
    let options = MeasureOptions { effort: Effort::Quick, ..MeasureOptions::default() };
    let roofs = measure(&gpu, &options, &mut |line| eprintln!("{line}"))?;
    // A multiply-add is two operations and a dot product of four int8 is eight.
    let (products, dots) = (roofs.fma_f32.value / 2.0, roofs.dot_i8.as_ref().map(|roof| roof.value / 8.0));
    let machine = machine.with_roofs(products, dots, roofs.memory_gb_s());
    println!("{}: {}", gpu.adapter.name, machine.roofs());
    let loops = Loops::of(&machine)?;
    let mut groups = Vec::new();
    for stem in STEMS {
        let entry =
            REGISTRY.iter().find(|entry| entry.stem == stem).context("a kernel is not in the registry")?;
        for case in (entry.benches)(MEMORY) {
            eprintln!("timing {stem} {}", case.name());
            groups.push(of_case(&gpu, &machine, &loops, entry, case.as_ref(), rounds)?);
        }
    }
    Ok(groups)
}

fn of_case(
    gpu: &Context,
    machine: &Machine,
    loops: &Loops,
    entry: &Entry,
    case: &dyn Case,
    rounds: usize,
) -> Result<Group> {
    let (mut contenders, mut unknown): (Vec<(Spec, Times, Prepared)>, usize) = (Vec::new(), 0);
    for spec in entry.variants_of(case) {
        let shader = Reflection::of(&spec)?;
        if shader.runs_on(gpu).is_err() {
            continue;
        }
        let prepared = case.prepare(gpu, &spec)?;
        // Compiles, and touches all memory.
        Recorder::run(gpu, &prepared.passes)?;
        gpu.wait()?;
        let times = dispatch(case, &shader, &prepared.passes)
            .and_then(|dispatch| machine.predict(loops, &spec.label(), &dispatch));
        match times {
            Some(times) => contenders.push((spec, times, prepared)),
            None => unknown += 1,
        }
    }
    let mut least = vec![f64::INFINITY; contenders.len()];
    for _ in 0..rounds {
        for ((_, _, prepared), least) in contenders.iter().zip(&mut least) {
            let begun = Instant::now();
            Recorder::run(gpu, &prepared.passes)?;
            gpu.wait()?;
            *least = least.min(begun.elapsed().as_secs_f64() * 1e6);
        }
    }
    let points = contenders.iter().zip(least).map(|((spec, times, _), measured_us)| Point {
        variant: spec.label(),
        times: *times,
        measured_us,
    });
    Ok(Group { stem: entry.stem, shape: case.name(), points: points.collect(), unknown })
}

/// Of the pass that does the most.
fn dispatch(case: &dyn Case, shader: &Reflection, passes: &[Bound]) -> Option<Dispatch> {
    let pass = passes.iter().max_by_key(|pass| pass.work().ops)?;
    let columns = case.class().sizes.get("n").copied().unwrap_or(1);
    let work = pass.work();
    let products = work.ops as f64 / 2.0;
    Dispatch::new(shader, [pass.rows(), columns], work.bytes as f64, products)
}

/// Spearman's rank correlation; none where one of both does not vary.
fn spearman(pairs: &[(f64, f64)]) -> Option<f64> {
    let (a, b): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
    let (a, b) = (ranks(&a), ranks(&b));
    // Ranks of as many values have the same mean, equal ones or not.
    let mean = (a.len() as f64 - 1.0) / 2.0;
    let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - mean) * (b - mean)).sum::<f64>();
    let size = (product(&a, &a) * product(&b, &b)).sqrt();
    (size > 0.0).then(|| product(&a, &b) / size)
}

/// The place of each value among all; equal ones share the mean of theirs.
fn ranks(values: &[f64]) -> Vec<f64> {
    let count = |is: &dyn Fn(&f64) -> bool| values.iter().filter(|value| is(value)).count() as f64;
    values.iter().map(|own| count(&|v| v < own) + (count(&|v| v == own) - 1.0) / 2.0).collect()
}

/// The geometric mean, and the factor of a standard deviation around it.
fn geometric(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().map(|value| value.ln()).sum::<f64>() / count;
    let variance = values.iter().map(|value| (value.ln() - mean).powi(2)).sum::<f64>() / count;
    (mean.exp(), variance.sqrt().exp())
}

/// How much longer the variant with the least predicted time takes than the fastest. Of variants with as short a prediction the
/// mean counts.
fn regret(points: &[Point]) -> Option<f64> {
    let predicted = points.iter().map(|point| point.times.us()).min_by(f64::total_cmp)?;
    let fastest = points.iter().map(|point| point.measured_us).min_by(f64::total_cmp)?;
    let chosen = points.iter().filter(|point| point.times.us() <= predicted * (1.0 + 1e-9));
    let chosen: Vec<f64> = chosen.map(|point| point.measured_us).collect();
    Some(chosen.iter().sum::<f64>() / chosen.len() as f64 / fastest)
}

/// The same for a variant taken at random: what a choice without any model costs on average.
fn at_random(points: &[Point]) -> Option<f64> {
    let fastest = points.iter().map(|point| point.measured_us).min_by(f64::total_cmp)?;
    Some(points.iter().map(|point| point.measured_us).sum::<f64>() / points.len() as f64 / fastest)
}

fn pairs<'a>(points: impl IntoIterator<Item = &'a Point>) -> Vec<(f64, f64)> {
    points.into_iter().map(|point| (point.times.us(), point.measured_us)).collect()
}

fn ratio((predicted, measured): &(f64, f64)) -> f64 {
    measured / predicted
}

/// Three digits after the point, or a word where there is no number.
fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "none".to_owned(), |value| format!("{value:.2}"))
}

/// A row of text for each kernel and shape.
pub fn rows(groups: &[Group]) -> Vec<Vec<String>> {
    let row = |group: &Group| {
        let pairs = pairs(&group.points);
        let (mean, spread) = geometric(&pairs.iter().map(ratio).collect::<Vec<_>>());
        vec![
            format!("{} {}", group.stem, group.shape),
            format!("{} ({})", group.points.len(), group.unknown),
            number(spearman(&pairs)),
            format!("{mean:.2}"),
            format!("{spread:.2}"),
            number(regret(&group.points)),
            number(at_random(&group.points)),
        ]
    };
    groups.iter().filter(|group| !group.points.is_empty()).map(row).collect()
}

/// A row of text for each variant.
pub fn variants(groups: &[Group]) -> Vec<Vec<String>> {
    let row = |group: &Group, point: &Point| {
        let (predicted, bound) = (point.times.us(), point.times.bound());
        vec![
            group.shape.clone(),
            point.variant.clone(),
            format!("{predicted:.0} us, {bound}"),
            format!("{:.0}", point.measured_us),
            format!("{:.2}", point.measured_us / predicted),
        ]
    };
    groups.iter().flat_map(|group| group.points.iter().map(move |point| row(group, point))).collect()
}

/// What all say together, in lines of text.
pub fn summary(groups: &[Group]) -> Vec<String> {
    let points = || groups.iter().flat_map(|group| &group.points);
    let all = pairs(points());
    let floors: Vec<(f64, f64)> = points().map(|point| (point.times.floor_us, point.measured_us)).collect();
    let ratios: Vec<f64> = all.iter().map(ratio).collect();
    let (mean, spread) = geometric(&ratios);
    let range = ratios.iter().fold((f64::INFINITY, 0.0f64), |(low, high), &x| (low.min(x), high.max(x)));
    let within: Vec<f64> = groups.iter().filter_map(|group| spearman(&pairs(&group.points))).collect();
    let mean_of = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
    let positive = within.iter().filter(|&&correlation| correlation > 0.0).count();
    let costs = |of: fn(&[Point]) -> Option<f64>| {
        geometric(&groups.iter().filter_map(|group| of(&group.points)).collect::<Vec<_>>()).0
    };
    vec![
        format!(
            "all {} variants and shapes together: rank correlation {} (the roofs alone: {}); measured over predicted {mean:.2}, a \
             standard deviation is a factor of {spread:.2}, from {:.2} to {:.2}",
            all.len(),
            number(spearman(&all)),
            number(spearman(&floors)),
            range.0,
            range.1,
        ),
        format!(
            "variants of one kernel at one shape: mean rank correlation {:.2}, above 0 in {positive} of {}",
            mean_of(&within),
            within.len(),
        ),
        format!(
            "the variant that it would choose takes {:.2} times as long as the fastest; one at random {:.2} times (geometric means)",
            costs(regret),
            costs(at_random),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_correlation_is_of_ranks() {
        let with = |b: [f64; 4]| spearman(&[1.0, 2.0, 3.0, 100.0].into_iter().zip(b).collect::<Vec<_>>());
        assert_eq!(with([5.0, 6.0, 7.0, 8.0]), Some(1.0));
        assert_eq!(with([8.0, 7.0, 6.0, 5.0]), Some(-1.0));
        assert_eq!(with([1.0; 4]), None);
        // Ranks 1 2 3 4 and 2 1 4 3: 1 - 6 * 4 / (4 * 15).
        assert!((with([2.0, 1.0, 4.0, 3.0]).unwrap() - 0.6).abs() < 1e-12);
        assert_eq!(ranks(&[3.0, 1.0, 3.0]), [1.5, 0.0, 1.5]);
        assert_eq!(spearman(&[]), None);
    }

    #[test]
    fn a_geometric_mean_has_a_factor() {
        let (mean, spread) = geometric(&[1.0, 4.0]);
        assert!((mean - 2.0).abs() < 1e-12 && (spread - 2.0).abs() < 1e-12);
    }
}
