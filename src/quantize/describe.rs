//! What becomes of each tensor of a safetensors model: what it is read as, or why it is not.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::codes::{Codes, are_codes, no_scale, unknown_beside, unread_kind};
use super::config::{Method, Scaled};
use super::packed::Packed;
use super::scales::Scales;
use super::source::{Doubt, LeftOut};
use crate::Result;
use crate::io::gguf::{Tensor, TensorType};
use crate::io::quoted;
use crate::io::safetensors::{self, Safetensors, scale_names};

/// The longest description of codes that ComfyUI's files have, in bytes.
const LONGEST_DESCRIPTION: u64 = 4096;

/// What is wrong, without the file.
pub(super) type Checked<T> = std::result::Result<T, String>;

/// The tensors of a model by their names.
pub(super) type Names<'f> = BTreeMap<&'f str, &'f safetensors::Tensor>;

/// What the tensors of a model are to be.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) tensors: Vec<Tensor>,
    /// How each of them is read, by its name.
    pub(super) ways: HashMap<String, Reading>,
    pub(super) left_out: Vec<LeftOut>,
    pub(super) doubts: Vec<Doubt>,
}

/// Where a tensor comes from.
#[derive(Debug)]
pub(super) struct Reading {
    /// Its index.
    pub(super) index: usize,
    pub(super) from: safetensors::Tensor,
    pub(super) way: Way,
}

/// How a tensor is read.
#[derive(Debug)]
pub(super) enum Way {
    /// As it is.
    Same,
    /// Rounded from F64.
    Double,
    /// From codes, times their scales. Only 8-bit floats may have none, and are doubts then.
    Scaled(Codes, Option<Scales>),
    /// From the tensors of GPTQ or AWQ.
    Packed(Box<Packed>),
}

/// What becomes of a tensor of the file.
enum Fate {
    /// A tensor of this name, shape and type.
    Read(String, Vec<u64>, &'static str, Way),
    /// None, and why.
    Left(String),
    /// None that could be right, and why.
    Refused(String),
    /// The same, but the values are those of the codes if the user says so.
    Unscaled(String, Way),
}

/// The tensors that the model's are to be, in its order, and how they are read.
pub(super) fn describe(file: &Safetensors, method: Option<&Method>) -> Result<Checked<Found>> {
    let names: Names<'_> = file.tensors().iter().map(|tensor| (tensor.name.as_str(), tensor)).collect();
    let mut describer = Describer { file, names, method, companions: HashSet::new() };
    let mut fates = Vec::with_capacity(file.tensors().len());
    for from in file.tensors() {
        match describer.fate(from)? {
            Ok(fate) => fates.push((from, fate)),
            Err(problem) => return Ok(Err(problem)),
        }
    }
    let Describer { names, companions, .. } = describer;
    fates.retain(|(from, _)| !companions.contains(&from.name));
    let mut found = Found::default();
    for (from, fate) in fates {
        let left =
            |why| LeftOut { name: from.name.clone(), ty: from.dtype.name, shape: from.shape.clone(), why };
        let fate = check_alone(from, &names).map_or_else(Fate::Refused, |()| fate);
        let (name, shape, ty, way) = match fate {
            Fate::Left(why) => {
                found.left_out.push(left(why));
                continue;
            }
            Fate::Refused(problem) => {
                found.doubts.push(Doubt { tensor: left(problem), unscaled: false });
                // With --keep, integers of types that GGUF files have stay integers.
                (from.name.clone(), from.shape.clone(), from.dtype.name, Way::Same)
            }
            Fate::Unscaled(problem, way) => {
                found.doubts.push(Doubt { tensor: left(problem), unscaled: true });
                (from.name.clone(), from.shape.clone(), "F32", way)
            }
            Fate::Read(name, shape, ty, way) => (name, shape, ty, way),
        };
        let refused = found.doubts.last().is_some_and(|doubt| doubt.tensor.name == from.name);
        match tensor(&name, &shape, ty, from.offset) {
            Ok(tensor) => {
                let reading = Reading { index: found.tensors.len(), from: from.clone(), way };
                if found.ways.insert(name.clone(), reading).is_some() {
                    return Ok(Err(format!("tensor {}: two would have this name", quoted(&name))));
                }
                found.tensors.push(tensor);
            }
            Err(_) if refused => {}
            Err(problem) => return Ok(Err(format!("tensor {}: {problem}", quoted(&name)))),
        }
    }
    Ok(Ok(found))
}

/// What is known while tensors are looked at.
struct Describer<'f> {
    file: &'f Safetensors,
    names: Names<'f>,
    method: Option<&'f Method>,
    /// Tensors that belong to others.
    companions: HashSet<String>,
}

impl Describer<'_> {
    fn fate(&mut self, from: &safetensors::Tensor) -> Result<Checked<Fate>> {
        let (name, dtype) = (from.name.clone(), from.dtype.name);
        let same = |way| {
            Fate::Read(
                name.clone(),
                from.shape.clone(),
                if matches!(way, Way::Same) { dtype } else { "F32" },
                way,
            )
        };
        if name.ends_with("scaled_fp8") && dtype.starts_with("F8") && from.values() <= 2 {
            return Ok(Ok(Fate::Left("it only marks files of ComfyUI's".into())));
        }
        if from.values() == 0 {
            return Ok(Ok(Fate::Left("it has no values".into())));
        }
        if let Some(stem) = name.strip_suffix(".qweight") {
            return Ok(Packed::new(stem, from, &self.names, self.method).map(|packed| {
                self.companions.extend(packed.companions());
                Fate::Read(format!("{stem}.weight"), packed.shape(), "F32", Way::Packed(Box::new(packed)))
            }));
        }
        if matches!(dtype, "F32" | "F16" | "BF16" | "F64") {
            let scale = scale_names(&name).into_iter().find(|scale| self.names.contains_key(scale.as_str()));
            return Ok(Ok(match scale.filter(|_| name.ends_with("weight")) {
                Some(scale) => Fate::Refused(format!(
                    "tensor {}: {} lies beside it, but {dtype} are no codes: nothing says whether they are to be scaled",
                    quoted(&name),
                    quoted(&scale)
                )),
                None if dtype == "F64" => same(Way::Double),
                None => same(Way::Same),
            }));
        }
        if let Some(kind) = unread_kind(&name, &self.names) {
            return Ok(Ok(Fate::Refused(format!(
                "tensor {}: these are codes of {kind}, which are not read here: start from the model's F16, BF16 or F32",
                quoted(&name)
            ))));
        }
        if let Some(stem) = name.strip_suffix(".weight_packed") {
            return self.packed_fate(stem, from);
        }
        if let Some(codes) = Codes::of(from).filter(|_| are_codes(from)) {
            return self.scaled_fate(from, codes, &name, from.shape.clone(), &[]);
        }
        if are_codes(from) {
            return Ok(Ok(Fate::Refused(no_scale(from))));
        }
        Ok(Ok(match TensorType::by_name(dtype) {
            Some(_) => same(Way::Same),
            None => Fate::Left(format!("GGUF files cannot hold {dtype}")),
        }))
    }

    /// The codes `STEM.weight_packed` of compressed-tensors.
    fn packed_fate(&mut self, stem: &str, from: &safetensors::Tensor) -> Result<Checked<Fate>> {
        let shape = format!("{stem}.weight_shape");
        let Some(of_shape) = self.names.get(shape.as_str()).copied() else {
            let (name, shape) = (quoted(&from.name), quoted(&shape));
            let problem = format!(
                "tensor {name}: these are packed codes, and there is no {shape} that says of what: they are not read here"
            );
            return Ok(Ok(Fate::Refused(problem)));
        };
        match Codes::packed(self.file, from, of_shape)? {
            Ok((codes, dims)) => {
                self.companions.insert(shape.clone());
                self.scaled_fate(from, codes, &format!("{stem}.weight"), dims, &[shape])
            }
            Err(problem) => Ok(Ok(Fate::Refused(problem))),
        }
    }

    /// Codes that are to be the tensor `name` of this shape; the tensors `known` have been read.
    fn scaled_fate(
        &mut self,
        from: &safetensors::Tensor,
        codes: Codes,
        name: &str,
        shape: Vec<u64>,
        known: &[String],
    ) -> Result<Checked<Fate>> {
        let refused =
            |problem: String| Ok(Ok(Fate::Refused(format!("tensor {}: {problem}", quoted(&from.name)))));
        let said = match self.method {
            Some(Method::Scaled(scaled)) => scaled.clone(),
            _ => Scaled::default(),
        };
        let scales = match Scales::of(name, &shape, said.block, &self.names) {
            Ok(scales) => scales,
            Err(problem) => return Ok(Err(problem)),
        };
        let mut known = known.to_vec();
        known.extend(scales.iter().map(|scales| scales.tensor.name.clone()));
        for (suffix, of_comfy) in [("_zero_point", false), (".comfy_quant", true)] {
            let beside = if of_comfy { name.strip_suffix(".weight").unwrap_or(name) } else { name };
            let beside = format!("{beside}{suffix}");
            let Some(tensor) = self.names.get(beside.as_str()) else {
                if !of_comfy && said.asymmetric && matches!(codes, Codes::Int8 | Codes::Words(_)) {
                    return refused(format!(
                        "config.json says that codes have zero points, and there is no {}",
                        quoted(&beside)
                    ));
                }
                continue;
            };
            let harmless = if of_comfy { self.is_plain(tensor, from)? } else { self.is_zero(tensor, codes)? };
            if harmless {
                known.push(beside);
            }
        }
        let of_codes: Vec<&str> = known.iter().map(String::as_str).collect();
        if let Some(other) = unknown_beside(&from.name, &of_codes, &self.names) {
            return refused(format!(
                "{} lies beside these codes, and what it does to them is not known here",
                quoted(other)
            ));
        }
        if scales.is_some() {
            self.companions.extend(known);
            return Ok(Ok(Fate::Read(name.to_owned(), shape, "F32", Way::Scaled(codes, scales))));
        }
        let problem = no_scale(from);
        Ok(Ok(match codes {
            Codes::Float8(_) => Fate::Unscaled(
                format!("{problem}; if these were cast without one, `unscaled` takes them as values"),
                Way::Scaled(codes, None),
            ),
            _ => Fate::Refused(problem),
        }))
    }

    /// Whether zero points of plain codes are all 0, as some files of symmetric ones have them.
    fn is_zero(&self, zeros: &safetensors::Tensor, codes: Codes) -> Result<bool> {
        if !matches!(codes, Codes::Int8 | Codes::Float8(_)) || zeros.bytes > 64 << 20 {
            return Ok(false);
        }
        let mut bytes = vec![0; zeros.bytes as usize];
        self.file.read(zeros, 0..zeros.bytes, &mut bytes)?;
        Ok(bytes.iter().all(|&byte| byte == 0))
    }

    /// Whether a description of ComfyUI's, which is JSON, says nothing of codes but their type.
    fn is_plain(&self, description: &safetensors::Tensor, codes: &safetensors::Tensor) -> Result<bool> {
        if description.bytes > LONGEST_DESCRIPTION {
            return Ok(false);
        }
        let mut bytes = vec![0; description.bytes as usize];
        self.file.read(description, 0..description.bytes, &mut bytes)?;
        let json: serde_json::Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let format = json.get("format").and_then(serde_json::Value::as_str);
        let plain = match codes.dtype.name {
            "F8_E4M3" => format == Some("float8_e4m3fn"),
            "F8_E5M2" => format == Some("float8_e5m2"),
            _ => false,
        };
        // It may also say how activations are multiplied.
        let keys = json.as_object().into_iter().flat_map(|object| object.keys());
        Ok(plain
            && keys.into_iter().all(|key| ["format", "full_precision_matrix_mult"].contains(&key.as_str())))
    }
}

/// What is wrong with a tensor that belongs to none, if its name says that it should.
fn check_alone(tensor: &safetensors::Tensor, names: &Names<'_>) -> Checked<()> {
    const OWNERS: [(&str, &[&str]); 6] = [
        (".qzeros", &[".qweight"]),
        (".weight_scale_inv", &[".weight"]),
        (".weight_scale", &[".weight", ".weight_packed"]),
        (".scale_weight", &[".weight"]),
        (".weight_shape", &[".weight_packed"]),
        ("_scale_inv", &[""]),
    ];
    let owner = OWNERS.iter().find_map(|(suffix, owners)| Some((tensor.name.strip_suffix(suffix)?, owners)));
    let Some((stem, owners)) = owner else { return Ok(()) };
    let mut owners = owners.iter().map(|owner| format!("{stem}{owner}"));
    let first = owners.next().unwrap_or_default();
    if names.contains_key(first.as_str()) || owners.any(|owner| names.contains_key(owner.as_str())) {
        return Ok(());
    }
    Err(absent(&first, &tensor.name))
}

/// What is said when `missing` is not there.
pub(super) fn absent(missing: &str, of: &str) -> String {
    let (missing, of) = (quoted(missing), quoted(of));
    format!("tensor {of}: {missing}, to which it belongs, is missing: is it in another file of the model?")
}

/// A tensor of a GGUF file, or what is wrong with it.
fn tensor(name: &str, shape: &[u64], ty: &str, offset: u64) -> Checked<Tensor> {
    let ty = TensorType::by_name(ty).ok_or_else(|| format!("its type {ty} is none that GGUF files have"))?;
    // A tensor without dimensions has one value.
    let dims: Vec<u64> = if shape.is_empty() { vec![1] } else { shape.iter().rev().copied().collect() };
    let bytes = dims.iter().try_fold(u64::from(ty.bytes), |bytes, &n| bytes.checked_mul(n));
    let bytes = bytes.ok_or_else(|| format!("no file is as large as its shape {shape:?}"))?;
    Ok(Tensor { name: name.to_owned(), dims, ty, file: 0, offset, bytes })
}
