//! Where the keys and values of a cache lie on the device.
//!
//! A page holds the keys, or the values, of one kv head for a block of `block` tokens: first the words of the codes, then the
//! scales, two halves to a word. The kernels that read keys give a token to an invocation, those that read values some
//! channels, and each finds what its neighbours read beside its own:
//!
//! | | word w of token t | half h of token t, of `halves` |
//! |---|---|---|
//! | keys | `w * block + t` | `h * block + t` |
//! | values | `t * words + w` | `t * halves + h` |
//!
//! Keys of KIVI have scales by channel: channel c of the 32 tokens from `32 g` on has word `g * dim + c`, the scale in its
//! low half and the minimum in its high one. A pool is `[blocks, kv_heads]` pages.

use crate::codec::{CacheType, Codec, Encoded, GROUP, Side};
use crate::{Error, Result};

/// The page of one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// The type.
    pub ty: CacheType,
    /// Keys or values.
    pub side: Side,
    /// The head dimension.
    pub dim: u64,
    /// Tokens.
    pub block: u64,
    /// Words of a token's codes.
    pub words: u64,
    /// Halves of a token's scales; of the keys of KIVI, those of a channel and 32 tokens.
    pub halves: u64,
}

impl Page {
    /// That of blocks of so many tokens. `side` says how it lies: keys without scales can lie as values do.
    ///
    /// # Errors
    /// [`Error::Input`] for blocks that are no multiple of 16 tokens, or of the tokens that the codec encodes together.
    pub fn of(codec: &Codec, side: Side, block: u64) -> Result<Self> {
        let together = codec.tokens_together();
        let least = together.max(16);
        if block == 0 || !block.is_multiple_of(least as u64) {
            return Err(Error::Input(format!(
                "a block of {block} tokens is no multiple of {least}, as {} needs it",
                codec.ty()
            )));
        }
        let by_channel = together > 1;
        let halves = if by_channel { 2 } else { codec.halves() as u64 };
        Ok(Self { ty: codec.ty(), side, dim: codec.dim() as u64, block, words: codec.words() as u64, halves })
    }

    /// Whether scales are by channel.
    pub fn by_channel(&self) -> bool {
        self.side == Side::Keys && self.ty.is_kivi()
    }

    /// Words of all codes, behind which the scales begin.
    pub fn code_words(&self) -> u64 {
        self.block * self.words
    }

    /// Words of the page.
    pub fn len(&self) -> u64 {
        let scales = if self.by_channel() {
            self.block / GROUP as u64 * self.dim
        } else {
            self.block * self.halves / 2
        };
        self.code_words() + scales
    }

    /// Whether it has no words, which no page is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bits that a value takes.
    pub fn bits_per_value(&self) -> f64 {
        (32 * self.len()) as f64 / (self.block * self.dim) as f64
    }

    /// The place of a word of a token's codes.
    pub fn word(&self, token: u64, word: u64) -> u64 {
        match self.side {
            Side::Keys => word * self.block + token,
            Side::Values => token * self.words + word,
        }
    }

    /// The place of a half of a token's scales, counted in halves from the first scale; by channel it is that of the channel
    /// `half / 2`.
    pub fn half(&self, token: u64, half: u64) -> u64 {
        match self.side {
            Side::Keys if self.by_channel() => 2 * (token / GROUP as u64) * self.dim + half,
            Side::Keys => half * self.block + token,
            Side::Values => token * self.halves + half,
        }
    }

    /// Puts encoded tokens, at most a block of them, into a page; the rest of it is 0.
    pub fn put(&self, encoded: &Encoded) -> Vec<u32> {
        let mut page = vec![0; self.len() as usize];
        let tokens = (encoded.tokens as u64).min(self.block);
        for token in 0..tokens {
            for word in 0..self.words {
                page[self.word(token, word) as usize] = encoded.codes[(token * self.words + word) as usize];
            }
        }
        let (together, halves) =
            if self.by_channel() { (GROUP as u64, 2 * self.dim) } else { (1, self.halves) };
        for token in (0..tokens).step_by(together as usize) {
            for half in 0..halves {
                let at = self.half(token, half);
                let bits = u32::from(encoded.scales[(token / together * halves + half) as usize]);
                page[(self.code_words() + at / 2) as usize] |= bits << (16 * (at % 2));
            }
        }
        page
    }

    /// Takes the first tokens of a page, at most a block of them, out again; what [`Page::put`] puts in.
    pub fn take(&self, page: &[u32], tokens: u64) -> Encoded {
        let tokens = tokens.min(self.block);
        let (together, halves) =
            if self.by_channel() { (GROUP as u64, 2 * self.dim) } else { (1, self.halves) };
        let words = (0..tokens).flat_map(|token| (0..self.words).map(move |word| self.word(token, word)));
        let halves = (0..tokens)
            .step_by(together as usize)
            .flat_map(|token| (0..halves).map(move |half| self.half(token, half)));
        let half = |at: u64| (page[(self.code_words() + at / 2) as usize] >> (16 * (at % 2))) as u16;
        Encoded {
            tokens: tokens as usize,
            codes: words.map(|at| page[at as usize]).collect(),
            scales: halves.map(half).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::HEAD_DIMS;
    use crate::random::Random;

    #[test]
    fn every_word_and_half_has_a_place_of_its_own() {
        for ty in CacheType::ALL {
            for side in [Side::Keys, Side::Values] {
                for dim in HEAD_DIMS {
                    let codec = Codec::new(ty, side, dim).unwrap();
                    let page = Page::of(&codec, side, 64).unwrap();
                    let mut seen = vec![0; page.len() as usize];
                    for token in 0..64 {
                        (0..page.words).for_each(|word| seen[page.word(token, word) as usize] += 2);
                        let together = if page.by_channel() { GROUP as u64 } else { 1 };
                        let halves = if page.by_channel() { 2 * page.dim } else { page.halves };
                        if token % together == 0 {
                            let place = |half| (page.code_words() + page.half(token, half) / 2) as usize;
                            (0..halves).for_each(|half| seen[place(half)] += 1);
                        }
                    }
                    assert!(seen.iter().all(|&times| times == 2), "{ty} {side:?} {dim}");
                    let bits = page.bits_per_value();
                    assert_eq!(bits * dim as f64, ty.bits(side, dim) as f64, "{ty} {side:?} {dim}");
                    let encoded = codec.encode(&Random::new(1).floats(64 * dim)).unwrap();
                    let ones = |words: &[u32]| words.iter().map(|word| word.count_ones()).sum::<u32>();
                    let scales: u32 = encoded.scales.iter().map(|half| half.count_ones()).sum();
                    assert_eq!(ones(&page.put(&encoded)), ones(&encoded.codes) + scales);
                    assert_eq!(page.take(&page.put(&encoded), 64), encoded);
                }
            }
        }
    }
}
