//! Trust, but verify: drivers exist that advertise an integer dot product and compute it wrongly.

use super::{Buffer, Context, Kernel, Recorder, Spec, Work, params};
use crate::Result;

params! {
    struct DotCheck {
        rows: u32,
    }
}

/// Whether `dot4I8Packed` agrees with plain integer arithmetic, extremes included.
pub(super) fn integer_dot(gpu: &Context) -> Result<bool> {
    let mut words: Vec<u32> = vec![0x8080_8080, 0x7f7f_7f7f, 0x807f_807f, 0, 0xffff_ffff, 0x0102_0304];
    let mut state = 0x9e37_79b9u32;
    while words.len() < 64 {
        state = state.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
        words.push(state ^ (state >> 13));
    }
    let (a, b): (Vec<u32>, Vec<u32>) = words.iter().flat_map(|&x| words.iter().map(move |&y| (x, y))).unzip();
    let expected: Vec<i32> = a.iter().zip(&b).map(|(&x, &y)| dot(x, y)).collect();
    let rows = a.len() as u64;
    let kernel = Kernel::<DotCheck>::load(gpu, &Spec::new("gpu/dot_check"))?;
    let a = Buffer::from_slice(gpu, "a", rows, &a)?;
    let b = Buffer::from_slice(gpu, "b", rows, &b)?;
    let y = Buffer::new(gpu, "y", rows, 4)?;
    let bound = kernel.bind(
        gpu,
        &[("a", &a), ("b", &b), ("y", &y)],
        DotCheck { rows: super::to_u32(rows, "rows")? },
        Work::default(),
    )?;
    let mut record = Recorder::new(gpu);
    record.dispatch(&bound);
    record.submit()?;
    Ok(y.read::<i32>(gpu)? == expected)
}

fn dot(x: u32, y: u32) -> i32 {
    let bytes = |word: u32| word.to_le_bytes().map(|byte| i32::from(byte as i8));
    bytes(x).iter().zip(bytes(y)).map(|(a, b)| a * b).sum()
}
