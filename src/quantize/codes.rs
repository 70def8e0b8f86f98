//! What tells codes from values, and what a code is worth.
//!
//! A checkpoint does not mark its codes. 8-bit floats are codes, because files with scales and files without look the same
//! but for the scales. Integers are codes if their name says so (a part of it that has `weight`, `packed`, `codes` or
//! `blocks` in it), or if they are a matrix of up to 32 bits whose name does not say that it is something else, such as a
//! mask, positions or indices. Booleans are never codes.

use std::ops::Bound;

use super::describe::{Checked, Names};
use super::scales::room;
use crate::Result;
use crate::io::quoted;
use crate::io::safetensors::{Safetensors, Tensor, scale_names};

/// What the codes of a kind are stored as: the end of their name, the end of the name of what lies beside them, and whose
/// kind it is. The first row that fits counts.
const KINDS: &[(&str, &str, &str)] = &[
    (".weight", ".weight.quant_state.bitsandbytes__nf4", "NF4 of bitsandbytes"),
    (".weight", ".weight.quant_state.bitsandbytes__fp4", "FP4 of bitsandbytes"),
    (".weight", ".weight.absmax", "4 bits of bitsandbytes"),
    (".weight", ".SCB", "LLM.int8 of bitsandbytes"),
    (".weight_packed", ".weight_global_scale", "NVFP4 of compressed-tensors"),
    (".weight", ".weight_scale_2", "NVFP4 of ModelOpt"),
    (".weight", ".pre_quant_scale", "AWQ of ModelOpt"),
    (".weight", ".biases", "MLX"),
    (".weight", ".scales", "MLX"),
    (".weight", ".scale", "FP4 or FP8 of DeepSeek V4"),
    ("_blocks", "_scales", "MXFP4 of gpt-oss"),
    (".q_weight", ".q_scale", "EXL2"),
    (".trellis", ".svh", "EXL3"),
    (".codes", ".codebooks", "AQLM"),
    (".Qidxs", ".SU", "QuIP#"),
    (".W_q", ".scale", "HQQ"),
    (".weight._data", ".weight._scale", "quanto"),
    (".B", ".s", "Marlin"),
];

/// Parts of names that say that integers are no codes.
const OTHERS: &[&str] = &["mask", "bias", "position", "index", "indices", "idx", "ids"];

/// Parts of names of what is of activations.
const OF_ACTIVATIONS: &[&str] = &["input", "output", "activation"];

/// Names of what is of the cache.
const OF_CACHE: &[&str] = &["q_scale", "k_scale", "v_scale"];

/// Parts of names of what does change them.
const CHANGES: &[&str] = &["scale", "zero", "idx", "absmax", "quant", "smooth", "bitmask", "shape"];

/// Whose kind codes of this name are, if it is one that is not read.
pub(super) fn unread_kind(name: &str, names: &Names<'_>) -> Option<&'static str> {
    let beside = |codes: &str, beside: &str| {
        name.strip_suffix(codes).is_some_and(|stem| names.contains_key(format!("{stem}{beside}").as_str()))
    };
    KINDS.iter().find(|(codes, other, _)| beside(codes, other)).map(|(.., kind)| *kind)
}

/// Whether a tensor of integers or of 8-bit floats has codes.
pub(super) fn are_codes(tensor: &Tensor) -> bool {
    let name = tensor.name.to_ascii_lowercase();
    let leaf = name.rsplit('.').find(|part| !part.starts_with('_')).unwrap_or(&name);
    if tensor.dtype.name == "BOOL" {
        return false;
    }
    if tensor.dtype.name.starts_with("F8")
        || ["weight", "packed", "codes", "blocks"].iter().any(|part| leaf.contains(part))
    {
        return true;
    }
    let is_matrix = tensor.shape.iter().filter(|&&n| n > 1).count() > 1;
    is_matrix && tensor.dtype.bytes <= 4 && !OTHERS.iter().any(|part| leaf.contains(part))
}

/// What lies beside the codes `name` and would change their weights in a way that is not known here; `known` is read.
pub(super) fn unknown_beside<'n>(name: &str, known: &[&str], names: &Names<'n>) -> Option<&'n str> {
    let stem = [".weight", ".weight_packed"].iter().find_map(|suffix| name.strip_suffix(suffix));
    let prefixes = match stem {
        Some(stem) => vec![format!("{stem}.")],
        None => vec![format!("{name}_"), format!("{name}.")],
    };
    let beside = |prefix: &String| {
        let from = (Bound::Included(prefix.as_str()), Bound::Unbounded);
        let with_prefix = names
            .range::<str, _>(from)
            .map_while(|(name, _)| Some((*name, name.strip_prefix(prefix.as_str())?)));
        with_prefix.collect::<Vec<_>>()
    };
    let changes = |(other, rest): &(&str, &str)| {
        let own = rest.strip_prefix("weight.").unwrap_or(rest);
        !own.contains('.')
            && !known.contains(other)
            && !OF_CACHE.contains(rest)
            && !OF_ACTIVATIONS.iter().any(|part| rest.contains(part))
            && CHANGES.iter().any(|part| rest.contains(part))
    };
    prefixes.iter().flat_map(beside).find(changes).map(|(other, _)| other)
}

/// What is said about codes that cannot be read because nothing says what they are worth.
pub(super) fn no_scale(tensor: &Tensor) -> String {
    let names: Vec<String> = scale_names(&tensor.name).iter().map(|name| quoted(name)).collect();
    format!(
        "tensor {}: {} {:?} are codes, and their scale is missing: there is no {}",
        quoted(&tensor.name),
        tensor.dtype.name,
        tensor.shape,
        names.join(", ")
    )
}

/// How a code lies in a file, and what it is worth before it is multiplied by a scale.
#[derive(Clone, Copy, Debug)]
pub(super) enum Codes {
    /// A float of 8 bits.
    Float8(fn(u8) -> f32),
    /// An integer of 8 bits.
    Int8,
    /// An integer of so many bits, plus half of its range, in words of 32: from the lowest bits up, each row by itself
    /// (compressed-tensors' pack-quantized).
    Words(u32),
}

impl Codes {
    /// Those of 8 bits that a tensor has, by its type.
    pub(super) fn of(tensor: &Tensor) -> Option<Self> {
        match tensor.dtype.name {
            "F8_E4M3" => Some(Self::Float8(e4m3)),
            "F8_E5M2" => Some(Self::Float8(e5m2)),
            "I8" => Some(Self::Int8),
            _ => None,
        }
    }

    /// Those that are packed into words, `[rows, words]`, and the columns: as `shape`, a tensor of `X.weight_shape`, says.
    pub(super) fn packed(
        file: &Safetensors,
        codes: &Tensor,
        shape: &Tensor,
    ) -> Result<Checked<(Self, Vec<u64>)>> {
        if (shape.dtype.name, shape.values()) != ("I64", 2) {
            return Ok(Err(format!("tensor {}: it is not two numbers of I64", quoted(&shape.name))));
        }
        let mut bytes = [0; 16];
        file.read(shape, 0..16, &mut bytes)?;
        let [rows, cols] = [0, 8].map(|at| u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i])));
        let fits = |bits: &u32| codes.shape == [rows, cols.div_ceil(u64::from(32 / bits))];
        let mut bits = [2, 4, 8].into_iter().filter(fits);
        Ok(match (codes.dtype.name, bits.next(), bits.next()) {
            ("I32", Some(bits), None) => Ok((Self::Words(bits), vec![rows, cols])),
            _ => Err(format!(
                "tensor {}: {} {:?} are not the codes of 2, 4 or 8 bits of [{rows}, {cols}] weights",
                quoted(&codes.name),
                codes.dtype.name,
                codes.shape
            )),
        })
    }

    /// Reads codes, from the value `first` on, of a tensor with rows of `cols`.
    pub(super) fn read(
        self,
        file: &Safetensors,
        tensor: &Tensor,
        cols: u64,
        first: u64,
        out: &mut [f32],
    ) -> Result<()> {
        let Some(last) = (out.len() as u64).checked_sub(1).map(|more| first + more) else { return Ok(()) };
        if let Self::Words(bits) = self {
            let per_word = u64::from(32 / bits);
            let word_of = |value: u64| value / cols * cols.div_ceil(per_word) + value % cols / per_word;
            let (from, to) = (word_of(first), word_of(last) + 1);
            let mut words: Vec<[u8; 4]> = room(file, tensor, (to - from) as usize)?;
            file.read(tensor, 4 * from..4 * to, words.as_flattened_mut())?;
            for (value, weight) in (first..).zip(out) {
                let word = u32::from_le_bytes(words[(word_of(value) - from) as usize]);
                let code = word >> (value % cols % per_word * u64::from(bits)) & ((1 << bits) - 1);
                *weight = code as f32 - (1u32 << (bits - 1)) as f32;
            }
            return Ok(());
        }
        let mut codes = room(file, tensor, out.len())?;
        file.read(tensor, first..last + 1, &mut codes)?;
        for (weight, code) in out.iter_mut().zip(codes) {
            *weight = match self {
                Self::Float8(value) => value(code),
                _ => f32::from(code as i8),
            };
        }
        Ok(())
    }
}

/// A sign, 4 bits of exponent with a bias of 7 and 3 of mantissa; no infinity, and NaN where all 7 bits are set (E4M3FN
/// of the Open Compute Project's OFP8).
fn e4m3(code: u8) -> f32 {
    let (sign, size) = (u32::from(code >> 7) << 31, u32::from(code & 0x7f));
    if size == 0x7f {
        return f32::NAN;
    }
    // As the upper bits of an f32 it is too small by the difference of the biases, 2^120, subnormal or not.
    f32::from_bits(sign | size << 20) * f32::from_bits((127 + 120) << 23)
}

/// The upper half of an f16.
fn e5m2(code: u8) -> f32 {
    half::f16::from_bits(u16::from(code) << 8).to_f32()
}
