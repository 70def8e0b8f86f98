//! int8_32: groups of 32 codes of 8 bits
//! use format/int8
const GROUP: u32 = 32u;
