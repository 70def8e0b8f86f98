//! Oracle of `activation`: the int8 codes of 32 values.

/// Values that share a scale.
pub const UNIT: usize = 32;

/// A unit's scale and codes.
#[derive(Clone, Debug, PartialEq)]
pub struct Unit {
    /// The largest size over 127; 0 for a unit of (nearly) zeros.
    pub scale: f32,
    /// Each value over the scale, rounded to the nearest whole number.
    pub codes: [i8; UNIT],
}

/// Quantizes a unit; `values` behind the end of a column are 0.
pub fn unit(values: &[f32]) -> Unit {
    let most = values.iter().fold(0f32, |most, x| most.max(x.abs()));
    let mut codes = [0; UNIT];
    if most <= SMALLEST {
        return Unit { scale: 0.0, codes };
    }
    for (code, &x) in codes.iter_mut().zip(values) {
        *code = exact(x, most).round_ties_even() as i8;
    }
    Unit { scale: most / 127.0, codes }
}

/// Units whose largest value is not above this are zeros.
const SMALLEST: f32 = 1e-35;

/// The value in units of the scale.
fn exact(x: f32, most: f32) -> f64 {
    f64::from(x) * 127.0 / f64::from(most)
}

/// The codes that f32 arithmetic may give each value: two where it is half-way between them within rounding.
pub fn allowed(values: &[f32]) -> Vec<Vec<i8>> {
    let most = values.iter().fold(0f32, |most, x| most.max(x.abs()));
    let mut codes = vec![vec![0]; UNIT];
    if most > SMALLEST {
        for (codes, &x) in codes.iter_mut().zip(values) {
            let exact = exact(x, most);
            // Division within 2.5 ulp, one product.
            let error = exact.abs() * 6.0 / 16_777_216.0;
            *codes = vec![(exact - error).round_ties_even() as i8];
            let other = (exact + error).round_ties_even() as i8;
            if other != codes[0] {
                codes.push(other);
            }
        }
    }
    codes
}
