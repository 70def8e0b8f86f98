//! A geometry that a user gives, for models whose files are not understood.

use std::str::FromStr;

use super::{Attention, Layer, Layers, MOST};
use crate::Error;

/// How layers are given.
pub const FORM: &str = "COUNTxKV_HEADSxHEAD_DIM, such as 32x8x128; 10x16x128,52x16x128@1024 where 52 layers see a window of \
                        1024; 32x8x192:128 for keys of 192 and values of 128; 61x512+64 for latents of 512 (MLA) and rope \
                        keys of 64";

impl FromStr for Layers {
    type Err = Error;

    /// Reads equal layers as [`FORM`] has them.
    fn from_str(text: &str) -> crate::Result<Self> {
        layers(text).ok_or_else(|| Error::Input(format!("give layers as {FORM}")))
    }
}

fn layers(text: &str) -> Option<Layers> {
    let size = |text: &str| text.parse().ok().filter(|size| (1..=MOST).contains(size));
    let (text, window) = match text.split_once('@') {
        Some((text, window)) => (text, Some(window.parse().ok().filter(|&window: &u64| window > 0)?)),
        None => (text, None),
    };
    let (count, each) = text.split_once('x')?;
    let attention = match each.split_once('x') {
        Some((kv_heads, dims)) => {
            let (key_dim, value_dim) = dims.split_once(':').unwrap_or((dims, dims));
            Attention::Heads {
                kv_heads: size(kv_heads)?,
                key_dim: size(key_dim)?,
                value_dim: size(value_dim)?,
            }
        }
        None => {
            let (rank, rope_dim) = each.split_once('+')?;
            Attention::Latent { rank: size(rank)?, rope_dim: size(rope_dim)? }
        }
    };
    Some(Layers { count: size(count)?, layer: Layer { attention, window, shared: false } })
}
