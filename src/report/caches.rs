//! The report's section on KV caches: what each type costs on real vectors, and how fast it is attended to here.

use std::path::Path;
use std::time::Duration;

use super::attention::{self, Evaluation, EvaluationOptions, HEADER, MAX_KL, MAX_L2, NOTE, TypeRow};
use super::decode;
use crate::Result;
use crate::codec::Pair;
use crate::gpu::Context;
use crate::io::npy;
use crate::quality::{Inputs, Tensor};
use crate::roofline::{Effort, Roofs};
use crate::table;

/// Queries, keys and values of layer 5 of all-MiniLM-L6-v2, Apache-2.0; see assets/README.md.
static TENSORS: [(&str, &[u8]); 3] = [
    ("q.npy", include_bytes!("../../assets/kv/q.npy")),
    ("k.npy", include_bytes!("../../assets/kv/k.npy")),
    ("v.npy", include_bytes!("../../assets/kv/v.npy")),
];

/// Where the tensors come from.
const SOURCE: &str = "queries, keys and values of a layer of all-MiniLM-L6-v2: 4 heads, 256 tokens";

/// Every type, evaluated and timed.
///
/// # Errors
/// The device's.
pub fn evaluate(
    gpu: &Context,
    roofs: &Roofs,
    effort: Effort,
    progress: &mut dyn FnMut(&str),
) -> Result<Evaluation> {
    progress("evaluating types of KV caches");
    let software = gpu.adapter.is_software();
    let (context, budget) = match (software, effort) {
        (true, Effort::Quick) => (2048, Duration::ZERO),
        (true, Effort::Full) => (16_384, Duration::from_millis(300)),
        (false, _) => (131_072, Duration::from_millis(300)),
    };
    let tensor = |(name, bytes): (&str, &[u8])| {
        let (matrix, example) = npy::parse_examples(Path::new(name), bytes)?;
        Ok::<_, crate::Error>(Tensor { shape: [vec![matrix.rows], example].concat(), values: matrix.values })
    };
    let [q, k, v] = TENSORS;
    let inputs = Inputs::new(tensor(q)?, tensor(k)?, tensor(v)?)?;
    let options = EvaluationOptions {
        types: Vec::new(),
        causal: false,
        sinks: 0,
        window: 0,
        form: None,
        max_kl: Some(MAX_KL),
        max_l2: Some(MAX_L2),
        context: Some(context),
    };
    let mut evaluation = attention::evaluate(&inputs, &options, &|_, _| (), &|| Ok(()))?;
    let timed = decode::types(gpu);
    let few = |types: Pair| !software || timed.contains(&types);
    decode::add_times(gpu, roofs, &inputs, &mut evaluation, &few, budget, progress)?;
    if software {
        evaluation.untimed =
            Some("a software device takes seconds to compile a type (see lowbit bench kv)".into());
    }
    Ok(evaluation)
}

/// What was evaluated and timed.
pub fn subject(evaluation: &Evaluation) -> String {
    let untimed =
        evaluation.untimed.as_ref().map_or_else(String::new, |why| format!("; no other decode times: {why}"));
    format!("{SOURCE}; sizes and times of {} such tokens, one sequence{untimed}", evaluation.context)
}

/// The section as a table.
pub fn text(evaluation: &Evaluation) -> String {
    let rows = evaluation.types.iter().map(TypeRow::figures);
    let table = table::render(&HEADER, rows.map(|row| row.to_vec()).collect());
    format!("{table}{}\n{NOTE}\nrecommended: {}\n", subject(evaluation), evaluation.recommendation)
}
