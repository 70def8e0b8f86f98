//! One stem per kernel, found in every room: `rg --files | rg STEM` shows a whole kernel.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use lowbit::internals::cases::REGISTRY;
use lowbit::internals::gpu::source::FILES;
use syn::visit::Visit;

use crate::tree::{Place, Tree, leaves, of_tests, read, root};

#[test]
fn every_kernel_has_its_shader_host_oracle_case_test_and_bench() {
    for entry in REGISTRY {
        let stem = entry.stem;
        let specs = entry.specs();
        assert!(!specs.is_empty(), "{stem} has no shader");
        let mut domains = BTreeSet::new();
        for spec in &specs {
            let (domain, file) = spec.file.rsplit_once('/').unwrap();
            domains.insert(domain);
            let own = file == stem || file.strip_prefix(stem).is_some_and(|rest| rest.starts_with('_'));
            assert!(own, "{} does not carry the stem {stem}", spec.file);
            assert!(root().join("shaders").join(spec.file).with_extension("wgsl").is_file(), "{}", spec.file);
        }
        assert_eq!(domains.len(), 1, "{stem} is at home in several domains: {domains:?}");
        let domain = domains.first().unwrap();
        for room in [format!("src/{domain}"), "src/oracle".into(), "src/cases".into(), "tests/gpu".into()] {
            let file = root().join(&room).join(stem).with_extension("rs");
            assert!(file.is_file(), "{stem} has no {}", file.display());
        }
        let test = read(&root().join("tests/gpu").join(stem).with_extension("rs"));
        assert!(test.contains(&format!("check(\"{stem}\")")), "the test of {stem} does not check it");
        assert!(
            read(&root().join("tests/gpu/main.rs")).contains(&format!("mod {stem};")),
            "tests/gpu/main.rs lacks `mod {stem};`"
        );
        assert!(!(entry.tests)().is_empty(), "{stem} has no case");
        // The bench runs over the registry, so a bench case is a bench.
        assert!(!(entry.benches)(1 << 16).is_empty(), "{stem} has no bench");
    }
}

#[test]
fn every_shader_with_an_entry_point_belongs_to_a_kernel() {
    let known: BTreeSet<&str> =
        REGISTRY.iter().flat_map(|entry| entry.specs()).map(|spec| spec.file).collect();
    for (name, text) in FILES {
        let helper = name.starts_with("lib/") || name.starts_with("format/");
        assert_eq!(
            helper,
            !text.contains("@compute"),
            "{name}: lib and format hold helpers, the others kernels"
        );
        // The self-tests of the GPU core are the only kernels outside the registry.
        let self_test = name.starts_with("gpu/");
        assert!(helper || known.contains(name) || self_test, "{name} is in no registry entry");
    }
}

#[test]
fn stems_are_unique() {
    let stems: BTreeSet<&str> = REGISTRY.iter().map(|entry| entry.stem).collect();
    assert_eq!(stems.len(), REGISTRY.len());
}

/// The rooms of the library from the ground up: each imports from those below it alone. The oracle knows no device, and the core
/// no domain.
const FLOORS: &[&str] = &[
    "error",
    "percentile",
    "random",
    "io",
    "feed",
    "table",
    "format",
    "calibration",
    "network",
    "codec",
    "oracle",
    "audit",
    "quality",
    "quantize",
    "edge",
    "gpu",
    "kmeans",
    "matmul",
    "kv",
    "classify",
    "roofs",
    "cases",
    "roofline",
    "plan",
    "report",
    "internals",
];

/// The paths in an item's code that begin with `crate`, and those of `super` that leave the room.
struct Crossings<'a> {
    place: &'a Place,
    rooms: BTreeSet<String>,
}

impl Crossings<'_> {
    fn add(&mut self, path: &[String]) {
        let ups = path.iter().take_while(|part| *part == "super").count();
        if path.first().is_some_and(|first| first == "wgpu") {
            self.rooms.insert("wgpu".into());
        }
        if let [first, room, ..] = path
            && first == "crate"
        {
            self.rooms.insert(room.clone());
        } else if ups > 0 && ups == self.place.len() {
            self.rooms.extend(path.get(ups).cloned());
        }
    }
}

impl Visit<'_> for Crossings<'_> {
    fn visit_item_mod(&mut self, module: &syn::ItemMod) {
        if !of_tests(&module.attrs) {
            syn::visit::visit_item_mod(self, module);
        }
    }

    fn visit_path(&mut self, path: &syn::Path) {
        self.add(&path.segments.iter().map(|segment| segment.ident.to_string()).collect::<Vec<_>>());
        syn::visit::visit_path(self, path);
    }

    fn visit_item_use(&mut self, import: &syn::ItemUse) {
        let mut found = Vec::new();
        leaves(&import.tree, &[], &mut found);
        found.iter().for_each(|(path, _)| self.add(path));
    }
}

/// The rooms that each room imports from.
fn imports(tree: &Tree) -> BTreeMap<String, BTreeSet<String>> {
    let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (place, items) in &tree.0 {
        let Some(room) = place.first() else { continue };
        let mut crossings = Crossings { place, rooms: BTreeSet::new() };
        items.iter().for_each(|item| crossings.visit_item(item));
        // `crate::Error` and `crate::Result` are names, not rooms.
        crossings.rooms.retain(|other| other != room && tree.0.contains_key(&vec![other.clone()]));
        all.entry(room.clone()).or_default().extend(crossings.rooms);
    }
    all
}

#[test]
fn imports_run_one_way() {
    let tree = Tree::load();
    let floor = |room: &str| FLOORS.iter().position(|name| *name == room);
    let mut wrong = Vec::new();
    for (room, others) in imports(&tree) {
        let Some(own) = floor(&room) else { panic!("src/{room} is on no floor: add it to FLOORS") };
        for other in others {
            if floor(&other).is_none_or(|other| other >= own) {
                wrong.push(format!("{room} imports {other}, which lies above it"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn nobody_below_the_core_knows_a_device() {
    let below: Vec<&str> = FLOORS.iter().copied().take_while(|room| *room != "gpu").collect();
    for (place, items) in Tree::load().0 {
        let mut crossings = Crossings { place: &place, rooms: BTreeSet::new() };
        items.iter().for_each(|item| crossings.visit_item(item));
        let low = place.first().is_some_and(|room| below.contains(&room.as_str()));
        assert!(!(low && crossings.rooms.contains("wgpu")), "{} knows wgpu", place.join("::"));
    }
    for path in below.iter().flat_map(|room| {
        let folder = root().join("src").join(room);
        if folder.is_dir() { files_below(&folder) } else { vec![folder.with_extension("rs")] }
    }) {
        let text = read(&path);
        assert!(!text.contains("wgpu::"), "{} knows wgpu", path.display());
    }
}

#[test]
fn imports_are_seen_in_every_form() {
    let text = "use crate::{gpu::Context, report::{self, svg as picture}}; use super::super::kv; fn a() { crate::matmul::b(); wgpu::c() } \
                mod c { fn d() { crate::io::e() } } #[cfg(test)] mod tests { use crate::cases; }";
    let place: Place = vec!["codec".into(), "pack".into()];
    let mut crossings = Crossings { place: &place, rooms: BTreeSet::new() };
    syn::parse_file(text).unwrap().items.iter().for_each(|item| crossings.visit_item(item));
    assert_eq!(Vec::from_iter(crossings.rooms), ["gpu", "io", "kv", "matmul", "report", "wgpu"]);
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}
