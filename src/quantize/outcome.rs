//! What became of a file, tensor by tensor.

use serde::Serialize;

use super::source::LeftOut;
use super::{Action, Step, about, work};

/// What became of a tensor.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// Its shape; the last dimension is contiguous.
    pub shape: Vec<u64>,
    /// The type that it had.
    pub from: &'static str,
    /// The type that it has.
    pub to: &'static str,
    /// The bytes of its data before.
    pub bytes_before: u64,
    /// The bytes of its data now.
    pub bytes_after: u64,
    /// The sum of squared differences between the weights before and after, over the sum of squared weights; none for a
    /// tensor that was kept.
    pub relative_squared_error: Option<f64>,
    /// Why it was kept, or has another type than the one asked for; else empty.
    pub note: String,
}

pub(super) fn row(step: &Step<'_>, sums: &work::Sums) -> Row {
    let (tensor, ty) = (step.tensor, step.ty());
    Row {
        name: tensor.name.clone(),
        shape: tensor.shape(),
        from: tensor.ty.name,
        to: ty.name,
        bytes_before: tensor.bytes,
        bytes_after: tensor.values() / u64::from(ty.block) * u64::from(ty.bytes),
        relative_squared_error: matches!(step.action, Action::Convert(..)).then(|| sums.relative()),
        note: step.note.clone(),
    }
}

/// What became of a file.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Quantized {
    /// The format that was asked for.
    pub format: &'static str,
    /// The weights of all tensors.
    pub weights: u64,
    /// The bytes of their data before.
    pub bytes_before: u64,
    /// The bytes of their data now.
    pub bytes_after: u64,
    /// Bits that a weight took, on average.
    pub bits_per_weight_before: f64,
    /// Bits that a weight takes, on average.
    pub bits_per_weight_after: f64,
    /// As that of a [`Row`], over all tensors that were not kept; none if all were.
    pub relative_squared_error: Option<f64>,
    /// The time that reading, quantizing and writing took.
    pub seconds: f64,
    /// Whether the file was read back and compared.
    pub verified: bool,
    /// Each tensor, in the order of the file.
    pub tensors: Vec<Row>,
    /// Those of the input that are not among them.
    pub left_out: Vec<LeftOut>,
}

impl Quantized {
    /// What was left out, a line for each reason.
    pub fn left_out(&self) -> Vec<String> {
        let mut reasons: Vec<&str> = Vec::new();
        for tensor in &self.left_out {
            if !reasons.contains(&tensor.why.as_str()) {
                reasons.push(&tensor.why);
            }
        }
        let names = |why| {
            self.left_out.iter().filter(move |tensor| tensor.why == why).map(|tensor| tensor.name.as_str())
        };
        reasons.into_iter().filter_map(|why| about(names(why), why)).collect()
    }
}
