//! The edge loop with a 3D printer. Never a GPU type.

pub mod duet;
