//! Trust, but verify: drivers exist that advertise an integer dot product and compute it wrongly, and WGSL promises no
//! order of the lanes of a subgroup.

use super::{Buffer, Context, Kernel, Recorder, Spec, Work, params};
use crate::Result;

params! {
    struct DotCheck {
        rows: u32,
    }
}

params! {
    struct LaneCheck {
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
    Recorder::run(gpu, [&bound])?;
    Ok(y.read::<i32>(gpu)? == expected)
}

/// Whether neighbouring invocations are neighbouring lanes, `lane % subgroup_size`: lib/sum_subgroup.wgsl counts on it.
pub(super) fn linear_subgroups(gpu: &Context) -> Result<bool> {
    const SIZES: [(u64, &[(&str, f64)]); 2] = [(64, &[("WG", 64.0)]), (128, &[("WG", 128.0)])];
    for (wg, overrides) in SIZES {
        let rows = 8 * wg;
        let kernel = Kernel::<LaneCheck>::load(gpu, &Spec::new("gpu/lane_check").overrides(overrides))?;
        let lanes = Buffer::new(gpu, "lanes", rows, 4)?;
        let sizes = Buffer::new(gpu, "sizes", rows, 4)?;
        let bound = kernel.bind(
            gpu,
            &[("lanes", &lanes), ("sizes", &sizes)],
            LaneCheck { rows: super::to_u32(rows, "rows")? },
            Work::default(),
        )?;
        Recorder::run(gpu, [&bound])?;
        let (lanes, sizes) = (lanes.read::<u32>(gpu)?, sizes.read::<u32>(gpu)?);
        let invocations = (0..lanes.len() as u32).map(|row| row % wg as u32);
        // A size of 0 is as wrong as a lane out of order.
        let linear = |((i, lane), size): ((u32, u32), u32)| i.checked_rem(size) == Some(lane);
        if !invocations.zip(lanes).zip(sizes).all(linear) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn dot(x: u32, y: u32) -> i32 {
    let bytes = |word: u32| word.to_le_bytes().map(|byte| i32::from(byte as i8));
    bytes(x).iter().zip(bytes(y)).map(|(a, b)| a * b).sum()
}
