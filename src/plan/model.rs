//! What a token reads of a model in a GGUF file: its matrices by shape, their sizes in every format, its KV cache.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use super::geometry::Geometry;
use crate::format::Format;
use crate::io::gguf::{Gguf, Tensor, TensorType, Value};
use crate::quantize::{fitting, is_kept};
use crate::{Error, Result};

/// Matrices of one shape and type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Matrices {
    /// Rows of each.
    pub rows: u64,
    /// The length of a row.
    pub cols: u64,
    /// Their number format.
    #[serde(rename = "type", serialize_with = "by_name")]
    pub ty: &'static TensorType,
    /// How many there are. Each expert of a mixture is one.
    pub count: u64,
    /// How many of them a token is multiplied with.
    pub per_token: u64,
    /// Whether a quantizer leaves them as they are.
    pub kept: bool,
}

impl Matrices {
    /// Bytes of one.
    // Sums and products of sizes saturate: no file comes near, and no memory.
    pub fn bytes(&self) -> u64 {
        let row = (self.cols / u64::from(self.ty.block)).saturating_mul(self.ty.bytes.into());
        row.saturating_mul(self.rows)
    }

    /// Bytes of all that a token is multiplied with.
    pub fn read_bytes(&self) -> u64 {
        self.bytes().saturating_mul(self.per_token)
    }
}

fn by_name<S: Serializer>(ty: &&'static TensorType, to: S) -> std::result::Result<S::Ok, S::Error> {
    to.serialize_str(ty.name)
}

/// The tensors of a model, as far as sizes and times depend on them.
#[derive(Clone, Debug, Serialize)]
pub struct Model {
    /// Weights of all tensors.
    pub weights: u64,
    /// The matrices, those that a token reads most of first.
    pub matrices: Vec<Matrices>,
    /// Bytes of the tensors of one dimension. They keep their type, and a token reads all of them.
    pub vector_bytes: u64,
    /// Its KV cache, or what the file does not say of it.
    #[serde(skip)]
    pub kv: std::result::Result<Geometry, String>,
    /// What had to be guessed.
    pub notices: Vec<String>,
}

/// Tables of which a token takes one row: no product.
const LOOKUPS: &[&str] = &["position_embd.weight", "token_types.weight", "per_layer_token_embd.weight"];

/// The table of tokens; where there is no output matrix, it is that one too.
const TOKENS: &str = "token_embd.weight";
const OUTPUT: &str = "output.weight";

impl Model {
    /// The model in this file. The rows that a token looks up in tables are not counted as read.
    ///
    /// # Errors
    /// [`Error::File`] if a token is multiplied with no tensor of it.
    pub fn of(gguf: &Gguf) -> Result<Self> {
        let has_output = gguf.tensors().iter().any(|tensor| tensor.name == OUTPUT && tensor.dims.len() > 1);
        let architecture = gguf.get("general.architecture").and_then(Value::as_str);
        let used = architecture.and_then(|name| gguf.get(&format!("{name}.expert_used_count"))?.as_u64());
        let (mut matrices, mut notices) = (Vec::new(), Vec::new());
        let (mut weights, mut vector_bytes) = (0u64, 0u64);
        for tensor in gguf.tensors() {
            weights = weights.saturating_add(tensor.values());
            // An empty one is no matrix.
            let Some(&rows) = tensor.dims.get(1).filter(|_| tensor.values() > 0) else {
                vector_bytes = vector_bytes.saturating_add(tensor.bytes);
                continue;
            };
            let count = tensor.rows() / rows;
            let lookup = LOOKUPS.contains(&tensor.name.as_str()) || (tensor.name == TOKENS && has_output);
            let per_token = match used {
                _ if lookup => 0,
                Some(used) if is_expert(tensor) => count.min(used),
                None if is_expert(tensor) && notices.is_empty() => {
                    notices.push(
                        "its metadata has no expert_used_count: a token is taken to use all experts".into(),
                    );
                    count
                }
                _ => count,
            };
            let kept = is_kept(&tensor.name);
            matrices.push(Matrices { rows, cols: tensor.cols(), ty: tensor.ty, count, per_token, kept });
        }
        if matrices.iter().all(|group| group.per_token == 0) {
            let found = gguf.tensors().len();
            let problem = format!("none of its {found} tensors is a matrix that a token is multiplied with");
            return Err(Error::file(gguf.path(), problem));
        }
        Ok(Self { weights, matrices: grouped(matrices), vector_bytes, kv: Geometry::of_gguf(gguf), notices })
    }

    /// The matrices in `format`, or as they are. Rows that are no whole blocks of it become what `lowbit quantize` makes
    /// of them.
    pub fn matrices_in(&self, format: Option<&'static Format>) -> Vec<Matrices> {
        grouped(self.matrices.iter().map(|group| {
            let wanted = format.filter(|_| !group.kept).and_then(|format| fitting(format, group.cols));
            let ty = wanted.and_then(|format| format.ggml_type).and_then(TensorType::by_id);
            Matrices { ty: ty.unwrap_or(group.ty), ..group.clone() }
        }))
    }
}

/// Experts of a mixture lie in one tensor; a token uses some of them.
fn is_expert(tensor: &Tensor) -> bool {
    tensor.dims.len() == 3 && tensor.name.contains("_exps")
}

/// One for each shape and type, those that a token reads most of first.
fn grouped(matrices: impl IntoIterator<Item = Matrices>) -> Vec<Matrices> {
    let mut groups = BTreeMap::new();
    for of in matrices {
        let key = (of.rows, of.cols, of.ty.id, of.kept);
        let group = groups.entry(key).or_insert(Matrices { count: 0, per_token: 0, ..of });
        group.count = group.count.saturating_add(of.count);
        group.per_token = group.per_token.saturating_add(of.per_token);
    }
    let mut groups: Vec<Matrices> = groups.into_values().collect();
    groups.sort_by_key(|group| Reverse(group.read_bytes()));
    groups
}
