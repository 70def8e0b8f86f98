//! Every shader through a driver's compiler.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use lowbit::internals::gpu::Reflection;
use serde::{Deserialize, Serialize};

use crate::child::{self, Outcome};
use crate::device::Device;
use crate::family::Family;
use crate::loops;
use crate::specs::{self, Shader};
use crate::spirv;
use crate::table::{Fate, Numbers, Table};

/// A compiler that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(120);
/// No user should wait longer for one kernel.
pub const SLOW: Duration = Duration::from_secs(3);

/// What to compile, and what to keep of it.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Wanted {
    /// Only shaders with this word in their label, or of this kernel; may be given several times
    #[arg(long, value_name = "WORD")]
    pub only: Vec<String>,
    /// Write each shader's assembly into this folder
    #[arg(long, value_name = "FOLDER")]
    pub assembly: Option<PathBuf>,
    /// Take the shaders of this folder instead of those that were built in
    #[arg(long, value_name = "FOLDER")]
    pub shaders: Option<PathBuf>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Line {
    driver: String,
    milliseconds: u64,
    fate: Fate,
}

/// A table, and what took long to compile.
pub struct Compiled {
    pub table: Table,
    pub slow: Vec<(String, Duration)>,
}

/// Compiles everything on `family`.
pub fn all(family: &Family, folder: &Path, wanted: &Wanted) -> Result<Compiled> {
    let shaders = specs::all(&wanted.only)?;
    let outcomes: Vec<Outcome<Line>> = child::run(shaders.len(), PATIENCE, |from| {
        let mut command = family.command(folder)?;
        command.arg("child-compile").arg(from.to_string());
        for word in &wanted.only {
            command.arg("--only").arg(word);
        }
        if let Some(folder) = &wanted.assembly {
            command.arg("--assembly").arg(folder);
        }
        if let Some(folder) = &wanted.shaders {
            command.arg("--shaders").arg(folder);
        }
        Ok(command)
    })?;
    let (mut table, mut slow) = (Table::default(), Vec::new());
    for (Shader { spec, .. }, outcome) in shaders.iter().zip(outcomes) {
        let fate = match outcome {
            Outcome::Done(line) => {
                table.driver = line.driver;
                let time = Duration::from_millis(line.milliseconds);
                if time > SLOW {
                    slow.push((spec.label(), time));
                }
                line.fate
            }
            Outcome::Died(failed) => Fate::Failed { failed },
        };
        table.shaders.insert(spec.label(), fate);
    }
    Ok(Compiled { table, slow })
}

/// The process that does it.
pub fn serve(from: usize, wanted: &Wanted) -> Result<()> {
    let device = Device::open()?;
    let shaders = specs::all(&wanted.only)?;
    child::serve(shaders.iter().enumerate().skip(from), |(at, Shader { spec, .. })| {
        let shader = Reflection::of(spec)?;
        let mut milliseconds = 0;
        let fate = match device.offers.lack(&shader) {
            Some(lacks) => Fate::Lacks { lacks: lacks.to_owned() },
            None => {
                let binary = spirv::translate(spec, &shader, &device.offers)?;
                match device.compile(&binary, &shader.entry, true) {
                    Err(error) => Fate::Failed { failed: error.to_string() },
                    Ok(compiled) => {
                        milliseconds = compiled.time.as_millis() as u64;
                        let assembly = compiled.assembly.as_deref();
                        if let (Some(folder), Some(text)) = (&wanted.assembly, assembly) {
                            let name = format!("{at:04} {}.s", spec.label().replace('/', "_"));
                            std::fs::write(folder.join(name), text)?;
                        }
                        Fate::Compiled(Numbers::of(&compiled.statistics, assembly.and_then(loops::hottest)))
                    }
                }
            }
        };
        Ok(Line { driver: format!("{}, {}", device.name, device.driver), milliseconds, fate })
    })
}
