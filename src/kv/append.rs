//! Host of `append`: tokens of sequences, encoded into their pages on the device as a codec does it.

use super::keep::{Piece, Pieces, Recent};
use super::layout::Page;
use crate::codec::lloyd_max::Centroids;
use crate::codec::{CacheType, Codec, GROUP, Scale, Side};
use crate::gpu::{Bound, Buffer, Context, Kernel, Spec, Work, params, to_u32};
use crate::{Error, Result};

/// Two tokens of a sequence in a workgroup.
pub const SPEC: Spec = Spec::new("kv/append");
/// The same for latents, whose vectors are longer.
const LATENTS: Spec = SPEC.consts(&[("MOST", 512)]);
/// Keys of KIVI: 32 tokens in a workgroup.
pub const BY_CHANNEL: Spec = Spec::new("kv/append_channel");
/// The encoders of all types.
pub const ENCODERS: &[&str] = &[
    "lib/encode_f16",
    "lib/encode_q8_0",
    "lib/encode_q4_0",
    "lib/encode_fp8",
    "lib/encode_kivi",
    "lib/encode_turbo",
];

/// Where the squares of boundaries begin behind the centroids, and words of both.
const SQUARES: usize = 16;
const TABLE: usize = 24;

params! {
    struct AppendParams {
        rows: u32,
        sequences: u32,
        steps: u32,
        kv_heads: u32,
        slots: u32,
        sinks: u32,
        ring: u32,
        tokens: u32,
        block: u32,
        entries: u32,
        blocks: u32,
        page: u32,
        words: u32,
        halves: u32,
        keys: u32,
        means: u32,
        rotated: u32,
        unbiased: u32,
    }
}

/// The encoder of a type.
pub fn encoder(ty: CacheType) -> &'static str {
    match ty {
        CacheType::F16 => "lib/encode_f16",
        CacheType::Q8_0 => "lib/encode_q8_0",
        CacheType::Q4_0 => "lib/encode_q4_0",
        CacheType::Fp8 => "lib/encode_fp8",
        CacheType::Kivi4 | CacheType::Kivi2 => "lib/encode_kivi",
        CacheType::Turbo4 | CacheType::Turbo3 | CacheType::Turbo2 => "lib/encode_turbo",
    }
}

/// The pages of a pool that sequences have.
#[derive(Clone, Copy, Debug)]
pub struct Pages<'a> {
    /// `[sequences, entries]`, the place in the pool of each of their blocks.
    pub table: &'a Buffer,
    /// `[blocks, kv_heads]` pages.
    pub pool: &'a Buffer,
}

/// A codec on the device.
#[derive(Debug)]
pub struct Append {
    kernel: Kernel<AppendParams>,
    page: Page,
    rotated: u64,
    unbiased: bool,
    /// Of TurboQuant: its centroids, and the squares of their boundaries.
    centroids: Option<Buffer>,
    /// Bound where nothing is subtracted.
    no_mean: Buffer,
}

impl Append {
    /// Compiles the kernel of a codec, of heads or of latents, and pages of `block` tokens.
    ///
    /// # Errors
    /// [`Error::Input`] for a block that is no multiple of 32; the device's.
    pub fn load(gpu: &Context, codec: &Codec, block: u64) -> Result<Self> {
        let ty = codec.ty();
        let page = Page::of(codec, codec.side(), block)?;
        let spec = match codec.is_latent() {
            _ if page.by_channel() => BY_CHANNEL,
            true => LATENTS.slot("encode", encoder(ty)),
            false => SPEC.slot("encode", encoder(ty)),
        };
        let (low, high) = match ty.planes() {
            [low, high] => (*low, *high),
            planes => (planes[0], 0),
        };
        let mut spec = spec.set("DIM", to_u32(codec.dim(), "the dimension")?).set("LOW", low as u32);
        if high > 0 {
            spec = spec.set("HIGH", high as u32);
        }
        let centroids = ty.is_turbo().then(|| {
            let centroids = Centroids::of(codec.dim(), ty.code_bits());
            let mut table = centroids.values();
            table.resize(SQUARES, 0.0);
            table.extend(centroids.squares());
            table.resize(TABLE, 0.0);
            Buffer::from_slice(gpu, "centroids", 1, &table)
        });
        Ok(Self {
            kernel: Kernel::load(gpu, &spec)?,
            page,
            rotated: codec.rotation().map_or(0, |rotation| rotation.block() as u64),
            unbiased: codec.kept_scale() == Scale::Unbiased,
            centroids: centroids.transpose()?,
            no_mean: Buffer::new(gpu, "no mean", 0, 4)?,
        })
    }

    /// The page that it fills.
    pub fn page(&self) -> &Page {
        &self.page
    }

    /// Binds the encoding of every piece's tokens. Those before the fresh ones are taken from `recent`; `mean`,
    /// `[kv_heads, dim]` f32, is subtracted from all of them.
    ///
    /// # Errors
    /// [`Error::Input`] for tokens that are neither recent nor fresh, or that the table has no blocks for, and for keys of
    /// KIVI that are no whole groups of 32; the device's.
    pub fn bind(
        &self,
        gpu: &Context,
        recent: &Recent<'_>,
        pieces: &Pieces<'_>,
        mean: Option<&Buffer>,
        pages: &Pages<'_>,
    ) -> Result<Bound> {
        let (page, heads) = (&self.page, recent.kv_heads);
        if recent.dim != page.dim {
            return Err(Error::Input(format!(
                "the recent tokens have a head dimension of {}, the pages of {}",
                recent.dim, page.dim
            )));
        }
        pieces.check(recent)?;
        let sequences = pieces.list.len() as u64;
        let entries = pages.table.bytes() / 4 / sequences.max(1);
        let group = if page.by_channel() { GROUP as u64 } else { 2 };
        let (mut steps, mut count) = (0, 0);
        for piece in pieces.list {
            let (first, end) = (u64::from(piece.first), u64::from(piece.end));
            self.check(recent, piece, entries)?;
            if first < end {
                steps = steps.max(end.div_ceil(group) - first / group);
                count += end - first;
            }
        }
        let params = AppendParams {
            rows: to_u32(sequences * steps * heads, "the number of tokens to encode")?,
            sequences: to_u32(sequences, "the number of sequences")?,
            steps: to_u32(steps, "the number of tokens to encode")?,
            kv_heads: to_u32(heads, "the number of kv heads")?,
            slots: to_u32(recent.slots(), "the number of sequences")?,
            sinks: to_u32(recent.sinks, "the number of sinks")?,
            ring: to_u32(recent.ring, "the number of recent tokens")?,
            tokens: to_u32(pieces.fresh.rows(), "the number of tokens")?,
            block: to_u32(page.block, "the size of a block")?,
            entries: to_u32(entries, "the number of blocks")?,
            blocks: to_u32(pages.pool.bytes() / (4 * heads * page.len()).max(1), "the number of blocks")?,
            page: to_u32(page.len(), "the size of a page")?,
            words: to_u32(page.words, "the words of a token")?,
            halves: to_u32(page.halves, "the scales of a token")?,
            keys: u32::from(page.side == Side::Keys),
            means: if mean.is_some() { to_u32(heads, "the number of kv heads")? } else { 0 },
            rotated: to_u32(self.rotated, "the head dimension")?,
            unbiased: u32::from(self.unbiased),
        };
        let values = count * heads * page.dim;
        let written = (values as f64 * page.bits_per_value() / 8.0) as u64;
        // A rotation is an addition for each value and step.
        let each = 8 + u64::from(self.rotated.max(1).ilog2());
        let work = Work { bytes: 2 * values + written, ops: each * values };
        let mut buffers = vec![
            ("pieces", pieces.buffer),
            ("recent", recent.buffer),
            ("fresh", pieces.fresh),
            ("mean", mean.unwrap_or(&self.no_mean)),
            ("table", pages.table),
            ("pool", pages.pool),
        ];
        buffers.extend(self.centroids.iter().map(|centroids| ("centroids", centroids)));
        self.kernel.bind(gpu, &buffers, params, work)
    }

    fn check(&self, recent: &Recent<'_>, piece: &Piece, entries: u64) -> Result<()> {
        let [first, end, base, tokens] = [piece.first, piece.end, piece.base, piece.tokens].map(u64::from);
        let fault = |text: String| Err(Error::Input(text));
        if first == end {
            return Ok(());
        }
        let given = (base + tokens).saturating_sub(recent.sinks);
        if first > end || end > given {
            return fault(format!(
                "tokens {first}..{end} to encode are not among the {given} behind the sinks"
            ));
        }
        if first + recent.sinks + recent.ring < base {
            return fault(format!(
                "token {first} to encode is no longer among the {} recent ones before position {base}",
                recent.ring
            ));
        }
        let Page { block, ty, .. } = self.page;
        if end.div_ceil(block) > entries {
            return fault(format!("{end} tokens do not fit into {entries} blocks of {block}"));
        }
        let group = GROUP as u64;
        if self.page.by_channel() && !(first.is_multiple_of(group) && end.is_multiple_of(group)) {
            return fault(format!(
                "keys {first}..{end} are no whole groups of {group}, which {ty} encodes together"
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::codec::rotation::Rotation;

    #[test]
    fn the_shader_has_the_signs_of_the_rotation() {
        let text = include_str!("../../shaders/lib/hadamard.wgsl");
        let lists = text.lines().filter_map(|line| line.strip_prefix("const SIGNS_")?.split_once('('));
        let hex = |word: &str| u32::from_str_radix(word.strip_prefix("0x")?.strip_suffix('u')?, 16).ok();
        let words: Vec<u32> = lists
            .flat_map(|(_, list)| list.trim_end_matches(");").split(','))
            .filter_map(|word| hex(word.trim()))
            .collect();
        assert_eq!(words, Rotation::sign_words(512));
    }
}
