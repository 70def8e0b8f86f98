//! Oracle of `keep`: which slot a position has.

/// The slot of a position: among the sinks its own, behind them that of the ring.
pub fn slot(position: u64, sinks: u64, ring: u64) -> u64 {
    if position < sinks { position } else { sinks + (position - sinks) % ring.max(1) }
}

/// The position that each slot holds once the positions below `end` came by, in order, if any did.
pub fn positions(end: u64, sinks: u64, ring: u64) -> Vec<Option<u64>> {
    let mut slots = vec![None; (sinks + ring) as usize];
    for position in 0..end {
        if position < sinks || ring > 0 {
            slots[slot(position, sinks, ring) as usize] = Some(position);
        }
    }
    slots
}
