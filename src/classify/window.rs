//! The places of a convolution: what its kernels are told of shapes, and the order of its weights.

use super::layout::Layout;
use crate::gpu::dispatch::Class;
use crate::gpu::{Context, Reflection, Spec, params, to_u32, tune};
use crate::network::{Value, Window};
use crate::{Error, Result};

params! {
    pub(super) struct WindowParams {
        rows: u32,
        sites: u32,
        site_tiles: u32,
        in_words: u32,
        out_words: u32,
        out_channels: u32,
        height: u32,
        width: u32,
        out_height: u32,
        out_width: u32,
        taps: u32,
        kernel_x: u32,
        stride_y: u32,
        stride_x: u32,
        dilation_y: u32,
        dilation_x: u32,
        pad_y: u32,
        pad_x: u32,
        group_in: u32,
        group_out: u32,
        group_words: u32,
        slab: u32,
        in_total: u32,
        pad_word: u32,
        planes: u32,
    }
}

/// Four input channels (rows) by four output channels of one element of a window.
pub type Block<T> = [[T; 4]; 4];

/// What a lane computes, and how many neighbouring lanes compute the same words.
#[derive(Clone, Copy, Debug)]
pub struct Tile {
    /// Places.
    pub sites: u64,
    /// Words of four channels.
    pub columns: u64,
    /// Lanes of the same words: all of a workgroup, where it computes several places in each.
    pub lanes: u64,
}

impl Tile {
    /// That of a variant, as its shader has it.
    ///
    /// # Errors
    /// [`Error::Shader`] if it has none.
    pub fn of(shader: &Reflection) -> Result<Self> {
        let (sites, columns) = (shader.constant("SITES")?.into(), shader.constant("COLUMNS")?.into());
        Ok(Self { sites, columns, lanes: if sites > 1 { shader.workgroup[0].into() } else { 1 } })
    }
}

/// Of `variants`, those that can serve these shapes and may be the fastest, the likeliest first: small tiles where there
/// is little to do or groups see different channels, larger ones where many places share the weights.
pub fn candidates(gpu: &Context, geometry: &Geometry, variants: &[Spec]) -> Result<Vec<Spec>> {
    let places = geometry.batch * Layout::of(&geometry.output).positions as u64;
    let words = geometry.out_words() as u64;
    let mut able = Vec::new();
    for spec in tune::supported(gpu, variants)? {
        let Tile { sites, columns, .. } = Tile::of(&*Reflection::of(spec)?)?;
        let fits = match places {
            _ if geometry.groups > 1 => columns == 1 && (sites == 1) == (places < FEW),
            0..FEW => sites == 1,
            _ => sites > 1 && (columns == 1 || words > 1),
        };
        if fits {
            able.push(((columns > 1) != (words > 1), *spec));
        }
    }
    // A processor that plays a GPU loads each component by itself, and the last ones are made for that.
    if gpu.adapter.is_software() {
        able.reverse();
    }
    able.sort_by_key(|&(narrow, _)| narrow);
    Ok(able.into_iter().map(|(_, spec)| spec).collect())
}

/// Below so many places, a device is not filled anyway.
const FEW: u64 = 256;

/// The shapes of a convolution.
#[derive(Clone, Debug)]
pub struct Geometry {
    /// Examples in a batch.
    pub batch: u64,
    /// One example of the input.
    pub input: Value,
    /// One example of the output.
    pub output: Value,
    /// Where it looks.
    pub window: Window,
    /// Groups of channels.
    pub groups: usize,
}

impl Geometry {
    fn group_in(&self) -> usize {
        self.input.channels() / self.groups
    }

    fn group_out(&self) -> usize {
        self.output.channels() / self.groups
    }

    /// Words that output word `column` reads at one place: the first, and the one behind the last.
    fn words_of(&self, column: usize) -> (usize, usize) {
        let last = (column * 4 + 3).min(self.output.channels() - 1) / self.group_out();
        let first = column * 4 / self.group_out();
        (first * self.group_in() / 4, ((last + 1) * self.group_in()).div_ceil(4))
    }

    fn out_words(&self) -> usize {
        Layout::of(&self.output).c4()
    }

    /// The most words that an output word reads at one place.
    pub fn group_words(&self) -> usize {
        let reads = (0..self.out_words()).map(|column| self.words_of(column));
        reads.map(|(first, end)| end - first).max().unwrap_or(0)
    }

    /// `spec` with the overrides of lib/window. What is off by itself is not set: a spec has not room for all overrides.
    pub(super) fn settle(&self, spec: Spec) -> Spec {
        match (self.is_point(), self.window.star) {
            (true, _) => spec.set("POINT", 1),
            (false, true) => spec.set("STAR", 1),
            (false, false) => spec,
        }
    }

    /// Whether each place is computed from the same place alone.
    pub fn is_point(&self) -> bool {
        self.window == Window::POINT && self.input.picture() == self.output.picture()
    }

    /// What the choice of a variant depends on.
    pub fn class(&self) -> Class {
        let (k, n) = (self.products() / self.batch.max(1), self.output.elements() as u64);
        Class::new(&[("b", self.batch), ("k", k), ("n", n)])
    }

    /// Multiply-adds for a batch.
    pub fn products(&self) -> u64 {
        self.batch * (self.output.elements() * self.group_in() * self.window.taps()) as u64
    }

    /// Weights `[out, in / groups, taps]` as the kernels read them: `[out words, taps, group words]` blocks, 0 where
    /// a channel belongs to another group, or to none.
    pub fn arrange<T: Copy + Default>(&self, weights: &[T]) -> Vec<Block<T>> {
        let (taps, group_words, in_words) =
            (self.window.taps(), self.group_words(), Layout::of(&self.input).c4());
        let mut blocks = vec![Block::default(); self.out_words() * taps * group_words];
        for (out, weights) in weights.chunks_exact(self.group_in() * taps).enumerate() {
            let column = out / 4;
            // As in the shader: no word lies behind the last.
            let start = self.words_of(column).0.min(in_words - group_words);
            let channel = out / self.group_out() * self.group_in();
            for (i, weights) in weights.chunks_exact(taps).enumerate() {
                let (word, lane) = ((channel + i) / 4 - start, (channel + i) % 4);
                for (tap, &weight) in weights.iter().enumerate() {
                    blocks[(column * taps + tap) * group_words + word][lane][out % 4] = weight;
                }
            }
        }
        blocks
    }

    /// The parameters for these tiles, and constants of `slab` words.
    pub(super) fn params(&self, tile: Tile, slab: u64) -> Result<WindowParams> {
        let (input, output) = (Layout::of(&self.input), Layout::of(&self.output));
        let Tile { sites, columns, lanes } = tile;
        if columns > 1 && self.groups > 1 {
            return Err(Error::Input("tiles of several words are for convolutions of one group".into()));
        }
        let all = self.batch * output.positions as u64;
        let site_tiles = all.div_ceil(sites).next_multiple_of(lanes);
        let rows = site_tiles * (output.c4() as u64).div_ceil(columns);
        let in_total = self.batch * input.words() as u64;
        to_u32(all * output.c4() as u64, "the number of words of a layer")?;
        let size = |n: usize| to_u32(n, "a size of a layer");
        let ([height, width], [out_height, out_width]) = (self.input.picture(), self.output.picture());
        Ok(WindowParams {
            rows: to_u32(rows, "the number of tiles of a layer")?,
            sites: to_u32(all, "the number of places of a layer")?,
            site_tiles: to_u32(site_tiles, "the number of tiles of a layer")?,
            in_words: size(input.c4())?,
            out_words: size(output.c4())?,
            out_channels: size(output.channels)?,
            height: size(height)?,
            width: size(width)?,
            out_height: size(out_height)?,
            out_width: size(out_width)?,
            taps: size(self.window.taps())?,
            kernel_x: size(self.window.kernel[1])?,
            stride_y: size(self.window.strides[0])?,
            stride_x: size(self.window.strides[1])?,
            dilation_y: size(self.window.dilations[0])?,
            dilation_x: size(self.window.dilations[1])?,
            pad_y: size(self.window.pads[0])?,
            pad_x: size(self.window.pads[1])?,
            group_in: size(self.group_in())?,
            group_out: size(self.group_out())?,
            group_words: size(self.group_words())?,
            slab: to_u32(slab, "a layer's constants")?,
            in_total: to_u32(in_total, "the number of words of a layer")?,
            pad_word: 0,
            planes: 1,
        })
    }
}
