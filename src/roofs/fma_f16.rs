//! f16 multiply-adds from registers, two to a lane where the hardware packs them.

use crate::gpu::Spec;

pub use super::fma_f32::{FmaParams, ROW_BYTES, STEPS, bind};

const FILE: Spec = Spec::new("roofs/fma_f16");

/// From one chain of four values to eight: more hide more latency and take more registers.
pub const VARIANTS: &[Spec] = &[
    FILE.consts(&[("CHAINS", 4)]).overrides(&[("WG", 256.0)]),
    FILE.consts(&[("CHAINS", 2)]).overrides(&[("WG", 64.0)]),
    FILE.consts(&[("CHAINS", 8)]).overrides(&[("WG", 256.0)]),
];
