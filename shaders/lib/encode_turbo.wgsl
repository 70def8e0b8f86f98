//! turbo: the nearest centroids of a rotated vector, and its norm or the scale without a bias (src/codec/turbo.rs)
//! use lib/half
//! use lib/rounded

@group(0) @binding(8) var<storage, read> centroids: array<f32>;            // [24] ascending; from 16 on the squares of boundaries

// Below it a norm becomes 0 as a half.
const LEAST: f32 = 2.220446049250313e-16;
const SQUARES: u32 = 16u;

var<workgroup> terms: array<f32, 512>;
var<workgroup> norms: array<f32, 2>;

fn measure(lane: u32) {
    workgroupBarrier();
    for (var i = lane; i < 2u * DIM; i += WG) {
        terms[i] = vectors[i] * vectors[i];
    }
    add_by_halves(lane);
    if (lane < 2u) {
        norms[lane] = terms[lane * DIM];
    }
    workgroupBarrier();
    if (params.unbiased > 0u) {
        for (var i = lane; i < 2u * DIM; i += WG) {
            terms[i] = vectors[i] * centroids[code(i / DIM, i % DIM)];
        }
        add_by_halves(lane);
    }
}

// The sums of both tokens' terms come to stand at their first ones.
fn add_by_halves(lane: u32) {
    var live = DIM;
    for (var half = 1u << firstLeadingBit(DIM - 1u); half > 0u; half /= 2u) {
        workgroupBarrier();
        for (var i = lane; i < 2u * half; i += WG) {
            let at = i / half * DIM + i % half;
            if (i % half + half < live) {
                terms[at] += terms[at + half];
            }
        }
        live = half;
    }
    workgroupBarrier();
}

fn code(token: u32, channel: u32) -> u32 {
    let norm = norms[token];
    if (norm < LEAST) {
        return 0u;
    }
    let above = 1u << (LOW + HIGH - 1u);
    let r = vectors[token * DIM + channel];
    var size = 0u;
    for (var i = 0u; i + 1u < above; i++) {
        size += select(0u, 1u, r * r > centroids[SQUARES + i] * norm);
    }
    return select(above + size, above - 1u - size, r < 0.0);
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
