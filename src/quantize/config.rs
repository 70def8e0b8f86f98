//! What the files beside a checkpoint say about its codes: `quantization_config` of config.json, and the files that some
//! packages write instead of it.
//!
//! A tensor's name and shape do not say everything: GPTQ stores zeros less 1 in its first format and as they are in its
//! second, and both look the same. So a checkpoint whose method is not known here is refused, by the name of the method.

use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::describe::Checked;
use crate::io::quoted;
use crate::{Error, Result};

/// The longest file that is read, in bytes.
const LONGEST: u64 = 64 << 20;

/// The files that may say something.
const FILES: [&str; 4] = ["config.json", "hf_quant_config.json", "quantize_config.json", "quant_config.json"];

/// The formats of compressed-tensors whose weights are read: plain codes, those packed into words, floats.
const COMPRESSED: [&str; 5] =
    ["dense", "float-quantized", "int-quantized", "naive-quantized", "pack-quantized"];

/// How weights were quantized.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Method {
    Gptq(Gptq),
    Awq,
    /// Codes with scales, by the names of their tensors.
    Scaled(Scaled),
}

impl Method {
    /// What this and another file say together, unless they say something else of the same thing.
    fn with(&self, other: &Self) -> Option<Self> {
        let (Self::Gptq(one), Self::Gptq(two)) = (self, other) else {
            return (self == other).then(|| self.clone());
        };
        Some(Self::Gptq(Gptq {
            less_one: either(one.less_one, two.less_one)?,
            group: either(one.group, two.group)?,
            ordered: either(one.ordered, two.ordered)?,
        }))
    }
}

/// What one of two says, or both; nothing if they say different things.
fn either<T: PartialEq>(one: Option<T>, two: Option<T>) -> Option<Option<T>> {
    match (one, two) {
        (Some(one), Some(two)) if one != two => None,
        (one, two) => Some(one.or(two)),
    }
}

/// GPTQ's details.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Gptq {
    /// Whether a zero is stored less 1, if it is said. Files that do not say are of the first format, where it is.
    pub(super) less_one: Option<bool>,
    /// The inputs in a group, if it is said; all of them for `Some(None)`.
    pub(super) group: Option<Option<u64>>,
    /// Whether the groups are not those of neighbours, so that `g_idx` is needed, if it is said.
    pub(super) ordered: Option<bool>,
}

/// The details of codes with scales.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Scaled {
    /// The rows and columns that share a scale, where blocks do.
    pub(super) block: Option<[u64; 2]>,
    /// Whether codes have zero points too.
    pub(super) asymmetric: bool,
}

/// What the files in these folders say, or nothing if they say nothing. The first folder with one of them counts.
///
/// # Errors
/// [`Error::File`] for a method that is not known here, and for files that disagree; [`Error::Io`].
pub(super) fn read(folders: &[PathBuf]) -> Result<Option<Method>> {
    for folder in folders {
        let paths = FILES.map(|name| folder.join(name));
        let mut said: Option<(&Path, Method)> = None;
        for path in paths.iter().filter(|path| path.is_file()) {
            let method = of(&json(path)?, path).map_err(|problem| Error::file(path, problem))?;
            match (&said, method) {
                (_, None) => {}
                (None, Some(method)) => said = Some((path, method)),
                (Some((other, known)), Some(method)) => {
                    if let Some(both) = known.with(&method) {
                        said = Some((other, both));
                        continue;
                    }
                    let other = quoted(&other.file_name().unwrap_or_default().to_string_lossy());
                    return Err(Error::file(
                        path,
                        format!("it does not say of the weights what {other} beside it says"),
                    ));
                }
            }
        }
        if said.is_some() {
            return Ok(said.map(|(_, method)| method));
        }
    }
    Ok(None)
}

fn json(path: &Path) -> Result<Value> {
    let (file, size) = crate::io::open(path)?;
    if size > LONGEST {
        return Err(Error::file(path, format!("it has {size} bytes; {LONGEST} can be")));
    }
    let mut text = Vec::new();
    file.take(size).read_to_end(&mut text).map_err(|e| Error::io(path, e))?;
    serde_json::from_slice(&text).map_err(|problem| Error::file(path, format!("this is no JSON: {problem}")))
}

/// What one file says.
fn of(json: &Value, path: &Path) -> Checked<Option<Method>> {
    let present = |value: &&Value| value.as_object().is_some_and(|object| !object.is_empty());
    match path.file_name().and_then(|name| name.to_str()) {
        Some("hf_quant_config.json") => json.get("quantization").filter(present).map(modelopt).transpose(),
        // Other packages have files of these names too.
        Some("quantize_config.json") => json.get("bits").map(|_| method(json, "gptq")).transpose(),
        Some("quant_config.json") => json.get("w_bit").map(|_| method(json, "awq")).transpose(),
        _ => {
            let text = json.get("text_config");
            let under = |key: &str| {
                [Some(json), text].into_iter().flatten().find_map(|json| json.get(key).filter(present))
            };
            let found = match (under("quantization_config"), under("compression_config")) {
                (Some(config), _) => Some((config, "")),
                (None, Some(config)) => Some((config, "compressed-tensors")),
                // MLX's key; its files have it in quantization_config too.
                (None, None) => under("quantization").map(|config| (config, "")),
            };
            found.map(|(config, default)| method(config, default)).transpose()
        }
    }
}

/// The method of a `quantization_config`; `default` is what it is where the file does not say.
fn method(config: &Value, default: &str) -> Checked<Method> {
    let text = |key: &str| config.get(key).and_then(Value::as_str).map(str::to_ascii_lowercase);
    let name = text("quant_method").unwrap_or_else(|| match () {
        () if config.get("quant_algo").is_some() => "modelopt".into(),
        () => default.to_owned(),
    });
    match name.as_str() {
        "gptq" => gptq(config).map(Method::Gptq),
        "awq" => awq(config),
        "fp8" => Ok(Method::Scaled(Scaled { block: block(config.get("weight_block_size"))?, asymmetric: false })),
        "fbgemm_fp8" => Ok(Method::Scaled(Scaled::default())),
        "compressed-tensors" => compressed(config),
        "modelopt" => modelopt(config),
        "" if config.get("bits").is_some() && config.get("group_size").is_some() => {
            Err("its weights are quantized by MLX, which is not read here: start from the model's F16, BF16 or F32".into())
        }
        "" => Err("its quantization_config has no quant_method".into()),
        _ => Err(unknown("quant_method", &name)),
    }
}

fn unknown(key: &str, value: &str) -> String {
    format!(
        "its weights are quantized with {key} {}, which is not read here: start from the model's F16, BF16 or F32",
        quoted(value)
    )
}

fn gptq(config: &Value) -> Checked<Gptq> {
    let truth = |key: &str| config.get(key).and_then(Value::as_bool);
    if truth("is_marlin_format") == Some(true) {
        return Err(unknown("checkpoint_format", "marlin"));
    }
    let less_one = match config.get("checkpoint_format").and_then(Value::as_str) {
        None => None,
        Some("gptq") => Some(true),
        Some("gptq_v2") => Some(false),
        Some(other) => return Err(unknown("checkpoint_format", other)),
    };
    let group = match config.get("group_size").filter(|size| !size.is_null()) {
        None => None,
        Some(size) => match size.as_i64() {
            Some(-1) => Some(None),
            Some(size) if size > 0 => Some(Some(size as u64)),
            _ => return Err(format!("its group_size {size} is neither -1 nor a number above 0")),
        },
    };
    Ok(Gptq { less_one, group, ordered: truth("desc_act") })
}

fn awq(config: &Value) -> Checked<Method> {
    let version = config.get("version").and_then(Value::as_str).unwrap_or("gemm");
    if !version.eq_ignore_ascii_case("gemm") {
        return Err(unknown("AWQ version", version));
    }
    if config.get("zero_point").and_then(Value::as_bool) == Some(false) {
        return Err(unknown("AWQ zero_point", "false"));
    }
    Ok(Method::Awq)
}

fn modelopt(config: &Value) -> Checked<Method> {
    match config.get("quant_algo").and_then(Value::as_str) {
        Some("FP8") => Ok(Method::Scaled(Scaled::default())),
        Some(other) => Err(unknown("quant_algo", other)),
        // Only the cache is quantized.
        None => Ok(Method::Scaled(Scaled::default())),
    }
}

fn compressed(config: &Value) -> Checked<Method> {
    let mut scaled = Scaled::default();
    let groups = config.get("config_groups").and_then(Value::as_object);
    let groups: Vec<&Value> = groups.iter().flat_map(|groups| groups.values()).collect();
    let formats = groups.iter().filter_map(|group| group.get("format")).chain(config.get("format"));
    for format in formats.filter_map(Value::as_str).filter(|&format| format != "mixed-precision") {
        if !COMPRESSED.contains(&format) {
            return Err(unknown("compressed-tensors' format", format));
        }
    }
    if config
        .get("sparsity_config")
        .and_then(|sparsity| sparsity.get("format"))
        .is_some_and(|format| format != "dense")
    {
        return Err(unknown("compressed-tensors' format", "sparse"));
    }
    for weights in groups.iter().filter_map(|group| group.get("weights")) {
        scaled.asymmetric |= weights.get("symmetric").and_then(Value::as_bool) == Some(false);
        let found = block(weights.get("block_structure"))?;
        if scaled.block.is_some() && found.is_some() && scaled.block != found {
            return Err("its groups have blocks of several sizes, which are not read here".into());
        }
        scaled.block = scaled.block.or(found);
    }
    Ok(Method::Scaled(scaled))
}

/// Rows and columns: `[128, 128]`, or `"128x128"`.
fn block(value: Option<&Value>) -> Checked<Option<[u64; 2]>> {
    let Some(value) = value.filter(|value| !value.is_null()) else { return Ok(None) };
    let numbers: Option<Vec<u64>> = match value {
        Value::String(text) => text.split('x').map(|number| number.parse().ok()).collect(),
        Value::Array(numbers) => numbers.iter().map(Value::as_u64).collect(),
        _ => None,
    };
    match numbers.as_deref() {
        Some(&[rows, cols]) if rows > 0 && cols > 0 => Ok(Some([rows, cols])),
        _ => Err(format!("its block {value} is no pair of numbers above 0")),
    }
}
