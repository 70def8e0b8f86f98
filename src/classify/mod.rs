//! Classifiers on the device: the kernels of networks, over activations that lie as [`layout`] says.

pub mod average_pool;
pub mod gather;
pub mod layout;
pub mod max_pool;
pub mod pooling;
pub mod softmax;
