//! Includes, slots and constants: what assembles, and what is refused by name.

use lowbit::internals::gpu::Reflection;
use lowbit::internals::gpu::Spec;
use lowbit::internals::gpu::source::assemble;

const FILES: &[(&str, &str)] = &[
    ("lib/a", "// a\nfn a() -> u32 { return b(); }"),
    ("lib/b", "//! use lib/c.wgsl\nfn b() -> u32 { return 1u; }"),
    ("lib/c", "fn c() {}"),
    ("x/twice", "//! twice: x\n//! use lib/b\n//! use lib/c\n//! use lib/b\nfn d() {}"),
    ("x/missing", "//! use lib/nowhere\nfn d() {}"),
    ("x/loop", "//! use x/loop2\nfn d() {}"),
    ("x/loop2", "//! use x/loop\nfn d() {}"),
    ("x/slotted", "//! slot format\nfn d() {}"),
    ("lib/d", "fn d2() {}"),
    ("x/four", "//! slot a\n//! slot b\n//! slot c\n//! slot d\nfn d() {}"),
    ("x/half", "//! use lib/c\n//!\nenable f16;\nfn d() {}"),
    ("x/tiled", "//! x\nconst TILE: u32 = 4u;\nfn d() {}"),
];

fn text(spec: Spec) -> String {
    assemble(&spec, FILES).unwrap()
}

fn problem(spec: Spec) -> String {
    assemble(&spec, FILES).unwrap_err().to_string()
}

#[test]
fn includes_come_once_and_before_their_users() {
    let text = text(Spec::new("x/twice"));
    assert_eq!(text.matches("fn b()").count(), 1);
    assert_eq!(text.matches("fn c()").count(), 1);
    assert!(text.find("fn c()") < text.find("fn b()") && text.find("fn b()") < text.find("fn d()"));
}

#[test]
fn an_unknown_name_and_a_circle_are_errors() {
    let missing = problem(Spec::new("x/missing"));
    assert!(missing.contains("x/missing uses lib/nowhere"), "{missing}");
    assert!(problem(Spec::new("x/none")).contains("no such file"));
    assert!(problem(Spec::new("x/loop")).contains("includes itself"));
}

#[test]
fn a_slot_must_be_filled_and_exist() {
    assert!(problem(Spec::new("x/slotted")).contains("slot format of x/slotted is not filled"));
    let filled = Spec::new("x/slotted").slot("format", "lib/c");
    assert!(text(filled).contains("fn c()"));
    let strange = Spec::new("lib/c").slot("other", "lib/c");
    assert!(problem(strange).contains("no slot called other"));
}

#[test]
fn a_slot_or_a_setting_beyond_the_room_is_refused() {
    const NAMES: [&str; 18] = [
        "A0", "A1", "A2", "A3", "A4", "A5", "A6", "A7", "A8", "A9", "A10", "A11", "A12", "A13", "A14", "A15",
        "A16", "A17",
    ];
    let with = |count: usize| NAMES[..count].iter().fold(Spec::new("lib/c"), |spec, name| spec.set(name, 7));
    let values: Vec<(&str, f64)> = NAMES[..16].iter().map(|name| (*name, 7.0)).collect();
    assert_eq!(with(16).constants(), values);
    assert!(text(with(16)).contains("fn c()"));
    // One that is there already takes no more room, and has its last value.
    let again = with(16).set("A15", 8);
    assert_eq!(again.constants()[15], ("A15", 8.0));
    assert!(text(again).contains("fn c()"));
    for count in [17, 18] {
        assert!(problem(with(count)).contains("no room for A16: at most 4 slots and 16 settings"));
    }
    // What was set before is still there: nothing is overwritten.
    assert_eq!(with(18).constants(), values);
    let four =
        Spec::new("x/four").slot("a", "lib/a").slot("b", "lib/b").slot("c", "lib/c").slot("d", "lib/d");
    assert!(text(four).contains("fn d()"));
    assert!(problem(four.slot("e", "lib/c")).contains("no room for e"));
    assert!(problem(four.refill("e", "lib/c")).contains("no room for e"));
    assert!(text(four.refill("c", "lib/d")).contains("fn d()"));
    assert!(
        problem(Spec::new("x/slotted").slot("format", "lib/c").slot("format", "lib/b"))
            .contains("filled twice")
    );
}

#[test]
fn a_value_for_an_override_that_does_not_exist_is_refused() {
    let spec = Spec::new("x/kernel").set("WF", 32);
    let error = Reflection::of_text(&spec, KERNEL.into()).unwrap_err().to_string();
    assert!(error.contains("it has no `override WF` to set"), "{error}");
    let spec = Spec::new("x/kernel").set("WG", 32);
    assert_eq!(Reflection::of_text(&spec, KERNEL.into()).unwrap().workgroup, [32, 1, 1]);
}

#[test]
fn enable_directives_come_first() {
    assert!(text(Spec::new("x/half")).starts_with("enable f16;"));
}

#[test]
fn constants_are_set_by_name() {
    assert!(text(Spec::new("x/tiled").consts(&[("TILE", 8)])).contains("const TILE: u32 = 8u;"));
    assert!(problem(Spec::new("x/tiled").consts(&[("TILES", 8)])).contains("no `const TILES"));
}

fn reflect(text: &str) -> Result<Reflection, String> {
    Reflection::of_text(&Spec::new("x/kernel"), text.into()).map_err(|error| error.to_string())
}

const KERNEL: &str = "// Needs: no optional feature
struct Params { rows: u32, width: u32, scale: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> y: array<vec4<f32>>; // [rows, width+1, 2*WG]
override WG: u32 = 64;
override ROWS_PER_GROUP: u32 = WG * 2u;
@compute @workgroup_size(WG)
fn kernel(@builtin(workgroup_id) group: vec3<u32>) { y[group.x * ROWS_PER_GROUP] = vec4(params.scale); }
";

#[test]
fn a_shader_tells_its_host_everything() {
    let reflection = reflect(KERNEL).unwrap();
    assert_eq!(reflection.workgroup, [64, 1, 1]);
    assert_eq!(reflection.rows_per_group, Some(128));
    assert_eq!(reflection.bindings[0].name, "y");
}

#[test]
fn what_a_shader_fails_to_tell_is_refused_by_name() {
    let without = |from: &str, to: &str| reflect(&KERNEL.replace(from, to)).unwrap_err();
    assert!(without("// [rows, width+1, 2*WG]", "").contains("y has no shape comment"));
    assert!(without("width+1", "height").contains("speaks of height"));
    assert!(without("// Needs: no optional feature", "").contains("Needs"));
    assert!(without("no optional feature", "magic").contains("magic"));
    assert!(without("fn kernel", "fn other").contains("called other, not kernel"));
    assert!(without("@group(0) @binding(1)", "@group(1) @binding(1)").contains("group 1"));
    assert!(without("group.x * ROWS_PER_GROUP", "group.x").contains("declared and not used"));
    let tiled = "group.x * ROWS_PER_GROUP + group.y * COLUMNS_PER_GROUP";
    let columns = "override COLUMNS_PER_GROUP: u32 = 8;\n@compute";
    let with =
        |to: &str| reflect(&KERNEL.replace("@compute", columns).replace("group.x * ROWS_PER_GROUP", to));
    assert!(
        with("group.x * ROWS_PER_GROUP")
            .unwrap_err()
            .contains("its COLUMNS_PER_GROUP is declared and not used")
    );
    assert!(with(tiled).unwrap_err().contains("has no parameter n"));
    assert!(without("scale: f32", "scale: f32, place: vec2<f32>").contains("neither u32, i32 nor f32"));
    assert!(without("y[group.x", "z[group.x").contains("z"));
}
