//! The search for the scale (and minimum) of a group that make its rounding error least: what the K formats are worth
//! their name for. Candidates come from scaling the range of the weights a little up and down; for each, the codes are
//! fixed and the scale follows by least squares.

/// `weight ~ scale * code - minimum`, with `minimum >= 0`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Affine {
    pub scale: f32,
    pub minimum: f32,
}

/// Scales tried on both sides of the range's own, and their distance in codes.
const STEPS: i32 = 12;
const STEP: f32 = 0.1;

/// Sums are taken in this many parts, side by side, as processors like it.
const LANES: usize = 8;

/// What a group's weights give to every sum, with zeros behind the last.
type Lanes = [f32; LANES];

/// No scale in f16 reaches weights as far apart as this; below it, nothing overflows.
const FAR: f32 = 1e30;

/// The best scale and minimum for codes from 0 to `top`, weighing each error with `importance`. The scale is infinite for
/// weights that are too far apart for any.
pub fn affine(weights: &[f32], importance: &[f32], top: u8) -> Affine {
    let low = weights.iter().copied().fold(0.0, f32::min);
    let high = weights.iter().copied().fold(low, f32::max);
    if high <= low {
        return Affine { scale: 0.0, minimum: -low };
    }
    let top = f32::from(top);
    let unit = top / (high - low);
    if high - low >= FAR || !unit.is_finite() {
        return Affine { scale: if unit.is_finite() { f32::INFINITY } else { 0.0 }, minimum: -low };
    }
    // In units of the range's own scale, from `low`: y = (weight - low) * unit.
    let groups = weights.chunks(LANES).zip(importance.chunks(LANES)).map(|(weights, importance)| {
        let (mut y, mut w): (Lanes, Lanes) = Default::default();
        y.iter_mut().zip(weights).for_each(|(y, weight)| *y = (weight - low) * unit);
        w[..importance.len()].copy_from_slice(importance);
        (y, w)
    });
    let groups: Vec<(Lanes, Lanes)> = groups.collect();
    let total = |of: fn(f32, f32) -> f32| {
        groups.iter().flat_map(|(y, w)| y.iter().zip(w)).map(|(&y, &w)| f64::from(of(y, w))).sum::<f64>()
    };
    let (w, y, yy) = (total(|_, w| w), total(|y, w| w * y), total(|y, w| w * y * y));
    // Where the minimum would be 0.
    let zero = f64::from(-low * unit);
    let mut best = (f64::INFINITY, 0.0, 0.0);
    for step in -STEPS..=STEPS {
        let factor = (top + step as f32 * STEP) / top;
        // Sums of codes, squared codes, and products of both with y.
        let (mut c, mut cc, mut yc): (Lanes, Lanes, Lanes) = Default::default();
        for (y, w) in &groups {
            for i in 0..LANES {
                let code = cut(nearest_whole(y[i] * factor), 0.0, top);
                let weighed = w[i] * code;
                c[i] += weighed;
                cc[i] += weighed * code;
                yc[i] += weighed * y[i];
            }
        }
        let [c, cc, yc] = [c, cc, yc].map(|lanes| lanes.iter().copied().map(f64::from).sum::<f64>());
        let determinant = w * cc - c * c;
        let (mut scale, mut offset) = ((w * yc - y * c) / determinant, (cc * y - c * yc) / determinant);
        // A minimum can only lower weights; and equal codes, as a constant group has, leave it undetermined.
        if determinant <= 0.0 || offset > zero {
            (scale, offset) = ((yc - zero * c) / cc, zero);
        }
        let error = yy + scale * scale * cc + offset * offset * w
            - 2.0 * (scale * yc + offset * y - scale * offset * c);
        if error < best.0 {
            best = (error, scale, offset);
        }
    }
    let (_, scale, offset) = best;
    let unit = f64::from(unit);
    Affine { scale: (scale / unit) as f32, minimum: ((zero - offset) / unit) as f32 }
}

/// The best scale for `weight ~ scale * value`, where a weight scaled by a candidate's inverse takes the value that
/// `nearest` gives it. Each error weighs as much as the weight's own square. `reach` is the value that the largest weight
/// should take, with its sign.
pub fn symmetric(weights: &[f32], reach: f32, step: f32, nearest: impl Fn(f32) -> f32) -> f32 {
    let largest = super::largest(weights);
    if largest == 0.0 {
        return 0.0;
    }
    // In units of the largest weight, of whose square nothing overflows: y, and its square.
    let groups = weights.chunks(LANES).map(|weights| {
        let mut y = Lanes::default();
        y.iter_mut().zip(weights).for_each(|(y, weight)| *y = weight / largest);
        (y, y.map(|y| y * y))
    });
    let groups: Vec<(Lanes, Lanes)> = groups.collect();
    let mut best = (0.0, 0.0);
    for i in -9..=9 {
        let inverse = reach + i as f32 * step;
        let (mut yv, mut vv): (Lanes, Lanes) = Default::default();
        for (y, w) in &groups {
            for i in 0..LANES {
                let value = nearest(y[i] * inverse);
                let weighed = w[i] * value;
                yv[i] += weighed * y[i];
                vv[i] += weighed * value;
            }
        }
        let [yv, vv] = [yv, vv].map(|lanes| lanes.iter().copied().map(f64::from).sum::<f64>());
        // The squared error is a constant less this.
        if vv > 0.0 && yv * yv > best.0 * vv {
            best = (yv * yv / vv, yv / vv);
        }
    }
    (best.1 * f64::from(largest)) as f32
}

/// How much an error in each weight matters: large weights more, none nothing.
pub fn importance(weights: &[f32]) -> Vec<f32> {
    let squares: f64 = weights.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
    let mean = (squares / weights.len().max(1) as f64).sqrt() as f32;
    weights.iter().map(|x| mean + x.abs()).collect()
}

/// Whole numbers from `low` to `high`, rounded to the nearest.
pub fn whole(low: f32, high: f32) -> impl Fn(f32) -> f32 {
    move |x| cut(nearest_whole(x), low, high)
}

/// `x` from `low` to `high`; unlike `clamp`, one instruction for each, because NaN is not asked about.
fn cut(x: f32, low: f32, high: f32) -> f32 {
    let x = if x > low { x } else { low };
    if x < high { x } else { high }
}

/// The nearest whole number, of two the even one, for what is far below 2^22: adding 1.5 * 2^23 leaves no room for a
/// fraction. `f32::round` is a call on processors as old as the compiler has to assume.
fn nearest_whole(x: f32) -> f32 {
    const NO_FRACTION: f32 = 12_582_912.0;
    (x + NO_FRACTION) - NO_FRACTION
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_groups_are_found_exactly() {
        let weights: Vec<f32> = (0..16).map(|code| 0.25 * code as f32 - 1.5).collect();
        let found = affine(&weights, &importance(&weights), 15);
        assert!((found.scale - 0.25).abs() < 1e-6 && (found.minimum - 1.5).abs() < 1e-5, "{found:?}");
        let weights: Vec<f32> = (-4..4).map(|code| 0.5 * code as f32).collect();
        assert!((symmetric(&weights, -4.0, 0.1, whole(-4.0, 3.0)) - 0.5).abs() < 1e-6);
    }

    #[test]
    fn zeros_constants_and_positive_groups_have_a_scale() {
        assert_eq!(affine(&[0.0; 4], &[0.0; 4], 15), Affine::default());
        assert_eq!(symmetric(&[0.0; 4], -4.0, 0.1, whole(-4.0, 3.0)), 0.0);
        let constant = affine(&[2.0; 4], &importance(&[2.0; 4]), 15);
        assert!((constant.scale * 15.0 - 2.0).abs() < 0.2 && constant.minimum == 0.0, "{constant:?}");
        let negative = affine(&[-2.0; 4], &importance(&[-2.0; 4]), 15);
        assert!(negative.minimum > 0.0);
    }
}
