//! Classifiers on the device: [`Classifier`] answers for an ONNX model, in f32 or in INT8 by a calibration.
//!
//! Behind it, a network is kernels over activations that lie as `layout` says; `engine` binds them, `calibrate` finds ranges,
//! and `judge` audits what INT8 loses.
//!
//! ```
//! use lowbit::classify::{Classifier, Method, Names};
//! use lowbit::gpu::{Context, Options};
//! use lowbit::io::npy::read_matrix;
//!
//! # fn main() -> lowbit::Result<()> {
//! let gpu = Context::open(&Options::default())?;
//! let folder = std::path::Path::new("assets/classifier/breast_cancer");
//! let rows = read_matrix(&folder.join("calibration.npy"))?;
//! let (model, names) = (folder.join("model.onnx"), Names::default());
//!
//! let plain = Classifier::read(&gpu, &model, &names, 256)?;
//! let small = Classifier::int8(&gpu, &model, &names, 256, (&rows.values, Method::Entropy))?;
//! let (a, b) = (plain.run(&gpu, &rows.values)?, small.run(&gpu, &rows.values)?);
//! assert!(small.int8_layers() > 0 && a.len() == rows.rows * plain.outputs());
//! assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 0.2));
//! # Ok(())
//! # }
//! ```

pub(crate) mod average_pool;
pub(crate) mod calibrate;
mod classifier;
pub(crate) mod dense;
pub(crate) mod dense_integer;
pub(crate) mod engine;
pub(crate) mod extent;
pub(crate) mod gather;
pub(crate) mod histogram;
pub(crate) mod judge;
pub(crate) mod latency;
pub(crate) mod layout;
pub(crate) mod max_pool;
mod plan;
pub(crate) mod pointwise;
pub(crate) mod pooling;
pub(crate) mod rank;
pub(crate) mod softmax;
pub(crate) mod starnet;
pub(crate) mod steps;
mod trial;
pub(crate) mod watch;
pub(crate) mod window;

pub use crate::calibration::Method;
pub use crate::network::lower::Names;
pub use classifier::Classifier;
