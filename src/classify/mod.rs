//! Classifiers on the device: the kernels of networks, over activations that lie as [`layout`] says.

pub mod dense;
pub mod dense_integer;
pub mod layout;
pub mod pointwise;
pub mod steps;
pub mod window;
