//! int8_128: groups of 128 codes of 8 bits
//! use format/int8
const GROUP: u32 = 128u;
