//! Classifiers: calibrated INT8 networks, and the audit of what they lose.

pub mod extent;
pub mod histogram;
