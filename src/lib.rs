//! temp
pub mod cases;
mod error;
pub mod gpu;
pub mod io;
pub mod oracle;
pub mod roofline;
pub mod kmeans;
pub use error::{Error, Result};
