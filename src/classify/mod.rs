//! Classifiers on the device: the kernels of networks, over activations that lie as [`layout`] says.

pub mod average_pool;
pub mod dense;
pub mod dense_integer;
pub mod engine;
pub mod gather;
pub mod layout;
pub mod max_pool;
pub mod pointwise;
pub mod pooling;
pub mod softmax;
pub mod steps;
pub mod window;
//! Quantized classifiers.
pub mod rank;
//! Classifiers: calibrated INT8 networks, and the audit of what they lose.
pub mod extent;
pub mod histogram;
