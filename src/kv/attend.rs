//! Host of `attend`: attention over keys and values as they are kept, in splits of the tokens, and the merging of the splits.

use super::cut::Cut;
use super::layout::Page;
use super::trial::Trial;
use crate::codec::lloyd_max::Centroids;
use crate::codec::{CacheType, Codec};
use crate::gpu::dispatch::Class;
use crate::gpu::{Bound, Buffer, Context, Kernel, Reflection, Spec, Work, params, to_u32, tune};
use crate::{Error, Result};

/// Interchangeable implementations: HEADS query heads share a load of keys and values, TOKENS tokens a load of queries, and
/// centroids of turbo types come from workgroup memory or from selections; those of `attend_tile` share loads among the heads of
/// neighbouring queries too, of vectors of up to 32 PARTS values. The first runs on every adapter; what memory the others
/// need depends on the dimensions, and which differ on the types ([`fits`]).
pub const VARIANTS: &[Spec] = &[
    SHARED.consts(&[("HEADS", 1), ("TOKENS", 4)]),
    SHARED.consts(&[("HEADS", 4), ("TOKENS", 1)]),
    SHARED.consts(&[("HEADS", 4), ("TOKENS", 4)]),
    SHARED.consts(&[("HEADS", 8), ("TOKENS", 2)]),
    SELECTED.consts(&[("HEADS", 1), ("TOKENS", 4)]),
    SELECTED.consts(&[("HEADS", 4), ("TOKENS", 1)]),
    SELECTED.consts(&[("HEADS", 4), ("TOKENS", 4)]),
    SELECTED.consts(&[("HEADS", 8), ("TOKENS", 2)]),
    TILED,
    TILED.consts(LONG),
    TILED_SELECTED,
    TILED_SELECTED.consts(LONG),
];
const SHARED: Spec = Spec::new("kv/attend").slot("centroids", "lib/centroids_shared");
const SELECTED: Spec = Spec::new("kv/attend").slot("centroids", "lib/centroids_selected");
const TILED: Spec = Spec::new("kv/attend_tile").slot("centroids", "lib/centroids_shared");
const TILED_SELECTED: Spec = Spec::new("kv/attend_tile").slot("centroids", "lib/centroids_selected");
/// As many sums of an invocation, for longer vectors and fewer rows.
const LONG: &[(&str, u32)] = &[("TM", 2), ("PARTS", 8)];

/// For few tokens, as those are that stay f16.
pub const SHORT: Spec = VARIANTS[1];

/// The merging of splits.
pub const STAGES: &[Spec] = &[Spec::new("kv/attend_merge")];

params! {
    struct AttendParams {
        rows: u32,
        queries: u32,
        tables: u32,
        kv_heads: u32,
        heads: u32,
        d4: u32,
        splits: u32,
        first_split: u32,
        all_splits: u32,
        split_tokens: u32,
        partials: u32,
        width: u32,
        block: u32,
        table_width: u32,
        key_page: u32,
        value_page: u32,
        key_words: u32,
        value_words: u32,
        means: u32,
        window: u32,
        sinks: u32,
        scale: f32,
        soft_cap: f32,
    }
}
params! {
    struct MergeParams {
        rows: u32,
        heads: u32,
        splits: u32,
        rotated: u32,
        partials: u32,
        d4: u32,
        block: u32,
        width: u32,
    }
}

params! {
    /// Where the tokens lie that a query sees, as the shader has it: `sinks` first ones, then a ring of `ring` tokens (none if 0)
    /// that begins at `start`.
    #[derive(PartialEq, Eq)]
    pub struct Span {
        /// Tokens that lie here.
        tokens: u32,
        /// First ones of them whose positions are 0, 1 and so on.
        sinks: u32,
        /// Tokens of the ring that the others lie in, or 0 if they lie in order.
        ring: u32,
        /// Where the ring begins.
        start: u32,
        /// The position of the first token behind the sinks.
        base: u32,
        /// Tokens of the sequence up to the query's own, wherever they lie.
        length: u32,
        /// No token before this one is seen: splits begin here.
        first: u32,
    }
}

/// The heads of an attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heads {
    /// Heads of keys and values.
    pub kv: u64,
    /// Query heads of each of them.
    pub each: u64,
    /// The head dimension, that of outputs; of latents their rank.
    pub dim: u64,
}

/// What a query sees, and how logits are made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rule {
    /// Logits are `scale * <q, k>`.
    pub scale: f32,
    /// Logits become `cap * tanh(logit / cap)`; none at 0.
    pub soft_cap: f32,
    /// Only so many of the newest tokens are seen.
    pub window: u32,
    /// And so many first ones, whatever the window.
    pub sinks: u32,
}

impl Rule {
    /// `1 / sqrt(dim)`, no cap, all tokens.
    pub fn plain(dim: u64) -> Self {
        Self { scale: (1.0 / (dim as f64).sqrt()) as f32, soft_cap: 0.0, window: u32::MAX, sinks: 0 }
    }
}

/// Keys and values of sequences, in pages.
#[derive(Clone, Copy, Debug)]
pub struct Kept<'a> {
    /// `[blocks, kv_heads]` pages of keys; where values are latents, of rope keys.
    pub keys: &'a Buffer,
    /// `[blocks, kv_heads]` pages of values, or of latents.
    pub values: &'a Buffer,
    /// What [`Cut::table`] gives.
    pub table: &'a Buffer,
    /// `[queries]` of [`Span`].
    pub spans: &'a Buffer,
    /// The page of the keys.
    pub key_page: Page,
    /// The page of the values.
    pub value_page: Page,
    /// What [`sizes`] gives.
    pub sizes: &'a Buffer,
    /// What was subtracted from the keys, `[kv_heads, dim]` f32 in their basis; nothing is from latents.
    pub mean: Option<&'a Buffer>,
}

/// What the choice of a variant depends on.
pub fn class(keys: CacheType, values: CacheType, heads: Heads) -> Class {
    Class::new(&[("dim", heads.dim), ("each", heads.each)]).of(format!("{keys}:{values}"))
}

/// From so many rows on, tiles of them are worth it: half of a tile at least.
pub const TILE_ROWS: u64 = 16;

/// The variant for these types and heads, and for so many neighbouring queries; where nothing is known of the adapter, the one
/// that their rows suggest.
///
/// # Errors
/// The device's.
pub fn fastest(gpu: &Context, keys: &Codec, values: &Codec, heads: Heads, queries: u64) -> Result<Spec> {
    let mut list = Vec::new();
    for spec in VARIANTS.iter().filter(|spec| queries * heads.each >= TILE_ROWS || !is_tiled(spec)) {
        let shader = Reflection::of(spec)?;
        let [own, tokens] = if is_tiled(spec) {
            [shader.constant("ROWS")?, shader.constant("TILE")?]
        } else {
            [shader.constant("HEADS")?, shader.constant("TOKENS")?]
        };
        let (own, all) = (u64::from(own), if is_tiled(spec) { queries * heads.each } else { heads.each });
        // One that has room for more rows than there are wastes half of what it does at most.
        if own <= 2 * all && fits(spec, keys, values)? {
            let software = gpu.adapter.is_software();
            // A processor has caches for what a tile shares, and pays for barriers.
            let suited = !(software && is_tiled(spec));
            list.push((suited, own.min(all), tokens, selects(spec) == software, *spec));
        }
    }
    list.sort_by_key(|&(suited, own, tokens, centroids, _)| {
        std::cmp::Reverse((suited, own, tokens, centroids))
    });
    let list: Vec<Spec> = list.into_iter().map(|(.., spec)| spec).collect();
    let mut trial = None;
    let attempt = |spec: &Spec| {
        let trial = match &mut trial {
            Some(trial) => trial,
            none => none.insert(Trial::new(gpu, keys, values, heads, queries)?),
        };
        trial.attempt(gpu, spec)
    };
    tune::choose(gpu, &list, class(keys.ty(), values.ty(), heads), attempt).copied()
}

/// Vec4s of a partial sum: the output, the largest logit and the sum of exponentials.
pub fn partial_width(dim: u64) -> u64 {
    dim / 4 + 1
}

/// The sizes of the centroids of keys and of values, eight each; 0 where a type has fewer or none.
pub fn sizes(keys: CacheType, values: CacheType, dim: usize) -> Vec<f32> {
    let of = |ty: CacheType| {
        let values = if ty.is_turbo() { Centroids::of(dim, ty.code_bits()).values() } else { Vec::new() };
        let mut sizes: Vec<f32> = values.into_iter().filter(|&size| size > 0.0).collect();
        sizes.resize(8, 0.0);
        sizes
    };
    [of(keys), of(values)].concat()
}

/// Workgroup memory that every adapter has; a variant that takes more for some vectors is not made for them.
const MEMORY: u32 = 16 << 10;

/// Whether `spec`, one of [`VARIANTS`], has room for what these codecs make: which ones to choose from. Heads have room in all of
/// them.
///
/// # Errors
/// Those of [`Attend::load`], but for the device's.
pub fn fits(spec: &Spec, keys: &Codec, values: &Codec) -> Result<bool> {
    let alike = selects(spec) && ![keys, values].iter().any(|codec| codec.ty().is_turbo());
    let made = !(is_tiled(spec) && values.is_latent());
    Ok(made && !alike && has_room(&specialized(spec, keys, values, false)?)?)
}

/// Whether centroids come from selections.
fn selects(spec: &Spec) -> bool {
    spec.slots == SELECTED.slots
}

/// Whether loads are shared among neighbouring queries.
pub fn is_tiled(spec: &Spec) -> bool {
    spec.file == TILED.file
}

/// Whether a specialized `spec` has workgroup memory for its vectors, and lanes for a value of a token: at least as many as it has
/// heads, and no more than there are; in tiles, sums for all of its values.
///
/// # Errors
/// [`Error::Shader`] if it is none of `attend`.
fn has_room(spec: &Spec) -> Result<bool> {
    let shader = Reflection::of(spec)?;
    if is_tiled(spec) {
        let values = 4 * shader.constant("PARTS")? * shader.constant("ACROSS")?;
        return Ok(shader.workgroup_bytes <= MEMORY && shader.constant("DIM")? <= values);
    }
    let parts = shader.constant("DIM")? / 4 / shader.constant("PART")?;
    let lanes = shader.constant("HEADS")?..=shader.constant("WG")?;
    Ok(shader.workgroup_bytes <= MEMORY && lanes.contains(&parts))
}

/// `spec` for what these codecs make; see [`Attend::load`].
///
/// # Errors
/// [`Error::Input`] for a pair of codecs that no kernel reads.
pub fn specialized(spec: &Spec, keys: &Codec, values: &Codec, by_token: bool) -> Result<Spec> {
    let fault = |text: String| Err(Error::Input(text));
    if by_token && keys.ty() != CacheType::F16 {
        return fault(format!("keys of {} cannot lie by token", keys.ty()));
    }
    if values.is_latent() && !(keys.ty().is_for_rope() && keys.rotation().is_none()) {
        return fault(format!(
            "rope keys of {} beside latents: expected f16, or q8_0 or q4_0 without a rotation",
            keys.ty()
        ));
    }
    if !values.is_latent() && keys.dim() != values.dim() {
        return fault(format!("keys have a dimension of {}, values of {}", keys.dim(), values.dim()));
    }
    if is_tiled(spec) && values.is_latent() {
        return fault(format!("{} takes no latents", spec.label()));
    }
    let spec = if is_tiled(spec) { *spec } else { spec.set("LATENT", values.is_latent().into()) };
    Ok(spec
        .set("KEY", keys.ty() as u32)
        .set("VALUE", values.ty() as u32)
        .set("DIM", to_u32(values.dim(), "the head dimension")?)
        .set("KEY_DIM", to_u32(keys.dim(), "the head dimension")?)
        .set("BY_TOKEN", by_token.into()))
}

/// The kernels, for one pair of types and one head dimension.
#[derive(Debug)]
pub struct Attend {
    variant: Spec,
    attend: Kernel<AttendParams>,
    merge: Kernel<MergeParams>,
    /// Query heads of a workgroup, or its rows if they are those of several queries.
    heads: u64,
    /// Whether the values are latents.
    latent: bool,
    /// Of what the pages of keys have, and of values.
    dims: [u64; 2],
    /// Bound where nothing was subtracted.
    no_mean: Buffer,
}

impl Attend {
    /// Compiles `spec`, one of [`VARIANTS`], for what these codecs make. `by_token`: keys lie as values do, which only those
    /// without scales can (`keep`'s). If the values are latents ([`Codec::latent`]), `keys` are their rope keys.
    ///
    /// # Errors
    /// [`Error::Input`] for keys that have scales and lie by token, for rope keys that are neither f16 nor plain q8_0 or q4_0,
    /// and for keys and values of different dimensions; [`Error::Unsupported`] for vectors that `spec` has no room for; the device's.
    pub fn load(gpu: &Context, spec: &Spec, keys: &Codec, values: &Codec, by_token: bool) -> Result<Self> {
        let variant = *spec;
        let spec = specialized(spec, keys, values, by_token)?;
        if !has_room(&spec)? {
            let (label, dim) = (spec.label(), values.dim());
            return Err(Error::Unsupported(format!("{label} has no room for vectors of {dim} values")));
        }
        let attend: Kernel<AttendParams> = Kernel::load(gpu, &spec)?;
        Ok(Self {
            variant,
            heads: attend.reflection().constant(if is_tiled(&spec) { "ROWS" } else { "HEADS" })?.into(),
            attend,
            merge: Kernel::load(gpu, &STAGES[0])?,
            latent: values.is_latent(),
            dims: [keys.dim() as u64, values.dim() as u64],
            no_mean: Buffer::new(gpu, "no mean", 0, 16)?,
        })
    }

    /// The one of [`VARIANTS`] that it is.
    pub fn variant(&self) -> Spec {
        self.variant
    }

    /// How the tokens that these queries see are cut into splits: as many as keep an adapter busy, if each has something to do.
    /// `runs` are the numbers of neighbouring queries, those of one sequence each.
    pub fn cut(&self, gpu: &Context, spans: &[Span], runs: &[u64], heads: Heads) -> Cut {
        /// Workgroups that fill an adapter, and a processor.
        const GROUPS: [u64; 2] = [2048, 64];
        let wanted = GROUPS[usize::from(gpu.adapter.is_software())];
        if is_tiled(&self.variant) {
            Cut::of_tiles(spans, runs, heads.each, self.heads).share(wanted, heads.kv)
        } else {
            Cut::of_queries(spans, runs).share(wanted, heads.kv * heads.each.div_ceil(self.heads))
        }
    }

    /// Binds the attention of `queries` (`[queries, kv * each, dim]`, in the basis of the keys) over what is kept, into `partial`
    /// (`[queries, kv, all splits, each]`, each of [`partial_width`] vec4s). A query of latents is `rank` values in their basis, then
    /// those for the rope key. `(first, all)`: where its splits lie among all that are merged.
    ///
    /// # Errors
    /// [`Error::Input`] for pages of other dimensions or blocks, and for latents that something was subtracted from; those of
    /// binding.
    #[allow(clippy::too_many_arguments, reason = "they are an attention's own inputs, each of another kind")]
    pub fn bind(
        &self,
        gpu: &Context,
        queries: &Buffer,
        kept: &Kept<'_>,
        partial: &Buffer,
        heads: Heads,
        rule: Rule,
        cut: &Cut,
        (first, all): (u64, u64),
    ) -> Result<Bound> {
        let Heads { kv, each, dim } = heads;
        let (asked, tables) = (kept.spans.rows(), kept.table.rows());
        let groups =
            if is_tiled(&self.variant) { tables * kv } else { asked * kv * each.div_ceil(self.heads) };
        let words = |buffer: &Buffer| to_u32(buffer.bytes() / 4, "the number of words of a cache");
        if kept.key_page.block != kept.value_page.block {
            return Err(Error::Input("keys and values do not lie in blocks of as many tokens".into()));
        }
        let [key_dim, value_dim] = [kept.key_page.dim, kept.value_page.dim];
        if [key_dim, value_dim] != self.dims || dim != value_dim {
            return Err(Error::Input(format!(
                "heads of {dim} over pages of {key_dim} and {value_dim}: expected pages of {:?}, of keys and of values",
                self.dims
            )));
        }
        if self.latent && kept.mean.is_some() {
            return Err(Error::Input(
                "latents are values too: no mean can have been subtracted from them".into(),
            ));
        }
        let query = if self.latent { key_dim + value_dim } else { key_dim };
        let params = AttendParams {
            rows: to_u32(groups * cut.count, "the number of splits")?,
            queries: to_u32(asked, "the number of queries")?,
            tables: to_u32(tables, "the number of sequences")?,
            kv_heads: to_u32(kv, "the number of kv heads")?,
            heads: to_u32(each, "the number of heads")?,
            d4: to_u32(query / 4, "the head dimension")?,
            splits: to_u32(cut.count, "the number of splits")?,
            first_split: to_u32(first, "the number of splits")?,
            all_splits: to_u32(all, "the number of splits")?,
            split_tokens: to_u32(cut.tokens, "the number of tokens")?,
            partials: to_u32(asked * kv * all * each, "the number of splits")?,
            width: to_u32(partial_width(dim), "the head dimension")?,
            block: to_u32(kept.key_page.block, "the tokens of a block")?,
            table_width: to_u32(kept.table.bytes() / 4 / tables.max(1), "the number of blocks")?,
            key_page: to_u32(kept.key_page.len(), "the words of a page")?,
            value_page: to_u32(kept.value_page.len(), "the words of a page")?,
            key_words: words(kept.keys)?,
            value_words: words(kept.values)?,
            means: if kept.mean.is_some() { to_u32(kv, "the number of kv heads")? } else { 0 },
            window: rule.window,
            sinks: rule.sinks,
            scale: rule.scale,
            soft_cap: rule.soft_cap,
        };
        let bits = |page: &Page| page.dim as f64 * page.bits_per_value();
        let bytes = (cut.read * kv) as f64 * (bits(&kept.key_page) + bits(&kept.value_page)) / 8.0;
        let work = Work { bytes: bytes as u64, ops: 2 * cut.seen * kv * each * (query + dim) };
        let buffers = [
            ("queries", queries),
            ("keys", kept.keys),
            ("values", kept.values),
            ("table", kept.table),
            ("spans", kept.spans),
            ("sizes", kept.sizes),
            ("mean", kept.mean.unwrap_or(&self.no_mean)),
            ("partial", partial),
        ];
        self.attend.bind(gpu, &buffers, params, work)
    }

    /// Binds the merging of all splits into `output` (`[sequences, kv * each, dim]`); the sum of the first `rotated` ones is
    /// rotated back.
    ///
    /// # Errors
    /// Those of binding.
    pub fn bind_merge(
        &self,
        gpu: &Context,
        partial: &Buffer,
        output: &Buffer,
        heads: Heads,
        (splits, rotated): (u64, u64),
    ) -> Result<Bound> {
        let (rows, width) = (output.rows(), partial_width(heads.dim));
        let params = MergeParams {
            rows: to_u32(rows, "the number of heads")?,
            heads: to_u32(heads.each, "the number of heads")?,
            splits: to_u32(splits, "the number of splits")?,
            rotated: to_u32(rotated, "the number of splits")?,
            partials: to_u32(rows * splits, "the number of splits")?,
            d4: to_u32(heads.dim / 4, "the head dimension")?,
            block: 1 << heads.dim.trailing_zeros(),
            width: to_u32(width, "the head dimension")?,
        };
        let work = Work { bytes: 16 * rows * splits * width, ops: 2 * rows * splits * heads.dim };
        self.merge.bind(gpu, &[("partial", partial), ("output", output)], params, work)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{HEAD_DIMS, LATENT_DIMS, Side};

    fn heads(ty: CacheType, side: Side, dim: usize) -> Codec {
        Codec::new(ty, side, dim).unwrap()
    }

    #[test]
    fn variants_fit_into_the_memory_of_every_adapter() {
        for dim in HEAD_DIMS {
            let [keys, values] = [Side::Keys, Side::Values].map(|side| heads(CacheType::Q8_0, side, dim));
            let fit = |spec: &&Spec| fits(spec, &keys, &values).unwrap();
            let fitting: Vec<&Spec> = VARIANTS.iter().filter(fit).collect();
            let tiled = fitting.iter().filter(|spec| is_tiled(spec)).count();
            assert_eq!((fitting.len() - tiled, tiled), (4, if dim <= 128 { 2 } else { 1 }), "{dim}");
        }
        for rank in LATENT_DIMS {
            let rope = heads(CacheType::F16, Side::Keys, 64);
            let latents = Codec::latent(CacheType::Turbo4, rank).unwrap();
            let fit = VARIANTS.iter().map(|spec| fits(spec, &rope, &latents).unwrap());
            assert_eq!(
                fit.collect::<Vec<_>>(),
                [[true, true, true, rank == 256]; 2]
                    .concat()
                    .into_iter()
                    .chain([false; 4])
                    .collect::<Vec<_>>(),
                "{rank}"
            );
        }
    }

    #[test]
    fn codecs_that_no_kernel_takes_together_are_refused() {
        let latents = Codec::latent(CacheType::Q8_0, 512).unwrap();
        let refused = |keys: &Codec, values: &Codec, by_token| {
            let error = specialized(&VARIANTS[0], keys, values, by_token).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            error.to_string()
        };
        for ty in [CacheType::Turbo4, CacheType::Fp8, CacheType::Kivi4] {
            let text = refused(&heads(ty, Side::Keys, 64), &latents, false);
            assert!(text.contains(&format!("rope keys of {ty}")), "{text}");
        }
        let q8_0 = heads(CacheType::Q8_0, Side::Keys, 64);
        assert!(refused(&q8_0.clone().rotate(true), &latents, false).contains("without a rotation"));
        assert!(refused(&q8_0, &latents, true).contains("by token"));
        assert!(
            refused(&q8_0, &heads(CacheType::F16, Side::Values, 128), false).contains("64, values of 128")
        );
        specialized(&VARIANTS[0], &q8_0, &latents, false).unwrap();
    }
}
