// Which points scores of f32 cannot decide. A score is |c|^2 - 2 x.c (of directions too: their lengths are not quite 1, and
// differences tell nearly parallel ones apart where products do not), or -2 x.c for products; its error is at most RELATIVE times
// (|c|^2 + 2 |x| |c|), by the roundings of the sums, of the norm and of the score itself. A centroid nearer than the one
// found, at distance D, is no longer than |x| + D, which bounds its error without a look at it.

// The list of these points: its length, workgroups of rerank that are through, all points ever listed (two words), points.
const TIES_HEAD: u32 = 4u;
const UNIT: f32 = 5.9604645e-8;         // of a rounding to f32
const SMALLEST: f32 = 1.1754944e-38;    // below it, products may count as 0

// Bounds the error of a sum of products relative to the sum of their sizes. A rounding for each product: compilers make of
// add_product a chain of four fused operations on the sum, which WGSL cannot forbid.
fn relative_error() -> f32 {
    return f32(4u * params.d4 + 16u) * UNIT;
}

// What may be lost of a score to products that count as 0.
fn lost() -> f32 {
    return f32(16u * (params.d4 + 1u)) * SMALLEST;
}

// relative: bounds the error of a score; best, second: the two least scores of the point; norm: |c|^2 of the best; most: the
// largest |c|^2; square: |x|^2.
fn undecided(relative: f32, best: f32, second: f32, norm: f32, most: f32, square: f32) -> bool {
    // Squares of the smallest numbers may count as 0 too.
    let x = sqrt(square + lost());
    var c = sqrt(most + lost());
    var squares = 0.0;
    if (params.metric != DOT) {
        let error = relative * (square + norm + 2.0 * x * sqrt(norm + lost())) + lost();
        c = min(c, x + sqrt(max(best + square + error, 0.0)));
        squares = c * c;
    }
    // What counts as 0 in a square is not 0 in a product.
    c = max(c, sqrt(lost()));
    // A hundredth more, for the roundings of this bound itself.
    let error = 1.01 * relative * (squares + 2.0 * x * c) + lost();
    // Written so that what is no number is not decided either.
    return !(second - best > 2.0 * error);
}

// Puts a point on the list.
fn list(row: u32) {
    let at = atomicAdd(&ties[0], 1u);
    if (at < params.n) {
        atomicStore(&ties[TIES_HEAD + at], row);
    }
}
