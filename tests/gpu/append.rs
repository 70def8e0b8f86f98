use half::f16;
use lowbit::internals::codec::{CacheType, Codec, Encoded, Side};
use lowbit::internals::gpu::{Buffer, Context, Recorder};
use lowbit::internals::kv::append::{Append, Pages};
use lowbit::internals::kv::keep::{Keep, Piece, Pieces, Recent};
use lowbit::internals::random::Random;

use crate::harness;

#[test]
fn agrees_with_the_oracle() {
    harness::check("append");
}

const HEADS: u64 = 2;
const BLOCK: u64 = 64;
const SINKS: u64 = 3;
const RING: u64 = 64;

/// Halves of `tokens` positions, as floats, and two to a word.
fn tokens(count: u64, dim: u64, seed: u64) -> (Vec<f32>, Vec<u32>) {
    let halves: Vec<f16> =
        Random::new(seed).floats((count * HEADS * dim) as usize).into_iter().map(f16::from_f32).collect();
    let words =
        halves.chunks(2).map(|pair| u32::from(pair[0].to_bits()) | u32::from(pair[1].to_bits()) << 16);
    (halves.iter().map(|x| x.to_f32()).collect(), words.collect())
}

/// Takes the tokens of one head out of the pages of a pool.
fn taken(append: &Append, pool: &[u32], table: &[u32], head: u64, count: u64) -> Encoded {
    let page = append.page();
    let mut all = Encoded::default();
    for (entry, &block) in table.iter().enumerate() {
        let at = (u64::from(block) * HEADS + head) * page.len();
        let left = count.saturating_sub(entry as u64 * BLOCK);
        let encoded = page.take(&pool[at as usize..(at + page.len()) as usize], left);
        all.tokens += encoded.tokens;
        all.codes.extend(encoded.codes);
        all.scales.extend(encoded.scales);
    }
    all
}

/// A prompt, then steps of a few tokens: those that leave the ring are encoded, then the new ones are kept.
#[test]
fn pages_decode_to_what_the_codec_gives() {
    let gpu = harness::device();
    let dim = 96;
    let steps = [70, 1, 1, 30, 64, 2];
    let (values, words) = tokens(steps.iter().sum(), dim, 7);
    let row = (HEADS * dim) as usize;
    for (ty, side) in CacheType::ALL.into_iter().flat_map(|ty| [(ty, Side::Keys), (ty, Side::Values)]) {
        let codec = Codec::new(ty, side, dim as usize).unwrap();
        let append = Append::load(&gpu, &codec, BLOCK).unwrap();
        let keep = Keep::load(&gpu).unwrap();
        let table = [4u32, 0, 2];
        let table_buffer = Buffer::from_slice(&gpu, "table", 3, &table).unwrap();
        let pool = Buffer::new(&gpu, "pool", 5, 4 * HEADS * append.page().len()).unwrap();
        let kept = Buffer::new(&gpu, "recent", HEADS * (SINKS + RING), 2 * dim).unwrap();
        let recent = Recent { buffer: &kept, kv_heads: HEADS, dim, sinks: SINKS, ring: RING };
        let (mut encoded, mut base) = (0, 0);
        for step in steps {
            let new = &words[base as usize * row / 2..(base + step) as usize * row / 2];
            let buffer = Buffer::from_slice(&gpu, "fresh", step, new).unwrap();
            // At least 32 tokens stay recent.
            let together = codec.tokens_together() as u64;
            let until = (base + step).saturating_sub(SINKS + 32) / together * together;
            let [position, tokens, first, end] = [base, step, encoded, until].map(|x| x as u32);
            let list = [Piece { slot: 0, row: 0, base: position, tokens, first, end }];
            base += step;
            let pieces = Buffer::from_slice(&gpu, "pieces", 1, &list).unwrap();
            let pieces = Pieces { list: &list, buffer: &pieces, fresh: &buffer };
            let pages = Pages { table: &table_buffer, pool: &pool };
            let mut record = Recorder::new(&gpu);
            let encode = append.bind(&gpu, &recent, &pieces, None, &pages).unwrap();
            let keep = keep.bind(&gpu, &recent, &pieces).unwrap();
            record.dispatch(&encode);
            record.dispatch(&keep);
            record.submit().unwrap();
            encoded = until;
        }
        let words: Vec<u32> = pool.read(&gpu).unwrap();
        for head in 0..HEADS {
            let tokens = SINKS..SINKS + encoded;
            let vectors: Vec<f32> = tokens
                .flat_map(|token| &values[((token * HEADS + head) * dim) as usize..][..dim as usize])
                .copied()
                .collect();
            let found = taken(&append, &words, &table, head, encoded);
            let expected = codec.encode(&vectors).unwrap();
            assert!(found == expected, "{ty} {side:?}");
        }
    }
}

fn refused(gpu: &Context, ty: CacheType, range: std::ops::Range<u64>, base: u64) -> String {
    let codec = Codec::new(ty, Side::Keys, 64).unwrap();
    let append = Append::load(gpu, &codec, BLOCK).unwrap();
    let table = Buffer::from_slice(gpu, "table", 2, &[0u32, 1]).unwrap();
    let pool = Buffer::new(gpu, "pool", 2, 4 * HEADS * append.page().len()).unwrap();
    let kept = Buffer::new(gpu, "recent", HEADS * (SINKS + RING), 128).unwrap();
    let new = Buffer::new(gpu, "fresh", 200, 128 * HEADS).unwrap();
    let recent = Recent { buffer: &kept, kv_heads: HEADS, dim: 64, sinks: SINKS, ring: RING };
    let [first, end] = [range.start as u32, range.end as u32];
    let list = [Piece { slot: 0, row: 0, base: base as u32, tokens: 200, first, end }];
    let buffer = Buffer::from_slice(gpu, "pieces", 1, &list).unwrap();
    let pieces = Pieces { list: &list, buffer: &buffer, fresh: &new };
    let error = append.bind(gpu, &recent, &pieces, None, &Pages { table: &table, pool: &pool });
    let error = error.unwrap_err();
    assert_eq!(error.exit_code(), 2);
    error.to_string()
}

#[test]
fn tokens_that_are_nowhere_are_refused() {
    let gpu = harness::device();
    let cases = [
        (CacheType::Q8_0, 0..198, 0, "not among the 197 behind the sinks"),
        (CacheType::Q8_0, 10..20, 100, "no longer among the 64 recent ones before position 100"),
        (CacheType::Q8_0, 0..129, 0, "129 tokens do not fit into 2 blocks of 64"),
        (CacheType::Kivi4, 0..33, 0, "no whole groups of 32"),
    ];
    for (ty, range, base, part) in cases {
        let error = refused(&gpu, ty, range, base);
        assert!(error.contains(part), "{error}");
    }
}
