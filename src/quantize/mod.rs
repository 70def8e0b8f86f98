//! The weights of a file in another number format, as a GGUF file.
//!
//! [`source::open`] opens a file, [`Plan::new`] says what becomes of each tensor, [`Plan::write`] does it in pieces of a
//! few MiB, so that files larger than the memory pass through, and [`Plan::verify`] reads back what was written.
//!
//! What llama.cpp's quantizer leaves alone stays as it is, byte for byte: tensors of one dimension, and those that its
//! list of names excepts (routers, positions, small convolutions). It also leaves alone what is not called `….weight`,
//! which is no rule here, because a matrix may have any name. Rows that are not multiples of a K format's 256 get the
//! type that llama.cpp takes instead, with blocks of 32; rows that are no multiple of that either stay as they are.
//!
//! What cannot be quantized is carried if a GGUF file can hold it (I8 to I64, F64, formats that are not read, single
//! values), and left out if not: tensors without values, by which llama.cpp would divide, and those that a source names.
//! Both are said. Codes that cannot be read are neither: they stop the work, unless `--drop` or `--keep` names them.

mod codes;
mod config;
mod describe;
mod glob;
mod outcome;
mod packed;
mod safetensors;
mod scales;
pub mod source;
mod work;

use std::time::Instant;

use crate::format::{self, Format};
use crate::io::gguf::{Tensor, TensorType, Value, Writer};
use crate::io::quoted;
use crate::{Error, Result};
use outcome::row;
pub use outcome::{Quantized, Row};
use source::{LeftOut, Source};
pub use work::Written;

/// Names that llama.cpp's quantizer excepts: small tensors on which much depends.
const EXCEPTED: &[&str] = &[
    "*_norm.weight",
    "*ffn_gate_inp.weight",
    "*altup*",
    "*laurel*",
    "*per_layer_model_proj*",
    "*position_embd.*",
    "token_types.weight",
    "*ssm_conv1d*",
    "*shortconv.conv.weight",
    "*time_mix_first.weight",
    "*time_mix_lerp_fused.weight",
    "*time_mix_??.weight",
    "*time_mix_decay_w?.weight",
    "*attn_rel_b.weight",
];

/// The longest name of a tensor that llama.cpp reads, in bytes.
const LLAMA_NAME: usize = 63;

/// What to do with the weights.
#[derive(Clone, Debug)]
pub struct Options {
    /// The format that they get.
    pub format: &'static Format,
    /// Names of tensors that stay as they are: `*` stands for any characters, `?` for one.
    pub keep: Vec<String>,
    /// Names of tensors that are left out, in the same way.
    pub drop: Vec<String>,
    /// Whether 8-bit floats without a scale are values.
    pub unscaled: bool,
    /// Whether NaN and infinity may be stored, and may come from a weight that is too large. Only F32, F16 and BF16 can
    /// hold them: in a format with blocks they would spoil their neighbours, and are refused all the same.
    pub allow_nonfinite: bool,
}

/// The format called `name`, in any case.
///
/// # Errors
/// [`Error::Input`] if it is unknown or none that is written, with those that are.
pub fn format_by_name(name: &str) -> Result<&'static Format> {
    let found = Format::by_name(name);
    found.filter(|format| format.ggml_type.is_some()).ok_or_else(|| {
        let known = format::ALL.iter().filter(|format| format.ggml_type.is_some());
        let known: Vec<_> = known.map(|format| format.name).collect();
        let upper = name.to_ascii_uppercase();
        let mixture = ["_S", "_M", "_L"].iter().find_map(|size| Format::by_name(upper.strip_suffix(size)?));
        let what = match (mixture, TensorType::by_name(name)) {
            (Some(of), _) => {
                let name = quoted(name);
                format!(
                    "{name} is a mixture of llama.cpp's; here all weights get one type, such as {}",
                    of.name
                )
            }
            (None, Some(ty)) => format!("{} is a type of ggml's that is not written here", ty.name),
            (None, None) if found.is_some() => format!("a GGUF file cannot hold {}", quoted(name)),
            (None, None) => format!("no type is called {}", quoted(name)),
        };
        Error::Input(format!("{what}; there is {}", known.join(", ")))
    })
}

/// The number by which llama.cpp calls a file whose weights are mostly in this format (`LLAMA_FTYPE`); of a K format's
/// mixtures the smallest one.
fn file_type(format: &Format) -> Option<u32> {
    Some(match format.name {
        "F32" => 0,
        "F16" => 1,
        "Q4_0" => 2,
        "Q4_1" => 3,
        "Q8_0" => 7,
        "Q5_0" => 8,
        "Q5_1" => 9,
        "Q2_K" => 10,
        "Q3_K" => 11,
        "Q4_K" => 14,
        "Q5_K" => 16,
        "Q6_K" => 18,
        "IQ4_NL" => 25,
        "BF16" => 32,
        "TQ1_0" => 36,
        "TQ2_0" => 37,
        "MXFP4" => 38,
        _ => return None,
    })
}

/// What llama.cpp takes for rows that are multiples of 32, but not of the 256 that `format` has in a block.
fn fallback(format: &Format) -> Option<&'static Format> {
    Format::by_name(match format.name {
        "Q2_K" | "Q3_K" => "IQ4_NL",
        "Q4_K" => "Q5_0",
        "Q5_K" => "Q5_1",
        "Q6_K" => "Q8_0",
        "TQ1_0" | "TQ2_0" => "Q4_0",
        _ => return None,
    })
}

/// Whether llama.cpp's quantizer leaves a tensor of this name as it is.
#[doc(hidden)]
pub fn is_kept(name: &str) -> bool {
    EXCEPTED.iter().any(|pattern| glob::matches(pattern, name))
}

/// What rows of `cols` weights become where `format` is wanted: that if they are whole blocks of it, otherwise what
/// llama.cpp takes instead, if they are whole blocks of that; none stays as it is.
#[doc(hidden)]
pub fn fitting(format: &'static Format, cols: u64) -> Option<&'static Format> {
    let fits = |format: &&Format| cols.is_multiple_of(format.elements as u64);
    Some(format).filter(fits).or_else(|| fallback(format).filter(fits))
}

/// Whether a format is not one of floats, one by one.
fn is_quantized(format: &Format) -> bool {
    format.elements > 1
}

/// What becomes of a tensor.
#[derive(Debug)]
struct Step<'a> {
    tensor: &'a Tensor,
    action: Action,
    note: String,
}

#[derive(Clone, Copy, Debug)]
enum Action {
    /// Its bytes are copied, unseen.
    Keep,
    /// Its weights are turned from one format into the other.
    Convert(&'static Format, &'static Format),
}

impl Step<'_> {
    /// The type that the tensor gets.
    fn ty(&self) -> &'static TensorType {
        match self.action {
            Action::Keep => self.tensor.ty,
            // Each format has a type of the same name.
            Action::Convert(_, to) => to.ggml_type.and_then(TensorType::by_id).unwrap_or(self.tensor.ty),
        }
    }
}

/// What becomes of each tensor of a file.
#[derive(Debug)]
pub struct Plan<'a> {
    source: &'a dyn Source,
    format: &'static Format,
    allow_nonfinite: bool,
    steps: Vec<Step<'a>>,
    writer: Writer,
    left_out: Vec<LeftOut>,
    /// What the user should know before the work begins.
    pub notices: Vec<String>,
}

impl<'a> Plan<'a> {
    /// Makes a plan for every tensor of `source`; no data is read yet.
    ///
    /// # Errors
    /// [`Error::File`] if there is nothing to write, and for codes that cannot be read; [`Error::Input`] for a tensor that
    /// could not be written.
    pub fn new(source: &'a dyn Source, options: &Options) -> Result<Self> {
        let format = options.format;
        let mut left_out = source.left_out().to_vec();
        check_doubts(source, options, &mut left_out)?;
        let mut writer = Writer::new();
        let mut own = Vec::new();
        own.extend(file_type(format).map(|number| ("general.file_type", number)));
        if is_quantized(format) {
            own.push(("general.quantization_version", 2));
        }
        for (key, value) in source.metadata().iter().filter(|(key, _)| own.iter().all(|(own, _)| own != key))
        {
            writer.metadata(key, value.clone())?;
        }
        for (key, number) in own {
            writer.metadata(key, Value::U32(number))?;
        }
        let mut steps = Vec::with_capacity(source.tensors().len());
        for tensor in source.tensors() {
            let empty = || (tensor.values() == 0).then(|| "it has no values".to_owned());
            if let Some(why) = dropped(options, &tensor.name).or_else(empty) {
                left_out.push(LeftOut {
                    name: tensor.name.clone(),
                    ty: tensor.ty.name,
                    shape: tensor.shape(),
                    why,
                });
                continue;
            }
            let (action, note) = action(tensor, options);
            let step = Step { tensor, action, note };
            writer.tensor(&tensor.name, &tensor.dims, step.ty())?;
            steps.push(step);
        }
        if steps.is_empty() {
            let what = if left_out.is_empty() { "it has no tensors" } else { "every tensor is left out" };
            return Err(Error::file(source.path(), format!("{what}: there is nothing to quantize")));
        }
        let notices = [source.notices(), &notices(source, &steps, options)].concat();
        Ok(Self {
            source,
            format,
            allow_nonfinite: options.allow_nonfinite,
            steps,
            writer,
            left_out,
            notices,
        })
    }

    /// The bytes that [`Self::write`] reads.
    pub fn bytes(&self) -> u64 {
        self.steps.iter().map(|step| step.tensor.bytes).sum()
    }

    /// Writes the file, which appears when it is complete. `progress` hears of the bytes read so far.
    ///
    /// # Errors
    /// [`Error::Input`], with its place, for a weight that is not finite or too large for its format; those of the source
    /// and of [`Writer::write`].
    pub fn write(&self, out: &std::path::Path, progress: &mut dyn FnMut(u64)) -> Result<Written> {
        let begun = Instant::now();
        let (outcomes, hashes) = work::write(self, out, progress)?;
        let rows: Vec<Row> = self.steps.iter().zip(&outcomes).map(|(step, sums)| row(step, sums)).collect();
        let sum = |of: fn(&Row) -> u64| rows.iter().map(of).sum::<u64>();
        let weights = self.steps.iter().map(|step| step.tensor.values()).sum::<u64>();
        let (bytes_before, bytes_after) = (sum(|row| row.bytes_before), sum(|row| row.bytes_after));
        let bits = |bytes: u64| 8.0 * bytes as f64 / weights as f64;
        let converted = self.steps.iter().zip(&outcomes);
        let converted = converted.filter(|(step, _)| matches!(step.action, Action::Convert(..)));
        let all =
            converted.fold(None, |all: Option<work::Sums>, (_, sums)| Some(all.unwrap_or_default() + *sums));
        let quantized = Quantized {
            format: self.format.name,
            weights,
            bytes_before,
            bytes_after,
            bits_per_weight_before: bits(bytes_before),
            bits_per_weight_after: bits(bytes_after),
            relative_squared_error: all.map(|sums| sums.relative()),
            seconds: begun.elapsed().as_secs_f64(),
            verified: false,
            tensors: rows,
            left_out: self.left_out.clone(),
        };
        Ok(Written { quantized, hashes })
    }

    /// Reads the file at `out` again, from the disk and as a stranger would, and compares every tensor's name, shape,
    /// type and dequantized values with what [`Self::write`] had in memory. `progress` hears of the bytes read so far.
    ///
    /// # Errors
    /// [`Error::Mismatch`] for the first difference, with its tensor and rows; those of opening the file.
    pub fn verify(
        &self,
        written: &mut Written,
        out: &std::path::Path,
        progress: &mut dyn FnMut(u64),
    ) -> Result<()> {
        work::verify(self, &written.hashes, out, progress)?;
        written.quantized.verified = true;
        Ok(())
    }
}

/// Why a tensor is left out, if the user said so.
fn dropped(options: &Options, name: &str) -> Option<String> {
    let pattern = options.drop.iter().find(|pattern| glob::matches(pattern, name))?;
    Some(format!("`drop` {pattern}"))
}

/// Refuses codes that cannot be read, unless the user said what becomes of them.
fn check_doubts(source: &dyn Source, options: &Options, left_out: &mut Vec<LeftOut>) -> Result<()> {
    for source::Doubt { tensor, unscaled } in source.doubts() {
        let is_tensor = source.tensors().iter().any(|found| found.name == tensor.name);
        let kept = || options.keep.iter().any(|pattern| glob::matches(pattern, &tensor.name));
        match dropped(options, &tensor.name) {
            Some(_) if is_tensor => {}
            Some(why) => left_out.push(LeftOut { why, ..tensor.clone() }),
            None if *unscaled && options.unscaled => {}
            None if is_tensor && !unscaled && kept() => {}
            None => return Err(Error::file(source.path(), tensor.why.as_str())),
        }
    }
    Ok(())
}

/// What becomes of a tensor, and why if that is not what was asked for.
fn action(tensor: &Tensor, options: &Options) -> (Action, String) {
    let keep = |why: String| (Action::Keep, why);
    let matches = |pattern: &&str| glob::matches(pattern, &tensor.name);
    if let Some(pattern) = options.keep.iter().map(String::as_str).find(matches) {
        return keep(format!("kept: `keep` {pattern}"));
    }
    // As ggml counts them: trailing dimensions of 1 are none.
    if tensor.rows() == 1 {
        return keep("kept: one dimension".into());
    }
    if is_kept(&tensor.name) {
        return keep("kept: as llama.cpp does".into());
    }
    let Some(from) = Format::by_type(tensor.ty.id) else {
        return keep(format!("kept: {} is not read", tensor.ty.name));
    };
    let to = options.format;
    match fitting(to, tensor.cols()) {
        Some(format) if format.name == to.name => (Action::Convert(from, to), String::new()),
        Some(other) => {
            (Action::Convert(from, other), format!("{} needs rows of a multiple of {}", to.name, to.elements))
        }
        None => {
            let least = fallback(to).unwrap_or(to).elements;
            keep(format!("kept: rows of {}, not a multiple of {least}", tensor.cols()))
        }
    }
}

/// What the user should know, each thing once with the number of tensors.
fn notices(source: &dyn Source, steps: &[Step<'_>], options: &Options) -> Vec<String> {
    let mut notices = Vec::new();
    let mut add = |of: &dyn Fn(&Step<'_>) -> bool, what: String| {
        let names = steps.iter().filter(|step| of(step)).map(|step| step.tensor.name.as_str());
        notices.extend(about(names, &what));
    };
    let to = options.format;
    if let Some(other) = fallback(to) {
        let (name, elements, instead) = (to.name, to.elements, other.name);
        add(
            &|step| matches!(step.action, Action::Convert(_, to) if to.name == instead),
            format!(
                "rows that are not a multiple of {name}'s {elements}: {instead} instead, as llama.cpp does"
            ),
        );
    }
    add(
        &|step| step.note.starts_with("kept: rows"),
        format!("rows that are not a multiple of the block of {}: kept in their type", to.name),
    );
    add(&|step| step.note.ends_with("is not read"), "a type that is not read here: kept".into());
    add(
        &|step| matches!(step.action, Action::Convert(from, to) if is_quantized(from) && from.name != to.name),
        "quantized already: the errors add up; better start from F16, BF16 or F32".into(),
    );
    add(
        &|step| step.tensor.name.len() > LLAMA_NAME,
        format!("a name of more than {LLAMA_NAME} bytes: llama.cpp refuses the file"),
    );
    let unscaled =
        source.doubts().iter().filter(|doubt| doubt.unscaled).map(|doubt| doubt.tensor.name.as_str());
    let unscaled = unscaled.filter(|name| steps.iter().any(|step| step.tensor.name == *name));
    notices.extend(about(unscaled, "8-bit floats without a scale: taken as values (`unscaled`)"));
    for pattern in &options.keep {
        if !steps.iter().any(|step| glob::matches(pattern, &step.tensor.name)) {
            notices.push(format!("`keep` {pattern}: no tensor has such a name"));
        }
    }
    for pattern in &options.drop {
        let mut names = source.tensors().iter().map(|tensor| tensor.name.as_str());
        let mut others = source.left_out().iter().chain(source.doubts().iter().map(|doubt| &doubt.tensor));
        let matches = |name: &str| glob::matches(pattern, name);
        if !names.any(matches) && !others.any(|tensor| matches(&tensor.name)) {
            notices.push(format!("`drop` {pattern}: no tensor has such a name"));
        }
    }
    if steps.iter().all(|step| matches!(step.action, Action::Keep)) {
        notices.push(format!("every tensor is kept as it is: nothing becomes {}", to.name));
    }
    notices
}

/// Something about tensors, with the name of the first and the number of the others; nothing if there are none.
fn about<'n>(mut names: impl Iterator<Item = &'n str>, what: &str) -> Option<String> {
    let first = quoted(names.next()?);
    let others = match names.count() {
        0 => String::new(),
        1 => " and 1 other".into(),
        more => format!(" and {more} others"),
    };
    Some(format!("{first}{others}: {what}"))
}
