//! Variants of `matvec_fixed`: weights times a few columns in fixed point, by dot products of int8. It binds as `matvec_integer` does.

use crate::gpu::Spec;

const SHARED: Spec =
    Spec::new("matmul/matvec_fixed").slot("sum", "lib/sum_shared").slot("wide", "lib/wide32");
const SUBGROUP: Spec =
    Spec::new("matmul/matvec_fixed").slot("sum", "lib/sum_subgroup").slot("wide", "lib/wide32");
const SUBGROUP_64: Spec =
    Spec::new("matmul/matvec_fixed").slot("sum", "lib/sum_subgroup").slot("wide", "lib/wide64");

/// Interchangeable implementations for [`super::matvec_integer::MatvecInteger`]; the first runs on every adapter.
pub const VARIANTS: &[Spec] = &[
    SHARED,
    SUBGROUP.consts(&[("WG", 128), ("ROWS", 2)]),
    // NVIDIA: a load of 16 bytes is checked by component (NVK), and x is a larger part of what is loaded.
    SUBGROUP_64.consts(&[("WG", 128), ("ROWS", 4)]),
];
