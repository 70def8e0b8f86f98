//! The GPU core: adapter, shaders, kernels, buffers, submissions, timing, verification, tuning. It knows no domain.

pub mod buffer;
pub mod context;
pub mod dispatch;
pub mod kernel;
mod pipelines;
pub mod record;
pub mod reflect;
mod self_test;
pub mod source;
mod stop;
pub mod table;
pub mod timing;
mod trusted;
pub mod tune;
pub mod verify;

pub use buffer::{Buffer, Readback};
pub use context::{AdapterReport, Context, Listener, Options, adapters};
pub use kernel::{Bound, Kernel, OpKind, ParamType, Params, Work, params};
pub use record::{PassRecord, Recorder};
pub use reflect::Reflection;
pub use source::Spec;
pub use timing::{Timing, time};

use crate::{Error, Result};

/// `n` as the `u32` that shaders count in, or an error that names `what`.
pub fn to_u32(n: impl TryInto<u32> + Copy + std::fmt::Display, what: &str) -> Result<u32> {
    n.try_into().map_err(|_| Error::Input(format!("{what} is {n}; at most {} can be handled", u32::MAX)))
}
