//! Quantization on any GPU: fewer bits, the same answer, at memory speed.
//!
//! lowbit runs WGSL compute shaders on Vulkan, Metal and DX12 through [`wgpu`], headless too, and without a GPU on Mesa's
//! software driver. Every kernel is verified against an oracle in f64 or i64, and timed against the roofs that were
//! measured on the same adapter.
//!
//! ```
//! use lowbit::gpu::{Context, Options};
//! use lowbit::io::npy::Matrix;
//! use lowbit::kmeans::{KMeans, predict};
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
//!     assert_eq!(predict(&gpu, &points, &fitted.cluster_centers)?.labels, fitted.labels);
//!     Ok(())
//! }
//! ```
//!
//! Where to look:
//! - [`kmeans`]: exact k-means, of one problem or of many, product quantization, and the palette of a picture;
//! - [`matmul`]: products with quantized weights, in the number formats of [`mod@format`];
//! - [`codec`]: the types of a KV cache, and what they cost in an attention; [`kv`]: the cache itself;
//! - [`classify`]: quantized classifiers;
//! - [`audit`]: what an INT8 classifier lost, and with what certainty;
//! - [`edge`]: parameters of the flow model of a 3D printer, from a telemetry log, and to its firmware;
//! - [`quantize`]: the weights of a file in another number format;
//! - [`roofline`]: what this adapter's memory and arithmetic really give;
//! - [`report`]: everything verified and timed, as a table, JSON and HTML;
//! - [`gpu`]: the core on which a kernel stands; ARCHITECTURE.md shows how to add one;
//! - [`cases`] and [`oracle`]: the known answers behind tests, benches and the report.

pub mod audit;
pub mod calibration;
pub mod cases;
pub mod classify;
pub mod codec;
pub mod edge;
mod error;
mod feed;
pub mod format;
pub mod gpu;
pub mod io;
pub mod kmeans;
pub mod kv;
pub mod matmul;
pub mod network;
pub mod oracle;
pub mod quantize;
pub mod random;
pub mod report;
pub mod roofline;

pub use error::{Error, Result};
