//! Quantization on any GPU: fewer bits, the same answer, at memory speed.
//!
//! lowbit runs WGSL compute shaders on Vulkan, Metal and DX12 through [`wgpu`], headless too, and without a GPU on Mesa's
//! software driver. Every kernel is verified against an oracle in f64 or i64, and timed against the roofs that were
//! measured on the same adapter.
//!
//! ```
//! use lowbit::gpu::{Context, Options};
//! use lowbit::io::npy::Matrix;
//! use lowbit::kmeans::KMeans;
//!
//! fn main() -> lowbit::Result<()> {
//!     let gpu = Context::open(&Options::default())?;
//!
//!     // Four points in two dimensions; npy::read_matrix reads a file.
//!     let points = Matrix { rows: 4, cols: 2, values: vec![0.0, 0.1, 0.2, 0.0, 9.0, 9.1, 9.2, 9.0] };
//!     let fitted = KMeans::new(2).seed(7).fit(&gpu, &points, |progress| println!("{progress:?}"))?;
//!
//!     assert_eq!(fitted.labels[0], fitted.labels[1]);
//!     assert_ne!(fitted.labels[0], fitted.labels[2]);
//!     assert!(fitted.inertia < 0.1 && fitted.converged);
//!     assert_eq!(fitted.predict(&gpu, &points)?.labels, fitted.labels);
//!     Ok(())
//! }
//! ```
//!
//! Where to look:
//! - [`kmeans`]: exact k-means, of one problem or of many, and product quantization;
//! - [`matmul`]: products with quantized weights, in the number formats of [`mod@format`];
//! - [`kv`]: a KV cache in few bits, and the attention over it;
//! - [`classify`]: quantized classifiers on a device;
//! - [`audit`]: what an INT8 classifier lost, and with what certainty;
//! - [`quantize`]: the weights of a file in another number format;
//! - [`io`]: the files that all of these read and write;
//! - [`roofline`]: what this adapter's memory and arithmetic really give;
//! - [`gpu`]: the device that everything runs on, opened here or given by a program that has one.
//!
//! Everything else serves the command line, tests and benches, and may change at any time: there is no way to add a kernel
//! of one's own from outside, since what a kernel needs (layouts, registry, oracles) changes with each of them.

#![allow(rustdoc::private_intra_doc_links, reason = "what is not shown leads to what is not shown")]

pub mod audit;
pub(crate) mod calibration;
pub(crate) mod cases;
pub mod classify;
pub(crate) mod codec;
#[cfg(feature = "cli")]
pub(crate) mod edge;
mod error;
mod feed;
pub mod format;
pub mod gpu;
#[doc(hidden)]
pub mod internals;
pub mod io;
pub mod kmeans;
pub mod kv;
pub mod matmul;
pub(crate) mod network;
pub(crate) mod oracle;
mod percentile;
#[cfg(feature = "cli")]
pub(crate) mod plan;
pub(crate) mod quality;
pub mod quantize;
pub(crate) mod random;
#[cfg(feature = "cli")]
pub(crate) mod report;
pub mod roofline;
pub(crate) mod roofs;
#[cfg(feature = "cli")]
pub(crate) mod table;

pub use error::{Error, Result};
