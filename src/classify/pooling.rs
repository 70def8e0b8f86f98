//! Windows over pictures, as `max_pool` and `average_pool` take them.

use super::layout::Layout;
use crate::gpu::to_u32;
use crate::network::{Value, Window};
use crate::{Error, Result};

/// A pool: the pictures before and after it, height and width, and what it sees of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pooling {
    /// Channels of both.
    pub channels: usize,
    /// Height and width of the input.
    pub input: [usize; 2],
    /// Height and width of the output.
    pub output: [usize; 2],
    /// Where it looks.
    pub window: Window,
}

/// Coordinates lie below this, so that those left of a picture can wrap around to beyond its end.
const MOST_REACH: usize = 1 << 31;
/// Most elements of a window: one invocation goes through all.
const MOST_ELEMENTS: usize = 1 << 20;

impl Pooling {
    /// That of `input` to `output`.
    pub fn of(input: &Value, output: &Value, window: Window) -> Self {
        Self { channels: output.channels(), input: input.picture(), output: output.picture(), window }
    }

    /// The layout of its input.
    pub fn input_layout(&self) -> Layout {
        Layout { channels: self.channels, positions: self.input.iter().product() }
    }

    /// The layout of its output.
    pub fn output_layout(&self) -> Layout {
        Layout { channels: self.channels, positions: self.output.iter().product() }
    }

    /// Whether every window sees an element of the picture.
    fn sees(&self, axis: usize) -> bool {
        let window = &self.window;
        (0..self.output[axis]).all(|to| {
            // The first of its elements that does not lie before the picture.
            let at =
                window.pads[axis].saturating_sub(to * window.strides[axis]).div_ceil(window.dilations[axis]);
            at < window.kernel[axis] && window.source(axis, to, at, self.input[axis]).is_some()
        })
    }

    /// Refuses what `kernel` cannot count, and where `must_see`, windows without an element.
    pub(super) fn check(&self, kernel: &str, must_see: bool) -> Result<()> {
        let fault = |problem: String| Err(Error::Input(format!("{kernel}: {problem}")));
        let window = &self.window;
        for axis in 0..2 {
            let name = ["rows", "columns"][axis];
            let sizes = [self.input[axis], self.output[axis], window.kernel[axis], window.strides[axis]];
            if sizes.contains(&0) || window.dilations[axis] == 0 {
                return fault(format!(
                    "its {name} have a size, a stride or a dilation of 0; each is 1 or more"
                ));
            }
            let reach = self.output[axis]
                .saturating_mul(window.strides[axis])
                .saturating_add(window.kernel[axis].saturating_mul(window.dilations[axis]))
                .saturating_add(window.pads[axis].max(self.input[axis]));
            if reach >= MOST_REACH {
                return fault(format!("its {name} reach to {reach}, and must stay below {MOST_REACH}"));
            }
            if must_see && !self.sees(axis) {
                return fault(format!(
                    "a window lies wholly in the padding of the {name} and has no value; make pads smaller than the kernel"
                ));
            }
        }
        let elements = window.kernel[0].saturating_mul(window.kernel[1]);
        if elements > MOST_ELEMENTS {
            return fault(format!("a window of {elements} elements; it can have {MOST_ELEMENTS}"));
        }
        Ok(())
    }

    /// Operations on `rows` examples: one for each element of each window.
    pub(super) fn ops(&self, rows: u64) -> u64 {
        rows * (self.output_layout().elements() * self.window.kernel.iter().product::<usize>()) as u64
    }

    /// c4, the input, the output, the kernel, the strides, the dilations, the pads: rows and columns of each.
    pub(super) fn sizes(&self) -> Result<[u32; 13]> {
        let Self { input, output, window, .. } = self;
        let pairs = [*input, *output, window.kernel, window.strides, window.dilations, window.pads];
        let mut sizes = [0; 13];
        sizes[0] = to_u32(self.input_layout().c4() as u64, "the number of channels")?;
        for (size, &value) in sizes[1..].iter_mut().zip(pairs.as_flattened()) {
            *size = to_u32(value as u64, "a size of a pool")?;
        }
        Ok(sizes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pooling(kernel: usize, stride: usize, dilation: usize, pad: usize, output: usize) -> Pooling {
        let window = Window {
            kernel: [kernel, 1],
            strides: [stride, 1],
            dilations: [dilation, 1],
            pads: [pad, 0],
            star: false,
        };
        Pooling { channels: 3, input: [5, 1], output: [output, 1], window }
    }

    #[test]
    fn windows_that_see_nothing_are_refused_where_they_have_no_value() {
        assert!(pooling(3, 2, 1, 1, 3).check("max_pool", true).is_ok());
        // Padding as large as the kernel; a window behind the end; elements that jump over the picture.
        for blind in [pooling(2, 1, 1, 2, 3), pooling(2, 3, 1, 0, 3), pooling(2, 1, 9, 4, 1)] {
            let error = blind.check("max_pool", true).unwrap_err().to_string();
            assert!(error.contains("wholly in the padding"), "{error}");
            assert!(blind.check("average_pool", false).is_ok());
        }
    }

    #[test]
    fn sizes_that_the_shader_cannot_count_are_refused() {
        let far = 1 << 31;
        let faults =
            [pooling(0, 1, 1, 0, 5), pooling(1, 0, 1, 0, 5), pooling(1, 1, 0, 0, 5), pooling(1, 1, 1, 0, 0)];
        let reaches = [pooling(1, far, 1, 0, 5), pooling(1, 1, 1, far, 5), pooling(2, 1, usize::MAX, 0, 5)];
        for bad in faults.into_iter().chain(reaches).chain([pooling((1 << 20) + 1, 1, 1, 0, 5)]) {
            assert!(bad.check("max_pool", false).is_err(), "{bad:?}");
        }
    }
}
