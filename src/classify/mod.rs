//! Classifiers on the device: the kernels of networks, over activations that lie as [`layout`] says.

pub mod layout;
