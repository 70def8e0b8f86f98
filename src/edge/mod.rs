//! The edge loop: from a printer's telemetry to the parameters that its firmware runs with, and these to the printer. Never a GPU type.

pub mod duet;
pub mod identify;

/// The bounds of tau, in seconds: what is identified, and what a printer is given.
pub const TAU: [f64; 2] = [0.001, 0.5];
/// The bounds of gamma.
pub const GAMMA: [f64; 2] = [0.0, 1.0];
