//! int8_64: groups of 64 codes of 8 bits
//! use format/int8
const GROUP: u32 = 64u;
