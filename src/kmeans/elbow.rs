//! The elbow of a falling curve, by Kneedle (Satopaa, Albrecht, Irwin and Raghavan 2011).

/// The place of the elbow of `y` over rising `x`, if there is one.
///
/// Both are brought to [0, 1], `y` turned over so that it rises; the difference to the diagonal is largest where the curve bends.
/// A local maximum of it is an elbow if the difference falls by more than the mean step of `x` (the method's sensitivity 1)
/// before it rises again. The curve is taken as it is, without smoothing. Of several elbows it is the one of the largest difference,
/// the first of equals.
pub(super) fn elbow(x: &[f64], y: &[f64]) -> Option<usize> {
    let &[first, .., last] = x else { return None };
    let (least, most) =
        (y.iter().copied().fold(f64::INFINITY, f64::min), y.iter().copied().fold(-f64::INFINITY, f64::max));
    let height = most - least;
    if height == 0.0 || y.iter().any(|y| !y.is_finite()) {
        return None;
    }
    let place = |(x, y): (&f64, &f64)| (most - y) / height - (x - first) / (last - first);
    let above: Vec<f64> = x.iter().zip(y).map(place).collect();
    let step = 1.0 / (above.len() - 1) as f64;
    let is_elbow = |&at: &usize| {
        let falls = |pair: &&[f64]| pair[1] <= pair[0];
        let behind = above[at..].windows(2).take_while(falls).last().map_or(above[at], |pair| pair[1]);
        above[at - 1] < above[at] && behind < above[at] - step
    };
    (1..above.len() - 1).filter(is_elbow).max_by(|&a, &b| above[a].total_cmp(&above[b]).then(b.cmp(&a)))
}

#[cfg(test)]
mod tests {
    use super::elbow;

    /// The x at the elbow of a curve over 1, 2, 3 and so on.
    fn of(y: &[f64]) -> Option<usize> {
        let x: Vec<f64> = (1..=y.len()).map(|x| x as f64).collect();
        elbow(&x, y).map(|at| at + 1)
    }

    #[test]
    fn a_curve_bends_where_the_method_says() {
        // As kneed 0.9.0 says: KneeLocator(x, y, curve="convex", direction="decreasing", S=1).knee.
        assert_eq!(of(&[100.0, 50.0, 20.0, 5.0, 4.0, 3.5, 3.2, 3.0]), Some(4));
        assert_eq!(of(&[1000.0, 400.0, 250.0, 180.0, 150.0, 130.0, 120.0, 112.0, 107.0, 104.0]), Some(3));
        let hyperbola: Vec<f64> = (1..=25).map(|x| 1.0 / f64::from(x)).collect();
        assert_eq!(of(&hyperbola), Some(5));
        let x: Vec<f64> = (0..7).map(|i| f64::from(2 << i)).collect();
        let y = [900.0, 420.0, 60.0, 48.0, 40.0, 33.0, 28.0];
        assert_eq!(elbow(&x, &y).map(|at| x[at]), Some(8.0));
    }

    #[test]
    fn scale_and_offset_change_no_elbow() {
        let y = [100.0, 50.0, 20.0, 5.0, 4.0, 3.5, 3.2, 3.0];
        for (by, plus) in [(1e-20, 0.0), (1e20, 0.0), (1.0, -1000.0)] {
            assert_eq!(of(&y.map(|y| y * by + plus)), Some(4));
        }
    }

    #[test]
    fn of_several_bends_the_farthest_from_the_diagonal_counts() {
        // Of the first curve kneed takes the first, at 2.
        assert_eq!(of(&[100.0, 78.0, 77.0, 76.0, 75.0, 20.0, 4.0, 3.0, 2.0, 1.0, 0.5, 0.0]), Some(7));
        assert_eq!(of(&[100.0, 10.0, 10.0, 10.0, 10.0, 9.0, 1.0, 0.9, 0.8, 0.0]), Some(2));
    }

    #[test]
    fn some_curves_have_none() {
        for y in [
            &[][..],
            &[3.0],
            &[3.0, 1.0],
            &[9.0, 6.0, 3.0, 0.0],
            &[5.0, 5.0, 5.0, 5.0, 5.0],
            // It falls faster and faster.
            &[100.0, 99.0, 95.0, 80.0, 0.0],
            &[9.0, f64::NAN, 1.0, 0.5, 0.4],
            &[9.0, f64::INFINITY, 1.0, 0.5, 0.4],
        ] {
            assert_eq!(of(y), None, "{y:?}");
        }
    }
}
