//! Oracle of `matvec_fixed`, and of `activation_fixed`: 32 values in fixed point.

use super::activation::UNIT;

/// Values of this size and below are 0: the next are normal floats.
const LEAST: f32 = f32::MIN_POSITIVE;
/// The largest whole number of three signed digits of base 256.
const MOST: f64 = 127.0 * (65_536.0 + 256.0 + 1.0);

/// A unit's scale, and each value over it, rounded to the nearest whole number.
#[derive(Clone, Debug, PartialEq)]
pub struct Fixed {
    /// A power of two.
    pub scale: f32,
    /// Whole numbers of three digits.
    pub numbers: [i32; UNIT],
}

/// A unit in fixed point; `values` behind the end of a column are 0.
pub fn fixed(values: &[f32]) -> Fixed {
    let most = values.iter().fold(0f64, |most, &x| most.max(f64::from(x).abs()));
    // The least power of two by which all of them are well below what three digits hold.
    let mut scale = 2f64.powi(-126);
    while most >= scale * 65_024.0 * 128.0 {
        scale *= 2.0;
    }
    let mut numbers = [0; UNIT];
    for (number, &x) in numbers.iter_mut().zip(values) {
        if x.abs() >= LEAST {
            *number = (f64::from(x) / scale).round_ties_even() as i32;
        }
    }
    Fixed { scale: scale as f32, numbers }
}

/// The digits of a number between -[`MOST`] and that, the lowest first: each of a byte with its sign.
pub fn digits(number: i32) -> [i8; 3] {
    debug_assert!(f64::from(number).abs() <= MOST);
    let low = number as i8;
    let rest = (number - i32::from(low)) / 256;
    let middle = rest as i8;
    [low, middle, ((rest - i32::from(middle)) / 256) as i8]
}

/// The largest error of a product of these weights and values that is due to fixed point: half a scale for each value. It is below a
/// quarter of the bound of f32 where no unit is below 2^-100.
pub fn error(weights: &[f32], x: &[f32]) -> f64 {
    let units = weights.chunks(UNIT).zip(x.chunks(UNIT)).map(|(weights, x)| {
        let half = f64::from(fixed(x).scale) / 2.0;
        half * weights.iter().map(|&w| f64::from(w).abs()).sum::<f64>()
    });
    units.sum()
}
