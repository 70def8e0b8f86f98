//! Sums without rounding and their quotients, as shaders/lib/exact.wgsl has them, in i128.

/// Steps of a level to one of the level before.
const FINE: f32 = 16_777_216.0;

/// Bits of a sum that a quotient is of.
const BITS: u32 = 48;

/// The sum of some values: whole steps of each level.
#[derive(Clone, Debug)]
pub struct Sum {
    steps: Vec<i64>,
    /// log2 of the steps to a unit.
    scale: i32,
}

/// `bits * 2^exponent`, negative or not, where `bits` has [`BITS`] bits, or is 0.
#[derive(Clone, Copy, Debug)]
pub struct Number {
    negative: bool,
    bits: u128,
    exponent: i32,
}

impl Sum {
    /// Of nothing, in steps of `2^-scale` and `levels - 1` finer ones.
    pub fn new(levels: usize, scale: i32) -> Self {
        Self { steps: vec![0; levels], scale }
    }

    /// Adds `value` (whose product with `2^scale` is at most 2^24), or takes it away.
    pub fn add(&mut self, value: f32, takes: bool) {
        let mut rest = (f64::from(value) * f64::from(self.scale).exp2()) as f32;
        for steps in &mut self.steps {
            let whole = rest.round_ties_even();
            rest = (rest - whole) * FINE;
            *steps += if takes { -(whole as i64) } else { whole as i64 };
        }
    }

    /// The first digits of the three levels from the first that is not 0 on.
    pub fn number(&self) -> Number {
        let levels = self.steps.len();
        let first = (0..levels.saturating_sub(2)).find(|&level| self.steps[level] != 0);
        let first = first.unwrap_or(levels.saturating_sub(2));
        let level = |level: usize| self.steps.get(level).copied().map_or(0, i128::from);
        let sum = (level(first) << 48) + (level(first + 1) << 24) + level(first + 2);
        Number::new(sum, -24 * (first as i32 + 2) - self.scale)
    }
}

impl Number {
    /// The first digits of `sum * 2^exponent`.
    pub fn new(sum: i128, exponent: i32) -> Self {
        let magnitude = sum.unsigned_abs();
        let bits = u128::BITS - magnitude.leading_zeros();
        let (over, under) = (bits.saturating_sub(BITS), BITS.saturating_sub(bits));
        let of_zero = magnitude == 0;
        Self {
            negative: sum < 0,
            bits: if of_zero { 0 } else { magnitude >> over << under },
            exponent: if of_zero { 0 } else { exponent + over as i32 - under as i32 },
        }
    }

    /// Whether it is above 0.
    pub fn is_positive(self) -> bool {
        !self.negative && self.bits > 0
    }

    /// The nearest f32.
    pub fn float(self) -> f32 {
        nearest(self.negative, self.bits, false, self.exponent)
    }

    /// The f32 that is nearest to the quotient; `by` is above 0.
    pub fn over(self, by: Self) -> f32 {
        let dividend = self.bits << BITS;
        let (quotient, rest) = (dividend / by.bits, dividend % by.bits);
        nearest(self.negative, quotient, rest > 0, self.exponent - by.exponent - BITS as i32)
    }
}

/// The f32 nearest to `bits * 2^exponent`, or to a little more; of two the even one; 0 below the normal numbers.
fn nearest(negative: bool, bits: u128, more: bool, exponent: i32) -> f32 {
    let length = u128::BITS - bits.leading_zeros();
    let unit = exponent + length as i32 - 24;
    if bits == 0 || unit + 23 < -126 {
        return 0.0;
    }
    let dropped = length.saturating_sub(24);
    let mut mantissa = bits >> dropped << 24u32.saturating_sub(length);
    let (rest, half) = (bits & ((1 << dropped) - 1), (1u128 << dropped) / 2);
    let above = rest > half || (rest == half && (more || mantissa % 2 == 1));
    if dropped > 0 && above {
        mantissa += 1;
    }
    let size = mantissa as f64 * f64::from(unit).exp2();
    (if negative { -size } else { size }) as f32
}

#[cfg(test)]
mod tests {
    use super::{Number, Sum};

    #[test]
    fn sums_and_quotients_are_rounded_once() {
        let mut sum = Sum::new(2, 20);
        for value in [1.5f32, -0.25, 3.0e-5, 7.0] {
            sum.add(value, false);
        }
        sum.add(7.0, true);
        let exact = 1.25 + f64::from(3.0e-5f32);
        assert_eq!(sum.number().float(), exact as f32);
        for count in [1, 3, 7, 1000] {
            assert_eq!(sum.number().over(Number::new(count, 0)), (exact / count as f64) as f32, "{count}");
        }
        assert_eq!(Number::new(-(1 << 25) - 3, 0).float(), -((1 << 25) as f32) - 4.0);
        assert!(Sum::new(6, 3).number().over(Number::new(1, 0)) == 0.0);
    }
}
