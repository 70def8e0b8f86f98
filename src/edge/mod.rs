//! The edge loop: from a printer's telemetry to the parameters that its firmware runs with. Never a GPU type.

pub mod identify;
