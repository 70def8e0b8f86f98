//! temp
pub mod gpu;
pub mod io;
mod error;
pub use error::{Error, Result};
