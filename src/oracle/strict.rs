//! f32 arithmetic of the kernels that agree to the bit, as shaders/lib has it (strict, reduce, scan): each operation rounded by itself,
//! in a fixed order.

/// Factors below this make a product 0.
const LEAST_FACTOR: f32 = f32::MIN_POSITIVE;

/// Products below this are 0: 2^-100.
const LEAST_PRODUCT: f32 = f32::from_bits((127 - 100) << 23);

/// Invocations whose values one of them adds up, in `lib/reduce` and `lib/scan`.
const SPAN: usize = 16;

/// `x y`; 0 of what is tiny.
pub fn product(x: f32, y: f32) -> f32 {
    let product = x * y;
    let tiny = x.abs() < LEAST_FACTOR || y.abs() < LEAST_FACTOR || product.abs() < LEAST_PRODUCT;
    if tiny { 0.0 } else { product }
}

/// `|x - y|^2` of four neighbouring columns, in pairs; squares that are tiny are 0.
fn square_of_four(x: &[f32], y: &[f32]) -> f32 {
    let mut squares = [0.0; 4];
    for (square, (x, y)) in squares.iter_mut().zip(x.iter().zip(y)) {
        let way = x - y;
        let own = way * way;
        *square = if own >= LEAST_PRODUCT { own } else { 0.0 };
    }
    total(squares)
}

/// The sum of four, in pairs.
pub fn total(of: [f32; 4]) -> f32 {
    (of[0] + of[1]) + (of[2] + of[3])
}

/// `|x - y|^2` as k-means++ has it: four columns after the other.
pub fn seed_square(x: &[f32], y: &[f32]) -> f32 {
    x.chunks(4).zip(y.chunks(4)).fold(0.0, |sum, (x, y)| sum + square_of_four(x, y))
}

/// The sum of `x[i] y[i]`: those of every fourth column in their order, then the four sums in pairs.
pub fn dot(x: &[f32], y: &[f32]) -> f32 {
    let mut sums = [0.0; 4];
    for (at, (&x, &y)) in x.iter().zip(y).enumerate() {
        sums[at % 4] += product(x, y);
    }
    total(sums)
}

/// `|x - y|^2` as distances are.
pub fn square(x: &[f32], y: &[f32]) -> f32 {
    let way: Vec<f32> = x.iter().zip(y).map(|(x, y)| x - y).collect();
    dot(&way, &way)
}

/// The sum of a workgroup's values, one for each invocation: in stretches, whose sums are added up.
pub fn reduce(lanes: &[f32]) -> f32 {
    let stretches = lanes.chunks(SPAN).map(|stretch| stretch.iter().copied().reduce(|sum, x| sum + x));
    stretches.flatten().reduce(|sum, x| sum + x).unwrap_or(0.0)
}

/// The sums of the values of the invocations before each.
pub fn scan(lanes: &[f32]) -> Vec<f32> {
    let mut before = 0.0;
    let mut sums = Vec::with_capacity(lanes.len());
    for stretch in lanes.chunks(SPAN) {
        let mut sum = 0.0;
        for &value in stretch {
            sums.push(before + sum);
            sum += value;
        }
        before += sum;
    }
    sums
}

/// Sums of `values` over the invocations of a workgroup, each of which adds up every `lanes`th, and their sum.
pub fn strided(values: &[f32], lanes: usize) -> f32 {
    let mut sums = vec![0.0; lanes];
    values.iter().enumerate().for_each(|(at, value)| sums[at % lanes] += value);
    reduce(&sums)
}

/// The sum of squares of a row (`[d4]` vec4s) by a workgroup of so many invocations.
pub fn norm(row: &[f32], lanes: usize) -> f32 {
    let mut sums = vec![[0.0; 4]; lanes];
    for (column, four) in row.chunks(4).enumerate() {
        for (sum, &x) in sums[column % lanes].iter_mut().zip(four) {
            *sum += product(x, x);
        }
    }
    reduce(&sums.into_iter().map(total).collect::<Vec<_>>())
}
