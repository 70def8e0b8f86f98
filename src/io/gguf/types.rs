//! The types that a tensor can have in a GGUF file.

/// A number format of ggml: a row is stored in blocks of `block` values, each of `bytes` bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TensorType {
    /// The number by which files call it.
    pub id: u32,
    /// ggml's name, such as `Q4_K`.
    pub name: &'static str,
    /// The values of one block.
    pub block: u32,
    /// The bytes of one block.
    pub bytes: u32,
}

impl TensorType {
    /// The type with this number.
    pub fn by_id(id: u32) -> Option<&'static Self> {
        TYPES.iter().find(|ty| ty.id == id)
    }

    /// The type with this name, in upper or lower case.
    pub fn by_name(name: &str) -> Option<&'static Self> {
        TYPES.iter().find(|ty| ty.name.eq_ignore_ascii_case(name))
    }

    /// Bits per value, scales and minima included.
    pub fn bits(&self) -> f64 {
        f64::from(self.bytes) * 8.0 / f64::from(self.block)
    }
}

const fn ty(id: u32, name: &'static str, block: u32, bytes: u32) -> TensorType {
    TensorType { id, name, block, bytes }
}

/// Every type that ggml has. The numbers in between belonged to types that it has no more.
// Q8_1 and Q8_K are in no file, because ggml computes with them only; the size of Q8_1 is that of ggml's struct, while
// gguf-py says 40. Q2_0 is ggml's own; a fork uses its number for blocks of 128.
pub const TYPES: &[TensorType] = &[
    ty(0, "F32", 1, 4),
    ty(1, "F16", 1, 2),
    ty(2, "Q4_0", 32, 18),
    ty(3, "Q4_1", 32, 20),
    ty(6, "Q5_0", 32, 22),
    ty(7, "Q5_1", 32, 24),
    ty(8, "Q8_0", 32, 34),
    ty(9, "Q8_1", 32, 36),
    ty(10, "Q2_K", 256, 84),
    ty(11, "Q3_K", 256, 110),
    ty(12, "Q4_K", 256, 144),
    ty(13, "Q5_K", 256, 176),
    ty(14, "Q6_K", 256, 210),
    ty(15, "Q8_K", 256, 292),
    ty(16, "IQ2_XXS", 256, 66),
    ty(17, "IQ2_XS", 256, 74),
    ty(18, "IQ3_XXS", 256, 98),
    ty(19, "IQ1_S", 256, 50),
    ty(20, "IQ4_NL", 32, 18),
    ty(21, "IQ3_S", 256, 110),
    ty(22, "IQ2_S", 256, 82),
    ty(23, "IQ4_XS", 256, 136),
    ty(24, "I8", 1, 1),
    ty(25, "I16", 1, 2),
    ty(26, "I32", 1, 4),
    ty(27, "I64", 1, 8),
    ty(28, "F64", 1, 8),
    ty(29, "IQ1_M", 256, 56),
    ty(30, "BF16", 1, 2),
    ty(34, "TQ1_0", 256, 54),
    ty(35, "TQ2_0", 256, 66),
    ty(39, "MXFP4", 32, 17),
    ty(40, "NVFP4", 64, 36),
    ty(41, "Q1_0", 128, 18),
    ty(42, "Q2_0", 64, 18),
];
