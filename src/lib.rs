//! temp
pub mod cases;
pub mod cli;
mod error;
pub mod gpu;
pub mod io;
pub mod kmeans;
pub mod oracle;
pub mod random;
pub mod report;
pub mod roofline;
pub use error::{Error, Result};
