//! Repeated multiply-add in f32.

/// Each of `x` after `steps` steps of v = v * factor + addend, and how far an f32 kernel may be from it.
pub fn fma_f32(x: &[f32], factor: f32, addend: f32, steps: u64) -> (Vec<f64>, Vec<f64>) {
    chains(x, factor, addend, steps, Precision { unit: 2f64.powi(-24), smallest: 2f64.powi(-126) })
}

/// A binary floating-point format.
pub(super) struct Precision {
    /// Largest relative error of one rounding.
    pub(super) unit: f64,
    /// Smallest normal value.
    pub(super) smallest: f64,
}

/// The values, and their bounds: a step multiplies the error it is given by |factor| and adds two roundings (one where
/// the multiply-add is fused) and two flushes of a subnormal.
pub(super) fn chains(x: &[f32], factor: f32, addend: f32, steps: u64, p: Precision) -> (Vec<f64>, Vec<f64>) {
    let (factor, addend) = (f64::from(factor), f64::from(addend));
    x.iter()
        .map(|&start| {
            let (mut value, mut bound) = (f64::from(start), 0f64);
            for _ in 0..steps {
                let product = value * factor;
                value = product + addend;
                bound *= factor.abs();
                // The roundings act on the kernel's own product and sum, which may lie `bound` further out.
                bound += p.unit * (product.abs() + bound) + p.smallest;
                bound += p.unit * (value.abs() + bound) + p.smallest;
            }
            (value, bound)
        })
        .unzip()
}
