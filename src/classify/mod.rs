//! Classifiers on the device: the kernels of networks, over activations that lie as [`layout`] says; the [`engine`] that binds
//! them; calibration and the audit of what int8 loses.

pub mod average_pool;
pub mod calibrate;
pub mod dense;
pub mod dense_integer;
pub mod engine;
pub mod extent;
pub mod gather;
pub mod histogram;
pub mod judge;
pub mod latency;
pub mod layout;
pub mod max_pool;
mod plan;
pub mod pointwise;
pub mod pooling;
pub mod rank;
pub mod softmax;
pub mod starnet;
pub mod steps;
mod trial;
pub mod watch;
pub mod window;
