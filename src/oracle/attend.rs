//! Oracle of `attend`: attention of the query heads of one token that share a kv head.

use super::softmax::softmax;

/// What a query sees, and how logits are made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rule {
    /// Logits are `scale * <q, k>`.
    pub scale: f64,
    /// Logits become `cap * tanh(logit / cap)`; none at 0.
    pub soft_cap: f64,
    /// Only the newest tokens are seen, this many; all at `usize::MAX`.
    pub window: usize,
    /// And so many first ones, whatever the window.
    pub sinks: usize,
}

impl Rule {
    /// `1 / sqrt(head_dim)`, no cap, all tokens.
    pub fn plain(head_dim: usize) -> Self {
        Self { scale: 1.0 / (head_dim as f64).sqrt(), soft_cap: 0.0, window: usize::MAX, sinks: 0 }
    }

    /// Whether the newest of `length` tokens sees this one.
    pub fn sees(&self, length: usize, token: usize) -> bool {
        token < length && (token < self.sinks || length - token <= self.window)
    }
}

/// What came out for each query head.
#[derive(Clone, Debug, PartialEq)]
pub struct Attended {
    /// `[heads, tokens]`; minus infinity where a token is not seen.
    pub logits: Vec<f64>,
    /// `[heads, tokens]`.
    pub probabilities: Vec<f64>,
    /// `[heads, value_dim]`; zeros if no token is seen.
    pub output: Vec<f64>,
}

/// Attention of `queries` (`[heads, dim]`) over the first `length` of `keys` (`[tokens, dim]`) and `values`
/// (`[tokens, value_dim]`): `softmax(scale * q k) v`.
pub fn attend(
    queries: &[f32],
    keys: &[f32],
    values: &[f32],
    dim: usize,
    value_dim: usize,
    length: usize,
    rule: &Rule,
) -> Attended {
    let mut found = Attended { logits: Vec::new(), probabilities: Vec::new(), output: Vec::new() };
    for query in queries.chunks_exact(dim) {
        let logits: Vec<f64> = keys
            .chunks_exact(dim)
            .enumerate()
            .map(|(token, key)| {
                if !rule.sees(length, token) {
                    return f64::NEG_INFINITY;
                }
                let dot: f64 = query.iter().zip(key).map(|(&q, &k)| f64::from(q) * f64::from(k)).sum();
                let logit = rule.scale * dot;
                if rule.soft_cap > 0.0 { rule.soft_cap * (logit / rule.soft_cap).tanh() } else { logit }
            })
            .collect();
        let seen = logits.iter().any(|&logit| logit > f64::NEG_INFINITY);
        let shares = if seen { softmax(&logits) } else { vec![0.0; logits.len()] };
        let mut output = vec![0.0; value_dim];
        for (share, value) in shares.iter().zip(values.chunks_exact(value_dim)) {
            for (sum, &v) in output.iter_mut().zip(value) {
                *sum += share * f64::from(v);
            }
        }
        found.logits.extend(logits);
        found.probabilities.extend(shares);
        found.output.extend(output);
    }
    found
}

/// Largest error of each output of f32 kernels that decode keys and values, rotated in blocks or not, and add up in any
/// order, values of `value_dim`: of logits in proportion to |q| |k|, of shares to their logits' errors and to f32's exponential. `mean` is the size
/// of what was subtracted from the keys, whose products with the queries are added to the logits.
pub fn bound(
    queries: &[f32],
    keys: &[f32],
    values: &[f32],
    (dim, value_dim): (usize, usize),
    rule: &Rule,
    mean: f64,
    rotated_values: bool,
) -> Vec<f64> {
    const UNIT: f64 = 1.0 / 16_777_216.0;
    let norm = |x: &[f32]| x.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
    let tokens = keys.len() / dim;
    let found = attend(queries, keys, values, dim, value_dim, tokens, rule);
    // A key less the mean is at most as long as both together.
    let longest = 2.0 * mean + keys.chunks_exact(dim).map(norm).fold(0.0, f64::max);
    let mut bounds = Vec::new();
    for (head, query) in queries.chunks_exact(dim).enumerate() {
        let (logits, shares) =
            (&found.logits[head * tokens..][..tokens], &found.probabilities[head * tokens..][..tokens]);
        let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let of_logit =
            UNIT * ((dim as f64 + 40.0) * rule.scale * norm(query) * longest + 16.0 * rule.soft_cap);
        let mut of_head = vec![0.0; value_dim];
        for (token, &share) in shares.iter().enumerate().filter(|(_, share)| **share > 0.0) {
            let of_share =
                4.0 * of_logit + UNIT * (2.0 * tokens as f64 + 80.0 + 16.0 * (largest - logits[token]));
            let value = &values[token * value_dim..][..value_dim];
            let whole = norm(value);
            for (sum, &v) in of_head.iter_mut().zip(value) {
                *sum += share * of_share * if rotated_values { whole } else { f64::from(v).abs() };
            }
        }
        bounds.extend(of_head);
    }
    bounds
}
