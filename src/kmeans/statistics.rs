//! What one reading of all points says of them.

use super::frame::Transform;
use super::source::{GRAIN, Source};
use crate::{Error, Result};

/// Where the square of the largest value is below this, all are scaled up: those of differences are smaller by far.
const LEAST_SQUARE: f64 = 1e-16;

/// The most powers of two from what is usual to the largest value where steps of two levels have the digits of an f32 for both.
const USUAL_RANGE: f64 = 20.0;

/// By how much the largest sum of squares of a row may exceed the mean one to say something of most: normal values do by 16 to
/// 30, and the error bound of a score grows with the square root.
const NEAR_SQUARE: f64 = 64.0;

/// What is known of all rows after reading them once.
#[derive(Clone, Debug)]
pub struct Statistics {
    /// The mean of each column.
    pub mean: Vec<f64>,
    /// The mean of the columns' variances.
    pub variance: f64,
    /// What each column's values are like.
    pub extents: Vec<Extent>,
    /// The largest value, in size.
    pub size: f64,
    /// By how many powers of two that is larger than what is usual in the column of the smallest values, by the mean of their
    /// exponents.
    pub range: f64,
    /// The first row of zeros.
    pub zero: Option<u64>,
}

/// The values of a column.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    /// The least.
    pub low: f32,
    /// The largest.
    pub high: f32,
    /// All are multiples of two to this power; of zeros alone, the largest there is.
    pub step: i32,
    /// The sum of the powers of two that are just below the values other than 0, and how many there are.
    pub exponents: (i64, u64),
}

impl Extent {
    /// Of no value.
    const NONE: Self =
        Self { low: f32::INFINITY, high: f32::NEG_INFINITY, step: i32::MAX, exponents: (0, 0) };

    fn add(&mut self, value: f32) {
        self.low = self.low.min(value);
        self.high = self.high.max(value);
        self.step = self.step.min(step_of(value));
        if value != 0.0 {
            self.exponents.0 += i64::from((value.to_bits() >> 23) & 0xff) - 127;
            self.exponents.1 += 1;
        }
    }

    fn join(self, other: Self) -> Self {
        Self {
            low: self.low.min(other.low),
            high: self.high.max(other.high),
            step: self.step.min(other.step),
            exponents: (self.exponents.0 + other.exponents.0, self.exponents.1 + other.exponents.1),
        }
    }

    /// The number nearest to `mean` that can be taken from every value without rounding; 0 where there is none, as in columns
    /// that reach from values near 0 to values far from it.
    fn centre(self, mean: f64) -> f32 {
        let reach = (f64::from(self.high) - mean).max(mean - f64::from(self.low));
        // Differences are multiples of a step, which 24 bits count; and the centre is an f32 itself.
        let finest = exponent_above(1.001 * reach).max(exponent_above(mean.abs())) - 24;
        if finest > self.step || mean == 0.0 {
            return 0.0;
        }
        let step = f64::from(finest).exp2();
        ((mean / step).round() * step) as f32
    }
}

/// The largest power of two that an f32 is a multiple of; 0 is one of all.
fn step_of(value: f32) -> i32 {
    let bits = value.to_bits();
    let (exponent, mantissa) = ((bits >> 23 & 0xff) as i32, bits & 0x7f_ffff);
    if exponent == 0 && mantissa == 0 {
        return i32::MAX;
    }
    let whole = if exponent == 0 { mantissa } else { mantissa | 1 << 23 };
    exponent.max(1) - 150 + whole.trailing_zeros() as i32
}

/// The least power of two above a number, or that of the smallest f32.
fn exponent_above(value: f64) -> i32 {
    value.max(f64::from(f32::MIN_POSITIVE)).log2().floor() as i32 + 1
}

impl Statistics {
    /// What is taken from each column before euclidean distances are computed, so that scores keep the digits that tell points
    /// far from 0 apart: its mean, as nearly as neither these values nor those of `others` (given centroids) lose a digit by
    /// it.
    pub fn centre(&self, others: Option<&Self>) -> Vec<f32> {
        let columns = self.extents.iter().zip(&self.mean).enumerate();
        let of = |(at, (extent, &mean)): (usize, (&Extent, &f64))| {
            let other = others.and_then(|others| others.extents.get(at));
            extent.join(other.copied().unwrap_or(Extent::NONE)).centre(mean)
        };
        columns.map(of).collect()
    }

    /// The same, for values as far out and as fine as those of `others` too.
    pub(super) fn reaching(self, others: &Self) -> Self {
        let extents = self.extents.iter().zip(&others.extents).map(|(&own, &other)| own.join(other));
        Self { extents: extents.collect(), size: self.size.max(others.size), ..self }
    }

    /// Whether the largest values leave the usual ones too few of the steps of two levels ([`Scales`](super::centroid::Scales)).
    pub(super) fn wide(&self) -> bool {
        self.range > USUAL_RANGE
    }

    /// The largest size of a value of each column, less its `centre` where it has one.
    fn sizes<'a>(&'a self, centre: &'a [f32]) -> impl Iterator<Item = f64> + 'a {
        self.extents.iter().enumerate().map(|(at, extent)| {
            let centre = centre.get(at).copied().map_or(0.0, f64::from);
            (f64::from(extent.high) - centre).max(centre - f64::from(extent.low))
        })
    }

    /// The largest size of a value after `transform`.
    pub(super) fn size_of(&self, transform: &Transform) -> f64 {
        match transform {
            Transform::Centred(centre) => self.sizes(centre).fold(0.0, f64::max),
            Transform::Unit => 1.0,
            Transform::Plain => self.size,
        }
    }

    /// What no row's sum of squares is larger than after `transform`, if it is near to those of most.
    pub(super) fn square_of(&self, transform: &Transform) -> Option<f64> {
        let within = |centre: &[f32]| {
            let square: f64 = self.sizes(centre).map(|size| size * size).sum();
            (square <= NEAR_SQUARE * self.squares(1.0, centre)).then_some(square)
        };
        match transform {
            Transform::Centred(centre) => within(centre),
            Transform::Unit => Some(1.0),
            Transform::Plain => within(&[]),
        }
    }

    /// The sum of the squares of `n` points less their `centre`, where there is one.
    pub(super) fn squares(&self, n: f64, centre: &[f32]) -> f64 {
        let centre = centre.iter().copied().map(f64::from).chain(std::iter::repeat(0.0));
        let off: f64 = self.mean.iter().zip(centre).map(|(&mean, centre)| (mean - centre).powi(2)).sum();
        n * (self.variance * self.mean.len() as f64 + off)
    }

    /// The power of two that `n` points are multiplied with, and `others` (given centroids) too, so that neither a squared
    /// distance nor a sum of all overflows an f32, nor do all of them vanish in it; 1 for most data.
    pub(super) fn factor(&self, n: u64, others: Option<&Self>) -> f32 {
        let (n, d) = (n as f64, self.mean.len() as f64);
        let means: f64 = self.mean.iter().map(|mean| mean * mean).sum();
        let size = others.map_or(self.size, |others| self.size.max(others.size));
        let sum = n * (d * self.variance + means);
        let largest = 16.0 * (d * size * size).max(sum);
        if largest == 0.0 || (largest <= f64::from(f32::MAX) && size * size >= LEAST_SQUARE) {
            return 1.0;
        }
        let room = if size * size < LEAST_SQUARE { size.powi(-2) } else { f64::from(f32::MAX) / largest };
        // Both it and its reciprocal are f32.
        (room.log2() / 2.0).floor().clamp(-126.0, 126.0).exp2() as f32
    }

    /// What they are of the same points times a power of two.
    pub(super) fn scaled(&self, factor: f32) -> Self {
        let by = f64::from(factor);
        let extent = |extent: &Extent| Extent {
            low: extent.low * factor,
            high: extent.high * factor,
            step: extent.step.saturating_add(factor.log2() as i32),
            ..*extent
        };
        Self {
            mean: self.mean.iter().map(|mean| mean * by).collect(),
            variance: self.variance * by * by,
            extents: self.extents.iter().map(extent).collect(),
            size: self.size * by,
            ..*self
        }
    }

    /// As [`Statistics::of`], of rows divided by their norms, as [`Metric::Cosine`](super::Metric::Cosine) clusters them: scaling
    /// rows changes nothing. Rows of zeros stay as they are.
    ///
    /// # Errors
    /// Those of [`Statistics::of`].
    pub fn of_directions(source: &dyn Source, what: &str) -> Result<Self> {
        Self::read(source, &Transform::Unit, what)
    }

    /// Reads all of `source`; the result does not depend on how much is read at a time.
    ///
    /// # Errors
    /// [`Error::Shape`] for no rows or no columns, [`Error::NotFinite`] for such values, which it places in `what`; those of reading.
    pub fn of(source: &dyn Source, what: &str) -> Result<Self> {
        Self::read(source, &Transform::Plain, what)
    }

    fn read(source: &dyn Source, transform: &Transform, what: &str) -> Result<Self> {
        let (n, d) = (source.rows(), source.cols());
        if n == 0 || d == 0 {
            return Err(Error::Shape(format!("{what} is empty: {n} rows of {d} values")));
        }
        let (mut mean, mut squares, mut zero) = (vec![0.0; d], vec![0.0; d], None);
        let mut extents = vec![Extent::NONE; d];
        let mut values = vec![0.0; GRAIN.min(n) as usize * d];
        for start in (0..n).step_by(GRAIN as usize) {
            let rows = GRAIN.min(n - start);
            let values = &mut values[..rows as usize * d];
            source.read(start..start + rows, values)?;
            if let Some(at) = values.iter().position(|value| !value.is_finite()) {
                let (value, row, column) = (values[at], start + (at / d) as u64, at % d);
                let name = if value.is_nan() { "NaN".into() } else { format!("infinity ({value})") };
                return Err(Error::NotFinite(format!(
                    "Input {what} contains {name}: row {row}, column {column} (from 0): leave such rows out, or fill them"
                )));
            }
            for (row, values) in (start..).zip(values.chunks_exact_mut(d)) {
                if values.iter().all(|&value| value == 0.0) {
                    zero.get_or_insert(row);
                } else {
                    transform.apply_to(values);
                }
            }
            let (mut sums, mut own) = (vec![0.0; d], vec![0.0; d]);
            for row in values.chunks_exact(d) {
                for (i, &value) in row.iter().enumerate() {
                    sums[i] += f64::from(value);
                    extents[i].add(value);
                }
            }
            let means: Vec<f64> = sums.iter().map(|sum| sum / rows as f64).collect();
            for row in values.chunks_exact(d) {
                for ((own, &value), mean) in own.iter_mut().zip(row).zip(&means) {
                    *own += (f64::from(value) - mean).powi(2);
                }
            }
            // Chan, Golub and LeVeque 1979.
            let (before, here) = (start as f64, rows as f64);
            for i in 0..d {
                let way = means[i] - mean[i];
                mean[i] += way * here / (before + here);
                squares[i] += own[i] + way * way * before * here / (before + here);
            }
        }
        let variance = squares.iter().sum::<f64>() / n as f64 / d as f64;
        let size = |extent: &Extent| f64::from(extent.low.abs().max(extent.high.abs()));
        let size = extents.iter().map(size).fold(0.0, f64::max);
        let usual = |extent: &Extent| extent.exponents.0 as f64 / extent.exponents.1.max(1) as f64;
        let filled = extents.iter().filter(|extent| extent.exponents.1 > 0);
        let least = filled.map(usual).fold(f64::INFINITY, f64::min);
        let range = if size > 0.0 { size.log2() - least } else { 0.0 };
        Ok(Self { mean, variance, extents, size, range, zero })
    }
}

#[cfg(test)]
mod tests {
    use super::{Extent, Statistics, step_of};
    use crate::io::npy::Matrix;
    use crate::kmeans::frame::{Transform, norm};
    use crate::random::Random;

    #[test]
    fn steps_are_the_lowest_bits() {
        assert_eq!([1.0, 3.0, 0.75, -96.0, 1e30].map(step_of), [0, 0, -2, 5, 77]);
        assert_eq!(
            [f32::from_bits(1), f32::MIN_POSITIVE, 1.0 + f32::EPSILON].map(step_of),
            [-149, -126, -23]
        );
    }

    #[test]
    fn bounds_of_squares_hold_and_are_near() {
        let mut random = Random::new(4);
        for far in [0.0, 1e4] {
            for outlier in [1.0, 100.0] {
                let (rows, cols) = (200, 7);
                let mut values: Vec<f32> =
                    random.floats(rows * cols).iter().map(|value| far + value).collect();
                values[..cols].iter_mut().for_each(|value| *value *= outlier);
                let data = Matrix { rows, cols, values };
                let statistics = Statistics::of(&data, "X").unwrap();
                for transform in [Transform::Plain, Transform::Centred(statistics.centre(None))] {
                    let mut largest = 0.0f64;
                    for row in data.values.chunks(cols) {
                        let mut row = row.to_vec();
                        transform.apply_to(&mut row);
                        largest = largest.max(norm(&row).powi(2));
                    }
                    match statistics.square_of(&transform) {
                        Some(square) => assert!(square >= largest && outlier == 1.0, "{far} {outlier}"),
                        None => assert!(outlier > 1.0, "{far}"),
                    }
                }
            }
        }
    }

    #[test]
    fn no_digit_is_lost_by_a_centre() {
        let mut random = Random::new(3);
        let mut centred = 0;
        for round in 0..400 {
            let at = (random.below(60) as f32 - 30.0).exp2() * random.floats(1)[0];
            let width = (random.below(40) as f32 - 30.0).exp2();
            let grid = (random.below(20) as f32 - 10.0).exp2();
            let mut values: Vec<f32> = random.floats(20).iter().map(|value| at + width * value).collect();
            if round % 3 == 0 {
                values.iter_mut().for_each(|value| *value = (*value / grid).round() * grid);
            }
            let mut extent = Extent::NONE;
            values.iter().for_each(|&value| extent.add(value));
            let mean = values.iter().map(|&value| f64::from(value)).sum::<f64>() / values.len() as f64;
            let centre = extent.centre(mean);
            for &value in &values {
                assert_eq!(
                    f64::from(value - centre),
                    f64::from(value) - f64::from(centre),
                    "{value} {centre}"
                );
            }
            if centre != 0.0 {
                centred += 1;
                let width = f64::from(extent.high) - f64::from(extent.low);
                assert!((f64::from(centre) - mean).abs() <= 1e-3 * width + 1e-7 * mean.abs());
            }
        }
        assert!(centred > 50, "{centred}");
        // Values far from 0 are centred, and so are whole numbers; what reaches from 0 to far away is not.
        let of = |values: &[f32]| {
            let mut extent = Extent::NONE;
            values.iter().for_each(|&value| extent.add(value));
            extent.centre(values.iter().map(|&value| f64::from(value)).sum::<f64>() / values.len() as f64)
        };
        assert_eq!(of(&[1e6 + 0.25, 1e6 + 0.75]), 1e6 + 0.5);
        assert_eq!(of(&[0.0, 255.0, 18.0]), 91.0);
        assert_eq!(of(&[0.123, 1e5]), 0.0);
    }
}
