//! A network of floats as one of integers: weights symmetric for each output channel, activations symmetric with one
//! calibrated scale, sums exact. What cannot be quantized stays as it is, and is listed with the reason.

use serde::Serialize;

use super::{Affine, Dense, Element, Integer, Layer, Network, Op, Output, Value};
use crate::calibration;

/// A layer with weights, and how it runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LayerPlan {
    /// Its name.
    pub layer: String,
    /// Its operator, such as `Gemm`.
    pub operator: &'static str,
    /// Whether it runs on integers.
    pub int8: bool,
    /// Why it does not.
    pub reason: Option<String>,
}

/// A network partly or wholly of integers.
#[derive(Clone, Debug)]
pub struct Quantized {
    /// What to run.
    pub network: Network,
    /// Every layer with weights, in order.
    pub layers: Vec<LayerPlan>,
}

/// Largest code of weights and activations: -128 is not used, so that codes are symmetric.
const MOST: f32 = 127.0;

/// The names of the values whose ranges [`quantize`] asks for: the inputs of layers with weights of floats.
pub fn calibrated(network: &Network) -> Vec<&str> {
    let dense = network.layers.iter().filter(|layer| matches!(layer.op, Op::Dense(_)));
    let mut names: Vec<&str> = Vec::new();
    for name in dense.map(|layer| calibrated_as(network, layer.inputs[0])) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// The name under which the value at `at` is calibrated: a reshape has the range of what it reshapes.
pub fn calibrated_as(network: &Network, at: usize) -> &str {
    let at = network.source(at, |layer| matches!(layer.op, Op::Reshape));
    &network.values[at].name
}

/// `network` with those of its layers on integers that `wanted` names. `scale_of` gives the size of a step of the value of
/// that name: its range over 127.
pub fn quantize(
    network: &Network,
    scale_of: impl Fn(&str) -> Option<f32>,
    wanted: impl Fn(&str) -> bool,
) -> Quantized {
    let mut result = Network { layers: Vec::new(), ..network.clone() };
    let mut layers = Vec::new();
    // Each value is quantized once, for all that read it.
    let mut quantized: Vec<Option<usize>> = vec![None; network.values.len()];
    for layer in &network.layers {
        let mut layer = layer.clone();
        let plan =
            |int8, reason| LayerPlan { layer: layer.name.clone(), operator: layer.operator, int8, reason };
        match &layer.op {
            Op::Dense(dense) => {
                let from = layer.inputs[0];
                let value = &network.values[from];
                let scale = scale_of(calibrated_as(network, from));
                let made = match wanted(&layer.name) {
                    true => integer(&layer.name, dense, value, scale),
                    false => Err("it was not asked for".into()),
                };
                layers.push(plan(made.is_ok(), made.as_ref().err().cloned()));
                if let Ok((integer, scale)) = made {
                    let codes = *quantized[from].get_or_insert_with(|| {
                        let name = format!("{} (int8)", value.name);
                        let at = result.values.len();
                        result.values.push(Value {
                            name: name.clone(),
                            element: Element::I8,
                            ..value.clone()
                        });
                        result.layers.push(Layer {
                            name,
                            operator: "QuantizeLinear",
                            inputs: vec![from],
                            output: at,
                            op: Op::Quantize(Affine { scale: vec![scale], zero: vec![0] }),
                        });
                        at
                    });
                    layer.inputs = vec![codes];
                    layer.op = Op::Integer(integer);
                }
            }
            Op::Integer(_) => layers.push(plan(true, None)),
            _ => (),
        }
        result.layers.push(layer);
    }
    Quantized { network: result, layers }
}

/// The layer in integers and the scale of its input, or why there is none.
fn integer(name: &str, dense: &Dense, input: &Value, scale: Option<f32>) -> Result<(Integer, f32), String> {
    let scale = scale.ok_or_else(|| format!("no range is known of its input {}", input.name))?;
    if !(scale > 0.0 && scale.is_finite() && (1.0 / scale).is_finite()) {
        return Err(format!("its input {} was 0 throughout calibration", input.name));
    }
    let outs = dense.bias.len();
    let each = dense.weights.len() / outs.max(1);
    let channels = calibration::channels(name, &dense.weights, outs).map_err(|error| error.to_string())?;
    let mut made = Integer {
        weights: Vec::with_capacity(dense.weights.len()),
        weight_zero: vec![0; outs],
        input_zero: 0,
        bias: Vec::with_capacity(outs),
        window: dense.window,
        groups: dense.groups,
        register: 32,
        output: Output::Sum,
    };
    let mut scales = Vec::with_capacity(outs);
    let weights = dense.weights.chunks_exact(each.max(1));
    for (out, ((weights, &bias), &step)) in weights.zip(&dense.bias).zip(&channels.scales).enumerate() {
        made.weights.extend(weights.iter().map(|w| (w / step).round_ties_even().clamp(-MOST, MOST) as i8));
        let unit = f64::from(scale) * f64::from(step);
        let bias = (f64::from(bias) / unit).round_ties_even();
        let product = unit as f32;
        if !(bias.abs() <= f64::from(i32::MAX) && product.is_normal()) {
            return Err(format!(
                "the bias of its channel {out} does not fit 32 bits in steps of its products"
            ));
        }
        made.bias.push(bias as i32);
        scales.push(product);
    }
    if !made.fits() {
        return Err(format!("its sums of {each} products and a bias do not fit 32 bits"));
    }
    made.output = Output::Scaled { scale: scales };
    Ok((made, scale))
}
