//! The edge loop: from a printer's telemetry to the parameters that its firmware runs with, and these to the printer. Never a GPU type.

pub mod duet;
pub mod identify;
