//! `make drivers`: every kernel through the compilers of GPUs that are not there, and verified on drivers that tests do not have.

mod answers;
mod child;
mod compile;
mod device;
mod family;
mod loops;
mod model;
mod model_check;
mod model_works;
mod specs;
mod spirv;
mod table;
mod tint;
mod verify;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, anyhow, bail};
use clap::{Parser, Subcommand};
use comfy_table::presets::NOTHING;

use family::{FAMILIES, Family};
use table::Table;

#[derive(Parser)]
#[command(
    about = "Every kernel through the compilers of GPUs that are not there, and verified on other drivers"
)]
struct Arguments {
    /// What tests/drivers/fetch filled
    #[arg(long, value_name = "FOLDER", default_value = "target/drivers")]
    folder: PathBuf,
    #[command(subcommand)]
    command: What,
}

#[derive(Subcommand)]
enum What {
    /// Everything: compile on all, verify on those that run, and Chromium's compiler
    All,
    /// What CI has time for: one AMD family, matrices on the newest lavapipe, a tenth of the registry on SwiftShader, and
    /// Chromium's compiler
    Quick,
    /// Compile every shader, and compare with the committed tables
    Compile {
        /// Drivers; all that only compile if none is given
        families: Vec<String>,
        #[command(flatten)]
        wanted: compile::Wanted,
        /// Write the tables instead
        #[arg(long)]
        write: bool,
    },
    /// Run the registry's cases and compare with the oracles
    Verify {
        /// Drivers; lavapipe and swiftshader if none is given
        families: Vec<String>,
        #[command(flatten)]
        cases: verify::Wanted,
    },
    /// Cluster random problems on every driver that runs what it compiles, with subgroups, without, and by any variants of the kernels, and
    /// compare the results' bytes
    Answers {
        /// Drivers; all that run if none is given
        families: Vec<String>,
        #[command(flatten)]
        wanted: answers::Wanted,
    },
    /// What a machine that is not here should take, by the committed tables: predictions
    Model {
        /// Machines of benches/model/machines.json; all if none is given
        machines: Vec<String>,
        /// Every variant, not only the one that is taken and the best
        #[arg(long)]
        all: bool,
        /// Time the hot kernels on the adapter that is here, and compare with what is predicted for it: for lavapipe if no machine
        /// is given
        #[arg(long)]
        validate: bool,
        /// How often each variant is timed
        #[arg(long, default_value_t = 5, requires = "validate")]
        rounds: usize,
    },
    /// The least time of each variant of a kernel at its bench sizes on this machine's device, to compare shaders by turns
    Time {
        /// The kernel
        stem: String,
        #[command(flatten)]
        wanted: compile::Wanted,
        /// How often each is run
        #[arg(long, default_value_t = 10)]
        rounds: usize,
        /// MiB of the device that inputs are made for
        #[arg(long, value_name = "MIB", default_value_t = 64)]
        memory: u64,
    },
    /// Chromium's WGSL compiler
    Tint {
        #[command(flatten)]
        wanted: compile::Wanted,
    },
    #[command(hide = true)]
    ChildCompile {
        from: usize,
        #[command(flatten)]
        wanted: compile::Wanted,
    },
    #[command(hide = true)]
    ChildAnswers {
        from: usize,
        #[command(flatten)]
        wanted: answers::Wanted,
    },
    #[command(hide = true)]
    ChildVerify {
        from: usize,
        #[command(flatten)]
        cases: verify::Wanted,
    },
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Whether everything holds.
fn run(arguments: &Arguments) -> Result<bool> {
    let folder = arguments.folder.as_path();
    match &arguments.command {
        What::All => {
            let compiled = compile(folder, &compilers(), &compile::Wanted::default(), false, Strict::Always)?;
            let run: Vec<&Family> = FAMILIES.iter().filter(|family| family.runs).collect();
            let every = verify::Wanted { share: 1, ..Default::default() };
            let verified = verify(folder, &run, &every)?;
            println!("without subgroups:");
            let verified = verified & verify(folder, &run, &verify::Wanted { no_subgroups: true, ..every })?;
            let alike = answers(folder, &run, &answers::Wanted::of(200))?;
            Ok(compiled & verified & alike & tint(folder, &[])?)
        }
        What::Quick => {
            let (amd, all) = (family::named("navi31")?, compile::Wanted::default());
            let compiled = compile(folder, &[amd], &all, false, Strict::SameDriver)?;
            let matrices = verify::Wanted { matrices: true, share: 1, ..Default::default() };
            let matrices = verify(folder, &[family::named("lavapipe")?], &matrices)?;
            let tenth = verify::Wanted { share: 10, ..Default::default() };
            let tenth = verify(folder, &[family::named("swiftshader")?], &tenth)?;
            let two = chosen(&["system", "swiftshader"].map(str::to_owned))?;
            let alike = answers(folder, &two, &answers::Wanted::of(36))?;
            Ok(compiled & matrices & tenth & alike & tint(folder, &[])?)
        }
        What::Compile { families, wanted, write } => {
            let chosen = if families.is_empty() { compilers() } else { chosen(families)? };
            if *write && !wanted.only.is_empty() {
                bail!("a table has every shader: --write goes without --only");
            }
            if let Some(folder) = &wanted.assembly {
                std::fs::create_dir_all(folder)?;
            }
            read_shaders(wanted.shaders.as_deref())?;
            compile(folder, &chosen, wanted, *write, Strict::Always)
        }
        What::Verify { families, cases } => {
            let names = ["lavapipe", "swiftshader"].map(str::to_owned);
            let families = chosen(if families.is_empty() { &names } else { families })?;
            read_shaders(cases.shaders.as_deref())?;
            verify(folder, &families, cases)
        }
        What::Answers { families, wanted } => {
            let run: Vec<&Family> = FAMILIES.iter().filter(|family| family.runs).collect();
            answers(folder, &if families.is_empty() { run } else { chosen(families)? }, wanted)
        }
        What::ChildAnswers { from, wanted } => answers::serve(*from, wanted).map(|()| true),
        What::Tint { wanted } => {
            read_shaders(wanted.shaders.as_deref())?;
            tint(folder, &wanted.only)
        }
        What::ChildCompile { from, wanted } => {
            read_shaders(wanted.shaders.as_deref())?;
            compile::serve(*from, wanted).map(|()| true)
        }
        What::Model { machines, all, validate: true, rounds } => {
            check_model(machines, *all, *rounds).map(|()| true)
        }
        What::Model { machines, all, .. } => model(machines, *all).map(|()| true),
        What::Time { stem, wanted, rounds, memory } => {
            read_shaders(wanted.shaders.as_deref())?;
            verify::time(stem, &wanted.only, (*rounds, *memory)).map(|()| true)
        }
        What::ChildVerify { from, cases } => {
            read_shaders(cases.shaders.as_deref())?;
            verify::serve(*from, cases).map(|()| true)
        }
    }
}

fn compilers() -> Vec<&'static Family> {
    FAMILIES.iter().filter(|family| !family.runs).collect()
}

fn chosen(names: &[String]) -> Result<Vec<&'static Family>> {
    names.iter().map(|name| family::named(name)).collect()
}

fn read_shaders(folder: Option<&Path>) -> Result<()> {
    if let Some(folder) = folder {
        lowbit::internals::gpu::source::read_from(folder)?;
    }
    Ok(())
}

/// What a comparison with the committed tables decides.
#[derive(Clone, Copy, PartialEq)]
enum Strict {
    /// Whatever is worse fails.
    Always,
    /// What another version of the driver makes is only said: a change of the driver is none of the shaders.
    SameDriver,
}

fn compile(
    folder: &Path,
    families: &[&Family],
    wanted: &compile::Wanted,
    write: bool,
    strict: Strict,
) -> Result<bool> {
    let mut holds = true;
    for family in families {
        let given = specs::given(family.maker)?;
        let compiled = compile::all(family, folder, wanted)?;
        let table = &compiled.table;
        let (failed, unclean) = table.faults();
        println!("{}: {} ({})", family.name, family.what, table.driver);
        println!("{}", text(&table.summary()));
        let count = table.shaders.len();
        println!("  {count} shaders, {} failed, {} not all in registers", failed.len(), unclean.len());
        let spilled: Vec<&&str> = unclean.iter().filter(|label| given.contains(**label)).collect();
        println!("  of those that GPUs are given, {} are not all in registers", spilled.len());
        spilled.iter().for_each(|label| println!("    {label}"));
        for (label, time) in &compiled.slow {
            println!("  slow: {label} takes {:.1} s to compile", time.as_secs_f64());
        }
        if write {
            table.write(family.name)?;
            let line = table::Line {
                what: family.what.to_owned(),
                driver: table.driver.clone(),
                shaders: count,
                failed: failed.len(),
                spilled: unclean.len(),
                given: table.shaders.keys().filter(|label| given.contains(*label)).count(),
                given_spilled: spilled.len(),
            };
            table::summarize(family.name, line)?;
        } else if let Some(before) = Table::read(family.name)? {
            let other = before.driver != table.driver;
            let worse = table.worse_than(&before);
            worse.iter().for_each(|line| println!("  worse: {line}"));
            if other {
                println!("  the committed table is of another driver: {}", before.driver);
            }
            holds &= (worse.is_empty() && spilled.is_empty()) || (other && strict == Strict::SameDriver);
        } else {
            println!("  there is no committed table");
        }
        println!();
    }
    Ok(holds)
}

/// Whether all drivers give the same answers, with subgroups, without, and by any variants.
fn answers(folder: &Path, families: &[&Family], wanted: &answers::Wanted) -> Result<bool> {
    let asked = [(wanted.no_subgroups, wanted.vary)];
    let ways =
        if asked == [(false, false)] { &[(false, false), (true, false), (false, true)][..] } else { &asked };
    let mut all = Vec::new();
    for family in families {
        for &(no_subgroups, vary) in ways {
            let own = answers::Wanted { no_subgroups, vary, ..*wanted };
            all.push((format!("{}{}", family.name, own.name()), answers::of(family, folder, &own)?));
        }
    }
    let Some((first, expected)) = all.first() else { bail!("no driver is given") };
    let mut holds = true;
    let defined = answers::of_host(expected.len());
    let alike =
        expected.iter().zip(&defined).map(|(own, fit)| own.as_ref().is_some_and(|own| own.fit == *fit));
    let other: Vec<usize> = alike.enumerate().filter(|(_, alike)| !alike).map(|(at, _)| at).collect();
    println!(
        "by the definition, on no device: {} of {} fits as on {first}",
        defined.len() - other.len(),
        defined.len()
    );
    for at in other {
        println!(
            "  other bytes: {}",
            expected[at].as_ref().map_or_else(|| at.to_string(), |own| own.name.clone())
        );
        holds = false;
    }
    for (name, own) in &all {
        let same = own.iter().zip(expected).filter(|(own, other)| own.is_some() && own == other).count();
        println!("{name}: {same} of {} fits as on {first}", expected.len());
        for (at, (own, other)) in own.iter().zip(expected).enumerate() {
            if own.is_none() || own != other {
                let known =
                    own.as_ref().or(other.as_ref()).map_or_else(|| at.to_string(), |of| of.name.clone());
                println!("  {}: {known}", if own.is_none() { "no answer" } else { "other bytes" });
                holds = false;
            }
        }
    }
    Ok(holds)
}

fn verify(folder: &Path, families: &[&Family], wanted: &verify::Wanted) -> Result<bool> {
    let mut holds = true;
    for family in families {
        let summary = verify::all(family, folder, wanted)?;
        let (right, skipped, failed) = (summary.right, summary.skipped, summary.failed.len());
        println!("{}: {right} right, {skipped} skipped, {failed} failed", family.name);
        summary.failed.iter().for_each(|line| println!("  failed: {line}"));
        // Nothing that ran is nothing that was shown.
        holds &= summary.failed.is_empty() && right > 0;
    }
    Ok(holds)
}

fn tint(folder: &Path, only: &[String]) -> Result<bool> {
    let summary = tint::all(folder, only)?;
    let (accepted, skipped, refused) = (summary.accepted, summary.skipped, summary.refused.len());
    println!("Chromium: {accepted} accepted, {skipped} skipped, {refused} refused");
    summary.refused.iter().for_each(|(label, why)| println!("  refused: {label}: {why}"));
    Ok(summary.refused.is_empty() && accepted > 0)
}

fn model(names: &[String], all: bool) -> Result<()> {
    for machine in model::chosen(names)? {
        println!(
            "{} ({}): predictions, nothing here is measured; {}",
            machine.name,
            machine.what,
            machine.loops()
        );
        let header = [
            "work",
            "variant",
            "groups",
            "room taken",
            "memory us",
            "issue us",
            "latency us",
            "predicted",
            "of floor",
            "",
        ];
        let (predicted, unknown) = model::predict(&machine)?;
        println!("{}", grid(&header, &model::rows(&predicted, all)));
        println!("  {unknown} variants have no loop of products in the table\n");
    }
    Ok(())
}

fn check_model(names: &[String], all: bool, rounds: usize) -> Result<()> {
    let names = if names.is_empty() { vec!["lavapipe".to_owned()] } else { names.to_vec() };
    let [machine] = model::chosen(&names)?.try_into().map_err(|_| anyhow!("--validate is of one machine"))?;
    println!("{} ({}): predicted and measured; {}", machine.name, machine.what, machine.loops());
    let groups = model_check::measured(&machine, rounds)?;
    if all {
        let header = ["shape", "variant", "predicted", "measured us", "over predicted"];
        println!("{}\n", grid(&header, &model_check::variants(&groups)));
    }
    let header = [
        "kernel and shape",
        "variants (unknown)",
        "rank correlation",
        "over predicted",
        "spread",
        "choice over fastest",
        "at random",
    ];
    println!("{}", grid(&header, &model_check::rows(&groups)));
    model_check::summary(&groups).iter().for_each(|line| println!("  {line}"));
    Ok(())
}

fn text(rows: &[Vec<String>]) -> String {
    let header =
        ["kernel", "shaders", "registers", "subgroups", "not in registers", "private bytes", "instructions"];
    grid(&header, rows)
}

fn grid(header: &[&str], rows: &[Vec<String>]) -> String {
    let mut table = comfy_table::Table::new();
    table.load_preset(NOTHING).set_header(header.to_vec());
    table.add_rows(rows.iter().cloned());
    table.to_string()
}
