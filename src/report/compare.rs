//! Two measurements of the same kernels: which have become faster, which slower.
//!
//! Each time comes with an interval, from the 10th to the 90th percentile of its samples. A kernel is
//! - [`Verdict::Faster`] or [`Verdict::Slower`] if the intervals have no point in common;
//! - [`Verdict::Same`] if they have, and the medians are within 3 % of each other;
//! - [`Verdict::Ambiguous`] if they have, and the medians are farther apart: measure longer, or on a quiet machine.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::table;
use crate::{Error, Result, io};

/// How far apart two medians may be, as a part of the older one, to be the same.
const SAME: f64 = 0.03;

/// The largest file of measurements.
const MAX_BYTES: u64 = 64 << 20;

/// What is needed of a file of measurements.
#[derive(Clone, Debug, PartialEq)]
pub struct Results {
    /// The name of the adapter.
    pub adapter: String,
    /// The kernels' times. No kernel and case is there twice.
    pub kernels: Vec<Measured>,
}

/// A kernel's time.
#[derive(Clone, Debug, Deserialize, PartialEq)]
pub struct Measured {
    /// The kernel's stem.
    pub kernel: String,
    /// Its size.
    pub case: String,
    /// Median, in microseconds.
    pub us: f64,
    /// 10th percentile, in microseconds.
    pub low_us: f64,
    /// 90th percentile, in microseconds.
    pub high_us: f64,
}

/// As files have it: the adapter is the document's own, or that of the roofs.
#[derive(Deserialize)]
struct Document {
    adapter: Option<Adapter>,
    roofs: Option<Roofs>,
    kernels: Vec<Measured>,
    /// K-means in a report; a bench of it has them as kernels.
    #[serde(default)]
    clusterings: Vec<Measured>,
}

#[derive(Deserialize)]
struct Roofs {
    adapter: Adapter,
}

#[derive(Deserialize)]
struct Adapter {
    name: String,
}

impl Results {
    /// Reads what `lowbit report` or a bench wrote: a JSON document with `kernels`, and maybe `clusterings`, and with
    /// `adapter.name` or `roofs.adapter.name`. Whatever else it has is not looked at.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read; [`Error::File`] if it is no such document, has no kernel, has one twice,
    /// or a time in it is none.
    pub fn read(path: &Path) -> Result<Self> {
        let (mut file, size) = io::open(path)?;
        if size > MAX_BYTES {
            return Err(Error::file(path, format!("this is larger than {} MiB", MAX_BYTES >> 20)));
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(|e| Error::io(path, e))?;
        let text =
            str::from_utf8(&bytes).map_err(|_| Error::file(path, "this is not JSON: it is not text"))?;
        Self::parse(text).map_err(|problem| Error::file(path, problem))
    }

    /// The measurements in a document, or what is wrong with it.
    fn parse(text: &str) -> std::result::Result<Self, String> {
        let document: Document = serde_json::from_str(text).map_err(|error| {
            if error.is_data() {
                format!("this is not a report: {error}")
            } else {
                format!("this is not JSON: {error}")
            }
        })?;
        let Document { adapter, roofs, mut kernels, clusterings } = document;
        kernels.extend(clusterings);
        let Some(Adapter { name }) = adapter.or(roofs.map(|roofs| roofs.adapter)) else {
            return Err("this is not a report: neither adapter.name nor roofs.adapter.name is there".into());
        };
        if kernels.is_empty() {
            return Err("there are no kernels in it".into());
        }
        let mut seen = BTreeSet::new();
        for row in &kernels {
            let Measured { kernel, case, us, low_us, high_us } = row;
            if !(0.0 < *low_us && low_us <= us && us <= high_us && high_us.is_finite()) {
                return Err(format!(
                    "{kernel} {case}: {us} us between {low_us} and {high_us} is no time with its interval"
                ));
            }
            if !seen.insert((kernel, case)) {
                return Err(format!("{kernel} {case}: it is there twice"));
            }
        }
        Ok(Self { adapter: name, kernels })
    }
}

/// What became of a kernel's time; the module's page has the rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verdict {
    /// The intervals overlap, and the medians are near each other.
    Same,
    /// The new interval is below the old one.
    Faster,
    /// The new interval is above the old one.
    Slower,
    /// The intervals overlap, but the medians are apart.
    Ambiguous,
}

impl Verdict {
    fn of(old: &Measured, new: &Measured) -> Self {
        if new.high_us < old.low_us {
            Self::Faster
        } else if new.low_us > old.high_us {
            Self::Slower
        } else if (new.us - old.us).abs() <= SAME * old.us {
            Self::Same
        } else {
            Self::Ambiguous
        }
    }
}

/// A kernel that both files have.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The kernel's stem.
    pub kernel: String,
    /// Its size.
    pub case: String,
    /// The old median, in microseconds.
    pub old_us: f64,
    /// The new median, in microseconds.
    pub new_us: f64,
    /// New over old: below 1 is faster.
    pub ratio: f64,
    /// What that means.
    pub verdict: Verdict,
}

/// Every kernel of two files.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// The adapter of the old measurements.
    pub old_adapter: String,
    /// The adapter of the new ones.
    pub new_adapter: String,
    /// The kernels that both have, in the order of the new file.
    pub rows: Vec<Row>,
    /// Kernel and case of what only the old file has.
    pub only_old: Vec<(String, String)>,
    /// Kernel and case of what only the new file has.
    pub only_new: Vec<(String, String)>,
}

/// Compares what two files have in common, by kernel and case.
///
/// # Errors
/// [`Error::Input`] if that is nothing.
pub fn compare(old: &Results, new: &Results) -> Result<Comparison> {
    let key = |row: &Measured| (row.kernel.clone(), row.case.clone());
    let mut left: BTreeMap<_, _> = old.kernels.iter().map(|row| (key(row), row)).collect();
    let (mut rows, mut only_new) = (Vec::new(), Vec::new());
    for new in &new.kernels {
        let Some(old) = left.remove(&key(new)) else {
            only_new.push(key(new));
            continue;
        };
        let (kernel, case) = key(new);
        let (old_us, new_us, ratio) = (old.us, new.us, new.us / old.us);
        rows.push(Row { kernel, case, old_us, new_us, ratio, verdict: Verdict::of(old, new) });
    }
    if rows.is_empty() {
        return Err(Error::Unsupported(
            "no kernel is in both files with the same case: there is nothing to compare".into(),
        ));
    }
    let only_old = left.into_keys().collect();
    Ok(Comparison {
        old_adapter: old.adapter.clone(),
        new_adapter: new.adapter.clone(),
        rows,
        only_old,
        only_new,
    })
}

impl Comparison {
    /// The comparison for a terminal.
    pub fn text(&self) -> String {
        let shared = self.rows.iter().map(|row| {
            vec![
                row.kernel.clone(),
                row.case.clone(),
                format!("{:.1}", row.old_us),
                format!("{:.1}", row.new_us),
                format!("{:.3}", row.ratio),
                format!("{:?}", row.verdict).to_uppercase(),
            ]
        });
        let alone = |rows: &'_ [(String, String)], which: &'static str| {
            let row = move |(kernel, case): &(String, String)| {
                [kernel, case, "-", "-", "-", which].map(str::to_owned).to_vec()
            };
            rows.iter().map(row).collect::<Vec<_>>()
        };
        let old = alone(&self.only_old, "only in the old file");
        let new = alone(&self.only_new, "only in the new file");
        let mut text = match self.old_adapter == self.new_adapter {
            true => format!("{}\n", self.new_adapter),
            false => format!("{} -> {}\n", self.old_adapter, self.new_adapter),
        };
        text += &table::render(
            &["kernel", "size", "old us", "new us", "new / old", "verdict"],
            shared.chain(old).chain(new).collect(),
        );
        text += "FASTER, SLOWER: the intervals from the 10th to the 90th percentile do not overlap. They do, and the \
            medians\nare within 3 %: SAME; are not: AMBIGUOUS, so measure longer\n";
        text
    }

    /// The gate.
    ///
    /// # Errors
    /// [`Error::Gate`] if a kernel has become slower, and has lost more than this share of its speed.
    pub fn check(&self, max_drop: f64) -> Result<()> {
        let lost = |row: &Row| 1.0 - row.old_us / row.new_us;
        let slower = self.rows.iter().filter(|row| row.verdict == Verdict::Slower && lost(row) > max_drop);
        let names: Vec<_> = slower.map(|row| format!("{} {}", row.kernel, row.case)).collect();
        match names.as_slice() {
            [] => Ok(()),
            [first, others @ ..] => {
                let of = self.rows.len();
                let others = if others.is_empty() { "" } else { ", …" };
                Err(Error::Gate(format!("{} of {of} kernels slower: {first}{others}", names.len())))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn measured(us: f64, low_us: f64, high_us: f64) -> Measured {
        Measured { kernel: "assign".into(), case: "n = 3".into(), us, low_us, high_us }
    }

    #[test]
    fn intervals_and_medians_decide() {
        let old = measured(100.0, 95.0, 105.0);
        for (us, low, high, verdict) in [
            (100.0, 95.0, 105.0, Verdict::Same),
            (103.0, 90.0, 200.0, Verdict::Same),
            (97.0, 97.0, 97.0, Verdict::Same),
            (104.0, 100.0, 110.0, Verdict::Ambiguous),
            (110.0, 105.0, 120.0, Verdict::Ambiguous),
            (90.0, 80.0, 95.0, Verdict::Ambiguous),
            (110.0, 105.1, 120.0, Verdict::Slower),
            (90.0, 80.0, 94.9, Verdict::Faster),
            // As near as 3 %, but clearly so.
            (105.2, 105.1, 105.3, Verdict::Slower),
        ] {
            assert_eq!(Verdict::of(&old, &measured(us, low, high)), verdict, "{us} in {low}..{high}");
        }
    }

    #[test]
    fn documents_are_taken_by_what_is_needed_of_them() {
        let row = r#"{"kernel": "a", "case": "b", "us": 2, "low_us": 1, "high_us": 3, "more": [1]}"#;
        let of =
            |adapter: &str, rows: &str| Results::parse(&format!(r#"{{{adapter}, "kernels": [{rows}]}}"#));
        let (own, roofs) = (r#""adapter": {"name": "x", "y": 1}"#, r#""roofs": {"adapter": {"name": "x"}}"#);
        assert_eq!(of(own, row).unwrap(), of(roofs, row).unwrap());
        for (adapter, rows, words) in [
            (r#""a": 1"#, row, "neither adapter.name nor"),
            (r#""adapter": 1"#, row, "not a report: invalid type"),
            (own, "", "no kernels"),
            (own, &format!("{row}, {row}"), "a b: it is there twice"),
            (own, r#"{"kernel": "a"}"#, "missing field `case`"),
            (own, &row.replace("2", "NaN"), "not JSON"),
            (own, &row.replace("2", "null"), "invalid type: null"),
            (own, &row.replace("2", "1e999"), "not JSON"),
            (own, &row.replace("2", "4"), "4 us between 1 and 3"),
            (own, &row.replace(": 1,", ": -1,"), "between -1 and 3"),
            (own, &row.replace(": 1,", ": 0,"), "between 0 and 3"),
            (own, "1", "invalid type"),
        ] {
            let problem = of(adapter, rows).unwrap_err();
            assert!(problem.contains(words), "{problem} has no {words}");
        }
        let report = format!(
            r#"{{{own}, "kernels": [{row}], "clusterings": [{}]}}"#,
            row.replace("\"a\"", "\"kmeans\"")
        );
        let names: Vec<String> =
            Results::parse(&report).unwrap().kernels.into_iter().map(|row| row.kernel).collect();
        assert_eq!(names, ["a", "kmeans"]);
        assert!(Results::parse("").unwrap_err().contains("not JSON"));
        assert!(Results::parse("[]").unwrap_err().contains("not a report"));
    }

    #[test]
    fn what_only_one_file_has_is_listed_and_slower_kernels_are_an_error() {
        let results = |names: &[(&str, f64)]| Results {
            adapter: "x".into(),
            kernels: names
                .iter()
                .map(|&(kernel, us)| Measured { kernel: kernel.into(), ..measured(us, us, us) })
                .collect(),
        };
        let old = results(&[("a", 1.0), ("b", 1.0), ("c", 1.0), ("gone", 1.0)]);
        let new = results(&[("c", 0.5), ("b", 1.0), ("a", 2.0), ("new", 1.0)]);
        let comparison = compare(&old, &new).unwrap();
        let verdicts: Vec<_> = comparison.rows.iter().map(|row| (row.kernel.as_str(), row.verdict)).collect();
        assert_eq!(verdicts, [("c", Verdict::Faster), ("b", Verdict::Same), ("a", Verdict::Slower)]);
        assert_eq!((comparison.only_old[0].0.as_str(), comparison.only_new[0].0.as_str()), ("gone", "new"));
        assert!(comparison.check(0.0).unwrap_err().to_string().contains("1 of 3 kernels slower: a n = 3"));
        assert!(compare(&old, &old).unwrap().check(0.0).is_ok());
        // It takes twice as long: half of the speed is lost.
        assert!(comparison.check(0.49).is_err() && comparison.check(0.5).is_ok());
        assert!(compare(&results(&[("a", 1.0)]), &results(&[("b", 1.0)])).is_err());
        let text = comparison.text();
        for line in ["a n = 3 1.0 2.0 2.000 SLOWER", "gone n = 3 - - - only in the old file"] {
            let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(text.lines().any(|found| words(found) == line), "{line}: {text}");
        }
    }
}
