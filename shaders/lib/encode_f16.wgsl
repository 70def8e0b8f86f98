//! f16: the nearest half (src/codec/f16.rs)
//! use lib/half

fn measure(lane: u32) {
    workgroupBarrier();
}

fn code(token: u32, channel: u32) -> u32 {
    return half_bits(vectors[token * DIM + channel]);
}

fn scale(token: u32, half: u32) -> u32 {
    return 0u;
}
