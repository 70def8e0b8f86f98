//! Sequences of a cache in a file (.safetensors), from which they come back to the bit.
//!
//! Tensors of layer i: `i.keys` and `i.values` are `[blocks, words]` pages as they lie on the device, each block once; `i.recent_keys`
//! and `i.recent_values` are `[sequences, kv_heads, tokens, dim]`, the first tokens and the ring; `means` is
//! `[layers, kv_heads, head_dim]`, if keys are centred.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{KvCache, Layout, Sequence, SideStore, State};
use crate::gpu::{Buffer, Context};
use crate::io::safetensors::Part;
use crate::io::saved::{Kind, Saved};
use crate::kv::extent::Extent;
use crate::{Error, Result};

static KIND: Kind = Kind {
    format: "lowbit kv cache 1",
    refusal: "this is no state of a KV cache",
    advice: "give a file that lowbit saved",
};

/// A sequence as the file has it.
#[derive(Deserialize, Serialize)]
struct Entry {
    length: u64,
    encoded: u64,
    held: u64,
    /// Rows of the pages.
    blocks: Vec<u64>,
}

impl KvCache {
    /// What a state must have in common with the cache that it comes back to.
    fn identity(&self) -> Vec<(&'static str, String)> {
        let Layout { layers, heads, kv_heads, head_dim, rope, block, sinks, recent, rotate } = self.layout;
        let numbers = [
            ("layers", layers as u64),
            ("heads", heads as u64),
            ("kv_heads", kv_heads as u64),
            ("head_dim", head_dim as u64),
            ("rope", rope.unwrap_or(0) as u64),
            ("block", block),
            ("sinks", sinks),
            ("recent", recent),
        ];
        let mut identity: Vec<_> = numbers.map(|(key, number)| (key, number.to_string())).into();
        identity.push(("types", self.types.to_string()));
        identity.push(("rotated", rotate.to_string()));
        identity.push(("centered", self.means.is_some().to_string()));
        identity
    }

    /// Writes these sequences into a file, whole or not at all. Blocks that they share are in it once.
    ///
    /// # Errors
    /// [`Error::Input`] if one is not there, is given twice, or is in the middle of a step; [`Error::Io`]; the device's.
    pub fn save(&self, gpu: &Context, sequences: &[Sequence], path: &Path) -> Result<()> {
        let (mut blocks, mut states) = (Vec::new(), Vec::new());
        for (i, &sequence) in sequences.iter().enumerate() {
            if sequences[..i].contains(&sequence) {
                return Err(Error::Input(format!("{} is given twice", self.name(sequence))));
            }
            let state = self.whole(sequence)?;
            blocks.extend_from_slice(&state.blocks);
            states.push(state);
        }
        blocks.sort_unstable();
        blocks.dedup();
        // Every block of a sequence is among them.
        let row = |block: &u32| blocks.binary_search(block).unwrap_or_default() as u64;
        let entry = |state: &&State| Entry {
            length: state.extent.length,
            encoded: state.extent.encoded,
            held: state.extent.held,
            blocks: state.blocks.iter().map(row).collect(),
        };
        let entries: Vec<Entry> = states.iter().map(entry).collect();
        let mut pairs = self.identity();
        pairs.push(("sequences", serde_json::to_string(&entries).map_err(|e| Error::Input(e.to_string()))?));

        let heads = self.layout.kv_heads as u64;
        let slots: Vec<u32> = sequences.iter().map(|sequence| sequence.slot).collect();
        let mut tensors = Vec::new();
        if let Some(means) = self.means() {
            let bytes = means.iter().flat_map(|mean| mean.to_le_bytes()).collect();
            tensors.push(("means".to_owned(), "F32", self.mean_shape().to_vec(), bytes));
        }
        for (name, layer, half) in self.sides() {
            let (words, store) = (heads * half.page().len(), &half.stores[layer]);
            let pages = runs(gpu, &store.pool, &blocks, heads)?;
            tensors.push((format!("{layer}.{name}"), "U32", vec![blocks.len() as u64, words], pages));
        }
        for (name, layer, half) in self.sides() {
            let recent = runs(gpu, &half.stores[layer].recent, &slots, heads * self.places.kept())?;
            let shape = self.recent_shape(half, slots.len());
            tensors.push((format!("{layer}.recent_{name}"), "F16", shape.to_vec(), recent));
        }
        let parts: Vec<Part<'_>> =
            tensors.iter().map(|(name, dtype, shape, data)| Part { name, dtype, shape, data }).collect();
        KIND.write(path, &pairs, &parts, &|| gpu.go_on(|| "while a state was saved".into()))
    }

    /// Brings the sequences of a file back, in the order in which they were saved, beside those that are there. The cache is made
    /// and centred as the saved one was.
    ///
    /// # Errors
    /// [`Error::File`] for a file that is damaged, or of another layout; [`Error::Input`] if there is no room for its
    /// sequences or blocks; the device's. Nothing has changed then.
    pub fn restore(&mut self, gpu: &Context, path: &Path) -> Result<Vec<Sequence>> {
        let saved = KIND.open(path, &|| gpu.go_on(|| "while a state was read".into()))?;
        self.check_identity(&saved)?;
        let entries: Vec<Entry> = serde_json::from_str(saved.text("sequences")?)
            .map_err(|_| saved.problem("its sequences are no list of them"))?;
        let count = entries
            .iter()
            .flat_map(|entry| &entry.blocks)
            .map(|&row| row.saturating_add(1))
            .max()
            .unwrap_or(0);
        for (i, entry) in entries.iter().enumerate() {
            let Entry { length, encoded, held, ref blocks } = *entry;
            let extent = Extent { length, encoded, held };
            let needed = encoded.div_ceil(self.layout.block);
            if !self.places.hold(&extent) || blocks.len() as u64 != needed || length > u32::MAX.into() {
                return Err(saved.problem(&format!("no sequence can be as its sequence {i} is")));
            }
        }
        if count > self.blocks.count() {
            return Err(Error::Full(format!(
                "{}: its sequences have {count} blocks, and the cache has room for {}",
                path.display(),
                self.blocks.count()
            )));
        }
        let taken = self.blocks.take(count, self.layout.block)?;
        let mut restored = Vec::new();
        let filled = self.fill(gpu, &saved, &entries, &taken, &mut restored);
        // What sequences share is counted by them; the file's own claim on a block ends here.
        taken.iter().for_each(|&block| self.blocks.release(block));
        if let Err(error) = filled {
            restored.into_iter().try_for_each(|sequence| self.free(sequence))?;
            return Err(error);
        }
        Ok(restored)
    }

    fn fill(
        &mut self,
        gpu: &Context,
        saved: &Saved,
        entries: &[Entry],
        taken: &[u32],
        restored: &mut Vec<Sequence>,
    ) -> Result<()> {
        for entry in entries {
            let sequence = self.create()?;
            restored.push(sequence);
            let Some(state) = &mut self.slots[sequence.slot as usize] else { continue };
            state.extent = Extent { length: entry.length, encoded: entry.encoded, held: entry.held };
            state.blocks = entry.blocks.iter().map(|&row| taken[row as usize]).collect();
            state.blocks.iter().for_each(|&block| self.blocks.share(block));
        }
        let heads = self.layout.kv_heads as u64;
        let slots: Vec<u32> = restored.iter().map(|sequence| sequence.slot).collect();
        for (name, layer, half) in self.sides() {
            let (words, store) = (heads * half.page().len(), &half.stores[layer]);
            let pages = saved.tensor(&format!("{layer}.{name}"), "U32", &[taken.len() as u64, words])?;
            put(gpu, &store.pool, taken, heads, &pages)?;
            let shape = self.recent_shape(half, slots.len());
            let recent = saved.tensor(&format!("{layer}.recent_{name}"), "F16", &shape)?;
            put(gpu, &store.recent, &slots, heads * self.places.kept(), &recent)?;
        }
        Ok(())
    }

    fn check_identity(&mut self, saved: &Saved) -> Result<()> {
        if let Some(different) = saved.differences(&self.identity())? {
            return Err(Error::file(
                saved.path(),
                format!(
                    "this state is of another cache: {different}; make the cache as the one that was saved"
                ),
            ));
        }
        if let Some(means) = self.means() {
            let bytes = saved.tensor("means", "F32", &self.mean_shape())?;
            let same = bytes
                .as_chunks()
                .0
                .iter()
                .map(|&x| f32::from_le_bytes(x).to_bits())
                .eq(means.iter().map(|x| x.to_bits()));
            if !same {
                return Err(Error::file(
                    saved.path(),
                    "this state is of another cache: its keys are centred by other means",
                ));
            }
        }
        Ok(())
    }

    fn mean_shape(&self) -> [u64; 3] {
        [self.layout.layers, self.layout.kv_heads, self.layout.head_dim].map(|size| size as u64)
    }

    fn recent_shape(&self, half: &SideStore, sequences: usize) -> [u64; 4] {
        let dim = half.codec.dim() as u64;
        [sequences as u64, self.layout.kv_heads as u64, self.places.kept(), dim]
    }

    fn sides(&self) -> impl Iterator<Item = (&'static str, usize, &SideStore)> {
        let layers = 0..self.layout.layers;
        layers
            .flat_map(|layer| [&self.keys, &self.values].map(|half| (half.codec.side().name(), layer, half)))
    }
}

/// The bytes of some groups of `each` rows, neighbours together.
fn runs(gpu: &Context, buffer: &Buffer, groups: &[u32], each: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for run in groups.chunk_by(|a, b| a + 1 == *b) {
        gpu.go_on(|| "while a state was read from the device".into())?;
        let first = u64::from(run[0]) * each;
        bytes.extend(buffer.read_rows::<u8>(gpu, first..first + run.len() as u64 * each)?);
    }
    Ok(bytes)
}

/// Writes them back to other groups.
fn put(gpu: &Context, buffer: &Buffer, groups: &[u32], each: u64, bytes: &[u8]) -> Result<()> {
    if groups.is_empty() || each == 0 {
        return Ok(());
    }
    let size = bytes.len() / groups.len();
    let mut at = 0;
    for run in groups.chunk_by(|a, b| a + 1 == *b) {
        gpu.go_on(|| "while a state was brought back".into())?;
        buffer.write_rows(gpu, u64::from(run[0]) * each, &bytes[at..at + run.len() * size])?;
        at += run.len() * size;
    }
    Ok(())
}
