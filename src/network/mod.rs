//! Networks: layers over values, as they run here. Made from ONNX files (`network::lower`), rewritten to integers; never a GPU
//! type. The definition of every layer is [`crate::oracle::network`].
//!
//! Shapes leave out the batch: a value has one example's shape, and its first axis is its channels. `[30]` is 30
//! features, `[8, 14, 14]` 8 channels of a picture, `[8, 100]` 8 channels of a signal. The order of elements is
//! row-major, as in ONNX. There are no unsigned bytes: lowering takes 128 off uint8 values and their zero points.

pub mod low_bit;
pub mod lower;
pub mod quantize;
pub mod registers;

/// The type of a value's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    /// 32-bit floats.
    F32,
    /// Signed bytes.
    I8,
    /// Sums of products of bytes.
    I32,
}

/// What flows between layers.
#[derive(Clone, Debug, PartialEq)]
pub struct Value {
    /// Its name in the file.
    pub name: String,
    /// One example's shape: channels first, at most two axes more. Never empty; no axis is 0.
    pub shape: Vec<usize>,
    /// What its elements are.
    pub element: Element,
}

impl Value {
    /// Elements of one example.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Its channels: the first axis.
    pub fn channels(&self) -> usize {
        self.shape.first().copied().unwrap_or(1)
    }

    /// Height and width of each channel; 1 where there is no such axis (a signal's axis is its width).
    pub fn picture(&self) -> [usize; 2] {
        match self.shape.as_slice() {
            [_, height, width] => [*height, *width],
            [_, width] => [1, *width],
            _ => [1, 1],
        }
    }
}

/// A network of one input and one output.
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    /// Everything that is computed, and the input.
    pub values: Vec<Value>,
    /// In an order in which they can run.
    pub layers: Vec<Layer>,
    /// The place of the input in `values`.
    pub input: usize,
    /// The place of the output in `values`.
    pub output: usize,
}

impl Network {
    /// The value that `value` is made of by layers that are all `through`: the first input of the first of them.
    pub fn source(&self, mut value: usize, through: impl Fn(&Layer) -> bool) -> usize {
        for layer in self.layers.iter().rev() {
            if layer.output == value && through(layer) {
                value = layer.inputs[0];
            }
        }
        value
    }
}

/// One operation.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// The node's name in the file, or its operator and number where it has none. Unique.
    pub name: String,
    /// The operator as users know it, such as `Gemm`.
    pub operator: &'static str,
    /// Places in [`Network::values`].
    pub inputs: Vec<usize>,
    /// Place in [`Network::values`].
    pub output: usize,
    /// What is computed.
    pub op: Op,
}

/// What a layer computes. One input and floats, unless said otherwise.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// Conv, and Gemm and MatMul by constants, which are windows of 1 x 1.
    Dense(Dense),
    /// QLinearConv, QLinearMatMul, MatMulInteger, and what [`Op::Dense`] becomes: of I8.
    Integer(Integer),
    /// A function of each element.
    Unary(Unary),
    /// `x op constant`, or `constant op x`: the constant has a value for each element, or for each channel, or one.
    Constant {
        /// The operation.
        arithmetic: Arithmetic,
        /// 1, [`Value::channels`] or [`Value::elements`] values.
        constant: Vec<f32>,
        /// Whether the constant is the left operand.
        reversed: bool,
    },
    /// Two inputs of the same shape.
    Arithmetic(Arithmetic),
    /// MaxPool, of F32 or I8; padding is never the largest.
    MaxPool(Window),
    /// AveragePool and GlobalAveragePool.
    AveragePool {
        /// Where it looks.
        window: Window,
        /// Whether padding counts as zeros; otherwise it is left out of the mean.
        include_pad: bool,
    },
    /// Over the channels, for each position.
    Softmax,
    /// The same elements in the same order as another shape; F32 or I8.
    Reshape,
    /// Transpose, Concat, broadcasts: element `i` of the output is element `index[i]` of all inputs, one behind the
    /// other. F32 or I8.
    Gather {
        /// As many as the output has elements.
        index: Vec<u32>,
    },
    /// F32 to I8: `saturate(round_half_even(x * (1 / scale)) + zero)`, the reciprocal and the product in f32.
    Quantize(Affine),
    /// I8 to F32: `(q - zero) * scale`, in f32.
    Dequantize(Affine),
    /// I32 to F32.
    Cast,
}

/// A scale and a zero point, for all channels or for each.
#[derive(Clone, Debug, PartialEq)]
pub struct Affine {
    /// 1 or [`Value::channels`] values, all positive and finite.
    pub scale: Vec<f32>,
    /// As many.
    pub zero: Vec<i32>,
}

/// A function of one number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Unary {
    /// `max(x, 0)`
    Relu,
    /// `1 / (1 + exp(-x))`
    Sigmoid,
    /// `tanh(x)`
    Tanh,
    /// `min(max(x, low), high)`; infinite where there is no bound.
    Clip {
        /// Least result.
        low: f32,
        /// Largest result.
        high: f32,
    },
}

/// A function of two numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arithmetic {
    /// `a + b`
    Add,
    /// `a - b`
    Sub,
    /// `a * b`
    Mul,
    /// `a / b`
    Div,
}

/// Where a convolution or a pool looks: rows and columns, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Its size.
    pub kernel: [usize; 2],
    /// Its steps.
    pub strides: [usize; 2],
    /// The distance of its elements.
    pub dilations: [usize; 2],
    /// Rows above and columns left of the input that it reaches. What it reaches on the other sides follows from the
    /// output's shape.
    pub pads: [usize; 2],
    /// Whether only the middle row and the middle column of 3 x 3 elements are there: the centre and its four neighbours,
    /// as a star convolution sees them. There are no weights for the corners.
    pub star: bool,
}

/// The elements of a star, by row and column of its 3 x 3.
const STAR: [[usize; 2]; 5] = [[0, 1], [1, 0], [1, 1], [1, 2], [2, 1]];

impl Window {
    /// One element: a product with a matrix.
    pub const POINT: Self =
        Self { kernel: [1, 1], strides: [1, 1], dilations: [1, 1], pads: [0, 0], star: false };

    /// How many elements it has.
    pub fn taps(&self) -> usize {
        if self.star { STAR.len() } else { self.kernel.iter().product() }
    }

    /// Row and column of element `tap`, in the order of weights.
    pub fn tap(&self, tap: usize) -> [usize; 2] {
        if self.star { STAR[tap] } else { [tap / self.kernel[1], tap % self.kernel[1]] }
    }

    /// The same window without its corners, and the weights of `[.., 3, 3]` without theirs, if these are all `nothing(..)`, which is asked
    /// with the place of a weight.
    pub fn without_corners<T: Copy>(
        &self,
        weights: &[T],
        nothing: impl Fn(usize) -> bool,
    ) -> Option<(Self, Vec<T>)> {
        let corners = [0, 2, 6, 8];
        let at_corner = |place: usize| corners.contains(&(place % 9));
        let fits = self.kernel == [3, 3] && !self.star;
        if !fits || !(0..weights.len()).filter(|&place| at_corner(place)).all(nothing) {
            return None;
        }
        let star =
            weights.iter().enumerate().filter(|(place, _)| !at_corner(*place)).map(|(_, &weight)| weight);
        Some((Self { star: true, ..*self }, star.collect()))
    }

    /// The place in the input that element `at` of the window reads for place `to` of the output, along `axis`
    /// (0 rows, 1 columns), if it lies inside an input of `size`.
    pub fn source(&self, axis: usize, to: usize, at: usize, size: usize) -> Option<usize> {
        let reach = to * self.strides[axis] + at * self.dilations[axis];
        reach.checked_sub(self.pads[axis]).filter(|&from| from < size)
    }
}

/// A convolution in floats: `y[o] = bias[o] + sum w[o, c, i, j] x[c, …]` over the channels `c` of o's group.
#[derive(Clone, Debug, PartialEq)]
pub struct Dense {
    /// `[out, in / groups, taps]` of the window.
    pub weights: Vec<f32>,
    /// `[out]`
    pub bias: Vec<f32>,
    /// Where it looks; padding is 0.
    pub window: Window,
    /// Groups of channels that do not see each other.
    pub groups: usize,
    /// Where the weights were quantized in the file: what they were.
    pub quantized: Option<QuantizedWeights>,
}

/// Weights as integers: `weight = (code - zero) * scale`.
#[derive(Clone, Debug, PartialEq)]
pub struct QuantizedWeights {
    /// `[out, in / groups, taps]` of the window.
    pub codes: Vec<i8>,
    /// `[out]`
    pub scale: Vec<f32>,
    /// `[out]`
    pub zero: Vec<i32>,
}

/// A convolution in integers: `acc[o] = bias[o] + sum (w[o, c, i, j] - w_zero[o]) (x[c, …] - x_zero)`, where padding
/// is `x_zero`, in a register that does not saturate: what leaves it comes in at the other end.
#[derive(Clone, Debug, PartialEq)]
pub struct Integer {
    /// `[out, in / groups, taps]` of the window.
    pub weights: Vec<i8>,
    /// `[out]`
    pub weight_zero: Vec<i32>,
    /// One for all of the input.
    pub input_zero: i32,
    /// `[out]`, in units of a product.
    pub bias: Vec<i32>,
    /// Where it looks.
    pub window: Window,
    /// Groups of channels that do not see each other.
    pub groups: usize,
    /// Bits of the register that holds the sum, the sign among them: 2 to 32.
    pub register: u32,
    /// What becomes of the sum.
    pub output: Output,
}

impl Integer {
    /// A sum as the register holds it.
    pub fn wrap(&self, sum: i64) -> i64 {
        let unused = i64::BITS - self.register;
        sum << unused >> unused
    }

    /// What the register holds before the first product: `bias - x_zero sum (w - w_zero)`, all that does not depend on x. The
    /// products are then of codes as they are.
    pub fn constants(&self) -> Vec<i64> {
        let each = (self.weights.len() / self.bias.len().max(1)).max(1);
        let channels = self.weights.chunks_exact(each).zip(&self.weight_zero).zip(&self.bias);
        let all = channels.map(|((weights, &zero), &bias)| {
            let sum: i64 = weights.iter().map(|&weight| i64::from(weight) - i64::from(zero)).sum();
            i64::from(bias) - i64::from(self.input_zero) * sum
        });
        all.collect()
    }

    /// Whether 32 bits are enough to compute all this, whatever the input: the sum, and for [`Output::Fixed`] its products.
    pub fn fits(&self) -> bool {
        if let Output::Fixed { steps, .. } = &self.output {
            let reach = 1i64 << (self.register - 1);
            let fits = |step: &FixedPoint| {
                let most = reach * i64::from(step.multiplier).abs() + i64::from(step.offset).abs();
                step.shift <= FixedPoint::MOST_SHIFT && most <= i64::from(i32::MAX)
            };
            if !steps.iter().all(fits) {
                return false;
            }
        }
        // A byte is at most this far from the zero point.
        let reach = i64::from((127 - self.input_zero).max(self.input_zero + 128));
        let each = (self.weights.len() / self.bias.len().max(1)).max(1);
        let channels = self.weights.chunks_exact(each).zip(&self.weight_zero).zip(&self.bias);
        channels.into_iter().all(|((weights, &zero), &bias)| {
            let all: i64 = weights.iter().map(|&w| (i64::from(w) - i64::from(zero)).abs()).sum();
            all.saturating_mul(reach) <= i64::from(i32::MAX) - i64::from(bias).abs()
        })
    }
}

/// What becomes of a sum of integers. Every step is one operation of f32, so that each device gives the same bits.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Stays as it is: I32.
    Sum,
    /// `f32(acc) * scale[o]`: F32.
    Scaled {
        /// `[out]`
        scale: Vec<f32>,
    },
    /// `clamp(round_half_even(f32(acc) * scale[o]) + zero, low, high)`: I8.
    Requantized {
        /// `[out]`
        scale: Vec<f32>,
        /// The output's zero point.
        zero: i32,
        /// Least code: -128, or more where a Relu or Clip is part of it.
        low: i32,
        /// Largest code.
        high: i32,
    },
    /// `clamp((acc * multiplier[o] + offset[o]) >> shift[o], low, high)`, in integers of 32 bits: I8.
    Fixed {
        /// `[out]`
        steps: Vec<FixedPoint>,
        /// Least code.
        low: i32,
        /// Largest code.
        high: i32,
    },
}

/// `(x * multiplier + offset) >> shift`: the way from the codes of one scale to those of another, in integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FixedPoint {
    /// The ratio of the scales, times `2^shift`.
    pub multiplier: i32,
    /// Zero point and rounding, times `2^shift`.
    pub offset: i32,
    /// Bits of the fraction, at most [`FixedPoint::MOST_SHIFT`].
    pub shift: u32,
}

impl FixedPoint {
    /// The most bits of a fraction.
    pub const MOST_SHIFT: u32 = 30;

    /// What changes nothing.
    pub const ONE: Self = Self { multiplier: 1, offset: 0, shift: 0 };

    /// What it makes of `x`.
    pub fn of(&self, x: i64) -> i64 {
        (x * i64::from(self.multiplier) + i64::from(self.offset)) >> self.shift
    }
}
