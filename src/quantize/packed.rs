//! The weights of GPTQ and AWQ: codes of 4 or 8 bits, packed into words of 32, with a scale and a zero for each group
//! of inputs.
//!
//! A matrix `STEM.weight`, `[out, in]`, is stored as its transpose in three tensors of the same STEM:
//!
//! ```text
//!             GPTQ                    AWQ (its GEMM version; 4 bits)
//! .qweight    [in / codes, out]       [in, out / codes]       I32, with 32 / bits codes in a word
//! .qzeros     [groups, out / codes]   [groups, out / codes]   I32
//! .scales     [groups, out]           [groups, out]           F16, BF16 or F32
//! .g_idx      [in]                    -                       I32, may be absent
//!
//! weight[o, i] = scales[g, o] * (code[i, o] - zero[g, o])
//! ```
//!
//! - GPTQ (AutoGPTQ's `QuantLinear`) packs codes from the lowest bits up, the weights' along `in` and the zeros' along
//!   `out`. `g` is `g_idx[i]`, or `i / group`. A zero is stored less 1 in the first format, and as it is in the second,
//!   `gptq_v2`, which looks the same: a file beside the weights has to say which ([`config`](super::config)).
//! - AWQ (AutoAWQ's `WQLinear_GEMM`) packs all codes along `out`: the columns 0, 2, 4, 6, 1, 3, 5, 7 of each 8, from the
//!   lowest bits up. Zeros are stored as they are.
//!
//! Reading a few rows of `[out, in]` takes a little of every row of the words, so all of a tensor's are held in memory,
//! half a byte or a byte for a weight: up to some hundred MB for the largest matrices, whatever the size of the file.

use std::sync::{Arc, Mutex, PoisonError};

use super::config::{Gptq, Method};
use super::describe::{Checked, Names, absent};
use super::scales::{float_format, floats, room};
use crate::io::quoted;
use crate::io::safetensors::{Safetensors, Tensor};
use crate::{Error, Result};

/// Where AWQ has the code of each of 8 columns in a word.
const AWQ_PLACES: [usize; 8] = [0, 4, 1, 5, 2, 6, 3, 7];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Gptq,
    Awq,
}

/// A matrix of packed weights: where it is, and how it is packed.
#[derive(Debug)]
pub(super) struct Packed {
    kind: Kind,
    /// Bits of a code.
    bits: usize,
    outputs: u64,
    inputs: u64,
    /// The inputs that share a scale, where `order` does not say otherwise.
    group: u64,
    /// What is added to a stored zero.
    less: f32,
    codes: Tensor,
    zeros: Tensor,
    scales: Tensor,
    /// The group of each input.
    order: Option<Tensor>,
}

impl Packed {
    /// The weights whose codes are in `codes`, which is called `STEM.qweight`.
    pub(super) fn new(
        stem: &str,
        codes: &Tensor,
        names: &Names<'_>,
        method: Option<&Method>,
    ) -> Checked<Self> {
        let named = |suffix: &str| {
            let name = format!("{stem}{suffix}");
            names.get(name.as_str()).map(|&tensor| tensor.clone()).ok_or(name)
        };
        let needed = |suffix: &str| named(suffix).map_err(|name| absent(&name, &codes.name));
        let (zeros, scales, order) = (needed(".qzeros")?, needed(".scales")?, named(".g_idx").ok());
        for tensor in [codes, &zeros].into_iter().chain(&order) {
            if tensor.dtype.name != "I32" {
                return Err(format!(
                    "tensor {}: its type is {}, not I32, as GPTQ and AWQ have it",
                    quoted(&tensor.name),
                    tensor.dtype.name
                ));
            }
        }
        float_format(&scales)?;
        let error = |problem: String| format!("tensor {}: {problem}", quoted(&codes.name));
        if named(".weight").is_ok() {
            return Err(error(format!("there is {} too", quoted(&format!("{stem}.weight")))));
        }
        let Some((kind, bits, [inputs, outputs])) = layout(&codes.shape, &zeros.shape, &scales.shape) else {
            return Err(error(format!(
                "the shapes {:?}, {:?} of qzeros and {:?} of scales are neither GPTQ's, [in/8, out], \
                 [groups, out/8] and [groups, out] (/4 with 8 bits), nor AWQ's, [in, out/8], [groups, out/8] and \
                 [groups, out]",
                codes.shape, zeros.shape, scales.shape
            )));
        };
        let groups = scales.shape.first().copied().unwrap_or(0);
        let (less, said) = match (kind, method) {
            (Kind::Gptq, Some(Method::Gptq(Gptq { less_one, group, ordered }))) => {
                if *ordered == Some(true) && order.is_none() {
                    return Err(absent(&format!("{stem}.g_idx"), &codes.name));
                }
                (if less_one.unwrap_or(true) { 1.0 } else { 0.0 }, *group)
            }
            (Kind::Awq, None | Some(Method::Awq)) => (0.0, None),
            (Kind::Gptq, None) => {
                return Err(error(
                    "it is packed as GPTQ's, and nothing says whether its zeros are stored less 1 (gptq) or as they are \
                     (gptq_v2): put the model's config.json or quantize_config.json beside it"
                        .into(),
                ));
            }
            (kind, Some(_)) => {
                let kind = if kind == Kind::Gptq { "GPTQ" } else { "AWQ" };
                return Err(error(format!(
                    "it is packed as {kind} has it, which is not what config.json says"
                )));
            }
        };
        let group = match said {
            Some(group) => group.unwrap_or(inputs),
            // GPTQ's last group may be smaller, so that nothing else says how large the others are.
            None if inputs.is_multiple_of(groups.max(1)) => inputs / groups.max(1),
            None => 0,
        };
        // An order says for itself which group an input is of.
        let ordered = kind == Kind::Gptq && order.is_some();
        if !ordered && (group == 0 || inputs.div_ceil(group) != groups) {
            let said = said.map_or_else(String::new, |_| format!(" of {group}, as config.json says"));
            return Err(error(format!(
                "there are {groups} groups for {inputs} inputs: these are no groups{said}"
            )));
        }
        if let Some(order) = &order {
            let name = quoted(&order.name);
            if kind == Kind::Awq {
                return Err(format!("tensor {name}: its weights are packed as AWQ's, which have no order"));
            }
            if order.shape != [inputs] {
                let found = &order.shape;
                return Err(format!(
                    "tensor {name}: its shape is {found:?}; for {inputs} inputs: [{inputs}]"
                ));
            }
        }
        Ok(Self { kind, bits, outputs, inputs, group, less, codes: codes.clone(), zeros, scales, order })
    }

    /// `[out, in]`.
    pub(super) fn shape(&self) -> Vec<u64> {
        vec![self.outputs, self.inputs]
    }

    /// The names of the tensors other than that of the codes.
    pub(super) fn companions(&self) -> impl Iterator<Item = String> {
        [&self.zeros, &self.scales].into_iter().chain(&self.order).map(|tensor| tensor.name.clone())
    }

    /// Reads weights of the matrix `[out, in]`, from the value `first` on.
    pub(super) fn read(
        &self,
        file: &Safetensors,
        cache: &Cache,
        first: u64,
        weights: &mut [f32],
    ) -> Result<()> {
        let Some(last) = weights.len().checked_sub(1) else { return Ok(()) };
        let loaded = cache.get(file, self)?;
        // Both are indices into a matrix that is in memory, packed eight times at most.
        let (first, outputs, inputs) = (first as usize, self.outputs as usize, self.inputs as usize);
        let (top, bottom) = (first / inputs, (first + last) / inputs);
        for (input, &group) in loaded.groups.iter().enumerate() {
            for output in top..=bottom {
                let at = (output * inputs + input).checked_sub(first);
                if let Some(weight) = at.and_then(|at| weights.get_mut(at)) {
                    let code = self.code(&loaded.codes, input, output);
                    let of = group as usize * outputs + output;
                    *weight = loaded.scales[of] * (f32::from(code) - loaded.zeros[of]);
                }
            }
        }
        Ok(())
    }

    /// The code of a weight.
    fn code(&self, words: &[u32], input: usize, output: usize) -> u8 {
        let per_word = 32 / self.bits;
        match self.kind {
            Kind::Gptq => {
                let word = words[input / per_word * self.outputs as usize + output];
                self.part(word, input % per_word)
            }
            Kind::Awq => self.code_along_outputs(words, input, output),
        }
    }

    /// The code in row `row` of words that are packed along `out`.
    fn code_along_outputs(&self, words: &[u32], row: usize, output: usize) -> u8 {
        let per_word = 32 / self.bits;
        let place = match self.kind {
            Kind::Gptq => output % per_word,
            Kind::Awq => AWQ_PLACES[output % per_word],
        };
        self.part(words[row * (self.outputs as usize / per_word) + output / per_word], place)
    }

    /// The code at a place of a word, counted from the lowest bits.
    fn part(&self, word: u32, place: usize) -> u8 {
        (word >> (place * self.bits) & ((1 << self.bits) - 1)) as u8
    }

    fn load(&self, file: &Safetensors) -> Result<Loaded> {
        let groups = self.scales.shape.first().copied().unwrap_or(0);
        let scales = floats(file, &self.scales, 0..self.scales.values())?;
        let words = integers(file, &self.zeros)?;
        let mut zeros: Vec<f32> = room(file, &self.zeros, scales.len())?;
        for (row, zeros) in zeros.chunks_exact_mut(self.outputs as usize).enumerate() {
            for (output, zero) in zeros.iter_mut().enumerate() {
                *zero = f32::from(self.code_along_outputs(&words, row, output)) + self.less;
            }
        }
        let groups = match &self.order {
            None => (0..self.inputs).map(|input| (input / self.group) as u32).collect(),
            Some(order) => {
                let of_inputs = integers(file, order)?;
                // A negative one is a large one.
                if let Some(at) = of_inputs.iter().position(|&group| u64::from(group) >= groups) {
                    let (name, found) = (quoted(&order.name), of_inputs[at] as i32);
                    let problem =
                        format!("tensor {name}: the group of input {at} is {found}; there are {groups}");
                    return Err(Error::file(file.path(), problem));
                }
                of_inputs
            }
        };
        Ok(Loaded { codes: integers(file, &self.codes)?, zeros, scales, groups })
    }
}

/// Whose the shapes of codes, zeros and scales are, the bits of a code, and `[in, out]`.
fn layout(codes: &[u64], zeros: &[u64], scales: &[u64]) -> Option<(Kind, usize, [u64; 2])> {
    let (&[rows, cols], &[groups, words], &[of_scales, outputs]) = (codes, zeros, scales) else {
        return None;
    };
    let bits = [4, 8].into_iter().find(|bits| words.checked_mul(32 / bits) == Some(outputs))?;
    if groups != of_scales || outputs == 0 {
        return None;
    }
    // The number of columns tells them apart: `outputs` is more than `words`.
    if cols == outputs {
        Some((Kind::Gptq, bits as usize, [rows.checked_mul(32 / bits)?, outputs]))
    } else if cols == words && bits == 4 {
        Some((Kind::Awq, bits as usize, [rows, outputs]))
    } else {
        None
    }
}

/// Reads all of a tensor of I32.
fn integers(file: &Safetensors, tensor: &Tensor) -> Result<Vec<u32>> {
    let mut words: Vec<u32> = room(file, tensor, tensor.values() as usize)?;
    file.read(tensor, 0..tensor.bytes, bytemuck::cast_slice_mut(&mut words))?;
    words.iter_mut().for_each(|word| *word = u32::from_le(*word));
    Ok(words)
}

/// What is needed of a matrix to read any part of it.
#[derive(Debug)]
struct Loaded {
    codes: Vec<u32>,
    /// `[groups, out]`.
    zeros: Vec<f32>,
    /// `[groups, out]`.
    scales: Vec<f32>,
    /// The group of each input.
    groups: Vec<u32>,
}

impl Loaded {
    fn bytes(&self) -> usize {
        4 * (self.codes.len() + self.zeros.len() + self.scales.len() + self.groups.len())
    }
}

/// The matrices that were loaded last, by the names of their codes.
// More than one, because threads that run ahead read the next matrices while others still read the last ones.
#[derive(Debug, Default)]
pub(super) struct Cache(Mutex<Vec<(String, Arc<Loaded>)>>);

impl Cache {
    /// What may be held beyond the matrix that was loaded last, in bytes.
    const LIMIT: usize = 256 << 20;

    fn get(&self, file: &Safetensors, packed: &Packed) -> Result<Arc<Loaded>> {
        // Held while loading, because the others wait for the same matrix. A panic elsewhere leaves the list whole.
        let mut list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let name = &packed.codes.name;
        if let Some((_, loaded)) = list.iter().rev().find(|(found, _)| found == name) {
            return Ok(loaded.clone());
        }
        while list.iter().map(|(_, loaded)| loaded.bytes()).sum::<usize>() > Self::LIMIT {
            list.remove(0);
        }
        let loaded = Arc::new(packed.load(file)?);
        list.push((name.clone(), loaded.clone()));
        Ok(loaded)
    }
}
