//! temp
pub mod cases;
mod error;
pub mod gpu;
pub mod io;
pub mod kmeans;
pub mod oracle;
pub mod random;
pub mod roofline;
pub use error::{Error, Result};
