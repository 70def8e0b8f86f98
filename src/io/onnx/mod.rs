//! ONNX models: nodes, constants, inputs and outputs, as `network::lower` takes them.
//!
//! The format is described at <https://github.com/onnx/onnx/blob/main/onnx/onnx.proto>. Protobuf is decoded by prost, from
//! messages declared by hand (proto.rs): no compiler for .proto files is needed, fields that are not read cost
//! nothing, and lengths are held against the bytes that are left before anything is allocated. A file is input to be
//! doubted: shapes are held against the data, and external data must lie beside the model.

mod proto;

use std::collections::HashMap;
use std::fmt;
use std::path::{Component, Path, PathBuf};

use half::{bf16, f16};
use prost::Message;
use sha2::{Digest, Sha256};

use super::{Positioned, quoted};
use crate::{Error, Result};

/// The versions of ONNX's own operators that are read.
pub const OPSETS: std::ops::RangeInclusive<i64> = 9..=21;

/// The largest message; protobuf's own limit.
const MAX_MODEL: u64 = (1 << 31) - 1;

/// The most attributes of a node; no operator has half as many.
const MAX_ATTRIBUTES: usize = 64;

/// The most dimensions; numpy's limit.
pub(crate) const MAX_RANK: usize = 64;

/// The type of a tensor's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum DataType {
    Float,
    Double,
    Float16,
    Bfloat16,
    Int8,
    Uint8,
    Int32,
    Int64,
    Bool,
    /// Of another number in onnx.proto; 0 where the file says none, or a value is no tensor.
    Other(i32),
}

impl DataType {
    /// The type with this number in onnx.proto.
    pub fn by_number(number: i64) -> Self {
        match number {
            1 => Self::Float,
            2 => Self::Uint8,
            3 => Self::Int8,
            6 => Self::Int32,
            7 => Self::Int64,
            9 => Self::Bool,
            10 => Self::Float16,
            11 => Self::Double,
            16 => Self::Bfloat16,
            other => Self::Other(i32::try_from(other).unwrap_or(0)),
        }
    }

    /// Whether it is a type of floats.
    pub fn is_float(self) -> bool {
        matches!(self, Self::Float | Self::Double | Self::Float16 | Self::Bfloat16)
    }

    fn bytes(self) -> usize {
        match self {
            Self::Int8 | Self::Uint8 | Self::Bool => 1,
            Self::Float16 | Self::Bfloat16 => 2,
            Self::Float | Self::Int32 => 4,
            Self::Double | Self::Int64 => 8,
            Self::Other(_) => 0,
        }
    }
}

impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Float => "float",
            Self::Double => "double",
            Self::Float16 => "float16",
            Self::Bfloat16 => "bfloat16",
            Self::Int8 => "int8",
            Self::Uint8 => "uint8",
            Self::Int32 => "int32",
            Self::Int64 => "int64",
            Self::Bool => "bool",
            Self::Other(4) => "uint16",
            Self::Other(5) => "int16",
            Self::Other(8) => "string",
            Self::Other(12) => "uint32",
            Self::Other(13) => "uint64",
            Self::Other(0) => "no type",
            Self::Other(number) => return write!(f, "type {number} of onnx.proto"),
        })
    }
}

/// A model.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Model {
    /// Where it was read.
    pub path: PathBuf,
    /// The version of ONNX's own operators; within [`OPSETS`].
    pub opset: i64,
    /// Nodes, in the order of the file.
    pub nodes: Vec<Node>,
    /// Constants.
    pub initializers: Vec<Tensor>,
    /// Inputs; constants may be among them.
    pub inputs: Vec<ValueInfo>,
    /// Outputs.
    pub outputs: Vec<ValueInfo>,
    /// The SHA-256 of the file and of the external data that its tensors have, in hexadecimal digits.
    pub sha256: String,
}

/// One operation.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Its name; may be empty.
    pub name: String,
    /// What it does, such as `Gemm`.
    pub operator: String,
    /// Where its operator is defined; empty for ONNX's own.
    pub domain: String,
    /// Names of values; empty where an optional one is left out.
    pub inputs: Vec<String>,
    /// Names of values; empty where one is not wanted.
    pub outputs: Vec<String>,
    /// Its options. No name is there twice.
    pub attributes: Vec<(String, Attribute)>,
}

impl Node {
    /// The attribute with this name.
    pub fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.attributes.iter().find(|(own, _)| own == name).map(|(_, attribute)| attribute)
    }
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Attribute {
    Float(f32),
    Int(i64),
    Text(String),
    Tensor(Tensor),
    Floats(Vec<f32>),
    Ints(Vec<i64>),
    /// Of another kind, such as a graph.
    Other,
}

/// A constant.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Its name; an attribute's may be empty.
    pub name: String,
    /// Its dimensions; none for a single number. One may be 0.
    pub shape: Vec<usize>,
    /// Its elements: as many as the shape says.
    pub data: Data,
}

/// Elements, row after row.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Data {
    /// Of any type of floats.
    Float(Vec<f32>),
    Int8(Vec<i8>),
    Uint8(Vec<u8>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Bool(Vec<bool>),
    /// Not read, as of a type that no supported operator takes.
    Unread(DataType),
}

/// An input or an output of the model.
#[derive(Clone, Debug, PartialEq)]
pub struct ValueInfo {
    /// Its name.
    pub name: String,
    /// The type of its elements.
    pub element: DataType,
    /// Its dimensions, if the file has them.
    pub shape: Option<Vec<Dim>>,
}

/// A dimension of an input or an output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dim {
    /// A number; not negative.
    Known(usize),
    /// A name for a number that each run has anew.
    Named(String),
    /// Neither.
    Unknown,
}

/// Reads a model, and the external data beside it.
///
/// # Errors
/// [`Error::Io`] if a file cannot be read; [`Error::File`] if it is no model, is truncated or damaged, is of an opset
/// outside [`OPSETS`], or has local functions, sparse constants, or data that does not fit its shape.
pub fn read(path: &Path) -> Result<Model> {
    let (file, size) = super::open(path)?;
    if size > MAX_MODEL {
        return Err(Error::file(
            path,
            format!(
                "this is not an ONNX model: it has {size} bytes, a protobuf message at most {MAX_MODEL}; large \
                 models keep their weights in external data"
            ),
        ));
    }
    let mut bytes = vec![0; size as usize];
    Positioned::new(path, file).read_exact(0, &mut bytes).map_err(|e| Error::io(path, e))?;
    parse(path, &bytes)
}

/// What a file is that begins so and is no ONNX model, if it is of a common kind.
fn kind(bytes: &[u8]) -> Option<&'static str> {
    const KINDS: [(usize, &[u8], &str); 9] = [
        (0, b"\x89PNG", "a PNG picture"),
        (0, b"\xff\xd8\xff", "a JPEG picture"),
        (0, b"GGUF", "a GGUF file"),
        (0, b"\x93NUMPY", "a .npy array"),
        (0, b"PK\x03\x04", "a zip archive (such as .npz or .pt)"),
        (0, b"\x89HDF", "an HDF5 file (such as a Keras model)"),
        (0, b"\x1f\x8b", "compressed by gzip"),
        (4, b"TFL3", "a TensorFlow Lite model"),
        (8, b"{\"", "a safetensors file"),
    ];
    let begins = |at: usize, magic: &[u8]| bytes.get(at..).is_some_and(|bytes| bytes.starts_with(magic));
    KINDS.into_iter().find(|(at, magic, _)| begins(*at, magic)).map(|(_, _, kind)| kind)
}

/// As [`read`], from memory. External data lies beside `path`, which errors name.
///
/// # Errors
/// Those of [`read`].
pub fn parse(path: &Path, bytes: &[u8]) -> Result<Model> {
    let mut digest = Sha256::new();
    digest.update(bytes);
    let error = |problem: String| Error::file(path, problem);
    let model = proto::Model::decode(bytes).map_err(|reason| {
        if let Some(kind) = kind(bytes) {
            return error(format!("this is {kind}, not an ONNX model"));
        }
        let reason: String = reason.to_string().chars().flat_map(char::escape_debug).take(120).collect();
        error(format!("it is truncated or damaged, or not an ONNX model at all: {reason}"))
    })?;
    let Some(graph) = model.graph.filter(|_| model.ir_version.is_some()) else {
        return Err(error(match kind(bytes) {
            Some(kind) => format!("this is {kind}, not an ONNX model"),
            None => "this is not an ONNX model: it has no IR version or no graph".into(),
        }));
    };
    let opset = opset(&model.opset_import).map_err(error)?;
    if let Some(function) = model.functions.first() {
        let name = quoted(function.name.as_deref().unwrap_or(""));
        return Err(error(format!(
            "it has the local function {name}; local functions are not supported: inline them (onnx.inliner)"
        )));
    }
    if !graph.sparse_initializer.is_empty() {
        return Err(error("it has sparse initializers, which are not supported: make them dense".into()));
    }
    let mut reader = Reader { path, folders: None, files: HashMap::new(), digest };
    let initializers = graph.initializer.into_iter().map(|tensor| reader.tensor(tensor));
    let initializers = initializers.collect::<Result<Vec<_>>>()?;
    let nodes = graph.node.into_iter().map(|node| reader.node(node)).collect::<Result<Vec<_>>>()?;
    let infos = |infos: Vec<proto::ValueInfo>| infos.into_iter().map(value_info).collect();
    Ok(Model {
        path: path.to_owned(),
        opset,
        nodes,
        initializers,
        inputs: infos(graph.input),
        outputs: infos(graph.output),
        sha256: reader.digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect(),
    })
}

/// The version of ONNX's own operators.
fn opset(imports: &[proto::OperatorSet]) -> std::result::Result<i64, String> {
    let own = |set: &&proto::OperatorSet| domain(set.domain.as_deref()).is_empty();
    let mut versions = imports.iter().filter(own).map(|set| set.version.unwrap_or(0));
    let (first, last) = (OPSETS.start(), OPSETS.end());
    match (versions.next(), versions.next()) {
        (None, _) => Err(format!("it does not say its opset; {first} to {last} are supported")),
        (Some(_), Some(_)) => Err("it says its opset twice".into()),
        (Some(version), None) if !OPSETS.contains(&version) => Err(format!(
            "its opset is {version}; {first} to {last} are supported: convert it (onnx.version_converter)"
        )),
        (Some(version), None) => Ok(version),
    }
}

/// `ai.onnx` is another name of the empty one.
fn domain(name: Option<&str>) -> &str {
    name.filter(|&name| name != "ai.onnx").unwrap_or("")
}

fn value_info(info: proto::ValueInfo) -> ValueInfo {
    let tensor = info.r#type.and_then(|kind| kind.tensor_type);
    let (element, shape) = tensor.map_or((0, None), |t| (t.elem_type.unwrap_or(0), t.shape));
    let dim = |dim: proto::Dimension| match (dim.dim_value, dim.dim_param) {
        (Some(value), _) => usize::try_from(value).map_or(Dim::Unknown, Dim::Known),
        (None, Some(name)) if !name.is_empty() => Dim::Named(name),
        _ => Dim::Unknown,
    };
    ValueInfo {
        name: info.name.unwrap_or_default(),
        element: DataType::by_number(element.into()),
        shape: shape.map(|shape| shape.dim.into_iter().map(dim).collect()),
    }
}

/// What is needed to read tensors.
struct Reader<'p> {
    path: &'p Path,
    /// The model's folder without links, once external data asks for it.
    folders: Option<PathBuf>,
    /// Files of external data, and how many of their bytes may still be asked for.
    files: HashMap<String, (Positioned, u64, u64)>,
    digest: Sha256,
}

impl Reader<'_> {
    fn node(&mut self, node: proto::Node) -> Result<Node> {
        let name = node.name.unwrap_or_default();
        let operator = node.op_type.unwrap_or_default();
        if node.attribute.len() > MAX_ATTRIBUTES {
            let problem = format!("node {} has {} attributes", quoted(&name), node.attribute.len());
            return Err(Error::file(self.path, format!("{problem}; {MAX_ATTRIBUTES} can be")));
        }
        let mut attributes: Vec<(String, Attribute)> = Vec::with_capacity(node.attribute.len());
        for attribute in node.attribute {
            let key = attribute.name.clone().unwrap_or_default();
            if attributes.iter().any(|(other, _)| *other == key) {
                let problem =
                    format!("node {}: its attribute {} is there twice", quoted(&name), quoted(&key));
                return Err(Error::file(self.path, problem));
            }
            attributes.push((key, self.attribute(attribute)?));
        }
        let domain = domain(node.domain.as_deref()).to_owned();
        Ok(Node { name, operator, domain, inputs: node.input, outputs: node.output, attributes })
    }

    fn attribute(&mut self, attribute: proto::Attribute) -> Result<Attribute> {
        Ok(match (attribute.r#type.unwrap_or(0), attribute) {
            (1, proto::Attribute { f, .. }) => Attribute::Float(f.unwrap_or(0.0)),
            (2, proto::Attribute { i, .. }) => Attribute::Int(i.unwrap_or(0)),
            (3, proto::Attribute { s, .. }) => {
                Attribute::Text(String::from_utf8_lossy(&s.unwrap_or_default()).into_owned())
            }
            (4, proto::Attribute { t: Some(t), .. }) => Attribute::Tensor(self.tensor(t)?),
            (6, proto::Attribute { floats, .. }) => Attribute::Floats(floats),
            (7, proto::Attribute { ints, .. }) => Attribute::Ints(ints),
            _ => Attribute::Other,
        })
    }

    fn tensor(&mut self, tensor: proto::Tensor) -> Result<Tensor> {
        let name = tensor.name.clone().unwrap_or_default();
        let path = self.path;
        let error = |problem: String| Error::file(path, format!("tensor {}: {problem}", quoted(&name)));
        let dims = tensor.dims.iter().map(|&dim| usize::try_from(dim).ok());
        let shape: Option<Vec<usize>> = dims.collect();
        let count = shape.as_ref().and_then(|shape| {
            // Without the zeros, so that the order of the dimensions does not matter.
            let shape = Some(shape).filter(|shape| shape.len() <= MAX_RANK)?;
            let all =
                shape.iter().filter(|&&dim| dim > 0).try_fold(8_usize, |all, &dim| all.checked_mul(dim))?;
            Some(if shape.contains(&0) { 0 } else { all / 8 })
        });
        let (Some(shape), Some(count)) = (shape, count) else {
            return Err(error(format!("its dimensions {:?} cannot be", short(&tensor.dims))));
        };
        let kind = DataType::by_number(tensor.data_type.unwrap_or(0).into());
        if let DataType::Other(_) = kind {
            return Ok(Tensor { name, shape, data: Data::Unread(kind) });
        }
        let wanted = count * kind.bytes();
        let raw = match tensor.data_location.unwrap_or(0) {
            0 => tensor.raw_data,
            1 => Some(self.external(&name, &tensor.external_data, wanted)?),
            other => return Err(error(format!("its data_location {other} is unknown"))),
        };
        let found = match (&raw, kind) {
            // Some writers leave an empty field beside the typed one.
            (Some(raw), _) if !raw.is_empty() || wanted == 0 => raw.len(),
            (_, DataType::Float) => tensor.float_data.len() * 4,
            (_, DataType::Double) => tensor.double_data.len() * 8,
            (_, DataType::Int64) => tensor.int64_data.len() * 8,
            (_, kind) => tensor.int32_data.len() * kind.bytes(),
        };
        if found != wanted {
            return Err(error(format!(
                "it has {found} bytes of data; as {:?} of {kind} it would have {wanted}",
                short(&shape)
            )));
        }
        let raw = raw.unwrap_or_default();
        let ints = tensor.int32_data;
        let data = match kind {
            DataType::Float => Data::Float(either(&raw, tensor.float_data, f32::from_le_bytes)),
            DataType::Double => {
                let values = either(&raw, tensor.double_data, f64::from_le_bytes);
                if let Some(large) = values.iter().find(|v| v.is_finite() && (**v as f32).is_infinite()) {
                    return Err(error(format!("its value {large:e} is too large for a float of 32 bits")));
                }
                Data::Float(values.into_iter().map(|v| v as f32).collect())
            }
            DataType::Float16 => {
                let bits = either(&raw, ints.iter().map(|&v| v as u16).collect(), u16::from_le_bytes);
                Data::Float(bits.into_iter().map(|v| f16::from_bits(v).to_f32()).collect())
            }
            DataType::Bfloat16 => {
                let bits = either(&raw, ints.iter().map(|&v| v as u16).collect(), u16::from_le_bytes);
                Data::Float(bits.into_iter().map(|v| bf16::from_bits(v).to_f32()).collect())
            }
            DataType::Int8 => {
                Data::Int8(either(&raw, ints.iter().map(|&v| v as i8).collect(), i8::from_le_bytes))
            }
            DataType::Uint8 => {
                Data::Uint8(either(&raw, ints.iter().map(|&v| v as u8).collect(), u8::from_le_bytes))
            }
            DataType::Bool => {
                Data::Bool(either(&raw, ints.iter().map(|&v| v != 0).collect(), |[v]: [u8; 1]| v != 0))
            }
            DataType::Int32 => Data::Int32(either(&raw, ints, i32::from_le_bytes)),
            DataType::Int64 => Data::Int64(either(&raw, tensor.int64_data, i64::from_le_bytes)),
            DataType::Other(_) => Data::Unread(kind),
        };
        Ok(Tensor { name, shape, data })
    }

    /// The `wanted` bytes of a tensor that lie in a file beside the model.
    fn external(&mut self, name: &str, pairs: &[proto::Pair], wanted: usize) -> Result<Vec<u8>> {
        let path = self.path;
        let error = |problem: String| Error::file(path, format!("tensor {}: {problem}", quoted(name)));
        let value = |key: &str| {
            let pair = pairs.iter().find(|pair| pair.key.as_deref() == Some(key));
            pair.and_then(|pair| pair.value.as_deref())
        };
        let number = |key: &str| match value(key).map(str::parse::<u64>) {
            None => Ok(None),
            Some(Ok(number)) => Ok(Some(number)),
            Some(Err(_)) => Err(error(format!("the {key} of its external data is not a number"))),
        };
        let location = value("location").unwrap_or("");
        let relative = Path::new(location);
        let inside =
            relative.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        if location.is_empty() || !inside {
            return Err(error(format!(
                "its external data is in {}, which is not a path within the model's folder",
                quoted(location)
            )));
        }
        let offset = number("offset")?.unwrap_or(0);
        if let Some(length) = number("length")?.filter(|&length| length != wanted as u64) {
            return Err(error(format!(
                "its external data has {length} bytes; its type and shape need {wanted}"
            )));
        }
        if !self.files.contains_key(location) {
            let missing = |reason: &dyn fmt::Display| {
                error(format!(
                    "its external data is in {}, which cannot be read beside the model: {reason}",
                    quoted(location)
                ))
            };
            let folder = match &self.folders {
                Some(folder) => folder.clone(),
                None => {
                    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
                    let folder = folder.unwrap_or(Path::new("."));
                    folder.canonicalize().map_err(|reason| Error::io(folder, reason))?
                }
            };
            let full = folder.join(relative).canonicalize().map_err(|reason| missing(&reason))?;
            if !full.starts_with(&folder) {
                return Err(missing(&"it is a link that leaves the model's folder"));
            }
            let (file, size) = super::open(&full).map_err(|reason| missing(&reason))?;
            self.folders = Some(folder);
            self.files.insert(location.to_owned(), (Positioned::new(&full, file), size, size));
        }
        let Some((file, size, left)) = self.files.get_mut(location) else {
            return Ok(Vec::new());
        };
        let bytes = wanted as u64;
        if offset.checked_add(bytes).is_none_or(|end| end > *size) {
            return Err(error(format!(
                "its external data is {bytes} bytes from {offset} on in {}, which has {size}",
                quoted(location)
            )));
        }
        // Otherwise small files could ask for any amount of memory.
        let Some(rest) = left.checked_sub(bytes) else {
            return Err(error(format!(
                "its external data and that of others overlap in {}",
                quoted(location)
            )));
        };
        *left = rest;
        let mut raw = vec![0; wanted];
        file.read_exact(offset, &mut raw).map_err(|reason| Error::io(&file.path, reason))?;
        self.digest.update(&raw);
        Ok(raw)
    }
}

/// The first of some numbers, for a message.
fn short<T>(numbers: &[T]) -> &[T] {
    numbers.get(..8).unwrap_or(numbers)
}

/// Numbers from bytes, or those of a typed field where there are none.
fn either<T, const N: usize>(raw: &[u8], typed: Vec<T>, from: impl Fn([u8; N]) -> T) -> Vec<T> {
    match raw.as_chunks::<N>().0 {
        [] => typed,
        chunks => chunks.iter().map(|&bytes| from(bytes)).collect(),
    }
}
