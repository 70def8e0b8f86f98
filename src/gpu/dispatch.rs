//! Which variant of a kernel does a piece of work: a function of the adapter, the kernel and the shape. Nothing is timed here.
//!
//! The answers are rows of a table. One ships with the crate (dispatch.json), measured or, for hardware that was not at hand,
//! predicted; a user's own ([`super::table`]) comes before it. Of all rows that speak of a kernel, the one for the
//! nearest shape counts whose variant runs here, and where none does, the first variant of the kernel's list that runs.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use super::{AdapterReport, Spec};

/// A piece of work, as far as the choice depends on it: words such as the format of weights, and sizes by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Class {
    /// What kind of work it is.
    pub of: Vec<String>,
    /// How large it is.
    pub sizes: BTreeMap<String, u64>,
}

impl Class {
    /// Work of these sizes.
    pub fn new(sizes: &[(&str, u64)]) -> Self {
        Self { of: Vec::new(), sizes: sizes.iter().map(|&(name, size)| (name.to_owned(), size)).collect() }
    }

    /// The same of one more kind.
    pub fn of(mut self, word: impl Display) -> Self {
        self.of.push(word.to_string());
        self
    }
}

impl Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sizes = self.sizes.iter().map(|(name, size)| format!("{name}={size}"));
        let words: Vec<String> = self.of.iter().cloned().chain(sizes).collect();
        f.write_str(&words.join(" "))
    }
}

/// An answer: on such adapters, this variant does work like this best.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Where it holds: `software` or `gpu`, the first word of an adapter's name (`Apple`), its name, or name and driver as [`place`]
    /// has them.
    pub on: String,
    /// The file of the first variant of the kernel's list, such as `kmeans/assign`.
    pub kernel: String,
    /// Words that the work's class must have; it may have others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub of: Vec<String>,
    /// The sizes that it was measured at; it speaks of all where there are none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sizes: BTreeMap<String, u64>,
    /// Words of the variant's label, as many as tell it from the others.
    pub variant: String,
}

/// The table that ships with the crate.
pub static SHIPPED: LazyLock<Vec<Row>> =
    LazyLock::new(|| serde_json::from_str(include_str!("dispatch.json")).unwrap_or_default());

/// An adapter with its driver, as rows of a user's own table name it.
pub fn place(adapter: &AdapterReport) -> String {
    format!("{} | {}", adapter.name, adapter.driver)
}

/// What a step away from the work's own class counts, in factors of two of a size.
const WORD: f64 = 0.25;
const PLACE: f64 = 0.0625;
const ANY_SIZE: f64 = 16.0;

/// How far a row is from work of this class at these places, the nearest first; none if it does not speak of it.
fn distance(row: &Row, places: &[&str], kernel: &str, class: &Class) -> Option<f64> {
    let near = places.iter().position(|place| *place == row.on)?;
    if row.kernel != kernel || !row.of.iter().all(|word| class.of.contains(word)) {
        return None;
    }
    let mut far = WORD * (class.of.len() - row.of.len()) as f64 + PLACE * near as f64;
    if row.sizes.is_empty() {
        return Some(far + ANY_SIZE);
    }
    for (name, &size) in &row.sizes {
        let own = *class.sizes.get(name)?;
        far += ((size.max(1) as f64).log2() - (own.max(1) as f64).log2()).abs();
    }
    Some(far)
}

/// The variant of `list` that has all of these words in its label and the fewest others.
pub fn named<'a>(list: &'a [Spec], words: &str) -> Option<&'a Spec> {
    let labels: Vec<String> = list.iter().map(Spec::label).collect();
    place_of(&labels, words).map(|at| &list[at])
}

/// Where in a list of labels the one is that has all of these words and the fewest others.
fn place_of(labels: &[String], words: &str) -> Option<usize> {
    let count = |label: &String| {
        let own: Vec<&str> = label.split(' ').collect();
        words.split(' ').all(|word| own.contains(&word)).then_some(own.len())
    };
    let able = labels.iter().enumerate().filter_map(|(at, label)| Some((count(label)?, at)));
    able.min().map(|(_, at)| at)
}

/// The variants of `list` for work of this class in the order in which they should be taken: those that rows of `tables` name,
/// the nearest row first and the earlier table first, and then the others.
pub fn ranked<'a>(
    tables: &[&[Row]],
    adapter: &AdapterReport,
    list: &'a [Spec],
    class: &Class,
) -> Vec<&'a Spec> {
    let kind = if adapter.is_software() { "software" } else { "gpu" };
    let maker = adapter.name.split(' ').next().unwrap_or_default();
    ranked_at(tables, &[&place(adapter), adapter.name.as_str(), maker, kind], list, class)
}

/// The same for an adapter that rows know by these names, the most special first.
pub fn ranked_at<'a>(tables: &[&[Row]], places: &[&str], list: &'a [Spec], class: &Class) -> Vec<&'a Spec> {
    let kernel = list.first().map_or("", |spec| spec.file);
    let labels: Vec<String> = list.iter().map(Spec::label).collect();
    let rows = tables.iter().copied().flatten();
    let mut known: Vec<(f64, &Spec)> = rows
        .filter_map(|row| {
            Some((distance(row, places, kernel, class)?, &list[place_of(&labels, &row.variant)?]))
        })
        .collect();
    known.sort_by(|(a, _), (b, _)| a.partial_cmp(b).unwrap_or(Ordering::Equal));
    let mut ranked: Vec<&Spec> = Vec::new();
    for spec in known.into_iter().map(|(_, spec)| spec).chain(list) {
        if !ranked.contains(&spec) {
            ranked.push(spec);
        }
    }
    ranked
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &[Spec] = &[
        Spec::new("x/a"),
        Spec::new("x/a").consts(&[("LANES", 8)]),
        Spec::new("x/a").consts(&[("LANES", 8), ("ROWS", 2)]),
    ];

    fn row(on: &str, of: &[&str], sizes: &[(&str, u64)], variant: &str) -> Row {
        let Class { sizes, .. } = Class::new(sizes);
        let of = of.iter().map(|&word| word.to_owned()).collect();
        Row { on: on.into(), kernel: "x/a".into(), of, sizes, variant: variant.into() }
    }

    fn first(rows: &[&[Row]], kind: &'static str, class: &Class) -> String {
        ranked(rows, &AdapterReport::sample(kind), LIST, class)[0].label()
    }

    #[test]
    fn the_nearest_row_that_names_a_variant_counts() {
        let rows = [
            row("software", &[], &[("n", 1), ("k", 64)], "a LANES=8"),
            row("software", &[], &[("n", 64), ("k", 64)], "a LANES=8 ROWS=2"),
            row("gpu", &[], &[("n", 1), ("k", 64)], "a LANES=8 ROWS=2"),
            row("software", &[], &[("n", 2), ("k", 64)], "a LANES=5"),
        ];
        let of = |n, k| Class::new(&[("n", n), ("k", k)]);
        assert_eq!(first(&[&rows], "software", &of(2, 64)), "a LANES=8");
        assert_eq!(first(&[&rows], "software", &of(16, 100)), "a LANES=8 ROWS=2");
        assert_eq!(first(&[&rows], "discrete", &of(1, 64)), "a LANES=8 ROWS=2");
        // Work that has no such size, and a kernel of which nothing is known.
        assert_eq!(first(&[&rows], "software", &Class::new(&[("n", 1)])), "a");
        assert_eq!(first(&[], "software", &of(1, 1)), "a");
    }

    #[test]
    fn every_variant_is_ranked_once() {
        let rows = [row("gpu", &[], &[], "a LANES=8 ROWS=2"), row("gpu", &[], &[], "a LANES=8 ROWS=2")];
        let ranked = ranked(&[&rows], &AdapterReport::sample("other"), LIST, &Class::default());
        let labels: Vec<String> = ranked.into_iter().map(Spec::label).collect();
        assert_eq!(labels, ["a LANES=8 ROWS=2", "a", "a LANES=8"]);
    }

    #[test]
    fn words_and_places_decide_between_equal_shapes_only() {
        let rows = [
            row("software", &[], &[("n", 1)], "a"),
            row("software", &["Q4_0"], &[("n", 32)], "a LANES=8"),
            row("software", &["Q4_0"], &[("n", 1)], "a LANES=8 ROWS=2"),
        ];
        let of = |format: &str, n| Class::new(&[("n", n)]).of(format);
        assert_eq!(first(&[&rows], "software", &of("Q4_0", 1)), "a LANES=8 ROWS=2");
        assert_eq!(first(&[&rows], "software", &of("Q8_0", 1)), "a");
        assert_eq!(first(&[&rows[..2]], "software", &of("Q4_0", 1)), "a");
        let own = [row("Card | driver 1", &["Q4_0"], &[("n", 1)], "a LANES=8")];
        assert_eq!(first(&[&own, &rows], "software", &of("Q4_0", 1)), "a LANES=8");
        let stranger = [row("Card | driver 2", &["Q4_0"], &[("n", 1)], "a LANES=8")];
        assert_eq!(first(&[&stranger, &rows], "software", &of("Q4_0", 1)), "a LANES=8 ROWS=2");
    }

    #[test]
    fn a_makers_row_stands_before_one_for_all() {
        let rows =
            [row("gpu", &[], &[("n", 1)], "a LANES=8"), row("Apple", &[], &[("n", 1)], "a LANES=8 ROWS=2")];
        let of = |name: &str| {
            let adapter = AdapterReport { name: name.into(), ..AdapterReport::sample("integrated") };
            ranked(&[&rows], &adapter, LIST, &Class::new(&[("n", 1)]))[0].label()
        };
        assert_eq!(of("Apple M1"), "a LANES=8 ROWS=2");
        assert_eq!(of("Applesoft X"), "a LANES=8");
        assert_eq!(of(""), "a LANES=8");
    }

    #[test]
    fn a_variant_is_named_by_some_of_its_words() {
        assert_eq!(named(LIST, "a LANES=8"), Some(&LIST[1]));
        assert_eq!(named(LIST, "ROWS=2"), Some(&LIST[2]));
        assert_eq!(named(LIST, "a LANES=4"), None);
    }
}
