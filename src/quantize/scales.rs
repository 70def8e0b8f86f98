//! The scales of codes: one for the whole tensor, for each row, for groups of a row, or for blocks.
//!
//! The codes `X.weight` have them as `X.weight_scale_inv`, `X.weight_scale` or `X.scale_weight`. Whichever the name,
//! weights are codes times scales: what is inverse is the scale that was used to quantize (DeepSeek-V3's `weight_dequant`).

use std::ops::Range;

use super::describe::{Checked, Names};
use crate::format::Format;
use crate::io::quoted;
use crate::io::safetensors::{Safetensors, Tensor, scale_names};
use crate::{Error, Result};

/// The sides of the blocks that have scales of their own, where no config.json says otherwise.
const BLOCK: u64 = 128;

/// The scales of a tensor of codes.
#[derive(Debug)]
pub(super) struct Scales {
    pub(super) tensor: Tensor,
    /// The size of each dimension of the codes, and how many of it share a scale.
    dims: Vec<(u64, u64)>,
}

impl Scales {
    /// Those that belong to the codes `name` of this shape, if there are any. `block` is what config.json says.
    pub(super) fn of(
        name: &str,
        shape: &[u64],
        block: Option<[u64; 2]>,
        names: &Names<'_>,
    ) -> Checked<Option<Self>> {
        let mut found = scale_names(name).into_iter().filter_map(|name| names.get(name.as_str()).copied());
        let Some(scales) = found.next() else { return Ok(None) };
        if let Some(other) = found.next() {
            let [one, other] = [scales, other].map(|tensor| quoted(&tensor.name));
            return Err(format!("tensor {}: it has scales twice, in {one} and {other}", quoted(name)));
        }
        float_format(scales)?;
        let dims = dims(shape, &scales.shape, block).ok_or_else(|| {
            let (name, of, found) = (quoted(&scales.name), quoted(name), &scales.shape);
            let wanted = match *shape {
                [rows, cols] => {
                    let [r, c] = block.unwrap_or([BLOCK, BLOCK]);
                    format!(", {rows} or {:?}", [rows.div_ceil(r), cols.div_ceil(c)])
                }
                _ => String::new(),
            };
            format!("tensor {name}: its shape is {found:?}; for {of} of {shape:?} it has to be 1{wanted}")
        })?;
        Ok(Some(Self { tensor: scales.clone(), dims }))
    }

    /// Multiplies weights, from the value `first` on, by their scales.
    pub(super) fn apply(&self, file: &Safetensors, first: u64, weights: &mut [f32]) -> Result<()> {
        if weights.is_empty() {
            return Ok(());
        }
        let Some(&(cols, block_cols)) = self.dims.last() else {
            let scales = floats(file, &self.tensor, 0..1)?;
            weights.iter_mut().for_each(|weight| *weight *= scales[0]);
            return Ok(());
        };
        let per_row = cols.div_ceil(block_cols);
        let last = first + weights.len() as u64 - 1;
        let rows: Vec<u64> = (first / cols..=last / cols).map(|row| self.row_of(row)).collect();
        let (least, most) =
            (rows.iter().min().copied().unwrap_or(0), rows.iter().max().copied().unwrap_or(0));
        let scales = floats(file, &self.tensor, least * per_row..(most + 1) * per_row)?;
        let (mut col, mut left) = (first % cols, weights);
        for row in rows {
            let scales = &scales[((row - least) * per_row) as usize..][..per_row as usize];
            while col < cols && !left.is_empty() {
                // To the end of the block or of the row.
                let run = (block_cols - col % block_cols).min(cols - col).min(left.len() as u64);
                let (these, others) = left.split_at_mut(run as usize);
                let scale = scales[(col / block_cols) as usize];
                these.iter_mut().for_each(|weight| *weight *= scale);
                (col, left) = (col + run, others);
            }
            col = 0;
        }
        Ok(())
    }

    /// The row of scales that belongs to a row of codes, over all dimensions but the last.
    fn row_of(&self, mut row: u64) -> u64 {
        let (mut of_scales, mut stride) = (0, 1);
        for &(size, block) in self.dims.iter().rev().skip(1) {
            of_scales += row % size / block * stride;
            stride *= size.div_ceil(block);
            row /= size;
        }
        of_scales
    }
}

/// How many values of each dimension share a scale, if these shapes say so.
fn dims(shape: &[u64], scales: &[u64], block: Option<[u64; 2]>) -> Option<Vec<(u64, u64)>> {
    let all = |sizes: &[u64]| sizes.iter().product::<u64>() == 1;
    if all(scales) {
        return Some(shape.iter().map(|&size| (size, size)).collect());
    }
    let by_row = match (shape, scales) {
        (&[rows, _], &[n]) if n == rows => &[n, 1][..],
        _ => scales,
    };
    if by_row.len() != shape.len() {
        return None;
    }
    let pairs: Vec<(u64, u64)> = shape.iter().copied().zip(by_row.iter().copied()).collect();
    let plain = |&(size, n): &(u64, u64)| match n {
        1 => Some((size, size)),
        n if n == size => Some((size, 1)),
        _ => None,
    };
    if let Some(dims) = pairs.iter().map(plain).collect() {
        return Some(dims);
    }
    let (outer, &[(rows, row_scales), (cols, col_scales)]) = pairs.split_last_chunk()?;
    let mut dims: Vec<(u64, u64)> = outer.iter().map(plain).collect::<Option<_>>()?;
    let blocks = |[r, c]: [u64; 2]| rows.div_ceil(r) == row_scales && cols.div_ceil(c) == col_scales;
    let [r, c] = match block {
        Some(block) if blocks(block) => block,
        _ if row_scales == rows && col_scales > 0 && cols.is_multiple_of(col_scales) => {
            [1, cols / col_scales]
        }
        None if blocks([BLOCK, BLOCK]) => [BLOCK, BLOCK],
        _ => return None,
    };
    dims.extend([(rows, r), (cols, c)]);
    Some(dims)
}

/// The format of a tensor of floats, or what is wrong with its type.
pub(super) fn float_format(tensor: &Tensor) -> Checked<&'static Format> {
    let name = tensor.dtype.name;
    let format = Format::by_name(name).filter(|_| ["F32", "F16", "BF16"].contains(&name));
    format.ok_or_else(|| format!("tensor {}: its type is {name}, not F32, F16 or BF16", quoted(&tensor.name)))
}

/// Reads values of a tensor of floats.
pub(super) fn floats(file: &Safetensors, tensor: &Tensor, values: Range<u64>) -> Result<Vec<f32>> {
    let format = float_format(tensor).map_err(|problem| Error::file(file.path(), problem))?;
    let width = format.bytes as u64;
    let count = (values.end - values.start) as usize;
    let mut bytes = room(file, tensor, count * format.bytes)?;
    file.read(tensor, values.start * width..values.end * width, &mut bytes)?;
    let mut floats = room(file, tensor, count)?;
    format.dequantize(&bytes, &mut floats)?;
    Ok(floats)
}

/// Zeros, if there is memory for them: a tensor may be as large as its file.
pub(super) fn room<T: Clone + Default>(file: &Safetensors, tensor: &Tensor, count: usize) -> Result<Vec<T>> {
    let mut values = Vec::new();
    values.try_reserve_exact(count).map_err(|_| {
        let name = quoted(&tensor.name);
        Error::file(file.path(), format!("tensor {name}: there is not enough memory for {count} values"))
    })?;
    values.resize(count, T::default());
    Ok(values)
}
