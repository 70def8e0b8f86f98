//! The GPU core: adapter, shaders, kernels, buffers, submissions, timing, verification, tuning. It knows no domain.

pub(crate) mod bound;
pub(crate) mod buffer;
mod compiled;
pub(crate) mod context;
pub(crate) mod dispatch;
pub(crate) mod kernel;
mod pieces;
mod pipelines;
pub(crate) mod record;
pub(crate) mod reflect;
mod self_test;
pub(crate) mod source;
mod stop;
pub(crate) mod table;
pub(crate) mod timing;
mod trusted;
pub(crate) mod tune;
pub(crate) mod verify;

pub use buffer::Buffer;
pub use context::{AdapterReport, Context, Listener, Options, adapters};
pub use stop::Heeding;

pub(crate) use bound::Bound;
pub(crate) use buffer::Readback;
pub(crate) use kernel::{Kernel, OpKind, ParamType, Work, params};
pub(crate) use record::Recorder;
pub(crate) use reflect::Reflection;
pub(crate) use source::Spec;
pub(crate) use timing::{Timing, time};

use crate::{Error, Result};

/// `n` as the `u32` that shaders count in, or an error that names `what`.
pub(crate) fn to_u32(n: impl TryInto<u32> + Copy + std::fmt::Display, what: &str) -> Result<u32> {
    n.try_into().map_err(|_| Error::Input(format!("{what} is {n}; at most {} can be handled", u32::MAX)))
}
