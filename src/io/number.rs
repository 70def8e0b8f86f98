//! Types of numbers in files, and their values as f32.

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

/// The largest whole number up to which f32 has them all.
const MAX_WHOLE: u32 = 1 << 24;

/// The type of the values in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Number {
    /// A byte, 0 or not.
    Bool,
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    U64,
    I64,
    F16,
    /// The upper half of an f32.
    Bf16,
    F32,
    F64,
}

/// A value that f32 does not hold.
#[derive(Debug, PartialEq)]
pub(crate) struct Lost {
    /// Its place among those that were converted.
    pub at: usize,
    /// The value, why it is lost, and what to do.
    pub problem: String,
}

impl Number {
    /// The bytes of a value.
    pub fn bytes(self) -> usize {
        match self {
            Self::Bool | Self::U8 | Self::I8 => 1,
            Self::U16 | Self::I16 | Self::F16 | Self::Bf16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 => 8,
        }
    }

    /// Numpy's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::U8 => "uint8",
            Self::I8 => "int8",
            Self::U16 => "uint16",
            Self::I16 => "int16",
            Self::U32 => "uint32",
            Self::I32 => "int32",
            Self::U64 => "uint64",
            Self::I64 => "int64",
            Self::F16 => "float16",
            Self::Bf16 => "bfloat16",
            Self::F32 => "float32",
            Self::F64 => "float64",
        }
    }

    /// Of numpy's code without its byte order, such as `f8`.
    pub fn of_npy(code: &str) -> Option<Self> {
        Some(match code {
            "b1" | "?" => Self::Bool,
            "u1" => Self::U8,
            "i1" => Self::I8,
            "u2" => Self::U16,
            "i2" => Self::I16,
            "u4" => Self::U32,
            "i4" => Self::I32,
            "u8" => Self::U64,
            "i8" => Self::I64,
            "f2" => Self::F16,
            "f4" => Self::F32,
            "f8" => Self::F64,
            _ => return None,
        })
    }

    /// Of a safetensors file's name, such as `F64`.
    pub fn of_safetensors(name: &str) -> Option<Self> {
        Some(match name {
            "BOOL" => Self::Bool,
            "U8" => Self::U8,
            "I8" => Self::I8,
            "U16" => Self::U16,
            "I16" => Self::I16,
            "U32" => Self::U32,
            "I32" => Self::I32,
            "U64" => Self::U64,
            "I64" => Self::I64,
            "F16" => Self::F16,
            "BF16" => Self::Bf16,
            "F32" => Self::F32,
            "F64" => Self::F64,
            _ => return None,
        })
    }

    /// Whether it has values between whole numbers.
    pub fn is_float(self) -> bool {
        matches!(self, Self::F16 | Self::Bf16 | Self::F32 | Self::F64)
    }

    /// Whether the user is to be told that values become f32: of smaller types f32 holds every value, and such files have
    /// always been points and weights.
    pub fn is_converted(self) -> bool {
        !matches!(self, Self::F32 | Self::F16 | Self::Bf16 | Self::U8 | Self::I8)
    }

    /// Values of this machine's byte order as f32, as many as `out` has. What is finer than f32 is rounded to nearest.
    ///
    /// # Errors
    /// The first whole number that f32 has not, and the first float beyond its range; what stands behind it may be anything.
    pub fn widen(self, bytes: &[u8], out: &mut [f32]) -> Result<(), Lost> {
        match self {
            Self::Bool => each(bytes, out, |[value]| f32::from(u8::from(value != 0))),
            Self::U8 => each(bytes, out, |[value]| value.into()),
            Self::I8 => each(bytes, out, |[value]| (value as i8).into()),
            Self::U16 => each(bytes, out, |value| u16::from_ne_bytes(value).into()),
            Self::I16 => each(bytes, out, |value| i16::from_ne_bytes(value).into()),
            Self::F32 => each(bytes, out, f32::from_ne_bytes),
            Self::Bf16 => each(bytes, out, |value| bf16::from_ne_bytes(value).to_f32()),
            // The slice's own conversion takes vector instructions; rows with lengths may lie anywhere.
            Self::F16 => match bytemuck::try_cast_slice::<u8, f16>(bytes) {
                Ok(halves) if halves.len() == out.len() => halves.convert_to_f32_slice(out),
                _ => each(bytes, out, |value| f16::from_ne_bytes(value).to_f32()),
            },
            Self::U32 => {
                return whole(
                    bytes,
                    out,
                    u32::from_ne_bytes,
                    |value| value as f32,
                    |value| value > MAX_WHOLE,
                );
            }
            Self::I32 => {
                let beyond = |value: i32| value.unsigned_abs() > MAX_WHOLE;
                return whole(bytes, out, i32::from_ne_bytes, |value| value as f32, beyond);
            }
            Self::U64 => {
                let beyond = |value| value > u64::from(MAX_WHOLE);
                return whole(bytes, out, u64::from_ne_bytes, |value| value as f32, beyond);
            }
            Self::I64 => {
                let beyond = |value: i64| value.unsigned_abs() > u64::from(MAX_WHOLE);
                return whole(bytes, out, i64::from_ne_bytes, |value| value as f32, beyond);
            }
            Self::F64 => return doubles(bytes, out),
        }
        Ok(())
    }
}

fn each<const N: usize>(bytes: &[u8], out: &mut [f32], value: impl Fn([u8; N]) -> f32) {
    out.iter_mut().zip(bytes.as_chunks().0).for_each(|(out, &bytes)| *out = value(bytes));
}

/// Whole numbers, of which those `beyond` what f32 holds throughout are looked at one by one.
fn whole<const N: usize, T: Copy + Into<i128>>(
    bytes: &[u8],
    out: &mut [f32],
    parse: impl Fn([u8; N]) -> T,
    narrow: impl Fn(T) -> f32,
    beyond: impl Fn(T) -> bool,
) -> Result<(), Lost> {
    let values = bytes.as_chunks().0;
    let mut any = false;
    for (out, &bytes) in out.iter_mut().zip(values) {
        let value = parse(bytes);
        any |= beyond(value);
        *out = narrow(value);
    }
    if !any {
        return Ok(());
    }
    // Both are exact: an f32 of whole numbers of 64 bits is below 2^64.
    let same = |(out, &bytes): (&f32, &[u8; N])| *out as i128 == parse(bytes).into();
    match out.iter().zip(values).position(|pair| !same(pair)) {
        None => Ok(()),
        Some(at) => {
            let value: i128 = parse(values[at]).into();
            let problem = format!(
                "{value}: beyond {MAX_WHOLE} (2^24), f32 does not have every whole number; subtract an offset, or round \
                 with .astype(numpy.float32)"
            );
            Err(Lost { at, problem })
        }
    }
}

fn doubles(bytes: &[u8], out: &mut [f32]) -> Result<(), Lost> {
    let values = bytes.as_chunks().0;
    let mut any = false;
    for (out, &bytes) in out.iter_mut().zip(values) {
        *out = f64::from_ne_bytes(bytes) as f32;
        any |= out.is_infinite();
    }
    if !any {
        return Ok(());
    }
    let lost = |(out, &bytes): (&f32, &[u8; 8])| out.is_infinite() && f64::from_ne_bytes(bytes).is_finite();
    match out.iter().zip(values).position(lost) {
        None => Ok(()),
        Some(at) => {
            let value = f64::from_ne_bytes(values[at]);
            Err(Lost {
                at,
                problem: format!(
                    "{value:e}: beyond f32, which ends at 3.4e38; scale the values down, or leave such rows out"
                ),
            })
        }
    }
}
