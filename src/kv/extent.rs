//! How far a sequence is encoded, and which of its tokens are still kept as they came.

use std::ops::Range;

/// Rolling back so many tokens, counted from the longest that a sequence has been, leaves it as if they had never come.
pub const ROLLBACK: u64 = 32;

/// What decides where tokens lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Places {
    /// First tokens that are never encoded.
    pub sinks: u64,
    /// Newest tokens that are not encoded yet.
    pub recent: u64,
    /// Tokens that are encoded together.
    pub together: u64,
    /// Newest tokens that there is room for as they are.
    pub ring: u64,
}

/// How far a sequence is.
///
/// Tokens at positions below `sinks` stay as they are; of those behind, the first `encoded` lie in pages, and the others in the
/// ring. The ring still has all positions from `held` on, also encoded ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// Tokens.
    pub length: u64,
    /// Encoded ones, counted behind the sinks.
    pub encoded: u64,
    /// The first position that the ring has as it came, and all behind it.
    pub held: u64,
}

impl Places {
    /// With a ring that has room for the newest tokens, for those that wait for a group to be whole, and for [`ROLLBACK`].
    /// Sinks and ring together are whole groups of 32.
    pub fn new(sinks: u64, recent: u64, together: u64) -> Self {
        let waiting = recent + together - 1;
        let least = if waiting > 0 { waiting + ROLLBACK } else { 0 };
        let ring = (sinks + least).next_multiple_of(32) - sinks;
        Self { sinks, recent, together, ring }
    }

    /// Tokens that there is room for as they are.
    pub fn kept(&self) -> u64 {
        self.sinks + self.ring
    }

    /// Whether a sequence can be so far.
    pub fn hold(&self, extent: &Extent) -> bool {
        let Extent { length, encoded, held } = *extent;
        let behind = length.saturating_sub(self.sinks);
        let first = self.sinks + encoded.min(behind);
        encoded <= behind
            && encoded.is_multiple_of(self.together)
            && behind - encoded <= self.ring
            && held <= length
            && held.saturating_add(self.ring) >= length
            && (length <= first || held <= first)
    }

    /// Tokens that a sequence of this length has encoded if it never got shorter.
    fn encoded(&self, length: u64) -> u64 {
        length.saturating_sub(self.sinks + self.recent) / self.together * self.together
    }

    /// With so many more tokens.
    pub fn grown(&self, extent: Extent, tokens: u64) -> Extent {
        let length = extent.length + tokens;
        Extent {
            length,
            encoded: extent.encoded.max(self.encoded(length)),
            held: extent.held.max(length.saturating_sub(self.ring)),
        }
    }

    /// With no more than `length` tokens; and positions whose codes are to be decoded into the ring, since their group is no
    /// longer whole and the ring has lost them.
    pub fn cut(&self, extent: Extent, length: u64) -> (Extent, Option<Range<u64>>) {
        if length >= extent.length {
            return (extent, None);
        }
        let behind = length.saturating_sub(self.sinks);
        let held = extent.held.saturating_sub(self.sinks).next_multiple_of(self.together);
        let encoded =
            extent.encoded.min(self.encoded(length).max(held)).min(behind / self.together * self.together);
        let first = self.sinks + encoded;
        if encoded < behind && extent.held > first {
            return (Extent { length, encoded, held: first }, Some(first..length));
        }
        (Extent { length, encoded, held: extent.held.min(length) }, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn a_short_rollback_leaves_what_never_growing_would_have_left() {
        for (sinks, recent, together) in
            [(0, 0, 1), (4, 0, 1), (4, 64, 1), (0, 0, 32), (4, 128, 32), (3, 1, 32)]
        {
            let places = Places::new(sinks, recent, together);
            for length in 0..400 {
                let extent = places.grown(Extent::default(), length);
                for back in 0..=length.min(ROLLBACK) {
                    let (cut, decoded) = places.cut(extent, length - back);
                    let fresh = places.grown(Extent::default(), length - back);
                    assert_eq!(
                        (cut.length, cut.encoded),
                        (fresh.length, fresh.encoded),
                        "{places:?} {length} {back}"
                    );
                    assert_eq!(decoded, None);
                }
            }
        }
    }

    #[test]
    fn every_token_lies_somewhere_whatever_happens() {
        let mut random = Random::new(5);
        for (sinks, recent, together) in [(0, 0, 1), (4, 16, 1), (0, 0, 32), (4, 40, 32)] {
            let places = Places::new(sinks, recent, together);
            let mut extent = Extent::default();
            for _ in 0..2000 {
                if random.unit() < 0.6 {
                    extent = places.grown(extent, random.below(90));
                } else {
                    let length = random.below(extent.length + 1);
                    let (cut, decoded) = places.cut(extent, length);
                    assert_eq!(cut.length, length);
                    assert!(cut.encoded <= extent.encoded);
                    if let Some(positions) = decoded {
                        assert_eq!(positions, sinks + cut.encoded..length);
                        assert!(
                            positions.end <= sinks + extent.encoded
                                && positions.end - positions.start < together
                        );
                    }
                    extent = cut;
                }
                assert!(places.hold(&extent), "{places:?} {extent:?}");
            }
        }
    }
}
