//! Host of `gather`: chosen elements of one or two activations, in a given order. Reshape, Transpose, Concat, broadcasts.

use super::layout::{Layout, element_file, examples, variant};
use crate::gpu::{Bound, Buffer, Context, Kernel, Spec, Work, params, to_u32};
use crate::network::Element;
use crate::{Error, Result};

/// The shader, for examples of many words and of few; the slot `element` is open.
pub const VARIANTS: &[Spec; 2] = &examples(Spec::new("classify/gather"));

/// In an index: no element, but 0.
pub const NOTHING: u32 = u32::MAX;

params! {
    struct GatherParams {
        rows: u32,
        a_words: u32,
        b_words: u32,
        words: u32,
    }
}

/// The index that the kernel takes, `4 * output.words()` physical elements, for one of a network: element `i` of the
/// output is element `logical[i]` of the one or two inputs, one behind the other, all of them channels first.
///
/// More inputs are gathered by and by: two of them, with 0, 1, 2, … as their logical index, into channels without
/// positions, which then stand for both.
///
/// # Errors
/// [`Error::Input`] for an index of the wrong length, one beyond the inputs, and inputs of 2^32 elements.
pub fn physical_index(logical: &[u32], inputs: &[Layout], output: Layout) -> Result<Vec<u32>> {
    let fault = |problem: String| Error::Input(format!("gather: {problem}"));
    if logical.len() != output.elements() {
        let (found, elements) = (logical.len(), output.elements());
        return Err(fault(format!("an index of {found} elements for an output of {elements}")));
    }
    words_of(inputs)?;
    let mut index = vec![NOTHING; 4 * output.words()];
    for (i, &from) in logical.iter().enumerate() {
        let (mut element, mut behind) = (from as usize, 0);
        let mut left = inputs.iter();
        let input = loop {
            match left.next() {
                Some(input) if element < input.elements() => break input,
                Some(input) => {
                    element -= input.elements();
                    behind += 4 * input.words();
                }
                None => {
                    let elements: usize = inputs.iter().map(Layout::elements).sum();
                    return Err(fault(format!("[{i}] is element {from} of inputs that have {elements}")));
                }
            }
        };
        let physical = behind + input.physical(element / input.positions, element % input.positions);
        index[output.physical(i / output.positions, i % output.positions)] =
            to_u32(physical, "an element of an input")?;
    }
    Ok(index)
}

/// Words of the first input and of the second: the first again where there is but one.
fn words_of(inputs: &[Layout]) -> Result<[u32; 2]> {
    let (a, b) = match inputs {
        [one] => (one, one),
        [a, b] => (a, b),
        _ => return Err(Error::Input(format!("gather: {} inputs; it takes 1 or 2", inputs.len()))),
    };
    let elements = (a.words() as u64 + b.words() as u64).saturating_mul(4);
    if elements >= u64::from(NOTHING) {
        return Err(Error::Input(format!(
            "gather: inputs of {elements} elements in an example; at most {NOTHING} can be numbered"
        )));
    }
    Ok([to_u32(a.words(), "the words of an example")?, to_u32(b.words(), "the words of an example")?])
}

/// The variant for an output of `element`s in this layout.
///
/// # Errors
/// [`Error::Input`] for I32.
pub fn spec(output: Layout, element: Element) -> Result<Spec> {
    Ok(variant(VARIANTS, output.words()).slot("element", element_file("gather", element)?))
}

/// The compiled kernel, for one type of elements.
#[derive(Debug)]
pub struct Gather(Kernel<GatherParams>);

impl Gather {
    /// Compiles `spec`.
    pub fn load(gpu: &Context, spec: &Spec) -> Result<Self> {
        Kernel::load(gpu, spec).map(Self)
    }

    /// Binds the gathering of one or two `inputs` into `output`, by the `index` of [`physical_index`]. Inputs and output
    /// have a row for each example.
    pub fn bind(
        &self,
        gpu: &Context,
        inputs: &[(&Buffer, Layout)],
        index: &Buffer,
        output: (&Buffer, Layout),
    ) -> Result<Bound> {
        let layouts: Vec<Layout> = inputs.iter().map(|(_, layout)| *layout).collect();
        let [a_words, b_words] = words_of(&layouts)?;
        let (a, b) = (inputs[0].0, inputs[inputs.len() - 1].0);
        let (y, layout) = output;
        let params = GatherParams {
            rows: to_u32(y.rows(), "the number of examples")?,
            a_words,
            b_words,
            words: to_u32(layout.words(), "the words of an example")?,
        };
        // Every element of the output comes from somewhere; the inputs may hold more.
        let work = Work { bytes: 2 * y.bytes() + index.bytes(), ops: 0 };
        self.0.bind(gpu, &[("a", a), ("b", b), ("index", index), ("y", y)], params, work)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flattened_picture_is_gathered_from_channels_last() {
        // [5, 2], channels first, to 10 features.
        let (picture, flat) = (Layout { channels: 5, positions: 2 }, Layout { channels: 10, positions: 1 });
        let identity: Vec<u32> = (0..10).collect();
        let index = physical_index(&identity, &[picture], flat).unwrap();
        assert_eq!(index, [0, 8, 1, 9, 2, 10, 3, 11, 4, 12, NOTHING, NOTHING]);
        let back = physical_index(&identity, &[flat], picture).unwrap();
        let none = [NOTHING; 3];
        assert_eq!(back, [&[0, 2, 4, 6, 8], &none[..], &[1, 3, 5, 7, 9], &none[..]].concat());
    }

    #[test]
    fn the_second_input_lies_behind_the_first_with_its_padding() {
        let (a, b) = (Layout { channels: 3, positions: 1 }, Layout { channels: 2, positions: 1 });
        let index = physical_index(&[4, 0, 3], &[a, b], a).unwrap();
        assert_eq!(index, [5, 0, 4, NOTHING]);
    }

    #[test]
    fn wrong_indices_are_refused() {
        let layout = Layout { channels: 3, positions: 1 };
        let text = |logical: &[u32], inputs: &[Layout]| {
            physical_index(logical, inputs, layout).unwrap_err().to_string()
        };
        assert_eq!(text(&[0, 1], &[layout]), "gather: an index of 2 elements for an output of 3");
        assert_eq!(text(&[0, 6, 1], &[layout, layout]), "gather: [1] is element 6 of inputs that have 6");
        assert_eq!(text(&[0, 1, 2], &[layout; 3]), "gather: 3 inputs; it takes 1 or 2");
        let huge = Layout { channels: 1 << 31, positions: 1 };
        assert!(text(&[0, 1, 2], &[huge, huge]).contains("can be numbered"));
    }
}
