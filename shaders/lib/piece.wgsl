//! piece: what a call adds to a sequence, and where tokens lie that stay as they are

struct Piece {
    slot: u32,      // where the sequence's recent tokens lie
    row: u32,       // of its first fresh token
    base: u32,      // position of that
    tokens: u32,    // fresh ones
    first: u32,     // tokens to encode, counted behind the sinks
    end: u32,
}

// The place of a position among the vectors of all slots: its own among the sinks, else that of the ring.
fn slot_of(slot: u32, head: u32, position: u32) -> u32 {
    var at = position;
    if (position >= params.sinks) {
        at = params.sinks + (position - params.sinks) % params.ring;
    }
    return (slot * params.kv_heads + head) * (params.sinks + params.ring) + at;
}
