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

/// The best scale and minimum for codes from 0 to `top`, weighing each error with `importance`.
pub fn affine(weights: &[f32], importance: &[f32], top: u8) -> Affine {
    let low = weights.iter().copied().fold(0.0, f32::min);
    let high = weights.iter().copied().fold(low, f32::max);
    if high <= low {
        return Affine { scale: 0.0, minimum: -low };
    }
    let top = f32::from(top);
    let mut best = (f64::INFINITY, Affine::default());
    for step in -STEPS..=STEPS {
        let inverse = (top + step as f32 * STEP) / (high - low);
        let code = |weight: f32| ((weight - low) * inverse).round().clamp(0.0, top);
        // Sums of importance, codes, squared codes, weights, and products of both.
        let (mut w, mut c, mut cc, mut x, mut xc) = (0f64, 0f64, 0f64, 0f64, 0f64);
        for (&weight, &importance) in weights.iter().zip(importance) {
            let (weight_64, code, importance) =
                (f64::from(weight), f64::from(code(weight)), f64::from(importance));
            w += importance;
            c += importance * code;
            cc += importance * code * code;
            x += importance * weight_64;
            xc += importance * weight_64 * code;
        }
        let determinant = w * cc - c * c;
        let (mut scale, mut offset) = ((w * xc - x * c) / determinant, (cc * x - c * xc) / determinant);
        // A minimum can only lower weights; and equal codes, as a constant group has, leave it undetermined.
        if determinant <= 0.0 || offset > 0.0 {
            (scale, offset) = (xc / cc, 0.0);
        }
        let error: f64 = weights
            .iter()
            .zip(importance)
            .map(|(&weight, &importance)| {
                let difference = scale * f64::from(code(weight)) + offset - f64::from(weight);
                f64::from(importance) * difference * difference
            })
            .sum();
        if error < best.0 {
            best = (error, Affine { scale: scale as f32, minimum: -offset as f32 });
        }
    }
    best.1
}

/// The best scale for `weight ~ scale * value`, where a weight scaled by a candidate's inverse takes the value that
/// `nearest` gives it. Each error weighs as much as the weight's own square. `reach` is the value that the largest weight
/// should take, with its sign.
pub fn symmetric(weights: &[f32], reach: f32, step: f32, nearest: impl Fn(f32) -> f32) -> f32 {
    let largest = super::largest(weights);
    if largest == 0.0 {
        return 0.0;
    }
    let mut best = (0.0, 0.0);
    for i in -9..=9 {
        let inverse = (reach + i as f32 * step) / largest;
        let (mut xv, mut vv) = (0f64, 0f64);
        for &weight in weights {
            let (weight_64, value) = (f64::from(weight), f64::from(nearest(weight * inverse)));
            let importance = weight_64 * weight_64;
            xv += importance * weight_64 * value;
            vv += importance * value * value;
        }
        // The squared error is a constant less this.
        if vv > 0.0 && xv * xv > best.0 * vv {
            best = (xv * xv / vv, xv / vv);
        }
    }
    best.1 as f32
}

/// How much an error in each weight matters: large weights more, none nothing.
pub fn importance(weights: &[f32]) -> Vec<f32> {
    let mean = weights.iter().map(|x| x * x).sum::<f32>() / weights.len().max(1) as f32;
    weights.iter().map(|x| mean.sqrt() + x.abs()).collect()
}

/// Whole numbers from `low` to `high`, rounded to the nearest.
pub fn whole(low: f32, high: f32) -> impl Fn(f32) -> f32 {
    move |x| x.round().clamp(low, high)
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
