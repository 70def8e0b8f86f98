//! The vectors of [`Inputs`] as a cache is given them, token by token.

use std::ops::Range;

use half::f16;

use super::Inputs;
use crate::codec::center;

impl Inputs {
    /// Keys and values of a layer at these positions, each `[positions, kv_heads, head_dim]`; behind the last token the first one
    /// comes again.
    pub fn tokens(&self, layer: usize, positions: Range<u64>) -> [Vec<f16>; 2] {
        let Self { kv_heads, tokens, head_dim, value_dim, .. } = *self;
        [(&self.k, head_dim), (&self.v, value_dim)].map(|(vectors, dim)| {
            let mut list = Vec::new();
            for position in positions.clone() {
                let token = (position % tokens as u64) as usize;
                for head in 0..kv_heads {
                    let first = ((layer * kv_heads + head) * tokens + token) * dim;
                    list.extend(vectors[first..][..dim].iter().map(|&x| f16::from_f32(x)));
                }
            }
            list
        })
    }

    /// The queries of a layer's newest token, `[heads, head_dim]`.
    pub fn newest_queries(&self, layer: usize) -> Vec<f32> {
        let Self { heads, queries, head_dim, .. } = *self;
        let of = |head: usize| ((layer * heads + head + 1) * queries - 1) * head_dim;
        (0..heads).flat_map(|head| self.q[of(head)..][..head_dim].iter().copied()).collect()
    }

    /// The means of the keys, `[layers, kv_heads, head_dim]`.
    pub fn means(&self) -> Vec<f32> {
        let heads = self.k.chunks_exact(self.tokens * self.head_dim);
        heads.flat_map(|keys| center::mean(keys, self.head_dim)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Inputs, Tensor};

    #[test]
    fn vectors_come_by_token_and_begin_again() {
        // Each vector says its layer, head and token.
        let tensor = |heads: usize| {
            let names =
                (0..2 * heads * 3).map(|i| (i / (heads * 3) * 100 + i / 3 % heads * 10 + i % 3) as f32);
            Tensor { shape: vec![2, heads, 3, 32], values: names.flat_map(|name| [name; 32]).collect() }
        };
        let inputs = Inputs::new(tensor(4), tensor(2), tensor(2)).unwrap();
        let [keys, values] = inputs.tokens(1, 2..5);
        let found: Vec<f32> = keys.chunks_exact(32).map(|vector| vector[31].to_f32()).collect();
        assert_eq!(found, [102.0, 112.0, 100.0, 110.0, 101.0, 111.0]);
        assert_eq!(keys, values);
        let queries: Vec<f32> = inputs.newest_queries(1).chunks_exact(32).map(|vector| vector[0]).collect();
        assert_eq!(queries, [102.0, 112.0, 122.0, 132.0]);
        let means: Vec<f32> = inputs.means().chunks_exact(32).map(|vector| vector[9]).collect();
        assert_eq!(means, [1.0, 11.0, 101.0, 111.0]);
    }
}
