//! Oracle of `bid`: the cheapest cluster of a point, to the bit.

use super::strict;

/// What a point is to a cluster, as `bid` has it: the squared distance, times `factor`, or with `dot` the negative product.
pub fn distance(x: &[f32], c: &[f32], factor: f32, dot: bool) -> f32 {
    let of_dot = || {
        let fours = x.chunks(4).zip(c.chunks(4));
        fours.fold(0.0, |sum: f32, (x, c)| sum - strict::dot(x, c))
    };
    if dot { of_dot() * factor } else { strict::seed_square(x, c) * factor }
}

/// Of the `costs` of a point, the number of the least, the lowest of equals, and how much more the next one is: the largest f32
/// where there is none.
pub fn bid(costs: impl IntoIterator<Item = f32>) -> (u32, f32) {
    let (mut label, mut least, mut next) = (0, f32::MAX, f32::MAX);
    let mut count = 0;
    for (at, cost) in (0..).zip(costs) {
        count += 1;
        if cost < least {
            (next, least, label) = (least, cost, at);
        } else if cost < next {
            next = cost;
        }
    }
    (label, if count == 1 { f32::MAX } else { next - least })
}
