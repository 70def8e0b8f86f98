//! One stem per kernel, found in every room: `rg --files | rg STEM` shows a whole kernel.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use lowbit::cases::REGISTRY;
use lowbit::gpu::source::FILES;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

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
            "{stem} is not tested"
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

#[test]
fn imports_run_one_way() {
    // cli -> report -> cases -> domains -> gpu, io; the oracle knows no GPU, and the GPU core no domain. One exception:
    // the roofline verifies its kernels before it times them, and so knows their cases.
    let forbidden: &[(&str, &[&str])] = &[
        (
            "src/oracle",
            &["crate::gpu", "crate::report", "crate::kmeans", "crate::kv", "crate::roofline", "wgpu"],
        ),
        ("src/gpu", &["crate::kmeans", "crate::matmul", "crate::roofline", "crate::report", "crate::cases"]),
        ("src/io", &["crate::gpu", "crate::kmeans", "crate::roofline", "crate::report", "wgpu"]),
        (
            "src/audit",
            &["crate::gpu", "crate::report", "crate::cases", "crate::classify", "crate::kmeans", "wgpu"],
        ),
        (
            "src/edge",
            &["crate::gpu", "crate::report", "crate::cases", "crate::classify", "crate::kmeans", "wgpu"],
        ),
        (
            "src/calibration",
            &["crate::gpu", "crate::report", "crate::cases", "crate::classify", "crate::kmeans", "wgpu"],
        ),
        (
            "src/network",
            &["crate::gpu", "crate::report", "crate::cases", "crate::classify", "crate::audit", "wgpu"],
        ),
        (
            "src/codec",
            &["crate::gpu", "crate::report", "crate::cases", "crate::kmeans", "crate::matmul", "wgpu"],
        ),
        ("src/format", &["crate::gpu", "crate::kmeans", "crate::io", "crate::report", "wgpu"]),
        (
            "src/quantize",
            &["crate::gpu", "crate::report", "crate::cases", "crate::kmeans", "crate::roofline", "wgpu"],
        ),
        ("src/classify", &["crate::report", "crate::cases", "crate::roofline", "crate::matmul"]),
        ("src/kmeans", &["crate::report", "crate::cases", "crate::roofline", "crate::matmul"]),
        ("src/kv", &["crate::report", "crate::cases", "crate::roofline", "crate::kmeans", "crate::matmul"]),
        ("src/matmul", &["crate::report", "crate::cases", "crate::roofline", "crate::kmeans"]),
        ("src/roofline", &["crate::report", "crate::kmeans"]),
        ("src/cases", &["crate::report"]),
    ];
    for (room, words) in forbidden {
        for path in files_below(&root().join(room)) {
            let text = read(&path);
            for word in *words {
                assert!(!text.contains(word), "{} imports {word}", path.display());
            }
        }
    }
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}
