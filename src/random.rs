//! Numbers that look random, the same on every machine.

/// A sequence of them (SplitMix64, Steele and others 2014).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A sequence of its own for each seed.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x2545_f491_4f6c_dd1d)
    }

    /// What [`Random::at`] goes on from.
    pub fn state(&self) -> u64 {
        self.0
    }

    /// The rest of the sequence that had come to this state.
    pub fn at(state: u64) -> Self {
        Self(state)
    }

    /// 32 bits.
    pub fn word(&mut self) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 32) as u32
    }

    /// Uniform in [0, 1).
    pub fn unit(&mut self) -> f64 {
        f64::from(self.word()) / 4_294_967_296.0
    }

    /// Uniform in [0, below).
    pub fn below(&mut self, below: u64) -> u64 {
        let wide = (u128::from(self.word()) << 32) | u128::from(self.word());
        ((wide * u128::from(below)) >> 64) as u64
    }

    /// `n` words.
    pub fn words(&mut self, n: usize) -> Vec<u32> {
        (0..n).map(|_| self.word()).collect()
    }

    /// `n` floats, uniform in [-1, 1).
    pub fn floats(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| (self.unit() * 2.0 - 1.0) as f32).collect()
    }

    /// `n` whole numbers in [-reach, reach], as floats: small enough ones add up without rounding.
    pub fn integers(&mut self, n: usize, reach: u32) -> Vec<f32> {
        let span = 2 * u64::from(reach) + 1;
        (0..n).map(|_| self.below(span) as f32 - reach as f32).collect()
    }
}
