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
