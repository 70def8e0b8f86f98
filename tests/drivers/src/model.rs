//! A model of machines that are not here: what bounds a kernel, and how long it should take. All of it is prediction.
//!
//! For a dispatch, from its geometry, what the compiler made of its hottest loop (the committed tables), and the machine's data
//! (benches/model/machines.json):
//! - **memory**: least bytes over the bandwidth;
//! - **issue**: instructions of the hottest loop, or its conversions where these take longer, as often as its products need it, over
//!   the issue rate of those units that have workgroups; the last round of workgroups leaves units idle, and a unit with fewer
//!   subgroups than issuers leaves those idle;
//! - **latency**: each pass of the loop waits once, for memory or, where it reads none, for workgroup memory, in as many passes one
//!   behind the other as a subgroup makes.
//!
//! The largest is predicted, and what it takes to add up the sums of several workgroups of a tile: a pass behind the other, and its
//! bytes. Left out: other units that are slower than instructions begin (NVIDIA's for whole numbers has half the lanes), caches (weights are read once, x comes from them), prefetching across passes of a loop,
//! what runs before and after it, clocks that fall. `attend` is left out as a whole: a table has one loop of each shader, and half
//! of its products are in another, behind barriers and a softmax that are in neither.
//!
//! How far it can be trusted is measured where something runs: model_check.rs.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use lowbit::internals::gpu::Reflection;
use lowbit::internals::gpu::dispatch::{self, SHIPPED};
use serde::Deserialize;

use crate::model_works::{Dispatch, Work, works};
use crate::table::{Fate, Numbers, Table};

/// A machine, by its data sheet.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    pub name: String,
    /// Its name, the maker first.
    pub what: String,
    /// Whose compiler's table counts; none where no compiler for it is here.
    #[serde(default)]
    family: Option<String>,
    /// The family whose loops stand in where the machine's own compiler gives no assembly.
    #[serde(default)]
    loops_of: Option<String>,
    /// Whether it is given what software devices are given.
    #[serde(default)]
    software: bool,
    /// Compute units, multiprocessors or cores.
    units: u64,
    /// Instructions of different subgroups that a unit begins at once.
    issuers: u64,
    /// Lanes of a subgroup.
    wave: u64,
    /// Cycles that an instruction of a subgroup keeps an issuer.
    cycles: f64,
    /// Instructions that a dot product of four int8 counts as.
    #[serde(default = "one_instruction")]
    dot: f64,
    /// Instructions that begin while the unit for conversions is busy with one.
    #[serde(default = "one_instruction")]
    convert: f64,
    /// Subgroups that a unit holds at most.
    waves: u64,
    counted: Counted,
    clock_ghz: f64,
    gb_s: f64,
    latency_ns: f64,
    /// What it costs that a pass begins behind another one: the device runs dry, and fills again.
    #[serde(default = "three_microseconds")]
    pass_us: f64,
    #[serde(rename = "cache_mb")]
    _cache_mb: f64,
    shared_kib: u64,
    #[serde(rename = "source")]
    _source: String,
}

fn one_instruction() -> f64 {
    1.0
}

fn three_microseconds() -> f64 {
    3.0
}

/// What a table's number of subgroups is.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Counted {
    /// Subgroups of a unit.
    Unit,
    /// Subgroups of an issuer.
    Issuer,
    /// Lanes of a unit.
    Lanes,
    /// Registers do not limit how many a unit holds.
    Fixed,
}

/// Every machine there is data of.
pub fn machines() -> Result<Vec<Machine>> {
    serde_json::from_str(include_str!("../../../benches/model/machines.json")).context("machines.json")
}

/// Those of these names; all if there is none.
pub fn chosen(names: &[String]) -> Result<Vec<Machine>> {
    let all = machines()?;
    let known: Vec<&str> = all.iter().map(|machine| machine.name.as_str()).collect();
    if let Some(name) = names.iter().find(|name| !known.contains(&name.as_str())) {
        bail!("there is no machine {name}: expected one of {}", known.join(", "));
    }
    Ok(all.into_iter().filter(|machine| names.is_empty() || names.contains(&machine.name)).collect())
}

impl Machine {
    /// Where its instruction mixes come from, in words.
    pub fn loops(&self) -> String {
        match (&self.family, &self.loops_of) {
            (Some(family), None) => format!("loops of {family}"),
            (Some(family), Some(other)) => format!("registers of {family}, but loops of {other}"),
            (None, Some(other)) => format!("loops of {other}, as no compiler for it is here"),
            (None, None) => "no loops".to_owned(),
        }
    }

    /// With these measured roofs: multiply-adds and dot products of four int8 in a nanosecond, and the bandwidth.
    pub fn with_roofs(&self, products: f64, dots: Option<f64>, gb_s: f64) -> Self {
        let lanes = (self.units * self.issuers * self.wave) as f64;
        let clock_ghz = products * self.cycles / lanes;
        let dot = dots.map_or(self.dot, |dots| products / dots);
        Self { clock_ghz, gb_s, dot, ..self.clone() }
    }

    pub fn is_software(&self) -> bool {
        self.software
    }

    /// What it can do at most, in words.
    pub fn roofs(&self) -> String {
        format!(
            "{:.1} GFLOP/s of f32, {:.1} GB/s, a dot product counts as {:.1} instructions",
            self.peak() * 2.0 / 1e3,
            self.gb_s,
            self.dot
        )
    }

    /// Products of lanes that it could begin in a microsecond if it did nothing else.
    fn peak(&self) -> f64 {
        (self.units * self.issuers * self.wave) as f64 * self.clock_ghz * 1e3 / self.cycles
    }

    /// Subgroups of a shader that a unit has room for.
    fn resident(&self, by_registers: u64) -> u64 {
        let waves = match self.counted {
            Counted::Unit => by_registers,
            Counted::Issuer => by_registers * self.issuers,
            Counted::Lanes => by_registers / self.wave,
            Counted::Fixed => self.waves,
        };
        waves.clamp(1, self.waves)
    }

    /// The variant that the shipped table names for it.
    fn taken(&self, work: &Work) -> Option<String> {
        let maker = self.what.split(' ').next().unwrap_or_default();
        let places = [maker, if self.software { "software" } else { "gpu" }];
        let ranked = dispatch::ranked_at(&[&SHIPPED], &places, &work.list, &work.class);
        ranked.first().map(|spec| spec.label())
    }
}

/// A shader's hottest loop, as the machine is taken to run it.
#[derive(Clone, Copy, Debug)]
struct Pass {
    instructions: f64,
    /// Multiply-adds of a lane.
    products: f64,
    /// Multiply-adds that one instruction does.
    each: f64,
    /// Whether it waits for memory.
    memory: bool,
    /// Subgroups that registers leave room for, as the table counts them.
    waves: u64,
    clean: bool,
}

impl Pass {
    /// None where the loop has no products.
    fn of(numbers: &Numbers, machine: &Machine) -> Option<Self> {
        let mix = numbers.hottest.as_ref()?;
        // Where there are dot products, the floats only scale them.
        let each = if mix.dot > 0 { 4.0 } else { 1.0 };
        let products = each * if mix.dot > 0 { mix.dot } else { mix.fma } as f64;
        let begun = mix.all as f64 + (machine.dot - 1.0) * mix.dot as f64;
        let instructions = begun.max(machine.convert * mix.convert as f64);
        let (memory, clean) = (mix.memory > 0, numbers.is_clean());
        (products > 0.0).then_some(Self { instructions, products, each, memory, waves: numbers.waves, clean })
    }
}

/// The loops of all shaders, for a machine.
pub struct Loops {
    own: Option<Table>,
    other: Option<Table>,
}

impl Loops {
    pub fn of(machine: &Machine) -> Result<Self> {
        let read = |family: &Option<String>| {
            let table = family.as_ref().map(|family| {
                Table::read(family)?.with_context(|| format!("{}: no table of {family}", machine.name))
            });
            table.transpose()
        };
        let (own, other) = (read(&machine.family)?, read(&machine.loops_of)?);
        let loops = other.as_ref().or(own.as_ref());
        let loops = loops.with_context(|| format!("{} has no table", machine.name))?;
        if !loops.shaders.values().any(|fate| compiled(fate).is_some_and(|own| own.hottest.is_some())) {
            bail!(
                "{}: the table that it takes loops of has none: `compile --write` makes it again",
                machine.name
            );
        }
        Ok(Self { own, other })
    }

    fn get(&self, label: &str, machine: &Machine) -> Option<Pass> {
        let of = |table: &Option<Table>| {
            table.as_ref().map(|table| table.shaders.get(label).and_then(compiled).cloned())
        };
        match (of(&self.own), of(&self.other)) {
            (Some(numbers), None) | (None, Some(numbers)) => Pass::of(&numbers?, machine),
            (Some(own), Some(other)) => {
                // Not longer by the ratio of instruction counts: compilers unroll differently, and a loop that is unrolled less does
                // fewer products.
                Pass::of(&Numbers { hottest: other?.hottest, ..own? }, machine)
            }
            (None, None) => None,
        }
    }
}

fn compiled(fate: &Fate) -> Option<&Numbers> {
    match fate {
        Fate::Compiled(numbers) => Some(numbers),
        Fate::Lacks { .. } | Fate::Failed { .. } => None,
    }
}

/// What is predicted for a dispatch.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// Subgroups in flight, of those that the machine has room for.
    waves: f64,
    /// The least time that the machine's bandwidth and its multiply-adds allow.
    pub floor_us: f64,
    memory_us: f64,
    issue_us: f64,
    latency_us: f64,
    /// What the pass behind it takes that adds up sums.
    sums_us: f64,
    clean: bool,
}

impl Times {
    pub fn us(&self) -> f64 {
        self.memory_us.max(self.issue_us).max(self.latency_us) + self.sums_us
    }

    /// What it is bound by.
    pub fn bound(&self) -> &'static str {
        let times = [(self.memory_us, "memory"), (self.issue_us, "issue"), (self.latency_us, "latency")];
        times.into_iter().max_by(|a, b| a.0.total_cmp(&b.0)).map_or("", |(_, name)| name)
    }
}

/// What workgroup memory lets wait for.
const SHARED_CYCLES: f64 = 30.0;

impl Machine {
    /// The prediction for a dispatch of the shader of this label; none where its loop is not known.
    pub fn predict(&self, loops: &Loops, label: &str, dispatch: &Dispatch) -> Option<Times> {
        Some(self.times(&loops.get(label, self)?, dispatch))
    }

    fn times(&self, pass: &Pass, dispatch: &Dispatch) -> Times {
        let waves_each = dispatch.lanes.div_ceil(self.wave);
        let by_shared = (self.shared_kib << 10) / dispatch.shared.max(1);
        let groups_each = (self.resident(pass.waves) / waves_each).min(by_shared).max(1);
        let groups = dispatch.groups.max(1);
        let at_once = groups.min(self.units * groups_each);
        let busy_units = groups.min(self.units);
        // A processor that holds less than a workgroup runs it in parts.
        let in_flight = (at_once * waves_each).min(busy_units * self.waves) as f64;

        let rounds = groups as f64 / self.units as f64;
        let balance = if rounds >= 1.0 { rounds / rounds.ceil() } else { 1.0 };
        let issuing = (in_flight / (busy_units * self.issuers) as f64).min(1.0);
        let passes = dispatch.products * dispatch.padding / (self.wave as f64 * pass.products);
        let issued = (busy_units * self.issuers) as f64 * self.clock_ghz * 1e3 / self.cycles;
        let wait_ns = if pass.memory { self.latency_ns } else { SHARED_CYCLES / self.clock_ghz };
        let least_us = dispatch.bytes / self.gb_s / 1e3;
        let memory_us = least_us + dispatch.sums / self.gb_s / 1e3;
        let peak = self.peak() * pass.each / if pass.each > 1.0 { self.dot } else { 1.0 };
        Times {
            waves: in_flight / (self.units * self.waves) as f64,
            floor_us: least_us.max(dispatch.products / peak),
            memory_us,
            issue_us: passes * pass.instructions / (issued * issuing * balance),
            latency_us: passes / in_flight * wait_ns / 1e3,
            sums_us: if dispatch.sums > 0.0 { self.pass_us + dispatch.sums / self.gb_s / 1e3 } else { 0.0 },
            clean: pass.clean,
        }
    }
}

/// A variant of a piece of work.
pub struct Predicted {
    work: String,
    variant: String,
    /// Whether the shipped table takes it.
    taken: bool,
    groups: u64,
    times: Times,
}

/// Everything that is predicted for `machine`, and how many variants have no loop that is known.
pub fn predict(machine: &Machine) -> Result<(Vec<Predicted>, usize)> {
    let loops = Loops::of(machine)?;
    let (mut all, mut unknown) = (Vec::new(), 0);
    for work in works()? {
        let taken = machine.taken(&work);
        for spec in &work.list {
            let (label, shader) = (spec.label(), Reflection::of(spec)?);
            let dispatch = Dispatch::new(&shader, [work.rows, work.columns], work.bytes, work.products);
            let dispatch =
                dispatch.with_context(|| format!("{label} does not say what a workgroup covers"))?;
            match machine.predict(&loops, &label, &dispatch) {
                None => unknown += 1,
                Some(times) => all.push(Predicted {
                    work: work.what.clone(),
                    taken: Some(&label) == taken.as_ref(),
                    variant: label,
                    groups: dispatch.groups,
                    times,
                }),
            }
        }
    }
    Ok((all, unknown))
}

/// Rows of text: for each piece of work the variant that is taken and the best one, or `every` one.
pub fn rows(all: &[Predicted], every: bool) -> Vec<Vec<String>> {
    let mut works: BTreeMap<&str, Vec<&Predicted>> = BTreeMap::new();
    for one in all {
        works.entry(&one.work).or_default().push(one);
    }
    let mut rows = Vec::new();
    for (work, mut variants) in works {
        variants.sort_by(|a, b| a.times.us().total_cmp(&b.times.us()));
        let shown = variants.iter().enumerate().filter(|(at, one)| every || *at == 0 || one.taken);
        for (_, one) in shown {
            let times = &one.times;
            rows.push(vec![
                work.to_owned(),
                format!("{}{}", one.variant, if one.taken { " (taken)" } else { "" }),
                one.groups.to_string(),
                format!("{:.0} %", 100.0 * times.waves),
                format!("{:.0}", times.memory_us),
                format!("{:.0}", times.issue_us),
                format!("{:.0}", times.latency_us),
                format!("{:.0} us, {}", times.us(), times.bound()),
                format!("{:.0} %", 100.0 * times.floor_us / times.us()),
                (if times.clean { "" } else { "spills" }).to_owned(),
            ]);
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use lowbit::internals::matmul::matvec;

    use super::*;

    #[test]
    fn machines_are_of_families_that_there_are() {
        for machine in machines().unwrap() {
            let families: Vec<&String> = machine.family.iter().chain(&machine.loops_of).collect();
            assert!(!families.is_empty(), "{}", machine.name);
            families.iter().for_each(|family| assert!(crate::family::named(family).is_ok(), "{family}"));
            assert!(!machine.software || machine.counted == Counted::Fixed, "{}", machine.name);
        }
        assert!(chosen(&["h200".to_owned(), "h100".to_owned()]).unwrap_err().to_string().contains("h200, "));
        assert_eq!(chosen(&["mi50".to_owned()]).unwrap().len(), 1);
    }

    #[test]
    fn columns_that_nobody_asked_for_are_work() {
        const FOUR: &[(&str, u32)] = &[("COLUMNS", 4)];
        let decoder = lowbit::internals::format::ALL[0].decoder;
        let of = |consts, n| {
            let spec = matvec::VARIANTS[0].slot("format", decoder).consts(consts);
            Dispatch::new(&Reflection::of(&spec).unwrap(), [4096, n], 1.0, 1.0).unwrap()
        };
        assert_eq!((of(&[], 1).padding, of(FOUR, 1).padding, of(FOUR, 6).padding), (1.0, 4.0, 8.0 / 6.0));
        assert_eq!(of(FOUR, 6).groups, of(&[], 1).groups);
    }

    #[test]
    fn the_longest_of_three_times_is_predicted() {
        let [machine] = chosen(&["rx7900xtx".to_owned()]).unwrap().try_into().unwrap();
        let pass =
            Pass { instructions: 200.0, products: 50.0, each: 1.0, memory: true, waves: 16, clean: true };
        // Four waves for each issuer of all units.
        let groups = 4 * machine.units * machine.issuers;
        let dispatch =
            Dispatch { groups, lanes: 64, shared: 0, bytes: 1e6, products: 1e9, padding: 1.0, sums: 0.0 };
        let times = machine.times(&pass, &dispatch);
        // A cycle of all units begins units * issuers / cycles instructions of 64 lanes, a quarter of them products.
        let rate = (machine.units * machine.issuers * 64) as f64 / machine.cycles * machine.clock_ghz * 1e3;
        assert!((times.issue_us / (4.0 * 1e9 / rate) - 1.0).abs() < 1e-12);
        assert_eq!((times.bound(), times.us()), ("issue", times.issue_us));
        assert!((times.floor_us / (1e9 / rate) - 1.0).abs() < 1e-12);
        // Half of the units are idle.
        let half = machine.times(&pass, &Dispatch { groups: machine.units / 2, ..dispatch });
        assert!((half.issue_us / times.issue_us - 4.0).abs() < 1e-12);
    }
}
