//! Oracle of `append`: what the codec makes of the same halves.

use half::f16;

use crate::Result;
use crate::codec::{Codec, Encoded, center};

/// The vectors of one head, `[tokens, dim]`, less the mean of their channels.
///
/// # Errors
/// The codec's.
pub fn append(codec: &Codec, vectors: &[f16], mean: Option<&[f32]>) -> Result<Encoded> {
    let mut vectors: Vec<f32> = vectors.iter().map(|x| x.to_f32()).collect();
    if let Some(mean) = mean {
        center::subtract(&mut vectors, mean);
    }
    codec.encode(&vectors)
}
