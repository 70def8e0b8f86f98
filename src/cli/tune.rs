//! `lowbit tune`

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::json;

use super::{Session, Traced, check_outputs};
use lowbit::internals::gpu::{Context, Options, dispatch, table};
use lowbit::internals::report::tuning::{self, Domain, Summary};
use lowbit::internals::roofline::Effort;

#[derive(Args, Debug)]
pub struct Arguments {
    /// What to measure; everything if nothing is given
    #[arg(value_enum, value_name = "WHAT")]
    domains: Vec<Name>,
    /// More formats, types and shapes
    #[arg(long)]
    full: bool,
    /// Write the variants that change here, and use it by LOWBIT_TUNE=FILE; otherwise they go to the cache folder, whose table
    /// is used from then on
    #[arg(long, short, value_name = "FILE", conflicts_with_all = ["dry_run", "export"])]
    output: Option<PathBuf>,
    /// Show what would change, and write nothing
    #[arg(long)]
    dry_run: bool,
    /// Print the table for adapters like this one that belongs into lowbit itself (src/gpu/dispatch.json), and write nothing
    #[arg(long, conflicts_with = "dry_run")]
    export: bool,
}

/// [`Domain`] by name.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Name {
    /// Assignments, sums and seeds
    Kmeans,
    /// Products with quantized weights
    Matmul,
    /// Attention over a KV cache
    Kv,
    /// Layers of classifiers
    Classify,
}

impl From<Name> for Domain {
    fn from(name: Name) -> Self {
        match name {
            Name::Kmeans => Self::Kmeans,
            Name::Matmul => Self::Matmul,
            Name::Kv => Self::Kv,
            Name::Classify => Self::Classify,
        }
    }
}

pub fn run(arguments: &Arguments, session: &Session) -> anyhow::Result<()> {
    let terminal = &session.terminal;
    check_outputs(arguments.output.iter().map(PathBuf::as_path).collect(), &[], &Traced::default())?;
    let path = arguments.output.clone().or_else(table::cache_file);
    let writes = !arguments.dry_run && !arguments.export;
    let Some(path) = path.or_else(|| (!writes).then(PathBuf::new)) else {
        anyhow::bail!(
            "there is no cache folder here (HOME is not set): say where to write with --output FILE"
        );
    };
    let before = if writes && path.exists() { table::read(&path)?.unwrap_or_default() } else { Vec::new() };
    let domains: Vec<Domain> = match arguments.domains.as_slice() {
        [] => Domain::ALL.to_vec(),
        some => some.iter().copied().map(Domain::from).collect(),
    };
    let effort = if arguments.full { Effort::Full } else { Effort::Quick };
    let options = session.options(session.adapter.as_deref(), &Traced::default());
    let gpu = Context::open(&Options { measure: true, ..options })?;
    let choices = tuning::measure(&gpu, &domains, effort)?;
    if arguments.export {
        let on = if gpu.adapter.is_software() { "software" } else { gpu.adapter.name.as_str() };
        let rows = tuning::table_of(&choices, &gpu.adapter, on);
        let lines: Vec<String> = rows.iter().map(serde_json::to_string).collect::<Result<_, _>>()?;
        return terminal.result(&rows, || format!("[\n{}\n]", lines.join(",\n")));
    }
    let summary = Summary::of(&choices);
    let document = json!({ "adapter": gpu.adapter, "choices": choices, "summary": summary });
    terminal.result(&document, || tuning::text(&choices))?;
    if !writes {
        return Ok(());
    }
    if summary.is_none_or(|summary| summary.changes == 0) {
        terminal.notice("nothing changes, nothing is written");
        return Ok(());
    }
    table::write(&path, &tuning::changed(&before, &choices, &dispatch::place(&gpu.adapter)))?;
    let shown = path.display();
    match &arguments.output {
        Some(_) => terminal.notice(&format!("written: {shown}; LOWBIT_TUNE={shown} makes lowbit use it")),
        None => {
            terminal.notice(&format!("written: {shown}; it is used from now on, LOWBIT_TUNE=off ignores it"))
        }
    }
    Ok(())
}
