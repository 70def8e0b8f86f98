//! Every shader in every variant: assembled, validated, and translated for Vulkan, Metal and DX12 alike.

use std::collections::BTreeSet;

use lowbit::internals::cases::REGISTRY;
use lowbit::internals::codec::CacheType;
use lowbit::internals::gpu::context::MOST_BUFFERS;
use lowbit::internals::gpu::dispatch::{SHIPPED, named};
use lowbit::internals::gpu::source::FILES;
use lowbit::internals::gpu::{ParamType, Params, Reflection, Spec};
use lowbit::internals::kmeans::control;
use lowbit::internals::kmeans::control::Control;
use lowbit::internals::kmeans::element::Frame;
use lowbit::internals::kmeans::{Metric, seed::Pick};
use lowbit::internals::kv::attend::Span;
use lowbit::internals::kv::keep::Piece;
use naga::back::{hlsl, msl, spv};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};

fn specs() -> Vec<Spec> {
    let self_tests = FILES.iter().filter(|(name, _)| name.starts_with("gpu/"));
    let registered = REGISTRY.iter().flat_map(|entry| entry.specs());
    registered.chain(self_tests.map(|(name, _)| Spec::new(name))).collect()
}

fn module_of(spec: &Spec) -> (naga::Module, ModuleInfo) {
    let text = spec.assemble().unwrap();
    let module =
        naga::front::wgsl::parse_str(&text).unwrap_or_else(|e| panic!("{}", e.emit_to_string(&text)));
    let info = Validator::new(ValidationFlags::all(), Capabilities::all())
        .validate(&module)
        .unwrap_or_else(|e| panic!("{}", e.emit_to_string(&text)));
    let constants = spec.constants().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let (module, info) =
        naga::back::pipeline_constants::process_overrides(&module, &info, None, &constants).unwrap();
    (module.into_owned(), info.into_owned())
}

#[test]
fn every_variant_says_what_the_host_needs_to_know() {
    for spec in specs() {
        let reflection = Reflection::of(&spec).unwrap_or_else(|error| panic!("{error}"));
        assert!(reflection.workgroup.iter().product::<u32>() <= 1024, "{}", spec.label());
        assert!(reflection.workgroup_bytes <= 32 << 10, "{}", spec.label());
        let few = reflection.bindings.len() <= MOST_BUFFERS as usize;
        assert!(few || reflection.needs.matrices.is_some(), "{}", spec.label());
        // What an adapter may lack, `Needs:` says; devices without it refuse the text itself.
        let mut optional = Capabilities::empty();
        let needs = &reflection.needs;
        for (named, capability) in [
            (needs.subgroups > 0, Capabilities::SUBGROUP),
            (needs.f16, Capabilities::SHADER_FLOAT16),
            (needs.int64, Capabilities::SHADER_INT64),
        ] {
            optional.set(capability, !named);
        }
        let module = naga::front::wgsl::parse_str(&reflection.text).unwrap();
        let valid = Validator::new(ValidationFlags::all(), Capabilities::all() - optional).validate(&module);
        assert!(valid.is_ok(), "{}: it needs more than its `Needs:` say: {:?}", spec.label(), valid.err());
    }
}

#[test]
fn structs_of_storage_arrays_are_the_hosts() {
    type Fields = &'static [(&'static str, usize, ParamType)];
    let hosts: [(&str, Fields, usize); 4] = [
        ("Control", Control::FIELDS, size_of::<Control>()),
        ("Pick", Pick::FIELDS, size_of::<Pick>()),
        ("Piece", Piece::FIELDS, size_of::<Piece>()),
        ("Span", Span::FIELDS, size_of::<Span>()),
    ];
    let mut seen = BTreeSet::new();
    for spec in specs() {
        for found in &Reflection::of(&spec).unwrap().structs {
            let host = hosts.iter().find(|(name, ..)| *name == found.name);
            let (name, fields, size) =
                host.unwrap_or_else(|| panic!("{}: the host has no {}", spec.file, found.name));
            let fields: Vec<_> = fields.iter().map(|&(name, at, kind)| (name.to_owned(), at, kind)).collect();
            assert_eq!((&found.fields, found.size), (&fields, *size), "{}: {name}", spec.file);
            seen.insert(*name);
        }
    }
    assert_eq!(seen.len(), hosts.len(), "no shader has the others: {seen:?}");
}

#[test]
fn numbers_of_shaders_are_the_hosts() {
    // Every constant of these files is a number that the host uses too.
    let hosts: [(&str, Vec<(&str, u32)>); 4] = [
        (
            "lib/lloyd",
            vec![
                ("RUNNING", control::RUNNING),
                ("LABELS_UNCHANGED", control::LABELS_UNCHANGED),
                ("SHIFT_WITHIN_TOL", control::SHIFT_WITHIN_TOL),
                ("EMPTY_CLUSTERS", control::EMPTY_CLUSTERS),
                ("PAUSED", control::PAUSED),
            ],
        ),
        (
            "lib/metric",
            vec![
                ("EUCLIDEAN", Metric::Euclidean as u32),
                ("COSINE", Metric::Cosine as u32),
                ("DOT", Metric::Dot as u32),
            ],
        ),
        (
            "lib/points_frame",
            vec![
                ("MEAN", Frame::Mean as u32),
                ("SCALE", Frame::Scale as u32),
                ("PLAIN", Frame::Plain as u32),
            ],
        ),
        (
            "lib/cache_codes",
            CacheType::ALL.iter().zip(CACHE_TYPES).map(|(&ty, name)| (name, ty as u32)).collect(),
        ),
    ];
    for (file, host) in hosts {
        let text = FILES.iter().find(|(name, _)| *name == file).unwrap().1;
        let constant = |line: &'static str| {
            let (name, value) = line.strip_prefix("const ")?.split_once(": u32 = ")?;
            Some((name, value.split_once('u')?.0.parse().unwrap()))
        };
        let shader: Vec<(&str, u32)> = text.lines().filter_map(constant).collect();
        assert_eq!(shader, host, "{file}");
    }
}

/// The names of [`CacheType::ALL`] in shaders.
const CACHE_TYPES: [&str; 9] = ["F16", "Q8_0", "Q4_0", "FP8", "KIVI4", "KIVI2", "TURBO4", "TURBO3", "TURBO2"];

#[test]
fn headers_name_the_maths_the_contract_and_the_oracle() {
    for spec in specs() {
        let text =
            lowbit::internals::gpu::source::FILES.iter().find(|(name, _)| *name == spec.file).unwrap().1;
        let header: Vec<&str> = text.lines().take_while(|line| line.starts_with("//!")).collect();
        let stem = spec.file.rsplit('/').next().unwrap();
        assert!(header[0].starts_with(&format!("//! {stem}: ")), "{}: {}", spec.file, header[0]);
        assert!(header[1].contains("workgroup"), "{}: the second line says what a workgroup does", spec.file);
        assert!(header.iter().any(|line| line.starts_with("//! Contract: ")), "{}", spec.file);
        let oracle = header.iter().find_map(|line| line.strip_prefix("//! Oracle: ")).unwrap();
        let path =
            std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(oracle.split_whitespace().next().unwrap());
        assert!(path.is_file(), "{}: its oracle {} does not exist", spec.file, path.display());
    }
}

/// Lines of `text` that keep a lane's array out of registers: an index that is a product, which compilers do not unroll to
/// constants, and a loop that zeroes what WGSL has zeroed.
fn unregistered(text: &str) -> Vec<usize> {
    let code = |line: &'_ str| line.split("//").next().unwrap_or_default().trim().to_owned();
    let alias = |line: &str| {
        let (name, kind) = line.strip_prefix("alias ")?.split_once('=')?;
        kind.trim_start().starts_with("array<").then(|| name.trim().to_owned())
    };
    let aliases: Vec<String> = text.lines().filter_map(|line| alias(&code(line))).collect();
    let is_array = |kind: &str| {
        kind.starts_with("array<")
            || aliases.iter().any(|alias| kind.trim_end_matches([';', ',', ')']) == alias)
    };
    let mut arrays: Vec<String> = Vec::new();
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = code(line);
        if line.starts_with("fn ") {
            // Arrays that are passed by pointers are lanes' own.
            let passed = line.match_indices(": ptr<function, ").filter_map(|(at, pointer)| {
                let kind = line[at + pointer.len()..].split([',', '>']).next()?;
                let name = line[..at].rsplit(['(', ' ']).next()?;
                (is_array(kind) || kind.starts_with("array<")).then(|| format!("(*{name})"))
            });
            arrays = passed.collect();
        }
        let declared = line.strip_prefix("var ").and_then(|rest| rest.split_once(':'));
        if let Some((name, _)) = declared.filter(|(_, kind)| is_array(kind.trim_start())) {
            arrays.push(name.to_owned());
        }
        let wrong = arrays.iter().any(|name| {
            line.match_indices(&format!("{name}[")).any(|(at, _)| {
                let word = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
                let (indices, rest) = indices_of(&line[at + name.len()..]);
                let zeroed = ["0.0", "0u", "0"].map(str::to_owned).into_iter().chain(
                    ["f32", "u32", "i32"]
                        .iter()
                        .flat_map(|of| ["", "0.0", "0u", "0"].map(|zero| format!("vec4<{of}>({zero})"))),
                );
                let assigned = rest.trim_start().strip_prefix("= ").and_then(|rest| rest.strip_suffix(';'));
                !line[..at].ends_with(word)
                    && (indices.iter().any(|index| index.contains('*'))
                        || assigned.is_some_and(|value| zeroed.into_iter().any(|zero| zero == value)))
            })
        });
        if wrong {
            found.push(number + 1);
        }
    }
    found
}

/// What stands in the brackets at the start of `rest`, and what stands behind them.
fn indices_of(mut rest: &str) -> (Vec<&str>, &str) {
    let mut indices = Vec::new();
    while let Some(inner) = rest.strip_prefix('[') {
        let mut depth = 1;
        let close = inner.find(|c| {
            depth += i32::from(c == '[') - i32::from(c == ']');
            depth == 0
        });
        let Some(close) = close else { break };
        indices.push(&inner[..close]);
        rest = &inner[close + 1..];
    }
    (indices, rest)
}

#[test]
fn arrays_of_a_lane_stay_in_registers() {
    let all = FILES.iter().map(|(name, text)| (*name, unregistered(text)));
    let wrong: Vec<_> = all.filter(|(_, lines)| !lines.is_empty()).collect();
    assert!(wrong.is_empty(), "{wrong:?}: see ARCHITECTURE.md, arrays of a lane");
    let with = |line: &str| unregistered(&format!("fn f() {{\n    var sums: array<f32, 8>;\n    {line}\n}}"));
    for wrong in [
        "sums[r * 2u + c] += x;",
        "let x = 2.0 * sums[2u * r];",
        "sums[i] = 0.0;",
        "sums[i] = vec4<f32>(0.0);",
        "sums[i][j] = vec4<i32>();",
        "sums[i][j * 2u] += x;",
        "x = sums[a[i] * 2u];",
    ] {
        assert_eq!(with(wrong), [3], "{wrong}");
    }
    let shared = "alias Logits = array<f32, 8>;\nfn f(logit: ptr<function, Logits>) {\n    (*logit)[i * 2u] = x;\n    var own: Logits;\n    own[i * 2u] = y;\n}";
    assert_eq!(unregistered(shared), [3, 5]);
    for right in
        ["sums[r][c] += a * b;", "tile[r * 2u] = 0.0;", "sums[i] = a[i * 2u];", "my_sums[r * 2u] = 1.0;"]
    {
        assert!(with(right).is_empty(), "{right}");
    }
}

#[test]
fn every_variant_translates_to_spirv() {
    for spec in specs() {
        let (module, info) = module_of(&spec);
        let words = spv::write_vec(&module, &info, &spv::Options::default(), None);
        assert!(words.unwrap_or_else(|e| panic!("{}: {e}", spec.label())).len() > 100);
    }
}

#[test]
fn every_variant_translates_to_metal() {
    let options =
        msl::Options { lang_version: (2, 4), fake_missing_bindings: true, ..msl::Options::default() };
    for spec in specs() {
        let (module, info) = module_of(&spec);
        let text = msl::write_string(&module, &info, &options, &msl::PipelineOptions::default());
        assert!(text.unwrap_or_else(|e| panic!("{}: {e}", spec.label())).0.contains("kernel void"));
    }
}

#[test]
fn every_variant_translates_to_dx12() {
    let options = hlsl::Options {
        shader_model: hlsl::ShaderModel::V6_4,
        fake_missing_bindings: true,
        ..hlsl::Options::default()
    };
    // Cooperative matrices exist on Vulkan and Metal only.
    let with_matrices = |spec: &Spec| Reflection::of(spec).unwrap().needs.matrices.is_some();
    for spec in specs().into_iter().filter(|spec| !with_matrices(spec)) {
        let (module, info) = module_of(&spec);
        let mut text = String::new();
        let pipeline = hlsl::PipelineOptions::default();
        let written = hlsl::Writer::new(&mut text, &options, &pipeline).write(&module, &info, None);
        written.unwrap_or_else(|e| panic!("{}: {e}", spec.label()));
        assert!(text.contains("numthreads"));
    }
}

#[test]
fn every_row_of_the_shipped_table_names_a_variant_of_its_domain() {
    let specs = specs();
    assert!(!SHIPPED.is_empty());
    for row in SHIPPED.iter() {
        assert!(
            ["software", "gpu", "AMD", "NVIDIA", "Apple", "Adreno", "Turnip"].contains(&row.on.as_str())
                || row.on.len() > 8,
            "{row:?}"
        );
        assert!(FILES.iter().any(|(name, _)| *name == row.kernel), "{row:?}");
        let found =
            named(&specs, &row.variant).unwrap_or_else(|| panic!("there is no variant like this: {row:?}"));
        let domain = |file: &str| file.split('/').next().unwrap().to_owned();
        assert_eq!(domain(found.file), domain(&row.kernel), "{row:?}");
    }
}
