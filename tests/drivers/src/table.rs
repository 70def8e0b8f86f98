//! What a compiler made of each shader: the committed tables, and what got worse since.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::loops::Mix;

/// What a compiler made of a shader, in what all of them speak of.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Numbers {
    /// Vector registers of a lane.
    pub registers: u64,
    /// Registers that were spilled.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub spills: u64,
    /// Bytes of private memory: what is spilled, and arrays that lie there because their index is not known.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub scratch: u64,
    /// Subgroups that a unit (SIMD, multiprocessor, core) holds at once; 0 where the driver does not say.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub waves: u64,
    /// All instructions.
    pub instructions: u64,
    /// Its hottest loop, where there is assembly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hottest: Option<Mix>,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

impl Numbers {
    /// From what a driver calls them.
    pub fn of(statistics: &BTreeMap<String, f64>, hottest: Option<Mix>) -> Self {
        let first = |names: &[&str]| {
            names.iter().find_map(|name| statistics.get(*name)).map_or(0, |value| value.max(0.0) as u64)
        };
        Self {
            registers: first(&["VGPRs", "Number of GPRs", "GPRs", "Registers used"]),
            spills: first(&["Spilled VGPRs", "Spills to memory", "Spills"]),
            scratch: first(&["Scratch size", "SLM size", "Scratch", "STP Count"]),
            waves: first(&["Subgroups per SIMD", "Max warps/SM", "Threads", "Max Waves Per Core"]),
            instructions: first(&["Instructions", "Instruction count", "Instruction Count"]),
            hottest,
        }
    }

    /// Whether everything is in registers.
    pub fn is_clean(&self) -> bool {
        self.spills == 0 && self.scratch == 0
    }
}

/// What became of a shader.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Fate {
    /// It is compiled.
    Compiled(Numbers),
    /// The device lacks what it needs.
    Lacks { lacks: String },
    /// The compiler refused it, died or hung.
    Failed { failed: String },
}

/// A family's shaders, by their labels.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// The device and the driver that compiled.
    pub driver: String,
    /// What became of each.
    pub shaders: BTreeMap<String, Fate>,
}

/// A family's table in a line, as lowbit's report shows it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Line {
    pub what: String,
    pub driver: String,
    pub shaders: usize,
    pub failed: usize,
    /// Not all in registers.
    pub spilled: usize,
    /// Those that GPUs are given, and how many of these are not all in registers.
    pub given: usize,
    pub given_spilled: usize,
}

/// Writes a family's line into the summary of all.
pub fn summarize(family: &str, line: Line) -> Result<()> {
    let path = Table::path("summary");
    let mut all: BTreeMap<String, Line> = match std::fs::read_to_string(&path) {
        Ok(text) => serde_json::from_str(&text).with_context(|| path.display().to_string())?,
        Err(_) => BTreeMap::new(),
    };
    all.insert(family.to_owned(), line);
    let lines: Vec<String> = all
        .iter()
        .map(|(family, line)| {
            Ok(format!("{}: {}", serde_json::to_string(family)?, serde_json::to_string(line)?))
        })
        .collect::<Result<_>>()?;
    std::fs::write(&path, format!("{{\n{}\n}}\n", lines.join(",\n")))
        .with_context(|| path.display().to_string())
}

/// More instructions than this, in percent, are worse.
const NOISE: u64 = 3;

impl Table {
    /// Where the table of `family` lies, seen from the repository's root, where this program is run.
    pub fn path(family: &str) -> PathBuf {
        Path::new("benches/results/compilers").join(format!("{family}.json"))
    }

    /// The committed one, if there is any.
    pub fn read(family: &str) -> Result<Option<Self>> {
        let path = Self::path(family);
        match std::fs::read_to_string(&path) {
            Ok(text) => {
                let table = serde_json::from_str(&text);
                Ok(Some(table.with_context(|| format!("{} is no table", path.display()))?))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| path.display().to_string()),
        }
    }

    /// Writes it, a line for each shader, so that a change of it can be read.
    pub fn write(&self, family: &str) -> Result<()> {
        let mut text = format!("{{\"driver\": {},\n\"shaders\": {{", serde_json::to_string(&self.driver)?);
        for (i, (label, fate)) in self.shaders.iter().enumerate() {
            let comma = if i > 0 { "," } else { "" };
            let (label, fate) = (serde_json::to_string(label)?, serde_json::to_string(fate)?);
            let _ = write!(text, "{comma}\n{label}: {fate}");
        }
        text += "\n}}\n";
        let path = Self::path(family);
        std::fs::create_dir_all(path.parent().context("a path without a folder")?)?;
        std::fs::write(&path, text).with_context(|| path.display().to_string())
    }

    /// What is worse here than in `before`, in words: shaders that fail, that spill and did not, or that a device no longer has room
    /// for; new ones count if they spill.
    pub fn worse_than(&self, before: &Self) -> Vec<String> {
        let same_driver = self.driver == before.driver;
        let mut worse = Vec::new();
        for (label, fate) in &self.shaders {
            let known = before.shaders.get(label);
            let why = match (fate, known) {
                (Fate::Failed { failed }, Some(Fate::Failed { failed: known })) if failed == known => {
                    continue;
                }
                (Fate::Failed { failed }, _) => failed.clone(),
                (Fate::Compiled(now), Some(Fate::Compiled(known))) => {
                    match difference(known, now, same_driver) {
                        Some(why) => why,
                        None => continue,
                    }
                }
                (Fate::Compiled(now), None) if !now.is_clean() => {
                    format!(
                        "{} spills and {} bytes of private memory, and it is new",
                        now.spills, now.scratch
                    )
                }
                (Fate::Lacks { lacks }, Some(Fate::Compiled(_))) => {
                    format!("it needs more {lacks} than before")
                }
                _ => continue,
            };
            worse.push(format!("{label}: {why}"));
        }
        worse
    }

    /// A row for each kernel: how many shaders, registers, waves, those with spills or private memory, instructions.
    pub fn summary(&self) -> Vec<Vec<String>> {
        let mut kernels: BTreeMap<&str, Vec<&Numbers>> = BTreeMap::new();
        for (label, fate) in &self.shaders {
            if let Fate::Compiled(numbers) = fate {
                kernels.entry(label.split(' ').next().unwrap_or(label)).or_default().push(numbers);
            }
        }
        let range = |all: &[&Numbers], of: fn(&Numbers) -> u64| {
            let values = || all.iter().map(|numbers| of(numbers));
            match (values().min(), values().max()) {
                (Some(least), Some(most)) if least < most => format!("{least} to {most}"),
                (Some(least), _) => least.to_string(),
                (None, _) => String::new(),
            }
        };
        let row = |(kernel, all): (&&str, &Vec<&Numbers>)| {
            let unclean = all.iter().filter(|numbers| !numbers.is_clean()).count();
            vec![
                (*kernel).to_owned(),
                all.len().to_string(),
                range(all, |numbers| numbers.registers),
                range(all, |numbers| numbers.waves),
                unclean.to_string(),
                range(all, |numbers| numbers.scratch),
                range(all, |numbers| numbers.instructions),
            ]
        };
        kernels.iter().map(row).collect()
    }

    /// Those that a compiler failed at, and those that are not all in registers.
    pub fn faults(&self) -> (Vec<&str>, Vec<&str>) {
        let those = |wanted: fn(&Fate) -> bool| {
            self.shaders.iter().filter(|(_, fate)| wanted(fate)).map(|(label, _)| label.as_str()).collect()
        };
        (
            those(|fate| matches!(fate, Fate::Failed { .. })),
            those(|fate| matches!(fate, Fate::Compiled(numbers) if !numbers.is_clean())),
        )
    }
}

/// In what `now` is worse. Another version of the driver may count and allocate otherwise: then only what had been clean counts.
fn difference(before: &Numbers, now: &Numbers, same_driver: bool) -> Option<String> {
    let spilled = before.is_clean() && !now.is_clean();
    if spilled || (same_driver && (now.spills > before.spills || now.scratch > before.scratch)) {
        return Some(format!(
            "{} spills and {} bytes of private memory, {} and {} before",
            now.spills, now.scratch, before.spills, before.scratch
        ));
    }
    if same_driver && now.waves < before.waves {
        return Some(format!("{} subgroups at once, {} before", now.waves, before.waves));
    }
    let more = now.instructions * 100 > before.instructions * (100 + NOISE);
    (same_driver && more)
        .then(|| format!("{} instructions, {} before", now.instructions, before.instructions))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(driver: &str, numbers: Numbers) -> Table {
        let shaders = [("matvec f16".to_owned(), Fate::Compiled(numbers))].into();
        Table { driver: driver.into(), shaders }
    }

    fn numbers(spills: u64, waves: u64, instructions: u64) -> Numbers {
        Numbers { registers: 64, spills, scratch: 0, waves, instructions, hottest: None }
    }

    #[test]
    fn spills_waves_and_instructions_are_compared() {
        let before = table("a", numbers(0, 8, 1000));
        let worse = |driver, numbers| table(driver, numbers).worse_than(&before);
        assert!(worse("a", numbers(0, 8, 1000)).is_empty());
        assert!(worse("a", numbers(0, 9, 1030)).is_empty());
        assert_eq!(worse("a", numbers(0, 8, 1031)), ["matvec f16: 1031 instructions, 1000 before"]);
        assert_eq!(worse("a", numbers(0, 7, 1000)), ["matvec f16: 7 subgroups at once, 8 before"]);
        let new = Table { driver: "a".into(), ..Table::default() };
        assert!(table("a", numbers(0, 8, 1000)).worse_than(&new).is_empty());
        assert_eq!(table("a", numbers(1, 8, 1000)).worse_than(&new).len(), 1);
        // Another version of the driver counts otherwise, but a spill is a spill.
        assert!(worse("b", numbers(0, 7, 2000)).is_empty());
        assert_eq!(worse("b", numbers(2, 8, 1000)).len(), 1);
    }

    #[test]
    fn a_compiler_that_fails_is_worse_unless_it_did_before() {
        let failed = |why: &str| {
            let fate = Fate::Failed { failed: why.into() };
            Table { driver: "a".into(), shaders: [("matvec f16".to_owned(), fate)].into() }
        };
        assert_eq!(failed("died").worse_than(&table("a", numbers(0, 8, 10))), ["matvec f16: died"]);
        assert_eq!(failed("died").worse_than(&Table::default()), ["matvec f16: died"]);
        assert!(failed("died").worse_than(&failed("died")).is_empty());
        let lacks = Fate::Lacks { lacks: "workgroup memory".into() };
        let lacking = Table { driver: "a".into(), shaders: [("matvec f16".to_owned(), lacks)].into() };
        assert_eq!(lacking.worse_than(&table("a", numbers(0, 8, 10))).len(), 1);
    }

    #[test]
    fn every_family_that_only_compiles_is_in_the_summary_and_spills_nothing_that_it_is_given() {
        let text = include_str!("../../../benches/results/compilers/summary.json");
        let all: BTreeMap<String, Line> = serde_json::from_str(text).unwrap();
        let families: Vec<&str> =
            crate::family::FAMILIES.iter().filter(|family| !family.runs).map(|family| family.name).collect();
        assert_eq!(all.len(), families.len());
        for name in families {
            let line = &all[name];
            assert!(line.shaders > 1000 && line.given > 100, "{name}");
            assert_eq!((line.failed, line.given_spilled), (0, 0), "{name}");
        }
    }

    #[test]
    fn a_table_is_what_was_written() {
        let before = Table {
            driver: "a \"b\"".into(),
            shaders: [
                ("x".to_owned(), Fate::Compiled(numbers(1, 2, 3))),
                ("y".to_owned(), Fate::Lacks { lacks: "f16".into() }),
                ("z".to_owned(), Fate::Failed { failed: "died".into() }),
            ]
            .into(),
        };
        let text = serde_json::to_string(&before).unwrap();
        assert_eq!(serde_json::from_str::<Table>(&text).unwrap(), before);
    }
}
