//! encode_group: what the values of a group have in common; a file of a type says what that is (extreme, settle, code_of)

// Values that are looked at together; every span is whole ones.
const PIECE: u32 = 8u;

struct Scaled {
    factor: f32,
    offset: f32,
    halves: u32,    // what is kept of both, the factor's half low
}

var<workgroup> extremes: array<vec2<f32>, 2 * MOST / PIECE>;
// No span is shorter than 32.
var<workgroup> scaled: array<Scaled, 2 * MOST / 32>;

// Groups of a token; the last one may be shorter.
fn spans() -> u32 {
    return (DIM + SPAN - 1u) / SPAN;
}

fn measure(lane: u32) {
    workgroupBarrier();
    for (var i = lane; i < 2u * DIM / PIECE; i += WG) {
        var found = vec2<f32>(vectors[i * PIECE]);
        for (var at = 1u; at < PIECE; at++) {
            found = extreme(found, vec2<f32>(vectors[i * PIECE + at]));
        }
        extremes[i] = found;
    }
    workgroupBarrier();
    for (var i = lane; i < 2u * spans(); i += WG) {
        let token = i / spans() * (DIM / PIECE);
        let first = i % spans() * (SPAN / PIECE);
        let end = min(first + SPAN / PIECE, DIM / PIECE);
        var found = extremes[token + first];
        for (var at = first + 1u; at < end; at++) {
            found = extreme(found, extremes[token + at]);
        }
        scaled[i] = settle(found);
    }
    workgroupBarrier();
}

fn code(token: u32, channel: u32) -> u32 {
    return code_of(scaled[token * spans() + channel / SPAN], vectors[token * DIM + channel]);
}
