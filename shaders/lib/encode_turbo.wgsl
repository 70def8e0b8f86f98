//! turbo: the nearest centroids of a rotated vector, and its norm or the scale without a bias (src/codec/turbo.rs)
//! use lib/half
//! use lib/rounded

@group(0) @binding(8) var<storage, read> centroids: array<f32>;            // [24] ascending; from 16 on the squares of boundaries

// Below it a norm becomes 0 as a half.
const LEAST: f32 = 2.220446049250313e-16;
const SQUARES: u32 = 16u;

// The squares of the boundaries times the norm of each token, eight places each.
var<workgroup> edges: array<f32, 16>;
var<workgroup> norms: array<f32, 2>;
var<workgroup> terms: array<f32, 2 * MOST>;
var<workgroup> found: array<u32, 2 * MOST>;

fn measure(lane: u32) {
    workgroupBarrier();
    for (var i = lane; i < 2u * DIM; i += WG) {
        terms[i] = vectors[i] * vectors[i];
    }
    add_by_halves(lane);
    if (lane < 16u) {
        let norm = terms[lane / 8u * DIM];
        edges[lane] = centroids[SQUARES + lane % 8u] * norm;
        norms[lane / 8u] = norm;
    }
    workgroupBarrier();
    for (var i = lane; i < 2u * DIM; i += WG) {
        let centroid = nearest(i / DIM, vectors[i]);
        found[i] = centroid;
        terms[i] = vectors[i] * centroids[centroid];
    }
    if (params.unbiased > 0u) {
        add_by_halves(lane);
    }
    workgroupBarrier();
}

// The sums of both tokens' terms come to stand at their first ones.
fn add_by_halves(lane: u32) {
    var live = DIM;
    for (var half = 1u << firstLeadingBit(DIM - 1u); half > 0u; half /= 4u) {
        workgroupBarrier();
        // Two halvings at once, or the last one.
        let width = max(half / 2u, 1u);
        for (var i = lane; i < 2u * width; i += WG) {
            let token = i / width * DIM;
            var sum = sum_of(token, i % width, half, live);
            if (half > 1u) {
                sum += sum_of(token, i % width + width, half, live);
            }
            terms[token + i % width] = sum;
        }
        live = width;
    }
    workgroupBarrier();
}

fn sum_of(token: u32, at: u32, half: u32, live: u32) -> f32 {
    if (at + half < live) {
        return terms[token + at] + terms[token + at + half];
    }
    return terms[token + at];
}

// The centroid nearest to a rotated value, by its place.
fn nearest(token: u32, r: f32) -> u32 {
    if (norms[token] < LEAST) {
        return 0u;
    }
    let above = 1u << (LOW + HIGH - 1u);
    var size = 0u;
    for (var i = 0u; i + 1u < above; i++) {
        size += select(0u, 1u, r * r > edges[token * 8u + i]);
    }
    return select(above + size, above - 1u - size, r < 0.0);
}

fn code(token: u32, channel: u32) -> u32 {
    return found[token * DIM + channel];
}

fn scale(token: u32, half: u32) -> u32 {
    let norm = norms[token];
    if (norm < LEAST) {
        return 0u;
    }
    if (params.unbiased > 0u) {
        return half_bits(quotient(norm, terms[token * DIM]));
    }
    return half_bits(root(norm));
}
