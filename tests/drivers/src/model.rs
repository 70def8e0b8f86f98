//! A model of machines that are not here: what bounds a kernel, and how long it should take. All of it is prediction.
//!
//! For a dispatch, from its geometry, what the compiler made of its hottest loop (the committed tables), and the machine's data
//! (benches/model/machines.json):
//! - **memory**: least bytes over the bandwidth;
//! - **issue**: instructions of the hottest loop, as often as its products need it, over the issue rate of those units that have
//!   workgroups; the last round of workgroups leaves units idle, and a unit with fewer subgroups than issuers leaves those idle;
//! - **latency**: each pass of the loop waits once, for memory or, where it reads none, for workgroup memory, in as many passes one
//!   behind the other as a subgroup makes.
//!
//! The largest is predicted. Left out: caches (weights are read once, x comes from them), prefetching across passes of a loop,
//! what runs before and after it, clocks that fall.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use lowbit::internals::format;
use lowbit::internals::gpu::dispatch::{self, Class, SHIPPED};
use lowbit::internals::gpu::{Reflection, Spec};
use lowbit::internals::kmeans::assign;
use lowbit::internals::matmul::{matmul, matmul_integer, matvec, matvec_integer};
use serde::Deserialize;

use crate::table::{Fate, Numbers, Table};

/// A machine, by its data sheet.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    pub name: String,
    pub what: String,
    /// Whose compiler's table counts.
    family: String,
    /// Compute units, multiprocessors or cores.
    units: u64,
    /// Instructions of different subgroups that a unit begins at once.
    issuers: u64,
    /// Lanes of a subgroup.
    wave: u64,
    /// Cycles that an instruction of a subgroup keeps an issuer.
    cycles: f64,
    /// Subgroups that a unit holds at most.
    waves: u64,
    /// Whether the table counts subgroups for a `unit` or for an `issuer`.
    counted: String,
    clock_ghz: f64,
    gb_s: f64,
    latency_ns: f64,
    #[serde(rename = "cache_mb")]
    _cache_mb: f64,
    shared_kib: u64,
    #[serde(rename = "source")]
    _source: String,
}

/// Every machine there is data of.
pub fn machines() -> Result<Vec<Machine>> {
    serde_json::from_str(include_str!("../../../benches/model/machines.json")).context("machines.json")
}

/// A piece of work, as the variants of one kernel do it.
struct Work {
    what: String,
    /// What the table of variants is asked for.
    class: Class,
    list: Vec<Spec>,
    rows: u64,
    columns: u64,
    bytes: f64,
    /// Multiply-adds.
    products: f64,
}

/// What is predicted for a variant.
pub struct Predicted {
    pub work: String,
    pub variant: String,
    /// Whether the shipped table takes it on GPUs.
    pub taken: bool,
    pub groups: u64,
    /// Subgroups in flight, of those that the machine has room for.
    pub waves: f64,
    /// The least time that the machine's bandwidth and its multiply-adds allow.
    pub floor_us: f64,
    pub memory_us: f64,
    pub issue_us: f64,
    pub latency_us: f64,
    pub clean: bool,
}

impl Predicted {
    pub fn us(&self) -> f64 {
        self.memory_us.max(self.issue_us).max(self.latency_us)
    }

    /// What it is bound by.
    pub fn bound(&self) -> &'static str {
        let times = [(self.memory_us, "memory"), (self.issue_us, "issue"), (self.latency_us, "latency")];
        times.into_iter().max_by(|a, b| a.0.total_cmp(&b.0)).map_or("", |(_, name)| name)
    }
}

/// What workgroup memory lets wait for.
const SHARED_CYCLES: f64 = 30.0;

const FORMATS: [&str; 5] = ["f16", "q8_0", "q4_0", "q4_k", "tq2_0"];

/// The bench shapes that matter most.
fn works() -> Vec<Work> {
    const ROWS: u64 = 4096;
    const COLS: u64 = 14_336;
    let mut works = Vec::new();
    for name in FORMATS {
        let Some(format) = format::ALL.iter().find(|format| format.name.eq_ignore_ascii_case(name)) else {
            continue;
        };
        let weights = (ROWS * COLS) as f64 * format.bytes as f64 / format.elements as f64;
        let fill =
            |list: &[Spec]| list.iter().map(|spec| spec.slot("format", format.decoder)).collect::<Vec<_>>();
        for n in [1, 512] {
            let (float, integer) = match n {
                1 => (matvec::VARIANTS, matvec_integer::VARIANTS),
                _ => (matmul::VARIANTS, matmul_integer::VARIANTS),
            };
            let paths = [("Float", float), ("Integer", integer)];
            for (path, list) in paths.iter().filter(|(path, _)| *path == "Float" || format.integer) {
                let x_bytes = if *path == "Float" { 4.0 } else { 1.25 };
                let class = Class::new(&[("m", ROWS), ("k", COLS.next_power_of_two()), ("n", n)]);
                works.push(Work {
                    what: format!("[{ROWS}, {COLS}] x {n} {name} {}", path.to_lowercase()),
                    class: class.of(path).of(format.name),
                    list: fill(list),
                    rows: ROWS,
                    columns: n,
                    bytes: weights + n as f64 * (COLS as f64 * x_bytes + 4.0 * ROWS as f64),
                    products: (ROWS * COLS * n) as f64,
                });
            }
        }
    }
    for (n, k, d) in [(1 << 20, 256, 64), (1 << 20, 1024, 128)] {
        works.push(Work {
            what: format!("assign n={n} k={k} d={d}"),
            class: Class::new(&[("k", k), ("d", d)]),
            list: assign::VARIANTS.iter().map(|spec| spec.slot("points", "lib/points_f32")).collect(),
            rows: n,
            columns: 1,
            bytes: (4 * n * d + 8 * n) as f64,
            products: (n * k * d) as f64,
        });
    }
    works
}

/// Everything that is predicted for `machine`, from the committed table of its family.
pub fn predict(machine: &Machine) -> Result<Vec<Predicted>> {
    let table = Table::read(&machine.family)?.with_context(|| format!("no table of {}", machine.family))?;
    let mut all = Vec::new();
    for work in works() {
        let named = taken(&work);
        for spec in &work.list {
            let label = spec.label();
            let Some(Fate::Compiled(numbers)) = table.shaders.get(&label) else { continue };
            let shader = Reflection::of(spec)?;
            if let Some(predicted) = one(machine, &work, &shader, numbers) {
                all.push(Predicted { taken: Some(&label) == named.as_ref(), variant: label, ..predicted });
            }
        }
    }
    Ok(all)
}

/// The variant that the shipped table names for GPUs.
fn taken(work: &Work) -> Option<String> {
    let rows: Vec<dispatch::Row> = SHIPPED.iter().filter(|row| row.on == "gpu").cloned().collect();
    let ranked = dispatch::ranked_at(&[&rows], &["gpu"], &work.list, &work.class);
    ranked.first().map(|spec| spec.label())
}

/// The prediction for a variant; none where its loop is not known.
fn one(machine: &Machine, work: &Work, shader: &Reflection, numbers: &Numbers) -> Option<Predicted> {
    let mix = numbers.hottest.as_ref()?;
    let lanes = u64::from(shader.workgroup.iter().product::<u32>());
    let tiles = shader.columns_per_group.map_or(1, |per| work.columns.div_ceil(per.into()));
    let groups = work.rows.div_ceil(shader.rows_per_group?.into()) * tiles;
    // Products of a pass of the loop, for each lane.
    let products = (mix.fma + 4 * mix.dot) as f64;
    if products == 0.0 {
        return None;
    }
    let waves_each = lanes.div_ceil(machine.wave);
    let counted = if machine.counted == "issuer" { machine.issuers } else { 1 };
    let resident = (numbers.waves * counted).min(machine.waves);
    let by_shared = (machine.shared_kib << 10) / u64::from(shader.workgroup_bytes).max(1);
    let groups_each = (resident / waves_each).min(by_shared).max(1);
    let at_once = groups.min(machine.units * groups_each);
    let waves_in_flight = (at_once * waves_each) as f64;

    let busy_units = groups.min(machine.units) as f64;
    let rounds = groups as f64 / machine.units as f64;
    let balance = if rounds >= 1.0 { rounds / rounds.ceil() } else { 1.0 };
    let issuing = (at_once as f64 / busy_units * waves_each as f64 / machine.issuers as f64).min(1.0);
    let passes = work.products / (machine.wave as f64 * products);
    let rate =
        busy_units * machine.issuers as f64 * issuing * balance * machine.clock_ghz * 1e3 / machine.cycles;
    let in_sequence = passes / waves_in_flight;
    let wait_ns = if mix.memory > 0 { machine.latency_ns } else { SHARED_CYCLES / machine.clock_ghz };
    let memory_us = work.bytes / machine.gb_s / 1e3;
    // What the units could begin if all were busy with nothing but products.
    let peak =
        (machine.units * machine.issuers * machine.wave) as f64 * machine.clock_ghz * 1e3 / machine.cycles;
    let each = if mix.dot > 0 { 4.0 } else { 1.0 };
    Some(Predicted {
        work: work.what.clone(),
        variant: String::new(),
        taken: false,
        groups,
        waves: waves_in_flight / (machine.units * machine.waves) as f64,
        floor_us: memory_us.max(work.products / each / peak),
        memory_us,
        issue_us: passes * mix.all as f64 / rate,
        latency_us: in_sequence * wait_ns / 1e3,
        clean: numbers.is_clean(),
    })
}

/// Rows of text: for each piece of work the variant that is taken and the best one, or `every` one.
pub fn rows(all: &[Predicted], every: bool) -> Vec<Vec<String>> {
    let mut works: BTreeMap<&str, Vec<&Predicted>> = BTreeMap::new();
    for one in all {
        works.entry(&one.work).or_default().push(one);
    }
    let mut rows = Vec::new();
    for (work, mut variants) in works {
        variants.sort_by(|a, b| a.us().total_cmp(&b.us()));
        let shown = variants.iter().enumerate().filter(|(at, one)| every || *at == 0 || one.taken);
        for (_, one) in shown {
            rows.push(vec![
                work.to_owned(),
                format!("{}{}", one.variant, if one.taken { " (taken)" } else { "" }),
                one.groups.to_string(),
                format!("{:.0} %", 100.0 * one.waves),
                format!("{:.0}", one.memory_us),
                format!("{:.0}", one.issue_us),
                format!("{:.0}", one.latency_us),
                format!("{:.0} us, {}", one.us(), one.bound()),
                format!("{:.0} %", 100.0 * one.floor_us / one.us()),
                (if one.clean { "" } else { "spills" }).to_owned(),
            ]);
        }
    }
    rows
}
